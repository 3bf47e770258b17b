//! Networks and the endpoints of containers in them.

use std::collections::BTreeMap;

use crate::wire::wire;

wire! {
    /// Addresses asked for.
    pub struct EndpointIpamConfig {
        /// Static IPv4 address.
        #[serde(rename = "IPv4Address", skip_serializing_if = "String::is_empty")]
        pub ipv4_address: String,
        /// Static IPv6 address.
        #[serde(rename = "IPv6Address", skip_serializing_if = "String::is_empty")]
        pub ipv6_address: String,
        /// Link-local addresses.
        #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Vec::is_empty")]
        pub link_local_ips: Vec<String>,
    }

    /// A container's place in a network: asked for and given.
    pub struct EndpointSettings {
        /// Addresses asked for.
        #[serde(rename = "IPAMConfig")]
        pub ipam_config: Option<EndpointIpamConfig>,
        /// Legacy links `container:alias`.
        pub links: Option<Vec<String>>,
        /// Further names in this network.
        pub aliases: Option<Vec<String>>,
        /// MAC address asked for or given.
        pub mac_address: String,
        /// Driver options.
        pub driver_opts: Option<BTreeMap<String, String>>,
        /// Whose gateway becomes the default one: the highest.
        pub gw_priority: i64,
        /// Given.
        #[serde(rename = "NetworkID")]
        pub network_id: String,
        /// Given.
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        /// Given.
        pub gateway: String,
        /// Given.
        #[serde(rename = "IPAddress")]
        pub ip_address: String,
        /// Given.
        #[serde(rename = "IPPrefixLen")]
        pub ip_prefix_len: i64,
        /// Given.
        #[serde(rename = "IPv6Gateway")]
        pub ipv6_gateway: String,
        /// Given.
        #[serde(rename = "GlobalIPv6Address")]
        pub global_ipv6_address: String,
        /// Given.
        #[serde(rename = "GlobalIPv6PrefixLen")]
        pub global_ipv6_prefix_len: i64,
        /// All names in this network.
        #[serde(rename = "DNSNames")]
        pub dns_names: Option<Vec<String>>,
    }

    /// One subnet.
    pub struct IpamPool {
        /// `172.28.0.0/16`.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub subnet: String,
        /// Part of the subnet that addresses are given from.
        #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
        pub ip_range: String,
        /// Gateway; empty: the first address.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub gateway: String,
        /// Addresses never given, by name.
        #[serde(rename = "AuxiliaryAddresses", skip_serializing_if = "BTreeMap::is_empty")]
        pub auxiliary_addresses: BTreeMap<String, String>,
    }

    /// How addresses are managed.
    pub struct Ipam {
        /// `default`.
        pub driver: String,
        /// Driver options.
        pub options: Option<BTreeMap<String, String>>,
        /// Subnets.
        pub config: Vec<IpamPool>,
    }

    /// Where a network's configuration comes from.
    pub struct ConfigReference {
        /// Name of the network.
        pub network: String,
    }

    /// Body of a network's creation.
    pub struct NetworkCreate {
        /// Name.
        pub name: String,
        /// Refuse a second network of this name (before 1.44).
        pub check_duplicate: bool,
        /// `bridge`; empty: `bridge`.
        pub driver: String,
        /// `local`.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub scope: String,
        /// No way out.
        pub internal: bool,
        /// Only of swarms.
        pub attachable: bool,
        /// Only of swarms.
        pub ingress: bool,
        /// Only of swarms.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub config_only: bool,
        /// Only of swarms.
        #[serde(skip_serializing_if = "is_nothing")]
        pub config_from: ConfigReference,
        /// Addresses.
        #[serde(rename = "IPAM", skip_serializing_if = "Option::is_none")]
        pub ipam: Option<Ipam>,
        /// IPv4 addresses; absent: yes.
        #[serde(rename = "EnableIPv4", skip_serializing_if = "Option::is_none")]
        pub enable_ipv4: Option<bool>,
        /// IPv6 addresses; absent: no.
        #[serde(rename = "EnableIPv6", skip_serializing_if = "Option::is_none")]
        pub enable_ipv6: Option<bool>,
        /// Driver options.
        pub options: BTreeMap<String, String>,
        /// Labels.
        pub labels: BTreeMap<String, String>,
    }

    /// Answer to a network's creation.
    pub struct NetworkCreated {
        /// Full id.
        pub id: String,
        /// What does not work as asked.
        pub warning: String,
    }

    /// A container in a network.
    pub struct NetworkContainer {
        /// Name.
        pub name: String,
        /// Endpoint id.
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        /// MAC address.
        pub mac_address: String,
        /// With prefix length.
        #[serde(rename = "IPv4Address")]
        pub ipv4_address: String,
        /// With prefix length.
        #[serde(rename = "IPv6Address")]
        pub ipv6_address: String,
    }

    /// Everything about a network; lists carry the same without containers.
    pub struct NetworkInspect {
        /// Name.
        pub name: String,
        /// Full id.
        pub id: String,
        /// RFC 3339.
        pub created: String,
        /// `local`.
        pub scope: String,
        /// `bridge`, `host` or `null`.
        pub driver: String,
        /// Has IPv4.
        #[serde(rename = "EnableIPv4")]
        pub enable_ipv4: bool,
        /// Has IPv6.
        #[serde(rename = "EnableIPv6")]
        pub enable_ipv6: bool,
        /// Addresses.
        #[serde(rename = "IPAM")]
        pub ipam: Ipam,
        /// No way out.
        pub internal: bool,
        /// Only of swarms.
        pub attachable: bool,
        /// Only of swarms.
        pub ingress: bool,
        /// Only of swarms.
        pub config_from: ConfigReference,
        /// Only of swarms.
        pub config_only: bool,
        /// Running containers by id.
        pub containers: BTreeMap<String, NetworkContainer>,
        /// Driver options.
        pub options: BTreeMap<String, String>,
        /// Labels.
        pub labels: BTreeMap<String, String>,
    }

    /// Body of a connection.
    pub struct NetworkConnect {
        /// Container name or id. Ruby's docker-api writes it small, and Docker's engine reads it in any case.
        #[serde(alias = "container")]
        pub container: String,
        /// Its place in the network.
        pub endpoint_config: Option<EndpointSettings>,
    }

    /// Answer to the removal of all networks that nothing uses.
    pub struct NetworksPruned {
        /// Their names.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub networks_deleted: Vec<String>,
    }

    /// Body of a disconnection.
    pub struct NetworkDisconnect {
        /// Container name or id. Ruby's docker-api writes it small, and Docker's engine reads it in any case.
        #[serde(alias = "container")]
        pub container: String,
        /// Even when it does not exist any more.
        pub force: bool,
    }
}

fn is_nothing(reference: &ConfigReference) -> bool {
    reference.network.is_empty()
}
