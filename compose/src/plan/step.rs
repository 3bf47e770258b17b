//! What a plan is made of: steps with an object, an action, a cause, and what must come before.
//!
//! Everything the executor needs is in the step, so that it decides nothing. Everything a reader needs
//! is in it too, so that a plan can be printed, compared and linted.

use std::time::Duration;

use hoist_api::build::BuildRequest;
use hoist_api::container::ContainerCreate;
use hoist_api::network::{EndpointSettings, NetworkCreate};
use hoist_api::volume::VolumeCreate;

use crate::desire::InjectedFile;
use crate::graph::Condition;
use crate::model::Hook;

/// A finished plan: steps in an order in which they could be run one by one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The project's name.
    pub project: String,
    /// The steps; the step with number `n` is at position `n - 1`, and `after` names only earlier ones.
    pub steps: Vec<Step>,
    /// Names of containers that run already and match the file, for progress displays.
    pub unchanged: Vec<String>,
    /// What the user should know though nothing is done about it, one sentence each.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Leaves out what only renews something that is there. Only for plans whose steps are independent of each other.
    pub fn retain_missing(&mut self) {
        self.steps.retain(|step| step.cause == Some(Cause::Missing));
        for (index, step) in self.steps.iter_mut().enumerate() {
            step.id = StepId::from_index(index);
        }
    }

    /// The step with this number.
    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id.index()]
    }
}

/// The number of a step, from 1, as `#1` in a printed plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(u32);

impl StepId {
    /// The number of the step at `index` in [`Plan::steps`].
    pub fn from_index(index: usize) -> Self {
        StepId(u32::try_from(index).map_or(u32::MAX, |index| index.saturating_add(1)))
    }

    /// The position in [`Plan::steps`].
    pub fn index(self) -> usize {
        self.0 as usize - 1
    }
}

impl std::fmt::Display for StepId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "#{}", self.0)
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its number.
    pub id: StepId,
    /// What it is about, as shown to the user.
    pub object: Object,
    /// How the engine knows the object: an id when it existed at planning, else the name it is given.
    pub target: String,
    /// What to do.
    pub action: Action,
    /// Why, in a few words for the reader; `None` where it is plain from the steps before.
    pub cause: Option<Cause>,
    /// What must come before, lowest number first.
    pub after: Vec<After>,
    /// Whether it is a part of replacing a container: then progress shows one `Recreate … Recreated` for all parts.
    pub replacing: bool,
    /// What runs in the container after its start or before its end.
    pub hooks: Option<Box<Hooks>>,
}

/// The commands that belong to the beginning and end of a service's containers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hooks {
    /// Whose they are.
    pub service: String,
    /// After each start, one after the other.
    pub post_start: Vec<Hook>,
    /// Before each end that Compose asks for; a container that ends by itself has none.
    pub pre_stop: Vec<Hook>,
}

/// A predecessor of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct After {
    /// Which step.
    pub step: StepId,
    /// How it must have ended.
    pub need: Need,
}

/// How a predecessor must have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Well; otherwise this step is skipped.
    Success,
    /// In any way (`required: false`, and order for order's sake).
    Settled,
}

/// The kind of an [`Object`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A network of the engine.
    Network,
    /// A named volume of the engine.
    Volume,
    /// An image of the engine.
    Image,
    /// A container of the engine.
    Container,
    /// A service of the project: all its containers.
    Service,
}

/// What a step is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its name, as the user would call it.
    pub name: String,
}

/// What a step does to its object. Each is one call to the engine, except [`Action::Wait`].
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Creates the network.
    CreateNetwork(Box<NetworkCreate>),
    /// Removes the network.
    RemoveNetwork,
    /// Creates the volume.
    CreateVolume(Box<VolumeCreate>),
    /// Removes the volume and its data.
    RemoveVolume,
    /// Builds the image.
    BuildImage(Box<BuildRequest>),
    /// Removes the image.
    RemoveImage,
    /// Fetches the image from its registry.
    PullImage {
        /// As `linux/arm64`; empty for the engine's own.
        platform: String,
        /// Whether failing is an error; an image that can be built only gives a warning.
        is_needed: bool,
    },
    /// Creates the container under [`Step::target`] as its name; a replacement has a temporary one.
    CreateContainer(Box<ContainerCreate>),
    /// Writes contents of secrets and configs into the created container.
    WriteFiles(Vec<InjectedFile>),
    /// Gives the container its final name, which is the object's.
    RenameContainer,
    /// Starts the container.
    StartContainer,
    /// Lets a paused container go on.
    UnpauseContainer,
    /// Stops the container: its stop signal, then SIGKILL after the timeout (`None`: the container's own).
    StopContainer {
        /// Seconds between the two.
        timeout: Option<i64>,
    },
    /// Stops and starts the container.
    RestartContainer {
        /// As for stopping.
        timeout: Option<i64>,
    },
    /// Sends a signal.
    KillContainer {
        /// As the user wrote it, such as `SIGKILL`.
        signal: String,
    },
    /// Removes the container.
    RemoveContainer {
        /// Also its anonymous volumes.
        volumes: bool,
    },
    /// Takes the container off a network.
    Disconnect {
        /// The network's id or name.
        network: String,
    },
    /// Puts the container on a network.
    Connect {
        /// The network's name.
        network: String,
        /// Aliases and addresses.
        endpoint: Box<EndpointSettings>,
    },
    /// Waits for containers to reach a state.
    Wait(Gate),
}

/// What a waiting step waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Names or ids of the containers; all must pass.
    pub containers: Vec<GateContainer>,
    /// The state to reach.
    pub until: Until,
    /// Whether failing it is an error; otherwise it is a warning.
    pub required: bool,
    /// How long to wait at most; `None` for ever.
    pub timeout: Option<Duration>,
}

/// A container a gate looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateContainer {
    /// Its name, for messages.
    pub name: String,
    /// How the engine knows it.
    pub target: String,
}

/// The state a gate waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The condition of a `depends_on`.
    Met(Condition),
    /// `up --wait`: healthy where there is a health check, else running.
    Ready {
        /// Ending with exit code 0 is as good, since another service waits for this one to complete.
        may_complete: bool,
    },
}

/// Why a step is in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The object does not exist.
    Missing,
    /// What the file says about it has changed.
    ConfigChanged,
    /// The image's name now stands for another image.
    ImageChanged,
    /// The user asked for it by an option.
    Forced,
    /// Another object it refers to is made again.
    Follows(String),
    /// Another object is restarted, and it wants to be restarted too.
    Restarts(String),
    /// It is not attached to this network.
    NetworkMissing(String),
    /// It does not have this volume.
    VolumeMissing(String),
    /// There are more containers than the service should have.
    ScaledDown,
    /// The service is not in the file any more.
    Orphan,
    /// It exists but does not run; the text is its state, such as `exited (1)`.
    NotRunning(String),
    /// What an interrupted run left behind.
    Leftover,
    /// The network or volume it uses is made again.
    Reconnected(String),
}

impl std::fmt::Display for Cause {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cause::Missing => formatter.write_str("missing"),
            Cause::ConfigChanged => formatter.write_str("configuration changed"),
            Cause::ImageChanged => formatter.write_str("image changed"),
            Cause::Forced => formatter.write_str("forced"),
            Cause::Follows(other) => write!(formatter, "{other} is replaced"),
            Cause::Restarts(other) => write!(formatter, "{other} restarts"),
            Cause::NetworkMissing(network) => write!(formatter, "not on network {network}"),
            Cause::VolumeMissing(volume) => write!(formatter, "without volume {volume}"),
            Cause::ScaledDown => formatter.write_str("scaled down"),
            Cause::Orphan => formatter.write_str("orphan"),
            Cause::NotRunning(state) => formatter.write_str(state),
            Cause::Leftover => formatter.write_str("left by an interrupted run"),
            Cause::Reconnected(other) => write!(formatter, "{other} changed"),
        }
    }
}
