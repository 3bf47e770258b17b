//! Logs for clients.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hoist_api::container::LogsOptions;
use hoist_api::error::{ApiError, ErrorKind, Result};
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::Service;
use crate::logs::{self, Selection};
use crate::times::parse_time;

/// How long after its start a container's log is not read yet, unless it is followed. With Docker's engine a program has run for a
/// moment when the start is answered, and scripts that start something quick and read its log go by that.
const SETTLED: Duration = Duration::from_millis(100);

/// A log being read.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Encoded as the wire wants it.
    pub(crate) pieces: mpsc::Receiver<Bytes>,
    /// Without frames.
    pub(crate) terminal: bool,
}

impl Service {
    /// Reads a container's log.
    pub(crate) async fn logs(
        self: &Arc<Self>,
        key: &str,
        options: &LogsOptions,
    ) -> Result<Reading> {
        let container = self.containers.find(key)?;
        if !options.stdout && !options.stderr {
            return Err(ApiError::bad_request(
                "Bad parameters: you must choose at least one stream",
            ));
        }
        let record = container.snapshot();
        if record.host_config.log_config.driver == "none" {
            return Err(ApiError::new(
                ErrorKind::NotImplemented,
                "configured logging driver does not support reading",
            ));
        }
        let selection = Selection {
            stdout: options.stdout,
            stderr: options.stderr,
            timestamps: options.timestamps,
            tail: options.tail,
            since: parse_time(options.since.as_deref().unwrap_or_default())?,
            until: parse_time(options.until.as_deref().unwrap_or_default())?,
            raw: record.config.tty,
            details: options.details.then(|| logs::details::of(&record)),
        };
        let running = container.is_running();
        let young = record.run.started_at.and_then(|started| {
            let age = Timestamp::now().duration_since(started);
            SETTLED.checked_sub(Duration::try_from(age).unwrap_or_default())
        });
        if let Some(left) = young.filter(|_| running && !options.follow) {
            // The end of the container is the end of its output, too.
            let mut ended = container.watch_log();
            let _ = tokio::time::timeout(left, ended.wait_for(|ended| *ended)).await;
        }
        let follow =
            (options.follow && running).then(|| (self.log_watcher.clone(), container.watch_log()));
        let path = self.log_path(container.id());
        let pieces = logs::follow::read(path, selection, follow).await;
        let pieces = pieces.map_err(|error| unreadable(key, &error))?;
        Ok(Reading {
            pieces,
            terminal: record.config.tty,
        })
    }
}

/// A log that cannot be read.
pub(super) fn unreadable(key: &str, error: &std::io::Error) -> ApiError {
    let message = format!("cannot read the log of container {key}: {error}");
    ApiError::new(ErrorKind::Internal, message)
}
