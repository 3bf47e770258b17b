//! `start`, `stop`, `restart`, `kill`, `pause`, `unpause`, `rm`, `wait`, `scale`: what is done to containers that exist.

use clap::Args;

use super::values::Scale;

/// Start containers that exist
#[derive(Args, Debug, Clone)]
pub(crate) struct StartArgs {
    /// Services to start (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Wait until services are running, or healthy where they have a health check
    #[arg(long)]
    pub(crate) wait: bool,

    /// Longest time to wait with --wait, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) wait_timeout: u64,
}

/// Stop containers without removing them
#[derive(Args, Debug, Clone)]
pub(crate) struct StopArgs {
    /// Services to stop (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Seconds that a container gets to stop before it is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) timeout: Option<i64>,
}

/// Restart containers as they are
#[derive(Args, Debug, Clone)]
pub(crate) struct RestartArgs {
    /// Services to restart (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Leave alone services that ask to be restarted with these
    #[arg(long)]
    pub(crate) no_deps: bool,

    /// Seconds that a container gets to stop before it is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) timeout: Option<i64>,
}

/// Kill containers, or send them another signal
#[derive(Args, Debug, Clone)]
pub(crate) struct KillArgs {
    /// Services to kill (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Signal to send
    #[arg(short, long, value_name = "SIGNAL", default_value = "SIGKILL")]
    pub(crate) signal: String,

    /// Remove containers of services that the file no longer has
    #[arg(long)]
    pub(crate) remove_orphans: bool,
}

/// Name services to act on
#[derive(Args, Debug, Clone)]
pub(crate) struct ServicesArgs {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Remove stopped containers
#[derive(Args, Debug, Clone)]
pub(crate) struct RmArgs {
    /// Services whose containers to remove (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,

    /// Stop running containers first
    #[arg(short, long)]
    pub(crate) stop: bool,

    /// Remove their anonymous volumes, too
    #[arg(short, long)]
    pub(crate) volumes: bool,

    /// Has no effect
    #[arg(short, long, hide = true)]
    pub(crate) all: bool,
}

/// Wait until the containers of services end; leave with the last one's exit code
#[derive(Args, Debug, Clone)]
pub(crate) struct WaitArgs {
    /// Services to wait for
    #[arg(value_name = "SERVICE", required = true)]
    pub(crate) services: Vec<String>,

    /// Take the project down when the first container ends
    #[arg(long)]
    pub(crate) down_project: bool,
}

/// Set the number of containers of services
#[derive(Args, Debug, Clone)]
pub(crate) struct ScaleArgs {
    /// Service and number
    #[arg(value_name = "SERVICE=NUM", required = true)]
    pub(crate) scale: Vec<Scale>,

    /// Leave alone the services that the named ones depend on
    #[arg(long)]
    pub(crate) no_deps: bool,
}
