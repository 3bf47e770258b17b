//! The root of a container and everything mounted in it, as operations.
//!
//! Sources of the machine are cloned by the shim before the process exists; everything else happens in the
//! process's own mount namespace, so that its mounts die with it.

mod devices;
pub(crate) mod restrict;
mod user;

use std::ffi::CString;
use std::path::{Path, PathBuf};

use hoist_kernel::init::program::{
    Filesystem, FsOption, Links, Maker, MountAttributes, Op, Overlay, Propagation, Slot, Target,
};
use hoist_shim::protocol::CgroupPlan;

use super::lower::{Builder, LowerError, c_path, c_string, console, owns_cgroup_namespace};
use super::spec::{FileIds, Mount, MountSource, NamespaceMode, RootFilesystem, RuntimeSpec};
use super::userns;

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

/// One thing to mount, before the order is made.
#[derive(Debug)]
enum Planned<'spec> {
    Kernel(KernelMount),
    User(&'spec Mount),
    Cgroups,
    /// What goes with an ipc namespace that is not the container's own: `/dev/shm` and the like.
    OfIpc(&'static str),
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
    builder.spec.mounts.iter().try_for_each(check_target)?;
    let planned = plan(builder);
    let sources = clone_sources(builder, &planned)?;
    let spec = builder.spec;
    match builder.user_namespace {
        None => {
            builder.inside(Op::MakeMountsPrivate);
            add_overlay(builder)?;
        }
        Some(namespace) => {
            let slot = userns::add_root(builder, namespace)?;
            builder.inside(Op::MakeMountsPrivate);
            // Its place can only be found as the machine's root, with the privileges of nobody.
            let at = c_path(&spec.root.mount_point)?;
            builder.inside(Op::MountRoot { slot, at });
            userns::add_root_user(builder);
        }
    }
    let proc = builder.slot();
    for (mount, source) in planned.iter().zip(sources) {
        match mount {
            Planned::Kernel(mount) => add_kernel_mount(builder, mount, proc)?,
            Planned::User(mount) => user::add_user_mount(builder, mount, source)?,
            Planned::Cgroups => add_cgroups(builder, cgroup)?,
            Planned::OfIpc(path) => {
                if let Some(slot) = source {
                    builder.inside(Op::Attach {
                        slot,
                        target: target(path, KERNEL_LINKS)?,
                    });
                }
            }
        }
        if let Planned::Kernel(KernelMount { target: "/dev", .. }) = mount {
            devices::add_devices(builder)?;
        }
    }
    if let Some(size) = spec.terminal {
        builder.inside(console(size, true)?);
    }
    restrict::add_sysctls(builder, proc)?;
    restrict::add_restrictions(builder)?;
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

/// What may be mounted in `/proc`, as with runc: files that programs read to learn what they have, such as lxcfs shows.
const OVER_PROC: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

fn check_target(mount: &Mount) -> Result<(), LowerError> {
    let target = normal(&mount.target);
    let is_procs =
        matches!(&mount.source, MountSource::Bind { path, .. } if path == Path::new("/proc"));
    let is_pseudo = matches!(&mount.source, MountSource::Pseudo { .. });
    let is_good = match target.as_str() {
        "/proc" => is_procs || is_pseudo,
        target if target.starts_with("/proc/") => is_pseudo || OVER_PROC.contains(&target),
        _ => true,
    };
    if is_good {
        Ok(())
    } else {
        Err(LowerError::InProc(target))
    }
}

/// Everything to mount: parents before what is inside them; the user's mounts replace ours of the same target.
fn plan<'spec>(builder: &Builder<'spec>) -> Vec<Planned<'spec>> {
    let spec = builder.spec;
    let mut planned: Vec<(String, Planned<'spec>)> = kernel_mounts(builder)
        .into_iter()
        .map(|mount| (mount.target.to_owned(), Planned::Kernel(mount)))
        .collect();
    planned.push(("/sys/fs/cgroup".to_owned(), Planned::Cgroups));
    for path in shared_by_ipc(spec) {
        planned.push(((*path).to_owned(), Planned::OfIpc(path)));
    }
    for mount in &spec.mounts {
        let target = normal(&mount.target);
        planned.retain(|(other, _)| *other != target);
        planned.push((target, Planned::User(mount)));
    }
    planned.sort_by_key(|(target, _)| target.split('/').filter(|part| !part.is_empty()).count());
    planned.into_iter().map(|(_, mount)| mount).collect()
}

/// What comes from elsewhere with an ipc namespace. The machine's message queues can be mounted anew only by its own root.
fn shared_by_ipc(spec: &RuntimeSpec) -> &'static [&'static str] {
    match spec.namespaces.ipc {
        NamespaceMode::Private => &[],
        NamespaceMode::Host if spec.user_namespace.is_some() => &["/dev/shm", "/dev/mqueue"],
        NamespaceMode::Host | NamespaceMode::Join(_) => &["/dev/shm"],
    }
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
        mount("/sys", "sysfs", safe | sys_read_only, vec![]),
    ];
    let elsewhere = shared_by_ipc(spec);
    if !elsewhere.contains(&"/dev/mqueue") {
        mounts.push(mount("/dev/mqueue", "mqueue", safe, vec![]));
    }
    if !elsewhere.contains(&"/dev/shm") && !spec.namespaces.without_shm {
        let options = vec![
            option("source", "shm"),
            option("mode", "1777"),
            option("size", &shm_size),
        ];
        mounts.push(mount("/dev/shm", "tmpfs", safe, options));
    }
    mounts
}

/// The mounts of others that are needed, cloned before the process exists.
fn clone_sources(
    builder: &mut Builder<'_>,
    planned: &[Planned<'_>],
) -> Result<Vec<Option<Slot>>, LowerError> {
    planned
        .iter()
        .map(|mount| clone_source(builder, mount))
        .collect()
}

fn clone_source(
    builder: &mut Builder<'_>,
    mount: &Planned<'_>,
) -> Result<Option<Slot>, LowerError> {
    let (path, below, recursive, ids) = match mount {
        Planned::OfIpc(path) => match builder.spec.namespaces.ipc {
            NamespaceMode::Join(pid) => return clone_of_process(builder, pid, path).map(Some),
            _ => (c_string("a path", *path)?, None, true, FileIds::Machine),
        },
        Planned::User(Mount {
            source:
                MountSource::Bind {
                    path,
                    subpath,
                    recursive,
                    ids,
                    ..
                },
            ..
        }) => {
            let below = subpath.as_deref().map(relative_path).transpose()?;
            (c_path(path)?, below, *recursive, *ids)
        }
        Planned::User(Mount {
            source: MountSource::Passed { index },
            ..
        }) => {
            let index = u16::try_from(*index).unwrap_or(u16::MAX);
            return Ok(Some(Slot(builder.first_passed.saturating_add(index))));
        }
        _ => return Ok(None),
    };
    let slot = builder.slot();
    builder.before(Op::CloneTree {
        slot,
        path,
        below,
        recursive,
    });
    if let (FileIds::Container, Some(namespace)) = (ids, builder.user_namespace) {
        builder.before(Op::MapIds { slot, namespace });
    }
    Ok(Some(slot))
}

/// A mount as another container's process has it. Who clones it leaves its mount namespace for that, which the shim must not.
fn clone_of_process(builder: &mut Builder<'_>, pid: i32, path: &str) -> Result<Slot, LowerError> {
    let slot = builder.slot();
    builder.program.maker = Maker::Intermediate;
    builder.before(Op::CloneTreeOf {
        slot,
        namespace: c_string("namespace", format!("/proc/{pid}/ns/mnt"))?,
        path: relative(path)?,
    });
    Ok(slot)
}

fn add_overlay(builder: &mut Builder<'_>) -> Result<(), LowerError> {
    let root = &builder.spec.root;
    let lower = root
        .layers
        .iter()
        .rev()
        .map(|layer| c_path(layer))
        .collect::<Result<Vec<_>, _>>()?;
    let from = common_directory(root.layers.iter().map(PathBuf::as_path));
    let overlay = Overlay {
        mount_data: mount_data(root, &from)?,
        mount_from: c_path(&from)?,
        lower,
        upper: Some((c_path(&root.upper)?, c_path(&root.work)?)),
        options: overlay_options(root),
    };
    let at = c_path(&root.mount_point)?;
    builder.inside(Op::MountOverlay { overlay, at });
    Ok(())
}

/// Further options of the overlay.
pub(super) fn overlay_options(root: &RootFilesystem) -> Vec<FsOption> {
    let volatile = root.volatile.then(|| FsOption {
        key: c"volatile".to_owned(),
        value: None,
    });
    volatile.into_iter().collect()
}

/// The same as mount(2) takes them after others.
pub(super) fn volatile_option(root: &RootFilesystem) -> &'static str {
    if root.volatile { ",volatile" } else { "" }
}

/// The directory that all of these are in.
fn common_directory<'path>(mut paths: impl Iterator<Item = &'path Path>) -> PathBuf {
    let first = paths
        .next()
        .and_then(Path::parent)
        .unwrap_or(Path::new("/"));
    let common = |directory: &'path Path, path: &'path Path| {
        let mut above = directory.ancestors();
        above.find(|above| path.starts_with(above) && path != *above)
    };
    let root = Path::new("/");
    let found = paths.fold(first, |directory, path| {
        common(directory, path).unwrap_or(root)
    });
    found.to_owned()
}

/// Options as mount(2) takes them, where `:` and `,` in paths are escaped. Layers are named from the directory that they are
/// in: all options together must fit into one page.
fn mount_data(root: &RootFilesystem, from: &Path) -> Result<CString, LowerError> {
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
        .map(|layer| escape(layer.strip_prefix(from).unwrap_or(layer)))
        .collect();
    let data = format!(
        "lowerdir={},upperdir={},workdir={}{}",
        lower.join(":"),
        escape(&root.upper),
        escape(&root.work),
        volatile_option(root)
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

/// Version 2: the tree, as the container's cgroup namespace shows it. Version 1: the container's own group of
/// each hierarchy on a small tmpfs, as runc has it.
fn add_cgroups(builder: &mut Builder<'_>, plan: &CgroupPlan) -> Result<(), LowerError> {
    let security = &builder.spec.security;
    let read_only = if security.privileged || security.writable_cgroups {
        0
    } else {
        RDONLY
    };
    let attributes = NOSUID | NODEV | NOEXEC | read_only;
    if builder.machine.cgroups.is_unified() {
        if owns_cgroup_namespace(builder.spec, builder.machine) {
            let namespaces = hoist_kernel::init::program::Namespace::Cgroup.flag();
            builder.inside(Op::Unshare { namespaces });
        } else if builder.user_namespace.is_some() {
            return bind_cgroups(builder, attributes);
        }
        let options = vec![fs_option("source", Some("cgroup"))?];
        return add_one(builder, "/sys/fs/cgroup", "cgroup2", (options, attributes)).map(drop);
    }
    if plan.groups.is_empty() {
        return Ok(());
    }
    let options = vec![fs_option("mode", Some("755"))?];
    let all = add_one(
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
        builder.privileged(Op::SetAttributes {
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
        // Now that it has all places.
        let attributes = MountAttributes {
            set: RDONLY,
            ..MountAttributes::default()
        };
        builder.inside(Op::SetAttributes {
            slot: all,
            attributes,
        });
    }
    Ok(())
}

/// The machine's own tree, which only its own root may mount anew.
fn bind_cgroups(builder: &mut Builder<'_>, attributes: u64) -> Result<(), LowerError> {
    let Some(tree) = &builder.machine.cgroups.v2 else {
        return Ok(());
    };
    let slot = builder.slot();
    builder.before(Op::CloneTree {
        slot,
        path: c_path(&tree.mount_point)?,
        below: None,
        recursive: false,
    });
    let attributes = MountAttributes {
        set: attributes,
        propagation: Some(Propagation::Private),
        ..MountAttributes::default()
    };
    builder.before(Op::SetAttributes { slot, attributes });
    builder.inside(Op::Attach {
        slot,
        target: target("/sys/fs/cgroup", KERNEL_LINKS)?,
    });
    Ok(())
}

fn add_one(
    builder: &mut Builder<'_>,
    place: &str,
    kind: &str,
    (options, attributes): (Vec<FsOption>, u64),
) -> Result<Slot, LowerError> {
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
    Ok(slot)
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
