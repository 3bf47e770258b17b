//! `hoist exec`: run a command in a running container.

use std::io::{self, IsTerminal};

use clap::Args;
use hoist_api::exec::{ExecCreate, ExecStart};
use hoist_api::{ApiError, Engine};
use indexmap::IndexMap;

use crate::connect;
use crate::context::Context;
use crate::failure::{FAILED, Failure};
use crate::members;
use crate::streams::{Parted, Wiring, console_size};

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

/// Runs a command in a service's container; leaves with its exit code.
///
/// # Errors
/// The container does not run, the engine cannot start the command, or the command's code is not 0.
pub(crate) async fn run(context: &Context, args: ExecArgs) -> Result<(), Failure> {
    let Some((service, command)) = args.command.split_first() else {
        return Err(Failure::new("name a service and a command"));
    };
    if command.is_empty() {
        return Err(Failure::new(format!("name a command to run in {service}"))
            .hint(format!("for example: hoist exec {service} sh")));
    }
    let services = [service.clone()];
    let target = context.target(&services)?;
    let Some(engine) = connect::existing_engine(context).await? else {
        return Err(members::not_running(service));
    };
    let member = match members::with_runs(&engine, &target, &services).await {
        Ok(found) => members::pick_with_runs(found, service, args.index)?,
        // Without files a service without containers is unknown; what the user needs to know is this.
        Err(_) if target.project.is_none() => return Err(members::not_running(service)),
        Err(failure) => return Err(failure),
    };
    if !member.is_running() {
        return Err(members::not_active(&member));
    }
    let wiring = wiring(&args)?;
    let created = engine
        .exec_create(
            &member.summary.id,
            &body_of(context, &args, command, &wiring),
        )
        .await?;
    if args.detach {
        return Ok(engine.exec_start_detached(&created.id).await?);
    }
    let code = session(context, &engine, &created.id, &wiring).await?;
    if code == 0 {
        Ok(())
    } else {
        Err(Failure::exit(exit_code(code)))
    }
}

/// `KEY=VALUE` options; a variable without a value has ours, or is left out.
pub(crate) fn variables(environment: &IndexMap<String, String>, texts: &[String]) -> Vec<String> {
    let resolve = |text: &String| match (text.contains('='), environment.get(text)) {
        (true, _) => Some(text.clone()),
        (false, Some(value)) => Some(format!("{text}={value}")),
        (false, None) => None,
    };
    texts.iter().filter_map(resolve).collect()
}

/// A command that cannot be started leaves what a shell would.
pub(crate) fn not_started(error: ApiError) -> Failure {
    let code = match error.message.as_str() {
        m if m.contains("working directory") => 126,
        m if m.contains("executable file not found") || m.contains("no such file") => 127,
        m if m.contains("permission denied")
            || m.contains("not executable")
            || m.contains("is a directory") =>
        {
            126
        }
        _ => FAILED,
    };
    Failure::from(error).with_exit(code)
}

pub(crate) fn exit_code(code: i64) -> u8 {
    u8::try_from(code).unwrap_or(FAILED)
}

/// What it comes to when the user has left it running by the keys for that: `docker` says so and fails, except after `run`.
///
/// # Errors
/// Under the name `docker`.
pub(crate) fn left(context: &Context) -> Result<i64, Failure> {
    match context.ui.as_docker {
        true => Err(Failure::new("read escape sequence")),
        false => Ok(0),
    }
}

/// A terminal when standard input and output are one, unless -T says no.
fn wiring(args: &ExecArgs) -> Result<Wiring, Failure> {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if args.tty && !args.no_tty && !args.detach && args.interactive && !io::stdin().is_terminal() {
        return Err(
            Failure::new("cannot give the command a terminal: standard input is none")
                .hint("leave out -t, or add -T"),
        );
    }
    let terminal = !args.no_tty && (args.tty || is_terminal) && !args.detach;
    Ok(Wiring {
        terminal,
        input: args.interactive && !args.detach,
        ..Wiring::default()
    })
}

fn body_of(context: &Context, args: &ExecArgs, command: &[String], wiring: &Wiring) -> ExecCreate {
    ExecCreate {
        attach_stdin: wiring.input,
        attach_stdout: !args.detach,
        attach_stderr: !args.detach,
        tty: wiring.terminal,
        console_size: console_size(wiring.terminal),
        env: variables(&context.environment, &args.env),
        cmd: command.to_vec(),
        privileged: args.privileged,
        user: args.user.clone().unwrap_or_default(),
        working_dir: args.workdir.clone().unwrap_or_default(),
        ..ExecCreate::default()
    }
}

/// Opens `/bin/sh` in a container, with our terminal.
///
/// # Errors
/// It cannot be started; its own exit code is none.
pub(crate) async fn shell<E: Engine>(
    context: &Context,
    engine: &E,
    container: &str,
) -> Result<(), Failure> {
    let wiring = Wiring {
        terminal: io::stdin().is_terminal(),
        input: true,
        ..Wiring::default()
    };
    let body = ExecCreate {
        attach_stdin: true,
        attach_stdout: true,
        attach_stderr: true,
        tty: wiring.terminal,
        console_size: console_size(wiring.terminal),
        cmd: vec!["/bin/sh".to_owned()],
        ..ExecCreate::default()
    };
    let exec = engine.exec_create(container, &body).await?;
    session(context, engine, &exec.id, &wiring).await.map(drop)
}

/// Starts the prepared command, connects it with our streams, and waits for its end.
///
/// # Errors
/// It cannot be started, or the engine was lost.
pub(crate) async fn session<E: Engine>(
    context: &Context,
    engine: &E,
    exec: &str,
    wiring: &Wiring,
) -> Result<i64, Failure> {
    let start = ExecStart {
        detach: false,
        tty: wiring.terminal,
        console_size: console_size(wiring.terminal),
    };
    let attached = engine.exec_start(exec, &start).await.map_err(not_started)?;
    let resize = async |size| {
        // A command that has just ended has no terminal.
        let _ = engine.exec_resize(exec, size).await;
    };
    if wiring.join(context, attached, resize).await? == Parted::Detached {
        return left(context);
    }
    let inspect = engine.exec_inspect(exec).await?;
    inspect.exit_code.ok_or_else(|| {
        Failure::new("the command's exit code is not known: the engine was restarted while it ran")
    })
}
