//! The way to the engine: the socket when something answers there, else a new engine.
//!
//! A new engine is this same program, `hoist engine run`, in a session of its own. Its standard output is a
//! pipe to us on which it says `ready`; whatever it says before it fails is in its log, of which we show the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hoist_api::client::Client;
use hoist_api::{Engine, ErrorKind};
use hoist_engine::READY_FD;

use crate::context::Context;
use crate::failure::Failure;
use crate::places::Places;

/// What it says.
const READY: &[u8] = b"ready\n";
/// How long another engine with these places may take to answer or to leave once it holds the lock.
const OTHER_ENGINE: Duration = Duration::from_secs(20);
/// How long to wait for it to answer before the first and before later tries to take its place.
const BETWEEN_STARTS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often it is asked meanwhile.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// This program: by the link and not by its target, which an update may have replaced.
const OURSELVES: &str = "/proc/self/exe";
/// Why nothing was started.
const STARTED_BY_ITSELF: &str = "only the default engine, or that of --state, is started by itself";
/// Seconds with nothing to run after which an engine leaves that a command has started on the way.
const IDLE: &str = "60";
/// What that is for an engine that is to stay.
pub(crate) const FOR_EVER: &str = "0";
/// How many lines of the log tell why an engine did not start.
const LOG_LINES: usize = 15;

/// Carries out work that asks an engine, for commands that mostly do without one.
///
/// # Errors
/// What the work says.
pub(crate) fn wait_for<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from(error).context("cannot start"))?;
    let outcome = runtime.block_on(work);
    // A thread may sit in a read of standard input: nobody waits for it.
    runtime.shutdown_background();
    outcome
}

/// A client of the engine, which is started when it does not run.
///
/// # Errors
/// It cannot be reached or started.
pub(crate) async fn engine(context: &Context) -> Result<Client, Failure> {
    match running_engine(context).await? {
        Some(client) => Ok(client),
        None => started(context, IDLE).await,
    }
}

/// A client of a new engine, which leaves after so many seconds with nothing to run, and so does what a shim starts in its place.
///
/// # Errors
/// It cannot be started.
pub(crate) async fn started(context: &Context, idle: &'static str) -> Result<Client, Failure> {
    let places = &context.places;
    if !places.ours {
        return Err(absent(context).hint(STARTED_BY_ITSELF));
    }
    start(places, idle).await
}

/// That no engine answers, under Docker's name in the words that scripts look for.
fn absent(context: &Context) -> Failure {
    let endpoint = &context.places.endpoint;
    if !context.ui.as_docker {
        return Failure::new(format!("no engine answers at {endpoint}"));
    }
    let address = match endpoint.socket() {
        Some(socket) => format!("unix://{}", socket.display()),
        None => endpoint.to_string(),
    };
    Failure::new(format!(
        "Cannot connect to the Docker daemon at {address}. Is the docker daemon running?"
    ))
}

/// A client of the engine if it runs.
///
/// # Errors
/// Something answers at the socket that is not to be used.
pub(crate) async fn running_engine(context: &Context) -> Result<Option<Client>, Failure> {
    let client = Client::connect(context.places.endpoint.clone());
    match client.ping().await {
        Ok(_) if context.places.ours => Ok(Some(client)),
        // Another engine may be older than we are.
        Ok(_) => Ok(Some(client.negotiated().await?)),
        Err(error) if error.is(ErrorKind::Unreachable) => match denied(context) {
            Some(failure) => Err(failure),
            // Elsewhere the reason is all that is known.
            None if context.places.endpoint.socket().is_none() => {
                let failure = Failure::from(error);
                Err(
                    match failure.report.as_ref().filter(|_| context.ui.as_docker) {
                        // What scripts look for; why is the hint then.
                        Some(report) => absent(context).hint(report.to_string()),
                        None => failure,
                    },
                )
            }
            None => Ok(None),
        },
        Err(error) => Err(Failure::from(error).context(format!(
            "cannot use the engine at {}",
            context.places.endpoint
        ))),
    }
}

/// Why a socket that exists cannot be used by this user.
fn denied(context: &Context) -> Option<Failure> {
    let socket = context.places.endpoint.socket()?;
    match std::os::unix::net::UnixStream::connect(socket) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(
            Failure::from(error)
                .context(format!(
                    "cannot connect to the engine at {}",
                    socket.display()
                ))
                .hint("run the command as root, or name another engine with --host or --state"),
        ),
        _ => None,
    }
}

/// Starts an engine and waits until it answers.
///
/// # Errors
/// It cannot be started; the end of its log is told.
pub(crate) async fn start(places: &Places, idle: &'static str) -> Result<Client, Failure> {
    let client = Client::connect(places.endpoint.clone());
    let deadline = Instant::now() + OTHER_ENGINE;
    let mut pause = BETWEEN_STARTS.0;
    loop {
        let place = places.clone();
        let outcome = tokio::task::spawn_blocking(move || spawn_and_wait(&place, idle)).await;
        let started =
            outcome.map_err(|error| Failure::from(error).context("cannot start the engine"))??;
        let (status, log) = match started {
            Started::Ready => return Ok(client),
            Started::Ended(status, log) => (status, log),
        };
        // Another engine holds the lock: one that is about to answer, since another command was faster, or one that is
        // leaving, whose place is free in a moment.
        let held =
            status.code() == Some(i32::from(crate::commands::object::engine::ALREADY_RUNNING));
        if !held || Instant::now() > deadline {
            return Err(not_started(places, status, &log));
        }
        let next = Instant::now() + pause;
        while Instant::now() < next {
            if client.ping().await.is_ok() {
                return Ok(client);
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        // Each try is a process and a line of the log.
        pause = (2 * pause).min(BETWEEN_STARTS.1);
    }
}

enum Started {
    Ready,
    /// It ended before it was ready; what it logged.
    Ended(ExitStatus, String),
}

fn spawn_and_wait(places: &Places, idle: &str) -> Result<Started, Failure> {
    let cannot = |what: &str| format!("cannot start the engine: {what}");
    let (mut log, log_start) = open_log(places).map_err(|error| {
        Failure::from(error)
            .context(cannot(&format!(
                "cannot write {}",
                places.engine_log().display()
            )))
            .hint("run the command as root, or choose other places with --root and --state")
    })?;
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| Failure::from(error).context(cannot("no pipe")))?;
    let mut command = engine_command(places, idle);
    let log_copy = log
        .try_clone()
        .map_err(|error| Failure::from(error).context(cannot("no log")))?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::from(writer))
        .stderr(Stdio::from(log_copy));
    let mut child = command
        .spawn()
        .map_err(|error| Failure::from(error).context(cannot("cannot execute hoist itself")))?;
    // Our copy of the pipe's writing end: only the engine's may keep it open.
    drop(command);
    if says_ready(reader) {
        return Ok(Started::Ready);
    }
    let status = child.wait()?;
    let mut text = String::new();
    log.seek(SeekFrom::Start(log_start))?;
    // A log that is not UTF-8 is no reason to hide the failure.
    let _ = log.read_to_string(&mut text);
    Ok(Started::Ended(status, text))
}

fn open_log(places: &Places) -> io::Result<(File, u64)> {
    fs::create_dir_all(&places.state)?;
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(places.engine_log())?;
    let length = log.metadata()?.len();
    Ok((log, length))
}

fn engine_command(places: &Places, idle: &str) -> Command {
    let mut command = Command::new(OURSELVES);
    command
        .arg0("hoist")
        .arg("--root")
        .arg(&places.root)
        .arg("--state")
        .arg(&places.state);
    command
        .args(["engine", "run", "--idle", idle, "--log"])
        .arg(places.engine_log());
    // Standard output is the pipe.
    command
        .env(READY_FD, "1")
        .env_remove("HOIST_HOST")
        .current_dir("/");
    command
}

fn says_ready(reader: OwnedFd) -> bool {
    let mut said = vec![0; READY.len()];
    File::from(reader).read_exact(&mut said).is_ok() && said == READY
}

fn not_started(places: &Places, status: ExitStatus, log: &str) -> Failure {
    let lines: Vec<&str> = log.lines().collect();
    let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
    let mut text = format!("cannot start the engine: it ended with {status}");
    for line in tail {
        text.push_str("\n  ");
        text.push_str(line);
    }
    Failure::new(text).hint(format!(
        "the whole log is in {}",
        places.engine_log().display()
    ))
}

/// A client for commands that only look at what exists: nothing exists where there is neither an engine nor a root.
///
/// # Errors
/// As [`engine`].
pub(crate) async fn existing_engine(context: &Context) -> Result<Option<Client>, Failure> {
    if let Some(client) = running_engine(context).await? {
        return Ok(Some(client));
    }
    if context.places.ours && !context.places.root.exists() {
        return Ok(None);
    }
    engine(context).await.map(Some)
}
