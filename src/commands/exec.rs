//! `hoist exec`: run a command in a running container.

use clap::Args;

/// Run a command in a running container of a service
#[derive(Args, Debug, Clone)]
pub(crate) struct ExecArgs {
    /// Leave the command running in the background
    #[arg(short, long)]
    pub(crate) detach: bool,

    /// Set a variable; repeatable
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<String>,

    /// Which of the service's containers, counted from 1
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) index: u32,

    /// Keep standard input open (the default)
    #[arg(short, long, hide = true, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) interactive: bool,

    /// Without a terminal, even when standard input and output are one
    #[arg(short = 'T', long = "no-tty", alias = "no-TTY")]
    pub(crate) no_tty: bool,

    /// With a terminal (the default when standard input and output are one)
    #[arg(short, long, hide = true)]
    pub(crate) tty: bool,

    /// With all capabilities
    #[arg(long)]
    pub(crate) privileged: bool,

    /// As this user (name or uid, with :group)
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,

    /// In this directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,

    /// The service, then the command with its arguments
    #[arg(value_names = ["SERVICE", "COMMAND", "ARGS"], num_args = 1.., required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<String>,
}
