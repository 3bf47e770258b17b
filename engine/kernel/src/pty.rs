//! Pseudo-terminals.

use std::os::fd::{AsFd, OwnedFd};

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

use crate::error::{Context, Result};

/// Both ends of a pseudo-terminal.
#[derive(Debug)]
pub struct Pair {
    /// The end that the user's program reads and writes.
    pub master: OwnedFd,
    /// The end that becomes the controlling terminal.
    pub slave: OwnedFd,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters per line.
    pub columns: u16,
}

/// Opens a pair in this process's own `/dev/pts`.
///
/// The other end is opened by TIOCGPTPEER and never by a path, which could be another file in a
/// container's mount namespace (CVE-2016-2568's class).
///
/// # Errors
/// `ENOSPC` when no terminals are left.
pub fn open_pair() -> Result<Pair> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).context("open", "/dev/ptmx")?;
    unlockpt(&master).context("ioctl TIOCSPTLCK", "/dev/ptmx")?;
    let slave = ioctl_tiocgptpeer(&master, flags).context("ioctl TIOCGPTPEER", "/dev/ptmx")?;
    Ok(Pair { master, slave })
}

/// Sets the size; the foreground process group receives SIGWINCH.
///
/// # Errors
/// `ENOTTY` when the descriptor is no terminal.
pub fn set_size(terminal: impl AsFd, size: Size) -> Result<()> {
    let window = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, window).context("ioctl TIOCSWINSZ", "terminal")
}

/// Reads the size.
///
/// # Errors
/// `ENOTTY` when the descriptor is no terminal.
pub fn size(terminal: impl AsFd) -> Result<Size> {
    let window = tcgetwinsize(terminal).context("ioctl TIOCGWINSZ", "terminal")?;
    Ok(Size {
        rows: window.ws_row,
        columns: window.ws_col,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_seen_from_the_other_end() {
        let pair = open_pair().unwrap();
        let wanted = Size {
            rows: 40,
            columns: 132,
        };
        set_size(&pair.master, wanted).unwrap();
        assert_eq!(size(&pair.slave).unwrap(), wanted);
        let (pipe, _) = rustix::pipe::pipe().unwrap();
        assert_eq!(
            set_size(pipe, wanted).unwrap_err().errno,
            rustix::io::Errno::NOTTY
        );
    }
}
