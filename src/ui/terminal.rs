//! The user's terminal: its size, and raw mode that ends with the value that holds it.

use std::io;

use rustix::termios::{self, OptionalActions, Termios};

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: u16,
    pub(crate) rows: u16,
}

/// The size of the terminal behind standard error, or else standard output.
pub(crate) fn size() -> Option<Size> {
    let found =
        termios::tcgetwinsize(io::stderr()).or_else(|_| termios::tcgetwinsize(io::stdout()));
    let window = found.ok()?;
    (window.ws_col > 0 && window.ws_row > 0).then_some(Size {
        columns: window.ws_col,
        rows: window.ws_row,
    })
}

/// Standard input in raw mode, put back when this is dropped (also by a panic).
#[derive(Debug)]
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Makes standard input pass every key on as it is.
    ///
    /// # Errors
    /// Standard input is no terminal.
    pub(crate) fn enter() -> io::Result<RawMode> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(RawMode { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Nothing can be done for a terminal that has gone away.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}
