//! Leaving HTTP: the raw connection of attach and exec start, both ways.
//!
//! With `Upgrade: tcp` the answer is `101 UPGRADED`; without it, as old clients ask, `200` with the stream as its body and the
//! request's body as standard input. The client's half-close ends standard input and leaves the output open.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use hoist_api::frame::{self, Stream};
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::pipes::Pipe;
use crate::service::attach::Streams;

const PIECE: usize = 32 << 10;
/// How long output may be silent after the process has ended while something that it left behind holds the other ends,
/// as with `exec … sh -c 'server &'`.
const SILENCE: Duration = Duration::from_secs(1);

/// The end of the process that the streams belong to. The output ends after it, so that what the client asks next is known,
/// and not long after it, whoever still holds the streams.
pub(crate) type Finish = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Connects a client to streams.
pub(crate) fn connect(mut request: Request, streams: Streams, finish: Option<Finish>) -> Response {
    let content_type = content_type(streams.terminal);
    let upgrades = request
        .headers()
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case("tcp"));
    if !upgrades {
        return plain(request, streams, finish, content_type);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let (read, write) = tokio::io::split(TokioIo::new(upgraded));
                relay(read, write, streams, finish).await;
            }
            Err(error) => tracing::debug!(%error, "a client did not upgrade"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response
        .extensions_mut()
        .insert(ReasonPhrase::from_static(b"UPGRADED"));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
    response
}

/// What the stream is.
pub(crate) fn content_type(terminal: bool) -> HeaderValue {
    HeaderValue::from_static(if terminal {
        "application/vnd.docker.raw-stream"
    } else {
        "application/vnd.docker.multiplexed-stream"
    })
}

fn plain(
    request: Request,
    mut streams: Streams,
    finish: Option<Finish>,
    content_type: HeaderValue,
) -> Response {
    if let Some(stdin) = streams.stdin.take() {
        tokio::spawn(async move {
            let mut stdin = stdin;
            let mut body = request.into_body().into_data_stream();
            while let Some(Ok(piece)) = body.next().await {
                if stdin.write_all(&piece).await.is_err() {
                    return;
                }
            }
        });
    }
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        gather(streams, sender).await;
        if let Some(finish) = finish {
            finish.await;
        }
    });
    let mut response = Response::new(body_of(receiver));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// A body of pieces as they come.
pub(crate) fn body_of(receiver: mpsc::Receiver<Bytes>) -> Body {
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        receiver
            .recv()
            .await
            .map(|piece| (Ok::<_, std::convert::Infallible>(piece), receiver))
    });
    Body::from_stream(pieces)
}

async fn relay(
    read: impl AsyncRead + Unpin + Send + 'static,
    mut write: impl AsyncWrite + Unpin,
    mut streams: Streams,
    finish: Option<Finish>,
) {
    let stdin = streams.stdin.take();
    let has_output =
        streams.stdout.is_some() || streams.stderr.is_some() || streams.replay.is_some();
    let (gone, mut client_gone) = mpsc::channel::<()>(1);
    let input = tokio::spawn(feed(read, stdin, gone));
    let (sender, mut receiver) = mpsc::channel(4);
    let gathering = tokio::spawn(gather(streams, sender));
    let waits = finish.is_some();
    let mut finish = finish.unwrap_or_else(|| Box::pin(std::future::pending()));
    let mut finished = false;
    loop {
        let piece = tokio::select! {
            piece = receiver.recv() => piece,
            () = &mut finish, if !finished => {
                finished = true;
                continue;
            }
            () = tokio::time::sleep(SILENCE), if finished => None,
            _ = client_gone.recv(), if !has_output => None,
        };
        let Some(piece) = piece else { break };
        if write.write_all(&piece).await.is_err() {
            break;
        }
    }
    gathering.abort();
    if waits && !finished {
        finish.await;
    }
    // The client may be gone already.
    let _ = write.shutdown().await;
    input.abort();
}

/// Passes the client's bytes on; at their end standard input is closed with the pipe.
async fn feed(mut read: impl AsyncRead + Unpin, stdin: Option<Pipe>, gone: mpsc::Sender<()>) {
    if let Some(mut stdin) = stdin {
        let mut buffer = vec![0; PIECE];
        while let Ok(length) = read.read(&mut buffer).await {
            if length == 0 || stdin.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    } else {
        // Nothing to feed: what the client sends is read, so that its end is seen.
        let mut buffer = [0; 512];
        while matches!(read.read(&mut buffer).await, Ok(length) if length > 0) {}
    }
    let _ = gone.send(()).await;
}

/// Brings all output into one channel, framed unless it is a terminal's.
async fn gather(streams: Streams, sender: mpsc::Sender<Bytes>) {
    let Streams {
        stdout,
        stderr,
        terminal,
        replay,
        ..
    } = streams;
    if let Some(mut replay) = replay {
        while let Some(piece) = replay.recv().await {
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    }
    let pump = |pipe: Option<Pipe>, stream: Stream| {
        let sender = sender.clone();
        async move {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = vec![0; PIECE];
            while let Ok(length) = pipe.read(&mut buffer).await {
                if length == 0 {
                    return;
                }
                let piece = if terminal {
                    Bytes::copy_from_slice(&buffer[..length])
                } else {
                    let mut framed = BytesMut::with_capacity(length + 8);
                    frame::encode_into(&mut framed, stream, &buffer[..length]);
                    framed.freeze()
                };
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::join!(pump(stdout, Stream::Stdout), pump(stderr, Stream::Stderr));
}
