//! Host ports are asked for before anything is started, so that a conflict is told by name while nothing has changed yet.

use std::collections::{BTreeMap, BTreeSet};

use hoist_api::ports::{PortConflict, PortsCheck, WantedPorts};
use hoist_api::{ApiError, Engine, ErrorKind};

use super::error::{ExecuteError, StepFailure};
use crate::plan::{Action, Object, Plan, StepId};

/// The ports that the plan's new containers publish, and the containers that give theirs back. Pure.
fn question(plan: &Plan) -> PortsCheck {
    let starts = starts(plan);
    let mut check = PortsCheck::default();
    let mut released = BTreeSet::new();
    for step in &plan.steps {
        match &step.action {
            Action::CreateContainer(body) if starts.contains_key(step.object.name.as_str()) => {
                let port_bindings = body.host_config.port_bindings.clone();
                if !port_bindings.is_empty() {
                    check.wanted.push(WantedPorts {
                        container: step.object.name.clone(),
                        port_bindings,
                    });
                }
            }
            Action::StopContainer { .. }
            | Action::KillContainer { .. }
            | Action::RemoveContainer { .. } => {
                released.insert(step.target.clone());
            }
            _ => {}
        }
    }
    check.released = released.into_iter().collect();
    check
}

fn starts(plan: &Plan) -> BTreeMap<&str, (StepId, &Object)> {
    plan.steps
        .iter()
        .filter(|step| matches!(step.action, Action::StartContainer))
        .map(|step| (step.object.name.as_str(), (step.id, &step.object)))
        .collect()
}

/// The starts that would fail because a host port is not free. An engine that does not answer the question is no
/// failure: the starts tell.
pub(super) async fn conflicts<E: Engine>(engine: &E, plan: &Plan) -> Vec<StepFailure> {
    let check = question(plan);
    if check.wanted.is_empty() {
        return Vec::new();
    }
    let found = engine.ports_check(&check).await.unwrap_or_default();
    let starts = starts(plan);
    let failure = |conflict: PortConflict| {
        let (step, object) = starts.get(conflict.container.as_str())?;
        let source = ApiError::new(ErrorKind::Internal, conflict.message).with_hint(conflict.hint);
        Some(StepFailure {
            step: *step,
            object: (*object).clone(),
            error: ExecuteError::Engine {
                action: "start",
                object: (*object).clone(),
                source,
            },
        })
    };
    found.into_iter().filter_map(failure).collect()
}
