//! `hoist network`: the engine's networks.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use hoist_api::network::{
    ConfigReference, EndpointIpamConfig, EndpointSettings, Ipam, IpamPool, NetworkConnect,
    NetworkCreate, NetworkDisconnect, NetworkInspect,
};
use hoist_api::{Engine, ErrorKind};
use serde_json::{Value, json};

use super::container::state::{PruneArgs, agreed, print_pruned};
use super::image::InspectArgs;
use super::volume::ObjectLsArgs;
use super::{each, filters, inspect, pairs};
use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::listing::{self, Columns, Format};
use crate::ui::human;

/// What can be done with networks.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum NetworkVerb {
    /// List networks
    #[command(visible_alias = "list")]
    Ls(ObjectLsArgs),
    /// Print what the engine knows of networks, as JSON
    Inspect(NetworkInspectArgs),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(NetworkRmArgs),
    /// Create a network
    Create(NetworkCreateArgs),
    /// Connect a container to a network
    Connect(NetworkConnectArgs),
    /// Disconnect a container from a network
    Disconnect(NetworkDisconnectArgs),
    /// Remove networks that no container uses
    Prune(PruneArgs),
}

/// `network inspect`.
#[derive(Args, Debug, Clone)]
pub(crate) struct NetworkInspectArgs {
    #[command(flatten)]
    pub(crate) inspect: InspectArgs,

    /// Also what only networks of swarms have
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// `network connect`.
#[derive(Args, Debug, Clone)]
pub(crate) struct NetworkConnectArgs {
    /// The network
    #[arg(value_name = "NETWORK")]
    pub(crate) network: String,

    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,

    /// Further name in the network; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) alias: Vec<String>,

    /// Option for the driver; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) driver_opt: Vec<String>,

    /// The highest of a container's networks is its way out
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) gw_priority: i64,

    /// IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<String>,

    /// IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip6: Option<String>,

    /// Link to another container, NAME[:ALIAS]; repeatable
    #[arg(long, value_name = "CONTAINER")]
    pub(crate) link: Vec<String>,

    /// Link-local address; repeatable
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) link_local_ip: Vec<String>,
}

/// `network disconnect`.
#[derive(Args, Debug, Clone)]
pub(crate) struct NetworkDisconnectArgs {
    /// The network
    #[arg(value_name = "NETWORK")]
    pub(crate) network: String,

    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,

    /// Even when the container does not exist any more
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// `network rm`.
#[derive(Args, Debug, Clone)]
pub(crate) struct NetworkRmArgs {
    /// Networks
    #[arg(value_name = "NETWORK", required = true)]
    pub(crate) names: Vec<String>,

    /// No error when there is none of that name
    #[arg(short, long)]
    pub(crate) force: bool,
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
    pub(crate) ipv6: bool,

    /// Without IPv4 addresses when false
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) ipv4: bool,

    /// Part of the subnet that containers get addresses from; repeatable
    #[arg(long, value_name = "CIDR")]
    pub(crate) ip_range: Vec<String>,

    /// Address that no container gets, NAME=ADDRESS; repeatable
    #[arg(long, value_name = "NAME=ADDRESS")]
    pub(crate) aux_address: Vec<String>,

    /// Driver of addresses
    #[arg(long, value_name = "DRIVER", default_value = "default")]
    pub(crate) ipam_driver: String,

    /// Option for the driver of addresses; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) ipam_opt: Vec<String>,

    /// Containers may be connected by hand (they always may)
    #[arg(long)]
    pub(crate) attachable: bool,

    /// Scope of the network: local (swarm: refused)
    #[arg(long, hide = true, value_name = "SCOPE")]
    pub(crate) scope: Option<String>,

    /// Only for swarms: refused
    #[arg(long, hide = true)]
    pub(crate) ingress: bool,

    /// Only for swarms: refused
    #[arg(long, hide = true)]
    pub(crate) config_only: bool,

    /// Only for swarms: refused
    #[arg(long, hide = true, value_name = "NETWORK")]
    pub(crate) config_from: Option<String>,
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
            inspect(
                context,
                (&args.inspect.names, args.inspect.format.as_deref()),
                async |name: &str| Ok(engine.network_inspect_raw(name, args.verbose).await?),
            )
            .await
        }
        NetworkVerb::Rm(args) => {
            each(context, &args.names, async |name: &str| {
                match engine.network_remove(name).await {
                    Err(error) if args.force && error.is(ErrorKind::NotFound) => Ok(()),
                    outcome => {
                        outcome?;
                        context.ui.line(name)
                    }
                }
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
        NetworkVerb::Connect(args) => {
            Ok(engine.network_connect(&args.network, &place(&args)).await?)
        }
        NetworkVerb::Disconnect(args) => {
            let body = NetworkDisconnect {
                container: args.container,
                force: args.force,
            };
            Ok(engine.network_disconnect(&args.network, &body).await?)
        }
        NetworkVerb::Prune(args) => {
            let filters = filters(&args.filter)?;
            let warning =
                "This will remove all custom networks not used by at least one container.";
            if !args.force && !agreed(context, warning).await? {
                return Ok(());
            }
            let pruned = engine.networks_prune(&filters).await?;
            print_pruned(
                context,
                ("Deleted Networks:", &pruned.networks_deleted),
                None,
            )
        }
    }
}

fn place(args: &NetworkConnectArgs) -> NetworkConnect {
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    let addressed = args.ip.is_some() || args.ip6.is_some() || !args.link_local_ip.is_empty();
    let endpoint = EndpointSettings {
        ipam_config: addressed.then(|| EndpointIpamConfig {
            ipv4_address: args.ip.clone().unwrap_or_default(),
            ipv6_address: args.ip6.clone().unwrap_or_default(),
            link_local_ips: args.link_local_ip.clone(),
        }),
        links: some(&args.link),
        aliases: some(&args.alias),
        driver_opts: (!args.driver_opt.is_empty()).then(|| pairs(&args.driver_opt)),
        gw_priority: args.gw_priority,
        ..EndpointSettings::default()
    };
    NetworkConnect {
        container: args.container.clone(),
        endpoint_config: Some(endpoint),
    }
}

fn body_of(args: NetworkCreateArgs) -> Result<NetworkCreate, Failure> {
    if args.gateway.len() > args.subnet.len() {
        return Err(Failure::new("a --gateway needs its --subnet"));
    }
    let pools = args.subnet.iter().enumerate().map(|(i, subnet)| IpamPool {
        subnet: subnet.clone(),
        gateway: args.gateway.get(i).cloned().unwrap_or_default(),
        ip_range: args.ip_range.get(i).cloned().unwrap_or_default(),
        auxiliary_addresses: match i {
            0 => pairs(&args.aux_address),
            _ => BTreeMap::new(),
        },
    });
    let ipam = Ipam {
        driver: args.ipam_driver.clone(),
        options: (!args.ipam_opt.is_empty()).then(|| pairs(&args.ipam_opt)),
        config: pools.collect(),
    };
    let labels: BTreeMap<String, String> = pairs(&args.label);
    Ok(NetworkCreate {
        name: args.name,
        check_duplicate: true,
        driver: args.driver,
        internal: args.internal,
        ipam: Some(ipam),
        enable_ipv4: (!args.ipv4).then_some(false),
        enable_ipv6: args.ipv6.then_some(true),
        attachable: args.attachable,
        options: pairs(&args.opt),
        labels,
        scope: args.scope.unwrap_or_default(),
        ingress: args.ingress,
        config_only: args.config_only,
        config_from: ConfigReference {
            network: args.config_from.unwrap_or_default(),
        },
    })
}

const COLUMNS: &Columns = &[
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
];

fn print(
    context: &Context,
    networks: &[NetworkInspect],
    args: &ObjectLsArgs,
) -> Result<(), Failure> {
    let id = |network: &NetworkInspect| match args.no_trunc {
        true => network.id.clone(),
        false => human::short_id(&network.id).to_owned(),
    };
    if args.quiet && args.format.is_none() {
        return networks
            .iter()
            .try_for_each(|network| context.ui.line(&id(network)));
    }
    let row = |network: &NetworkInspect| {
        let labels: Vec<String> = network
            .labels
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        json!({
            "CreatedAt": human::go_time(&network.created), "Driver": network.driver, "ID": id(network),
            "IPv4": network.enable_ipv4.to_string(), "IPv6": network.enable_ipv6.to_string(),
            "Internal": network.internal.to_string(), "Labels": labels.join(","), "Name": network.name, "Scope": network.scope,
        })
    };
    let rows: Vec<Value> = networks.iter().map(row).collect();
    listing::print(
        &context.ui,
        &Format::read(args.format.as_deref())?,
        COLUMNS,
        &rows,
    )
}
