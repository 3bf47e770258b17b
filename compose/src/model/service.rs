//! A service: one kind of container of the project.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{
    Build, ByteSize, ComposeDuration, Deploy, Develop, DeviceRequest, Extensions, FileReference,
    Healthcheck, Mount, NetworkAttachment, Port,
};

/// A service. Attributes have the Compose Specification's names and meaning; unset ones are left to the image or the engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Key in `services`.
    #[serde(skip)]
    pub name: String,
    /// Profiles that enable it; none means always enabled.
    pub profiles: Vec<String>,
    /// OCI annotations.
    pub annotations: IndexMap<String, String>,
    /// Whether `up` shows its logs; none means yes.
    pub attach: Option<bool>,
    /// How to build its image.
    pub build: Option<Box<Build>>,
    /// Development settings.
    pub develop: Option<Develop>,
    /// Block device limits.
    pub blkio_config: Option<Box<BlkioConfig>>,
    /// Capabilities to add.
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    pub cap_drop: Vec<String>,
    /// Parent control group.
    pub cgroup_parent: Option<String>,
    /// Control group namespace: `host` or `private`.
    pub cgroup: Option<String>,
    /// Processors (Windows).
    pub cpu_count: i64,
    /// Percentage of the processors (Windows).
    pub cpu_percent: f64,
    /// CFS period in microseconds.
    pub cpu_period: i64,
    /// CFS quota in microseconds.
    pub cpu_quota: i64,
    /// Real-time period in microseconds.
    pub cpu_rt_period: i64,
    /// Real-time runtime in microseconds.
    pub cpu_rt_runtime: i64,
    /// Processors, fractions allowed.
    pub cpus: f64,
    /// Processors it may run on (`0-3`, `0,1`).
    pub cpuset: Option<String>,
    /// Relative weight.
    pub cpu_shares: i64,
    /// The command. None: the image's; an empty list: none at all.
    pub command: Option<Vec<String>>,
    /// Configs given as files.
    pub configs: Vec<FileReference>,
    /// The container's name, used verbatim.
    pub container_name: Option<String>,
    /// Windows credentials.
    pub credential_spec: Option<Box<CredentialSpec>>,
    /// What must be there before it starts, by service name.
    pub depends_on: IndexMap<String, Dependency>,
    /// Replicas, resources, restart policy.
    pub deploy: Option<Box<Deploy>>,
    /// Device control group rules (`c 1:3 rmw`).
    pub device_cgroup_rules: Vec<String>,
    /// Devices.
    pub devices: Vec<DeviceMapping>,
    /// DNS servers.
    pub dns: Vec<String>,
    /// Resolver options.
    pub dns_opt: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Domain name.
    pub domainname: Option<String>,
    /// The entrypoint. None: the image's; an empty list: none at all.
    pub entrypoint: Option<Vec<String>>,
    /// The service is run by this program instead of a container.
    pub provider: Option<Box<Provider>>,
    /// Variables, with those of `env_file` merged in; none means "unset, and hide the image's or the file's value".
    pub environment: IndexMap<String, Option<String>>,
    /// Files of variables; empty once they are resolved into `environment`.
    pub env_file: Vec<EnvFile>,
    /// Ports for other containers to know.
    pub expose: Vec<String>,
    /// Containers outside the project to link.
    pub external_links: Vec<String>,
    /// `host=address` entries of `/etc/hosts`.
    pub extra_hosts: Vec<String>,
    /// Further groups.
    pub group_add: Vec<String>,
    /// GPUs.
    pub gpus: Vec<DeviceRequest>,
    /// Host name.
    pub hostname: Option<String>,
    /// Health check; none means the image's.
    pub healthcheck: Option<Box<Healthcheck>>,
    /// Image reference.
    pub image: Option<String>,
    /// Run a small init as process 1.
    pub init: Option<bool>,
    /// IPC namespace: `none`, `private`, `shareable`, `host`, `service:x`, `container:x`.
    pub ipc: Option<String>,
    /// Isolation technology (Windows).
    pub isolation: Option<String>,
    /// Labels of the containers.
    pub labels: IndexMap<String, String>,
    /// Files of labels; empty once they are resolved into `labels`.
    pub label_file: Vec<String>,
    /// `service[:alias]` links.
    pub links: Vec<String>,
    /// Log driver and its options.
    pub logging: Option<Box<Logging>>,
    /// Memory limit.
    pub mem_limit: ByteSize,
    /// Memory reservation.
    pub mem_reservation: ByteSize,
    /// Limit of memory and swap together; -1 means unlimited swap.
    pub memswap_limit: ByteSize,
    /// Swappiness, 0 to 100.
    pub mem_swappiness: ByteSize,
    /// MAC address.
    pub mac_address: Option<String>,
    /// Language models it uses.
    pub models: IndexMap<String, Option<ModelBinding>>,
    /// `none`, `host`, `bridge`, `service:x`, `container:x`; excludes `networks`.
    pub network_mode: Option<String>,
    /// Networks by key; none means no options.
    pub networks: IndexMap<String, Option<NetworkAttachment>>,
    /// Do not let the kernel kill it when memory is short.
    pub oom_kill_disable: bool,
    /// OOM score adjustment, -1000 to 1000.
    pub oom_score_adj: i64,
    /// PID namespace: `host`, `service:x`, `container:x`.
    pub pid: Option<String>,
    /// Processes and threads; -1 means unlimited.
    pub pids_limit: i64,
    /// `os[/arch[/variant]]`.
    pub platform: Option<String>,
    /// Ports.
    pub ports: Vec<Port>,
    /// Extended privileges.
    pub privileged: bool,
    /// `always`, `never`, `missing`, `build`, `refresh`, `daily`, `weekly`, `every_…`.
    pub pull_policy: Option<String>,
    /// Age after which an image is refreshed.
    pub pull_refresh_after: Option<String>,
    /// Root file system mounted read-only.
    pub read_only: bool,
    /// `no`, `always`, `on-failure[:n]`, `unless-stopped`.
    pub restart: Option<String>,
    /// OCI runtime.
    pub runtime: Option<String>,
    /// Number of containers.
    pub scale: Option<i64>,
    /// Secrets given as files.
    pub secrets: Vec<FileReference>,
    /// Security options (`no-new-privileges:true`, `seccomp=unconfined`).
    pub security_opt: Vec<String>,
    /// Size of `/dev/shm`.
    pub shm_size: ByteSize,
    /// Keep standard input open.
    pub stdin_open: bool,
    /// Time between the stop signal and SIGKILL; none means 10 s.
    pub stop_grace_period: Option<ComposeDuration>,
    /// Signal that stops it; none means the image's or SIGTERM.
    pub stop_signal: Option<String>,
    /// Storage driver options.
    pub storage_opt: IndexMap<String, String>,
    /// Kernel parameters of its namespaces.
    pub sysctls: IndexMap<String, String>,
    /// Temporary file systems: `path[:options]`.
    pub tmpfs: Vec<String>,
    /// Give it a terminal.
    pub tty: bool,
    /// Resource limits by name.
    pub ulimits: IndexMap<String, Ulimit>,
    /// Mount the engine's socket.
    pub use_api_socket: bool,
    /// `user[:group]`, by name or number.
    pub user: Option<String>,
    /// User namespace.
    pub userns_mode: Option<String>,
    /// UTS namespace: `host`.
    pub uts: Option<String>,
    /// Mounts.
    pub volumes: Vec<Mount>,
    /// Services or `container:name` whose mounts are taken over, with `:ro` or `:rw`.
    pub volumes_from: Vec<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Init containers to run to completion before it starts.
    pub pre_start: Vec<PreStartHook>,
    /// Commands to run in the container after it started.
    pub post_start: Vec<Hook>,
    /// Commands to run in the container before it is stopped.
    pub pre_stop: Vec<Hook>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

impl Service {
    /// How many containers it has: `scale`, else `deploy.replicas`, else 1.
    pub fn replicas(&self) -> u32 {
        let wanted = self
            .scale
            .or_else(|| self.deploy.as_ref().and_then(|deploy| deploy.replicas))
            .unwrap_or(1);
        u32::try_from(wanted).unwrap_or(0)
    }
}

/// What must be true of a dependency before the dependent starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DependencyCondition {
    /// `service_started`.
    #[default]
    #[serde(rename = "service_started")]
    Started,
    /// `service_healthy`.
    #[serde(rename = "service_healthy")]
    Healthy,
    /// `service_completed_successfully`.
    #[serde(rename = "service_completed_successfully")]
    CompletedSuccessfully,
}

/// One entry of `depends_on`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dependency {
    /// What must be true of it.
    pub condition: DependencyCondition,
    /// Restart the dependent after the dependency was restarted or recreated.
    pub restart: bool,
    /// When false, a missing or failing dependency only warns.
    pub required: bool,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

impl Default for Dependency {
    fn default() -> Self {
        Self {
            condition: DependencyCondition::Started,
            restart: false,
            required: true,
            extensions: Extensions::default(),
        }
    }
}

/// A resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ulimit {
    /// The same soft and hard limit.
    Single(i64),
    /// Different limits.
    Range {
        /// Enforced limit.
        soft: i64,
        /// Ceiling of the soft limit.
        hard: i64,
    },
}

impl Ulimit {
    /// Soft and hard limit; -1 means unlimited.
    pub const fn soft_and_hard(self) -> (i64, i64) {
        match self {
            Self::Single(value) => (value, value),
            Self::Range { soft, hard } => (soft, hard),
        }
    }
}

/// Log driver and its options.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Logging {
    /// Driver; none means `json-file`.
    pub driver: Option<String>,
    /// Options.
    pub options: IndexMap<String, String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// A device given to the containers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceMapping {
    /// Host path, or a CDI name.
    pub source: String,
    /// Path in the container.
    pub target: Option<String>,
    /// Some of `r`, `w`, `m`.
    pub permissions: Option<String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// A file of variables.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvFile {
    /// Its path.
    pub path: String,
    /// A missing file is an error.
    pub required: bool,
    /// `raw`, or the dotenv grammar when none.
    pub format: Option<String>,
}

/// A command run in the container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// The command.
    pub command: Option<Vec<String>>,
    /// User to run it as.
    pub user: Option<String>,
    /// With extended privileges.
    pub privileged: bool,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Further variables.
    pub environment: IndexMap<String, Option<String>>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// An init container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PreStartHook {
    /// The command; none means the image's.
    pub command: Option<Vec<String>>,
    /// The image; the service's own when the file names none.
    pub image: Option<String>,
    /// User to run it as.
    pub user: Option<String>,
    /// With extended privileges.
    pub privileged: bool,
    /// Once for each replica instead of once for the service.
    pub per_replica: bool,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Further variables.
    pub environment: IndexMap<String, Option<String>>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// How a service learns where its model is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelBinding {
    /// Variable for the endpoint's URL.
    pub endpoint_var: Option<String>,
    /// Variable for the model's name.
    pub model_var: Option<String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// A program that runs the service instead of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provider {
    /// The program.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its options, each one or more times.
    pub options: IndexMap<String, Vec<String>>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Windows credentials.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CredentialSpec {
    /// Key of a config.
    pub config: Option<String>,
    /// A file.
    pub file: Option<String>,
    /// A registry entry.
    pub registry: Option<String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Block device limits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlkioConfig {
    /// Relative weight, 10 to 1000.
    pub weight: u16,
    /// Weights of devices.
    pub weight_device: Vec<DeviceWeight>,
    /// Bytes read per second.
    pub device_read_bps: Vec<DeviceRate>,
    /// Reads per second.
    pub device_read_iops: Vec<DeviceRate>,
    /// Bytes written per second.
    pub device_write_bps: Vec<DeviceRate>,
    /// Writes per second.
    pub device_write_iops: Vec<DeviceRate>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Weight of a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceWeight {
    /// Device node.
    pub path: String,
    /// Weight, 10 to 1000.
    pub weight: u16,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Rate limit of a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRate {
    /// Device node.
    pub path: String,
    /// Bytes or operations per second.
    pub rate: ByteSize,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}
