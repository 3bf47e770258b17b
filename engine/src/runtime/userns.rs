//! What differs for a container with a user namespace of its own.
//!
//! An intermediate process does all that needs the machine's privileges: it joins namespaces, clones mounts and shows them with
//! the container's ids, and mounts the root in a mount namespace of its own. Then it enters the user namespace, and the
//! container's process is made there, so that all its other namespaces belong to it.

use std::path::Path;

use hoist_kernel::init::program::{Filesystem, Maker, Namespace, Op, Overlay, Slot};

use super::lower::{Builder, LowerError, c_path, c_string};
use super::mounts::{self, KERNEL_LINKS};
use super::process;

/// The writable layer and its work directory beneath this name of the place where the root is put together.
const WRITABLE: &str = "w";

/// What is done with the machine's privileges before anything is joined; nothing without a user namespace.
pub(super) fn add_preparations(builder: &mut Builder<'_>) -> Result<(), LowerError> {
    let Some(ids) = builder.spec.user_namespace else {
        return Ok(());
    };
    let (user, group) = (ids.user, ids.group);
    builder.before(Op::GiveStreams { user, group });
    process::add_limits(builder)
}

/// The intermediate process enters the user namespace, after all else.
pub(super) fn add_entry(builder: &mut Builder<'_>) {
    if let Some(slot) = builder.user_namespace {
        builder.program.maker = Maker::Intermediate;
        builder.before(Op::Join {
            slot,
            namespace: Namespace::User,
        });
    }
}

/// A further process enters the user namespace of the container's first one last, while it may still join the others.
pub(super) fn add_exec_entry(builder: &mut Builder<'_>, container: Slot) {
    if builder.spec.user_namespace.is_some() {
        builder.before(Op::JoinProcess {
            slot: container,
            namespaces: Namespace::User.flag(),
        });
    }
}

/// The process is nobody when it comes into the user namespace, and its root user from here on.
pub(super) fn add_root_user(builder: &mut Builder<'_>) {
    if builder.spec.user_namespace.is_some() {
        builder.inside(Op::BecomeRoot);
    }
}

/// Makes the root in a slot: layers and writable layer are shown with the container's ids on a small tmpfs, which only the
/// intermediate process sees, and put together there. On the disk, files keep the ids that they have inside.
pub(super) fn add_root(builder: &mut Builder<'_>, namespace: Slot) -> Result<Slot, LowerError> {
    let spec = builder.spec;
    let place = spec.root.mount_point.clone();
    let at = c_path(&place)?;
    builder.before(Op::Unshare {
        namespaces: Namespace::Mount.flag(),
    });
    builder.before(Op::MakeMountsPrivate);
    let tmpfs = builder.slot();
    builder.before(Op::MakeFilesystem(Filesystem {
        slot: tmpfs,
        kind: c"tmpfs".to_owned(),
        options: Vec::new(),
        attributes: 0,
        mode_of: None,
    }));
    builder.before(Op::MountRoot {
        slot: tmpfs,
        at: at.clone(),
    });
    let mut names = Vec::new();
    for (index, layer) in spec.root.layers.iter().rev().enumerate() {
        let name = index.to_string();
        show(builder, namespace, (layer, &name))?;
        names.push(name);
    }
    let above = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    // An overlay wants both on one mount: that of the directory which holds them.
    show(builder, namespace, (&above(&spec.root.upper), WRITABLE))?;
    let inner = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        format!("{WRITABLE}/{name}")
    };
    let (upper, work) = (inner(&spec.root.upper), inner(&spec.root.work));
    let data = format!(
        "lowerdir={},upperdir={upper},workdir={work}{}",
        names.join(":"),
        mounts::volatile_option(&spec.root)
    );
    let below = |name: &str| c_path(&place.join(name));
    let overlay = Overlay {
        lower: names
            .iter()
            .map(|name| below(name))
            .collect::<Result<_, _>>()?,
        upper: Some((below(&upper)?, below(&work)?)),
        options: mounts::overlay_options(&spec.root),
        mount_data: c_string("a path", data)?,
        mount_from: at.clone(),
    };
    add_overlay(builder, overlay)
}

/// The overlay makes files as who mounts it: somebody whom the container's ids contain.
fn add_overlay(builder: &mut Builder<'_>, overlay: Overlay) -> Result<Slot, LowerError> {
    let slot = builder.slot();
    let at = overlay.mount_from.clone();
    if let Some(ids) = builder.spec.user_namespace {
        let (user, group) = (ids.user, ids.group);
        builder.before(Op::ActAs { user, group });
        builder.before(Op::MakeOverlay { slot, overlay, at });
        builder.before(Op::ActAs { user: 0, group: 0 });
    }
    Ok(slot)
}

/// Shows a directory of the machine with the container's ids, under a name.
fn show(
    builder: &mut Builder<'_>,
    namespace: Slot,
    (path, name): (&Path, &str),
) -> Result<(), LowerError> {
    let slot = builder.slot();
    builder.before(Op::CloneTree {
        slot,
        path: c_path(path)?,
        below: None,
        recursive: false,
    });
    builder.before(Op::MapIds { slot, namespace });
    builder.before(Op::Attach {
        slot,
        target: mounts::target(&format!("/{name}"), KERNEL_LINKS)?,
    });
    Ok(())
}
