//! The first line of a connection, made one that HTTP allows: people write `?filters={"label":["a"]}` for curl, and Docker's engine takes it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{self, AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// A connection of which something was read already.
#[derive(Debug)]
pub(crate) struct Begun<T> {
    read: Bytes,
    stream: T,
}

impl<T: AsyncRead + Unpin> Begun<T> {
    /// Reads the first line, of at most so many bytes, and puts what a URI cannot have into percent-encoding.
    ///
    /// # Errors
    /// The connection breaks.
    pub(crate) async fn read(mut stream: T, most: usize) -> io::Result<Self> {
        let mut read = BytesMut::with_capacity(1024);
        loop {
            let seen = read.len();
            let ended = stream.read_buf(&mut read).await? == 0;
            let end = read[seen..].iter().position(|byte| *byte == b'\n');
            if ended || end.is_some() || read.len() >= most {
                let end = end.map_or(read.len(), |end| seen + end);
                let read = match encoded(&read[..end]) {
                    Some(line) => [&line, &read[end..]].concat().into(),
                    None => read.freeze(),
                };
                return Ok(Self { read, stream });
            }
        }
    }
}

impl<T> Begun<T> {
    /// What was read and not handed on, and the connection.
    pub(crate) fn into_parts(self) -> (Bytes, T) {
        (self.read, self.stream)
    }
}

/// A line with every byte encoded that no URI has; none when there is none.
fn encoded(line: &[u8]) -> Option<Vec<u8>> {
    let strange = |byte: &u8| {
        matches!(
            byte,
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80..
        )
    };
    if !line.iter().any(strange) {
        return None;
    }
    let mut made = Vec::with_capacity(line.len() + 64);
    for byte in line {
        if strange(byte) {
            made.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            made.push(*byte);
        }
    }
    Some(made)
}

impl<T: AsyncRead + Unpin> AsyncRead for Begun<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..length]);
        self.read.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Begun<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(sent: &[u8], expected: &[u8]) {
        // One byte at a time: a line may come in pieces.
        let (mut client, server) = tokio::io::duplex(1);
        let sent = sent.to_vec();
        tokio::spawn(async move {
            let _ = io::AsyncWriteExt::write_all(&mut client, &sent).await;
        });
        let mut begun = Begun::read(server, 64).await.unwrap();
        let mut seen = Vec::new();
        begun.read_to_end(&mut seen).await.unwrap();
        assert_eq!(
            String::from_utf8_lossy(&seen),
            String::from_utf8_lossy(expected)
        );
    }

    #[tokio::test]
    async fn what_no_uri_has_is_encoded_in_the_first_line_alone() {
        check(
            b"GET /x?f={\"a\":[\"b\"]} HTTP/1.1\r\nX: {\"\r\n",
            b"GET /x?f=%7B%22a%22:[%22b%22]%7D HTTP/1.1\r\nX: {\"\r\n",
        )
        .await;
        check(
            b"GET /a%20b?c=d HTTP/1.1\r\n",
            b"GET /a%20b?c=d HTTP/1.1\r\n",
        )
        .await;
        check(b"GET /{", b"GET /%7B").await;
        check(&[b'a'; 200], &[b'a'; 200]).await;
    }
}
