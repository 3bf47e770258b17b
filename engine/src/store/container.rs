//! What is known about a container: what was asked for, resolved once at its creation, and how its last run went.
//!
//! Whether it runs now is its shim's to say; the record is what is left when there is none.

use std::collections::BTreeMap;

use hoist_api::ContainerId;
use hoist_api::container::ContainerConfig;
use hoist_api::host_config::HostConfig;
use hoist_api::network::EndpointSettings;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::runtime::spec::UserNamespace;
use crate::supervise::health::HealthState;

/// The only version of the record's form.
pub(crate) const VERSION: u32 = 1;

/// Docker's word for what a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    #[default]
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

impl Status {
    /// The word on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Whether its process lives.
    pub(crate) fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// The current or last run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Run {
    pub(crate) status: Status,
    pub(crate) pid: i32,
    pub(crate) exit_code: i64,
    /// Why the last start failed.
    pub(crate) error: String,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) oom_killed: bool,
    /// Restarts by policy since the user's last start.
    pub(crate) restart_count: u32,
    /// The user stopped it: policies leave it alone.
    pub(crate) stopped_by_user: bool,
    pub(crate) health: Option<HealthState>,
    /// Who its users are outside, when it has a user namespace of its own.
    pub(crate) user_namespace: Option<UserNamespace>,
}

/// A mount, resolved at creation: what inspect shows and what each start mounts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MountRecord {
    /// Absolute in the container.
    pub(crate) target: String,
    pub(crate) source: MountSource,
    pub(crate) read_only: bool,
    /// Options as they were given, for inspect.
    #[serde(default)]
    pub(crate) mode: String,
    #[serde(default)]
    pub(crate) propagation: String,
    /// Without the mounts below the source.
    #[serde(default)]
    pub(crate) non_recursive: bool,
    /// Read-only, but not the mounts below it.
    #[serde(default)]
    pub(crate) read_only_top: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub(crate) enum MountSource {
    /// A path of the host.
    Bind {
        path: String,
        /// Make a missing path at start.
        create: bool,
    },
    /// A named or anonymous volume.
    Volume {
        name: String,
        anonymous: bool,
        /// Do not fill it from the image.
        no_copy: bool,
        subpath: String,
    },
    /// An image's files, read-only.
    Image {
        /// `sha256:…`; empty until it was looked up.
        id: String,
        /// As it was asked for.
        name: String,
        subpath: String,
    },
    /// Memory.
    Tmpfs {
        /// Bytes; 0: half of the memory.
        size: u64,
        /// Permission bits; 0: 1777.
        mode: u32,
        options: Vec<String>,
    },
}

/// A container's place in a network.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct EndpointRecord {
    /// What was asked for.
    pub(crate) asked: EndpointSettings,
    /// What it got in its current run.
    pub(crate) given: Option<EndpointGiven>,
}

/// What an endpoint got.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct EndpointGiven {
    /// The endpoint's id.
    pub(crate) id: String,
    /// Name of the link in the container.
    pub(crate) link: String,
    /// Name of the link's other end on the host.
    pub(crate) host_link: String,
    /// Hardware address.
    pub(crate) mac: String,
    /// With prefix length.
    pub(crate) ipv4: Option<ipnetwork::Ipv4Network>,
    /// With prefix length.
    pub(crate) ipv6: Option<ipnetwork::Ipv6Network>,
    pub(crate) gateway: String,
    pub(crate) ipv6_gateway: String,
}

/// A port that is published in the current run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublishedPort {
    /// `tcp`, `udp` or `sctp`.
    pub(crate) protocol: String,
    pub(crate) container_port: u16,
    pub(crate) host_ip: String,
    pub(crate) host_port: u16,
}

/// A container's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub(crate) version: u32,
    pub(crate) id: ContainerId,
    /// Without the leading `/`.
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    /// `sha256:…`.
    pub(crate) image_id: String,
    /// Merged with the image's.
    pub(crate) config: ContainerConfig,
    /// With defaults filled in.
    pub(crate) host_config: HostConfig,
    /// By network name.
    pub(crate) endpoints: BTreeMap<String, EndpointRecord>,
    pub(crate) mounts: Vec<MountRecord>,
    #[serde(default)]
    pub(crate) ports: Vec<PublishedPort>,
    #[serde(default)]
    pub(crate) run: Run,
}

impl ContainerRecord {
    /// Program and arguments: entry point and command joined.
    pub(crate) fn argv(&self) -> Vec<String> {
        let entrypoint = self.config.entrypoint.iter().flatten();
        entrypoint
            .chain(self.config.cmd.iter().flatten())
            .cloned()
            .collect()
    }

    /// The ids of all images that it needs: its own first, then those that are mounted in it.
    pub(crate) fn images(&self) -> impl Iterator<Item = &str> {
        let mounted = self.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Image { id, .. } => Some(id.as_str()),
            _ => None,
        });
        std::iter::once(self.image_id.as_str()).chain(mounted)
    }

    /// The names of its named and anonymous volumes.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = &str> {
        self.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume { name, .. } => Some(name.as_str()),
            _ => None,
        })
    }
}
