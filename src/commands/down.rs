//! `hoist down`: stop and remove what `up` made.

use clap::{Args, ValueEnum};
use hoist_compose::observe::{Observed, observe};
use hoist_compose::plan::{self, DownOptions, Plan, plan_down};

use crate::connect;
use crate::context::{self, Context, Target};
use crate::failure::Failure;
use crate::planned::{self, plan_failure};
use crate::providers;

/// Stop and remove containers and networks
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct DownArgs {
    /// Services to remove (default: the whole project)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Remove containers of services that the file no longer has
    #[arg(long)]
    pub(crate) remove_orphans: bool,

    /// Remove the images of the services, too
    #[arg(long, value_name = "WHICH", value_enum)]
    pub(crate) rmi: Option<RemoveImages>,

    /// Seconds that a container gets to stop before it is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) timeout: Option<i64>,

    /// Remove the project's named volumes and its containers' anonymous volumes: their data is lost
    #[arg(short, long)]
    pub(crate) volumes: bool,
}

/// Which images `down --rmi` removes.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemoveImages {
    // Only those without a name of their own in the file
    Local,
    // Every image that a service uses
    All,
}

/// Stops and removes what the project has.
///
/// # Errors
/// The files are wrong, a service is unknown, or a step failed.
pub(crate) async fn run(context: &Context, args: DownArgs) -> Result<(), Failure> {
    let target = context.target(&args.services)?;
    if let Some(engine) = connect::existing_engine(context).await? {
        let observed = observe(&engine, &target.name).await?;
        let plan = plan(&target, &observed, &args)?;
        if plan.is_empty() {
            nothing_to_remove(context, &target);
        }
        planned::carry_out(context, &engine, &plan, "Running").await?;
    } else {
        nothing_to_remove(context, &target);
    }
    match &target.project {
        // Last: the containers used what they have made.
        Some(project) => providers::down(context, project, &args.services).await,
        None => Ok(()),
    }
}

fn nothing_to_remove(context: &Context, target: &Target) {
    context.ui.note(&format!(
        "Warning: No resource found to remove for project \"{}\".",
        target.name
    ));
}

/// The steps of `down`.
///
/// # Errors
/// There is no plan.
pub(crate) fn plan(target: &Target, observed: &Observed, args: &DownArgs) -> Result<Plan, Failure> {
    let variables = target.project.as_ref().map(|project| &project.environment);
    let on = |variables| context::is_on(variables, "COMPOSE_REMOVE_ORPHANS");
    let options = DownOptions {
        services: args.services.clone(),
        volumes: args.volumes,
        remove_orphans: args.remove_orphans || variables.is_some_and(on),
        timeout: args.timeout,
        images: match args.rmi {
            None => plan::RemoveImages::Keep,
            Some(RemoveImages::Local) => plan::RemoveImages::Local,
            Some(RemoveImages::All) => plan::RemoveImages::All,
        },
    };
    let live = planned::live(target, observed)?;
    plan_down(&live, observed, &options).map_err(plan_failure)
}
