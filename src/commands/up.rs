//! `hoist up`: make what the file describes exist and run, then follow it or leave it.

use clap::Args;

use super::values::{PullPolicy, Scale};

/// Create and start containers
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct UpArgs {
    /// Services to start, with what they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Leave the containers running in the background
    #[arg(short, long, conflicts_with_all = ["abort_on_container_exit", "abort_on_container_failure", "attach", "attach_dependencies", "watch"])]
    pub(crate) detach: bool,

    /// Wait until services are running, or healthy where they have a health check; implies -d
    #[arg(long, conflicts_with_all = ["abort_on_container_exit", "abort_on_container_failure", "attach", "attach_dependencies", "watch"])]
    pub(crate) wait: bool,

    /// Longest time to wait with --wait, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) wait_timeout: u64,

    /// Build images before starting containers
    #[arg(long, conflicts_with = "no_build")]
    pub(crate) build: bool,

    /// Do not build an image, even when it is missing
    #[arg(long, conflicts_with = "watch")]
    pub(crate) no_build: bool,

    /// Recreate containers even when nothing has changed
    #[arg(long)]
    pub(crate) force_recreate: bool,

    /// Keep containers that exist, even when their service has changed
    #[arg(long, conflicts_with_all = ["force_recreate", "renew_anon_volumes", "always_recreate_deps"])]
    pub(crate) no_recreate: bool,

    /// Recreate what the services depend on, too
    #[arg(long)]
    pub(crate) always_recreate_deps: bool,

    /// Give recreated containers new anonymous volumes instead of the previous data
    #[arg(short = 'V', long)]
    pub(crate) renew_anon_volumes: bool,

    /// Leave alone the services that the named ones depend on
    #[arg(long)]
    pub(crate) no_deps: bool,

    /// Create the containers without starting them
    #[arg(long)]
    pub(crate) no_start: bool,

    /// Number of containers of a service, over the file's own number
    #[arg(long, value_name = "SERVICE=NUM")]
    pub(crate) scale: Vec<Scale>,

    /// Remove containers of services that the file no longer has
    #[arg(long)]
    pub(crate) remove_orphans: bool,

    /// Seconds that a container gets to stop before it is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) timeout: Option<i64>,

    /// Stop all containers as soon as one ends
    #[arg(long, conflicts_with = "abort_on_container_failure")]
    pub(crate) abort_on_container_exit: bool,

    /// Stop all containers as soon as one fails
    #[arg(long)]
    pub(crate) abort_on_container_failure: bool,

    /// Leave with the exit code of this service's container; implies --abort-on-container-exit
    #[arg(long, value_name = "SERVICE")]
    pub(crate) exit_code_from: Option<String>,

    /// Follow only the output of this service; repeatable
    #[arg(long, value_name = "SERVICE", conflicts_with = "attach_dependencies")]
    pub(crate) attach: Vec<String>,

    /// Follow the output of this service not; repeatable
    #[arg(long, value_name = "SERVICE")]
    pub(crate) no_attach: Vec<String>,

    /// Follow the output of the services that the named ones depend on, too
    #[arg(long)]
    pub(crate) attach_dependencies: bool,

    /// Do not colour the output of the containers
    #[arg(long)]
    pub(crate) no_color: bool,

    /// Do not put the container's name before its lines
    #[arg(long)]
    pub(crate) no_log_prefix: bool,

    /// Put the time before each line
    #[arg(long)]
    pub(crate) timestamps: bool,

    /// When to fetch images
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(crate) pull: Option<PullPolicy>,

    /// Fetch images without showing progress
    #[arg(long)]
    pub(crate) quiet_pull: bool,

    /// Build images without showing progress
    #[arg(long)]
    pub(crate) quiet_build: bool,

    /// Keyboard shortcuts while following (accepted, has no effect)
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) menu: Option<bool>,

    /// Watch the sources and refresh containers when they change
    #[arg(short, long, hide = true)]
    pub(crate) watch: bool,

    /// Answer every question with yes
    #[arg(short, long)]
    pub(crate) yes: bool,
}
