//! Leaving HTTP: the raw connection of attach and exec start, both ways.
//!
//! With `Upgrade: tcp` the answer is `101 UPGRADED`; without it, as old clients ask, `200` with the stream as its body and the
//! request's body as standard input. The client's half-close ends standard input and leaves the output open. The sequence of detach
//! keys on a terminal's input ends the connection and leaves the process running.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use hoist_api::frame::{self, Stream};
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::detach::DetachKeys;
use super::first_line::Begun;
use crate::pipes::Pipe;
use crate::service::attach::Streams;

/// What the streams of a terminal are called, and Docker's answer to an attach that fails.
pub(crate) const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
const PIECE: usize = 32 << 10;
/// How long output may be silent after the process has ended while something that it left behind holds the other ends,
/// as with `exec … sh -c 'server &'`.
const SILENCE: Duration = Duration::from_secs(1);
/// docker-py and Ruby's docker-api read the headers through a buffer and go on behind its back: they lose what comes in one read
/// with them. They have always had the time that Docker's engine takes to start a process. On a unix socket it has until it has read them besides.
const READS_AHEAD: Duration = Duration::from_millis(40);
/// So long a client that does not read its headers holds back a process's streams.
const READS_HEADERS: Duration = Duration::from_secs(10);

/// Something that happens once the client has its headers.
pub(crate) type Later<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

/// A process to connect a client with.
pub(crate) struct Connection {
    /// How long the client needs for the headers alone.
    pub(crate) pause: Duration,
    /// It has a terminal.
    pub(crate) terminal: bool,
    /// Output travels without frames.
    pub(crate) raw: bool,
    /// Its streams. They may become known only after the headers: what a process says at once must not overtake them.
    pub(crate) streams: Later<Streams>,
    /// The end of the process that the streams belong to. The output ends after it, so that what the client asks next is known,
    /// and not long after it, whoever still holds the streams.
    pub(crate) finish: Option<Later<()>>,
    /// What the output's end is held back for, once it has come.
    pub(crate) settled: Option<Later<()>>,
    /// What detaches, of terminals.
    pub(crate) keys: DetachKeys,
    /// Runs when the keys were typed.
    pub(crate) detached: Box<dyn FnOnce() + Send>,
}

/// How long a client needs for the headers alone.
pub(crate) fn pause(headers: &HeaderMap) -> Duration {
    let agent = headers.get(header::USER_AGENT);
    let agent = agent
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default();
    let reads_ahead = [
        "docker-sdk-python/",
        "tc-python/",
        "python-requests/",
        "Swipely/Docker-API",
    ];
    if reads_ahead.iter().any(|known| agent.starts_with(known)) {
        READS_AHEAD
    } else {
        Duration::ZERO
    }
}

/// Connects a client to a process.
pub(crate) fn connect(mut request: Request, mut connection: Connection) -> Response {
    let content_type = content_type(connection.raw);
    let upgrades = request
        .headers()
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case("tcp"));
    if !upgrades {
        return plain(request, connection, content_type);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => match upgraded.downcast::<TokioIo<Begun<UnixStream>>>() {
                Ok(parts) => {
                    let (first, stream) = parts.io.into_inner().into_parts();
                    if !connection.pause.is_zero() {
                        tokio::time::sleep(connection.pause).await;
                        connection.pause = Duration::ZERO;
                        headers_are_read(&stream).await;
                    }
                    let (read, write) = stream.into_split();
                    let read = std::io::Cursor::new(parts.read_buf)
                        .chain(std::io::Cursor::new(first))
                        .chain(read);
                    relay(read, write, connection).await;
                }
                Err(upgraded) => {
                    let (read, write) = tokio::io::split(TokioIo::new(upgraded));
                    relay(read, write, connection).await;
                }
            },
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

/// Waits until the client has taken the headers from its socket.
async fn headers_are_read(stream: &UnixStream) {
    let taken = async {
        while !hoist_kernel::scm::is_all_read(stream).unwrap_or(true) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    // A client that does not read gets its streams all the same.
    let _ = tokio::time::timeout(READS_HEADERS, taken).await;
}

/// What the stream is.
pub(crate) fn content_type(terminal: bool) -> HeaderValue {
    HeaderValue::from_static(if terminal {
        RAW_STREAM
    } else {
        "application/vnd.docker.multiplexed-stream"
    })
}

fn plain(request: Request, connection: Connection, content_type: HeaderValue) -> Response {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut streams = connection.streams.await;
        if let Some(mut stdin) = streams.stdin.take() {
            tokio::spawn(async move {
                let mut body = request.into_body().into_data_stream();
                while let Some(Ok(piece)) = body.next().await {
                    if stdin.write_all(&piece).await.is_err() {
                        return;
                    }
                }
            });
        }
        // The answer ends with the last sender: after the process, so that its exit code is known to who asks next.
        let held = sender.clone();
        gather(streams, sender).await;
        if let Some(finish) = connection.finish {
            finish.await;
        }
        if let Some(settled) = connection.settled {
            settled.await;
        }
        drop(held);
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

/// Joins a client's connection and a process until one of them ends.
pub(crate) async fn relay(
    read: impl AsyncRead + Unpin + Send + 'static,
    mut write: impl AsyncWrite + Unpin,
    connection: Connection,
) {
    let Connection {
        pause,
        terminal,
        raw: _,
        streams,
        finish,
        settled,
        keys,
        detached,
    } = connection;
    tokio::time::sleep(pause).await;
    let mut streams = streams.await;
    let stdin = streams.stdin.take();
    let delivery = streams.delivery.take();
    let has_output =
        streams.stdout.is_some() || streams.stderr.is_some() || streams.replay.is_some();
    let (gone, mut client_gone) = mpsc::channel::<Left>(1);
    // They end with this, however it ends.
    let (mut input, mut gathering) = (JoinSet::new(), JoinSet::new());
    input.spawn(feed(read, stdin, terminal.then_some(keys), gone));
    let (sender, mut receiver) = mpsc::channel(4);
    gathering.spawn(gather(streams, sender));
    let waits = finish.is_some();
    let mut finish = finish.unwrap_or_else(|| Box::pin(std::future::pending()));
    let (mut finished, mut left) = (false, false);
    loop {
        let piece = tokio::select! {
            piece = receiver.recv(), if has_output => piece,
            () = &mut finish, if !finished => {
                finished = true;
                continue;
            }
            () = tokio::time::sleep(SILENCE), if finished => None,
            how = client_gone.recv(), if !left => {
                left = true;
                match how {
                    Some(Left::Detached) => {
                        detached();
                        gathering.abort_all();
                        // The client may be gone already.
                        let _ = write.shutdown().await;
                        return;
                    }
                    // Half-closed: the output goes on, where there is any.
                    _ if has_output => continue,
                    _ => None,
                }
            }
        };
        let Some(piece) = piece else { break };
        if write.write_all(&piece).await.is_err() {
            break;
        }
    }
    gathering.abort_all();
    if waits && !finished {
        finish.await;
    }
    if let Some(settled) = settled {
        settled.await;
    }
    let _ = write.shutdown().await;
    // All of it is written, and what follows waits for those that have not got it.
    drop(delivery);
}

/// How a client's input ended.
enum Left {
    /// It was closed, or the process takes no more.
    Closed,
    /// The detach keys were typed.
    Detached,
}

/// Passes the client's bytes on; at their end standard input is closed with the pipe.
async fn feed(
    mut read: impl AsyncRead + Unpin,
    stdin: Option<Pipe>,
    mut keys: Option<DetachKeys>,
    gone: mpsc::Sender<Left>,
) {
    let mut left = Left::Closed;
    if let Some(mut stdin) = stdin {
        let mut buffer = vec![0; PIECE];
        while let Ok(length) = read.read(&mut buffer).await {
            let typed = &buffer[..length];
            let passed = match keys.as_mut().map(|keys| keys.pass(typed)) {
                Some(None) => {
                    left = Left::Detached;
                    break;
                }
                Some(Some(passed)) => std::borrow::Cow::Owned(passed),
                None => std::borrow::Cow::Borrowed(typed),
            };
            if length == 0 || stdin.write_all(&passed).await.is_err() {
                break;
            }
        }
    } else {
        // Nothing to feed: what the client sends is read, so that its end is seen.
        let mut buffer = [0; 512];
        while matches!(read.read(&mut buffer).await, Ok(length) if length > 0) {}
    }
    // Nobody listens when the output has ended before.
    let _ = gone.send(left).await;
}

/// Brings all output into one channel, framed unless it is a terminal's.
pub(crate) async fn gather(streams: Streams, sender: mpsc::Sender<Bytes>) {
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
            // Only while something is to be read: an idle follower holds no buffer.
            while pipe.readable().await.is_ok() {
                let mut buffer = vec![0; PIECE];
                let length = match pipe.read(&mut buffer).await {
                    Ok(length) if length > 0 => length,
                    _ => return,
                };
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
