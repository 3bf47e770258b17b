//! `hoist engine`: the daemon itself.

use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use hoist_api::Engine;
use hoist_api::client::Client;
use hoist_api::container::ListContainers;
use hoist_api::engine::StopOptions;
use hoist_api::{ApiError, ErrorKind};

use super::container::done_or_nothing_to_do;
use crate::connect;
use crate::context::Context;
use crate::failure::{FAILED, Failure, INTERRUPTED};
use crate::members::container_name;
use crate::signals;
use crate::ui::progress::{Change, Phase, Progress};
use crate::when;

/// What can be done with the engine.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum EngineVerb {
    /// Start the engine, and keep it when it has nothing to run (commands that need it start one that leaves then)
    Start,
    /// Stop the engine; containers go on running without --containers
    Stop(EngineStopArgs),
    /// Say whether the engine runs, and where
    Status,
    /// Show what the engine itself has logged
    Logs(EngineLogsArgs),
    /// Be the engine, in the foreground
    #[command(hide = true)]
    Run(Box<EngineRunArgs>),
}

/// `engine stop`.
#[derive(Args, Debug, Clone)]
pub(crate) struct EngineStopArgs {
    /// Stop every container first
    #[arg(long)]
    pub(crate) containers: bool,

    /// Seconds that a container gets to stop before it is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) timeout: Option<i64>,
}

/// `engine logs`.
#[derive(Args, Debug, Clone)]
pub(crate) struct EngineLogsArgs {
    /// Stay and show what comes
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// How many of the last lines to show, or "all"
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value = "all",
        hide_default_value = true
    )]
    pub(crate) tail: String,
}

/// `engine run`.
#[derive(Args, Debug, Clone)]
pub(crate) struct EngineRunArgs {
    /// Seconds with nothing to run after which the engine leaves, 0 for never
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) idle: u64,

    /// Be a session of its own and write what is logged to the end of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,

    /// The hoist-shim program (default: beside hoist)
    #[arg(long, value_name = "FILE")]
    pub(crate) shim: Option<PathBuf>,

    /// Range that networks get their subnets from, as 10.89.0.0/16:24; repeatable
    #[arg(long, value_name = "CIDR:LENGTH")]
    pub(crate) address_pool: Vec<String>,

    /// Name server for containers instead of the machine's; repeatable
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<IpAddr>,

    /// Give containers user namespaces, with their users mapped to 100000:100000:65536 (user, group, how many), to a name of
    /// /etc/subuid, or to "default" [env: HOIST_USERNS_REMAP]
    #[arg(long, value_name = "IDS")]
    pub(crate) userns_remap: Option<String>,

    /// Group that may use the socket, by name or number
    #[arg(long, value_name = "GROUP")]
    pub(crate) socket_group: Option<String>,

    #[command(flatten)]
    pub(crate) doors: DoorArgs,
}

/// Doors of the engine besides its socket.
#[derive(Args, Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DoorArgs {
    /// Listen at tcp://ADDRESS:PORT, too; repeatable
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<String>,

    /// Authorities that sign the certificates of clients that may come in by TCP
    #[arg(long, value_name = "FILE")]
    pub(crate) tlscacert: Option<PathBuf>,

    /// The engine's certificate
    #[arg(long, value_name = "FILE")]
    pub(crate) tlscert: Option<PathBuf>,

    /// The key of the engine's certificate
    #[arg(long, value_name = "FILE")]
    pub(crate) tlskey: Option<PathBuf>,

    /// Allow listening without TLS where others than this machine reach it: they are root on it
    #[arg(long)]
    pub(crate) insecure_listen: bool,
}

/// What `engine run` leaves with when another engine has these places.
pub(crate) const ALREADY_RUNNING: u8 = 3;
/// How long an engine that was asked to leave may take.
const LEAVE: Duration = Duration::from_secs(30);

/// Carries out an `engine` command other than `run`.
///
/// # Errors
/// The engine cannot be reached, started or stopped.
pub(crate) async fn run(context: &Context, verb: EngineVerb) -> Result<(), Failure> {
    match verb {
        EngineVerb::Start => {
            let client = match connect::running_engine(context).await? {
                Some(client) if context.places.ours => {
                    client.keep_engine().await.map_err(not_kept)?;
                    client
                }
                Some(client) => client,
                None => connect::started(context, connect::FOR_EVER).await?,
            };
            print_status(context, Some(&client)).await
        }
        EngineVerb::Status => match connect::running_engine(context).await? {
            Some(client) => print_status(context, Some(&client)).await,
            None => print_status(context, None).await,
        },
        EngineVerb::Stop(args) => stop(context, &args).await,
        EngineVerb::Logs(args) => logs(context, &args).await,
        EngineVerb::Run(_) => Err(Failure::new(
            "the engine runs only in the foreground of a process of its own",
        )),
    }
}

/// An engine that runs from before an update does not know that it may be asked to stay.
fn not_kept(error: ApiError) -> Failure {
    let is_older = error.is(ErrorKind::NotFound);
    let failure =
        Failure::from(error).context("cannot have the engine stay when it has nothing to run");
    match is_older {
        true => {
            failure.hint("it is of an older version: hoist engine stop, then hoist engine start")
        }
        false => failure,
    }
}

async fn print_status(context: &Context, client: Option<&Client>) -> Result<(), Failure> {
    let Some(client) = client else {
        context.ui.line(&format!(
            "engine: not running (socket {})",
            context.places.endpoint
        ))?;
        return Err(Failure::exit(FAILED));
    };
    if !context.places.ours {
        let version = client.version().await?;
        let socket = &context.places.endpoint;
        return context.ui.line(&format!(
            "engine: {} {} at {socket}",
            version.platform.name, version.version
        ));
    }
    let status = client.status().await?;
    let rows = [
        (
            "engine",
            format!(
                "running, version {}, process {}",
                status.version, status.pid
            ),
        ),
        ("since", status.started_at),
        ("socket", status.socket),
        ("root", status.root),
        ("state", status.state),
        (
            "containers",
            format!("{} ({} running)", status.containers, status.running),
        ),
        (
            "leaves",
            status.idle_exit.map_or_else(
                || "when it is told".to_owned(),
                |idle| format!("after {idle} seconds with nothing to run"),
            ),
        ),
    ];
    rows.iter().try_for_each(|(name, value)| {
        context
            .ui
            .line(&format!("{:<12}{value}", format!("{name}:")))
    })
}

async fn stop(context: &Context, args: &EngineStopArgs) -> Result<(), Failure> {
    let client = match connect::running_engine(context).await? {
        Some(client) => client,
        // Containers may run without an engine: a new one finds them and stops them.
        None if args.containers && context.places.ours && context.places.root.exists() => {
            connect::engine(context).await?
        }
        None => {
            context.ui.note("the engine does not run");
            return Ok(());
        }
    };
    if !context.places.ours {
        return Err(Failure::new("cannot stop an engine that is not ours"));
    }
    if args.containers {
        stop_containers(context, &client, args.timeout).await?;
    }
    client.stop_engine(args.containers).await?;
    let deadline = Instant::now() + LEAVE;
    while client.ping().await.is_ok() {
        if Instant::now() > deadline {
            return Err(Failure::new(format!(
                "the engine has not left within {} s",
                LEAVE.as_secs()
            )));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn stop_containers(
    context: &Context,
    client: &Client,
    timeout: Option<i64>,
) -> Result<(), Failure> {
    let progress = Progress::start(&context.ui, "Stopping");
    let running = client.containers(&ListContainers::default()).await?;
    let options = StopOptions {
        timeout,
        signal: None,
    };
    let stops = running.iter().map(|container| {
        let (progress, options) = (&progress, &options);
        async move {
            let object = format!("Container {}", container_name(container));
            let change = |phase, text: &str| Change {
                object: object.clone(),
                phase,
                text: text.to_owned(),
                detail: None,
            };
            progress.change(change(Phase::Working, "Stopping"));
            let outcome =
                done_or_nothing_to_do(client.container_stop(&container.id, options).await);
            let (phase, text) = if outcome.is_ok() {
                (Phase::Done, "Stopped")
            } else {
                (Phase::Failed, "Error")
            };
            progress.change(change(phase, text));
            outcome
        }
    });
    let outcomes = futures_util::future::join_all(stops).await;
    progress.finish();
    Ok(outcomes.into_iter().collect::<hoist_api::Result<()>>()?)
}

async fn logs(context: &Context, args: &EngineLogsArgs) -> Result<(), Failure> {
    let path = context.places.engine_log();
    let tail = when::tail(&args.tail)?;
    let cannot = |error: std::io::Error| {
        Failure::from(error).context(format!("cannot read {}", path.display()))
    };
    let mut file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            context.ui.note(&format!(
                "no engine has run here: there is no {}",
                path.display()
            ));
            return Ok(());
        }
        Err(error) => return Err(cannot(error)),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(cannot)?;
    context.ui.bytes(last_lines(&bytes, tail))?;
    if !args.follow {
        return Ok(());
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
            () = signals::interrupted() => return Err(Failure::exit(INTERRUPTED)),
        }
        bytes.clear();
        file.read_to_end(&mut bytes).map_err(cannot)?;
        context.ui.bytes(&bytes)?;
    }
}

fn last_lines(bytes: &[u8], count: Option<u64>) -> &[u8] {
    let Some(count) = count else { return bytes };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let lines: Vec<&[u8]> = bytes.split_inclusive(|&b| b == b'\n').collect();
    let skipped: usize = lines[..lines.len().saturating_sub(count)]
        .iter()
        .map(|line| line.len())
        .sum();
    &bytes[skipped..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        assert_eq!(last_lines(b"a\nb\nc\n", Some(2)), b"b\nc\n");
        assert_eq!(last_lines(b"a\nb", Some(1)), b"b");
        assert_eq!(last_lines(b"a\nb", Some(0)), b"");
        assert_eq!(last_lines(b"a\nb", None), b"a\nb");
    }
}
