//! `hoist up`: make what the file describes exist and run, then follow it or leave it.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use hoist_compose::graph::of_project;
use hoist_compose::model::Project;
use hoist_compose::observe::{ContainerState, Observed, observe};
use hoist_compose::plan::{
    Orphans, Plan, PlanError, Recreate, UpOptions, VolumeChanges, Wait, plan_up,
};

use super::attached::Attached;
use super::build;
use super::menu::Menu;
use super::pull;
use super::values::{PullPolicy, Scale};
use super::watch;
use crate::connect;
use crate::context::{self, Context, check_services};
use crate::failure::Failure;
use crate::planned::{self, plan_failure};
use crate::providers;
use crate::ui::progress::Progress;

/// Create and start containers
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct UpArgs {
    /// Services to start, with what they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Leave the containers running in the background
    #[arg(short, long, conflicts_with_all = ["abort_on_container_exit", "abort_on_container_failure", "attach", "attach_dependencies", "watch"])]
    pub(crate) detach: bool,

    /// Wait until services are running, or healthy where they have a health check; implies -d
    #[arg(long, conflicts_with_all = ["abort_on_container_exit", "abort_on_container_failure", "attach", "attach_dependencies", "watch"])]
    pub(crate) wait: bool,

    /// Longest time to wait with --wait, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) wait_timeout: u64,

    /// Build images before starting containers
    #[arg(long, conflicts_with = "no_build")]
    pub(crate) build: bool,

    /// Do not build an image, even when it is missing
    #[arg(long, conflicts_with = "watch")]
    pub(crate) no_build: bool,

    /// Recreate containers even when nothing has changed
    #[arg(long)]
    pub(crate) force_recreate: bool,

    /// Keep containers that exist, even when their service has changed
    #[arg(long, conflicts_with_all = ["force_recreate", "renew_anon_volumes", "always_recreate_deps"])]
    pub(crate) no_recreate: bool,

    /// Recreate what the services depend on, too
    #[arg(long)]
    pub(crate) always_recreate_deps: bool,

    /// Recreate containers with new anonymous volumes instead of the previous data
    #[arg(short = 'V', long)]
    pub(crate) renew_anon_volumes: bool,

    /// Leave alone the services that the named ones depend on
    #[arg(long)]
    pub(crate) no_deps: bool,

    /// Create the containers without starting them
    #[arg(long)]
    pub(crate) no_start: bool,

    /// Number of containers of a service, over the file's own number
    #[arg(long, value_name = "SERVICE=NUM")]
    pub(crate) scale: Vec<Scale>,

    /// Remove containers of services that the file no longer has
    #[arg(long)]
    pub(crate) remove_orphans: bool,

    /// Seconds that a container gets to stop before it is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) timeout: Option<i64>,

    /// Stop all containers as soon as one ends
    #[arg(long, conflicts_with = "abort_on_container_failure")]
    pub(crate) abort_on_container_exit: bool,

    /// Stop all containers as soon as one fails
    #[arg(long)]
    pub(crate) abort_on_container_failure: bool,

    /// Leave with the exit code of this service's container; implies --abort-on-container-exit
    #[arg(long, value_name = "SERVICE")]
    pub(crate) exit_code_from: Option<String>,

    /// Follow only the output of this service; repeatable
    #[arg(long, value_name = "SERVICE", conflicts_with = "attach_dependencies")]
    pub(crate) attach: Vec<String>,

    /// Follow the output of this service not; repeatable
    #[arg(long, value_name = "SERVICE")]
    pub(crate) no_attach: Vec<String>,

    /// Follow the output of the services that the named ones depend on, too
    #[arg(long)]
    pub(crate) attach_dependencies: bool,

    /// Do not colour the output of the containers
    #[arg(long)]
    pub(crate) no_color: bool,

    /// Do not put the container's name before its lines
    #[arg(long)]
    pub(crate) no_log_prefix: bool,

    /// Put the time before each line
    #[arg(long)]
    pub(crate) timestamps: bool,

    /// When to fetch images
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(crate) pull: Option<PullPolicy>,

    /// Fetch images without showing progress
    #[arg(long)]
    pub(crate) quiet_pull: bool,

    /// Build images without showing progress
    #[arg(long)]
    pub(crate) quiet_build: bool,

    /// Keys while following: w watches the sources, d detaches [env: COMPOSE_MENU=]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) menu: Option<bool>,

    /// Watch the sources and refresh containers when they change
    #[arg(short, long)]
    pub(crate) watch: bool,

    /// Answer every question with yes
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Makes what the file describes exist and run; follows it unless told otherwise.
///
/// # Errors
/// The files are wrong, there is no plan, a step failed, or a container's code is to be left with.
pub(crate) async fn run(context: &Context, mut args: UpArgs) -> Result<(), Failure> {
    let mut project = context.load(&args.services)?;
    let mentioned: Vec<String> = [&args.attach, &args.no_attach]
        .into_iter()
        .flatten()
        .chain(&args.exit_code_from)
        .cloned()
        .collect();
    check_services(&project, &args.services)?;
    check_services(&project, &mentioned)?;
    if project.services.is_empty() && !context.globals.all_resources {
        return Err(Failure::new("no service selected"));
    }
    let chosen = chosen_services(&project, &args)?;
    let named = std::mem::take(&mut args.services);
    match providers::up(context, &mut project, (&chosen, named)).await? {
        Some(left) => args.services = left,
        None => return Ok(()),
    }
    let engine = connect::engine(context).await?;
    let observed = observe(&engine, &project.name).await?;
    let chosen: Vec<String> = chosen_services(&project, &args)?.into_iter().collect();
    let which = build::which(&args);
    if context.globals.dry_run {
        return planned::print(context, &with_builds(context, &project, &observed, &args)?);
    }
    let wanted = build::Wanted {
        services: &chosen,
        which,
        quiet: args.quiet_build,
        lines_on_stdout: true,
    };
    let pulls = pull::Wanted {
        services: &chosen,
        policy: args.pull,
        // Without it, too, there are only lines for each image as a whole.
        quiet: false,
    };
    let observed = pull::before_up(context, &engine, &project, (observed, pulls)).await?;
    let observed = build::before_up(context, &engine, &project, observed, wanted).await?;
    let plan = approved_plan(context, &project, &observed, &args)?;
    plan.warnings
        .iter()
        .for_each(|warning| context.ui.warn(warning));
    let stays = !(args.detach || args.wait || args.no_start);
    let progress = Progress::start(
        &context.ui,
        if args.no_start { "Creating" } else { "Running" },
    );
    let chosen = chosen_services(&project, &args)?;
    let running = observed.containers.iter().filter(|container| {
        let runs = container.state == ContainerState::Running && !container.is_one_off();
        runs && chosen.contains(container.service())
    });
    planned::show_untouched(
        &progress,
        &plan,
        running.map(|container| container.name.clone()),
    );
    if stays {
        let attached = Attached {
            context,
            engine: &engine,
            project: &project,
            args: &args,
        };
        return follow(attached, &plan, progress).await;
    }
    planned::carry_out_showing(context, &engine, &plan, progress).await
}

/// Carries the plan out and follows the containers, with keys and watching as asked for.
async fn follow(attached: Attached<'_>, plan: &Plan, progress: Progress) -> Result<(), Failure> {
    let Attached {
        context,
        engine,
        project,
        args,
    } = attached;
    let rules = match watch::rules_of(&context.ui, project, &args.services) {
        Err(failure) if args.watch => return Err(failure),
        rules => rules.unwrap_or_default(),
    };
    let mut menu = Menu::open(context, args, !rules.is_empty());
    let switch = menu.switch();
    tokio::select! {
        outcome = attached.run(plan, progress, &mut menu) => outcome,
        outcome = watch::follow_while(context, engine, (&project.name, &rules), switch) => outcome,
    }
}

/// What would be built and then done, as one plan.
fn with_builds(
    context: &Context,
    project: &Project,
    observed: &Observed,
    args: &UpArgs,
) -> Result<Plan, Failure> {
    let chosen: Vec<String> = chosen_services(project, args)?.into_iter().collect();
    let pulls = pull::missing(project, observed, &chosen)?;
    let pulled = pull::assume(observed.clone(), &pulls);
    let builds = build::planned(project, &pulled, &chosen, build::which(args))?;
    let assumed = hoist_compose::plan::with_built(&pulled, &builds);
    let rest = approved_plan(context, project, &assumed, args)?;
    Ok(hoist_compose::plan::joined(
        pulls,
        hoist_compose::plan::joined(builds, rest),
    ))
}

/// The services that `up` is about.
pub(crate) fn chosen_services(
    project: &Project,
    args: &UpArgs,
) -> Result<BTreeSet<String>, Failure> {
    Ok(match args.services.as_slice() {
        [] => project.services.keys().cloned().collect(),
        named if args.no_deps => named.iter().cloned().collect(),
        named => of_project(project)?.with_dependencies(named.iter().map(String::as_str)),
    })
}

/// Plans, and plans again with the user's answer when only the user can decide.
fn approved_plan(
    context: &Context,
    project: &Project,
    observed: &Observed,
    args: &UpArgs,
) -> Result<Plan, Failure> {
    let first = if args.yes {
        VolumeChanges::Recreate
    } else {
        VolumeChanges::Ask
    };
    match plan_up(
        project,
        observed,
        &up_options((context, project), args, first)?,
    ) {
        Err(question @ PlanError::NeedsApproval(_)) => {
            let agreed = context.ui.confirm(&question.to_string())?;
            let answer = if agreed {
                VolumeChanges::Recreate
            } else {
                VolumeChanges::Keep
            };
            let options = up_options((context, project), args, answer)?;
            plan_up(project, observed, &options).map_err(plan_failure)
        }
        outcome => outcome.map_err(plan_failure),
    }
}

/// The planner's options from the command's and the environment.
///
/// # Errors
/// Options and environment contradict each other.
pub(crate) fn up_options(
    (context, project): (&Context, &Project),
    args: &UpArgs,
    volume_changes: VolumeChanges,
) -> Result<UpOptions, Failure> {
    // New volumes need new containers.
    let force = args.force_recreate || args.renew_anon_volumes;
    let recreate = match (force, args.no_recreate) {
        (true, _) => Recreate::Always,
        (_, true) => Recreate::Never,
        _ => Recreate::Diverged,
    };
    let recreate_dependencies = match (args.always_recreate_deps, args.no_recreate) {
        (true, _) => Recreate::Always,
        (_, true) => Recreate::Never,
        _ => Recreate::Diverged,
    };
    let wait_timeout = (args.wait_timeout > 0).then(|| Duration::from_secs(args.wait_timeout));
    Ok(UpOptions {
        services: args.services.clone(),
        recreate,
        recreate_dependencies,
        no_deps: args.no_deps,
        start: !args.no_start,
        orphans: orphans(project, args.remove_orphans)?,
        renew_anonymous_volumes: args.renew_anon_volumes,
        timeout: args.timeout,
        scale: args
            .scale
            .iter()
            .map(|scale| (scale.service.clone(), scale.replicas))
            .collect(),
        wait: args.wait.then_some(Wait {
            timeout: wait_timeout,
        }),
        volume_changes,
        compatible_names: context.compatible_names(),
    })
}

/// What happens to containers that the files do not have. The variables may come from `.env`.
///
/// # Errors
/// The option and a variable contradict each other.
pub(crate) fn orphans(project: &Project, remove: bool) -> Result<Orphans, Failure> {
    let is_on = |name: &str| context::is_on(&project.environment, name);
    match (
        remove || is_on("COMPOSE_REMOVE_ORPHANS"),
        is_on("COMPOSE_IGNORE_ORPHANS"),
    ) {
        (_, true) if remove => Err(Failure::new(
            "cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans",
        )),
        (true, _) => Ok(Orphans::Remove),
        (false, true) => Ok(Orphans::Ignore),
        (false, false) => Ok(Orphans::Warn),
    }
}
