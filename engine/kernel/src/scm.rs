//! Descriptors over unix sockets (`SCM_RIGHTS`, unix(7)), and whether the other end has read what was sent.
//!
//! Every received descriptor is close-on-exec. A truncated control message is an error and never a silent
//! loss of descriptors.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::error::{Context, KernelError, Result};

/// The most descriptors one message carries: the kernel's own limit is 253 (`SCM_MAX_FD`).
pub const MAX_FDS: usize = 64;

/// Whether the other end of a unix socket has taken all that was sent.
///
/// # Errors
/// `EINVAL` for a socket that listens.
pub fn is_all_read(socket: impl AsFd) -> Result<bool> {
    let waiting = crate::sys::bytes_waiting(socket.as_fd());
    waiting
        .map(|bytes| bytes == 0)
        .context("ioctl SIOCOUTQ", "socket")
}

/// Sends bytes, and descriptors with the first of them; returns how many bytes the socket took.
///
/// On a stream socket a short write is possible: send the rest without the descriptors.
/// Never raises SIGPIPE.
///
/// # Errors
/// `EAGAIN` on a full non-blocking socket, `EPIPE` when the peer has gone, `EINVAL` for more than
/// [`MAX_FDS`] descriptors or for descriptors without a byte to carry them.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize> {
    if fds.len() > MAX_FDS || (bytes.is_empty() && !fds.is_empty()) {
        return Err(KernelError::new("sendmsg", "descriptors", Errno::INVAL));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(KernelError::new("sendmsg", "descriptors", Errno::NOBUFS));
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(
            &socket,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
    })
    .context("sendmsg", "unix socket")
}

/// Sends all bytes of a message on a blocking socket.
///
/// # Errors
/// As [`send`].
pub fn send_all(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    let mut sent = send(&socket, bytes, fds)?;
    while sent < bytes.len() {
        sent += send(&socket, &bytes[sent..], &[])?;
    }
    Ok(())
}

/// Receives bytes into `buffer`, appends received descriptors to `fds`; returns the number of bytes, 0 at the end.
///
/// # Errors
/// `EAGAIN` on an empty non-blocking socket; `EMSGSIZE` when the peer sent more descriptors than
/// [`MAX_FDS`] (those that did arrive are closed).
pub fn receive(socket: impl AsFd, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let flags = RecvFlags::CMSG_CLOEXEC;
        rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)
    })
    .context("recvmsg", "unix socket")?;
    let mut arrived = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            arrived.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(KernelError::new("recvmsg", "descriptors", Errno::MSGSIZE));
    }
    fds.append(&mut arrived);
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap()
    }

    #[test]
    fn what_was_read_is_known() {
        let (left, right) = pair();
        assert!(is_all_read(&left).unwrap());
        send(&left, b"some", &[]).unwrap();
        assert!(!is_all_read(&left).unwrap());
        let mut bytes = [0; 2];
        rustix::io::read(&right, &mut bytes).unwrap();
        assert!(!is_all_read(&left).unwrap());
        rustix::io::read(&right, &mut bytes).unwrap();
        assert!(is_all_read(&left).unwrap());
    }

    #[test]
    fn descriptors_arrive_close_on_exec_and_usable() {
        let (left, right) = pair();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        send_all(&left, b"hello", &[writer.as_fd()]).unwrap();
        let mut fds = Vec::new();
        let mut buffer = [0; 16];
        assert_eq!(receive(&right, &mut buffer, &mut fds).unwrap(), 5);
        assert_eq!(fds.len(), 1);
        let flags = rustix::io::fcntl_getfd(&fds[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        rustix::io::write(&fds[0], b"x").unwrap();
        assert_eq!(rustix::io::read(&reader, &mut buffer).unwrap(), 1);
    }

    #[test]
    fn descriptors_need_a_byte_and_have_a_limit() {
        let (left, _right) = pair();
        assert_eq!(
            send(&left, b"", &[left.as_fd()]).unwrap_err().errno,
            Errno::INVAL
        );
        let many = vec![left.as_fd(); MAX_FDS + 1];
        assert_eq!(send(&left, b"x", &many).unwrap_err().errno, Errno::INVAL);
        assert!(send(&left, b"x", &many[..MAX_FDS]).is_ok());
    }

    #[test]
    fn a_closed_peer_is_an_error_not_a_signal() {
        let (left, right) = pair();
        drop(right);
        assert_eq!(send(&left, b"x", &[]).unwrap_err().errno, Errno::PIPE);
    }
}
