//! Rules that came to light where mutated files were compared with Docker Compose's `config`: each expected form is what
//! it prints for the same files.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::{MemoryFiles, options};
use hoist_compose::load::{LoadOptions, Severity, SkippedPhases, canonical, load};
use serde_json::{Value, json};

/// The canonical form of files, of which the first is `compose.yaml`.
#[track_caller]
fn project(options: &LoadOptions, files: &[(&str, &str)]) -> Value {
    match load(options, &MemoryFiles::new(files.iter().copied())) {
        Ok(loaded) => loaded
            .model
            .unwrap_or_else(|| canonical::project_value(&loaded.project)),
        Err(error) => panic!("refused:\n{}", error.render(false)),
    }
}

/// An attribute of service `a`, as written in `compose.yaml` and in `compose.override.yaml`, has this canonical form.
#[track_caller]
fn overridden(attribute: &str, base: &str, over: &str, expected: Value) {
    let file = |value: &str| format!("services:\n  a:\n    image: x\n    {attribute}: {value}\n");
    let files = [
        ("compose.yaml", file(base)),
        ("compose.override.yaml", file(over)),
    ];
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let service = &project(&options(), &files)["services"]["a"];
    assert_eq!(service[attribute], expected, "{base} <- {over}");
}

/// A file is refused with these errors, by code and line and column.
#[track_caller]
fn refused(text: &str, expected: &[(&str, usize, usize)]) {
    let error =
        load(&options(), &MemoryFiles::new([("compose.yaml", text)])).expect_err("must be refused");
    let found: Vec<_> = error
        .diagnostics
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| {
            let place = finding.primary.as_ref().expect("a place");
            let (line, column) = place.location.line_and_column();
            assert!(
                !place.message.is_empty() || !finding.help.is_empty(),
                "no advice"
            );
            (finding.code, line, column)
        })
        .collect();
    assert_eq!(found, expected, "{}", error.render(false));
}

#[test]
fn an_override_of_nothing_is_an_empty_text() {
    overridden("hostname", "h", "!override", Value::Null);
    overridden("command", "echo hi", "!override", json!([]));
    overridden("environment", "{A: 1}", "{A: !override }", json!({"A": ""}));
    overridden("command", "echo hi", "!override null", Value::Null);
}

#[test]
fn what_is_reset_is_not_read() {
    overridden(
        "deploy",
        "{replicas: 2}",
        "{replicas: !reset zz}",
        json!({}),
    );
    let logging = json!({"options": {"a": "b"}});
    overridden(
        "logging",
        "{driver: d, options: {a: b}}",
        "{driver: !reset null}",
        logging,
    );
}

#[test]
fn hosts_can_be_reset_and_overridden() {
    let base = "{a: 1.1.1.1, b: [2.2.2.2, 3.3.3.3]}";
    overridden(
        "extra_hosts",
        base,
        "{b: !reset null}",
        json!(["a=1.1.1.1"]),
    );
    let replaced = json!(["a=1.1.1.1", "b=4.4.4.4"]);
    overridden("extra_hosts", base, "{b: !override 4.4.4.4}", replaced);
    let added = json!(["a=1.1.1.1", "b=2.2.2.2", "b=3.3.3.3", "b=4.4.4.4"]);
    overridden("extra_hosts", base, "{b: 4.4.4.4}", added);
}

#[test]
fn the_same_host_in_two_spellings_is_printed_once() {
    let list = "['a:1.1.1.1', 'a=1.1.1.1']";
    overridden("extra_hosts", list, "[]", json!(["a=1.1.1.1"]));
}

/// Those of a service replace each other instead.
#[test]
fn limits_of_builds_merge() {
    let base = "{context: ., ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}}";
    let merged = json!({"nofile": {"soft": 1, "hard": 5}, "nproc": 3});
    let expected = json!({"context": "/p", "dockerfile": "Dockerfile", "ulimits": merged});
    overridden(
        "build",
        base,
        "{ulimits: {nofile: {hard: 5}, nproc: }}",
        expected,
    );
}

#[test]
fn numbers_in_texts_are_printed_as_go_prints_them() {
    for (written, printed) in [
        ("100000.0", "100000"),
        ("1e6", "1e+06"),
        ("123456.5", "123456.5"),
        ("1234567.5", "1.2345675e+06"),
        ("0.00001", "1e-05"),
        ("1000000", "1000000"),
        ("1e400", "1e400"),
    ] {
        overridden(
            "labels",
            &format!("{{k: {written}}}"),
            "{}",
            json!({"k": printed}),
        );
    }
}

#[test]
fn tags_of_yaml_decide_in_quotes_too() {
    for (written, printed) in [
        ("!!int \"0x1F\"", "31"),
        ("!!str 0x1F", "0x1F"),
        ("! 0x1F", "31"),
        ("!!binary aGk=", "hi"),
        ("!custom 0x1F", "0x1F"),
    ] {
        overridden(
            "labels",
            &format!("{{k: {written}}}"),
            "{}",
            json!({"k": printed}),
        );
    }
    overridden("privileged", "!!bool \"true\"", "true", json!(true));
    refused(
        "services:\n  a: {image: x, labels: {k: !!int x, l: !!bool yes}}\n",
        &[("yaml-tag", 2, 35), ("yaml-tag", 2, 48)],
    );
}

#[test]
fn dates_in_extensions() {
    let text =
        "x-d: [2026-11-21, 2026-1-2T3:4:5Z, 2026-02-30, '2026-11-21']\nservices: {a: {image: x}}\n";
    assert_eq!(
        project(&options(), &[("compose.yaml", text)])["x-d"],
        json!([
            "2026-11-21T00:00:00Z",
            "2026-01-02T03:04:05Z",
            "2026-02-30",
            "2026-11-21"
        ])
    );
}

#[test]
fn numbers_where_a_whole_number_or_a_text_is_meant() {
    refused(
        "services:
  a:
    image: x
    storage_opt: {size: 1.5}
    group_add: [1.5]
    ports: [{target: 80, published: 80.0}]
    gpus: [{count: 1.0}]
    configs: [{source: c, mode: 1.0}]
    cpus: .inf
configs: {c: {file: ./c}}
",
        &[
            ("wrong-type", 4, 25),
            ("wrong-type", 5, 17),
            ("wrong-type", 6, 37),
            ("wrong-type", 7, 20),
            ("wrong-type", 8, 33),
            ("wrong-type", 9, 11),
        ],
    );
}

#[test]
fn what_no_host_and_no_address_can_be() {
    refused(
        "services:\n  a: {image: x, extra_hosts: {a=b: 1.1.1.1}}\n",
        &[("wrong-value", 2, 31)],
    );
    refused(
        "services:\n  a: {image: x, ports: ['[fe80::1%eth0]:80:80']}\n",
        &[("invalid-port", 2, 25)],
    );
    refused(
        "services: {a: {image: x, networks: [n]}}\nnetworks: {n: {external: {nam: m}}}\n",
        &[("unknown-attribute", 2, 27)],
    );
}

const INCLUDED: (&str, &str) = (
    "sub/compose.yaml",
    "services:
  listed: {image: x, environment: [A], volumes: ['./d:/d']}
  mapped: {image: x, environment: {A: }}
  merged: {extends: base, environment: {A: }}
  base: {image: x, environment: {B: 1}}
",
);

/// Only names in a list get a value of the included file's own `.env`, as in the reference.
#[test]
fn variables_without_values_in_included_files() {
    let files = [
        (
            "compose.yaml",
            "include: [{path: sub/compose.yaml, env_file: []}]\n",
        ),
        INCLUDED,
        ("sub/.env", "A=1\n"),
    ];
    let services = &project(&options(), &files)["services"];
    assert_eq!(services["listed"]["environment"], json!({"A": "1"}));
    assert_eq!(services["mapped"]["environment"], json!({"A": null}));
    assert_eq!(
        services["merged"]["environment"],
        json!({"B": "1", "A": "1"})
    );
}

#[test]
fn a_project_directory_that_does_not_exist_is_taken_for_a_file() {
    let text = "include: [{path: sub/compose.yaml, project_directory: no/such}]\n";
    let files = [("compose.yaml", text), INCLUDED];
    let services = &project(&options(), &files)["services"];
    assert_eq!(services["listed"]["volumes"][0]["source"], "/p/no/d");
    let loaded = load(&options(), &MemoryFiles::new(files)).unwrap();
    let codes: Vec<_> = loaded.warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, ["missing-directory"]);
}

#[test]
fn the_name_as_it_is_written() {
    let files = [("compose.yaml", "name: My${X}\nservices: {a: {image: x}}\n")];
    let mut options = options();
    options.skip = SkippedPhases {
        interpolation: true,
        ..SkippedPhases::default()
    };
    assert_eq!(project(&options, &files)["name"], "myx");
    options.skip.normalization = true;
    assert_eq!(project(&options, &files)["name"], "My${X}");
    options.project_name = Some("given".to_owned());
    assert_eq!(project(&options, &files)["name"], "given");
    options.project_name = None;
    options.skip.interpolation = false;
    assert_eq!(project(&options, &files)["name"], "My");
}

/// What is printed of sizes that no user means is a file all the same.
#[test]
fn negative_sizes_are_printed_as_numbers() {
    overridden("mem_swappiness", "-5", "-5", json!(-5));
    overridden("memswap_limit", "-1", "-1", json!("-1"));
}

/// Without interpolation, one port that holds a variable leaves all of them as they are written.
#[test]
fn ports_with_variables_left_in_place() {
    let mut options = options();
    options.skip.interpolation = true;
    let ports = |list: &str| {
        let text = format!("services: {{a: {{image: x, ports: {list}}}}}\n");
        project(&options, &[("compose.yaml", &text)])["services"]["a"]["ports"].clone()
    };
    assert_eq!(
        ports("['${P}:81', '80:80', 82]"),
        json!(["${P}:81", "80:80", 82])
    );
    let long = json!([{"mode": "ingress", "published": "80", "protocol": "tcp", "target": 80}]);
    assert_eq!(ports("['80:80']"), long);
}

/// A `.env` that switches itself off still sets the variables of Compose.
#[test]
fn an_env_file_that_switches_itself_off() {
    let text = "services: {a: {image: 'x:${V-unset}'}}\n";
    let env = "COMPOSE_DISABLE_ENV_FILE=1\nCOMPOSE_PROJECT_NAME=named\nV=1\n";
    let files = [("compose.yaml", text), (".env", env)];
    let found = project(&options(), &files);
    assert_eq!(found["name"], "named");
    assert_eq!(found["services"]["a"]["image"], "x:unset");
    let mut options = options();
    options.env_files = vec![".env".to_owned()];
    assert_eq!(project(&options, &files)["services"]["a"]["image"], "x:1");
}

/// Printers of YAML write `!!merge <<`; an entry that is reset gives way to what `<<` takes in, and earlier files still
/// lose theirs.
#[test]
fn merge_keys_with_their_tag_and_beside_a_reset() {
    let anchor = "x-l: &l {labels: {from: anchor}}\n";
    let base = "services: {a: {image: x, labels: {from: base, base: x}}}\n";
    let over = |rest: &str| format!("{anchor}services:\n  a:\n    !!merge <<: *l\n{rest}");
    let labels = |over: &str| {
        let files = [("compose.yaml", base), ("compose.override.yaml", over)];
        project(&options(), &files)["services"]["a"]["labels"].clone()
    };
    let both = json!({"from": "anchor", "base": "x"});
    assert_eq!(labels(&over("")), both);
    assert_eq!(
        labels(&over("    labels: !reset {}\n")),
        json!({"from": "anchor"})
    );
}

/// As Windows' shells and editors save it.
#[test]
fn a_file_in_utf_16() {
    let text = "\u{feff}services:\r\n  a: {image: x, hostname: é}\r\n";
    for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        let content: Vec<u8> = text.encode_utf16().flat_map(bytes).collect();
        let loaded = load(&options(), &MemoryFiles::bytes(content.clone())).unwrap();
        let hostname = loaded.project.services["a"].hostname.clone();
        assert_eq!(hostname.as_deref(), Some("é"));
        let torn = MemoryFiles::bytes(content[..content.len() - 1].to_vec());
        let error = load(&options(), &torn).expect_err("must be refused");
        assert!(error.to_string().contains("UTF-16"), "{error}");
    }
}

/// As many digits as a number of 32 bits has.
#[test]
fn fractions_have_32_bits() {
    overridden("cpus", "0.123456789", "0.123456789", json!(0.12345679));
    let limits = |cpus: &str| format!("{{resources: {{limits: {{cpus: {cpus}}}}}}}");
    let printed = json!({"resources": {"limits": {"cpus": 1.0000001}}});
    overridden("deploy", &limits("1"), &limits("'1.00000012'"), printed);
}

#[test]
fn sizes_that_do_not_fit() {
    for attribute in [
        "mem_limit: 9223372036854775808",
        "pids_limit: 18446744073709551615",
        "shm_size: 16777216tb",
        "cpus: 1e39",
    ] {
        let text = format!("services:\n  a:\n    image: x\n    {attribute}\n");
        let column = attribute.find(' ').unwrap() + 6;
        refused(&text, &[("wrong-value", 4, column)]);
        let error = load(
            &options(),
            &MemoryFiles::new([("compose.yaml", text.as_str())]),
        );
        let told = error.expect_err("was refused").render(false);
        assert!(told.contains("is too large"), "{told}");
    }
    overridden("mem_limit", "1_000k", "1_000k", json!("1024000"));
}

/// All of a service's values, also beside what an earlier phase found.
#[test]
fn several_values_that_do_not_fit() {
    let text = "services:\n  a:\n    image: x\n    mem_limit: 9223372036854775808\n    pids_limit: 18446744073709551615\n    shm_size: 16777216tb\n  b:\n    imgae: x\n    cpus: 1e39\n";
    let values = [(4, 16), (5, 17), (6, 15), (9, 11)];
    let mut expected = values
        .map(|(line, column)| ("wrong-value", line, column))
        .to_vec();
    refused(
        &text.replacen("    imgae: x\n", "    image: x\n", 1),
        &expected,
    );
    expected.insert(3, ("unknown-attribute", 8, 5));
    refused(text, &expected);
}

#[test]
fn devices_with_an_empty_part() {
    let device = json!([{"source": "/a", "target": "/a", "permissions": "rwm"}]);
    overridden("devices", "['/a:']", "[]", device);
    refused(
        "services:\n  a: {image: x, devices: ['', ':/a', '/a:/b:r:w']}\n",
        &[
            ("wrong-value", 2, 27),
            ("wrong-value", 2, 31),
            ("wrong-value", 2, 38),
        ],
    );
}

/// Where nothing else is checked, what a named service needs must still be there.
#[test]
fn dependencies_of_named_services_exist() {
    let text = "services:
  a: {image: x, depends_on: [missing]}
  b: {image: x, network_mode: 'service:a'}
  c: {image: x, depends_on: {missing: {condition: service_started, required: false}}}
  d: {image: x, depends_on: [other]}
  other: {image: x, profiles: [o]}
";
    let named = |services: &[&str]| {
        let mut options = options();
        options.skip.consistency = true;
        options.services = services.iter().map(|name| (*name).to_owned()).collect();
        load(&options, &MemoryFiles::new([("compose.yaml", text)])).map_err(|e| e.render(false))
    };
    assert!(named(&[]).is_ok());
    for (name, missing) in [("a", "missing"), ("b", "missing"), ("d", "other")] {
        let told = named(&[name]).expect_err(name);
        assert!(told.contains(&format!("`{missing}`")), "{told}");
    }
    let loaded = named(&["c"]);
    assert!(loaded.is_ok(), "{loaded:?}");
}

/// What is printed can be read again: a hook's command may be null, but must be there.
#[test]
fn a_hook_without_a_command() {
    overridden(
        "post_start",
        "[{command: , user: u}]",
        "[]",
        json!([{"command": null, "user": "u"}]),
    );
}
