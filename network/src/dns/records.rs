//! The names of endpoints in networks. Names are compared without case, as DNS does.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// The names and addresses of one endpoint in one network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointNames {
    /// What it answers to: container name, short id, aliases (service name). The first is what its address
    /// resolves back to.
    pub names: Vec<String>,
    /// Its addresses in the network.
    pub addresses: Vec<IpAddr>,
}

/// What a name or address was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The name's addresses of both families; those of all endpoints that share it.
    Addresses(Vec<IpAddr>),
    /// Nobody's.
    Nothing,
}

/// All networks' names.
#[derive(Debug, Default)]
pub struct Directory {
    networks: HashMap<String, Network>,
}

#[derive(Debug, Default)]
struct Network {
    name: String,
    endpoints: BTreeMap<String, EndpointNames>,
    /// Lower-case name → addresses of all endpoints that have it.
    by_name: HashMap<String, Vec<IpAddr>>,
    /// Address → the owner's first name.
    by_address: HashMap<IpAddr, String>,
}

impl Directory {
    /// No networks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a network or renames it. `id` is the caller's key; `name` is what `<endpoint>.<name>` means.
    pub fn put_network(&mut self, id: &str, name: &str) {
        let network = self.networks.entry(id.to_owned()).or_default();
        name.clone_into(&mut network.name);
    }

    /// Removes a network with its names.
    pub fn remove_network(&mut self, id: &str) {
        self.networks.remove(id);
    }

    /// Adds or replaces an endpoint's names. `endpoint` is the caller's key, unique in the network. The network is
    /// made if it does not exist.
    pub fn put_endpoint(&mut self, network: &str, endpoint: &str, names: EndpointNames) {
        let network = self.networks.entry(network.to_owned()).or_default();
        network.endpoints.insert(endpoint.to_owned(), names);
        network.index();
    }

    /// Removes an endpoint's names.
    pub fn remove_endpoint(&mut self, network: &str, endpoint: &str) {
        if let Some(network) = self.networks.get_mut(network)
            && network.endpoints.remove(endpoint).is_some()
        {
            network.index();
        }
    }

    /// Looks a name up in networks, in order; the first network that knows it answers. `name` has no final dot.
    /// `<endpoint>.<network>` is tried after the whole name.
    pub fn lookup(&self, networks: &[String], name: &str) -> Found {
        let name = name.to_lowercase();
        let visible = || networks.iter().filter_map(|id| self.networks.get(id));
        if let Some(found) = visible().find_map(|network| network.by_name.get(&name)) {
            return Found::Addresses(found.clone());
        }
        let qualified = visible().find_map(|network| {
            let suffix = network.name.to_lowercase();
            let short = name.strip_suffix(&suffix)?.strip_suffix('.')?;
            network.by_name.get(short)
        });
        qualified.map_or(Found::Nothing, |found| Found::Addresses(found.clone()))
    }

    /// The full name (`name.network`) of an address in one of the networks.
    pub fn name_of(&self, networks: &[String], address: IpAddr) -> Option<String> {
        networks
            .iter()
            .filter_map(|id| self.networks.get(id))
            .find_map(|network| {
                let name = network.by_address.get(&address)?;
                Some(format!("{name}.{}", network.name))
            })
    }
}

impl Network {
    fn index(&mut self) {
        self.by_name.clear();
        self.by_address.clear();
        for endpoint in self.endpoints.values() {
            let mut names: Vec<String> = endpoint
                .names
                .iter()
                .map(|name| name.to_lowercase())
                .collect();
            names.sort();
            names.dedup();
            for name in names {
                let addresses = self.by_name.entry(name).or_default();
                addresses.extend(&endpoint.addresses);
            }
            if let Some(first) = endpoint.names.first() {
                for address in &endpoint.addresses {
                    self.by_address.insert(*address, first.clone());
                }
            }
        }
    }
}
