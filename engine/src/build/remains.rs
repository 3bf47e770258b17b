//! Steps that a killed engine left running. They are no containers: nobody could use what they make.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use hoist_shim::client::Connection;
use hoist_shim::protocol::{Event, RequestBody, SignalTarget};

use crate::store;

/// In the state directory of a step's process, so that it is told from containers'.
pub(crate) const MARK: &str = "build";

/// Ends what still runs and removes its files; before the store is opened, which removes the layers that they were making.
pub(crate) fn clear(state: &Path) {
    for name in store::names(state).unwrap_or_default() {
        let directory = state.join(name);
        if !directory.join(MARK).exists() {
            continue;
        }
        end(&directory);
        if let Err(error) = store::remove_directory(&directory) {
            tracing::warn!(%error, "cannot remove the files of a step that an earlier engine left");
        }
    }
}

/// Without a shim nothing runs: its processes die with it.
fn end(directory: &Path) {
    let Some(mut connection) = File::open(directory)
        .ok()
        .and_then(|opened| Connection::open(opened.as_fd()).ok())
    else {
        return;
    };
    let kill = RequestBody::Signal {
        target: SignalTarget::Everything,
        signal: 9,
    };
    if connection.call(kill, Vec::new()).is_ok() {
        while let Ok(event) = connection.event() {
            if matches!(event, Event::Exited(_)) {
                break;
            }
        }
    }
    // It leaves by itself when it was never started.
    let _ = connection.call(RequestBody::Release, Vec::new());
}
