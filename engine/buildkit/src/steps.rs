//! Steps that are ours and not the builder's: what is loaded from the client.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::progress::Progress;
use crate::proto::Timestamp;
use crate::proto::control::{StatusResponse, Vertex, VertexStatus, VertexWarning};

/// The steps of one build.
#[derive(Debug)]
pub(crate) struct Steps {
    progress: Progress,
    build: String,
    number: AtomicU64,
    names: Mutex<BTreeSet<String>>,
}

/// A step that has begun.
#[derive(Debug)]
pub(crate) struct Step<'steps> {
    progress: &'steps Progress,
    vertex: Vertex,
}

impl Steps {
    pub(crate) fn new(progress: Progress, build: String) -> Self {
        Self {
            progress,
            build,
            number: AtomicU64::new(0),
            names: Mutex::default(),
        }
    }

    /// The names of all steps so far.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, name: &str) -> Step<'_> {
        self.lock().insert(name.to_owned());
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let hash = Sha256::digest(format!("{}\nown\n{number}", self.build));
        let step = Step {
            progress: &self.progress,
            vertex: Vertex {
                digest: format!("sha256:{}", hex::encode(hash)),
                name: name.to_owned(),
                started: Some(Timestamp::now()),
                ..Vertex::default()
            },
        };
        step.tell();
        step
    }

    /// Warns of something in a step of its own: clients show nothing that belongs to none.
    pub(crate) fn warn(&self, name: &str, warnings: &[String]) {
        if warnings.is_empty() {
            return;
        }
        let step = self.begin(name);
        let warning = |text: &String| VertexWarning {
            vertex: step.vertex.digest.clone(),
            level: 1,
            short: text.clone().into_bytes(),
            ..VertexWarning::default()
        };
        self.progress.tell(StatusResponse {
            warnings: warnings.iter().map(warning).collect(),
            ..StatusResponse::default()
        });
        step.end(None);
    }
}

impl Step<'_> {
    fn tell(&self) {
        self.progress.tell(StatusResponse {
            vertexes: vec![self.vertex.clone()],
            ..StatusResponse::default()
        });
    }

    /// So many bytes came.
    pub(crate) fn moved(&self, what: &str, bytes: u64) {
        let now = Some(Timestamp::now());
        let status = VertexStatus {
            id: what.to_owned(),
            vertex: self.vertex.digest.clone(),
            current: i64::try_from(bytes).unwrap_or(i64::MAX),
            timestamp: now,
            started: self.vertex.started,
            completed: now,
            ..VertexStatus::default()
        };
        self.progress.tell(StatusResponse {
            statuses: vec![status],
            ..StatusResponse::default()
        });
    }

    /// It is done, or why it failed.
    pub(crate) fn end(mut self, error: Option<&str>) {
        self.vertex.completed = Some(Timestamp::now());
        self.vertex.error = error.unwrap_or_default().to_owned();
        self.tell();
    }
}
