//! `hoist ps`: the project's containers.

use clap::Args;

/// List the containers of the project
#[derive(Args, Debug, Clone)]
pub(crate) struct PsArgs {
    /// Services to list (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Also those that do not run
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Only the ids
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Only the names of the services
    #[arg(long = "services")]
    pub(crate) only_services: bool,

    /// Only containers in this state; repeatable
    #[arg(long, value_name = "STATUS", value_parser = ["paused", "restarting", "removing", "running", "dead", "created", "exited"])]
    pub(crate) status: Vec<String>,

    /// Only containers of which this holds (status=STATUS)
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Option<String>,

    /// table or json (one object a line)
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: String,

    /// Do not shorten commands
    #[arg(long)]
    pub(crate) no_trunc: bool,

    /// Also containers of services that the file no longer has
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) orphans: bool,
}
