//! What becomes of every container: kept, replaced, removed; and which numbers are new.
//!
//! Decisions only; no steps. The rules are Docker Compose's (spec `compose.md`, 3.7), except that a container left
//! under its temporary name by an interrupted replacement is finished or removed.

use std::cmp::Reverse;

use indexmap::IndexMap;

use crate::desire::{DesiredService, labels};
use crate::graph::Reason;
use crate::observe::{ContainerState, ObservedContainer};
use crate::plan::PlanError;
use crate::plan::step::Cause;

use super::{Context, Recreate};

/// What becomes of the containers of one service.
#[derive(Debug)]
pub(super) struct ServiceFate<'a> {
    /// Existing containers that the service keeps or replaces, by number.
    pub(super) containers: Vec<(&'a ObservedContainer, Fate)>,
    /// Existing containers to remove.
    pub(super) removed: Vec<(&'a ObservedContainer, Cause)>,
    /// Numbers of containers to create.
    pub(super) created: Vec<u32>,
    /// A service that is replaced and that this one wants to be restarted with, or shares something with.
    pub(super) interrupted_by: Option<String>,
}

/// What becomes of a container that stays in the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing.
    Keep,
    /// It gets its final name; an interrupted run had not come so far.
    Rename,
    /// A new one takes its place.
    Replace(Cause),
}

impl ServiceFate<'_> {
    /// Containers that exist and are not simply removed.
    pub(super) fn surviving(&self) -> impl Iterator<Item = &ObservedContainer> {
        self.containers.iter().map(|(container, _)| *container)
    }

    /// Whether this container is replaced.
    pub(super) fn is_replaced(&self, container: &ObservedContainer) -> bool {
        self.containers
            .iter()
            .any(|(known, fate)| known.id == container.id && matches!(fate, Fate::Replace(_)))
    }

    /// Whether any container is replaced.
    pub(super) fn replaces_any(&self) -> bool {
        self.containers
            .iter()
            .any(|(_, fate)| matches!(fate, Fate::Replace(_)))
    }

    /// Whether the container that others refer to will be a new one.
    fn first_is_new(&self) -> bool {
        match self.containers.first() {
            Some((_, fate)) => matches!(fate, Fate::Replace(_)),
            None => !self.created.is_empty(),
        }
    }
}

/// Decides for all services, dependencies first.
pub(super) fn decide<'a>(
    context: &Context<'a>,
) -> Result<IndexMap<String, ServiceFate<'a>>, PlanError> {
    let mut fates: IndexMap<String, ServiceFate<'a>> = IndexMap::new();
    for service in context.desired.services.values() {
        let fate = decide_service(context, service, &fates);
        fates.insert(service.name.clone(), fate);
    }
    Ok(fates)
}

fn decide_service<'a>(
    context: &Context<'a>,
    service: &DesiredService,
    earlier: &IndexMap<String, ServiceFate<'a>>,
) -> ServiceFate<'a> {
    let mut removed = Vec::new();
    let mut found: Vec<(&ObservedContainer, Option<Cause>)> = Vec::new();
    let all: Vec<&ObservedContainer> = context
        .observed
        .containers
        .iter()
        .filter(|container| is_ours(container, service))
        .collect();
    for container in &all {
        if is_leftover(container, &all) {
            removed.push((*container, Cause::Leftover));
        } else {
            found.push((container, divergence(context, service, container, earlier)));
        }
    }
    // Those that match the file first, then the lowest numbers; the rest is too many.
    found.sort_by_key(|(container, cause)| {
        (
            cause.is_some(),
            container.number(),
            Reverse(container.created),
        )
    });
    let wanted = service.replicas as usize;
    let excess = found.split_off(wanted.min(found.len()));
    let highest = all
        .iter()
        .map(|container| container.number())
        .max()
        .unwrap_or(0);
    let missing = u32::try_from(wanted - found.len()).unwrap_or(0);
    removed.extend(
        excess
            .into_iter()
            .map(|(container, _)| (container, Cause::ScaledDown)),
    );
    found.sort_by_key(|(container, _)| container.number());
    let containers = found.into_iter().map(|(container, cause)| {
        let fate = match cause {
            Some(cause) => Fate::Replace(cause),
            None if is_temporary(container) => Fate::Rename,
            None => Fate::Keep,
        };
        (container, fate)
    });
    ServiceFate {
        containers: containers.collect(),
        removed,
        created: (highest + 1..=highest + missing).collect(),
        interrupted_by: interrupted_by(context, service, earlier),
    }
}

fn is_ours(container: &ObservedContainer, service: &DesiredService) -> bool {
    container.service() == service.name
        && !container.is_one_off()
        && container.state != ContainerState::Removing
}

/// Why a container does not match the file; none when it does, or must not be replaced.
fn divergence(
    context: &Context<'_>,
    service: &DesiredService,
    container: &ObservedContainer,
    earlier: &IndexMap<String, ServiceFate<'_>>,
) -> Option<Cause> {
    let named =
        context.options.services.is_empty() || context.options.services.contains(&service.name);
    let policy = if named {
        context.options.recreate
    } else {
        context.options.recreate_dependencies
    };
    match policy {
        Recreate::Never => return None,
        Recreate::Always => return Some(Cause::Forced),
        Recreate::Diverged => {}
    }
    let changed_volume = || {
        context
            .resources
            .recreated_volumes()
            .find(|name| container.volumes.values().any(|used| used == *name))
    };
    let parent = || {
        service.shared.iter().find(|shared| {
            earlier
                .get(&shared.service)
                .is_some_and(ServiceFate::first_is_new)
        })
    };
    // Another one has taken its place since: this one could not even start.
    let lost = || {
        let of = container.network_of.as_deref()?;
        service.shared.iter().find(|shared| {
            let mut known = context.observed.of_service(&shared.service);
            shared.reason == Reason::NetworkNamespace
                && !known.any(|known| known.id == of || known.name == of)
        })
    };
    if let Some(parent) = parent().or_else(lost) {
        return Some(Cause::Follows(format!("service {}", parent.service)));
    }
    if container.label(labels::CONFIG_HASH) != service.config_hash {
        return Some(Cause::ConfigChanged);
    }
    let made_from = container.label(labels::IMAGE);
    if context
        .observed
        .image_id(&service.image)
        .is_some_and(|id| !made_from.is_empty() && id != made_from)
    {
        return Some(Cause::ImageChanged);
    }
    if let Some(volume) = changed_volume() {
        return Some(Cause::Reconnected(format!("volume {volume}")));
    }
    missing_network(context, service, container)
        .or_else(|| missing_volume(context, service, container))
}

/// A network that the container should be on and is not, or that was made again without us. A network that this
/// plan makes again, or that a stopped container merely was taken off, is connected instead.
fn missing_network(
    context: &Context<'_>,
    service: &DesiredService,
    container: &ObservedContainer,
) -> Option<Cause> {
    let keys = service.networks.iter();
    let networks = keys.filter_map(|key| context.desired.networks.get(key));
    let mut names = networks
        .map(|network| &network.name)
        .filter(|name| !context.resources.is_recreated_network(name));
    let alive = container.state.is_alive();
    let lacks = |name: &&String| match (
        container.networks.get(*name),
        context.observed.network(name),
    ) {
        (None, _) => alive,
        (Some(_), None) => true,
        (Some(id), Some(network)) => alive && !id.is_empty() && *id != network.id,
    };
    names
        .find(lacks)
        .map(|name| Cause::NetworkMissing(name.clone()))
}

fn missing_volume(
    context: &Context<'_>,
    service: &DesiredService,
    container: &ObservedContainer,
) -> Option<Cause> {
    let mut names = service
        .volumes
        .iter()
        .filter_map(|key| context.desired.volumes.get(key))
        .map(|volume| &volume.name);
    let missing = names.find(|name| !container.volumes.values().any(|used| used == *name));
    missing.map(|name| Cause::VolumeMissing(name.clone()))
}

/// A service that is replaced in this run and whose dependents want to be restarted with it.
fn interrupted_by(
    context: &Context<'_>,
    service: &DesiredService,
    earlier: &IndexMap<String, ServiceFate<'_>>,
) -> Option<String> {
    let dependencies = context.graph.dependencies(&service.name).into_iter();
    let mut restarting = dependencies
        .filter(|dependency| dependency.restart || dependency.reason.shares_container());
    let found = restarting.find(|dependency| {
        earlier
            .get(&dependency.service)
            .is_some_and(ServiceFate::replaces_any)
    });
    found.map(|dependency| dependency.service.clone())
}

/// The name a replacement has until the old container is gone: `<12 of its id>_<final name>`.
pub(super) fn temporary_name(old: &ObservedContainer, final_name: &str) -> String {
    let short: String = old.id.chars().take(12).collect();
    format!("{short}_{final_name}")
}

fn is_temporary(container: &ObservedContainer) -> bool {
    let prefix = container
        .name
        .split_once('_')
        .map_or("", |(prefix, _)| prefix);
    let is_id = prefix.len() == 12 && prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id && !container.label(labels::REPLACE).is_empty()
}

/// A replacement whose old container is still there: the run was interrupted before it could take over.
fn is_leftover(container: &ObservedContainer, all: &[&ObservedContainer]) -> bool {
    let same_number = |other: &&&ObservedContainer| {
        other.number() == container.number() && other.id != container.id
    };
    is_temporary(container)
        && all
            .iter()
            .filter(same_number)
            .any(|other| !is_temporary(other))
}
