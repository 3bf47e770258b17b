//! The user's terminal: its size, and raw mode that ends with the value that holds it.

use std::io::{self, Write as _};

use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use crate::failure::Failure;

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

/// Standard input passes keys on at once and shows none of them; Ctrl-C stays a signal. Put back when this is dropped.
#[derive(Debug)]
pub(crate) struct KeyMode {
    _restored: RawMode,
}

impl KeyMode {
    /// Changes the terminal; not when it is another job's just now, which would stop us.
    pub(crate) fn enter() -> Option<KeyMode> {
        // Of a terminal that is not our session's nothing is known, and it stops nobody.
        let foreground = termios::tcgetpgrp(io::stdin());
        if foreground.is_ok_and(|group| group != rustix::process::getpgrp()) {
            return None;
        }
        let before = termios::tcgetattr(io::stdin()).ok()?;
        let mut keys = before.clone();
        keys.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &keys).ok()?;
        Some(KeyMode {
            _restored: RawMode { before },
        })
    }
}

/// Asks on the terminal and reads a line.
///
/// # Errors
/// The terminal cannot be read.
pub(crate) fn ask(question: &str) -> Result<String, Failure> {
    let mut error = io::stderr();
    let asked = write!(error, "{question}").and_then(|()| error.flush());
    let mut line = String::new();
    asked
        .and_then(|()| io::stdin().read_line(&mut line))
        .map_err(|error| Failure::from(error).context("cannot read from the terminal"))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Like [`ask`], without showing what is typed.
///
/// # Errors
/// Standard input is no terminal.
pub(crate) fn ask_secret(question: &str) -> Result<String, Failure> {
    let silenced = termios::tcgetattr(io::stdin()).and_then(|before| {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &silent)?;
        Ok(RawMode { before })
    });
    let _echo = silenced.map_err(|errno| {
        Failure::from(io::Error::from(errno)).context("cannot hide the password")
    })?;
    let answer = ask(question);
    // The key that ended the line was not shown either.
    let _ = writeln!(io::stderr());
    answer
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Nothing can be done for a terminal that has gone away.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}
