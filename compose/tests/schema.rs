//! The JSON Schema that `config --schema` prints accepts every file of the corpus that the loader accepts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests"
)]

#[path = "common/corpus.rs"]
mod corpus;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use corpus::{Corpus, options};
use hoist_compose::load::{FileKind, Files, LocalFiles, canonical, load};
use serde::Deserialize as _;
use serde_json::Value;

/// The machine's files; remembers which were read.
#[derive(Debug, Default)]
struct Watched {
    read: RefCell<Vec<PathBuf>>,
    stdin: String,
}

impl Files for Watched {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        self.read.borrow_mut().push(path.to_path_buf());
        LocalFiles.read(path)
    }
    fn kind(&self, path: &Path) -> Option<FileKind> {
        LocalFiles.kind(path)
    }
    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        LocalFiles.canonical(path)
    }
    fn read_stdin(&self) -> std::io::Result<Vec<u8>> {
        Ok(self.stdin.clone().into_bytes())
    }
}

/// A mistake in a service of another file that nothing extends: the loader does not look at it.
const NOT_LOOKED_AT: &str = ".services.z.foo: not known here";

#[test]
fn what_the_loader_accepts_is_accepted() {
    let Some(corpus) = Corpus::unpack() else {
        return;
    };
    let schema = canonical::schema();
    let (mut files, mut refused) = (0, Vec::new());
    for case in corpus.cases() {
        let id = case["id"].as_str().unwrap();
        let watched = Watched {
            stdin: case["stdin"].as_str().unwrap_or_default().to_owned(),
            ..Watched::default()
        };
        let Ok(loaded) = load(&options(&corpus.place(id).join("in"), &case), &watched) else {
            continue;
        };
        for path in watched.read.take() {
            let is_yaml = path
                .extension()
                .is_some_and(|end| end == "yaml" || end == "yml");
            if !is_yaml && !loaded.project.compose_files.contains(&path) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for document in documents(&text) {
                files += 1;
                if let Err(why) = accepts(&schema, &document)
                    && why != NOT_LOOKED_AT
                {
                    refused.push(format!("{id}: {}: {why}", path.display()));
                }
            }
        }
    }
    println!("{}/{files} documents accepted", files - refused.len());
    assert!(files > 1_000, "only {files} documents were tried");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn what_is_wrong_is_refused() {
    let schema = canonical::schema();
    let refused = |text: &str| {
        let document = documents(text).remove(0);
        assert!(accepts(&schema, &document).is_err(), "{text}");
    };
    refused("services: {a: {imgae: x}}");
    refused("services: {a: {image: [x]}}");
    refused("services: {a: {depends_on: {b: {condition: no}}}}");
    refused("services: {a: {ports: [{publshed: 1}]}}");
    refused("services: {a: {cpu_percent: 101}}");
    refused("volumes: {v: {driver_opts: {a: [1]}}}");
}

/// The documents of a YAML text as JSON, with merge keys applied and without tags.
fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text.trim_start_matches('\u{feff}'))
        // A document that cannot be read is repeated without end.
        .map_while(|document| serde_yaml::Value::deserialize(document).ok())
        .filter_map(|mut document| {
            document.apply_merge().ok()?;
            Some(plain(document)).filter(Value::is_object)
        })
        .collect()
}

fn plain(value: serde_yaml::Value) -> Value {
    use serde_yaml::Value as Yaml;
    match value {
        Yaml::Tagged(tagged) => plain(tagged.value),
        Yaml::Sequence(items) => items
            .into_iter()
            .filter(|item| !is_reset(item))
            .map(plain)
            .collect(),
        Yaml::Mapping(map) => map
            .into_iter()
            .filter(|(key, value)| !is_reset(value) && key.as_str() != Some("<<"))
            .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), plain(value))))
            .collect(),
        other => serde_json::to_value(other).unwrap_or_default(),
    }
}

/// Any value may stand behind `!reset`.
fn is_reset(value: &serde_yaml::Value) -> bool {
    matches!(value, serde_yaml::Value::Tagged(tagged) if tagged.tag == "!reset")
}

/// As much of JSON Schema as our schema uses.
fn accepts(schema: &Value, value: &Value) -> Result<(), String> {
    let Some(schema) = schema.as_object() else {
        return if *schema == Value::Bool(true) {
            Ok(())
        } else {
            Err(": not known here".to_owned())
        };
    };
    for (keyword, wanted) in schema {
        let fits = match (keyword.as_str(), value) {
            ("type", _) => types(wanted).any(|name| is_of(value, name)),
            ("minimum", Value::Number(number)) => number.as_f64() >= wanted.as_f64(),
            ("maximum", Value::Number(number)) => number.as_f64() <= wanted.as_f64(),
            ("required", Value::Object(map)) => types(wanted).all(|name| map.contains_key(name)),
            ("uniqueItems", Value::Array(items)) => {
                let repeated = |(at, item): (usize, &Value)| items[..at].contains(item);
                !items.iter().enumerate().any(repeated)
            }
            ("enum", _) => wanted.as_array().unwrap().contains(value),
            ("pattern", Value::String(text)) => {
                assert_eq!(wanted, "\\$");
                text.contains('$')
            }
            ("anyOf", _) => {
                let schemas = wanted.as_array().unwrap();
                schemas.iter().any(|schema| accepts(schema, value).is_ok())
            }
            ("items", Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    accepts(wanted, item).map_err(|why| format!("[{index}]{why}"))?;
                }
                true
            }
            ("additionalProperties", Value::Object(map)) => {
                for (name, entry) in map {
                    let own = &schema.get("properties").unwrap_or(&Value::Null)[name];
                    let inner = if !own.is_null() {
                        own
                    } else if name.starts_with("x-") && schema.contains_key("patternProperties") {
                        &Value::Bool(true)
                    } else {
                        wanted
                    };
                    accepts(inner, entry).map_err(|why| format!(".{name}{why}"))?;
                }
                true
            }
            _ => true,
        };
        if !fits {
            return Err(format!(": {keyword} {wanted} does not hold of {value}"));
        }
    }
    Ok(())
}

fn types(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn is_of(value: &Value, name: &str) -> bool {
    match (name, value) {
        ("null", Value::Null)
        | ("boolean", Value::Bool(_))
        | ("string", Value::String(_))
        | ("number", Value::Number(_))
        | ("array", Value::Array(_))
        | ("object", Value::Object(_)) => true,
        ("integer", Value::Number(number)) => number.as_f64().is_some_and(|n| n.fract() == 0.0),
        _ => false,
    }
}
