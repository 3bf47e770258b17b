//! `hoist network`: the engine's networks.

use clap::{Args, Subcommand};

use super::image::InspectArgs;
use super::volume::ObjectLsArgs;

/// What can be done with networks.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum NetworkVerb {
    /// List networks
    #[command(visible_alias = "list")]
    Ls(ObjectLsArgs),
    /// Print what the engine knows of networks, as JSON
    Inspect(InspectArgs),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(NetworkRmArgs),
    /// Create a network
    Create(NetworkCreateArgs),
}

/// `network rm`.
#[derive(Args, Debug, Clone)]
pub(crate) struct NetworkRmArgs {
    /// Networks
    #[arg(value_name = "NETWORK", required = true)]
    pub(crate) names: Vec<String>,
}

/// `network create`.
#[derive(Args, Debug, Clone)]
pub(crate) struct NetworkCreateArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// Driver
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge")]
    pub(crate) driver: String,

    /// Address range, as 10.1.2.0/24; repeatable
    #[arg(long, value_name = "CIDR")]
    pub(crate) subnet: Vec<String>,

    /// Address of the gateway within the subnet; repeatable
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) gateway: Vec<String>,

    /// Option for the driver; repeatable
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    pub(crate) opt: Vec<String>,

    /// Label; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,

    /// Without a way out
    #[arg(long)]
    pub(crate) internal: bool,

    /// With IPv6 addresses
    #[arg(long)]
    pub ipv6: bool,
}
