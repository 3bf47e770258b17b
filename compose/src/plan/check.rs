//! The linter over finished plans: what must hold of every plan, whoever made it.
//!
//! A finding is a mistake of a planner, never of the user.

use std::collections::BTreeSet;

use crate::observe::{Observed, ObservedContainer};

use super::step::{Action, Plan, Step, StepId};

/// A rule that a plan breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The step.
    pub step: StepId,
    /// What is wrong with it.
    pub text: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.step, self.text)
    }
}

/// Looks for broken rules in a plan made for this snapshot.
pub fn check(plan: &Plan, observed: &Observed) -> Vec<Finding> {
    let mut linter = Linter {
        plan,
        observed,
        before: Vec::new(),
        findings: Vec::new(),
    };
    linter.check_order();
    if !linter.findings.is_empty() {
        return linter.findings;
    }
    linter.before = ancestors(plan);
    for step in &plan.steps {
        match &step.action {
            Action::CreateContainer(_) => linter.check_creation(step),
            Action::StartContainer | Action::WriteFiles(_) => linter.check_exists(step),
            Action::RenameContainer => linter.check_rename(step),
            Action::Wait(_) => linter.check_wait(step),
            Action::StopContainer { .. } => linter.check_stop(step),
            Action::RemoveContainer { .. } => linter.check_removal(step),
            Action::RemoveNetwork => linter.check_network_removal(step),
            Action::RemoveVolume => linter.check_volume_removal(step),
            Action::CreateNetwork(_) => linter.check_after_removal(step, &Action::RemoveNetwork),
            Action::CreateVolume(_) => linter.check_after_removal(step, &Action::RemoveVolume),
            _ => {}
        }
    }
    linter.findings
}

struct Linter<'a> {
    plan: &'a Plan,
    observed: &'a Observed,
    /// All steps before each step, directly or not.
    before: Vec<BTreeSet<usize>>,
    findings: Vec<Finding>,
}

fn ancestors(plan: &Plan) -> Vec<BTreeSet<usize>> {
    let mut all: Vec<BTreeSet<usize>> = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        let mut mine = BTreeSet::new();
        for after in &step.after {
            mine.insert(after.step.index());
            mine.extend(all[after.step.index()].iter().copied());
        }
        all.push(mine);
    }
    all
}

impl<'a> Linter<'a> {
    fn find(&mut self, step: &Step, text: String) {
        self.findings.push(Finding {
            step: step.id,
            text,
        });
    }

    /// Demands that every other step chosen comes before `step`.
    fn demand<F>(&mut self, step: &Step, chosen: F)
    where
        F: Fn(&Step) -> bool,
    {
        let plan = self.plan;
        for other in plan
            .steps
            .iter()
            .filter(|other| other.id != step.id && chosen(other))
        {
            if !self.before[step.id.index()].contains(&other.id.index()) {
                self.find(step, format!("must come after {other}"));
            }
        }
    }

    fn container(&self, target: &str) -> Option<&'a ObservedContainer> {
        self.observed
            .containers
            .iter()
            .find(|container| container.id == target || container.name == target)
    }

    fn check_order(&mut self) {
        let plan = self.plan;
        for (index, step) in plan.steps.iter().enumerate() {
            if step.id != StepId::from_index(index) {
                self.find(step, format!("is at place {}", index + 1));
            }
            let wrong = step.after.iter().find(|after| after.step >= step.id);
            if let Some(after) = wrong {
                self.find(
                    step,
                    format!(
                        "waits for {}, which does not come before it: the plan has a cycle",
                        after.step
                    ),
                );
            }
        }
    }

    fn check_creation(&mut self, step: &Step) {
        let Action::CreateContainer(request) = &step.action else {
            return;
        };
        let (target, name) = (&step.target, &step.object.name);
        if self
            .plan
            .steps
            .iter()
            .any(|other| other.id < step.id && other.target == *target && is_creation(other))
        {
            self.find(
                step,
                "creates a container that another step creates too".to_owned(),
            );
        }
        self.demand(step, |other| match &other.action {
            Action::CreateNetwork(network) => request
                .networking_config
                .endpoints_config
                .contains_key(&network.name),
            Action::CreateVolume(volume) => request
                .host_config
                .binds
                .iter()
                .any(|bind| bind.split(':').next() == Some(volume.name.as_str())),
            Action::RemoveContainer { .. } => target == name && other.object.name == *name,
            _ => false,
        });
    }

    /// Made before this step, in the plan or before it.
    fn check_exists(&mut self, step: &Step) {
        let target = &step.target;
        let makes = |other: &Step| {
            (is_creation(other) && other.target == *target)
                || (matches!(other.action, Action::RenameContainer) && other.object.name == *target)
        };
        if !self.plan.steps.iter().any(makes) && self.container(target).is_none() {
            self.find(step, format!("is about {target}, which nothing creates"));
        }
        let is_start = matches!(step.action, Action::StartContainer);
        let also = |other: &Step| {
            is_start
                && other.target == *target
                && matches!(
                    other.action,
                    Action::StopContainer { .. } | Action::WriteFiles(_) | Action::Connect { .. }
                )
        };
        self.demand(step, |other| makes(other) || also(other));
        let removed = |other: &Step| {
            other.target == *target && matches!(other.action, Action::RemoveContainer { .. })
        };
        if is_start && self.plan.steps.iter().any(removed) {
            self.find(step, "starts a container that the plan removes".to_owned());
        }
    }

    fn check_rename(&mut self, step: &Step) {
        let (target, name) = (&step.target, &step.object.name);
        self.demand(step, |other| {
            (is_creation(other) && other.target == *target)
                || (matches!(other.action, Action::RemoveContainer { .. })
                    && other.object.name == *name
                    && other.target != *target)
        });
    }

    fn check_wait(&mut self, step: &Step) {
        let Action::Wait(gate) = &step.action else {
            return;
        };
        if gate.containers.is_empty() {
            self.find(step, "waits for nothing".to_owned());
        }
        let waited = |other: &Step| {
            gate.containers
                .iter()
                .any(|container| container.target == other.target)
        };
        self.demand(step, |other| {
            matches!(other.action, Action::StartContainer) && waited(other)
        });
    }

    fn check_stop(&mut self, step: &Step) {
        if self
            .container(&step.target)
            .is_none_or(|container| !container.state.is_alive())
        {
            self.find(step, "stops a container that does not run".to_owned());
        }
    }

    fn check_removal(&mut self, step: &Step) {
        let target = &step.target;
        let ends = |other: &Step| {
            other.target == *target
                && matches!(
                    other.action,
                    Action::StopContainer { .. } | Action::KillContainer { .. }
                )
        };
        let alive = self
            .container(target)
            .is_some_and(|container| container.state.is_alive());
        if alive && !self.plan.steps.iter().any(ends) {
            self.find(
                step,
                "removes a running container without stopping it".to_owned(),
            );
        }
        self.demand(step, ends);
    }

    fn check_network_removal(&mut self, step: &Step) {
        let (observed, name) = (self.observed, &step.object.name);
        let attached = observed
            .containers
            .iter()
            .filter(|container| container.networks.contains_key(name));
        let attached: Vec<&str> = attached.map(|container| container.id.as_str()).collect();
        self.check_let_go(step, &attached);
    }

    fn check_volume_removal(&mut self, step: &Step) {
        let (observed, name) = (self.observed, &step.object.name);
        let using = observed
            .containers
            .iter()
            .filter(|container| container.volumes.values().any(|used| used == name));
        let using: Vec<&str> = using.map(|container| container.id.as_str()).collect();
        self.check_let_go(step, &using);
    }

    /// Every user must be removed, or taken off, before.
    fn check_let_go(&mut self, step: &Step, users: &[&str]) {
        let name = step.object.name.clone();
        let lets_go = |other: &Step| match &other.action {
            Action::RemoveContainer { .. } => true,
            Action::Disconnect { network } => *network == name,
            _ => false,
        };
        for user in users {
            let freed = |index: &usize| {
                let other = &self.plan.steps[*index];
                other.target == *user && lets_go(other)
            };
            if !self.before[step.id.index()].iter().any(freed) {
                self.find(step, format!("container {user} still uses it"));
            }
        }
    }

    fn check_after_removal(&mut self, step: &Step, removal: &Action) {
        self.demand(step, |other| {
            other.action == *removal && other.object == step.object
        });
    }
}

fn is_creation(step: &Step) -> bool {
    matches!(step.action, Action::CreateContainer(_))
}
