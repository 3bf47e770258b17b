//! Mounts that only one thread sees.
//!
//! As in [`crate::netns`], a thread never comes back from another namespace: it is made for the work and ends with it, and with the thread
//! go the namespace and everything that was mounted in it. Needs CAP_SYS_ADMIN.

use std::os::fd::BorrowedFd;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;

use crate::error::{Context, KernelError, Result, errno_of};

/// Runs `work` on a thread with a mount namespace of its own, from which no mount spreads to the machine.
///
/// Descriptors that `work` opens beneath its mounts must not leave it: what is mounted on top of another mount is taken apart when the
/// namespace ends.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN, `ENOSPC` when the user's number of namespaces is used up. A panic of `work` goes on in the caller.
pub fn run_apart<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("mountns".to_owned())
            .spawn_scoped(scope, || {
                // CLONE_NEWNS needs a root and working directory that no other thread shares (unshare(2)).
                crate::sys::unshare(UnshareFlags::NEWNS | UnshareFlags::FS)
                    .context("unshare", "CLONE_NEWNS")?;
                let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
                mount_change("/", private).context("make private", "/")?;
                Ok(work())
            })
            .map_err(|error| KernelError::new("clone", "thread", errno_of(&error)))?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Shows a detached mount with the ids of a user namespace: a file of user 0 is its root's there (mount_setattr(2)).
///
/// # Errors
/// `EINVAL` for a file system that cannot do it, `EPERM` without CAP_SYS_ADMIN.
pub fn map_ids(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> Result<()> {
    crate::sys::map_ids(mount, namespace).context("mount_setattr", "MOUNT_ATTR_IDMAP")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mount::{MountFlags, mount};

    #[test]
    fn mounts_are_seen_by_the_thread_alone() {
        let place = std::env::temp_dir().join(format!("hoist-mountns-{}", std::process::id()));
        std::fs::create_dir(&place).unwrap();
        let seen = run_apart(|| {
            mount(
                "tmpfs",
                &place,
                "tmpfs",
                MountFlags::empty(),
                None::<&std::ffi::CStr>,
            )
            .unwrap();
            std::fs::write(place.join("inside"), "x").unwrap();
            place.join("inside").exists()
        });
        assert!(seen.unwrap());
        assert!(!place.join("inside").exists());
        std::fs::remove_dir(&place).unwrap();
    }
}
