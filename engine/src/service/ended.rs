//! What happens when a container ends: notes, clean-up, and what its restart policy says.

use std::sync::Arc;
use std::time::Duration;

use hoist_api::container::RemoveContainer;
use hoist_api::error::ErrorKind;
use hoist_shim::exit_record;
use hoist_shim::protocol::{Event, ExitRecord, RequestBody};
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;

use super::start::Cause;
use super::{Service, internal};
use crate::containers::{Container, mark_ended};
use crate::networking::join::STORED_PORTS;
use crate::shim::Shim;
use crate::store;
use crate::store::container::Status;
use crate::supervise::restart::{Ending, Policy};
use crate::times;

/// How long a client that does not read may hold back the news of an end.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// Exit code noted for a container whose end nobody saw.
pub(super) const UNSEEN: i32 = 255;

impl Service {
    /// Follows a shim until its container has ended.
    pub(super) async fn follow_shim(
        self: Arc<Self>,
        container: Arc<Container>,
        shim: Shim,
        mut events: UnboundedReceiver<Event>,
    ) {
        let process = container.live().process.take();
        while let Some(event) = events.recv().await {
            match event {
                Event::Exited(exit) => {
                    // Its ports are free by the time that anybody hears of the end.
                    let name = STORED_PORTS.to_owned();
                    let _ = shim.request(RequestBody::DropFds { name }).await;
                    self.ended(&container, &exit).await;
                    // The shim leaves now; when it has gone already, all the better.
                    let _ = shim.request(RequestBody::Release).await;
                    return;
                }
                Event::ExecExited { id, code } => self.exec_ended(&id, code),
                Event::OutOfMemory => self.emit(&container, "oom", []),
            }
        }
        let exit = self.exit_without_shim(&container).await;
        self.ended(&container, &exit).await;
        drop(process);
    }

    /// The end of a container whose shim is gone: as its exit record tells, else unseen.
    pub(super) async fn exit_without_shim(self: &Arc<Self>, container: &Container) -> ExitRecord {
        let directory = self.config.container_state(container.id());
        let record = self
            .blocking(move |_| exit_record::read(&directory).map_err(|error| internal(&error)))
            .await;
        match record {
            Ok(Some(exit)) => return exit,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(container = container.id(), %error, "how it ended is not known");
            }
        }
        let nanoseconds = |time: Timestamp| {
            hoist_shim::protocol::Timestamp(i64::try_from(time.as_nanosecond()).unwrap_or_default())
        };
        let started = container
            .record()
            .run
            .started_at
            .unwrap_or_else(Timestamp::now);
        ExitRecord {
            code: UNSEEN,
            signal: None,
            out_of_memory: false,
            started_at: nanoseconds(started),
            finished_at: nanoseconds(Timestamp::now()),
        }
    }

    /// Notes the end of a run. Clean-up comes before the status changes, so that a new run cannot meet the old one's remains.
    pub(super) async fn ended(self: &Arc<Self>, container: &Arc<Container>, exit: &ExitRecord) {
        if let Some(health) = container.live().health.take() {
            health.abort();
        }
        container.set_log_ended(true);
        self.execs_ended(container.id());
        self.leave(container).await;
        let directory = self.config.container_state(container.id());
        let cleaned = self
            .blocking(move |_| {
                store::remove_directory(&directory).map_err(|error| internal(&error))
            })
            .await;
        if let Err(error) = cleaned {
            tracing::warn!(container = container.id(), %error, "cannot remove the files of a run");
        }
        let delay = self.note_end(container, exit);
        self.save_now(container);
        container.announce(|phase| phase.noted += 1);
        // Output and its end come before the news of the end: Docker Compose leaves at those, whatever it has not got by then.
        let _ = tokio::time::timeout(LAST_WORDS, container.delivering.wait()).await;
        let code = i64::from(exit.code);
        self.emit(
            container,
            "die",
            [
                ("exitCode", exit.code.to_string()),
                ("execDuration", duration(exit).as_secs().to_string()),
            ],
        );
        self.emit_volume_use("unmount", container);
        container.announce(|phase| {
            phase.running = false;
            phase.restarting = delay.is_some();
            phase.exits += 1;
            phase.exit_code = code;
        });
        match delay {
            Some(delay) => self.restart_later(container, delay),
            None if container.record().host_config.auto_remove => self.auto_remove_later(container),
            None => {}
        }
    }

    /// Changes the record; tells how long to wait before the next run, if there is to be one.
    fn note_end(&self, container: &Container, exit: &ExitRecord) -> Option<Duration> {
        let mut record = container.record();
        let mut live = container.live();
        live.shim = None;
        mark_ended(
            &mut record,
            i64::from(exit.code),
            times::from_nanoseconds(exit.finished_at.0),
        );
        record.run.oom_killed = exit.out_of_memory;
        record.run.started_at = Some(times::from_nanoseconds(exit.started_at.0));
        record.ports.clear();
        for endpoint in record.endpoints.values_mut() {
            endpoint.given = None;
        }
        let policy = Policy::parse(&record.host_config.restart_policy).unwrap_or_default();
        let ending = Ending {
            code: i64::from(exit.code),
            ran: duration(exit),
            stopped_by_user: live.stopping,
        };
        let delay = live.backoff.after(policy, ending);
        if delay.is_some() {
            record.run.status = Status::Restarting;
        }
        delay
    }

    /// Starts it again after a while, unless somebody does something else with it first.
    pub(super) fn restart_later(self: &Arc<Self>, container: &Arc<Container>, delay: Duration) {
        let (service, waiting) = (self.clone(), container.clone());
        let task = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            service.restart_now(&waiting).await;
        });
        container.live().restart = Some(task.abort_handle());
    }

    async fn restart_now(self: Arc<Self>, container: &Arc<Container>) {
        let operation = container.operation.lock().await;
        if container.record().run.status != Status::Restarting {
            return;
        }
        // From here on it must not be aborted in the middle.
        container.live().restart = None;
        let (service, again) = (self.clone(), container.clone());
        drop(operation);
        tokio::spawn(async move {
            let _operation = again.operation.lock().await;
            if again.record().run.status != Status::Restarting {
                return;
            }
            match service.start_locked(&again, Cause::Policy).await {
                Ok(()) => {}
                Err(error) if error.is(ErrorKind::NotModified) => {}
                Err(error) => {
                    tracing::warn!(container = again.id(), %error, "cannot start a container again");
                    service.retry_after_failure(&again);
                }
            }
        });
    }

    /// A failed restart counts as a failed run.
    fn retry_after_failure(self: &Arc<Self>, container: &Arc<Container>) {
        let delay = {
            let mut record = container.record();
            let policy = Policy::parse(&record.host_config.restart_policy).unwrap_or_default();
            let mut live = container.live();
            let ending = Ending {
                code: record.run.exit_code,
                ran: Duration::ZERO,
                stopped_by_user: live.stopping,
            };
            let delay = live.backoff.after(policy, ending);
            if delay.is_some() {
                record.run.status = Status::Restarting;
            }
            delay
        };
        if let Some(delay) = delay {
            container.announce(|phase| phase.restarting = true);
            self.restart_later(container, delay);
        }
        self.save_now(container);
    }

    /// Removes it when whoever holds it now is through.
    pub(super) fn auto_remove_later(self: &Arc<Self>, container: &Arc<Container>) {
        let (service, container) = (self.clone(), container.clone());
        tokio::spawn(async move { service.auto_remove(&container).await });
    }

    async fn auto_remove(self: &Arc<Self>, container: &Arc<Container>) {
        // Whoever held it may have started it again (`restart`): then its next end removes it.
        let options = RemoveContainer {
            force: false,
            volumes: true,
        };
        match self.remove(container.id(), options).await {
            Ok(()) => {}
            Err(error) if error.is(ErrorKind::NotFound) || error.is(ErrorKind::Conflict) => {}
            Err(error) => {
                tracing::warn!(container = container.id(), %error, "cannot remove a container that has ended")
            }
        }
    }
}

fn duration(exit: &ExitRecord) -> Duration {
    let nanoseconds = exit.finished_at.0.saturating_sub(exit.started_at.0);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}
