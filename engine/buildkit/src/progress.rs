//! A build's progress in BuildKit's shape: kept from the beginning, so that whoever asks late misses nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::Stream;
use hoist_api::ImageRef;
use hoist_api::build::{
    BuildEvent, BuildFailure, BuildPlace, BuildResult, BuildStep, BuildWarning,
};
use prost::Message as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::grpc::{Code, Status};
use crate::proto::control::{
    Position, Range, SourceInfo, StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning,
};
use crate::proto::{Any, Timestamp};

/// Most that a step may print before the rest is left out; BuildKit's own limit.
const MAX_OUTPUT: usize = 2 << 20;

/// What a build told so far.
#[derive(Debug, Clone)]
pub struct Progress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    told: Mutex<Vec<StatusResponse>>,
    /// True when nothing follows; changes whenever something was told.
    changes: watch::Sender<bool>,
}

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(Inner {
            told: Mutex::default(),
            changes: watch::Sender::new(false),
        }))
    }
}

impl Progress {
    /// Tells something.
    pub fn tell(&self, response: StatusResponse) {
        self.told().push(response);
        self.0.changes.send_modify(|_| {});
    }

    /// Nothing follows.
    pub fn end(&self) {
        self.0.changes.send_replace(true);
    }

    /// Everything from the beginning to the end.
    pub fn follow(&self) -> impl Stream<Item = StatusResponse> + Send + 'static {
        let begin = (self.clone(), self.0.changes.subscribe(), 0);
        futures_util::stream::unfold(begin, |(progress, mut changes, at)| async move {
            loop {
                let ended = *changes.borrow_and_update();
                let next = progress.told().get(at).cloned();
                match next {
                    Some(response) => return Some((response, (progress, changes, at + 1))),
                    None if ended => return None,
                    None => changes.changed().await.ok()?,
                }
            }
        })
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Vec<StatusResponse>> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line that carries progress on `POST /build?version=2`.
#[must_use]
pub fn trace_line(response: &StatusResponse) -> String {
    let aux = STANDARD.encode(response.encode_to_vec());
    format!("{{\"id\":\"moby.buildkit.trace\",\"aux\":\"{aux}\"}}\r\n")
}

/// Turns the events of a build into BuildKit's.
#[derive(Debug)]
pub struct Translator {
    /// Makes the steps of two builds differ.
    build: String,
    steps: HashMap<u32, Step>,
    /// The Dockerfile, when it is known: its name for the user, and its text.
    dockerfile: Option<(String, Vec<u8>)>,
    /// Names of steps that were told before the build began: bringing files, which the builder finds done.
    told: BTreeSet<String>,
    /// The result becomes an image of the store, with a name or without.
    has_image: bool,
}

#[derive(Debug, Clone)]
struct Step {
    vertex: Vertex,
    printed: usize,
    /// When each thing that moves began.
    moving: HashMap<String, Timestamp>,
}

impl Translator {
    /// For the build of a name.
    #[must_use]
    pub fn new(build: impl Into<String>) -> Self {
        Self {
            build: build.into(),
            steps: HashMap::new(),
            dockerfile: None,
            told: BTreeSet::new(),
            has_image: false,
        }
    }

    /// The result becomes an image of the store: that is told also when it gets no name.
    #[must_use]
    pub fn with_image(mut self) -> Self {
        self.has_image = true;
        self
    }

    /// Leaves out steps of these names, unless they fail.
    #[must_use]
    pub fn without(mut self, told: BTreeSet<String>) -> Self {
        self.told = told;
        self
    }

    /// Shows lines of this Dockerfile, under this name, where something is said of it.
    #[must_use]
    pub fn with_dockerfile(mut self, name: String, text: Vec<u8>) -> Self {
        self.dockerfile = Some((name, text));
        self
    }

    /// A failure with the lines of the Dockerfile that it is about.
    #[must_use]
    pub fn failure(&self, failure: &BuildFailure) -> Status {
        let mut status = Status::new(Code::Unknown, failure_message(failure));
        if let Some(place) = &failure.place {
            let info = self.source_info(place);
            let position = |line: u32| json!({ "line": line });
            let source = json!({
                "info": {
                    "filename": info.filename,
                    "data": STANDARD.encode(&info.data),
                    "language": info.language,
                },
                "ranges": [{
                    "start": position(place.line),
                    "end": position(place.end_line.max(place.line)),
                }],
            });
            status.details.push(Any {
                type_url: "github.com/moby/buildkit/errdefs.Source+json".to_owned(),
                value: source.to_string().into_bytes(),
            });
        }
        status
    }

    fn source_info(&self, place: &BuildPlace) -> SourceInfo {
        let (filename, data) = match &self.dockerfile {
            Some((name, text)) => (name.clone(), text.clone()),
            None => {
                // Only its lines are known: empty ones stand for those before.
                let before = "\n".repeat(place.line.saturating_sub(1) as usize);
                let data = format!("{before}{}", place.text);
                (place.file.clone(), data.into_bytes())
            }
        };
        SourceInfo {
            filename,
            data,
            language: "Dockerfile".to_owned(),
        }
    }

    /// What an event becomes; nothing for some.
    pub fn translate(&mut self, event: &BuildEvent) -> Option<StatusResponse> {
        let mut response = StatusResponse::default();
        match event {
            BuildEvent::Started { step, at } => {
                let vertex = self.started(step, *at);
                if self.told.contains(&vertex.name) {
                    return None;
                }
                response.vertexes.push(vertex);
            }
            BuildEvent::Output { step, stderr, text } => {
                let stream = if *stderr { 2 } else { 1 };
                response.logs.push(self.printed(*step, stream, text)?);
            }
            BuildEvent::Progress {
                step,
                item,
                current,
                total,
            } => response
                .statuses
                .push(self.moved(*step, item, (*current, *total))?),
            BuildEvent::Done {
                step,
                cached,
                at,
                error,
            } => {
                let step = self.steps.get_mut(step)?;
                step.vertex.cached = *cached;
                step.vertex.completed = Some(Timestamp::from_micros(*at));
                step.vertex.error.clone_from(error);
                if error.is_empty() && self.told.contains(&step.vertex.name) {
                    return None;
                }
                response.vertexes.push(step.vertex.clone());
            }
            BuildEvent::Warning(warning) => response.warnings.push(self.warned(warning)),
            BuildEvent::Failed(failure) => response.vertexes.push(self.failed(failure)?),
            BuildEvent::Finished(result)
                if result.tags.is_empty() && (!self.has_image || result.image.is_empty()) =>
            {
                return None;
            }
            BuildEvent::Finished(result) => self.named(result, &mut response),
        }
        Some(response)
    }

    fn started(&mut self, step: &BuildStep, at: i64) -> Vertex {
        let inputs = step.inputs.iter();
        let vertex = Vertex {
            digest: digest(&self.build, step.id),
            inputs: inputs.map(|input| digest(&self.build, *input)).collect(),
            name: step.name.clone(),
            started: Some(Timestamp::from_micros(at)),
            ..Vertex::default()
        };
        let known = Step {
            vertex: vertex.clone(),
            printed: 0,
            moving: HashMap::new(),
        };
        self.steps.insert(step.id, known);
        vertex
    }

    fn printed(&mut self, step: u32, stream: i64, text: &str) -> Option<VertexLog> {
        let step = self.steps.get_mut(&step)?;
        if step.printed > MAX_OUTPUT {
            return None;
        }
        step.printed += text.len();
        let msg = if step.printed > MAX_OUTPUT {
            b"\n[output clipped, log limit 2MiB reached]\n".to_vec()
        } else {
            text.as_bytes().to_vec()
        };
        Some(VertexLog {
            vertex: step.vertex.digest.clone(),
            timestamp: Some(Timestamp::now()),
            stream,
            msg,
        })
    }

    fn moved(
        &mut self,
        step: u32,
        item: &str,
        (current, total): (i64, i64),
    ) -> Option<VertexStatus> {
        let step = self.steps.get_mut(&step)?;
        if self.told.contains(&step.vertex.name) {
            return None;
        }
        let now = Timestamp::now();
        let started = *step.moving.entry(item.to_owned()).or_insert(now);
        let whole = total > 0 && current >= total;
        Some(VertexStatus {
            id: item.to_owned(),
            vertex: step.vertex.digest.clone(),
            current,
            total,
            timestamp: Some(now),
            started: Some(started),
            completed: whole.then_some(now),
            ..VertexStatus::default()
        })
    }

    fn warned(&self, warning: &BuildWarning) -> VertexWarning {
        let first = self.steps.values().map(|step| &step.vertex);
        let first =
            first.min_by_key(|vertex| vertex.started.map(|time| (time.seconds, time.nanos)));
        let rule = match warning.rule.as_str() {
            "" => warning.message.clone(),
            rule => format!("{rule}: {}", warning.message),
        };
        let (info, ranges) = match &warning.place {
            Some(place) => (Some(self.source_info(place)), vec![range(place)]),
            None => (None, Vec::new()),
        };
        VertexWarning {
            vertex: first
                .map(|vertex| vertex.digest.clone())
                .unwrap_or_default(),
            level: 1,
            short: rule.into_bytes(),
            url: warning.url.clone(),
            info,
            ranges,
            ..VertexWarning::default()
        }
    }

    /// The image as the last step's result, with the names that scripts look for.
    fn named(&self, result: &BuildResult, response: &mut StatusResponse) {
        let now = Some(Timestamp::now());
        let vertex = Vertex {
            digest: digest(&self.build, u32::MAX),
            name: "exporting to image".to_owned(),
            started: now,
            completed: now,
            ..Vertex::default()
        };
        let names = result.tags.iter().map(|tag| {
            let full = tag.parse::<ImageRef>();
            format!("naming to {}", full.map_or(tag.clone(), |name| name.full()))
        });
        for id in [format!("writing image {}", result.image)]
            .into_iter()
            .chain(names)
        {
            response.statuses.push(VertexStatus {
                id,
                vertex: vertex.digest.clone(),
                timestamp: now,
                started: now,
                completed: now,
                ..VertexStatus::default()
            });
        }
        response.vertexes.push(vertex);
    }

    /// The failed step, when it has not been said that it ended.
    fn failed(&mut self, failure: &BuildFailure) -> Option<Vertex> {
        let step = self.steps.get_mut(&failure.step?)?;
        if step.vertex.completed.is_some() {
            return None;
        }
        step.vertex.completed = Some(Timestamp::now());
        step.vertex.error = failure_message(failure);
        Some(step.vertex.clone())
    }
}

/// A failure in BuildKit's words, which scripts know.
#[must_use]
pub fn failure_message(failure: &BuildFailure) -> String {
    match failure.exit_code {
        Some(code) if !failure.command.is_empty() => format!(
            "process {:?} did not complete successfully: exit code: {code}",
            failure.command.join(" ")
        ),
        _ => failure.message.clone(),
    }
}

fn digest(build: &str, step: u32) -> String {
    let hash = Sha256::digest(format!("{build}\n{step}"));
    format!("sha256:{}", hex::encode(hash))
}

fn range(place: &BuildPlace) -> Range {
    let position = |line: u32| Position {
        line: i32::try_from(line).unwrap_or_default(),
        character: 0,
    };
    Range {
        start: Some(position(place.line)),
        end: Some(position(place.end_line.max(place.line))),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn who_asks_late_misses_nothing() {
        let progress = Progress::default();
        let mut translator = Translator::new("a");
        let step = BuildStep {
            id: 7,
            name: "RUN x".to_owned(),
            ..BuildStep::default()
        };
        let events = [
            BuildEvent::Started { step, at: 1 },
            BuildEvent::Output {
                step: 7,
                stderr: true,
                text: "hello".to_owned(),
            },
        ];
        for event in &events {
            progress.tell(translator.translate(event).unwrap());
        }
        let mut following = Box::pin(progress.follow());
        let first = following.next().await.unwrap();
        assert_eq!(first.vertexes[0].name, "RUN x");
        assert_eq!(following.next().await.unwrap().logs[0].msg, b"hello");
        let failed = BuildEvent::Failed(BuildFailure {
            step: Some(7),
            exit_code: Some(3),
            command: vec!["/bin/sh".to_owned(), "-c".to_owned(), "x".to_owned()],
            ..BuildFailure::default()
        });
        progress.tell(translator.translate(&failed).unwrap());
        progress.end();
        let last = following.next().await.unwrap();
        assert_eq!(
            last.vertexes[0].error,
            "process \"/bin/sh -c x\" did not complete successfully: exit code: 3"
        );
        assert!(following.next().await.is_none());
    }

    #[test]
    fn what_was_told_before_is_left_out_unless_it_fails() {
        let told = BTreeSet::from(["load".to_owned()]);
        let mut translator = Translator::new("a").without(told);
        let step = BuildStep {
            name: "load".to_owned(),
            ..BuildStep::default()
        };
        let done = |error: &str| BuildEvent::Done {
            step: 0,
            cached: true,
            at: 1,
            error: error.to_owned(),
        };
        assert_eq!(
            translator.translate(&BuildEvent::Started { step, at: 0 }),
            None
        );
        assert_eq!(translator.translate(&done("")), None);
        let failed = translator.translate(&done("gone")).unwrap();
        assert_eq!(failed.vertexes[0].error, "gone");
    }

    #[test]
    fn endless_output_is_clipped() {
        let mut translator = Translator::new("a");
        translator.translate(&BuildEvent::Started {
            step: BuildStep::default(),
            at: 0,
        });
        let output = BuildEvent::Output {
            step: 0,
            stderr: false,
            text: "x".repeat(1 << 20),
        };
        let told = (0..5)
            .filter_map(|_| translator.translate(&output))
            .collect::<Vec<_>>();
        assert_eq!(told.len(), 3);
        assert!(told[2].logs[0].msg.starts_with(b"\n[output clipped"));
    }
}
