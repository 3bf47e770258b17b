//! The program of a container's first process: a list of kernel operations with every string ready.
//!
//! It is made by pure code (the engine's `runtime::lower`), sent to the shim, and interpreted between
//! clone3(2) and execve(2) by a loop that neither allocates nor decides (`run`). A failure is
//! reported as the index of the operation and an errno; [`Op::describe`] words it in the parent.

use std::ffi::CString;

use serde::{Deserialize, Serialize};

/// A place in the program's table of descriptors. The first ones are the descriptors that came with the
/// program, in their order; others are filled by operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Slot(pub u16);

/// What a first process is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InitProgram {
    /// Namespaces that clone3(2) makes: `CLONE_NEW*` bits. Never `CLONE_NEWCGROUP`, see [`Op::Unshare`].
    pub namespaces: u64,
    /// How many slots the operations use, those of received descriptors included.
    pub slots: u16,
    /// Run by the shim in the machine's mount namespace, before the process exists.
    pub before: Vec<Op>,
    /// Run by the new process. The last one is [`Op::Exec`].
    pub inside: Vec<Op>,
    /// Who runs `before` and makes the process.
    pub maker: Maker,
}

/// Who makes a container's first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Maker {
    /// The shim.
    #[default]
    Shim,
    /// A process of its own, which ends then: its operations change its namespaces or its ids for good. The new process is
    /// the shim's child all the same.
    Intermediate,
}

/// Consecutive user or group ids of a user namespace and what they are outside (user_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdRange {
    /// The first one inside.
    pub inside: u32,
    /// The first one outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// A namespace that can be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// Mounts.
    Mount,
    /// Process ids; takes effect for children.
    Pid,
    /// Interfaces, addresses, ports.
    Network,
    /// System V objects and message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// The root of the cgroup tree that is seen.
    Cgroup,
    /// Users and capabilities.
    User,
}

impl Namespace {
    /// The `CLONE_NEW*` bit.
    pub fn flag(self) -> u64 {
        let flag = match self {
            Self::Mount => libc::CLONE_NEWNS,
            Self::Pid => libc::CLONE_NEWPID,
            Self::Network => libc::CLONE_NEWNET,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Uts => libc::CLONE_NEWUTS,
            Self::Cgroup => libc::CLONE_NEWCGROUP,
            Self::User => libc::CLONE_NEWUSER,
        };
        u64::from(flag.cast_unsigned())
    }
}

/// How mounts made elsewhere propagate to a mount (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Propagation {
    /// Not at all.
    #[default]
    Private,
    /// Into it.
    Slave,
    /// Both ways.
    Shared,
}

/// Attributes to set and clear on a mount: `MOUNT_ATTR_*` bits of mount_setattr(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MountAttributes {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear.
    pub clear: u64,
    /// Propagation to set; `None` leaves it.
    pub propagation: Option<Propagation>,
    /// Also every mount below.
    pub recursive: bool,
}

/// One option of fsconfig(2): a flag when it has no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsOption {
    /// Its name.
    pub key: CString,
    /// Its value.
    pub value: Option<CString>,
}

/// An overlay file system to be the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Read-only layers, the uppermost first.
    pub lower: Vec<CString>,
    /// The writable layer and the kernel's work directory beside it; `None` for a read-only overlay.
    pub upper: Option<(CString, CString)>,
    /// Further options, such as `volatile`.
    pub options: Vec<FsOption>,
    /// The same as one string for mount(2), for kernels that do not take layers by descriptor (before 6.13).
    pub mount_data: CString,
    /// The directory of the machine that the paths of `mount_data` start from.
    pub mount_from: CString,
}

/// A file system to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// Where its mount goes.
    pub slot: Slot,
    /// Its type.
    pub kind: CString,
    /// Its options.
    pub options: Vec<FsOption>,
    /// `MOUNT_ATTR_*` bits of its mount.
    pub attributes: u64,
    /// A path of the root whose permission bits it takes over when that exists (a tmpfs without a mode).
    pub mode_of: Option<CString>,
}

/// A device node in the container's `/dev`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNode {
    /// Path relative to the root, without a leading `/`.
    pub path: CString,
    /// Directories of the path that may be missing, the shortest first.
    pub parents: Vec<CString>,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`, and the permission bits.
    pub mode: u32,
    /// Device number.
    pub device: (u32, u32),
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
}

/// A place in the root to mount on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Path relative to the root, without a leading `/`.
    pub path: CString,
    /// Directories of the path that may be missing, the shortest first.
    pub parents: Vec<CString>,
    /// Whether symbolic links on the way are followed (inside the root) or refused. Refused for the kernel's
    /// own file systems: `/proc` as a link would redirect what is written there later (CVE-2019-19921).
    pub links: Links,
}

/// What a symbolic link on the way to a target means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Links {
    /// It is followed and stays inside the root.
    InRoot,
    /// It is an error.
    Refused,
}

/// Who the process is: looked up in the container's own `/etc/passwd` and `/etc/group`, as Docker does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UserLookup {
    /// Name or number; empty: user 0. A number need not be in the file.
    pub user: Vec<u8>,
    /// Name or number; empty: the user's own group, and its supplementary groups apply.
    pub group: Vec<u8>,
    /// Further supplementary groups by name or number.
    pub additional: Vec<Vec<u8>>,
}

/// Capability sets after all is set up, as bit sets of capability numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// The bounding set, and for user 0 permitted and effective. Inheritable and ambient stay empty
    /// (CVE-2022-24769).
    pub allowed: u64,
}

/// A classic BPF instruction, laid out as `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Jump when true.
    pub jump_true: u8,
    /// Jump when false.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// The program to execute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Arguments, the program's name first.
    pub argv: Vec<CString>,
    /// Paths to try in order: one when the name has a `/`, else one for each directory of `PATH`.
    pub candidates: Vec<CString>,
    /// Environment, `NAME=value` each.
    pub environment: Vec<CString>,
    /// Add `HOME` from `/etc/passwd` (`/` when it is not there).
    pub add_home: bool,
}

/// One operation. Paths are relative to the container's root unless it is said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Clones a mount tree of the machine into a slot (open_tree(2)); `below` is resolved inside `path`.
    CloneTree {
        slot: Slot,
        path: CString,
        below: Option<CString>,
        recursive: bool,
    },
    /// Opens a path of the machine for [`Op::Join`].
    OpenNamespace { slot: Slot, path: CString },
    /// Moves the process into the namespace of a slot.
    Join { slot: Slot, namespace: Namespace },
    /// Moves the process into namespaces of the process that a slot's pidfd means.
    JoinProcess { slot: Slot, namespaces: u64 },
    /// Puts the process into a cgroup by its `cgroup.procs` (a path of the machine).
    JoinCgroup { procs: CString },
    /// Becomes leader of a new session.
    NewSession,
    /// Dies when the shim dies, so that nothing runs unsupervised.
    DieWithParent,
    /// Detaches every mount of the new mount namespace from the machine's.
    MakeMountsPrivate,
    /// Clones a mount tree as the process of another mount namespace (a path such as `/proc/<pid>/ns/mnt`) has it at `path`. The
    /// process comes back to its own namespace, as the one that it was in.
    CloneTreeOf {
        slot: Slot,
        namespace: CString,
        path: CString,
    },
    /// Shows a slot's mount with the ids of the user namespace of another slot: id 0 of its files is id 0 there.
    MapIds { slot: Slot, namespace: Slot },
    /// Acts on files as this user and group of the machine, with all capabilities kept.
    ActAs { user: u32, group: u32 },
    /// Gives the standard streams to a user and group of the machine.
    GiveStreams { user: u32, group: u32 },
    /// Becomes user and group 0 of the user namespace that the process is in, with no further groups.
    BecomeRoot,
    /// Makes an overlay in a slot; `at` is a directory of the machine that a kernel which cannot do without mounts it on.
    MakeOverlay {
        slot: Slot,
        overlay: Overlay,
        at: CString,
    },
    /// Mounts the root from layers, over the directory `at` of the machine (seen by this process alone).
    MountOverlay { overlay: Overlay, at: CString },
    /// Mounts the tree of a slot as the root, over the directory `at` of the machine.
    MountRoot { slot: Slot, at: CString },
    /// Makes a detached file system in a slot.
    MakeFilesystem(Filesystem),
    /// Changes attributes of a slot's mount.
    SetAttributes {
        slot: Slot,
        attributes: MountAttributes,
    },
    /// Mounts a slot's tree on a target, which is created when it is missing.
    Attach { slot: Slot, target: Target },
    /// Makes a device node.
    MakeDevice(DeviceNode),
    /// Makes a symbolic link; one that exists is left.
    MakeLink { target: CString, path: CString },
    /// Hides a path: a file behind the null device, a directory behind an empty one. Absent ones are skipped.
    Mask { path: CString },
    /// Makes a path read-only. Absent ones are skipped.
    MakeReadOnly { path: CString },
    /// Makes the root read-only.
    MakeRootReadOnly,
    /// Writes a file below a slot's file system, such as a sysctl below our own procfs.
    Write {
        slot: Slot,
        path: CString,
        value: Vec<u8>,
        on_failure: OnFailure,
    },
    /// Makes the new root `/` and drops the old one.
    PivotRoot,
    /// Sets the propagation of `/`.
    SetRootPropagation(Propagation),
    /// Sets the host name.
    SetHostName(Vec<u8>),
    /// Sets the NIS domain name.
    SetDomainName(Vec<u8>),
    /// Waits until the shim has put the process into its cgroups.
    AwaitGo,
    /// Leaves namespaces for new ones; the cgroup namespace must be made after the cgroup is joined.
    Unshare { namespaces: u64 },
    /// Opens a terminal in the container's own `/dev/pts`, mounts it on `bind` (`/dev/console`), and
    /// sends its other end to the shim.
    OpenConsole {
        rows: u16,
        columns: u16,
        bind: Option<Target>,
    },
    /// Sets a resource limit (`RLIMIT_*`).
    SetLimit { resource: u32, soft: u64, hard: u64 },
    /// Sets the file mode creation mask.
    SetUmask(u32),
    /// Gives the process a session keyring of its own.
    JoinKeyring(CString),
    /// Forbids gaining privileges by execve(2).
    NoNewPrivileges,
    /// Finds user, groups and home.
    LookUpUser(UserLookup),
    /// Goes to the working directory, creating it when `create` is set, and refuses one outside the root.
    WorkingDirectory { target: Target, create: bool },
    /// Puts the standard streams in place and gives them to the user.
    Stdio,
    /// Reduces the bounding set and becomes the user; CAP_SYS_ADMIN stays until [`Op::FinishCapabilities`]
    /// when a filter has to be loaded without `no_new_privs`.
    BecomeUser(Capabilities),
    /// Loads a seccomp filter.
    LoadFilter(Vec<Instruction>),
    /// Reduces permitted and effective to their last state.
    FinishCapabilities(Capabilities),
    /// Forks: this process stays as process 1, which forwards signals and reaps; its child goes on.
    BecomeInit,
    /// Executes the program.
    Exec(Command),
}

/// What a failure of an optional operation means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// The start fails.
    Fail,
    /// A warning is reported and the start goes on.
    Warn,
}

impl Op {
    /// What the operation does, for a message to the user: "mount /data".
    pub fn describe(&self) -> String {
        match self {
            Self::CloneTree { path, below, .. } => match below {
                Some(below) => format!("open the mount source {}/{}", text(path), text(below)),
                None => format!("open the mount source {}", text(path)),
            },
            Self::OpenNamespace { path, .. } => format!("open the namespace {}", text(path)),
            Self::Join { namespace, .. } => {
                format!("join the {namespace:?} namespace").to_lowercase()
            }
            Self::JoinProcess { .. } => "join the container's namespaces".to_owned(),
            Self::JoinCgroup { procs } => format!("join the cgroup {}", text(procs)),
            Self::MountOverlay { .. } | Self::MountRoot { .. } | Self::MakeOverlay { .. } => {
                "mount the root file system".to_owned()
            }
            Self::CloneTreeOf { path, .. } => {
                format!("open {} of another container", text(path))
            }
            Self::MakeFilesystem(made) => format!("make a {} file system", text(&made.kind)),
            Self::Attach { target, .. } => format!("mount /{}", text(&target.path)),
            Self::MakeDevice(node) => format!("make the device /{}", text(&node.path)),
            Self::MakeLink { path, .. } => format!("make the link /{}", text(path)),
            Self::Mask { path } => format!("mask /{}", text(path)),
            Self::MakeReadOnly { path } => format!("make /{} read-only", text(path)),
            Self::Write { path, .. } => format!("write {}", text(path)),
            Self::SetLimit {
                resource,
                soft,
                hard,
            } => {
                format!("set resource limit {resource} to {soft}:{hard}")
            }
            Self::WorkingDirectory { target, .. } => {
                format!("change to the working directory /{}", text(&target.path))
            }
            Self::Exec(command) => {
                format!(
                    "exec: {:?}",
                    command
                        .argv
                        .first()
                        .map(|name| text(name))
                        .unwrap_or_default()
                )
            }
            other => other.fixed_description().to_owned(),
        }
    }

    fn fixed_description(&self) -> &'static str {
        match self {
            Self::NewSession => "start a session",
            Self::DieWithParent => "tie the process to its shim",
            Self::MakeMountsPrivate => "make mounts private",
            Self::SetAttributes { .. } => "set mount attributes",
            Self::MakeRootReadOnly => "make the root read-only",
            Self::PivotRoot => "change the root",
            Self::SetRootPropagation(_) => "set the root's propagation",
            Self::SetHostName(_) => "set the host name",
            Self::SetDomainName(_) => "set the domain name",
            Self::AwaitGo => "wait for the cgroup",
            Self::Unshare { .. } => "make namespaces",
            Self::MapIds { .. } => "map the ids of a mount",
            Self::ActAs { .. } | Self::BecomeRoot => "become the container's root user",
            Self::GiveStreams { .. } => "give the standard streams away",
            Self::OpenConsole { .. } => "open the terminal",
            Self::SetUmask(_) => "set the umask",
            Self::JoinKeyring(_) => "make a keyring",
            Self::NoNewPrivileges => "set no_new_privs",
            Self::LookUpUser(_) => "find the user",
            Self::Stdio => "set the standard streams",
            Self::BecomeUser(_) => "become the user",
            Self::LoadFilter(_) => "load the seccomp filter",
            Self::FinishCapabilities(_) => "set capabilities",
            Self::BecomeInit => "start the init process",
            _ => "set up the container",
        }
    }
}

fn text(bytes: &CString) -> std::borrow::Cow<'_, str> {
    bytes.to_string_lossy()
}
