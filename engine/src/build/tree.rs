//! File systems that steps read and write: stacks of layers, and directories.
//!
//! A stack is mounted without a place in any mount namespace: the mount is a descriptor and goes with it, so that a killed engine leaves
//! none. Everything is resolved beneath that descriptor ([`Root`]).

use std::ffi::CString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use hoist_kernel::path::Root;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, open_tree,
};

use super::error::BuildError;

/// What a stack is written to: the upper directory and overlayfs's work directory beside it.
#[derive(Debug, Clone)]
pub(crate) struct Upper {
    pub(crate) tree: PathBuf,
    pub(crate) work: PathBuf,
}

/// Mounts a stack of layers, lowest first, detached; without `upper` it is read-only.
pub(crate) fn mount(layers: &[PathBuf], upper: Option<&Upper>) -> Result<OwnedFd, BuildError> {
    let failed = |errno: Errno| BuildError::io("mount the layers of", "a step", errno);
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed)?;
    set_layers(&context, layers).map_err(failed)?;
    if let Some(upper) = upper {
        fsconfig_set_string(&context, c"upperdir", c_path(&upper.tree)?).map_err(failed)?;
        fsconfig_set_string(&context, c"workdir", c_path(&upper.work)?).map_err(failed)?;
        // The layer is read back and hashed before anything relies on it.
        fsconfig_set_flag(&context, c"volatile").map_err(failed)?;
    }
    for (key, value) in [
        (c"metacopy", c"off"),
        (c"redirect_dir", c"off"),
        (c"index", c"off"),
    ] {
        // Unknown to kernels that cannot do it anyway.
        let _ = fsconfig_set_string(&context, key, value);
    }
    fsconfig_create(&context).map_err(failed)?;
    let attributes = if upper.is_some() {
        MountAttrFlags::empty()
    } else {
        MountAttrFlags::MOUNT_ATTR_RDONLY
    };
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed)
}

/// One by one where the kernel takes that (6.8), else as one text, in which `:` and `\` are escaped.
fn set_layers(context: &OwnedFd, layers: &[PathBuf]) -> Result<(), Errno> {
    for (index, layer) in layers.iter().rev().enumerate() {
        let path = CString::new(layer.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
        match fsconfig_set_string(context.as_fd(), c"lowerdir+", &path) {
            Err(Errno::INVAL) if index == 0 => return set_layers_at_once(context, layers),
            result => result?,
        }
    }
    Ok(())
}

fn set_layers_at_once(context: &OwnedFd, layers: &[PathBuf]) -> Result<(), Errno> {
    let mut text = Vec::new();
    for layer in layers.iter().rev() {
        if !text.is_empty() {
            text.push(b':');
        }
        for byte in layer.as_os_str().as_bytes() {
            if matches!(byte, b':' | b'\\') {
                text.push(b'\\');
            }
            text.push(*byte);
        }
    }
    let text = CString::new(text).map_err(|_| Errno::INVAL)?;
    fsconfig_set_string(context, c"lowerdir", &text)
}

/// A stack to read from. One plain layer needs no mount.
pub(crate) fn read_only(layers: &[PathBuf], empty: &Path) -> Result<Root, BuildError> {
    match layers {
        [] => open(empty),
        [only] if only == empty => open(empty),
        [only] => mount(&[empty.to_owned(), only.clone()], None).map(Root::from_fd),
        layers => mount(layers, None).map(Root::from_fd),
    }
}

/// A directory of the machine as a root.
pub(crate) fn open(path: &Path) -> Result<Root, BuildError> {
    Root::open(path).map_err(|error| BuildError::kernel("open", path, &error))
}

/// A detached mount of what is at a path of a root, with nothing that is mounted below. `None` where the kernel does not clone from
/// detached mounts (before 6.15).
pub(crate) fn part(root: &Root, path: &Path) -> Result<Option<OwnedFd>, BuildError> {
    let found = root
        .open_beneath(path, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty())
        .map_err(|error| BuildError::kernel("open", path, &error))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    match open_tree(&found, c"", flags) {
        Ok(mount) => Ok(Some(mount)),
        Err(Errno::INVAL) => Ok(None),
        Err(errno) => Err(BuildError::io("mount", path, errno)),
    }
}

/// A detached memory file system.
pub(crate) fn memory() -> Result<OwnedFd, BuildError> {
    let failed = |errno: Errno| BuildError::io("make", "a file system in memory", errno);
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed)?;
    fsconfig_set_string(&context, c"mode", c"0755").map_err(failed)?;
    fsconfig_set_string(&context, c"size", c"16m").map_err(failed)?;
    fsconfig_create(&context).map_err(failed)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed)
}

fn c_path(path: &Path) -> Result<CString, BuildError> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| BuildError::io("mount", path, Errno::INVAL))
}
