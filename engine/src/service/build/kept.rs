//! What the classic builder keeps of each instruction: an image, the parent of the next one's, and, where the client wants it or a command
//! has failed, the container that it ran in. Our builder needs neither; clients inspect, run and commit them.

use std::path::Path;

use hoist_api::ContainerId;
use hoist_api::container::ContainerConfig;
use hoist_dockerfile::{NodeId, Op, RunOp};
use jiff::Timestamp;

use super::super::Service;
use super::plan::{LineBase, PlanLine};
use super::steps::Build;
use crate::build::error::BuildError;
use crate::events;
use crate::image::{ImageId, NewContent, StagedLayer, described};
use crate::names;
use crate::store::container::{Run, Status};

/// Which containers stay.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Keeping {
    /// Those of instructions that were done: not `rm`.
    pub(crate) done: bool,
    /// That of a command that failed: not `forcerm`.
    pub(crate) failed: bool,
}

/// What an instruction's container is called.
#[derive(Debug, Clone)]
pub(crate) struct Intermediate {
    pub(crate) id: ContainerId,
    pub(crate) name: String,
}

impl Default for Intermediate {
    fn default() -> Self {
        Self {
            id: ContainerId::from_bytes(names::random_id()),
            name: names::random_name(2),
        }
    }
}

/// A container that has run already.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) called: Intermediate,
    /// The image that it is of.
    pub(crate) image: String,
    pub(crate) config: ContainerConfig,
    pub(crate) run: Run,
    /// What it has changed; moved away.
    pub(crate) changes: Option<&'a Path>,
}

impl Build {
    /// Makes the images of all instructions that are done, for clients that are told of them. The last one's is the build's own.
    pub(super) fn keep_images(&self) {
        if self.plan.is_told()
            && let Err(error) = self.keep_images_or_fail()
        {
            tracing::warn!(%error, "the images of a build's steps are not kept");
        }
    }

    fn keep_images_or_fail(&self) -> Result<(), BuildError> {
        let Some(lines) = self.plan.lines() else {
            return Ok(());
        };
        let mut ids = self.plan.images();
        let mut found: Vec<String> = Vec::new();
        let mut steps = Vec::new();
        let known = ids.len();
        let before_last = lines.all.len().saturating_sub(1);
        for line in lines.all.iter().take(before_last).skip(known) {
            let made = |place: usize| match place.checked_sub(known) {
                Some(place) => found.get(place).cloned(),
                None => ids.get(place).cloned(),
            };
            let id: String = match &line.base {
                Some(LineBase::Image(id)) => id.clone(),
                Some(LineBase::Line(place)) => made(*place).unwrap_or_default(),
                None => {
                    let Some(content) = self.content_of(line)? else {
                        break;
                    };
                    let parent = (known + found.len()).checked_sub(1).and_then(made);
                    let image = described(content)?;
                    let id = image.id.to_string();
                    let parent = parent.and_then(|parent| parent.parse().ok()).map(ImageId);
                    steps.push((image, parent));
                    id
                }
            };
            found.push(id);
        }
        self.service.images.publish_steps(steps)?;
        ids.extend(found);
        Ok(())
    }

    /// The image of an instruction; nothing while it is not done.
    fn content_of(&self, line: &PlanLine) -> Result<Option<NewContent>, BuildError> {
        let Some(mark) = line.mark.and_then(|mark| self.graph.trail.get(mark)) else {
            return Ok(None);
        };
        let is_done = |node: NodeId| {
            matches!(self.graph.node(node).op, Op::Scratch) || self.output(node).is_ok()
        };
        let history = mark.history.iter().filter_map(|line| line.node);
        if !history
            .chain([mark.node])
            .chain(mark.base_image)
            .all(is_done)
        {
            return Ok(None);
        }
        let layers = match self.output(mark.node) {
            Ok(output) => output.layers.clone(),
            Err(_) => Vec::new(),
        };
        Ok(Some(NewContent {
            config: self.config_of(mark)?,
            layers,
            names: Vec::new(),
        }))
    }

    /// Tells of the container that a `RUN` runs in. Returns its name, when anybody is told.
    pub(super) async fn begin_container(&self, step: u32) -> Option<Began> {
        let line = self.plan.line_of(step).filter(|_| self.plan.is_told())?;
        let began = Began {
            called: self.plan.container_of(line),
            image: line
                .checked_sub(1)
                .and_then(|before| self.plan.image_of(before))
                .unwrap_or_default(),
            at: Timestamp::now(),
        };
        began.tell(&self.service, "create", None);
        began.tell(&self.service, "start", None);
        // The client is told its name before it says anything.
        let event = hoist_api::build::BuildEvent::Output {
            step,
            stderr: false,
            text: String::new(),
        };
        self.reporter.tell(event).await;
        Some(began)
    }

    /// Tells that it has ended, and keeps it when it has failed and is to be looked into.
    pub(super) fn end_container(
        &self,
        began: &Began,
        result: Result<(), &BuildError>,
        (op, staged): (&RunOp, &StagedLayer),
    ) {
        let code = match result {
            Ok(()) => 0,
            Err(BuildError::Exit { code, .. }) => *code,
            Err(_) => 137,
        };
        began.tell(&self.service, "die", Some(code));
        let Some((_, keeping)) = self.plan.keeper() else {
            return;
        };
        let is_kept = match result {
            Ok(()) => keeping.done,
            Err(BuildError::Exit { .. }) => keeping.failed && !began.image.is_empty(),
            Err(_) => false,
        };
        if !is_kept {
            began.tell(&self.service, "destroy", None);
        }
        if !is_kept || result.is_ok() {
            return;
        }
        let config = ContainerConfig {
            image: began.image.clone(),
            user: op.user.clone(),
            env: op
                .env
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            cmd: Some(op.argv.clone()),
            working_dir: op.workdir.clone(),
            ..ContainerConfig::default()
        };
        let tree = staged.tree();
        let kept = self.service.add_ended(Ended {
            called: began.called.clone(),
            image: began.image.clone(),
            config,
            run: ended(began.at, code),
            changes: Some(&tree),
        });
        if let Err(error) = kept {
            tracing::warn!(error = %error.message, "the container of a failed step is not kept");
        }
    }
}

/// A run that is over.
fn ended(at: Timestamp, code: i64) -> Run {
    Run {
        status: Status::Exited,
        exit_code: code,
        started_at: Some(at),
        finished_at: Some(Timestamp::now()),
        ..Run::default()
    }
}

/// A container while it runs.
#[derive(Debug)]
pub(super) struct Began {
    called: Intermediate,
    image: String,
    at: Timestamp,
}

impl Began {
    fn tell(&self, service: &Service, action: &str, code: Option<i64>) {
        let more = [
            ("name", self.called.name.clone()),
            ("image", self.image.clone()),
        ];
        let mut actor = events::actor(self.called.id.as_str(), &Default::default(), more);
        if let Some(code) = code {
            let code = ("exitCode".to_owned(), code.to_string());
            actor.attributes.extend([code]);
        }
        service.events.publish("container", action, actor);
    }
}

impl super::plan::Plan {
    /// Keeps the container of an instruction that is done, when the client wants that. It is one of the image that the instruction has
    /// left, so that it holds what was done.
    pub(crate) fn keep_container(&self, line: usize, image: &str) {
        let Some((service, keeping)) = self.keeper() else {
            return;
        };
        let lines = self.lines();
        let wanted = lines.and_then(|lines| lines.all.get(line));
        let Some(wanted) = wanted.filter(|_| keeping.done && !image.is_empty()) else {
            return;
        };
        // The last one is of the image before, so that the result is in no container's use and can be removed.
        let is_last = lines.is_some_and(|lines| line + 1 == lines.all.len());
        let before = line.checked_sub(1).filter(|_| is_last);
        let before = before.and_then(|before| self.image_of(before));
        let image = before.as_deref().unwrap_or(image);
        let config = ContainerConfig {
            image: image.to_owned(),
            cmd: Some(vec![
                "/bin/sh".to_owned(),
                "-c".to_owned(),
                match wanted.step {
                    Some(_) => wanted.text.trim_start_matches("RUN ").to_owned(),
                    None => format!("#(nop) {}", wanted.text),
                },
            ]),
            ..ContainerConfig::default()
        };
        let kept = service.add_ended(Ended {
            called: self.container_of(line),
            image: image.to_owned(),
            config,
            run: match wanted.step {
                Some(_) => ended(Timestamp::now(), 0),
                None => Run::default(),
            },
            changes: None,
        });
        if let Err(error) = kept {
            tracing::warn!(error = %error.message, "the container of a step is not kept");
        }
    }

    /// Says what the build's image was made from, when all is done.
    pub(crate) fn link(&self, image: &str, line: usize) {
        let (Some((service, _)), Some(before)) = (
            self.keeper(),
            line.checked_sub(1).and_then(|before| self.image_of(before)),
        ) else {
            return;
        };
        if let (Ok(id), Ok(parent)) = (image.parse(), before.parse()) {
            let pair = (ImageId(id), Some(ImageId(parent)));
            if let Err(error) = service.images.set_parents([pair].into_iter()) {
                tracing::warn!(%error, "what an image was made from is not kept");
            }
        }
    }
}
