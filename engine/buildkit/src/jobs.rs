//! Builds that are under way, by the names that clients gave them. The calls of one build come at the same time, so each waits
//! for the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hoist_api::build::BuildResult;
use tokio::sync::{oneshot, watch};

use crate::export::Exports;
use crate::files::Files;
use crate::grpc::{Code, Status};
use crate::progress::Progress;
use crate::proto::control::SolveRequest;

/// How long a call waits for the one that begins its build.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a build's progress can still be asked for after its end.
const MEMORY: Duration = Duration::from_secs(20);

/// What a build made, before it is exported.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// The image's id in the store; empty when none was asked for.
    pub(crate) image: String,
    /// Its names.
    pub(crate) names: String,
    /// What it became.
    pub(crate) result: BuildResult,
    /// What goes back to the client.
    pub(crate) exports: Exports,
    /// Keeps what it wrote to files.
    pub(crate) _files: Option<Files>,
}

/// What the client decided at the end: this result, or nothing.
pub(crate) type Returned = Result<Option<Arc<Made>>, Status>;

/// A build.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) request: SolveRequest,
    pub(crate) progress: Progress,
    results: Mutex<HashMap<String, Arc<Made>>>,
    returned: Mutex<Option<oneshot::Sender<Returned>>>,
}

impl Job {
    /// Keeps a result; gives the name that the client knows it by.
    pub(crate) fn keep(&self, made: Made) -> String {
        let mut results = lock(&self.results);
        let id = format!("{}-{}", self.request.reference, results.len());
        results.insert(id.clone(), Arc::new(made));
        id
    }

    /// A result by its name.
    pub(crate) fn result(&self, id: &str) -> Result<Arc<Made>, Status> {
        let found = lock(&self.results).get(id).cloned();
        found.ok_or_else(|| Status::new(Code::NotFound, format!("no such result: {id}")))
    }

    /// The client is done.
    pub(crate) fn finish(&self, returned: Returned) {
        if let Some(sender) = lock(&self.returned).take() {
            // Nobody waits any more when the build was given up.
            let _ = sender.send(returned);
        }
    }
}

/// All builds.
#[derive(Debug, Clone)]
pub(crate) struct Jobs {
    known: Arc<Mutex<HashMap<String, Arc<Job>>>>,
    changes: watch::Sender<()>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            known: Arc::default(),
            changes: watch::Sender::new(()),
        }
    }
}

/// A build that is under way; it ends when this goes.
#[derive(Debug)]
pub(crate) struct Running {
    jobs: Jobs,
    pub(crate) job: Arc<Job>,
    /// What the client decides.
    pub(crate) returned: oneshot::Receiver<Returned>,
}

impl Jobs {
    /// Begins a build.
    pub(crate) fn begin(&self, request: SolveRequest) -> Result<Running, Status> {
        let (sender, returned) = oneshot::channel();
        let name = request.reference.clone();
        let job = Arc::new(Job {
            request,
            progress: Progress::default(),
            results: Mutex::default(),
            returned: Mutex::new(Some(sender)),
        });
        {
            let mut known = lock(&self.known);
            if known.contains_key(&name) {
                let message = format!("build {name} exists already");
                return Err(Status::new(Code::AlreadyExists, message));
            }
            known.insert(name, job.clone());
        }
        self.changes.send_replace(());
        Ok(Running {
            jobs: self.clone(),
            job,
            returned,
        })
    }

    /// A build by its name; one that has not begun is waited for.
    pub(crate) async fn get(&self, name: &str) -> Result<Arc<Job>, Status> {
        let mut changes = self.changes.subscribe();
        let found = async {
            loop {
                changes.borrow_and_update();
                if let Some(job) = lock(&self.known).get(name) {
                    return job.clone();
                }
                // The sender lives as long as we do.
                let _ = changes.changed().await;
            }
        };
        tokio::time::timeout(PATIENCE, found)
            .await
            .map_err(|_| Status::new(Code::NotFound, format!("no such job {name}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.job.progress.end();
        lock(&self.job.results).clear();
        let name = self.job.request.reference.clone();
        let known = self.jobs.known.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    tokio::time::sleep(MEMORY).await;
                    lock(&known).remove(&name);
                });
            }
            Err(_) => {
                lock(&known).remove(&name);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
