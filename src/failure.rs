//! How a command ends when it does not end well: an exit code, and what the user is told.
//!
//! Every error of the crates below becomes one [`Failure`]; `ui` prints it once, in `main`.

use std::error::Error;
use std::fmt;

use hoist_api::{ApiError, ErrorKind};

/// The exit code of a failure of hoist itself.
pub(crate) const FAILED: u8 = 1;
/// The exit code after Ctrl-C or SIGTERM.
pub(crate) const INTERRUPTED: u8 = 130;
/// The exit code when the reader of the output has gone away, as the shell reports SIGPIPE.
pub(crate) const READER_GONE: u8 = 141;

/// What to do when the engine ends in the middle of a command.
pub(crate) const GONE: &str = "containers go on without it; the next command starts it again, and `hoist engine logs` says why it ended";

/// Why a command ends early or with a code other than 0.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the process leaves with.
    pub(crate) exit: u8,
    /// What is printed; nothing for an exit code that is a result (`exec`, `plan --exit-code`).
    pub(crate) report: Option<Report>,
}

/// What is printed of a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// What was being done to which object, or what is wrong.
    pub(crate) headline: String,
    /// Why, from near to far.
    pub(crate) causes: Vec<String>,
    /// Lines for people, printed as they are instead of all this (the loader's snippets).
    pub(crate) rendered: Option<String>,
    /// What the user can do.
    pub(crate) hint: Option<String>,
    /// Whose words it is.
    pub(crate) voice: Voice,
}

/// Whose words a failure is, which `docker` tells before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Voice {
    /// The command line's.
    #[default]
    Ours,
    /// The engine's answer.
    Engine,
    /// `inspect`'s, of what it has not found among all objects.
    Inspect,
}

impl Voice {
    /// What `docker` puts in front.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Voice::Ours => "",
            Voice::Engine => "Error response from daemon: ",
            Voice::Inspect => "Error: ",
        }
    }
}

impl Failure {
    /// An error with this message.
    pub(crate) fn new(headline: impl Into<String>) -> Failure {
        let report = Report {
            headline: headline.into(),
            ..Report::default()
        };
        Failure {
            exit: FAILED,
            report: Some(report),
        }
    }

    /// An error whose text, with snippets, is laid out already.
    pub(crate) fn rendered(error: &dyn Error, text: String) -> Failure {
        let report = Report {
            headline: error.to_string(),
            rendered: Some(text),
            ..Report::default()
        };
        Failure {
            exit: FAILED,
            report: Some(report),
        }
    }

    /// An exit code that is a result, not an error: nothing is printed.
    pub(crate) fn exit(code: u8) -> Failure {
        Failure {
            exit: code,
            report: None,
        }
    }

    /// Sets the exit code.
    #[must_use]
    pub(crate) fn with_exit(mut self, code: u8) -> Failure {
        self.exit = code;
        self
    }

    /// Says whose words it is.
    #[must_use]
    pub(crate) fn said_by(mut self, voice: Voice) -> Failure {
        if let Some(report) = &mut self.report {
            report.voice = voice;
        }
        self
    }

    /// Adds what the user can do, unless something is said already.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        if let Some(report) = &mut self.report {
            report.hint.get_or_insert_with(|| hint.into());
        }
        self
    }

    /// Puts what was being done in front; the former headline becomes the first cause.
    #[must_use]
    pub(crate) fn context(mut self, headline: impl Into<String>) -> Failure {
        if let Some(report) = &mut self.report {
            let former = std::mem::replace(&mut report.headline, headline.into());
            report.causes.insert(0, former);
        }
        self
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Failure {
        let mut failure = Failure::new(error.to_string());
        let error: &(dyn Error + 'static) = &error;
        if let Some(error) = error.downcast_ref::<ApiError>() {
            if !matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Protocol) {
                failure = failure.said_by(Voice::Engine);
            }
            if let Some(hint) = &error.hint {
                failure = failure.hint(hint);
            } else if error.is(ErrorKind::Unreachable) {
                failure = failure.hint(GONE);
            }
        }
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(report) = &mut failure.report {
                report.causes.push(cause.to_string());
            }
            source = cause.source();
        }
        failure
    }
}

impl fmt::Display for Report {
    /// The message in one line: headline and those causes that say something new.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline)?;
        let mut said = self.headline.clone();
        for cause in self.causes.iter().filter(|cause| !cause.is_empty()) {
            if !said.contains(cause.as_str()) {
                write!(f, ": {cause}")?;
                said.push_str(cause);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_chain_is_told_once() {
        let io = std::io::Error::other("disk is full");
        let failure = Failure::from(io).context("cannot write out.yaml");
        let report = failure.report.expect("an error has a report");
        assert_eq!(report.to_string(), "cannot write out.yaml: disk is full");
        let report = Report {
            headline: "cannot open x: no such file".into(),
            causes: vec!["no such file".into()],
            ..Report::default()
        };
        assert_eq!(report.to_string(), "cannot open x: no such file");
    }

    #[test]
    fn an_engine_that_goes_leaves_a_hint() {
        let gone = ApiError::new(ErrorKind::Unreachable, "the engine closed the connection");
        let report = Failure::from(gone).report.expect("an error has a report");
        assert_eq!(report.voice, Voice::Ours);
        assert_eq!(report.hint.as_deref(), Some(GONE));
    }

    #[test]
    fn the_first_hint_stays() {
        let failure = Failure::new("x").hint("near").hint("far");
        assert_eq!(failure.report.and_then(|r| r.hint).as_deref(), Some("near"));
    }
}
