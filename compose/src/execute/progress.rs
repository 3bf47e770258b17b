//! What a run tells while it goes on, for renderers.

use crate::plan::{Action, Object, Step};

/// Something happened to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressEvent {
    /// To which.
    pub object: Object,
    /// What.
    pub status: Status,
    /// More about it: the error.
    pub text: Option<String>,
}

/// What happens to an object, in Docker Compose's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Being built.
    Building,
    /// Built.
    Built,
    /// Being created.
    Creating,
    /// Created.
    Created,
    /// Being replaced by a new one.
    Recreate,
    /// Replaced.
    Recreated,
    /// Being started.
    Starting,
    /// Started.
    Started,
    /// Being restarted.
    Restarting,
    /// Runs and was running before.
    Running,
    /// Others wait for it.
    Waiting,
    /// Its health check passed.
    Healthy,
    /// It ended.
    Exited,
    /// Being stopped.
    Stopping,
    /// Stopped.
    Stopped,
    /// A signal is sent to it.
    Killing,
    /// The signal was sent.
    Killed,
    /// Being fetched.
    Pulling,
    /// Fetched.
    Pulled,
    /// Being removed.
    Removing,
    /// Removed.
    Removed,
    /// A hook in it has said something: the event's text.
    Said,
    /// Something is not as it should be, but nothing failed.
    Warning,
    /// It failed.
    Error,
}

impl Status {
    /// Docker Compose's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Building => "Building",
            Self::Built => "Built",
            Self::Creating => "Creating",
            Self::Created => "Created",
            Self::Recreate => "Recreate",
            Self::Recreated => "Recreated",
            Self::Starting => "Starting",
            Self::Started => "Started",
            Self::Restarting => "Restarting",
            Self::Running => "Running",
            Self::Waiting => "Waiting",
            Self::Healthy => "Healthy",
            Self::Exited => "Exited",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
            Self::Killing => "Killing",
            Self::Killed => "Killed",
            Self::Pulling => "Pulling",
            Self::Pulled => "Pulled",
            Self::Removing => "Removing",
            Self::Removed => "Removed",
            Self::Said => "Said",
            Self::Warning => "Warning",
            Self::Error => "Error",
        }
    }

    /// Whether something is under way that another event will end.
    pub fn is_working(self) -> bool {
        matches!(
            self,
            Self::Building
                | Self::Creating
                | Self::Recreate
                | Self::Starting
                | Self::Restarting
                | Self::Waiting
                | Self::Stopping
                | Self::Killing
                | Self::Pulling
                | Self::Removing
        )
    }
}

/// What to tell when a step begins and when it has ended well. The parts of a replacement show as one.
pub(crate) fn of_step(step: &Step) -> (Option<Status>, Option<Status>) {
    let both = |begin, end| (Some(begin), Some(end));
    match &step.action {
        Action::CreateContainer(_) if step.replacing => (Some(Status::Recreate), None),
        Action::RenameContainer if step.replacing => (None, Some(Status::Recreated)),
        _ if step.replacing => (None, None),
        Action::CreateNetwork(_) | Action::CreateVolume(_) | Action::CreateContainer(_) => {
            both(Status::Creating, Status::Created)
        }
        Action::BuildImage(_) => both(Status::Building, Status::Built),
        // One that is made again is told of as the reference does: when it is gone.
        Action::RemoveNetwork if step.cause.is_some() => (None, Some(Status::Removed)),
        Action::RemoveNetwork
        | Action::RemoveVolume
        | Action::RemoveImage
        | Action::RemoveContainer { .. } => both(Status::Removing, Status::Removed),
        Action::PullImage { .. } => both(Status::Pulling, Status::Pulled),
        Action::StartContainer | Action::UnpauseContainer => {
            both(Status::Starting, Status::Started)
        }
        Action::RestartContainer { .. } => both(Status::Restarting, Status::Started),
        Action::StopContainer { .. } => both(Status::Stopping, Status::Stopped),
        Action::KillContainer { .. } => both(Status::Killing, Status::Killed),
        Action::WriteFiles(_)
        | Action::RenameContainer
        | Action::Disconnect { .. }
        | Action::Connect { .. }
        | Action::Wait(_) => (None, None),
    }
}
