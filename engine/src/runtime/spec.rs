//! What a container is to the kernel: plain values, without Docker's types and without I/O.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hoist_kernel::init::program::Propagation;
use serde::{Deserialize, Serialize};

/// A container to run. Paths inside the container are absolute in its root; all others are the machine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeSpec {
    /// The container's id.
    pub id: String,
    /// Program and arguments, entry point and command joined.
    pub argv: Vec<String>,
    /// Environment, `NAME=value`. `HOME` is added from `/etc/passwd` when it is missing, `TERM` and `PATH` are not.
    pub environment: Vec<String>,
    /// Working directory; made when it is missing.
    pub working_directory: String,
    /// `user[:group]` by name or number, as the image or the user wrote it; empty: root.
    pub user: String,
    /// Further supplementary groups by name or number.
    pub additional_groups: Vec<String>,
    /// Host name; `None` with the machine's UTS namespace.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// The root file system.
    pub root: RootFilesystem,
    /// Mounts of the user, and files of the engine such as `/etc/hosts`, in any order.
    pub mounts: Vec<Mount>,
    /// A terminal of this size; `None`: pipes.
    pub terminal: Option<TerminalSize>,
    /// Privileges.
    pub security: Security,
    /// Devices besides the default ones.
    pub devices: Vec<Device>,
    /// Rules of the form `c 1:3 rwm` besides those of the devices.
    pub device_rules: Vec<String>,
    /// Resource limits of the processes.
    pub limits: Vec<ResourceLimit>,
    /// Kernel parameters, such as `net.core.somaxconn`.
    pub sysctls: BTreeMap<String, String>,
    /// Preference of the out-of-memory killer, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Limits of the whole container.
    pub resources: Resources,
    /// Path of its control group beneath every hierarchy's mount point, without a leading `/`: `hoist/<id>`.
    pub cgroup: PathBuf,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// A user namespace, whose descriptor the engine passes to the shim after that of the network namespace; `None`: the
    /// machine's.
    pub user_namespace: Option<UserNamespace>,
    /// A small init as process 1.
    pub init: bool,
    /// Bytes of `/dev/shm`; `None`: 64 MiB.
    pub shm_size: Option<u64>,
    /// File mode creation mask; `None`: 022.
    pub umask: Option<u32>,
}

/// Where the root comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFilesystem {
    /// Layers, the lowest first. At least one.
    pub layers: Vec<PathBuf>,
    /// The writable layer.
    pub upper: PathBuf,
    /// The kernel's work directory, empty, on the file system of `upper`.
    pub work: PathBuf,
    /// An existing directory of the engine's own that the container's process covers with its root, in its
    /// own mount namespace: nothing is seen mounted there by others.
    pub mount_point: PathBuf,
    /// The root cannot be written.
    pub read_only: bool,
    /// Nothing is synced to disk: lost at a power failure.
    pub volatile: bool,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where, absolute in the container.
    pub target: String,
    /// What.
    pub source: MountSource,
    /// Not writable.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A directory or file of the machine, which must exist.
    Bind {
        /// Its path.
        path: PathBuf,
        /// A path inside it that is mounted instead; links in it stay inside.
        subpath: Option<PathBuf>,
        /// With the mounts below it.
        recursive: bool,
        /// When it is read-only, the mounts below it are not.
        writable_below: bool,
        /// How mounts made later propagate.
        propagation: Propagation,
        /// Whose ids its files have.
        ids: FileIds,
    },
    /// Memory.
    Tmpfs {
        /// Bytes; `None`: half of the memory.
        size: Option<u64>,
        /// Permission bits; `None`: 1777.
        mode: Option<u32>,
        /// Further options of the file system (`uid=1000`, `nr_inodes=1k`) and of mounts (`noexec`, `exec`, …).
        options: Vec<String>,
    },
    /// A detached mount whose descriptor the engine passes to the shim with `Configure`, after that of the network namespace.
    Passed {
        /// Which of them.
        index: usize,
    },
    /// A file system of a device or a server, such as `ext4` of `/dev/sdb1` or `nfs` of `:/export`.
    FileSystem {
        /// Its type, as the kernel names it.
        kind: String,
        /// Where it is, as its type understands it.
        device: String,
        /// Options of the file system and of mounts (`ro`, `noexec`, …), as mount(8) takes them after `-o`.
        options: Vec<String>,
    },
    /// The message queues of its ipc namespace (`/dev/mqueue`), or another pseudo file system by its kind.
    Pseudo {
        /// `proc`, `sysfs`, `mqueue`, …
        kind: String,
    },
}

/// Whose ids files have, in a container with a user namespace of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileIds {
    /// The machine's: what belongs to its root belongs to nobody inside.
    #[default]
    Machine,
    /// The container's: a file of user 0 on the disk is its root's.
    Container,
}

/// Size of a terminal in characters; zero leaves it unset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters per line.
    pub columns: u16,
}

/// Privileges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// Everything is allowed: all capabilities and devices, no filter, nothing masked, `/sys` writable.
    pub privileged: bool,
    /// Added capabilities, with or without `CAP_`, any case, also `ALL`.
    pub add_capabilities: Vec<String>,
    /// Dropped capabilities, the same; `ALL` is dropped before any is added.
    pub drop_capabilities: Vec<String>,
    /// System calls.
    pub seccomp: Seccomp,
    /// execve(2) cannot gain privileges.
    pub no_new_privileges: bool,
    /// Hidden paths; `None`: Docker's.
    pub masked_paths: Option<Vec<String>>,
    /// Read-only paths; `None`: Docker's.
    pub read_only_paths: Option<Vec<String>>,
    /// The container may make control groups below its own.
    pub writable_cgroups: bool,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            privileged: false,
            add_capabilities: Vec::new(),
            drop_capabilities: Vec::new(),
            seccomp: Seccomp::Default,
            no_new_privileges: false,
            masked_paths: None,
            read_only_paths: None,
            writable_cgroups: false,
        }
    }
}

/// The filter of system calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seccomp {
    /// Docker's default profile.
    Default,
    /// None.
    Unconfined,
    /// A profile in Docker's JSON form.
    Profile(String),
}

/// A device of the machine in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where, absolute in the container.
    pub path: String,
    /// Where it is on this machine: bound where nodes cannot be made.
    pub source: PathBuf,
    /// Its kind.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Letters of `rwm`.
    pub access: String,
}

/// Kind of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Character device.
    Character,
    /// Block device.
    Block,
}

/// A limit by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceLimit {
    /// `nofile`, `RLIMIT_NPROC`, …
    pub name: String,
    /// Soft limit; `None`: none.
    pub soft: Option<u64>,
    /// Hard limit; `None`: none.
    pub hard: Option<u64>,
}

/// Limits of the whole container; `None` or empty: not limited.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// Relative weight as Docker gives it: 2 to 262144, 1024 is normal.
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time in each period; less than zero: no limit.
    pub cpu_quota: Option<i64>,
    /// Microseconds; `None`: 100 000.
    pub cpu_period: Option<u64>,
    /// Processors, such as `0-2,4`.
    pub cpuset_cpus: String,
    /// Memory nodes.
    pub cpuset_mems: String,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together, -1: without limit.
    pub memory_swap: Option<i64>,
    /// Bytes that are protected when memory is short.
    pub memory_reservation: Option<u64>,
    /// How readily its memory is swapped, 0 to 100; only version 1 has it.
    pub memory_swappiness: Option<u64>,
    /// Number of processes and threads; 0: no limit.
    pub pids: Option<u64>,
    /// Block input and output weight, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Limits on the input and output of block devices.
    pub throttles: Vec<Throttle>,
    /// Processes are not killed for lack of memory (version 1).
    pub oom_kill_disable: bool,
}

/// A limit on the input or output of a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// What is limited.
    pub kind: ThrottleKind,
    /// The device's major and minor number.
    pub device: (u32, u32),
    /// Bytes or operations a second.
    pub rate: u64,
}

/// What a [`Throttle`] limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottleKind {
    /// Bytes read.
    ReadBytes,
    /// Bytes written.
    WriteBytes,
    /// Reads.
    Reads,
    /// Writes.
    Writes,
}

impl Throttle {
    /// `8:0`
    #[must_use]
    pub fn device_text(&self) -> String {
        format!("{}:{}", self.device.0, self.device.1)
    }
}

impl ThrottleKind {
    /// The middle of version 1's file name.
    #[must_use]
    pub fn v1_name(self) -> &'static str {
        match self {
            Self::ReadBytes => "read_bps",
            Self::WriteBytes => "write_bps",
            Self::Reads => "read_iops",
            Self::Writes => "write_iops",
        }
    }

    /// Version 2's key in `io.max`.
    #[must_use]
    pub fn v2_name(self) -> &'static str {
        match self {
            Self::ReadBytes => "rbps",
            Self::WriteBytes => "wbps",
            Self::Reads => "riops",
            Self::Writes => "wiops",
        }
    }
}

/// Namespaces of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespaces {
    /// Interfaces.
    pub network: NetworkNamespace,
    /// Process ids.
    pub pid: NamespaceMode,
    /// System V objects, `/dev/shm` and message queues.
    pub ipc: NamespaceMode,
    /// Whether nothing is mounted at `/dev/shm` for its own ipc namespace.
    pub without_shm: bool,
    /// Host name.
    pub uts: NamespaceMode,
    /// Control groups.
    pub cgroup: CgroupNamespaceMode,
}

/// Who a container's users are outside: ids from 0 on, each the same distance higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserNamespace {
    /// What user 0 of the container is outside.
    pub user: u32,
    /// What group 0 of the container is outside.
    pub group: u32,
    /// How many users and groups it has.
    pub size: u32,
}

/// The network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkNamespace {
    /// The machine's.
    Host,
    /// The one whose descriptor the engine passes to the shim as the first one with `Configure`; made by the
    /// engine, or another container's.
    #[default]
    Passed,
    /// A new one with nothing but `lo`, made with the process.
    Empty,
}

/// A namespace that can be private, the machine's or another container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NamespaceMode {
    /// Its own.
    #[default]
    Private,
    /// The machine's.
    Host,
    /// That of the process with this id; a joined ipc namespace brings its `/dev/shm` with it.
    Join(i32),
}

/// The cgroup namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupNamespaceMode {
    /// Its own on version 2, the machine's on version 1, as Docker does.
    #[default]
    Default,
    /// Its own.
    Private,
    /// The machine's.
    Host,
}

/// A further process in a running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Whole environment: the container's and what the user adds.
    pub environment: Vec<String>,
    /// Working directory; empty: the container's.
    pub working_directory: String,
    /// `user[:group]`; empty: the container's.
    pub user: String,
    /// A terminal of this size; `None`: pipes.
    pub terminal: Option<TerminalSize>,
    /// All privileges.
    pub privileged: bool,
}
