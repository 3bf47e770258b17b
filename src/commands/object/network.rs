//! `hoist network`: the engine's networks.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use hoist_api::Engine;
use hoist_api::network::{Ipam, IpamPool, NetworkCreate, NetworkInspect};
use serde_json::json;

use super::image::InspectArgs;
use super::volume::ObjectLsArgs;
use super::{each, filters, inspect, pairs};
use crate::commands::values::ListFormat;
use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::ui::human;
use crate::ui::table::Table;

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

/// Carries out a `network` command.
///
/// # Errors
/// What the engine says.
pub(crate) async fn run(context: &Context, verb: NetworkVerb) -> Result<(), Failure> {
    let engine = connect::engine(context).await?;
    match verb {
        NetworkVerb::Ls(args) => {
            let mut networks = engine.networks(&filters(&args.filter)?).await?;
            networks.sort_by(|a, b| a.name.cmp(&b.name));
            print(context, &networks, &args)
        }
        NetworkVerb::Inspect(args) => {
            inspect(context, &args.names, async |name: &str| {
                engine.network_inspect(name).await
            })
            .await
        }
        NetworkVerb::Rm(args) => {
            each(context, &args.names, async |name: &str| {
                engine.network_remove(name).await?;
                context.ui.line(name)
            })
            .await
        }
        NetworkVerb::Create(args) => {
            let created = engine.network_create(&body_of(args)?).await?;
            if !created.warning.is_empty() {
                context.ui.warn(&created.warning);
            }
            context.ui.line(&created.id)
        }
    }
}

fn body_of(args: NetworkCreateArgs) -> Result<NetworkCreate, Failure> {
    if args.gateway.len() > args.subnet.len() {
        return Err(Failure::new("a --gateway needs its --subnet"));
    }
    let pools = args.subnet.iter().enumerate().map(|(i, subnet)| IpamPool {
        subnet: subnet.clone(),
        gateway: args.gateway.get(i).cloned().unwrap_or_default(),
        ..IpamPool::default()
    });
    let ipam = Ipam {
        driver: "default".to_owned(),
        options: None,
        config: pools.collect(),
    };
    let labels: BTreeMap<String, String> = pairs(&args.label);
    Ok(NetworkCreate {
        name: args.name,
        check_duplicate: true,
        driver: args.driver,
        internal: args.internal,
        ipam: Some(ipam),
        enable_ipv6: args.ipv6.then_some(true),
        options: pairs(&args.opt),
        labels,
        ..NetworkCreate::default()
    })
}

fn print(
    context: &Context,
    networks: &[NetworkInspect],
    args: &ObjectLsArgs,
) -> Result<(), Failure> {
    if args.quiet {
        return networks
            .iter()
            .try_for_each(|network| context.ui.line(human::short_id(&network.id)));
    }
    if args.format == ListFormat::Json {
        return networks.iter().try_for_each(|network| {
            let labels: Vec<String> = network.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let line = json!({
                "CreatedAt": network.created, "Driver": network.driver, "ID": human::short_id(&network.id),
                "IPv4": network.enable_ipv4.to_string(), "IPv6": network.enable_ipv6.to_string(),
                "Internal": network.internal.to_string(), "Labels": labels.join(","), "Name": network.name, "Scope": network.scope,
            });
            context.ui.line(&line.to_string())
        });
    }
    let mut table = Table::new(&["NETWORK ID", "NAME", "DRIVER", "SCOPE"]);
    for network in networks {
        let id = human::short_id(&network.id).to_owned();
        table.row(vec![
            id,
            network.name.clone(),
            network.driver.clone(),
            network.scope.clone(),
        ]);
    }
    context.ui.line(&table.render())
}
