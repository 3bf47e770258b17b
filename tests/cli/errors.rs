//! What is said, and with what code, when something is wrong.

use super::place::{Place, check_snapshot};

const TWO: &str = "services:\n  web:\n    image: nginx\n  database:\n    image: postgres\n";

/// Runs the command and compares all it tells with the snapshot of this name.
#[track_caller]
fn check(name: &str, place: &Place, line: &str) {
    let run = place.hoist(line);
    check_snapshot(
        &format!("error-{name}"),
        &format!("$ hoist {line}\n{}", place.told(&run)),
    );
    assert!(!place.has_engine(), "{line} started an engine");
}

#[test]
fn mistakes_in_the_line() {
    let place = Place::with(TWO);
    check("no-command", &place, "");
    check("unknown-command", &place, "upp");
    check("unknown-option", &place, "up --detached");
    check(
        "options-that-exclude-each-other",
        &place,
        "up -d --abort-on-container-exit",
    );
    check("scale", &place, "up --scale web");
    check("host", &place, "--host tcp://127.0.0.1:2375 ps");
}

#[test]
fn unknown_services() {
    let place = Place::with(TWO);
    check("unknown-service", &place, "config databse");
    check("unknown-service-of-ps", &place, "ps cache");
}

#[test]
fn no_file() {
    check("no-file", &Place::new(), "config");
    check("missing-file", &Place::new(), "-f other.yaml config");
}

#[test]
fn wrong_files() {
    let typo = "services:\n  web:\n    image: nginx\n    portz:\n      - 80:80\n";
    check("unknown-attribute", &Place::with(typo), "config");
    let syntax = "services:\n  web:\n    image: [nginx\n  db: {}\n";
    check("syntax", &Place::with(syntax), "config");
    let cycle = "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [c]}\n  c: {image: x, depends_on: [a]}\n";
    check("cycle", &Place::with(cycle), "config");
}

#[test]
fn errors_as_json() {
    let run = Place::with(TWO)
        .hoist("--progress json config databse")
        .exits(1);
    let line: serde_json::Value = serde_json::from_str(run.stderr.trim()).expect("one JSON object");
    assert_eq!(line["error"], true);
    assert_eq!(line["message"], "no such service: databse");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::with(TWO);
    // The shell's other command reads nothing; hoist must neither complain nor panic.
    let mut shell = std::process::Command::new("/bin/sh");
    shell
        .args(["-c", concat!(env!("CARGO_BIN_EXE_hoist"), " config | true")])
        .current_dir(place.path());
    let run = crate::common::run::to_end(shell, crate::common::LONG).ok();
    assert_eq!(run.stderr, "");
}
