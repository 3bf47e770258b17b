//! The corpus: unpacking it, the options of its cases, and what counts as a difference.
#![allow(dead_code, reason = "each test uses a part")]

use std::path::{Path, PathBuf};

use hoist_compose::load::{FileKind, Files, LoadOptions, LocalFiles, SkippedPhases};
use serde_json::Value;

/// The machine's files, with a standard input of the case's own.
#[derive(Debug)]
pub(crate) struct CaseFiles {
    pub(crate) stdin: String,
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

/// The unpacked corpus.
pub(crate) struct Corpus {
    directory: tempfile::TempDir,
}

impl Corpus {
    /// Unpacks the corpus; none, with a printed reason, when it is absent.
    pub(crate) fn unpack() -> Option<Self> {
        let archive = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../shared/corpus/compose-config.tar.zst");
        let Ok(file) = std::fs::File::open(&archive) else {
            println!("skipped: {} is absent", archive.display());
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        tar::Archive::new(zstd::Decoder::new(file).unwrap())
            .unpack(directory.path())
            .unwrap();
        Some(Self { directory })
    }

    /// The folder of a case.
    pub(crate) fn place(&self, id: &str) -> PathBuf {
        self.directory.path().join(id)
    }

    /// All cases, by id.
    pub(crate) fn cases(&self) -> Vec<Value> {
        let mut cases: Vec<Value> = std::fs::read_dir(self.directory.path())
            .unwrap()
            .filter_map(|entry| std::fs::read(entry.unwrap().path().join("case.json")).ok())
            .map(|text| serde_json::from_slice(&text).unwrap())
            .collect();
        cases.sort_by(|left, right| left["id"].as_str().cmp(&right["id"].as_str()));
        cases
    }
}

pub(crate) fn with_places(text: &str, input: &Path) -> String {
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

pub(crate) fn options(input: &Path, case: &Value) -> LoadOptions {
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
pub(crate) fn normal(value: &Value, reference: bool) -> Value {
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
pub(crate) fn difference(expected: &Value, got: &Value, path: &str) -> Option<String> {
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
