//! The fake engine's objects: how they are made, found and changed.

use std::collections::BTreeMap;

use super::State;
use crate::container::{
    ContainerCreate, ContainerSummary, SummaryHostConfig, SummaryNetworkSettings,
};
use crate::error::{ApiError, Result};
use crate::inspect::{ContainerInspect, Health, MountPoint};

/// 64 hexadecimal digits that depend only on the text.
pub(super) fn id_from(text: &str) -> String {
    // FNV-1a, four times with different starts: these ids only have to differ.
    (0_u64..4)
        .map(|round| {
            let start = 0xcbf2_9ce4_8422_2325_u64.wrapping_add(round);
            let hash = text.bytes().fold(start, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            format!("{hash:016x}")
        })
        .collect()
}

pub(super) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

pub(super) fn end(container: &mut ContainerInspect, code: i64) {
    container.state.status = "exited".into();
    container.state.running = false;
    container.state.pid = 0;
    container.state.exit_code = code;
    container.state.finished_at = now();
}

impl State {
    pub(super) fn container(&mut self, key: &str) -> Result<&mut ContainerInspect> {
        let key = key.trim_start_matches('/');
        self.containers
            .values_mut()
            .find(|container| {
                container.name.trim_start_matches('/') == key
                    || (key.len() >= 4 && container.id.starts_with(key))
            })
            .ok_or_else(|| ApiError::not_found(format!("No such container: {key}")))
    }

    /// The key of a network given by name, id or prefix.
    pub(super) fn network_name(&self, key: &str) -> Result<String> {
        self.networks
            .values()
            .find(|network| network.name == key || (key.len() >= 4 && network.id.starts_with(key)))
            .map(|network| network.name.clone())
            .ok_or_else(|| ApiError::not_found(format!("network {key} not found")))
    }

    pub(super) fn image_id(&self, image: &str) -> Result<String> {
        let reference = image
            .parse::<crate::ImageRef>()
            .map_or_else(|_| image.to_owned(), |parsed| parsed.familiar());
        self.images
            .values()
            .find(|found| found.id == image || found.repo_tags.contains(&reference))
            .map(|found| found.id.clone())
            .ok_or_else(|| ApiError::not_found(format!("No such image: {reference}")))
    }

    pub(super) fn next_id(&mut self, seed: &str) -> String {
        self.counter += 1;
        id_from(&format!("{seed} {}", self.counter))
    }

    pub(super) fn create_container(
        &mut self,
        name: &str,
        body: &ContainerCreate,
    ) -> Result<ContainerInspect> {
        let image = self.image_id(&body.config.image)?;
        let slashed = format!("/{name}");
        if let Some(other) = self.containers.values().find(|other| other.name == slashed) {
            return Err(ApiError::conflict(format!(
                "Conflict. The container name \"{slashed}\" is already in use by container \"{}\". \
                 You have to remove (or rename) that container to be able to reuse that name.",
                other.id
            )));
        }
        let mut networks = body.networking_config.endpoints_config.clone();
        let mode = &body.host_config.network_mode;
        if networks.is_empty() && !mode.is_empty() && !mode.starts_with("container:") {
            networks.insert(mode.clone(), Default::default());
        }
        for (network, endpoint) in &mut networks {
            if let Some(found) = self.networks.get(network) {
                endpoint.network_id.clone_from(&found.id);
            }
        }
        let mut inspect = ContainerInspect {
            id: self.next_id(name),
            created: now(),
            image,
            name: slashed,
            host_config: body.host_config.clone(),
            config: body.config.clone(),
            ..Default::default()
        };
        inspect.state.status = "created".into();
        inspect.network_settings.networks = networks;
        inspect.mounts = mounts(body);
        for mount in inspect.mounts.iter().filter(|mount| mount.kind == "volume") {
            self.volumes
                .entry(mount.name.clone())
                .or_insert_with(|| crate::volume::Volume {
                    name: mount.name.clone(),
                    driver: "local".into(),
                    scope: "local".into(),
                    ..Default::default()
                });
        }
        self.containers.insert(inspect.id.clone(), inspect.clone());
        Ok(inspect)
    }

    /// Starts it; tells the code with which it ended at once, if so.
    pub(super) fn start_container(&mut self, key: &str) -> Result<Option<i64>> {
        let (exits, healths) = (self.exits.clone(), self.health.clone());
        let container = self.container(key)?;
        if container.state.running {
            return Err(ApiError::not_modified());
        }
        let name = container.name.trim_start_matches('/').to_owned();
        container.state.status = "running".into();
        container.state.running = true;
        container.state.pid = 4242;
        container.state.started_at = now();
        let has_check = container
            .config
            .healthcheck
            .as_ref()
            .is_some_and(|check| check.test.first().is_some_and(|word| word != "NONE"));
        if has_check {
            let status = healths
                .get(&name)
                .cloned()
                .unwrap_or_else(|| "healthy".into());
            container.state.health = Some(Health {
                status,
                ..Default::default()
            });
        }
        let code = exits.get(&name).copied();
        if let Some(code) = code {
            end(container, code);
        }
        Ok(code)
    }
}

fn mounts(body: &ContainerCreate) -> Vec<MountPoint> {
    let binds = body.host_config.binds.iter().filter_map(|bind| {
        let mut parts = bind.split(':');
        let (source, target) = (parts.next()?, parts.next()?);
        let kind = if source.starts_with('/') {
            "bind"
        } else {
            "volume"
        };
        let name = if kind == "volume" { source } else { "" };
        Some((kind, name.to_owned(), source.to_owned(), target.to_owned()))
    });
    let mounts = body.host_config.mounts.iter().map(|mount| {
        let name = if mount.kind == "volume" {
            mount.source.clone()
        } else {
            String::new()
        };
        (
            mount.kind.as_str(),
            name,
            mount.source.clone(),
            mount.target.clone(),
        )
    });
    binds
        .chain(mounts)
        .map(|(kind, name, source, destination)| MountPoint {
            kind: kind.into(),
            name,
            source,
            destination,
            rw: true,
            ..Default::default()
        })
        .collect()
}

pub(super) fn summary(container: &ContainerInspect) -> ContainerSummary {
    ContainerSummary {
        id: container.id.clone(),
        names: vec![container.name.clone()],
        image: container.config.image.clone(),
        image_id: container.image.clone(),
        labels: container.config.labels.clone(),
        state: container.state.status.clone(),
        status: status_text(container),
        host_config: SummaryHostConfig {
            network_mode: container.host_config.network_mode.clone(),
            ..SummaryHostConfig::default()
        },
        network_settings: SummaryNetworkSettings {
            networks: container.network_settings.networks.clone(),
        },
        mounts: container.mounts.clone(),
        ..Default::default()
    }
}

/// As Docker words it; programs read the exit code and the health from it.
fn status_text(container: &ContainerInspect) -> String {
    let state = &container.state;
    match (
        state.status.as_str(),
        state.health.as_ref().map(|health| health.status.as_str()),
    ) {
        ("exited", _) => format!("Exited ({}) 1 second ago", state.exit_code),
        ("running", Some("starting")) => "Up 1 second (health: starting)".into(),
        ("running", Some(health)) => format!("Up 1 second ({health})"),
        ("running", None) => "Up 1 second".into(),
        ("paused", _) => "Up 1 second (Paused)".into(),
        (other, _) => other.to_owned(),
    }
}

/// Whether a name contains one of the wanted texts, as Docker's `name` filters do.
pub(super) fn name_matches(filters: &crate::Filters, name: &str) -> bool {
    filters.accepts("name", |wanted| {
        name.contains(wanted.trim_start_matches('^').trim_end_matches('$'))
    })
}

pub(super) fn merge(into: &mut BTreeMap<String, String>, labels: &BTreeMap<String, String>) {
    into.extend(
        labels
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
}
