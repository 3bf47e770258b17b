//! The options of `container run` and `container create`, in Docker's words.

use clap::Args;
use hoist_compose::model::{ByteSize, ComposeDuration};

/// Everything that describes a container to be made.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct CreateFlags {
    #[command(flatten)]
    pub(crate) process: ProcessFlags,
    #[command(flatten)]
    pub(crate) health: HealthFlags,
    #[command(flatten)]
    pub(crate) network: NetworkFlags,
    #[command(flatten)]
    pub(crate) mounts: MountFlags,
    #[command(flatten)]
    pub(crate) limits: LimitFlags,
    #[command(flatten)]
    pub(crate) rights: RightFlags,

    /// Name of the container
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Write the container's id into this file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<String>,

    /// When to fetch the image
    #[arg(long, value_name = "POLICY", value_parser = ["always", "missing", "never"], default_value = "missing")]
    pub(crate) pull: String,

    /// Platform of the image, as os/arch
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// Fetch the image without showing progress
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Remove the container when it ends
    #[arg(long)]
    pub(crate) rm: bool,

    /// When the engine starts it again: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY", default_value = "no")]
    pub(crate) restart: String,

    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    pub(crate) help: Option<bool>,
}

/// What is executed, as whom, with what around it.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct ProcessFlags {
    /// Set a variable; without a value it has ours; repeatable
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<String>,
    /// Set the variables of a file; repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<String>,
    /// As this user (name or uid, with :group)
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// In this directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Instead of the image's entry point
    #[arg(long, value_name = "COMMAND")]
    pub(crate) entrypoint: Option<String>,
    /// With a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Keep standard input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Join only these streams (stdin, stdout, stderr); repeatable
    #[arg(short, long, value_name = "STREAM", ignore_case = true, value_parser = ["stdin", "stdout", "stderr"])]
    pub(crate) attach: Vec<String>,
    /// Host name
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// NIS domain name
    #[arg(long, value_name = "NAME")]
    pub(crate) domainname: Option<String>,
    /// Label; repeatable
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// Labels of a file; repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) label_file: Vec<String>,
    /// Annotation for the runtime; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) annotation: Vec<String>,
    /// Signal that asks it to stop
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// Seconds that it gets to stop before it is killed
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) stop_timeout: Option<i64>,
    /// Run a small init as its first process
    #[arg(long)]
    pub(crate) init: bool,
    /// How its output is kept
    #[arg(long, value_name = "DRIVER")]
    pub(crate) log_driver: Option<String>,
    /// Option of the log's driver; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) log_opt: Vec<String>,
    /// Runtime
    #[arg(long, value_name = "NAME")]
    pub(crate) runtime: Option<String>,
    /// Only on Windows
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) isolation: Option<String>,
}

/// How its health is checked.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct HealthFlags {
    /// Command that checks its health
    #[arg(long, value_name = "COMMAND")]
    pub(crate) health_cmd: Option<String>,
    /// Time between checks
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_interval: Option<ComposeDuration>,
    /// Failures in a row that make it unhealthy
    #[arg(long, value_name = "N")]
    pub(crate) health_retries: Option<i64>,
    /// Time during which failures do not count
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_start_period: Option<ComposeDuration>,
    /// Time between checks during the start period
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_start_interval: Option<ComposeDuration>,
    /// Time after which a check counts as failed
    #[arg(long, value_name = "DURATION")]
    pub(crate) health_timeout: Option<ComposeDuration>,
    /// No health check, whatever the image says
    #[arg(long)]
    pub(crate) no_healthcheck: bool,
}

/// How it is networked.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct NetworkFlags {
    /// Publish a port: [[ADDRESS:]HOST_PORT:]PORT[/PROTOCOL]; repeatable
    #[arg(short, long, value_name = "PORT")]
    pub(crate) publish: Vec<String>,
    /// Publish every exposed port on a free one
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// Expose a port or range; repeatable
    #[arg(long, value_name = "PORT")]
    pub(crate) expose: Vec<String>,
    /// Network: a name, bridge, host, none, container:NAME, or name=NET,alias=A,ip=IP,…; repeatable
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    pub(crate) network: Vec<String>,
    /// Further name in the network; repeatable
    #[arg(long, alias = "net-alias", value_name = "NAME")]
    pub(crate) network_alias: Vec<String>,
    /// IPv4 address in the network
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<String>,
    /// IPv6 address in the network
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip6: Option<String>,
    /// Link-local address; repeatable
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) link_local_ip: Vec<String>,
    /// MAC address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mac_address: Option<String>,
    /// Link to another container, NAME[:ALIAS]; repeatable
    #[arg(long, value_name = "CONTAINER")]
    pub(crate) link: Vec<String>,
    /// Name server; repeatable
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<String>,
    /// Option of the resolver; repeatable
    #[arg(long, alias = "dns-opt", value_name = "OPTION")]
    pub(crate) dns_option: Vec<String>,
    /// Search domain; repeatable
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_search: Vec<String>,
    /// Line of /etc/hosts, NAME:ADDRESS; repeatable
    #[arg(long, value_name = "HOST:ADDRESS")]
    pub(crate) add_host: Vec<String>,
}

/// What is mounted into it.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct MountFlags {
    /// Mount a volume or a directory: [SOURCE:]TARGET[:OPTIONS]; repeatable
    #[arg(short, long, value_name = "VOLUME")]
    pub(crate) volume: Vec<String>,
    /// Mount, in the long form: type=bind,source=…,target=…; repeatable
    #[arg(long, value_name = "MOUNT")]
    pub(crate) mount: Vec<String>,
    /// Mount a memory file system: TARGET[:OPTIONS]; repeatable
    #[arg(long, value_name = "TARGET")]
    pub(crate) tmpfs: Vec<String>,
    /// Mount what another container mounts; repeatable
    #[arg(long, value_name = "CONTAINER[:ro]")]
    pub(crate) volumes_from: Vec<String>,
    /// Driver of volumes that are made for it
    #[arg(long, value_name = "DRIVER")]
    pub(crate) volume_driver: Option<String>,
    /// Option of the writable layer; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) storage_opt: Vec<String>,
    /// Its root file system is read-only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Give it a device: SOURCE[:TARGET[:rwm]]; repeatable
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Vec<String>,
    /// Rule about devices, as "c 13:* rwm"; repeatable
    #[arg(long, value_name = "RULE")]
    pub(crate) device_cgroup_rule: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES")]
    pub(crate) shm_size: Option<ByteSize>,
}

/// What it may use.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct LimitFlags {
    /// Most memory
    #[arg(short, long, value_name = "BYTES")]
    pub(crate) memory: Option<ByteSize>,
    /// Memory that it keeps when memory is short
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory_reservation: Option<ByteSize>,
    /// Most memory and swap together, -1 for no limit
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub(crate) memory_swap: Option<ByteSize>,
    /// How willingly it is swapped out, 0 to 100
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) memory_swappiness: Option<i64>,
    /// Processors
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<f64>,
    /// Relative weight for processor time
    #[arg(short, long, value_name = "N")]
    pub(crate) cpu_shares: Option<i64>,
    /// Microseconds of a scheduling period
    #[arg(long, value_name = "N")]
    pub(crate) cpu_period: Option<i64>,
    /// Microseconds of processor time in a period
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) cpu_quota: Option<i64>,
    /// Microseconds of a real-time period
    #[arg(long, value_name = "N")]
    pub(crate) cpu_rt_period: Option<i64>,
    /// Microseconds of real-time in a period
    #[arg(long, value_name = "N")]
    pub(crate) cpu_rt_runtime: Option<i64>,
    /// Processors that it may use, as 0-2,4
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes that it may use
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,
    /// Most processes, -1 for no limit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) pids_limit: Option<i64>,
    /// Resource limit NAME=SOFT[:HARD]; repeatable
    #[arg(long, value_name = "LIMIT")]
    pub(crate) ulimit: Vec<String>,
    /// Weight of block input and output, 10 to 1000
    #[arg(long, value_name = "N")]
    pub(crate) blkio_weight: Option<u16>,
    /// Weight by device, PATH:WEIGHT; repeatable
    #[arg(long, value_name = "DEVICE")]
    pub(crate) blkio_weight_device: Vec<String>,
    /// Most bytes read a second, PATH:RATE; repeatable
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device_read_bps: Vec<String>,
    /// Most bytes written a second, PATH:RATE; repeatable
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device_write_bps: Vec<String>,
    /// Most reads a second, PATH:RATE; repeatable
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device_read_iops: Vec<String>,
    /// Most writes a second, PATH:RATE; repeatable
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device_write_iops: Vec<String>,
    /// Do not kill it when memory runs out
    #[arg(long)]
    pub(crate) oom_kill_disable: bool,
    /// How willingly it is killed when memory runs out, -1000 to 1000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) oom_score_adj: Option<i64>,
    /// Parent control group
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup_parent: Option<String>,
    /// GPUs: not supported
    #[arg(long, value_name = "GPUS")]
    pub(crate) gpus: Option<String>,
}

/// What it may do.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct RightFlags {
    /// Add a capability; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<String>,
    /// Take a capability away; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<String>,
    /// Everything is allowed
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Security option, as no-new-privileges or seccomp=FILE; repeatable
    #[arg(long, value_name = "OPTION")]
    pub(crate) security_opt: Vec<String>,
    /// Supplementary group; repeatable
    #[arg(long, value_name = "GROUP")]
    pub(crate) group_add: Vec<String>,
    /// Kernel parameter of its namespaces; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) sysctl: Vec<String>,
    /// Namespace of processes: host or container:NAME
    #[arg(long, value_name = "MODE")]
    pub(crate) pid: Option<String>,
    /// Namespace of shared memory: none, private, shareable, host or container:NAME
    #[arg(long, value_name = "MODE")]
    pub(crate) ipc: Option<String>,
    /// Namespace of host names: host
    #[arg(long, value_name = "MODE")]
    pub(crate) uts: Option<String>,
    /// Namespace of users: host
    #[arg(long, value_name = "MODE")]
    pub(crate) userns: Option<String>,
    /// Namespace of control groups: private or host
    #[arg(long, value_name = "MODE")]
    pub(crate) cgroupns: Option<String>,
}
