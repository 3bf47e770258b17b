//! Networks of the project, and how a service's containers are attached to them.

use hoist_api::container::NetworkingConfig;
use hoist_api::network::{EndpointIpamConfig, EndpointSettings, Ipam, IpamPool, NetworkCreate};

use crate::model::{Network, NetworkAttachment, Project, Service};

use super::{DesireError, DesiredNetwork, hash, labels};

/// How to create a network.
pub(crate) fn lower(project: &str, key: &str, network: &Network) -> DesiredNetwork {
    let config_hash = hash::of_network(network);
    let ours = [
        (labels::PROJECT, project),
        (labels::NETWORK, key),
        (labels::VERSION, labels::OUR_VERSION),
        (labels::CONFIG_HASH, config_hash.as_str()),
    ];
    let request = NetworkCreate {
        name: network.name.clone(),
        check_duplicate: true,
        driver: network.driver.clone().unwrap_or_default(),
        internal: network.internal,
        attachable: network.attachable,
        ipam: ipam(network),
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        options: network
            .driver_opts
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        labels: labels::of_resource(&network.labels, ours),
        ..NetworkCreate::default()
    };
    DesiredNetwork {
        name: network.name.clone(),
        external: network.external,
        config_hash,
        request,
    }
}

fn ipam(network: &Network) -> Option<Ipam> {
    let ipam = &network.ipam;
    if ipam.driver.is_none() && ipam.config.is_empty() && ipam.options.is_empty() {
        return None;
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let pools = ipam.config.iter().map(|pool| IpamPool {
        subnet: text(&pool.subnet),
        ip_range: text(&pool.ip_range),
        gateway: text(&pool.gateway),
        auxiliary_addresses: pool
            .aux_addresses
            .iter()
            .map(|(name, address)| (name.clone(), address.clone()))
            .collect(),
    });
    let options = ipam
        .options
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()));
    Some(Ipam {
        driver: text(&ipam.driver),
        options: (!ipam.options.is_empty()).then(|| options.collect()),
        config: pools.collect(),
    })
}

/// The keys of the networks a service joins: highest priority first, then the order of the file.
pub(crate) fn in_priority_order(service: &Service) -> Vec<String> {
    let mut keys: Vec<(&String, i64)> = service
        .networks
        .iter()
        .map(|(key, attachment)| {
            (
                key,
                attachment
                    .as_ref()
                    .map_or(0, |attachment| attachment.priority),
            )
        })
        .collect();
    keys.sort_by_key(|(_, priority)| std::cmp::Reverse(*priority));
    keys.into_iter().map(|(key, _)| key.clone()).collect()
}

/// `HostConfig.NetworkMode`: `network_mode`, else the name of the first network, else none at all.
pub(crate) fn mode(project: &Project, service: &Service) -> String {
    match service.network_mode.as_deref() {
        Some(mode) if mode.starts_with("service:") => String::new(),
        Some(mode) => mode.to_owned(),
        None => {
            let first = in_priority_order(service);
            let network = first.first().and_then(|key| project.networks.get(key));
            network.map_or_else(|| "none".to_owned(), |network| network.name.clone())
        }
    }
}

/// The endpoints of every container of a service; the container's own name is added by [`add_container_alias`].
pub(crate) fn attachments(
    project: &Project,
    name: &str,
    service: &Service,
) -> Result<NetworkingConfig, DesireError> {
    let mut config = NetworkingConfig::default();
    if service.network_mode.is_some() {
        return Ok(config);
    }
    for (position, key) in in_priority_order(service).into_iter().enumerate() {
        let Some(network) = project.networks.get(&key) else {
            return Err(DesireError::Undefined {
                service: name.to_owned(),
                kind: "network",
                name: key,
            });
        };
        let attachment = service.networks.get(&key).and_then(Option::as_ref);
        let mut endpoint = endpoint(name, attachment);
        if position == 0 && endpoint.mac_address.is_empty() {
            endpoint.mac_address = service.mac_address.clone().unwrap_or_default();
        }
        config
            .endpoints_config
            .insert(network.name.clone(), endpoint);
    }
    Ok(config)
}

/// The endpoint of a container of any service of the files, enabled or not, on the network with this engine name.
pub(crate) fn endpoint_of(
    project: &Project,
    service: &str,
    network: &str,
    container: &str,
) -> EndpointSettings {
    let key = project
        .networks
        .iter()
        .find(|(_, known)| known.name == network)
        .map(|(key, _)| key);
    let known = project
        .services
        .get(service)
        .or_else(|| project.disabled_services.get(service));
    let attachment = known
        .zip(key)
        .and_then(|(known, key)| known.networks.get(key)?.as_ref());
    let mut endpoint = endpoint(service, attachment);
    add_container_alias(&mut endpoint, container);
    endpoint
}

fn endpoint(service: &str, attachment: Option<&NetworkAttachment>) -> EndpointSettings {
    let nothing = NetworkAttachment::default();
    let attachment = attachment.unwrap_or(&nothing);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let ipam = EndpointIpamConfig {
        ipv4_address: text(&attachment.ipv4_address),
        ipv6_address: text(&attachment.ipv6_address),
        link_local_ips: attachment.link_local_ips.clone(),
    };
    let mut options: std::collections::BTreeMap<String, String> = attachment
        .driver_opts
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if let Some(interface) = &attachment.interface_name {
        options.insert(
            "com.docker.network.endpoint.ifname".to_owned(),
            interface.clone(),
        );
    }
    let mut aliases = vec![service.to_owned()];
    aliases.extend(
        attachment
            .aliases
            .iter()
            .filter(|alias| *alias != service)
            .cloned(),
    );
    EndpointSettings {
        ipam_config: (ipam != EndpointIpamConfig::default()).then_some(ipam),
        aliases: Some(aliases),
        mac_address: text(&attachment.mac_address),
        driver_opts: (!options.is_empty()).then_some(options),
        gw_priority: attachment.gw_priority,
        ..EndpointSettings::default()
    }
}

/// Makes the container reachable by its name, as Docker Compose does.
pub(crate) fn add_container_alias(endpoint: &mut EndpointSettings, container: &str) {
    let aliases = endpoint.aliases.get_or_insert_default();
    if !aliases.iter().any(|alias| alias == container) {
        aliases.insert(0, container.to_owned());
    }
}
