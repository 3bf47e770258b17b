//! What this engine does not have: swarms, plugins, checkpoints. It answers as Docker's engine does that is in no swarm and has
//! no plugin.

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use hoist_api::error::{ApiError, ErrorKind};

use super::Server;
use super::errors::{Answer, Failure};

/// The routes of this file.
pub(super) fn routes() -> Router<Server> {
    let mut router = Router::new()
        .route("/swarm/init", post(no_swarms))
        .route("/swarm/join", post(no_swarms))
        .route("/swarm/leave", post(in_no_swarm))
        .route("/plugins", get(no_plugins))
        .route("/plugins/privileges", get(no_plugins_either))
        .route("/plugins/pull", post(no_plugins_either))
        .route("/plugins/create", post(no_plugins_either))
        .route("/plugins/{*name}", any(no_plugin))
        .route(
            "/containers/{id}/checkpoints",
            get(checkpoints).post(no_checkpoints),
        )
        .route(
            "/containers/{id}/checkpoints/{checkpoint}",
            axum::routing::delete(no_checkpoint),
        );
    for kind in ["nodes", "services", "tasks", "secrets", "configs"] {
        router = router
            .route(&format!("/{kind}"), any(no_manager))
            .route(&format!("/{kind}/{{*rest}}"), any(no_manager));
    }
    for action in ["", "/unlockkey", "/unlock", "/update"] {
        router = router.route(&format!("/swarm{action}"), any(no_manager));
    }
    router
}

/// What every call says that only managers of swarms can carry out.
pub(crate) fn no_swarm() -> ApiError {
    let message = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";
    ApiError::new(ErrorKind::Unavailable, message)
}

/// Only volumes of a swarm can be changed, too.
pub(super) async fn no_manager() -> Failure {
    Failure(no_swarm())
}

async fn in_no_swarm() -> Failure {
    let message = "This node is not part of a swarm";
    Failure(ApiError::new(ErrorKind::Unavailable, message))
}

async fn no_swarms() -> Failure {
    let message = "this engine has no swarm mode";
    Failure(ApiError::new(ErrorKind::NotImplemented, message))
}

async fn no_plugins() -> Response {
    Json(Vec::<String>::new()).into_response()
}

async fn no_plugins_either() -> Failure {
    let message = "this engine has no plugins";
    Failure(ApiError::new(ErrorKind::NotImplemented, message))
}

async fn no_plugin(Path(name): Path<String>) -> Failure {
    let actions = ["/json", "/enable", "/disable", "/upgrade", "/push", "/set"];
    let ending = actions.iter().find_map(|action| name.strip_suffix(action));
    let name = ending.unwrap_or(&name);
    Failure(ApiError::not_found(format!("plugin \"{name}\" not found")))
}

async fn checkpoints(State(server): State<Server>, Path(id): Path<String>) -> Answer {
    server.service.containers.find(&id)?;
    Ok(no_plugins().await)
}

async fn no_checkpoints(State(server): State<Server>, Path(id): Path<String>) -> Answer {
    server.service.containers.find(&id)?;
    let message = "this engine cannot checkpoint containers";
    Err(ApiError::new(ErrorKind::NotImplemented, message).into())
}

async fn no_checkpoint(
    State(server): State<Server>,
    Path((id, checkpoint)): Path<(String, String)>,
) -> Answer {
    server.service.containers.find(&id)?;
    Err(ApiError::not_found(format!("checkpoint {checkpoint} does not exist")).into())
}
