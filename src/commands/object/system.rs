//! `hoist system`, and `inspect` at the top: the engine as a whole, and objects of any kind.

use clap::{Args, Subcommand};
use futures_util::StreamExt;
use hoist_api::build::BuildPrune;
use hoist_api::client::Client;
use hoist_api::event::{Event, EventsOptions};
use hoist_api::{Engine, ErrorKind, Filters};
use jiff::Timestamp;
use tokio::io::AsyncWriteExt;

use super::container::state::{PruneArgs, agreed};
use super::facts::{self, InfoArgs};
use super::filters;
use super::usage::size;
use crate::connect;
use crate::context::Context;
use crate::failure::{Failure, INTERRUPTED, Voice};
use crate::signals;
use crate::template::Template;
use crate::when;

/// What can be done with the engine as a whole.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum SystemVerb {
    Df(super::usage::DfArgs),
    Events(SystemEventsArgs),
    Info(InfoArgs),
    Prune(SystemPruneArgs),
    /// Show the versions of hoist and of the engine
    Version(InfoArgs),
    /// Join standard input and output with the engine's socket
    #[command(hide = true)]
    DialStdio,
}

/// Show what happens at the engine, as it happens
#[derive(Args, Debug, Clone)]
pub(crate) struct SystemEventsArgs {
    /// Only events of which this holds (type=container, event=start, …); repeatable
    #[arg(short, long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,

    /// json, or a Go template for each
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Also what has happened since a time, or for so long back (42m)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,

    /// Only what happens before a time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

/// Remove what is not used: containers, networks, images, with --volumes volumes, too
#[derive(Args, Debug, Clone)]
pub(crate) struct SystemPruneArgs {
    /// Also images with a name that no container uses
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Also anonymous volumes
    #[arg(long)]
    pub(crate) volumes: bool,

    #[command(flatten)]
    pub(crate) prune: PruneArgs,
}

/// Print what the engine knows of objects of any kind, as JSON
#[derive(Args, Debug, Clone)]
pub(crate) struct AnyInspectArgs {
    /// Names or ids
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,

    /// json, or a Go template for each
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Only objects of this kind
    #[arg(long = "type", value_name = "KIND", value_parser = ["container", "image", "network", "volume"])]
    pub(crate) kind: Option<String>,

    /// Also sizes of containers, which takes longer
    #[arg(short, long)]
    pub(crate) size: bool,
}

/// Carries out a `system` command.
///
/// # Errors
/// What the engine says.
pub(crate) async fn run(context: &Context, verb: SystemVerb) -> Result<(), Failure> {
    match verb {
        SystemVerb::Df(args) => super::usage::df(context, args).await,
        SystemVerb::Events(args) => events(context, args).await,
        SystemVerb::Info(args) => facts::info(context, args).await,
        SystemVerb::Prune(args) => prune(context, args).await,
        SystemVerb::Version(args) => facts::version(context, args).await,
        SystemVerb::DialStdio => dial(context).await,
    }
}

/// Prints what is known of objects of any kind: containers before images, networks, volumes.
///
/// # Errors
/// There is none of a name, or the template is wrong.
pub(crate) async fn inspect(context: &Context, args: AnyInspectArgs) -> Result<(), Failure> {
    let engine = connect::engine(context).await?;
    let kinds: Vec<&str> = match args.kind.as_deref() {
        Some(kind) => vec![kind],
        None => vec!["container", "image", "network", "volume"],
    };
    super::inspect(
        context,
        (&args.names, args.format.as_deref()),
        async |name: &str| {
            for kind in &kinds {
                let found = match *kind {
                    "container" => engine.container_inspect_raw(name, args.size).await,
                    kind => engine.inspect_raw(&format!("{kind}s"), name).await,
                };
                match found {
                    Err(error) if error.is(ErrorKind::NotFound) => {}
                    // What is no name of an image may be one of something else.
                    Err(error) if *kind == "image" && error.is(ErrorKind::BadRequest) => {}
                    outcome => return Ok(outcome?),
                }
            }
            let what = args.kind.as_deref().unwrap_or("object");
            let failure = Failure::new(format!("No such {what}: {name}"));
            // What one kind was asked for is the engine's answer.
            Err(match args.kind {
                Some(_) => failure.said_by(Voice::Engine),
                None => failure.said_by(Voice::Inspect),
            })
        },
    )
    .await
}

async fn events(context: &Context, args: SystemEventsArgs) -> Result<(), Failure> {
    let template = match args.format.as_deref().map(str::trim) {
        None | Some("" | "json") => None,
        Some(text) => Some(Template::parse(text)?),
    };
    let json_lines = args.format.as_deref() == Some("json");
    let options = EventsOptions {
        since: when::optional(args.since.as_deref(), "--since")?,
        until: when::optional(args.until.as_deref(), "--until")?,
        filters: filters(&args.filter)?,
    };
    let engine = connect::engine(context).await?;
    let mut events = engine.events(&options).await?;
    let following = async {
        while let Some(event) = events.next().await {
            let event = event?;
            let line = match &template {
                Some(template) => template.render(&serde_json::to_value(&event)?)?,
                None if json_lines => serde_json::to_string(&event)?,
                None => line_of(&event),
            };
            context.ui.line(&line)?;
        }
        Ok(())
    };
    tokio::select! {
        outcome = following => outcome,
        () = signals::interrupted() => Err(Failure::exit(INTERRUPTED)),
    }
}

/// `2026-01-02T13:23:37.000000000Z container start ID (image=x, name=y)`.
fn line_of(event: &Event) -> String {
    let time = Timestamp::from_nanosecond(event.time_nano.into()).unwrap_or_default();
    let attributes = event.actor.attributes.iter();
    let texts: Vec<String> = attributes
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!(
        "{} {} {} {} ({})",
        time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ"),
        event.kind,
        event.action,
        event.actor.id,
        texts.join(", ")
    )
}

async fn prune(context: &Context, args: SystemPruneArgs) -> Result<(), Failure> {
    let mut what = vec![
        "all stopped containers",
        "all networks not used by at least one container",
    ];
    what.extend(
        args.volumes
            .then_some("all anonymous volumes not used by at least one container"),
    );
    what.push(match args.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    });
    what.extend(args.prune.filter.is_empty().then_some("all build cache"));
    let warning = format!("This will remove:\n  - {}\n", what.join("\n  - "));
    if !args.prune.force && !agreed(context, &warning).await? {
        return Ok(());
    }
    let engine = connect::engine(context).await?;
    let filters = filters(&args.prune.filter)?;
    let freed = prune_all(context, &engine, &args, &filters).await?;
    context
        .ui
        .line(&format!("Total reclaimed space: {}", size(freed)))
}

async fn prune_all(
    context: &Context,
    engine: &Client,
    args: &SystemPruneArgs,
    filters: &Filters,
) -> Result<i64, Failure> {
    let told = |title: &str, names: &[String]| {
        super::container::state::print_pruned(context, (title, names), None)
    };
    let containers = engine.containers_prune(filters).await?;
    told("Deleted Containers:", &containers.containers_deleted)?;
    let mut freed = containers.space_reclaimed;
    let networks = engine.networks_prune(filters).await?;
    told("Deleted Networks:", &networks.networks_deleted)?;
    if args.volumes {
        let volumes = engine.volumes_prune(filters).await?;
        told("Deleted Volumes:", &volumes.volumes_deleted)?;
        freed += volumes.space_reclaimed;
    }
    let dangling = if args.all { "false" } else { "true" };
    let images = engine
        .images_prune(&filters.clone().with("dangling", dangling))
        .await?;
    let names: Vec<String> = images
        .images_deleted
        .iter()
        .map(|image| match image.untagged.is_empty() {
            true => format!("deleted: {}", image.deleted),
            false => format!("untagged: {}", image.untagged),
        })
        .collect();
    told("Deleted Images:", &names)?;
    freed += images.space_reclaimed;
    // Its records have neither labels nor a time of their making.
    if args.prune.filter.is_empty() {
        let options = BuildPrune {
            all: args.all,
            ..BuildPrune::default()
        };
        let builds = engine.build_prune(&options).await?;
        told("Deleted build cache objects:", &builds.caches_deleted)?;
        freed += builds.space_reclaimed;
    }
    Ok(freed)
}

/// What runs at this end of somebody's `ssh`.
async fn dial(context: &Context) -> Result<(), Failure> {
    let connection = connect::engine(context).await?.dial().await?;
    let (mut from, mut to) = tokio::io::split(connection);
    let (mut input, mut output) = (tokio::io::stdin(), tokio::io::stdout());
    let sending = async {
        tokio::io::copy(&mut input, &mut to).await?;
        to.shutdown().await?;
        // The answer may still come.
        std::future::pending::<std::io::Result<()>>().await
    };
    let receiving = async {
        tokio::io::copy(&mut from, &mut output).await?;
        output.flush().await
    };
    tokio::select! {
        outcome = sending => outcome?,
        outcome = receiving => outcome?,
    }
    Ok(())
}
