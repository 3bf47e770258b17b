//! The engine itself: version, information, and our own status under `/hoist/`.

use std::collections::BTreeMap;

use crate::wire::{Empty, wire};

wire! {
    /// A part of the engine with its version.
    pub struct ComponentVersion {
        /// Name.
        pub name: String,
        /// Version.
        pub version: String,
        /// Details.
        pub details: BTreeMap<String, String>,
    }

    /// The platform's name.
    pub struct PlatformInfo {
        /// Name.
        pub name: String,
    }

    /// Versions.
    pub struct Version {
        /// Platform.
        pub platform: PlatformInfo,
        /// Parts.
        pub components: Vec<ComponentVersion>,
        /// The engine's version.
        pub version: String,
        /// Newest API version.
        pub api_version: String,
        /// Oldest API version.
        #[serde(rename = "MinAPIVersion")]
        pub min_api_version: String,
        /// Revision built from.
        pub git_commit: String,
        /// Compiler; the field is named for Docker's.
        pub go_version: String,
        /// `linux`.
        pub os: String,
        /// `amd64`, …
        pub arch: String,
        /// Kernel release.
        pub kernel_version: String,
        /// RFC 3339.
        pub build_time: String,
    }

    /// Drivers known.
    pub struct Plugins {
        /// Volume drivers.
        pub volume: Vec<String>,
        /// Network drivers.
        pub network: Vec<String>,
        /// Authorisation plug-ins.
        pub authorization: Option<Vec<String>>,
        /// Log drivers.
        pub log: Vec<String>,
    }

    /// A runtime known.
    pub struct Runtime {
        /// Program.
        #[serde(rename = "path")]
        pub path: String,
    }

    /// State of swarm mode: always inactive.
    pub struct SwarmInfo {
        /// Empty.
        #[serde(rename = "NodeID")]
        pub node_id: String,
        /// `inactive`.
        pub local_node_state: String,
        /// No.
        pub control_available: bool,
        /// Empty.
        pub node_addr: String,
        /// Empty.
        pub error: String,
        /// None.
        pub remote_managers: Option<Vec<Empty>>,
    }

    /// A program by its version.
    pub struct Commit {
        /// The version.
        #[serde(rename = "ID")]
        pub id: String,
        /// The same, up to version 1.48 of the API.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub expected: String,
    }

    /// A range that networks get their subnets from.
    pub struct DefaultPool {
        /// The range.
        pub base: String,
        /// Prefix length of the subnets.
        pub size: i64,
    }

    /// A registry and how it is spoken to.
    pub struct IndexInfo {
        /// Its name.
        pub name: String,
        /// Others that have the same.
        pub mirrors: Vec<String>,
        /// Certificates are checked.
        pub secure: bool,
        /// The one of names without a registry.
        pub official: bool,
    }

    /// Registries and how they are spoken to.
    pub struct RegistryConfig {
        /// Ranges of addresses whose registries need no certificate.
        #[serde(rename = "InsecureRegistryCIDRs")]
        pub insecure_registry_cidrs: Vec<String>,
        /// By name.
        pub index_configs: BTreeMap<String, IndexInfo>,
        /// Others that have the same as the official one.
        pub mirrors: Vec<String>,
    }

    /// What filters packets.
    pub struct FirewallBackend {
        /// `nftables`.
        pub driver: String,
        /// Facts about it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub info: Vec<[String; 2]>,
    }

    /// Facts about engine and host.
    pub struct Info {
        /// Identity of the engine.
        #[serde(rename = "ID")]
        pub id: String,
        /// Containers in all.
        pub containers: i64,
        /// Running.
        pub containers_running: i64,
        /// Paused.
        pub containers_paused: i64,
        /// Stopped.
        pub containers_stopped: i64,
        /// Images.
        pub images: i64,
        /// `overlay2`.
        pub driver: String,
        /// Facts about the driver.
        pub driver_status: Vec<[String; 2]>,
        /// Known drivers.
        pub plugins: Plugins,
        /// Limits work.
        pub memory_limit: bool,
        /// Of no kernel any more.
        #[serde(rename = "KernelMemoryTCP", skip_serializing_if = "std::ops::Not::not")]
        pub kernel_memory_tcp: bool,
        /// Of versions up to 1.49 of the API, where it is always false.
        #[serde(rename = "BridgeNfIptables", skip_serializing_if = "Option::is_none")]
        pub bridge_nf_iptables: Option<bool>,
        /// The same.
        #[serde(rename = "BridgeNfIp6tables", skip_serializing_if = "Option::is_none")]
        pub bridge_nf_ip6tables: Option<bool>,
        /// What filters packets; from version 1.49 of the API on.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub firewall_backend: Option<FirewallBackend>,
        /// Logs everything.
        pub debug: bool,
        /// Open descriptors.
        #[serde(rename = "NFd")]
        pub open_descriptors: i64,
        /// Threads; of Docker's engine goroutines.
        #[serde(rename = "NGoroutines")]
        pub threads: i64,
        /// Who follows events.
        #[serde(rename = "NEventsListener")]
        pub event_listeners: i64,
        /// Limits work.
        pub swap_limit: bool,
        /// Limits work.
        #[serde(rename = "CpuCfsPeriod")]
        pub cpu_cfs_period: bool,
        /// Limits work.
        #[serde(rename = "CpuCfsQuota")]
        pub cpu_cfs_quota: bool,
        /// Limits work.
        #[serde(rename = "CPUShares")]
        pub cpu_shares: bool,
        /// Limits work.
        #[serde(rename = "CPUSet")]
        pub cpu_set: bool,
        /// Limits work.
        pub pids_limit: bool,
        /// Forwarding is on.
        #[serde(rename = "IPv4Forwarding")]
        pub ipv4_forwarding: bool,
        /// v1 only.
        pub oom_kill_disable: bool,
        /// RFC 3339.
        pub system_time: String,
        /// `json-file`.
        pub logging_driver: String,
        /// `cgroupfs`.
        pub cgroup_driver: String,
        /// `1` or `2`.
        pub cgroup_version: String,
        /// Kernel release.
        pub kernel_version: String,
        /// Distribution.
        pub operating_system: String,
        /// Its version.
        #[serde(rename = "OSVersion")]
        pub os_version: String,
        /// `linux`.
        #[serde(rename = "OSType")]
        pub os_type: String,
        /// `x86_64`, …
        pub architecture: String,
        /// Where names without a registry are looked for.
        pub index_server_address: String,
        /// Registries and how they are spoken to.
        pub registry_config: RegistryConfig,
        /// Only of swarms.
        pub generic_resources: Option<Vec<serde_json::Value>>,
        /// Proxy of the engine.
        pub http_proxy: String,
        /// Proxy of the engine.
        pub https_proxy: String,
        /// Where no proxy is used.
        pub no_proxy: String,
        /// Processors.
        #[serde(rename = "NCPU")]
        pub ncpu: i64,
        /// Bytes.
        pub mem_total: i64,
        /// The engine's root directory.
        pub docker_root_dir: String,
        /// Host name.
        pub name: String,
        /// Labels of the engine.
        pub labels: Vec<String>,
        /// No.
        pub experimental_build: bool,
        /// The engine's version.
        pub server_version: String,
        /// Runtimes known.
        pub runtimes: BTreeMap<String, Runtime>,
        /// The one used.
        pub default_runtime: String,
        /// Swarm mode.
        pub swarm: SwarmInfo,
        /// Containers survive the engine.
        pub live_restore_enabled: bool,
        /// Empty.
        pub isolation: String,
        /// Program used for `init: true`.
        pub init_binary: String,
        /// None: this engine runs containers itself.
        #[serde(rename = "ContainerdCommit")]
        pub containerd_commit: Commit,
        /// None: this engine runs containers itself.
        #[serde(rename = "RuncCommit")]
        pub runc_commit: Commit,
        /// The version of the init.
        #[serde(rename = "InitCommit")]
        pub init_commit: Commit,
        /// Ranges that networks get their subnets from.
        pub default_address_pools: Vec<DefaultPool>,
        /// `name=seccomp,profile=builtin`, …
        pub security_options: Vec<String>,
        /// What is wrong with the host.
        pub warnings: Vec<String>,
    }

    /// A layer of the build cache.
    pub struct BuildCacheRecord {
        /// Its id.
        #[serde(rename = "ID")]
        pub id: String,
        /// Kind, such as `regular`.
        #[serde(rename = "Type")]
        pub kind: String,
        /// What made it.
        pub description: String,
        /// A build uses it now.
        pub in_use: bool,
        /// An image uses it, too.
        pub shared: bool,
        /// Bytes.
        pub size: i64,
        /// RFC 3339.
        pub created_at: String,
        /// RFC 3339.
        pub last_used_at: Option<String>,
        /// How often builds used it.
        pub usage_count: i64,
    }

    /// What takes room on the disk.
    pub struct DataUsage {
        /// Bytes of all image layers, each counted once.
        pub layers_size: i64,
        /// Images, with shared sizes and numbers of containers.
        pub images: Vec<crate::image::ImageSummary>,
        /// Containers, with sizes.
        pub containers: Vec<crate::container::ContainerSummary>,
        /// Volumes, with usage.
        pub volumes: Vec<crate::volume::Volume>,
        /// The build cache.
        pub build_cache: Vec<BuildCacheRecord>,
    }

    /// Our own facts, under `/hoist/status`.
    pub struct EngineStatus {
        /// The engine's process id.
        pub pid: i64,
        /// The engine's version.
        pub version: String,
        /// Root directory.
        pub root: String,
        /// State directory.
        pub state: String,
        /// Socket.
        pub socket: String,
        /// RFC 3339.
        pub started_at: String,
        /// Containers in all.
        pub containers: i64,
        /// Containers running.
        pub running: i64,
        /// Seconds with nothing to run after which it leaves; none: it stays until it is told to leave.
        pub idle_exit: Option<u64>,
    }
}

/// Answer to a ping, from its headers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ping {
    /// Newest API version of the server, as `1.41`.
    pub api_version: String,
    /// `linux`.
    pub os_type: String,
    /// `Hoist/0.1.0 (linux)`.
    pub server: String,
}
