//! Makes one entry of a layer beneath its open parent directory, then sets owner, mode, attributes and time, in this order: changing the
//! owner clears set-id bits and capabilities, and everything changes the time.

use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::name::LayerPath;
use super::tree::{self, Existing, Tree};
use super::{Budget, UnpackError};
use crate::image::tarball::{Entry, EntryKind, Segment, TarReader, Timestamp};

/// An entry and where it goes.
#[derive(Debug)]
pub(super) struct Maker<'a> {
    pub(super) parent: &'a OwnedFd,
    /// The last component; `.` for the root.
    pub(super) name: &'a [u8],
    pub(super) path: &'a LayerPath,
    pub(super) entry: &'a Entry,
    /// Who owns it instead of whom the archive says.
    pub(super) owner: Option<(u32, u32)>,
}

impl Maker<'_> {
    pub(super) fn directory(&mut self, tree: &mut Tree) -> Result<OwnedFd, UnpackError> {
        let mut hides_lower = false;
        match rustix::fs::mkdirat(self.parent, self.name, Mode::from_raw_mode(0o700)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let found = self.existing()?;
                hides_lower = found == Existing::Whiteout;
                if found != Existing::Directory {
                    tree.clear(self.parent.as_fd(), self.path)?;
                    rustix::fs::mkdirat(self.parent, self.name, Mode::from_raw_mode(0o700))
                        .map_err(|errno| self.failed("make directory", errno))?;
                }
            }
            Err(errno) => return Err(self.failed("make directory", errno)),
        }
        let made = tree::open_directory(self.parent.as_fd(), self.name)
            .map_err(|errno| self.failed("open directory", errno))?;
        if hides_lower {
            tree::mark_opaque(made.as_fd()).map_err(|errno| self.failed("mark opaque", errno))?;
        }
        self.set_metadata(made.as_fd())?;
        Ok(made)
    }

    /// Makes a regular file with its content; returns the bytes written.
    pub(super) fn file<R: BufRead>(
        &mut self,
        tree: &mut Tree,
        reader: &mut TarReader<R>,
        budget: &mut Budget,
    ) -> Result<u64, UnpackError> {
        let stored = match &self.entry.segments {
            Some(segments) => segments.iter().map(|segment| segment.length).sum(),
            None => self.entry.size,
        };
        // Before anything is written: the declared size alone may be a lie that fills the disk. Holes cost nothing here, but
        // whoever copies the file may fill them.
        budget.bytes(stored.max(self.entry.size))?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |maker: &Self| {
            rustix::fs::openat(maker.parent, maker.name, flags, Mode::from_raw_mode(0o600))
        };
        let file = self.make(tree, "create", open)?;
        // Before the new content, so that the old one is told from it.
        for (path, number) in tree.take_moved() {
            reader.note_moved(path.as_bytes(), number);
        }
        match &self.entry.segments {
            None => self.copy(
                reader,
                &file,
                Segment {
                    offset: 0,
                    length: stored,
                },
            )?,
            Some(segments) => {
                for segment in segments {
                    self.copy(reader, &file, *segment)?;
                }
                rustix::fs::ftruncate(&file, self.entry.size)
                    .map_err(|errno| self.failed("set the size of", errno))?;
            }
        }
        self.set_metadata(file.as_fd())?;
        set_times_of(file.as_fd(), self.entry.mtime)
            .map_err(|errno| self.failed("set the time of", errno))?;
        Ok(stored)
    }

    pub(super) fn hard_link(
        &mut self,
        tree: &mut Tree,
        target: &LayerPath,
    ) -> Result<(), UnpackError> {
        let Some((parent, name)) = target.split() else {
            return Err(self.refused("it is a hard link to the root directory"));
        };
        if target == self.path {
            return Ok(());
        }
        let missing = || {
            self.refused(&format!(
                "it is a hard link to {target}, which is not a file of this layer"
            ))
        };
        let from = tree.existing_directory(&parent).map_err(|_| missing())?;
        let link = |maker: &Self| {
            rustix::fs::linkat(&from, name, maker.parent, maker.name, AtFlags::empty())
        };
        match link(self) {
            // EPERM: a directory.
            Err(Errno::NOENT | Errno::PERM | Errno::NOTDIR) => return Err(missing()),
            Err(Errno::EXIST) if self.is_same_file(from.as_fd(), name)? => return Ok(()),
            Err(Errno::EXIST) => {
                tree.clear(self.parent.as_fd(), self.path)?;
                // What was cleared may have been (or held) the target.
                link(self).map_err(|_| missing())?;
            }
            result => result.map_err(|errno| self.failed("link", errno))?,
        }
        Ok(())
    }

    pub(super) fn symlink(&mut self, tree: &mut Tree) -> Result<(), UnpackError> {
        if self.entry.link.is_empty()
            || self.entry.link.contains(&0)
            || self.entry.link.len() > 4095
        {
            return Err(self.refused("it is a symbolic link without a usable target"));
        }
        let link = |maker: &Self| {
            rustix::fs::symlinkat(maker.entry.link.as_slice(), maker.parent, maker.name)
        };
        self.make(tree, "make link", link)?;
        self.set_owner_by_name()?;
        set_time(self.parent.as_fd(), self.name, self.entry.mtime)
            .map_err(|errno| self.failed("set the time of", errno))
    }

    /// Device nodes and pipes.
    pub(super) fn node(&mut self, tree: &mut Tree) -> Result<(), UnpackError> {
        let kind = match self.entry.kind {
            EntryKind::CharDevice => FileType::CharacterDevice,
            EntryKind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let device = rustix::fs::makedev(self.entry.device.0, self.entry.device.1);
        let make = |maker: &Self| {
            rustix::fs::mknodat(
                maker.parent,
                maker.name,
                kind,
                Mode::from_raw_mode(0o600),
                device,
            )
        };
        self.make(tree, "make node", make)?;
        self.set_owner_by_name()?;
        self.set_mode_by_name()?;
        set_time(self.parent.as_fd(), self.name, self.entry.mtime)
            .map_err(|errno| self.failed("set the time of", errno))
    }

    /// Runs a call that makes the entry; when something is there already, removes that and runs it again.
    fn make<T>(
        &self,
        tree: &mut Tree,
        call: &'static str,
        make: impl Fn(&Self) -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        let made = match make(self) {
            Err(Errno::EXIST) => {
                tree.clear(self.parent.as_fd(), self.path)?;
                make(self)
            }
            result => result,
        };
        made.map_err(|errno| self.failed(call, errno))
    }

    fn copy<R: BufRead>(
        &self,
        reader: &mut TarReader<R>,
        file: &OwnedFd,
        segment: Segment,
    ) -> Result<(), UnpackError> {
        let mut offset = segment.offset;
        let mut left = segment.length;
        while left > 0 {
            let data = reader.fill_data()?;
            let length = data.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if length == 0 {
                return Err(self.refused("its data ends early"));
            }
            let written =
                rustix::io::retry_on_intr(|| rustix::io::pwrite(file, &data[..length], offset))
                    .map_err(|errno| self.failed("write", errno))?;
            if written == 0 {
                return Err(self.failed("write", Errno::NOSPC));
            }
            reader.consume_content(self.path.as_bytes(), offset, written);
            offset += written as u64;
            left -= written as u64;
        }
        Ok(())
    }

    fn set_metadata(&self, file: BorrowedFd<'_>) -> Result<(), UnpackError> {
        let (uid, gid) = self.owner();
        rustix::fs::fchown(file, Some(uid), Some(gid))
            .map_err(|errno| self.failed("chown", errno))?;
        rustix::fs::fchmod(file, self.mode()).map_err(|errno| self.failed("chmod", errno))?;
        for (name, value) in self.entry.xattrs.iter().filter(|(name, _)| is_kept(name)) {
            match rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                // The file system has none of this kind: the file is still usable, as it is for Docker.
                Ok(()) | Err(Errno::NOTSUP) => {}
                Err(Errno::INVAL) => {
                    return Err(self.refused(&format!(
                        "it has the bad extended attribute {}",
                        String::from_utf8_lossy(name)
                    )));
                }
                Err(errno) => return Err(self.failed("set an extended attribute of", errno)),
            }
        }
        Ok(())
    }

    /// In a running container's tree the name may have become a link meanwhile, so the node itself is opened (which does not open the
    /// device) and changed through that.
    fn set_mode_by_name(&self) -> Result<(), UnpackError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = rustix::fs::openat(self.parent, self.name, flags, Mode::empty())
            .map_err(|errno| self.failed("open", errno))?;
        let stat = rustix::fs::fstat(&node).map_err(|errno| self.failed("stat", errno))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return Err(self.refused("it was replaced while it was made"));
        }
        let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&node));
        rustix::fs::chmod(own, self.mode()).map_err(|errno| self.failed("chmod", errno))
    }

    fn set_owner_by_name(&self) -> Result<(), UnpackError> {
        let (uid, gid) = self.owner();
        rustix::fs::chownat(
            self.parent,
            self.name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|errno| self.failed("chown", errno))
    }

    fn owner(&self) -> (Uid, Gid) {
        let (uid, gid) = self.owner.unwrap_or((self.entry.uid, self.entry.gid));
        (Uid::from_raw(uid), Gid::from_raw(gid))
    }

    /// Refuses an entry that would take the place of something of another kind, in Docker's words.
    pub(super) fn keep_kind(&self) -> Result<(), UnpackError> {
        let is_directory = self.entry.kind == EntryKind::Directory;
        match (self.existing()?, is_directory) {
            (Existing::Directory, false) => {
                Err(self.refused("cannot overwrite directory with non-directory"))
            }
            (Existing::Other | Existing::Whiteout, true) => {
                Err(self.refused("cannot overwrite non-directory with directory"))
            }
            _ => Ok(()),
        }
    }

    fn mode(&self) -> Mode {
        Mode::from_raw_mode(self.entry.mode)
    }

    fn existing(&self) -> Result<Existing, UnpackError> {
        tree::existing(self.parent.as_fd(), self.name).map_err(|errno| self.failed("stat", errno))
    }

    fn is_same_file(&self, other: BorrowedFd<'_>, name: &[u8]) -> Result<bool, UnpackError> {
        let stat = |directory: BorrowedFd<'_>, name: &[u8]| {
            rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        };
        let ours =
            stat(self.parent.as_fd(), self.name).map_err(|errno| self.failed("stat", errno))?;
        let theirs = stat(other, name).map_err(|errno| self.failed("stat", errno))?;
        Ok((ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino))
    }

    fn refused(&self, why: &str) -> UnpackError {
        UnpackError::Refused {
            entry: self.path.to_string(),
            why: why.to_owned(),
        }
    }

    fn failed(&self, call: &'static str, errno: Errno) -> UnpackError {
        UnpackError::system(call, self.path.to_string().as_bytes(), errno)
    }
}

/// Attributes that mean something in a container. SELinux labels are the host's business, `trusted.*` the kernel's.
pub(crate) fn is_kept(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || name == b"security.capability"
        || name.starts_with(b"system.posix_acl_")
}

/// Makes overlayfs's whiteout of `name`.
pub(super) fn make_whiteout(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), UnpackError> {
    rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0)
        .map_err(|errno| UnpackError::system("make whiteout", name, errno))
}

/// Sets the modification time of `name`, of a link itself if it is one.
pub(super) fn set_time(parent: BorrowedFd<'_>, name: &[u8], time: Timestamp) -> Result<(), Errno> {
    rustix::fs::utimensat(parent, name, &timestamps(time), AtFlags::SYMLINK_NOFOLLOW)
}

fn set_times_of(file: BorrowedFd<'_>, time: Timestamp) -> Result<(), Errno> {
    rustix::fs::futimens(file, &timestamps(time))
}

fn timestamps(time: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: time.seconds,
            tv_nsec: time.nanoseconds.into(),
        },
    }
}
