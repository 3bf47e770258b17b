//! Attaching to containers, and the streams that attachments and execs hand to their clients.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use hoist_api::container::AttachOptions;
use hoist_api::error::{ApiError, Result};
use hoist_shim::protocol::RequestBody;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::logs::unreadable;
use super::{Service, convert, internal};
use crate::containers::{Container, PendingAttach};
use crate::logs::{self, Selection};
use crate::pipes::Pipe;
use crate::store::container::Status;

/// Streams of a process: what a client is connected to.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Closing it closes the process's standard input, where that was asked for.
    pub(crate) stdin: Option<Pipe>,
    /// Standard output; everything of a terminal.
    pub(crate) stdout: Option<Pipe>,
    pub(crate) stderr: Option<Pipe>,
    /// Output travels without frames.
    pub(crate) terminal: bool,
    /// What was written before, already encoded; read first.
    pub(crate) replay: Option<tokio::sync::mpsc::Receiver<bytes::Bytes>>,
    /// Held until the client has all the output: who waits for the container is answered only then.
    pub(crate) delivery: Option<TaskTrackerToken>,
}

impl Streams {
    /// No stream at all.
    pub(crate) fn none(terminal: bool) -> Self {
        Self {
            stdin: None,
            stdout: None,
            stderr: None,
            terminal,
            replay: None,
            delivery: None,
        }
    }
}

impl Service {
    /// A client has left a container by the detach keys.
    pub(crate) fn detached(&self, key: &str) {
        if let Ok(container) = self.containers.find(key) {
            self.emit(&container, "detach", []);
        }
    }

    /// Connects to a container's main process; before its start too.
    pub(crate) async fn attach(
        self: &Arc<Self>,
        key: &str,
        options: AttachOptions,
    ) -> Result<Streams> {
        let container = self.containers.find(key)?;
        let (terminal, open_stdin, status) = {
            let record = container.record();
            let config = &record.config;
            (config.tty, config.open_stdin, record.run.status)
        };
        if status == Status::Paused {
            return Err(ApiError::conflict(format!(
                "container {key} is paused, unpause the container before attach"
            )));
        }
        if status == Status::Restarting {
            return Err(ApiError::conflict(format!(
                "container {key} is restarting, wait until the container is running"
            )));
        }
        let mut streams = Streams::none(terminal);
        if options.logs {
            let selection = Selection {
                stdout: options.stdout,
                stderr: options.stderr,
                raw: terminal,
                ..Selection::default()
            };
            let replay = logs::follow::read(self.log_path(container.id()), selection, None).await;
            streams.replay = Some(replay.map_err(|error| unreadable(key, &error))?);
        }
        if !options.stream {
            return Ok(streams);
        }
        let wanted = [
            options.stdin && open_stdin,
            options.stdout,
            options.stderr && !terminal,
        ];
        let descriptors = open_pipes(&mut streams, wanted).map_err(|error| internal(&error))?;
        let request = RequestBody::Attach {
            stdin: wanted[0],
            stdout: wanted[1],
            stderr: wanted[2],
        };
        self.attach_streams(&container, request, descriptors)
            .await?;
        streams.delivery = (options.stdout || options.stderr).then(|| container.delivering.token());
        self.emit(&container, "attach", []);
        Ok(streams)
    }

    /// Hands the other ends to the shim, now or at the start.
    async fn attach_streams(
        self: &Arc<Self>,
        container: &Container,
        request: RequestBody,
        descriptors: Vec<OwnedFd>,
    ) -> Result<()> {
        let shim = {
            let mut live = container.live();
            match &live.shim {
                Some(shim) => shim.clone(),
                None => {
                    live.attach.push(PendingAttach {
                        request,
                        descriptors,
                    });
                    return Ok(());
                }
            }
        };
        shim.call(request, descriptors)
            .await
            .map(drop)
            .map_err(|error| convert::shim_error(&error))
    }
}

/// Makes the pipes that are wanted, for input, output and errors; returns the ends of the other side.
fn open_pipes(streams: &mut Streams, wanted: [bool; 3]) -> std::io::Result<Vec<OwnedFd>> {
    let mut descriptors = Vec::new();
    if wanted[0] {
        let (ours, theirs) = Pipe::writer()?;
        streams.stdin = Some(ours);
        descriptors.push(theirs);
    }
    for (slot, wanted) in [
        (&mut streams.stdout, wanted[1]),
        (&mut streams.stderr, wanted[2]),
    ] {
        if wanted {
            let (ours, theirs) = Pipe::reader()?;
            *slot = Some(ours);
            descriptors.push(theirs);
        }
    }
    Ok(descriptors)
}
