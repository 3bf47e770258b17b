//! The HTTP server: connections, versions of paths, and the handlers by object. Handlers read the request, call the service and
//! write the answer; they decide nothing.

mod absent;
mod build;
pub(crate) mod buildkit;
mod containers;
mod detach;
mod errors;
mod exec;
mod files;
pub(crate) mod first_line;
mod hijack;
mod images;
mod leftover;
pub(crate) mod listen;
mod names;
mod networks;
mod query;
mod registry;
mod system;
mod volumes;
mod web_socket;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, delete, get, post, put};
use hoist_api::error::{ApiError, ErrorBody};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::service::Service;
pub(crate) use absent::no_swarm;
pub(crate) use build::Uploads;
use errors::Failure;
use first_line::Begun;
use query::Version;

/// Bytes of a refusal of the framework's own.
const LONGEST_REFUSAL: usize = 4096;
/// Bytes of what a new container is to be: all ports of a machine, each published, are some 5 MB.
const LARGEST_CONTAINER: usize = 16 << 20;
/// Bytes that a connection takes of an answer before its client reads them, and the longest head of a request.
const MOST_BUFFERED: usize = 128 << 10;

/// Whether anybody uses the engine.
#[derive(Debug)]
pub(crate) struct Activity {
    open: AtomicUsize,
    last: Mutex<Instant>,
    /// Milliseconds with nothing to run after which the engine leaves, 0 for never.
    idle: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            open: AtomicUsize::new(0),
            last: Mutex::new(Instant::now()),
            idle: AtomicU64::new(0),
        }
    }
}

impl Activity {
    /// What uses an engine that leaves after this time with nothing to run.
    pub(crate) fn of_engine(idle: Option<Duration>) -> Self {
        let activity = Self::default();
        let milliseconds = idle.map_or(0, |idle| {
            u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)
        });
        activity.idle.store(milliseconds, Ordering::Relaxed);
        activity
    }

    /// How long the engine stays with nothing to run; none: for ever.
    pub(crate) fn idle(&self) -> Option<Duration> {
        match self.idle.load(Ordering::Relaxed) {
            0 => None,
            milliseconds => Some(Duration::from_millis(milliseconds)),
        }
    }

    /// From now on the engine leaves only when it is told.
    pub(crate) fn stay(&self) {
        self.idle.store(0, Ordering::Relaxed);
    }

    /// Requests whose answers have not ended.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// When the last request came or its answer ended.
    pub(crate) fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>) -> Busy {
        self.open.fetch_add(1, Ordering::Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Busy(self.clone())
    }
}

/// A request whose answer has not ended.
struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What handlers share.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) service: Arc<Service>,
    /// Set to true, the engine leaves.
    pub(crate) leave: Arc<watch::Sender<bool>>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) buildkit: hoist_buildkit::BuildKit,
    /// Contexts of builds that come in calls of their own.
    pub(crate) uploads: Uploads,
}

impl Server {
    /// Serves connections until the engine leaves, then lets those being answered finish.
    pub(crate) async fn accept(self, listener: UnixListener, mut left: watch::Receiver<bool>) {
        let router = self.clone().router();
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = leaves(&mut left) => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (router, activity, left) =
                        (router.clone(), self.activity.clone(), left.clone());
                    connections.spawn(serve_connection(stream, router, activity, left));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Out of descriptors: some are given back soon.
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
        while connections.join_next().await.is_some() {}
    }

    /// Serves connections of a further door until the engine leaves.
    pub(crate) async fn accept_tcp(
        self,
        listener: TcpListener,
        acceptor: Option<TlsAcceptor>,
        mut left: watch::Receiver<bool>,
    ) {
        let router = self.clone().router();
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = leaves(&mut left) => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            };
            // Without it every small piece of output waits for the client's acknowledgement.
            let _ = stream.set_nodelay(true);
            let (router, activity, left) = (router.clone(), self.activity.clone(), left.clone());
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                match acceptor {
                    None => serve_connection(stream, router, activity, left).await,
                    Some(acceptor) => {
                        if let Some(stream) = listen::greet(&acceptor, stream).await {
                            serve_connection(stream, router, activity, left).await;
                        }
                    }
                }
            });
            while connections.try_join_next().is_some() {}
        }
    }

    fn router(self) -> Router {
        Router::new()
            .merge(container_routes())
            .merge(object_routes())
            .merge(build::routes())
            .merge(buildkit::routes())
            .merge(system::routes())
            .fallback(any(no_page))
            .method_not_allowed_fallback(no_page)
            .with_state(self)
    }
}

async fn no_page(method: Method) -> Response {
    // What may be asked is asked of no path in particular.
    if method == Method::OPTIONS {
        return StatusCode::OK.into_response();
    }
    Failure(ApiError::not_found("page not found")).into_response()
}

fn container_routes() -> Router<Server> {
    Router::new()
        .route("/containers/json", get(containers::list))
        .route(
            "/containers/create",
            post(containers::create).layer(DefaultBodyLimit::max(LARGEST_CONTAINER)),
        )
        .route("/containers/{id}/json", get(containers::inspect))
        .route("/containers/{id}/start", post(containers::start))
        .route("/containers/{id}/stop", post(containers::stop))
        .route("/containers/{id}/restart", post(containers::restart))
        .route("/containers/{id}/kill", post(containers::kill))
        .route("/containers/{id}/pause", post(containers::pause))
        .route("/containers/{id}/unpause", post(containers::unpause))
        .route("/containers/{id}/wait", post(containers::wait))
        .route("/containers/{id}/rename", post(containers::rename))
        .route("/containers/{id}/logs", get(containers::logs))
        .route("/containers/{id}/attach", post(containers::attach))
        .route("/containers/{id}/resize", post(containers::resize))
        .route("/containers/{id}/top", get(containers::top))
        .route(
            "/containers/{id}/attach/ws",
            get(containers::attach_web_socket),
        )
        .route("/containers/{id}/stats", get(containers::stats))
        .route("/containers/{id}/update", post(containers::update))
        .route("/containers/{id}/changes", get(files::changes))
        .route("/containers/{id}/export", get(files::export))
        .route(
            "/containers/{id}/archive",
            put(files::put_archive)
                .head(files::stat_archive)
                .get(files::get_archive),
        )
        .route("/commit", post(files::commit))
        .route("/containers/{id}/exec", post(exec::create))
        .route("/containers/{id}", delete(containers::remove))
        .route("/containers/{id}/{alias}", delete(containers::remove_link))
        .route("/containers/prune", post(containers::prune))
        .route("/exec/{id}/start", post(exec::start))
        .route("/exec/{id}/json", get(exec::inspect))
        .route("/exec/{id}/resize", post(exec::resize))
}

fn object_routes() -> Router<Server> {
    Router::new()
        .route("/images/json", get(images::list))
        .route("/images/create", post(images::create))
        .route("/images/load", post(images::load))
        .route("/images/prune", post(images::prune))
        .route("/images/get", get(images::get))
        .route("/images/search", get(registry::search))
        .route("/auth", post(registry::auth))
        .route("/distribution/{*rest}", get(registry::distribution))
        .route("/images/{*rest}", any(images::by_name))
        .route("/networks", get(networks::list))
        .route("/networks/", get(networks::list))
        .route("/networks/create", post(networks::create))
        .route("/networks/prune", post(networks::prune))
        .route(
            "/networks/{id}",
            get(networks::inspect).delete(networks::remove),
        )
        .route("/networks/{id}/connect", post(networks::connect))
        .route("/networks/{id}/disconnect", post(networks::disconnect))
        .route("/volumes", get(volumes::list))
        .route("/volumes/create", post(volumes::create))
        .route("/volumes/prune", post(volumes::prune))
        .route(
            "/volumes/{name}",
            get(volumes::inspect)
                .delete(volumes::remove)
                .put(absent::no_manager),
        )
}

/// Ends when the engine is told to leave.
pub(crate) async fn leaves(left: &mut watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = left.wait_for(|left| *left).await;
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    activity: Arc<Activity>,
    mut left: watch::Receiver<bool>,
) {
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let (router, busy) = (router.clone(), activity.begin());
        async move {
            let response = answer(router, request.map(Body::new)).await;
            // A client that follows events or waits uses the engine until its answer has ended.
            let hold = move |frame| {
                let _ = &busy;
                frame
            };
            Ok::<_, std::convert::Infallible>(response.map(|body| Body::new(body.map_frame(hold))))
        }
    });
    let begun = tokio::select! {
        begun = Begun::read(stream, MOST_BUFFERED) => begun,
        () = leaves(&mut left) => return,
    };
    let stream = match begun {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "a connection ended before its first line");
            return;
        }
    };
    let connection = http1::Builder::new()
        // As Docker writes them: scripts search for `Api-Version:`.
        .title_case_headers(true)
        .max_buf_size(MOST_BUFFERED)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = leaves(&mut left) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A client that goes away in the middle is no failure of ours.
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(router: Router, mut request: Request) -> Response {
    if let Some(clean) = clean_path(request.uri()) {
        return with_headers(clean);
    }
    let left = leftover::keep(&mut request);
    let found = match strip_version(request.uri()) {
        Ok(Some((uri, version))) => {
            *request.uri_mut() = uri;
            request.extensions_mut().insert(version);
            Ok(request)
        }
        Ok(None) => Ok(request),
        Err(failure) => Err(failure),
    };
    let response = match found {
        Ok(mut request) => {
            if let Some(uri) = names::escape(request.uri()) {
                *request.uri_mut() = uri;
            }
            router.oneshot(request).await.into_response()
        }
        Err(failure) => failure.into_response(),
    };
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        left.read().await;
    }
    with_headers(as_json(response).await)
}

/// Sends who asks for `//containers/json` to `/containers/json`, as Docker's router does: addresses that end in a slash are often
/// joined with paths that begin with one.
fn clean_path(uri: &Uri) -> Option<Response> {
    let mut path = uri.path().to_owned();
    if !path.contains("//") {
        return None;
    }
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    let query = uri.query();
    let place = query.map_or(path.clone(), |query| format!("{path}?{query}"));
    let place = HeaderValue::from_str(&place).ok()?;
    Some((StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, place)]).into_response())
}

/// Refusals of the framework's own, such as of a body that is too long, become errors as clients read them.
async fn as_json(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_text = kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !(status.is_client_error() || status.is_server_error()) || !is_text {
        return response;
    }
    let body = axum::body::to_bytes(response.into_body(), LONGEST_REFUSAL).await;
    let said = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
    let message = match said.as_str() {
        "" => status.canonical_reason().unwrap_or("refused").to_owned(),
        said => said.to_owned(),
    };
    let body = ErrorBody {
        message,
        hint: None,
    };
    (status, axum::Json(body)).into_response()
}

/// The headers that every answer carries.
fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let (major, minor) = hoist_api::API_VERSION;
    let server = format!("Hoist/{} (linux)", crate::service::ENGINE_VERSION);
    for (name, value) in [
        ("api-version", format!("{major}.{minor}")),
        ("ostype", "linux".to_owned()),
        ("docker-experimental", "false".to_owned()),
        ("server", server),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

/// Takes `/v1.NN` off a path; refuses versions that are not spoken.
fn strip_version(uri: &Uri) -> Result<Option<(Uri, Version)>, Failure> {
    let path = uri.path();
    let Some(rest) = path
        .strip_prefix("/v")
        .filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    else {
        return Ok(None);
    };
    let (version, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let parsed = version
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let Some(asked): Option<(u16, u16)> = parsed else {
        return Ok(None);
    };
    let text = |(major, minor): (u16, u16)| format!("{major}.{minor}");
    if asked > hoist_api::API_VERSION {
        return Err(Failure(ApiError::bad_request(format!(
            "client version {version} is too new. Maximum supported API version is {}",
            text(hoist_api::API_VERSION)
        ))));
    }
    if asked < hoist_api::MIN_API_VERSION {
        return Err(Failure(ApiError::bad_request(format!(
            "client version {version} is too old. Minimum supported API version is {}, please upgrade your client to a newer version",
            text(hoist_api::MIN_API_VERSION)
        ))));
    }
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let stripped = format!("/{rest}{query}").parse();
    stripped
        .map(|uri| Some((uri, Version(asked.0, asked.1))))
        .map_err(|_| Failure(ApiError::bad_request("malformed path")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        let result = match strip_version(&path.parse().unwrap()) {
            Ok(uri) => uri.map_or_else(|| path.to_owned(), |(uri, _)| uri.to_string()),
            Err(failure) => failure.0.message,
        };
        assert_eq!(result, expected);
    }

    #[test]
    fn versions_are_taken_off_paths() {
        check("/v1.41/containers/json?all=1", "/containers/json?all=1");
        check("/v1.47/_ping", "/_ping");
        check("/volumes/x", "/volumes/x");
        check(
            "/v1.99/info",
            "client version 1.99 is too new. Maximum supported API version is 1.51",
        );
        check("/vx/info", "/vx/info");
    }
}
