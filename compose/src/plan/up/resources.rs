//! Networks and volumes: which are missing, which do not match the file, which are not ours.

use indexmap::IndexMap;

use hoist_api::network::EndpointSettings;

use crate::desire::{Desired, DesiredNetwork, DesiredService, DesiredVolume, endpoint_of, labels};
use crate::model::Project;
use crate::observe::{Observed, ObservedContainer, ObservedNetwork, ObservedVolume};
use crate::plan::PlanError;
use crate::plan::builder::{Draft, NewStep};
use crate::plan::step::{Action, Cause, Kind};

use super::fate::ServiceFate;
use super::{Planner, VolumeChanges};

/// What becomes of networks and volumes, by name.
#[derive(Debug, Default)]
pub(super) struct Resources {
    networks: IndexMap<String, ResourceFate>,
    volumes: IndexMap<String, ResourceFate>,
    warnings: Vec<String>,
}

/// What becomes of a network or volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResourceFate {
    Create,
    Recreate,
}

impl Resources {
    pub(super) fn warnings(&self) -> impl Iterator<Item = &str> {
        self.warnings.iter().map(String::as_str)
    }

    pub(super) fn is_recreated_network(&self, name: &str) -> bool {
        self.networks.get(name) == Some(&ResourceFate::Recreate)
    }

    pub(super) fn recreated_volumes(&self) -> impl Iterator<Item = &String> {
        self.volumes
            .iter()
            .filter(|(_, fate)| **fate == ResourceFate::Recreate)
            .map(|(name, _)| name)
    }
}

/// Decides about all networks and volumes.
pub(super) fn decide(
    desired: &Desired,
    observed: &Observed,
    changes: VolumeChanges,
) -> Result<Resources, PlanError> {
    let mut resources = Resources::default();
    for (key, network) in &desired.networks {
        if let Some(fate) = decide_network(
            (&desired.project, key),
            network,
            observed.network(&network.name),
            &mut resources.warnings,
        )? {
            resources.networks.insert(network.name.clone(), fate);
        }
    }
    for volume in desired.volumes.values() {
        let existing = observed.volume(&volume.name);
        let fate = decide_volume(&desired.project, volume, existing, &mut resources.warnings)?;
        match (fate, changes) {
            (None, _) | (Some(ResourceFate::Recreate), VolumeChanges::Keep) => {}
            (Some(ResourceFate::Recreate), VolumeChanges::Ask) => {
                return Err(PlanError::NeedsApproval(volume.name.clone()));
            }
            (Some(fate), _) => {
                resources.volumes.insert(volume.name.clone(), fate);
            }
        }
    }
    Ok(resources)
}

fn decide_network(
    (project, key): (&str, &str),
    network: &DesiredNetwork,
    existing: Option<&ObservedNetwork>,
    warnings: &mut Vec<String>,
) -> Result<Option<ResourceFate>, PlanError> {
    let name = &network.name;
    let Some(existing) = existing else {
        return if network.external {
            Err(PlanError::ExternalNetworkMissing(name.clone()))
        } else {
            Ok(Some(ResourceFate::Create))
        };
    };
    if network.external {
        return Ok(None);
    }
    let label = |label: &str| existing.labels.get(label).map_or("", String::as_str);
    if label(labels::PROJECT) != project {
        warnings.push(format!(
            "a network with name {name} exists but was not created for project {project:?}. Set `external: true` to use an existing network"
        ));
    }
    if label(labels::NETWORK) != key {
        let (found, expected) = (label(labels::NETWORK).to_owned(), key.to_owned());
        return Err(PlanError::ForeignNetwork {
            network: name.clone(),
            found,
            expected,
        });
    }
    let hash = label(labels::CONFIG_HASH);
    Ok((!hash.is_empty() && hash != network.config_hash).then_some(ResourceFate::Recreate))
}

fn decide_volume(
    project: &str,
    volume: &DesiredVolume,
    existing: Option<&ObservedVolume>,
    warnings: &mut Vec<String>,
) -> Result<Option<ResourceFate>, PlanError> {
    let name = &volume.name;
    let Some(existing) = existing else {
        return if volume.external {
            Err(PlanError::ExternalVolumeMissing(name.clone()))
        } else {
            Ok(Some(ResourceFate::Create))
        };
    };
    if volume.external {
        return Ok(None);
    }
    let label = |label: &str| existing.labels.get(label).map_or("", String::as_str);
    match label(labels::PROJECT) {
        owner if owner == project => {}
        "" => warnings.push(format!(
            "volume {name:?} already exists but was not created by Docker Compose. Use `external: true` to use an existing volume"
        )),
        owner => warnings.push(format!(
            "volume {name:?} already exists but was created for project {owner:?} (expected {project:?}). Use `external: true` to use an existing volume"
        )),
    }
    let hash = label(labels::CONFIG_HASH);
    Ok((!hash.is_empty() && hash != volume.config_hash).then_some(ResourceFate::Recreate))
}

impl Planner<'_> {
    /// Adds the steps that make networks and volumes as they should be. Containers on a network that is made again
    /// are stopped, taken off it, and put back on it; those with a volume that is made again are removed first.
    pub(super) fn add_resources(&mut self, fates: &IndexMap<String, ServiceFate<'_>>) {
        let context = self.context;
        for network in context.desired.networks.values() {
            let before = match context.resources.networks.get(&network.name) {
                None => continue,
                Some(ResourceFate::Create) => Vec::new(),
                Some(ResourceFate::Recreate) => vec![self.remove_network(&network.name, fates)],
            };
            let cause = if before.is_empty() {
                Cause::Missing
            } else {
                Cause::ConfigChanged
            };
            let action = Action::CreateNetwork(Box::new(network.request.clone()));
            let draft = self.builder.add(
                NewStep::new(Kind::Network, &network.name, action).cause(cause),
                before,
            );
            self.ready_networks.insert(network.name.clone(), draft);
        }
        for volume in context.desired.volumes.values() {
            let before = match context.resources.volumes.get(&volume.name) {
                None => continue,
                Some(ResourceFate::Create) => Vec::new(),
                Some(ResourceFate::Recreate) => vec![self.remove_volume(&volume.name, fates)],
            };
            let cause = if before.is_empty() {
                Cause::Missing
            } else {
                Cause::ConfigChanged
            };
            let action = Action::CreateVolume(Box::new(volume.request.clone()));
            let draft = self.builder.add(
                NewStep::new(Kind::Volume, &volume.name, action).cause(cause),
                before,
            );
            self.ready_volumes.insert(volume.name.clone(), draft);
        }
    }

    fn remove_network(&mut self, name: &str, fates: &IndexMap<String, ServiceFate<'_>>) -> Draft {
        let context = self.context;
        let attached = context
            .observed
            .containers
            .iter()
            .filter(|container| container.networks.contains_key(name));
        let mut free = Vec::new();
        for container in attached {
            if let Some(&removal) = self.removals.get(&container.id) {
                free.push(removal);
            } else if let Some(cause) = removal_cause(fates, container) {
                free.push(self.remove(container, &cause));
            } else {
                let cause = Cause::Reconnected(format!("network {name}"));
                let stop = container
                    .state
                    .is_alive()
                    .then(|| self.stop(container, Some(cause), false));
                let action = Action::Disconnect {
                    network: name.to_owned(),
                };
                let step =
                    NewStep::new(Kind::Container, &container.name, action).target(&container.id);
                free.push(self.builder.add(step, stop));
            }
        }
        let target = context
            .observed
            .network(name)
            .map_or_else(|| name.to_owned(), |network| network.id.clone());
        let step = NewStep::new(Kind::Network, name, Action::RemoveNetwork)
            .target(&target)
            .cause(Cause::ConfigChanged);
        self.builder.add(step, free)
    }

    fn remove_volume(&mut self, name: &str, fates: &IndexMap<String, ServiceFate<'_>>) -> Draft {
        let using = self.context.observed.containers.iter();
        let using = using.filter(|container| container.volumes.values().any(|used| used == name));
        let mut free = Vec::new();
        for container in using {
            let known = self.removals.get(&container.id).copied();
            let cause = Cause::Reconnected(format!("volume {name}"));
            let cause = removal_cause(fates, container).unwrap_or(cause);
            free.push(known.unwrap_or_else(|| self.remove(container, &cause)));
        }
        let step =
            NewStep::new(Kind::Volume, name, Action::RemoveVolume).cause(Cause::ConfigChanged);
        self.builder.add(step, free)
    }

    /// Puts a kept container on the networks of its service that are made again, or that it is not on. Returns
    /// the steps.
    pub(super) fn reconnect(
        &mut self,
        service: &DesiredService,
        container: &ObservedContainer,
    ) -> Vec<Draft> {
        let context = self.context;
        let keys = service.networks.iter();
        let names = keys.filter_map(|key| Some(&context.desired.networks.get(key)?.name));
        let lacks = |name: &&String| {
            context.resources.is_recreated_network(name)
                || (!container.state.is_alive() && !container.networks.contains_key(*name))
        };
        let names: Vec<&String> = names.filter(lacks).collect();
        let mut steps = Vec::new();
        for name in names {
            if let Some(endpoint) = service.endpoint(name, &container.name) {
                steps.push(self.connect(container, name, endpoint));
            }
        }
        steps
    }

    fn connect(
        &mut self,
        container: &ObservedContainer,
        network: &str,
        endpoint: EndpointSettings,
    ) -> Draft {
        let recreated = self.context.resources.is_recreated_network(network);
        let cause = if recreated {
            Cause::Reconnected(format!("network {network}"))
        } else {
            Cause::Missing
        };
        let action = Action::Connect {
            network: network.to_owned(),
            endpoint: Box::new(endpoint),
        };
        let step = NewStep::new(Kind::Container, &container.name, action)
            .target(&container.id)
            .cause(cause);
        let ready = self.ready_networks.get(network).copied();
        let stop = self.stops.get(&container.id).copied();
        self.builder.add(step, ready.into_iter().chain(stop))
    }

    /// Puts containers of services that are not worked on back on the networks that are made again, and starts them.
    pub(super) fn restore_bystanders(&mut self, project: &Project) {
        let context = self.context;
        for container in &context.observed.containers {
            let selected = context.desired.services.contains_key(container.service());
            if selected || self.removals.contains_key(&container.id) {
                continue;
            }
            let mut connects = Vec::new();
            for name in container
                .networks
                .keys()
                .filter(|name| context.resources.is_recreated_network(name))
            {
                let endpoint = endpoint_of(project, container.service(), name, &container.name);
                connects.push(self.connect(container, name, endpoint));
            }
            if container.state.is_alive() && !connects.is_empty() {
                let step = NewStep::new(Kind::Container, &container.name, Action::StartContainer);
                self.builder.add(step.target(&container.id), connects);
            }
        }
    }
}

/// Why this plan removes a container without putting another into its place.
fn removal_cause(
    fates: &IndexMap<String, ServiceFate<'_>>,
    container: &ObservedContainer,
) -> Option<Cause> {
    let removed = fates.values().flat_map(|fate| &fate.removed);
    let mut found = removed
        .filter(|(known, _)| known.id == container.id)
        .map(|(_, cause)| cause.clone());
    found.next()
}
