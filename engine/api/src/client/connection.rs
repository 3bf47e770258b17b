//! Connections to the engine, kept open between calls.

use std::fmt;
use std::sync::Mutex;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;

use super::request::{Body, Call, Payload};
use super::transport::{Connection, Endpoint};
use super::{Client, streams};
use crate::error::{ApiError, ErrorBody, ErrorKind, Result};

/// Idle connections kept; more than a planner's parallelism is of no use.
const MAX_IDLE: usize = 64;
/// How much of an answer that cannot be understood is shown.
const LONGEST_QUOTE: usize = 200;

/// Idle connections to one engine.
pub(super) struct Pool {
    endpoint: Endpoint,
    idle: Mutex<Vec<SendRequest<Body>>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pool")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            idle: Mutex::default(),
        }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn take_idle(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock().ok()?;
        while let Some(sender) = idle.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn put_back(&self, sender: SendRequest<Body>) {
        if let Ok(mut idle) = self.idle.lock()
            && idle.len() < MAX_IDLE
        {
            idle.push(sender);
        }
    }

    pub(super) async fn dial(&self) -> Result<Connection> {
        self.endpoint
            .connect()
            .await
            .map_err(|error| self.unreachable(&error))
    }

    async fn connect(&self) -> Result<SendRequest<Body>> {
        let stream = self.dial().await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(&error))?;
        // It ends when the engine or the last sender goes away; its errors reach the callers through the sender.
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> ApiError {
        let cause = crate::error::chain(error);
        let failure = ApiError::new(
            ErrorKind::Unreachable,
            format!("cannot reach the engine at {}: {cause}", self.endpoint),
        );
        failure.with_hint(self.endpoint.hint())
    }
}

/// What is told of a failure that is not in the API's words: a proxy's, or that of something that is no engine.
fn unworded(status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    match line {
        Some(line) => {
            let shown: String = line.chars().take(LONGEST_QUOTE).collect();
            format!("the engine answered {status}: {shown}")
        }
        None => format!("the engine answered {status}"),
    }
}

/// An answer and the connection it came on, which is free again when the body has been read.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    sender: SendRequest<Body>,
}

impl Client {
    /// Sends a call; answers of 400 and above, and 304, are errors.
    pub(super) async fn send(&self, mut call: Call) -> Result<Answer> {
        let limited = !call.is_streamed();
        let exchange = self.exchange(&mut call);
        let answer = match limited {
            true => self.limited(exchange).await?,
            false => exchange.await?,
        };
        let status = answer.response.status();
        if status.as_u16() < 400 && status != StatusCode::NOT_MODIFIED {
            return Ok(answer);
        }
        Err(self.failure(answer).await)
    }

    /// What an engine does within the time that it is given.
    async fn limited<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(limit) = self.timeout else {
            return work.await;
        };
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            Err(ApiError::new(
                ErrorKind::Unreachable,
                format!(
                    "the engine at {} has not answered within {} ms",
                    self.pool.endpoint,
                    limit.as_millis()
                ),
            ))
        })
    }

    async fn exchange(&self, call: &mut Call) -> Result<Answer> {
        if !matches!(call.payload, Payload::Stream(..))
            && let Some(mut sender) = self.pool.take_idle()
        {
            match sender.try_send_request(call.build(self.version)?).await {
                Ok(response) => return Ok(Answer { response, sender }),
                // The engine closed the connection while it was idle, or is a new one.
                Err(error) if error.message().is_some() || call.can_repeat() => {}
                Err(error) => return Err(self.pool.unreachable(error.error())),
            }
        }
        let mut sender = self.pool.connect().await?;
        let request = call.build(self.version)?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| self.pool.unreachable(&error))?;
        Ok(Answer { response, sender })
    }

    async fn failure(&self, answer: Answer) -> ApiError {
        let status = answer.response.status();
        let body = self.body(answer).await.unwrap_or_default();
        let (message, hint) = match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) if !body.message.is_empty() => (body.message, body.hint),
            _ if status == StatusCode::NOT_MODIFIED => ("nothing to do".to_owned(), None),
            _ => (unworded(status, &body), None),
        };
        ApiError {
            kind: ErrorKind::from_status(status.as_u16()),
            status: status.as_u16(),
            message,
            hint,
        }
    }

    /// Reads the whole body and keeps the connection for the next call.
    pub(super) async fn body(&self, answer: Answer) -> Result<Bytes> {
        let Answer {
            response,
            mut sender,
        } = answer;
        let collected = self
            .limited(async {
                let whole = response.into_body().collect().await;
                whole.map_err(|error| streams::broken(&error))
            })
            .await?;
        if sender.ready().await.is_ok() {
            self.pool.put_back(sender);
        }
        Ok(collected.to_bytes())
    }

    /// Sends a call whose answer is one JSON value.
    pub(super) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T> {
        let answer = self.send(call).await?;
        self.read_json(answer).await
    }

    /// Reads an answer that is one JSON value.
    pub(super) async fn read_json<T: DeserializeOwned>(&self, answer: Answer) -> Result<T> {
        let body = self.body(answer).await?;
        serde_json::from_slice(&body).map_err(|error| {
            ApiError::new(
                ErrorKind::Protocol,
                format!("cannot read the engine's answer: {error}"),
            )
        })
    }

    /// Sends a call whose answer has nothing to read.
    pub(super) async fn empty(&self, call: Call) -> Result<()> {
        let answer = self.send(call).await?;
        self.body(answer).await.map(drop)
    }
}
