//! The root of a container and everything mounted in it, as operations.
//!
//! Sources of the machine are cloned by the shim before the process exists; everything else happens in the
//! process's own mount namespace, so that its mounts die with it.

mod devices;
mod restrict;
mod user;

use std::ffi::CString;
use std::path::Path;

use hoist_kernel::init::program::{
    Filesystem, FsOption, Links, MountAttributes, Op, Overlay, Propagation, Slot, Target,
};
use hoist_shim::protocol::CgroupPlan;

use super::lower::{Builder, LowerError, c_path, c_string, console, owns_cgroup_namespace};
use super::spec::{Mount, MountSource, NamespaceMode};

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
    /// The machine's `/dev/shm`, which goes with its ipc namespace.
    HostShm,
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
            Planned::User(mount) => user::add_user_mount(builder, mount, source)?,
            Planned::Cgroups => add_cgroups(builder, cgroup)?,
            Planned::HostShm => {
                if let Some(slot) = source {
                    builder.inside(Op::Attach {
                        slot,
                        target: target("/dev/shm", KERNEL_LINKS)?,
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

/// Everything to mount: parents before what is inside them; the user's mounts replace ours of the same target.
fn plan<'spec>(builder: &Builder<'spec>) -> Vec<Planned<'spec>> {
    let spec = builder.spec;
    let mut planned: Vec<(String, Planned<'spec>)> = kernel_mounts(builder)
        .into_iter()
        .map(|mount| (mount.target.to_owned(), Planned::Kernel(mount)))
        .collect();
    planned.push(("/sys/fs/cgroup".to_owned(), Planned::Cgroups));
    if spec.namespaces.ipc == NamespaceMode::Host {
        planned.push(("/dev/shm".to_owned(), Planned::HostShm));
    }
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
    if spec.namespaces.ipc != NamespaceMode::Host {
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
        let source = match mount {
            Planned::HostShm => Some((c"/dev/shm".to_owned(), None, true)),
            Planned::User(Mount {
                source:
                    MountSource::Bind {
                        path,
                        subpath,
                        recursive,
                        ..
                    },
                ..
            }) => {
                let below = subpath.as_deref().map(relative_path).transpose()?;
                Some((c_path(path)?, below, *recursive))
            }
            _ => None,
        };
        slots.push(source.map(|(path, below, recursive)| {
            let slot = builder.slot();
            builder.before(Op::CloneTree {
                slot,
                path,
                below,
                recursive,
            });
            slot
        }));
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
