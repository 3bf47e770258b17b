//! Handlers of `/build` (Docker's words) and `/hoist/build` (ours).

mod classic;
mod query;
mod traced;
mod uploads;

use std::collections::BTreeMap;
use std::io::{self, Read};

use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use hoist_api::build::{BuildContext, BuildEvent, BuildRequest, CacheLocation, RegistryLogin};
use hoist_api::error::{ApiError, Result};
use hoist_registry::docker_config::domain_of;
use tokio::sync::mpsc;

pub(crate) use uploads::Uploads;

use super::Server;
use super::errors::Answer;
use super::hijack;
use super::images::archive;
use super::query::Query;
use crate::service::build::Plan;
use crate::service::images::PieceReader;

/// Lines that wait for a slow client.
const QUEUE: usize = 64;
/// Longest request line of `/hoist/build`: an inline Dockerfile and secrets fit in.
const MAX_REQUEST: u64 = 16 << 20;

pub(super) fn routes() -> Router<Server> {
    Router::new()
        .route("/build", post(classic))
        .route("/build/prune", post(prune))
        .route("/hoist/build", post(own))
}

/// `POST /build`
async fn classic(State(server): State<Server>, request: Request) -> Answer {
    let query = Query::of(request.uri());
    if let Some(build) = uploads::offered(query.text("buildid")) {
        server.uploads.offer(build, request.into_body()).await?;
        return Ok(StatusCode::OK.into_response());
    }
    let mut build = query::build_request(&query)?;
    build.registries = logins_of(request.headers());
    let body = if uploads::is_asked(query.text("remote")) {
        build.context = BuildContext::Archive;
        server.uploads.take(query.text("buildid")).await?
    } else {
        archive(request.into_body())
    };
    if traced::is_wanted(&query) {
        return traced::build(&server, &query, (build, body)).await;
    }
    // With images named, the classic builder looks nowhere else.
    let is_known = |place: &CacheLocation| {
        let name = place.attributes.get("ref");
        name.is_some_and(|name| server.service.images.resolve(name).is_ok())
    };
    build.no_cache |= !build.cache_from.is_empty() && !build.cache_from.iter().any(is_known);
    let plan = server.service.plan(classic::keeping(&query));
    let mut writer = classic::Writer::new(&query, plan.clone());
    if build.no_cache {
        writer.without_cache();
    }
    let mut events = server
        .service
        .image_build(build, body, (plan, None))
        .await?;
    // What is wrong with the request or the Dockerfile has a status of its own. An instruction that fails, such as a base image
    // that cannot be had, is told in the stream, however early: clients tell the two apart.
    let first = events.recv().await;
    if let Some(BuildEvent::Failed(failure)) = &first
        && (failure.place.is_none() || !failure.findings.is_empty())
    {
        return Err(ApiError::bad_request(failure.message.clone()).into());
    }
    // Images and containers of single instructions are looked up and written meanwhile.
    let write = move |event| tokio::task::block_in_place(|| writer.lines(event));
    Ok(lines((first, events), write))
}

/// `X-Registry-Config`: credentials by registry, in base64 of JSON. Anything else is as none, as Docker has it.
fn logins_of(headers: &HeaderMap) -> BTreeMap<String, RegistryLogin> {
    let value = headers.get("x-registry-config");
    let value = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let all = hoist_registry::auth::all_from_header(value).unwrap_or_default();
    let logins = all.into_iter();
    logins
        .map(|(key, auth)| (domain_of(&key), RegistryLogin(auth.to_header())))
        .collect()
}

/// `POST /hoist/build`: the request in JSON on the first line of the body, then the archive.
async fn own(State(server): State<Server>, request: Request) -> Answer {
    let body = archive(request.into_body());
    let (build, body) = server.service.for_client(move |_| first_line(body)).await?;
    let events = server
        .service
        .image_build(build, body, (Plan::default(), None))
        .await?;
    Ok(lines((None, events), |event| {
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        vec![line.into()]
    }))
}

/// `POST /build/prune`
async fn prune(State(server): State<Server>, uri: Uri) -> Answer {
    let query = Query::of(&uri);
    let options = query::prune(&query)?;
    let is_plain = options.filters.is_empty() && options.keep_storage == 0;
    // Contexts that clients sent are kept beside the builder's records.
    let contexts = if is_plain && options.max_used_space == 0 && options.min_free_space == 0 {
        let unused = std::time::Duration::from_secs(options.unused_for.unsigned_abs());
        server.buildkit.prune(unused)
    } else {
        Vec::new()
    };
    let mut pruned = server.service.build_prune(options).await?;
    for context in contexts {
        pruned.space_reclaimed += i64::try_from(context.bytes).unwrap_or(i64::MAX);
        pruned.caches_deleted.push(context.id);
    }
    Ok(Json(pruned).into_response())
}

/// Reads the request and gives back the rest of the body.
fn first_line(mut body: PieceReader) -> Result<(BuildRequest, PieceReader)> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match body.read(&mut byte) {
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if line.len() as u64 >= MAX_REQUEST => {
                return Err(ApiError::bad_request("the build request is too long"));
            }
            Ok(_) => line.push(byte[0]),
            Err(error) => return Err(broken(&error)),
        }
    }
    let request = serde_json::from_slice(&line)
        .map_err(|error| ApiError::bad_request(format!("invalid build request: {error}")))?;
    Ok((request, body))
}

fn broken(error: &io::Error) -> ApiError {
    ApiError::bad_request(format!("cannot read the build request: {error}"))
}

/// Answers with lines as events come. When the client goes, so do the events' receiver and with it the build.
fn lines(
    (mut first, mut events): (Option<BuildEvent>, mpsc::Receiver<BuildEvent>),
    mut write: impl FnMut(BuildEvent) -> Vec<Bytes> + Send + 'static,
) -> Response {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        loop {
            let event = match first.take() {
                Some(first) => Some(first),
                None => tokio::select! {
                    event = events.recv() => event,
                    () = sender.closed() => return,
                },
            };
            let Some(event) = event else { return };
            for line in write(event) {
                if sender.send(line).await.is_err() {
                    return;
                }
            }
        }
    });
    let mut response = Response::new(hijack::body_of(receiver));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}
