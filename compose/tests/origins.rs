//! Where a wrong value came from is shown beside where it is written: a variable, an anchor, `extends`, `include`, an
//! override file, an env file, the command line, the environment.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::{MemoryFiles, options};
use hoist_compose::load::{Diagnostic, LoadOptions, load};

/// Every place that is shown for the only error: `file:line:column message`, the error's own first.
fn places(options: &LoadOptions, files: &[(&str, &str)]) -> Vec<String> {
    let error =
        load(options, &MemoryFiles::new(files.iter().copied())).expect_err("must be refused");
    let [finding] = error.diagnostics.as_slice() else {
        panic!("not one error:\n{}", error.render(false));
    };
    let own = finding.primary.iter();
    own.chain(&finding.related)
        .map(|label| {
            let text = format!("{} {}", label.location, label.message);
            text.trim_end().to_owned()
        })
        .collect()
}

#[track_caller]
fn check(files: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(places(&options(), files), expected);
}

#[test]
fn variables() {
    let file = (
        "compose.yaml",
        "services:\n  a: {image: i, networks: [\"${N}\"]}\n",
    );
    check(
        &[file, (".env", "# c\nN=nope\n")],
        &["compose.yaml:2:28", "/p/.env:2:1 the value comes from `N`"],
    );
    let mut options = options();
    options
        .environment
        .insert("N".to_owned(), "nope".to_owned());
    let from_environment = [
        "compose.yaml:2:28",
        "<environment>:1:3 the value comes from `N`",
    ];
    assert_eq!(places(&options, &[file]), from_environment);
    // The environment wins over env files.
    let files = [file, (".env", "N=other\n")];
    assert_eq!(places(&options, &files), from_environment);
}

#[test]
fn variables_that_are_not_set_are_told_once() {
    let text = "services:\n  a: {image: i, networks: [\"n${A}${B}\"]}\n";
    let error = load(&options(), &MemoryFiles::new([("compose.yaml", text)])).unwrap_err();
    let undefined = |finding: &&Diagnostic| finding.code == "undefined";
    let finding = error.diagnostics.iter().find(undefined).unwrap();
    let from: Vec<_> = finding
        .help
        .iter()
        .filter(|help| help.contains("comes from"))
        .collect();
    assert_eq!(
        from,
        ["the value comes from the variables `A` and `B`, which are not set"]
    );
}

#[test]
fn anchors() {
    let text = "x-n: &n [nope]\nservices:\n  a: {image: i, networks: *n}\n";
    check(
        &[("compose.yaml", text)],
        &[
            "compose.yaml:1:10",
            "compose.yaml:3:27 taken over by this alias",
        ],
    );
    let merged = "x-n: &n {networks: [nope]}\nservices:\n  a:\n    image: i\n    <<: *n\n";
    check(
        &[("compose.yaml", merged)],
        &[
            "compose.yaml:1:21",
            "compose.yaml:5:9 taken over by this alias",
        ],
    );
}

#[test]
fn extended_services() {
    check(
        &[
            (
                "compose.yaml",
                "services:\n  a: {extends: {file: b.yaml, service: b}}\n",
            ),
            ("b.yaml", "services: {b: {image: i, networks: [nope]}}\n"),
        ],
        &[
            "b.yaml:1:37",
            "compose.yaml:2:16 taken over by this `extends`",
        ],
    );
}

#[test]
fn included_files() {
    check(
        &[
            ("compose.yaml", "include:\n  - b.yaml\n"),
            ("b.yaml", "services: {b: {image: i, depends_on: [nope]}}\n"),
        ],
        &[
            "b.yaml:1:39",
            "compose.yaml:2:5 taken over by this `include`",
        ],
    );
    check(
        &[
            ("compose.yaml", "include:\n  - b.yaml\n"),
            ("b.yaml", "services: {b: {imgae: i}}\n"),
        ],
        &[
            "b.yaml:1:16 not known here",
            "compose.yaml:2:5 included here",
        ],
    );
}

#[test]
fn override_files() {
    let base = (
        "compose.yaml",
        "services: {a: {image: i, hostname: h, cpu_percent: 10}}\n",
    );
    check(
        &[
            base,
            ("compose.override.yaml", "services:\n  a: {hostname: [x]}\n"),
        ],
        &[
            "compose.override.yaml:2:17 expected a string",
            "compose.yaml:1:36 this value is overridden",
        ],
    );
    check(
        &[
            base,
            (
                "compose.override.yaml",
                "services:\n  a: {cpu_percent: 101}\n",
            ),
        ],
        &[
            "compose.override.yaml:2:20 expected 0 to 100",
            "compose.yaml:1:52 this value is overridden",
        ],
    );
}

#[test]
fn env_files() {
    check(
        &[
            (
                "compose.yaml",
                "services:\n  a: {image: i, env_file: [{path: e.env}]}\n",
            ),
            ("e.env", "A=1\nB='x\n"),
        ],
        &["/p/e.env:2:3", "compose.yaml:2:35 used by service `a`"],
    );
}

#[test]
fn the_command_line_and_the_environment() {
    let file = ("compose.yaml", "services: {a: {image: i}}\n");
    let with = |change: fn(&mut LoadOptions)| {
        let mut options = options();
        change(&mut options);
        places(&options, &[file, ("bad.env", "A B=1\n")])
    };
    assert_eq!(
        with(|options| options.files.push("nope.yaml".to_owned())),
        ["<command line>:1:4 wanted here"]
    );
    assert_eq!(
        with(|options| options.env_files.push("nope.env".to_owned())),
        ["<command line>:1:12 there is no such file"]
    );
    assert_eq!(
        with(|options| options.env_files.push("bad.env".to_owned())),
        ["/p/bad.env:1:1", "<command line>:1:12 used here"]
    );
    assert_eq!(
        with(|options| options.project_name = Some("A".to_owned())),
        ["<command line>:1:4"]
    );
    assert_eq!(
        with(|options| options.services.push("b".to_owned())),
        ["<command line>:1:1"]
    );
    let set = |name: &str, value: &str| {
        let mut options = options();
        options
            .environment
            .insert(name.to_owned(), value.to_owned());
        places(&options, &[file])
    };
    assert_eq!(set("COMPOSE_PROJECT_NAME", "A"), ["<environment>:1:22"]);
    assert_eq!(
        set("COMPOSE_FILE", "nope.yaml"),
        ["<environment>:1:14 wanted here"]
    );
    assert_eq!(
        set("COMPOSE_ENV_FILES", "nope.env"),
        ["<environment>:1:19 there is no such file"]
    );
    assert_eq!(
        set("COMPOSE_DISABLE_ENV_FILE", "maybe"),
        ["<environment>:1:26 expected `true` or `false`"]
    );
    // Set in a file, they are shown there.
    check(
        &[file, (".env", "COMPOSE_PROJECT_NAME=A\n")],
        &["/p/.env:1:1"],
    );
}

#[test]
fn files_that_are_no_text() {
    let place = |content: &[u8]| {
        let error = load(&options(), &MemoryFiles::bytes(content.to_vec())).unwrap_err();
        let place = error.diagnostics[0].primary.as_ref().unwrap();
        let _ = error.render(false);
        place.location.to_string()
    };
    assert_eq!(place(b"services:\n  a\0"), "compose.yaml:2:4");
    assert_eq!(place(b"a: \xff"), "compose.yaml:1:4");
    assert_eq!(place(b"\xff\xfea\0"), "compose.yaml:1:1");
    assert_eq!(place(b""), "compose.yaml:1:1");
}

#[test]
fn variables_of_env_files() {
    let files = [
        (
            "compose.yaml",
            "services: {a: {image: 'i:1', env_file: [e.env]}}\n",
        ),
        (".env", "A=x${B}\n"),
        ("e.env", "C=1\nD=\"a $E\"\n"),
    ];
    let loaded = load(&options(), &MemoryFiles::new(files)).unwrap();
    let told: Vec<String> = loaded
        .warnings
        .iter()
        .map(|warning| warning.primary.as_ref().unwrap().location.to_string())
        .collect();
    assert_eq!(told, ["/p/.env:1:4", "/p/e.env:2:6"]);
}
