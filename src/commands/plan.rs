//! `hoist plan`: print the steps that `up` or `down` would carry out.

use clap::{Args, Subcommand};

use super::down::DownArgs;
use super::up::UpArgs;

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
