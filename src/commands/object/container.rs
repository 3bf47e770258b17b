//! `hoist container`: containers by name or id, of any project or of none.

use clap::{Args, Subcommand};

use super::image::InspectArgs;
use crate::commands::values::ListFormat;

/// What can be done with containers.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum ContainerVerb {
    /// Print what the engine knows of containers, as JSON
    Inspect(InspectArgs),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ContainerLsArgs),
    /// Show what a container has written
    Logs(ContainerLogsArgs),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(ContainerRmArgs),
    /// Start containers
    Start(NamesArgs),
    /// Stop containers
    Stop(ContainerStopArgs),
    /// Restart containers
    Restart(ContainerStopArgs),
    /// Kill containers, or send them another signal
    Kill(ContainerKillArgs),
    /// Freeze containers
    Pause(NamesArgs),
    /// Let frozen containers go on
    Unpause(NamesArgs),
    /// Wait until containers end, print their exit codes
    Wait(NamesArgs),
}

/// `container ls`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerLsArgs {
    /// Also those that do not run
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Only the ids
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Form of the output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) format: ListFormat,

    /// Only containers of which this holds (name=TEXT, label=KEY[=VALUE], status=STATUS); repeatable
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,

    /// Do not shorten ids and commands
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

/// `container logs`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerLogsArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) name: String,

    /// Stay and show what comes
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// How many of the last lines to show, or "all"
    #[arg(short = 'n', long, value_name = "N", default_value = "all", hide_default_value = true, allow_negative_numbers = true)]
    pub(crate) tail: String,

    /// Put the time before each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,

    /// Only lines since a time, or for so long back (42m)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,

    /// Only lines before a time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

/// `container rm`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerRmArgs {
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) names: Vec<String>,

    /// Kill them first when they run
    #[arg(short, long)]
    pub(crate) force: bool,

    /// Remove their anonymous volumes, too
    #[arg(short, long)]
    pub(crate) volumes: bool,
}

/// Names or ids of containers.
#[derive(Args, Debug, Clone)]
pub(crate) struct NamesArgs {
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) names: Vec<String>,
}

/// `container stop`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerStopArgs {
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) names: Vec<String>,

    /// Seconds that a container gets to stop before it is killed
    #[arg(short, long, alias = "time", value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) timeout: Option<i64>,
}

/// `container kill`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerKillArgs {
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) names: Vec<String>,

    /// Signal to send
    #[arg(short, long, value_name = "SIGNAL", default_value = "SIGKILL")]
    pub(crate) signal: String,
}
