//! `container ls`: containers as `docker ps` shows them.

use clap::Args;
use hoist_api::Engine;
use hoist_api::client::Client;
use hoist_api::container::{ContainerSummary, ListContainers};
use serde_json::{Value, json};

use crate::commands::object::filters;
use crate::commands::ps::Row;
use crate::context::Context;
use crate::failure::Failure;
use crate::listing::{self, Columns, Format};
use crate::ui::human;

const COLUMNS: &Columns = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
];

const COLUMNS_WITH_SIZE: &Columns = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
    ("Size", "SIZE"),
];

/// List containers
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerLsArgs {
    /// Also those that do not run
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Only the ids
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Only containers of which this holds (name=TEXT, label=KEY[=VALUE], status=STATUS, …); repeatable
    #[arg(short, long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,

    /// The newest so many, in any state
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) last: Option<i64>,

    /// The newest, in any state
    #[arg(short, long)]
    pub(crate) latest: bool,

    /// Do not shorten ids and commands
    #[arg(long)]
    pub(crate) no_trunc: bool,

    /// Also sizes, which takes longer
    #[arg(short, long)]
    pub(crate) size: bool,
}

/// Prints the engine's containers.
///
/// # Errors
/// A filter or the template is wrong, or the engine fails.
pub(super) async fn list(
    context: &Context,
    engine: &Client,
    args: ContainerLsArgs,
) -> Result<(), Failure> {
    let format = Format::read(args.format.as_deref())?;
    let filters = filters(&args.filter)?;
    let all = args.all || !filters.get("status").is_empty();
    let last = if args.latest { Some(1) } else { args.last };
    let asks_size = args
        .format
        .as_deref()
        .is_some_and(|text| text.contains(".Size") || text.contains("{{json .}}"));
    let options = ListContainers {
        all,
        limit: last
            .and_then(|last| usize::try_from(last).ok())
            .filter(|last| *last > 0),
        size: args.size || asks_size,
        filters,
    };
    let containers = engine.containers(&options).await?;
    if args.quiet && args.format.is_none() {
        let id = |c: &ContainerSummary| match args.no_trunc {
            true => c.id.clone(),
            false => human::short_id(&c.id).to_owned(),
        };
        return containers.iter().try_for_each(|c| context.ui.line(&id(c)));
    }
    let rows: Vec<Value> = containers.iter().map(|c| row(c, args.no_trunc)).collect();
    let columns = if args.size {
        COLUMNS_WITH_SIZE
    } else {
        COLUMNS
    };
    listing::print(&context.ui, &format, columns, &rows)
}

/// The object of `docker ps --format json`.
pub(crate) fn row(summary: &ContainerSummary, whole: bool) -> Value {
    let row = Row::of(summary, whole);
    let all = row.json();
    let field = |name: &str| all.get(name).cloned().unwrap_or_default();
    json!({
        "Command": row.command,
        "CreatedAt": field("CreatedAt"),
        "ID": row.id,
        "Image": row.image,
        "Labels": field("Labels"),
        "LocalVolumes": field("LocalVolumes"),
        "Mounts": field("Mounts"),
        "Names": row.name,
        "Networks": field("Networks"),
        "Platform": Value::Null,
        "Ports": row.ports,
        "RunningFor": row.running_for,
        "Size": size(summary),
        "State": field("State"),
        "Status": row.status,
    })
}

/// `12kB (virtual 80MB)`.
fn size(summary: &ContainerSummary) -> String {
    let bytes = |size: Option<i64>| u64::try_from(size.unwrap_or(0)).unwrap_or(0);
    let own = human::size(bytes(summary.size_rw));
    match bytes(summary.size_root_fs) {
        0 => own,
        all => format!("{own} (virtual {})", human::size(all)),
    }
}
