//! `config --check`: each lint where it applies and where it does not, and how each is switched off.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use common::{MemoryFiles, options};
use hoist_compose::load::{Diagnostic, Severity, WARNINGS, load_and_lint};

/// What is told of a file, without the codes that are switched off.
fn told(text: &str, allowed: &[&str]) -> Vec<Diagnostic> {
    let files = MemoryFiles::new([
        ("compose.yaml", text),
        ("compose.yml", text),
        ("other.yaml", "services: {}"),
    ]);
    let allowed: Vec<String> = allowed.iter().map(|code| (*code).to_owned()).collect();
    let mut options = options();
    options.files = vec!["compose.yaml".to_owned()];
    if text.starts_with("# search") {
        options.files.clear();
    }
    load_and_lint(&options, &files, &allowed).unwrap().warnings
}

/// The file brings exactly these warnings of one code, on these lines.
#[track_caller]
fn check(code: &str, text: &str, lines: &[usize]) {
    let found: Vec<usize> = told(text, &[])
        .iter()
        .filter(|warning| warning.code == code)
        .map(|warning| {
            assert_eq!(warning.severity, Severity::Warning);
            assert!(!warning.help.is_empty(), "{} has no help", warning.message);
            let place = warning.primary.as_ref().expect("has a place");
            place.location.line_and_column().0
        })
        .collect();
    assert_eq!(found, lines, "{code} in\n{text}");
}

#[test]
fn ports_used_twice() {
    let code = "port-used-twice";
    check(
        code,
        "services:
  a: {image: 'i:1', ports: ['80:80']}
  b: {image: 'i:1', ports: ['127.0.0.1:80:81']}
",
        &[3],
    );
    check(
        code,
        "services:
  a:
    image: 'i:1'
    ports:
      - 127.0.0.1:80:80
      - 127.0.0.2:80:81
      - 127.0.0.1:80:82
      - {target: 83, published: 80, protocol: udp}
",
        &[7],
    );
    check(
        code,
        "services:
  a: {image: 'i:1', scale: 2, ports: ['80:80']}
  b: {image: 'i:1', scale: 2, ports: ['8000-8002:80', '81']}
  c: {image: 'i:1', profiles: [x], ports: ['80:80']}
",
        &[2],
    );
}

#[test]
fn unused_resources() {
    let code = "unused";
    check(
        code,
        "services:
  a: {image: 'i:1', volumes: ['vol:/v'], networks: [n], secrets: [s], configs: [c], models: [m]}
  b: {image: 'i:1', profiles: [x], volumes: ['wol:/w']}
volumes: {vol: {}, wol: {}}
networks: {n: {}, default: {}}
secrets: {s: {file: ./s}}
configs: {c: {file: ./c}}
models: {m: {model: ai/x}}
",
        &[],
    );
    check(
        code,
        "services:
  a: {image: 'i:1'}
volumes:
  v: {}
networks:
  n: {}
secrets:
  s: {file: ./s}
configs:
  c: {file: ./c}
models:
  m: {model: ai/x}
",
        &[4, 6, 8, 10, 12],
    );
}

#[test]
fn latest_tags() {
    check(
        "latest-tag",
        "services:
  a: {image: nginx}
  b: {image: 'r.io:5000/nginx:latest'}
  c: {image: 'nginx:1'}
  d: {image: 'nginx@sha256:0ed5d5928d4737458944eb604cc8509e245c3e19d02ad83935398bc4b991aac7'}
  e: {image: nginx, build: .}
  f: {image: 'r.io:5000/nginx'}
",
        &[2, 3, 7],
    );
}

#[test]
fn health_without_a_check() {
    check(
        "no-healthcheck",
        "services:
  a:
    image: i:1
    depends_on:
      b: {condition: service_healthy}
      c: {condition: service_healthy}
      d: {condition: service_healthy}
      e: {condition: service_healthy}
      f: {condition: service_started}
  b: {image: 'i:1'}
  c: {image: 'i:1', healthcheck: {test: x}}
  d: {image: 'i:1', healthcheck: {disable: true}}
  e: {image: 'i:1', healthcheck: {test: [NONE]}}
  f: {image: 'i:1'}
",
        &[5, 7, 8],
    );
}

#[test]
fn secrets_in_the_environment() {
    check(
        "plain-secret",
        "services:
  a:
    image: i:1
    environment:
      DB_PASSWORD: x
      API_KEY: x
      DB_PASSWORD_FILE: /run/secrets/x
      EMPTY_TOKEN: ''
      NAME: x
      PASSED_SECRET:
",
        &[5, 6],
    );
}

#[test]
fn profiles_that_leave_dependencies_out() {
    check(
        "unreachable-profile",
        "services:
  a:
    image: i:1
    profiles: [x, y]
    depends_on:
      b: {condition: service_started}
      c: {condition: service_started}
      d: {condition: service_started}
      e: {condition: service_started, required: false}
  b: {image: 'i:1', profiles: [x]}
  c: {image: 'i:1', profiles: [x, y, z]}
  d: {image: 'i:1'}
  e: {image: 'i:1', profiles: [z]}
",
        &[6],
    );
}

#[test]
fn warnings_of_the_loader() {
    check(
        "obsolete-version",
        "version: '3'\nservices: {a: {image: i}}\n",
        &[1],
    );
    check("obsolete-version", "services: {a: {image: i}}\n", &[]);
    check(
        "boolean-word",
        "services: {a: {image: i, init: 'yes', tty: true}}\n",
        &[1],
    );
    check(
        "command-operator",
        "services:\n  a: {image: i, command: a && b}\n",
        &[2],
    );
    check(
        "command-operator",
        "services:\n  a: {image: i, command: [a, '&&', b]}\n",
        &[],
    );
    check(
        "missing-variable",
        "services:\n  a: {image: 'i:$TAG', user: '${U:-}'}\n",
        &[2],
    );
    check(
        "deprecated",
        "services: {a: {image: i}}\nvolumes:\n  v: {external: {name: x}}\n",
        &[3],
    );
    check(
        "deprecated",
        "services: {a: {image: i}}\nvolumes:\n  v: {external: true, name: x}\n",
        &[],
    );
    check(
        "empty-include",
        "services: {a: {image: i}}\ninclude:\n  - {path: []}\n",
        &[3],
    );
    check(
        "empty-include",
        "services: {a: {image: i}}\ninclude:\n  - other.yaml\n",
        &[],
    );
    check(
        "several-files",
        "# search\nservices: {a: {image: i}}\n",
        &[1],
    );
}

/// A file with every warning that a file alone can bring.
const ALL: &str = "# search
version: '3'
include: [{path: []}, {path: other.yaml, project_directory: none}]
services:
  a:
    image: nginx:$TAG
    init: yes
    ports: ['80:80']
    environment: {DB_PASSWORD: x}
    depends_on: {b: {condition: service_healthy}}
  b: {image: i, ports: ['80:80'], command: a && b}
  c: {image: 'i:1', profiles: [y], depends_on: [d]}
  d: {image: 'i:1', profiles: [x]}
volumes: {v: {external: {name: x}}}
";

#[test]
fn every_code_is_known_and_can_be_switched_off() {
    let codes = |allowed: &[&str]| -> BTreeSet<&str> {
        told(ALL, allowed)
            .iter()
            .map(|warning| warning.code)
            .collect()
    };
    let known: Vec<&str> = WARNINGS.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes(&[]).into_iter().collect::<Vec<_>>(), known);
    for code in &known {
        let left = codes(&[code]);
        assert!(!left.contains(code));
        assert_eq!(left.len(), known.len() - 1, "without {code}");
    }
    assert!(codes(&known).is_empty());
}

#[test]
fn the_documentation_lists_every_code() {
    let page = include_str!("../../docs/config-check.md");
    let listed: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let known: BTreeSet<&str> = WARNINGS.iter().map(|(code, _)| *code).collect();
    assert_eq!(listed, known);
}

#[test]
fn comments_switch_off() {
    let code = "latest-tag";
    check(
        code,
        "services:\n  a:\n    image: nginx # hoist-allow: latest-tag\n",
        &[],
    );
    check(
        code,
        "services:\n  a:\n    # hoist-allow: unused, latest-tag\n    image: nginx\n",
        &[],
    );
    check(
        code,
        "# why\n#hoist-allow: latest-tag\n\nservices:\n  a:\n    image: nginx\n",
        &[],
    );
    // Elsewhere, of another code, or not a comment.
    check(
        code,
        "services: # hoist-allow: latest-tag\n  a:\n    image: nginx\n",
        &[3],
    );
    check(
        code,
        "services:\n  a:\n    image: nginx # hoist-allow: unused\n",
        &[3],
    );
    check(
        code,
        "services:\n  a:\n    x-a: 'hoist-allow: latest-tag'\n    image: nginx\n",
        &[4],
    );
}

#[test]
fn errors_cannot_be_switched_off() {
    let text = "# hoist-allow: unknown-attribute\nversion: '3'\nservices: {a: {imgae: i}}\n";
    let files = MemoryFiles::new([("compose.yaml", text)]);
    let allowed = ["unknown-attribute", "obsolete-version"].map(str::to_owned);
    let error = load_and_lint(&options(), &files, &allowed).unwrap_err();
    let codes: Vec<&str> = error
        .diagnostics
        .iter()
        .map(|finding| finding.code)
        .collect();
    assert_eq!(codes, ["unknown-attribute"]);
}

#[test]
fn editors_get_all_of_it() {
    let warnings = told(ALL, &[]);
    for warning in &warnings {
        let json = warning.to_json();
        assert_eq!(json["severity"], "warning");
        assert_eq!(json["code"], warning.code);
        assert_eq!(json["at"]["file"], "compose.yaml");
        assert!(json["at"]["line"].as_u64() >= Some(1) && json["at"]["column"].as_u64() >= Some(1));
        assert!(json["at"]["length"].is_u64() && json["related"].is_array());
        assert!(!json["help"].as_array().unwrap().is_empty());
    }
}
