//! `hoist container`: containers by name or id, of any project or of none.

use clap::{Args, Subcommand};
use futures_util::StreamExt;
use hoist_api::container::{ListContainers, LogsOptions, RemoveContainer, WaitCondition};
use hoist_api::engine::StopOptions;
use hoist_api::frame::Stream;
use hoist_api::{Engine, ErrorKind};

use super::image::InspectArgs;
use super::{each, filters, inspect};
use crate::commands::ps::Row;
use crate::commands::values::ListFormat;
use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::ui::table::Table;
use crate::when;

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
    #[arg(short, long, value_name = "FILTER")]
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
    #[arg(
        short,
        long,
        alias = "time",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
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

/// Carries out a `container` command.
///
/// # Errors
/// What the engine says.
pub(crate) async fn run(context: &Context, verb: ContainerVerb) -> Result<(), Failure> {
    let engine = connect::engine(context).await?;
    match verb {
        ContainerVerb::Inspect(args) => {
            inspect(context, &args.names, async |name: &str| {
                engine.container_inspect(name).await
            })
            .await
        }
        ContainerVerb::Ls(args) => list(context, &engine, args).await,
        ContainerVerb::Logs(args) => logs(context, &engine, args).await,
        ContainerVerb::Wait(args) => {
            each(context, &args.names, async |name: &str| {
                let end = engine
                    .container_wait(name, WaitCondition::NotRunning)
                    .await?;
                context.ui.line(&end.status_code.to_string())
            })
            .await
        }
        other => change(context, &engine, other).await,
    }
}

/// The commands that change each named container and then print its name.
async fn change<E: Engine>(
    context: &Context,
    engine: &E,
    verb: ContainerVerb,
) -> Result<(), Failure> {
    let names = names_of(&verb).to_vec();
    each(context, &names, async |name: &str| {
        done_or_nothing_to_do(change_one(engine, &verb, name).await)?;
        context.ui.line(name)
    })
    .await
}

fn names_of(verb: &ContainerVerb) -> &[String] {
    match verb {
        ContainerVerb::Rm(args) => &args.names,
        ContainerVerb::Start(args) | ContainerVerb::Pause(args) | ContainerVerb::Unpause(args) => {
            &args.names
        }
        ContainerVerb::Stop(args) | ContainerVerb::Restart(args) => &args.names,
        ContainerVerb::Kill(args) => &args.names,
        ContainerVerb::Inspect(args) => &args.names,
        ContainerVerb::Wait(args) => &args.names,
        ContainerVerb::Ls(_) | ContainerVerb::Logs(_) => &[],
    }
}

async fn change_one<E: Engine>(
    engine: &E,
    verb: &ContainerVerb,
    name: &str,
) -> hoist_api::Result<()> {
    let stop = |timeout| StopOptions {
        timeout,
        signal: None,
    };
    match verb {
        ContainerVerb::Rm(args) => {
            engine
                .container_remove(
                    name,
                    RemoveContainer {
                        force: args.force,
                        volumes: args.volumes,
                    },
                )
                .await
        }
        ContainerVerb::Start(_) => engine.container_start(name).await,
        ContainerVerb::Stop(args) => engine.container_stop(name, &stop(args.timeout)).await,
        ContainerVerb::Restart(args) => engine.container_restart(name, &stop(args.timeout)).await,
        ContainerVerb::Kill(args) => engine.container_kill(name, &args.signal).await,
        ContainerVerb::Pause(_) => engine.container_pause(name).await,
        ContainerVerb::Unpause(_) => engine.container_unpause(name).await,
        ContainerVerb::Inspect(_)
        | ContainerVerb::Ls(_)
        | ContainerVerb::Logs(_)
        | ContainerVerb::Wait(_) => Ok(()),
    }
}

/// Already started or already stopped is as good as done.
pub(crate) fn done_or_nothing_to_do(outcome: hoist_api::Result<()>) -> hoist_api::Result<()> {
    match outcome {
        Err(error) if error.is(ErrorKind::NotModified) => Ok(()),
        other => other,
    }
}

async fn list<E: Engine>(
    context: &Context,
    engine: &E,
    args: ContainerLsArgs,
) -> Result<(), Failure> {
    let filters = filters(&args.filter)?;
    let all = args.all || !filters.get("status").is_empty();
    let options = ListContainers {
        all,
        filters,
        ..ListContainers::default()
    };
    let containers = engine.containers(&options).await?;
    let rows = containers
        .iter()
        .map(|summary| Row::of(summary, args.no_trunc));
    if args.quiet {
        return rows
            .into_iter()
            .try_for_each(|row| context.ui.line(&row.id));
    }
    if args.format == ListFormat::Json {
        return rows
            .into_iter()
            .try_for_each(|row| context.ui.line(&row.json().to_string()));
    }
    let mut table = Table::new(&[
        "CONTAINER ID",
        "IMAGE",
        "COMMAND",
        "CREATED",
        "STATUS",
        "PORTS",
        "NAMES",
    ]);
    for row in rows {
        table.row(vec![
            row.id,
            row.image,
            row.command,
            row.running_for,
            row.status,
            row.ports,
            row.name,
        ]);
    }
    context.ui.line(&table.render())
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
