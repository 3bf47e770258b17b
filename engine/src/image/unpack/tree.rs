//! A directory tree that is worked on only through descriptors beneath its root.
//!
//! Parents are resolved by the kernel with `openat2(2)` and `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`: links in the tree are followed as a
//! process that has the tree as its root would follow them, so neither an absolute link nor any number of `..` leads out. The last
//! component is never followed. Recently used parents are kept open, since archives name the files of a directory one after the other.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::name::LayerPath;
use super::{Budget, UnpackError};

/// overlayfs reads this on a directory of an upper layer as "nothing of the layers below".
const OPAQUE: &str = "trusted.overlay.opaque";
/// Bytes of the names of what is put aside, with a little for each: whoever gives the archive again has them all in memory. Honest archives
/// name hardly anything twice.
const ASIDE_LIMIT: usize = 8 << 20;
const ASIDE_COST: usize = 64;
/// Open parents that are kept; a guess that costs little.
const CACHE_SIZE: usize = 64;

/// The tree.
#[derive(Debug)]
pub(super) struct Tree {
    root: Rc<OwnedFd>,
    cache: HashMap<LayerPath, Rc<OwnedFd>>,
    /// Where files go that a later entry replaces; without it they are removed.
    aside: Option<OwnedFd>,
    /// What was put there, not yet told to the caller.
    moved: Vec<(LayerPath, u64)>,
    moved_count: u64,
    /// Towards [`ASIDE_LIMIT`].
    moved_bytes: usize,
}

/// What lies at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Nothing,
    Directory,
    /// A whiteout in overlayfs's form: a character device 0/0.
    Whiteout,
    Other,
}

impl Tree {
    pub(super) fn new(root: BorrowedFd<'_>, aside: Option<OwnedFd>) -> io::Result<Self> {
        Ok(Self {
            root: Rc::new(root.try_clone_to_owned()?),
            cache: HashMap::new(),
            aside,
            moved: Vec::new(),
            moved_count: 0,
            moved_bytes: 0,
        })
    }

    /// The root directory.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// What was moved aside since the last call.
    pub(super) fn take_moved(&mut self) -> Vec<(LayerPath, u64)> {
        std::mem::take(&mut self.moved)
    }

    /// The directory at `path`, with the directories up to it made where they are missing.
    pub(super) fn directory(
        &mut self,
        path: &LayerPath,
        budget: &mut Budget,
    ) -> Result<Rc<OwnedFd>, UnpackError> {
        if path.as_bytes().is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        if let Some(known) = self.cache.get(path) {
            return Ok(Rc::clone(known));
        }
        let found = match self.open(path) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR) => self.make(path, budget)?,
            Err(errno) => return Err(cannot_enter(path, errno)),
        };
        let found = Rc::new(found);
        self.remember(path.clone(), Rc::clone(&found));
        Ok(found)
    }

    /// The directory at `path` when it is there.
    pub(super) fn existing_directory(&self, path: &LayerPath) -> Result<OwnedFd, Errno> {
        if path.as_bytes().is_empty() {
            return rustix::fs::openat(
                &self.root,
                c".",
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            );
        }
        self.open(path)
    }

    /// Keeps an open directory for the entries that will lie in it.
    pub(super) fn remember(&mut self, path: LayerPath, directory: Rc<OwnedFd>) {
        if self.cache.len() >= CACHE_SIZE {
            self.cache.clear();
        }
        self.cache.insert(path, directory);
    }

    /// Takes whatever lies at `path`, whose parent is open, out of the way. Files and directories go aside where there is such a place.
    pub(super) fn clear(
        &mut self,
        parent: BorrowedFd<'_>,
        path: &LayerPath,
    ) -> Result<(), UnpackError> {
        let name = path.split().map_or(&b"."[..], |(_, name)| name);
        // A directory or a link to one may be behind a remembered path.
        self.cache.clear();
        let failed = |errno| UnpackError::system("remove", name, errno);
        let Some(aside) = &self.aside else {
            return hoist_volumes::erase_at(parent, OsStr::from_bytes(name)).map_err(failed);
        };
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let holds_content = matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::RegularFile | FileType::Directory
        );
        if !holds_content {
            return hoist_volumes::erase_at(parent, OsStr::from_bytes(name)).map_err(failed);
        }
        self.moved_bytes += path.as_bytes().len() + ASIDE_COST;
        if self.moved_bytes > ASIDE_LIMIT {
            let count = self.moved_count;
            return Err(UnpackError::Limit(format!(
                "it replaces its own entries too often: {count} times up to {path}"
            )));
        }
        let number = self.moved_count;
        rustix::fs::renameat(parent, name, aside, number.to_string()).map_err(failed)?;
        self.moved_count += 1;
        self.moved.push((path.clone(), number));
        Ok(())
    }

    fn open(&self, path: &LayerPath) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.root, path.as_bytes(), flags, Mode::empty(), resolve) {
                // A rename elsewhere on the machine while ".." was walked; the man page says to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }

    /// Makes `path` and what is missing above it. Without recursion: a name may have two thousand components.
    fn make(&mut self, path: &LayerPath, budget: &mut Budget) -> Result<OwnedFd, UnpackError> {
        let ends = path.ends();
        // A directory's ancestors are directories, so the first missing one can be searched for by halves.
        let missing = ends.partition_point(|end| self.open(&path.prefix(*end)).is_ok());
        let above = missing
            .checked_sub(1)
            .map_or_else(LayerPath::default, |index| path.prefix(ends[index]));
        let mut directory = self
            .existing_directory(&above)
            .map_err(|errno| cannot_enter(&above, errno))?;
        for end in &ends[missing..] {
            let step = path.prefix(*end);
            budget.entry()?;
            directory = self.make_one(directory.as_fd(), &step)?;
        }
        Ok(directory)
    }

    fn make_one(
        &mut self,
        parent: BorrowedFd<'_>,
        path: &LayerPath,
    ) -> Result<OwnedFd, UnpackError> {
        let Some((_, name)) = path.split() else {
            return Err(cannot_enter(path, Errno::NOENT));
        };
        let found = existing(parent, name).map_err(|errno| cannot_enter(path, errno))?;
        if found == Existing::Whiteout {
            self.clear(parent, path)?;
        }
        match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            // A file, or a link that leads nowhere or to itself.
            Err(Errno::EXIST) => {
                return Err(cannot_enter(
                    path,
                    self.open(path).err().unwrap_or(Errno::NOTDIR),
                ));
            }
            Err(errno) => {
                return Err(UnpackError::system(
                    "make directory",
                    path.as_bytes(),
                    errno,
                ));
            }
        }
        let made = open_directory(parent, name).map_err(|errno| cannot_enter(path, errno))?;
        // The process's umask must not matter.
        rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))
            .map_err(|errno| UnpackError::system("chmod", path.as_bytes(), errno))?;
        if found == Existing::Whiteout {
            mark_opaque(made.as_fd())
                .map_err(|errno| UnpackError::system("mark opaque", path.as_bytes(), errno))?;
        }
        Ok(made)
    }
}

/// What lies at `name`, without following it.
pub(super) fn existing(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Existing, Errno> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(classify(&stat)),
        Err(Errno::NOENT) => Ok(Existing::Nothing),
        Err(errno) => Err(errno),
    }
}

fn classify(stat: &Stat) -> Existing {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Existing::Directory,
        FileType::CharacterDevice if stat.st_rdev == 0 => Existing::Whiteout,
        _ => Existing::Other,
    }
}

/// Opens a directory itself, never one behind a link.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Marks a directory as hiding what the layers below have in it.
pub(super) fn mark_opaque(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::fs::fsetxattr(directory, OPAQUE, b"y", rustix::fs::XattrFlags::empty())
}

fn cannot_enter(path: &LayerPath, errno: Errno) -> UnpackError {
    let why = match errno {
        Errno::NOTDIR | Errno::NOENT => "is not a directory",
        Errno::LOOP => "is a link that leads to itself",
        _ => return UnpackError::system("open directory", path.as_bytes(), errno),
    };
    UnpackError::Refused {
        entry: path.to_string(),
        why: format!("{path} {why}, but a later entry lies in it"),
    }
}
