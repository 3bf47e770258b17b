//! gRPC over HTTP/2, both sides, as much as BuildKit's protocol needs: single and streamed messages, no compression.

mod client;
mod server;
mod status;

pub use client::{Channel, ChannelError};
pub(crate) use server::{Body, Call, Service, respond, serve, stream};
pub use status::{Code, Status};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::HeaderMap;
use hyper::body::Incoming;
use prost::Message;

/// Longest message that is read; BuildKit's own limit.
const MAX_MESSAGE: usize = 16 << 20;
/// What may be on the way in one stream before the reader has taken it.
const STREAM_WINDOW: u32 = 2 << 20;
/// What may be on the way in all streams of a connection.
const CONNECTION_WINDOW: u32 = 8 << 20;

/// A message in its frame.
pub(crate) fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(length + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message
        .encode(&mut framed)
        .expect("the buffer grows as it is written");
    framed.freeze()
}

/// The messages of a body, one after the other.
#[derive(Debug)]
pub struct Messages {
    body: Incoming,
    buffer: BytesMut,
    /// The status at the end, when the body had one.
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl Messages {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            trailers: None,
            ended: false,
        }
    }

    /// The next message; none at the end.
    ///
    /// # Errors
    /// The other side's status, or what is wrong with the message.
    pub async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = take_frame(&mut self.buffer)? {
                let decoded = M::decode(message).map_err(|error| {
                    Status::new(Code::InvalidArgument, format!("malformed message: {error}"))
                })?;
                return Ok(Some(decoded));
            }
            if self.ended {
                return self.end().map(|()| None);
            }
            match self.body.frame().await {
                None => self.ended = true,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Some(Err(error)) => {
                    return Err(Status::new(
                        Code::Unavailable,
                        format!("the connection broke: {error}"),
                    ));
                }
            }
        }
    }

    fn end(&self) -> Result<(), Status> {
        if !self.buffer.is_empty() {
            return Err(Status::new(
                Code::InvalidArgument,
                "the stream ends within a message",
            ));
        }
        match &self.trailers {
            Some(trailers) => Status::from_headers(trailers),
            None => Ok(()),
        }
    }
}

/// Takes one whole frame from the front.
fn take_frame(buffer: &mut BytesMut) -> Result<Option<Bytes>, Status> {
    let Some(header) = buffer.get(..5) else {
        return Ok(None);
    };
    if header[0] != 0 {
        let message = "compressed messages are not read";
        return Err(Status::new(Code::Unimplemented, message));
    }
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
    if length > MAX_MESSAGE {
        let message = format!("message of {length} bytes: at most {MAX_MESSAGE} are read");
        return Err(Status::new(Code::ResourceExhausted, message));
    }
    if buffer.len() < 5 + length {
        return Ok(None);
    }
    buffer.advance(5);
    Ok(Some(buffer.split_to(length).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::control::StatusRequest;

    #[test]
    fn frames_are_taken_whole() {
        let message = StatusRequest {
            reference: "abc".to_owned(),
        };
        let framed = frame(&message);
        let mut buffer = BytesMut::new();
        for byte in &framed[..framed.len() - 1] {
            buffer.put_u8(*byte);
            assert_eq!(take_frame(&mut buffer).unwrap(), None);
        }
        buffer.put_u8(framed[framed.len() - 1]);
        let taken = take_frame(&mut buffer).unwrap().unwrap();
        assert_eq!(StatusRequest::decode(taken).unwrap(), message);
        assert!(buffer.is_empty());
    }

    #[test]
    fn bad_frames_are_refused() {
        let compressed = &[1, 0, 0, 0, 0][..];
        let huge = &[0, 0xff, 0xff, 0xff, 0xff][..];
        for (bytes, code) in [
            (compressed, Code::Unimplemented),
            (huge, Code::ResourceExhausted),
        ] {
            let error = take_frame(&mut BytesMut::from(bytes)).unwrap_err();
            assert_eq!(error.code, code);
        }
    }
}
