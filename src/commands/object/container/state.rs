//! `container stats`, `top`, `port`, `prune`, `rename`, `update`: what containers are like, and small changes of it.

use clap::Args;
use hoist_api::Engine;
use hoist_api::client::Client;
use hoist_api::container::ListContainers;
use hoist_compose::model::ByteSize;
use serde_json::{Map, Value};

use super::body::{billionths, restart};
use crate::commands::object::{each, filters};
use crate::context::Context;
use crate::failure::{Failure, Voice};
use crate::listing::Format;
use crate::members::container_name;
use crate::ports;
use crate::ui::human;
use crate::ui::table::Table;
use crate::usage::{self, StatsView};

/// Show what containers use, again each second
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerStatsArgs {
    /// Containers (default: those that run)
    #[arg(value_name = "CONTAINER")]
    pub(crate) names: Vec<String>,

    /// Also containers that do not run
    #[arg(short, long)]
    pub(crate) all: bool,

    /// table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Only once
    #[arg(long)]
    pub(crate) no_stream: bool,

    /// Do not shorten ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

/// Show the processes of a container
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerTopArgs {
    /// The container, then arguments of ps
    #[arg(value_names = ["CONTAINER", "PS_ARGS"], num_args = 1.., required = true, trailing_var_arg = true)]
    pub(crate) words: Vec<String>,
}

/// List the published ports of a container
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerPortArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) name: String,

    /// Only this port of the container
    #[arg(value_name = "PORT[/PROTOCOL]")]
    pub(crate) port: Option<String>,
}

/// Remove all containers that do not run
#[derive(Args, Debug, Clone)]
pub(crate) struct PruneArgs {
    /// Only those of which this holds (until=TIME, label=KEY[=VALUE]); repeatable
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// Give a container another name
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerRenameArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) name: String,

    /// Its new name
    #[arg(value_name = "NEW_NAME")]
    pub(crate) new_name: String,
}

/// Change limits and restart policies of containers
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerUpdateArgs {
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) names: Vec<String>,
    /// Weight of block input and output, 10 to 1000
    #[arg(long, value_name = "N")]
    pub(crate) blkio_weight: Option<u16>,
    /// Microseconds of a scheduling period
    #[arg(long, value_name = "N")]
    pub(crate) cpu_period: Option<i64>,
    /// Microseconds of processor time in a period
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) cpu_quota: Option<i64>,
    /// Microseconds of a real-time period
    #[arg(long, value_name = "N")]
    pub(crate) cpu_rt_period: Option<i64>,
    /// Microseconds of real-time in a period
    #[arg(long, value_name = "N")]
    pub(crate) cpu_rt_runtime: Option<i64>,
    /// Relative weight for processor time
    #[arg(short, long, value_name = "N")]
    pub(crate) cpu_shares: Option<i64>,
    /// Processors
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<f64>,
    /// Processors that they may use, as 0-2,4
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes that they may use
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,
    /// Most memory
    #[arg(short, long, value_name = "BYTES")]
    pub(crate) memory: Option<ByteSize>,
    /// Memory that they keep when memory is short
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory_reservation: Option<ByteSize>,
    /// Most memory and swap together, -1 for no limit
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub(crate) memory_swap: Option<ByteSize>,
    /// Most processes, -1 for no limit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) pids_limit: Option<i64>,
    /// When the engine starts them again
    #[arg(long, value_name = "POLICY")]
    pub(crate) restart: Option<String>,
}

pub(super) async fn stats(
    context: &Context,
    engine: &Client,
    args: ContainerStatsArgs,
) -> Result<(), Failure> {
    let view = StatsView {
        format: Format::read(args.format.as_deref())?,
        once: args.no_stream,
        whole: args.no_trunc,
        by_name: !args.names.is_empty(),
    };
    let mut containers = Vec::new();
    if args.names.is_empty() {
        let options = ListContainers {
            all: args.all,
            ..ListContainers::default()
        };
        for summary in engine.containers(&options).await? {
            containers.push((summary.id.clone(), container_name(&summary).to_owned()));
        }
    }
    for name in &args.names {
        let found = engine.container_inspect(name).await?;
        containers.push((found.id, found.name.trim_start_matches('/').to_owned()));
    }
    usage::show(context, engine, &containers, &view).await
}

pub(super) async fn top(
    context: &Context,
    engine: &Client,
    args: ContainerTopArgs,
) -> Result<(), Failure> {
    let Some((name, ps)) = args.words.split_first() else {
        return Err(Failure::new("name a container"));
    };
    let top = engine.container_top_with(name, &ps.join(" ")).await?;
    let mut table = Table::wide(&top.titles.iter().map(String::as_str).collect::<Vec<_>>());
    top.processes.into_iter().for_each(|row| table.row(row));
    context.ui.line(&table.render())
}

pub(super) async fn port(
    context: &Context,
    engine: &Client,
    args: ContainerPortArgs,
) -> Result<(), Failure> {
    let found = engine
        .container_inspect(&args.name)
        .await?
        .network_settings
        .ports;
    let wanted = args.port.as_ref().map(|port| match port.contains('/') {
        true => port.clone(),
        false => format!("{port}/tcp"),
    });
    let mut lines = Vec::new();
    for (port, bindings) in &found {
        if wanted.as_ref().is_some_and(|wanted| wanted != port) {
            continue;
        }
        for binding in bindings.iter().flatten() {
            let address = format!("{}:{}", ports::host(&binding.host_ip), binding.host_port);
            lines.push(match wanted {
                Some(_) => address,
                None => format!("{port} -> {address}"),
            });
        }
    }
    match wanted {
        Some(port) if lines.is_empty() => Err(Failure::new(format!(
            "No public port '{}' published for {}",
            args.port.as_deref().unwrap_or(&port),
            args.name
        ))
        .said_by(Voice::Inspect)),
        _ => lines.iter().try_for_each(|line| context.ui.line(line)),
    }
}

pub(super) async fn prune(
    context: &Context,
    engine: &Client,
    args: PruneArgs,
) -> Result<(), Failure> {
    let filters = filters(&args.filter)?;
    let warning = "This will remove all stopped containers.";
    if !args.force && !agreed(context, warning).await? {
        return Ok(());
    }
    let pruned = engine.containers_prune(&filters).await?;
    print_pruned(
        context,
        ("Deleted Containers:", &pruned.containers_deleted),
        Some(pruned.space_reclaimed),
    )
}

/// Asks before something is removed for good.
///
/// # Errors
/// Standard input cannot be read.
pub(crate) async fn agreed(context: &Context, warning: &str) -> Result<bool, Failure> {
    let ui = context.ui.clone();
    let question = format!("WARNING! {warning}\nAre you sure you want to continue?");
    let (sender, answer) = tokio::sync::oneshot::channel();
    // Nobody can take a read back: when Ctrl-C says no, the thread ends with the process.
    std::thread::spawn(move || drop(sender.send(ui.confirm(&question))));
    tokio::select! {
        answer = answer => answer.unwrap_or(Ok(false)),
        () = crate::signals::interrupted() => {
            context.ui.note("");
            Ok(false)
        }
    }
}

/// Prints what a `prune` removed.
///
/// # Errors
/// The output cannot be written.
pub(crate) fn print_pruned(
    context: &Context,
    (title, names): (&str, &[String]),
    space: Option<i64>,
) -> Result<(), Failure> {
    if !names.is_empty() {
        context.ui.line(title)?;
        names.iter().try_for_each(|name| context.ui.line(name))?;
        context.ui.line("")?;
    }
    match space.map(|space| u64::try_from(space).unwrap_or(0)) {
        Some(space) => context
            .ui
            .line(&format!("Total reclaimed space: {}", human::size(space))),
        None => Ok(()),
    }
}

pub(super) async fn update(
    context: &Context,
    engine: &Client,
    args: ContainerUpdateArgs,
) -> Result<(), Failure> {
    let body = changes(&args)?;
    each(context, &args.names, async |name: &str| {
        let updated = engine.container_update(name, &body).await?;
        updated
            .warnings
            .iter()
            .for_each(|warning| context.ui.warn(warning));
        context.ui.line(name)
    })
    .await
}

/// Only what was given: an absent field is left as it is.
fn changes(args: &ContainerUpdateArgs) -> Result<Value, Failure> {
    let mut body = Map::new();
    let bytes = |size: Option<ByteSize>| size.map(|size| Value::from(size.bytes()));
    let fields = [
        ("BlkioWeight", args.blkio_weight.map(Value::from)),
        ("CpuPeriod", args.cpu_period.map(Value::from)),
        ("CpuQuota", args.cpu_quota.map(Value::from)),
        ("CpuRealtimePeriod", args.cpu_rt_period.map(Value::from)),
        ("CpuRealtimeRuntime", args.cpu_rt_runtime.map(Value::from)),
        ("CpuShares", args.cpu_shares.map(Value::from)),
        (
            "NanoCpus",
            args.cpus.map(|cpus| Value::from(billionths(cpus))),
        ),
        ("CpusetCpus", args.cpuset_cpus.clone().map(Value::from)),
        ("CpusetMems", args.cpuset_mems.clone().map(Value::from)),
        ("Memory", bytes(args.memory)),
        ("MemoryReservation", bytes(args.memory_reservation)),
        ("MemorySwap", bytes(args.memory_swap)),
        ("PidsLimit", args.pids_limit.map(Value::from)),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    }
    if let Some(text) = &args.restart {
        body.insert(
            "RestartPolicy".to_owned(),
            serde_json::to_value(restart(text)?)?,
        );
    }
    match body.is_empty() {
        true => Err(Failure::new(
            "you must provide one or more flags when using this command",
        )),
        false => Ok(Value::Object(body)),
    }
}
