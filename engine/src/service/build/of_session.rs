//! What the steps of a build need and only its client has: secrets and SSH agents, asked for over the client's session.

use hoist_api::build::{BuildRequest, SecretSource};
use hoist_buildkit::{Session, listen_for_agent};
use hoist_dockerfile::{BuildGraph, MountKind, Op};
use tokio::task::JoinSet;

use crate::build::Scratch;
use crate::build::error::BuildError;

use std::collections::BTreeSet;
use std::sync::Arc;

/// Adds the secrets and agents that the steps mount and the request does not have. The agents' sockets answer as long as the tasks live.
/// What the client does not have is left out: the step says so, when it requires it.
///
/// # Errors
/// The client cannot be asked.
pub(super) async fn complete(
    request: &mut BuildRequest,
    session: Option<&Arc<Session>>,
    (graph, scratch): (&BuildGraph, &Scratch),
) -> Result<JoinSet<()>, BuildError> {
    let mut agents = JoinSet::new();
    let Some(session) = session else {
        return Ok(agents);
    };
    let (secrets, sockets) = wanted(graph);
    for id in secrets {
        if request.secrets.contains_key(id) {
            continue;
        }
        let value = session.secret(id).await.map_err(|status| {
            BuildError::Refused(format!(
                "the client does not give the secret {id}: {}",
                status.message
            ))
        })?;
        if let Some(value) = value {
            request
                .secrets
                .insert(id.to_owned(), SecretSource::Value(value));
        }
    }
    for (number, id) in sockets.into_iter().enumerate() {
        if request.ssh.contains_key(id) || session.check_agent(id).await.is_err() {
            continue;
        }
        let path = scratch.path().join(format!("agent-{number}"));
        listen_for_agent(&path, session.clone(), id.to_owned(), &mut agents)
            .map_err(|error| BuildError::io("make the socket", &path, error))?;
        let path = path.to_string_lossy().into_owned();
        request.ssh.insert(id.to_owned(), path);
    }
    Ok(agents)
}

/// Ids of the secrets and of the agents that steps mount.
fn wanted(graph: &BuildGraph) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let (mut secrets, mut agents) = (BTreeSet::new(), BTreeSet::new());
    for node in &graph.nodes {
        let Op::Run(op) = &node.op else { continue };
        for mount in &op.mounts {
            match &mount.kind {
                MountKind::Secret { id, .. } => secrets.insert(id.as_str()),
                MountKind::Ssh { id, .. } => agents.insert(id.as_str()),
                _ => false,
            };
        }
    }
    (secrets, agents)
}
