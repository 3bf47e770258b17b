//! Handlers of a container's files: archives in and out, changes, exports, commits.

use std::io;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use hoist_api::archive::{PATH_STAT_HEADER, PathStat, PutArchive};
use hoist_api::container::{CommitContainer, ContainerConfig};
use hoist_api::error::{ApiError, Result};

use super::Server;
use super::containers::detached;
use super::errors::Answer;
use super::query::{Fallback, Query, json};
use crate::service::archive::Pieces;

const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");

/// `HEAD /containers/{id}/archive`
pub(super) async fn stat_archive(
    State(server): State<Server>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer {
    let path = Query::of(&uri).text("path").to_owned();
    let stat = server.service.stat_archive(&id, &path).await?;
    with_stat(Response::new(Body::empty()), &stat)
}

/// `GET /containers/{id}/archive`
pub(super) async fn get_archive(
    State(server): State<Server>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer {
    let path = Query::of(&uri).text("path").to_owned();
    let (stat, pieces) = server.service.get_archive(&id, &path).await?;
    with_stat(archive(pieces), &stat)
}

/// `PUT /containers/{id}/archive`
pub(super) async fn put_archive(
    State(server): State<Server>,
    Path(id): Path<String>,
    request: Request,
) -> Answer<StatusCode> {
    let query = Query::of(request.uri());
    let options = PutArchive {
        path: query.text("path").to_owned(),
        no_overwrite_dir_non_dir: query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: query.flag("copyUIDGID"),
    };
    if options.path.is_empty() {
        return Err(ApiError::bad_request("bad parameter: path cannot be empty").into());
    }
    let body = super::images::archive(request.into_body());
    server.service.put_archive(&id, options, body).await?;
    Ok(StatusCode::OK)
}

/// `GET /containers/{id}/changes`
pub(super) async fn changes(State(server): State<Server>, Path(id): Path<String>) -> Answer {
    let changes = server.service.changes(&id).await?;
    // As Docker tells that nothing differs.
    Ok(Json((!changes.is_empty()).then_some(changes)).into_response())
}

/// `GET /containers/{id}/export`
pub(super) async fn export(State(server): State<Server>, Path(id): Path<String>) -> Answer {
    let mut response = archive(server.service.export(&id).await?);
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// `POST /commit`
pub(super) async fn commit(
    State(server): State<Server>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let query = Query::of(&uri);
    let (repository, tag) = (query.text("repo"), query.text("tag"));
    let options = CommitContainer {
        reference: match (repository, tag) {
            ("", _) => String::new(),
            (repository, "") => repository.to_owned(),
            (repository, tag) => format!("{repository}:{tag}"),
        },
        comment: query.text("comment").to_owned(),
        author: query.text("author").to_owned(),
        pause: query.flag_or("pause", Fallback::Yes),
        changes: query.all("changes"),
    };
    let container = query.text("container").to_owned();
    let config = config(&headers, &body)?;
    let work = async move { server.service.commit(&container, options, config).await };
    let committed = detached(work).await?;
    Ok((StatusCode::CREATED, Json(committed)).into_response())
}

/// Clients send nothing, `null` or `{}` when the container's own configuration is to stay.
fn config(headers: &HeaderMap, body: &Bytes) -> Result<Option<ContainerConfig>> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let config: Option<ContainerConfig> = json(headers, body)?;
    Ok(config.filter(|config| *config != ContainerConfig::default()))
}

fn with_stat(mut response: Response, stat: &PathStat) -> Answer {
    let value =
        HeaderValue::from_str(&stat.to_header()).map_err(|error| ApiError::internal(&error))?;
    let headers = response.headers_mut();
    headers.insert(PATH_STAT_HEADER, value);
    headers.insert(header::CONTENT_TYPE, TAR);
    Ok(response)
}

fn archive(pieces: Pieces) -> Response {
    let pieces = stream::unfold(pieces, |mut pieces| async move {
        let piece: io::Result<Bytes> = pieces.recv().await?;
        Some((piece, pieces))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert(header::CONTENT_TYPE, TAR);
    response
}
