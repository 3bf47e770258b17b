//! Network namespaces, entered only on threads made for it.
//!
//! A thread never switches its namespace and comes back: a failure on the way back would leave a thread of
//! a pool in a container's network. Every function here starts a thread, and the thread ends there.
//! Needs CAP_SYS_ADMIN.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::error::{Context, KernelError, Result, errno_of};

/// Makes an empty network namespace (only `lo`, down) and returns the descriptor that keeps it alive.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN, `ENOSPC` when the user's number of namespaces is used up.
pub fn create() -> Result<OwnedFd> {
    create_with(|| ()).map(|(namespace, ())| namespace)
}

/// Makes a network namespace and runs `set_up` inside it, all on one thread.
///
/// # Errors
/// As [`create`]. A panic of `set_up` goes on in the caller.
pub fn create_with<T: Send>(set_up: impl FnOnce() -> T + Send) -> Result<(OwnedFd, T)> {
    on_own_thread(|| {
        // A thread made for this call: nothing else shares its namespace, and it ends with this closure.
        crate::sys::unshare(UnshareFlags::NEWNET).context("unshare", "CLONE_NEWNET")?;
        let namespace = open(Path::new("/proc/thread-self/ns/net"))?;
        Ok((namespace, set_up()))
    })
}

/// Runs `work` inside a network namespace, on a thread made for it.
///
/// Sockets that `work` opens and returns stay in that namespace.
///
/// # Errors
/// `EINVAL` when the descriptor is no network namespace, `EPERM` without CAP_SYS_ADMIN.
/// A panic of `work` goes on in the caller.
pub fn run_in<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T> {
    on_own_thread(|| {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .context("setns", "network namespace")?;
        Ok(work())
    })
}

/// Opens a namespace by a path such as `/proc/<pid>/ns/net`.
///
/// # Errors
/// `ENOENT` when the process has gone.
pub fn open(path: &Path) -> Result<OwnedFd> {
    let file = File::open(path)
        .map_err(|error| KernelError::new("open", path.to_string_lossy(), errno_of(&error)))?;
    Ok(file.into())
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, work)
            .map_err(|error| KernelError::new("clone", "thread", errno_of(&error)))?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn inode_here() -> u64 {
        std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino()
    }

    #[test]
    fn a_new_namespace_is_another_one_and_the_caller_stays() {
        let before = inode_here();
        let (namespace, inside) = create_with(inode_here).unwrap();
        assert_ne!(inside, before);
        assert_eq!(inode_here(), before);
        assert_eq!(run_in(namespace.as_fd(), inode_here).unwrap(), inside);
        assert_eq!(inode_here(), before);
    }

    #[test]
    fn another_kind_of_namespace_is_refused() {
        let uts = open(Path::new("/proc/self/ns/uts")).unwrap();
        let error = run_in(uts.as_fd(), || ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "setns network namespace: Invalid argument (os error 22)"
        );
    }
}
