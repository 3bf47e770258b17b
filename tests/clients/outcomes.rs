//! Some two hundred commands of Docker's command line and what they come to: exit codes, output, messages, the same on this engine as
//! on Docker's. `outcomes.txt` has what Docker's engine did; where that engine is at hand the record itself is checked, and
//! `HOIST_BLESS=1` writes it anew.
//!
//! ```text
//! $ command
//! ~ why ours says something else: only success and failure are compared
//! ≠ why ours succeeds where Docker's fails, or the other way round: nothing is compared
//! = exit code, unless 0
//! | standard output
//! ! standard error
//! ```

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use regex_lite::Regex;

use crate::Shell;
use crate::common::{LONG, Reference, TestHost, can_run, reference, run};

/// What is another each time, and what it becomes.
const CHANGING: &[(&str, &str)] = &[
    (r"\b(sha256:)?[0-9a-f]{64}\b", "<id>"),
    (r"\b[0-9a-f]{12}\b", "<id>"),
    (r"\d{4}-\d\d-\d\d[T ][\d:.]+(Z| [+-]\d{4} \w+)?", "<time>"),
    (
        r"(Less than a second|About a minute|About an hour|\d+ \w+) ago",
        "<ago>",
    ),
    (r"/tmp/hoist-test-\w+", "<dir>"),
    (r"\b[\d.]+ ?[kKMGT]?i?B\b", "<size>"),
    (r"(dial|read) (tcp|udp).*", "<network>"),
    (r"\b\d+ CPUs", "<n> CPUs"),
    (r"to \d+\.00,", "to <n>,"),
    (r"[ \t]+", " "),
];

/// What the command line adds to what the engine says; it is another in each of its versions.
const NOISE: &[&str] = &[
    "Run 'docker",
    "See 'docker",
    "DEPRECATED:",
    "WARNING:",
    "Install the buildx",
    "BuildKit is currently disabled",
    "environment-variable",
];

/// A command of the table.
#[derive(Debug, Default)]
struct Entry {
    command: String,
    /// The lines before it, for readers.
    before: String,
    /// Why texts differ.
    differs: Option<String>,
    /// Why success differs.
    opposite: Option<String>,
    outcome: String,
}

impl Entry {
    fn is_met_by(&self, outcome: &str) -> bool {
        match (&self.opposite, &self.differs) {
            (Some(_), _) => true,
            (None, Some(_)) => outcome.starts_with("= ") == self.outcome.starts_with("= "),
            (None, None) => outcome == self.outcome,
        }
    }
}

fn file() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/clients/outcomes.txt"
    ))
}

fn entries() -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut before = String::new();
    for line in std::fs::read_to_string(file())
        .expect("the table is there")
        .lines()
    {
        match (line.split_once(' '), entries.last_mut()) {
            (Some(("$", command)), _) => entries.push(Entry {
                command: command.to_owned(),
                before: std::mem::take(&mut before),
                ..Entry::default()
            }),
            (Some(("~", why)), Some(entry)) => entry.differs = Some(why.to_owned()),
            (Some(("≠", why)), Some(entry)) => entry.opposite = Some(why.to_owned()),
            (Some(("=" | "|" | "!", _)), Some(entry)) => {
                let _ = writeln!(entry.outcome, "{line}");
            }
            _ => {
                let _ = writeln!(before, "{line}");
            }
        }
    }
    entries
}

fn written(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let _ = writeln!(text, "{}$ {}", entry.before, entry.command);
        for (mark, why) in [("~", &entry.differs), ("≠", &entry.opposite)] {
            if let Some(why) = why {
                let _ = writeln!(text, "{mark} {why}");
            }
        }
        text += &entry.outcome;
    }
    text
}

/// Runs a command and says what it came to.
fn outcome(mut command: Command, line: &str, changing: &[(Regex, &str)]) -> String {
    command.args(["-c", line]);
    let ran = run::to_end(command, 3 * LONG);
    let plain = |text: &str| {
        let text = changing.iter().fold(text.to_owned(), |text, (what, into)| {
            what.replace_all(&text, *into).into_owned()
        });
        let lines: Vec<String> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !NOISE.iter().any(|noise| line.contains(noise)))
            .map(str::to_owned)
            .collect();
        lines
    };
    let mut text = String::new();
    if ran.code != 0 {
        let _ = writeln!(text, "= {}", ran.code);
    }
    for line in plain(&ran.stdout) {
        let _ = writeln!(text, "| {line}");
    }
    for line in plain(&ran.stderr) {
        // Docker has written some messages with a capital and later without.
        let line = line.to_lowercase().replace("docker: error", "error");
        let _ = writeln!(text, "! {line}");
    }
    text
}

fn changing() -> Vec<(Regex, &'static str)> {
    let compiled =
        |(what, into): &(&str, &'static str)| (Regex::new(what).expect("it is one"), *into);
    CHANGING.iter().map(compiled).collect()
}

/// What Docker's engine comes to, where it is at hand.
fn theirs(commands: Vec<String>) -> Option<std::thread::JoinHandle<Vec<String>>> {
    let bin = reference::programs()?;
    let cli = crate::tool("docker-cli.sh");
    // Another host needs another thread.
    Some(std::thread::spawn(move || {
        let reference = Reference::start(bin);
        reference.import("busybox");
        let work = reference.path("work");
        std::fs::create_dir(&work).expect("the tmpfs is writable");
        let cli = cli.parent().expect("a program is in a directory");
        let path = std::env::var("PATH").unwrap_or_default();
        let changing = changing();
        let each = |line: &String| {
            let mut command = reference.command("sh");
            command
                .env("PATH", format!("{}:{path}", cli.display()))
                .current_dir(&work);
            outcome(command, line, &changing)
        };
        commands.iter().map(each).collect()
    }))
}

#[test]
fn commands_come_to_the_same_as_with_dockers_engine() {
    if !can_run() {
        return;
    }
    let mut entries = entries();
    assert!(entries.len() > 100, "the table is read");
    let theirs = theirs(entries.iter().map(|entry| entry.command.clone()).collect());
    let host = TestHost::with_busybox();
    std::fs::create_dir(host.path("work")).expect("the tmpfs is writable");
    let shell = Shell::of(&host, &["docker-cli.sh"]).within("work");
    let changing = changing();
    let ours: Vec<String> = entries
        .iter()
        .map(|entry| outcome(shell.command("sh"), &entry.command, &changing))
        .collect();
    let theirs = theirs.map(|theirs| theirs.join().expect("the reference ran"));
    if let Some(theirs) = &theirs
        && std::env::var_os("HOIST_BLESS").is_some()
    {
        for (entry, outcome) in entries.iter_mut().zip(theirs) {
            entry.outcome.clone_from(outcome);
        }
        std::fs::write(file(), written(&entries)).expect("the table is writable");
    }
    let mut wrong = String::new();
    for (number, (entry, ours)) in entries.iter().zip(&ours).enumerate() {
        if let Some(theirs) = theirs.as_ref().map(|theirs| &theirs[number])
            && !entry.is_met_by(theirs)
        {
            let _ = writeln!(
                wrong,
                "$ {}\nthe record says\n{}Docker's engine says\n{theirs}",
                entry.command, entry.outcome
            );
        }
        if !entry.is_met_by(ours) {
            let _ = writeln!(
                wrong,
                "$ {}\nDocker's engine:\n{}ours:\n{ours}",
                entry.command, entry.outcome
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
