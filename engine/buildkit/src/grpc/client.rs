//! The side that calls.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper::header::{CONTENT_TYPE, HeaderValue, TE};
use hyper::rt::{Read, Write};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioExecutor;
use prost::Message;

use super::server::Body;
use super::{CONNECTION_WINDOW, Code, Messages, STREAM_WINDOW, Status, frame};

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the client does not speak HTTP/2 on its session")]
pub struct ChannelError(#[source] hyper::Error);

/// A connection that calls are made on.
#[derive(Debug, Clone)]
pub struct Channel {
    sender: http2::SendRequest<Body>,
}

impl Channel {
    /// Begins on a connection. The future drives it and ends with it.
    ///
    /// # Errors
    /// When the other side does not speak HTTP/2.
    pub async fn begin<I>(
        io: I,
    ) -> Result<(Self, impl Future<Output = Result<(), hyper::Error>> + Send), ChannelError>
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(io)
            .await
            .map_err(ChannelError)?;
        Ok((Self { sender }, connection))
    }

    /// Sends a message and waits for one.
    ///
    /// # Errors
    /// The other side's status, or that it is gone.
    pub async fn call<M: Message + Default>(
        &self,
        path: &'static str,
        message: &impl Message,
    ) -> Result<M, Status> {
        let outgoing = stream::iter([frame(message)]);
        let mut messages = self.open(path, &HeaderMap::new(), outgoing).await?;
        let answer = messages.next().await?;
        let none = || Status::new(Code::Internal, format!("{path} gave no answer"));
        let answer = answer.ok_or_else(none)?;
        // What follows is the status.
        while messages.next::<M>().await?.is_some() {}
        Ok(answer)
    }

    /// Opens a stream both ways; what is sent is framed already.
    ///
    /// # Errors
    /// The other side's status, or that it is gone.
    pub async fn open(
        &self,
        path: &'static str,
        metadata: &HeaderMap,
        outgoing: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Messages, Status> {
        let frames = outgoing.map(|data| Ok::<_, Infallible>(Frame::data(data)));
        let mut request = Request::post(format!("http://localhost{path}"))
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .body(StreamBody::new(frames).boxed_unsync())
            .map_err(|error| Status::new(Code::Internal, error.to_string()))?;
        let headers = request.headers_mut();
        headers.extend(metadata.clone());
        headers.insert("user-agent", HeaderValue::from_static("hoist"));
        let gone = |error: hyper::Error| {
            Status::new(
                Code::Unavailable,
                format!("the client's session is gone: {error}"),
            )
        };
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(gone)?;
        let response = sender.send_request(request).await.map_err(gone)?;
        if response.status() != StatusCode::OK {
            let message = format!("{path} was answered with HTTP {}", response.status());
            return Err(Status::new(Code::Internal, message));
        }
        Status::from_headers(response.headers())?;
        Ok(Messages::new(response.into_body()))
    }
}
