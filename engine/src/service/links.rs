//! Legacy links: a name for another container that only the linking one knows, with Docker's variables about it.
//!
//! The names stand in the linking container's hosts file, which is written anew when the linked one gets other addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hoist_api::error::{ApiError, ErrorKind, Result};
use hoist_api::host_config::HostConfig;
use hoist_network::dns::EndpointNames;

use super::Service;
use super::inspect::with_protocol;
use crate::containers::Container;
use crate::networking::join::links_of;
use crate::store::container::ContainerRecord;

/// Containers that may share each other's network, one after the other: they may be made to go round in a circle.
const MOST_SHARED: usize = 16;

/// A container as another one links to it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) target: Arc<Container>,
    pub(super) alias: String,
    /// The network in which it is known by the alias.
    network: String,
}

/// `container:alias`; without an alias the container's name.
fn parse(link: &str) -> Result<(&str, &str)> {
    let (name, alias) = link.split_once(':').unwrap_or((link, link));
    let name = name.strip_prefix('/').unwrap_or(name);
    let alias = alias.rsplit('/').next().unwrap_or(alias);
    if name.is_empty() || alias.is_empty() || alias.contains(char::is_whitespace) {
        return Err(ApiError::bad_request(format!(
            "bad format for links: {link}"
        )));
    }
    Ok((name, alias))
}

/// Whether a mode names a network that a user made.
fn is_users(mode: &str) -> bool {
    !matches!(mode, "" | "default" | "bridge" | "host" | "none") && !mode.starts_with("container:")
}

impl Service {
    /// Turns the names of linked containers into ids, so that a renamed one is still found.
    pub(super) fn resolve_links(&self, host: &mut HostConfig) -> Result<()> {
        for link in &mut host.links {
            let (name, alias) = parse(link)?;
            let found = self.containers.find(name);
            if found.is_err() && is_users(&host.network_mode) {
                // There a link is a name, which is known as soon as there is somebody of that name.
                continue;
            }
            let mut target = found.map_err(|error| {
                ApiError::bad_request(format!(
                    "could not get container for {name}: {}",
                    error.message
                ))
            })?;
            // One that shares another's network is reached where that is.
            for _ in 0..MOST_SHARED {
                match self.whose_network(&target) {
                    Some(other) => target = other,
                    None => break,
                }
            }
            if target.record().host_config.network_mode == "host" {
                return Err(ApiError::bad_request(
                    "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
                ));
            }
            *link = format!("{}:{alias}", target.id());
        }
        Ok(())
    }

    /// The container whose network a container shares.
    fn whose_network(&self, container: &Container) -> Option<Arc<Container>> {
        let record = container.record();
        let id = record.host_config.network_mode.strip_prefix("container:")?;
        self.containers.find(id).ok()
    }

    /// Refuses a start whose links in the default network lead to what has no address.
    pub(super) fn check_links(&self, record: &ContainerRecord) -> Result<()> {
        if is_users(&record.host_config.network_mode) {
            return Ok(());
        }
        for link in &record.host_config.links {
            let (name, alias) = parse(link)?;
            let Ok(target) = self.containers.find(name) else {
                continue;
            };
            if !target.is_running() {
                return Err(ApiError::new(
                    ErrorKind::Internal,
                    format!(
                        "Cannot link to a non running container: /{} AS /{}/{alias}",
                        target.name(),
                        record.name
                    ),
                ));
            }
            if !target.record().endpoints.contains_key("bridge") {
                return Err(ApiError::new(
                    ErrorKind::Internal,
                    format!(
                        "Cannot link to /{}, as it does not belong to the default network",
                        target.name()
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The containers that a container links to, in its own settings or in those of a network; those that are gone are left out.
    pub(super) fn links(&self, record: &ContainerRecord) -> Vec<Link> {
        let main = match record.host_config.network_mode.as_str() {
            "" | "default" => "bridge".to_owned(),
            mode => self.networks.canonical(mode),
        };
        let own = record.host_config.links.iter().map(|link| (&main, link));
        let of_networks = record.endpoints.iter().flat_map(|(network, endpoint)| {
            let links = endpoint.asked.links.iter().flatten();
            links.map(move |link| (network, link))
        });
        let mut links: Vec<Link> = Vec::new();
        for (network, link) in own.chain(of_networks) {
            let Ok((name, alias)) = parse(link) else {
                continue;
            };
            let Ok(target) = self.containers.find(name) else {
                continue;
            };
            let known = |link: &Link| {
                link.alias == alias && link.target.id() == target.id() && link.network == *network
            };
            if !links.iter().any(known) {
                links.push(Link {
                    target,
                    alias: alias.to_owned(),
                    network: network.clone(),
                });
            }
        }
        links
    }

    /// Links as inspect shows them: `/linked:/linking/alias`.
    pub(super) fn wire_links(&self, record: &ContainerRecord) -> Vec<String> {
        let links = record.host_config.links.iter().filter_map(|link| {
            let (name, alias) = parse(link).ok()?;
            let target = self.containers.find(name).ok()?;
            Some(format!("/{}:/{}/{alias}", target.name(), record.name))
        });
        links.collect()
    }

    /// The further names that other containers' links give a container: `/linking/alias`.
    pub(super) fn linked_names(&self, id: &str) -> Vec<String> {
        let mut names = Vec::new();
        for container in self.containers.all() {
            let record = container.record();
            for link in &record.host_config.links {
                if let Some((target, alias)) = link.split_once(':')
                    && target == id
                {
                    names.push(format!("/{}/{alias}", record.name));
                }
            }
        }
        names.sort();
        names
    }

    /// Removes a link that is named as `linking/alias`.
    pub(crate) async fn remove_link(self: &Arc<Self>, container: &str, alias: &str) -> Result<()> {
        let container = self.containers.find(container)?;
        let _operation = container.operation.lock().await;
        let ends = |link: &String| link.rsplit(':').next() == Some(alias);
        let removed = {
            let links = &mut container.record().host_config.links;
            let before = links.len();
            links.retain(|link| !ends(link));
            links.len() < before
        };
        if !removed {
            let message = format!("Cannot get parent /{} for link {alias}", container.name());
            return Err(ApiError::not_found(message));
        }
        self.save_now(&container);
        self.rewrite_hosts(&container).await;
        Ok(())
    }

    /// Lines of a container's hosts file for its links: name and address, where the linked one has an address that it reaches.
    pub(super) fn link_hosts(&self, record: &ContainerRecord) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        for link in self.links(record) {
            let other = link.target.record();
            let mut names = vec![link.alias.as_str(), other.id.short()];
            if !other.config.hostname.is_empty() {
                names[1] = &other.config.hostname;
            }
            if link.alias != other.name {
                names.push(&other.name);
            }
            let names = names.join(" ");
            for address in shared_addresses((record, &link.network), &other) {
                lines.push((names.clone(), address.to_string()));
            }
        }
        lines
    }

    /// Docker's variables about the containers that a container's own settings link to.
    pub(super) fn link_environment(&self, record: &ContainerRecord) -> Vec<String> {
        if record.host_config.links.is_empty() {
            return Vec::new();
        }
        let mut variables = Vec::new();
        for link in self.links(record) {
            let other = link.target.record();
            let address = shared_addresses((record, &link.network), &other)
                .into_iter()
                .next();
            variables.extend(environment(&record.name, &link.alias, (&other, address)));
        }
        variables
    }

    /// Those that link to a container that has just got its addresses learn them.
    pub(super) async fn tell_linking(self: &Arc<Self>, container: &Container) {
        for linking in self.containers.all() {
            let record = linking.snapshot();
            let links = self.links(&record);
            if linking.is_running() && links.iter().any(|link| link.target.id() == container.id()) {
                self.rewrite_hosts(&linking).await;
            }
        }
    }

    /// The embedded DNS learns what a container calls those that it links to.
    pub(super) fn announce_links(&self, record: &ContainerRecord) {
        let place = links_of(record.id.as_str());
        self.networks.dns.remove_network(&place);
        for (index, link) in self.links(record).into_iter().enumerate() {
            let addresses = shared_addresses((record, &link.network), &link.target.record());
            let names = vec![link.alias];
            let endpoint = format!("{index}");
            let names = EndpointNames { names, addresses };
            self.networks.dns.put_endpoint(&place, &endpoint, names);
        }
    }

    async fn rewrite_hosts(self: &Arc<Self>, container: &Arc<Container>) {
        if !container.is_running() {
            return;
        }
        self.announce_links(&container.snapshot());
        if let Err(error) = self.networks_changed(container).await {
            tracing::warn!(container = container.id(), %error, "cannot write a container's hosts file");
        }
    }
}

/// The linked container's addresses in a network, when both are in it.
fn shared_addresses(
    (record, network): (&ContainerRecord, &String),
    other: &ContainerRecord,
) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    let given = other
        .endpoints
        .get(network)
        .and_then(|endpoint| endpoint.given.as_ref());
    if let Some(given) = given.filter(|_| record.endpoints.contains_key(network)) {
        addresses.extend(given.ipv4.map(|address| IpAddr::V4(address.ip())));
        addresses.extend(given.ipv6.map(|address| IpAddr::V6(address.ip())));
    }
    addresses
}

/// The variables of one link (moby, `daemon/links/links.go`).
fn environment(
    name: &str,
    alias: &str,
    (other, address): (&ContainerRecord, Option<IpAddr>),
) -> Vec<String> {
    let prefix = alias.replace('-', "_").to_uppercase();
    let mut variables = vec![format!("{prefix}_NAME=/{name}/{alias}")];
    let exposed: BTreeMap<(String, u16), String> = other
        .config
        .exposed_ports
        .keys()
        .filter_map(|port| {
            let port = with_protocol(port);
            let (number, protocol) = port.split_once('/')?;
            Some((
                (protocol.to_owned(), number.parse().ok()?),
                protocol.to_uppercase(),
            ))
        })
        .collect();
    for (index, ((protocol, port), upper)) in exposed.iter().enumerate() {
        let Some(address) = address else { break };
        let url = format!("{protocol}://{address}:{port}");
        if index == 0 {
            variables.push(format!("{prefix}_PORT={url}"));
        }
        let of_port = format!("{prefix}_PORT_{port}_{upper}");
        variables.extend([
            format!("{of_port}={url}"),
            format!("{of_port}_ADDR={address}"),
            format!("{of_port}_PORT={port}"),
            format!("{of_port}_PROTO={protocol}"),
        ]);
    }
    for entry in &other.config.env {
        if let Some((key, value)) = entry.split_once('=')
            && !matches!(key, "HOME" | "PATH")
        {
            variables.push(format!("{prefix}_ENV_{key}={value}"));
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::tests::record;

    #[test]
    fn links_are_read() {
        assert_eq!(parse("db:data").unwrap(), ("db", "data"));
        assert_eq!(parse("db").unwrap(), ("db", "db"));
        assert_eq!(parse("/db:/web/data").unwrap(), ("db", "data"));
        for bad in ["", ":x", "db:", "db:a b"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables_are_dockers() {
        let mut other = record(1, "db");
        other.config.exposed_ports = BTreeMap::from([("5432/tcp".to_owned(), Default::default())]);
        other.config.env = vec!["PATH=/bin".to_owned(), "MODE=x".to_owned()];
        let address = "10.1.0.2".parse().ok();
        assert_eq!(
            environment("web", "my-db", (&other, address)),
            [
                "MY_DB_NAME=/web/my-db",
                "MY_DB_PORT=tcp://10.1.0.2:5432",
                "MY_DB_PORT_5432_TCP=tcp://10.1.0.2:5432",
                "MY_DB_PORT_5432_TCP_ADDR=10.1.0.2",
                "MY_DB_PORT_5432_TCP_PORT=5432",
                "MY_DB_PORT_5432_TCP_PROTO=tcp",
                "MY_DB_ENV_MODE=x",
            ]
        );
    }
}
