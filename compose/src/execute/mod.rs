//! Carries a plan out: one engine call per step, as parallel as the plan allows.
//!
//! Nothing is decided here. The order is the [`scheduler`]'s, what to do is in the step; this module calls, tells
//! about progress, and records how every step ended. Whatever happens in the middle (an error, Ctrl-C, the
//! engine killed), what was done stays done, and planning again gives what is left.

mod error;
mod gate;
mod hooks;
mod preflight;
mod progress;
pub mod scheduler;
mod steps;

use std::future::Future;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{broadcast, mpsc, watch};

use hoist_api::Engine;

use crate::plan::{Action, Object, Plan, StepId};

pub use error::{ExecuteError, StepFailure};
pub use progress::{ProgressEvent, Status};

use gate::Happening;
use scheduler::{End, Scheduler};
use steps::Performed;

/// How to carry a plan out.
#[derive(Debug, Clone, Default)]
pub struct ExecuteOptions {
    /// Calls at a time; as many as the plan allows when absent. Waiting does not count.
    pub parallel: Option<usize>,
    /// What registries are shown.
    pub registry_auth: RegistryAuth,
}

type AuthOf = dyn Fn(&str) -> Result<String, String> + Send + Sync;

/// The value of `X-Registry-Auth` for an image, asked for when it is pulled: plans hold no secrets.
#[derive(Clone, Default)]
pub struct RegistryAuth(Option<Arc<AuthOf>>);

impl RegistryAuth {
    /// Asks `of` with the image's name.
    pub fn new(of: impl Fn(&str) -> Result<String, String> + Send + Sync + 'static) -> Self {
        RegistryAuth(Some(Arc::new(of)))
    }

    fn of(&self, image: &str) -> Result<String, String> {
        self.0
            .as_ref()
            .map_or_else(|| Ok(String::new()), |of| of(image))
    }
}

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RegistryAuth")
    }
}

/// How it went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Steps that ended well.
    pub done: Vec<StepId>,
    /// Steps that failed, in the order in which they did.
    pub failed: Vec<StepFailure>,
    /// Steps that were never run, because something they need failed or the run was cancelled.
    pub skipped: Vec<StepId>,
    /// What went wrong without making anything fail.
    pub warnings: Vec<String>,
    /// Whether the run was cancelled.
    pub cancelled: bool,
}

impl Outcome {
    /// Whether everything was done.
    pub fn is_success(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty() && !self.cancelled
    }

    fn has_lost_the_engine(&self) -> bool {
        self.failed
            .iter()
            .any(|failure| failure.error.is_unreachable())
    }
}

/// Carries out `plan`. When `cancel` ends, no further step is begun; those under way are finished, except waits.
/// Dropping the future instead leaves calls under way to the engine.
///
/// Events go to `progress`; nobody listening is no error.
pub async fn execute<E, C>(
    engine: &E,
    plan: &Plan,
    options: &ExecuteOptions,
    progress: &mpsc::UnboundedSender<ProgressEvent>,
    cancel: C,
) -> Outcome
where
    E: Engine,
    C: Future<Output = ()>,
{
    let conflicts = preflight::conflicts(engine, plan).await;
    if !conflicts.is_empty() {
        return refused(plan, conflicts, progress);
    }
    let (happenings, _) = broadcast::channel(HAPPENINGS);
    let (stop_waiting, stopped) = watch::channel(false);
    let run = Run {
        engine,
        plan,
        progress,
        happenings: &happenings,
        stopped,
        registry_auth: &options.registry_auth,
    };
    let driving = run.drive(
        options.parallel.unwrap_or(usize::MAX).max(1),
        cancel,
        &stop_waiting,
    );
    if !plan
        .steps
        .iter()
        .any(|step| matches!(step.action, Action::Wait(_)))
    {
        return driving.await;
    }
    tokio::select! {
        outcome = driving => outcome,
        never = gate::follow_events(engine, &plan.project, &happenings) => match never {},
    }
}

/// Nothing was begun: what was in the way, and everything else skipped.
fn refused(
    plan: &Plan,
    failed: Vec<StepFailure>,
    progress: &mpsc::UnboundedSender<ProgressEvent>,
) -> Outcome {
    for failure in &failed {
        // Nobody listening is no error.
        let _ = progress.send(ProgressEvent {
            object: failure.object.clone(),
            status: Status::Error,
            text: Some(failure.error.to_string()),
        });
    }
    let steps = plan.steps.iter().map(|step| step.id);
    let skipped = steps
        .filter(|id| failed.iter().all(|failure| failure.step != *id))
        .collect();
    Outcome {
        failed,
        skipped,
        ..Outcome::default()
    }
}

/// Events kept for a gate that is slow to look; one that misses some looks at everything again.
const HAPPENINGS: usize = 4096;

/// What every step of one run is given.
#[derive(Debug)]
struct Run<'a, E> {
    engine: &'a E,
    plan: &'a Plan,
    progress: &'a mpsc::UnboundedSender<ProgressEvent>,
    happenings: &'a broadcast::Sender<Happening>,
    stopped: watch::Receiver<bool>,
    registry_auth: &'a RegistryAuth,
}

impl<E: Engine> Run<'_, E> {
    async fn drive<C>(
        &self,
        parallel: usize,
        cancel: C,
        stop_waiting: &watch::Sender<bool>,
    ) -> Outcome
    where
        C: Future<Output = ()>,
    {
        let mut outcome = Outcome::default();
        let mut scheduler = Scheduler::new(self.plan);
        let mut running = FuturesUnordered::new();
        let mut calls = 0;
        tokio::pin!(cancel);
        loop {
            for step in scheduler.take_ready(parallel - calls) {
                calls += usize::from(!self.is_wait(step));
                running.push(async move { (step, self.perform(step).await) });
            }
            if scheduler.is_finished() {
                break;
            }
            tokio::select! {
                Some((step, result)) = running.next() => {
                    calls -= usize::from(!self.is_wait(step));
                    let lost = result.as_ref().is_err_and(ExecuteError::is_unreachable);
                    let end = self.record(step, result, &mut outcome);
                    scheduler.finish(step, end);
                    if lost {
                        // Nothing else can be done either: one error says it.
                        scheduler.cancel();
                        stop_waiting.send_replace(true);
                    }
                }
                () = &mut cancel, if !outcome.cancelled => {
                    outcome.cancelled = true;
                    scheduler.cancel();
                    stop_waiting.send_replace(true);
                }
            }
        }
        let steps = self.plan.steps.iter().map(|step| step.id);
        outcome
            .skipped
            .extend(steps.filter(|step| scheduler.state(*step) == scheduler::State::Skipped));
        outcome.skipped.sort();
        outcome.cancelled &= !outcome.skipped.is_empty();
        outcome
    }

    fn is_wait(&self, step: StepId) -> bool {
        matches!(self.plan.step(step).action, Action::Wait(_))
    }

    fn record(
        &self,
        id: StepId,
        result: Result<Performed, ExecuteError>,
        outcome: &mut Outcome,
    ) -> End {
        let step = self.plan.step(id);
        match result {
            Ok(Performed::Done) => outcome.done.push(id),
            Ok(Performed::Warned(warning)) => {
                outcome.warnings.push(warning);
                outcome.done.push(id);
            }
            Ok(Performed::Abandoned) => {
                outcome.skipped.push(id);
                return End::Failure;
            }
            // The first of these has said it.
            Err(error) if error.is_unreachable() && outcome.has_lost_the_engine() => {
                outcome.skipped.push(id);
                return End::Failure;
            }
            Err(error) => {
                if !self.is_wait(id) {
                    self.tell(&step.object, Status::Error, Some(error.to_string()));
                }
                outcome.failed.push(StepFailure {
                    step: id,
                    object: step.object.clone(),
                    error,
                });
                return End::Failure;
            }
        }
        End::Success
    }

    fn tell(&self, object: &Object, status: Status, text: Option<String>) {
        // Nobody listening is no error.
        let _ = self.progress.send(ProgressEvent {
            object: object.clone(),
            status,
            text,
        });
    }
}
