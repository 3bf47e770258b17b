//! The part of a container's description that ties it to the host: limits, mounts, ports, privileges.

use std::collections::BTreeMap;

use crate::wire::{Empty, wire};

/// Ports by `port/protocol`; `null` means exposed but not published.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

wire! {
    /// Where a port is published on the host.
    pub struct PortBinding {
        /// Host address; empty: all.
        pub host_ip: String,
        /// Host port or range `8000-8010`; empty or `0`: any free one.
        pub host_port: String,
    }

    /// When the engine starts a container again by itself.
    pub struct RestartPolicy {
        /// ``, `no`, `always`, `unless-stopped` or `on-failure`.
        pub name: String,
        /// For `on-failure`: attempts, 0 for no limit.
        pub maximum_retry_count: i64,
    }

    /// How output is kept.
    pub struct LogConfig {
        /// `json-file`, `local`, `none`; empty: `json-file`.
        #[serde(rename = "Type")]
        pub driver: String,
        /// Options: `max-size`, `max-file`.
        pub config: BTreeMap<String, String>,
    }

    /// A resource limit of the processes.
    pub struct Ulimit {
        /// Name without `RLIMIT_`, in lower case.
        pub name: String,
        /// Hard limit, -1 for none.
        pub hard: i64,
        /// Soft limit, -1 for none.
        pub soft: i64,
    }

    /// A device of the host given to the container.
    pub struct DeviceMapping {
        /// Path on the host.
        pub path_on_host: String,
        /// Path in the container.
        pub path_in_container: String,
        /// Letters of `rwm`.
        pub cgroup_permissions: String,
    }

    /// A request for devices by driver (GPUs).
    pub struct DeviceRequest {
        /// Driver.
        pub driver: String,
        /// How many, -1 for all.
        pub count: i64,
        /// Which.
        #[serde(rename = "DeviceIDs")]
        pub device_ids: Vec<String>,
        /// Alternatives of sets of capabilities.
        pub capabilities: Vec<Vec<String>>,
        /// Driver options.
        pub options: BTreeMap<String, String>,
    }

    /// A weight of a block device.
    pub struct WeightDevice {
        /// Path of the device.
        pub path: String,
        /// 10 to 1000.
        pub weight: u16,
    }

    /// A throttle of a block device.
    pub struct ThrottleDevice {
        /// Path of the device.
        pub path: String,
        /// Bytes or operations a second.
        pub rate: u64,
    }

    /// Options of a bind mount.
    pub struct BindOptions {
        /// `rprivate`, `private`, `rshared`, `shared`, `rslave`, `slave`.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub propagation: String,
        /// Without the mounts below the source.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub non_recursive: bool,
        /// Create the source directory when it is missing.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub create_mountpoint: bool,
        /// Read-only only at the top.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub read_only_non_recursive: bool,
        /// Fail when it cannot be made read-only all the way down.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub read_only_force_recursive: bool,
    }

    /// A driver and its options.
    pub struct DriverConfig {
        /// Name; empty: `local`.
        pub name: String,
        /// Options.
        pub options: BTreeMap<String, String>,
    }

    /// Options of a volume mount.
    pub struct VolumeOptions {
        /// Do not fill a new volume from the image.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub no_copy: bool,
        /// Labels of a volume made for this mount.
        pub labels: BTreeMap<String, String>,
        /// Driver of a volume made for this mount.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub driver_config: Option<DriverConfig>,
        /// Mount only this directory of the volume.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub subpath: String,
    }

    /// Options of a memory file system.
    pub struct TmpfsOptions {
        /// Bytes, 0 for the kernel's default.
        pub size_bytes: i64,
        /// Permission bits, 0 for 1777.
        pub mode: u32,
        /// Further options of the mount: a word, or a name and a value.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub options: Vec<Vec<String>>,
    }

    /// Options of a mount of an image.
    pub struct ImageOptions {
        /// Mount only this directory of the image.
        pub subpath: String,
    }

    /// A mount in the long form.
    pub struct Mount {
        /// `bind`, `volume`, `tmpfs`, `image`, `npipe` or `cluster`.
        #[serde(rename = "Type")]
        pub kind: String,
        /// Path on the host or volume name; empty: anonymous volume or tmpfs.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub source: String,
        /// Path in the container.
        pub target: String,
        /// Read-only.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub read_only: bool,
        /// `default`, `consistent`, `cached` or `delegated`; without effect on Linux.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub consistency: String,
        /// For binds.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub bind_options: Option<BindOptions>,
        /// For volumes.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub volume_options: Option<VolumeOptions>,
        /// For memory file systems.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub tmpfs_options: Option<TmpfsOptions>,
        /// For images.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub image_options: Option<ImageOptions>,
        /// For volumes of a swarm.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub cluster_options: Option<Empty>,
    }

    /// What ties a container to the host.
    pub struct HostConfig {
        /// `source:target[:options]`; the source is a path or a volume name.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub binds: Vec<String>,
        /// File the CLI writes the id to; without meaning here.
        #[serde(rename = "ContainerIDFile")]
        pub container_id_file: String,
        /// How output is kept.
        pub log_config: LogConfig,
        /// ``, `default`, `bridge`, `none`, `host`, `container:<id>` or a network's name.
        pub network_mode: String,
        /// Published ports.
        pub port_bindings: PortMap,
        /// Restarting.
        pub restart_policy: RestartPolicy,
        /// Remove it when it ends.
        pub auto_remove: bool,
        /// Driver for anonymous volumes.
        pub volume_driver: String,
        /// Containers whose volumes are mounted too, `name[:ro]`.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub volumes_from: Vec<String>,
        /// Terminal size at start, height and width.
        pub console_size: [u32; 2],
        /// Annotations for the runtime.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub annotations: BTreeMap<String, String>,
        /// Capabilities added to the default ones.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub cap_add: Vec<String>,
        /// Capabilities taken away.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub cap_drop: Vec<String>,
        /// ``, `private` or `host`.
        pub cgroupns_mode: String,
        /// Name servers.
        pub dns: Vec<String>,
        /// Resolver options.
        pub dns_options: Vec<String>,
        /// Search domains.
        pub dns_search: Vec<String>,
        /// `name:address` lines of the hosts file.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub extra_hosts: Vec<String>,
        /// Supplementary groups.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub group_add: Vec<String>,
        /// ``, `none`, `private`, `shareable`, `host` or `container:<id>`.
        pub ipc_mode: String,
        /// Obsolete.
        pub cgroup: String,
        /// Legacy links `container:alias`.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub links: Vec<String>,
        /// Preference of the out-of-memory killer, -1000 to 1000.
        pub oom_score_adj: i64,
        /// ``, `host` or `container:<id>`.
        pub pid_mode: String,
        /// Everything allowed.
        pub privileged: bool,
        /// Publish every exposed port on a free one.
        pub publish_all_ports: bool,
        /// Root file system read-only.
        pub readonly_rootfs: bool,
        /// `no-new-privileges`, `seccomp=…`, `apparmor=…`, `label=…`, `systempaths=unconfined`.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub security_opt: Vec<String>,
        /// Options of the writable layer.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub storage_opt: BTreeMap<String, String>,
        /// Memory file systems: path to mount options.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub tmpfs: BTreeMap<String, String>,
        /// `` or `host`.
        #[serde(rename = "UTSMode")]
        pub uts_mode: String,
        /// `` or `host`.
        pub userns_mode: String,
        /// Bytes of `/dev/shm`, 0 for 64 MiB.
        pub shm_size: i64,
        /// Kernel parameters of its namespaces.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub sysctls: BTreeMap<String, String>,
        /// Runtime; empty: the engine's own.
        pub runtime: String,
        /// Without meaning on Linux.
        pub isolation: String,
        /// Relative weight, 0 for 1024.
        pub cpu_shares: i64,
        /// Bytes, 0 for no limit.
        pub memory: i64,
        /// Billionths of a processor, 0 for no limit.
        pub nano_cpus: i64,
        /// Parent control group.
        pub cgroup_parent: String,
        /// Block I/O weight, 10 to 1000, 0 for the default.
        pub blkio_weight: u16,
        /// Weights by device.
        pub blkio_weight_device: Vec<WeightDevice>,
        /// Bytes read a second by device.
        pub blkio_device_read_bps: Vec<ThrottleDevice>,
        /// Bytes written a second by device.
        pub blkio_device_write_bps: Vec<ThrottleDevice>,
        /// Reads a second by device.
        #[serde(rename = "BlkioDeviceReadIOps")]
        pub blkio_device_read_iops: Vec<ThrottleDevice>,
        /// Writes a second by device.
        #[serde(rename = "BlkioDeviceWriteIOps")]
        pub blkio_device_write_iops: Vec<ThrottleDevice>,
        /// Microseconds of a scheduling period, 0 for 100 000.
        pub cpu_period: i64,
        /// Microseconds of processor time in a period, 0 or less for no limit.
        pub cpu_quota: i64,
        /// Kernel memory; without meaning since 1.42.
        #[serde(skip_serializing_if = "is_zero")]
        pub kernel_memory: i64,
        /// Kernel memory of TCP's buffers; without meaning since 1.42.
        #[serde(rename = "KernelMemoryTCP", skip_serializing_if = "is_zero")]
        pub kernel_memory_tcp: i64,
        /// Real-time period.
        pub cpu_realtime_period: i64,
        /// Real-time runtime.
        pub cpu_realtime_runtime: i64,
        /// Only on Windows.
        pub cpu_count: i64,
        /// Only on Windows.
        pub cpu_percent: i64,
        /// Only on Windows.
        #[serde(rename = "IOMaximumIOps")]
        pub io_maximum_iops: i64,
        /// Only on Windows.
        #[serde(rename = "IOMaximumBandwidth")]
        pub io_maximum_bandwidth: i64,
        /// Processors it may use, as `0-2,4`.
        pub cpuset_cpus: String,
        /// Memory nodes it may use.
        pub cpuset_mems: String,
        /// Devices of the host.
        pub devices: Vec<DeviceMapping>,
        /// Rules as `c 13:* rwm`.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub device_cgroup_rules: Vec<String>,
        /// Devices by driver.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub device_requests: Vec<DeviceRequest>,
        /// Bytes: soft limit.
        pub memory_reservation: i64,
        /// Bytes of memory and swap together; -1: no limit; 0: twice the memory.
        pub memory_swap: i64,
        /// 0 to 100; absent or -1: the kernel's.
        pub memory_swappiness: Option<i64>,
        /// Do not kill when out of memory (v1 only).
        pub oom_kill_disable: Option<bool>,
        /// Most processes; absent, 0 or -1: no limit.
        pub pids_limit: Option<i64>,
        /// Resource limits.
        pub ulimits: Vec<Ulimit>,
        /// Mounts in the long form.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub mounts: Vec<Mount>,
        /// Paths hidden; absent: the default ones.
        pub masked_paths: Option<Vec<String>>,
        /// Paths made read-only; absent: the default ones.
        pub readonly_paths: Option<Vec<String>>,
        /// Run a small init as process 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub init: Option<bool>,
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes references"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}
