//! `hoist container`: containers by name or id, of any project or of none.

pub(crate) mod body;
mod exec;
pub(crate) mod files;
mod flags;
pub(crate) mod list;
pub(crate) mod mount;
pub(crate) mod run;
pub(crate) mod state;

use clap::{Args, Subcommand};
use futures_util::StreamExt;
use hoist_api::client::Client;
use hoist_api::container::{LogsOptions, RemoveContainer, WaitCondition};
use hoist_api::engine::StopOptions;
use hoist_api::frame::Stream;
use hoist_api::{Engine, ErrorKind};

use super::each;
use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::streams::DetachKeys;
use crate::when;

/// What can be done with containers.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum ContainerVerb {
    Run(Box<run::ContainerRunArgs>),
    Create(Box<run::ContainerCreateArgs>),
    /// Start containers
    Start(ContainerStartArgs),
    /// Stop containers
    Stop(ContainerStopArgs),
    /// Restart containers
    Restart(ContainerStopArgs),
    /// Kill containers, or send them another signal
    Kill(ContainerKillArgs),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(ContainerRmArgs),
    #[command(visible_aliases = ["list", "ps"])]
    Ls(list::ContainerLsArgs),
    /// Print what the engine knows of containers, as JSON
    Inspect(ContainerInspectArgs),
    /// Show what a container has written
    Logs(ContainerLogsArgs),
    Exec(exec::ContainerExecArgs),
    Attach(run::ContainerAttachArgs),
    Cp(files::ContainerCpArgs),
    Diff(files::ContainerDiffArgs),
    Export(files::ContainerExportArgs),
    Commit(files::ContainerCommitArgs),
    /// Freeze containers
    Pause(NamesArgs),
    /// Let frozen containers go on
    Unpause(NamesArgs),
    /// Wait until containers end, print their exit codes
    Wait(NamesArgs),
    Port(state::ContainerPortArgs),
    Rename(state::ContainerRenameArgs),
    Stats(state::ContainerStatsArgs),
    Top(state::ContainerTopArgs),
    Update(state::ContainerUpdateArgs),
    Prune(state::PruneArgs),
}

/// `container inspect`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerInspectArgs {
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) names: Vec<String>,

    /// json, or a Go template for each
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Also sizes, which takes longer
    #[arg(short, long)]
    pub(crate) size: bool,
}

/// `container start`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerStartArgs {
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) names: Vec<String>,

    /// Join our streams with it and leave with its exit code
    #[arg(short, long)]
    pub(crate) attach: bool,

    /// Send it our input
    #[arg(short, long)]
    pub(crate) interactive: bool,

    /// Keys that leave it running and come back
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<DetachKeys>,
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
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value = "all",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
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

    /// Has no effect: the log's driver gives no details
    #[arg(long, hide = true)]
    pub(crate) details: bool,
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

    /// Remove a legacy link: not supported
    #[arg(short, long, hide = true)]
    pub(crate) link: bool,
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
    #[arg(
        short,
        long,
        alias = "time",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub(crate) timeout: Option<i64>,

    /// Signal that asks them to stop (default: their own)
    #[arg(short, long, value_name = "SIGNAL")]
    pub(crate) signal: Option<String>,
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

/// Carries out a `container` command.
///
/// # Errors
/// What the engine says.
pub(crate) async fn run(context: &Context, verb: ContainerVerb) -> Result<(), Failure> {
    let engine = &connect::engine(context).await?;
    match verb {
        ContainerVerb::Run(args) => run::run(context, engine, *args).await,
        ContainerVerb::Create(args) => run::create(context, engine, *args).await,
        ContainerVerb::Start(args) if args.attach || args.interactive => {
            start_attached(context, engine, args).await
        }
        ContainerVerb::Exec(args) => exec::run(context, engine, args).await,
        ContainerVerb::Attach(args) => run::attach_running(context, engine, &args).await,
        ContainerVerb::Cp(args) => files::copy(context, engine, args).await,
        ContainerVerb::Diff(args) => files::diff(context, engine, args).await,
        ContainerVerb::Export(args) => files::export(context, engine, args).await,
        ContainerVerb::Commit(args) => files::commit(context, engine, args).await,
        ContainerVerb::Ls(args) => list::list(context, engine, args).await,
        ContainerVerb::Logs(args) => logs(context, engine, args).await,
        ContainerVerb::Port(args) => state::port(context, engine, args).await,
        ContainerVerb::Stats(args) => state::stats(context, engine, args).await,
        ContainerVerb::Top(args) => state::top(context, engine, args).await,
        ContainerVerb::Update(args) => state::update(context, engine, args).await,
        ContainerVerb::Prune(args) => state::prune(context, engine, args).await,
        ContainerVerb::Rename(args) => {
            Ok(engine.container_rename(&args.name, &args.new_name).await?)
        }
        ContainerVerb::Inspect(args) => {
            super::inspect(
                context,
                (&args.names, args.format.as_deref()),
                async |name: &str| Ok(engine.container_inspect_raw(name, args.size).await?),
            )
            .await
        }
        ContainerVerb::Wait(args) => {
            each(context, &args.names, async |name: &str| {
                let end = engine
                    .container_wait(name, WaitCondition::NotRunning)
                    .await?;
                context.ui.line(&end.status_code.to_string())
            })
            .await
        }
        ContainerVerb::Start(_)
        | ContainerVerb::Stop(_)
        | ContainerVerb::Restart(_)
        | ContainerVerb::Kill(_)
        | ContainerVerb::Rm(_)
        | ContainerVerb::Pause(_)
        | ContainerVerb::Unpause(_) => change(context, engine, verb).await,
    }
}

/// `start -a` and `-i`: one container, followed.
async fn start_attached(
    context: &Context,
    engine: &Client,
    args: ContainerStartArgs,
) -> Result<(), Failure> {
    let [name] = args.names.as_slice() else {
        return Err(Failure::new(
            "you cannot start and attach multiple containers at once",
        ));
    };
    let found = engine.container_inspect(name).await?;
    let terminal = found.config.tty;
    let following = run::Following {
        wiring: crate::streams::Wiring {
            terminal,
            input: args.interactive && found.config.open_stdin,
            keys: args.detach_keys.unwrap_or_default(),
            silent: false,
        },
        output: (true, true),
        signals: true,
        removed: found.host_config.auto_remove,
    };
    run::follow(context, engine, &found.id, &following).await
}

/// The commands that change each named container and then print its name.
async fn change(context: &Context, engine: &Client, verb: ContainerVerb) -> Result<(), Failure> {
    let names = names_of(&verb).to_vec();
    let is_forced = matches!(&verb, ContainerVerb::Rm(args) if args.force);
    each(context, &names, async |name: &str| {
        match done_or_nothing_to_do(change_one(engine, &verb, name).await) {
            // As with `docker rm -f`: what is not there is told, and no failure.
            Err(error) if is_forced && error.is(ErrorKind::NotFound) => {
                if let Some(report) = &Failure::from(error).report {
                    context.ui.report(report);
                }
                Ok(())
            }
            outcome => {
                outcome?;
                context.ui.line(name)
            }
        }
    })
    .await
}

fn names_of(verb: &ContainerVerb) -> &[String] {
    match verb {
        ContainerVerb::Rm(args) => &args.names,
        ContainerVerb::Start(args) => &args.names,
        ContainerVerb::Pause(args) | ContainerVerb::Unpause(args) => &args.names,
        ContainerVerb::Stop(args) | ContainerVerb::Restart(args) => &args.names,
        ContainerVerb::Kill(args) => &args.names,
        _ => &[],
    }
}

async fn change_one(engine: &Client, verb: &ContainerVerb, name: &str) -> hoist_api::Result<()> {
    let stop = |args: &ContainerStopArgs| StopOptions {
        timeout: args.timeout,
        signal: args.signal.clone(),
    };
    match verb {
        ContainerVerb::Rm(args) => {
            let options = RemoveContainer {
                force: args.force,
                volumes: args.volumes,
            };
            engine.container_remove(name, options).await
        }
        ContainerVerb::Start(_) => engine.container_start(name).await,
        ContainerVerb::Stop(args) => engine.container_stop(name, &stop(args)).await,
        ContainerVerb::Restart(args) => engine.container_restart(name, &stop(args)).await,
        ContainerVerb::Kill(args) => engine.container_kill(name, &args.signal).await,
        ContainerVerb::Pause(_) => engine.container_pause(name).await,
        ContainerVerb::Unpause(_) => engine.container_unpause(name).await,
        _ => Ok(()),
    }
}

/// Already started or already stopped is as good as done.
pub(crate) fn done_or_nothing_to_do(outcome: hoist_api::Result<()>) -> hoist_api::Result<()> {
    match outcome {
        Err(error) if error.is(ErrorKind::NotModified) => Ok(()),
        other => other,
    }
}

async fn logs<E: Engine>(
    context: &Context,
    engine: &E,
    args: ContainerLogsArgs,
) -> Result<(), Failure> {
    let options = LogsOptions {
        follow: args.follow,
        timestamps: args.timestamps,
        tail: when::tail(&args.tail)?,
        since: when::optional(args.since.as_deref(), "--since")?,
        until: when::optional(args.until.as_deref(), "--until")?,
        ..LogsOptions::default()
    };
    let mut frames = engine.container_logs(&args.name, &options).await?;
    while let Some(frame) = frames.next().await {
        let frame = frame?;
        match frame.stream {
            Stream::Stderr => context.ui.error_bytes(&frame.data)?,
            Stream::Stdin | Stream::Stdout => context.ui.bytes(&frame.data)?,
        }
    }
    Ok(())
}
