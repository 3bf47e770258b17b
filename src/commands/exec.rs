//! `hoist exec`: run a command in a running container.

use std::io::{self, IsTerminal, Read};

use clap::Args;
use futures_util::StreamExt;
use hoist_api::engine::{FrameStream, TerminalSize};
use hoist_api::exec::{ExecCreate, ExecStart};
use hoist_api::frame::Stream;
use hoist_api::{ApiError, Engine};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver};

use crate::connect;
use crate::context::Context;
use crate::failure::{FAILED, Failure};
use crate::members;
use crate::ui::terminal::{self, RawMode};

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
    let member = match members::of_services(&engine, &target, &services).await {
        Ok(found) => members::pick(found, service, args.index)?,
        // Without files a service without containers is unknown; what the user needs to know is this.
        Err(_) if target.project.is_none() => return Err(members::not_running(service)),
        Err(failure) => return Err(failure),
    };
    if !member.is_running() {
        return Err(members::not_running(service));
    }
    let streams = Streams::decide(&args)?;
    let created = engine
        .exec_create(
            &member.summary.id,
            &body_of(context, &args, command, streams),
        )
        .await?;
    if args.detach {
        return Ok(engine.exec_start_detached(&created.id).await?);
    }
    let code = session(context, &engine, &created.id, streams).await?;
    if code == 0 {
        Ok(())
    } else {
        Err(Failure::exit(exit_code(code)))
    }
}

/// A command that cannot be started leaves what a shell would.
fn not_started(error: ApiError) -> Failure {
    let code = match error.message.as_str() {
        m if m.contains("working directory") => 126,
        m if m.contains("not found") || m.contains("no such file") => 127,
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

fn exit_code(code: i64) -> u8 {
    u8::try_from(code).unwrap_or(FAILED)
}

/// Which of our streams the command gets.
#[derive(Debug, Clone, Copy)]
struct Streams {
    terminal: bool,
    input: bool,
}

impl Streams {
    /// A terminal when standard input and output are one, unless -T says no.
    fn decide(args: &ExecArgs) -> Result<Streams, Failure> {
        let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        if args.tty
            && !args.no_tty
            && !args.detach
            && args.interactive
            && !io::stdin().is_terminal()
        {
            return Err(
                Failure::new("cannot give the command a terminal: standard input is none")
                    .hint("leave out -t, or add -T"),
            );
        }
        let terminal = !args.no_tty && (args.tty || is_terminal) && !args.detach;
        Ok(Streams {
            terminal,
            input: args.interactive && !args.detach,
        })
    }
}

fn body_of(context: &Context, args: &ExecArgs, command: &[String], streams: Streams) -> ExecCreate {
    // A variable without a value has ours.
    let resolve = |text: &String| match (text.contains('='), context.environment.get(text)) {
        (true, _) => Some(text.clone()),
        (false, Some(value)) => Some(format!("{text}={value}")),
        (false, None) => None,
    };
    ExecCreate {
        attach_stdin: streams.input,
        attach_stdout: !args.detach,
        attach_stderr: !args.detach,
        tty: streams.terminal,
        console_size: console_size(streams),
        env: args.env.iter().filter_map(resolve).collect(),
        cmd: command.to_vec(),
        privileged: args.privileged,
        user: args.user.clone().unwrap_or_default(),
        working_dir: args.workdir.clone().unwrap_or_default(),
        ..ExecCreate::default()
    }
}

fn console_size(streams: Streams) -> Option<[u32; 2]> {
    let size = terminal::size().filter(|_| streams.terminal)?;
    Some([size.rows.into(), size.columns.into()])
}

/// Starts the prepared command, connects it with our streams, and waits for its end.
async fn session<E: Engine>(
    context: &Context,
    engine: &E,
    exec: &str,
    streams: Streams,
) -> Result<i64, Failure> {
    let start = ExecStart {
        detach: false,
        tty: streams.terminal,
        console_size: console_size(streams),
    };
    let attached = engine.exec_start(exec, &start).await.map_err(not_started)?;
    let raw = if streams.terminal && streams.input {
        RawMode::enter().ok()
    } else {
        None
    };
    let input = if streams.input {
        Some(read_stdin())
    } else {
        None
    };
    let outcome = tokio::select! {
        outcome = print_output(context, attached.output) => outcome,
        outcome = send_input(attached.input, input) => match outcome {},
        () = follow_size(engine, exec, streams) => Ok(()),
    };
    drop(raw);
    outcome?;
    let inspect = engine.exec_inspect(exec).await?;
    inspect.exit_code.ok_or_else(|| {
        Failure::new("the command's exit code is not known: the engine was restarted while it ran")
    })
}

async fn print_output(context: &Context, mut output: FrameStream) -> Result<(), Failure> {
    while let Some(frame) = output.next().await {
        let frame = frame?;
        match frame.stream {
            Stream::Stderr => context.ui.error_bytes(&frame.data)?,
            Stream::Stdin | Stream::Stdout => context.ui.bytes(&frame.data)?,
        }
    }
    Ok(())
}

/// Sends what is read, closes the command's input at the end; never ends by itself.
async fn send_input(
    mut input: std::pin::Pin<Box<dyn AsyncWrite + Send>>,
    source: Option<Receiver<Vec<u8>>>,
) -> std::convert::Infallible {
    if let Some(mut source) = source {
        while let Some(bytes) = source.recv().await {
            // A command that has closed its input goes on.
            if input.write_all(&bytes).await.is_err() || input.flush().await.is_err() {
                break;
            }
        }
        let _ = input.shutdown().await;
    }
    std::future::pending().await
}

/// Reads standard input on a thread of its own, which nobody waits for: a read of a terminal cannot be given up.
fn read_stdin() -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match io::stdin().lock().read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                        break;
                    }
                }
            }
        }
    });
    receiver
}

/// Gives the command's terminal the size of ours, now and whenever it changes; never ends by itself.
async fn follow_size<E: Engine>(engine: &E, exec: &str, streams: Streams) {
    let changes = signal(SignalKind::window_change());
    let (true, Ok(mut changes)) = (streams.terminal, changes) else {
        return std::future::pending().await;
    };
    loop {
        if let Some(size) = terminal::size() {
            let size = TerminalSize {
                height: size.rows,
                width: size.columns,
            };
            // A command that has just ended has no terminal.
            let _ = engine.exec_resize(exec, size).await;
        }
        changes.recv().await;
    }
}
