//! What Docker's command lines take and ours would not by itself: `--flag=false`, and options that mean nothing here.
//!
//! Only such a line pays for it: the tree that takes it is made when a word asks for it.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// Options that are accepted and do nothing, as Docker's command line takes them on Linux: the command's path, the option,
/// whether it has a value.
const WITHOUT_EFFECT: [(&[&str], &str, bool); 18] = [
    // Notary's signatures are gone from Docker's engine, too.
    (&["image", "build"], "disable-content-trust", false),
    (&["builder", "build"], "disable-content-trust", false),
    (&["image", "pull"], "disable-content-trust", false),
    (&["image", "push"], "disable-content-trust", false),
    (&["container", "run"], "disable-content-trust", false),
    (&["container", "create"], "disable-content-trust", false),
    // Only on Windows.
    (&["image", "build"], "isolation", true),
    (&["builder", "build"], "isolation", true),
    (&["container", "run"], "cpu-count", true),
    (&["container", "create"], "cpu-count", true),
    (&["container", "run"], "cpu-percent", true),
    (&["container", "create"], "cpu-percent", true),
    (&["container", "run"], "io-maxbandwidth", true),
    (&["container", "create"], "io-maxbandwidth", true),
    (&["container", "run"], "io-maxiops", true),
    (&["container", "create"], "io-maxiops", true),
    // The kernel has no such limit any more.
    (&["container", "run"], "kernel-memory", true),
    (&["container", "create"], "kernel-memory", true),
];

/// The tree with the options that do nothing.
#[must_use]
pub(crate) fn with_ignored(tree: Command) -> Command {
    WITHOUT_EFFECT.iter().fold(tree, add)
}

fn add(command: Command, (path, name, takes_value): &(&[&str], &'static str, bool)) -> Command {
    let Some((first, rest)) = path.split_first() else {
        let arg = Arg::new(*name).long(*name).hide(true);
        return command.arg(arg.action(match takes_value {
            true => ArgAction::Append,
            false => ArgAction::SetTrue,
        }));
    };
    command.mut_subcommand(first, |inner| add(inner, &(rest, *name, *takes_value)))
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
