//! `container exec`: run a command in a running container.

use std::io::IsTerminal;

use clap::Args;
use hoist_api::Engine;
use hoist_api::client::Client;
use hoist_api::exec::ExecCreate;

use super::body::lines_of;
use crate::commands::exec::{exit_code, session, variables};
use crate::context::Context;
use crate::failure::Failure;
use crate::streams::{DetachKeys, Wiring, console_size};

/// Run a command in a running container
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerExecArgs {
    /// Leave the command running in the background
    #[arg(short, long)]
    pub(crate) detach: bool,

    /// Keys that leave it running and come back
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<DetachKeys>,

    /// Set a variable; repeatable
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<String>,

    /// Set the variables of a file; repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<String>,

    /// Keep standard input open
    #[arg(short, long)]
    pub(crate) interactive: bool,

    /// With a terminal
    #[arg(short, long)]
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

    /// The container, then the command with its arguments
    #[arg(value_names = ["CONTAINER", "COMMAND", "ARGS"], num_args = 2.., required = true, trailing_var_arg = true)]
    pub(crate) words: Vec<String>,
}

/// Runs a command; leaves with its exit code.
///
/// # Errors
/// The container does not run, the command cannot be started, or its code is not 0.
pub(super) async fn run(
    context: &Context,
    engine: &Client,
    args: ContainerExecArgs,
) -> Result<(), Failure> {
    let Some((name, command)) = args.words.split_first() else {
        return Err(Failure::new("name a container and a command"));
    };
    let wiring = Wiring {
        terminal: args.tty && !args.detach,
        input: args.interactive && !args.detach,
        keys: args.detach_keys.clone().unwrap_or_default(),
        silent: false,
    };
    if wiring.terminal && wiring.input && !std::io::stdin().is_terminal() {
        return Err(Failure::new("the input device is not a TTY").hint("leave out -t"));
    }
    let mut env = Vec::new();
    for file in &args.env_file {
        env.extend(variables(&context.environment, &lines_of(file)?));
    }
    env.extend(variables(&context.environment, &args.env));
    let body = ExecCreate {
        attach_stdin: wiring.input,
        attach_stdout: !args.detach,
        attach_stderr: !args.detach,
        tty: args.tty,
        console_size: console_size(wiring.terminal),
        env,
        cmd: command.to_vec(),
        privileged: args.privileged,
        user: args.user.clone().unwrap_or_default(),
        working_dir: args.workdir.clone().unwrap_or_default(),
        ..ExecCreate::default()
    };
    let created = engine.exec_create(name, &body).await?;
    if args.detach {
        return Ok(engine.exec_start_detached(&created.id).await?);
    }
    match session(context, engine, &created.id, &wiring).await? {
        0 => Ok(()),
        code => Err(Failure::exit(exit_code(code))),
    }
}
