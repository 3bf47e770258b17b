//! Names that an image or a container can influence, resolved beneath a root directory.
//!
//! Every lookup is openat2(2) with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`: `..`, absolute paths and
//! symbolic links, however they are nested or swapped while we look, end inside the root, and
//! `/proc/self/fd`-like links are refused. What is found is a descriptor, and everything after works on it and
//! never on the name again (CVE-2021-30465, CVE-2018-15664 and their class).
//!
//! Two types: [`Root`] resolves a whole path; [`Directory`] is one resolved directory, whose methods take
//! a single file name and never follow a link in the last place. Unpacking a layer means one
//! [`Root::parent`] per entry and [`Directory`] methods for the rest.

use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timestamps, Uid, XattrFlags, openat2,
};
use rustix::io::Errno;

use crate::error::{Context, KernelError, Result};

/// How often a lookup is tried again when a rename elsewhere makes it ambiguous (`EAGAIN`, openat2(2)).
const RACE_RETRIES: u32 = 128;

/// A directory that paths are resolved beneath, as if it were `/`.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

impl Root {
    /// Opens a trusted path of the machine as a root.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).context("open", path)?;
        Ok(Self { fd })
    }

    /// Takes an open directory as a root.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// The same directory by another descriptor.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`.
    pub fn try_clone(&self) -> Result<Self> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 3).context("dup", "root")?;
        Ok(Self { fd })
    }

    /// Opens `path` beneath the root. `flags` says for what, `mode` is for `O_CREATE`; `O_CLOEXEC` is added.
    /// Add `OFlags::NOFOLLOW` to refuse (`ELOOP`) or, with `OFlags::PATH`, to open a link in the last place.
    ///
    /// # Errors
    /// `ENOENT`, `ELOOP` (a magic link, or too many links), `EAGAIN` when others keep renaming.
    pub fn open_beneath(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        resolve(self.fd.as_fd(), relative(path), flags, mode).context("openat2", path)
    }

    /// As [`Root::open_beneath`], but what leads out is an error and not taken to be within: an absolute path or link, and one `..` too
    /// many (`RESOLVE_BENEATH`).
    ///
    /// # Errors
    /// `EXDEV` for what leads out; those of [`Root::open_beneath`].
    pub fn open_within(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let path = relative(path);
        retried(|| openat2(&self.fd, path, flags | OFlags::CLOEXEC, mode, how))
            .context("openat2", path)
    }

    /// Opens a directory beneath the root for use with [`Directory`]'s methods.
    ///
    /// # Errors
    /// As [`Root::open_beneath`], and `ENOTDIR`.
    pub fn directory(&self, path: &Path) -> Result<Directory> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        self.open_beneath(path, flags, Mode::empty())
            .map(|fd| Directory { fd })
    }

    /// The directory that holds `path`, and the last name of it. Nothing is created.
    ///
    /// # Errors
    /// `EINVAL` when the path has no last name (`/`, or ends in `..`); those of [`Root::directory`].
    pub fn parent(&self, path: &Path) -> Result<(Directory, OsString)> {
        let name = last_name(path)?;
        Ok((
            self.directory(path.parent().unwrap_or(Path::new("")))?,
            name,
        ))
    }

    /// As [`Root::parent`], creating missing directories on the way.
    ///
    /// # Errors
    /// Those of [`Root::parent`] and [`Root::create_directories`].
    pub fn create_parent(&self, path: &Path, mode: Mode) -> Result<(Directory, OsString)> {
        let name = last_name(path)?;
        Ok((
            self.create_directories(path.parent().unwrap_or(Path::new("")), mode)?,
            name,
        ))
    }

    /// Creates the directory `path` and all missing ones above it with `mode` (umask applies), and opens it.
    /// Links on the way that stay inside the root are followed; a dangling one is an error.
    ///
    /// # Errors
    /// `ENOTDIR` when something on the way is no directory, `EEXIST` for a dangling link.
    pub fn create_directories(&self, path: &Path, mode: Mode) -> Result<Directory> {
        if let Ok(existing) = self.directory(path) {
            return Ok(existing);
        }
        let mut so_far = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => {
                    let above = self.directory(&so_far)?;
                    match rustix::fs::mkdirat(&above.fd, name, mode) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => {
                            return Err(KernelError::new("mkdirat", path.to_string_lossy(), errno));
                        }
                    }
                    so_far.push(name);
                }
                // Left to the kernel, which re-roots it; removing the last name here would be wrong
                // behind a symbolic link.
                Component::ParentDir => so_far.push(".."),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        self.directory(&so_far)
    }

    /// The root's own descriptor (`O_PATH`).
    pub fn as_directory_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What [`Directory::make_node`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A character device with its major and minor number.
    Character(u32, u32),
    /// A block device with its major and minor number.
    Block(u32, u32),
}

/// An open directory. Names given to its methods are single file names: one with a `/`, an empty one, `.`
/// or `..` is `EINVAL`. No method follows a symbolic link.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
}

impl Directory {
    /// Wraps an open directory.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// The descriptor.
    pub fn as_directory_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens a child; `O_NOFOLLOW` and `O_CLOEXEC` are added.
    ///
    /// # Errors
    /// `ELOOP` when it is a symbolic link and the flags lack `O_PATH`; those of openat(2).
    pub fn open(&self, name: &OsStr, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let name = single(name)?;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, name, flags, mode).context("openat", name)
    }

    /// Creates a new, empty regular file for writing; the umask applies, so set the mode afterwards.
    ///
    /// # Errors
    /// `EEXIST` when anything of the name exists.
    pub fn create_file(&self, name: &OsStr, mode: Mode) -> Result<OwnedFd> {
        self.open(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode)
    }

    /// Opens a child directory.
    ///
    /// # Errors
    /// `ENOTDIR` also for a symbolic link to a directory.
    pub fn child(&self, name: &OsStr) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        self.open(name, flags, Mode::empty()).map(|fd| Self { fd })
    }

    /// Creates a directory.
    ///
    /// # Errors
    /// `EEXIST` and the others of mkdirat(2).
    pub fn create_directory(&self, name: &OsStr, mode: Mode) -> Result<()> {
        let name = single(name)?;
        rustix::fs::mkdirat(&self.fd, name, mode).context("mkdirat", name)
    }

    /// Creates a symbolic link; its target is stored as it is and looked up by nobody here.
    ///
    /// # Errors
    /// `EEXIST` and the others of symlinkat(2).
    pub fn create_symlink(&self, name: &OsStr, target: &OsStr) -> Result<()> {
        let name = single(name)?;
        rustix::fs::symlinkat(target, &self.fd, name).context("symlinkat", name)
    }

    /// Creates a hard link `name` to `old_name` of the directory `old`; a symbolic link is linked itself.
    ///
    /// # Errors
    /// `EEXIST`, `EXDEV`, `EPERM` (a directory) and the others of linkat(2).
    pub fn create_link(&self, name: &OsStr, old: &Self, old_name: &OsStr) -> Result<()> {
        let (name, old_name) = (single(name)?, single(old_name)?);
        rustix::fs::linkat(&old.fd, old_name, &self.fd, name, AtFlags::empty())
            .context("linkat", name)
    }

    /// Creates a device node, named pipe or socket name.
    ///
    /// # Errors
    /// `EPERM` for devices without CAP_MKNOD, `EEXIST`.
    pub fn make_node(&self, name: &OsStr, node: Node, mode: Mode) -> Result<()> {
        let name = single(name)?;
        let (kind, device) = match node {
            Node::Fifo => (FileType::Fifo, 0),
            Node::Socket => (FileType::Socket, 0),
            Node::Character(major, minor) => {
                (FileType::CharacterDevice, rustix::fs::makedev(major, minor))
            }
            Node::Block(major, minor) => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
        };
        rustix::fs::mknodat(&self.fd, name, kind, mode, device).context("mknodat", name)
    }

    /// Status of a child itself (a link is not followed).
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn status(&self, name: &OsStr) -> Result<Stat> {
        let name = single(name)?;
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).context("fstatat", name)
    }

    /// Target of a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` when it is no link.
    pub fn read_link(&self, name: &OsStr) -> Result<OsString> {
        let name = single(name)?;
        let target =
            rustix::fs::readlinkat(&self.fd, name, Vec::new()).context("readlinkat", name)?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// Removes a child: `AtFlags::REMOVEDIR` for an empty directory, nothing for anything else.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `ENOTEMPTY`.
    pub fn remove(&self, name: &OsStr, flags: AtFlags) -> Result<()> {
        let name = single(name)?;
        rustix::fs::unlinkat(&self.fd, name, flags).context("unlinkat", name)
    }

    /// Removes a child and, when it is a directory, everything below it. Never leaves the directory and
    /// never crosses into another file system. An absent child is no error.
    ///
    /// # Errors
    /// `EXDEV` when something is mounted inside; those of unlinkat(2).
    pub fn remove_all(&self, name: &OsStr) -> Result<()> {
        single(name)?;
        remove_tree(self.fd.as_fd(), name)
    }

    /// Renames a child within this directory, replacing what has the new name as rename(2) does.
    ///
    /// # Errors
    /// Those of renameat(2).
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> Result<()> {
        let (from, to) = (single(from)?, single(to)?);
        rustix::fs::renameat(&self.fd, from, &self.fd, to).context("renameat", from)
    }

    /// Sets owner and group of a child itself. Clears setuid bits: set the mode afterwards.
    ///
    /// # Errors
    /// `EPERM` without CAP_CHOWN.
    pub fn set_owner(&self, name: &OsStr, user: u32, group: u32) -> Result<()> {
        let name = single(name)?;
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        rustix::fs::chownat(
            &self.fd,
            name,
            Some(user),
            Some(group),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .context("fchownat", name)
    }

    /// Sets the mode of a child, setuid bits too. A symbolic link has none: `EOPNOTSUPP`.
    ///
    /// # Errors
    /// Those of fchmodat(2).
    pub fn set_mode(&self, name: &OsStr, mode: Mode) -> Result<()> {
        let child = self.open(name, OFlags::PATH, Mode::empty())?;
        let status = rustix::fs::fstat(&child).context("fstat", name)?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Symlink {
            return Err(KernelError::new(
                "fchmodat",
                name.to_string_lossy(),
                Errno::OPNOTSUPP,
            ));
        }
        // A descriptor opened with O_PATH cannot be given to fchmod(2); its link in /proc can, and means
        // that very file.
        rustix::fs::chmod(own_link(child.as_fd(), None), mode).context("chmod", name)
    }

    /// Sets access and modification time of a child itself.
    ///
    /// # Errors
    /// Those of utimensat(2).
    pub fn set_times(&self, name: &OsStr, times: &Timestamps) -> Result<()> {
        let name = single(name)?;
        rustix::fs::utimensat(&self.fd, name, times, AtFlags::SYMLINK_NOFOLLOW)
            .context("utimensat", name)
    }

    /// Sets an extended attribute of a child itself (links too).
    ///
    /// # Errors
    /// `EOPNOTSUPP` when the file system has none, `EPERM` for `trusted.` without CAP_SYS_ADMIN.
    pub fn set_attribute(&self, name: &OsStr, attribute: &CStr, value: &[u8]) -> Result<()> {
        let path = own_link(self.fd.as_fd(), Some(single(name)?));
        rustix::fs::lsetxattr(path, attribute, value, XattrFlags::empty())
            .context("lsetxattr", name)
    }

    /// Reads an extended attribute of a child itself; `None` when it has none of that name.
    ///
    /// # Errors
    /// `EOPNOTSUPP` when the file system has none.
    pub fn attribute(&self, name: &OsStr, attribute: &CStr) -> Result<Option<Vec<u8>>> {
        let path = own_link(self.fd.as_fd(), Some(single(name)?));
        // XATTR_SIZE_MAX of limits.h.
        let mut value = vec![0; 64 * 1024];
        match rustix::fs::lgetxattr(path, attribute, &mut value) {
            Ok(length) => {
                value.truncate(length);
                Ok(Some(value))
            }
            Err(Errno::NODATA) => Ok(None),
            Err(errno) => Err(KernelError::new("lgetxattr", name.to_string_lossy(), errno)),
        }
    }

    /// Names of the extended attributes of a child itself.
    ///
    /// # Errors
    /// `EOPNOTSUPP` when the file system has none.
    pub fn attributes(&self, name: &OsStr) -> Result<Vec<std::ffi::CString>> {
        let path = own_link(self.fd.as_fd(), Some(single(name)?));
        let mut names = vec![0_u8; 64 * 1024];
        let length = rustix::fs::llistxattr(path, &mut names).context("llistxattr", name)?;
        names.truncate(length);
        let list = names.split_inclusive(|byte| *byte == 0);
        Ok(list
            .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
            .map(CStr::to_owned)
            .collect())
    }

    /// Names in the directory, without `.` and `..`, in the file system's order.
    ///
    /// # Errors
    /// Those of getdents64(2).
    pub fn names(&self) -> Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).context("getdents64", "directory")? {
            let entry = entry.context("getdents64", "directory")?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        Ok(names)
    }
}

/// The lookup itself, also used by the child of a container's start, which must not allocate.
pub(crate) fn resolve<P: rustix::path::Arg + Copy>(
    root: BorrowedFd<'_>,
    path: P,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    retried(|| openat2(root, path, flags | OFlags::CLOEXEC, mode, how))
}

fn retried(open: impl Fn() -> rustix::io::Result<OwnedFd>) -> rustix::io::Result<OwnedFd> {
    let mut tries = 0;
    loop {
        match open() {
            Err(Errno::AGAIN | Errno::INTR) if tries < RACE_RETRIES => tries += 1,
            result => return result,
        }
    }
}

/// A directory that is being emptied: how to know it again, its name, and what it still holds.
struct Emptying {
    identity: (u64, u64),
    name: OsString,
    pending: Vec<OsString>,
}

/// Holds one descriptor however deep the tree is: a hostile tree is deeper than any limit of them. The way back up
/// is `..`, and only taken when it leads where we came from.
fn remove_tree(directory: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    if remove_leaf(directory, name)? {
        return Ok(());
    }
    let mut current = Directory {
        fd: open_inside(directory, name)?,
    };
    let mut above: Vec<Emptying> = Vec::new();
    let mut here = emptying(&current, name)?;
    loop {
        if let Some(below) = here.pending.pop() {
            if !remove_leaf(current.fd.as_fd(), &below)? {
                current = Directory {
                    fd: open_inside(current.fd.as_fd(), &below)?,
                };
                let next = emptying(&current, &below)?;
                above.push(std::mem::replace(&mut here, next));
            }
            continue;
        }
        let Some(parent) = above.pop() else {
            return remove_empty(directory, name);
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let up =
            rustix::fs::openat(&current.fd, "..", flags, Mode::empty()).context("openat", "..")?;
        if identity(&up)? != parent.identity {
            return Err(KernelError::new(
                "openat",
                "a directory that was moved away",
                Errno::STALE,
            ));
        }
        remove_empty(up.as_fd(), &here.name)?;
        current = Directory { fd: up };
        here = parent;
    }
}

fn emptying(directory: &Directory, name: &OsStr) -> Result<Emptying> {
    let identity = identity(&directory.fd)?;
    Ok(Emptying {
        identity,
        name: name.to_owned(),
        pending: directory.names()?,
    })
}

fn identity(fd: &OwnedFd) -> Result<(u64, u64)> {
    let status = rustix::fs::fstat(fd).context("fstat", "directory")?;
    Ok((status.st_dev, status.st_ino))
}

/// Removes what is no directory, or an empty one; whether it is gone.
fn remove_leaf(directory: BorrowedFd<'_>, name: &OsStr) -> Result<bool> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(KernelError::new("unlinkat", name.to_string_lossy(), errno)),
        },
        Err(errno) => Err(KernelError::new("unlinkat", name.to_string_lossy(), errno)),
    }
}

fn remove_empty(directory: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(KernelError::new("unlinkat", name.to_string_lossy(), errno)),
    }
}

/// Opens a directory of this file system, and nothing behind a link or a mount.
fn open_inside(directory: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    openat2(directory, name, flags, Mode::empty(), resolve).context("openat2", name)
}

/// `/proc/self/fd/<fd>[/<name>]`: a path that means an open file, for calls without a descriptor form.
fn own_link(fd: BorrowedFd<'_>, name: Option<&OsStr>) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    if let Some(name) = name {
        path.push(name);
    }
    path
}

/// openat2 refuses an empty path, and means the root by `.` as well.
fn relative(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

fn last_name(path: &Path) -> Result<OsString> {
    path.file_name()
        .map(OsStr::to_owned)
        .ok_or_else(|| KernelError::new("openat2", path.to_string_lossy(), Errno::INVAL))
}

fn single(name: &OsStr) -> Result<&OsStr> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.contains(&b'/') || bytes == b"." || bytes == b".." {
        return Err(KernelError::new(
            "openat",
            name.to_string_lossy(),
            Errno::INVAL,
        ));
    }
    Ok(name)
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
