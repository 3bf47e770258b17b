//! Plans: what to do so that what exists becomes what should exist, as a value.
//!
//! Every planner is a pure function of a project (or of labels), a snapshot, and options: no I/O, clock, randomness
//! or prompt. What it cannot decide alone it returns as [`PlanError::NeedsApproval`]. A finished plan holds
//! every decision, waiting included; [`check`] says whether it makes sense.

mod build;
mod builder;
mod check;
mod display;
mod down;
mod error;
mod hooks;
mod lifecycle;
mod live;
mod pull;
mod run;
mod start;
mod step;
mod up;

pub use build::{Build, joined, plan_build, with_built};
pub use check::{Finding, check};
pub use down::{DownOptions, RemoveImages, plan_down};
pub use error::PlanError;
pub use lifecycle::{
    KillOptions, RemoveOptions, StartOptions, StopOptions, plan_kill, plan_remove, plan_restart,
    plan_start, plan_stop,
};
pub use live::{Live, LiveService};
pub use pull::{InvalidPullPolicy, PullOptions, PullRule, images_by_age, plan_pull};
pub use run::{RunOptions, RunPlan, plan_run};
pub use step::{
    Action, After, Cause, Gate, GateContainer, Hooks, Kind, Need, Object, Plan, Step, StepId, Until,
};
pub use up::{Orphans, Recreate, UpOptions, VolumeChanges, Wait, plan_up};
