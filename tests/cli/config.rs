//! `config`: the parts of the project it prints.

use super::place::{Place, check_snapshot};

const SHOP: &str = "\
services:
  web:
    image: nginx:${TAG:-1.27}
    ports: ['8080:80']
    depends_on: [db]
  db:
    image: postgres
    volumes: [data:/var/lib/postgresql/data]
  tools:
    image: busybox
    profiles: [debug]
volumes:
  data: {}
";

#[test]
fn the_whole_project() {
    let place = Place::with(SHOP);
    let yaml = place.hoist("config").ok().stdout;
    check_snapshot(
        "config-yaml",
        &yaml.replace(&place.path().display().to_string(), "[DIR]"),
    );
    let json = place.hoist("config --format json").ok().json();
    assert_eq!(json["name"], "shop");
    assert_eq!(json["services"]["web"]["image"], "nginx:1.27");
    assert!(
        json["services"]["tools"].is_null(),
        "its profile is not active"
    );
    assert!(!place.has_engine());
}

/// Another YAML reader than ours finds the same data in the file that is printed as in the JSON.
#[test]
fn both_formats_say_the_same() {
    let place = Place::with(&format!(
        "{SHOP}x-odd: {{a: 'yes', b: '22:22', c: '010', d: 0.5, e: null}}\n"
    ));
    let yaml = place.hoist("config").ok().stdout;
    let read: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(read, place.hoist("config --format json").ok().json());
}

/// Scripts search the output for lines: a long name is not moved to the next one.
#[test]
fn long_values_stay_on_their_line() {
    let image = format!(
        "registry.test/some/team/image:1.27@sha256:{}",
        "a".repeat(64)
    );
    let words = "word ".repeat(40);
    let place = Place::with(&format!(
        "services: {{a: {{image: '{image}', command: ['{words}'], labels: {{k: 'two\n\n      lines'}}}}}}\n"
    ));
    let yaml = place.hoist("config").ok().stdout;
    let line = format!("    image: {image}");
    assert!(yaml.lines().any(|known| known == line), "{yaml}");
    assert!(yaml.contains(words.trim()), "{yaml}");
    let read: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(read, place.hoist("config --format json").ok().json());
}

#[test]
fn parts_of_it() {
    let place = Place::with(SHOP);
    for (line, expected) in [
        ("config --services", "db\nweb\n"),
        ("config --volumes", "data\n"),
        ("config --networks", "default\n"),
        ("config --profiles", "debug\n"),
        ("config --images", "nginx:1.27\npostgres\n"),
        ("--profile debug config --services", "db\ntools\nweb\n"),
        ("config --quiet", ""),
    ] {
        let run = place.hoist(line).ok();
        let mut lines: Vec<&str> = run.stdout.lines().collect();
        lines.sort_unstable();
        let expected: Vec<&str> = expected.lines().collect();
        assert_eq!(lines, expected, "{line}");
    }
}

/// Variables that are left in place make no typed project; the lists are of the file as it is written.
/// The keys are the reference's. Of several uses, the one counts that says what the variable is without a value.
#[test]
fn variables_as_data() {
    let place = Place::with(
        "services: {a: {image: '${B}${B:-b}', hostname: '${A:?x}${A}', user: '${C+c}'}}\n",
    );
    let json = place.hoist("config --variables --format json").ok().json();
    let variable = |name: &str, default: &str, presence: &str, required: bool| {
        serde_json::json!({
            "Name": name, "DefaultValue": default, "PresenceValue": presence, "Required": required,
        })
    };
    let expected = serde_json::json!({
        "A": variable("A", "", "", true),
        "B": variable("B", "b", "", false),
        "C": variable("C", "", "c", false),
    });
    assert_eq!(json, expected);
    let yaml = place.hoist("config --variables --format yaml").ok().stdout;
    assert!(
        yaml.starts_with("A:\n    name: A\n    defaultvalue: \"\"\n"),
        "{yaml}"
    );
    let read: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(read["B"]["defaultvalue"], "b");
    assert_eq!(read["A"]["required"], true);
}

/// What is not typed is printed by its keys' order, as the reference does.
#[test]
fn keys_with_variables_in_place() {
    let place = Place::with(
        "services: {b: {ports: ['${P:-80}:80'], image: b, build: {dockerfile: d, context: .}}, a: {image: a}}\n",
    );
    let yaml = place.hoist("config --no-interpolate").ok().stdout;
    let lines: Vec<&str> = yaml.lines().collect();
    let at = |line: &str| lines.iter().position(|each| *each == line);
    let keys = [
        "networks:",
        "services:",
        "  a:",
        "  b:",
        "    build:",
        "    image: b",
        "    ports:",
    ];
    let places: Vec<_> = keys.iter().map(|key| at(key)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{yaml}");
}

/// `--quiet` is about the project; what is asked for by name is printed.
#[test]
fn quiet_lists_are_printed() {
    let place = Place::with(SHOP);
    for list in [
        "--volumes",
        "--images",
        "--profiles",
        "--hash *",
        "--variables",
    ] {
        let loud = place.hoist(&format!("config {list}")).ok().stdout;
        assert!(!loud.is_empty(), "{list}");
        assert_eq!(place.hoist(&format!("config -q {list}")).ok().stdout, loud);
    }
}

/// Only the models that enabled services use, as without the flag.
#[test]
fn models_with_variables_in_place() {
    let place = Place::with(
        "services: {a: {image: x, models: [m]}}\nmodels: {m: {model: 'ai/${M:-m}'}, n: {model: n}}\n",
    );
    assert_eq!(place.hoist("config --models").ok().stdout, "ai/m\n");
    let written = place.hoist("config --models --no-interpolate").ok().stdout;
    assert_eq!(written, "ai/${M:-m}\n");
}

#[test]
fn parts_of_it_with_variables_in_place() {
    let place = Place::with(
        "services:
  web: {image: 'nginx:${TAG:-1.27}', networks: [front], volumes: ['data:/d'], models: [m]}
  tools: {build: ., scale: '${N}', profiles: [debug], volumes: ['cache:/c']}
networks: {front: , unused: }
volumes: {data: , cache: , unused: }
models: {m: {model: 'ai/${M}'}}
",
    );
    for (line, expected) in [
        ("config --services", "web\ntools\n"),
        ("config --images", "nginx:${TAG:-1.27}\n"),
        ("config --networks", "front\n"),
        ("config --volumes", "data\n"),
        ("config --profiles", "debug\n"),
        ("config --models", "ai/${M}\n"),
        (
            "--profile debug config --images",
            "nginx:${TAG:-1.27}\nshop-tools\n",
        ),
        ("--profile debug config --volumes", "data\ncache\n"),
    ] {
        let run = place.hoist(&format!("{line} --no-interpolate")).ok();
        assert_eq!(run.stdout, expected, "{line}");
    }
    let run = place.hoist("config --no-interpolate --hash web").exits(1);
    assert!(
        run.stderr.contains("--no-interpolate leaves variables"),
        "{}",
        run.stderr
    );
}

/// As in the reference: a switch may be there twice, the last value counts, and a value may begin with a dash.
#[test]
fn options_are_read_as_the_reference_reads_them() {
    let place = Place::with(SHOP);
    let run = place
        .hoist("config --no-consistency --no-consistency --format yaml --format json")
        .ok();
    assert_eq!(run.json()["name"], "shop");
    let run = place.hoist("-p -x config").exits(1);
    assert!(
        run.stderr.contains("invalid project name \"-x\""),
        "{}",
        run.stderr
    );
    let run = place.hoist("-f -none.yaml config").exits(1);
    assert!(run.stderr.contains("-none.yaml"), "{}", run.stderr);
}

#[test]
fn checks_tell_editors_what_is_wrong_or_doubtful() {
    let place = Place::with("services: {web: {image: nginx}}\n");
    let run = place.hoist("config --check").ok();
    assert!(run.stderr.contains("warning[latest-tag]"), "{}", run.stderr);
    assert_eq!(run.stdout, "");
    let run = place.hoist("config --check --allow latest-tag").ok();
    assert_eq!(run.stderr, "");
    let place = Place::with("services: {web: {imgae: nginx}}\n");
    let run = place.hoist("config --check --format json").exits(1);
    let findings = run.json();
    assert_eq!(findings["findings"][0]["code"], "unknown-attribute");
    assert_eq!(findings["findings"][0]["at"]["column"], 18);
    let schema = place.hoist("config --schema").ok().json();
    assert!(schema["properties"]["services"].is_object());
}

#[test]
fn hashes_change_with_the_service_only() {
    let place = Place::with(SHOP);
    let before = place.hoist("config --hash *").ok().stdout;
    let mut changed = place.command("config --hash *");
    changed.env("TAG", "1.28");
    let after = crate::common::run::to_end(changed, crate::common::LONG)
        .ok()
        .stdout;
    let line = |text: &str, service: &str| {
        let found = text
            .lines()
            .find(|line| line.starts_with(&format!("{service} ")));
        found
            .map(str::to_owned)
            .unwrap_or_else(|| panic!("no hash of {service} in {text}"))
    };
    assert_ne!(line(&before, "web"), line(&after, "web"));
    assert_eq!(line(&before, "db"), line(&after, "db"));
    assert_eq!(
        line(&before, "db").split(' ').nth(1).map(str::len),
        Some(64)
    );
}

#[test]
fn output_goes_to_a_file() {
    let place = Place::with(SHOP);
    assert_eq!(place.hoist("config -o out.yaml").ok().stdout, "");
    let again = place.hoist("-f out.yaml config").ok().stdout;
    assert_eq!(
        std::fs::read_to_string(place.path().join("out.yaml")).unwrap(),
        again
    );
}
