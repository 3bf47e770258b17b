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

#[path = "common/corpus.rs"]
mod corpus;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use corpus::{CaseFiles, Corpus, difference, normal, options, with_places};
use hoist_compose::load::{
    Diagnostic, LoadError, Loaded, Severity, canonical, load, load_and_lint,
};
use serde_json::Value;

#[test]
fn the_corpus_agrees() {
    let Some(corpus) = Corpus::unpack() else {
        return;
    };
    let deviations = deviations();
    let mut groups: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut disagreeing = Vec::new();
    let mut deviating = 0;
    for case in corpus.cases() {
        let id = case["id"].as_str().unwrap().to_owned();
        let (mut agreed, why) = match run(&corpus.place(&id), &case) {
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

/// Findings that no file, argument or variable is to blame for, each with why.
const WITHOUT_PLACE: &[(&str, &str)] = &[(
    "own-1745-discovery-12",
    "there is no Compose file, and none was named",
)];

/// Refusals are at least as helpful as the reference's: those name an attribute and say what is wrong with it; ours also
/// have a place, and say what was expected or what to do. Warnings too.
#[test]
fn every_finding_has_a_place_and_advice() {
    let Some(corpus) = Corpus::unpack() else {
        return;
    };
    let (mut findings, mut refused, mut poor) = (0, 0, Vec::new());
    for case in corpus.cases() {
        let id = case["id"].as_str().unwrap().to_owned();
        let options = options(&corpus.place(&id).join("in"), &case);
        let files = CaseFiles {
            stdin: case["stdin"].as_str().unwrap_or_default().to_owned(),
        };
        let told = match load_and_lint(&options, &files, &[]) {
            Ok(loaded) => loaded.warnings,
            Err(error) => {
                refused += 1;
                let wrong = |finding: &Diagnostic| finding.severity == Severity::Error;
                assert!(
                    error.diagnostics.iter().any(wrong),
                    "{id}: refused without an error"
                );
                error.diagnostics
            }
        };
        for finding in told {
            findings += 1;
            let excused = WITHOUT_PLACE.iter().any(|(known, _)| *known == id);
            let place = finding.primary.as_ref();
            if place.is_none() && !excused {
                poor.push(format!("{id}: no place: {}", finding.message));
            }
            let expected = place.is_some_and(|place| !place.message.is_empty());
            if !expected && finding.help.is_empty() {
                poor.push(format!("{id}: no advice: {}", finding.message));
            }
            if finding.message.contains("``") || finding.message.contains("Some(") {
                poor.push(format!("{id}: not worded: {}", finding.message));
            }
        }
    }
    println!("{findings} findings of {refused} refused cases and of the warnings of the others");
    assert!(refused > 500, "only {refused} cases were refused");
    assert!(poor.is_empty(), "{}", poor.join("\n"));
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

fn run(place: &Path, case: &Value) -> Result<(), String> {
    let input = place.join("in");
    let options = options(&input, case);
    let files = CaseFiles {
        stdin: case["stdin"].as_str().unwrap_or_default().to_owned(),
    };
    let result =
        std::panic::catch_unwind(|| load(&options, &files)).map_err(|_| "panic".to_owned())?;
    compare(place, &input, case, result)
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
                .unwrap_or_else(|| canonical::project_value(&loaded.project));
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
