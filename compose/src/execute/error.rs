//! How a step can fail, worded for the user.

use std::time::Duration;

use hoist_api::{ApiError, ErrorKind};

use crate::plan::{Object, StepId};

/// A step that failed.
#[derive(Debug)]
pub struct StepFailure {
    /// Which.
    pub step: StepId,
    /// What it was about.
    pub object: Object,
    /// Why.
    pub error: ExecuteError,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The engine refused or failed.
    #[error("cannot {action} {object}")]
    Engine {
        /// What was to be done, such as `start`.
        action: &'static str,
        /// To what.
        object: Object,
        /// What the engine says.
        source: ApiError,
    },
    /// The name belongs to something else.
    #[error("cannot create {object}: the name is in use by {owner}")]
    NameTaken {
        /// What was to be created.
        object: Object,
        /// Who has the name.
        owner: String,
    },
    /// A container that others wait for failed its health check.
    #[error("{}container {container} is unhealthy{}", lead(*dependency), outputs(log))]
    Unhealthy {
        /// Its name.
        container: String,
        /// Whether others depend on it; otherwise the user waits.
        dependency: bool,
        /// The last outputs of the check, oldest first.
        log: Vec<String>,
    },
    /// A container that others want healthy has no health check.
    #[error("dependency failed to start: container {container} has no healthcheck configured")]
    NoHealthcheck {
        /// Its name.
        container: String,
    },
    /// A container ended that should run.
    #[error("{}container {container} exited ({code})", lead(*dependency))]
    Exited {
        /// Its name.
        container: String,
        /// Its exit code.
        code: i64,
        /// Whether others depend on it; otherwise the user waits.
        dependency: bool,
    },
    /// A service that should complete ended badly.
    #[error("service {service:?} didn't complete successfully: exit {code}")]
    NotCompleted {
        /// The service.
        service: String,
        /// Its exit code.
        code: i64,
    },
    /// Waiting took too long.
    #[error("application not healthy after {timeout:?}: still waiting for container {container}")]
    Timeout {
        /// How long it was waited.
        timeout: Duration,
        /// For which container.
        container: String,
    },
    /// A command of the container's lifecycle failed.
    #[error("{service} hook exited with status {code}{}", said(output))]
    Hook {
        /// Whose it is.
        service: String,
        /// It comes before the container's end, which is not asked for then.
        before_stop: bool,
        /// What it left.
        code: i64,
        /// What it said.
        output: String,
    },
    /// The contents of secrets and configs could not be packed.
    #[error("cannot pack the files of {object}")]
    Pack {
        /// Which container.
        object: Object,
        /// Why.
        source: std::io::Error,
    },
}

impl ExecuteError {
    /// Whether no engine answered.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, ExecuteError::Engine { source, .. } if source.is(ErrorKind::Unreachable))
    }
}

fn lead(dependency: bool) -> &'static str {
    if dependency {
        "dependency failed to start: "
    } else {
        ""
    }
}

fn said(output: &str) -> String {
    let lines = output.trim_end().lines();
    lines.map(|line| format!("\n  hook: {line}")).collect()
}

fn outputs(log: &[String]) -> String {
    let lines = log
        .iter()
        .map(|output| output.trim_end())
        .filter(|output| !output.is_empty());
    lines
        .map(|output| format!("\n  health check: {}", output.replace('\n', "\n    ")))
        .collect()
}
