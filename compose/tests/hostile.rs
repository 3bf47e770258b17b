//! Files made to harm: each is refused with a clear message, soon, and without eating the machine.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::fmt::Write;
use std::time::{Duration, Instant};

use common::{MemoryFiles, load_text, options};
use hoist_compose::load::load;

/// Debug builds are some twenty times slower than what users run.
const SOON: Duration = Duration::from_secs(10);

#[track_caller]
fn refused(files: &MemoryFiles, expected: &str) {
    let start = Instant::now();
    let error = load(&options(), files).expect_err("must be refused");
    let text = error.to_string();
    assert!(
        text.contains(expected),
        "expected `{expected}` in: {}",
        text.chars().take(500).collect::<String>()
    );
    assert!(start.elapsed() < SOON, "took {:?}", start.elapsed());
    let rendered = error.render(false);
    assert!(
        rendered.len() < 100_000,
        "the message is {} bytes long",
        rendered.len()
    );
}

fn refused_text(text: &str, expected: &str) {
    refused(&MemoryFiles::new([("compose.yaml", text)]), expected);
}

#[test]
fn alias_bombs() {
    let mut text = "x-a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(text, "x-a{level}: &a{level} [{items}]").unwrap();
    }
    refused_text(&text, "more than 150000 keys and values");
    let mut text = "x-a0: &a0 {k: v}\n".to_owned();
    for level in 1..40 {
        writeln!(
            text,
            "x-a{level}: &a{level} {{l: *a{0}, r: *a{0}}}",
            level - 1
        )
        .unwrap();
    }
    refused_text(&text, "more than 150000 keys and values");
}

#[test]
fn an_anchor_in_itself() {
    refused_text("x-a: &a {b: *a}\nservices: {}\n", "anchor that contains it");
}

#[test]
fn depth_bombs() {
    refused_text(&"[".repeat(100_000), "not valid YAML");
    refused_text(
        &format!("x-a: {}1{}", "[".repeat(200), "]".repeat(200)),
        "deeper than 128 levels",
    );
    let mut block = String::new();
    for level in 0..2_000 {
        writeln!(block, "{}a:", " ".repeat(level)).unwrap();
    }
    refused_text(&block, "deeper than 128 levels");
    let mut aliases = "x-a0: &a0 {k: v}\n".to_owned();
    for level in 1..300 {
        writeln!(aliases, "x-a{level}: &a{level} {{l: *a{}}}", level - 1).unwrap();
    }
    refused_text(&aliases, "deeper than 128 levels");
}

#[test]
fn megabytes_of_keys() {
    let mut text = "services:\n".to_owned();
    for index in 0..400_000 {
        writeln!(text, "  s{index}: 1").unwrap();
    }
    refused_text(&text, "this mapping holds more than 50000 keys");
    refused_text(
        &format!("services:\n{}", "  - x: 1\n".repeat(60_000)),
        "more than 150000 keys and values",
    );
    let mut wrong = "services:\n  a:\n    image: i\n".to_owned();
    for index in 0..5_000 {
        writeln!(wrong, "    unknown{index}: 1").unwrap();
    }
    let start = Instant::now();
    let error = load_text(&wrong).unwrap_err();
    assert!(error.render(false).len() < 100_000);
    assert!(start.elapsed() < SOON, "took {:?}", start.elapsed());
}

#[test]
fn many_mistakes_end_the_reading() {
    let text = format!(
        "services:\n  a:\n    image: x\n{}",
        "    image: y\n".repeat(70_000)
    );
    let error = load_text(&text).unwrap_err();
    let told = error.diagnostics.len();
    assert!((1_000..20_000).contains(&told), "{told} mistakes are kept");
    refused_text(&text, "the key `image` is written twice");
}

#[test]
fn services_that_extend_too_much_are_not_made() {
    let labels: String = (0..2_000).map(|i| format!("      l{i}: x\n")).collect();
    let services: String = (0..3_000)
        .map(|i| format!("  s{i}: {{extends: base}}\n"))
        .collect();
    let text = format!("services:\n  base:\n    image: i\n    labels:\n{labels}{services}");
    refused_text(&text, "those taken over by `extends` included");
}

#[test]
fn more_than_a_machine_can_hold() {
    let services = |range: std::ops::Range<usize>| {
        let lines: String = range.map(|i| format!("  s{i}: {{image: x}}\n")).collect();
        format!("services:\n{lines}")
    };
    refused_text(
        &services(0..12_000),
        "compose.yaml:10002:3: there are more than 10000 services",
    );
    let files = MemoryFiles::new([
        ("compose.yaml", services(0..6_000).as_str()),
        ("compose.override.yaml", services(6_000..12_000).as_str()),
    ]);
    refused(&files, "there are more than 10000 services");
    let volumes: String = (0..40_000)
        .map(|i| format!("      - ./v{i}:/v{i}\n"))
        .collect();
    refused_text(
        &format!("services:\n  a:\n    image: x\n    volumes:\n{volumes}"),
        "compose.yaml:30005:9: with `services.a.volumes` the lists of all services have too many items",
    );
    // Texts that stay texts are no more than they were written as.
    let words = "\"w\", ".repeat(40_000);
    let text = format!("services:\n  a:\n    image: x\n    command: [{words}]\n");
    load_text(&text).expect("a long command");
}

#[test]
fn long_lines() {
    let text = format!(
        "services: {{a: {{image: i, command: \"{}\"}}}}",
        "$".repeat(500_001)
    );
    assert!(load_text(&text).is_ok());
    let text = format!(
        "services: {{a: {{image: \"{}\"}}}}",
        "${A:-".repeat(100_000)
    );
    refused_text(&text, "not a variable");
    let text = format!(
        "services: {{a: {{image: \"{}x{}\"}}}}",
        "${A:-".repeat(10_000),
        "}".repeat(10_000)
    );
    refused_text(&text, "too deep");
}

#[test]
fn many_variables() {
    let start = Instant::now();
    let uses: String = (0..20_000).fold(String::new(), |mut uses, index| {
        let _ = write!(uses, "$A{index}");
        uses
    });
    let loaded = load_text(&format!(
        "services: {{a: {{image: i, command: \"{uses}\"}}}}"
    ))
    .unwrap();
    assert!(
        loaded
            .warnings
            .iter()
            .all(|warning| warning.code == "missing-variable")
    );
    let place = loaded.warnings[999].primary.as_ref().unwrap();
    let (start_at, end) = (place.location.start, place.location.end);
    assert_eq!(&place.location.source.text[start_at..end], "$A999");
    assert!(start.elapsed() < SOON, "took {:?}", start.elapsed());
}

#[test]
fn wrong_services_are_not_made() {
    let wrong: String = (0..9_000).fold(String::new(), |mut wrong, index| {
        let _ = writeln!(wrong, "  s{index}: 1");
        wrong
    });
    refused_text(&format!("services:\n{wrong}"), "`services.s0` must be");
}

#[test]
fn loops() {
    refused_text("services: {a: {extends: b}, b: {extends: a}}", "a → b → a");
    refused_text(
        "include: [compose.yaml]\nservices: {a: {image: i}}",
        "in a circle",
    );
    let files = MemoryFiles::new([
        (
            "compose.yaml",
            "services: {a: {extends: {file: x.yaml, service: a}}}",
        ),
        (
            "x.yaml",
            "services: {a: {extends: {file: compose.yaml, service: a}}}",
        ),
    ]);
    refused(&files, "in a circle");
    let files = MemoryFiles::new([
        ("compose.yaml", "include: [x.yaml]"),
        ("x.yaml", "include: [compose.yaml]"),
    ]);
    refused(&files, "in a circle");
    let chain: String = (0..3_000)
        .map(|i| format!("  s{i}: {{image: i, depends_on: [s{}]}}\n", (i + 1) % 3_000))
        .collect();
    let circle = format!("services:\n{chain}");
    refused_text(&circle, "dependency cycle");
    let error = load_text(&circle).unwrap_err();
    assert!(error.render(false).len() < 10_000, "all of it is told");
    let chain: String = (0..3_000)
        .map(|i| format!("  s{i}: {{extends: s{}}}\n", i + 1))
        .collect();
    refused_text(
        &format!("services:\n{chain}  s3000: {{image: i}}\n"),
        "too long",
    );
}

#[test]
fn files_that_are_no_text() {
    refused(&MemoryFiles::bytes(b"services:\0".to_vec()), "NUL");
    refused(
        &MemoryFiles::bytes(vec![0x7f, b'E', b'L', b'F', 0xff, 0xfe]),
        "not UTF-8",
    );
    refused(&MemoryFiles::bytes(Vec::new()), "empty compose file");
    refused_text("- a\n- b\n", "must be a mapping");
    refused_text("text", "must be a mapping");
}

#[test]
fn many_port_ranges_and_errors_stay_small() {
    let ports: String = (0..200)
        .map(|index| {
            format!(
                "\"1-65535:1-65535/{}\",",
                if index % 2 == 0 { "tcp" } else { "udp" }
            )
        })
        .collect();
    let start = Instant::now();
    let _ = load_text(&format!("services: {{a: {{image: i, ports: [{ports}]}}}}"));
    assert!(start.elapsed() < SOON * 3, "took {:?}", start.elapsed());
}
