//! The start phase of a plan: start what does not run, in dependency order, with the waits in between.
//!
//! Shared by `up` and `start`. It knows instances (a container now, or one that earlier steps of the plan make)
//! and the dependency graph; it knows nothing of configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use indexmap::IndexMap;

use crate::graph::{Condition, Dependency, ServiceGraph};
use crate::observe::{ContainerState, HealthStatus, ObservedContainer};

use super::builder::{Draft, NewStep, PlanBuilder};
use super::step::{Action, Cause, Gate, GateContainer, Kind, Need, Until};

/// A container as it will be when the start phase begins.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    /// Its final name.
    pub(crate) name: String,
    /// How the engine will know it then.
    pub(crate) target: String,
    /// What it will be doing.
    pub(crate) state: InstanceState,
    /// Steps that must come before its start.
    pub(crate) ready: Vec<Draft>,
}

/// What an instance is doing when the start phase begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InstanceState {
    /// Made by this plan.
    New,
    /// Runs now, but an earlier step of this plan stops it because of something else.
    Interrupted(Cause),
    /// Does not run; with its state for people, and whether it ended with exit code 0.
    Stopped { text: String, completed: bool },
    /// Frozen.
    Paused,
    /// Runs and goes on running.
    Running(Option<HealthStatus>),
}

impl Instance {
    /// A container that this plan leaves as it is.
    pub(crate) fn existing(container: &ObservedContainer) -> Self {
        let state = match container.state {
            ContainerState::Running | ContainerState::Restarting => {
                InstanceState::Running(container.health)
            }
            ContainerState::Paused => InstanceState::Paused,
            _ => InstanceState::Stopped {
                text: container.state_text(),
                completed: container.state == ContainerState::Exited
                    && container.exit_code == Some(0),
            },
        };
        Instance {
            name: container.name.clone(),
            target: container.id.clone(),
            state,
            ready: Vec::new(),
        }
    }

    fn is_running(&self) -> bool {
        matches!(self.state, InstanceState::Running(_))
    }

    fn is_completed(&self) -> bool {
        matches!(
            self.state,
            InstanceState::Stopped {
                completed: true,
                ..
            }
        )
    }

    fn meets(&self, until: Until) -> bool {
        let healthy = matches!(
            self.state,
            InstanceState::Running(Some(HealthStatus::Healthy))
        );
        match until {
            Until::Met(Condition::Started) => self.is_running(),
            Until::Met(Condition::Healthy) => healthy,
            Until::Met(Condition::Completed) => self.is_completed(),
            Until::Ready { may_complete } => {
                healthy
                    || self.state == InstanceState::Running(None)
                    || (may_complete && self.is_completed())
            }
        }
    }
}

/// Adds starts and waits for the services in `instances`.
#[derive(Debug)]
pub(crate) struct StartPhase<'a> {
    graph: &'a ServiceGraph,
    instances: &'a IndexMap<String, Vec<Instance>>,
    needed: BTreeSet<String>,
    starts: BTreeMap<String, Vec<Draft>>,
    gates: BTreeMap<(String, Condition), Draft>,
}

impl<'a> StartPhase<'a> {
    /// `named` are the services the user asked for by name: they are started whatever their history.
    pub(crate) fn new(
        graph: &'a ServiceGraph,
        instances: &'a IndexMap<String, Vec<Instance>>,
        named: &[String],
    ) -> Self {
        let mut phase = StartPhase {
            graph,
            instances,
            needed: BTreeSet::new(),
            starts: BTreeMap::new(),
            gates: BTreeMap::new(),
        };
        for service in graph.order().rev() {
            if phase.needs_start(service, named) {
                phase.needed.insert(service.to_owned());
            }
        }
        phase
    }

    /// Adds the start steps, dependencies first, each after what it waits for.
    pub(crate) fn add_starts(&mut self, builder: &mut PlanBuilder) {
        for service in self.graph.order() {
            if !self.needed.contains(service) {
                continue;
            }
            let before = self.prerequisites(builder, service);
            let mut drafts = Vec::new();
            for instance in self.instances[service]
                .iter()
                .filter(|instance| !instance.is_running())
            {
                let draft = builder.add(start_step(instance), instance.ready.iter().copied());
                for &(step, need) in &before {
                    builder.order(draft, step, need);
                }
                drafts.push(draft);
            }
            self.starts.insert(service.to_owned(), drafts);
        }
    }

    /// Adds the final waits of `--wait` for services that are not ready already.
    pub(crate) fn add_waits(&self, builder: &mut PlanBuilder, timeout: Option<Duration>) {
        for service in self
            .graph
            .order()
            .filter(|service| self.instances.contains_key(*service))
        {
            let may_complete = self
                .awaiting(service, Condition::Completed)
                .next()
                .is_some();
            let until = Until::Ready { may_complete };
            let required_gate = |condition| {
                self.gates.contains_key(&(service.to_owned(), condition))
                    && self.is_required(service, condition)
            };
            if required_gate(Condition::Healthy) || required_gate(Condition::Completed) {
                continue;
            }
            if let Some(gate) = self.gate(service, until, true) {
                let gate = Gate { timeout, ..gate };
                let after = self.starts.get(service).cloned().unwrap_or_default();
                builder.add(
                    NewStep::new(Kind::Service, service, Action::Wait(gate)),
                    after,
                );
            }
        }
    }

    /// The start steps of a service, once [`Self::add_starts`] has run.
    pub(crate) fn starts(&self, service: &str) -> &[Draft] {
        self.starts.get(service).map_or(&[], Vec::as_slice)
    }

    /// Whether anything of the service is to be started. A job that ended well, and that others only wait for to
    /// complete, rests unless one of those is started now.
    fn needs_start(&self, service: &str, named: &[String]) -> bool {
        let Some(instances) = self.instances.get(service) else {
            return false;
        };
        let mut idle = instances.iter().filter(|instance| !instance.is_running());
        let is_job = !named.iter().any(|name| name == service)
            && self
                .awaiting(service, Condition::Completed)
                .next()
                .is_some();
        if is_job && instances.iter().all(Instance::is_completed) {
            return self
                .awaiting(service, Condition::Completed)
                .any(|(dependent, _)| self.needed.contains(dependent));
        }
        idle.next().is_some()
    }

    /// Services of this plan that wait for `service` to reach `condition`.
    fn awaiting(
        &self,
        service: &str,
        condition: Condition,
    ) -> impl Iterator<Item = (&'a str, &'a Dependency)> {
        let instances = self.instances;
        let dependents = self.graph.dependents(service).into_iter();
        dependents.filter(move |(dependent, how)| {
            how.condition == condition && instances.contains_key(*dependent)
        })
    }

    fn is_required(&self, service: &str, condition: Condition) -> bool {
        let mut awaiting = self.awaiting(service, condition);
        awaiting.any(|(dependent, how)| how.required && self.needed.contains(dependent))
    }

    fn prerequisites(&mut self, builder: &mut PlanBuilder, service: &str) -> Vec<(Draft, Need)> {
        let mut before = Vec::new();
        for dependency in self.graph.dependencies(service) {
            let need = if dependency.required {
                Need::Success
            } else {
                Need::Settled
            };
            match dependency.condition {
                Condition::Started => {
                    let starts = self.starts.get(&dependency.service).into_iter().flatten();
                    before.extend(starts.map(|&start| (start, need)));
                }
                condition => before.extend(
                    self.gate_step(builder, &dependency.service, condition)
                        .map(|gate| (gate, need)),
                ),
            }
        }
        before
    }

    /// The waiting step for a service and condition; one for all dependents. None when there is nothing to wait for.
    fn gate_step(
        &mut self,
        builder: &mut PlanBuilder,
        service: &str,
        condition: Condition,
    ) -> Option<Draft> {
        let key = (service.to_owned(), condition);
        if let Some(&known) = self.gates.get(&key) {
            return Some(known);
        }
        let gate = self.gate(
            service,
            Until::Met(condition),
            self.is_required(service, condition),
        )?;
        let after = self.starts.get(service).cloned().unwrap_or_default();
        let draft = builder.add(
            NewStep::new(Kind::Service, service, Action::Wait(gate)),
            after,
        );
        self.gates.insert(key, draft);
        Some(draft)
    }

    fn gate(&self, service: &str, until: Until, required: bool) -> Option<Gate> {
        let instances = self.instances.get(service)?;
        let started = self
            .starts
            .get(service)
            .is_some_and(|starts| !starts.is_empty());
        if instances.is_empty()
            || (!started && instances.iter().all(|instance| instance.meets(until)))
        {
            return None;
        }
        let containers = instances.iter();
        let containers = containers.map(|instance| GateContainer {
            name: instance.name.clone(),
            target: instance.target.clone(),
        });
        Some(Gate {
            containers: containers.collect(),
            until,
            required,
            timeout: None,
        })
    }
}

fn start_step(instance: &Instance) -> NewStep {
    let (action, cause) = match &instance.state {
        InstanceState::New | InstanceState::Running(_) => (Action::StartContainer, None),
        InstanceState::Interrupted(cause) => (Action::StartContainer, Some(cause.clone())),
        InstanceState::Stopped { text, .. } => (
            Action::StartContainer,
            Some(Cause::NotRunning(text.clone())),
        ),
        InstanceState::Paused => (
            Action::UnpauseContainer,
            Some(Cause::NotRunning("paused".to_owned())),
        ),
    };
    let step = NewStep::new(Kind::Container, &instance.name, action).target(&instance.target);
    match cause {
        Some(cause) => step.cause(cause),
        None => step,
    }
}
