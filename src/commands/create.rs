//! `hoist create`: make the containers of the services without starting them.

use clap::Args;

use super::up::{self, UpArgs};
use super::values::{PullPolicy, Scale};
use crate::context::Context;
use crate::failure::Failure;

/// Create the containers of services without starting them
#[derive(Args, Debug, Clone)]
pub(crate) struct CreateArgs {
    /// Services to create, with what they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Build images before creating containers
    #[arg(long, conflicts_with = "no_build")]
    pub(crate) build: bool,

    /// Do not build an image, even when it is missing
    #[arg(long)]
    pub(crate) no_build: bool,

    /// Recreate containers even when nothing has changed
    #[arg(long, conflicts_with = "no_recreate")]
    pub(crate) force_recreate: bool,

    /// Keep containers that exist, even when their service has changed
    #[arg(long)]
    pub(crate) no_recreate: bool,

    /// When to fetch images
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(crate) pull: Option<PullPolicy>,

    /// Fetch images without showing progress
    #[arg(long)]
    pub(crate) quiet_pull: bool,

    /// Remove containers of services that the file no longer has
    #[arg(long)]
    pub(crate) remove_orphans: bool,

    /// Number of containers of a service, over the file's own number
    #[arg(long, value_name = "SERVICE=NUM")]
    pub(crate) scale: Vec<Scale>,

    /// Answer every question with yes
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Makes the containers without starting them.
///
/// # Errors
/// As `up`.
pub(crate) async fn run(context: &Context, args: CreateArgs) -> Result<(), Failure> {
    let up = UpArgs {
        services: args.services,
        build: args.build,
        no_build: args.no_build,
        force_recreate: args.force_recreate,
        no_recreate: args.no_recreate,
        pull: args.pull,
        quiet_pull: args.quiet_pull,
        remove_orphans: args.remove_orphans,
        scale: args.scale,
        yes: args.yes,
        no_start: true,
        detach: true,
        ..UpArgs::default()
    };
    up::run(context, up).await
}
