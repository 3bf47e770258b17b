//! The shim's socket in the container's state directory.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use hoist_kernel::KernelError;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::protocol::SOCKET_NAME;

const BACKLOG: i32 = 16;

/// A listening socket whose name goes away with it, unless another shim has taken the name since.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    directory: OwnedFd,
    /// Device and inode of the name.
    identity: (u64, u64),
}

impl Listener {
    /// Listens in a directory, through its descriptor: a socket's path has at most 107 bytes.
    ///
    /// # Errors
    /// Those of the file system and of socket(2).
    pub(crate) fn bind(directory: &Path) -> Result<Self, KernelError> {
        let object = directory.join(SOCKET_NAME).to_string_lossy().into_owned();
        let context = |call: &'static str| {
            let object = object.clone();
            move |errno| KernelError::new(call, object, errno)
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            rustix::fs::open(directory, flags, Mode::empty()).map_err(context("open"))?;
        match rustix::fs::unlinkat(&directory, SOCKET_NAME, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(context("unlink")(errno)),
        }
        let path = format!("/proc/self/fd/{}/{SOCKET_NAME}", directory.as_raw_fd());
        let address = SocketAddrUnix::new(path.as_str()).map_err(context("bind"))?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(context("socket"))?;
        rustix::net::bind(&socket, &address).map_err(context("bind"))?;
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::chmodat(&directory, SOCKET_NAME, mode, AtFlags::empty())
            .map_err(context("chmod"))?;
        rustix::net::listen(&socket, BACKLOG).map_err(context("listen"))?;
        let identity = identity(&directory).map_err(context("fstatat"))?;
        Ok(Self {
            socket,
            directory,
            identity,
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if identity(&self.directory) == Ok(self.identity) {
            let _ = rustix::fs::unlinkat(&self.directory, SOCKET_NAME, AtFlags::empty());
        }
    }
}

fn identity(directory: &OwnedFd) -> rustix::io::Result<(u64, u64)> {
    let status = rustix::fs::statat(directory, SOCKET_NAME, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((status.st_dev, status.st_ino))
}
