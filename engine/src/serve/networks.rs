//! Handlers of `/networks`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse as _;
use hoist_api::error::ApiError;
use hoist_api::network::{NetworkConnect, NetworkCreate, NetworkDisconnect, NetworksPruned};

use super::Server;
use super::containers::detached;
use super::errors::Answer;
use super::query::{Query, Version, json};

/// From this version of the API on a network can be one without IPv4.
const WITHOUT_IPV4: Version = Version(1, 48);

/// `GET /networks`
pub(super) async fn list(State(server): State<Server>, uri: Uri) -> Answer {
    let filters = Query::of(&uri).filters()?;
    Ok(Json(server.service.networks(&filters).await?).into_response())
}

/// `POST /networks/create`
pub(super) async fn create(
    State(server): State<Server>,
    version: Version,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let mut body: NetworkCreate = json(&headers, &body)?;
    body.enable_ipv4 = body.enable_ipv4.filter(|_| version >= WITHOUT_IPV4);
    let created = detached(async move { server.service.network_create(body).await }).await?;
    Ok((StatusCode::CREATED, Json(created)).into_response())
}

/// `GET /networks/{id}`
pub(super) async fn inspect(
    State(server): State<Server>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer {
    let network = server.service.network_inspect(&id).await?;
    let scope = Query::of(&uri).text("scope").to_owned();
    if !scope.is_empty() && scope != network.scope {
        return Err(ApiError::not_found(format!("network {id} not found")).into());
    }
    Ok(Json(network).into_response())
}

/// `DELETE /networks/{id}`
pub(super) async fn remove(
    State(server): State<Server>,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    detached(async move { server.service.network_remove(&id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /networks/prune`
pub(super) async fn prune(State(server): State<Server>, uri: Uri) -> Answer {
    let filters = Query::of(&uri).filters()?;
    let removed = detached(async move { server.service.prune_networks(&filters).await }).await?;
    let pruned = NetworksPruned {
        networks_deleted: removed,
    };
    Ok(Json(pruned).into_response())
}

/// `POST /networks/{id}/connect`
pub(super) async fn connect(
    State(server): State<Server>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<StatusCode> {
    let body: NetworkConnect = json(&headers, &body)?;
    detached(async move { server.service.network_connect(&id, body).await }).await?;
    Ok(StatusCode::OK)
}

/// `POST /networks/{id}/disconnect`
pub(super) async fn disconnect(
    State(server): State<Server>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<StatusCode> {
    let body: NetworkDisconnect = json(&headers, &body)?;
    detached(async move { server.service.network_disconnect(&id, body).await }).await?;
    Ok(StatusCode::OK)
}
