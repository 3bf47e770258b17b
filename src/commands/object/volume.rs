//! `hoist volume`: the engine's volumes.

use clap::{Args, Subcommand};

use super::image::InspectArgs;
use crate::commands::values::ListFormat;

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
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
}

/// `volume rm`.
#[derive(Args, Debug, Clone)]
pub(crate) struct VolumeRmArgs {
    /// Volumes
    #[arg(value_name = "VOLUME", required = true)]
    pub(crate) names: Vec<String>,

    /// No error when there is none of that name
    #[arg(long)]
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
