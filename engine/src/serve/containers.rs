//! Handlers of `/containers`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::{FutureExt as _, stream};
use hoist_api::container::{
    AttachOptions, ContainerCreate, ListContainers, LogsOptions, RemoveContainer, WaitCondition,
};
use hoist_api::engine::StopOptions;
use hoist_api::error::{ApiError, ErrorKind, Result};
use hoist_api::host_config::HostConfig;
use hoist_api::inspect::ContainerInspect;
use hoist_api::stats::StatsMode;

use super::detach::DetachKeys;
use super::errors::Answer;
use super::hijack::{self, Connection, Later};
use super::query::{Fallback, Query, Version, json};
use super::{Server, web_socket};
use crate::containers::{Container, Phase};
use crate::service::attach::Streams;

/// How long after its output a container's end may be news.
const KNOWN_TO_HAVE_ENDED: Duration = Duration::from_secs(2);
/// Versions of the API from which on something is otherwise than before.
const DNS_NAMES: Version = Version(1, 45);
const ANNOTATIONS_LISTED: Version = Version(1, 46);
const SEVERAL_ENDPOINTS: Version = Version(1, 44);
const PRIVATE_IPC: Version = Version(1, 40);
const PIDS_UPDATED: Version = Version(1, 40);

/// `GET /containers/json`
pub(super) async fn list(State(server): State<Server>, version: Version, uri: Uri) -> Answer {
    let query = Query::of(&uri);
    let limit: Option<i64> = query.number("limit")?;
    let options = ListContainers {
        all: query.flag("all"),
        limit: limit
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| *limit > 0),
        size: query.flag("size"),
        filters: query.filters()?,
    };
    let mut listed = server.service.list(&options).await?;
    if version < ANNOTATIONS_LISTED {
        for summary in &mut listed {
            summary.host_config.annotations.clear();
        }
    }
    Ok(Json(listed).into_response())
}

/// `POST /containers/create`
pub(super) async fn create(
    State(server): State<Server>,
    version: Version,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let given: BTreeMap<String, serde::de::IgnoredAny> = json(&headers, &body)?;
    if given
        .keys()
        .all(|key| matches!(key.as_str(), "HostConfig" | "NetworkingConfig"))
    {
        let message = "config cannot be empty in order to create a container";
        return Err(ApiError::bad_request(message).into());
    }
    let mut body: ContainerCreate = json(&headers, &body).or_else(|error| {
        let mended = with_lists(&body).ok_or(error)?;
        json(&headers, &mended)
    })?;
    as_of(version, &mut body)?;
    let query = Query::of(&uri);
    let platform = query.text("platform");
    server
        .service
        .check_platform(&body.config.image, platform)?;
    let created = server.service.create(query.text("name"), body).await?;
    Ok((StatusCode::CREATED, Json(created)).into_response())
}

/// What a request says with each text that stands for a list of itself made one, as Docker takes them (moby, `strslice`);
/// none when nothing of it is so.
fn with_lists(body: &[u8]) -> Option<Bytes> {
    let mut body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let mut changed = false;
    let mut listed = |holder: Option<&mut serde_json::Value>, names: &[&str]| {
        let Some(holder) = holder.and_then(serde_json::Value::as_object_mut) else {
            return;
        };
        for name in names {
            if let Some(value) = holder.get_mut(*name).filter(|value| value.is_string()) {
                *value = serde_json::json!([value.take()]);
                changed = true;
            }
        }
    };
    listed(Some(&mut body), &["Cmd", "Entrypoint", "Shell"]);
    listed(body.get_mut("HostConfig"), &["CapAdd", "CapDrop"]);
    changed.then(|| body.to_string().into())
}

/// What a request meant in the version of the API that it speaks.
fn as_of(version: Version, body: &mut ContainerCreate) -> Result<()> {
    let networks: Vec<&str> = body
        .networking_config
        .endpoints_config
        .keys()
        .map(String::as_str)
        .collect();
    if version < SEVERAL_ENDPOINTS && networks.len() > 1 {
        return Err(ApiError::bad_request(format!(
            "Container cannot be created with multiple network endpoints: {}",
            networks.join(", ")
        )));
    }
    let host = &mut body.host_config;
    if version < PRIVATE_IPC && host.ipc_mode.is_empty() {
        "shareable".clone_into(&mut host.ipc_mode);
    }
    if host.pids_limit.is_some_and(|limit| limit <= 0) {
        host.pids_limit = None;
    }
    Ok(())
}

/// `GET /containers/{id}/json`
pub(super) async fn inspect(
    State(server): State<Server>,
    version: Version,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer {
    let mut found = match Query::of(&uri).flag("size") {
        true => server.service.inspect_sized(&id).await?,
        false => server.service.inspect(&id)?,
    };
    if version < DNS_NAMES {
        short_ids_as_aliases(&mut found);
    }
    Ok(Json(found).into_response())
}

/// Older clients find a container's short id and host name among its aliases, as `DNSNames` was not there yet.
fn short_ids_as_aliases(found: &mut ContainerInspect) {
    let own = [
        found.id.chars().take(12).collect(),
        found.config.hostname.clone(),
    ];
    let networks = found.network_settings.networks.iter_mut();
    let is_users = |name: &str| !matches!(name, "bridge" | "host" | "none");
    for (_, endpoint) in networks.filter(|(name, _)| is_users(name)) {
        let aliases = endpoint.aliases.get_or_insert_default();
        for name in own.iter().filter(|name: &&String| !name.is_empty()) {
            if !aliases.contains(name) {
                aliases.push(name.clone());
            }
        }
    }
}

/// `POST /containers/{id}/start`. A start that has begun is finished although the client goes away.
pub(super) async fn start(
    State(server): State<Server>,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    detached(async move { server.service.start(&id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn stop_options(uri: &Uri) -> Result<StopOptions> {
    let query = Query::of(uri);
    let signal = Some(query.text("signal").to_owned()).filter(|signal| !signal.is_empty());
    Ok(StopOptions {
        timeout: query.number("t")?,
        signal,
    })
}

/// `POST /containers/{id}/stop`
pub(super) async fn stop(
    State(server): State<Server>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer<StatusCode> {
    let options = stop_options(&uri)?;
    detached(async move { server.service.stop(&id, &options).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /containers/{id}/restart`
pub(super) async fn restart(
    State(server): State<Server>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer<StatusCode> {
    let options = stop_options(&uri)?;
    detached(async move { server.service.restart(&id, &options).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /containers/{id}/kill`
pub(super) async fn kill(
    State(server): State<Server>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer<StatusCode> {
    server
        .service
        .kill(&id, Query::of(&uri).text("signal"))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /containers/{id}/pause`
pub(super) async fn pause(
    State(server): State<Server>,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    server.service.pause(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /containers/{id}/unpause`
pub(super) async fn unpause(
    State(server): State<Server>,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    server.service.unpause(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /containers/{id}`
pub(super) async fn remove(
    State(server): State<Server>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer<StatusCode> {
    let query = Query::of(&uri);
    if query.flag("link") {
        let message = "a link is named by the container and its alias: container/alias";
        return Err(ApiError::bad_request(message).into());
    }
    let options = RemoveContainer {
        force: query.flag("force"),
        volumes: query.flag("v"),
    };
    detached(async move { server.service.remove(&id, options).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /containers/{id}/{alias}?link=1`
pub(super) async fn remove_link(
    State(server): State<Server>,
    Path((id, alias)): Path<(String, String)>,
    uri: Uri,
) -> Answer<StatusCode> {
    if !Query::of(&uri).flag("link") {
        return Err(ApiError::not_found("page not found").into());
    }
    detached(async move { server.service.remove_link(&id, &alias).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /containers/prune`
pub(super) async fn prune(State(server): State<Server>, uri: Uri) -> Answer {
    let filters = Query::of(&uri).filters()?;
    let pruned = detached(async move { server.service.prune_containers(&filters).await }).await?;
    Ok(Json(pruned).into_response())
}

/// `POST /containers/{id}/wait`: the headers go out at once, clients start the container only then.
pub(super) async fn wait(State(server): State<Server>, Path(id): Path<String>, uri: Uri) -> Answer {
    let query = Query::of(&uri);
    let text = query.text("condition");
    let condition = WaitCondition::parse(text)
        .ok_or_else(|| ApiError::bad_request(format!("invalid condition: \"{text}\"")))?;
    let waiting = server.service.wait(&id, condition)?;
    let body = async move {
        let response = waiting.finish().await;
        let mut line = serde_json::to_vec(&response).unwrap_or_default();
        line.push(b'\n');
        Ok::<_, std::convert::Infallible>(Bytes::from(line))
    };
    Ok(json_lines(Body::from_stream(stream::once(body.boxed()))))
}

/// `POST /containers/{id}/rename`
pub(super) async fn rename(
    State(server): State<Server>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer<StatusCode> {
    server
        .service
        .rename(&id, Query::of(&uri).text("name"))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /containers/{id}/logs`
pub(super) async fn logs(State(server): State<Server>, Path(id): Path<String>, uri: Uri) -> Answer {
    let query = Query::of(&uri);
    let text = |key: &str| Some(query.text(key).to_owned()).filter(|text| !text.is_empty());
    let options = LogsOptions {
        follow: query.flag("follow"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        timestamps: query.flag("timestamps"),
        // Anything that is no number means all of it, as Docker has it.
        tail: query.text("tail").parse().ok(),
        since: text("since"),
        until: text("until"),
        details: query.flag("details"),
    };
    let reading = server.service.logs(&id, &options).await?;
    let mut response = Response::new(hijack::body_of(reading.pieces));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, hijack::content_type(reading.terminal));
    Ok(response)
}

/// `POST /containers/{id}/attach`
pub(super) async fn attach(
    State(server): State<Server>,
    Path(id): Path<String>,
    request: Request,
) -> Answer {
    let mut connection = match attachment(&server, &id, request.uri()).await {
        Ok(connection) => connection,
        // Docker's engine has left HTTP then, and answers in words.
        Err(error) if error.is(ErrorKind::NotFound) => {
            let status = StatusCode::NOT_FOUND;
            let kind = [(header::CONTENT_TYPE, hijack::RAW_STREAM)];
            return Ok((status, kind, format!("{}\r\n", error.message)).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    connection.pause = hijack::pause(request.headers());
    Ok(hijack::connect(request, connection))
}

/// `GET /containers/{id}/attach/ws`: the same over a web socket, in binary messages.
pub(super) async fn attach_web_socket(
    State(server): State<Server>,
    Path(id): Path<String>,
    uri: Uri,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Answer {
    server.service.containers.find(&id)?;
    let upgrade = upgrade.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let mut connection = attachment(&server, &id, &uri).await?;
    // A web socket has no frames of ours: all output is one stream.
    let streams = connection.streams;
    connection.streams = Box::pin(async move {
        Streams {
            terminal: true,
            ..streams.await
        }
    });
    Ok(upgrade.on_upgrade(|socket| web_socket::relay(socket, connection)))
}

async fn attachment(server: &Server, id: &str, uri: &Uri) -> Result<Connection> {
    let query = Query::of(uri);
    let keys = DetachKeys::parse(query.text("detachKeys"))?;
    let options = AttachOptions {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        logs: query.flag("logs"),
        stream: query.flag("stream"),
    };
    let silent = !options.stdout && !options.stderr;
    let ended = match silent {
        // Without output the end of the container is all that ends it.
        true => Some(server.service.wait(id, WaitCondition::NextExit)?),
        false => None,
    };
    let streams = server.service.attach(id, options).await?;
    let (service, left) = (server.service.clone(), id.to_owned());
    Ok(Connection {
        pause: Duration::ZERO,
        terminal: streams.terminal,
        raw: streams.terminal,
        streams: Box::pin(std::future::ready(streams)),
        finish: ended.map(|ended| Box::pin(async move { drop(ended.finish().await) }) as _),
        settled: match options.stream && !silent {
            true => Some(settled(server.service.containers.find(id)?)),
            false => None,
        },
        keys,
        detached: Box::new(move || service.detached(&left)),
    })
}

/// Who was told the end of a container's output may ask at once how it ended. A process may also close its output and go on.
fn settled(container: Arc<Container>) -> Later<()> {
    let mut phases = container.watch();
    let before = phases.borrow().noted;
    Box::pin(async move {
        let is_noted = |phase: &Phase| phase.noted > before || !container.is_running();
        let _ = tokio::time::timeout(KNOWN_TO_HAVE_ENDED, phases.wait_for(is_noted)).await;
    })
}

/// `POST /containers/{id}/resize`
pub(super) async fn resize(
    State(server): State<Server>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer<StatusCode> {
    server.service.resize(&id, Query::of(&uri).size()?).await?;
    Ok(StatusCode::OK)
}

/// `GET /containers/{id}/top`
pub(super) async fn top(State(server): State<Server>, Path(id): Path<String>, uri: Uri) -> Answer {
    let query = Query::of(&uri);
    Ok(Json(server.service.top(&id, query.text("ps_args")).await?).into_response())
}

/// `GET /containers/{id}/stats`
pub(super) async fn stats(
    State(server): State<Server>,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer {
    let query = Query::of(&uri);
    let mode = match (
        query.flag_or("stream", Fallback::Yes),
        query.flag("one-shot"),
    ) {
        (true, true) => {
            let message = "cannot have stream=true and one-shot=true";
            return Err(ApiError::bad_request(message).into());
        }
        (true, false) => StatsMode::Stream,
        (false, true) => StatsMode::OneShot,
        (false, false) => StatsMode::Once,
    };
    let samples = server.service.stats(&id, mode)?;
    Ok(json_lines(hijack::body_of(samples)))
}

/// `POST /containers/{id}/update`
pub(super) async fn update(
    State(server): State<Server>,
    Path(id): Path<String>,
    version: Version,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let mut body: HostConfig = json(&headers, &body)?;
    body.pids_limit = body
        .pids_limit
        .filter(|_| version >= PIDS_UPDATED)
        // Zero and less lift the limit.
        .map(|limit| limit.max(0));
    let updated = detached(async move { server.service.update(&id, body).await }).await?;
    Ok(Json(updated).into_response())
}

/// An answer whose body is JSON as it comes.
pub(super) fn json_lines(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

/// Runs to the end although the client goes away: half a start is worse than one nobody waits for.
pub(super) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work)
        .await
        .map_err(|error| ApiError::internal(&error))?
}
