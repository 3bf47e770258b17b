//! Handlers of execs.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse as _;
use hoist_api::error::ApiError;
use hoist_api::exec::{ExecCreate, ExecStart};

use super::Server;
use super::detach::DetachKeys;
use super::errors::Answer;
use super::hijack::{self, Connection};
use super::query::{Query, json, optional_json};
use crate::service::attach::Streams;

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
        Json(server.service.exec_create(&id, body).await?),
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
    let service = server.service.clone();
    let (terminal, keys) = service.exec_terms(&id)?;
    // As Docker has it: what the start says decides over frames, whatever the exec was created with.
    let raw = start.tty;
    if start.detach {
        let work = async move { service.exec_start(&id, true).await };
        super::containers::detached(work).await?;
        return Ok(StatusCode::OK.into_response());
    }
    let request = Request::from_parts(parts, Body::empty());
    let ended = (service.clone(), id.clone());
    let left = (service.clone(), id.clone());
    let (told, runs) = tokio::sync::oneshot::channel();
    let connection = Connection {
        pause: hijack::pause(request.headers()),
        terminal,
        raw,
        // On its own: what has begun is finished although the client goes away.
        streams: Box::pin(async move {
            let started = tokio::spawn(async move { service.exec_start_attached(&id, raw).await });
            let (streams, started) = started
                .await
                .unwrap_or_else(|_| (Streams::none(raw), false));
            // The connection that hears it is the one that waits for the streams.
            let _ = told.send(started);
            streams
        }),
        finish: Some(Box::pin(async move {
            if runs.await.is_ok_and(|runs| runs) {
                ended.0.exec_finished(&ended.1).await;
            }
        })),
        settled: None,
        keys: DetachKeys::parse(&keys)?,
        detached: Box::new(move || left.0.exec_detached(&left.1)),
    };
    Ok(hijack::connect(request, connection))
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
