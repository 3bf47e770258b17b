//! A build's events in the words of Docker's classic builder, which does one instruction after the other: what steps say that run
//! beside the one that is shown waits for its turn.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hoist_api::build::{BuildEvent, BuildFailure, BuildResult};
use hoist_api::image::{ErrorDetail, Progress};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::serve::query::Query;
use crate::service::build::{Plan, PlanLine};

/// Writes lines.
#[derive(Debug)]
pub(super) struct Writer {
    /// Only the id.
    quiet: bool,
    /// The client reads BuildKit's lines: `version=2`.
    buildkit: bool,
    plan: Plan,
    /// How many instructions were shown whole.
    shown: usize,
    /// Whether the next one's line was shown.
    is_announced: bool,
    /// What steps said whose turn has not come.
    waiting: BTreeMap<u32, Vec<String>>,
    /// Steps that ended, and whether they were taken from the cache.
    done: BTreeMap<u32, bool>,
    started: BTreeSet<u32>,
}

impl Writer {
    pub(super) fn new(query: &Query, plan: Plan) -> Self {
        Self {
            quiet: query.flag("q"),
            buildkit: query.text("version") == "2",
            plan,
            shown: 0,
            is_announced: false,
            waiting: BTreeMap::new(),
            done: BTreeMap::new(),
            started: BTreeSet::new(),
        }
    }

    /// What an event becomes.
    pub(super) fn lines(&mut self, event: BuildEvent) -> Vec<Bytes> {
        let mut progress = Vec::new();
        match event {
            BuildEvent::Started { step, .. } => drop(self.started.insert(step.id)),
            BuildEvent::Output { step, text, stderr } => {
                let text = match stderr {
                    // As Docker has it: in red, each piece by itself.
                    true => format!("\x1b[91m{text}\x1b[0m"),
                    false => text,
                };
                self.waiting.entry(step).or_default().push(text);
            }
            BuildEvent::Done {
                step,
                cached,
                error,
                ..
            } if error.is_empty() => drop(self.done.insert(step, cached)),
            BuildEvent::Warning(warning) if !warning.message.is_empty() => {
                progress.push(text(format!("[Warning] {}\n", warning.message)));
            }
            BuildEvent::Finished(result) => {
                let mut last = self.advance();
                last.extend(self.finished(&result));
                return self.written(&last);
            }
            BuildEvent::Failed(failure) => {
                let mut last = self.advance();
                last.push(failed(&failure));
                return self.written(&last);
            }
            _ => {}
        }
        progress.extend(self.advance());
        self.written(&progress)
    }

    fn written(&self, progress: &[Progress]) -> Vec<Bytes> {
        let is_wanted = |line: &&Progress| {
            let is_talk = !line.stream.is_empty();
            let is_last = !line.error.is_empty() || line.aux.is_some();
            !(is_talk && (self.buildkit || self.quiet)) || is_last || line.id == QUIET
        };
        progress.iter().filter(is_wanted).map(line).collect()
    }

    /// Shows all that can be shown now.
    fn advance(&mut self) -> Vec<Progress> {
        let Some(plan) = self.plan.get() else {
            return Vec::new();
        };
        let plan: Vec<PlanLine> = plan.clone();
        let mut shown = Vec::new();
        while let Some(current) = plan.get(self.shown) {
            let is_begun = current.step.is_none_or(|step| self.started.contains(&step));
            if !is_begun {
                break;
            }
            if !self.is_announced {
                let number = self.shown + 1;
                shown.push(text(format!(
                    "Step {number}/{} : {}\n",
                    plan.len(),
                    current.text
                )));
                self.is_announced = true;
            }
            let cached = match current.step {
                None => None,
                Some(step) => {
                    let said = self.waiting.remove(&step);
                    shown.extend(said.into_iter().flatten().map(text));
                    match self.done.get(&step) {
                        Some(cached) => Some(*cached),
                        None => break,
                    }
                }
            };
            if cached == Some(true) && !current.text.starts_with("FROM ") {
                shown.push(text(" ---> Using cache\n".to_owned()));
            }
            shown.push(text(format!(" ---> {}\n", short_id(&plan[..=self.shown]))));
            self.shown += 1;
            self.is_announced = false;
        }
        shown
    }

    fn finished(&self, result: &BuildResult) -> Vec<Progress> {
        if self.buildkit {
            return vec![Progress {
                id: "moby.image.id".to_owned(),
                aux: Some(json!({ "ID": result.image })),
                ..Progress::default()
            }];
        }
        if self.quiet {
            return vec![Progress {
                id: QUIET.to_owned(),
                ..text(format!("{}\n", result.image))
            }];
        }
        let short = result
            .image
            .strip_prefix("sha256:")
            .unwrap_or(&result.image);
        let mut lines = vec![
            Progress {
                aux: Some(json!({ "ID": result.image })),
                ..Progress::default()
            },
            text(format!(
                "Successfully built {}\n",
                short.get(..12).unwrap_or(short)
            )),
        ];
        let tags = result.tags.iter();
        lines.extend(tags.map(|tag| text(format!("Successfully tagged {tag}\n"))));
        lines
    }
}

/// Marks the one line of a quiet build; never sent.
const QUIET: &str = "\0quiet";

/// Docker shows the image after each instruction; there are none here, so that it is a name for the instructions so far.
fn short_id(lines: &[PlanLine]) -> String {
    let mut hasher = Sha256::new();
    for line in lines {
        hasher.update(&line.text);
        hasher.update("\n");
    }
    hex::encode(&hasher.finalize()[..6])
}

fn text(stream: String) -> Progress {
    Progress {
        stream,
        ..Progress::default()
    }
}

/// Docker's wording for a command that fails, which scripts match on.
fn failed(failure: &BuildFailure) -> Progress {
    let message = match failure.exit_code {
        Some(code) => format!(
            "The command '{}' returned a non-zero code: {code}",
            failure.command.join(" ")
        ),
        None => failure.message.clone(),
    };
    Progress {
        error: message.clone(),
        error_detail: Some(ErrorDetail {
            code: failure.exit_code,
            message,
        }),
        ..Progress::default()
    }
}

fn line(progress: &Progress) -> Bytes {
    let mut progress = progress.clone();
    if progress.id == QUIET {
        progress.id.clear();
    }
    let mut line = serde_json::to_vec(&progress).unwrap_or_default();
    line.extend_from_slice(b"\r\n");
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoist_api::build::BuildStep;

    fn plan(lines: &[(&str, Option<u32>)]) -> Plan {
        let plan = Plan::default();
        let lines = lines.iter().map(|(text, step)| PlanLine {
            text: (*text).to_owned(),
            step: *step,
        });
        plan.set(lines.collect()).unwrap();
        plan
    }

    fn started(id: u32) -> BuildEvent {
        BuildEvent::Started {
            step: BuildStep {
                id,
                ..BuildStep::default()
            },
            at: 0,
        }
    }

    fn done(step: u32, cached: bool) -> BuildEvent {
        BuildEvent::Done {
            step,
            cached,
            at: 0,
            error: String::new(),
        }
    }

    fn output(step: u32, text: &str) -> BuildEvent {
        BuildEvent::Output {
            step,
            stderr: false,
            text: text.to_owned(),
        }
    }

    fn streams(query: &str, plan: Plan, events: Vec<BuildEvent>) -> String {
        let mut writer = Writer::new(
            &Query::of(&format!("/build?{query}").parse().unwrap()),
            plan,
        );
        let mut text = String::new();
        for event in events {
            for line in writer.lines(event) {
                let value: Progress = serde_json::from_slice(&line).unwrap();
                text.push_str(&value.stream);
                text.push_str(&value.error);
            }
        }
        text
    }

    #[test]
    fn steps_are_told_in_the_order_of_the_dockerfile() {
        let lines = [
            ("FROM a", Some(1)),
            ("RUN x", Some(2)),
            ("ENV a=b", None),
            ("RUN y", Some(3)),
        ];
        let events = vec![
            started(3),
            output(3, "early\n"),
            started(1),
            done(1, true),
            started(2),
            output(2, "late\n"),
            done(2, false),
            done(3, true),
            BuildEvent::Finished(BuildResult {
                image: "sha256:0123456789abcdef".to_owned(),
                tags: vec!["a:latest".to_owned()],
                ..BuildResult::default()
            }),
        ];
        let told = streams("", plan(&lines), events.clone());
        let told: Vec<&str> = told
            .lines()
            .filter(|line| !line.starts_with(" ---> ") || line.ends_with("cache"))
            .collect();
        assert_eq!(
            told,
            [
                "Step 1/4 : FROM a",
                "Step 2/4 : RUN x",
                "late",
                "Step 3/4 : ENV a=b",
                "Step 4/4 : RUN y",
                "early",
                " ---> Using cache",
                "Successfully built 0123456789ab",
                "Successfully tagged a:latest",
            ]
        );
        assert_eq!(
            streams("q=1", plan(&lines), events),
            "sha256:0123456789abcdef\n"
        );
    }

    #[test]
    fn what_goes_wrong_is_red() {
        let wrong = BuildEvent::Output {
            step: 1,
            stderr: true,
            text: "wrong\n".to_owned(),
        };
        let told = streams(
            "",
            plan(&[("RUN x", Some(1))]),
            vec![started(1), output(1, "good\n"), wrong],
        );
        assert_eq!(told, "Step 1/1 : RUN x\ngood\n\x1b[91mwrong\n\x1b[0m");
    }

    #[test]
    fn a_failing_command_is_told_in_dockers_words() {
        let failure = BuildFailure {
            exit_code: Some(3),
            command: vec!["/bin/sh".into(), "-c".into(), "exit 3".into()],
            ..BuildFailure::default()
        };
        let told = streams("", Plan::default(), vec![BuildEvent::Failed(failure)]);
        assert_eq!(
            told,
            "The command '/bin/sh -c exit 3' returned a non-zero code: 3"
        );
    }
}
