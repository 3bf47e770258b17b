//! `hoist engine run`: this process is the engine.
//!
//! Everything that it needs is in its command line, because a shim starts it again with that alone.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hoist_engine::{DoorError, EngineConfig, RunError, TcpDoor, TlsFiles};

use super::engine::{ALREADY_RUNNING, DoorArgs, EngineRunArgs};
use crate::context::Context;
use crate::failure::Failure;
use crate::places::Places;

/// A log that is longer than this when an engine starts is put aside, so that it never fills the disk.
const LONGEST_LOG: u64 = 16 << 20;
/// Connections and files of many containers.
const OPEN_FILES: u64 = 1 << 20;

/// Runs the engine until it leaves.
///
/// # Errors
/// It cannot run here; code [`ALREADY_RUNNING`] when another one does.
pub(crate) fn run(context: &Context, args: &EngineRunArgs) -> Result<(), Failure> {
    if let Some(log) = &args.log {
        log_to(log).map_err(|error| {
            Failure::from(error).context(format!("cannot write {}", log.display()))
        })?;
        // A shim starts us as the leader of a group, which cannot leave its session; then there is no need to.
        let _ = rustix::process::setsid();
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    raise_limits();
    log_events(context);
    let config = config(context, args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from(error).context("cannot start the engine"))?;
    let outcome = runtime.block_on(hoist_engine::run(config));
    runtime.shutdown_background();
    outcome.map_err(|error| match error {
        RunError::AlreadyRunning { .. } => Failure::from(error).with_exit(ALREADY_RUNNING),
        _ => Failure::from(error),
    })
}

/// Standard error goes to the end of the file from now on.
fn log_to(log: &Path) -> std::io::Result<()> {
    if let Some(directory) = log.parent() {
        std::fs::create_dir_all(directory)?;
    }
    if std::fs::metadata(log).is_ok_and(|log| log.len() > LONGEST_LOG) {
        std::fs::rename(log, log.with_extension("log.1"))?;
    }
    let file = OpenOptions::new().create(true).append(true).open(log)?;
    rustix::stdio::dup2_stderr(file)?;
    Ok(())
}

/// Raises limits as Docker's unit does, for the engine and for containers, which inherit them: many open files, and no limit on
/// processes and core files. Without CAP_SYS_RESOURCE the hard limits stay; with the little that is allowed the engine runs, too.
fn raise_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let both = |most: Option<u64>| Rlimit {
        current: most,
        maximum: most,
    };
    for (resource, wanted) in [
        (Resource::Nofile, Some(OPEN_FILES)),
        (Resource::Nproc, None),
        (Resource::Core, None),
    ] {
        let hard = getrlimit(resource).maximum;
        let most = match (hard, wanted) {
            (Some(hard), Some(wanted)) => Some(hard.min(wanted)),
            (hard, wanted) => hard.or(wanted),
        };
        if setrlimit(resource, both(wanted)).is_err() {
            let soft = Rlimit {
                current: most,
                maximum: hard,
            };
            let _ = setrlimit(resource, soft);
        }
    }
}

/// What the engine tells goes to standard error; HOIST_LOG chooses how much, as "debug" or "hoist_engine=trace".
fn log_events(context: &Context) {
    let wanted = if context.globals.verbose {
        "debug"
    } else {
        "info"
    };
    let wanted = context.variable("HOIST_LOG").unwrap_or(wanted);
    let filter = tracing_subscriber::EnvFilter::try_new(wanted)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Somebody else has set one up: only in tests.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}

fn config(context: &Context, args: &EngineRunArgs) -> Result<EngineConfig, Failure> {
    let places = &context.places;
    let ourselves = ourselves()?;
    let given = args
        .shim
        .clone()
        .or_else(|| context.variable("HOIST_SHIM").map(PathBuf::from));
    let shim = given.unwrap_or_else(|| ourselves.with_file_name("hoist-shim"));
    if !shim.exists() {
        return Err(Failure::new(format!("there is no {}", shim.display()))
            .hint("hoist-shim is installed beside hoist; HOIST_SHIM names another place"));
    }
    let mut config = EngineConfig::new(&places.root, &places.state);
    for pool in &args.address_pool {
        config
            .address_pools
            .push(EngineConfig::parse_address_pool(pool)?);
    }
    config.dns.clone_from(&args.dns);
    if let Some(remap) = userns_remap(context, args) {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (users, groups) = (read("/etc/subuid"), read("/etc/subgid"));
        config.userns_remap = Some(EngineConfig::parse_userns_remap(remap, &users, &groups)?);
    }
    config.doors = doors(&args.doors)?;
    config.socket_group = args.socket_group.as_deref().map(group).transpose()?;
    config.idle_exit = (args.idle > 0).then(|| Duration::from_secs(args.idle));
    let again = EngineRunArgs {
        userns_remap: userns_remap(context, args).map(str::to_owned),
        ..args.clone()
    };
    config.command = command(&ourselves, places, &again, &shim);
    config.shim = shim;
    Ok(config)
}

fn doors(args: &DoorArgs) -> Result<Vec<TcpDoor>, Failure> {
    let tls = match (&args.tlscacert, &args.tlscert, &args.tlskey) {
        (Some(authorities), Some(certificate), Some(key)) => Some(TlsFiles {
            authorities: authorities.clone(),
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        (None, None, None) => None,
        _ => return Err(DoorError::Half.into()),
    };
    let open = |text: &String| TcpDoor::parse(text, tls.clone(), args.insecure_listen);
    Ok(args.listen.iter().map(open).collect::<Result<_, _>>()?)
}

/// A group's number, by name or number.
fn group(name: &str) -> Result<u32, Failure> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let found = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    });
    found.ok_or_else(|| Failure::new(format!("there is no group {name}")))
}

fn userns_remap<'value>(
    context: &'value Context,
    args: &'value EngineRunArgs,
) -> Option<&'value str> {
    let given = args.userns_remap.as_deref();
    given
        .or_else(|| context.variable("HOIST_USERNS_REMAP"))
        .filter(|text| !text.is_empty())
}

/// Where this program is. The kernel marks one that an update has replaced; the new one is at the same path.
fn ourselves() -> Result<PathBuf, Failure> {
    let link = std::env::current_exe()
        .map_err(|error| Failure::from(error).context("cannot tell where hoist is"))?;
    let text = link.to_string_lossy();
    Ok(PathBuf::from(
        text.strip_suffix(" (deleted)").unwrap_or(&text),
    ))
}

/// The command line that starts this engine again.
fn command(ourselves: &Path, places: &Places, args: &EngineRunArgs, shim: &Path) -> Vec<String> {
    let mut line: Vec<OsString> = vec![ourselves.into()];
    line.extend(["--root".into(), places.root.clone().into()]);
    line.extend(["--state".into(), places.state.clone().into()]);
    line.extend([
        "engine".into(),
        "run".into(),
        "--idle".into(),
        args.idle.to_string().into(),
    ]);
    line.extend(["--shim".into(), shim.into()]);
    let log = args.log.clone().unwrap_or_else(|| places.engine_log());
    line.extend(["--log".into(), log.into()]);
    for pool in &args.address_pool {
        line.extend(["--address-pool".into(), pool.into()]);
    }
    for server in &args.dns {
        line.extend(["--dns".into(), server.to_string().into()]);
    }
    if let Some(group) = &args.socket_group {
        line.extend(["--socket-group".into(), group.into()]);
    }
    for door in &args.doors.listen {
        line.extend(["--listen".into(), door.into()]);
    }
    let files = [
        ("--tlscacert", &args.doors.tlscacert),
        ("--tlscert", &args.doors.tlscert),
        ("--tlskey", &args.doors.tlskey),
    ];
    for (flag, file) in files {
        if let Some(file) = file {
            line.extend([flag.into(), file.into()]);
        }
    }
    if args.doors.insecure_listen {
        line.push("--insecure-listen".into());
    }
    if let Some(remap) = &args.userns_remap {
        line.extend(["--userns-remap".into(), remap.into()]);
    }
    line.into_iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_started_again_as_it_was() {
        let places = Places {
            root: "/r".into(),
            state: "/s".into(),
            endpoint: hoist_api::client::Endpoint::Unix("/s/hoist.sock".into()),
            ours: true,
        };
        let args = EngineRunArgs {
            idle: 0,
            log: None,
            shim: None,
            address_pool: vec!["10.89.0.0/16:24".into()],
            dns: vec!["1.1.1.1".parse().expect("an address")],
            userns_remap: Some("100000:100000:65536".into()),
            socket_group: None,
            doors: Default::default(),
        };
        let line = command(
            Path::new("/bin/hoist"),
            &places,
            &args,
            Path::new("/bin/hoist-shim"),
        );
        let expected = "/bin/hoist --root /r --state /s engine run --idle 0 --shim /bin/hoist-shim --log /s/engine.log \
            --address-pool 10.89.0.0/16:24 --dns 1.1.1.1 --userns-remap 100000:100000:65536";
        assert_eq!(line.join(" "), expected);
        let again = crate::cli::Cli::read(&line).expect("its own command line is understood");
        assert_eq!(again.globals.root.as_deref(), Some("/r"));
    }
}
