//! One call as a value: method, path, query, body. Building the HTTP request from it can be repeated.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Method, Request, header};
use serde::Serialize;

use crate::engine::ByteStream;
use crate::error::{ApiError, ErrorKind, Result};

pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What the body is.
pub(super) enum Payload {
    Empty,
    Json(Bytes),
    Stream(ByteStream, &'static str),
}

/// A call of the API.
pub(super) struct Call {
    pub(super) method: Method,
    path: String,
    query: String,
    pub(super) payload: Payload,
    versioned: bool,
    /// The protocol to leave HTTP for.
    upgrade: Option<&'static str>,
    /// `X-Registry-Auth`; empty for none.
    auth: String,
    headers: Vec<(&'static str, String)>,
}

impl Call {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        let path = path.into();
        Self {
            method,
            path,
            query: String::new(),
            payload: Payload::Empty,
            versioned: true,
            upgrade: None,
            auth: String::new(),
            headers: Vec::new(),
        }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Adds a query parameter, unless its value is empty.
    pub(super) fn query(mut self, key: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.query
                .push(if self.query.is_empty() { '?' } else { '&' });
            self.query.push_str(key);
            self.query.push('=');
            self.query.push_str(&encode(value, ""));
        }
        self
    }

    /// Adds `key=1` when set.
    pub(super) fn flag(self, key: &str, value: bool) -> Self {
        self.query(key, if value { "1" } else { "" })
    }

    pub(super) fn filters(self, filters: &crate::Filters) -> Self {
        let text = if filters.is_empty() {
            String::new()
        } else {
            filters.to_query()
        };
        self.query("filters", &text)
    }

    pub(super) fn json(mut self, body: &impl Serialize) -> Result<Self> {
        let bytes = serde_json::to_vec(body).map_err(|error| {
            ApiError::new(
                ErrorKind::Protocol,
                format!("cannot write the request: {error}"),
            )
        })?;
        self.payload = Payload::Json(bytes.into());
        Ok(self)
    }

    pub(super) fn stream(mut self, body: ByteStream, content_type: &'static str) -> Self {
        self.payload = Payload::Stream(body, content_type);
        self
    }

    /// Leaves out the `/v1.NN` prefix.
    pub(super) fn unversioned(mut self) -> Self {
        self.versioned = false;
        self
    }

    /// Sends credentials of a registry along.
    pub(super) fn registry_auth(mut self, auth: &str) -> Self {
        auth.clone_into(&mut self.auth);
        self
    }

    /// Asks to leave HTTP for a raw stream.
    pub(super) fn upgrade(self) -> Self {
        self.upgrade_to("tcp")
    }

    /// Asks to leave HTTP for another protocol.
    pub(super) fn upgrade_to(mut self, protocol: &'static str) -> Self {
        self.upgrade = Some(protocol);
        self
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Whether the engine may take its time before it answers: it reads a body that comes as it comes.
    pub(super) fn is_streamed(&self) -> bool {
        matches!(self.payload, Payload::Stream(..))
    }

    /// Whether it may be sent again on a new connection when the old one broke before an answer.
    pub(super) fn can_repeat(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD | Method::DELETE)
    }

    /// The HTTP request. A streamed body is given away by the first build.
    pub(super) fn build(&mut self, version: (u16, u16)) -> Result<Request<Body>> {
        let prefix = if self.versioned {
            format!("/v{}.{}", version.0, version.1)
        } else {
            String::new()
        };
        let mut builder = Request::builder()
            .method(self.method.clone())
            .uri(format!(
                "{prefix}{}{}",
                encode(&self.path, "/:@"),
                self.query
            ))
            .header(header::HOST, "hoist");
        if !self.auth.is_empty() {
            builder = builder.header("x-registry-auth", &self.auth);
        }
        for (name, value) in &self.headers {
            builder = builder.header(*name, value);
        }
        if let Some(protocol) = self.upgrade {
            builder = builder
                .header(header::CONNECTION, "Upgrade")
                .header(header::UPGRADE, protocol);
        }
        let body = match std::mem::replace(&mut self.payload, Payload::Empty) {
            Payload::Empty => empty_body(),
            Payload::Json(bytes) => {
                self.payload = Payload::Json(bytes.clone());
                builder = builder.header(header::CONTENT_TYPE, "application/json");
                Full::new(bytes)
                    .map_err(|never| match never {})
                    .boxed_unsync()
            }
            Payload::Stream(stream, content_type) => {
                builder = builder.header(header::CONTENT_TYPE, content_type);
                StreamBody::new(futures_util::StreamExt::map(stream, |piece| {
                    piece.map(Frame::data)
                }))
                .boxed_unsync()
            }
        };
        builder.body(body).map_err(|error| {
            ApiError::new(ErrorKind::BadRequest, format!("malformed request: {error}"))
        })
    }
}

fn empty_body() -> Body {
    Full::new(Bytes::new())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Percent-encodes everything but RFC 3986's unreserved characters and those in `also`.
fn encode(text: &str, also: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let character = char::from(byte);
        if byte.is_ascii_alphanumeric()
            || "-._~".contains(character)
            || (byte.is_ascii() && also.contains(character))
        {
            encoded.push(character);
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Reads `1.47`.
pub(super) fn parse_version(text: &str) -> Option<(u16, u16)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut call: Call, expected: &str) {
        assert_eq!(call.build((1, 47)).unwrap().uri().to_string(), expected);
    }

    #[test]
    fn paths_and_queries_are_encoded() {
        check(
            Call::get("/images/localhost:5000/a/b:1/json"),
            "/v1.47/images/localhost:5000/a/b:1/json",
        );
        check(
            Call::get("/containers/a b?/json"),
            "/v1.47/containers/a%20b%3F/json",
        );
        check(
            Call::get("/_ping")
                .unversioned()
                .query("a", "x=y&z")
                .query("b", "")
                .flag("c", true),
            "/_ping?a=x%3Dy%26z&c=1",
        );
    }
}
