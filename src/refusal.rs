//! What is said of a command line that cannot be read, and what it leaves with: Docker's codes, and under its name its words.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use hoist_api::DOCKER_VERSION;

use crate::failure::FAILED;

/// What Docker's command line leaves with when an option is wrong.
const BAD_OPTION: u8 = 125;

/// Whether the line asks for nothing but the version, which then needs no tree of commands.
pub(crate) fn asks_version(line: &[OsString]) -> bool {
    matches!(line, [_, word] if word == "--version" || word == "-v")
}

/// Prints the version: under Docker's name that of Docker which ours is like, as scripts read it.
pub(crate) fn version(as_docker: bool) -> ExitCode {
    let ours = env!("CARGO_PKG_VERSION");
    let line = match as_docker {
        true => format!("Docker version {DOCKER_VERSION}, build hoist-{ours}"),
        false => format!("hoist version v{ours}"),
    };
    // Nobody to tell when standard output is closed.
    let _ = writeln!(std::io::stdout(), "{line}");
    ExitCode::SUCCESS
}

/// Prints clap's help, or its complaint.
pub(crate) fn refuse(error: &clap::Error, as_docker: bool) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp => return printed(error),
        ErrorKind::DisplayVersion => return version(as_docker),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if as_docker => {
            let _ = write!(std::io::stdout(), "{error}");
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let option = option_of(error);
    match in_dockers_words(error).filter(|_| as_docker) {
        // Nobody to tell when standard error is closed.
        Some(words) => drop(writeln!(std::io::stderr(), "{words}")),
        None => drop(error.print()),
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

/// The complaint as `docker` words it, with what we know of the usage below; none for what it does not know.
fn in_dockers_words(error: &clap::Error) -> Option<String> {
    let usage = error.get(ContextKind::Usage).map(ToString::to_string);
    let usage = usage.unwrap_or_default();
    let usage = usage.trim_end();
    // Up to the first placeholder: the command.
    let words = usage.trim_start_matches("Usage:").split_whitespace();
    let command: Vec<&str> = words
        .take_while(|word| !word.starts_with(['[', '<', '-']))
        .collect();
    let command = command.join(" ");
    let option = option_of(error);
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => value.as_str(),
        _ => "",
    };
    let complaint = match (error.kind(), option) {
        (ErrorKind::UnknownArgument, Some(option)) => unknown(option),
        (ErrorKind::UnknownArgument, None) => {
            let word = error.get(ContextKind::InvalidArg);
            let word = word.map(ToString::to_string).unwrap_or_default();
            format!("docker: '{command}' accepts no argument {word:?}")
        }
        (ErrorKind::MissingRequiredArgument, _) => {
            let missing = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::Strings(missing)) => missing.len(),
                _ => 1,
            };
            let plural = if missing == 1 { "" } else { "s" };
            format!("docker: '{command}' requires at least {missing} argument{plural}")
        }
        (ErrorKind::TooFewValues, None) => {
            let least = match error.get(ContextKind::MinValues) {
                Some(ContextValue::Number(least)) => *least,
                _ => 2,
            };
            format!("docker: '{command}' requires at least {least} arguments")
        }
        (ErrorKind::InvalidSubcommand, _) => match error.get(ContextKind::InvalidSubcommand) {
            Some(verb) => format!("docker: unknown command: {command} {verb}"),
            None => return None,
        },
        (ErrorKind::InvalidValue | ErrorKind::ValueValidation, Some(option)) => {
            let name = option.split([' ', '=']).next().unwrap_or(option);
            match value.is_empty() {
                true => format!("flag needs an argument: {name}"),
                false => format!("invalid argument {value:?} for {name:?} flag{}", why(error)),
            }
        }
        _ => return None,
    };
    Some(format!(
        "{complaint}\n\n{usage}\n\nRun '{command} --help' for more information"
    ))
}

/// Why a value is none.
fn why(error: &clap::Error) -> String {
    use std::error::Error as _;
    match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(source), _) => format!(": {source}"),
        (None, Some(valid)) => format!(": must be one of {valid}"),
        (None, None) => String::new(),
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
