//! Containers as they are: state, health, network settings, mounts.

use std::collections::BTreeMap;

use crate::container::ContainerConfig;
use crate::host_config::{HostConfig, PortMap};
use crate::network::EndpointSettings;
use crate::wire::{Empty, wire};

wire! {
    /// One health check that ran.
    pub struct HealthLog {
        /// RFC 3339.
        pub start: String,
        /// RFC 3339.
        pub end: String,
        /// 0 healthy, 1 unhealthy, -1 the check itself failed.
        pub exit_code: i64,
        /// First 4096 bytes of what it printed.
        pub output: String,
    }

    /// Health of a container with a check.
    pub struct Health {
        /// `starting`, `healthy` or `unhealthy`.
        pub status: String,
        /// Failures in a row.
        pub failing_streak: i64,
        /// The last five.
        pub log: Vec<HealthLog>,
    }

    /// State of a container.
    pub struct ContainerState {
        /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
        pub status: String,
        /// Runs, perhaps paused.
        pub running: bool,
        /// Frozen.
        pub paused: bool,
        /// Waits to be started again.
        pub restarting: bool,
        /// The kernel killed it for lack of memory.
        #[serde(rename = "OOMKilled")]
        pub oom_killed: bool,
        /// Half removed.
        pub dead: bool,
        /// Process id on the host, 0 when not running.
        pub pid: i64,
        /// Exit code of the last run.
        pub exit_code: i64,
        /// Why the last start failed.
        pub error: String,
        /// RFC 3339, or [`crate::ZERO_TIME`].
        pub started_at: String,
        /// RFC 3339, or [`crate::ZERO_TIME`].
        pub finished_at: String,
        /// Only with a health check.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub health: Option<Health>,
    }

    /// A mount of a container.
    pub struct MountPoint {
        /// `bind`, `volume` or `tmpfs`.
        #[serde(rename = "Type")]
        pub kind: String,
        /// Volume name.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub name: String,
        /// Path on the host.
        pub source: String,
        /// Path in the container.
        pub destination: String,
        /// Volume driver.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub driver: String,
        /// Options as given.
        pub mode: String,
        /// Writable.
        #[serde(rename = "RW")]
        pub rw: bool,
        /// Mount propagation.
        pub propagation: String,
    }

    /// Where the root file system comes from.
    pub struct GraphDriver {
        /// `overlay2`.
        pub name: String,
        /// Directories.
        pub data: BTreeMap<String, String>,
    }

    /// Network settings: ports and endpoints, and the legacy fields of the default bridge.
    pub struct NetworkSettings {
        /// Legacy.
        pub bridge: String,
        /// Network namespace's id.
        #[serde(rename = "SandboxID")]
        pub sandbox_id: String,
        /// Path of the network namespace.
        pub sandbox_key: String,
        /// Legacy.
        pub hairpin_mode: bool,
        /// Legacy.
        #[serde(rename = "LinkLocalIPv6Address")]
        pub link_local_ipv6_address: String,
        /// Legacy.
        #[serde(rename = "LinkLocalIPv6PrefixLen")]
        pub link_local_ipv6_prefix_len: i64,
        /// Legacy.
        #[serde(rename = "SecondaryIPAddresses")]
        pub secondary_ip_addresses: Option<Vec<Empty>>,
        /// Legacy.
        #[serde(rename = "SecondaryIPv6Addresses")]
        pub secondary_ipv6_addresses: Option<Vec<Empty>>,
        /// Ports by `port/protocol`.
        pub ports: PortMap,
        /// Legacy.
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        /// Legacy.
        pub gateway: String,
        /// Legacy.
        #[serde(rename = "IPAddress")]
        pub ip_address: String,
        /// Legacy.
        #[serde(rename = "IPPrefixLen")]
        pub ip_prefix_len: i64,
        /// Legacy.
        #[serde(rename = "IPv6Gateway")]
        pub ipv6_gateway: String,
        /// Legacy.
        #[serde(rename = "GlobalIPv6Address")]
        pub global_ipv6_address: String,
        /// Legacy.
        #[serde(rename = "GlobalIPv6PrefixLen")]
        pub global_ipv6_prefix_len: i64,
        /// Legacy.
        pub mac_address: String,
        /// By network name.
        pub networks: BTreeMap<String, EndpointSettings>,
    }

    /// Everything about a container.
    pub struct ContainerInspect {
        /// Full id.
        pub id: String,
        /// RFC 3339.
        pub created: String,
        /// What is executed.
        pub path: String,
        /// Its arguments.
        pub args: Vec<String>,
        /// State.
        pub state: ContainerState,
        /// Image id.
        pub image: String,
        /// Path of our file.
        pub resolv_conf_path: String,
        /// Path of our file.
        pub hostname_path: String,
        /// Path of our file.
        pub hosts_path: String,
        /// Path of the log.
        pub log_path: String,
        /// With a leading `/`.
        pub name: String,
        /// How often the engine started it again.
        pub restart_count: i64,
        /// `overlay2`.
        pub driver: String,
        /// `linux`.
        pub platform: String,
        /// SELinux label of mounts.
        pub mount_label: String,
        /// SELinux label of processes.
        pub process_label: String,
        /// AppArmor profile.
        pub app_armor_profile: String,
        /// Running execs.
        #[serde(rename = "ExecIDs")]
        pub exec_ids: Option<Vec<String>>,
        /// As given, with defaults filled in.
        pub host_config: HostConfig,
        /// Root file system.
        pub graph_driver: GraphDriver,
        /// Bytes of the writable layer, when asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_rw: Option<i64>,
        /// Bytes of all layers, when asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_root_fs: Option<i64>,
        /// Mounts.
        pub mounts: Vec<MountPoint>,
        /// As given, merged with the image's.
        pub config: ContainerConfig,
        /// Networks.
        pub network_settings: NetworkSettings,
    }
}
