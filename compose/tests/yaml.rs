//! YAML as people write it: what the reference's reader accepts, ours accepts, and the other way round.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::{MemoryFiles, load_text, options};
use hoist_compose::load::load;
use proptest::prelude::*;

/// Loads a text that defines `services.a.labels.k`; none when it is refused.
fn label(text: &str) -> Option<String> {
    let loaded = load_text(text).ok()?;
    Some(
        loaded
            .project
            .services
            .get("a")?
            .labels
            .get("k")
            .cloned()
            .unwrap_or_default(),
    )
}

fn check(text: &str, expected: Option<&str>) {
    assert_eq!(label(text).as_deref(), expected, "{text}");
}

#[test]
fn white_space_and_line_ends() {
    check(
        "services:\n  a:\n    image:\ti\n    labels: {k: v}\n",
        Some("v"),
    );
    check(
        "services:\n  a:\n    image: i\t# c\n    labels:\n    - k=v\n",
        Some("v"),
    );
    check(
        "services:\n  a:\n    image: i\n\t\n    labels: {k: v}\n",
        Some("v"),
    );
    check(
        "services:\r\n  a:\r\n    image: i\r\n    labels:\r\n      k: v\r\n",
        Some("v"),
    );
    check(
        "\u{feff}services:\n  a: {image: i, labels: {k: v}}\n",
        Some("v"),
    );
    check(
        "services:\n  a :\n    image : i\n    labels : {k : v}\n",
        Some("v"),
    );
    check("services:\n  a:\n\timage: i\n", None);
    check("services:\n  a: {image: i, labels: {k: v}}", Some("v"));
}

#[test]
fn flow_forms() {
    check(
        "{\"services\":{\"a\":{\"image\":\"i\",\"labels\":{\"k\":\"v\"}}}}",
        Some("v"),
    );
    check("services: {a: {image: i, labels: {k: v,},},}\n", Some("v"));
    check("services: {a: {image: i, labels: [k=v, ]}}\n", Some("v"));
    check("services: {a: {image: i, labels: {k}}}\n", Some(""));
    check(
        "services: {a: {image: i, labels: {k: \"a\\tb\"}}}\n",
        Some("a\tb"),
    );
    check(
        "services: {a: {image: i:1, labels: {k: a:b}}}\n",
        Some("a:b"),
    );
    check(
        "services: {a: {image: i, labels: {k: a b # c\n}}}\n",
        Some("a b"),
    );
    check("services: {a: {image: i, labels: {k: v}}\n", None);
    check(
        "services: {\n  a: {image: i,\n  labels: {k: v}}\n}\n",
        Some("v"),
    );
    check("services: {a: {image: i, labels: {k: ${X:-v}}}}\n", None);
}

#[test]
fn block_scalars_and_quotes() {
    check(
        "services:\n  a:\n    image: i\n    labels:\n      k: |\n        x\n        y\n",
        Some("x\ny\n"),
    );
    check(
        "services:\n  a:\n    image: i\n    labels:\n      k: >-\n        x\n        y\n\n        z\n",
        Some("x y\nz"),
    );
    check(
        "services:\n  a:\n    image: i\n    labels:\n      k: |2-\n          x\n",
        Some("  x"),
    );
    check(
        "services:\n  a:\n    image: i\n    labels:\n      k: 'it''s'\n",
        Some("it's"),
    );
    check(
        "services:\n  a:\n    image: i\n    labels:\n      k: \"x\n        y\"\n",
        Some("x y"),
    );
    check(
        "services:\n  a:\n    image: i\n    labels:\n      k: x\n        y\n",
        Some("x y"),
    );
    check(
        "services:\n  a:\n    image: i\n    labels:\n      k: a: b\n",
        None,
    );
    check(
        "services:\n  a:\n    image: i\n    labels:\n      k: @x\n",
        None,
    );
    check(
        "services:\n  a:\n    image: i\n    labels:\n      k: `x`\n",
        None,
    );
    check(
        "services:\n  a:\n    image: i\n    labels:\n      k: %x\n",
        None,
    );
    check(
        "services:\n  a:\n    image: i\n    labels:\n      k: *x\n",
        None,
    );
    check(
        "services:\n  a:\n    image: i\n    labels:\n      k: \"\\d\"\n",
        None,
    );
    check(
        "services:\n  a:\n    image: i\n    labels:\n      k: !!str 5\n",
        Some("5"),
    );
    check(
        "services:\n  a:\n    image: i\n    labels:\n      k: !custom x\n",
        Some("x"),
    );
}

#[test]
fn anchors_and_merges() {
    check(
        "x-l: &l {k: v}\nservices:\n  a: {image: i, labels: *l}\n",
        Some("v"),
    );
    check(
        "x-l: &l {k: v}\nservices:\n  a: {image: i, labels: {<<: *l, k: w}}\n",
        Some("w"),
    );
    check(
        "x-l: &l {k: v}\nx-m: &m {k: w}\nservices:\n  a: {image: i, labels: {<<: [*l, *m]}}\n",
        Some("v"),
    );
    check(
        "x-l: &l {k: v}\nx-m: &m {<<: *l}\nservices:\n  a: {image: i, labels: {<<: *m}}\n",
        Some("v"),
    );
    check(
        "x-l: &l x\nservices:\n  a: {image: i, labels: {<<: *l}}\n",
        None,
    );
    check(
        "x-l: &l {k: v}\nx-m: &l {k: w}\nservices:\n  a: {image: i, labels: *l}\n",
        Some("w"),
    );
    check(
        "services:\n  a: {image: i, labels: {\"<<\": x, k: v}}\n",
        Some("v"),
    );
    check("services:\n  a: {image: i, labels: {1: x}}\n", None);
    check("services:\n  a: {image: i, labels: {true: x}}\n", None);
    check(
        "services:\n  a: {image: i, labels: {on: x, k: v}}\n",
        Some("v"),
    );
}

#[test]
fn documents() {
    check(
        "---\nservices:\n  a: {image: i, labels: {k: v}}\n...\n",
        Some("v"),
    );
    check(
        "services:\n  a: {image: i, labels: {k: v}}\n---\nservices:\n  a: {labels: {k: w}}\n",
        Some("w"),
    );
    check(
        "%YAML 1.1\n---\nservices:\n  a: {image: i, labels: {k: v}}\n",
        Some("v"),
    );
    check("# only a comment\n", None);
    check("---\n", None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_yaml_is_handled(pieces in proptest::collection::vec(
        proptest::sample::select(vec![
            "services:", "\n", "\n  ", "\n    ", "a:", "image: i", "ports:", "- ", "\"80:80\"", "[", "]", "{", "}", ", ",
            "&x ", "*x", "<<: ", "!reset ", "!override ", "null", "1", "true", "${A}", "$", "volumes:", "./x:/y", "extends: a",
            "include:", "environment:", "K=V", "depends_on:", "deploy:", "|\n", "'", "\"", "# c", "\t", ": ", "é", "build:",
            "healthcheck:", "test:", "1s", "networks:", "configs:", "x-y:", "---\n",
        ]), 0..40)) {
        let text: String = pieces.concat();
        let files = MemoryFiles::new([("compose.yaml", text.as_str())]);
        match load(&options(), &files) {
            Ok(loaded) => {
                let _ = hoist_compose::load::canonical::project_value(&loaded.project);
            }
            Err(error) => {
                prop_assert!(!error.render(false).is_empty());
            }
        }
    }

    #[test]
    fn any_bytes_are_handled(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = load(&options(), &MemoryFiles::bytes(bytes));
    }
}
