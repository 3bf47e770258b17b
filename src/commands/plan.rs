//! `hoist plan`: print the steps that `up` or `down` would carry out.

use clap::{Args, Subcommand};
use hoist_compose::model::{Project, Service};
use hoist_compose::observe::{Observed, ObservedImage, observe};
use hoist_compose::plan::{VolumeChanges, joined, plan_up, with_built};

use super::build;
use super::down::{self, DownArgs};
use super::pull;
use super::up::{self, UpArgs};
use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::planned::{self, plan_failure};
use crate::providers;

/// Show the steps that `up` (or `down`) would carry out
#[derive(Args, Debug, Clone)]
pub(crate) struct PlanArgs {
    /// Leave with code 2 when there are changes
    #[arg(long)]
    pub(crate) exit_code: bool,

    /// Plan for an empty machine: ask no engine what exists
    #[arg(long)]
    pub(crate) offline: bool,

    #[command(flatten)]
    pub(crate) up: UpArgs,

    #[command(subcommand)]
    pub(crate) verb: Option<PlanVerb>,
}

/// What else can be planned.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum PlanVerb {
    /// Show the steps that `down` would carry out
    Down(PlanDownArgs),
}

/// Show the steps that `down` would carry out
#[derive(Args, Debug, Clone)]
pub(crate) struct PlanDownArgs {
    /// Leave with code 2 when there are changes
    #[arg(long)]
    pub(crate) exit_code: bool,

    #[command(flatten)]
    pub(crate) down: DownArgs,
}

/// Prints the steps; leaves with [`CHANGES`] when asked to and there are any.
///
/// # Errors
/// The files are wrong, there is no plan, or the engine cannot be asked.
pub(crate) async fn run(context: &Context, args: PlanArgs) -> Result<(), Failure> {
    let (plan, exit_code) = match &args.verb {
        Some(PlanVerb::Down(args_of_down)) => {
            let target = context.target(&args_of_down.down.services)?;
            let observed = observed(context, &target.name).await?;
            let plan = down::plan(&target, &observed, &args_of_down.down)?;
            (plan, args.exit_code || args_of_down.exit_code)
        }
        None => {
            let mut project = context.load(&args.up.services)?;
            let mut up = args.up;
            let named = std::mem::take(&mut up.services);
            match providers::leave_out(context, &mut project, named)? {
                Some(left) => up.services = left,
                None => return Ok(()),
            }
            let observed = match args.offline {
                true => with_all_images(&project),
                false => observed(context, &project.name).await?,
            };
            let approved = if up.yes {
                VolumeChanges::Recreate
            } else {
                VolumeChanges::Keep
            };
            let options = up::up_options((context, &project), &up, approved)?;
            let chosen: Vec<String> = up::chosen_services(&project, &up)?.into_iter().collect();
            let pulls = pull::missing(&project, &observed, &chosen)?;
            let pulled = pull::assume(observed, &pulls);
            let builds = build::planned(&project, &pulled, &chosen, build::which(&up))?;
            let assumed = with_built(&pulled, &builds);
            let rest = plan_up(&project, &assumed, &options).map_err(plan_failure)?;
            (joined(pulls, joined(builds, rest)), args.exit_code)
        }
    };
    planned::print(context, &plan)?;
    if exit_code && !plan.is_empty() {
        Err(Failure::exit(CHANGES))
    } else {
        Ok(())
    }
}

/// The exit code of `plan --exit-code` when there is something to do.
const CHANGES: u8 = 2;

async fn observed(context: &Context, project: &str) -> Result<Observed, Failure> {
    match connect::existing_engine(context).await? {
        Some(engine) => Ok(observe(&engine, project).await?),
        None => Ok(Observed::default()),
    }
}

/// A machine with nothing but the project's images.
fn with_all_images(project: &Project) -> Observed {
    let image = |(number, service): (usize, &Service)| ObservedImage {
        id: format!("sha256:{number:064x}"),
        references: service
            .image
            .iter()
            .cloned()
            .chain([format!("{}-{}", project.name, service.name)])
            .collect(),
    };
    Observed {
        images: project.services.values().enumerate().map(image).collect(),
        ..Observed::default()
    }
}
