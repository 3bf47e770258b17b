//! Unpacks a layer's tar into a directory, in overlayfs's terms.
//!
//! The archive may be hostile. What holds against it:
//! - names are cleaned and resolved beneath the layer's root by descriptors ([`name`], [`tree`]), so nothing is written, linked, changed or
//!   removed outside of it, whatever links the archive has made before;
//! - an existing name is never opened for writing: it is removed and made anew, so no write goes through a link or a device;
//! - a [`Budget`] bounds bytes and entries, before they are written;
//! - extended attributes that overlayfs itself reads can only come from whiteouts.
//!
//! Whiteouts (`.wh.x`) become character devices 0/0 and `.wh..wh..opq` the opaque mark, whatever the order in which an archive has them and
//! the entry that they are about: they only hide lower layers, never what the same layer has (OCI image specification, layer.md).

mod entry;
mod name;
mod times;
mod tree;

use std::io::{self, BufRead};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::split::SplitWriter;
use super::tarball::{Entry, EntryKind, TarError, TarReader};
use entry::Maker;
pub(crate) use entry::is_kept;
use name::LayerPath;
use times::DirectoryTimes;
use tree::{Existing, Tree};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";
/// Names that aufs kept for itself; old archives have them.
const AUFS_PRIVATE: &[u8] = b".wh..wh.";

/// What an unpacking may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnpackLimits {
    /// Bytes on the disk.
    pub(crate) bytes: u64,
    /// Files, directories and links.
    pub(crate) entries: u64,
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Bytes of file content.
    pub(crate) bytes: u64,
    /// Whether the layer hides all layers below it.
    pub(crate) is_opaque: bool,
}

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] TarError),
    /// An entry that no honest archive has, or that cannot be represented.
    #[error("{entry}: {why}")]
    Refused {
        /// The entry's name.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// The archive passes a limit.
    #[error("{0}")]
    Limit(String),
    /// The disk is full.
    #[error("no space left while writing {0}")]
    Full(String),
    /// A system call failed.
    #[error("{call} {object}")]
    System {
        /// What was being done.
        call: &'static str,
        /// The entry's name.
        object: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// What is left of the limits.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: UnpackLimits,
    bytes: u64,
    entries: u64,
}

/// An entry costs about this much even when it is empty.
const ENTRY_COST: u64 = 512;

/// Where and how to unpack.
#[derive(Debug, Clone)]
pub(crate) struct UnpackOptions {
    pub(crate) limits: UnpackLimits,
    /// The directory in the root beneath which the entries lie; empty for the root itself.
    pub(crate) below: Vec<u8>,
    /// Whether `.wh.` names mean something.
    pub(crate) whiteouts: bool,
    /// Whether a directory is not replaced by anything else, nor anything else by a directory.
    pub(crate) keep_kinds: bool,
    /// Who owns everything, whatever the archive says.
    pub(crate) owner: Option<(u32, u32)>,
}

/// What makes it possible to give the archive again.
#[derive(Debug)]
pub(crate) struct Keep {
    /// The bytes that are not kept as files.
    pub(crate) record: SplitWriter,
    /// A directory for files that a later entry replaces.
    pub(crate) aside: OwnedFd,
}

/// Unpacks a layer into the directory `root`, which must be empty. Reads `source` to its end.
pub(crate) fn unpack<R: BufRead>(
    source: R,
    root: BorrowedFd<'_>,
    limits: UnpackLimits,
    keep: Option<Keep>,
) -> Result<Unpacked, UnpackError> {
    let options = UnpackOptions {
        limits,
        below: Vec::new(),
        whiteouts: true,
        keep_kinds: false,
        owner: None,
    };
    unpack_with(source, root, &options, keep)
}

/// Unpacks an archive in a tree that is there. Links in the tree are followed with `root` as `/`.
pub(crate) fn unpack_at<R: BufRead>(
    source: R,
    root: BorrowedFd<'_>,
    options: &UnpackOptions,
) -> Result<Unpacked, UnpackError> {
    unpack_with(source, root, options, None)
}

fn unpack_with<R: BufRead>(
    source: R,
    root: BorrowedFd<'_>,
    options: &UnpackOptions,
    keep: Option<Keep>,
) -> Result<Unpacked, UnpackError> {
    let (record, aside) = keep.map_or((None, None), |keep| (Some(keep.record), Some(keep.aside)));
    let unusable = |source| UnpackError::System {
        call: "open",
        object: "the root".to_owned(),
        source,
    };
    let tree = Tree::new(root, aside).map_err(unusable)?;
    let mut unpacker = Unpacker {
        reader: TarReader::recording(source, record),
        tree,
        budget: Budget {
            limits: options.limits,
            bytes: 0,
            entries: 0,
        },
        options: options.clone(),
        directory_times: DirectoryTimes::default(),
        is_opaque: false,
        file_bytes: 0,
    };
    while let Some(entry) = unpacker.reader.next_entry()? {
        unpacker.budget.entry()?;
        unpacker.take(&entry)?;
        for (path, number) in unpacker.tree.take_moved() {
            unpacker.reader.note_moved(path.as_bytes(), number);
        }
    }
    unpacker.reader.drain()?;
    unpacker.restore_directory_times()?;
    if let Some(record) = unpacker.reader.take_record() {
        record.finish().map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => UnpackError::Limit(error.to_string()),
            _ => UnpackError::System {
                call: "write",
                object: "the record of its headers".to_owned(),
                source: error,
            },
        })?;
    }
    Ok(Unpacked {
        bytes: unpacker.file_bytes,
        is_opaque: unpacker.is_opaque,
    })
}

#[derive(Debug)]
struct Unpacker<R> {
    reader: TarReader<R>,
    tree: Tree,
    options: UnpackOptions,
    budget: Budget,
    directory_times: DirectoryTimes,
    is_opaque: bool,
    file_bytes: u64,
}

impl<R: BufRead> Unpacker<R> {
    fn take(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        let refuse = |why: &str| UnpackError::Refused {
            entry: String::from_utf8_lossy(&entry.path).into_owned(),
            why: why.to_owned(),
        };
        let cleaned = LayerPath::clean(&entry.path).map_err(refuse)?;
        check_xattrs(entry).map_err(|why| refuse(&why))?;
        let is_root = cleaned.as_bytes().is_empty();
        let path = cleaned.below(&self.options.below).map_err(refuse)?;
        let split = path.split().filter(|_| !is_root);
        let Some((parent, name)) = split else {
            return self.take_root(&path, entry);
        };
        if self.options.whiteouts
            && let Some(hidden) = name.strip_prefix(WHITEOUT)
        {
            return self.take_whiteout(&parent, name, hidden);
        }
        let parent = self.tree.directory(&parent, &mut self.budget)?;
        let mut maker = Maker {
            parent: &parent,
            name,
            path: &path,
            entry,
            owner: self.options.owner,
        };
        if self.options.keep_kinds {
            maker.keep_kind()?;
        }
        match entry.kind {
            EntryKind::Directory => {
                let made = maker.directory(&mut self.tree)?;
                self.tree.remember(path.clone(), made.into());
                self.note_time(path, entry)?;
            }
            EntryKind::File => {
                self.file_bytes += maker.file(&mut self.tree, &mut self.reader, &mut self.budget)?
            }
            EntryKind::HardLink => {
                let target = LayerPath::clean(&entry.link)
                    .and_then(|path| path.below(&self.options.below))
                    .map_err(|_| refuse("it is a hard link that leads out of the layer"))?;
                maker.hard_link(&mut self.tree, &target)?;
            }
            EntryKind::Symlink => maker.symlink(&mut self.tree)?,
            EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => {
                maker.node(&mut self.tree)?
            }
        }
        Ok(())
    }

    /// `./` sets the root's own mode and owner; anything else cannot take the root's place.
    fn take_root(&mut self, path: &LayerPath, entry: &Entry) -> Result<(), UnpackError> {
        if entry.kind != EntryKind::Directory {
            let why = "it would replace the root directory".to_owned();
            return Err(UnpackError::Refused {
                entry: String::from_utf8_lossy(&entry.path).into_owned(),
                why,
            });
        }
        let parent = self.tree.directory(path, &mut self.budget)?;
        Maker {
            parent: &parent,
            name: b".",
            path,
            entry,
            owner: self.options.owner,
        }
        .directory(&mut self.tree)?;
        self.note_time(path.clone(), entry)
    }

    fn take_whiteout(
        &mut self,
        parent: &LayerPath,
        name: &[u8],
        hidden: &[u8],
    ) -> Result<(), UnpackError> {
        let refuse = |why: &str| UnpackError::Refused {
            entry: format!("{parent}/{}", String::from_utf8_lossy(name)),
            why: why.to_owned(),
        };
        if name == OPAQUE_WHITEOUT {
            let is_root = parent.as_bytes().is_empty();
            let directory = self.tree.directory(parent, &mut self.budget)?;
            let directory = tree::open_directory(directory.as_fd(), b".")
                .map_err(|errno| UnpackError::system("open", name, errno))?;
            self.is_opaque |= is_root;
            return tree::mark_opaque(directory.as_fd())
                .map_err(|errno| UnpackError::system("mark opaque", parent.as_bytes(), errno));
        }
        if name.starts_with(AUFS_PRIVATE) {
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refuse("it is a whiteout of a directory above it"));
        }
        let directory = self.tree.directory(parent, &mut self.budget)?;
        let stat_failed = |errno| UnpackError::system("stat", hidden, errno);
        match tree::existing(directory.as_fd(), hidden).map_err(stat_failed)? {
            Existing::Nothing => entry::make_whiteout(directory.as_fd(), hidden),
            // The layer has its own directory there: only what lower layers have in it goes.
            Existing::Directory => tree::open_directory(directory.as_fd(), hidden)
                .and_then(|directory| tree::mark_opaque(directory.as_fd()))
                .map_err(|errno| UnpackError::system("mark opaque", hidden, errno)),
            Existing::Whiteout | Existing::Other => Ok(()),
        }
    }

    fn note_time(&mut self, path: LayerPath, entry: &Entry) -> Result<(), UnpackError> {
        let noted = (path, entry.mtime);
        self.directory_times
            .push(noted, self.tree.root(), &mut self.budget)
    }

    fn restore_directory_times(&mut self) -> Result<(), UnpackError> {
        let times = std::mem::take(&mut self.directory_times);
        times.restore(|path, time| {
            // A later entry may have replaced the directory, or the link that led to it.
            let Ok(directory) = self.tree.existing_directory(path) else {
                return Ok(());
            };
            entry::set_time(directory.as_fd(), b".", time)
                .map_err(|errno| UnpackError::system("set the time of", path.as_bytes(), errno))
        })
    }
}

/// overlayfs's own attributes would make an entry something else than what the archive shows.
fn check_xattrs(entry: &Entry) -> Result<(), String> {
    let is_overlays =
        |name: &[u8]| name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    match entry.xattrs.iter().find(|(name, _)| is_overlays(name)) {
        Some((name, _)) => Err(format!(
            "it sets {}, which only overlayfs may",
            String::from_utf8_lossy(name)
        )),
        None => Ok(()),
    }
}

impl Budget {
    /// Charges one entry.
    pub(super) fn entry(&mut self) -> Result<(), UnpackError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(UnpackError::Limit(format!(
                "it has more than {} entries",
                self.limits.entries
            )));
        }
        self.bytes(ENTRY_COST)
    }

    /// Charges bytes that are about to be written.
    pub(super) fn bytes(&mut self, count: u64) -> Result<(), UnpackError> {
        self.bytes = self.bytes.saturating_add(count);
        if self.bytes > self.limits.bytes {
            return Err(UnpackError::Limit(format!(
                "it needs more than the {} that may be used on the disk",
                human(self.limits.bytes)
            )));
        }
        Ok(())
    }
}

/// Bytes for people: `1.5GB`, as Docker prints sizes.
pub(crate) fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            let text = format!("{value:.1}");
            return format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text));
        }
        value /= 1000.0;
    }
    format!("{value:.0}PB")
}

impl UnpackError {
    fn system(call: &'static str, object: &[u8], errno: Errno) -> Self {
        let object = String::from_utf8_lossy(object).into_owned();
        match errno {
            Errno::NOSPC | Errno::DQUOT => Self::Full(object),
            Errno::NAMETOOLONG => Self::Refused {
                entry: object,
                why: "its name is too long".to_owned(),
            },
            _ => Self::System {
                call,
                object,
                source: errno.into(),
            },
        }
    }
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
