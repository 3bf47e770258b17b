//! `start`, `stop`, `restart`, `kill` and `rm`: what is done to containers that exist already.

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;

use crate::graph::Condition;
use crate::observe::{Observed, ObservedContainer};

use super::PlanError;
use super::builder::{Draft, NewStep, PlanBuilder};
use super::down::{Stopping, add_inherited_volumes, in_stop_order};
use super::live::Live;
use super::start::{Instance, StartPhase};
use super::step::{Action, Cause, Gate, GateContainer, Kind, Need, Plan, Until};

/// What `start` is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// Only these services and what they depend on; all when empty.
    pub services: Vec<String>,
    /// Wait until they are ready.
    pub wait: bool,
    /// How long to wait at most.
    pub wait_timeout: Option<Duration>,
}

/// What `stop` and `restart` are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopOptions {
    /// Only these services; all when empty.
    pub services: Vec<String>,
    /// Seconds until SIGKILL; the container's own when absent.
    pub timeout: Option<i64>,
    /// `restart`: leave services alone that would be restarted because of `restart: true`.
    pub no_deps: bool,
}

/// What `kill` is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KillOptions {
    /// Only these services; all when empty.
    pub services: Vec<String>,
    /// The signal; empty means SIGKILL.
    pub signal: String,
    /// Also containers of services that the file does not have.
    pub remove_orphans: bool,
}

/// What `rm` is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Only these services; all when empty.
    pub services: Vec<String>,
    /// Stop running ones first; otherwise they are left alone.
    pub stop: bool,
    /// Also their anonymous volumes.
    pub volumes: bool,
}

/// Plans `start`: the services and their dependencies, with the waits that `depends_on` asks for.
///
/// # Errors
/// [`PlanError::NoSuchService`]; [`PlanError::NoContainer`] when a named service has no container.
pub fn plan_start(
    live: &Live,
    observed: &Observed,
    options: &StartOptions,
) -> Result<Plan, PlanError> {
    let named = live.select(&options.services)?;
    let selected = live
        .graph()
        .with_dependencies(named.iter().map(String::as_str));
    let mut instances: IndexMap<String, Vec<Instance>> = IndexMap::new();
    for service in &selected {
        let found: Vec<Instance> = observed
            .of_service(service)
            .map(Instance::existing)
            .collect();
        if found.is_empty() && options.services.contains(service) {
            return Err(PlanError::NoContainer(service.clone()));
        }
        instances.insert(service.clone(), found);
    }
    let mut builder = PlanBuilder::default();
    let mut phase = StartPhase::new(
        live.graph(),
        &instances,
        &selected.into_iter().collect::<Vec<_>>(),
    );
    phase.add_starts(&mut builder);
    if options.wait {
        phase.add_waits(&mut builder, options.wait_timeout);
    }
    Ok(live.finish(builder, observed))
}

/// Plans `stop`: dependents before what they depend on. Containers of `run` are left alone.
///
/// # Errors
/// [`PlanError::NoSuchService`].
pub fn plan_stop(
    live: &Live,
    observed: &Observed,
    options: &StopOptions,
) -> Result<Plan, PlanError> {
    let selected = live.select(&options.services)?;
    let mut builder = PlanBuilder::default();
    let mut stopping = Stopping::new(live, options.timeout);
    for container in
        chosen(live, observed, &selected).filter(|container| container.state.is_alive())
    {
        stopping.stop(&mut builder, container, None);
    }
    Ok(live.finish(builder, observed))
}

/// Plans `restart`: the services, then those that ask for it with `restart: true`.
///
/// # Errors
/// [`PlanError::NoSuchService`].
pub fn plan_restart(
    live: &Live,
    observed: &Observed,
    options: &StopOptions,
) -> Result<Plan, PlanError> {
    let selected = live.select(&options.services)?;
    let mut builder = PlanBuilder::default();
    let mut restarts: BTreeMap<&str, Vec<Draft>> = BTreeMap::new();
    let mut gates: BTreeMap<&str, Draft> = BTreeMap::new();
    for service in live.graph().order() {
        let follows = live
            .graph()
            .dependencies(service)
            .into_iter()
            .find(|dependency| {
                !options.no_deps
                    && dependency.restart
                    && restarts.contains_key(dependency.service.as_str())
            });
        let is_selected = selected.iter().any(|name| name == service);
        if !is_selected && follows.is_none() {
            continue;
        }
        let cause = follows
            .filter(|_| !is_selected)
            .map(|other| Cause::Restarts(format!("service {}", other.service)));
        let mut drafts = Vec::new();
        for container in observed.of_service(service) {
            let action = Action::RestartContainer {
                timeout: options.timeout,
            };
            let mut step =
                NewStep::new(Kind::Container, &container.name, action).target(&container.id);
            step.cause.clone_from(&cause);
            let draft = builder.add(step, []);
            for dependency in live.graph().dependencies(service) {
                for &before in restarts
                    .get(dependency.service.as_str())
                    .into_iter()
                    .flatten()
                {
                    builder.order(draft, before, Need::Settled);
                }
                if let Some(&gate) = gates.get(dependency.service.as_str())
                    && dependency.condition == Condition::Healthy
                {
                    let need = match dependency.required {
                        true => Need::Success,
                        false => Need::Settled,
                    };
                    builder.order(draft, gate, need);
                }
            }
            drafts.push(draft);
        }
        // Who waits for it to be healthy waits for that again.
        let awaited = live
            .graph()
            .dependents(service)
            .into_iter()
            .any(|(dependent, how)| {
                let restarts = selected.iter().any(|name| name == dependent) || how.restart;
                how.condition == Condition::Healthy && restarts && !options.no_deps
            });
        if awaited && !drafts.is_empty() {
            let gate = healthy(observed, service);
            let step = NewStep::new(Kind::Service, service, Action::Wait(gate));
            gates.insert(service, builder.add(step, drafts.iter().copied()));
        }
        restarts.insert(service, drafts);
    }
    Ok(live.finish(builder, observed))
}

/// Waiting until a service's containers are healthy.
fn healthy(observed: &Observed, service: &str) -> Gate {
    let containers = observed.of_service(service);
    Gate {
        containers: containers
            .map(|container| GateContainer {
                name: container.name.clone(),
                target: container.id.clone(),
            })
            .collect(),
        until: Until::Met(Condition::Healthy),
        required: true,
        timeout: None,
    }
}

/// Plans `kill`: the signal to every running container at once.
///
/// # Errors
/// [`PlanError::NoSuchService`].
pub fn plan_kill(
    live: &Live,
    observed: &Observed,
    options: &KillOptions,
) -> Result<Plan, PlanError> {
    let selected = live.select(&options.services)?;
    let signal = if options.signal.is_empty() {
        "SIGKILL"
    } else {
        &options.signal
    };
    let mut builder = PlanBuilder::default();
    let orphans = observed
        .containers
        .iter()
        .filter(|container| options.remove_orphans && live.is_orphan(container));
    // As Compose does: who kills a service means what `run` made of it, too.
    for container in with_runs(live, observed, &selected)
        .chain(orphans)
        .filter(|container| container.state.is_alive())
    {
        let action = Action::KillContainer {
            signal: signal.to_owned(),
        };
        builder.add(
            NewStep::new(Kind::Container, &container.name, action).target(&container.id),
            [],
        );
    }
    Ok(live.finish(builder, observed))
}

/// Plans `rm`: removes stopped containers, with `stop` also running ones.
///
/// # Errors
/// [`PlanError::NoSuchService`].
pub fn plan_remove(
    live: &Live,
    observed: &Observed,
    options: &RemoveOptions,
) -> Result<Plan, PlanError> {
    let selected = live.select(&options.services)?;
    let mut builder = PlanBuilder::default();
    let mut stopping = Stopping::new(live, None);
    let mut removed: BTreeMap<&str, Draft> = BTreeMap::new();
    for container in chosen(live, observed, &selected) {
        if container.state.is_alive() && !options.stop {
            continue;
        }
        let stop = container
            .state
            .is_alive()
            .then(|| stopping.stop(&mut builder, container, None));
        let action = Action::RemoveContainer {
            volumes: options.volumes,
        };
        let step = NewStep::new(Kind::Container, &container.name, action).target(&container.id);
        removed.insert(&container.id, builder.add(step, stop));
    }
    if options.volumes {
        add_inherited_volumes(&mut builder, observed, &removed);
    }
    Ok(live.finish(builder, observed))
}

/// The containers of the selected services in stop order, without those of `run`.
fn chosen<'a>(
    live: &Live,
    observed: &'a Observed,
    selected: &'a [String],
) -> impl Iterator<Item = &'a ObservedContainer> {
    with_runs(live, observed, selected).filter(|container| !container.is_one_off())
}

/// The containers of the selected services in stop order.
fn with_runs<'a>(
    live: &Live,
    observed: &'a Observed,
    selected: &'a [String],
) -> impl Iterator<Item = &'a ObservedContainer> {
    let containers = in_stop_order(live, observed).into_iter();
    containers.filter(|container| {
        selected
            .iter()
            .any(|service| service == container.service())
    })
}
