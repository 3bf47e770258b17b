//! The root of a container and everything mounted in it, as operations.
//!
//! Sources of the machine are cloned by the shim before the process exists; everything else happens in the
//! process's own mount namespace, so that its mounts die with it.

use std::ffi::CString;
use std::path::Path;

use hoist_kernel::init::program::{
    DeviceNode, Filesystem, FsOption, Links, MountAttributes, OnFailure, Op, Overlay, Propagation,
    Slot, Target,
};
use hoist_shim::protocol::CgroupPlan;

use super::lower::{Builder, LowerError, c_path, c_string, console, owns_cgroup_namespace, write};
use super::spec::{Device, DeviceKind, Mount, MountSource, NamespaceMode, NetworkNamespace};

/// Links on the way to what the user mounts are followed inside the root.
pub(super) const USER_LINKS: Links = Links::InRoot;
/// Links on the way to the kernel's own file systems are refused.
pub(super) const KERNEL_LINKS: Links = Links::Refused;

const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
const NOEXEC: u64 = 0x8;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const ATIME_MASK: u64 = 0x70;
const NODIRATIME: u64 = 0x80;

const SHM_SIZE: u64 = 64 << 20;

const CHARACTER: u32 = 0o020_000;
const BLOCK: u32 = 0o060_000;

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("dev/null", 1, 3),
    ("dev/zero", 1, 5),
    ("dev/full", 1, 7),
    ("dev/random", 1, 8),
    ("dev/urandom", 1, 9),
    ("dev/tty", 5, 0),
];
const LINKS: [(&CStrLiteral, &CStrLiteral); 6] = [
    (c"/proc/self/fd", c"dev/fd"),
    (c"/proc/self/fd/0", c"dev/stdin"),
    (c"/proc/self/fd/1", c"dev/stdout"),
    (c"/proc/self/fd/2", c"dev/stderr"),
    (c"pts/ptmx", c"dev/ptmx"),
    (c"/proc/kcore", c"dev/core"),
];
type CStrLiteral = std::ffi::CStr;

/// One thing to mount, before the order is made.
#[derive(Debug)]
enum Planned<'spec> {
    Kernel(KernelMount),
    User(&'spec Mount),
    Cgroups,
}

/// A file system of the kernel that every container has.
#[derive(Debug)]
struct KernelMount {
    target: &'static str,
    kind: &'static str,
    options: Vec<(&'static str, Option<String>)>,
    attributes: u64,
}

/// Adds the whole root, until it is `/`.
pub(super) fn add_root(builder: &mut Builder<'_>, cgroup: &CgroupPlan) -> Result<(), LowerError> {
    let planned = plan(builder);
    let sources = clone_sources(builder, &planned)?;
    let spec = builder.spec;
    builder.inside(Op::MakeMountsPrivate);
    add_overlay(builder)?;
    let proc = builder.slot();
    for (mount, source) in planned.iter().zip(sources) {
        match mount {
            Planned::Kernel(mount) => add_kernel_mount(builder, mount, proc)?,
            Planned::User(mount) => add_user_mount(builder, mount, source)?,
            Planned::Cgroups => add_cgroups(builder, cgroup)?,
        }
        if let Planned::Kernel(KernelMount { target: "/dev", .. }) = mount {
            add_devices(builder)?;
        }
    }
    if let Some(size) = spec.terminal {
        builder.inside(console(size, true)?);
    }
    add_sysctls(builder, proc)?;
    add_restrictions(builder)?;
    if spec.root.read_only {
        builder.inside(Op::MakeRootReadOnly);
    }
    builder.inside(Op::PivotRoot);
    let propagation = root_propagation(&spec.mounts);
    if propagation != Propagation::Private {
        builder.inside(Op::SetRootPropagation(propagation));
    }
    Ok(())
}

/// Everything to mount: parents before what is inside them; the user's mounts replace ours of the same target.
fn plan<'spec>(builder: &Builder<'spec>) -> Vec<Planned<'spec>> {
    let spec = builder.spec;
    let mut planned: Vec<(String, Planned<'spec>)> = kernel_mounts(builder)
        .into_iter()
        .map(|mount| (mount.target.to_owned(), Planned::Kernel(mount)))
        .collect();
    planned.push(("/sys/fs/cgroup".to_owned(), Planned::Cgroups));
    for mount in &spec.mounts {
        let target = normal(&mount.target);
        planned.retain(|(other, _)| *other != target);
        planned.push((target, Planned::User(mount)));
    }
    planned.sort_by_key(|(target, _)| target.split('/').filter(|part| !part.is_empty()).count());
    planned.into_iter().map(|(_, mount)| mount).collect()
}

fn kernel_mounts(builder: &Builder<'_>) -> Vec<KernelMount> {
    let spec = builder.spec;
    let option = |key, value: &str| (key, Some(value.to_owned()));
    let sys_read_only = if spec.security.privileged { 0 } else { RDONLY };
    let shm_size = spec.shm_size.unwrap_or(SHM_SIZE).to_string();
    let mount = |target, kind, attributes, options| KernelMount {
        target,
        kind,
        options,
        attributes,
    };
    let safe = NOSUID | NODEV | NOEXEC;
    let mut mounts = vec![
        mount("/proc", "proc", safe, vec![]),
        mount(
            "/dev",
            "tmpfs",
            NOSUID | STRICTATIME,
            vec![option("mode", "755"), option("size", "65536k")],
        ),
        mount(
            "/dev/pts",
            "devpts",
            NOSUID | NOEXEC,
            vec![
                ("newinstance", None),
                option("ptmxmode", "0666"),
                option("mode", "0620"),
                option("gid", "5"),
            ],
        ),
        mount("/dev/mqueue", "mqueue", safe, vec![]),
        mount("/sys", "sysfs", safe | sys_read_only, vec![]),
    ];
    // A joined or shared ipc namespace brings its own, which the engine mounts.
    if spec.namespaces.ipc == NamespaceMode::Private {
        let options = vec![option("mode", "1777"), option("size", &shm_size)];
        mounts.push(mount("/dev/shm", "tmpfs", safe, options));
    }
    mounts
}

/// The machine's mounts that are needed, cloned by the shim.
fn clone_sources(
    builder: &mut Builder<'_>,
    planned: &[Planned<'_>],
) -> Result<Vec<Option<Slot>>, LowerError> {
    let mut slots = Vec::new();
    for mount in planned {
        let Planned::User(Mount {
            source:
                MountSource::Bind {
                    path,
                    subpath,
                    recursive,
                    ..
                },
            ..
        }) = mount
        else {
            slots.push(None);
            continue;
        };
        let slot = builder.slot();
        let below = subpath.as_deref().map(relative_path).transpose()?;
        builder.before(Op::CloneTree {
            slot,
            path: c_path(path)?,
            below,
            recursive: *recursive,
        });
        slots.push(Some(slot));
    }
    Ok(slots)
}

fn add_overlay(builder: &mut Builder<'_>) -> Result<(), LowerError> {
    let root = &builder.spec.root;
    let lower = root
        .layers
        .iter()
        .rev()
        .map(|layer| c_path(layer))
        .collect::<Result<Vec<_>, _>>()?;
    let mut options = Vec::new();
    if root.volatile {
        options.push(FsOption {
            key: c"volatile".to_owned(),
            value: None,
        });
    }
    let overlay = Overlay {
        mount_data: mount_data(builder)?,
        lower,
        upper: Some((c_path(&root.upper)?, c_path(&root.work)?)),
        options,
    };
    let at = c_path(&root.mount_point)?;
    builder.inside(Op::MountOverlay { overlay, at });
    Ok(())
}

/// Options as mount(2) takes them, where `:` and `,` in paths are escaped.
fn mount_data(builder: &Builder<'_>) -> Result<CString, LowerError> {
    let root = &builder.spec.root;
    let escape = |path: &Path| {
        path.to_string_lossy()
            .replace('\\', "\\\\")
            .replace(':', "\\:")
            .replace(',', "\\,")
    };
    let lower: Vec<String> = root
        .layers
        .iter()
        .rev()
        .map(|layer| escape(layer))
        .collect();
    let volatile = if root.volatile { ",volatile" } else { "" };
    let data = format!(
        "lowerdir={},upperdir={},workdir={}{volatile}",
        lower.join(":"),
        escape(&root.upper),
        escape(&root.work)
    );
    c_string("a path", data)
}

fn add_kernel_mount(
    builder: &mut Builder<'_>,
    mount: &KernelMount,
    proc: Slot,
) -> Result<(), LowerError> {
    let slot = if mount.kind == "proc" {
        proc
    } else {
        builder.slot()
    };
    let options = mount
        .options
        .iter()
        .map(|(key, value)| fs_option(key, value.as_deref()))
        .collect::<Result<Vec<_>, _>>()?;
    builder.inside(Op::MakeFilesystem(Filesystem {
        slot,
        kind: c_string("a file system", mount.kind)?,
        options,
        attributes: mount.attributes,
        mode_of: None,
    }));
    builder.inside(Op::Attach {
        slot,
        target: target(mount.target, KERNEL_LINKS)?,
    });
    Ok(())
}

fn add_user_mount(
    builder: &mut Builder<'_>,
    mount: &Mount,
    source: Option<Slot>,
) -> Result<(), LowerError> {
    let slot = match (&mount.source, source) {
        (MountSource::Bind { propagation, .. }, Some(slot)) => {
            // Recursive, as Docker does since it can: a read-only bind has no writable corner.
            let attributes = MountAttributes {
                set: if mount.read_only { RDONLY } else { 0 },
                clear: 0,
                propagation: Some(*propagation),
                recursive: true,
            };
            builder.inside(Op::SetAttributes { slot, attributes });
            slot
        }
        (MountSource::Tmpfs { .. }, _) => add_tmpfs(builder, mount)?,
        (MountSource::Pseudo { kind }, _) => {
            let slot = builder.slot();
            builder.inside(Op::MakeFilesystem(Filesystem {
                slot,
                kind: c_string("a file system", kind.as_str())?,
                options: Vec::new(),
                attributes: NOSUID | NODEV | NOEXEC | if mount.read_only { RDONLY } else { 0 },
                mode_of: None,
            }));
            slot
        }
        (MountSource::Bind { .. }, None) => return Ok(()),
    };
    builder.inside(Op::Attach {
        slot,
        target: target(&mount.target, USER_LINKS)?,
    });
    Ok(())
}

/// A tmpfs of the user: nosuid, nodev and noexec unless asked otherwise, as Docker has it.
fn add_tmpfs(builder: &mut Builder<'_>, mount: &Mount) -> Result<Slot, LowerError> {
    let MountSource::Tmpfs {
        size,
        mode,
        options,
    } = &mount.source
    else {
        return Ok(builder.slot());
    };
    let mut attributes = NOSUID | NODEV | NOEXEC | if mount.read_only { RDONLY } else { 0 };
    let mut fs_options = Vec::new();
    if let Some(size) = size {
        fs_options.push(fs_option("size", Some(&size.to_string()))?);
    }
    for option in options.iter().filter(|option| !option.is_empty()) {
        if let Some((set, clear)) = mount_flag(option) {
            attributes = attributes & !clear | set;
        } else if !matches!(option.as_str(), "rprivate" | "private" | "defaults") {
            let (key, value) = option
                .split_once('=')
                .map_or((option.as_str(), None), |(k, v)| (k, Some(v)));
            fs_options.push(fs_option(key, value)?);
        }
    }
    if let Some(mode) = mode {
        fs_options.push(fs_option("mode", Some(&format!("{mode:o}")))?);
    }
    // Without a mode of its own it takes over that of the directory it covers, else it is the kernel's 1777.
    let takes_over = mode.is_none() && !options.iter().any(|option| option.starts_with("mode="));
    let slot = builder.slot();
    let mode_of = takes_over.then(|| relative(&mount.target)).transpose()?;
    builder.inside(Op::MakeFilesystem(Filesystem {
        slot,
        kind: c"tmpfs".to_owned(),
        options: fs_options,
        attributes,
        mode_of,
    }));
    Ok(slot)
}

/// A mount option as attributes to set and to clear.
fn mount_flag(option: &str) -> Option<(u64, u64)> {
    Some(match option {
        "ro" => (RDONLY, 0),
        "rw" => (0, RDONLY),
        "exec" => (0, NOEXEC),
        "noexec" => (NOEXEC, 0),
        "suid" => (0, NOSUID),
        "nosuid" => (NOSUID, 0),
        "dev" => (0, NODEV),
        "nodev" => (NODEV, 0),
        "noatime" => (NOATIME, ATIME_MASK),
        "strictatime" => (STRICTATIME, ATIME_MASK),
        "relatime" | "atime" => (0, ATIME_MASK),
        "nodiratime" => (NODIRATIME, 0),
        _ => return None,
    })
}

/// Version 2: the tree, as the container's cgroup namespace shows it. Version 1: the container's own group of
/// each hierarchy on a small tmpfs, as runc has it.
fn add_cgroups(builder: &mut Builder<'_>, plan: &CgroupPlan) -> Result<(), LowerError> {
    let read_only = if builder.spec.security.privileged {
        0
    } else {
        RDONLY
    };
    let attributes = NOSUID | NODEV | NOEXEC | read_only;
    if builder.machine.cgroups.is_unified() {
        if owns_cgroup_namespace(builder.spec, builder.machine) {
            let namespaces = hoist_kernel::init::program::Namespace::Cgroup.flag();
            builder.inside(Op::Unshare { namespaces });
        }
        return add_one(
            builder,
            "/sys/fs/cgroup",
            "cgroup2",
            (Vec::new(), attributes),
        );
    }
    if plan.groups.is_empty() {
        return Ok(());
    }
    let options = vec![fs_option("mode", Some("755"))?];
    add_one(
        builder,
        "/sys/fs/cgroup",
        "tmpfs",
        (options, attributes & !RDONLY),
    )?;
    let hierarchies = builder.machine.cgroups.v1.clone();
    for hierarchy in &hierarchies {
        let Some(name) = hierarchy
            .mount_point
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
        else {
            continue;
        };
        let slot = builder.slot();
        let path = c_path(&hierarchy.mount_point.join(&builder.spec.cgroup))?;
        builder.before(Op::CloneTree {
            slot,
            path,
            below: None,
            recursive: false,
        });
        let change = MountAttributes {
            set: attributes,
            propagation: Some(Propagation::Private),
            ..MountAttributes::default()
        };
        builder.inside(Op::SetAttributes {
            slot,
            attributes: change,
        });
        let place = format!("/sys/fs/cgroup/{name}");
        builder.inside(Op::Attach {
            slot,
            target: target(&place, KERNEL_LINKS)?,
        });
    }
    if read_only != 0 {
        builder.inside(Op::MakeReadOnly {
            path: relative("/sys/fs/cgroup")?,
        });
    }
    Ok(())
}

fn add_one(
    builder: &mut Builder<'_>,
    place: &str,
    kind: &str,
    (options, attributes): (Vec<FsOption>, u64),
) -> Result<(), LowerError> {
    let slot = builder.slot();
    let kind = c_string("a file system", kind)?;
    builder.inside(Op::MakeFilesystem(Filesystem {
        slot,
        kind,
        options,
        attributes,
        mode_of: None,
    }));
    builder.inside(Op::Attach {
        slot,
        target: target(place, KERNEL_LINKS)?,
    });
    Ok(())
}

fn add_devices(builder: &mut Builder<'_>) -> Result<(), LowerError> {
    for (path, major, minor) in DEFAULT_DEVICES {
        builder.inside(Op::MakeDevice(DeviceNode {
            path: c_string("a path", path)?,
            parents: Vec::new(),
            mode: CHARACTER | 0o666,
            device: (major, minor),
            user: 0,
            group: 0,
        }));
    }
    for device in &builder.spec.devices {
        let node = device_node(device)?;
        builder.inside(Op::MakeDevice(node));
    }
    for (to, path) in LINKS {
        builder.inside(Op::MakeLink {
            target: to.to_owned(),
            path: path.to_owned(),
        });
    }
    Ok(())
}

fn device_node(device: &Device) -> Result<DeviceNode, LowerError> {
    let kind = match device.kind {
        DeviceKind::Character => CHARACTER,
        DeviceKind::Block => BLOCK,
    };
    let Target { path, parents, .. } = target(&device.path, KERNEL_LINKS)?;
    Ok(DeviceNode {
        path,
        parents,
        mode: kind | device.mode & 0o7777,
        device: (device.major, device.minor),
        user: device.user,
        group: device.group,
    })
}

/// Kernel parameters, through our own procfs. Only those of namespaces that the container does not share.
fn add_sysctls(builder: &mut Builder<'_>, proc: Slot) -> Result<(), LowerError> {
    for (name, value) in &builder.spec.sysctls {
        let path = sysctl_path(name);
        let is_own = path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
            && is_own_sysctl(builder, &path);
        if !is_own {
            return Err(LowerError::Sysctl(name.clone()));
        }
        let path = format!("sys/{path}");
        builder.inside(write(proc, &path, value, OnFailure::Fail)?);
    }
    Ok(())
}

fn is_own_sysctl(builder: &Builder<'_>, path: &str) -> bool {
    const IPC: [&str; 8] = [
        "msgmax",
        "msgmnb",
        "msgmni",
        "sem",
        "shmall",
        "shmmax",
        "shmmni",
        "shm_rmid_forced",
    ];
    let namespaces = &builder.spec.namespaces;
    let ipc = path
        .strip_prefix("kernel/")
        .is_some_and(|name| IPC.contains(&name))
        || path.starts_with("fs/mqueue/");
    (ipc && namespaces.ipc != NamespaceMode::Host)
        || (path.starts_with("net/") && namespaces.network != NetworkNamespace::Host)
        || (path == "kernel/domainname" && namespaces.uts == NamespaceMode::Private)
}

/// As sysctl(8) reads names: whichever separator comes first separates, and the other one stands for it inside a
/// name (`net.ipv4.conf.eth0/1.forwarding`, `net/ipv4/conf/eth0.1/forwarding`).
fn sysctl_path(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('.') => {
            let swap = |character| match character {
                '.' => '/',
                '/' => '.',
                other => other,
            };
            name.chars().map(swap).collect()
        }
        _ => name.to_owned(),
    }
}

fn add_restrictions(builder: &mut Builder<'_>) -> Result<(), LowerError> {
    let security = &builder.spec.security;
    if security.privileged {
        return Ok(());
    }
    let defaults = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| (*path).to_owned())
            .collect::<Vec<_>>()
    };
    let read_only = security
        .read_only_paths
        .clone()
        .unwrap_or_else(|| defaults(&READ_ONLY));
    let masked = security
        .masked_paths
        .clone()
        .unwrap_or_else(|| defaults(&MASKED));
    for path in &read_only {
        builder.inside(Op::MakeReadOnly {
            path: relative(path)?,
        });
    }
    for path in &masked {
        builder.inside(Op::Mask {
            path: relative(path)?,
        });
    }
    Ok(())
}

/// A mount that wants to hear of the machine's mounts needs a root that does not stop them.
fn root_propagation(mounts: &[Mount]) -> Propagation {
    let wanted = mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Bind { propagation, .. } => Some(*propagation),
        _ => None,
    });
    wanted.fold(Propagation::Private, |strongest, wanted| {
        match (strongest, wanted) {
            (Propagation::Shared, _) | (_, Propagation::Shared) => Propagation::Shared,
            (Propagation::Slave, _) | (_, Propagation::Slave) => Propagation::Slave,
            _ => Propagation::Private,
        }
    })
}

/// A place in the root: its path without the leading `/`, and the directories above it.
pub(super) fn target(path: &str, links: Links) -> Result<Target, LowerError> {
    if !path.starts_with('/') {
        return Err(LowerError::RelativePath(path.to_owned()));
    }
    let normal = normal(path);
    let parts: Vec<&str> = normal.split('/').filter(|part| !part.is_empty()).collect();
    let prefix = |length: usize| c_string("a path", parts[..length].join("/"));
    let parents = (1..parts.len())
        .map(prefix)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Target {
        path: prefix(parts.len())?,
        parents,
        links,
    })
}

fn relative(path: &str) -> Result<CString, LowerError> {
    target(path, KERNEL_LINKS).map(|target| target.path)
}

/// A path inside a volume, without anything that goes up; the kernel keeps it inside anyway.
fn relative_path(path: &Path) -> Result<CString, LowerError> {
    let text = path.to_string_lossy();
    relative(&format!("/{text}"))
}

/// Without `.`, `..` and repeated slashes, as Docker cleans targets before it looks at them.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

fn fs_option(key: &str, value: Option<&str>) -> Result<FsOption, LowerError> {
    Ok(FsOption {
        key: c_string("a mount option", key)?,
        value: value
            .map(|value| c_string("a mount option", value))
            .transpose()?,
    })
}
