//! Logs for clients.

use std::sync::Arc;

use bytes::Bytes;
use hoist_api::container::LogsOptions;
use hoist_api::error::{ApiError, ErrorKind, Result};
use tokio::sync::mpsc;

use super::Service;
use crate::logs::{self, Selection};
use crate::times::parse_time;

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
    pub(crate) fn logs(self: &Arc<Self>, key: &str, options: &LogsOptions) -> Result<Reading> {
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
        };
        let running = container.is_running();
        let follow =
            (options.follow && running).then(|| (self.log_watcher.clone(), container.watch_log()));
        let pieces = logs::follow::read(self.log_path(container.id()), selection, follow);
        Ok(Reading {
            pieces,
            terminal: record.config.tty,
        })
    }
}
