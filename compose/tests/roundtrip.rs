//! The canonical file is itself a file: written as YAML and loaded again it gives the same project. Also compares what
//! the reference prints for the lists of `config` (`--services`, `--images`, …) and for `--no-interpolate`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests"
)]

#[path = "common/corpus.rs"]
mod corpus;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use corpus::{CaseFiles, Corpus, difference, normal, options, with_places};
use hoist_compose::load::{
    FileKind, Files, LoadOptions, LocalFiles, SkippedPhases, canonical, load, variables,
};
use serde_json::Value;

/// The machine's files, with one more.
#[derive(Debug)]
struct WithFile {
    path: PathBuf,
    text: String,
}

impl Files for WithFile {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        if path == self.path {
            Ok(self.text.clone().into_bytes())
        } else {
            LocalFiles.read(path)
        }
    }
    fn kind(&self, path: &Path) -> Option<FileKind> {
        LocalFiles.kind(path)
    }
    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        LocalFiles.canonical(path)
    }
    fn read_stdin(&self) -> std::io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

/// Cases with an attribute that is written but empty: the canonical form leaves it out, as the reference's does, and then
/// it has its default when loaded again.
const EMPTY_ATTRIBUTES: [&str; 2] = [
    "dc-0130-simple-build-test-compose-interpolate-yaml",
    "dc-0306-testupswitchvolumes-compose-yaml",
];

/// Lists that agree; the rest differ in form only (a list of `K=V` where the reference has a mapping, and the like).
const LISTS_FLOOR: usize = 4_956;

#[test]
fn canonical_files_load_again() {
    let Some(corpus) = Corpus::unpack() else {
        return;
    };
    let (mut total, mut wrong) = (0, Vec::new());
    for case in corpus.cases() {
        let id = case["id"].as_str().unwrap().to_owned();
        let input = corpus.place(&id).join("in");
        let options = options(&input, &case);
        let files = CaseFiles {
            stdin: case["stdin"].as_str().unwrap_or_default().to_owned(),
        };
        let Ok(loaded) = load(&options, &files) else {
            continue;
        };
        if options.skip != SkippedPhases::default() || EMPTY_ATTRIBUTES.contains(&id.as_str()) {
            continue;
        }
        let services = &loaded.project.services;
        // An optional dependency on a service that no active profile enables: the file still names it, as the
        // reference's does, and neither loads it again.
        if services.values().any(|service| {
            service
                .depends_on
                .keys()
                .any(|target| !services.contains_key(target))
        }) {
            continue;
        }
        total += 1;
        let first = canonical::project_value(&loaded.project);
        let text = canonical::to_yaml(&first);
        let path = loaded.project.working_dir.join("canonical.yaml");
        let again = LoadOptions {
            files: vec![path.to_string_lossy().into_owned()],
            project_name: Some(loaded.project.name.clone()),
            profiles: vec!["*".to_owned()],
            services: Vec::new(),
            skip: SkippedPhases {
                environment_resolution: options.skip.environment_resolution,
                ..SkippedPhases::default()
            },
            ..options.clone()
        };
        match load(
            &again,
            &WithFile {
                path,
                text: text.clone(),
            },
        ) {
            Err(error) => wrong.push(format!("{id}: refused: {error}")),
            Ok(second) => {
                if let Some(found) =
                    difference(&first, &canonical::project_value(&second.project), "")
                {
                    wrong.push(format!("{id}: {found}"));
                }
            }
        }
    }
    println!("round trip: {}/{total}", total - wrong.len());
    wrong.iter().for_each(|line| println!("{line}"));
    assert!(
        wrong.is_empty(),
        "{} canonical files do not load as themselves",
        wrong.len()
    );
}

#[test]
fn lists_agree() {
    let Some(corpus) = Corpus::unpack() else {
        return;
    };
    let (mut total, mut wrong) = (0, Vec::new());
    for case in corpus.cases() {
        let id = case["id"].as_str().unwrap().to_owned();
        let place = corpus.place(&id);
        let input = place.join("in");
        let options = options(&input, &case);
        let files = CaseFiles {
            stdin: case["stdin"].as_str().unwrap_or_default().to_owned(),
        };
        for list in [
            "nointerp.json",
            "services.txt",
            "images.txt",
            "volumes.txt",
            "networks.txt",
            "variables.txt",
        ] {
            let Ok(expected) = std::fs::read_to_string(place.join("extra").join(list)) else {
                continue;
            };
            total += 1;
            let expected = with_places(&expected, &input);
            let result = if list == "nointerp.json" {
                uninterpolated(&options, &files, &expected)
            } else {
                one_list(
                    &LoadOptions {
                        services: Vec::new(),
                        ..options.clone()
                    },
                    &files,
                    list,
                    &expected,
                )
            };
            if let Err(why) = result {
                wrong.push(format!("{id} {list}: {why}"));
            }
        }
    }
    let agreed = total - wrong.len();
    println!("lists: {agreed}/{total}");
    if let Ok(path) = std::env::var("LISTS_REPORT") {
        std::fs::write(path, wrong.join("\n")).unwrap();
    }
    assert!(
        total == 0 || agreed >= LISTS_FLOOR,
        "only {agreed} lists agree; the floor is {LISTS_FLOOR}"
    );
}

fn uninterpolated(options: &LoadOptions, files: &CaseFiles, expected: &str) -> Result<(), String> {
    let skip = SkippedPhases {
        interpolation: true,
        ..options.skip
    };
    let loaded = load(
        &LoadOptions {
            skip,
            ..options.clone()
        },
        files,
    )
    .map_err(|error| format!("refused: {error}"))?;
    let expected: Value = serde_json::from_str(expected).map_err(|error| error.to_string())?;
    match difference(
        &normal(&expected, true),
        &normal(&loaded.model.unwrap_or_default(), true),
        "",
    ) {
        None => Ok(()),
        Some(found) => Err(found),
    }
}

fn one_list(
    options: &LoadOptions,
    files: &CaseFiles,
    list: &str,
    expected: &str,
) -> Result<(), String> {
    let expected: BTreeSet<String> = match list {
        "variables.txt" => expected
            .lines()
            .skip(1)
            .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
            .collect(),
        _ => expected
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect(),
    };
    let got: BTreeSet<String> = if list == "variables.txt" {
        variables(options, files)
            .map_err(|error| error.to_string())?
            .into_iter()
            .map(|variable| variable.name)
            .collect()
    } else {
        let project = load(options, files)
            .map_err(|error| error.to_string())?
            .project;
        match list {
            "services.txt" => project.services.keys().cloned().collect(),
            "volumes.txt" => project.volumes.keys().cloned().collect(),
            "networks.txt" => project.networks.keys().cloned().collect(),
            _ => {
                let image = |(name, service): (&String, &hoist_compose::model::Service)| {
                    service
                        .image
                        .clone()
                        .unwrap_or_else(|| format!("{}-{name}", project.name))
                };
                project.services.iter().map(image).collect()
            }
        }
    };
    if expected == got {
        Ok(())
    } else {
        Err(format!("expected {expected:?}, got {got:?}"))
    }
}
