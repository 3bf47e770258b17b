//! Processes by descriptor: a pid may be used again, a pidfd never means another process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::{Context, KernelError, Result};

/// Opens a process.
///
/// # Errors
/// `ESRCH` when there is none of this number.
pub fn open(pid: i32) -> Result<OwnedFd> {
    let valid = Pid::from_raw(pid)
        .ok_or_else(|| KernelError::new("pidfd_open", pid.to_string(), rustix::io::Errno::INVAL))?;
    pidfd_open(valid, PidfdFlags::empty()).context("pidfd_open", pid.to_string())
}

/// Sends a signal by number (1 to 64).
///
/// # Errors
/// `ESRCH` when the process has ended, `EINVAL` for a number that is no signal.
pub fn send_signal(pidfd: impl AsFd, signal: i32) -> Result<()> {
    let valid = signal_from_number(signal).ok_or_else(|| {
        KernelError::new(
            "pidfd_send_signal",
            signal.to_string(),
            rustix::io::Errno::INVAL,
        )
    })?;
    pidfd_send_signal(pidfd, valid).context("pidfd_send_signal", signal.to_string())
}

/// Whether the process has ended (a zombie counts as ended), waiting at most `timeout`.
///
/// # Errors
/// Those of poll(2).
pub fn wait_ended(pidfd: BorrowedFd<'_>, timeout: std::time::Duration) -> Result<bool> {
    let deadline = std::time::Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let timespec = Timespec::try_from(left).ok();
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut fds, timespec.as_ref()) {
            Err(rustix::io::Errno::INTR) => continue,
            result => return Ok(result.context("poll", "pidfd")? > 0),
        }
    }
}

pub(crate) fn signal_from_number(number: i32) -> Option<Signal> {
    if (1..=64).contains(&number) {
        crate::sys::signal(number)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_killed_process_is_seen_to_end() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pidfd = open(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(!wait_ended(pidfd.as_fd(), Duration::ZERO).unwrap());
        send_signal(&pidfd, 9).unwrap();
        assert!(wait_ended(pidfd.as_fd(), Duration::from_secs(5)).unwrap());
        child.wait().unwrap();
        assert_eq!(
            send_signal(&pidfd, 9).unwrap_err().errno,
            rustix::io::Errno::SRCH
        );
    }

    #[test]
    fn wrong_numbers_are_refused() {
        assert_eq!(open(0).unwrap_err().errno, rustix::io::Errno::INVAL);
        let me = open(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert_eq!(
            send_signal(&me, 65).unwrap_err().errno,
            rustix::io::Errno::INVAL
        );
    }
}
