//! The client: one request at a time, with authentication, redirects, time limits and retries.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, HeaderName, LOCATION, USER_AGENT, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::auth::Credentials;
use crate::auth::challenge::{self, Challenge};
use crate::auth::token::{self, Tokens, Wanted};
use crate::config::{Endpoint, RegistryConfig};
use crate::connect::{Connector, NoAddress};
use crate::error::RegistryError;
use crate::retry;
use crate::uri::{resolve, same_origin};
use hoist_api::ImageRef;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Until the head of an answer; registries that assemble an upload are slow.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// Between two pieces of an answer.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(60);
const REDIRECT_LIMIT: usize = 10;
const ERROR_LIMIT: usize = 64 << 10;
const IDLE: Duration = Duration::from_secs(30);
/// A file's pieces on the way to a registry.
const PIECE: usize = 256 << 10;

/// Connections to registries; clones share them.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
}

/// What a successful login gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// A token to keep instead of the password; empty when the registry gives none.
    pub identity_token: String,
}

impl Client {
    /// A client with no connections yet.
    #[must_use]
    pub fn new(config: RegistryConfig) -> Self {
        Self {
            transport: Transport::new(Arc::new(config)),
        }
    }

    /// What it is configured with.
    #[must_use]
    pub fn config(&self) -> &RegistryConfig {
        &self.transport.config
    }

    /// One image's repository, for one operation: tokens are kept in it.
    #[must_use]
    pub fn repository(&self, image: &ImageRef, credentials: Credentials) -> Repository {
        let session = |endpoint: Endpoint| {
            let credentials = if endpoint.is_mirror {
                Credentials::Anonymous
            } else {
                credentials.clone()
            };
            self.session(endpoint, credentials)
        };
        let config = &self.transport.config;
        Repository {
            image: image.clone(),
            sources: config
                .endpoints(image.domain())
                .into_iter()
                .map(session)
                .collect(),
            origin: session(config.origin(image.domain())),
        }
    }

    /// Checks credentials with a registry.
    ///
    /// # Errors
    /// They are refused, or it cannot be reached.
    pub async fn log_in(
        &self,
        server: &str,
        credentials: Credentials,
    ) -> Result<Login, RegistryError> {
        let origin = self.transport.config.origin(server);
        self.session(origin, credentials).log_in(server).await
    }

    pub(crate) fn session(&self, endpoint: Endpoint, credentials: Credentials) -> Session {
        Session {
            endpoint,
            credentials,
            transport: self.transport.clone(),
            state: Arc::default(),
        }
    }
}

/// One image's repository in its registry and the mirrors of that.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(crate) image: ImageRef,
    /// Where to pull from, best first; the registry itself is the last.
    pub(crate) sources: Vec<Session>,
    /// Where to push to.
    pub(crate) origin: Session,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Empty,
    Bytes(Bytes),
    /// A part of a file: offset and length.
    File(Arc<File>, u64, u64),
}

/// A request that can be sent more than once.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) authorization: Option<String>,
    pub(crate) payload: Payload,
    /// Whether a try that may have arrived can be repeated without harm.
    pub(crate) is_repeatable: bool,
}

impl Call {
    pub(crate) fn new(method: Method, uri: Uri) -> Self {
        Self {
            is_repeatable: method != Method::PATCH,
            method,
            uri,
            headers: Vec::new(),
            authorization: None,
            payload: Payload::Empty,
        }
    }

    fn build(&self) -> Result<Request<Body>, hyper::http::Error> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.uri.clone())
            .header(USER_AGENT, concat!("hoist/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let never = |error: std::convert::Infallible| match error {};
        let body: Body = match &self.payload {
            Payload::Empty => {
                if matches!(self.method, Method::POST | Method::PUT | Method::PATCH) {
                    request = request.header(CONTENT_LENGTH, 0);
                }
                Empty::new().map_err(never).boxed_unsync()
            }
            Payload::Bytes(bytes) => Full::new(bytes.clone()).map_err(never).boxed_unsync(),
            Payload::File(file, offset, length) => {
                request = request.header(CONTENT_LENGTH, *length);
                file_body(Arc::clone(file), *offset, *length)
            }
        };
        request.body(body)
    }
}

/// Reads a part of a file piece by piece on blocking threads.
fn file_body(file: Arc<File>, offset: u64, length: u64) -> Body {
    use std::os::unix::fs::FileExt as _;
    let pieces = stream::try_unfold((file, offset, length), |(file, offset, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; wanted];
            file.read_exact_at(&mut piece, offset)?;
            Ok::<_, io::Error>((piece, file))
        });
        let (piece, file) = read.await??;
        let length = piece.len() as u64;
        Ok(Some((
            Frame::data(Bytes::from(piece)),
            (file, offset + length, left - length),
        )))
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// HTTP without any knowledge of registries.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    pub(crate) config: Arc<RegistryConfig>,
    http: HttpClient<Connector, Body>,
    /// Whether anything has answered yet: a network that was there comes back, one that never was does not.
    is_online: Arc<AtomicBool>,
}

impl Transport {
    fn new(config: Arc<RegistryConfig>) -> Self {
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(Connector::new(Arc::clone(&config)));
        Self {
            config,
            http,
            is_online: Arc::default(),
        }
    }

    /// Sends a call until there is an answer that is no passing failure, or patience ends. Redirects are followed for reading; the headers
    /// of the answer's own address stay, credentials do not leave their host.
    pub(crate) async fn send(&self, call: Call) -> Result<Response<Incoming>, RegistryError> {
        let mut tried = 0;
        loop {
            let result = self.follow(call.clone()).await;
            tried += 1;
            let wait = match &result {
                Ok(response) if retry::is_passing(response.status()) => {
                    retry::wait(tried, Some(response.headers()))
                }
                Err(RegistryError::Unreachable { .. } | RegistryError::Timeout { .. })
                    if call.is_repeatable =>
                {
                    retry::wait(tried, None)
                }
                _ => return result,
            };
            let is_hopeless = match &result {
                Err(error) => {
                    is_final(error) || !self.is_online.load(Ordering::Relaxed) && is_offline(error)
                }
                Ok(_) => false,
            };
            if tried >= retry::TRIES || is_hopeless {
                return result;
            }
            tracing::debug!(uri = %call.uri, tried, ?wait, "trying a registry again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn follow(&self, mut call: Call) -> Result<Response<Incoming>, RegistryError> {
        let first = call.uri.clone();
        for _ in 0..REDIRECT_LIMIT {
            let response = self.once(&call).await?;
            let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !is_redirect || !matches!(call.method, Method::GET | Method::HEAD) {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION);
            let target = location
                .and_then(|location| resolve(&call.uri, location.to_str().ok()?))
                .ok_or_else(|| {
                    RegistryError::wrong(&host_of(&call.uri), "a redirect leads nowhere")
                })?;
            let is_downgrade =
                call.uri.scheme_str() == Some("https") && target.scheme_str() == Some("http");
            if is_downgrade && !self.config.is_insecure(&host_of(&target)) {
                let what = format!("it redirects to {target} without TLS");
                return Err(RegistryError::wrong(&host_of(&call.uri), what));
            }
            if !same_origin(&first, &target) {
                call.authorization = None;
            }
            call.uri = target;
        }
        let what = format!("it redirects more than {REDIRECT_LIMIT} times");
        Err(RegistryError::wrong(&host_of(&first), what))
    }

    async fn once(&self, call: &Call) -> Result<Response<Incoming>, RegistryError> {
        let host = host_of(&call.uri);
        let request = call
            .build()
            .map_err(|error| RegistryError::wrong(&host, error.to_string()))?;
        // A large upload takes its time; only its answer is waited for a limited time, and the connection's own stalls end it.
        let limit = match &call.payload {
            Payload::File(_, _, length) => ANSWER_LIMIT + Duration::from_millis(length >> 16),
            _ => ANSWER_LIMIT,
        };
        match tokio::time::timeout(limit, self.http.request(request)).await {
            Ok(Ok(response)) => {
                self.is_online.store(true, Ordering::Relaxed);
                Ok(response)
            }
            Ok(Err(error)) => Err(RegistryError::Unreachable {
                host,
                source: Box::new(error),
            }),
            Err(_) => Err(RegistryError::Timeout {
                host,
                seconds: limit.as_secs(),
            }),
        }
    }

    /// A whole body of limited size.
    pub(crate) async fn body(
        &self,
        response: Response<Incoming>,
        limit: usize,
        what: &str,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut body = response.into_body();
        let mut text = Vec::new();
        loop {
            let frame = tokio::time::timeout(STALL_LIMIT, body.frame()).await;
            let frame = frame.map_err(|_| RegistryError::Timeout {
                host: what.to_owned(),
                seconds: STALL_LIMIT.as_secs(),
            })?;
            let Some(frame) = frame else {
                return Ok(text);
            };
            let frame = frame.map_err(|error| RegistryError::Unreachable {
                host: what.to_owned(),
                source: Box::new(error),
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if text.len() + data.len() > limit {
                let too_long = format!("{what} has more than {limit} bytes");
                return Err(RegistryError::wrong("the registry", too_long));
            }
            text.extend_from_slice(&data);
        }
    }
}

/// Certificates do not become good by waiting, and nobody starts listening.
fn is_final(error: &RegistryError) -> bool {
    causes(error).any(|cause| {
        let wrapped = cause.downcast_ref::<io::Error>();
        wrapped.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
            || cause.is::<rustls::Error>()
            || cause.is::<RegistryError>()
    })
}

/// No way leads to the host: its name has no address, or there is no route.
fn is_offline(error: &RegistryError) -> bool {
    causes(error).any(|cause| {
        let wrapped = cause.downcast_ref::<io::Error>();
        let no_route = [
            io::ErrorKind::NetworkUnreachable,
            io::ErrorKind::HostUnreachable,
            io::ErrorKind::NetworkDown,
        ];
        wrapped.is_some_and(|error| no_route.contains(&error.kind())) || cause.is::<NoAddress>()
    })
}

/// What is behind a failed connection. What an I/O error wraps is not among its sources.
fn causes(
    error: &RegistryError,
) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> + use<'_> {
    type Cause<'a> = &'a (dyn std::error::Error + 'static);
    let first: Option<Cause<'_>> = match error {
        RegistryError::Unreachable { source, .. } => Some(source.as_ref()),
        _ => None,
    };
    std::iter::successors(first, |cause| {
        let wrapped = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        wrapped.map_or_else(|| cause.source(), |inner| Some(inner as Cause<'_>))
    })
}

pub(crate) fn host_of(uri: &Uri) -> String {
    uri.authority()
        .map_or_else(String::new, ToString::to_string)
}

/// Requests to one host with one set of credentials.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) endpoint: Endpoint,
    credentials: Credentials,
    pub(crate) transport: Transport,
    state: Arc<Mutex<SessionState>>,
}

#[derive(Debug, Default)]
struct SessionState {
    /// Found out with the first request.
    scheme: Option<&'static str>,
    challenge: Option<Challenge>,
    tokens: Tokens,
}

impl Session {
    pub(crate) fn host(&self) -> &str {
        &self.endpoint.host
    }

    /// An address of the registry's API; `path` begins with `/v2/`.
    pub(crate) async fn uri(&self, path: &str) -> Result<Uri, RegistryError> {
        let scheme = self.scheme().await?;
        format!("{scheme}://{}{path}", self.endpoint.host)
            .parse()
            .map_err(|_| RegistryError::wrong(&self.endpoint.host, format!("{path} is no path")))
    }

    /// Sends with what `scope` needs (`repository:a/b:pull`, several separated by blanks). An answer of 401 is answered once.
    pub(crate) async fn send(
        &self,
        mut call: Call,
        scope: &str,
    ) -> Result<Response<Incoming>, RegistryError> {
        call.authorization = self.authorization(scope).await?;
        let response = self.transport.send(call.clone()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let Some(challenge) = best_challenge(&response) else {
            return Ok(response);
        };
        {
            let mut state = self.state.lock().await;
            // A token that was not taken has expired, or is for something else.
            if call.authorization.is_some() {
                state.tokens.forget();
            }
            state.challenge = Some(challenge);
        }
        let Some(authorization) = self.authorization(scope).await? else {
            return Ok(response);
        };
        call.authorization = Some(authorization);
        self.transport.send(call).await
    }

    /// What to show for a scope. Held while a token is asked for, so that many requests ask once.
    async fn authorization(&self, scope: &str) -> Result<Option<String>, RegistryError> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        let Some(challenge) = &state.challenge else {
            return Ok(match &self.credentials {
                Credentials::Bearer(token) => Some(format!("Bearer {token}")),
                _ => None,
            });
        };
        let wanted = Wanted {
            challenge,
            scope,
            credentials: &self.credentials,
            is_insecure: self.transport.config.is_insecure(self.host()),
        };
        state.tokens.authorize(&self.transport, wanted).await
    }

    /// `https`, or for insecure hosts whatever answers.
    async fn scheme(&self) -> Result<&'static str, RegistryError> {
        let mut state = self.state.lock().await;
        if let Some(scheme) = state.scheme {
            return Ok(scheme);
        }
        let [first, rest @ ..] = self.endpoint.schemes else {
            return Ok("https");
        };
        let mut chosen = *first;
        for scheme in rest {
            match self.ping(chosen).await {
                Ok(challenge) => {
                    state.challenge = challenge;
                    break;
                }
                Err(RegistryError::Unreachable { .. }) => chosen = scheme,
                Err(error) => return Err(error),
            }
        }
        state.scheme = Some(chosen);
        Ok(chosen)
    }

    /// Asks `/v2/` once.
    async fn ping(&self, scheme: &str) -> Result<Option<Challenge>, RegistryError> {
        let uri = format!("{scheme}://{}/v2/", self.endpoint.host)
            .parse()
            .map_err(|_| RegistryError::wrong(&self.endpoint.host, "the name is no host"))?;
        let response = self.transport.once(&Call::new(Method::GET, uri)).await?;
        Ok(best_challenge(&response).filter(|_| response.status() == StatusCode::UNAUTHORIZED))
    }

    async fn log_in(&self, server: &str) -> Result<Login, RegistryError> {
        let refused = |message: String| RegistryError::LoginRefused {
            server: server.to_owned(),
            message,
        };
        let uri = self.uri("/v2/").await?;
        let response = self
            .transport
            .send(Call::new(Method::GET, uri.clone()))
            .await?;
        let challenge = match response.status() {
            StatusCode::UNAUTHORIZED => best_challenge(&response)
                .ok_or_else(|| refused("it says neither Basic nor Bearer".to_owned()))?,
            status if status.is_success() => return Ok(Login::default()),
            _ => return Err(refused(self.explain(response).await.1)),
        };
        let wanted = Wanted {
            challenge: &challenge,
            scope: "",
            credentials: &self.credentials,
            is_insecure: self.transport.config.is_insecure(self.host()),
        };
        let told = |error| match error {
            RegistryError::Status {
                message, status, ..
            } => refused(format!("{status}: {message}")),
            other => other,
        };
        let identity_token = token::log_in(&self.transport, wanted.clone())
            .await
            .map_err(told)?;
        let mut call = Call::new(Method::GET, uri);
        let mut tokens = Tokens::default();
        call.authorization = tokens
            .authorize(&self.transport, wanted)
            .await
            .map_err(told)?;
        let response = self.transport.send(call).await?;
        if response.status().is_success() {
            return Ok(Login { identity_token });
        }
        Err(refused(self.explain(response).await.1))
    }

    /// The status and the words of a failed answer.
    pub(crate) async fn explain(&self, response: Response<Incoming>) -> (StatusCode, String) {
        let status = response.status();
        let text = self
            .transport
            .body(response, ERROR_LIMIT, "an error")
            .await
            .unwrap_or_default();
        let message = message_of(&text);
        if message.is_empty() {
            let reason = status.canonical_reason().unwrap_or("no reason given");
            return (status, reason.to_lowercase());
        }
        (status, message)
    }

    /// The error for an answer that is no success.
    pub(crate) async fn failure(
        &self,
        response: Response<Incoming>,
        action: &'static str,
        (image, what): (&ImageRef, &str),
    ) -> RegistryError {
        let (status, message) = self.explain(response).await;
        let host = self.endpoint.host.clone();
        match status.as_u16() {
            401 | 403 => RegistryError::Denied {
                action,
                repository: image.familiar_repository(),
                message,
            },
            404 if what == "manifest" && is_unknown_repository(&message) => RegistryError::Denied {
                action,
                repository: image.familiar_repository(),
                message,
            },
            404 if what == "manifest" => RegistryError::UnknownManifest {
                reference: image.familiar(),
                message,
            },
            429 => RegistryError::TooManyRequests { host, message },
            status => RegistryError::Status {
                host,
                status,
                what: what.to_owned(),
                message,
            },
        }
    }
}

/// Docker words it so, since registries do not tell "private" from "not there".
fn is_unknown_repository(message: &str) -> bool {
    message.contains("repository name not known") || message.contains("NAME_UNKNOWN")
}

/// Bearer where there is a choice.
fn best_challenge(response: &Response<Incoming>) -> Option<Challenge> {
    let headers = response.headers().get_all(WWW_AUTHENTICATE);
    let mut found: Vec<Challenge> = headers
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(challenge::parse)
        .collect();
    found.sort_by_key(|challenge| *challenge == Challenge::Basic);
    found.into_iter().next()
}

/// The words of a registry's error document, or of something else that it sent.
pub(crate) fn message_of(text: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        errors: Vec<Item>,
        #[serde(default)]
        details: String,
        #[serde(default)]
        message: String,
        #[serde(default)]
        error_description: String,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(document) = serde_json::from_slice::<Document>(text) else {
        let shown = String::from_utf8_lossy(text);
        if shown.trim_start().starts_with('<') {
            return "it answered with a web page".to_owned();
        }
        return shown
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect();
    };
    let of_item = |item: &Item| match item.message.as_str() {
        "" => item.code.clone(),
        message => message.to_owned(),
    };
    let mut words: Vec<String> = document.errors.iter().map(of_item).collect();
    words.extend([
        document.details,
        document.message,
        document.error_description,
    ]);
    words.retain(|word| !word.is_empty());
    words.join("; ")
}
