//! What the new process tells its shim: small fixed messages over a socket pair that keeps boundaries.
//!
//! The socket closes at execve(2), so that its end without a failure means success.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::error::{Context, Result};

/// Why an operation stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A system call failed.
    Errno(Errno),
    /// The user is not in `/etc/passwd`.
    NoSuchUser,
    /// A group is not in `/etc/group`.
    NoSuchGroup,
    /// A user or group number is out of range.
    BadId,
    /// The working directory is outside the container's root (CVE-2024-21626).
    OutsideRoot,
    /// No directory of `PATH` has the program.
    NotInPath,
    /// The program is a directory.
    IsDirectory,
    /// What should be a device, terminal or file system of the kernel is something else.
    Forged,
    /// The kernel or the file system cannot show a mount with other ids.
    NoIdMaps,
}

/// A message of the new process.
#[derive(Debug)]
pub enum Report {
    /// The operation of this index failed; the process has ended.
    Failed {
        /// Index in the program's `inside` list.
        operation: usize,
        /// Why.
        reason: Reason,
    },
    /// The optional operation of this index failed.
    Warning {
        /// Index in the program's `inside` list.
        operation: usize,
        /// Why.
        reason: Reason,
    },
    /// The master of the process's terminal.
    Terminal(OwnedFd),
    /// An intermediate process made the real one with this id.
    Joined(i32),
}

const LENGTH: usize = 12;
const FAILED: u8 = 1;
const WARNING: u8 = 2;
const TERMINAL: u8 = 3;
const JOINED: u8 = 4;

/// A new pair: the shim's end and the process's.
///
/// # Errors
/// `EMFILE`.
pub(crate) fn channel() -> Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .context("socketpair", "report channel")
}

/// Tells a failure; nothing can be done when that fails too.
pub(crate) fn send_failure(channel: BorrowedFd<'_>, operation: usize, reason: Reason) {
    let _ = send(channel, FAILED, operation, reason.encode());
}

/// Tells a warning.
pub(crate) fn send_warning(channel: BorrowedFd<'_>, operation: usize, reason: Reason) {
    let _ = send(channel, WARNING, operation, reason.encode());
}

/// Tells the id of the real process.
pub(crate) fn send_joined(channel: BorrowedFd<'_>, pid: i32) -> rustix::io::Result<()> {
    send(channel, JOINED, 0, (0, pid))
}

/// Hands over a terminal's master.
pub(crate) fn send_terminal(
    channel: BorrowedFd<'_>,
    master: BorrowedFd<'_>,
) -> rustix::io::Result<()> {
    let mut message = [0; LENGTH];
    message[0] = TERMINAL;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [master];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(Errno::NOBUFS);
    }
    let parts = [IoSlice::new(&message)];
    rustix::net::sendmsg(channel, &parts, &mut control, SendFlags::NOSIGNAL).map(drop)
}

fn send(
    channel: BorrowedFd<'_>,
    kind: u8,
    operation: usize,
    (detail, number): (u8, i32),
) -> rustix::io::Result<()> {
    let mut message = [0; LENGTH];
    message[0] = kind;
    message[1] = detail;
    message[4..8].copy_from_slice(&u32::try_from(operation).unwrap_or(u32::MAX).to_le_bytes());
    message[8..].copy_from_slice(&number.to_le_bytes());
    rustix::net::send(channel, &message, SendFlags::NOSIGNAL).map(drop)
}

/// Waits for the next report; `None` when the process has executed its program or has died.
///
/// # Errors
/// Those of recvmsg(2).
pub fn receive(channel: impl AsFd) -> Result<Option<Report>> {
    let mut message = [0; LENGTH];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let parts = &mut [IoSliceMut::new(&mut message)];
        rustix::net::recvmsg(&channel, parts, &mut control, RecvFlags::CMSG_CLOEXEC)
    });
    let received = match received {
        Err(Errno::CONNRESET) => return Ok(None),
        other => other.context("recvmsg", "report channel")?,
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    let operation = u32::from_le_bytes([message[4], message[5], message[6], message[7]]) as usize;
    let number = i32::from_le_bytes([message[8], message[9], message[10], message[11]]);
    let reason = Reason::decode(message[1], number);
    Ok(Some(match (message[0], descriptors.next()) {
        (TERMINAL, Some(master)) => Report::Terminal(master),
        (JOINED, _) => Report::Joined(number),
        (WARNING, _) => Report::Warning { operation, reason },
        _ => Report::Failed { operation, reason },
    }))
}

impl Reason {
    fn encode(self) -> (u8, i32) {
        match self {
            Self::Errno(errno) => (0, errno.raw_os_error()),
            Self::NoSuchUser => (1, 0),
            Self::NoSuchGroup => (2, 0),
            Self::BadId => (3, 0),
            Self::OutsideRoot => (4, 0),
            Self::NotInPath => (5, 0),
            Self::IsDirectory => (6, 0),
            Self::Forged => (7, 0),
            Self::NoIdMaps => (8, 0),
        }
    }

    fn decode(detail: u8, number: i32) -> Self {
        match detail {
            1 => Self::NoSuchUser,
            2 => Self::NoSuchGroup,
            3 => Self::BadId,
            4 => Self::OutsideRoot,
            5 => Self::NotInPath,
            6 => Self::IsDirectory,
            7 => Self::Forged,
            8 => Self::NoIdMaps,
            // Errno itself takes nothing but the kernel's range.
            _ if (1..4096).contains(&number) => Self::Errno(Errno::from_raw_os_error(number)),
            _ => Self::Errno(Errno::IO),
        }
    }

    /// The errno that comes nearest.
    pub fn errno(self) -> i32 {
        match self {
            Self::Errno(errno) => errno.raw_os_error(),
            Self::NoSuchUser | Self::NoSuchGroup | Self::BadId => libc::EINVAL,
            Self::OutsideRoot | Self::Forged => libc::EPERM,
            Self::NotInPath => libc::ENOENT,
            Self::IsDirectory => libc::EISDIR,
            Self::NoIdMaps => libc::EOPNOTSUPP,
        }
    }
}

impl From<Errno> for Reason {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}
