//! `hoist volume`: the engine's volumes.

use clap::{Args, Subcommand};
use hoist_api::Engine;
use hoist_api::client::Client;
use hoist_api::volume::{Volume, VolumeCreate};
use serde_json::{Value, json};

use super::container::state::{agreed, print_pruned};
use super::image::InspectArgs;
use super::usage::size;
use super::{each, filters, inspect, pairs};
use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::listing::{self, Columns, Format};

/// What can be done with volumes.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum VolumeVerb {
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(ObjectLsArgs),
    /// Print what the engine knows of volumes, as JSON
    Inspect(InspectArgs),
    /// Remove volumes: their data is lost
    #[command(visible_alias = "remove")]
    Rm(VolumeRmArgs),
    /// Create a volume
    Create(VolumeCreateArgs),
    /// Remove volumes that no container uses: their data is lost
    Prune(VolumePruneArgs),
}

/// `volume prune`.
#[derive(Args, Debug, Clone)]
pub(crate) struct VolumePruneArgs {
    /// Also volumes with a name
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Only volumes of which this holds (label=KEY[=VALUE]); repeatable
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// `ls` of volumes and networks.
#[derive(Args, Debug, Clone)]
pub(crate) struct ObjectLsArgs {
    /// Only the names or ids
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Do not shorten ids
    #[arg(long)]
    pub(crate) no_trunc: bool,

    /// Only objects of which this holds (name=TEXT, label=KEY[=VALUE]); repeatable
    #[arg(short, long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
}

/// `volume rm`.
#[derive(Args, Debug, Clone)]
pub(crate) struct VolumeRmArgs {
    /// Volumes
    #[arg(value_name = "VOLUME", required = true)]
    pub(crate) names: Vec<String>,

    /// No error when there is none of that name
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// `volume create`.
#[derive(Args, Debug, Clone)]
pub(crate) struct VolumeCreateArgs {
    /// Its name (default: one is made up)
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Its name, as older scripts give it
    #[arg(
        long = "name",
        hide = true,
        value_name = "NAME",
        conflicts_with = "name"
    )]
    pub(crate) name_option: Option<String>,

    /// Driver
    #[arg(short, long, value_name = "DRIVER", default_value = "local")]
    pub(crate) driver: String,

    /// Option for the driver; repeatable
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    pub(crate) opt: Vec<String>,

    /// Label; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
}

/// Carries out a `volume` command.
///
/// # Errors
/// What the engine says.
pub(crate) async fn run(context: &Context, verb: VolumeVerb) -> Result<(), Failure> {
    let engine = connect::engine(context).await?;
    match verb {
        VolumeVerb::Ls(args) => list(context, &engine, args).await,
        VolumeVerb::Inspect(args) => {
            inspect(
                context,
                (&args.names, args.format.as_deref()),
                async |name: &str| Ok(engine.inspect_raw("volumes", name).await?),
            )
            .await
        }
        VolumeVerb::Rm(args) => {
            each(context, &args.names, async |name: &str| {
                engine.volume_remove(name, args.force).await?;
                context.ui.line(name)
            })
            .await
        }
        VolumeVerb::Create(args) => {
            let body = VolumeCreate {
                name: args.name.or(args.name_option).unwrap_or_default(),
                driver: args.driver,
                driver_opts: pairs(&args.opt),
                labels: pairs(&args.label),
            };
            context.ui.line(&engine.volume_create(&body).await?.name)
        }
        VolumeVerb::Prune(args) => prune(context, &engine, args).await,
    }
}

async fn list<E: Engine>(context: &Context, engine: &E, args: ObjectLsArgs) -> Result<(), Failure> {
    let mut volumes = engine.volumes(&filters(&args.filter)?).await?.volumes;
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    print(context, &volumes, args.quiet, args.format.as_deref())
}

async fn prune(context: &Context, engine: &Client, args: VolumePruneArgs) -> Result<(), Failure> {
    let mut filters = filters(&args.filter)?;
    let which = if args.all { "local" } else { "anonymous local" };
    if args.all {
        filters = filters.with("all", "true");
    }
    let warning = format!("This will remove {which} volumes not used by at least one container.");
    if !args.force && !agreed(context, &warning).await? {
        return Ok(());
    }
    let pruned = engine.volumes_prune(&filters).await?;
    print_pruned(
        context,
        ("Deleted Volumes:", &pruned.volumes_deleted),
        Some(pruned.space_reclaimed),
    )
}

const COLUMNS: &Columns = &[("Driver", "DRIVER"), ("Name", "VOLUME NAME")];

/// Prints volumes as `docker volume ls` does.
///
/// # Errors
/// The template is wrong, or standard output cannot be written.
pub(crate) fn print(
    context: &Context,
    volumes: &[Volume],
    quiet: bool,
    format: Option<&str>,
) -> Result<(), Failure> {
    if quiet && format.is_none() {
        return volumes
            .iter()
            .try_for_each(|volume| context.ui.line(&volume.name));
    }
    let rows: Vec<Value> = volumes.iter().map(row).collect();
    listing::print(&context.ui, &Format::read(format)?, COLUMNS, &rows)
}

/// The object of `docker volume ls --format json`; how much it holds is known where it was asked for.
pub(super) fn row(volume: &Volume) -> Value {
    let labels = volume.labels.iter();
    let labels: Vec<String> = labels.map(|(k, v)| format!("{k}={v}")).collect();
    let (links, size) = match &volume.usage_data {
        Some(used) => (used.ref_count.max(0).to_string(), size(used.size)),
        None => ("N/A".to_owned(), "N/A".to_owned()),
    };
    json!({
        "Availability": "N/A", "Driver": volume.driver, "Group": "N/A", "Labels": labels.join(","), "Links": links,
        "Mountpoint": volume.mountpoint, "Name": volume.name, "Scope": volume.scope, "Size": size, "Status": "N/A",
    })
}
