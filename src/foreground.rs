//! `engine run`: this process becomes the engine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hoist_engine::{EngineConfig, RunError};
use tracing_subscriber::EnvFilter;

use crate::commands::object::engine::{ALREADY_RUNNING, EngineRunArgs};
use crate::context::Context;
use crate::failure::Failure;
use crate::places::Places;

/// The variable that names the shim's program when it is not beside ours.
const SHIM: &str = "HOIST_SHIM";

/// Serves until the engine leaves.
///
/// # Errors
/// It cannot start: places that cannot be used, another engine there, no shim.
pub(crate) fn run(context: &Context, args: &EngineRunArgs) -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_env_filter(
            EnvFilter::try_from_env("HOIST_LOG").unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .init();
    let config = config(&context.places, args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from(error).context("cannot start the engine"))?;
    let outcome = runtime.block_on(hoist_engine::run(config));
    runtime.shutdown_background();
    outcome.map_err(|error| match &error {
        RunError::AlreadyRunning { .. } => Failure::from(error).with_exit(ALREADY_RUNNING),
        _ => Failure::from(error),
    })
}

fn config(places: &Places, args: &EngineRunArgs) -> Result<EngineConfig, Failure> {
    let program = program()?;
    let mut config = EngineConfig::new(&places.root, &places.state);
    config.shim = match std::env::var_os(SHIM) {
        Some(path) => PathBuf::from(path),
        None => program.with_file_name("hoist-shim"),
    };
    if !config.shim.exists() {
        let missing = format!(
            "cannot start the engine: there is no {}",
            config.shim.display()
        );
        return Err(Failure::new(missing).hint(format!(
            "hoist-shim is installed beside hoist; {SHIM} names another place"
        )));
    }
    config.command = [
        &program,
        Path::new("--root"),
        &places.root,
        Path::new("--state"),
        &places.state,
        Path::new("engine"),
        Path::new("run"),
    ]
    .iter()
    .map(|part| part.to_string_lossy().into_owned())
    .collect();
    if let Some(seconds) = args.idle {
        config
            .command
            .extend(["--idle".to_owned(), seconds.to_string()]);
        config.idle_exit = (seconds > 0).then(|| Duration::from_secs(seconds));
    }
    Ok(config)
}

/// Where this program is. The kernel marks one that an update has replaced; the new one is at the same path.
fn program() -> Result<PathBuf, Failure> {
    let link = std::env::current_exe()
        .map_err(|error| Failure::from(error).context("cannot find this program"))?;
    let text = link.to_string_lossy();
    Ok(PathBuf::from(
        text.strip_suffix(" (deleted)").unwrap_or(&text),
    ))
}
