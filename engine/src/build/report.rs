//! Tells what a build does, and learns that nobody listens any more.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::PoisonError;

use hoist_api::build::{BuildEvent, BuildStep, BuildWarning};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

/// Lines of a failed step that are repeated with its error.
const LAST_LINES: usize = 20;

/// Where events go. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    events: mpsc::Sender<BuildEvent>,
    cancelled: watch::Receiver<bool>,
    /// The engine leaves.
    leaving: watch::Receiver<bool>,
}

impl Reporter {
    /// A reporter, and what is to be set to end the build.
    pub(crate) fn new(
        events: mpsc::Sender<BuildEvent>,
        leaving: watch::Receiver<bool>,
    ) -> (Self, watch::Sender<bool>) {
        let (cancel, cancelled) = watch::channel(false);
        let reporter = Self {
            events,
            cancelled,
            leaving,
        };
        (reporter, cancel)
    }

    /// Whether the build is given up.
    pub(crate) fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow() || *self.leaving.borrow() || self.events.is_closed()
    }

    /// Waits until the build is given up.
    pub(crate) async fn cancelled(&self) {
        let mut cancelled = self.cancelled.clone();
        let mut leaving = self.leaving.clone();
        tokio::select! {
            () = self.events.closed() => {}
            // A sender that is gone means that the build is over.
            _ = cancelled.wait_for(|cancelled| *cancelled) => {}
            _ = leaving.wait_for(|leaving| *leaving) => {}
        }
    }

    /// Tells something; nobody listening is no error.
    pub(crate) async fn tell(&self, event: BuildEvent) {
        let _ = self.events.send(event).await;
    }

    /// Tells something that a user should know; from a thread that may block.
    pub(crate) fn warn(&self, message: String) {
        let warning = BuildWarning {
            message,
            ..BuildWarning::default()
        };
        let _ = self.events.blocking_send(BuildEvent::Warning(warning));
    }

    pub(crate) async fn started(&self, step: BuildStep) {
        let at = now();
        self.tell(BuildEvent::Started { step, at }).await;
    }

    pub(crate) async fn done(&self, step: u32, cached: bool, error: &str) {
        let error = error.to_owned();
        let at = now();
        self.tell(BuildEvent::Done {
            step,
            cached,
            at,
            error,
        })
        .await;
    }
}

/// Unix time in microseconds.
fn now() -> i64 {
    Timestamp::now().as_microsecond()
}

/// The end of what a step printed.
#[derive(Debug, Default)]
pub(crate) struct Tail(Mutex<VecDeque<String>>);

impl Tail {
    /// Adds output, cut anywhere.
    pub(crate) fn push(&self, text: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in text.split_inclusive('\n') {
            match lines.back_mut() {
                Some(last) if !last.ends_with('\n') => last.push_str(piece),
                _ => lines.push_back(piece.to_owned()),
            }
            while lines.len() > LAST_LINES {
                lines.pop_front();
            }
        }
    }

    /// The last lines, without their ends.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .map(|line| line.trim_end_matches(['\n', '\r']).to_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_however_they_are_cut() {
        let tail = Tail::default();
        for number in 0..30 {
            tail.push(&format!("{number}"));
            tail.push("\r\n");
        }
        tail.push("end");
        let lines = tail.lines();
        assert_eq!(lines.len(), LAST_LINES);
        assert_eq!(lines[0], "11");
        assert_eq!(lines[19], "end");
    }
}
