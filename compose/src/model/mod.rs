//! The typed Compose model: what a set of Compose files means, in the Compose Specification's own names.
//!
//! A [`Project`] is only made by [`crate::load`], in canonical form: every short syntax is expanded, every variable is
//! substituted, every path is absolute, every default name is set. Its serde form *is* the canonical Compose file
//! (`hoist config --format json`), so the model must hold everything that a file can say. It knows nothing about YAML,
//! files, plans or engines.

mod build;
mod deploy;
mod develop;
mod healthcheck;
mod mount;
mod network;
mod port;
mod project;
mod resource;
mod scalar;
mod service;

pub use build::Build;
pub use deploy::{
    Deploy, DeviceRequest, DiscreteResource, GenericResource, Placement, PlacementPreference,
    Reservations, ResourceLimits, Resources, RestartPolicy, UpdateConfig,
};
pub use develop::{Develop, Watch};
pub use healthcheck::Healthcheck;
pub use mount::{
    BindOptions, FileReference, ImageOptions, Mount, MountType, TmpfsOptions, VolumeOptions,
};
pub use network::{Ipam, IpamPool, Network, NetworkAttachment};
pub use port::Port;
pub use project::Project;
pub use resource::{Config, ModelDefinition, Secret, Volume};
pub use scalar::{ByteSize, ComposeDuration, DurationError, SizeError};
pub use service::{
    BlkioConfig, CredentialSpec, Dependency, DependencyCondition, DeviceMapping, DeviceRate,
    DeviceWeight, EnvFile, Hook, Logging, ModelBinding, PreStartHook, Provider, Service, Ulimit,
};

use indexmap::IndexMap;

/// The `x-…` attributes of one mapping, by name, as they were written (after interpolation).
pub type Extensions = IndexMap<String, serde_json::Value>;

/// The key under which [`Extensions`] travel through serde; the canonical printer puts them back beside their siblings.
pub(crate) const EXTENSIONS_KEY: &str = "#extensions";
