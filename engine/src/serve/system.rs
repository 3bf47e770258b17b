//! Handlers of everything about the engine itself.

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures_util::stream;
use hoist_api::error::ApiError;
use hoist_api::event::Event;
use hoist_api::ports::{PortsCheck, PortsChecked};
use hoist_api::system::BuildCacheRecord;
use jiff::Timestamp;
use tokio::sync::broadcast;

use super::errors::Answer;
use super::query::{Query, Version, json};
use super::{Server, absent};
use crate::events;
use crate::times::parse_time;

/// The routes of this file.
pub(super) fn routes() -> Router<Server> {
    Router::new()
        .route("/_ping", get(ping).head(ping))
        .route("/version", get(version))
        .route("/info", get(info))
        .route("/events", get(events))
        .route("/system/df", get(disk_usage))
        .route("/hoist/status", get(status))
        .route("/hoist/ports/check", post(check_ports))
        .route("/hoist/engine/stop", post(stop))
        .route("/hoist/engine/stay", post(stay))
        .merge(absent::routes())
}

/// `HEAD` and `GET /_ping`
async fn ping() -> Response {
    let mut response = Response::new(Body::from("OK"));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert("builder-version", HeaderValue::from_static("1"));
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    response
}

/// `GET /version`
async fn version(State(server): State<Server>) -> Response {
    Json(server.service.version()).into_response()
}

/// `GET /info`
async fn info(State(server): State<Server>, version: Version) -> Response {
    let mut info = server.service.info();
    if version < Version(1, 50) {
        (info.bridge_nf_iptables, info.bridge_nf_ip6tables) = (Some(false), Some(false));
    }
    if version < Version(1, 49) {
        info.firewall_backend = None;
        for commit in [
            &mut info.containerd_commit,
            &mut info.runc_commit,
            &mut info.init_commit,
        ] {
            commit.expected.clone_from(&commit.id);
        }
    }
    Json(info).into_response()
}

/// `GET /hoist/status`
async fn status(State(server): State<Server>) -> Response {
    let mut status = server.service.status();
    status.idle_exit = server.activity.idle().map(|idle| idle.as_secs());
    Json(status).into_response()
}

/// `POST /hoist/ports/check`
async fn check_ports(State(server): State<Server>, headers: HeaderMap, body: Bytes) -> Answer {
    let check: PortsCheck = json(&headers, &body)?;
    let conflicts = server.service.check_ports(&check)?;
    Ok(Json(PortsChecked { conflicts }).into_response())
}

/// `POST /hoist/engine/stay`: the engine no longer leaves by itself when it has nothing to run.
async fn stay(State(server): State<Server>) -> StatusCode {
    server.activity.stay();
    StatusCode::NO_CONTENT
}

/// `POST /hoist/engine/stop`
async fn stop(State(server): State<Server>, uri: Uri) -> Answer<StatusCode> {
    let query = Query::of(&uri);
    if query.flag("containers") {
        let timeout = query.number("t")?;
        crate::daemon::stop_containers(&server.service, timeout).await?;
    }
    server.leave.send_replace(true);
    Ok(StatusCode::NO_CONTENT)
}

/// The kinds of objects that take room, and where they are told.
const DISK_USAGE: [(&str, &str); 4] = [
    ("image", "Images"),
    ("container", "Containers"),
    ("volume", "Volumes"),
    ("build-cache", "BuildCache"),
];

/// `GET /system/df`
async fn disk_usage(State(server): State<Server>, uri: Uri) -> Answer {
    let kinds = Query::of(&uri).all("type");
    let mut usage = server.service.disk_usage(&kinds).await?;
    if kinds.is_empty() || kinds.iter().any(|kind| kind == "build-cache") {
        // What clients sent is kept beside the builder's records, and pruned with them.
        let contexts = server.buildkit.usage().into_iter();
        // Clients refuse a record without times.
        let time = |context: &hoist_buildkit::Usage| {
            jiff::Timestamp::try_from(context.used)
                .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
                .to_string()
        };
        let contexts = contexts.map(|context| BuildCacheRecord {
            created_at: time(&context),
            last_used_at: Some(time(&context)),
            id: context.id,
            kind: "source.local".to_owned(),
            description: "local source for context".to_owned(),
            size: i64::try_from(context.bytes).unwrap_or(i64::MAX),
            usage_count: 1,
            ..BuildCacheRecord::default()
        });
        usage.build_cache.extend(contexts);
    }
    let mut usage = serde_json::to_value(usage).map_err(|error| ApiError::internal(&error))?;
    for (kind, field) in DISK_USAGE {
        // What was not asked for is nothing, and no empty list.
        if !kinds.is_empty() && kinds.iter().all(|asked| asked != kind) {
            usage[field] = serde_json::Value::Null;
        }
    }
    Ok(Json(usage).into_response())
}

/// `GET /events`: the headers go out at once; what happened since `since` comes first, and `until` ends it.
async fn events(State(server): State<Server>, uri: Uri) -> Answer {
    let query = Query::of(&uri);
    let filters = query.filters()?;
    filters.allow_only(events::FILTERS)?;
    let (since, until) = (
        parse_time(query.text("since"))?,
        parse_time(query.text("until"))?,
    );
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        let message = "`since` time (%s) cannot be after `until` time (%s)"
            .replacen("%s", query.text("since"), 1)
            .replacen("%s", query.text("until"), 1);
        return Err(ApiError::bad_request(message).into());
    }
    let since = since.or_else(|| until.map(|_| Timestamp::UNIX_EPOCH));
    let (past, receiver) = server.service.events.subscribe(since);
    let deadline = until.map(|until| {
        let left = until.duration_since(Timestamp::now());
        tokio::time::Instant::now() + std::time::Duration::try_from(left).unwrap_or_default()
    });
    let before = until.map_or(i128::MAX, Timestamp::as_nanosecond);
    let past: std::collections::VecDeque<_> = past
        .into_iter()
        .filter(|event| i128::from(event.time_nano) <= before)
        .collect();
    let follow = Follow {
        past,
        receiver,
        deadline,
        filters,
        leave: server.leave.subscribe(),
    };
    let lines = stream::unfold(follow, |mut follow| async move {
        follow
            .next()
            .await
            .map(|line| (Ok::<_, std::convert::Infallible>(line), follow))
    });
    Ok(super::containers::json_lines(Body::from_stream(lines)))
}

struct Follow {
    past: std::collections::VecDeque<std::sync::Arc<Event>>,
    receiver: broadcast::Receiver<std::sync::Arc<Event>>,
    deadline: Option<tokio::time::Instant>,
    filters: hoist_api::Filters,
    leave: tokio::sync::watch::Receiver<bool>,
}

impl Follow {
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let event = match self.past.pop_front() {
                Some(event) => event,
                None => self.receive().await?,
            };
            if events::wanted(&self.filters, &event) {
                let mut line = serde_json::to_vec(&*event).ok()?;
                line.push(b'\n');
                return Some(line);
            }
        }
    }

    async fn receive(&mut self) -> Option<std::sync::Arc<Event>> {
        let deadline = self.deadline;
        loop {
            let expired = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                received = self.receiver.recv() => match received {
                    Ok(event) => return Some(event),
                    // A reader that is far behind misses some; it is told of the rest.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = expired => return None,
                () = super::leaves(&mut self.leave) => return None,
            }
        }
    }
}
