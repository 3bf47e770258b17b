//! `run`: one container of a service beside its others, with what the service depends on.
//!
//! Planned as an `up` of a project in which the service has this one container: networks, volumes, dependencies
//! and waits are those of `up`. The container's start is left to the caller, who attaches before it.

use std::collections::BTreeMap;

use hoist_api::container::ContainerCreate;

use crate::desire::labels;
use crate::model::Project;
use crate::observe::Observed;

use super::step::{Action, Kind, Plan};
use super::up::{Orphans, Recreate, UpOptions, plan_up};
use super::{PlanError, StepId};

/// What `run` is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunOptions {
    /// The service.
    pub service: String,
    /// The container's name.
    pub name: String,
    /// What tells this container from other ones of `run`, for its label.
    pub slug: String,
    /// Leave dependencies alone.
    pub no_deps: bool,
    /// Publish the service's ports.
    pub service_ports: bool,
    /// Give it the service's names in its networks, too.
    pub use_aliases: bool,
    /// Remove containers of services that the file does not have.
    pub orphans: Orphans,
}

/// A plan that ends with the container created and what it depends on ready.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPlan {
    /// The steps.
    pub plan: Plan,
    create: usize,
}

impl RunPlan {
    /// The request for the container, to be changed as the command line asks.
    pub fn request(&mut self) -> Option<&mut ContainerCreate> {
        match &mut self.plan.steps.get_mut(self.create)?.action {
            Action::CreateContainer(request) => Some(request),
            _ => None,
        }
    }
}

/// Plans `run`.
///
/// # Errors
/// As [`plan_up`].
pub fn plan_run(
    project: &Project,
    observed: &Observed,
    options: &RunOptions,
) -> Result<RunPlan, PlanError> {
    let mut project = project.clone();
    let Some(service) = project.services.get_mut(&options.service) else {
        return Err(PlanError::NoSuchService(options.service.clone()));
    };
    service.container_name = Some(options.name.clone());
    if !options.service_ports {
        service.ports.clear();
    }
    let others = |service: &str, one_off: bool| one_off || service != options.service;
    let observed = Observed {
        containers: observed
            .containers
            .iter()
            .filter(|container| others(container.service(), container.is_one_off()))
            .cloned()
            .collect(),
        ..observed.clone()
    };
    let up = UpOptions {
        services: vec![options.service.clone()],
        recreate_dependencies: Recreate::Never,
        no_deps: options.no_deps,
        orphans: options.orphans,
        scale: BTreeMap::from([(options.service.clone(), 1)]),
        ..UpOptions::default()
    };
    let plan = without_start(plan_up(&project, &observed, &up)?, &options.name);
    let create = plan.steps.iter().position(|step| {
        matches!(step.action, Action::CreateContainer(_)) && step.object.name == options.name
    });
    let mut run = RunPlan {
        create: create.ok_or_else(|| PlanError::NoContainer(options.service.clone()))?,
        plan,
    };
    if let Some(request) = run.request() {
        mark(request, options);
    }
    Ok(run)
}

/// Leaves out the start of the container, which nothing in the plan comes after.
fn without_start(mut plan: Plan, name: &str) -> Plan {
    let is_start = |step: &super::Step| {
        matches!(step.action, Action::StartContainer)
            && step.object.kind == Kind::Container
            && step.object.name == name
    };
    let Some(start) = plan.steps.iter().position(is_start) else {
        return plan;
    };
    plan.steps.remove(start);
    let dropped = StepId::from_index(start);
    let moved = |id: StepId| match id > dropped {
        true => StepId::from_index(id.index() - 1),
        false => id,
    };
    for step in &mut plan.steps {
        step.id = moved(step.id);
        step.after.retain(|after| after.step != dropped);
        for after in &mut step.after {
            after.step = moved(after.step);
        }
    }
    plan
}

fn mark(request: &mut ContainerCreate, options: &RunOptions) {
    let labels = &mut request.config.labels;
    labels.insert(labels::ONE_OFF.to_owned(), "True".to_owned());
    labels.insert(labels::SLUG.to_owned(), options.slug.clone());
    if !options.use_aliases {
        for endpoint in request.networking_config.endpoints_config.values_mut() {
            endpoint.aliases = Some(vec![options.name.clone()]);
        }
    }
}
