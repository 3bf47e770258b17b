//! The rules of the house that a compiler does not hold: who may depend on whom, lengths, licences, no foreign binaries,
//! and that documentation and examples are true.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which of our crates each of our crates may depend on. `ARCHITECTURE.md` draws it.
const EDGES: &[(&str, &[&str])] = &[
    (
        "hoist",
        &[
            "hoist-api",
            "hoist-compose",
            "hoist-engine",
            "hoist-registry",
            "hoist-shim",
        ],
    ),
    ("hoist-api", &[]),
    ("hoist-buildkit", &["hoist-api"]),
    ("hoist-compose", &["hoist-api"]),
    ("hoist-dockerfile", &[]),
    (
        "hoist-engine",
        &[
            "hoist-api",
            "hoist-buildkit",
            "hoist-dockerfile",
            "hoist-kernel",
            "hoist-network",
            "hoist-registry",
            "hoist-shim",
            "hoist-volumes",
        ],
    ),
    ("hoist-kernel", &[]),
    ("hoist-network", &["hoist-kernel"]),
    ("hoist-registry", &["hoist-api"]),
    ("hoist-shim", &["hoist-kernel"]),
    ("hoist-volumes", &["hoist-kernel"]),
];

/// Where the product's code is; tests, benches and examples may do more.
const PRODUCT: &[&str] = &[
    "src",
    "compose/src",
    "engine/src",
    "engine/api/src",
    "engine/buildkit/src",
    "engine/dockerfile/src",
    "engine/kernel/src",
    "engine/registry/src",
    "engine/shim/src",
    "network/src",
    "volumes/src",
];

/// No file is longer.
const FILE_LINES: usize = 700;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file beneath a directory of the repository whose name ends so, in order.
fn files(below: &str, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut ahead = vec![root().join(below)];
    while let Some(dir) = ahead.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    ahead.push(path);
                }
            } else if path.to_string_lossy().ends_with(end) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn product_files() -> Vec<PathBuf> {
    PRODUCT
        .iter()
        .flat_map(|dir| files(dir, ".rs"))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

fn metadata(more: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(more)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

/// Insists that nothing was found, and lists what was.
#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn crates_depend_only_on_what_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in metadata(&["--no-deps"])["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let Some(allowed) = table.get(name) else {
            wrong.push(format!("{name} is not in the table"));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            let ours = on.starts_with("hoist-") || on == "hoist";
            if ours && dependency["kind"] != "dev" && !allowed.contains(&on) {
                wrong.push(format!("{name} depends on {on}"));
            }
        }
    }
    none("edges that the table does not have", &wrong);
}

#[test]
fn only_the_kernel_crate_may_be_unsafe() {
    let roots = ["src/main.rs", "src/bin/hoist-shim.rs"].map(str::to_owned);
    let libraries = PRODUCT
        .iter()
        .filter(|dir| **dir != "src" && **dir != "engine/kernel/src")
        .map(|dir| format!("{dir}/lib.rs"));
    let open: Vec<String> = roots
        .into_iter()
        .chain(libraries)
        .filter(|path| !read(path).contains("#![forbid(unsafe_code)]"))
        .collect();
    none("crate roots without #![forbid(unsafe_code)]", &open);
}

#[test]
fn files_and_functions_are_short() {
    let mut long = Vec::new();
    for dir in PRODUCT.iter().copied().chain([
        "tests",
        "compose/tests",
        "network/tests",
        "volumes/tests",
        "benches",
    ]) {
        for path in files(dir, ".rs") {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            if lines > FILE_LINES {
                long.push(format!(
                    "{}: {lines} lines, at most {FILE_LINES}",
                    shown(&path)
                ));
            }
        }
    }
    none("files that are too long", &long);
    // Functions: clippy counts them; here only that nobody moved or lifted its limits.
    for limit in [
        "too-many-lines-threshold = 70",
        "too-many-arguments-threshold = 5",
        "max-fn-params-bools = 1",
    ] {
        assert!(
            read("clippy.toml").contains(limit),
            "clippy.toml no longer says {limit}"
        );
    }
    let lifted = find_in_product(|line| {
        line.contains("allow(")
            && ["too_many_lines", "too_many_arguments"]
                .iter()
                .any(|lint| line.contains(lint))
    });
    none("limits lifted", &lifted);
}

#[test]
fn no_foreign_binary_is_called() {
    // A string literal names a program of the machine. The product starts itself and its shim by their own paths, and for what is
    // another program's trade: an engine reached through ssh, contexts from git, and the columns of `top`, which are those of ps.
    let known = ["ssh", "git", "ps"].map(|program| format!("Command::new(\"{program}\")"));
    none(
        "programs started by name",
        &find_in_product(|line| {
            line.contains("Command::new(\"") && !known.iter().any(|known| line.contains(known))
        }),
    );
}

#[test]
fn no_stub_is_left() {
    let stubs = ["todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX"];
    none(
        "stubs",
        &find_in_product(|line| stubs.iter().any(|stub| line.contains(stub))),
    );
}

/// Lines of product code, tests inside it left out, that a condition finds.
fn find_in_product(condition: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for path in product_files() {
        if path.file_stem().is_some_and(|stem| stem == "tests")
            || path.components().any(|part| part.as_os_str() == "tests")
        {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text
            .lines()
            .enumerate()
            .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        {
            if !line.trim_start().starts_with("//") && condition(line) {
                found.push(format!("{}:{}: {}", shown(&path), number + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn every_dependency_has_a_permissive_licence() {
    let deny = read("deny.toml");
    let list = deny
        .split("allow = [")
        .nth(1)
        .and_then(|rest| rest.split(']').next())
        .expect("deny.toml has a list");
    let allowed: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    assert!(
        allowed.contains("MIT") && !allowed.iter().any(|name| name.contains("GPL")),
        "{allowed:?}"
    );
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut wrong = Vec::new();
    for package in metadata(&["--filter-platform", &platform])["packages"]
        .as_array()
        .unwrap()
    {
        let licence = package["license"].as_str().unwrap_or("");
        if !permitted(licence, &allowed) {
            wrong.push(format!(
                "{} {}: {licence:?}",
                package["name"], package["version"]
            ));
        }
    }
    none("licences that are not on deny.toml's list", &wrong);
}

/// Whether an SPDX expression can be satisfied with these licences. Brackets are taken innermost first.
fn permitted(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let mut text = expression.replace('/', " OR ");
    while let Some(close) = text.find(')') {
        let Some(open) = text[..close].rfind('(') else {
            return false;
        };
        let inner = if flat(&text[open + 1..close], allowed) {
            "yes"
        } else {
            "no"
        };
        text.replace_range(open..=close, inner);
    }
    flat(&text, allowed)
}

fn flat(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    expression.split(" OR ").any(|all| {
        all.split(" AND ")
            .all(|name| name.trim() == "yes" || allowed.contains(name.trim()))
    })
}

#[test]
fn licence_expressions_are_read_right() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0"]);
    let check = |expression: &str, expected: bool| {
        assert_eq!(permitted(expression, &allowed), expected, "{expression}")
    };
    check("MIT", true);
    check("MIT/Apache-2.0", true);
    check("GPL-2.0 OR MIT", true);
    check("GPL-2.0 AND MIT", false);
    check("(MIT OR GPL-2.0) AND Apache-2.0", true);
    check("(MIT OR GPL-2.0) AND ISC", false);
    check("", false);
}

#[test]
fn every_example_is_a_test() {
    let tests: String = files("tests", ".rs")
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let mut untested = Vec::new();
    for compose in files("examples", "compose.yaml") {
        let name = shown(compose.parent().unwrap());
        if !tests.contains(&format!("\"{name}\"")) {
            untested.push(name);
        }
    }
    none("examples that no test runs", &untested);
}

/// The lines of a document's shell blocks, comments and output left out.
fn commands(document: &str) -> Vec<String> {
    let text = read(document);
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            let command = line.split(" #").next().unwrap_or("").trim();
            found.push(command.trim_start_matches("sudo ").to_owned());
        }
    }
    found
}

#[test]
fn the_commands_in_the_documents_exist() {
    let makefile = read("Makefile");
    let mut wrong = Vec::new();
    for document in ["README.md", "CONTRIBUTING.md", "examples/shop/README.md"] {
        for line in commands(document) {
            let words: Vec<&str> = line.split(' ').filter(|word| !word.contains('=')).collect();
            let exists = match words.as_slice() {
                ["make", target, ..] => makefile.contains(&format!("\n{target}:")),
                ["hoist", rest @ ..] => has_help(rest),
                _ => true,
            };
            if !exists {
                wrong.push(format!("{document}: {line}"));
            }
        }
    }
    none("commands that do not exist", &wrong);
}

/// Whether `hoist VERB [SUBVERB] --help` answers, and every long option of the line is in it.
fn has_help(words: &[&str]) -> bool {
    let verbs: Vec<&str> = words
        .iter()
        .copied()
        .skip_while(|word| word.starts_with('-'))
        .collect();
    let Some(verb) = verbs.first() else {
        return true;
    };
    let depth = if [
        "image",
        "volume",
        "network",
        "container",
        "builder",
        "engine",
    ]
    .contains(verb)
    {
        2
    } else {
        1
    };
    let output = Command::new(env!("CARGO_BIN_EXE_hoist"))
        .args(verbs.iter().take(depth))
        .arg("--help")
        .output()
        .expect("hoist runs");
    let help = String::from_utf8_lossy(&output.stdout);
    let options = words
        .iter()
        .filter(|word| word.starts_with("--"))
        .map(|word| word.split('=').next().unwrap());
    output.status.success() && options.clone().all(|option| help.contains(option))
}

#[test]
fn the_makefile_has_its_targets() {
    let makefile = read("Makefile");
    for target in ["demo", "test", "bench", "install", "lint"] {
        assert!(
            makefile.contains(&format!("\n{target}:")),
            "no target {target}"
        );
    }
}
