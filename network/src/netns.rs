//! Work inside another network namespace, on a thread made for it.
//!
//! A thread that enters a namespace never comes back: it ends. So a failure half-way can never leave a thread of
//! the engine in a container's namespace.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Why work in a namespace could not be started.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// No thread could be made.
    #[error("spawn a thread for a network namespace")]
    Spawn(#[source] io::Error),
    /// `unshare(CLONE_NEWNET)`.
    #[error("unshare(CLONE_NEWNET)")]
    Unshare(#[source] io::Error),
    /// `setns`.
    #[error("setns(CLONE_NEWNET)")]
    Enter(#[source] io::Error),
    /// `open("/proc/thread-self/ns/net")`.
    #[error("open(/proc/thread-self/ns/net)")]
    Open(#[source] io::Error),
    /// The work itself panicked.
    #[error("the thread in the network namespace panicked")]
    Panicked,
}

/// The small stack of a throw-away thread: the work is netlink messages, nothing deep.
const STACK_BYTES: usize = 256 * 1024;

/// Runs `work` on a new thread inside the network namespace `netns`.
///
/// # Errors
/// [`NetnsError`] when the thread or the switch fails; what `work` returns is passed on.
pub fn inside<T: Send>(
    netns: BorrowedFd<'_>,
    work: impl FnOnce() -> T + Send,
) -> Result<T, NetnsError> {
    on_new_thread(|| {
        rustix::thread::move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
            .map_err(|errno| NetnsError::Enter(errno.into()))?;
        Ok(work())
    })
}

/// Makes a new network namespace and runs `work` in it on a new thread, with a descriptor of the namespace.
///
/// `before` runs first on the same thread, still in the caller's namespace: open sockets of the caller's
/// namespace there. The namespace lives as long as the descriptor, or a process or socket in it, does.
///
/// # Errors
/// [`NetnsError`] when the thread or the namespace fails; what the closures return is passed on.
pub fn create<B, T: Send>(
    before: impl FnOnce() -> B + Send,
    work: impl FnOnce(B, &OwnedFd) -> T + Send,
) -> Result<(OwnedFd, T), NetnsError> {
    on_new_thread(|| {
        let prepared = before();
        unshare_network()?;
        let netns = current()?;
        let result = work(prepared, &netns);
        Ok((netns, result))
    })
}

/// A descriptor of the calling thread's network namespace.
///
/// # Errors
/// [`NetnsError::Open`].
pub fn current() -> Result<OwnedFd, NetnsError> {
    rustix::fs::open(
        "/proc/thread-self/ns/net",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| NetnsError::Open(errno.into()))
}

#[allow(
    deprecated,
    reason = "the safe form is enough: CLONE_NEWNET touches neither the file table nor memory"
)]
fn unshare_network() -> Result<(), NetnsError> {
    rustix::thread::unshare(UnshareFlags::NEWNET).map_err(|errno| NetnsError::Unshare(errno.into()))
}

fn on_new_thread<T: Send>(
    work: impl FnOnce() -> Result<T, NetnsError> + Send,
) -> Result<T, NetnsError> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("netns".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(NetnsError::Spawn)?
            .join()
            .map_err(|_panic| NetnsError::Panicked)?
    })
}
