//! `down`: stop and remove containers in reverse order, then networks, and volumes and images when asked.

use std::collections::{BTreeMap, BTreeSet};

use crate::desire::labels;
use crate::observe::{Observed, ObservedContainer};

use super::PlanError;
use super::builder::{Draft, NewStep, PlanBuilder};
use super::live::Live;
use super::step::{Action, Cause, Kind, Need, Plan};

/// What `down` is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DownOptions {
    /// Only these services; all when empty.
    pub services: Vec<String>,
    /// Also volumes: the project's, and anonymous ones of its containers.
    pub volumes: bool,
    /// Also containers of services that the file does not have, and of `run`.
    pub remove_orphans: bool,
    /// Seconds to stop a container; its own when absent.
    pub timeout: Option<i64>,
    /// Also images.
    pub images: RemoveImages,
}

/// Which images `down` removes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RemoveImages {
    /// None.
    #[default]
    Keep,
    /// Those without a name in the file (`--rmi local`).
    Local,
    /// All that services use (`--rmi all`).
    All,
}

/// Plans `down`.
///
/// # Errors
/// [`PlanError::NoSuchService`].
pub fn plan_down(
    live: &Live,
    observed: &Observed,
    options: &DownOptions,
) -> Result<Plan, PlanError> {
    let selected: BTreeSet<String> = live.select(&options.services)?.into_iter().collect();
    let mut builder = PlanBuilder::default();
    let mut stopping = Stopping::new(live, options.timeout);
    let mut removed: BTreeMap<&str, Draft> = BTreeMap::new();
    for container in in_stop_order(live, observed) {
        let orphan = live.is_orphan(container) || container.is_one_off();
        let wanted = if orphan {
            options.remove_orphans
        } else {
            selected.contains(container.service())
        };
        if wanted {
            let cause = (orphan && !container.is_one_off()).then_some(Cause::Orphan);
            let remove = stopping.stop_and_remove(&mut builder, container, cause, options.volumes);
            removed.insert(&container.id, remove);
        }
    }
    add_networks(&mut builder, live, observed, &removed);
    if options.volumes {
        add_inherited_volumes(&mut builder, observed, &removed);
    }
    let whole_project = options.services.is_empty();
    if options.volumes && whole_project {
        add_volumes(&mut builder, live, observed, &removed);
    }
    add_images(
        &mut builder,
        live,
        observed,
        (&selected, options.images, &removed),
    );
    Ok(live.finish(builder, observed))
}

/// Stops containers, dependents before what they depend on.
#[derive(Debug)]
pub(crate) struct Stopping<'a> {
    live: &'a Live,
    timeout: Option<i64>,
    stops: BTreeMap<String, Vec<Draft>>,
}

impl<'a> Stopping<'a> {
    pub(crate) fn new(live: &'a Live, timeout: Option<i64>) -> Self {
        Stopping {
            live,
            timeout,
            stops: BTreeMap::new(),
        }
    }

    /// Adds a stop after those of all dependents so far. Containers must come in [`in_stop_order`].
    pub(crate) fn stop(
        &mut self,
        builder: &mut PlanBuilder,
        container: &ObservedContainer,
        cause: Option<Cause>,
    ) -> Draft {
        let mut step = NewStep::new(
            Kind::Container,
            &container.name,
            Action::StopContainer {
                timeout: self.timeout,
            },
        )
        .target(&container.id);
        step.cause = cause;
        let draft = builder.add(step, []);
        for (dependent, _) in self.live.graph().dependents(container.service()) {
            for &earlier in self.stops.get(dependent).into_iter().flatten() {
                builder.order(draft, earlier, Need::Settled);
            }
        }
        self.stops
            .entry(container.service().to_owned())
            .or_default()
            .push(draft);
        draft
    }

    fn stop_and_remove(
        &mut self,
        builder: &mut PlanBuilder,
        container: &ObservedContainer,
        cause: Option<Cause>,
        volumes: bool,
    ) -> Draft {
        let stop = container
            .state
            .is_alive()
            .then(|| self.stop(builder, container, cause.clone()));
        let mut remove = NewStep::new(
            Kind::Container,
            &container.name,
            Action::RemoveContainer { volumes },
        )
        .target(&container.id);
        remove.cause = cause.filter(|_| stop.is_none());
        builder.add(remove, stop)
    }
}

/// All containers: dependents first, then by number; orphans and one-offs before everything.
pub(crate) fn in_stop_order<'a>(live: &Live, observed: &'a Observed) -> Vec<&'a ObservedContainer> {
    let order: Vec<&str> = live.graph().order().rev().collect();
    let mut containers: Vec<&ObservedContainer> = observed.containers.iter().collect();
    let place = |container: &ObservedContainer| {
        let position = order
            .iter()
            .position(|service| *service == container.service());
        (
            !container.is_one_off(),
            position.map_or(0, |position| position + 1),
        )
    };
    containers.sort_by_key(|container| place(container));
    containers
}

/// Networks that no container is left on.
fn add_networks(
    builder: &mut PlanBuilder,
    live: &Live,
    observed: &Observed,
    removed: &BTreeMap<&str, Draft>,
) {
    for name in &live.networks {
        let Some(network) = observed.network(name) else {
            continue;
        };
        let attached = || {
            observed
                .containers
                .iter()
                .filter(|container| container.networks.contains_key(name))
        };
        if attached().all(|container| removed.contains_key(container.id.as_str())) {
            let after =
                attached().filter_map(|container| removed.get(container.id.as_str()).copied());
            builder.add(
                NewStep::new(Kind::Network, name, Action::RemoveNetwork).target(&network.id),
                after,
            );
        }
    }
}

/// Anonymous volumes that containers took over from those they replaced. To the engine they are named by now, so
/// that it does not remove them with their container.
pub(crate) fn add_inherited_volumes(
    builder: &mut PlanBuilder,
    observed: &Observed,
    removed: &BTreeMap<&str, Draft>,
) {
    let replacements = observed.containers.iter().filter(|container| {
        removed.contains_key(container.id.as_str()) && !container.label(labels::REPLACE).is_empty()
    });
    let names: BTreeSet<String> = replacements
        .flat_map(|container| container.anonymous_volumes())
        .map(|(name, _)| name)
        .collect();
    for name in names {
        remove_unused_volume(builder, observed, removed, &name);
    }
}

/// Removes a volume if every container that uses it is removed.
fn remove_unused_volume(
    builder: &mut PlanBuilder,
    observed: &Observed,
    removed: &BTreeMap<&str, Draft>,
    name: &str,
) {
    let using = || {
        let containers = observed.containers.iter();
        containers.filter(|container| container.volumes.values().any(|used| used == name))
    };
    if using().all(|container| removed.contains_key(container.id.as_str())) {
        let after = using().filter_map(|container| removed.get(container.id.as_str()).copied());
        builder.add(
            NewStep::new(Kind::Volume, name, Action::RemoveVolume),
            after,
        );
    }
}

/// Volumes that no container is left to use.
fn add_volumes(
    builder: &mut PlanBuilder,
    live: &Live,
    observed: &Observed,
    removed: &BTreeMap<&str, Draft>,
) {
    for name in live
        .volumes
        .iter()
        .filter(|name| observed.volume(name).is_some())
    {
        remove_unused_volume(builder, observed, removed, name);
    }
}

type ImageChoice<'a> = (
    &'a BTreeSet<String>,
    RemoveImages,
    &'a BTreeMap<&'a str, Draft>,
);

fn add_images(
    builder: &mut PlanBuilder,
    live: &Live,
    observed: &Observed,
    choice: ImageChoice<'_>,
) {
    let (selected, which, removed) = choice;
    let mut seen = BTreeSet::new();
    for (_, service) in live
        .services
        .iter()
        .filter(|(name, _)| selected.contains(*name))
    {
        let Some((image, named)) = &service.image else {
            continue;
        };
        let wanted = match which {
            RemoveImages::Keep => false,
            RemoveImages::Local => !named,
            RemoveImages::All => true,
        };
        if wanted && observed.image_id(image).is_some() && seen.insert(image) {
            let step = NewStep::new(Kind::Image, image, Action::RemoveImage);
            let draft = builder.add(step, []);
            for &before in removed.values() {
                builder.order(draft, before, Need::Settled);
            }
        }
    }
}
