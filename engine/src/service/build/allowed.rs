//! What is asked for and not allowed, or not done here: told by name before the first step.

use hoist_api::build::{BuildFailure, BuildRequest};
use hoist_dockerfile::{BuildGraph, Network, Op, Security};

use super::place::DockerfileText;
use super::prepare::{Refusal, refusal};
use crate::build::error::BuildError;

const HOST: &str = "network.host";
const INSECURE: &str = "security.insecure";

/// Refuses what a request says and this engine does not do.
pub(super) fn request(request: &BuildRequest) -> Result<(), Refusal> {
    let refused = |why: String, hint: &str| {
        Err(Box::new(BuildFailure {
            hint: hint.to_owned(),
            ..*refusal(&BuildError::Refused(why))
        }))
    };
    if request.squash {
        return refused(
            "squash is not supported: each step keeps its layer".to_owned(),
            "leave --squash out; COPY --from=STAGE takes what is needed into one layer",
        );
    }
    for place in &request.cache_to {
        let mode = place.attributes.get("mode").map_or("min", String::as_str);
        if !matches!(mode, "min" | "max") {
            return refused(
                format!("cache_to of type {}: there is no mode {mode:?}", place.kind),
                "mode=min keeps the steps that are in the image, mode=max all of them",
            );
        }
    }
    let unknown = |name: &&String| !matches!(name.as_str(), HOST | INSECURE);
    if let Some(name) = request.entitlements.iter().find(unknown) {
        return refused(
            format!("there is no entitlement {name:?}"),
            "the entitlements are network.host and security.insecure",
        );
    }
    Ok(())
}

/// Refuses instructions that want more than the request allows.
pub(super) fn graph(
    request: &BuildRequest,
    graph: &BuildGraph,
    text: &DockerfileText,
) -> Result<(), Refusal> {
    let given = |name: &str| request.entitlements.iter().any(|given| given == name);
    for node in &graph.nodes {
        let Op::Run(op) = &node.op else { continue };
        let own_host = op.network == Network::Host && request.network != "host";
        let missing = if op.security == Security::Insecure && !given(INSECURE) {
            INSECURE
        } else if own_host && !given(HOST) {
            HOST
        } else {
            continue;
        };
        let refused = refusal(&BuildError::Refused(format!("{missing} is not allowed")));
        return Err(Box::new(BuildFailure {
            hint: format!(
                "allow it with --allow {missing}, or with build.entitlements in the Compose file"
            ),
            place: Some(text.place(node.span)),
            ..*refused
        }));
    }
    Ok(())
}
