//! Progress of pulls and pushes, in Docker's words: one line for each change of a layer, and now and then how far it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hoist_api::image::{Progress, ProgressDetail};
use tokio::sync::mpsc;

/// Milliseconds between two lines that only count.
const INTERVAL: u64 = 100;

/// Tells a client, if it still listens.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    lines: mpsc::Sender<Progress>,
}

impl Reporter {
    pub(crate) fn new(lines: mpsc::Sender<Progress>) -> Self {
        Self { lines }
    }

    /// A line about something; `id` may be empty.
    pub(crate) async fn say(&self, id: &str, status: impl Into<String>) {
        self.send(Progress {
            id: id.to_owned(),
            status: status.into(),
            ..Progress::default()
        })
        .await;
    }

    /// A line as it is.
    pub(crate) async fn send(&self, line: Progress) {
        // A client that is gone is noticed by whoever runs the work.
        let _ = self.lines.send(line).await;
    }

    /// Ends when nobody listens any more.
    pub(crate) async fn closed(&self) {
        self.lines.closed().await;
    }

    /// Counts something of a known size.
    pub(crate) fn count(&self, id: &str, status: &str, total: u64) -> Counter {
        Counter {
            reporter: self.clone(),
            id: id.to_owned(),
            status: status.to_owned(),
            total,
            current: AtomicU64::new(0),
            begun: Instant::now(),
            told: AtomicU64::new(0),
        }
    }
}

/// How far something is.
#[derive(Debug)]
pub(crate) struct Counter {
    reporter: Reporter,
    id: String,
    status: String,
    total: u64,
    current: AtomicU64,
    begun: Instant,
    /// When it was told last, in milliseconds since the beginning.
    told: AtomicU64,
}

impl Counter {
    /// So much more.
    pub(crate) fn add(&self, count: u64) {
        let current = self.current.fetch_add(count, Ordering::Relaxed) + count;
        self.tell(current);
    }

    /// So much in all.
    pub(crate) fn set(&self, current: u64) {
        self.current.store(current, Ordering::Relaxed);
        self.tell(current);
    }

    fn tell(&self, current: u64) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if now < self.told.load(Ordering::Relaxed) + INTERVAL {
            return;
        }
        self.told.store(now, Ordering::Relaxed);
        let signed = |count: u64| i64::try_from(count).ok();
        let line = Progress {
            id: self.id.clone(),
            status: self.status.clone(),
            progress_detail: Some(ProgressDetail {
                current: signed(current),
                total: signed(self.total),
            }),
            ..Progress::default()
        };
        // A client that reads slowly must not slow the work down.
        let _ = self.reporter.lines.try_send(line);
    }
}
