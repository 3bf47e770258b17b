//! Plans as text: every directory of `tests/plan` is a case of files only.
//!
//! `compose.yaml` begins with the command, as `# hoist up --scale web=2`. `observed.json` says what exists before, in
//! short: what it leaves out is as the file wants it (see [`observed::Case`]). `expected.txt` holds the plan, one
//! line per step, then warnings; or the error. `UPDATE_EXPECTED=1` writes what is found.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "plan/command.rs"]
mod command;
#[path = "plan/observed.rs"]
mod observed;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hoist_compose::load::{LoadOptions, LocalFiles, load};
use hoist_compose::model::Project;
use hoist_compose::observe::Observed;
use hoist_compose::plan::{Plan, PlanError, check};

use command::Command;

#[test]
fn every_case_gives_its_plan() {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut failures = String::new();
    let cases = cases();
    assert!(cases.len() >= 25, "only {} cases", cases.len());
    for case in cases {
        let found = run(&case);
        let path = case.join("expected.txt");
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        if update {
            std::fs::write(&path, &found).unwrap();
        } else if found != expected {
            let name = case.file_name().unwrap().to_string_lossy();
            let _ = write!(failures, "\n{name}: expected\n{expected}but found\n{found}");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan");
    let entries = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    cases
}

/// What a case prints.
fn run(case: &Path) -> String {
    let text = std::fs::read_to_string(case.join("compose.yaml")).unwrap();
    let line = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# hoist "));
    let command = Command::parse(line.expect("the file begins with `# hoist …`"));
    let options = LoadOptions {
        files: vec![case.join("compose.yaml").to_string_lossy().into_owned()],
        profiles: command.profiles.clone(),
        services: if command.works_on_files() {
            command.services.clone()
        } else {
            Vec::new()
        },
        working_directory: case.to_owned(),
        all_resources: command.all_resources,
        ..LoadOptions::default()
    };
    let project = match load(&options, &LocalFiles) {
        Ok(loaded) => loaded.project,
        Err(error) => return format!("refused: {}\n", error.diagnostics[0].message),
    };
    let observed = observed::read(case, &project);
    match command.plan(&project, &observed) {
        Ok(plan) => text_of(&plan, &project, &observed),
        Err(error) => text_of_error(&error),
    }
}

fn text_of(plan: &Plan, project: &Project, observed: &Observed) -> String {
    let findings = check(plan, observed);
    assert!(
        findings.is_empty(),
        "the plan for {} breaks rules: {findings:?}\n{plan}",
        project.name
    );
    let warnings: String = plan
        .warnings
        .iter()
        .map(|warning| format!("warning: {warning}\n"))
        .collect();
    format!("{plan}{warnings}")
}

fn text_of_error(error: &PlanError) -> String {
    format!("error: {error}\n")
}
