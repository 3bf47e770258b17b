//! `hoist logs`: what the containers have written.

use clap::Args;

/// Show the output of containers
#[derive(Args, Debug, Clone)]
pub(crate) struct LogsArgs {
    /// Services to show (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Stay and show what comes
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// How many of the last lines of each container to show, or "all"
    #[arg(short = 'n', long, value_name = "N", default_value = "all", hide_default_value = true, allow_negative_numbers = true)]
    pub(crate) tail: String,

    /// Put the time before each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,

    /// Only lines since a time (2026-01-02T13:23:37Z, Unix seconds) or for so long back (42m)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,

    /// Only lines before a time, written as for --since
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,

    /// Do not colour the containers' names
    #[arg(long)]
    pub(crate) no_color: bool,

    /// Do not put the container's name before its lines
    #[arg(long)]
    pub(crate) no_log_prefix: bool,

    /// Which of the service's containers, counted from 1
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) index: u32,
}
