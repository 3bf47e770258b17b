//! The only place that prints.
//!
//! Results go to standard output, progress, warnings and errors to standard error. A reader that
//! has gone away ends the command quietly. Knows nothing of engines and projects: it gets text,
//! rows, changes and log lines.

pub(crate) mod build;
pub(crate) mod human;
pub(crate) mod logs;
pub(crate) mod progress;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod transfer;

use std::io::{self, IsTerminal, Write};

use crate::failure::{Failure, READER_GONE, Report};
use crate::globals::{AnsiMode, ProgressMode};
use style::Style;

/// How to print, decided once from options and environment.
#[derive(Debug, Clone)]
pub(crate) struct Ui {
    /// Whether standard output may carry colours.
    pub(crate) color_out: bool,
    /// Whether standard error may carry colours and cursor movements.
    pub(crate) color_err: bool,
    /// How progress is shown; never `Auto` or `None`.
    pub(crate) progress: ProgressMode,
    /// Whether progress goes to standard output (COMPOSE_STATUS_STDOUT).
    pub(crate) progress_on_stdout: bool,
    /// Whether failures are told in the words of `docker`, which scripts look for.
    pub(crate) as_docker: bool,
}

/// What [`Ui::new`] decides from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UiOptions {
    pub(crate) ansi: AnsiMode,
    pub(crate) progress: ProgressMode,
    pub(crate) no_color: bool,
    pub(crate) progress_on_stdout: bool,
}

impl Ui {
    /// Decides how to print on the process's own standard streams.
    pub(crate) fn new(options: UiOptions) -> Ui {
        let may = |is_terminal: bool| match options.ansi {
            AnsiMode::Never => false,
            AnsiMode::Always => true,
            AnsiMode::Auto => is_terminal && !options.no_color,
        };
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let shown_on_terminal = if options.progress_on_stdout { out } else { err };
        let progress = match options.progress {
            ProgressMode::Auto if shown_on_terminal && options.ansi != AnsiMode::Never => {
                ProgressMode::Tty
            }
            ProgressMode::Auto => ProgressMode::Plain,
            ProgressMode::None => ProgressMode::Quiet,
            other => other,
        };
        Ui {
            color_out: may(out),
            color_err: may(err),
            progress,
            progress_on_stdout: options.progress_on_stdout,
            as_docker: false,
        }
    }

    /// Without colours, for failures before anything is decided.
    pub(crate) fn plain() -> Ui {
        Ui {
            color_out: false,
            color_err: false,
            progress: ProgressMode::Plain,
            progress_on_stdout: false,
            as_docker: false,
        }
    }

    /// Prints a line of the result.
    ///
    /// # Errors
    /// Standard output cannot be written; quiet when its reader has gone away.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        written(
            out.write_all(text.as_bytes())
                .and_then(|()| out.write_all(b"\n")),
        )
    }

    /// Prints a part of the result as it is, and flushes it.
    ///
    /// # Errors
    /// As [`Ui::line`].
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        written(out.write_all(bytes).and_then(|()| out.flush()))
    }

    /// As [`Ui::bytes`], on standard error.
    ///
    /// # Errors
    /// Standard error cannot be written.
    pub(crate) fn error_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut err = io::stderr().lock();
        written(err.write_all(bytes).and_then(|()| err.flush()))
    }

    /// Prints a value as indented JSON.
    ///
    /// # Errors
    /// As [`Ui::line`].
    pub(crate) fn json(&self, value: &serde_json::Value) -> Result<(), Failure> {
        self.line(&format!("{value:#}"))
    }

    /// Says something that is no result, on standard error.
    pub(crate) fn note(&self, text: &str) {
        // In one piece, as progress is. Nobody to tell when standard error is closed.
        let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
    }

    /// Warns on standard error.
    pub(crate) fn warn(&self, text: &str) {
        if self.progress == ProgressMode::Json {
            let line = serde_json::json!({"level": "warning", "message": text});
            return self.note(&line.to_string());
        }
        self.note(&format!(
            "{} {text}",
            Style::Warning.paint("warning:", self.color_err)
        ));
    }

    /// Prints the one message of a failed command.
    pub(crate) fn report(&self, report: &Report) {
        self.report_of("", report);
    }

    /// The same, of a command of `docker` that names itself.
    pub(crate) fn report_of(&self, command: &str, report: &Report) {
        if self.progress == ProgressMode::Json {
            let line = serde_json::json!({"error": true, "message": report.to_string()});
            return self.note(&line.to_string());
        }
        match &report.rendered {
            Some(rendered) => self.note(rendered.trim_end()),
            None if self.as_docker => {
                self.note(&format!("{command}{}{report}", report.voice.title()));
            }
            None => self.note(&format!(
                "{} {report}",
                Style::Error.paint("error:", self.color_err)
            )),
        }
        if let Some(hint) = &report.hint {
            self.note(&format!(
                "{} {hint}",
                Style::Hint.paint("hint:", self.color_err)
            ));
        }
    }

    /// Asks a question that is answered with yes or no, on a terminal or in a pipe; no when there is no answer.
    ///
    /// # Errors
    /// Standard input cannot be read.
    pub(crate) fn confirm(&self, question: &str) -> Result<bool, Failure> {
        self.error_bytes(format!("{question} [y/N] ").as_bytes())?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }
}

/// A write's outcome as the command's: a reader that has gone away is no error to report.
pub(crate) fn written(outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::exit(READER_GONE)),
        Err(error) => Err(Failure::from(error).context("cannot write the output")),
    }
}
