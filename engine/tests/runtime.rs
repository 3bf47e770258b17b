//! A container from its specification to its exit code, on the real kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use support::Place;

#[test]
fn output_and_exit_code_come_back() {
    let outcome = Place::new("echo out; echo err >&2; exit 7").run();
    assert_eq!((outcome.record.code, outcome.record.signal), (7, None));
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("out\n", "err\n")
    );
}
