//! The engine's side: starting shims and talking to them.
//!
//! Everything is blocking or non-blocking by the socket's own flag. An asynchronous engine takes the socket with
//! [`Connection::into_parts`] and drives [`Outgoing`] and [`Incoming`] when the socket is ready.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hoist_kernel::{KernelError, memfd};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, socketpair,
};

use crate::frame::{FrameError, Incoming, Outgoing};
use crate::protocol::{Event, Failure, FromShim, Reply, Request, RequestBody, SOCKET_NAME};

/// Talking to a shim failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The shim says no.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The connection broke.
    #[error("lost the connection to the shim")]
    Frame(#[from] FrameError),
    /// A system call failed.
    #[error("cannot reach the shim")]
    Kernel(#[from] KernelError),
    /// The shim's program cannot be started.
    #[error("cannot start the shim")]
    Spawn(#[source] std::io::Error),
}

/// The shim's program in a sealed memory file: made once, executed for each container.
///
/// A container that reaches the shim's `/proc/<pid>/exe` finds a file that cannot be written (CVE-2019-5736).
#[derive(Debug)]
pub struct ShimProgram {
    file: OwnedFd,
}

impl ShimProgram {
    /// Copies the `hoist-shim` binary.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(binary: &Path) -> Result<Self, KernelError> {
        memfd::sealed_copy(binary).map(|file| Self { file })
    }

    /// Starts a shim, which waits for [`RequestBody::Configure`] on the returned connection.
    ///
    /// `title` is what process lists show; `messages` receives what the shim has to complain about.
    /// The returned child must be waited for once it has ended, or stays a zombie.
    ///
    /// # Errors
    /// When no process can be made.
    pub fn spawn(&self, title: &str, messages: File) -> Result<(Connection, Child), ClientError> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|errno| KernelError::new("socketpair", "shim", errno))?;
        let child = Command::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
            .arg0("hoist-shim")
            .arg(title)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::from(messages))
            .spawn()
            .map_err(ClientError::Spawn)?;
        Ok((Connection::from_socket(ours), child))
    }
}

/// A connection to a shim.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    incoming: Incoming,
    events: VecDeque<Event>,
    next_number: u32,
}

impl Connection {
    /// Connects to the shim of a container's state directory (blocking socket).
    ///
    /// The path goes through the directory's descriptor, so that it fits into a socket address however long it is.
    ///
    /// # Errors
    /// `ENOENT` or `ECONNREFUSED` when no shim lives there.
    pub fn open(directory: BorrowedFd<'_>) -> Result<Self, KernelError> {
        let path = format!("/proc/self/fd/{}/{SOCKET_NAME}", directory.as_raw_fd());
        let address = SocketAddrUnix::new(path.as_str())
            .map_err(|errno| KernelError::new("connect", path.clone(), errno))?;
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|errno| KernelError::new("socket", "shim", errno))?;
        connect(&socket, &address).map_err(|errno| KernelError::new("connect", path, errno))?;
        Ok(Self::from_socket(socket))
    }

    /// Wraps a connected socket.
    pub fn from_socket(socket: OwnedFd) -> Self {
        Self {
            socket,
            incoming: Incoming::default(),
            events: VecDeque::new(),
            next_number: 1,
        }
    }

    /// The socket and what has been read from it, to be driven by an event loop.
    pub fn into_parts(self) -> (OwnedFd, Incoming) {
        (self.socket, self.incoming)
    }

    /// Sends a request and waits for its reply; events that come meanwhile are kept for [`Connection::event`].
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the shim's reason; others end the connection.
    pub fn call(
        &mut self,
        body: RequestBody,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(Reply, Vec<OwnedFd>), ClientError> {
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        Outgoing::encode(&Request { number, body }, descriptors)?.send(&self.socket)?;
        loop {
            match self.receive()? {
                (FromShim::Event(event), _) => self.events.push_back(event),
                (
                    FromShim::Reply {
                        number: replied,
                        result,
                    },
                    descriptors,
                ) if replied == number => {
                    return Ok((result?, descriptors));
                }
                (FromShim::Reply { .. }, _) => {}
            }
        }
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn event(&mut self) -> Result<Event, ClientError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        loop {
            if let (FromShim::Event(event), _) = self.receive()? {
                return Ok(event);
            }
        }
    }

    fn receive(&mut self) -> Result<(FromShim, Vec<OwnedFd>), ClientError> {
        loop {
            if let Some(message) = self.incoming.take()? {
                return Ok(message);
            }
            self.incoming.receive(&self.socket)?;
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
