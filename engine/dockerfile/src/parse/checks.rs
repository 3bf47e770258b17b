//! The build checks that need only the text.

use std::collections::BTreeSet;

use crate::instruction::{Dockerfile, Instruction, Kind, ShellForm, Stage};
use crate::lint::{Linter, Rule};
use crate::span::Span;

/// Names that mean something else in `--from`.
const RESERVED: [&str; 2] = ["context", "scratch"];

/// Words that tell of a secret when a variable's name has one of them between underscores.
const SECRETS: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];
/// Words that take it back.
const NO_SECRETS: [&str; 3] = ["public", "file", "version"];

pub(super) fn run(
    dockerfile: &Dockerfile,
    empty_continuations: &[(Span, Vec<String>)],
    linter: &mut Linter,
) {
    for (span, comments) in empty_continuations {
        let message = "Empty continuation line".to_owned();
        linter.warn(Rule::NoEmptyContinuation, *span, comments, message);
    }
    stage_names(dockerfile, linter);
    casing(dockerfile, linter);
    for instruction in &dockerfile.global_args {
        description(instruction, linter);
    }
    for stage in &dockerfile.stages {
        from(stage, linter);
        used_once(stage, linter);
        let mut own_shell = false;
        for instruction in &stage.instructions {
            own_shell |= matches!(instruction.kind, Kind::Shell(_));
            checks_of(instruction, own_shell, linter);
        }
    }
}

/// What one instruction is told.
fn checks_of(instruction: &Instruction, own_shell: bool, linter: &mut Linter) {
    let mut warn = |rule, message: String| {
        linter.warn(rule, instruction.line, &instruction.comments, message);
    };
    let keyword = instruction.keyword.to_ascii_uppercase();
    match &instruction.kind {
        Kind::Maintainer(_) => warn(
            Rule::MaintainerDeprecated,
            "Maintainer instruction is deprecated in favor of using label".to_owned(),
        ),
        Kind::Env(pairs) | Kind::Label(pairs) => {
            if pairs.iter().any(|pair| pair.legacy) {
                warn(
                    Rule::LegacyKeyValueFormat,
                    format!(
                        "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
                    ),
                );
            }
            let is_env = matches!(instruction.kind, Kind::Env(_));
            for pair in pairs
                .iter()
                .filter(|pair| is_env && tells_a_secret(&pair.key))
            {
                warn(Rule::SecretsUsedInArgOrEnv, secret("ENV", &pair.key));
            }
        }
        Kind::Arg(pairs) => {
            for pair in pairs.iter().filter(|pair| tells_a_secret(&pair.key)) {
                warn(Rule::SecretsUsedInArgOrEnv, secret("ARG", &pair.key));
            }
            description(instruction, linter);
        }
        Kind::Cmd(ShellForm::Shell(_)) | Kind::Entrypoint(ShellForm::Shell(_)) if !own_shell => {
            warn(
                Rule::JSONArgsRecommended,
                format!(
                    "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
                ),
            );
        }
        _ => {}
    }
}

fn secret(instruction: &str, key: &str) -> String {
    format!("Do not use ARG or ENV instructions for sensitive data ({instruction} {key:?})")
}

fn tells_a_secret(key: &str) -> bool {
    let lower = key.to_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
    has(&SECRETS) && !has(&NO_SECRETS)
}

fn from(stage: &Stage, linter: &mut Linter) {
    let Some((keyword, name)) = &stage.alias else {
        return;
    };
    if *name != name.to_lowercase() {
        let message = format!("Stage name '{name}' should be lowercase");
        linter.warn(Rule::StageNameCasing, stage.span, &stage.comments, message);
    }
    let lower = stage.keyword == stage.keyword.to_lowercase();
    let upper = stage.keyword == stage.keyword.to_uppercase();
    let matches = match (lower, upper) {
        (true, _) => *keyword == keyword.to_lowercase(),
        (_, true) => *keyword == keyword.to_uppercase(),
        // A mixture is told elsewhere.
        _ => true,
    };
    if !matches {
        let message = format!(
            "'{keyword}' and '{}' keywords' casing do not match",
            stage.keyword
        );
        linter.warn(Rule::FromAsCasing, stage.span, &stage.comments, message);
    }
    let own = stage.name.iter().cloned().collect::<Vec<_>>();
    describe("FROM", &own, &stage.comments, (stage.span, linter));
}

fn description(instruction: &Instruction, linter: &mut Linter) {
    if let Kind::Arg(pairs) = &instruction.kind {
        let keys: Vec<String> = pairs.iter().map(|pair| pair.key.clone()).collect();
        describe(
            "ARG",
            &keys,
            &instruction.comments,
            (instruction.line, linter),
        );
    }
}

fn describe(
    instruction: &str,
    keys: &[String],
    comments: &[String],
    (span, linter): (Span, &mut Linter),
) {
    let (Some(last), [first, rest @ ..]) = (comments.last(), keys) else {
        return;
    };
    if keys.iter().any(|key| last.split(' ').next() == Some(key)) {
        return;
    }
    let example = if rest.is_empty() { first } else { "<arg_key>" };
    let message =
        format!("Comment for {instruction} should follow the format: `# {example} <description>`");
    linter.warn(Rule::InvalidDefinitionDescription, span, comments, message);
}

fn stage_names(dockerfile: &Dockerfile, linter: &mut Linter) {
    let mut seen = BTreeSet::new();
    for stage in &dockerfile.stages {
        let Some(name) = &stage.name else { continue };
        if RESERVED.contains(&name.as_str()) {
            let message =
                format!("Stage name should not use the same name as reserved stage {name:?}");
            linter.warn(
                Rule::ReservedStageName,
                stage.span,
                &stage.comments,
                message,
            );
        }
        if !seen.insert(name) {
            let message = format!("Duplicate stage name {name:?}, stage names should be unique");
            linter.warn(
                Rule::DuplicateStageName,
                stage.span,
                &stage.comments,
                message,
            );
        }
    }
}

/// Every keyword but the last of its kind in a stage, for those of which only the last counts.
fn used_once(stage: &Stage, linter: &mut Linter) {
    let key = |instruction: &Instruction| match instruction.kind {
        Kind::Cmd(_) => Some("CMD"),
        Kind::Entrypoint(_) => Some("ENTRYPOINT"),
        Kind::Healthcheck(_) => Some("HEALTHCHECK"),
        _ => None,
    };
    for (at, instruction) in stage.instructions.iter().enumerate() {
        let Some(name) = key(instruction) else {
            continue;
        };
        let later = &stage.instructions[at + 1..];
        if let Some(next) = later.iter().find(|other| key(other) == Some(name)) {
            let message = format!(
                "Multiple {name} instructions should not be used in the same stage because only the last one will be used"
            );
            linter.warn(
                Rule::MultipleInstructionsDisallowed,
                instruction.line,
                &next.comments,
                message,
            );
        }
    }
}

/// Keywords in the case of their majority.
fn casing(dockerfile: &Dockerfile, linter: &mut Linter) {
    let keywords = || {
        dockerfile.stages.iter().flat_map(|stage| {
            let own = (&stage.keyword, stage.span, &stage.comments);
            std::iter::once(own).chain(stage.instructions.iter().map(|instruction| {
                (
                    &instruction.keyword,
                    instruction.line,
                    &instruction.comments,
                )
            }))
        })
    };
    let lower = keywords()
        .filter(|(word, ..)| **word == word.to_lowercase())
        .count();
    let upper = keywords()
        .filter(|(word, ..)| **word == word.to_uppercase())
        .count();
    let (expected, name) = if lower > upper {
        (str::to_lowercase as fn(&str) -> String, "lowercase")
    } else {
        (str::to_uppercase as fn(&str) -> String, "uppercase")
    };
    for (word, span, comments) in keywords().filter(|(word, ..)| **word != expected(word)) {
        let message =
            format!("Command '{word}' should match the case of the command majority ({name})");
        linter.warn(Rule::ConsistentInstructionCasing, span, comments, message);
    }
}
