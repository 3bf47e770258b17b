//! A process's streams over a web socket: what is typed comes in messages, text or binary, output goes out in binary ones.

use axum::extract::ws::{Message, WebSocket};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;

use super::hijack::{self, Connection};

/// Bytes between the socket and the process.
const BUFFER: usize = 32 << 10;

/// Joins a client's web socket and a process until one of them ends.
pub(super) async fn relay(socket: WebSocket, connection: Connection) {
    let (mut out, mut messages) = socket.split();
    let (typed, mut input) = tokio::io::duplex(BUFFER);
    let (output, mut said) = tokio::io::duplex(BUFFER);
    let reading = async move {
        while let Some(Ok(message)) = messages.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Text(text) => text.into(),
                Message::Close(_) => break,
                Message::Ping(_) | Message::Pong(_) => continue,
            };
            if input.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    let writing = async {
        let mut pieces = tokio_util::io::ReaderStream::new(&mut said);
        while let Some(Ok(piece)) = pieces.next().await {
            if out.send(Message::Binary(piece)).await.is_err() {
                return;
            }
        }
        let _ = out.send(Message::Close(None)).await;
    };
    // A web socket has no half-close: whoever goes is gone.
    tokio::select! {
        _ = async { tokio::join!(hijack::relay(typed, output, connection), writing) } => {}
        () = reading => {}
    }
}
