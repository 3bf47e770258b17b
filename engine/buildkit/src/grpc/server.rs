//! The side that is called.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _, stream as streams};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::rt::{Read, Write};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioExecutor;
use prost::Message;

use super::{CONNECTION_WINDOW, Code, Messages, STREAM_WINDOW, Status, frame};

/// An answer's body, and a request's.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A call that came in.
#[derive(Debug)]
pub(crate) struct Call {
    /// `/package.Service/Method`
    pub(crate) path: String,
    /// Whatever the client sent beside the messages.
    pub(crate) metadata: HeaderMap,
    /// The messages.
    pub(crate) messages: Messages,
}

impl Call {
    /// The only message of a call that is not streamed.
    pub(crate) async fn message<M: Message + Default>(&mut self) -> Result<M, Status> {
        let missing = || Status::new(Code::InvalidArgument, "the call has no message");
        self.messages.next().await?.ok_or_else(missing)
    }

    /// A header; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.metadata.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// What answers calls.
pub(crate) trait Service: Send + Sync + 'static {
    /// Answers one call. The future is dropped when the caller gives up.
    fn call(self: Arc<Self>, call: Call) -> BoxFuture<'static, Result<Response<Body>, Status>>;
}

/// Serves a connection until the client leaves.
///
/// # Errors
/// What broke the connection.
pub(crate) async fn serve<I>(io: I, service: Arc<impl Service>) -> Result<(), hyper::Error>
where
    I: Read + Write + Unpin + Send + 'static,
{
    let answer = service_fn(move |request: Request<Incoming>| {
        let service = service.clone();
        async move {
            let (parts, body) = request.into_parts();
            let call = Call {
                path: parts.uri.path().to_owned(),
                metadata: parts.headers,
                messages: Messages::new(body),
            };
            let response = match service.call(call).await {
                Ok(response) => response,
                Err(status) => refusal(&status),
            };
            Ok::<_, Infallible>(response)
        }
    });
    http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(1024)
        .serve_connection(io, answer)
        .await
}

/// A single message.
pub(crate) fn respond(message: &impl Message) -> Response<Body> {
    stream(streams::iter([Ok(frame(message))]))
}

/// Messages, already framed, as they come; the first failure ends them.
pub(crate) fn stream(
    frames: impl Stream<Item = Result<Bytes, Status>> + Send + 'static,
) -> Response<Body> {
    let frames = frames
        .map(Some)
        .chain(streams::iter([None]))
        .scan(false, |ended, item| {
            if *ended {
                return std::future::ready(None);
            }
            let frame = match item {
                Some(Ok(data)) => Frame::data(data),
                Some(Err(status)) => {
                    *ended = true;
                    Frame::trailers(trailers(Some(&status)))
                }
                None => Frame::trailers(trailers(None)),
            };
            std::future::ready(Some(Ok::<_, Infallible>(frame)))
        });
    with_type(Response::new(StreamBody::new(frames).boxed_unsync()))
}

fn trailers(status: Option<&Status>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    match status {
        Some(status) => status.write(&mut headers),
        None => {
            headers.insert("grpc-status", HeaderValue::from_static("0"));
        }
    }
    headers
}

/// A failure before any message: in the headers, without a body.
fn refusal(status: &Status) -> Response<Body> {
    let mut response = with_type(Response::new(Empty::new().boxed_unsync()));
    status.write(response.headers_mut());
    response
}

fn with_type(mut response: Response<Body>) -> Response<Body> {
    let value = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}
