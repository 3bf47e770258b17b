//! What users see when a file is wrong: the whole text, place and suggestion included.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::{MemoryFiles, options};
use hoist_compose::load::{Severity, load, load_and_lint};

/// Loads files of which the first is `compose.yaml`, and compares what is told.
#[track_caller]
fn check<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>, expected: &str) {
    let error = load(&options(), &MemoryFiles::new(files)).expect_err("must be refused");
    assert_eq!(error.render(false), expected.trim_matches('\n'));
}

#[test]
fn unknown_attributes_and_wrong_types_are_told_together() {
    let files = [(
        "compose.yaml",
        r#"services:
  web:
    imgae: nginx
    ports: 80
    depends_on: {db: {condition: service_helthy}}
  db:
    image: [x]
    healthcheck: {interval: 10}
"#,
    )];
    check(
        files,
        r#"
error[unknown-attribute]: unknown attribute `imgae` in `services.web`
 --> compose.yaml:3:5
  |
3 |     imgae: nginx
  |     ^^^^^ not known here
  |
  = help: did you mean `image`?

error[wrong-type]: `services.web.ports` must be a list, but this is an integer
 --> compose.yaml:4:12
  |
4 |     ports: 80
  |            ^^ expected a list

error[wrong-word]: `service_helthy` is not a value of `services.web.depends_on.db.condition`: use `service_started`, `service_healthy`, `service_completed_successfully`
 --> compose.yaml:5:34
  |
5 |     depends_on: {db: {condition: service_helthy}}
  |                                  ^^^^^^^^^^^^^^ expected one of these words
  |
  = help: did you mean `service_healthy`?

error[wrong-type]: `services.db.image` must be a string, but this is a list
 --> compose.yaml:7:12
  |
7 |     image: [x]
  |            ^^^ expected a string
  |
  = help: write one value, not a list

error[wrong-type]: `services.db.healthcheck.interval` must be a string, but this is an integer
 --> compose.yaml:8:29
  |
8 |     healthcheck: {interval: 10}
  |                             ^^ expected a string
  |
  = help: write `10s` for seconds
"#,
    );
}

#[test]
fn a_repeated_key_shows_both_places() {
    let files = [(
        "compose.yaml",
        r#"services:
  web:
    image: nginx
    image: apache
"#,
    )];
    check(
        files,
        r#"
error[duplicate-key]: the key `image` is written twice in the same mapping
 --> compose.yaml:4:5
  |
3 |     image: nginx
  |     ----- first written here
4 |     image: apache
  |     ^^^^^ written again here
  |
  = help: remove one of them, or merge their values
"#,
    );
}

#[test]
fn a_dependency_cycle_is_named_in_order() {
    let files = [(
        "compose.yaml",
        r#"services:
  a: {image: i, depends_on: [b]}
  b: {image: i, depends_on: [c]}
  c: {image: i, depends_on: [a]}
"#,
    )];
    check(
        files,
        r#"
error[dependency-cycle]: dependency cycle detected: a -> b -> c -> a
 --> compose.yaml:2:30
  |
2 |   a: {image: i, depends_on: [b]}
  |                              ^ `a` needs `b`
3 |   b: {image: i, depends_on: [c]}
  |                              - `b` needs `c`
4 |   c: {image: i, depends_on: [a]}
  |                              - `c` needs `a`
  |
  = help: remove one of these dependencies
"#,
    );
}

#[test]
fn undefined_names_get_suggestions() {
    let files = [(
        "compose.yaml",
        r#"services:
  a: {image: i, networks: [fornt], volumes: ['dat:/d'], secrets: [s]}
networks: {front: {}}
volumes: {data: {}}
"#,
    )];
    check(
        files,
        r#"
error[undefined]: service `a` refers to undefined network `fornt`
 --> compose.yaml:2:28
  |
2 |   a: {image: i, networks: [fornt], volumes: ['dat:/d'], secrets: [s]}
  |                            ^^^^^
  |
  = help: did you mean `front`?

error[undefined]: service `a` refers to undefined volume `dat`
 --> compose.yaml:2:46
  |
2 |   a: {image: i, networks: [fornt], volumes: ['dat:/d'], secrets: [s]}
  |                                              ^^^^^^^^
  |
  = help: did you mean `data`?

error[undefined]: service `a` refers to undefined secret `s`
 --> compose.yaml:2:67
  |
2 |   a: {image: i, networks: [fornt], volumes: ['dat:/d'], secrets: [s]}
  |                                                                   ^
  |
  = help: declare it below the top-level `secrets:`
"#,
    );
}

#[test]
fn variables_are_told_with_where_they_are_set() {
    let files = [
        (
            "compose.yaml",
            r#"services:
  a:
    image: "${IMAGE:?set it}"
    ports: ["${PORT}:80"]
    stop_grace_period: ${GRACE}
    command: ${1}
"#,
        ),
        (
            ".env",
            r#"PORT=99999
GRACE=10
"#,
        ),
    ];
    check(
        files,
        r#"
error[required-variable]: required variable IMAGE is missing a value: set it
 --> compose.yaml:3:13
  |
3 |     image: "${IMAGE:?set it}"
  |             ^^^^^^^^^^^^^^^^ needed for `services.a.image`
  |
  = help: set IMAGE in the environment or in an env file

error[invalid-port]: `99999:80` in `services.a.ports` is not a port: `99999` is not a port (0 to 65535)
 --> compose.yaml:4:13
  |
4 |     ports: ["${PORT}:80"]
  |             ^^^^^^^^^^^^ expected `[[address:]published:]target[/protocol]`
  |
 ::: /p/.env:1:1
  |
1 | PORT=99999
  | ---- the value comes from `PORT`

error[wrong-value]: `services.a.stop_grace_period`: `10` has no unit: write `10s` for seconds
 --> compose.yaml:5:24
  |
5 |     stop_grace_period: ${GRACE}
  |                        ^^^^^^^^ expected a duration
  |
 ::: /p/.env:2:1
  |
2 | GRACE=10
  | ----- the value comes from `GRACE`

error[invalid-variable]: `services.a.command` holds `${1}`, which is not a variable
 --> compose.yaml:6:14
  |
6 |     command: ${1}
  |              ^^^^ expected `${NAME}`, `${NAME:-default}`, `${NAME:?message}` or `${NAME:+other}`
  |
  = help: write `$$` for a dollar sign
"#,
    );
}

#[test]
fn aliases_are_shown() {
    let files = [(
        "compose.yaml",
        r#"x-base: &base
  image: i
  ports: ["80:x"]
services:
  a: *base
"#,
    )];
    check(
        files,
        r#"
error[invalid-port]: `80:x` in `services.a.ports` is not a port: `x` is not a port (0 to 65535)
 --> compose.yaml:3:11
  |
3 |   ports: ["80:x"]
  |           ^^^^^^ expected `[[address:]published:]target[/protocol]`
4 | services:
5 |   a: *base
  |      ----- taken over by this alias
"#,
    );
}

#[test]
fn extended_files_are_shown() {
    let files = [
        (
            "compose.yaml",
            r#"services:
  a:
    extends: {file: other.yaml, service: b}
"#,
        ),
        (
            "other.yaml",
            r#"services:
  b:
    image: i
    restrat: always
"#,
        ),
    ];
    check(
        files,
        r#"
error[unknown-attribute]: unknown attribute `restrat` in `services.a`
 --> other.yaml:4:5
  |
4 |     restrat: always
  |     ^^^^^^^ not known here
  |
 ::: compose.yaml:3:14
  |
3 |     extends: {file: other.yaml, service: b}
  |              ------------------------------ taken over by this `extends`
  |
  = help: did you mean `restart`?
"#,
    );
}

#[test]
fn included_files_are_shown() {
    let files = [
        (
            "compose.yaml",
            r#"include: [inc.yaml]
services:
  a: {image: i}
"#,
        ),
        (
            "inc.yaml",
            r#"services:
  a: {image: j}
"#,
        ),
    ];
    check(
        files,
        r#"
error[include-conflict]: `services.a` is defined here and in an included file
 --> compose.yaml:3:3
  |
1 | include: [inc.yaml]
  |           -------- included here
2 | services:
3 |   a: {image: i}
  |   ^ defined here
  |
 ::: inc.yaml:2:3
  |
2 |   a: {image: j}
  |   - defined here too
  |
  = help: rename one of them, or override it with a further file (`-f`, or a second `path` of the include)
"#,
    );
}

#[test]
fn tabs_are_told() {
    let files = [(
        "compose.yaml",
        r#"services:
	web:
"#,
    )];
    check(
        files,
        r#"
error[yaml-syntax]: this is not valid YAML: tabs disallowed within this context (block indentation)
 --> compose.yaml:2:2
  |
2 |     web:
  |     ^
  |
  = help: indent with spaces: YAML does not allow tabs there
"#,
    );
}

#[test]
fn services_belong_below_services() {
    let files = [(
        "compose.yaml",
        r#"web:
  image: nginx
"#,
    )];
    check(
        files,
        r#"
error[unknown-attribute]: unknown attribute `web` at the top level
 --> compose.yaml:1:1
  |
1 | web:
  | ^^^ not known here
  |
  = help: put services below `services:`
"#,
    );
}

#[test]
fn override_files_are_shown() {
    let files = [
        (
            "compose.yaml",
            r#"services: {a: {image: i, environment: [A=1]}}"#,
        ),
        (
            "compose.override.yaml",
            r#"services:
  a:
    ports: {}
    environment: [A=1, A=1]
"#,
        ),
    ];
    check(
        files,
        r#"
error[wrong-type]: `services.a.ports` must be a list, but this is a mapping
 --> compose.override.yaml:3:12
  |
3 |     ports: {}
  |            ^^ expected a list
  |
  = help: start each entry with `- `
"#,
    );
}

#[test]
fn clashes_of_two_files_show_both() {
    let files = [
        (
            "compose.yaml",
            r#"services: {a: {image: i, healthcheck: {test: x}}}"#,
        ),
        (
            "compose.override.yaml",
            r#"services:
  a:
    healthcheck: [x]
"#,
        ),
    ];
    check(
        files,
        r#"
error[cannot-override]: `services.a.healthcheck` is a list here but a mapping in the file it overrides
 --> compose.override.yaml:3:18
  |
3 |     healthcheck: [x]
  |                  ^^^ a list here
  |
 ::: compose.yaml:1:39
  |
1 | services: {a: {image: i, healthcheck: {test: x}}}
  |                                       --------- a mapping here
  |
  = help: write the same kind of value, or mark this one with `!override`
"#,
    );
}

#[test]
fn profiles_that_are_missing_are_named() {
    let files = [(
        "compose.yaml",
        r#"services:
  a: {image: i, depends_on: [b]}
  b: {image: i, profiles: [debug]}
"#,
    )];
    check(
        files,
        r#"
error[undefined]: service `a` needs service `b`, which no active profile enables
 --> compose.yaml:2:30
  |
2 |   a: {image: i, depends_on: [b]}
  |                              ^
  |
  = help: activate a profile of it (debug), or write `required: false`
"#,
    );
}

#[test]
fn missing_env_files_are_shown() {
    let files = [(
        "compose.yaml",
        r#"services:
  a:
    image: i
    env_file: [none.env]
"#,
    )];
    check(
        files,
        r#"
error[missing-file]: env file /p/none.env not found, for service `a`
 --> compose.yaml:4:16
  |
4 |     env_file: [none.env]
  |                ^^^^^^^^ there is no such file
  |
  = help: create it, or write `required: false`
"#,
    );
}

#[test]
fn doubtful_things_are_linted_and_can_be_silenced() {
    let text = "version: '3'
services:
  a:
    image: nginx
    ports: ['80:80']
    environment: {DB_PASSWORD: x}
    depends_on: {b: {condition: service_healthy}}
  b: {image: 'i:1', ports: ['127.0.0.1:80:80'], command: a && b}
  c: {image: 'i:1', depends_on: [d]}
  d: {image: 'i:1', profiles: [x]}
volumes: {v: {}}
";
    let files = MemoryFiles::new([("compose.yaml", text)]);
    let mut options = options();
    options.profiles = vec!["x".to_owned()];
    let codes = |silenced: &[String]| -> Vec<&str> {
        let loaded = load_and_lint(&options, &files, silenced).unwrap();
        assert!(
            loaded
                .warnings
                .iter()
                .all(|warning| warning.severity == Severity::Warning)
        );
        loaded.warnings.iter().map(|warning| warning.code).collect()
    };
    let all = [
        "obsolete-version",
        "latest-tag",
        "plain-secret",
        "no-healthcheck",
        "port-used-twice",
        "command-operator",
        "unreachable-profile",
        "unused",
    ];
    assert_eq!(codes(&[]), all);
    assert_eq!(codes(&["unused".to_owned()]), all[..7]);
}

#[test]
fn editors_get_places() {
    let error = load(
        &options(),
        &MemoryFiles::new([("compose.yaml", "services:\n  web: {imgae: x}\n")]),
    )
    .unwrap_err();
    let json = error.diagnostics[0].to_json();
    assert_eq!(json["code"], "unknown-attribute");
    assert_eq!(
        (json["at"]["line"].as_u64(), json["at"]["column"].as_u64()),
        (Some(2), Some(9))
    );
    assert_eq!(json["at"]["length"], 5);
    assert_eq!(json["help"][0], "did you mean `image`?");
}

#[test]
fn a_missing_variable_warns_once() {
    let text = "services:\n  a: {image: 'i:$TAG', command: [$TAG, $OTHER]}\n";
    let loaded = load(&options(), &MemoryFiles::new([("compose.yaml", text)])).unwrap();
    let messages: Vec<&str> = loaded
        .warnings
        .iter()
        .map(|warning| warning.message.as_str())
        .collect();
    assert_eq!(
        messages,
        [
            "The \"TAG\" variable is not set. Defaulting to a blank string.",
            "The \"OTHER\" variable is not set. Defaulting to a blank string."
        ]
    );
}

/// Found by fuzzing: a place that began within a byte order mark made the renderer panic.
#[test]
fn places_are_whole_characters() {
    for text in ["\u{feff}=2\nU", "\u{feff}A B=1\n", "\u{e9}\u{e9} x=1\n"] {
        let files = [
            ("compose.yaml", "services: {a: {image: i}}"),
            (".env", text),
        ];
        match load(&options(), &MemoryFiles::new(files)) {
            Ok(loaded) => loaded.warnings.iter().for_each(|warning| {
                let _ = warning.render(false);
            }),
            Err(error) => assert!(error.render(false).contains(".env"), "{text:?}"),
        }
    }
}

#[test]
fn needed_services_that_no_profile_enables() {
    let text = "services:
  a: {image: x, links: [b]}
  c: {image: x, network_mode: 'service:b'}
  d: {image: x, depends_on: [b]}
  b: {image: x, profiles: [p]}
";
    let error = load(&options(), &MemoryFiles::new([("compose.yaml", text)])).unwrap_err();
    let help: Vec<_> = error
        .diagnostics
        .iter()
        .flat_map(|finding| &finding.help)
        .collect();
    assert_eq!(
        help,
        [
            "activate a profile of it (p), or remove `b` from `links`",
            "activate a profile of it (p), or remove `b` from `network_mode`",
            "activate a profile of it (p), or write `required: false`",
        ],
        "{}",
        error.render(false)
    );
}

/// A wrong attribute, what is told about it, and the advice.
const ADVICE: &[(&str, &str, &str)] = &[
    (
        "cpus: true",
        "`services.a.cpus` must be a string or a number, but this is a boolean",
        "write a number",
    ),
    (
        "scale: true",
        "`services.a.scale` must be a string or an integer, but this is a boolean",
        "write a whole number",
    ),
    (
        "build: {no_cache: 5}",
        "`services.a.build.no_cache` must be a string or a boolean, but this is an integer",
        "write `true` or `false`",
    ),
    (
        "stop_grace_period: .inf",
        "`services.a.stop_grace_period` must be a string, but this is a number",
        "write a number and a unit in quotes, as in \"1.5s\"",
    ),
    (
        "build: {pull: maybe}",
        "`services.a.build.pull`: `maybe` is not a boolean: write `true` or `false`",
        "this value",
    ),
    (
        "deploy: {resources: {limits: {pids: many}}}",
        "`services.a.deploy.resources.limits.pids`: `many` is not an integer: write a whole number",
        "this value",
    ),
    (
        "ulimits: {nproc: 1e21}",
        "`services.a.ulimits.nproc` must be a string, an integer or a mapping, but this is a number",
        "write a whole number",
    ),
    (
        "ports: [{target: -80}]",
        "`services.a.ports[0].target` must be between 0 and 4294967295, but this is -80",
        "expected 0 to 4294967295",
    ),
    (
        "volumes: [{type: tmpfs, target: /t, tmpfs: {mode: none}}]",
        "`services.a.volumes[0].tmpfs.mode` must be a number",
        "write octal digits after a 0, as in 0755",
    ),
    (
        "hostname: a: b",
        "this is not valid YAML: mapping values are not allowed in this context",
        "put a value that holds `: ` in quotes, or check the indentation",
    ),
    (
        "labels: {a: b: c}",
        "this is not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'",
        "separate entries by commas, close each bracket, and put values that hold `: `, commas or brackets in quotes",
    ),
];

/// The advice for one wrong attribute of a service helps: what it says is accepted there.
#[test]
fn what_to_write_instead() {
    for (attribute, message, advice) in ADVICE {
        let text = format!("services:\n  a:\n    image: x\n    {attribute}\n");
        let files = MemoryFiles::new([("compose.yaml", text.as_str())]);
        let error = load(&options(), &files).expect_err(attribute);
        let [finding] = error.diagnostics.as_slice() else {
            panic!("{}", error.render(false));
        };
        assert_eq!(finding.message, *message);
        let label = finding.primary.iter().map(|place| place.message.clone());
        let told: Vec<String> = label.chain(finding.help.clone()).collect();
        assert!(
            told.iter().any(|told| told == advice),
            "{attribute}: {told:?}"
        );
    }
}
