//! The raw system calls that rustix does not offer as safe functions.
//!
//! One `unsafe` operation per function; what makes it sound is said at the block and does not depend on
//! the caller.

use rustix::io::Result;
use rustix::thread::UnshareFlags;

/// unshare(2) for the calling thread. `FILES` is refused, which is the only flag that can invalidate
/// descriptors that other threads own.
pub(crate) fn unshare(flags: UnshareFlags) -> Result<()> {
    if flags.contains(UnshareFlags::FILES) {
        return Err(rustix::io::Errno::INVAL);
    }
    // SAFETY: without CLONE_FILES the descriptor table stays shared, so no `OwnedFd` of another thread
    // changes its meaning; the other flags change no memory of this process.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// A signal by its number, 1 to 64; real-time signals too, which rustix names only through this door.
pub(crate) fn signal(number: i32) -> Option<rustix::process::Signal> {
    if let Some(named) = rustix::process::Signal::from_named_raw(number) {
        return Some(named);
    }
    if !(32..=64).contains(&number) {
        return None;
    }
    // SAFETY: the signal is only ever sent to other processes by number; no handler or mask of this
    // process's libc, which reserves 32 and 33 for itself, is touched through the value.
    Some(unsafe { rustix::process::Signal::from_raw_unchecked(number) })
}
