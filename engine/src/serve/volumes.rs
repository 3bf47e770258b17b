//! Handlers of `/volumes`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse as _;
use hoist_api::volume::VolumeCreate;

use super::Server;
use super::errors::Answer;
use super::query::{Query, Version, json};

/// `GET /volumes`
pub(super) async fn list(State(server): State<Server>, uri: Uri) -> Answer {
    Ok(Json(server.service.volumes(&Query::of(&uri).filters()?)?).into_response())
}

/// `POST /volumes/create`
pub(super) async fn create(
    State(server): State<Server>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let body: VolumeCreate = json(&headers, &body)?;
    Ok((
        StatusCode::CREATED,
        Json(server.service.volume_create(body).await?),
    )
        .into_response())
}

/// `GET /volumes/{name}`
pub(super) async fn inspect(State(server): State<Server>, Path(name): Path<String>) -> Answer {
    Ok(Json(server.service.volume_inspect(&name)?).into_response())
}

/// `DELETE /volumes/{name}`
pub(super) async fn remove(
    State(server): State<Server>,
    Path(name): Path<String>,
    uri: Uri,
) -> Answer<StatusCode> {
    server
        .service
        .volume_remove(&name, Query::of(&uri).flag("force"))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /volumes/prune`
pub(super) async fn prune(State(server): State<Server>, version: Version, uri: Uri) -> Answer {
    let mut filters = Query::of(&uri).filters()?;
    // Only later are named volumes kept without a word.
    if version < Version(1, 42) {
        filters = filters.with("all", "true");
    }
    let (deleted, space) = server.service.prune_volumes(&filters).await?;
    Ok(
        Json(serde_json::json!({ "VolumesDeleted": deleted, "SpaceReclaimed": space }))
            .into_response(),
    )
}
