//! Every command and option of Docker's own command line is one of ours under its name.

use super::*;
use crate::cli::Cli;
use clap::{Arg, ArgAction, Command};

/// Docker's command line 28: a line for each command (all its names, then its options), taken from its help.
const TABLE: &str = include_str!("../../tests/cli/docker-28.txt");

/// What is not taken, each with why.
const WITHOUT: [(&str, &str); 11] = [
    (" --config=", "read before the command"),
    (
        " -c/--context=",
        "put into our words before the command is read",
    ),
    (" -D/--debug", "passed over"),
    (" -l/--log-level=", "passed over"),
    ("manifest", "refused, with what to use instead"),
    ("manifest annotate", "refused"),
    ("manifest create", "refused"),
    ("manifest inspect", "its words are read by its own file"),
    ("manifest push", "refused"),
    ("manifest rm", "refused"),
    ("volume update", "only volumes of a swarm can be changed"),
];

#[test]
fn dockers_commands_and_options_are_ours() {
    let tree = Cli::tree();
    let missing: Vec<String> = TABLE
        .lines()
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(names, options)| names.split(", ").map(move |name| (name, options)))
        .flat_map(|(name, options)| missing_of(&tree, name, options))
        .filter(|what| !WITHOUT.iter().any(|(without, _)| without == what))
        .collect();
    assert!(missing.is_empty(), "not ours:\n{}", missing.join("\n"));
}

fn missing_of(tree: &Command, name: &str, options: &str) -> Vec<String> {
    let Some(command) = command_of(tree, name) else {
        return vec![name.to_owned()];
    };
    let lacks = |option: &&str| !takes(command, option);
    let options = options.split_whitespace().filter(lacks);
    options.map(|option| format!("{name} {option}")).collect()
}

/// Our command for one of Docker's.
fn command_of<'tree>(tree: &'tree Command, name: &str) -> Option<&'tree Command> {
    let words = std::iter::once("docker").chain(name.split_whitespace());
    let ours = translate(words.map(OsString::from).collect()).line;
    ours.iter().skip(1).try_fold(tree, |command, word| {
        command.find_subcommand(word.to_str()?)
    })
}

/// Whether it takes `-s/--long`, `--long`, with a value when `=` follows.
fn takes(command: &Command, option: &str) -> bool {
    let (option, value) = match option.strip_suffix('=') {
        Some(option) => (option, true),
        None => (option, false),
    };
    option.split('/').all(|word| {
        let named = |arg: &&Arg| match word.strip_prefix("--") {
            Some(long) => {
                arg.get_long_and_visible_aliases()
                    .is_some_and(|all| all.contains(&long))
                    || arg.get_all_aliases().is_some_and(|all| all.contains(&long))
            }
            None => arg
                .get_short()
                .is_some_and(|short| word.strip_prefix('-') == Some(short.to_string().as_str())),
        };
        let found = command.get_arguments().find(named);
        found.is_some_and(|arg| takes_value(arg) == value)
    })
}

fn takes_value(arg: &Arg) -> bool {
    let may_be_alone = arg
        .get_num_args()
        .is_some_and(|count| count.min_values() == 0);
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) && !may_be_alone
}
