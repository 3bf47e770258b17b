//! `deploy`: replicas, resources, restart policy.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{ByteSize, ComposeDuration, Extensions};

/// The `deploy` section.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deploy {
    /// `replicated` or `global`.
    pub mode: Option<String>,
    /// Number of containers.
    pub replicas: Option<i64>,
    /// Labels of the service (not of its containers).
    pub labels: IndexMap<String, String>,
    /// How to update.
    pub update_config: Option<UpdateConfig>,
    /// How to roll back.
    pub rollback_config: Option<UpdateConfig>,
    /// Limits and reservations.
    pub resources: Resources,
    /// Restart policy; wins over the service's `restart`.
    pub restart_policy: Option<RestartPolicy>,
    /// Where to run; without effect on one machine.
    pub placement: Placement,
    /// `vip` or `dnsrr`.
    pub endpoint_mode: Option<String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// `update_config` and `rollback_config`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateConfig {
    /// Containers at a time.
    pub parallelism: Option<u64>,
    /// Time between groups.
    pub delay: Option<ComposeDuration>,
    /// `continue`, `pause` or `rollback`.
    pub failure_action: Option<String>,
    /// Time to watch an updated container.
    pub monitor: Option<ComposeDuration>,
    /// Tolerated failures, 0 to 1.
    pub max_failure_ratio: Option<f64>,
    /// `start-first` or `stop-first`.
    pub order: Option<String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Limits and reservations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Upper bounds.
    pub limits: Option<ResourceLimits>,
    /// Guarantees.
    pub reservations: Option<Reservations>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Upper bounds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceLimits {
    /// Processors, fractions allowed.
    pub cpus: Option<f64>,
    /// Memory.
    pub memory: Option<ByteSize>,
    /// Processes and threads.
    pub pids: Option<i64>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Guarantees.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reservations {
    /// Processors, fractions allowed.
    pub cpus: Option<f64>,
    /// Memory.
    pub memory: Option<ByteSize>,
    /// Devices.
    pub devices: Vec<DeviceRequest>,
    /// User-defined resources.
    pub generic_resources: Vec<GenericResource>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// A request for devices (`gpus`, `deploy.resources.reservations.devices`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    /// What they must be able to do.
    pub capabilities: Vec<String>,
    /// Driver.
    pub driver: Option<String>,
    /// How many; -1 means all.
    pub count: Option<i64>,
    /// Which ones.
    pub device_ids: Vec<String>,
    /// Driver options.
    pub options: IndexMap<String, String>,
}

/// A user-defined resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GenericResource {
    /// A countable one.
    pub discrete_resource_spec: Option<DiscreteResource>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// A countable resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiscreteResource {
    /// Its kind.
    pub kind: String,
    /// How many.
    pub value: i64,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// `deploy.restart_policy`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartPolicy {
    /// `none`, `on-failure` or `any`.
    pub condition: Option<String>,
    /// Time between attempts.
    pub delay: Option<ComposeDuration>,
    /// Attempts before giving up.
    pub max_attempts: Option<u64>,
    /// Time to decide that a restart worked.
    pub window: Option<ComposeDuration>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Where to run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// Conditions on nodes.
    pub constraints: Vec<String>,
    /// How to spread.
    pub preferences: Vec<PlacementPreference>,
    /// Replicas per node.
    pub max_replicas_per_node: Option<u64>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// One way of spreading.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlacementPreference {
    /// Spread over the values of this node label.
    pub spread: Option<String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}
