//! Work whose pace a client sets: archives that are read and written.
//!
//! Each has a thread of its own, so that clients that are slow or stand still take none of those that everything else needs. How many
//! there are at once is bounded, and with them the memory for what was made and not yet read; further ones wait for their turn.

use std::sync::Arc;

use hoist_api::error::{ApiError, ErrorKind, Result};
use tokio::sync::{Semaphore, oneshot};

use super::internal;

/// Threads for clients. Each has some 300 KB of an archive in memory when its client stands still.
const MOST: usize = 1000;

/// The turns that there are.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    turns: Arc<Semaphore>,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(MOST)
    }
}

impl Pace {
    fn new(most: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(most)),
        }
    }

    /// Runs the work on a thread of its own, when there is one to be had. It is finished although the caller goes away then.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = self.turns.clone().acquire_owned().await;
        let turn = turn.map_err(|error| internal(&error))?;
        let (sender, done) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let run = move || {
            let _turn = turn;
            let _entered = runtime.enter();
            // Who waited may have gone.
            let _ = sender.send(work());
        };
        std::thread::Builder::new()
            .name("archive".to_owned())
            .spawn(run)
            .map_err(|error| {
                let message = format!("cannot start a thread for an archive: {error}");
                ApiError::new(ErrorKind::Unavailable, message)
            })?;
        done.await.map_err(|error| internal(&error))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn who_comes_when_all_turns_are_taken_waits() {
        let pace = Pace::new(2);
        let start = || {
            let (go, goes) = mpsc::channel::<()>();
            let pace = pace.clone();
            let task = tokio::spawn(async move {
                pace.run(move || {
                    // The sender's end is the sign as well.
                    let _ = goes.recv();
                    Ok(())
                })
                .await
            });
            (go, task)
        };
        let (first, second) = (start(), start());
        while pace.turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let waits = pace.clone();
        let third = tokio::spawn(async move { waits.run(|| Ok(3)).await });
        // A caller that goes away does not end the work, and the turn is only free when that has ended.
        second.1.abort();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!third.is_finished());
        drop(second.0);
        assert_eq!(third.await.unwrap().unwrap(), 3);
        drop(first.0);
        first.1.await.unwrap().unwrap();
    }
}
