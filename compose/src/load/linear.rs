//! Loading is linear in the size of the files: counted in entries of mappings that are visited, so that no machine is
//! too slow or too fast for the test.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::map::steps;
use super::{FileKind, Files, LoadOptions, canonical, load};

#[derive(Debug)]
struct Texts(BTreeMap<PathBuf, String>);

impl Texts {
    fn new<const N: usize>(files: [(&str, String); N]) -> Self {
        let below = |(name, text)| (Path::new("/p").join(name), text);
        Self(files.into_iter().map(below).collect())
    }
}

impl Files for Texts {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        let text = self.0.get(path).ok_or(std::io::ErrorKind::NotFound)?;
        Ok(text.clone().into_bytes())
    }

    fn kind(&self, path: &Path) -> Option<FileKind> {
        self.0.contains_key(path).then_some(FileKind::File)
    }

    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        Some(path.to_path_buf())
    }

    fn read_stdin(&self) -> std::io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

/// Services that extend one of another file, take in anchors, and are overridden by a second file.
fn services(count: usize) -> Texts {
    let mut base =
        "x-common: &common\n  restart: always\n  labels: {team: a}\nservices:\n".to_owned();
    let mut over = "services:\n".to_owned();
    for index in 0..count {
        write!(
            base,
            "  s{index}:\n    <<: *common\n    extends: {{file: base.yaml, service: web}}\n    image: \"app:${{TAG:-1}}\"\n    \
             environment: {{A: \"{index}\", B: \"$${{X}}\"}}\n    ports: [\"{}:80\"]\n    volumes: [\"./d{index}:/data\", \"v:/v\"]\n",
            20_000 + index
        )
        .unwrap();
        if index > 0 {
            writeln!(base, "    depends_on: [s{}]", index - 1).unwrap();
        }
        writeln!(
            over,
            "  s{index}:\n    environment: [C=1]\n    mem_limit: 64m"
        )
        .unwrap();
    }
    base.push_str("volumes: {v: {}}\n");
    over.push_str("networks: {front: {}, back: {}}\n");
    let web = "services:\n  web:\n    healthcheck: {test: [CMD, \"true\"], interval: 5s}\n    networks: [front, back]\n    cap_drop: [ALL]\n";
    Texts::new([
        ("compose.yaml", base),
        ("compose.override.yaml", over),
        ("base.yaml", web.to_owned()),
    ])
}

/// One service of many variables that another file takes away again, and of many keys of its own.
fn entries(count: usize) -> Texts {
    let mut base = "services:\n  a:\n    image: i\n    environment:\n".to_owned();
    let mut over = "services:\n  a:\n    environment:\n".to_owned();
    for index in 0..count {
        writeln!(base, "      V{index}: v").unwrap();
        writeln!(over, "      V{index}: !reset null").unwrap();
    }
    for index in 0..count {
        writeln!(over, "    x-{index}: v").unwrap();
    }
    Texts::new([("compose.yaml", base), ("compose.override.yaml", over)])
}

#[track_caller]
fn linear(files: fn(usize) -> Texts) {
    let count = |size: usize| {
        let options = LoadOptions {
            working_directory: PathBuf::from("/p"),
            ..LoadOptions::default()
        };
        let files = files(size);
        steps::taken();
        let loaded = load(&options, &files).expect("the files are right");
        let value = canonical::project_value(&loaded.project);
        assert_eq!(
            value["services"].as_object().unwrap().len(),
            loaded.project.services.len()
        );
        steps::taken()
    };
    let (small, large) = (count(250), count(1_000));
    assert!(small > 250, "nothing is counted");
    assert!(
        large <= small * 9 / 2,
        "a size of 250 takes {small} steps, one of 1000 takes {large}"
    );
}

#[test]
fn in_the_number_of_services() {
    linear(services);
}

#[test]
fn in_the_number_of_entries() {
    linear(entries);
}
