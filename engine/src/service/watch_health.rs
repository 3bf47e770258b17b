//! Health checks of running containers: one task each, woken only to check.

use std::sync::Arc;
use std::time::Duration;

use hoist_api::exec::ExecCreate;
use jiff::Timestamp;

use super::Service;
use crate::containers::Container;
use crate::supervise::health::{Check, CheckResult, HealthState, OUTPUT_LIMIT};

impl Service {
    /// Begins to check a container that has a health check; keeps what is known of a run that goes on.
    pub(super) fn start_health(self: &Arc<Self>, container: &Arc<Container>) {
        let check = {
            let mut record = container.record();
            let check = Check::from_wire(record.config.healthcheck.as_ref(), &record.config.shell);
            match &check {
                Some(_) => drop(record.run.health.get_or_insert_with(HealthState::default)),
                None => record.run.health = None,
            }
            check
        };
        let Some(check) = check else { return };
        let task = tokio::spawn(self.clone().check_for_ever(container.clone(), check));
        if let Some(old) = container.live().health.replace(task.abort_handle()) {
            old.abort();
        }
    }

    async fn check_for_ever(self: Arc<Self>, container: Arc<Container>, check: Check) {
        loop {
            let wait = {
                let record = container.record();
                let state = record.run.health.clone().unwrap_or_default();
                state.wait(&check, age(record.run.started_at))
            };
            tokio::time::sleep(wait).await;
            if !container.is_running() {
                return;
            }
            if container.record().run.status == crate::store::container::Status::Paused {
                continue;
            }
            let result = self.check_once(&container, &check).await;
            let changed = {
                let mut record = container.record();
                let age = age(record.run.started_at);
                record
                    .run
                    .health
                    .get_or_insert_with(HealthState::default)
                    .record(&check, result, age)
            };
            if let Some(status) = changed {
                self.save_now(&container);
                self.emit(
                    &container,
                    &format!("health_status: {}", status.as_str()),
                    [],
                );
            }
        }
    }

    async fn check_once(
        self: &Arc<Self>,
        container: &Arc<Container>,
        check: &Check,
    ) -> CheckResult {
        let start = Timestamp::now();
        let create = ExecCreate {
            cmd: check.command.clone(),
            ..ExecCreate::default()
        };
        let mut printed = Vec::new();
        let outcome = tokio::time::timeout(
            check.timeout,
            self.run_and_capture(container, create, &mut printed, OUTPUT_LIMIT),
        )
        .await;
        let printed = String::from_utf8_lossy(&printed).into_owned();
        let (exit_code, output) = match outcome {
            Ok(Ok(code)) => (i64::from(code), printed),
            Ok(Err(error)) => (-1, error.message),
            Err(_) => (
                -1,
                format!(
                    "Health check exceeded timeout ({}){}{printed}",
                    go_duration(check.timeout),
                    if printed.is_empty() { "" } else { ": " }
                ),
            ),
        };
        CheckResult {
            start,
            end: Timestamp::now(),
            exit_code,
            output,
        }
    }
}

fn age(started: Option<Timestamp>) -> Duration {
    let seconds = started.map_or(0.0, |started| {
        Timestamp::now().duration_since(started).as_secs_f64()
    });
    Duration::from_secs_f64(seconds.max(0.0))
}

/// As Go prints it, for whole seconds and parts of one.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 && duration.subsec_nanos() != 0 {
        let milliseconds = duration.as_secs_f64() * 1000.0;
        return format!("{}ms", (milliseconds * 1e6).round() / 1e6);
    }
    if duration.subsec_nanos() != 0 {
        return format!("{}s", duration.as_secs_f64());
    }
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}
