//! What is known about a network.

use std::collections::BTreeMap;

use hoist_api::NetworkId;
use ipnetwork::IpNetwork;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The only version of the record's form.
pub(crate) const VERSION: u32 = 1;

/// One subnet of a network, resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubnetRecord {
    pub(crate) subnet: IpNetwork,
    pub(crate) gateway: std::net::IpAddr,
    /// Addresses are given from here.
    pub(crate) range: Option<IpNetwork>,
    /// Never given.
    #[serde(default)]
    pub(crate) auxiliary: BTreeMap<String, String>,
    /// As the user asked, not chosen by the engine.
    #[serde(default)]
    pub(crate) chosen_by_user: bool,
}

/// A network's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkRecord {
    pub(crate) version: u32,
    pub(crate) id: NetworkId,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) internal: bool,
    pub(crate) attachable: bool,
    pub(crate) ipv6: bool,
    pub(crate) subnets: Vec<SubnetRecord>,
    /// The engine chose the subnets, not the user.
    #[serde(default)]
    pub(crate) chosen: bool,
    pub(crate) ipam_options: BTreeMap<String, String>,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Name of the bridge on the host.
    pub(crate) bridge: String,
}
