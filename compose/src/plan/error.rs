//! Why there is no plan.

use crate::desire::DesireError;
use crate::graph::GraphError;

/// Why there is no plan. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The services have no start order.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The project cannot be lowered.
    #[error(transparent)]
    Desire(#[from] DesireError),
    /// The user named a service that is not in the project.
    #[error("no such service: {0}")]
    NoSuchService(String),
    /// `start` of a service without containers.
    #[error("service {0:?} has no container to start")]
    NoContainer(String),
    /// An external network does not exist.
    #[error("network {0} declared as external, but could not be found")]
    ExternalNetworkMissing(String),
    /// An external volume does not exist.
    #[error("external volume {0:?} not found")]
    ExternalVolumeMissing(String),
    /// A network has the right name and is not the one of the file.
    #[error(
        "network {network} was found but has incorrect label com.docker.compose.network set to {found:?} (expected: {expected:?})"
    )]
    ForeignNetwork {
        /// The network's name.
        network: String,
        /// The key on its label.
        found: String,
        /// The key in the file.
        expected: String,
    },
    /// Images that are needed are not there.
    #[error("{}", missing_images(images))]
    ImagesMissing {
        /// The missing ones.
        images: Vec<MissingImage>,
    },
    /// A service says something unknown about when its image is fetched.
    #[error("service {service:?}")]
    PullPolicy {
        /// The service.
        service: String,
        /// What it says.
        source: super::pull::InvalidPullPolicy,
    },
    /// A container that another one must share something with does not exist.
    #[error("cannot share {thing} with service {service}: container missing")]
    SharedContainerMissing {
        /// What is shared.
        thing: String,
        /// With which service.
        service: String,
    },
    /// A service with a fixed container name is to have several containers.
    #[error(
        "service {service:?} cannot have {replicas} containers, since its container_name {name:?} can be used only once: remove container_name to scale it"
    )]
    FixedNameScaled {
        /// The service.
        service: String,
        /// How many were asked for.
        replicas: u32,
        /// The name.
        name: String,
    },
    /// Two services have the same container name.
    #[error(
        "container name {name} is already in use by service {first:?}, and service {second:?} wants it too"
    )]
    NameUsedTwice {
        /// The name.
        name: String,
        /// The service that comes first in the file.
        first: String,
        /// The other one.
        second: String,
    },
    /// Something only the user can decide: data would be lost.
    #[error(
        "volume {0:?} exists but doesn't match configuration in compose file; recreate it (its data will be lost)?"
    )]
    NeedsApproval(String),
}

/// An image that a service needs and the engine does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingImage {
    /// The service.
    pub service: String,
    /// The image's reference.
    pub image: String,
    /// What the user can do.
    pub advice: String,
}

fn missing_images(images: &[MissingImage]) -> String {
    let lines = images.iter().map(|missing| {
        let MissingImage {
            service,
            image,
            advice,
        } = missing;
        format!("service {service:?}: image {image} is not on this machine: {advice}")
    });
    lines.collect::<Vec<_>>().join("\n")
}
