//! Contexts that come in a call of their own, beside the build that is to have them: `docker build - < archive` with BuildKit, by clients
//! that have no buildx. The two calls come at the same time and name each other by `buildid`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use hoist_api::error::{ApiError, Result};
use tokio::sync::{mpsc, watch};

use crate::serve::images::pass_on;
use crate::service::images::PieceReader;

/// What such a build says its context is, and how the other call's name begins.
const REQUEST: &str = "upload-request";
/// How long each of the two calls waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pieces that wait for the disk.
const QUEUE: usize = 16;

/// Those that no build has taken yet.
#[derive(Debug, Clone)]
pub(crate) struct Uploads {
    waiting: Arc<Mutex<HashMap<String, PieceReader>>>,
    changes: watch::Sender<()>,
}

impl Default for Uploads {
    fn default() -> Self {
        Self {
            waiting: Arc::default(),
            changes: watch::Sender::new(()),
        }
    }
}

/// The build that a call brings its context for.
pub(super) fn offered(buildid: &str) -> Option<&str> {
    buildid.strip_prefix(REQUEST)?.strip_prefix(':')
}

/// Whether a build's context comes in another call.
pub(super) fn is_asked(remote: &str) -> bool {
    remote == REQUEST
}

/// Forgets what was not taken when its client goes.
struct Offer<'a> {
    uploads: &'a Uploads,
    build: &'a str,
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        self.uploads.lock().remove(self.build);
    }
}

impl Uploads {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, PieceReader>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a context until its build has read it.
    pub(super) async fn offer(&self, build: &str, body: Body) -> Result<()> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.lock()
            .insert(build.to_owned(), PieceReader::new(receiver));
        let _offer = Offer {
            uploads: self,
            build,
        };
        self.changes.send_replace(());
        let taken = self.until(|waiting| (!waiting.contains_key(build)).then_some(()));
        let nobody = || ApiError::bad_request("no build takes the context that was uploaded");
        taken.await.ok_or_else(nobody)?;
        pass_on(body, sender).await;
        Ok(())
    }

    /// The context of a build, when its call comes.
    pub(super) async fn take(&self, build: &str) -> Result<PieceReader> {
        let taken = self.until(|waiting| waiting.remove(build)).await;
        self.changes.send_replace(());
        taken.ok_or_else(|| ApiError::bad_request("the build's context was not uploaded"))
    }

    async fn until<T>(
        &self,
        mut look: impl FnMut(&mut HashMap<String, PieceReader>) -> Option<T>,
    ) -> Option<T> {
        let mut changes = self.changes.subscribe();
        let found = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = look(&mut self.lock()) {
                    return found;
                }
                // The sender lives as long as we do.
                let _ = changes.changed().await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_build_gets_its_upload_whichever_comes_first() {
        let uploads = Uploads::default();
        let build = offered("upload-request:b1").unwrap();
        assert!(is_asked("upload-request") && offered("b1").is_none());
        let body = Body::from("the archive");
        let (offered, taken) = tokio::join!(uploads.offer(build, body), async {
            let mut reader = uploads.take("b1").await.unwrap();
            let read = move || std::io::read_to_string(&mut reader).unwrap();
            tokio::task::spawn_blocking(read).await.unwrap()
        });
        offered.unwrap();
        assert_eq!(taken, "the archive");
        assert!(uploads.lock().is_empty());
    }
}
