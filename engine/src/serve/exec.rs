//! Handlers of execs.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use hoist_api::error::ApiError;
use hoist_api::exec::{ExecCreate, ExecStart};

use super::Server;
use super::errors::Answer;
use super::hijack;
use super::query::{Query, json, optional_json};

/// Longest body of a start.
const BODY_LIMIT: usize = 64 << 10;

/// `POST /containers/{id}/exec`
pub(super) async fn create(
    State(server): State<Server>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let body: ExecCreate = json(&headers, &body)?;
    Ok((
        StatusCode::CREATED,
        Json(server.service.exec_create(&id, body)?),
    )
        .into_response())
}

/// `POST /exec/{id}/start`
pub(super) async fn start(
    State(server): State<Server>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, BODY_LIMIT)
        .await
        .map_err(|error| ApiError::bad_request(format!("cannot read the body: {error}")))?;
    let start: ExecStart = optional_json(&parts.headers, &bytes)?;
    let request = Request::from_parts(parts, Body::empty());
    let service = server.service.clone();
    let exec = id.clone();
    let streams =
        super::containers::detached(async move { service.exec_start(&exec, start.detach).await })
            .await?;
    if start.detach {
        return Ok(StatusCode::OK.into_response());
    }
    let finish = async move { server.service.exec_finished(&id).await };
    Ok::<Response, _>(hijack::connect(request, streams, Some(Box::pin(finish))))
}

/// `GET /exec/{id}/json`
pub(super) async fn inspect(State(server): State<Server>, Path(id): Path<String>) -> Answer {
    Ok(Json(server.service.exec_inspect(&id)?).into_response())
}

/// `POST /exec/{id}/resize`
pub(super) async fn resize(
    State(server): State<Server>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer<StatusCode> {
    server
        .service
        .exec_resize(&id, Query::of(&uri).size()?)
        .await?;
    Ok(StatusCode::OK)
}
