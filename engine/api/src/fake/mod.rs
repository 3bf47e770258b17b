//! An engine in memory, for tests of planners and executors: objects and their states are kept, nothing runs.
//!
//! A started container runs until it is stopped, unless [`FakeEngine::exits`] says otherwise; a container with a health check
//! is healthy at once, unless [`FakeEngine::health`] says otherwise. Every call that changes something is
//! recorded as a line, see [`FakeEngine::calls`]; [`FakeEngine::fail`] makes the calls that contain a text fail.

mod engine;
mod objects;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::error::{ApiError, ErrorKind, Result};
use crate::event::{Actor, Event};
use crate::inspect::ContainerInspect;
use crate::network::NetworkInspect;
use crate::volume::Volume;

/// Everything the engine holds.
#[derive(Debug, Default)]
struct State {
    containers: BTreeMap<String, ContainerInspect>,
    networks: BTreeMap<String, NetworkInspect>,
    volumes: BTreeMap<String, Volume>,
    images: BTreeMap<String, crate::image::ImageInspect>,
    exits: BTreeMap<String, i64>,
    health: BTreeMap<String, String>,
    failures: Vec<String>,
    interruptions: Vec<String>,
    calls: Vec<String>,
    counter: u64,
}

/// An engine in memory. Clones share their state.
#[derive(Debug, Clone)]
pub struct FakeEngine {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<Event>,
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            events: broadcast::channel(1024).0,
        }
    }
}

impl FakeEngine {
    /// An engine that holds nothing but these images, given as `name[:tag]`.
    #[must_use]
    pub fn with_images(images: &[&str]) -> Self {
        let engine = Self::default();
        for image in images {
            engine.add_image(image);
        }
        engine
    }

    /// Adds an image; its id is derived from its name.
    pub fn add_image(&self, name: &str) {
        let reference = name
            .parse::<crate::ImageRef>()
            .map_or_else(|_| name.to_owned(), |parsed| parsed.familiar());
        let image = crate::image::ImageInspect {
            id: format!("sha256:{}", objects::id_from(&reference)),
            repo_tags: vec![reference.clone()],
            os: "linux".into(),
            ..Default::default()
        };
        self.lock().images.insert(reference, image);
    }

    /// From now on, containers whose name is this one end at once after their start, with this code.
    pub fn exits(&self, container: &str, code: i64) {
        self.lock().exits.insert(container.to_owned(), code);
    }

    /// Takes [`Self::exits`] back: containers of this name run until they are stopped.
    pub fn runs(&self, container: &str) {
        self.lock().exits.remove(container);
    }

    /// From now on, and for those that run already, containers of this name with a health check have this
    /// status: `starting`, `healthy`, `unhealthy`.
    pub fn health(&self, container: &str, status: &str) {
        let mut changed = None;
        {
            let mut state = self.lock();
            state.health.insert(container.to_owned(), status.to_owned());
            let name = format!("/{container}");
            if let Some(found) = state
                .containers
                .values_mut()
                .find(|found| found.name == name)
                && let Some(health) = &mut found.state.health
            {
                status.clone_into(&mut health.status);
                changed = Some(found.clone());
            }
        }
        if let Some(container) = changed {
            self.emit(&container, &format!("health_status: {status}"));
        }
    }

    /// Makes a running container end by itself.
    pub fn exit_now(&self, container: &str, code: i64) {
        let ended = {
            let mut state = self.lock();
            let name = format!("/{container}");
            state
                .containers
                .values_mut()
                .find(|found| found.name == name)
                .map(|found| {
                    objects::end(found, code);
                    found.clone()
                })
        };
        if let Some(container) = ended {
            self.emit(&container, "die");
        }
    }

    /// Makes calls fail whose recorded line contains this text, with 500.
    pub fn fail(&self, text: &str) {
        self.lock().failures.push(text.to_owned());
    }

    /// Makes the next call whose recorded line contains this text be carried out although its answer is lost, as when
    /// the engine is killed and started again.
    pub fn interrupt(&self, text: &str) {
        self.lock().interruptions.push(text.to_owned());
    }

    /// Whether the answer to the last call of this kind is to be lost.
    fn is_interrupted(&self, text: &str) -> Result<()> {
        let mut state = self.lock();
        let found = state
            .interruptions
            .iter()
            .position(|wanted| text.contains(wanted.as_str()));
        match found.map(|at| state.interruptions.remove(at)) {
            Some(_) => Err(ApiError::new(
                ErrorKind::Unreachable,
                "the engine went away",
            )),
            None => Ok(()),
        }
    }

    /// Lets all calls succeed again.
    pub fn heal(&self) {
        self.lock().failures.clear();
    }

    /// What was called, in order, as `container start web`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// Forgets what was called.
    pub fn clear_calls(&self) {
        self.lock().calls.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a call; fails when it was told to.
    fn record(&self, line: String) -> Result<()> {
        let mut state = self.lock();
        let failed = state
            .failures
            .iter()
            .any(|text| line.contains(text.as_str()));
        state.calls.push(line.clone());
        if failed {
            return Err(ApiError::new(
                ErrorKind::Internal,
                format!("{line}: made to fail"),
            ));
        }
        Ok(())
    }

    fn emit(&self, container: &ContainerInspect, action: &str) {
        let mut attributes = container.config.labels.clone();
        attributes.insert(
            "name".into(),
            container.name.trim_start_matches('/').to_owned(),
        );
        attributes.insert("image".into(), container.config.image.clone());
        if action == "die" {
            attributes.insert("exitCode".into(), container.state.exit_code.to_string());
        }
        let now = jiff::Timestamp::now();
        // Nobody listening is no error.
        let _ = self.events.send(Event {
            status: action.into(),
            id: container.id.clone(),
            from: container.config.image.clone(),
            kind: "container".into(),
            action: action.into(),
            actor: Actor {
                id: container.id.clone(),
                attributes,
            },
            scope: "local".into(),
            time: now.as_second(),
            time_nano: i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
        });
    }
}
