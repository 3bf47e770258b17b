//! What is fuzzed: each target takes any bytes and must neither panic nor run away. Both `cargo fuzz` and
//! `examples/fuzz.rs`, which needs no nightly compiler, use these.

use std::path::{Path, PathBuf};

use hoist_api::ImageRef;
use hoist_compose::load::{
    FileKind, Files, LoadOptions, SkippedPhases, canonical, load, load_and_lint, variables,
};
use hoist_compose::model::{ByteSize, ComposeDuration};

/// A target: its name, and what it does with the bytes.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All targets.
pub(crate) const TARGETS: &[Target] = &[
    ("yaml", yaml),
    ("interpolation", interpolation),
    ("dotenv", dotenv),
    ("ports", ports),
    ("volumes", volumes),
    ("durations", durations),
    ("images", images),
    ("merge", merge),
];

/// A whole Compose file, as bytes.
pub(crate) fn yaml(data: &[u8]) {
    run(&[("compose.yaml", data)]);
}

/// A value with variables.
pub(crate) fn interpolation(data: &[u8]) {
    in_service(data, "command: [\"", "\"]");
}

/// An env file, in both of its grammars, for variables and for a service.
pub(crate) fn dotenv(data: &[u8]) {
    let compose = b"services: {a: {image: '${A:-x}', env_file: [.env, {path: .env, format: raw, required: false}]}}";
    run(&[("compose.yaml", compose), (".env", data)]);
}

/// Short forms of ports.
pub(crate) fn ports(data: &[u8]) {
    if widest_range(data) <= MOST_PORTS {
        in_service(data, "ports: [\"", "\"]");
    }
}

/// A run is of no more ports than this: what tens of thousands of them cost is measured elsewhere.
const MOST_PORTS: u32 = 300;

/// The most that `first-last` in a text spans.
fn widest_range(data: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(data);
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    let parts = text.split(|c: char| !c.is_ascii_digit() && c != '-');
    let spans = parts
        .filter_map(|part| part.split_once('-'))
        .map(|(first, rest)| {
            let last = rest.split('-').next().unwrap_or_default();
            number(last).saturating_sub(number(first))
        });
    spans.max().unwrap_or(0)
}

/// Short forms of mounts and devices.
pub(crate) fn volumes(data: &[u8]) {
    in_service(data, "volumes: [\"", "\"]");
    in_service(data, "devices: [\"", "\"]");
}

/// Durations and sizes.
pub(crate) fn durations(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(duration) = text.parse::<ComposeDuration>() {
        let printed = duration.to_string();
        assert_eq!(
            printed.parse(),
            Ok(duration),
            "{text} is printed as {printed}"
        );
    }
    let _ = text.parse::<ByteSize>();
    in_service(data, "stop_grace_period: \"", "\"");
    in_service(data, "mem_limit: \"", "\"");
}

/// Names of images.
pub(crate) fn images(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(name) = text.parse::<ImageRef>() {
        assert_eq!(name.full().parse(), Ok(name.clone()), "{text}");
        assert_eq!(name.familiar().parse(), Ok(name), "{text}");
    }
}

/// Two files over each other, one of which is also included and extended.
pub(crate) fn merge(data: &[u8]) {
    let (first, second) = data.split_at(data.len() / 2);
    run(&[
        ("compose.yaml", first),
        ("compose.override.yaml", second),
        ("base.yaml", first),
    ]);
}

/// Puts a text into an attribute of a service.
fn in_service(data: &[u8], before: &str, after: &str) {
    let text = String::from_utf8_lossy(data)
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    let file =
        format!("services:\n  a:\n    image: x\n    {before}{text}{after}\nvolumes: {{v: {{}}}}\n");
    run(&[("compose.yaml", file.as_bytes())]);
}

/// Loads, lints, and prints what is wrong; what is accepted must be accepted again in its canonical form.
fn run(files: &[(&str, &[u8])]) {
    let files = Memory(
        files
            .iter()
            .map(|(name, data)| (Path::new("/p").join(name), data.to_vec()))
            .collect(),
    );
    let options = LoadOptions {
        working_directory: PathBuf::from("/p"),
        ..LoadOptions::default()
    };
    match load(&options, &files) {
        Ok(loaded) => {
            let text = canonical::to_yaml(&canonical::project_value(&loaded.project));
            for warning in &loaded.warnings {
                let _ = warning.render(false);
            }
            let again = Memory(vec![(PathBuf::from("/p/compose.yaml"), text.into_bytes())]);
            let _ = load(&options, &again);
            let _ = load_and_lint(&options, &files, &[]);
        }
        Err(error) => {
            let _ = error.render(false);
        }
    }
    let raw = LoadOptions {
        skip: SkippedPhases {
            interpolation: true,
            ..SkippedPhases::default()
        },
        ..options
    };
    let _ = variables(&raw, &files);
}

/// Files in memory.
#[derive(Debug)]
struct Memory(Vec<(PathBuf, Vec<u8>)>);

impl Files for Memory {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        let found = self.0.iter().find(|(known, _)| known == path);
        found
            .map(|(_, data)| data.clone())
            .ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    fn kind(&self, path: &Path) -> Option<FileKind> {
        let known = self.0.iter().any(|(known, _)| known == path);
        known.then_some(FileKind::File)
    }

    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        self.kind(path).map(|_| path.to_path_buf())
    }

    fn read_stdin(&self) -> std::io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
}
