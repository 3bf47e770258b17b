//! The multiplexed stream of containers without a terminal: an 8-byte header `[stream, 0, 0, 0, length: u32 big-endian]`
//! before each chunk (Docker Engine API, "Attach to a container"). With a terminal the bytes travel raw.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// Longest frame accepted: a peer that announces more is not speaking this protocol.
pub const MAX_FRAME: usize = 64 << 20;

const HEADER: usize = 8;

/// Where bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard input, echoed back; engines hardly use it.
    Stdin,
    /// Standard output, and everything of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A chunk of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which stream it belongs to.
    pub stream: Stream,
    /// The bytes as the process wrote them.
    pub data: Bytes,
}

/// The stream is not a sequence of frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first byte of a header names no stream. The engine writes 3 there for an error of its own.
    #[error("unknown stream {0} in a frame header")]
    UnknownStream(u8),
    /// The header announces more than [`MAX_FRAME`] bytes.
    #[error("a frame of {0} bytes is longer than the limit")]
    TooLong(usize),
}

/// Writes one frame.
#[must_use]
pub fn encode(stream: Stream, data: &[u8]) -> Bytes {
    let mut buffer = BytesMut::with_capacity(HEADER + data.len());
    encode_into(&mut buffer, stream, data);
    buffer.freeze()
}

/// Appends one frame to a buffer.
pub fn encode_into(buffer: &mut BytesMut, stream: Stream, data: &[u8]) {
    let number = match stream {
        Stream::Stdin => 0,
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    };
    buffer.put_slice(&[number, 0, 0, 0]);
    // Callers' chunks are far below 4 GiB; a longer one would be cut into several frames first.
    buffer.put_u32(u32::try_from(data.len()).unwrap_or(u32::MAX));
    buffer.put_slice(data);
}

/// Cuts a byte stream into frames, whatever the sizes of the pieces that arrive.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    raw: bool,
}

impl Decoder {
    /// For a multiplexed stream.
    #[must_use]
    pub fn multiplexed() -> Self {
        Self {
            buffer: BytesMut::new(),
            raw: false,
        }
    }

    /// For a raw stream: every piece is a frame of standard output.
    #[must_use]
    pub fn raw() -> Self {
        Self {
            buffer: BytesMut::new(),
            raw: true,
        }
    }

    /// Takes in what arrived.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole frame; `None` until more arrives.
    ///
    /// # Errors
    /// When the stream is not a sequence of frames.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.raw {
            if self.buffer.is_empty() {
                return Ok(None);
            }
            return Ok(Some(Frame {
                stream: Stream::Stdout,
                data: self.buffer.split().freeze(),
            }));
        }
        if self.buffer.len() < HEADER {
            return Ok(None);
        }
        let stream = match self.buffer[0] {
            0 => Stream::Stdin,
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            other => return Err(FrameError::UnknownStream(other)),
        };
        let length = u32::from_be_bytes([
            self.buffer[4],
            self.buffer[5],
            self.buffer[6],
            self.buffer[7],
        ]) as usize;
        if length > MAX_FRAME {
            return Err(FrameError::TooLong(length));
        }
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        Ok(Some(Frame {
            stream,
            data: self.buffer.split_to(length).freeze(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cutting() {
        let mut wire = BytesMut::new();
        encode_into(&mut wire, Stream::Stdout, b"one\n");
        encode_into(&mut wire, Stream::Stderr, b"");
        encode_into(&mut wire, Stream::Stderr, b"two");
        for size in 1..wire.len() {
            let mut decoder = Decoder::multiplexed();
            let mut frames = Vec::new();
            for piece in wire.chunks(size) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    frames.push((frame.stream, frame.data.to_vec()));
                }
            }
            let expected = [
                (Stream::Stdout, b"one\n".to_vec()),
                (Stream::Stderr, Vec::new()),
                (Stream::Stderr, b"two".to_vec()),
            ];
            assert_eq!(frames, expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_stream_that_is_not_framed_is_refused() {
        let mut decoder = Decoder::multiplexed();
        decoder.push(b"hello, world");
        assert_eq!(decoder.next_frame(), Err(FrameError::UnknownStream(b'h')));
        let mut decoder = Decoder::multiplexed();
        decoder.push(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(0xffff_ffff)));
    }
}
