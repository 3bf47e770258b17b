//! The steps of a build: which are ready, which are done already, and what each of them makes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use hoist_api::build::{BuildRequest, BuildStep};
use hoist_dockerfile::{BuildGraph, Node, NodeId, Op, RunOp};
use hoist_kernel::path::Root;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::super::Service;
use super::logins::Logins;
use super::network::Sandboxes;
use super::place::DockerfileText;
use super::plan::Plan;
use super::run::{Run, stubs};
use super::run_mounts::Mounting;
use super::{copy, keys};
use crate::build::Scratch;
use crate::build::cache::Made;
use crate::build::digest::{Hash, KeyHasher};
use crate::build::error::BuildError;
use crate::build::exchange::Imported;
use crate::build::report::{Reporter, Tail};
use crate::build::select::Origin;
use crate::build::tree;
use crate::image::HeldLayer;

/// A build under way.
#[derive(Debug)]
pub(super) struct Build {
    pub(super) service: Arc<Service>,
    pub(super) request: BuildRequest,
    pub(super) graph: BuildGraph,
    pub(super) plan: Plan,
    pub(super) dockerfile: DockerfileText,
    /// The main context is `None`.
    pub(super) contexts: BTreeMap<Option<String>, Arc<Origin>>,
    /// What images are, by the reference that the Dockerfile has: ids.
    pub(super) images: BTreeMap<String, String>,
    pub(super) reporter: Reporter,
    pub(super) cancel: watch::Sender<bool>,
    pub(super) sandboxes: Sandboxes,
    pub(super) scratch: Scratch,
    pub(super) done: Mutex<BTreeMap<usize, Arc<Output>>>,
    /// What `cache_from` brought.
    pub(super) imported: Imported,
    pub(super) logins: Logins,
    /// Keys of the steps that were done or found.
    pub(super) touched: Mutex<BTreeSet<String>>,
    /// Keys of the steps that were done.
    pub(super) fresh: Mutex<BTreeSet<Hash>>,
}

/// What a step has made: the layers up to it, or the files of a context.
#[derive(Debug, Clone, Default)]
pub(super) struct Output {
    /// Lowest first.
    pub(super) layers: Vec<HeldLayer>,
    /// When the last step was done.
    pub(super) at: Timestamp,
    context: Option<Arc<Origin>>,
}

/// Why a build failed, and at which step.
#[derive(Debug)]
pub(super) struct StepFailure {
    pub(super) node: NodeId,
    pub(super) error: BuildError,
    /// The last lines of its output.
    pub(super) output: Vec<String>,
    /// With `keep_failed`: the image that holds its state.
    pub(super) image: String,
}

impl Output {
    /// What layers make, lowest first.
    pub(super) fn of(layers: Vec<HeldLayer>) -> Self {
        Self {
            layers,
            ..Self::default()
        }
    }

    /// The files of a context.
    pub(super) fn context(&self) -> Option<&Arc<Origin>> {
        self.context.as_ref()
    }

    /// What it is, by its content.
    pub(super) fn key(&self) -> Hash {
        let mut key = KeyHasher::new("layers");
        for layer in &self.layers {
            key.add(layer.diff_id().as_str());
        }
        key.finish()
    }

    /// The directories for overlayfs, lowest first: none twice, and none that a higher one hides whole.
    pub(super) fn directories(&self, service: &Service) -> Vec<PathBuf> {
        let first = self.layers.iter().rposition(HeldLayer::is_opaque);
        let mut stack: Vec<PathBuf> = Vec::new();
        for layer in self.layers[first.unwrap_or(0)..].iter().rev() {
            let directory = layer.directory().to_owned();
            if !stack.contains(&directory) {
                stack.push(directory);
            }
        }
        stack.reverse();
        if stack.is_empty() {
            stack.push(service.images.layers().empty());
        }
        stack
    }

    /// Its files.
    pub(super) fn read(&self, service: &Service) -> Result<Root, BuildError> {
        tree::read_only(&self.directories(service), &service.images.layers().empty())
    }

    /// With one layer more.
    fn and(&self, made: Made) -> Self {
        let mut layers = self.layers.clone();
        layers.extend(made.layer);
        Self {
            layers,
            at: made.at,
            context: None,
        }
    }
}

impl Build {
    /// Does all steps; each as soon as those that it needs are done. The first failure ends the build.
    pub(super) async fn execute(self: &Arc<Self>) -> Result<Arc<Output>, StepFailure> {
        let mut waiting: Vec<usize> = Vec::new();
        let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); self.graph.nodes.len()];
        let mut running = JoinSet::new();
        for (index, node) in self.graph.nodes.iter().enumerate() {
            let mut inputs = node.op.inputs();
            inputs.sort_unstable();
            inputs.dedup();
            for input in &inputs {
                needed_by[input.0].push(index);
            }
            waiting.push(inputs.len());
        }
        for (index, missing) in waiting.iter().enumerate() {
            if *missing == 0 {
                running.spawn(self.clone().node(NodeId(index)));
            }
        }
        let mut failure: Option<StepFailure> = None;
        while let Some(ended) = running.join_next().await {
            let result = ended.unwrap_or_else(|error| {
                Err(StepFailure {
                    node: self.graph.target,
                    error: BuildError::io("do", "a step", std::io::Error::other(error)),
                    output: Vec::new(),
                    image: String::new(),
                })
            });
            match result {
                Ok((id, output)) => {
                    self.done().insert(id.0, Arc::new(output));
                    for next in std::mem::take(&mut needed_by[id.0]) {
                        waiting[next] -= 1;
                        if waiting[next] == 0 && failure.is_none() {
                            running.spawn(self.clone().node(NodeId(next)));
                        }
                    }
                }
                Err(failed) => {
                    self.cancel.send_replace(true);
                    // Others that end now were only cancelled.
                    if failure.is_none() {
                        failure = Some(failed);
                    }
                }
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None => self.output(self.graph.target).map_err(|error| StepFailure {
                node: self.graph.target,
                error,
                output: Vec::new(),
                image: String::new(),
            }),
        }
    }

    fn done(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, Arc<Output>>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a step has made that must be done by now.
    pub(super) fn output(&self, id: NodeId) -> Result<Arc<Output>, BuildError> {
        let found = self.done().get(&id.0).cloned();
        found.ok_or_else(|| BuildError::Refused(format!("step {} was not done", id.0)))
    }

    /// What a step of this key has made before, here or where `cache_from` leads.
    pub(super) fn known(&self, id: NodeId, key: &Hash) -> Option<Made> {
        if self.graph.node(id).no_cache && !self.fresh().contains(key) {
            return None;
        }
        if let Some(made) = self.service.builder.cache.find(key) {
            self.touch(key);
            return Some(made);
        }
        let (record, layer) = self
            .imported
            .take(&hex::encode(key), &self.service.images)?;
        let made = Made {
            layer,
            at: record.made,
        };
        self.remember(id, key, &made);
        Some(made)
    }

    fn fresh(&self) -> std::sync::MutexGuard<'_, BTreeSet<Hash>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a step has made now: also one that is not to be taken from the cache is done once in a build.
    pub(super) fn made(&self, id: NodeId, key: &Hash, made: &Made) {
        self.remember(id, key, made);
        self.fresh().insert(*key);
    }

    /// Notes what a step has made.
    pub(super) fn remember(&self, id: NodeId, key: &Hash, made: &Made) {
        let name = &self.graph.node(id).name;
        if let Err(error) = self.service.builder.cache.put(key, name, made) {
            tracing::warn!(%error, "a step is not remembered");
        }
        self.touch(key);
    }

    fn touch(&self, key: &Hash) {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        touched.insert(hex::encode(key));
    }

    /// The number by which events name a step.
    pub(super) fn step_of(id: NodeId) -> u32 {
        u32::try_from(id.0).map_or(u32::MAX, |index| index + 1)
    }

    async fn node(self: Arc<Self>, id: NodeId) -> Result<(NodeId, Output), StepFailure> {
        let node = self.graph.node(id);
        let step = Self::step_of(id);
        let is_shown = !matches!(node.op, Op::Scratch);
        if is_shown {
            self.reporter.started(self.describe(id, node)).await;
        }
        let tail = Tail::default();
        let result = self.do_node(id, node, &tail).await;
        match result {
            Ok((output, cached)) => {
                self.plan.made(step, output.key());
                if self.plan.is_told() {
                    self.done().insert(id.0, Arc::new(output.clone()));
                    tokio::task::block_in_place(|| self.keep_images());
                }
                if is_shown {
                    self.reporter.done(step, cached, "").await;
                }
                Ok((id, output))
            }
            Err((error, image)) => {
                let text = hoist_api::error::chain(&error);
                self.reporter.done(step, false, &text).await;
                Err(StepFailure {
                    node: id,
                    error,
                    output: tail.lines(),
                    image,
                })
            }
        }
    }

    fn describe(&self, id: NodeId, node: &Node) -> BuildStep {
        let instruction = match node.name.split_once("] ") {
            Some((_, instruction)) if node.name.starts_with('[') => instruction,
            _ => node.name.as_str(),
        };
        BuildStep {
            id: Self::step_of(id),
            name: node.name.clone(),
            instruction: instruction.to_owned(),
            stage: node.stage.clone(),
            inputs: node.op.inputs().into_iter().map(Self::step_of).collect(),
            place: Some(self.dockerfile.place(node.span)),
        }
    }

    async fn do_node(
        self: &Arc<Self>,
        id: NodeId,
        node: &Node,
        tail: &Tail,
    ) -> Result<(Output, bool), (BuildError, String)> {
        if self.reporter.is_cancelled() {
            return Err((BuildError::Cancelled, String::new()));
        }
        let plain = |error| (error, String::new());
        match &node.op {
            Op::Scratch => Ok((Output::default(), true)),
            Op::Image { reference, .. } => self
                .image(reference)
                .map(|output| (output, true))
                .map_err(plain),
            Op::Context { name } => {
                let context = self.contexts.get(name).cloned().ok_or_else(|| {
                    let shown = name.as_deref().unwrap_or("the main one");
                    plain(BuildError::NotFound(format!("build context {shown}")))
                })?;
                let output = Output {
                    context: Some(context),
                    ..Output::default()
                };
                Ok((output, true))
            }
            Op::Run(op) => self.run(id, op, tail).await,
            Op::Copy(_) | Op::Workdir { .. } => {
                let _turn = self.turn().await.map_err(plain)?;
                let build = self.clone();
                let work = tokio::task::spawn_blocking(move || copy::step(&build, id)).await;
                let (made, cached) = work
                    .map_err(|error| BuildError::io("do", "a step", std::io::Error::other(error)))
                    .and_then(|result| result)
                    .map_err(plain)?;
                let base = node.op.base().unwrap_or(id);
                let base = self.output(base).map_err(plain)?;
                Ok((base.and(made), cached))
            }
        }
    }

    fn image(&self, reference: &str) -> Result<Output, BuildError> {
        let name = self.images.get(reference).map_or(reference, String::as_str);
        let (image, layers) = self.service.images.hold(name)?;
        let created = image.config.created.as_deref();
        let at = created.and_then(|text| text.parse().ok());
        Ok(Output {
            layers,
            at: at.unwrap_or(Timestamp::UNIX_EPOCH),
            context: None,
        })
    }

    async fn turn(&self) -> Result<tokio::sync::OwnedSemaphorePermit, BuildError> {
        let turns = self.service.builder.turns.clone();
        turns
            .acquire_owned()
            .await
            .map_err(|_| BuildError::Cancelled)
    }

    async fn run(
        self: &Arc<Self>,
        id: NodeId,
        op: &RunOp,
        tail: &Tail,
    ) -> Result<(Output, bool), (BuildError, String)> {
        let plain = |error| (error, String::new());
        let base = self.output(op.base).map_err(plain)?;
        let build = self.clone();
        let found = tokio::task::spawn_blocking(move || keys::run(&build, id)).await;
        let (key, known) = found
            .map_err(|error| BuildError::io("do", "a step", std::io::Error::other(error)))
            .and_then(|result| result)
            .map_err(plain)?;
        if let Some(made) = known {
            return Ok((base.and(made), true));
        }
        let _alone = tokio::select! {
            alone = self.service.builder.flights.of(&key).lock_owned() => alone,
            () = self.reporter.cancelled() => return Err(plain(BuildError::Cancelled)),
        };
        if let Some(made) = self.known(id, &key) {
            return Ok((base.and(made), true));
        }
        let _turn = self.turn().await.map_err(plain)?;
        let made = self.run_new(id, op, tail).await?;
        self.made(id, &key, &made);
        Ok((base.and(made), false))
    }

    async fn run_new(
        self: &Arc<Self>,
        id: NodeId,
        op: &RunOp,
        tail: &Tail,
    ) -> Result<Made, (BuildError, String)> {
        let plain = |error| (error, String::new());
        let base = self.output(op.base).map_err(plain)?;
        let staged = self
            .service
            .images
            .stage_layer()
            .map_err(|error| plain(error.into()))?;
        let outputs = |id| self.output(id);
        let mounting = Mounting {
            build: self,
            op,
            staged: &staged,
            outputs: &outputs,
        };
        let caches = mounting.caches().await.map_err(plain)?;
        let mounted = tokio::task::block_in_place(|| mounting.make(caches)).map_err(plain)?;
        let stub = staged.beside("stubs");
        stubs(&stub, &mounted).map_err(plain)?;
        let mut layers = vec![stub];
        layers.extend(base.directories(&self.service));
        let run = Run {
            build: self,
            op,
            step: Self::step_of(id),
            layers,
            staged: &staged,
            mounted,
            tail,
        };
        let began = self.begin_container(Self::step_of(id)).await;
        let result = run.run().await;
        if let Some(began) = &began {
            let ended = (result.as_ref().copied(), (op, &staged));
            tokio::task::block_in_place(|| self.end_container(began, ended.0, ended.1));
        }
        let service = self.service.clone();
        let latest = self.graph.source_date_epoch;
        let is_kept = self.request.keep_failed && matches!(result, Err(BuildError::Exit { .. }));
        if let Err(error) = result {
            let image = if is_kept {
                self.keep_failed(op, &base, staged).await
            } else {
                String::new()
            };
            return Err((error, image));
        }
        let committed =
            tokio::task::spawn_blocking(move || copy::commit(&service, staged, latest)).await;
        committed
            .map_err(|error| BuildError::io("do", "a step", std::io::Error::other(error)))
            .and_then(|result| result)
            .map_err(plain)
    }
}
