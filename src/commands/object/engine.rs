//! `hoist engine`: the daemon itself.

use clap::{Args, Subcommand};

/// What can be done with the engine.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum EngineVerb {
    /// Start the engine (commands that need it do so themselves)
    Start,
    /// Stop the engine; containers go on running without --containers
    Stop(EngineStopArgs),
    /// Say whether the engine runs, and where
    Status,
    /// Show what the engine itself has logged
    Logs(EngineLogsArgs),
    /// Be the engine, in the foreground
    #[command(hide = true)]
    Run(EngineRunArgs),
}

/// `engine stop`.
#[derive(Args, Debug, Clone)]
pub(crate) struct EngineStopArgs {
    /// Stop every container first
    #[arg(long)]
    pub(crate) containers: bool,

    /// Seconds that a container gets to stop before it is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) timeout: Option<i64>,
}

/// `engine logs`.
#[derive(Args, Debug, Clone)]
pub(crate) struct EngineLogsArgs {
    /// Stay and show what comes
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// How many of the last lines to show, or "all"
    #[arg(short = 'n', long, value_name = "N", default_value = "all", hide_default_value = true)]
    pub(crate) tail: String,
}

/// `engine run`.
#[derive(Args, Debug, Clone)]
pub(crate) struct EngineRunArgs {
    /// Seconds with nothing to run after which the engine leaves, 0 for never
    #[arg(long, value_name = "SECONDS")]
    pub(crate) idle: Option<u64>,
}
