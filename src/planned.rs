//! Commands that follow a plan: print it, or carry it out and show how it goes.

use std::collections::BTreeSet;
use std::future::Future;

use hoist_api::Engine;
use hoist_compose::execute::{
    ExecuteError, ExecuteOptions, Outcome, ProgressEvent, RegistryAuth, Status, execute,
};
use hoist_compose::observe::Observed;
use hoist_compose::plan::{Kind, Live, Plan, PlanError};
use tokio::sync::mpsc;

use crate::context::{Context, Target, no_such_service};
use crate::failure::{Failure, INTERRUPTED};
use crate::signals::Interrupts;
use crate::ui::progress::{Change, Phase, Progress};

/// The project as its containers know it, from files or labels.
///
/// # Errors
/// The files' services have no order.
pub(crate) fn live(target: &Target, observed: &Observed) -> Result<Live, Failure> {
    match &target.project {
        Some(project) => Live::from_project(project, observed).map_err(plan_failure),
        None => Ok(Live::from_labels(&target.name, observed)),
    }
}

/// Why there is no plan, with what the user can do.
pub(crate) fn plan_failure(error: PlanError) -> Failure {
    match &error {
        PlanError::NoSuchService(service) => no_such_service(service, std::iter::empty()),
        PlanError::NoContainer(service) => {
            let hint = format!("create it with: hoist up -d {service}");
            Failure::from(error).hint(hint)
        }
        PlanError::ImagesMissing { .. } => Failure::from(error)
            .hint("hoist image import and hoist image load bring images to this machine"),
        PlanError::ExternalNetworkMissing(name) => {
            let hint = format!("create it with: hoist network create {name}");
            Failure::from(error).hint(hint)
        }
        PlanError::ExternalVolumeMissing(name) => {
            let hint = format!("create it with: hoist volume create {name}");
            Failure::from(error).hint(hint)
        }
        _ => Failure::from(error),
    }
}

/// Prints a plan's warnings, and its steps one a line.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn print(context: &Context, plan: &Plan) -> Result<(), Failure> {
    plan.warnings
        .iter()
        .for_each(|warning| context.ui.warn(warning));
    context.ui.bytes(plan.to_string().as_bytes())
}

/// Carries a plan out, showing how it goes; with `--dry-run` only prints it. Ctrl-C ends it between two
/// steps, a second one at once.
///
/// # Errors
/// A step failed, or it was interrupted.
pub(crate) async fn carry_out<E: Engine>(
    context: &Context,
    engine: &E,
    plan: &Plan,
    title: &str,
) -> Result<(), Failure> {
    if context.globals.dry_run {
        return print(context, plan);
    }
    plan.warnings
        .iter()
        .for_each(|warning| context.ui.warn(warning));
    let progress = Progress::start(&context.ui, title);
    carry_out_showing(context, engine, plan, progress).await
}

/// As [`carry_out`], with a progress that shows something already.
///
/// # Errors
/// As [`carry_out`].
pub(crate) async fn carry_out_showing<E: Engine>(
    context: &Context,
    engine: &E,
    plan: &Plan,
    progress: Progress,
) -> Result<(), Failure> {
    let (mut first, mut second) = (Interrupts::catch(), Interrupts::catch());
    let run = run(
        context,
        engine,
        plan,
        (async { first.next().await }, |event| show(&progress, event)),
    );
    let outcome = tokio::select! {
        outcome = run => outcome?,
        () = async { second.next().await; second.next().await } => return Err(Failure::exit(INTERRUPTED)),
    };
    progress.finish();
    conclude(context, outcome)
}

/// Carries a plan out; events go to `show`; when `cancel` ends no further step is begun.
///
/// # Errors
/// `--parallel` is wrong.
pub(crate) async fn run<E, C, S>(
    context: &Context,
    engine: &E,
    plan: &Plan,
    (cancel, mut show): (C, S),
) -> Result<Outcome, Failure>
where
    E: Engine,
    C: Future<Output = ()>,
    S: FnMut(ProgressEvent),
{
    let options = ExecuteOptions {
        parallel: context.parallel()?,
        registry_auth: RegistryAuth::new(|image| {
            crate::commands::object::transfer::stored_auth(image).map_err(|failure| {
                failure
                    .report
                    .map_or_else(String::new, |report| report.to_string())
            })
        }),
    };
    let (events, mut received) = mpsc::unbounded_channel();
    let executing = async move { execute(engine, plan, &options, &events, cancel).await };
    let showing = async {
        while let Some(event) = received.recv().await {
            show(event);
        }
    };
    Ok(tokio::join!(executing, showing).0)
}

/// What to do about a step that failed: what the engine advises, and about a hook how `up` and `down` get past it.
fn advice(error: &ExecuteError) -> Option<String> {
    let (service, before_stop) = match error {
        // Who pulls has advice of its own.
        ExecuteError::Engine { action: "pull", .. } => return None,
        ExecuteError::Engine { source, .. } => return source.hint.clone(),
        ExecuteError::Hook {
            service,
            before_stop,
            ..
        } => (service, before_stop),
        _ => return None,
    };
    Some(match before_stop {
        true => format!(
            "it runs on: mend pre_stop of {service}, or end it without: hoist kill {service}"
        ),
        false => format!(
            "it runs: mend post_start of {service}, then: hoist up -d --force-recreate {service}"
        ),
    })
}

/// Tells how a plan went: each failure, then what never ran because of it.
///
/// # Errors
/// A step failed, or the run was interrupted.
pub(crate) fn conclude(context: &Context, outcome: Outcome) -> Result<(), Failure> {
    outcome
        .warnings
        .iter()
        .for_each(|warning| context.ui.warn(warning));
    let interrupted = outcome.cancelled;
    let mut failures: Vec<Failure> = Vec::new();
    let mut told: BTreeSet<String> = BTreeSet::new();
    for step in outcome.failed {
        let advice = advice(&step.error);
        let failure = advice
            .into_iter()
            .fold(Failure::from(step.error), Failure::hint);
        // Many containers may fail for one reason.
        if failure
            .report
            .as_ref()
            .is_some_and(|report| told.insert(report.to_string()))
        {
            failures.push(failure);
        }
    }
    let Some(last) = failures.pop() else {
        return if interrupted {
            Err(Failure::exit(INTERRUPTED))
        } else {
            Ok(())
        };
    };
    failures
        .iter()
        .filter_map(|failure| failure.report.as_ref())
        .for_each(|report| context.ui.report(report));
    Err(if interrupted {
        last.with_exit(INTERRUPTED)
    } else {
        last
    })
}

/// Shows one event of a run.
pub(crate) fn show(progress: &Progress, event: ProgressEvent) {
    // What hooks say is shown among the containers' output, or in their failure.
    if event.status != Status::Said {
        progress.change(change_of(event));
    }
}

/// An event of a run in the words of progress.
pub(crate) fn change_of(event: ProgressEvent) -> Change {
    let phase = match event.status {
        Status::Error => Phase::Failed,
        Status::Warning => Phase::Warning,
        status if status.is_working() => Phase::Working,
        _ => Phase::Done,
    };
    let kind = match event.object.kind {
        Kind::Network => "Network",
        Kind::Volume => "Volume",
        Kind::Image => "Image",
        Kind::Container => "Container",
        Kind::Service => "Service",
    };
    Change {
        object: format!("{kind} {}", event.object.name),
        phase,
        text: event.status.as_str().to_owned(),
        detail: event
            .text
            .and_then(|text| text.lines().next().map(str::to_owned)),
    }
}

/// Shows containers that are to be stopped and that have ended already.
pub(crate) fn show_stopped(progress: &Progress, plan: &Plan, ended: impl Iterator<Item = String>) {
    show_as(progress, plan, ("Stopped", ended));
}

/// Shows containers of a project that run and that the plan leaves alone.
pub(crate) fn show_untouched(
    progress: &Progress,
    plan: &Plan,
    running: impl Iterator<Item = String>,
) {
    show_as(progress, plan, ("Running", running));
}

fn show_as<I: Iterator<Item = String>>(progress: &Progress, plan: &Plan, (text, names): (&str, I)) {
    let touched: BTreeSet<&str> = plan
        .steps
        .iter()
        .map(|step| step.object.name.as_str())
        .collect();
    for name in names.filter(|name| !touched.contains(name.as_str())) {
        let object = format!("Container {name}");
        progress.change(Change {
            object,
            phase: Phase::Done,
            text: text.to_owned(),
            detail: None,
        });
    }
}
