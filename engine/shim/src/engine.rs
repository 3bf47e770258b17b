//! Keeping an engine alive: a container must not stay without one, since restart policies, health checks
//! and DNS are the engine's.
//!
//! Every shim watches its connections. When the last one breaks without an orderly farewell, it waits a delay
//! of its own (so that many shims do not all start engines at once), looks whether an engine answers on the
//! engine's socket, and starts one when none does. Too many starts do no harm: the engine's lock lets one live.

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::protocol::EngineCommand;

const FIRST_DELAY: Duration = Duration::from_millis(10);
const SPREAD: u32 = 64;
const AGAIN: Duration = Duration::from_millis(500);
const AGAIN_AT_MOST: Duration = Duration::from_secs(30);

/// Decides when to look for an engine.
#[derive(Debug)]
pub(crate) struct EngineWatch {
    command: Option<EngineCommand>,
    due: Option<Instant>,
    again: Duration,
}

impl EngineWatch {
    pub(crate) fn new(command: Option<EngineCommand>) -> Self {
        Self {
            command,
            due: None,
            again: AGAIN,
        }
    }

    /// The last connection broke.
    pub(crate) fn connection_lost(&mut self) {
        if self.command.is_some() && self.due.is_none() {
            let own = rustix::process::getpid()
                .as_raw_nonzero()
                .get()
                .unsigned_abs()
                % SPREAD;
            self.due = Some(Instant::now() + FIRST_DELAY + Duration::from_millis(own.into()));
        }
    }

    /// An engine has connected.
    pub(crate) fn connected(&mut self) {
        self.due = None;
        self.again = AGAIN;
    }

    /// When [`EngineWatch::look`] is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Looks for an engine when it is time, and starts one when none answers.
    pub(crate) fn look(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.ensure();
            // It has to find and connect to us; if it does not, look again.
            self.due = Some(now + self.again);
            self.again = (self.again * 2).min(AGAIN_AT_MOST);
        }
    }

    /// Starts an engine when none answers.
    pub(crate) fn ensure(&self) {
        let Some(command) = &self.command else { return };
        if !answers(command)
            && let Err(error) = start(command)
        {
            crate::complain(format_args!(
                "cannot start the engine {:?}: {error}",
                command.argv
            ));
        }
    }
}

/// Whether the engine's socket takes a connection. One that is busy (`EAGAIN`) is alive.
fn answers(command: &EngineCommand) -> bool {
    let Some((directory, name)) = command.socket.parent().zip(command.socket.file_name()) else {
        return false;
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Through a descriptor: a socket's path has at most 107 bytes.
    let Ok(directory) = rustix::fs::open(directory, flags, Mode::empty()) else {
        return false;
    };
    let path = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    let Ok(address) = SocketAddrUnix::new(&path) else {
        return false;
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let Ok(socket) = socket else { return false };
    matches!(
        rustix::net::connect(&socket, &address),
        Ok(()) | Err(Errno::AGAIN)
    )
}

/// The engine becomes a session of its own; this process reaps it like any child should it end first.
fn start(command: &EngineCommand) -> std::io::Result<()> {
    let Some((program, arguments)) = command.argv.split_first() else {
        return Ok(());
    };
    let environment = command
        .environment
        .iter()
        .filter_map(|variable| variable.split_once('='));
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map(drop)
}
