//! Copies an image's directory into a new volume.
//!
//! The copy is made beside the content directory and then moved into it name by name, so the content directory stays the same inode (some
//! container may have it mounted already) and a killed copy is either undone or finished:
//!
//! ```text
//! <volume>/populate.tmp    being copied; removed by the next start
//! <volume>/populate        whole; the next start goes on moving
//! <volume>/populate.into   which directory of the content is filled, when it is not the whole
//! ```

use std::collections::HashMap;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use hoist_kernel::error::KernelError;
use hoist_kernel::path::{Directory, Node, Root};
use rustix::fs::{FileType, Mode, OFlags, RenameFlags, SeekFrom, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use crate::driver::below;
use crate::erase::erase_tree;
use crate::error::VolumeError;
use crate::merged::{Found, MergedDirectory, resolve};
use crate::store::{Populate, Populated};

pub(crate) const DATA: &str = "_data";
const COPYING: &str = "populate.tmp";
const COPIED: &str = "populate";
const INTO: &str = "populate.into";

/// Directories within directories; each level keeps descriptors open.
const DEPTH_LIMIT: usize = 256;
const CHUNK: usize = 1 << 30;

/// Populates the volume in `directory`; the caller holds the volume's lock.
pub(crate) fn populate(directory: &Path, from: &Populate) -> Result<Populated, VolumeError> {
    let data = directory.join(DATA);
    let below = match below("", &data, from.subpath.as_deref()) {
        Ok(below) => below,
        // Whether it can be mounted is told at the start.
        Err(_) => return Ok(Populated::Unchanged),
    };
    let place = below
        .as_ref()
        .map_or_else(|| data.clone(), |below| data.join(below));
    let is_link = |place: &Path| std::fs::symlink_metadata(place).is_ok_and(|at| !at.is_dir());
    if is_link(&place) {
        return Ok(Populated::Unchanged);
    }
    let mut content =
        std::fs::read_dir(&place).map_err(|error| VolumeError::at("read", &place, error))?;
    if content.next().is_some() {
        return Ok(Populated::Unchanged);
    }
    let find = resolve(&from.layers, &from.path)
        .map_err(|error| VolumeError::at("look into the image for", &from.path, error))?;
    let Some((source, Some(stat))) = find else {
        return Ok(Populated::Unchanged);
    };
    let copying = directory.join(COPYING);
    let result = copy(&source, &stat, &copying);
    if result.is_err() {
        drop(erase_tree(&copying));
    }
    let copied = result?;
    if let Some(below) = below {
        let into = directory.join(INTO);
        std::fs::write(&into, below.as_os_str().as_bytes())
            .map_err(|error| VolumeError::at("write", &into, error))?;
    }
    let copied_place = directory.join(COPIED);
    std::fs::rename(&copying, &copied_place)
        .map_err(|error| VolumeError::at("rename", &copying, error))?;
    move_in(directory)?;
    Ok(copied)
}

/// Undoes or finishes what a killed engine left in a volume's directory.
pub(crate) fn recover(directory: &Path) -> Result<(), VolumeError> {
    let copying = directory.join(COPYING);
    erase_tree(&copying).map_err(|error| VolumeError::at("remove", &copying, error))?;
    if directory.join(COPIED).is_dir() {
        move_in(directory)
    } else {
        forget_place(directory)
    }
}

/// Moves a whole copy into the content directory and gives that its mode and owner. Can be repeated.
fn move_in(directory: &Path) -> Result<(), VolumeError> {
    let (copied, data) = (directory.join(COPIED), directory.join(DATA));
    let failed = |error: KernelError| VolumeError::at("fill", &data, error);
    let root = Root::open(directory).map_err(failed)?;
    // Beneath the content where the place is there: it is a container's work.
    let (base, into) = match std::fs::read(directory.join(INTO)) {
        Ok(below) => (
            Root::open(&data).map_err(failed)?,
            OsString::from_vec(below),
        ),
        Err(_) => (root.try_clone().map_err(failed)?, OsString::from(DATA)),
    };
    let into = Path::new(&into);
    let open = |path: &Path| {
        base.open_within(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            .map(Directory::from_fd)
            .map_err(failed)
    };
    let to = open(into)?;
    let from = root.directory(Path::new(COPIED)).map_err(failed)?;
    for name in from.names().map_err(failed)? {
        match rustix::fs::renameat_with(
            from.as_directory_fd(),
            &name,
            to.as_directory_fd(),
            &name,
            RenameFlags::NOREPLACE,
        ) {
            // Somebody who has the volume mounted was faster; what is in use is not replaced.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(VolumeError::at("fill", &data, errno)),
        }
    }
    let outer = root.directory(Path::new(".")).map_err(failed)?;
    let stat = outer.status(OsStr::new(COPIED)).map_err(failed)?;
    let parent = open(into.parent().unwrap_or(Path::new("")))?;
    let name = into.file_name().unwrap_or_default();
    set_metadata((&outer, OsStr::new(COPIED)), (&parent, name), &stat).map_err(failed)?;
    erase_tree(&copied).map_err(|error| VolumeError::at("remove", &copied, error))?;
    forget_place(directory)
}

fn forget_place(directory: &Path) -> Result<(), VolumeError> {
    let into = directory.join(INTO);
    match std::fs::remove_file(&into) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(VolumeError::at("remove", &into, error))
        }
        _ => Ok(()),
    }
}

fn copy(source: &MergedDirectory, stat: &Stat, place: &Path) -> Result<Populated, VolumeError> {
    std::fs::create_dir(place).map_err(|error| VolumeError::at("create", place, error))?;
    let failed = |error: KernelError| {
        let object = place.join(error.object.trim_start_matches('/'));
        VolumeError::at("copy the image's content to", &object, error)
    };
    let root = Root::open(place).map_err(failed)?;
    let top = root.directory(Path::new(".")).map_err(failed)?;
    let mut copier = Copier {
        root,
        links: HashMap::new(),
        entries: 0,
        bytes: 0,
    };
    copier
        .directory(source, &top, Path::new(""))
        .map_err(failed)?;
    let parent = place.parent().unwrap_or(place);
    let outer = Root::open(parent)
        .and_then(|root| root.directory(Path::new(".")))
        .map_err(failed)?;
    set_directory_metadata(source, (&outer, OsStr::new(COPYING)), stat).map_err(failed)?;
    if copier.bytes > 0 {
        // One call for all files, before their names can be seen in the volume.
        let opened = File::open(place).map_err(|error| VolumeError::at("open", place, error))?;
        rustix::fs::syncfs(&opened).map_err(|errno| VolumeError::at("sync", place, errno))?;
    }
    Ok(Populated::Copied {
        entries: copier.entries,
        bytes: copier.bytes,
    })
}

/// Copies entries; `links` finds the first copy of a file with several names.
struct Copier {
    root: Root,
    links: HashMap<(u64, u64), PathBuf>,
    entries: u64,
    bytes: u64,
}

impl Copier {
    fn directory(
        &mut self,
        source: &MergedDirectory,
        target: &Directory,
        path: &Path,
    ) -> Result<(), KernelError> {
        if path.components().count() > DEPTH_LIMIT {
            return Err(KernelError::new(
                "copy",
                path.to_string_lossy(),
                Errno::NAMETOOLONG,
            ));
        }
        for name in source.names()? {
            let path = path.join(&name);
            match source.find(&name)? {
                Found::Nothing => continue,
                Found::Directory(inner, stat) => {
                    target.create_directory(&name, Mode::from_raw_mode(0o700))?;
                    self.directory(&inner, &target.child(&name)?, &path)?;
                    set_directory_metadata(&inner, (target, &name), &stat)?;
                }
                Found::Leaf(part, stat) => {
                    self.leaf((source.part(part), &name), (target, &path), &stat)?
                }
            }
            self.entries += 1;
        }
        Ok(())
    }

    fn leaf(
        &mut self,
        (source, name): (&Directory, &OsString),
        (target, path): (&Directory, &PathBuf),
        stat: &Stat,
    ) -> Result<(), KernelError> {
        let key = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&key) {
                let (parent, first_name) = self.root.parent(first)?;
                return target.create_link(name, &parent, &first_name);
            }
            self.links.insert(key, path.clone());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file((source, name), target)?,
            FileType::Symlink => target.create_symlink(name, &source.read_link(name)?)?,
            kind => target.make_node(name, node(kind, stat), Mode::from_raw_mode(0o600))?,
        }
        set_metadata((source, name), (target, name), stat)
    }

    fn file(
        &mut self,
        (source, name): (&Directory, &OsString),
        target: &Directory,
    ) -> Result<(), KernelError> {
        let from = source.open(name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
        let to = target.create_file(name, Mode::from_raw_mode(0o600))?;
        let copied = copy_content(&from, &to)
            .map_err(|errno| KernelError::new("copy", name.to_string_lossy(), errno))?;
        self.bytes += copied;
        Ok(())
    }
}

/// Copies a file's data and keeps its holes; shares the blocks where the file system can. Returns the file's size.
///
/// # Errors
/// Those of ioctl_ficlone(2), copy_file_range(2), read and write.
pub fn copy_content(from: &OwnedFd, to: &OwnedFd) -> Result<u64, Errno> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(u64::try_from(rustix::fs::fstat(from)?.st_size).unwrap_or(0));
    }
    let size = u64::try_from(rustix::fs::fstat(from)?.st_size).unwrap_or(0);
    let mut position = 0;
    while position < size {
        let data = match rustix::fs::seek(from, SeekFrom::Data(position)) {
            Ok(data) => data,
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno),
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(data))?;
        copy_range((from, to), data, end)?;
        position = end;
    }
    rustix::fs::ftruncate(to, size)?;
    Ok(size)
}

fn copy_range((from, to): (&OwnedFd, &OwnedFd), start: u64, end: u64) -> Result<(), Errno> {
    let (mut read_at, mut write_at) = (start, start);
    while read_at < end {
        let length = usize::try_from(end - read_at).unwrap_or(CHUNK).min(CHUNK);
        match rustix::fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), length)
        {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                return copy_through_memory((from, to), read_at, end);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn copy_through_memory(
    (from, to): (&OwnedFd, &OwnedFd),
    start: u64,
    end: u64,
) -> Result<(), Errno> {
    let mut buffer = vec![0; 256 << 10];
    let mut position = start;
    while position < end {
        let wanted = usize::try_from(end - position)
            .unwrap_or(buffer.len())
            .min(buffer.len());
        let read =
            rustix::io::retry_on_intr(|| rustix::io::pread(from, &mut buffer[..wanted], position))?;
        if read == 0 {
            return Ok(());
        }
        let mut written = 0;
        while written < read {
            written += rustix::io::retry_on_intr(|| {
                rustix::io::pwrite(to, &buffer[written..read], position + written as u64)
            })?;
        }
        position += read as u64;
    }
    Ok(())
}

fn node(kind: FileType, stat: &Stat) -> Node {
    let (major, minor) = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    match kind {
        FileType::CharacterDevice => Node::Character(major, minor),
        FileType::BlockDevice => Node::Block(major, minor),
        FileType::Socket => Node::Socket,
        _ => Node::Fifo,
    }
}

/// As [`set_metadata`] for a directory of the image, whose attributes are read on its own descriptor.
fn set_directory_metadata(
    source: &MergedDirectory,
    (target, name): (&Directory, &OsStr),
    stat: &Stat,
) -> Result<(), KernelError> {
    for (attribute, value) in own_attributes(source.part(0))? {
        set_attribute((target, name), &attribute, &value)?;
    }
    set_owner_mode_times((target, name), stat)
}

/// Extended attributes first: changing the owner afterwards would be wrong for capabilities, so owner and mode come before, times last.
fn set_metadata(
    (source, old): (&Directory, &OsStr),
    (target, new): (&Directory, &OsStr),
    stat: &Stat,
) -> Result<(), KernelError> {
    let attributes = if is_link(stat) {
        Vec::new()
    } else {
        attributes(source, old)?
    };
    set_owner_mode_times((target, new), stat)?;
    for (attribute, value) in attributes {
        set_attribute((target, new), &attribute, &value)?;
    }
    Ok(())
}

fn set_owner_mode_times(
    (target, name): (&Directory, &OsStr),
    stat: &Stat,
) -> Result<(), KernelError> {
    target.set_owner(name, stat.st_uid, stat.st_gid)?;
    if !is_link(stat) {
        target.set_mode(name, Mode::from_raw_mode(stat.st_mode))?;
    }
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    };
    target.set_times(name, &times)
}

fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

type Attribute = (std::ffi::CString, Vec<u8>);

fn attributes(directory: &Directory, name: &OsStr) -> Result<Vec<Attribute>, KernelError> {
    let names = match directory.attributes(name) {
        Err(error) if error.errno == Errno::OPNOTSUPP => return Ok(Vec::new()),
        result => result?,
    };
    let mut found = Vec::new();
    for attribute in names.into_iter().filter(|attribute| is_copied(attribute)) {
        if let Some(value) = directory.attribute(name, &attribute)? {
            found.push((attribute, value));
        }
    }
    Ok(found)
}

/// Attributes of an open directory itself.
fn own_attributes(directory: &Directory) -> Result<Vec<Attribute>, KernelError> {
    let fd = directory.as_directory_fd();
    let failed = |errno| KernelError::new("fgetxattr", "directory", errno);
    let mut names = vec![0_u8; 64 << 10];
    let length = match rustix::fs::flistxattr(fd, &mut names) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        result => result.map_err(failed)?,
    };
    let mut found = Vec::new();
    let listed = names[..length]
        .split_inclusive(|byte| *byte == 0)
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok());
    for attribute in listed.filter(|attribute| is_copied(attribute)) {
        let mut value = vec![0_u8; 64 << 10];
        let length = rustix::fs::fgetxattr(fd.as_fd(), attribute, &mut value).map_err(failed)?;
        value.truncate(length);
        found.push((attribute.to_owned(), value));
    }
    Ok(found)
}

fn set_attribute(
    (target, name): (&Directory, &OsStr),
    attribute: &CStr,
    value: &[u8],
) -> Result<(), KernelError> {
    match target.set_attribute(name, attribute, value) {
        // The volume's file system has none of this kind; Docker goes on as well.
        Err(error) if error.errno == Errno::OPNOTSUPP => Ok(()),
        result => result,
    }
}

/// What means something in a container; overlayfs's own attributes and the host's labels do not.
fn is_copied(attribute: &CStr) -> bool {
    let name = attribute.to_bytes();
    (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
        || name == b"security.capability"
        || name.starts_with(b"system.posix_acl_")
}
