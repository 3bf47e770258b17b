//! Signals as events.

use std::os::fd::OwnedFd;

use crate::error::{Context, Result};

/// A non-blocking descriptor that becomes readable when a signal of the list is pending (signalfd(2)).
/// The signals are blocked in this thread from now on.
///
/// # Errors
/// `EMFILE`.
pub fn descriptor(signals: &[i32]) -> Result<OwnedFd> {
    crate::sys::signal_descriptor(signals).context("signalfd", "signals")
}

/// Forgets what is pending; what happened is found out by other means, such as waitpid(2).
pub fn drain(descriptor: &OwnedFd) {
    // `struct signalfd_siginfo` has 128 bytes.
    let mut buffer = [0; 128 * 8];
    while rustix::io::read(descriptor, &mut buffer).is_ok_and(|length| length > 0) {}
}
