//! Connecting containers to networks and disconnecting them, running or not.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use hoist_api::error::{ApiError, Result};
use hoist_api::network::{NetworkConnect, NetworkDisconnect};
use hoist_network::link::endpoint;

use super::start::open_network_namespace;
use super::{Service, internal};
use crate::containers::Container;
use crate::networking::join::{self, Planned};
use crate::networking::{BUILTIN, options};
use crate::store::container::{ContainerRecord, EndpointGiven, EndpointRecord};
use crate::store::network::NetworkRecord;

impl Service {
    /// Connects a container.
    pub(crate) async fn network_connect(
        self: &Arc<Self>,
        key: &str,
        body: NetworkConnect,
    ) -> Result<()> {
        check_joinable(key)?;
        let network = self.networks.find(key)?;
        let container = self.containers.find(&body.container)?;
        let _operation = container.operation.lock().await;
        let runs = container.is_running();
        {
            let mut record = container.record();
            let mode = record.host_config.network_mode.as_str();
            if mode == "none" {
                return Err(ApiError::bad_request(
                    "container cannot be connected to multiple networks with one of the networks in private (none) mode",
                ));
            }
            if mode == "host" || mode.starts_with("container:") {
                return Err(ApiError::bad_request(format!(
                    "container sharing network namespace with another container or host cannot be connected to any other network: its network mode is {mode}"
                )));
            }
            if record.endpoints.contains_key(&network.name) {
                // Without a place in it so far there is nothing to do, as in Docker (testcontainers-node's port forwarder).
                if !runs {
                    return Ok(());
                }
                return Err(ApiError::forbidden(format!(
                    "endpoint with name {} already exists in network {}",
                    record.name, network.name
                )));
            }
            let asked = body.endpoint_config.unwrap_or_default();
            options::check(&network.name, &asked)?;
            record
                .endpoints
                .insert(network.name.clone(), EndpointRecord { asked, given: None });
        }
        if container.is_running()
            && let Err(error) = self.plug(&container, &network).await
        {
            container.record().endpoints.remove(&network.name);
            return Err(error);
        }
        self.save_now(&container);
        if container.is_running() {
            self.emit_joined("connect", &container, &network);
            self.tell_linking(&container).await;
        }
        Ok(())
    }

    /// A running container is in a network, or no longer.
    fn emit_joined(&self, action: &str, container: &Container, network: &NetworkRecord) {
        let more = BTreeMap::from([("container".to_owned(), container.id().to_owned())]);
        self.emit_network(network, action, network.id.as_str(), more);
    }

    /// A container has got its places in networks at its start, or has given them back at its end.
    pub(super) fn emit_networks<'a>(
        &self,
        action: &str,
        container: &Container,
        names: impl Iterator<Item = &'a String>,
    ) {
        for network in names.filter_map(|name| self.networks.find(name).ok()) {
            self.emit_joined(action, container, &network);
        }
    }

    async fn plug(
        self: &Arc<Self>,
        container: &Arc<Container>,
        network: &Arc<NetworkRecord>,
    ) -> Result<()> {
        self.networks.ensure_bridge(network).await?;
        let record = container.snapshot();
        let planned = self.plan_further(&record, &network.name)?;
        let (plan, pid) = (planned.plan.clone(), record.run.pid);
        let gateways = self.gateways_of(&record);
        let plugged = self
            .blocking(move |_| {
                let netns = open_network_namespace(pid)?;
                endpoint::connect(netns.as_fd(), &plan, gateways).map_err(|error| internal(&error))
            })
            .await;
        if let Err(error) = plugged {
            self.networks
                .release_planned(std::slice::from_ref(&planned));
            return Err(error);
        }
        if let Some(endpoint) = container.record().endpoints.get_mut(&network.name) {
            endpoint.given = Some(planned.given);
        }
        if let Err(error) = self.ports_follow(container).await {
            let given = container
                .record()
                .endpoints
                .get_mut(&network.name)
                .and_then(|endpoint| endpoint.given.take());
            if let Some(given) = given {
                // Why it could not be connected says more than what is left of it.
                let _ = self.unplug(container, network, given).await;
            }
            return Err(error);
        }
        self.networks_changed(container).await
    }

    /// Plans the place of a running container in a further network.
    fn plan_further(&self, record: &ContainerRecord, network: &str) -> Result<Planned> {
        let given = || {
            let endpoints = record.endpoints.values();
            endpoints.filter_map(|endpoint| endpoint.given.as_ref())
        };
        let asked = record.endpoints.get(network);
        let asked = asked.and_then(|endpoint| options::link_name(&endpoint.asked));
        if let Some(name) = asked.filter(|name| given().any(|given| given.link == **name)) {
            return Err(ApiError::bad_request(format!(
                "error renaming interface to \"{name}\" for network {network}: file exists: another network's link of container {} has this name",
                record.name
            )));
        }
        let link = join::free_link(record, given());
        self.networks.plan_endpoint(record, network, link)
    }

    /// Disconnects a container.
    pub(crate) async fn network_disconnect(
        self: &Arc<Self>,
        key: &str,
        body: NetworkDisconnect,
    ) -> Result<()> {
        let container = match self.containers.find(&body.container) {
            Ok(container) => container,
            Err(_) if body.force => return Ok(()),
            Err(error) => return Err(error),
        };
        check_leavable(key, &container)?;
        let network = self.networks.find(key)?;
        let _operation = container.operation.lock().await;
        let removed = container.record().endpoints.remove(&network.name);
        let Some(endpoint_record) = removed else {
            return Err(ApiError::forbidden(format!(
                "container {} is not connected to network {}",
                container.id(),
                network.name
            )));
        };
        let was_in = endpoint_record.given.is_some();
        if let Some(given) = endpoint_record.given {
            self.unplug(&container, &network, given).await?;
        }
        self.save_now(&container);
        if was_in {
            self.emit_joined("disconnect", &container, &network);
            self.tell_linking(&container).await;
        }
        Ok(())
    }

    async fn unplug(
        self: &Arc<Self>,
        container: &Arc<Container>,
        network: &NetworkRecord,
        given: EndpointGiven,
    ) -> Result<()> {
        let record = container.snapshot();
        let alias = self.networks.config.alias(record.id.as_str());
        let (host_link, pid) = (given.host_link.clone(), record.run.pid);
        let gateways = self.gateways_of(&record);
        self.networks
            .withdraw(&record, &BTreeMap::from([(network.name.clone(), given)]));
        self.blocking(move |_| {
            let netns = open_network_namespace(pid)?;
            endpoint::disconnect(netns.as_fd(), (&host_link, &alias), gateways)
                .map_err(|error| internal(&error))
        })
        .await?;
        self.ports_follow(container).await?;
        self.networks_changed(container).await
    }

    /// A running container's names, view and files follow its networks.
    pub(super) async fn networks_changed(
        self: &Arc<Self>,
        container: &Arc<Container>,
    ) -> Result<()> {
        let record = container.snapshot();
        let endpoints: BTreeMap<String, EndpointGiven> = record
            .endpoints
            .iter()
            .filter_map(|(name, endpoint)| Some((name.clone(), endpoint.given.clone()?)))
            .collect();
        self.networks.announce(&record, &endpoints);
        self.networks.dns.set_view(
            record.id.as_str(),
            self.networks.view(&record, &self.config.dns),
        );
        let hostname = if record.config.hostname.is_empty() {
            record.id.short()
        } else {
            record.config.hostname.as_str()
        };
        self.write_network_files(&record, &endpoints, hostname)
            .await
            .map(drop)
    }

    fn gateways_of(&self, record: &ContainerRecord) -> endpoint::Gateways {
        let mut open: Vec<(i64, Arc<NetworkRecord>)> = record
            .endpoints
            .iter()
            .filter_map(|(name, endpoint)| {
                Some((endpoint.asked.gw_priority, self.networks.find(name).ok()?))
            })
            .filter(|(_, network)| !network.internal)
            .collect();
        open.sort_by(|one, other| {
            other
                .0
                .cmp(&one.0)
                .then_with(|| one.1.name.cmp(&other.1.name))
        });
        let all = || {
            open.iter()
                .map(|(_, network)| super::networking::Networks::gateways(network))
        };
        endpoint::Gateways {
            ipv4: all().find_map(|(ipv4, _)| ipv4),
            ipv6: all().find_map(|(_, ipv6)| ipv6),
        }
    }
}

/// The machine's network and none at all are chosen at the creation, for good.
fn check_joinable(network: &str) -> Result<()> {
    if !BUILTIN.contains(&network) {
        return Ok(());
    }
    Err(ApiError::forbidden(match network {
        "host" => "cannot connect container to host network - container must be created in host network mode".to_owned(),
        _ => format!(
            "container cannot be connected to network {network}: it must be created with it"
        ),
    }))
}

fn check_leavable(network: &str, container: &Container) -> Result<()> {
    if !BUILTIN.contains(&network) {
        return Ok(());
    }
    let is_in = container.record().host_config.network_mode == network;
    Err(ApiError::forbidden(if is_in && network == "host" {
        "cannot disconnect container from host network - container was created in host network mode"
            .to_owned()
    } else if is_in {
        format!("container cannot be disconnected from network {network}: it was created with it")
    } else {
        format!(
            "container {} is not connected to network {network}",
            container.id()
        )
    }))
}
