//! Everything about a container, in Docker's shape.

use std::collections::BTreeMap;
use std::sync::Arc;

use hoist_api::error::Result;
use hoist_api::host_config::{HostConfig, PortBinding, PortMap};
use hoist_api::inspect::{ContainerInspect, ContainerState, GraphDriver, NetworkSettings};
use hoist_api::network::EndpointSettings;

use super::Service;
use crate::containers::Container;
use crate::runtime::mounts::restrict;
use crate::store::container::{ContainerRecord, EndpointRecord, Run, Status};
use crate::times::wire_time;

impl Service {
    /// Everything about a container.
    pub(crate) fn inspect(&self, key: &str) -> Result<ContainerInspect> {
        let container = self.containers.find(key)?;
        Ok(self.inspect_container(&container))
    }

    /// As [`Service::inspect`], with sizes.
    pub(crate) async fn inspect_sized(self: &Arc<Self>, key: &str) -> Result<ContainerInspect> {
        let container = self.containers.find(key)?;
        let (own, all) = self.sizes(&container).await?;
        Ok(ContainerInspect {
            size_rw: Some(own),
            size_root_fs: Some(all),
            ..self.inspect_container(&container)
        })
    }

    fn inspect_container(&self, container: &Arc<Container>) -> ContainerInspect {
        let record = container.snapshot();
        let id = record.id.as_str();
        let state = self.config.container_state(id);
        let file = |name: &str| state.join(name).to_string_lossy().into_owned();
        let argv = record.argv();
        let log_path = match record.host_config.log_config.driver.as_str() {
            "none" => String::new(),
            _ => self.log_path(id).to_string_lossy().into_owned(),
        };
        ContainerInspect {
            id: id.to_owned(),
            created: record.created.to_string(),
            path: argv.first().cloned().unwrap_or_default(),
            args: argv.into_iter().skip(1).collect(),
            state: wire_state(&record.run),
            image: record.image_id.clone(),
            resolv_conf_path: file("resolv.conf"),
            hostname_path: file("hostname"),
            hosts_path: file("hosts"),
            log_path,
            name: format!("/{}", record.name),
            restart_count: i64::from(record.run.restart_count),
            driver: "overlay2".to_owned(),
            platform: "linux".to_owned(),
            exec_ids: self.exec_ids(id),
            host_config: HostConfig {
                links: self.wire_links(&record),
                ..wire_host_config(&record)
            },
            graph_driver: self.graph_driver(&record),
            mounts: self.mount_points(&record),
            config: self.wire_config(&record),
            network_settings: self.network_settings(&record),
            ..ContainerInspect::default()
        }
    }

    fn wire_config(&self, record: &ContainerRecord) -> hoist_api::container::ContainerConfig {
        let mut config = record.config.clone();
        if config.hostname.is_empty() && record.host_config.uts_mode != "host" {
            config.hostname = record.id.short().to_owned();
        }
        let main = record
            .endpoints
            .get(&self.networks.canonical(&record.host_config.network_mode));
        if let Some(main) = main.filter(|_| config.mac_address.is_empty()) {
            // Clients from before 1.44 look for it here.
            config.mac_address.clone_from(&main.asked.mac_address);
        }
        config
    }

    fn graph_driver(&self, record: &ContainerRecord) -> GraphDriver {
        let own = self.config.container_root(record.id.as_str());
        let path = |name: &str| own.join(name).to_string_lossy().into_owned();
        let mut data = BTreeMap::from([
            ("UpperDir".to_owned(), path("upper")),
            ("WorkDir".to_owned(), path("work")),
        ]);
        if let Ok(image) = self.images.resolve(&record.image_id) {
            let layers: Vec<String> = image
                .layers
                .iter()
                .rev()
                .map(|layer| layer.to_string_lossy().into_owned())
                .collect();
            data.insert("LowerDir".to_owned(), layers.join(":"));
        }
        GraphDriver {
            name: "overlay2".to_owned(),
            data,
        }
    }

    fn network_settings(&self, record: &ContainerRecord) -> NetworkSettings {
        let networks: BTreeMap<String, EndpointSettings> =
            match record.host_config.network_mode.as_str() {
                builtin @ ("host" | "none") => BTreeMap::from([(
                    builtin.to_owned(),
                    self.builtin_endpoint(builtin, record.run.status.is_alive()),
                )]),
                _ => record
                    .endpoints
                    .iter()
                    .map(|(name, endpoint)| {
                        (name.clone(), self.wire_endpoint(record, name, endpoint))
                    })
                    .collect(),
            };
        let mut settings = NetworkSettings {
            ports: if record.run.status.is_alive() {
                wire_ports(record)
            } else {
                PortMap::new()
            },
            ..NetworkSettings::default()
        };
        if record.run.status.is_alive() {
            settings.sandbox_id = record.id.to_string();
            settings.sandbox_key = format!("/proc/{}/ns/net", record.run.pid);
        }
        if let Some(bridge) = networks.get("bridge") {
            settings.endpoint_id.clone_from(&bridge.endpoint_id);
            settings.gateway.clone_from(&bridge.gateway);
            settings.ip_address.clone_from(&bridge.ip_address);
            settings.ip_prefix_len = bridge.ip_prefix_len;
            settings.mac_address.clone_from(&bridge.mac_address);
        }
        settings.networks = networks;
        settings
    }

    /// An endpoint as inspect and lists show it.
    pub(super) fn wire_endpoint(
        &self,
        record: &ContainerRecord,
        network: &str,
        endpoint: &EndpointRecord,
    ) -> EndpointSettings {
        let mut wire = endpoint.asked.clone();
        wire.network_id = self.networks.id_of(network).unwrap_or_default();
        let mut names = vec![record.name.clone()];
        names.extend(wire.aliases.iter().flatten().cloned());
        names.push(record.id.short().to_owned());
        if !record.config.hostname.is_empty() {
            names.push(record.config.hostname.clone());
        }
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        wire.dns_names = (network != "bridge").then_some(names);
        let Some(given) = &endpoint.given else {
            return wire;
        };
        wire.endpoint_id.clone_from(&given.id);
        wire.mac_address.clone_from(&given.mac);
        wire.gateway.clone_from(&given.gateway);
        wire.ipv6_gateway.clone_from(&given.ipv6_gateway);
        if let Some(address) = given.ipv4 {
            wire.ip_address = address.ip().to_string();
            wire.ip_prefix_len = i64::from(address.prefix());
        }
        if let Some(address) = given.ipv6 {
            wire.global_ipv6_address = address.ip().to_string();
            wire.global_ipv6_prefix_len = i64::from(address.prefix());
        }
        wire
    }

    /// The endpoint of a container in the network `host` or `none`.
    pub(super) fn builtin_endpoint(&self, network: &str, running: bool) -> EndpointSettings {
        EndpointSettings {
            network_id: self.networks.id_of(network).unwrap_or_default(),
            endpoint_id: if running {
                self.networks.id_of(network).unwrap_or_default()
            } else {
                String::new()
            },
            ..EndpointSettings::default()
        }
    }
}

fn wire_state(run: &Run) -> ContainerState {
    ContainerState {
        status: run.status.as_str().to_owned(),
        running: run.status.is_alive() || run.status == Status::Restarting,
        paused: run.status == Status::Paused,
        restarting: run.status == Status::Restarting,
        oom_killed: run.oom_killed,
        dead: run.status == Status::Dead,
        pid: i64::from(run.pid),
        exit_code: run.exit_code,
        error: run.error.clone(),
        started_at: wire_time(run.started_at),
        finished_at: wire_time(run.finished_at),
        health: run
            .health
            .as_ref()
            .map(crate::supervise::health::HealthState::to_wire),
    }
}

/// Exposed ports with what publishes them now.
pub(super) fn wire_ports(record: &ContainerRecord) -> PortMap {
    let mut ports: PortMap = record
        .config
        .exposed_ports
        .keys()
        .map(|port| (with_protocol(port), None))
        .collect();
    for port in &record.ports {
        let binding = PortBinding {
            host_ip: port.host_ip.clone(),
            host_port: port.host_port.to_string(),
        };
        let key = format!("{}/{}", port.container_port, port.protocol);
        ports
            .entry(key)
            .or_default()
            .get_or_insert_with(Vec::new)
            .push(binding);
    }
    ports
}

/// `80` means `80/tcp`.
pub(super) fn with_protocol(port: &str) -> String {
    if port.contains('/') {
        port.to_owned()
    } else {
        format!("{port}/tcp")
    }
}

/// As it was given, with the paths filled in that are masked and read-only without a word.
fn wire_host_config(record: &ContainerRecord) -> HostConfig {
    let mut host = record.host_config.clone();
    let unconfined = host
        .security_opt
        .iter()
        .any(|option| option == "systempaths=unconfined");
    if host.privileged {
        return host;
    }
    let (masked, read_only) = if unconfined {
        Default::default()
    } else {
        restrict::default_paths()
    };
    host.masked_paths.get_or_insert(masked);
    host.readonly_paths.get_or_insert(read_only);
    host
}
