//! Top-level networks, and a service's attachment to one.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::Extensions;

/// A network of the project.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// The name at the engine: `<project>_<key>` unless the file names it.
    pub name: String,
    /// Driver; none means `bridge`.
    pub driver: Option<String>,
    /// Driver options.
    pub driver_opts: IndexMap<String, String>,
    /// Address management.
    pub ipam: Ipam,
    /// It exists already and is not ours to create or remove.
    pub external: bool,
    /// No way out of this network.
    pub internal: bool,
    /// Containers outside the project may attach.
    pub attachable: bool,
    /// IPv4 addresses are given out; none means yes.
    pub enable_ipv4: Option<bool>,
    /// IPv6 addresses are given out; none means no.
    pub enable_ipv6: Option<bool>,
    /// Labels of the network.
    pub labels: IndexMap<String, String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Address management of a network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ipam {
    /// Driver; none means `default`.
    pub driver: Option<String>,
    /// Address pools, at most one per family is usual.
    pub config: Vec<IpamPool>,
    /// Driver options.
    pub options: IndexMap<String, String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// One address pool of a network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamPool {
    /// The subnet in CIDR form.
    pub subnet: Option<String>,
    /// The gateway's address.
    pub gateway: Option<String>,
    /// Part of the subnet that addresses are given from, in CIDR form.
    pub ip_range: Option<String>,
    /// Addresses that are taken, by host name.
    pub aux_addresses: IndexMap<String, String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// How a service is attached to one network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkAttachment {
    /// Further DNS names of the service on this network.
    pub aliases: Vec<String>,
    /// Driver options of the endpoint.
    pub driver_opts: IndexMap<String, String>,
    /// The network with the highest value gives the default gateway.
    pub gw_priority: i64,
    /// Name of the interface inside the container.
    pub interface_name: Option<String>,
    /// Static IPv4 address.
    pub ipv4_address: Option<String>,
    /// Static IPv6 address.
    pub ipv6_address: Option<String>,
    /// Link-local addresses.
    pub link_local_ips: Vec<String>,
    /// MAC address.
    pub mac_address: Option<String>,
    /// Networks are attached in descending order of this.
    pub priority: i64,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}
