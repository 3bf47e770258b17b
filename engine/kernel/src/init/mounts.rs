//! Operations on mounts and the files of a root that is being built.
//!
//! Every path in the root is resolved with `RESOLVE_IN_ROOT`, and what is mounted goes onto the descriptor that was
//! found (move_mount(2)), never onto the name again: a container that shares a volume cannot swap a
//! directory for a link in between (CVE-2021-30465, CVE-2023-27561).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::program::{
    DeviceNode, Filesystem, FsOption, Links, MountAttributes, Op, Overlay, Propagation, Slot,
    Target,
};
use super::report::Reason;
use super::run::{Child, Step};
use crate::path::resolve;
use crate::sys;

const DIRECTORY_MODE: u32 = 0o755;

pub(crate) fn step(child: &mut Child<'_>, op: &Op) -> Step {
    match op {
        Op::CloneTree {
            slot,
            path,
            below,
            recursive,
        } => {
            let tree = clone_tree(path, below.as_deref(), *recursive)?;
            child.set(*slot, tree)
        }
        Op::CloneTreeOf {
            slot,
            namespace,
            path,
        } => {
            let tree = clone_tree_of(namespace, path)?;
            child.set(*slot, tree)
        }
        Op::MapIds { slot, namespace } => {
            sys::map_ids(child.get(*slot)?, child.get(*namespace)?).map_err(unmappable)
        }
        Op::MakeOverlay { slot, overlay, at } => {
            let mount = make_overlay(overlay, at)?;
            child.set(*slot, mount)
        }
        Op::MakeMountsPrivate => {
            let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            rustix::mount::mount_change(c"/", flags).map_err(Reason::from)
        }
        Op::MountOverlay { overlay, at } => mount_overlay(child, overlay, at),
        Op::MountRoot { slot, at } => mount_root(child, *slot, at),
        Op::MakeFilesystem(made) => {
            let mount = make_filesystem(child, made)?;
            child.set(made.slot, mount)
        }
        Op::SetAttributes { slot, attributes } => {
            sys::mount_setattr(child.get(*slot)?, *attributes).map_err(Reason::from)
        }
        Op::Attach { slot, target } => attach(child.root()?, child.get(*slot)?, target),
        Op::MakeDevice(node) => make_device(child.root()?, node),
        Op::MakeLink { target, path } => make_link(child.root()?, target, path),
        Op::Mask { path } => mask(child.root()?, path),
        Op::MakeReadOnly { path } => make_read_only(child.root()?, path),
        Op::MakeRootReadOnly => {
            let attributes = MountAttributes {
                set: libc::MOUNT_ATTR_RDONLY,
                ..MountAttributes::default()
            };
            sys::mount_setattr(child.root()?, attributes).map_err(Reason::from)
        }
        Op::PivotRoot => pivot_root(child),
        Op::SetRootPropagation(propagation) => set_root_propagation(*propagation),
        _ => Err(Errno::NOSYS.into()),
    }
}

fn clone_tree(path: &CStr, below: Option<&CStr>, recursive: bool) -> Step<OwnedFd> {
    let source = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let source = match below {
        Some(below) => resolve(source.as_fd(), below, OFlags::PATH, Mode::empty())?,
        None => source,
    };
    clone_open(source.as_fd(), recursive).map_err(Reason::from)
}

/// As [`clone_tree`], in another mount namespace: open_tree(2) copies nothing of a foreign one. Only for a process that is
/// made for this, which loses nothing when it cannot come back.
fn clone_tree_of(namespace: &CStr, path: &CStr) -> Step<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = rustix::fs::open(c"/proc/self/ns/mnt", flags, Mode::empty())?;
    let other = rustix::fs::open(namespace, flags, Mode::empty())?;
    let kind = Some(rustix::thread::LinkNameSpaceType::Mount);
    rustix::thread::move_into_link_name_space(other.as_fd(), kind)?;
    let root = open_directory(c"/")?;
    let source = resolve(root.as_fd(), path, OFlags::PATH, Mode::empty())?;
    let tree = clone_open(source.as_fd(), true)?;
    rustix::thread::move_into_link_name_space(own.as_fd(), kind)?;
    Ok(tree)
}

/// The kernel says EINVAL of a file system that cannot map ids, which says nothing to a user.
fn unmappable(errno: Errno) -> Reason {
    match errno {
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => Reason::NoIdMaps,
        errno => errno.into(),
    }
}

/// A detached copy of the mount at an open path.
fn clone_open(source: BorrowedFd<'_>, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(source, c"", flags)
}

fn mount_overlay(child: &mut Child<'_>, overlay: &Overlay, at: &CStr) -> Step {
    match overlay_by_descriptors(overlay) {
        Ok(mount) => move_onto(mount.as_fd(), open_directory(at)?.as_fd())
            .map(|()| child.root = Some(mount))
            .map_err(Reason::from),
        // A kernel that does not take layers by descriptor: before 6.13, or (not supported) before 6.5.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            mount_by_paths(overlay, at)?;
            child.root = Some(open_directory(at)?);
            Ok(())
        }
        Err(errno) => Err(errno.into()),
    }
}

/// A detached overlay.
fn make_overlay(overlay: &Overlay, at: &CStr) -> Step<OwnedFd> {
    match overlay_by_descriptors(overlay) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            mount_by_paths(overlay, at)?;
            clone_open(open_directory(at)?.as_fd(), false).map_err(Reason::from)
        }
        result => result.map_err(Reason::from),
    }
}

/// mount(2) takes one page of options at most: their paths are relative to a directory that is entered for it.
fn mount_by_paths(overlay: &Overlay, at: &CStr) -> rustix::io::Result<()> {
    let data = overlay.mount_data.as_c_str();
    rustix::process::chdir(&overlay.mount_from)?;
    let mounted = rustix::mount::mount(c"overlay", at, c"overlay", MountFlags::empty(), Some(data));
    rustix::process::chdir(c"/")?;
    mounted
}

fn overlay_by_descriptors(overlay: &Overlay) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // df(1) and scripts look for it in a container's list of mounts.
    fsconfig_set_string(&context, c"source", c"overlay")?;
    for layer in &overlay.lower {
        fsconfig_set_fd(&context, c"lowerdir+", open_directory(layer)?)?;
    }
    if let Some((upper, work)) = &overlay.upper {
        fsconfig_set_fd(&context, c"upperdir", open_directory(upper)?)?;
        fsconfig_set_fd(&context, c"workdir", open_directory(work)?)?;
    }
    set_options(context.as_fd(), &overlay.options)?;
    fsconfig_create(&context)?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
}

/// Opens a directory of the machine as a path.
fn open_directory(path: &CStr) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn mount_root(child: &mut Child<'_>, slot: Slot, at: &CStr) -> Step {
    let place = open_directory(at)?;
    move_onto(child.get(slot)?, place.as_fd())?;
    child.root = child
        .slots
        .get_mut(usize::from(slot.0))
        .and_then(Option::take);
    Ok(())
}

fn make_filesystem(child: &Child<'_>, made: &Filesystem) -> Step<OwnedFd> {
    let context = fsopen(&made.kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    let named = |option: &FsOption| option.key.as_c_str() == c"source";
    if !made.options.iter().any(named) {
        fsconfig_set_string(&context, c"source", &made.kind)?;
    }
    if let Some(path) = &made.mode_of
        && let Ok(like) = resolve(child.root()?, path.as_c_str(), OFlags::PATH, Mode::empty())
    {
        let mode = rustix::fs::fstat(&like)?.st_mode & 0o7777;
        fsconfig_set_string(&context, c"mode", octal(mode, &mut [0; 5]))?;
    }
    set_options(context.as_fd(), &made.options)?;
    fsconfig_create(&context)?;
    let attributes = u32::try_from(made.attributes).map_err(|_| Errno::INVAL)?;
    let attributes = MountAttrFlags::from_bits_retain(attributes);
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(Reason::from)
}

/// Four octal digits as a C string, without allocation.
fn octal(mode: u32, digits: &mut [u8; 5]) -> &CStr {
    for (place, shift) in digits.iter_mut().zip([9, 6, 3, 0]) {
        *place = b'0' + ((mode >> shift) & 7).to_le_bytes()[0];
    }
    CStr::from_bytes_until_nul(digits).unwrap_or(c"1777")
}

fn set_options(context: BorrowedFd<'_>, options: &[FsOption]) -> rustix::io::Result<()> {
    for option in options {
        match &option.value {
            Some(value) => fsconfig_set_string(context, &option.key, value)?,
            None => fsconfig_set_flag(context, &option.key)?,
        }
    }
    Ok(())
}

fn attach(root: BorrowedFd<'_>, tree: BorrowedFd<'_>, target: &Target) -> Step {
    let status = rustix::fs::fstat(tree)?;
    let is_directory = FileType::from_raw_mode(status.st_mode).is_dir();
    let place = open_target(root, target, is_directory)?;
    let status = rustix::fs::fstat(&place)?;
    // The kernel says EINVAL, which says nothing.
    if FileType::from_raw_mode(status.st_mode).is_dir() != is_directory {
        return Err(Errno::NOTDIR.into());
    }
    move_onto(tree, place.as_fd()).map_err(Reason::from)
}

/// Opens a target, making it and what is missing above it: a directory for a directory, else an empty file.
pub(super) fn open_target(
    root: BorrowedFd<'_>,
    target: &Target,
    is_directory: bool,
) -> Step<OwnedFd> {
    let links = match target.links {
        Links::InRoot => ResolveFlags::empty(),
        Links::Refused => ResolveFlags::NO_SYMLINKS,
    };
    match resolve_with(root, &target.path, links) {
        Err(Errno::NOENT) => {}
        result => return result.map_err(Reason::from),
    }
    make_parents(root, &target.parents)?;
    let (parent, name) = parent_of(root, &target.path)?;
    let made = if is_directory {
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(DIRECTORY_MODE))
    } else {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(DIRECTORY_MODE)).map(drop)
    };
    match made {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    resolve_with(root, &target.path, links).map_err(Reason::from)
}

fn resolve_with(
    root: BorrowedFd<'_>,
    path: &CStr,
    more: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    if more.is_empty() {
        return resolve(root, path, OFlags::PATH, Mode::empty());
    }
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
    rustix::fs::openat2(
        root,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        how,
    )
}

/// Makes the missing ones of these directories, the shortest path first.
pub(super) fn make_parents(root: BorrowedFd<'_>, parents: &[std::ffi::CString]) -> Step {
    for path in parents {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match resolve(root, path.as_c_str(), flags, Mode::empty()) {
            Ok(_) => continue,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let (parent, name) = parent_of(root, path)?;
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(DIRECTORY_MODE)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The directory that holds a path's last name, opened, and that name.
fn parent_of<'path>(root: BorrowedFd<'_>, path: &'path CStr) -> Step<(OwnedFd, &'path CStr)> {
    let bytes = path.to_bytes_with_nul();
    let start = bytes
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    let name = CStr::from_bytes_with_nul(&bytes[start..]).map_err(|_| Errno::INVAL)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let above = &bytes[..start];
    let parent = if above.is_empty() {
        resolve(root, c".", flags, Mode::empty())?
    } else {
        // A path of bytes without the end mark: rustix copies it to the stack.
        resolve(root, above, flags, Mode::empty())?
    };
    Ok((parent, name))
}

fn move_onto(tree: BorrowedFd<'_>, place: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", place, c"", flags)
}

fn make_device(root: BorrowedFd<'_>, node: &DeviceNode) -> Step {
    make_parents(root, &node.parents)?;
    let (parent, name) = parent_of(root, &node.path)?;
    let device = rustix::fs::makedev(node.device.0, node.device.1);
    let kind = FileType::from_raw_mode(node.mode);
    match rustix::fs::mknodat(&parent, name, kind, Mode::from_raw_mode(node.mode), device) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    }
    if (node.user, node.group) == (0, 0) {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(node.user), Gid::from_raw(node.group));
    rustix::fs::chownat(
        &parent,
        name,
        Some(user),
        Some(group),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(Reason::from)
}

fn make_link(root: BorrowedFd<'_>, target: &CStr, path: &CStr) -> Step {
    let (parent, name) = parent_of(root, path)?;
    match rustix::fs::symlinkat(target, &parent, name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Hides a path. The null device is opened and verified here, from the machine's own `/dev`: one that the
/// container could have placed would unmask (CVE-2025-31133).
fn mask(root: BorrowedFd<'_>, path: &CStr) -> Step {
    let place = match resolve_with(root, path, ResolveFlags::NO_SYMLINKS) {
        Ok(place) => place,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let status = rustix::fs::fstat(&place)?;
    let cover = if FileType::from_raw_mode(status.st_mode).is_dir() {
        empty_directory()?
    } else {
        let null = rustix::fs::open(c"/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let status = rustix::fs::fstat(&null)?;
        let is_device = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice;
        if !is_device || status.st_rdev != rustix::fs::makedev(1, 3) {
            return Err(Reason::Forged);
        }
        clone_open(null.as_fd(), false)?
    };
    move_onto(cover.as_fd(), place.as_fd()).map_err(Reason::from)
}

fn empty_directory() -> rustix::io::Result<OwnedFd> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"source", c"tmpfs")?;
    fsconfig_set_string(&context, c"nr_inodes", c"2")?;
    fsconfig_set_string(&context, c"mode", c"755")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// One detached read-only copy, then mounted: there is no moment in which it is bound but writable.
fn make_read_only(root: BorrowedFd<'_>, path: &CStr) -> Step {
    let place = match resolve_with(root, path, ResolveFlags::NO_SYMLINKS) {
        Ok(place) => place,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let copy = clone_open(place.as_fd(), true)?;
    let attributes = MountAttributes {
        set: libc::MOUNT_ATTR_RDONLY,
        recursive: true,
        ..MountAttributes::default()
    };
    sys::mount_setattr(copy.as_fd(), attributes)?;
    move_onto(copy.as_fd(), place.as_fd()).map_err(Reason::from)
}

/// pivot_root(2) of a directory onto itself stacks the old root over the new one; it is detached at once, so
/// that no name in the container ever leads to it.
fn pivot_root(child: &mut Child<'_>) -> Step {
    rustix::process::fchdir(child.root()?)?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")?;
    child.root = None;
    child.open_own_root()
}

fn set_root_propagation(propagation: Propagation) -> Step {
    let flags = match propagation {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Shared => MountPropagationFlags::SHARED,
    };
    rustix::mount::mount_change(c"/", flags).map_err(Reason::from)
}
