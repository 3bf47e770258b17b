//! When a container that ended is started again: Docker's policies and back-off, as a pure state machine.
//!
//! The delay starts at 100 ms and doubles up to a minute; a run of at least 10 s starts it over
//! (moby, `daemon/internal/restartmanager`).

use std::time::Duration;

use hoist_api::host_config::RestartPolicy;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
const GOOD_RUN: Duration = Duration::from_secs(10);

/// A restart policy, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Policy {
    /// Never.
    #[default]
    No,
    /// Always, also when the engine starts, unless the user stopped it in this engine's life.
    Always,
    /// Always, but not after the user stopped it.
    UnlessStopped,
    /// After a failure, at most so many times in a row; 0: without limit.
    OnFailure(u32),
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Exit code.
    pub(crate) code: i64,
    /// How long it ran.
    pub(crate) ran: Duration,
    /// The user asked for it.
    pub(crate) stopped_by_user: bool,
}

/// What is remembered between runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Backoff {
    delay: Option<Duration>,
    /// Restarts in a row.
    pub(crate) count: u32,
}

impl Policy {
    /// Reads the API's form; the message is Docker's.
    pub(crate) fn parse(wire: &RestartPolicy) -> Result<Self, String> {
        let count = wire.maximum_retry_count;
        let policy = match wire.name.as_str() {
            "" | "no" => Self::No,
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            "on-failure" => Self::OnFailure(u32::try_from(count).map_err(|_| {
                "invalid restart policy: maximum retry count cannot be negative".to_owned()
            })?),
            other => {
                return Err(format!(
                    "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
                ));
            }
        };
        if count != 0 && !matches!(policy, Self::OnFailure(_)) {
            return Err(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'"
                    .to_owned(),
            );
        }
        Ok(policy)
    }

    /// Whether a container that is not running is started when an engine begins to run: `ended` tells that
    /// it ended while no engine ran, rather than by the user's will before.
    pub(crate) fn restarts_with_engine(self, stopped_by_user: bool, exit_code: i64) -> bool {
        match self {
            Self::No => false,
            Self::Always | Self::UnlessStopped => !stopped_by_user,
            Self::OnFailure(_) => !stopped_by_user && exit_code != 0,
        }
    }
}

impl Backoff {
    /// What to do after a run: the delay before the next one, or `None` to leave it ended.
    pub(crate) fn after(&mut self, policy: Policy, ending: Ending) -> Option<Duration> {
        if ending.ran >= GOOD_RUN {
            *self = Self::default();
        }
        let again = match policy {
            _ if ending.stopped_by_user => false,
            Policy::No => false,
            Policy::Always | Policy::UnlessStopped => true,
            Policy::OnFailure(limit) => ending.code != 0 && (limit == 0 || self.count < limit),
        };
        if !again {
            return None;
        }
        let delay = self
            .delay
            .map_or(FIRST_DELAY, |delay| (delay * 2).min(LONGEST_DELAY));
        self.delay = Some(delay);
        self.count += 1;
        Some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(ran: u64) -> Ending {
        Ending {
            code: 1,
            ran: Duration::from_secs(ran),
            stopped_by_user: false,
        }
    }

    fn policy(name: &str, count: i64) -> Result<Policy, String> {
        Policy::parse(&RestartPolicy {
            name: name.to_owned(),
            maximum_retry_count: count,
        })
    }

    #[test]
    fn policies_are_read() {
        assert_eq!(policy("", 0), Ok(Policy::No));
        assert_eq!(policy("always", 0), Ok(Policy::Always));
        assert_eq!(policy("on-failure", 3), Ok(Policy::OnFailure(3)));
        for (name, count) in [("sometimes", 0), ("always", 2), ("on-failure", -1)] {
            assert!(policy(name, count).is_err(), "{name}:{count}");
        }
    }

    #[test]
    fn the_delay_doubles_to_a_minute_and_starts_over_after_a_good_run() {
        let mut backoff = Backoff::default();
        let mut delays: Vec<u128> = Vec::new();
        for _ in 0..12 {
            delays.push(
                backoff
                    .after(Policy::Always, failed(1))
                    .unwrap()
                    .as_millis(),
            );
        }
        assert_eq!(delays[..4], [100, 200, 400, 800]);
        assert_eq!(delays[9..], [51_200, 60_000, 60_000]);
        assert_eq!(backoff.after(Policy::Always, failed(10)), Some(FIRST_DELAY));
    }

    #[test]
    fn what_the_user_stopped_stays_stopped() {
        let ending = Ending {
            stopped_by_user: true,
            ..failed(1)
        };
        for policy in [
            Policy::No,
            Policy::Always,
            Policy::UnlessStopped,
            Policy::OnFailure(0),
        ] {
            assert_eq!(Backoff::default().after(policy, ending), None, "{policy:?}");
        }
    }

    #[test]
    fn on_failure_counts_failures_in_a_row() {
        let mut backoff = Backoff::default();
        assert!(backoff.after(Policy::OnFailure(2), failed(1)).is_some());
        assert!(backoff.after(Policy::OnFailure(2), failed(1)).is_some());
        assert_eq!(backoff.after(Policy::OnFailure(2), failed(1)), None);
        let success = Ending {
            code: 0,
            ..failed(1)
        };
        assert_eq!(
            Backoff::default().after(Policy::OnFailure(2), success),
            None
        );
        assert!(Backoff::default().after(Policy::Always, success).is_some());
    }
}
