//! Runs the corpus of real Compose files in process and compares with what Docker Compose makes of them.
//!
//! Prints agreed/total by group. The number of agreeing cases may only grow: `corpus-floor.txt` holds the floor. Cases
//! in `DEVIATIONS.md` (named in backquotes at the start of a table row) count as agreed: there we are right on purpose.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hoist_compose::load::{
    FileKind, Files, LoadError, LoadOptions, Loaded, LocalFiles, SkippedPhases, canonical, load,
};
use serde_json::Value;

/// The machine's files, with a standard input of the case's own.
#[derive(Debug)]
struct CaseFiles {
    stdin: String,
}

impl Files for CaseFiles {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
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

#[test]
fn the_corpus_agrees() {
    let archive =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/compose-config.tar.zst");
    let Ok(file) = std::fs::File::open(&archive) else {
        println!("skipped: {} is absent", archive.display());
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    tar::Archive::new(zstd::Decoder::new(file).unwrap())
        .unpack(directory.path())
        .unwrap();
    let deviations = deviations();
    let mut groups: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut disagreeing = Vec::new();
    let mut deviating = 0;
    for case in cases(directory.path()) {
        let id = case["id"].as_str().unwrap().to_owned();
        let (mut agreed, why) = match run(directory.path(), &id, &case) {
            Ok(()) => (true, String::new()),
            Err(why) => (false, why),
        };
        if !agreed && deviations.contains(&id) {
            deviating += 1;
            agreed = true;
        }
        let group = groups
            .entry(case["group"].as_str().unwrap_or("?").to_owned())
            .or_default();
        group.0 += usize::from(agreed);
        group.1 += 1;
        if !agreed {
            disagreeing.push(format!("{id}: {why}"));
        }
    }
    report(&groups, &disagreeing);
    println!("{deviating} of them differ on purpose (DEVIATIONS.md)");
    let agreed: usize = groups.values().map(|(agreed, _)| agreed).sum();
    let floor: usize = include_str!("corpus-floor.txt").trim().parse().unwrap();
    assert!(
        agreed >= floor,
        "only {agreed} cases agree; the floor is {floor}"
    );
}

fn report(groups: &BTreeMap<String, (usize, usize)>, disagreeing: &[String]) {
    if let Ok(path) = std::env::var("CORPUS_REPORT") {
        std::fs::write(path, disagreeing.join("\n")).unwrap();
    }
    for (group, (agreed, total)) in groups {
        println!("{group}: {agreed}/{total}");
    }
    let (agreed, total) = groups
        .values()
        .fold((0, 0), |sum, group| (sum.0 + group.0, sum.1 + group.1));
    println!("corpus: {agreed}/{total} agree");
}

fn deviations() -> BTreeSet<String> {
    let rows = include_str!("../DEVIATIONS.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split('`').next()?.to_owned()))
        .collect()
}

fn cases(directory: &Path) -> Vec<Value> {
    let mut cases: Vec<Value> = std::fs::read_dir(directory)
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.unwrap().path().join("case.json")).ok())
        .map(|text| serde_json::from_slice(&text).unwrap())
        .collect();
    cases.sort_by(|left, right| left["id"].as_str().cmp(&right["id"].as_str()));
    cases
}

fn run(directory: &Path, id: &str, case: &Value) -> Result<(), String> {
    let place = directory.join(id);
    let input = place.join("in");
    let options = options(&input, case);
    let files = CaseFiles {
        stdin: case["stdin"].as_str().unwrap_or_default().to_owned(),
    };
    let result =
        std::panic::catch_unwind(|| load(&options, &files)).map_err(|_| "panic".to_owned())?;
    compare(&place, &input, case, result)?;
    Ok(())
}

fn compare(
    place: &Path,
    input: &Path,
    case: &Value,
    result: Result<Loaded, LoadError>,
) -> Result<(), String> {
    let accepted = case["exit"].as_i64() == Some(0);
    match (accepted, result) {
        (false, Err(_)) => Ok(()),
        (false, Ok(_)) => {
            let expected = std::fs::read_to_string(place.join("expected.err")).unwrap_or_default();
            Err(format!(
                "accepted, but the reference says: {}",
                expected.replace('\n', " ")
            ))
        }
        (true, Err(error)) => Err(format!("rejected: {error}")),
        (true, Ok(loaded)) => {
            let got = loaded
                .model
                .unwrap_or_else(|| canonical::file_value(&loaded.project));
            let mut why = String::new();
            for name in ["expected.json", "expected.alt.json"] {
                let Ok(text) = std::fs::read_to_string(place.join(name)) else {
                    continue;
                };
                let text = with_places(&text, input);
                let expected: Value =
                    serde_json::from_str(&text).map_err(|error| error.to_string())?;
                let candidates = match &expected {
                    Value::Array(candidates) => candidates.clone(),
                    one => vec![one.clone()],
                };
                for candidate in candidates {
                    match difference(&normal(&candidate, true), &normal(&got, false), "") {
                        None => return Ok(()),
                        Some(difference) => why = difference,
                    }
                }
            }
            Err(why)
        }
    }
}

fn with_places(text: &str, input: &Path) -> String {
    let mut text = text.to_owned();
    let mut place = Some(input);
    for name in ["@DIR@", "@PARENT@", "@PARENT2@", "@PARENT3@"] {
        if let Some(path) = place {
            text = text.replace(name, &path.to_string_lossy());
            place = path.parent();
        }
    }
    text
}

fn options(input: &Path, case: &Value) -> LoadOptions {
    let cwd = input.join(case["cwd"].as_str().unwrap_or("."));
    let cwd: PathBuf = cwd
        .components()
        .filter(|part| part.as_os_str() != ".")
        .collect();
    let mut options = LoadOptions {
        working_directory: cwd.clone(),
        ..LoadOptions::default()
    };
    let fixed = [
        ("PATH", "/usr/bin:/bin"),
        ("HOME", "/home/tester"),
        ("PWD", &cwd.to_string_lossy()),
        ("DOCKER_HOST", "unix:///nonexistent/docker.sock"),
    ];
    for (name, value) in fixed {
        options
            .environment
            .insert(name.to_owned(), value.to_owned());
    }
    for (name, value) in case["env"].as_object().into_iter().flatten() {
        let value = with_places(value.as_str().unwrap_or_default(), input);
        options.environment.insert(name.clone(), value);
    }
    let texts = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .map(|text| text.as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let mut args = texts(&case["args"])
        .into_iter()
        .chain(texts(&case["config_args"]));
    while let Some(arg) = args.next() {
        let mut next = || args.next().unwrap_or_default();
        match arg.as_str() {
            "-f" | "--file" => options.files.push(next()),
            "-p" | "--project-name" => options.project_name = Some(next()),
            "--profile" => options.profiles.push(next()),
            "--env-file" => options.env_files.push(next()),
            "--project-directory" | "--workdir" => {
                options.project_directory = Some(PathBuf::from(with_places(&next(), input)))
            }
            "--all-resources" => options.all_resources = true,
            "--no-consistency" => options.skip.consistency = true,
            "--no-normalize" => options.skip.normalization = true,
            "--no-path-resolution" => options.skip.path_resolution = true,
            "--no-interpolate" => {
                options.skip = SkippedPhases {
                    interpolation: true,
                    ..options.skip
                }
            }
            "--no-env-resolution" => options.skip.environment_resolution = true,
            _ => {}
        }
    }
    options.services = texts(&case["services"]);
    options
}

/// What does not count as a difference, by the corpus's README: forms of "nothing", spellings of keys.
fn normal(value: &Value, reference: bool) -> Value {
    let mut value = value.clone();
    if !reference && let Some(map) = value.as_object_mut() {
        // The reference's JSON lacks models; its YAML has them.
        map.shift_remove("models");
    }
    simplify(&mut value);
    value
}

fn simplify(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let blkio = ["Path", "Rate", "Weight"];
            for key in blkio {
                if let Some(inner) = map.shift_remove(key) {
                    map.insert(key.to_lowercase(), inner);
                }
            }
            map.values_mut().for_each(simplify);
            map.retain(|key, inner| {
                let nothing =
                    inner.is_null() || inner.as_object().is_some_and(serde_json::Map::is_empty);
                match key.as_str() {
                    "command" | "entrypoint" => !inner.is_null(),
                    "ipam" | "resources" | "placement" | "exec" => !nothing,
                    _ => true,
                }
            });
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
}

/// The first place where two values differ.
fn difference(expected: &Value, got: &Value, path: &str) -> Option<String> {
    match (expected, got) {
        (Value::Object(left), Value::Object(right)) => {
            for (key, value) in left {
                let path = format!("{path}.{key}");
                match right.get(key) {
                    None => return Some(format!("{path}: expected {value}, got nothing")),
                    Some(other) => {
                        if let Some(found) = difference(value, other, &path) {
                            return Some(found);
                        }
                    }
                }
            }
            // The reference's JSON lacks inner extensions.
            let extra = right
                .iter()
                .find(|(key, _)| !left.contains_key(*key) && !key.starts_with("x-"));
            extra.map(|(key, value)| format!("{path}.{key}: expected nothing, got {value}"))
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let pairs = left.iter().zip(right).enumerate();
            pairs
                .into_iter()
                .find_map(|(index, (a, b))| difference(a, b, &format!("{path}[{index}]")))
        }
        (Value::Number(left), Value::Number(right)) if left.as_f64() == right.as_f64() => None,
        (left, right) if left == right => None,
        (left, right) => Some(format!("{path}: expected {left}, got {right}")),
    }
}
