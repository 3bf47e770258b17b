//! Docker's health state machine, pure: checks and times go in, status and the next wait come out
//! (moby, `daemon/health.go`).
//!
//! `starting` until the first success (healthy) or until as many failures in a row as `retries` outside of the start period
//! (unhealthy). During the start period failures do not count and checks come at the start interval; the
//! first success ends it.

use std::time::Duration;

use hoist_api::container::HealthConfig;
use hoist_api::inspect::{Health, HealthLog};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_START_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_RETRIES: u32 = 3;
/// Results kept.
const KEPT: usize = 5;
/// Bytes of a check's output kept.
pub(crate) const OUTPUT_LIMIT: usize = 4096;

/// A health check with all defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// Command and arguments as executed.
    pub(crate) command: Vec<String>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) start_period: Duration,
    pub(crate) start_interval: Duration,
    pub(crate) retries: u32,
}

impl Check {
    /// The check of a configuration; `None` when there is none or it is switched off. `shell` runs `CMD-SHELL` lines.
    pub(crate) fn from_wire(wire: Option<&HealthConfig>, shell: &[String]) -> Option<Self> {
        let wire = wire?;
        let command = match wire.test.split_first() {
            Some((kind, arguments)) if kind == "CMD" && !arguments.is_empty() => arguments.to_vec(),
            Some((kind, arguments)) if kind == "CMD-SHELL" && !arguments.is_empty() => {
                let mut command = if shell.is_empty() {
                    vec!["/bin/sh".to_owned(), "-c".to_owned()]
                } else {
                    shell.to_vec()
                };
                command.extend(arguments.iter().cloned());
                command
            }
            _ => return None,
        };
        Some(Self {
            command,
            interval: duration(wire.interval, DEFAULT_INTERVAL),
            timeout: duration(wire.timeout, DEFAULT_TIMEOUT),
            start_period: duration(wire.start_period, Duration::ZERO),
            start_interval: duration(wire.start_interval, DEFAULT_START_INTERVAL),
            retries: u32::try_from(wire.retries)
                .ok()
                .filter(|retries| *retries > 0)
                .unwrap_or(DEFAULT_RETRIES),
        })
    }
}

/// Fills a check's missing parts from the image's, as Docker does; `NONE` and an own test win.
pub(crate) fn inherit(
    own: Option<HealthConfig>,
    image: Option<HealthConfig>,
) -> Option<HealthConfig> {
    let (Some(mut own), Some(image)) = (own.clone(), image.clone()) else {
        return own.or(image);
    };
    if own.test.is_empty() {
        own.test = image.test;
    }
    for (mine, theirs) in [
        (&mut own.interval, image.interval),
        (&mut own.timeout, image.timeout),
        (&mut own.start_period, image.start_period),
        (&mut own.start_interval, image.start_interval),
        (&mut own.retries, image.retries),
    ] {
        if *mine == 0 {
            *mine = theirs;
        }
    }
    Some(own)
}

fn duration(nanoseconds: i64, default: Duration) -> Duration {
    match u64::try_from(nanoseconds) {
        Ok(nanoseconds) if nanoseconds > 0 => Duration::from_nanos(nanoseconds),
        _ => default,
    }
}

/// Health of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HealthStatus {
    #[default]
    Starting,
    Healthy,
    Unhealthy,
}

impl HealthStatus {
    /// The word on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One check that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckResult {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    /// 0 healthy, 1 unhealthy, others unhealthy; -1 when the check could not run or took too long.
    pub(crate) exit_code: i64,
    pub(crate) output: String,
}

/// What is known about a container's health in its current run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct HealthState {
    pub(crate) status: HealthStatus,
    pub(crate) failing_streak: u32,
    pub(crate) log: Vec<CheckResult>,
}

impl HealthState {
    /// Takes in a result; tells the status when it changed. `since_start` is the container's age at the check's end.
    pub(crate) fn record(
        &mut self,
        check: &Check,
        result: CheckResult,
        since_start: Duration,
    ) -> Option<HealthStatus> {
        let before = self.status;
        if result.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if !(self.status == HealthStatus::Starting && since_start < check.start_period) {
            self.failing_streak += 1;
            if self.failing_streak >= check.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        self.log.push(result);
        if self.log.len() > KEPT {
            self.log.remove(0);
        }
        (self.status != before).then_some(self.status)
    }

    /// How long to wait before the next check.
    pub(crate) fn wait(&self, check: &Check, since_start: Duration) -> Duration {
        if self.status == HealthStatus::Starting && since_start < check.start_period {
            // A check planned past the start period's end would come at the normal interval at the latest.
            check.start_interval.min(check.interval)
        } else {
            check.interval
        }
    }

    /// The API's form.
    pub(crate) fn to_wire(&self) -> Health {
        Health {
            status: self.status.as_str().to_owned(),
            failing_streak: i64::from(self.failing_streak),
            log: self
                .log
                .iter()
                .map(|result| HealthLog {
                    start: result.start.to_string(),
                    end: result.end.to_string(),
                    exit_code: result.exit_code,
                    output: result.output.clone(),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_of(start_period: u64, retries: i64) -> Check {
        let wire = HealthConfig {
            test: vec!["CMD".into(), "true".into()],
            start_period: i64::try_from(start_period).unwrap() * 1_000_000_000,
            retries,
            ..Default::default()
        };
        Check::from_wire(Some(&wire), &[]).unwrap()
    }

    fn result(exit_code: i64) -> CheckResult {
        CheckResult {
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            exit_code,
            output: String::new(),
        }
    }

    /// Results as (exit code, age in seconds); expected: statuses after each.
    fn run(check: &Check, results: &[(i64, u64)]) -> Vec<(&'static str, u32)> {
        let mut state = HealthState::default();
        results
            .iter()
            .map(|(code, age)| {
                state.record(check, result(*code), Duration::from_secs(*age));
                (state.status.as_str(), state.failing_streak)
            })
            .collect()
    }

    #[test]
    fn failures_count_up_to_retries() {
        let statuses = run(&check_of(0, 2), &[(1, 1), (1, 2), (0, 3), (1, 4), (1, 5)]);
        assert_eq!(
            statuses,
            [
                ("starting", 1),
                ("unhealthy", 2),
                ("healthy", 0),
                ("healthy", 1),
                ("unhealthy", 2)
            ]
        );
    }

    #[test]
    fn failures_in_the_start_period_do_not_count() {
        let statuses = run(&check_of(10, 1), &[(1, 1), (1, 9), (1, 10)]);
        assert_eq!(
            statuses,
            [("starting", 0), ("starting", 0), ("unhealthy", 1)]
        );
        // The first success ends the start period.
        assert_eq!(
            run(&check_of(10, 1), &[(0, 1), (1, 2)]),
            [("healthy", 0), ("unhealthy", 1)]
        );
    }

    #[test]
    fn waits_follow_the_start_period() {
        let check = Check {
            interval: Duration::from_secs(30),
            ..check_of(10, 1)
        };
        let state = HealthState::default();
        assert_eq!(
            state.wait(&check, Duration::from_secs(1)),
            Duration::from_secs(5)
        );
        assert_eq!(
            state.wait(&check, Duration::from_secs(10)),
            Duration::from_secs(30)
        );
        let healthy = HealthState {
            status: HealthStatus::Healthy,
            ..Default::default()
        };
        assert_eq!(
            healthy.wait(&check, Duration::from_secs(1)),
            Duration::from_secs(30)
        );
    }

    #[test]
    fn only_changes_are_told_and_five_results_kept() {
        let check = check_of(0, 1);
        let mut state = HealthState::default();
        let age = Duration::from_secs(1);
        assert_eq!(
            state.record(&check, result(0), age),
            Some(HealthStatus::Healthy)
        );
        assert_eq!(state.record(&check, result(0), age), None);
        for _ in 0..9 {
            state.record(&check, result(3), age);
        }
        assert_eq!(state.log.len(), 5);
    }

    #[test]
    fn commands_are_read_and_inherited() {
        let shell = HealthConfig {
            test: vec!["CMD-SHELL".into(), "exit 0".into()],
            ..Default::default()
        };
        assert_eq!(
            Check::from_wire(Some(&shell), &[]).unwrap().command,
            ["/bin/sh", "-c", "exit 0"]
        );
        let none = HealthConfig {
            test: vec!["NONE".into()],
            ..Default::default()
        };
        assert_eq!(Check::from_wire(Some(&none), &[]), None);
        assert_eq!(inherit(Some(none.clone()), Some(shell.clone())), Some(none));
        let interval = HealthConfig {
            interval: 5,
            ..Default::default()
        };
        let merged = inherit(Some(interval), Some(shell.clone())).unwrap();
        assert_eq!((merged.test, merged.interval), (shell.test, 5));
    }
}
