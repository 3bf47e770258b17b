//! `start`, `stop`, `restart`, `kill`, `pause`, `unpause`, `rm`, `wait`, `scale`: what is done to containers that exist.

use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hoist_api::Engine;
use hoist_api::client::Client;
use hoist_api::container::WaitCondition;
use hoist_compose::observe::{Observed, observe};
use hoist_compose::plan::{
    KillOptions, Live, Plan, PlanError, RemoveOptions, StartOptions, StopOptions, plan_kill,
    plan_remove, plan_restart, plan_start, plan_stop,
};

use super::down::{self, DownArgs};
use super::object::container::done_or_nothing_to_do;
use super::up::{self, UpArgs};
use super::values::Scale;
use crate::connect;
use crate::context::{Context, Target, check_services};
use crate::failure::{FAILED, Failure};
use crate::members::{self, Member};
use crate::planned::{self, plan_failure};
use crate::ui::progress::{Change, Phase, Progress};

/// Start containers that exist
#[derive(Args, Debug, Clone)]
pub(crate) struct StartArgs {
    /// Services to start (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Wait until services are running, or healthy where they have a health check
    #[arg(long)]
    pub(crate) wait: bool,

    /// Longest time to wait with --wait, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) wait_timeout: u64,
}

/// Stop containers without removing them
#[derive(Args, Debug, Clone)]
pub(crate) struct StopArgs {
    /// Services to stop (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Seconds that a container gets to stop before it is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) timeout: Option<i64>,
}

/// Restart containers as they are
#[derive(Args, Debug, Clone)]
pub(crate) struct RestartArgs {
    /// Services to restart (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Leave alone services that ask to be restarted with these
    #[arg(long)]
    pub(crate) no_deps: bool,

    /// Seconds that a container gets to stop before it is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) timeout: Option<i64>,
}

/// Kill containers, or send them another signal
#[derive(Args, Debug, Clone)]
pub(crate) struct KillArgs {
    /// Services to kill (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Signal to send
    #[arg(short, long, value_name = "SIGNAL", default_value = "SIGKILL")]
    pub(crate) signal: String,

    /// Remove containers of services that the file no longer has
    #[arg(long)]
    pub(crate) remove_orphans: bool,
}

/// Name services to act on
#[derive(Args, Debug, Clone)]
pub(crate) struct ServicesArgs {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Remove stopped containers
#[derive(Args, Debug, Clone)]
pub(crate) struct RmArgs {
    /// Services whose containers to remove (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,

    /// Stop running containers first
    #[arg(short, long)]
    pub(crate) stop: bool,

    /// Remove their anonymous volumes, too
    #[arg(short, long)]
    pub(crate) volumes: bool,

    /// Has no effect
    #[arg(short, long, hide = true)]
    pub(crate) all: bool,
}

/// Wait until the containers of services end; leave with the last one's exit code
#[derive(Args, Debug, Clone)]
pub(crate) struct WaitArgs {
    /// Services to wait for
    #[arg(value_name = "SERVICE", required = true)]
    pub(crate) services: Vec<String>,

    /// Take the project down when the first container ends
    #[arg(long)]
    pub(crate) down_project: bool,
}

/// Set the number of containers of services
#[derive(Args, Debug, Clone)]
pub(crate) struct ScaleArgs {
    /// Service and number
    #[arg(value_name = "SERVICE=NUM", required = true)]
    pub(crate) scale: Vec<Scale>,

    /// Leave alone the services that the named ones depend on
    #[arg(long)]
    pub(crate) no_deps: bool,
}

/// What a command on existing containers works with; nothing when nothing can exist.
async fn existing(context: &Context, services: &[String]) -> Result<Option<Existing>, Failure> {
    let target = context.target(services)?;
    let Some(engine) = connect::existing_engine(context).await? else {
        return Ok(None);
    };
    let observed = observe(&engine, &target.name).await?;
    Ok(Some(Existing {
        target,
        engine,
        observed,
    }))
}

#[derive(Debug)]
struct Existing {
    target: Target,
    engine: Client,
    observed: Observed,
}

impl Existing {
    fn plan<F>(&self, planner: F) -> Result<Plan, Failure>
    where
        F: FnOnce(&Live, &Observed) -> Result<Plan, PlanError>,
    {
        let live = planned::live(&self.target, &self.observed)?;
        planner(&live, &self.observed).map_err(plan_failure)
    }
}

/// Starts containers that exist.
///
/// # Errors
/// A service has no container, or a step failed.
pub(crate) async fn start(context: &Context, args: StartArgs) -> Result<(), Failure> {
    let Some(existing) = existing(context, &args.services).await? else {
        let target = context.target(&args.services)?;
        return match to_start(&target, &args.services).first() {
            Some(service) => Err(plan_failure(PlanError::NoContainer(service.clone()))),
            None => Ok(()),
        };
    };
    let without = |service: &&String| existing.observed.of_service(service).next().is_none();
    if let Some(service) = to_start(&existing.target, &args.services)
        .iter()
        .find(without)
    {
        return Err(plan_failure(PlanError::NoContainer(service.clone())));
    }
    let options = StartOptions {
        services: args.services,
        wait: args.wait,
        wait_timeout: (args.wait_timeout > 0).then(|| Duration::from_secs(args.wait_timeout)),
    };
    let plan = existing.plan(|live, observed| plan_start(live, observed, &options))?;
    planned::carry_out(context, &existing.engine, &plan, "Running").await
}

/// The services that `start` must find containers of: the named ones, else all that have any.
fn to_start(target: &Target, named: &[String]) -> Vec<String> {
    match &target.project {
        Some(project) if named.is_empty() => {
            let services = project
                .services
                .values()
                .filter(|service| service.replicas() > 0 && service.provider.is_none());
            services.map(|service| service.name.clone()).collect()
        }
        _ => named.to_vec(),
    }
}

/// Stops containers without removing them.
///
/// # Errors
/// A step failed.
pub(crate) async fn stop(context: &Context, args: StopArgs) -> Result<(), Failure> {
    let Some(existing) = existing(context, &args.services).await? else {
        return Ok(());
    };
    let options = StopOptions {
        services: args.services,
        timeout: args.timeout,
        no_deps: false,
    };
    let plan = existing.plan(|live, observed| plan_stop(live, observed, &options))?;
    if context.globals.dry_run {
        return planned::print(context, &plan);
    }
    let progress = Progress::start(&context.ui, "Stopping");
    let live = planned::live(&existing.target, &existing.observed)?;
    let services = live.select(&options.services).map_err(plan_failure)?;
    let ended = ended(&existing.observed, &services);
    planned::show_stopped(&progress, &plan, ended.into_iter());
    planned::carry_out_showing(context, &existing.engine, &plan, progress).await
}

/// The names of the services' containers that have ended.
pub(super) fn ended(observed: &Observed, services: &[String]) -> Vec<String> {
    let all = observed.containers.iter();
    all.filter(|one| !one.is_one_off() && !one.state.is_alive())
        .filter(|one| services.iter().any(|service| service == one.service()))
        .map(|one| one.name.clone())
        .collect()
}

/// Restarts containers as they are.
///
/// # Errors
/// A service has no container, or a step failed.
pub(crate) async fn restart(context: &Context, args: RestartArgs) -> Result<(), Failure> {
    let no_container = |service: &String| {
        Failure::new(format!("service \"{service}\" has no container to restart"))
            .hint(format!("create it with: hoist up -d {service}"))
    };
    let Some(existing) = existing(context, &args.services).await? else {
        return args
            .services
            .first()
            .map_or(Ok(()), |service| Err(no_container(service)));
    };
    if let Some(service) = args
        .services
        .iter()
        .find(|name| existing.observed.of_service(name).next().is_none())
    {
        return Err(no_container(service));
    }
    let options = StopOptions {
        services: args.services,
        timeout: args.timeout,
        no_deps: args.no_deps,
    };
    let plan = existing.plan(|live, observed| plan_restart(live, observed, &options))?;
    planned::carry_out(context, &existing.engine, &plan, "Restarting").await
}

/// Sends a signal.
///
/// # Errors
/// A step failed.
pub(crate) async fn kill(context: &Context, args: KillArgs) -> Result<(), Failure> {
    let nothing = || context.ui.note("no container to kill");
    let Some(existing) = existing(context, &args.services).await? else {
        nothing();
        return Ok(());
    };
    let options = KillOptions {
        services: args.services,
        signal: args.signal,
        remove_orphans: args.remove_orphans,
    };
    let plan = existing.plan(|live, observed| plan_kill(live, observed, &options))?;
    if plan.is_empty() {
        nothing();
    }
    planned::carry_out(context, &existing.engine, &plan, "Killing").await
}

/// Removes stopped containers.
///
/// # Errors
/// A step failed.
pub(crate) async fn rm(context: &Context, args: RmArgs) -> Result<(), Failure> {
    let nothing = || context.ui.note("No stopped containers");
    let Some(existing) = existing(context, &args.services).await? else {
        nothing();
        return Ok(());
    };
    let options = RemoveOptions {
        services: args.services,
        stop: args.stop,
        volumes: args.volumes,
    };
    let plan = existing.plan(|live, observed| plan_remove(live, observed, &options))?;
    if plan.is_empty() {
        nothing();
        return Ok(());
    }
    if !context.globals.dry_run {
        let names: std::collections::BTreeSet<&str> = plan
            .steps
            .iter()
            .map(|step| step.object.name.as_str())
            .collect();
        let names: Vec<&str> = names.into_iter().collect();
        let what = format!("Going to remove {}", names.join(", "));
        if args.force {
            context.ui.line(&what)?;
        } else if !context.ui.confirm(&format!("{what}. Are you sure?"))? {
            return Err(Failure::new(
                "nothing was removed: the question was not answered with yes",
            )
            .hint("-f removes without asking"));
        }
    }
    planned::carry_out(context, &existing.engine, &plan, "Removing").await
}

/// Freezes containers.
///
/// # Errors
/// The engine refused.
pub(crate) async fn pause(context: &Context, args: ServicesArgs) -> Result<(), Failure> {
    let words = ("Pausing", "Paused");
    each_member(
        context,
        &args.services,
        ("running", words),
        async |engine: &Client, id: &str| engine.container_pause(id).await,
    )
    .await
}

/// Lets frozen containers go on.
///
/// # Errors
/// The engine refused.
pub(crate) async fn unpause(context: &Context, args: ServicesArgs) -> Result<(), Failure> {
    let words = ("Unpausing", "Unpaused");
    each_member(
        context,
        &args.services,
        ("paused", words),
        async |engine: &Client, id: &str| engine.container_unpause(id).await,
    )
    .await
}

/// What is done to members: the state they must have, and the words before and after.
type Treatment = (&'static str, (&'static str, &'static str));

async fn each_member<F>(
    context: &Context,
    services: &[String],
    treatment: Treatment,
    action: F,
) -> Result<(), Failure>
where
    F: AsyncFn(&Client, &str) -> hoist_api::Result<()>,
{
    let (state, (doing, done)) = treatment;
    let target = context.target(&[])?;
    if let Some(project) = &target.project
        && let Err(failure) = check_services(project, services)
    {
        // With the project named this way, the reference does without files that do not fit.
        if context.variable("COMPOSE_PROJECT_NAME").is_none() {
            return Err(failure);
        }
        if let Some(report) = &failure.report {
            context.ui.warn(&report.headline);
        }
    }
    let Some(engine) = connect::existing_engine(context).await? else {
        return Ok(());
    };
    let chosen = members::of_services(&engine, &target, services).await?;
    let progress = Progress::start(&context.ui, doing);
    let mut outcome = Ok(());
    for member in chosen.iter().filter(|member| member.summary.state == state) {
        let change = |phase, text: &str| Change {
            object: format!("Container {}", member.name()),
            phase,
            text: text.to_owned(),
            detail: None,
        };
        progress.change(change(Phase::Working, doing));
        match done_or_nothing_to_do(action(&engine, &member.summary.id).await) {
            Ok(()) => progress.change(change(Phase::Done, done)),
            Err(error) => {
                progress.change(change(Phase::Failed, "Error"));
                outcome = Err(Failure::from(error));
            }
        }
    }
    progress.finish();
    outcome
}

/// Waits for containers to end; leaves with the code of the last one.
///
/// # Errors
/// A service has no container; or the code, when it is not 0.
pub(crate) async fn wait(context: &Context, args: WaitArgs) -> Result<(), Failure> {
    let target = context.target(&args.services)?;
    let missing = || {
        Failure::new(format!(
            "no containers for services {}",
            args.services.join(", ")
        ))
    };
    let engine = connect::existing_engine(context)
        .await?
        .ok_or_else(missing)?;
    let found = members::of_services(&engine, &target, &args.services).await?;
    if found.is_empty() {
        return Err(missing());
    }
    let wait_for = |member: Member| {
        let engine = &engine;
        async move {
            let end = engine
                .container_wait(&member.summary.id, WaitCondition::NotRunning)
                .await?;
            Ok::<(Member, i64), hoist_api::ApiError>((member, end.status_code))
        }
    };
    let mut waits: FuturesUnordered<_> = found.into_iter().map(wait_for).collect();
    let mut last = 0;
    while let Some(end) = waits.next().await {
        let (member, code) = end?;
        context.ui.line(&format!(
            "container \"{}\" exited with status code {code}",
            member.name()
        ))?;
        last = code;
        if args.down_project {
            drop(waits);
            down::run(context, DownArgs::default()).await?;
            break;
        }
    }
    if last == 0 {
        Ok(())
    } else {
        Err(Failure::exit(u8::try_from(last).unwrap_or(FAILED)))
    }
}

/// Sets the number of containers of services.
///
/// # Errors
/// As `up`.
pub(crate) async fn scale(context: &Context, args: ScaleArgs) -> Result<(), Failure> {
    let services = args
        .scale
        .iter()
        .map(|scale| scale.service.clone())
        .collect();
    let up = UpArgs {
        services,
        scale: args.scale,
        no_deps: args.no_deps,
        detach: true,
        ..UpArgs::default()
    };
    up::run(context, up).await
}
