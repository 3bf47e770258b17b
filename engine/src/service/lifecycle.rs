//! Stopping, killing, pausing, renaming, waiting.

use std::sync::Arc;
use std::time::Duration;

use hoist_api::container::{WaitCondition, WaitResponse};
use hoist_api::engine::{StopOptions, TerminalSize};
use hoist_api::error::{ApiError, ErrorKind, Result};
use hoist_shim::protocol::{RequestBody, SignalTarget, TerminalTarget};
use tokio::sync::watch;

use super::start::Cause;
use super::{Service, internal};
use crate::containers::{Container, Phase};
use crate::names;
use crate::store::container::Status;

/// Seconds between the stop signal and the end by force, unless the container or the caller says otherwise.
const GRACE: i64 = 10;
/// How long the news of a container's end may take after its shim has no process any more.
const ENDS_BY_ITSELF: Duration = Duration::from_secs(2);
/// How long the kernel may take to end what was killed.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// How long those attached may take to get the last output before a wait is answered without them.
const DELIVERY: Duration = Duration::from_secs(1);
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The number of a signal given by name, with or without `SIG`, or by number; also `RTMIN+n` and `RTMAX-n`.
pub(super) fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |text: &str| {
        if text.is_empty() {
            Some(0)
        } else {
            text[1..].parse::<i32>().ok()
        }
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        34 + offset(rest)?
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        64 - offset(rest)?
    } else {
        SIGNALS.iter().find(|(known, _)| *known == name)?.1
    };
    (1..=64).contains(&number).then_some(number)
}

fn parse_signal(text: &str) -> Result<i32> {
    signal_number(text).ok_or_else(|| ApiError::bad_request(format!("Invalid signal: {text}")))
}

impl Service {
    /// Asks a container to stop and waits for its end.
    pub(crate) async fn stop(self: &Arc<Self>, key: &str, options: &StopOptions) -> Result<()> {
        let container = self.containers.find(key)?;
        let _operation = container.operation.lock().await;
        self.stop_locked(&container, options).await
    }

    /// Stops it; the caller holds its operation lock.
    pub(super) async fn stop_locked(
        self: &Arc<Self>,
        container: &Arc<Container>,
        options: &StopOptions,
    ) -> Result<()> {
        let signal = {
            let record = container.record();
            match options.signal.as_deref().filter(|text| !text.is_empty()) {
                Some(text) => parse_signal(text)?,
                None => signal_number(&record.config.stop_signal).unwrap_or(SIGTERM),
            }
        };
        if self.cancel_restart(container) {
            return Ok(());
        }
        if !container.is_running() {
            return Err(ApiError::not_modified());
        }
        self.note_stopping(container);
        let grace = options
            .timeout
            .or(container.record().config.stop_timeout)
            .unwrap_or(GRACE);
        self.unpause_quietly(container).await;
        let mut phase = container.watch();
        if let Err(error) = self.signal_container(container, signal).await
            // It may have just ended by itself: then the news of it is on its way.
            && !ended_within(&mut phase, Some(ENDS_BY_ITSELF)).await
        {
            return Err(error);
        }
        let patience = u64::try_from(grace).ok().map(Duration::from_secs);
        if !ended_within(&mut phase, patience).await {
            self.end_by_force(container, &mut phase).await?;
        }
        self.emit(container, "stop", []);
        Ok(())
    }

    /// From now on its end is the user's will.
    fn note_stopping(&self, container: &Container) {
        container.record().run.stopped_by_user = true;
        container.live().stopping = true;
    }

    /// Ends a wait for the next start by policy; tells whether there was one.
    fn cancel_restart(&self, container: &Container) -> bool {
        let mut record = container.record();
        if record.run.status != Status::Restarting {
            return false;
        }
        record.run.status = Status::Exited;
        record.run.stopped_by_user = true;
        drop(record);
        if let Some(restart) = container.live().restart.take() {
            restart.abort();
        }
        container.announce(|phase| phase.restarting = false);
        self.save_now(container);
        true
    }

    /// SIGKILL to all of it, then a wait for the end.
    pub(super) async fn end_by_force(
        self: &Arc<Self>,
        container: &Arc<Container>,
        phase: &mut watch::Receiver<Phase>,
    ) -> Result<()> {
        if let Some(shim) = container.shim() {
            let request = RequestBody::Signal {
                target: SignalTarget::Everything,
                signal: SIGKILL,
            };
            // When it fails because the container has just ended, the wait below ends at once.
            if let Err(error) = shim.request(request).await {
                tracing::debug!(container = container.id(), %error, "killing a container");
            }
            self.emit(container, "kill", [("signal", SIGKILL.to_string())]);
        }
        if ended_within(phase, Some(KILL_PATIENCE)).await {
            return Ok(());
        }
        Err(ApiError::new(
            ErrorKind::Internal,
            format!(
                "container {} did not end within 10 seconds of SIGKILL",
                container.id()
            ),
        ))
    }

    async fn signal_container(
        self: &Arc<Self>,
        container: &Arc<Container>,
        signal: i32,
    ) -> Result<()> {
        let shim = container.shim().ok_or_else(|| container.not_running())?;
        let request = RequestBody::Signal {
            target: SignalTarget::Container,
            signal,
        };
        match shim.request(request).await {
            Ok(()) => {
                self.emit(container, "kill", [("signal", signal.to_string())]);
                Ok(())
            }
            Err(_) if !container.is_running() => Ok(()),
            Err(error) => Err(super::convert::shim_error(&error)),
        }
    }

    /// Sends a signal; empty: SIGKILL.
    pub(crate) async fn kill(self: &Arc<Self>, key: &str, signal: &str) -> Result<()> {
        let container = self.containers.find(key)?;
        let number = if signal.is_empty() {
            SIGKILL
        } else {
            parse_signal(signal)?
        };
        let stop_signal = signal_number(&container.record().config.stop_signal).unwrap_or(SIGTERM);
        let ends = number == SIGKILL || number == stop_signal;
        if container.record().run.status == Status::Restarting {
            // A start that has begun is waited for.
            let _operation = container.operation.lock().await;
            if container.record().run.status == Status::Restarting {
                // It has no process just now: what is meant to end it, ends its restarts.
                if ends {
                    self.cancel_restart(&container);
                }
                return Ok(());
            }
        }
        if !container.is_running() {
            let message = format!(
                "Cannot kill container: {key}: Container {} is not running",
                container.id()
            );
            return Err(ApiError::conflict(message));
        }
        if ends {
            self.note_stopping(&container);
        }
        if number == SIGKILL {
            self.unpause_quietly(&container).await;
        }
        let mut phase = container.watch();
        self.signal_container(&container, number).await?;
        if number == SIGKILL {
            ended_within(&mut phase, Some(KILL_PATIENCE)).await;
        }
        if ends && container.record().run.status == Status::Restarting {
            // It had ended by itself a moment before.
            let _operation = container.operation.lock().await;
            self.cancel_restart(&container);
        }
        Ok(())
    }

    /// Stops it when it runs, and starts it.
    pub(crate) async fn restart(self: &Arc<Self>, key: &str, options: &StopOptions) -> Result<()> {
        let container = self.containers.find(key)?;
        let _operation = container.operation.lock().await;
        match self.stop_locked(&container, options).await {
            Err(error) if !error.is(ErrorKind::NotModified) => return Err(error),
            _ => {}
        }
        match self.start_locked(&container, Cause::User).await {
            Err(error) if !error.is(ErrorKind::NotModified) => return Err(error),
            _ => {}
        }
        self.emit(&container, "restart", []);
        Ok(())
    }

    /// Freezes its processes.
    pub(crate) async fn pause(self: &Arc<Self>, key: &str) -> Result<()> {
        let container = self.containers.find(key)?;
        let _operation = container.operation.lock().await;
        match container.record().run.status {
            Status::Running => {}
            Status::Paused => {
                return Err(ApiError::conflict(format!(
                    "Container {} is already paused",
                    container.id()
                )));
            }
            _ => return Err(container.not_running()),
        }
        self.freeze(&container, true).await?;
        container.record().run.status = Status::Paused;
        self.save_now(&container);
        self.emit(&container, "pause", []);
        Ok(())
    }

    /// Thaws its processes.
    pub(crate) async fn unpause(self: &Arc<Self>, key: &str) -> Result<()> {
        let container = self.containers.find(key)?;
        let _operation = container.operation.lock().await;
        if container.record().run.status != Status::Paused {
            return Err(ApiError::conflict(format!(
                "Container {} is not paused",
                container.id()
            )));
        }
        self.unpause_locked(&container).await
    }

    async fn unpause_locked(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        self.freeze(container, false).await?;
        container.record().run.status = Status::Running;
        self.save_now(container);
        self.emit(container, "unpause", []);
        Ok(())
    }

    /// A frozen process gets no signal: before a stop it is thawed.
    async fn unpause_quietly(self: &Arc<Self>, container: &Arc<Container>) {
        if container.record().run.status != Status::Paused {
            return;
        }
        if let Err(error) = self.unpause_locked(container).await {
            tracing::warn!(container = container.id(), %error, "cannot thaw a container that is to stop");
        }
    }

    /// Writes the freezer of its control group: version 2's `cgroup.freeze`, or version 1's own hierarchy.
    pub(super) async fn freeze(
        self: &Arc<Self>,
        container: &Arc<Container>,
        frozen: bool,
    ) -> Result<()> {
        let group = {
            let record = container.record();
            let parent = record
                .host_config
                .cgroup_parent
                .trim_matches('/')
                .to_owned();
            let parent = if parent.is_empty() {
                self.config.cgroup_parent.clone()
            } else {
                parent
            };
            std::path::PathBuf::from(parent).join(record.id.as_str())
        };
        let freezer = self
            .machine
            .cgroups
            .v1
            .iter()
            .find(|hierarchy| hierarchy.controllers.iter().any(|name| name == "freezer"));
        let (file, value) = match (freezer, &self.machine.cgroups.v2) {
            (Some(hierarchy), _) => {
                let value = if frozen { "FROZEN" } else { "THAWED" };
                (
                    hierarchy.mount_point.join(group).join("freezer.state"),
                    value,
                )
            }
            (None, Some(tree)) => (
                tree.mount_point.join(group).join("cgroup.freeze"),
                if frozen { "1" } else { "0" },
            ),
            (None, None) => {
                return Err(ApiError::new(
                    ErrorKind::NotImplemented,
                    "this machine has no control group that freezes",
                ));
            }
        };
        self.blocking(move |_| std::fs::write(&file, value).map_err(|error| internal(&error)))
            .await
    }

    /// Gives it another name.
    pub(crate) async fn rename(self: &Arc<Self>, key: &str, name: &str) -> Result<()> {
        let container = self.containers.find(key)?;
        let name = name.strip_prefix('/').unwrap_or(name);
        if name.is_empty() {
            return Err(ApiError::bad_request(
                "Neither old nor new names may be empty",
            ));
        }
        let not_had = |mut error: ApiError| {
            error.message = format!("Error when allocating new name: {}", error.message);
            error
        };
        names::check_name(name).map_err(not_had)?;
        let _operation = container.operation.lock().await;
        let old = container.name();
        if old == name {
            return Err(ApiError::bad_request(
                "Renaming a container with the same name as its current name",
            ));
        }
        self.containers
            .reserve(name, container.id())
            .map_err(not_had)?;
        container.record().name = name.to_owned();
        let record = container.snapshot();
        if let Err(error) = self.blocking(move |service| service.save(&record)).await {
            container.record().name = old;
            self.containers.release(name);
            return Err(error);
        }
        self.containers.release(&old);
        self.renamed_in_networks(&container).await;
        self.emit(&container, "rename", [("oldName", format!("/{old}"))]);
        Ok(())
    }

    /// Sets its terminal's size.
    pub(crate) async fn resize(self: &Arc<Self>, key: &str, size: TerminalSize) -> Result<()> {
        let container = self.containers.find(key)?;
        let shim = container.shim().ok_or_else(|| container.not_running())?;
        if !container.record().config.tty {
            // Docker's engine takes it, too, and does nothing.
            return Ok(());
        }
        let size = hoist_kernel::pty::Size {
            rows: size.height,
            columns: size.width,
        };
        let request = RequestBody::Resize {
            target: TerminalTarget::Container,
            size,
        };
        shim.request(request)
            .await
            .map_err(|error| super::convert::shim_error(&error))?;
        self.emit(
            &container,
            "resize",
            [
                ("height", size.rows.to_string()),
                ("width", size.columns.to_string()),
            ],
        );
        Ok(())
    }

    /// A wait that has begun when this returns: nothing that happens later is missed.
    pub(crate) fn wait(&self, key: &str, condition: WaitCondition) -> Result<Waiting> {
        let container = self.containers.find(key)?;
        let phase = container.watch();
        let before = *phase.borrow();
        Ok(Waiting {
            container,
            phase,
            before,
            condition,
        })
    }
}

/// A wait for a container.
#[derive(Debug)]
pub(crate) struct Waiting {
    container: Arc<Container>,
    phase: watch::Receiver<Phase>,
    before: Phase,
    condition: WaitCondition,
}

impl Waiting {
    /// Ends when the condition holds and those attached have the output: a client that then takes what it was sent has everything.
    pub(crate) async fn finish(mut self) -> WaitResponse {
        let (before, condition) = (self.before, self.condition);
        let holds = move |phase: &Phase| {
            phase.removed
                || match condition {
                    // Also at an end after which it is started again.
                    WaitCondition::NotRunning => {
                        (!phase.running && !phase.restarting) || phase.exits > before.exits
                    }
                    WaitCondition::NextExit => phase.exits > before.exits,
                    WaitCondition::Removed => false,
                }
        };
        let phase = self
            .phase
            .wait_for(holds)
            .await
            .map(|phase| *phase)
            .unwrap_or(before);
        if phase.exits > 0 {
            // A client that does not read holds up nobody for long.
            let delivered = self.container.delivering.wait();
            let _ = tokio::time::timeout(DELIVERY, delivered).await;
        }
        WaitResponse {
            status_code: phase.exit_code,
            error: None,
        }
    }
}

/// Whether it ended in time; `None` waits for ever.
async fn ended_within(phase: &mut watch::Receiver<Phase>, patience: Option<Duration>) -> bool {
    let ended = phase.wait_for(|phase| !phase.running);
    match patience {
        None => ended.await.is_ok(),
        Some(patience) => tokio::time::timeout(patience, ended).await.is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read() {
        for (text, expected) in [
            ("TERM", Some(15)),
            ("sigquit", Some(3)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("RTMIN", Some(34)),
            ("0", None),
            ("65", None),
            ("NOPE", None),
            ("", None),
        ] {
            assert_eq!(signal_number(text), expected, "{text}");
        }
    }
}
