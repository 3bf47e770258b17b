//! User namespaces: made by a process that does nothing else, because a process with threads cannot enter one.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::UnshareFlags;

use crate::error::{Context, KernelError, Result, errno_of};
use crate::init::program::IdRange;
use crate::init::report;
use crate::netns;
use crate::sys::{self, CloneRequest, Forked, SingleThreaded};

/// A user namespace, and a network namespace that it owns: its users may set up and filter that network.
#[derive(Debug)]
pub struct Namespaces {
    /// The user namespace.
    pub user: OwnedFd,
    /// The network namespace, with nothing but `lo`, which is down.
    pub network: OwnedFd,
}

/// Makes both. They live as long as a descriptor or a process is in them.
///
/// # Errors
/// `EINVAL` when this process has more than one thread or the ranges overlap, `ENOSPC` when the machine allows no (more) user
/// namespaces (`user.max_user_namespaces`), `EPERM` without CAP_SYS_ADMIN.
pub fn create(users: &[IdRange], groups: &[IdRange]) -> Result<Namespaces> {
    let flags = u64::from((libc::CLONE_NEWUSER | libc::CLONE_NEWNET).cast_unsigned());
    with_process(flags, &|| Ok(()), &|pid| {
        // Written from outside, with privilege: so setgroups(2) stays allowed inside.
        for (file, ranges) in [("uid_map", users), ("gid_map", groups)] {
            let path = format!("/proc/{pid}/{file}");
            std::fs::write(&path, map_text(ranges))
                .map_err(|error| KernelError::new("write", path, errno_of(&error)))?;
        }
        Ok(Namespaces {
            user: open(pid, "user")?,
            network: open(pid, "net")?,
        })
    })
}

/// Makes a network namespace that an existing user namespace owns.
///
/// # Errors
/// As [`create`].
pub fn create_network(user: BorrowedFd<'_>) -> Result<OwnedFd> {
    let enter = || {
        let kind = Some(rustix::thread::LinkNameSpaceType::User);
        rustix::thread::move_into_link_name_space(user, kind)?;
        sys::unshare(UnshareFlags::NEWNET)
    };
    with_process(0, &enter, &|pid| open(pid, "net"))
}

/// Makes a process that runs `enter` and then waits until `look`, which is given its id, has returned.
fn with_process<T>(
    flags: u64,
    enter: &dyn Fn() -> rustix::io::Result<()>,
    look: &dyn Fn(i32) -> Result<T>,
) -> Result<T> {
    let proof = SingleThreaded::check().context("clone3", "a process with threads")?;
    let (ours, theirs) = report::channel()?;
    let request = CloneRequest {
        flags,
        ..CloneRequest::default()
    };
    match sys::fork(request, proof).context("clone3", "namespaces")? {
        Forked::Child => {
            drop(ours);
            let code = match enter() {
                Ok(()) => 0,
                Err(errno) => errno.raw_os_error().to_le_bytes()[0],
            };
            let _ = rustix::io::write(&theirs, &[code]);
            // Until the other end closes, with its process at the latest.
            let _ = rustix::io::retry_on_intr(|| rustix::io::read(&theirs, &mut [0; 1]));
            sys::exit_now(0)
        }
        Forked::Parent(pid, _) => {
            drop(theirs);
            let mut code = [0];
            let entered = rustix::io::retry_on_intr(|| rustix::io::read(&ours, &mut code));
            let found = match (entered, code) {
                (Ok(1), [0]) => look(pid),
                (Ok(1), [code]) => {
                    let errno = Errno::from_raw_os_error(code.into());
                    Err(KernelError::new("setns", "user namespace", errno))
                }
                _ => Err(KernelError::new("clone3", "namespaces", Errno::PIPE)),
            };
            drop(ours);
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
            }
            found
        }
    }
}

fn open(pid: i32, name: &str) -> Result<OwnedFd> {
    netns::open(Path::new(&format!("/proc/{pid}/ns/{name}")))
}

/// One line for each range (user_namespaces(7)).
fn map_text(ranges: &[IdRange]) -> String {
    let line = |range: &IdRange| format!("{} {} {}\n", range.inside, range.outside, range.count);
    ranges.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_written_as_the_kernel_reads_them() {
        let range = |inside, outside, count| IdRange {
            inside,
            outside,
            count,
        };
        assert_eq!(
            map_text(&[range(0, 100_000, 1000), range(1000, 1000, 1)]),
            "0 100000 1000\n1000 1000 1\n"
        );
    }
}
