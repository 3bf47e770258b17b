//! `hoist volume`: the engine's volumes.

use clap::{Args, Subcommand};
use hoist_api::Engine;
use hoist_api::volume::{Volume, VolumeCreate};
use serde_json::json;

use super::image::InspectArgs;
use super::{each, filters, inspect, pairs};
use crate::commands::values::ListFormat;
use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::ui::table::Table;

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
}

/// `ls` of volumes and networks.
#[derive(Args, Debug, Clone)]
pub(crate) struct ObjectLsArgs {
    /// Only the names or ids
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Form of the output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) format: ListFormat,

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
            inspect(context, &args.names, async |name: &str| {
                engine.volume_inspect(name).await
            })
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
                name: args.name.unwrap_or_default(),
                driver: args.driver,
                driver_opts: pairs(&args.opt),
                labels: pairs(&args.label),
            };
            context.ui.line(&engine.volume_create(&body).await?.name)
        }
    }
}

async fn list<E: Engine>(context: &Context, engine: &E, args: ObjectLsArgs) -> Result<(), Failure> {
    let mut volumes = engine.volumes(&filters(&args.filter)?).await?.volumes;
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    print(context, &volumes, args.quiet, args.format)
}

/// Prints volumes as `docker volume ls` does.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn print(
    context: &Context,
    volumes: &[Volume],
    quiet: bool,
    format: ListFormat,
) -> Result<(), Failure> {
    if quiet {
        return volumes
            .iter()
            .try_for_each(|volume| context.ui.line(&volume.name));
    }
    if format == ListFormat::Json {
        return volumes.iter().try_for_each(|volume| {
            let labels: Vec<String> = volume.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let line = json!({
                "Availability": "N/A", "Driver": volume.driver, "Group": "N/A", "Labels": labels.join(","), "Links": "N/A",
                "Mountpoint": volume.mountpoint, "Name": volume.name, "Scope": volume.scope, "Size": "N/A", "Status": "N/A",
            });
            context.ui.line(&line.to_string())
        });
    }
    let mut table = Table::new(&["DRIVER", "VOLUME NAME"]);
    for volume in volumes {
        table.row(vec![volume.driver.clone(), volume.name.clone()]);
    }
    context.ui.line(&table.render())
}
