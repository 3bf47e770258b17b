//! Answers that go on: frames of output, and JSON values one after the other.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio_util::io::ReaderStream;

use crate::engine::{Attached, FrameStream, ProgressStream};
use crate::error::{ApiError, ErrorKind, Result};
use crate::frame::Decoder;
use crate::image::Progress;

/// Longest JSON value in a stream.
const MAX_LINE: usize = 16 << 20;
/// Read at once from a raw connection.
const PIECE: usize = 32 << 10;

pub(super) fn broken(error: &(dyn std::error::Error + 'static)) -> ApiError {
    ApiError::new(
        ErrorKind::Unreachable,
        format!(
            "the engine's answer broke off: {}",
            crate::error::chain(error)
        ),
    )
}

/// The body's pieces as they come.
pub(super) fn pieces(response: Response<Incoming>) -> BoxStream<'static, Result<Bytes>> {
    response
        .into_body()
        .into_data_stream()
        .map_err(|error| broken(&error))
        .boxed()
}

/// What the content type says about framing; `None` where it does not tell (before API 1.42).
pub(super) fn is_multiplexed(response: &Response<Incoming>, version: (u16, u16)) -> Option<bool> {
    let content_type = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    match content_type {
        Some("application/vnd.docker.multiplexed-stream") => Some(true),
        Some("application/vnd.docker.raw-stream") if version >= (1, 42) => Some(false),
        _ => None,
    }
}

/// Cuts pieces into frames.
pub(super) fn frames(pieces: BoxStream<'static, Result<Bytes>>, multiplexed: bool) -> FrameStream {
    let decoder = if multiplexed {
        Decoder::multiplexed()
    } else {
        Decoder::raw()
    };
    stream::try_unfold((pieces, decoder), |(mut pieces, mut decoder)| async move {
        loop {
            if let Some(frame) = decoder.next_frame()? {
                return Ok(Some((frame, (pieces, decoder))));
            }
            match pieces.next().await {
                Some(piece) => decoder.push(&piece?),
                None => return Ok(None),
            }
        }
    })
    .boxed()
}

/// Cuts pieces into JSON values, one a line.
pub(super) fn json_lines<T: DeserializeOwned + Send + 'static>(
    pieces: BoxStream<'static, Result<Bytes>>,
) -> impl Stream<Item = Result<T>> + Send {
    stream::try_unfold(
        (pieces, BytesMut::new()),
        |(mut pieces, mut buffer)| async move {
            loop {
                if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                    let line = buffer.split_to(end + 1);
                    if line.trim_ascii().is_empty() {
                        continue;
                    }
                    return Ok(Some((read_value(&line)?, (pieces, buffer))));
                }
                if buffer.len() > MAX_LINE {
                    return Err(ApiError::new(
                        ErrorKind::Protocol,
                        "a line of the engine's answer is too long",
                    ));
                }
                match pieces.next().await {
                    Some(piece) => buffer.extend_from_slice(&piece?),
                    None if buffer.trim_ascii().is_empty() => return Ok(None),
                    None => {
                        let line = std::mem::take(&mut buffer);
                        return Ok(Some((read_value(&line)?, (pieces, buffer))));
                    }
                }
            }
        },
    )
}

fn read_value<T: DeserializeOwned>(line: &[u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|error| {
        ApiError::new(
            ErrorKind::Protocol,
            format!("cannot read a line of the engine's answer: {error}"),
        )
    })
}

/// Lines of progress; a failure in a line becomes an error.
pub(super) fn progress(pieces: BoxStream<'static, Result<Bytes>>) -> ProgressStream {
    json_lines::<Progress>(pieces)
        .map(|line| {
            let line = line?;
            if line.error.is_empty() && line.error_detail.is_none() {
                return Ok(line);
            }
            let message = line
                .error_detail
                .map(|detail| detail.message)
                .filter(|text| !text.is_empty());
            Err(ApiError::new(
                ErrorKind::Internal,
                message.unwrap_or(line.error),
            ))
        })
        .boxed()
}

/// Leaves HTTP: the raw connection both ways. An engine that does not upgrade gives output only.
pub(super) async fn attached(
    mut response: Response<Incoming>,
    multiplexed: bool,
) -> Result<Attached> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Attached {
            output: frames(pieces(response), multiplexed),
            input: Box::pin(tokio::io::sink()),
        });
    }
    let upgraded = hyper::upgrade::on(&mut response)
        .await
        .map_err(|error| broken(&error))?;
    let (read, write) = tokio::io::split(TokioIo::new(upgraded));
    let pieces = ReaderStream::with_capacity(read, PIECE)
        .map_err(|error: io::Error| broken(&error))
        .boxed();
    Ok(Attached {
        output: frames(pieces, multiplexed),
        input: Box::pin(write),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    async fn check(pieces: &'static [&'static str], expected: &[Value]) {
        let input = stream::iter(
            pieces
                .iter()
                .map(|piece| Ok(Bytes::from_static(piece.as_bytes()))),
        )
        .boxed();
        let values: Vec<Value> = json_lines(input).try_collect().await.unwrap();
        assert_eq!(values, expected);
    }

    #[tokio::test]
    async fn json_values_survive_any_cutting() {
        check(
            &["{\"a\":1}\r\n{\"b\"", ":2}\n", "\n"],
            &[json!({"a":1}), json!({"b":2})],
        )
        .await;
        check(&["{\"a\":1}"], &[json!({"a":1})]).await;
        check(&[], &[]).await;
    }

    #[tokio::test]
    async fn a_failure_in_progress_is_an_error() {
        let line = "{\"status\":\"x\"}\r\n{\"errorDetail\":{\"message\":\"disk full\"},\"error\":\"disk full\"}\r\n";
        let mut lines = progress(stream::iter([Ok(Bytes::from_static(line.as_bytes()))]).boxed());
        assert_eq!(lines.next().await.unwrap().unwrap().status, "x");
        assert_eq!(
            lines.next().await.unwrap().unwrap_err().message,
            "disk full"
        );
    }
}
