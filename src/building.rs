//! Commands that build: run the builds of a plan, as many at once as their order allows, and show how they go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::{self, BoxStream, SelectAll};
use futures_util::{StreamExt, TryStreamExt};
use hoist_api::build::{BuildEvent, BuildFailure, BuildRequest, BuildResult, RegistryLogin};
use hoist_api::engine::body_of;
use hoist_api::{ApiError, Engine, ErrorKind};
use hoist_compose::plan::{Action, Plan};

use crate::commands::object::transfer::stored_logins;
use crate::context::Context;
use crate::failure::{Failure, INTERRUPTED};
use crate::globals::ProgressMode;
use crate::signals::Interrupts;
use crate::ui::build::{BuildView, failure_text};

/// How often the live form is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// A build, and those that must have ended well before it.
#[derive(Debug)]
pub(crate) struct Job {
    /// What it is called in what is shown: the service; empty when it is the only one.
    pub(crate) name: String,
    /// What the engine is asked for.
    pub(crate) request: BuildRequest,
    /// The context's archive, when the request says that there is one.
    pub(crate) body: Vec<u8>,
    /// Places of other jobs.
    pub(crate) after: Vec<usize>,
}

/// A build that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The job's name.
    pub(crate) name: String,
    /// Why.
    pub(crate) failure: BuildFailure,
}

/// How builds went.
#[derive(Debug, Default)]
pub(crate) struct Built {
    /// What was made, by the jobs' places.
    pub(crate) results: BTreeMap<usize, BuildResult>,
    /// What failed, in the order in which it did.
    pub(crate) failed: Vec<Failed>,
}

/// The builds of a plan.
pub(crate) fn jobs(plan: &Plan) -> Vec<Job> {
    let steps = plan.steps.iter();
    steps
        .filter_map(|step| match &step.action {
            Action::BuildImage(request) => Some((step, request)),
            _ => None,
        })
        .map(|(step, request)| Job {
            name: request
                .labels
                .get("com.docker.compose.service")
                .unwrap_or(&step.object.name)
                .clone(),
            request: (**request).clone(),
            body: Vec::new(),
            after: step.after.iter().map(|after| after.step.index()).collect(),
        })
        .collect()
}

/// How builds are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    /// In which form.
    pub(crate) mode: ProgressMode,
    /// Whether lines are a result, on standard output: as `docker compose build` and `up` have it, `docker build` not.
    pub(crate) lines_on_stdout: bool,
}

type Events<'a> = BoxStream<'a, (usize, Result<BuildEvent, ApiError>)>;

/// Runs builds and shows them. Ctrl-C ends them all.
///
/// # Errors
/// It was interrupted; what failed is in the answer.
pub(crate) async fn run<E: Engine>(
    context: &Context,
    engine: &E,
    jobs: &[Job],
    shown: Shown,
) -> Result<Built, Failure> {
    let logins = stored_logins();
    let mut view = BuildView::new(&context.ui, shown);
    let mut built = Built::default();
    let mut begun: BTreeSet<usize> = BTreeSet::new();
    let mut ended: BTreeSet<usize> = BTreeSet::new();
    let mut streams: SelectAll<Events<'_>> = SelectAll::new();
    let mut frames = tokio::time::interval(FRAME);
    let mut interrupts = Interrupts::catch();
    loop {
        for (index, job) in jobs.iter().enumerate() {
            let ready = job
                .after
                .iter()
                .all(|other| built.results.contains_key(other));
            if ready && begun.insert(index) {
                streams.push(events(engine, (index, job), &logins));
            }
        }
        if ended.len() == begun.len() {
            break;
        }
        tokio::select! {
            next = streams.next() => {
                // All streams are over: those without a last event were cut off.
                let Some((index, event)) = next else {
                    for index in begun.difference(&ended) {
                        let name = jobs[*index].name.clone();
                        let failure = cut_off();
                        built.failed.push(Failed { name, failure });
                    }
                    break;
                };
                let event = event.unwrap_or_else(|error| BuildEvent::Failed(of_error(&error)));
                view.event(&jobs[index].name, &event);
                match event {
                    BuildEvent::Finished(result) => {
                        built.results.insert(index, result);
                        ended.insert(index);
                    }
                    BuildEvent::Failed(failure) => {
                        let name = jobs[index].name.clone();
                        built.failed.push(Failed { name, failure });
                        ended.insert(index);
                    }
                    _ => {}
                }
            }
            _ = frames.tick(), if view.is_live() => view.draw(),
            () = interrupts.next() => {
                view.finish();
                return Err(Failure::exit(INTERRUPTED));
            }
        }
    }
    view.finish();
    for failed in &built.failed {
        let step = view.step_name(&failed.name, failed.failure.step);
        let text = failure_text(step.as_deref(), &failed.failure);
        if !text.is_empty() {
            context.ui.note(text.trim_end());
        }
    }
    Ok(built)
}

/// The events of one build, begun when they are asked for; a stream that ends early is a failure.
fn events<'a, E: Engine>(
    engine: &'a E,
    (index, job): (usize, &'a Job),
    logins: &BTreeMap<String, RegistryLogin>,
) -> Events<'a> {
    let request = BuildRequest {
        registries: logins.clone(),
        ..job.request.clone()
    };
    let begun = stream::once(async move {
        let body = (!job.body.is_empty()).then(|| body_of(job.body.clone()));
        engine.image_build(&request, body).await
    });
    begun.try_flatten().map(move |event| (index, event)).boxed()
}

fn cut_off() -> BuildFailure {
    BuildFailure {
        message: "the engine went away during the build".to_owned(),
        hint: crate::failure::GONE.to_owned(),
        ..BuildFailure::default()
    }
}

fn of_error(error: &ApiError) -> BuildFailure {
    if error.is(ErrorKind::Unreachable) {
        return cut_off();
    }
    BuildFailure {
        message: error.to_string(),
        hint: error.hint.clone().unwrap_or_default(),
        ..BuildFailure::default()
    }
}

/// The failure of a command whose builds failed: the last one's, the others told before.
///
/// # Errors
/// Some build failed.
pub(crate) fn conclude(context: &Context, built: &Built, shell_hint: bool) -> Result<(), Failure> {
    let mut failures = built.failed.iter().map(|failed| {
        // The findings are told, each with its place.
        let why = match failed.failure.findings.len() {
            0 | 1 => failed.failure.message.clone(),
            several => format!("the Dockerfile has {several} errors"),
        };
        let headline = match failed.name.as_str() {
            "" => format!("cannot build: {why}"),
            name => format!("cannot build service \"{name}\": {why}"),
        };
        let failure = Failure::new(headline);
        let ran = failed.failure.exit_code.is_some();
        let hint = match failed.failure.findings.len() {
            0 | 1 => failed.failure.hint.as_str(),
            _ => "",
        };
        match (hint, shell_hint && ran) {
            ("", true) if failed.name.is_empty() => {
                failure.hint("look at it where it failed: the same command with --shell-on-fail")
            }
            ("", true) => failure.hint(format!(
                "look at it where it failed with: hoist build --shell-on-fail {}",
                failed.name
            )),
            ("", false) => failure,
            (hint, _) => failure.hint(hint),
        }
    });
    let Some(last) = failures.next_back() else {
        return Ok(());
    };
    for failure in failures {
        if let Some(report) = &failure.report {
            context.ui.report(report);
        }
    }
    Err(last)
}

/// Builds what a plan says, before the rest of a command.
///
/// # Errors
/// A build failed, or it was interrupted.
pub(crate) async fn carry_out<E: Engine>(
    context: &Context,
    engine: &E,
    plan: &Plan,
    shown: Shown,
) -> Result<(), Failure> {
    let jobs = jobs(plan);
    let built = run(context, engine, &jobs, shown).await?;
    told(context, &jobs, &built, shown.mode);
    conclude(context, &built, true)
}

/// Says which images there are now.
pub(crate) fn told(context: &Context, jobs: &[Job], built: &Built, mode: ProgressMode) {
    if matches!(mode, ProgressMode::Plain | ProgressMode::Tty) {
        for index in built.results.keys() {
            if let Some(tag) = jobs[*index].request.tags.first() {
                context.ui.note(&format!(" {tag}  Built"));
            }
        }
    }
}
