//! Lifecycle hooks: a finished plan's starts and stops get the commands that the file wants run in the containers.
//!
//! Compose Specification, `post_start` and `pre_stop`: they are Compose's own, the engine knows nothing of them. So they
//! belong to what a plan does, not to what a container is, and a container is not made again when they change.

use std::collections::BTreeMap;

use crate::desire::labels;
use crate::model::{Project, Service};
use crate::observe::Observed;

use super::step::{Action, Hooks, Plan};

/// The hooks of a service; none when it has none.
pub(crate) fn of_service(name: &str, service: &Service) -> Option<Hooks> {
    let has_any = !service.post_start.is_empty() || !service.pre_stop.is_empty();
    has_any.then(|| Hooks {
        service: name.to_owned(),
        post_start: service.post_start.clone(),
        pre_stop: service.pre_stop.clone(),
    })
}

/// The hooks of a project, by service.
pub(crate) fn of_project(project: &Project) -> BTreeMap<&str, Hooks> {
    let services = project.services.iter();
    services
        .filter_map(|(name, service)| Some((name.as_str(), of_service(name, service)?)))
        .collect()
}

/// Gives the steps of a plan that start, restart or stop containers of services with hooks those hooks.
pub(crate) fn attached(mut plan: Plan, hooks: &BTreeMap<&str, Hooks>, observed: &Observed) -> Plan {
    if hooks.is_empty() {
        return plan;
    }
    // Which service a container is of, by the names and ids that steps have.
    let mut services: BTreeMap<String, String> = BTreeMap::new();
    for container in observed.containers.iter().filter(|one| !one.is_one_off()) {
        for key in [&container.id, &container.name] {
            services.insert(key.clone(), container.service().to_owned());
        }
    }
    for step in &plan.steps {
        if let Action::CreateContainer(body) = &step.action
            && let Some(service) = body.config.labels.get(labels::SERVICE)
        {
            services.insert(step.object.name.clone(), service.clone());
            services.insert(step.target.clone(), service.clone());
        }
    }
    for step in &mut plan.steps {
        let service = services.get(&step.target).map(String::as_str);
        let Some(hooks) = service.and_then(|service| hooks.get(service)) else {
            continue;
        };
        let applies = match &step.action {
            Action::StartContainer => !hooks.post_start.is_empty(),
            Action::StopContainer { .. } => !hooks.pre_stop.is_empty(),
            Action::RestartContainer { .. } => true,
            _ => false,
        };
        if applies {
            step.hooks = Some(Box::new(hooks.clone()));
        }
    }
    plan
}
