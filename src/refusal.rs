//! What is said of a command line that cannot be read, and what it leaves with: Docker's codes, and under its name its words.

use std::io::Write as _;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::FAILED;

/// What Docker's command line leaves with when an option is wrong.
const BAD_OPTION: u8 = 125;

/// Prints clap's help, or its complaint.
pub(crate) fn refuse(error: &clap::Error, as_docker: bool) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp => return printed(error),
        ErrorKind::DisplayVersion if as_docker => {
            let version = env!("CARGO_PKG_VERSION");
            // Nobody to tell when standard output is closed.
            let _ = writeln!(std::io::stdout(), "Docker version {version}, build hoist");
            return ExitCode::SUCCESS;
        }
        ErrorKind::DisplayVersion => return printed(error),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if as_docker => {
            let _ = write!(std::io::stdout(), "{error}");
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let option = option_of(error);
    match option {
        Some(option) if as_docker && error.kind() == ErrorKind::UnknownArgument => {
            let usage = error.get(ContextKind::Usage).map(ToString::to_string);
            let usage = usage.unwrap_or_default();
            let _ = writeln!(std::io::stderr(), "{}\n\n{usage}", unknown(option));
        }
        _ => drop(error.print()),
    }
    ExitCode::from(match option {
        Some(_) if as_docker => BAD_OPTION,
        _ => FAILED,
    })
}

fn printed(error: &clap::Error) -> ExitCode {
    match error.print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILED),
    }
}

/// The option that the complaint is about; none when it is about something else.
fn option_of(error: &clap::Error) -> Option<&str> {
    let ContextValue::String(word) = error.get(ContextKind::InvalidArg)? else {
        return None;
    };
    word.starts_with('-').then_some(word)
}

/// `unknown flag: --odd`.
fn unknown(option: &str) -> String {
    match option
        .strip_prefix('-')
        .filter(|rest| !rest.starts_with('-'))
    {
        Some(short) => {
            let letter: String = short.chars().take(1).collect();
            format!("unknown shorthand flag: '{letter}' in {option}")
        }
        None => format!("unknown flag: {option}"),
    }
}
