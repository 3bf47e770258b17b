//! `POST /grpc` and `POST /session`: the connection leaves HTTP/1.1 and speaks BuildKit's protocol over HTTP/2 from then on.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::post;
use hoist_api::error::ApiError;
use hoist_buildkit::{BuildKit, Config, SessionInfo};
use hyper::upgrade::{OnUpgrade, Upgraded};

use super::Server;
use super::errors::Answer;
use crate::service::Service;
use crate::service::buildkit::EngineBuilder;

/// How long a context is kept that no build uses.
const UNUSED: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) fn routes() -> Router<Server> {
    Router::new()
        .route("/grpc", post(grpc))
        .route("/session", post(session))
}

/// BuildKit's protocol in front of an engine's builder.
pub(crate) fn open(service: &std::sync::Arc<Service>) -> BuildKit {
    let config = Config {
        contexts: service.config.root.join("contexts"),
        host_gateway: None,
    };
    let buildkit = BuildKit::new(config, std::sync::Arc::new(EngineBuilder(service.clone())));
    let kept = buildkit.clone();
    tokio::task::spawn_blocking(move || kept.prune(UNUSED));
    buildkit
}

/// `POST /grpc`: the client calls us.
async fn grpc(State(server): State<Server>, mut request: Request) -> Answer {
    let (upgrade, response) = switch(&mut request, "h2c")?;
    spawn(server, upgrade, async |server, io| {
        server.buildkit.serve_grpc(io).await;
    });
    Ok(response)
}

/// `POST /session`: we call the client.
async fn session(State(server): State<Server>, mut request: Request) -> Answer {
    let info = SessionInfo::from_headers(request.headers());
    if request.headers().get(header::UPGRADE).is_none() {
        return Err(ApiError::bad_request(
            "no upgrade proto in request: a session needs the header Upgrade: h2c",
        )
        .into());
    }
    if info.id.is_empty() && is_asked(&request, "h2c") {
        return Err(ApiError::bad_request("header X-Docker-Expose-Session-Uuid is missing").into());
    }
    let (upgrade, response) = switch(&mut request, "h2c")?;
    spawn(server, upgrade, async |server, io| {
        if let Err(error) = server.buildkit.serve_session(info, io).await {
            tracing::debug!(%error, "a session was refused");
        }
    });
    Ok(response)
}

fn is_asked(request: &Request, protocol: &str) -> bool {
    let asked = request.headers().get(header::UPGRADE);
    asked
        .and_then(|value| value.to_str().ok())
        .is_some_and(|asked| asked.eq_ignore_ascii_case(protocol))
}

/// Answers that the connection changes its protocol.
fn switch(
    request: &mut Request,
    protocol: &'static str,
) -> Result<(OnUpgrade, Response), ApiError> {
    if !is_asked(request, protocol) {
        return Err(ApiError::bad_request(format!(
            "the protocol of the header Upgrade is not supported: this call needs {protocol}"
        )));
    }
    let upgrade = hyper::upgrade::on(request);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(protocol));
    Ok((upgrade, response))
}

/// Serves the connection once it has changed; the engine stays as long as it is open.
fn spawn<F>(
    server: Server,
    upgrade: OnUpgrade,
    serve: impl FnOnce(Server, Upgraded) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        let _busy = server.activity.begin();
        match upgrade.await {
            Ok(io) => serve(server, io).await,
            Err(error) => tracing::debug!(%error, "a client did not upgrade"),
        }
    });
}
