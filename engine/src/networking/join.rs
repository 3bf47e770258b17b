//! What a container gets from its networks at a start, and gives back at its end.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use hoist_api::error::{ApiError, ErrorKind, Result, chain};
use hoist_network::MacAddress;
use hoist_network::dns::{DnsSockets, EndpointNames, Upstreams, View};
use hoist_network::firewall::PublishedPort as Rule;
use hoist_network::link::bridge;
use hoist_network::link::endpoint::{EndpointPlan, Gateways};
use hoist_network::ports::{Claim, PortError};
use hoist_network::proxy::Proxy;
use hoist_network::sandbox::{EmbeddedDns, Sandbox, SandboxPlan};
use ipnetwork::IpNetwork;

use super::options;
use super::ports::{self, Binding};
use super::{Held, Networks};
use crate::runtime::spec::{NetworkNamespace, UserNamespace};
use crate::store::container::{ContainerRecord, EndpointGiven, PublishedPort};
use crate::store::network::NetworkRecord;

/// Names under which a container's shim keeps descriptors for the next engine.
pub(crate) const STORED_DNS: &str = "dns";
/// The claims of its published ports.
pub(crate) const STORED_PORTS: &str = "ports";

/// What a start gets.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) network: NetworkNamespace,
    /// The namespace itself, where it exists before the process.
    pub(crate) descriptor: Option<OwnedFd>,
    /// The user namespace that owns it, when it is the container's own.
    pub(crate) users: Option<(UserNamespace, OwnedFd)>,
    /// By network name.
    pub(crate) endpoints: BTreeMap<String, EndpointGiven>,
    pub(crate) ports: Vec<PublishedPort>,
    pub(crate) hostname: String,
    /// Files of ours and where the container sees them.
    pub(crate) files: Vec<(&'static str, PathBuf)>,
    /// For the shim's keeping.
    pub(crate) stored: Vec<(String, Vec<OwnedFd>)>,
}

/// A place in a network, planned.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) network: Arc<NetworkRecord>,
    pub(crate) plan: EndpointPlan,
    pub(crate) given: EndpointGiven,
    priority: i64,
}

impl Planned {
    fn addresses(&self) -> Vec<IpAddr> {
        self.plan.addresses.iter().map(IpNetwork::ip).collect()
    }
}

impl Networks {
    /// Plans a container's place in each of its networks; addresses are taken. On failure nothing stays taken.
    pub(crate) fn plan_endpoints(&self, record: &ContainerRecord) -> Result<Vec<Planned>> {
        let mut planned: Vec<Planned> = Vec::new();
        for name in record.endpoints.keys() {
            let link = free_link(record, planned.iter().map(|endpoint| &endpoint.given));
            match self.plan_endpoint(record, name, link) {
                Ok(endpoint) => planned.push(endpoint),
                Err(error) => {
                    self.release_planned(&planned);
                    return Err(error);
                }
            }
        }
        Ok(planned)
    }

    /// Plans one place; `link` is what its link inside is called unless it is asked for by another name.
    pub(crate) fn plan_endpoint(
        &self,
        record: &ContainerRecord,
        name: &str,
        link: String,
    ) -> Result<Planned> {
        let network = self.find(name)?;
        let asked = record
            .endpoints
            .get(name)
            .map(|endpoint| endpoint.asked.clone())
            .unwrap_or_default();
        let mac = self.wanted_mac(record, name, &asked.mac_address)?;
        // Records may be older than the check at the creation.
        options::check(name, &asked)?;
        let wanted = options::static_addresses(&asked);
        let addresses = self.lease(name, &format!("container {}", record.name), &wanted)?;
        let mac = mac.unwrap_or_else(|| MacAddress::derived_from(&addresses));
        let id = hex::encode(crate::names::random_id());
        let host_name = format!("veth{}", &id[..7]);
        let alias = self.config.alias(record.id.as_str());
        let (gateway, ipv6_gateway) = Self::gateways(&network);
        let text =
            |address: Option<String>| address.filter(|_| !network.internal).unwrap_or_default();
        let mut given = EndpointGiven {
            id,
            link: options::link_name(&asked).map_or(link, str::to_owned),
            host_link: host_name.clone(),
            mac: mac.to_string(),
            gateway: text(gateway.map(|address| address.to_string())),
            ipv6_gateway: text(ipv6_gateway.map(|address| address.to_string())),
            ..EndpointGiven::default()
        };
        for address in &addresses {
            match address {
                IpNetwork::V4(address) => given.ipv4 = Some(*address),
                IpNetwork::V6(address) => given.ipv6 = Some(*address),
            }
        }
        let mut addresses = addresses;
        addresses.extend(options::link_local(&asked, given.ipv6.is_some()));
        let plan = EndpointPlan {
            host_name,
            group: bridge::group_of(&self.config.alias(network.id.as_str())),
            alias,
            bridge: network.bridge.clone(),
            name: given.link.clone(),
            mac,
            addresses,
            mtu: super::mtu(&network),
            sysctls: options::settings(&asked, &given.link),
            isolated: options::is_no(&network.options, options::BETWEEN_CONTAINERS),
        };
        Ok(Planned {
            network,
            plan,
            given,
            priority: asked.gw_priority,
        })
    }

    /// The hardware address that is asked for; the container's is that of its main network.
    fn wanted_mac(
        &self,
        record: &ContainerRecord,
        network: &str,
        asked: &str,
    ) -> Result<Option<MacAddress>> {
        let is_main = self.canonical(&record.host_config.network_mode) == network;
        let text = match asked {
            "" if is_main => record.config.mac_address.as_str(),
            asked => asked,
        };
        if text.is_empty() {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|error: hoist_network::link::InvalidMac| {
                ApiError::bad_request(error.to_string())
            })
    }

    pub(crate) fn release_planned(&self, planned: &[Planned]) {
        for endpoint in planned {
            self.release(&endpoint.network.name, &endpoint.addresses());
        }
    }

    /// Claims the ports of a container; the label names it in conflicts. A container that is in internal networks only
    /// publishes nothing, as with Docker: nobody outside may reach it.
    pub(crate) fn claim(&self, record: &ContainerRecord) -> Result<Vec<(u16, Claim)>> {
        if !record.endpoints.is_empty() && !self.reaches_out(record) {
            return Ok(Vec::new());
        }
        let host = &record.host_config;
        let bindings = ports::bindings(
            &host.port_bindings,
            record.config.exposed_ports.keys(),
            host.publish_all_ports,
        )?;
        let label = format!("container {}", record.name);
        let mut table = self.ports();
        let mut claims: Vec<(u16, Claim)> = Vec::new();
        for Binding {
            container_port,
            request,
        } in bindings
        {
            match table.claim(&request, &label) {
                Ok(new) => claims.extend(new.into_iter().map(|claim| (container_port, claim))),
                Err(error) => {
                    table.release(claims.into_iter().map(|(_, claim)| claim).collect());
                    return Err(port_error(record, &error));
                }
            }
        }
        Ok(claims)
    }

    /// Whether a container is in a network that is not internal.
    pub(crate) fn reaches_out(&self, record: &ContainerRecord) -> bool {
        let mut names = record.endpoints.keys();
        names.any(|name| self.find(name).is_ok_and(|network| !network.internal))
    }

    /// Takes a container's claims to publish them anew, each with the container's port that it is for.
    pub(crate) fn retake(&self, id: &str, published: &[PublishedPort]) -> Vec<(u16, Claim)> {
        let Some(held) = self.held().remove(id) else {
            return Vec::new();
        };
        drop(held.proxies);
        let mut known = Vec::new();
        for claim in held.claims {
            match port_of(&claim, published) {
                Some(port) => known.push((port, claim)),
                None => self.unclaim(vec![(0, claim)]),
            }
        }
        known
    }

    /// Gives claims back that no container holds yet.
    pub(crate) fn unclaim(&self, claims: Vec<(u16, Claim)>) {
        self.ports()
            .release(claims.into_iter().map(|(_, claim)| claim).collect());
    }

    /// Takes a claim over whose socket the shim has kept.
    pub(crate) fn adopt(&self, descriptor: OwnedFd, label: &str) -> Result<Claim> {
        self.ports()
            .adopt(descriptor, label)
            .map_err(|error| ApiError::internal(&error))
    }

    /// Publishes a container's ports: rules for the kernel (after [`super::Rules::apply`]), relays for the rest.
    pub(crate) fn publish(
        &self,
        id: &str,
        claims: Vec<(u16, Claim)>,
        targets: &[IpAddr],
    ) -> Result<Vec<PublishedPort>> {
        let mut held = Held::default();
        let (mut rules, mut published) = (Vec::new(), Vec::new());
        for (container_port, claim) in claims {
            let address = claim.address();
            let same_family = targets
                .iter()
                .find(|target| target.is_ipv4() == address.is_ipv4());
            published.push(PublishedPort {
                protocol: claim.protocol().to_string(),
                container_port,
                host_ip: address.ip().to_string(),
                host_port: address.port(),
            });
            let Some(target) = same_family.or(targets.first()) else {
                continue;
            };
            let target = SocketAddr::new(*target, container_port);
            if same_family.is_some() {
                rules.push(Rule {
                    host_ip: Some(address.ip()),
                    host_port: address.port(),
                    protocol: claim.protocol(),
                    target,
                });
            }
            let proxy = Proxy::start(&claim, target).map_err(|error| ApiError::internal(&error))?;
            held.proxies.push(proxy);
            held.claims.push(claim);
        }
        self.rules.publish(id, rules);
        if !held.claims.is_empty() {
            self.held().insert(id.to_owned(), held);
        }
        Ok(published)
    }

    /// Takes a container's ports back; tells whether the rules have to be applied.
    pub(crate) fn unpublish(&self, id: &str) -> bool {
        if let Some(held) = self.held().remove(id) {
            drop(held.proxies);
            self.ports().release(held.claims);
        }
        self.rules.publish(id, Vec::new())
    }

    /// Makes a container findable in its networks.
    pub(crate) fn announce(
        &self,
        record: &ContainerRecord,
        endpoints: &BTreeMap<String, EndpointGiven>,
    ) {
        for (name, given) in endpoints {
            let Ok(network) = self.find(name) else {
                continue;
            };
            let names = EndpointNames {
                names: if is_default(&network) {
                    Vec::new()
                } else {
                    names(record, name)
                },
                addresses: addresses(given),
            };
            self.dns
                .put_endpoint(network.id.as_str(), record.id.as_str(), names);
        }
    }

    /// Takes a container's names and addresses back.
    pub(crate) fn withdraw(
        &self,
        record: &ContainerRecord,
        endpoints: &BTreeMap<String, EndpointGiven>,
    ) {
        for (name, given) in endpoints {
            self.release(name, &addresses(given));
            if let Ok(network) = self.find(name) {
                self.dns
                    .remove_endpoint(network.id.as_str(), record.id.as_str());
            }
        }
    }

    /// What a container sees through the embedded DNS.
    pub(crate) fn view(&self, record: &ContainerRecord, own_servers: &[IpAddr]) -> View {
        let networks: Vec<Arc<NetworkRecord>> = record
            .endpoints
            .keys()
            .filter_map(|name| self.find(name).ok())
            .collect();
        let servers: Vec<IpAddr> = record
            .host_config
            .dns
            .iter()
            .filter_map(|server| server.parse().ok())
            .collect();
        let upstreams = if !networks.is_empty() && networks.iter().all(|network| network.internal) {
            Upstreams::Nobody
        } else if !servers.is_empty() {
            Upstreams::Servers(servers)
        } else if !own_servers.is_empty() {
            Upstreams::Servers(own_servers.to_vec())
        } else {
            Upstreams::Host
        };
        let ids = networks
            .iter()
            .filter(|network| !is_default(network))
            .map(|network| network.id.to_string());
        // What a container calls those that it links to comes first, and is nobody else's.
        View {
            networks: std::iter::once(links_of(record.id.as_str()))
                .chain(ids)
                .collect(),
            upstreams,
        }
    }
}

/// The first of `eth0`, `eth1`, ... that no place of the container has or is asked for.
pub(crate) fn free_link<'a>(
    record: &ContainerRecord,
    given: impl Iterator<Item = &'a EndpointGiven>,
) -> String {
    let asked = record.endpoints.values();
    let asked = asked.filter_map(|endpoint| options::link_name(&endpoint.asked));
    let used: Vec<&str> = given
        .map(|given| given.link.as_str())
        .chain(asked)
        .collect();
    (0..)
        .map(|index| format!("eth{index}"))
        .find(|name| !used.contains(&name.as_str()))
        .unwrap_or_default()
}

/// Where the embedded DNS has the names that a container's links give to others.
pub(crate) fn links_of(container: &str) -> String {
    format!("links of {container}")
}

/// The default bridge knows no names, as Docker's.
pub(crate) fn is_default(network: &NetworkRecord) -> bool {
    network.name == "bridge"
}

/// A container's names in a network: its own, its aliases, its short id.
fn names(record: &ContainerRecord, network: &str) -> Vec<String> {
    let mut names = vec![record.name.clone()];
    if let Some(endpoint) = record.endpoints.get(network) {
        names.extend(endpoint.asked.aliases.iter().flatten().cloned());
    }
    names.push(record.id.short().to_owned());
    if !record.config.hostname.is_empty() {
        names.push(record.config.hostname.clone());
    }
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.to_ascii_lowercase()));
    names
}

/// The addresses of an endpoint, IPv4 first.
pub(crate) fn addresses(given: &EndpointGiven) -> Vec<IpAddr> {
    let ipv4 = given.ipv4.map(|address| IpAddr::V4(address.ip()));
    let ipv6 = given.ipv6.map(|address| IpAddr::V6(address.ip()));
    ipv4.into_iter().chain(ipv6).collect()
}

/// The places in order of who gives the default route: highest priority, then not internal, then by name.
fn by_gateway(planned: &[Planned]) -> Vec<&Planned> {
    let mut order: Vec<&Planned> = planned.iter().collect();
    order.sort_by(|one, other| {
        other
            .priority
            .cmp(&one.priority)
            .then(one.network.internal.cmp(&other.network.internal))
            .then_with(|| one.network.name.cmp(&other.network.name))
    });
    order
}

/// Whose gateways become the default routes.
pub(crate) fn gateways(planned: &[Planned]) -> Gateways {
    let order = by_gateway(planned);
    let open = || {
        order
            .iter()
            .filter(|endpoint| !endpoint.network.internal)
            .map(|endpoint| Networks::gateways(&endpoint.network))
    };
    Gateways {
        ipv4: open().find_map(|(ipv4, _)| ipv4),
        ipv6: open().find_map(|(_, ipv6)| ipv6),
    }
}

/// The addresses that published ports lead to: those of the network that gives the default route.
pub(crate) fn targets(planned: &[Planned]) -> Vec<IpAddr> {
    by_gateway(planned)
        .first()
        .map(|endpoint| endpoint.addresses())
        .unwrap_or_default()
}

/// The namespace of a container as it should be.
pub(crate) fn sandbox_plan(record: &ContainerRecord, planned: &[Planned]) -> SandboxPlan {
    let host = &record.host_config;
    let can_filter = host.privileged
        || host.cap_add.iter().any(|name| {
            let name = name.to_ascii_uppercase();
            matches!(
                name.strip_prefix("CAP_").unwrap_or(&name),
                "ALL" | "NET_ADMIN"
            )
        });
    SandboxPlan {
        endpoints: planned
            .iter()
            .map(|endpoint| endpoint.plan.clone())
            .collect(),
        gateways: gateways(planned),
        sysctls: host
            .sysctls
            .iter()
            .filter(|(name, _)| name.starts_with("net."))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        dns: if can_filter {
            EmbeddedDns::AllTracked
        } else {
            EmbeddedDns::LoopbackTracked
        },
    }
}

/// Copies of the DNS sockets and port claims for the shim's keeping.
pub(crate) fn stored(
    sandbox: &Sandbox,
    claims: &[(u16, Claim)],
) -> Result<Vec<(String, Vec<OwnedFd>)>> {
    let copy = |descriptor: std::os::fd::BorrowedFd<'_>| {
        descriptor
            .try_clone_to_owned()
            .map_err(|error| ApiError::internal(&error))
    };
    let mut stored = Vec::new();
    if let Some(dns) = &sandbox.dns {
        let copies: Result<Vec<OwnedFd>> =
            DnsSockets::descriptors(dns).into_iter().map(copy).collect();
        stored.push((STORED_DNS.to_owned(), copies?));
    }
    let copies = stored_ports(claims)?;
    if !copies.is_empty() {
        stored.push((STORED_PORTS.to_owned(), copies));
    }
    Ok(stored)
}

/// Copies of port claims for the shim's keeping.
pub(crate) fn stored_ports(claims: &[(u16, Claim)]) -> Result<Vec<OwnedFd>> {
    let descriptors = claims.iter().filter_map(|(_, claim)| claim.descriptor());
    descriptors
        .map(|descriptor| {
            let copy = descriptor.try_clone_to_owned();
            copy.map_err(|error| ApiError::internal(&error))
        })
        .collect()
}

/// The container's port that a claim is for.
pub(crate) fn port_of(claim: &Claim, published: &[PublishedPort]) -> Option<u16> {
    let address = claim.address();
    let is_it = |port: &&PublishedPort| {
        port.host_port == address.port()
            && port.protocol == claim.protocol().to_string()
            && port.host_ip == address.ip().to_string()
    };
    published.iter().find(is_it).map(|port| port.container_port)
}

fn port_error(record: &ContainerRecord, error: &PortError) -> ApiError {
    let message = format!(
        "failed to set up container networking: driver failed programming external connectivity on endpoint {}: {}",
        record.name,
        chain(error)
    );
    let hint = match error {
        PortError::Allocated { .. } | PortError::RangeAllocated { .. } => {
            Some(super::preflight::HINT)
        }
        _ => None,
    };
    let failure = ApiError::new(ErrorKind::Internal, message);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
