//! Files made to harm: `config` refuses each with a clear message, soon and in little memory.
//!
//! The limit is on the address space of the whole program, its own code included: a file that grows without bound ends
//! as an abort instead of the message. What the release build takes is measured by hand, see CHANGELOG.md.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::place::Place;
use crate::common::{LONG, run};

/// KiB of address space.
const MEMORY: u32 = 256 * 1024;

/// Runs `config` under the limit; it must fail with all of these texts and say little.
#[track_caller]
fn refused(place: &Place, expected: &[&str]) {
    let hoist = place.command("config --quiet");
    let mut limited = Command::new("/bin/sh");
    limited
        .args(["-c", &format!("ulimit -v {MEMORY}; exec \"$@\""), "sh"])
        .arg(hoist.get_program())
        .args(hoist.get_args())
        .current_dir(place.path())
        .env_clear()
        .env("PATH", "/usr/bin:/bin");
    let run = run::to_end(limited, LONG).exits(1);
    for text in expected {
        assert!(
            run.stderr.contains(text),
            "expected `{text}` in: {}",
            run.stderr.chars().take(2_000).collect::<String>()
        );
    }
    assert!(
        run.stderr.len() < 100_000,
        "{} bytes are said",
        run.stderr.len()
    );
}

fn with(compose: &str, expected: &[&str]) {
    refused(&Place::with(compose), expected);
}

fn service(attributes: &str) -> String {
    format!("services:\n  a:\n    image: i\n{attributes}")
}

fn repeated(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

#[test]
fn alias_bombs() {
    let mut bomb = "x-a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 9].join(", ");
        let _ = writeln!(bomb, "x-a{level}: &a{level} [{items}]");
    }
    with(
        &bomb,
        &["keys and values, aliases included", "compose.yaml:"],
    );
    let mut bomb = "x-a0: &a0 {k: v}\n".to_owned();
    for level in 1..40 {
        let _ = writeln!(
            bomb,
            "x-a{level}: &a{level}\n  <<: *a{0}\n  l{level}: *a{0}",
            level - 1
        );
    }
    with(&bomb, &["keys and values, aliases included"]);
}

#[test]
fn depth_bombs() {
    with(&"[".repeat(1_000_000), &["not valid YAML"]);
    with(&"{a: ".repeat(100_000), &["compose.yaml:"]);
    with(&"- ".repeat(100_000), &["deeper than 128 levels"]);
    let block = repeated(2_000, |level| format!("{}a:\n", " ".repeat(level)));
    with(&block, &["deeper than 128 levels"]);
}

#[test]
fn megabytes() {
    let keys = repeated(300_000, |index| format!("  s{index}: 1\n"));
    with(
        &format!("services:\n{keys}"),
        &["compose.yaml:50002:3", "more than 50000 keys"],
    );
    with(
        &format!(
            "services:\n{}",
            repeated(60_000, |_| "  - x: 1\n".to_owned())
        ),
        &["keys and values, aliases included"],
    );
    with(
        &format!("services: {}\n", "x".repeat(10 << 20)),
        &["larger than 4 MiB"],
    );
    with(
        &format!("services: {}\n", "x".repeat(3 << 20)),
        &["longer than 2 MiB"],
    );
    let unknown = repeated(20_000, |index| format!("    unknown{index}: 1\n"));
    with(&service(&unknown), &["unknown attribute `unknown0`"]);
}

#[test]
fn variables_of_variables() {
    let deep = format!("{}x{}", "${A:-".repeat(100_000), "}".repeat(100_000));
    with(
        &service(&format!("    hostname: \"{deep}\"\n")),
        &["too deeply"],
    );
    with(
        &service(&format!("    hostname: \"{}\"\n", "${A:-".repeat(200_000))),
        &["not a variable"],
    );
    let mut bomb = format!("A0={}\n", "x".repeat(1_000));
    for level in 1..20 {
        let _ = writeln!(bomb, "A{level}={}", format!("$A{}", level - 1).repeat(10));
    }
    refused(
        &Place::with(&service("")).file(".env", &bomb),
        &["too long", ".env:"],
    );
    let place = Place::with(&service(&format!(
        "    command: [{}]\n",
        "\"$A\",".repeat(50_000)
    )));
    refused(
        &place.file(".env", &format!("A={}\n", "x".repeat(100_000))),
        &["hold too much text"],
    );
    let uses = repeated(2_000, |index| {
        format!("  s{index}: {{image: i, env_file: big.env}}\n")
    });
    let place = Place::with(&format!("services:\n{uses}"));
    refused(
        &place.file("big.env", &format!("A={}\n", "x".repeat(1 << 20))),
        &["read too much"],
    );
}

#[test]
fn numbers() {
    let ports = "\"1-65535:1-65535\",\"1-65535:1-65535/udp\",".repeat(100);
    with(&service(&format!("    ports: [{ports}]\n")), &["ports"]);
    with(&service("    scale: 99999999999999999999\n"), &["scale"]);
    with(
        &service("    mem_limit: 99999999999999999999g\n"),
        &["mem_limit"],
    );
    with(
        &service("    stop_grace_period: 999999999999999w\n"),
        &["stop_grace_period"],
    );
}

#[test]
fn circles_and_long_ways() {
    with(
        "services: {a: {extends: b}, b: {extends: a}}",
        &["a → b → a"],
    );
    with(
        "include: [compose.yaml]\nservices: {a: {image: i}}",
        &["in a circle"],
    );
    let chain = repeated(3_000, |index| {
        format!("  s{index}: {{extends: s{}}}\n", index + 1)
    });
    with(
        &format!("services:\n{chain}  s3000: {{image: i}}\n"),
        &["too long"],
    );
    let base = repeated(5_000, |index| format!("      K{index}: v\n"));
    let uses = repeated(1_000, |index| format!("  s{index}: {{extends: big}}\n"));
    let bomb = format!("services:\n  big:\n    image: i\n    environment:\n{base}{uses}");
    with(&bomb, &["taken over by `extends`"]);
    // Each file includes the next one twice.
    let mut place = Place::with("include: [f0.yaml, f0.yaml]\nservices: {a: {image: i}}\n");
    for level in 0..40 {
        let text = format!("include: [f{0}.yaml, ./f{0}.yaml]\n", level + 1);
        place = place.file(&format!("f{level}.yaml"), &text);
    }
    refused(
        &place.file("f40.yaml", "services: {}\n"),
        &["too many files"],
    );
}

#[test]
fn links_and_devices() {
    let place = Place::new();
    link(&place, "compose.yaml", "b.yaml");
    link(&place, "b.yaml", "compose.yaml");
    refused(&place, &["no configuration file provided"]);
    let place = Place::with("include: [l.yaml]\nservices: {a: {image: i}}\n");
    link(&place, "l.yaml", "l.yaml");
    refused(&place, &["l.yaml", "compose.yaml:1:"]);
    let place = Place::with("services: {a: {image: i, env_file: zero}}\n");
    link(&place, "zero", "/dev/zero");
    refused(&place, &["is a device", "compose.yaml:1:"]);
    let place = Place::new();
    link(&place, "compose.yaml", "/dev/zero");
    refused(&place, &["is a device"]);
    let place = Place::with("services: {a: {image: i, label_file: zero}}\n");
    link(&place, "zero", "/dev/zero");
    refused(&place, &["is a device"]);
}

fn link(place: &Place, name: &str, target: &str) {
    symlink(target, place.path().join(name)).expect("it is ours");
}

#[test]
fn pipes_and_directories() {
    let pipe = |place: &Place, name: &str| {
        let status = Command::new("mkfifo").arg(place.path().join(name)).status();
        assert!(status.expect("mkfifo").success());
    };
    for name in ["compose.yaml", ".env", "some.env"] {
        let place = if name == "compose.yaml" {
            Place::new()
        } else {
            Place::with("services: {a: {image: i, env_file: {path: some.env, required: false}}}\n")
        };
        let place = if name == "some.env" {
            place.file(
                "compose.yaml",
                "services: {a: {image: i, env_file: some.env}}\n",
            )
        } else {
            place
        };
        if name == ".env" {
            std::fs::write(place.path().join("compose.yaml"), service("")).expect("it is ours");
        }
        pipe(&place, name);
        refused(&place, &["named pipe"]);
    }
    let place = Place::with("include: [d]\nservices: {a: {image: i, env_file: d}}\n");
    std::fs::create_dir(place.path().join("d")).expect("it is ours");
    refused(&place, &["is a directory"]);
}

#[test]
fn what_is_no_text() {
    for (bytes, expected) in [
        (&b"services:\0\n"[..], "NUL"),
        // Half of a pair, and half of a character.
        (b"\xff\xfe\x00\xd8s\0", "UTF-16"),
        (b"\xfe\xff\0s\0", "UTF-16"),
        (b"\x7fELF\x02\x01\x01\xff\xfe", "not UTF-8"),
        (b"", "empty compose file"),
        (b"%YAML 9.9\n%%\n", "compose.yaml:"),
    ] {
        let place = Place::new();
        write(&place.path().join("compose.yaml"), bytes);
        refused(&place, &[expected]);
    }
    let place = Place::with(&service("    env_file: bin.env\n"));
    write(&place.path().join("bin.env"), b"A=\0\xff\n");
    refused(&place, &["bin.env", "NUL"]);
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("it is ours");
}

/// A valid file may be told off at length, too.
#[test]
fn warnings_without_end() {
    let variables = repeated(20_000, |number| format!("\"${{V{number}}}\","));
    let place = Place::with(&service(&format!("    command: [{variables}]\n")));
    let told = run::to_end(place.command("config --quiet"), LONG).ok();
    assert_eq!(told.stderr.matches("variable is not set").count(), 50);
    told.says(&["The \"V0\" variable is not set", "… and 950 more"]);
}
