//! What Docker's command lines take and ours would not by itself: `--flag=false`, and options that mean nothing here.
//!
//! Only such a line pays for it: the tree that takes it is made when a word asks for it.

use std::ffi::OsString;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command};

/// What an option that does nothing takes.
#[derive(Clone, Copy)]
enum Takes {
    Nothing,
    Anything,
    /// One of these words: with others it would mean something.
    Words(&'static [&'static str]),
}

/// Options that are accepted and do nothing, as Docker's command line takes them on Linux, by the command's path. Those of Windows
/// alone are no options here, as with Docker.
const WITHOUT_EFFECT: [(&[&str], &str, Takes); 10] = [
    // Notary's signatures are gone from Docker's engine, too.
    (&["image", "build"], "disable-content-trust", Takes::Nothing),
    (
        &["builder", "build"],
        "disable-content-trust",
        Takes::Nothing,
    ),
    (&["image", "pull"], "disable-content-trust", Takes::Nothing),
    (&["image", "push"], "disable-content-trust", Takes::Nothing),
    (
        &["container", "run"],
        "disable-content-trust",
        Takes::Nothing,
    ),
    (
        &["container", "create"],
        "disable-content-trust",
        Takes::Nothing,
    ),
    // Others are Windows'.
    (
        &["image", "build"],
        "isolation",
        Takes::Words(&["", "default"]),
    ),
    (
        &["builder", "build"],
        "isolation",
        Takes::Words(&["", "default"]),
    ),
    // The kernel has no such limit any more.
    (&["container", "run"], "kernel-memory", Takes::Anything),
    (&["container", "create"], "kernel-memory", Takes::Anything),
];

/// The tree with the options that do nothing.
#[must_use]
pub(crate) fn with_ignored(tree: Command) -> Command {
    WITHOUT_EFFECT.iter().fold(tree, add)
}

fn add(command: Command, (path, name, takes): &(&[&str], &'static str, Takes)) -> Command {
    let Some((first, rest)) = path.split_first() else {
        let arg = Arg::new(*name).long(*name).hide(true);
        return command.arg(match takes {
            Takes::Nothing => arg.action(ArgAction::SetTrue),
            Takes::Anything => arg.action(ArgAction::Append),
            Takes::Words(words) => arg
                .action(ArgAction::Append)
                .value_parser(PossibleValuesParser::new(*words)),
        });
    };
    command.mut_subcommand(first, |inner| add(inner, &(rest, *name, *takes)))
}

/// Whether a word says yes or no to an option in Docker's way: `--rm=true`, `-it=0`.
pub(crate) fn is_spelled_out(line: &[OsString]) -> bool {
    line.iter().skip(1).any(|word| {
        let word = word.to_str().filter(|word| word.starts_with('-'));
        let value = word.and_then(|word| word.split_once('='));
        // After letters no other answer is taken for one: the complaint is about the value then.
        value.is_some_and(|(word, value)| !word.starts_with("--") || truth(value).is_ok())
    })
}

/// The tree in which every switch takes `=true` and `=false`, too.
#[must_use]
pub(crate) fn with_values(command: Command) -> Command {
    command
        .mut_args(|arg| match arg.get_action() {
            ArgAction::SetTrue => arg
                .action(ArgAction::Set)
                .value_parser(truth)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value("false")
                .hide_default_value(true),
            _ => arg,
        })
        .mut_subcommands(with_values)
}

/// What Go's `strconv.ParseBool` takes.
fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("give true or false".to_owned()),
    }
}
