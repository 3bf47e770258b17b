//! The networks API.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hoist_api::error::{ApiError, ErrorKind, Result};
use hoist_api::network::{
    Ipam, IpamPool, NetworkContainer, NetworkCreate, NetworkCreated, NetworkInspect,
};
use hoist_api::ports::{PortConflict, PortsCheck};
use hoist_api::{Filters, NetworkId, ZERO_TIME};
use hoist_network::ipam::{self, Occupied, SubnetRequest};
use hoist_network::link::{bridge, host};
use ipnetwork::IpNetwork;
use jiff::Timestamp;

use super::{Service, internal};
use crate::events;
use crate::names;
use crate::networking::{BUILTIN, builtin_id, options};
use crate::store::container::{ContainerRecord, EndpointGiven};
use crate::store::network::{NetworkRecord, SubnetRecord, VERSION};

const FILTERS: &[&str] = &["driver", "id", "label", "name", "scope", "type", "dangling"];

impl Service {
    /// Which host ports are not free for containers that are about to start.
    pub(crate) fn check_ports(&self, check: &PortsCheck) -> Result<Vec<PortConflict>> {
        // A container that is gone holds nothing.
        let leaving = check
            .released
            .iter()
            .filter_map(|key| self.containers.find(key).ok());
        let leaving: Vec<String> = leaving.map(|found| found.id().to_owned()).collect();
        self.networks.check_ports(&check.wanted, &leaving)
    }

    /// Creates a network.
    pub(crate) async fn network_create(
        self: &Arc<Self>,
        body: NetworkCreate,
    ) -> Result<NetworkCreated> {
        if BUILTIN.contains(&body.name.as_str())
            || matches!(body.name.as_str(), "bridge" | "default")
        {
            return Err(ApiError::forbidden(format!(
                "operation is not permitted on predefined {} network",
                body.name
            )));
        }
        names::check_network_name(&body.name)?;
        check_kind(&body)?;
        options::check_network(&body.options)?;
        match body.driver.as_str() {
            "" | "default" | "bridge" => {}
            "overlay" => return Err(crate::serve::no_swarm()),
            "host" | "null" => {
                return Err(ApiError::forbidden(format!(
                    "only one instance of \"{}\" network is allowed",
                    body.driver
                )));
            }
            other => {
                return Err(ApiError::not_found(format!(
                    "could not find plugin {other} in v1 plugin registry: plugin not found"
                ))
                .with_hint("the only network driver here is bridge"));
            }
        }
        let _turn = self.network_turn.lock().await;
        if let Ok(existing) = self.networks.find(&body.name)
            && existing.name == body.name
        {
            return Err(ApiError::conflict(format!(
                "network with name {} already exists",
                body.name
            )));
        }
        let record = self
            .blocking(move |service| service.plan_network(&body))
            .await?;
        self.add_network(record).await
    }

    /// Makes the network `bridge` when somebody asks for it, without anything in the kernel.
    pub(super) async fn ensure_default_network(self: &Arc<Self>) -> Result<()> {
        if self.networks.find("bridge").is_ok() {
            return Ok(());
        }
        let _turn = self.network_turn.lock().await;
        if self.networks.find("bridge").is_ok() {
            return Ok(());
        }
        let body = NetworkCreate {
            name: "bridge".to_owned(),
            ..NetworkCreate::default()
        };
        let record = self
            .blocking(move |service| service.plan_network(&body))
            .await?;
        let record = self.networks.insert(record);
        // Its bridge is made when the first container joins it.
        self.blocking(move |service| service.networks.save(&record))
            .await
    }

    async fn add_network(self: &Arc<Self>, record: NetworkRecord) -> Result<NetworkCreated> {
        let record = self.networks.insert(record);
        // The record comes first: an engine that is killed in between leaves nothing that the next one does not know.
        let copy = record.clone();
        let saved = self
            .blocking(move |service| service.networks.save(&copy))
            .await;
        let made = match saved {
            Ok(()) => self.networks.ensure_bridge(&record).await,
            Err(error) => Err(error),
        };
        if let Err(error) = made {
            self.delete_network(&record).await;
            return Err(error);
        }
        self.emit_network(&record, "create", record.id.as_str(), BTreeMap::new());
        Ok(NetworkCreated {
            id: record.id.to_string(),
            warning: String::new(),
        })
    }

    /// Answers all questions about a new network: subnets, gateways, names.
    fn plan_network(&self, body: &NetworkCreate) -> Result<NetworkRecord> {
        let id = NetworkId::from_bytes(names::random_id());
        let mut occupied = self.occupied()?;
        let pools = body
            .ipam
            .as_ref()
            .map(|ipam| ipam.config.clone())
            .unwrap_or_default();
        let ipv6 = body.enable_ipv6.unwrap_or(false);
        let mut subnets = Vec::new();
        for pool in &pools {
            subnets.push(self.plan_subnet(&subnet_request(pool)?, pool, &occupied)?);
            occupied.extend(subnets.last().map(|subnet| own(subnet.subnet, &body.name)));
        }
        if !subnets
            .iter()
            .any(|subnet: &SubnetRecord| subnet.subnet.is_ipv4())
            && body.enable_ipv4.unwrap_or(true)
        {
            subnets.push(self.plan_subnet(
                &SubnetRequest::default(),
                &IpamPool::default(),
                &occupied,
            )?);
        }
        if ipv6 && !subnets.iter().any(|subnet| subnet.subnet.is_ipv6()) {
            let seed = u64::from_str_radix(&builtin_id(&self.config.instance)[..16], 16)
                .unwrap_or_default();
            let subnet = ipam::choose_ipv6_subnet(seed, &occupied)
                .map_err(|error| ApiError::internal(&error))?;
            let request = SubnetRequest {
                subnet: Some(subnet),
                ..SubnetRequest::default()
            };
            subnets.push(self.plan_subnet(&request, &IpamPool::default(), &occupied)?);
        }
        let bridge_name = body.options.get("com.docker.network.bridge.name").cloned();
        Ok(NetworkRecord {
            version: VERSION,
            chosen: pools.iter().all(|pool| pool.subnet.is_empty()),
            bridge: bridge_name.unwrap_or_else(|| format!("br-{}", id.short())),
            id,
            name: body.name.clone(),
            created: Timestamp::now(),
            internal: body.internal,
            attachable: body.attachable,
            ipv6,
            subnets,
            ipam_options: body
                .ipam
                .as_ref()
                .and_then(|ipam| ipam.options.clone())
                .unwrap_or_default(),
            options: body.options.clone(),
            labels: body.labels.clone(),
        })
    }

    fn plan_subnet(
        &self,
        request: &SubnetRequest,
        pool: &IpamPool,
        occupied: &[Occupied],
    ) -> Result<SubnetRecord> {
        let planned = ipam::plan_subnet(request, &self.networks.config.pools, occupied).map_err(|error| {
            let kind = match error {
                ipam::IpamError::Overlap { .. } => ErrorKind::Forbidden,
                ipam::IpamError::PoolsExhausted { .. } => ErrorKind::Internal,
                _ => ErrorKind::BadRequest,
            };
            let message = match &error {
                ipam::IpamError::Overlap { .. } => {
                    format!("invalid pool request: Pool overlaps with other one on this address space: {error}")
                }
                _ => error.to_string(),
            };
            ApiError::new(kind, message)
        })?;
        Ok(SubnetRecord {
            subnet: planned.network,
            gateway: planned.gateway,
            range: request.ip_range,
            auxiliary: pool.auxiliary_addresses.clone(),
            chosen_by_user: request.subnet.is_some(),
        })
    }

    /// What new networks must stay clear of: our own, the machine's routes and name servers.
    fn occupied(&self) -> Result<Vec<Occupied>> {
        let records = self.networks.records();
        let bridges: Vec<String> = records.iter().map(|record| record.bridge.clone()).collect();
        let mut occupied: Vec<Occupied> = records
            .iter()
            .flat_map(|record| {
                record
                    .subnets
                    .iter()
                    .map(|subnet| own(subnet.subnet, &record.name))
            })
            .collect();
        occupied.extend(host::routes(&bridges).map_err(|error| internal(&error))?);
        occupied.extend(host::name_servers(&self.config.resolv_conf));
        Ok(occupied)
    }

    /// Removes a network that nothing uses.
    pub(crate) async fn network_remove(self: &Arc<Self>, key: &str) -> Result<()> {
        if BUILTIN.contains(&key) || key == "bridge" {
            return Err(ApiError::forbidden(format!(
                "{key} is a pre-defined network and cannot be removed"
            )));
        }
        let _turn = self.network_turn.lock().await;
        let record = self.networks.find(key)?;
        let users: Vec<String> = self
            .containers
            .all()
            .iter()
            .filter(|container| {
                let state = container.record();
                state.run.status.is_alive() && state.endpoints.contains_key(&record.name)
            })
            .map(|container| container.name())
            .collect();
        if !users.is_empty() {
            return Err(ApiError::forbidden(format!(
                "error while removing network: network {} id {} has active endpoints: {}",
                record.name,
                record.id,
                users.join(", ")
            )));
        }
        self.delete_network(&record).await;
        self.emit_network(&record, "destroy", record.id.as_str(), BTreeMap::new());
        Ok(())
    }

    /// Takes a network out of the kernel and off the disk, as far as it got.
    async fn delete_network(self: &Arc<Self>, record: &Arc<NetworkRecord>) {
        self.networks.forget(record);
        if let Err(error) = self.networks.rules.apply().await {
            tracing::warn!(network = %record.name, %error, "cannot take a network out of the packet filter");
        }
        let plan = self.networks.bridge_plan(record);
        let copy = record.clone();
        let removed = self
            .blocking(move |service| {
                service.networks.unsave(&copy)?;
                bridge::remove(&plan.name, &plan.alias).map_err(|error| internal(&error))
            })
            .await;
        if let Err(error) = removed {
            tracing::warn!(network = %record.name, %error, "cannot remove what is left of a network");
        }
    }

    pub(super) fn emit_network(
        &self,
        record: &NetworkRecord,
        action: &str,
        id: &str,
        more: BTreeMap<String, String>,
    ) {
        let mut actor = events::actor(
            id,
            &more,
            [("name", record.name.clone()), ("type", "bridge".to_owned())],
        );
        if action == "create" || action == "destroy" {
            actor.attributes.extend(record.labels.clone());
        }
        self.events.publish("network", action, actor);
    }

    /// Lists networks.
    pub(crate) async fn networks(
        self: &Arc<Self>,
        filters: &Filters,
    ) -> Result<Vec<NetworkInspect>> {
        filters.allow_only(FILTERS)?;
        filters.check_flag("dangling")?;
        filters.check_values("type", |kind| matches!(kind, "builtin" | "custom"))?;
        self.ensure_default_network().await?;
        let mut found: Vec<NetworkInspect> = self
            .networks
            .records()
            .iter()
            .map(|record| self.wire_network(record))
            .collect();
        found.extend(BUILTIN.iter().map(|name| builtin(name)));
        let used: Vec<String> = self
            .containers
            .all()
            .iter()
            .flat_map(|container| {
                container
                    .record()
                    .endpoints
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
            })
            .collect();
        for wanted in filters.get("dangling") {
            let dangling = matches!(wanted.as_str(), "1" | "true" | "True");
            found.retain(|network| {
                !is_builtin(&network.name) && used.contains(&network.name) != dangling
            });
        }
        found.retain(|network| accepts(filters, network));
        Ok(found)
    }

    /// Everything about a network.
    pub(crate) async fn network_inspect(self: &Arc<Self>, key: &str) -> Result<NetworkInspect> {
        if key == "bridge" {
            self.ensure_default_network().await?;
        }
        if let Some(name) = BUILTIN
            .iter()
            .find(|name| **name == key || builtin_id(name) == key)
        {
            return Ok(builtin(name));
        }
        let record = self.networks.find(key)?;
        let mut network = self.wire_network(&record);
        for container in self.containers.all() {
            let state = container.record();
            if !state.run.status.is_alive() {
                continue;
            }
            if let Some(given) = state
                .endpoints
                .get(&record.name)
                .and_then(|endpoint| endpoint.given.as_ref())
            {
                network
                    .containers
                    .insert(state.id.to_string(), wire_member(&state, given));
            }
        }
        Ok(network)
    }

    fn wire_network(&self, record: &NetworkRecord) -> NetworkInspect {
        let pool = |subnet: &SubnetRecord| IpamPool {
            subnet: subnet.subnet.to_string(),
            ip_range: subnet
                .range
                .map(|range| range.to_string())
                .unwrap_or_default(),
            gateway: subnet.gateway.to_string(),
            auxiliary_addresses: subnet.auxiliary.clone(),
        };
        NetworkInspect {
            name: record.name.clone(),
            id: record.id.to_string(),
            created: record.created.to_string(),
            scope: "local".to_owned(),
            driver: "bridge".to_owned(),
            enable_ipv4: record.subnets.iter().any(|subnet| subnet.subnet.is_ipv4()),
            enable_ipv6: record.ipv6,
            ipam: Ipam {
                driver: "default".to_owned(),
                options: Some(record.ipam_options.clone()).filter(|options| !options.is_empty()),
                config: record.subnets.iter().map(pool).collect(),
            },
            internal: record.internal,
            attachable: record.attachable,
            options: default_options(record),
            labels: record.labels.clone(),
            ..NetworkInspect::default()
        }
    }
}

/// The options of a network; of the default one also what it is without a word, which clients look for.
fn default_options(record: &NetworkRecord) -> BTreeMap<String, String> {
    let mut options = record.options.clone();
    if record.name == "bridge" {
        for (name, value) in [
            ("bridge.default_bridge", "true"),
            ("bridge.enable_icc", "true"),
            ("bridge.enable_ip_masquerade", "true"),
            ("bridge.host_binding_ipv4", "0.0.0.0"),
            ("bridge.name", record.bridge.as_str()),
            ("driver.mtu", "1500"),
        ] {
            options
                .entry(format!("com.docker.network.{name}"))
                .or_insert_with(|| value.to_owned());
        }
    }
    options
}

/// What only swarms have is refused by name.
fn check_kind(body: &NetworkCreate) -> Result<()> {
    let refuse = |what: &str, why: &str| {
        let message = format!("{what} is not supported by this engine: {why}");
        Err(ApiError::bad_request(message))
    };
    if body.ingress {
        return refuse("Ingress", "it is for swarms");
    }
    if body.config_only || !body.config_from.network.is_empty() {
        return refuse("ConfigOnly", "give each network its own settings");
    }
    if !matches!(body.scope.as_str(), "" | "local") {
        return refuse(&format!("Scope \"{}\"", body.scope), "it is for swarms");
    }
    if body.enable_ipv4 == Some(false) && !body.enable_ipv6.unwrap_or(false) {
        return Err(ApiError::bad_request("IPv4 or IPv6 must be enabled"));
    }
    let driver = body.ipam.as_ref().map_or("", |ipam| ipam.driver.as_str());
    if !matches!(driver, "" | "default") {
        return Err(ApiError::not_found(format!(
            "could not find plugin {driver} in v1 plugin registry: plugin not found"
        ))
        .with_hint("the only address management here is default"));
    }
    Ok(())
}

fn own(subnet: IpNetwork, name: &str) -> Occupied {
    Occupied {
        prefix: subnet,
        holder: format!("network {name}"),
    }
}

fn subnet_request(pool: &IpamPool) -> Result<SubnetRequest> {
    fn parse<T: std::str::FromStr>(what: &str, text: &str) -> Result<Option<T>> {
        if text.is_empty() {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|_| ApiError::bad_request(format!("invalid {what}: \"{text}\"")))
    }
    let mut aux_addresses = BTreeMap::new();
    for (name, text) in &pool.auxiliary_addresses {
        if let Some(address) = parse::<IpAddr>("auxiliary address", text)? {
            aux_addresses.insert(name.clone(), address);
        }
    }
    Ok(SubnetRequest {
        subnet: parse("subnet", &pool.subnet)?,
        gateway: parse("gateway", &pool.gateway)?,
        ip_range: parse("ip range", &pool.ip_range)?,
        aux_addresses,
    })
}

fn wire_member(record: &ContainerRecord, given: &EndpointGiven) -> NetworkContainer {
    NetworkContainer {
        name: record.name.clone(),
        endpoint_id: given.id.clone(),
        mac_address: given.mac.clone(),
        ipv4_address: given
            .ipv4
            .map(|address| address.to_string())
            .unwrap_or_default(),
        ipv6_address: given
            .ipv6
            .map(|address| address.to_string())
            .unwrap_or_default(),
    }
}

fn builtin(name: &str) -> NetworkInspect {
    NetworkInspect {
        name: name.to_owned(),
        id: builtin_id(name),
        created: ZERO_TIME.to_owned(),
        scope: "local".to_owned(),
        driver: if name == "none" {
            "null".to_owned()
        } else {
            name.to_owned()
        },
        enable_ipv4: true,
        ipam: Ipam {
            driver: "default".to_owned(),
            options: None,
            config: Vec::new(),
        },
        ..NetworkInspect::default()
    }
}

fn is_builtin(name: &str) -> bool {
    BUILTIN.contains(&name) || name == "bridge"
}

fn accepts(filters: &Filters, network: &NetworkInspect) -> bool {
    let builtin = is_builtin(&network.name);
    filters.accepts_labels(&network.labels)
        && filters.accepts("name", |wanted| {
            super::list::pattern_matches(wanted, &network.name)
        })
        && filters.accepts("id", |wanted| {
            super::list::pattern_matches(wanted, &network.id)
        })
        && filters.accepts("driver", |wanted| *wanted == network.driver)
        && filters.accepts("scope", |wanted| *wanted == network.scope)
        && filters.accepts("type", |wanted| {
            wanted == if builtin { "builtin" } else { "custom" }
        })
}
