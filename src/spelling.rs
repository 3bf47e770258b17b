//! What Docker's command lines take and ours would not by itself: `--flag=false`, and options that mean nothing here.
//!
//! Only such a line pays for it: the tree that takes it is made when a word asks for it.

use std::collections::BTreeSet;
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

const WINDOWS: &str = "only Windows has it";
const SWARM: &str = "only volumes of a swarm have it";
const CHECKPOINT: &str = "this engine cannot checkpoint containers";
const SOCKET: &str =
    "give the container the engine's socket: -v /run/hoist/hoist.sock:/var/run/docker.sock";

/// Options that Docker's command line has and that are refused, by the command's path, with why; those that take a value end in `=`.
const REFUSED: [(&[&str], &str, &str); 25] = [
    (&["container", "run"], "cpu-count=", WINDOWS),
    (&["container", "run"], "cpu-percent=", WINDOWS),
    (&["container", "run"], "io-maxbandwidth=", WINDOWS),
    (&["container", "run"], "io-maxiops=", WINDOWS),
    (&["container", "run"], "use-api-socket", SOCKET),
    (&["container", "create"], "cpu-count=", WINDOWS),
    (&["container", "create"], "cpu-percent=", WINDOWS),
    (&["container", "create"], "io-maxbandwidth=", WINDOWS),
    (&["container", "create"], "io-maxiops=", WINDOWS),
    (&["container", "create"], "use-api-socket", SOCKET),
    (&["container", "start"], "checkpoint=", CHECKPOINT),
    (&["container", "start"], "checkpoint-dir=", CHECKPOINT),
    (
        &["image", "build"],
        "security-opt=",
        "steps have the usual protection",
    ),
    (
        &["builder", "build"],
        "security-opt=",
        "steps have the usual protection",
    ),
    (&["volume", "ls"], "cluster", SWARM),
    (&["volume", "create"], "availability=", SWARM),
    (&["volume", "create"], "group=", SWARM),
    (&["volume", "create"], "limit-bytes=", SWARM),
    (&["volume", "create"], "required-bytes=", SWARM),
    (&["volume", "create"], "scope=", SWARM),
    (&["volume", "create"], "secret=", SWARM),
    (&["volume", "create"], "sharing=", SWARM),
    (&["volume", "create"], "topology-preferred=", SWARM),
    (&["volume", "create"], "topology-required=", SWARM),
    (&["volume", "create"], "type=", SWARM),
];

/// A verb of the top with the options that are refused by name.
#[must_use]
pub(crate) fn with_refused(verb: Command) -> Command {
    let name = verb.get_name().to_owned();
    let of_it = |verb, (path, option, why): &(&[&str], &'static str, &'static str)| match path {
        [first, rest @ ..] if *first == name => refuse(verb, rest, option, why),
        _ => verb,
    };
    REFUSED.iter().fold(verb, of_it)
}

fn refuse(command: Command, path: &[&str], option: &'static str, why: &'static str) -> Command {
    if let [first, rest @ ..] = path {
        return command.mut_subcommand(first, |inner| refuse(inner, rest, option, why));
    }
    let refused = move |_: &str| Err::<String, String>(why.to_owned());
    let (name, arg) = match option.strip_suffix('=') {
        Some(name) => (name, Arg::new(name)),
        None => {
            let switch = Arg::new(option).num_args(0..=1).require_equals(true);
            (option, switch.default_missing_value("true"))
        }
    };
    let arg = arg.long(name).hide(true).action(ArgAction::Append);
    command.arg(arg.value_parser(refused))
}

/// A verb of the top with the options that do nothing.
#[must_use]
pub(crate) fn with_ignored(verb: Command) -> Command {
    let name = verb.get_name().to_owned();
    let of_it =
        |verb, (path, option, takes): &(&[&str], &'static str, Takes)| match path.split_first() {
            Some((first, rest)) if *first == name => add(verb, (rest, option, *takes)),
            _ => verb,
        };
    WITHOUT_EFFECT.iter().fold(verb, of_it)
}

fn add(command: Command, (path, name, takes): (&[&str], &'static str, Takes)) -> Command {
    let Some((first, rest)) = path.split_first() else {
        let arg = Arg::new(name).long(name).hide(true);
        return command.arg(match takes {
            Takes::Nothing => arg.action(ArgAction::SetTrue),
            Takes::Anything => arg.action(ArgAction::Append),
            Takes::Words(words) => arg
                .action(ArgAction::Append)
                .value_parser(PossibleValuesParser::new(words)),
        });
    };
    command.mut_subcommand(first, |inner| add(inner, (rest, name, takes)))
}

/// The command in which an option that wants a value takes the next word for it, whatever that begins with, as Docker's do: `-e -x`.
#[must_use]
pub(crate) fn with_any_values(command: Command) -> Command {
    command.mut_args(|arg| {
        let wants = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        let may_be_alone = arg
            .get_num_args()
            .is_some_and(|count| count.min_values() == 0);
        match wants && !arg.is_positional() && !may_be_alone {
            true => arg.allow_hyphen_values(true),
            false => arg,
        }
    })
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

/// The line without the switches that it turns off; nothing when there are none. A word that is a switch's of one command
/// only is left alone where another command takes a value by that name.
pub(crate) fn without_what_is_off(tree: &Command, line: &[OsString]) -> Option<Vec<OsString>> {
    let (mut switches, mut others) = (BTreeSet::new(), BTreeSet::new());
    let mut ahead = vec![tree];
    while let Some(command) = ahead.pop() {
        for arg in command.get_arguments() {
            // As `with_values` has made them.
            let is_switch = arg.get_default_values() == ["false"];
            let names = if is_switch {
                &mut switches
            } else {
                &mut others
            };
            names.extend(arg.get_long());
        }
        ahead.extend(command.get_subcommands());
    }
    let is_off = |word: &&OsString| {
        let word = word.to_str().and_then(|word| word.strip_prefix("--"));
        let split = word.and_then(|word| word.split_once('='));
        split.is_some_and(|(name, value)| {
            truth(value) == Ok(false) && switches.contains(name) && !others.contains(name)
        })
    };
    let left: Vec<OsString> = line.iter().filter(|word| !is_off(word)).cloned().collect();
    (left.len() < line.len()).then_some(left)
}

/// What Go's `strconv.ParseBool` takes.
fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("give true or false".to_owned()),
    }
}
