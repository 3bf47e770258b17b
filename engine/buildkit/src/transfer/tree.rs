//! The tree on disk that a transfer brings up to date. Everything is done from open directories by single names, links are never
//! followed: nothing that a client names leads out of the root.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, fchmod,
    futimens, linkat, mkdirat, openat, openat2, readlinkat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::{Errno, Result};

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// What is being written is its writer's alone; the real mode comes with the last byte.
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A directory being brought up to date.
#[derive(Debug)]
pub(crate) struct Level {
    directory: OwnedFd,
    /// Names that are on disk and that the client has not named so far.
    unnamed: BTreeSet<Vec<u8>>,
}

impl Level {
    /// The root.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn root(path: &Path) -> Result<Self> {
        Self::of(rustix::fs::open(path, DIRECTORY, Mode::empty())?)
    }

    fn of(directory: OwnedFd) -> Result<Self> {
        let mut unnamed = BTreeSet::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                unnamed.insert(name.to_vec());
            }
        }
        Ok(Self { directory, unnamed })
    }

    /// The client has this name.
    pub(crate) fn named(&mut self, name: &str) {
        self.unnamed.remove(name.as_bytes());
    }

    /// What is on disk under a name.
    pub(crate) fn stat(&self, name: &str) -> Option<Stat> {
        statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    /// Enters a directory; makes it in place of whatever else is there.
    pub(crate) fn enter(&self, name: &str) -> Result<Self> {
        let kind = self.stat(name).map(|stat| file_type(&stat));
        if kind != Some(FileType::Directory) {
            self.remove(name)?;
            mkdirat(&self.directory, name, Mode::RWXU)?;
        }
        Self::of(openat(&self.directory, name, DIRECTORY, Mode::empty())?)
    }

    /// Makes a symbolic link in place of whatever else is there. Its text is the client's; nothing here follows it.
    pub(crate) fn link(&self, name: &str, text: &str) -> Result<()> {
        let same = readlinkat(&self.directory, name, Vec::new())
            .is_ok_and(|there| there.as_bytes() == text.as_bytes());
        if same {
            return Ok(());
        }
        self.remove(name)?;
        symlinkat(text, &self.directory, name)
    }

    /// Removes a name with everything beneath it; fine when there is nothing.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        remove(self.directory.as_fd(), name.as_bytes())
    }

    /// Removes what the client has not named.
    pub(crate) fn leave(self) -> Result<()> {
        for name in &self.unnamed {
            remove(self.directory.as_fd(), name)?;
        }
        Ok(())
    }
}

/// What something on disk is.
pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Opens the directory that a path is in, and gives the name there.
fn parent<'path>(root: BorrowedFd<'_>, path: &'path str) -> Result<(OwnedFd, &'path str)> {
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    let directory = openat2(
        root,
        parent,
        DIRECTORY,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )?;
    Ok((directory, name))
}

/// Makes a file to be written.
pub(crate) fn create(root: BorrowedFd<'_>, path: &str) -> Result<File> {
    let (directory, name) = parent(root, path)?;
    remove(directory.as_fd(), name.as_bytes())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(&directory, name, flags, PRIVATE_FILE).map(File::from)
}

/// Gives a written file its mode and its time: from now on it counts as the client's.
pub(crate) fn finish(file: &File, mode: u32, mod_time: i64) -> Result<()> {
    fchmod(file, Mode::from_raw_mode(mode))?;
    futimens(file, &times(mod_time))
}

/// Makes a second name of a file that came before.
pub(crate) fn hard_link(root: BorrowedFd<'_>, target: &str, path: &str) -> Result<()> {
    let (from, old) = parent(root, target)?;
    let (to, new) = parent(root, path)?;
    let original = statat(&from, old, AtFlags::SYMLINK_NOFOLLOW)?;
    if file_type(&original) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let there = statat(&to, new, AtFlags::SYMLINK_NOFOLLOW);
    let same = |stat: &Stat| stat.st_ino == original.st_ino && stat.st_dev == original.st_dev;
    if there.is_ok_and(|there| same(&there)) {
        return Ok(());
    }
    remove(to.as_fd(), new.as_bytes())?;
    linkat(&from, old, &to, new, AtFlags::empty())
}

/// Gives a directory its mode and its time.
pub(crate) fn finish_directory(
    root: BorrowedFd<'_>,
    path: &str,
    mode: u32,
    mod_time: i64,
) -> Result<()> {
    let (directory, name) = parent(root, path)?;
    let opened = openat(&directory, name, DIRECTORY, Mode::empty())?;
    fchmod(&opened, Mode::from_raw_mode(mode))?;
    utimensat(
        &directory,
        name,
        &times(mod_time),
        AtFlags::SYMLINK_NOFOLLOW,
    )
}

/// Times that say when something was changed; nanoseconds since 1970.
fn times(mod_time: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: mod_time.div_euclid(1_000_000_000),
        tv_nsec: mod_time.rem_euclid(1_000_000_000),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// When something was changed; nanoseconds since 1970.
pub(crate) fn mod_time(stat: &Stat) -> i64 {
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or_default();
    stat.st_mtime
        .saturating_mul(1_000_000_000)
        .saturating_add(nanos)
}

fn remove(directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // A directory; POSIX says PERM, Linux ISDIR.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let inner = openat(directory, name, DIRECTORY, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&inner)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    for name in names {
        remove(inner.as_fd(), &name)?;
    }
    unlinkat(directory, name, AtFlags::REMOVEDIR)
}
