//! The daemon's life: one engine for each state directory, told ready when it answers, gone when it has nothing to do.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::fd::RawFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hoist_api::engine::StopOptions;
use hoist_api::error::{ApiError, ErrorKind};
use hoist_shim::protocol::RequestBody;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::config::EngineConfig;
use crate::serve;
use crate::serve::listen::{DoorError, TcpDoor};
use crate::service::Service;
use crate::store;

/// Environment variable with the number of an inherited descriptor: a line is written to it when the engine answers.
pub const READY_FD: &str = "HOIST_READY_FD";

/// How long connections may take to finish when the engine leaves.
const GOODBYE: Duration = Duration::from_millis(500);
/// How long builds may take to be given up.
const LAST_BUILDS: Duration = Duration::from_secs(3);

/// Why an engine could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another engine runs with the same state directory; that one serves.
    #[error("another engine runs with the state directory {}", state.display())]
    AlreadyRunning {
        /// The state directory.
        state: PathBuf,
    },
    /// A file or socket.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `create`, `lock`, `listen on`.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A door besides the socket.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// What it is to serve cannot be opened.
    #[error("cannot start the engine")]
    Start(#[source] ApiError),
}

/// Runs an engine until it is told to leave, gets SIGTERM or SIGINT, or has had nothing to run for long enough.
///
/// # Errors
/// [`RunError`]; nothing that runs is touched then.
pub async fn run(config: EngineConfig) -> Result<(), RunError> {
    let _lock = lock(&config.state)?;
    let socket = config.socket.clone();
    let activity = Arc::new(serve::Activity::of_engine(config.idle_exit));
    let listener = listen(&socket, config.socket_group)?;
    let doors = open_doors(&config.doors).await?;
    let service = match open(config).await {
        Ok(service) => service,
        Err(error) => {
            // Nobody is to wait for what will never answer.
            let _ = fs::remove_file(&socket);
            return Err(RunError::Start(error));
        }
    };
    let (leave, left) = watch::channel(false);
    let server = serve::Server {
        service: service.clone(),
        leave: Arc::new(leave),
        activity: activity.clone(),
        buildkit: serve::buildkit::open(&service),
        uploads: serve::Uploads::default(),
    };
    let serving = tokio::spawn(server.clone().accept(listener, left.clone()));
    for (listener, acceptor) in doors {
        tokio::spawn(server.clone().accept_tcp(listener, acceptor, left.clone()));
    }
    watch_rules(&service);
    tell_ready();
    tracing::info!(socket = %socket.display(), "the engine answers");
    wait_for_the_end(&service, &activity, left).await;
    server.leave.send_replace(true);
    // The path goes first: who comes from now on starts another engine.
    let _ = fs::remove_file(&socket);
    service.builder.leave(LAST_BUILDS).await;
    say_goodbye(&service).await;
    if tokio::time::timeout(GOODBYE, serving).await.is_err() {
        tracing::debug!("some connections were still open when the engine left");
    }
    service.remove_empty_cgroups();
    Ok(())
}

async fn open(config: EngineConfig) -> Result<Arc<Service>, ApiError> {
    let opened = tokio::task::spawn_blocking(move || Service::open(config)).await;
    let service = opened.map_err(|error| ApiError::internal(&error))??;
    service.recover().await?;
    Ok(service)
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> RunError + 'a {
    move |source| RunError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// The lock is the kernel's and ends with the process, however it ends.
fn lock(state: &Path) -> Result<File, RunError> {
    store::make_directory(state).map_err(|error| RunError::Start(ApiError::internal(&error)))?;
    let path = state.join("engine.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RunError::AlreadyRunning {
            state: state.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}

/// Listens at the path, which the lock says is nobody else's; readable by the owner and the group alone from the start.
fn listen(socket: &Path, group: Option<u32>) -> Result<UnixListener, RunError> {
    let parent = socket.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(failed("create", parent))?;
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", socket)(error));
        }
        _ => {}
    }
    // Bound under another name, so that the socket never exists with wider permissions or before it can be used.
    let directory = File::open(parent).map_err(failed("open", parent))?;
    let name = format!(
        "{}.new",
        socket.file_name().unwrap_or_default().to_string_lossy()
    );
    let temporary = parent.join(&name);
    let _ = fs::remove_file(&temporary);
    let short = PathBuf::from(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&directory)
    ))
    .join(&name);
    let listener = UnixListener::bind(short).map_err(failed("listen on", socket))?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o660))
        .map_err(failed("restrict", socket))?;
    if group.is_some() {
        std::os::unix::fs::chown(&temporary, None, group)
            .map_err(failed("give a group", socket))?;
    }
    fs::rename(&temporary, socket).map_err(failed("publish", socket))?;
    Ok(listener)
}

/// Opens all doors besides the socket, or none.
async fn open_doors(
    doors: &[TcpDoor],
) -> Result<Vec<(TcpListener, Option<TlsAcceptor>)>, RunError> {
    let mut opened = Vec::new();
    for door in doors {
        let acceptor = door.acceptor()?;
        let place = PathBuf::from(door.address.to_string());
        let listener = door.open().await.map_err(failed("listen on", &place))?;
        tracing::info!(address = %door.address, tls = acceptor.is_some(), "a further door is open");
        opened.push((listener, acceptor));
    }
    Ok(opened)
}

/// Writes a line to the descriptor that the environment names, if it does.
fn tell_ready() {
    let Some(number) = std::env::var(READY_FD)
        .ok()
        .and_then(|text| text.parse::<RawFd>().ok())
    else {
        return;
    };
    let path = format!("/proc/self/fd/{number}");
    match OpenOptions::new().write(true).open(&path) {
        Ok(mut pipe) => drop(pipe.write_all(b"ready\n")),
        Err(error) => tracing::warn!(%error, "cannot tell that the engine is ready"),
    }
}

/// Puts back what others flush from the packet filter, as long as the engine lives.
fn watch_rules(service: &Arc<Service>) {
    let service = service.clone();
    tokio::spawn(async move {
        let Ok(firewall) = service.networks.rules.firewall() else {
            return;
        };
        let watch = match hoist_network::firewall::watch::Watch::open() {
            Ok(watch) => watch,
            Err(error) => {
                tracing::warn!(%error, "changes of the packet filter by others go unnoticed");
                return;
            }
        };
        let report = |outcome: Result<_, hoist_network::firewall::FirewallError>| match outcome {
            Ok(outcome) => tracing::info!(?outcome, "put back rules that somebody removed"),
            Err(error) => tracing::warn!(%error, "cannot put back rules that somebody removed"),
        };
        if let Err(error) = watch.keep(firewall, report).await {
            tracing::warn!(%error, "changes of the packet filter by others go unnoticed from now on");
        }
    });
}

async fn wait_for_the_end(
    service: &Arc<Service>,
    activity: &serve::Activity,
    mut left: watch::Receiver<bool>,
) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        // Without signals a request is still heard.
        serve::leaves(&mut left).await;
        return;
    };
    tokio::select! {
        _ = terminate.recv() => tracing::info!("leaving on SIGTERM"),
        _ = interrupt.recv() => tracing::info!("leaving on SIGINT"),
        () = serve::leaves(&mut left) => tracing::info!("leaving as asked"),
        () = idle_for(service, activity) => tracing::info!("leaving: there is nothing to run"),
    }
}

/// Ends when nothing has run and nobody has asked anything for so long.
async fn idle_for(service: &Arc<Service>, activity: &serve::Activity) {
    let mut since = tokio::time::Instant::now();
    loop {
        let Some(idle) = activity.idle() else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(since + idle).await;
        // Asked to stay meanwhile.
        if activity.idle().is_none() {
            continue;
        }
        let last = activity.last();
        if service.containers.any_active() || activity.open() > 0 {
            since = tokio::time::Instant::now();
        } else if last > since {
            since = last;
        } else {
            return;
        }
    }
}

/// Shims learn that this end is orderly: they start no engine before their container ends.
async fn say_goodbye(service: &Arc<Service>) {
    for container in service.containers.all() {
        if let Some(shim) = container.shim() {
            let _ = shim.request(RequestBody::EngineLeaving).await;
        }
    }
    if !service.containers.any_active()
        && let Err(error) = service.sweep().await
    {
        tracing::warn!(%error, "something of the engine is left on the machine");
    }
}

/// Stops everything that runs, for an engine that is to leave with it.
pub(crate) async fn stop_containers(
    service: &Arc<Service>,
    timeout: Option<i64>,
) -> Result<(), ApiError> {
    let mut stops = tokio::task::JoinSet::new();
    for container in service.containers.all() {
        let service = service.clone();
        let options = StopOptions {
            timeout,
            signal: None,
        };
        stops.spawn(async move { service.stop(container.id(), &options).await });
    }
    let mut result = Ok(());
    while let Some(stopped) = stops.join_next().await {
        match stopped {
            Ok(Err(error))
                if !error.is(ErrorKind::NotModified) && !error.is(ErrorKind::NotFound) =>
            {
                result = Err(error)
            }
            _ => {}
        }
    }
    result
}
