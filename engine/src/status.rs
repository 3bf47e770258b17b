//! Status texts as people read them: `Up 3 seconds (healthy)`, `Exited (137) 2 minutes ago`.
//! The wording of durations is docker/go-units'.

use jiff::Timestamp;

use crate::store::container::{Run, Status};
use crate::supervise::health::HealthStatus;

/// A duration in words, from seconds.
pub(crate) fn human_duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let minutes = seconds / 60;
    // Go rounds hours, and only those.
    let hours = (seconds + 1800) / 3600;
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// The status column of a list.
pub(crate) fn status_text(run: &Run, now: Timestamp) -> String {
    let ago = |time: Option<Timestamp>| {
        human_duration(time.map_or(0, |time| now.as_second() - time.as_second()))
    };
    match run.status {
        Status::Created => "Created".to_owned(),
        Status::Dead => "Dead".to_owned(),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Paused => format!("Up {} (Paused)", ago(run.started_at)),
        Status::Restarting => format!(
            "Restarting ({}) {} ago",
            run.exit_code,
            ago(run.finished_at)
        ),
        Status::Exited => format!("Exited ({}) {} ago", run.exit_code, ago(run.finished_at)),
        Status::Running => {
            let health = match run.health.as_ref().map(|health| health.status) {
                None => "",
                Some(HealthStatus::Starting) => " (health: starting)",
                Some(HealthStatus::Healthy) => " (healthy)",
                Some(HealthStatus::Unhealthy) => " (unhealthy)",
            };
            format!("Up {}{health}", ago(run.started_at))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::health::HealthState;

    #[test]
    fn durations_read_as_dockers() {
        for (seconds, expected) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (730 * 86400, "2 years"),
        ] {
            assert_eq!(human_duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn statuses_read_as_dockers() {
        let now = Timestamp::from_second(1000).unwrap();
        let at = |second| Timestamp::from_second(second).ok();
        let run = |status| Run {
            status,
            started_at: at(997),
            finished_at: at(880),
            exit_code: 137,
            ..Run::default()
        };
        for (status, expected) in [
            (Status::Created, "Created"),
            (Status::Running, "Up 3 seconds"),
            (Status::Paused, "Up 3 seconds (Paused)"),
            (Status::Exited, "Exited (137) 2 minutes ago"),
            (Status::Restarting, "Restarting (137) 2 minutes ago"),
        ] {
            assert_eq!(status_text(&run(status), now), expected);
        }
        let healthy = HealthState {
            status: HealthStatus::Healthy,
            ..HealthState::default()
        };
        let run = Run {
            health: Some(healthy),
            ..run(Status::Running)
        };
        assert_eq!(status_text(&run, now), "Up 3 seconds (healthy)");
    }
}
