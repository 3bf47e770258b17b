//! The networks of an engine: records, address leases, published ports, names. What containers get from them is in [`join`].
//!
//! Locks are held only while memory changes; everything that talks to the kernel works on copies.

pub(crate) mod files;
pub(crate) mod join;
pub(crate) mod options;
pub(crate) mod ports;
mod preflight;
mod rules;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hoist_api::error::{ApiError, ErrorKind, Result, chain};
use hoist_network::NetworkConfig;
use hoist_network::dns::{DnsOptions, DnsServer};
use hoist_network::ipam::{AddressPool, Leases, Subnet};
use hoist_network::link::bridge::{self, BridgePlan, Reach};
use hoist_network::ports::{Claim, Ports};
use hoist_network::proxy::Proxy;
use hoist_network::sysctl::{self, Change};
use ipnetwork::IpNetwork;

use crate::config::EngineConfig;
use crate::store::network::NetworkRecord;
use crate::store::{self, Durability};

pub(crate) use rules::Rules;

/// A network with what is given out in it.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) record: Arc<NetworkRecord>,
    subnets: Vec<Subnet>,
    leases: Leases,
    /// The bridge was made or checked by this engine.
    ready: bool,
}

/// What a running container holds.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) claims: Vec<Claim>,
    pub(crate) proxies: Vec<Proxy>,
}

/// The networks of an engine.
#[derive(Debug)]
pub(crate) struct Networks {
    directory: PathBuf,
    pub(crate) config: NetworkConfig,
    /// By name.
    networks: Mutex<BTreeMap<String, Network>>,
    ports: Mutex<Ports>,
    held: Mutex<HashMap<String, Held>>,
    pub(crate) dns: DnsServer,
    pub(crate) rules: Rules,
    /// One bridge is made at a time: they share the kernel's lock anyway.
    making: tokio::sync::Mutex<()>,
}

/// Names of the networks that need no bridge.
pub(crate) const BUILTIN: &[&str] = &["host", "none"];

impl Networks {
    /// Reads the records; the kernel is not touched.
    pub(crate) fn open(config: &EngineConfig) -> Result<Self> {
        let directory = config.root.join("networks");
        store::make_directory(&directory).map_err(|error| ApiError::internal(&error))?;
        let mut pools: Vec<AddressPool> = config
            .address_pools
            .iter()
            .map(|(base, size)| AddressPool {
                base: *base,
                size: *size,
            })
            .collect();
        if pools.is_empty() {
            pools = AddressPool::docker_defaults();
        }
        let network_config = NetworkConfig {
            tag: config.instance.clone(),
            table: config.instance.clone(),
            pools,
            resolv_conf: config.resolv_conf.clone(),
        };
        let networks = Self {
            rules: Rules::new(&config.instance),
            config: network_config,
            networks: Mutex::default(),
            ports: Mutex::new(Ports::new()),
            held: Mutex::default(),
            dns: DnsServer::new(DnsOptions {
                resolv_conf: config.resolv_conf.clone(),
            }),
            making: tokio::sync::Mutex::default(),
            directory,
        };
        networks.load()?;
        Ok(networks)
    }

    fn load(&self) -> Result<()> {
        let names = store::names(&self.directory).map_err(|error| ApiError::internal(&error))?;
        for name in names.iter().filter(|name| name.ends_with(".json")) {
            let path = self.directory.join(name);
            let record: Option<NetworkRecord> =
                store::load(&path).map_err(|error| ApiError::internal(&error))?;
            if let Some(record) = record {
                self.insert(record);
            }
        }
        Ok(())
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Network>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ports(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a network to those known.
    pub(crate) fn insert(&self, record: NetworkRecord) -> Arc<NetworkRecord> {
        let subnets = record
            .subnets
            .iter()
            .map(|subnet| Subnet {
                network: subnet.subnet,
                gateway: subnet.gateway,
                range: subnet.range.unwrap_or(subnet.subnet),
                aux_addresses: subnet
                    .auxiliary
                    .iter()
                    .filter_map(|(name, address)| Some((name.clone(), address.parse().ok()?)))
                    .collect(),
            })
            .collect();
        let record = Arc::new(record);
        self.dns.put_network(record.id.as_str(), &record.name);
        self.rules.put_network(&record);
        let network = Network {
            record: record.clone(),
            subnets,
            leases: Leases::new(),
            ready: false,
        };
        self.all().insert(record.name.clone(), network);
        record
    }

    /// Forgets a network.
    pub(crate) fn forget(&self, record: &NetworkRecord) {
        self.all().remove(&record.name);
        self.dns.remove_network(record.id.as_str());
        self.rules.remove_network(&record.bridge);
    }

    /// Writes a record so that it survives a power failure.
    pub(crate) fn save(&self, record: &NetworkRecord) -> Result<()> {
        let path = self.directory.join(format!("{}.json", record.id));
        store::save(&path, record, Durability::Synced).map_err(|error| ApiError::internal(&error))
    }

    /// Removes a record.
    pub(crate) fn unsave(&self, record: &NetworkRecord) -> Result<()> {
        let path = self.directory.join(format!("{}.json", record.id));
        store::remove_file(&path).map_err(|error| ApiError::internal(&error))
    }

    /// Finds by name, by id or by an unambiguous prefix of the id.
    pub(crate) fn find(&self, key: &str) -> Result<Arc<NetworkRecord>> {
        let networks = self.all();
        let by_id = networks
            .values()
            .find(|network| network.record.id.as_str() == key);
        if let Some(network) = by_id.or_else(|| networks.get(key)) {
            return Ok(network.record.clone());
        }
        let mut matches = networks
            .values()
            .filter(|network| !key.is_empty() && network.record.id.as_str().starts_with(key));
        match (matches.next(), matches.next()) {
            (Some(network), None) => Ok(network.record.clone()),
            (Some(_), Some(_)) => Err(ApiError::bad_request(format!(
                "network {key} is ambiguous (2 matches found on ID prefix)"
            ))),
            _ => Err(ApiError::not_found(format!("network {key} not found"))),
        }
    }

    /// The name of a network given by name or id; as given when there is none.
    pub(crate) fn canonical(&self, key: &str) -> String {
        self.find(key)
            .map_or_else(|_| key.to_owned(), |record| record.name.clone())
    }

    /// The id of a network by name.
    pub(crate) fn id_of(&self, name: &str) -> Option<String> {
        if BUILTIN.contains(&name) {
            return Some(builtin_id(name));
        }
        self.all()
            .get(name)
            .map(|network| network.record.id.to_string())
    }

    /// All networks with records.
    pub(crate) fn records(&self) -> Vec<Arc<NetworkRecord>> {
        self.all()
            .values()
            .map(|network| network.record.clone())
            .collect()
    }

    /// Makes the network's bridge if this engine has not done so yet.
    pub(crate) async fn ensure_bridge(&self, record: &NetworkRecord) -> Result<()> {
        if self.is_ready(&record.name) {
            keep_forwarding(record);
            return Ok(());
        }
        let _making = self.making.lock().await;
        if self.is_ready(&record.name) {
            return Ok(());
        }
        let plan = self.bridge_plan(record);
        let made = tokio::task::spawn_blocking(move || bridge::ensure(&plan)).await;
        let changes = made
            .map_err(|error| ApiError::internal(&error))?
            .map_err(|error| {
                ApiError::new(
                    ErrorKind::Internal,
                    format!(
                        "cannot make the bridge of network {}: {}",
                        record.name,
                        chain(&error)
                    ),
                )
            })?;
        if changes.forwarding_enabled {
            tracing::warn!(
                "forwarding of packets between links was off on this machine and is on now"
            );
        }
        self.rules.apply().await?;
        if let Some(network) = self.all().get_mut(&record.name) {
            network.ready = true;
        }
        Ok(())
    }

    fn is_ready(&self, name: &str) -> bool {
        self.all().get(name).is_some_and(|network| network.ready)
    }

    /// The bridge of a network as it should be.
    pub(crate) fn bridge_plan(&self, record: &NetworkRecord) -> BridgePlan {
        let alias = self.config.alias(record.id.as_str());
        BridgePlan {
            name: record.bridge.clone(),
            group: bridge::group_of(&alias),
            alias,
            addresses: record
                .subnets
                .iter()
                .filter_map(|subnet| IpNetwork::new(subnet.gateway, subnet.subnet.prefix()).ok())
                .collect(),
            mtu: mtu(record),
            reach: reach(record),
        }
    }

    /// Takes an address in each subnet: those asked for, else the lowest free ones.
    pub(crate) fn lease(
        &self,
        name: &str,
        holder: &str,
        asked: &[IpAddr],
    ) -> Result<Vec<IpNetwork>> {
        let mut networks = self.all();
        let network = networks
            .get_mut(name)
            .ok_or_else(|| ApiError::not_found(format!("network {name} not found")))?;
        check_addresses(&network.record, asked)?;
        let Network {
            subnets, leases, ..
        } = network;
        let mut given = Vec::new();
        for subnet in subnets.iter() {
            let wanted = asked
                .iter()
                .find(|address| subnet.network.contains(**address));
            let taken = match wanted {
                Some(address) => leases.take(subnet, *address, holder),
                None => leases.take_lowest(subnet, holder),
            };
            match taken {
                Ok(address) => given.push(address),
                Err(error) => {
                    for address in given {
                        leases.release(address);
                    }
                    let kind = if wanted.is_some() {
                        ErrorKind::Forbidden
                    } else {
                        ErrorKind::Internal
                    };
                    return Err(ApiError::new(
                        kind,
                        format!("cannot give an address in network {name}: {error}"),
                    ));
                }
            }
        }
        let with_prefix = |(address, subnet): (IpAddr, &Subnet)| {
            IpNetwork::new(address, subnet.network.prefix()).ok()
        };
        Ok(given
            .into_iter()
            .zip(subnets.iter())
            .filter_map(with_prefix)
            .collect())
    }

    /// Notes addresses that a running container has.
    pub(crate) fn restore_lease(&self, name: &str, holder: &str, addresses: &[IpAddr]) {
        if let Some(network) = self.all().get_mut(name) {
            for address in addresses {
                network.leases.restore(*address, holder);
            }
        }
    }

    /// Gives addresses back.
    pub(crate) fn release(&self, name: &str, addresses: &[IpAddr]) {
        if let Some(network) = self.all().get_mut(name) {
            for address in addresses {
                network.leases.release(*address);
            }
        }
    }

    /// The network's gateway of each family.
    pub(crate) fn gateways(
        record: &NetworkRecord,
    ) -> (Option<std::net::Ipv4Addr>, Option<std::net::Ipv6Addr>) {
        let mut found = (None, None);
        for subnet in &record.subnets {
            match subnet.gateway {
                IpAddr::V4(address) => found.0 = Some(address),
                IpAddr::V6(address) => found.1 = Some(address),
            }
        }
        found
    }
}

/// The id of a built-in network: the same on every engine.
pub(crate) fn builtin_id(name: &str) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(format!("hoist network {name}")))
}

/// What passes between a network and the rest of the world.
pub(crate) fn reach(record: &NetworkRecord) -> Reach {
    if record.internal {
        return Reach::Internal;
    }
    let masquerade = record
        .options
        .get("com.docker.network.bridge.enable_ip_masquerade");
    Reach::Open {
        masquerade: masquerade.is_none_or(|value| value != "false"),
    }
}

/// Largest packet, where the options say so.
pub(crate) fn mtu(record: &NetworkRecord) -> Option<u32> {
    record
        .options
        .get("com.docker.network.driver.mtu")
        .and_then(|value| value.parse().ok())
}

/// Others turn forwarding off for the whole machine: a firewall that reloads, `sysctl --system`. Without it no published port and no
/// way out works, so it is looked at whenever a container joins a network.
fn keep_forwarding(record: &NetworkRecord) {
    if record.internal {
        return;
    }
    let has_ipv6 = record.subnets.iter().any(|subnet| subnet.subnet.is_ipv6());
    let ipv6 = || {
        if has_ipv6 {
            sysctl::enable_ipv6_forwarding()
        } else {
            Ok(Change::None)
        }
    };
    for (family, outcome) in [("IPv4", sysctl::enable_ipv4_forwarding()), ("IPv6", ipv6())] {
        match outcome {
            Ok(Change::None) => {}
            Ok(Change::Written) => tracing::warn!(
                family,
                "somebody has turned off forwarding of packets between links, which containers need: it is on again"
            ),
            Err(error) => {
                tracing::warn!(family, %error, "forwarding of packets between links is off");
            }
        }
    }
}

/// Static addresses are for networks whose subnets the user gave, and lie in them (as Docker has it, and its words).
fn check_addresses(network: &NetworkRecord, asked: &[IpAddr]) -> Result<()> {
    let refuse = |why: &str| {
        let name = &network.name;
        let message =
            format!("invalid config for network {name}: invalid endpoint settings:\n{why}");
        Err(ApiError::bad_request(message))
    };
    if asked.is_empty() {
        return Ok(());
    }
    if network.name == "bridge" {
        return refuse("user specified IP address is supported on user defined networks only");
    }
    if network.chosen {
        return refuse(
            "user specified IP address is supported only when connecting to networks with user configured subnets",
        );
    }
    let inside = |address: &&IpAddr| {
        let mut subnets = network.subnets.iter();
        subnets.any(|subnet| subnet.subnet.contains(**address))
    };
    match asked.iter().find(|address| !inside(address)) {
        Some(address) => refuse(&format!(
            "no configured subnet or ip-range contain the IP address {address}"
        )),
        None => Ok(()),
    }
}
