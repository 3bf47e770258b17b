//! What a refused request goes on sending. A connection that is closed with bytes unread takes the answer with it: a client that is
//! still writing sees a broken pipe, and never why. So a refusal waits for the rest of its request, where that is short.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, SizeHint};

/// So many bytes are read, as Docker's engine reads them.
const MOST: usize = 256 << 10;
/// So long a client may take for them.
const PATIENCE: Duration = Duration::from_secs(1);

/// The rest of a request's body.
pub(super) struct Leftover(Option<Kept>);

/// A body that is there still when who got it has dropped it.
#[derive(Clone)]
struct Kept(Arc<Mutex<Body>>);

impl hyper::body::Body for Kept {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.size_hint()
    }
}

/// Keeps hold of a request's body. A client that expects to be asked for it first is not asked by this.
pub(super) fn keep(request: &mut Request) -> Leftover {
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return Leftover(None);
    }
    let kept = Kept(Arc::new(Mutex::new(std::mem::take(request.body_mut()))));
    *request.body_mut() = Body::new(kept.clone());
    Leftover(Some(kept))
}

impl Leftover {
    /// Reads it, within limits.
    pub(super) async fn read(self) {
        let Self(Some(mut body)) = self else { return };
        // Who reads it still reads it to its end. Two readers would take each other's wake-ups.
        if Arc::strong_count(&body.0) > 1 {
            return;
        }
        let reading = async {
            let mut read = 0;
            while read < MOST && !body.is_end_stream() {
                match body.frame().await {
                    Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
                    _ => return,
                }
            }
        };
        let _ = tokio::time::timeout(PATIENCE, reading).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_somebody_still_reads_is_left_to_them() {
        let endless =
            || Body::from_stream(futures_util::stream::pending::<Result<Bytes, axum::Error>>());
        let mut request = Request::new(endless());
        let left = keep(&mut request);
        let reader = request.into_body();
        let at_once = tokio::time::timeout(PATIENCE / 2, left.read());
        assert!(at_once.await.is_ok());
        drop(reader);
        // Nobody else does: it is waited for, and not for ever.
        let mut request = Request::new(endless());
        let left = keep(&mut request);
        drop(request);
        assert!(
            tokio::time::timeout(PATIENCE / 2, left.read())
                .await
                .is_err()
        );
    }
}
