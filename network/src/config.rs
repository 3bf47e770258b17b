//! What one engine's networks are made of. Two engines with different configurations never touch each other's
//! links, tables or addresses.

use std::path::PathBuf;

use ipnetwork::Ipv4Network;

use crate::ipam::AddressPool;

/// The parameters of one engine's networks. Nothing in this crate reads anything of the sort from elsewhere.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Names this engine in link aliases (`hoist:<tag>:...`), so that a clean-up finds only its own links.
    /// Letters, digits, `_` and `-`; at most 32 bytes.
    pub tag: String,
    /// Name of our nftables table (family `inet`) in the host's namespace.
    pub table: String,
    /// Where subnets are taken from, in order, when a network does not name one.
    pub pools: Vec<AddressPool>,
    /// Resolver configuration of the host: source of upstream name servers.
    pub resolv_conf: PathBuf,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            tag: "hoist".to_owned(),
            table: "hoist".to_owned(),
            pools: AddressPool::docker_defaults(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        }
    }
}

impl NetworkConfig {
    /// The alias (`ifalias`) that marks a link of this engine. `object` is a name of the caller's choice, for
    /// instance a network's or an endpoint's id.
    pub fn alias(&self, object: &str) -> String {
        format!("{}{object}", self.alias_prefix())
    }

    /// What the alias of every link of this engine begins with.
    pub fn alias_prefix(&self) -> String {
        format!("hoist:{}:", self.tag)
    }
}

/// Docker's pools, in Docker's order: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in /20s.
pub(crate) fn docker_pools() -> Vec<AddressPool> {
    let whole = |third: u8| AddressPool {
        base: network([172, third, 0, 0], 16),
        size: 16,
    };
    let mut pools: Vec<AddressPool> = (17..=31).map(whole).collect();
    pools.push(AddressPool {
        base: network([192, 168, 0, 0], 16),
        size: 20,
    });
    pools
}

fn network(address: [u8; 4], prefix: u8) -> Ipv4Network {
    Ipv4Network::new(address.into(), prefix).expect("the constant prefixes above are at most 32")
}
