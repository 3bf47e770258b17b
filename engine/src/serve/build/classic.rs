//! A build's events in the words of Docker's classic builder, which does one instruction after the other: what steps say that run
//! beside the one that is shown waits for its turn.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hoist_api::build::{BuildEvent, BuildFailure, BuildResult};
use hoist_api::image::{ErrorDetail, Progress};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::serve::query::Query;
use crate::service::build::{Keeping, LineBase, Plan, PlanLine, PlanLines};

/// Writes lines.
#[derive(Debug)]
pub(super) struct Writer {
    wanted: Wanted,
    plan: Plan,
    /// What instructions that were shown whole stand for: one each.
    shown: Vec<Shown>,
    /// Whether the next one's line was shown.
    is_announced: bool,
    /// The container that the next one runs in, or would with Docker.
    container: Option<String>,
    /// What steps said whose turn has not come.
    waiting: BTreeMap<u32, Vec<String>>,
    /// Steps that ended, and whether they were taken from the cache.
    done: BTreeMap<u32, bool>,
    started: BTreeSet<u32>,
    /// The image, when the build is over.
    image: Option<String>,
}

/// What the client asks for.
#[derive(Debug)]
struct Wanted {
    /// Only the id.
    quiet: bool,
    /// It reads BuildKit's lines: `version=2`.
    buildkit: bool,
    no_cache: bool,
    /// Containers go after their instructions.
    remove: bool,
    /// Also after those that fail.
    force_remove: bool,
}

/// An instruction that is done.
#[derive(Debug, Clone, Default)]
struct Shown {
    /// A name for the instructions so far and what they made.
    chain: String,
    /// The image that is kept of it.
    id: String,
    /// Whether it and all before it were done before.
    is_cached: bool,
}

/// Which containers the client wants to stay.
pub(super) fn keeping(query: &Query) -> Keeping {
    let force_remove = query.flag("forcerm");
    Keeping {
        done: !(removes(query) || force_remove),
        failed: !force_remove,
    }
}

/// As since API 1.12.
fn removes(query: &Query) -> bool {
    query.text("rm").is_empty() || query.flag("rm")
}

impl Writer {
    pub(super) fn new(query: &Query, plan: Plan) -> Self {
        Self {
            wanted: Wanted {
                quiet: query.flag("q"),
                buildkit: query.text("version") == "2",
                no_cache: query.flag("nocache"),
                remove: removes(query),
                force_remove: query.flag("forcerm"),
            },
            plan,
            shown: Vec::new(),
            is_announced: false,
            container: None,
            waiting: BTreeMap::new(),
            done: BTreeMap::new(),
            started: BTreeSet::new(),
            image: None,
        }
    }

    /// Nothing is taken from the cache.
    pub(super) fn without_cache(&mut self) {
        self.wanted.no_cache = true;
    }

    /// What an event becomes.
    pub(super) fn lines(&mut self, event: BuildEvent) -> Vec<Bytes> {
        let mut last = None;
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
            // The builder's own words; the checks of Dockerfiles are BuildKit's, and scripts read what comes here.
            BuildEvent::Warning(warning)
                if warning.rule.is_empty() && !warning.message.is_empty() =>
            {
                return self.written(&[text(format!("[Warning] {}\n", warning.message))]);
            }
            BuildEvent::Finished(result) => {
                self.image = Some(result.image.clone());
                last = Some(self.finished(&result));
            }
            BuildEvent::Failed(failure) => last = Some(self.failed(&failure)),
            _ => {}
        }
        let mut progress = self.advance();
        progress.extend(last.into_iter().flatten());
        self.written(&progress)
    }

    fn written(&self, progress: &[Progress]) -> Vec<Bytes> {
        let wanted = &self.wanted;
        let is_wanted = |line: &&Progress| {
            let is_talk = !line.stream.is_empty();
            let is_last = !line.error.is_empty() || line.aux.is_some();
            !(is_talk && (wanted.buildkit || wanted.quiet)) || is_last || line.id == QUIET
        };
        progress.iter().filter(is_wanted).map(line).collect()
    }

    /// Shows all that can be shown now.
    fn advance(&mut self) -> Vec<Progress> {
        let plan = self.plan.clone();
        let Some(lines) = plan.lines() else {
            return Vec::new();
        };
        let count = lines.all.len();
        let mut shown = Vec::new();
        while let Some(current) = lines.all.get(self.shown.len()) {
            let is_begun = current.step.is_none_or(|step| self.started.contains(&step));
            if !is_begun {
                break;
            }
            if !self.is_announced {
                shown.extend(announced(&lines.all, self.shown.len()).map(text));
                self.is_announced = true;
            }
            let ended = current.step.map(|step| {
                let said = self.waiting.remove(&step).unwrap_or_default();
                if !said.is_empty() {
                    shown.extend(self.runs(current));
                }
                let said = said.into_iter().filter(|text| !text.is_empty());
                shown.extend(said.map(text));
                self.done.get(&step).copied()
            });
            // The last one's id is that of the image.
            let is_last = self.shown.len() + 1 == count && self.image.is_none();
            if ended == Some(None) || is_last {
                break;
            }
            shown.extend(self.end(current, ended.flatten()));
            self.is_announced = false;
            let next = lines.all.get(self.shown.len());
            if next.is_some_and(|next| next.base.is_some()) {
                shown.extend(self.stage());
            }
        }
        shown
    }

    /// The id of a stage's image, when another stage follows: clients take the last one's for the build's.
    fn stage(&self) -> Option<Progress> {
        let last = self.shown.len().checked_sub(1)?;
        let image = self.plan.image_of(last);
        let image = image.filter(|image| !image.is_empty() && !self.wanted.quiet)?;
        Some(Progress {
            aux: Some(json!({ "ID": image })),
            ..Progress::default()
        })
    }

    /// The line that tells of an instruction's container, once.
    fn runs(&mut self, current: &PlanLine) -> Option<Progress> {
        // These have none.
        let keyword = current.text.split(' ').next().unwrap_or_default();
        let has_none = ["FROM", "COPY", "ADD"].iter();
        if self.container.is_some()
            || has_none
                .clone()
                .any(|word| keyword.eq_ignore_ascii_case(word))
        {
            return None;
        }
        let container = self.plan.container_of(self.shown.len());
        let container = container.id.short().to_owned();
        let told = text(format!(" ---> Running in {container}\n"));
        self.container = Some(container);
        Some(told)
    }

    /// The lines at an instruction's end; `cached` is nothing for one without a step.
    fn end(&mut self, current: &PlanLine, cached: Option<bool>) -> Vec<Progress> {
        let mut shown = Vec::new();
        let mut ended = self.identify(current);
        // Noted in any case.
        let is_known = self.plan.note(&ended.chain);
        let is_cached = cached.unwrap_or(is_known && ended.is_cached) && !self.wanted.no_cache;
        if current.base.is_none() {
            ended.is_cached &= is_cached;
            if is_cached {
                shown.push(text(" ---> Using cache\n".to_owned()));
            } else {
                shown.extend(self.runs(current));
            }
        }
        let is_last = |lines: &PlanLines| self.shown.len() + 1 == lines.all.len();
        let image = self.image.as_deref().filter(|image| !image.is_empty());
        if let Some(image) = image.filter(|_| self.plan.lines().is_some_and(is_last)) {
            ended.id = image.trim_start_matches("sha256:").to_owned();
            self.plan.link(image, self.shown.len());
        }
        if self.container.is_some() && !self.wanted.remove && !self.wanted.force_remove {
            self.plan.keep_container(self.shown.len(), &ended.id);
        }
        let removed = self.removed(self.wanted.remove || self.wanted.force_remove);
        shown.extend(removed);
        self.container = None;
        shown.push(text(format!(" ---> {}\n", short(&ended.id))));
        self.shown.push(ended);
        shown
    }

    fn removed(&mut self, wanted: bool) -> Option<Progress> {
        let container = self.container.take().filter(|_| wanted)?;
        Some(text(format!(
            " ---> Removed intermediate container {container}\n"
        )))
    }

    /// What an instruction stands for.
    fn identify(&self, current: &PlanLine) -> Shown {
        let known = |line: usize| self.shown.get(line).cloned().unwrap_or_default();
        match &current.base {
            Some(LineBase::Image(id)) => {
                let id = id.trim_start_matches("sha256:").to_owned();
                Shown {
                    chain: id.clone(),
                    id,
                    is_cached: true,
                }
            }
            Some(LineBase::Line(line)) => known(*line),
            None => {
                let before = self.shown.last().cloned().unwrap_or_default();
                let mut hasher = Sha256::new();
                for part in [before.chain.as_str(), "\n", &current.text] {
                    hasher.update(part);
                }
                if current.text.contains('$') {
                    let lines = self.plan.lines();
                    hasher.update(lines.map_or("", |lines| &lines.arguments));
                }
                if let Some(key) = current.step.and_then(|step| self.plan.made_by(step)) {
                    hasher.update(key);
                }
                let chain = hex::encode(hasher.finalize());
                let kept = self.plan.image_of(self.shown.len());
                Shown {
                    id: kept.map_or_else(
                        || chain.clone(),
                        |id| id.trim_start_matches("sha256:").to_owned(),
                    ),
                    chain,
                    is_cached: before.is_cached,
                }
            }
        }
    }

    fn finished(&self, result: &BuildResult) -> Vec<Progress> {
        let quiet = self.wanted.quiet.then(|| Progress {
            id: QUIET.to_owned(),
            ..text(format!("{}\n", result.image))
        });
        if self.wanted.buildkit {
            let image = Progress {
                id: "moby.image.id".to_owned(),
                aux: Some(json!({ "ID": result.image })),
                ..Progress::default()
            };
            return [image].into_iter().chain(quiet).collect();
        }
        if let Some(quiet) = quiet {
            return vec![quiet];
        }
        let mut lines = vec![Progress {
            aux: Some(json!({ "ID": result.image })),
            ..Progress::default()
        }];
        let unused = self.plan.lines().map(|lines| lines.unused.join(" "));
        if let Some(unused) = unused.filter(|unused| !unused.is_empty()) {
            lines.push(text(format!(
                "[Warning] One or more build-args [{unused}] were not consumed\n"
            )));
        }
        let image = result.image.trim_start_matches("sha256:");
        lines.push(text(format!("Successfully built {}\n", short(image))));
        let tags = result.tags.iter();
        lines.extend(tags.map(|tag| text(format!("Successfully tagged {tag}\n"))));
        lines
    }

    /// Docker's wording for a command that fails, which scripts match on.
    fn failed(&mut self, failure: &BuildFailure) -> Vec<Progress> {
        let message = match failure.exit_code {
            Some(code) => format!(
                "The command '{}' returned a non-zero code: {code}",
                failure.command.join(" ")
            ),
            None => absent(failure).unwrap_or_else(|| failure.message.clone()),
        };
        let mut lines = self.advance();
        if failure.exit_code.is_some() {
            let plan = self.plan.clone();
            let failed = plan
                .lines()
                .and_then(|lines| lines.all.get(self.shown.len()));
            lines.extend(failed.and_then(|current| self.runs(current)));
        }
        lines.extend(self.removed(self.wanted.force_remove));
        lines.push(Progress {
            error: message.clone(),
            error_detail: Some(ErrorDetail {
                code: failure.exit_code,
                message,
            }),
            ..Progress::default()
        });
        lines
    }
}

/// The classic builder's words for a source of `COPY` or `ADD` that is not in the context.
fn absent(failure: &BuildFailure) -> Option<String> {
    let path = failure.message.strip_prefix("\"/")?;
    let path = path.strip_suffix("\" not found")?;
    Some(format!(
        "file not found in build context or excluded by .dockerignore: stat {path}: file does not exist"
    ))
}

/// The line that comes before an instruction is done. Triggers have one for all of them, and no number.
fn announced(lines: &[PlanLine], index: usize) -> Option<String> {
    let is_own = |line: &&PlanLine| !line.is_trigger;
    let current = lines.get(index)?;
    if !current.is_trigger {
        let number = lines[..=index].iter().filter(is_own).count();
        let count = lines.iter().filter(is_own).count();
        return Some(format!("Step {number}/{count} : {}\n", current.text));
    }
    let before = index.checked_sub(1).and_then(|before| lines.get(before));
    let is_first = before.is_none_or(|before| !before.is_trigger);
    let triggers = lines[index..].iter().take_while(|line| line.is_trigger);
    is_first.then(|| match triggers.count() {
        1 => "# Executing 1 build trigger\n".to_owned(),
        count => format!("# Executing {count} build triggers\n"),
    })
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Marks the one line of a quiet build; never sent.
const QUIET: &str = "\0quiet";

fn text(stream: String) -> Progress {
    Progress {
        stream,
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
    use crate::build::chains::Chains;
    use hoist_api::build::BuildStep;
    use std::sync::Arc;

    fn plan(lines: &[(&str, Option<u32>)]) -> Plan {
        let place = tempfile::tempdir().unwrap();
        let plan = Plan::new(Arc::new(Chains::at(place.path())), None);
        let lines = lines.iter().map(|(text, step)| PlanLine {
            text: (*text).to_owned(),
            step: *step,
            base: text
                .starts_with("FROM ")
                .then(|| LineBase::Image(format!("sha256:{:0>64}", "ba5e"))),
            is_trigger: text.starts_with("trigger "),
            mark: None,
        });
        plan.set(PlanLines {
            all: lines.collect(),
            unused: vec!["nobody".to_owned()],
            ..PlanLines::default()
        });
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
        let told = streams("rm=0", plan(&lines), events.clone());
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
                "[Warning] One or more build-args [nobody] were not consumed",
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
        let (first, rest) = told.split_once(" ---> Running in ").unwrap();
        assert_eq!(first, "Step 1/1 : RUN x\n");
        assert_eq!(&rest[12..], "\ngood\n\x1b[91mwrong\n\x1b[0m");
    }

    /// As the classic builder has it, which keeps an image for each instruction.
    #[test]
    fn what_only_changes_the_configuration_comes_from_the_cache_too() {
        let lines = [("FROM a", Some(1)), ("ENV a=$b", None), ("RUN x", Some(2))];
        let plan = plan(&lines);
        let told = |cached: bool, query: &str| {
            let finished = BuildEvent::Finished(BuildResult {
                image: "sha256:0123456789abcdef".to_owned(),
                ..BuildResult::default()
            });
            let events = vec![
                started(1),
                done(1, true),
                started(2),
                done(2, cached),
                finished,
            ];
            let told = streams(query, plan.clone(), events);
            let known = told.matches(" ---> Using cache\n").count();
            let ran = told.matches(" ---> Running in ").count();
            let removed = told.matches("Removed intermediate container ").count();
            assert!(
                told.contains("Step 1/3 : FROM a\n ---> 000000000000\n"),
                "{told}"
            );
            let end = " ---> 0123456789ab\n[Warning]";
            assert!(told.contains(end), "the last one is the image: {told}");
            (known, ran, removed)
        };
        assert_eq!(told(false, "rm=1"), (0, 2, 2));
        assert_eq!(told(true, ""), (2, 0, 0));
        assert_eq!(told(false, "rm=0"), (1, 1, 0));
        assert_eq!(told(false, "nocache=1"), (0, 2, 2));
    }

    #[test]
    fn triggers_are_told_below_the_line_that_brings_them() {
        let lines = [
            ("FROM a", Some(1)),
            ("trigger one", Some(2)),
            ("trigger two", Some(3)),
            ("ENV a=b", None),
        ];
        let events = vec![started(1), done(1, true), started(2), output(2, "said\n")];
        let events = [events, vec![done(2, false), started(3), done(3, true)]].concat();
        let told = streams("rm=0", plan(&lines), events);
        let is_kept = |line: &&str| !line.starts_with(" ---> ") || line.ends_with("cache");
        let told: Vec<&str> = told.lines().filter(is_kept).collect();
        assert_eq!(
            told,
            [
                "Step 1/2 : FROM a",
                "# Executing 2 build triggers",
                "said",
                " ---> Using cache",
                "Step 2/2 : ENV a=b",
            ]
        );
    }

    #[test]
    fn the_container_of_a_failed_command_goes_only_when_it_is_forced() {
        let told = |query: &str| {
            let failure = BuildFailure {
                exit_code: Some(1),
                ..BuildFailure::default()
            };
            let events = vec![started(1), BuildEvent::Failed(failure)];
            let told = streams(query, plan(&[("RUN x", Some(1))]), events);
            assert!(told.contains(" ---> Running in "), "{told}");
            told.contains("Removed intermediate container ")
        };
        assert!(!told("rm=1") && told("rm=1&forcerm=1"));
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
        let failure = BuildFailure {
            message: "\"/a b\" not found".to_owned(),
            ..BuildFailure::default()
        };
        let told = streams("", Plan::default(), vec![BuildEvent::Failed(failure)]);
        assert!(told.ends_with(": stat a b: file does not exist"), "{told}");
    }
}
