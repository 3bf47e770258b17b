//! Makes the archive of a layer from an overlay's upper directory: the one place that decides how our own layers look.
//!
//! Canonical: names in the order of their bytes, a directory before what is in it, whole seconds, numbers instead of names, no record of
//! the directory itself. The same tree always gives the same bytes. Overlayfs's whiteouts become `.wh.` names, its opaque directories
//! `.wh..wh..opq`.
//!
//! A container has filled the tree: links are never followed, and no device or pipe is opened.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use hoist_kernel::path::{Directory, Root};
use rustix::fs::{FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::split::SplitWriter;
use super::tarball::write::{END, header, padding};
use super::tarball::{Entry, EntryKind, Timestamp};
use super::unpack::is_kept;

const OPAQUE: &[u8] = b"trusted.overlay.opaque";
const OVERLAY: &[u8] = b"trusted.overlay.";
/// Attributes that mean that overlayfs left content in another layer: such a tree is not whole.
const ELSEWHERE: [&[u8]; 2] = [b"trusted.overlay.redirect", b"trusted.overlay.metacopy"];
const CHUNK: usize = 128 << 10;
/// The longest path that is packed, as for unpacking.
const PATH_LIMIT: usize = 4095;

/// How to pack.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PackOptions {
    /// Times after this (seconds since 1970) become this.
    pub(crate) latest: Option<i64>,
    /// Whether the tree becomes a layer itself: then its files get the times that the archive says, and lose overlayfs's own marks.
    pub(crate) settle: bool,
}

/// What was packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Bytes of the files' content.
    pub(crate) bytes: u64,
    /// Whether the layer hides all layers below it.
    pub(crate) is_opaque: bool,
}

/// Writes the archive of `tree`, and into `record` what is needed to write it again from the tree.
pub(crate) fn pack(
    tree: &Path,
    options: PackOptions,
    record: Option<&mut SplitWriter>,
    output: &mut dyn Write,
) -> io::Result<Packed> {
    let root = Root::open(tree).map_err(|error| io::Error::from(error.errno))?;
    let mut packer = Packer {
        root,
        options,
        record,
        output,
        packed: Packed::default(),
        seen: HashMap::new(),
        buffer: vec![0; CHUNK],
    };
    packer.tree()?;
    packer.raw(&END)?;
    Ok(packer.packed)
}

struct Packer<'a> {
    root: Root,
    options: PackOptions,
    record: Option<&'a mut SplitWriter>,
    output: &'a mut dyn Write,
    packed: Packed,
    /// Files with several names, and the first of them.
    seen: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

/// A directory whose entries are being packed; the next one is the last.
struct Level {
    path: Vec<u8>,
    names: Vec<OsString>,
}

impl Packer<'_> {
    /// Without recursion: a container can nest directories thousands deep.
    fn tree(&mut self) -> io::Result<()> {
        let top = self.level(Vec::new())?;
        let mut levels = vec![top];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                let done = levels.pop().map(|level| level.path).unwrap_or_default();
                self.settle_directory(&done)?;
                continue;
            };
            let path = level.path.clone();
            let directory = self.directory(&path)?;
            if let Some(below) = self.entry(&directory, &path, &name)? {
                let next = self.level(below)?;
                levels.push(next);
            }
        }
        Ok(())
    }

    fn directory(&self, path: &[u8]) -> io::Result<Directory> {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        self.root
            .directory(if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            })
            .map_err(|error| io::Error::from(error.errno))
    }

    /// Lists a directory, its opaque mark first.
    fn level(&mut self, path: Vec<u8>) -> io::Result<Level> {
        let directory = self.directory(&path)?;
        let node = directory.as_directory_fd().try_clone_to_owned()?;
        if is_opaque(&reopen(&directory)?)? {
            self.packed.is_opaque |= path.is_empty();
            let stat = rustix::fs::fstat(&node)?;
            let name = child(&path, b".wh..wh..opq");
            self.put_header(&self.describe(name, EntryKind::File, &stat))?;
        }
        let mut names = directory
            .names()
            .map_err(|error| io::Error::from(error.errno))?;
        names.sort_by(|one, other| other.as_bytes().cmp(one.as_bytes()));
        Ok(Level { path, names })
    }

    /// Packs one entry; the path when it is a directory to go into.
    fn entry(
        &mut self,
        directory: &Directory,
        parent: &[u8],
        name: &OsString,
    ) -> io::Result<Option<Vec<u8>>> {
        let path = child(parent, name.as_bytes());
        if path.len() > PATH_LIMIT {
            let message = "a path in the layer has more than 4095 bytes";
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, message));
        }
        let stat = directory
            .status(name)
            .map_err(|error| io::Error::from(error.errno))?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let node = open(directory, name)?;
                let mut entry = self.describe(child(&path, b""), EntryKind::Directory, &stat);
                entry.xattrs = self.xattrs(&node)?;
                self.put_header(&entry)?;
                return Ok(Some(path));
            }
            FileType::CharacterDevice if stat.st_rdev == 0 => {
                let hidden = [b".wh.", name.as_bytes()].concat();
                let mut entry = self.describe(child(parent, &hidden), EntryKind::File, &stat);
                // A whiteout's own owner, mode and time mean nothing.
                (entry.mode, entry.uid, entry.gid) = (0, 0, 0);
                entry.mtime = Timestamp::default();
                return self.put_header(&entry).map(|()| None);
            }
            // What listened there is gone.
            FileType::Socket => return Ok(None),
            FileType::RegularFile => EntryKind::File,
            FileType::Symlink => EntryKind::Symlink,
            FileType::CharacterDevice => EntryKind::CharDevice,
            FileType::BlockDevice => EntryKind::BlockDevice,
            _ => EntryKind::Fifo,
        };
        let mut entry = self.describe(path, kind, &stat);
        if stat.st_nlink > 1 {
            let first = self
                .seen
                .entry((stat.st_dev, stat.st_ino))
                .or_insert_with(|| entry.path.clone());
            if *first != entry.path {
                (entry.kind, entry.size) = (EntryKind::HardLink, 0);
                entry.link.clone_from(first);
                return self.put_header(&entry).map(|()| None);
            }
        }
        self.leaf(directory, name, entry)?;
        if self.options.settle {
            settle_time(directory, name, &stat, self.time(&stat))?;
        }
        Ok(None)
    }

    fn leaf(&mut self, directory: &Directory, name: &OsString, mut entry: Entry) -> io::Result<()> {
        match entry.kind {
            EntryKind::File => self.file(directory, name, entry),
            EntryKind::Symlink => {
                let target = directory
                    .read_link(name)
                    .map_err(|error| io::Error::from(error.errno))?;
                entry.link = target.into_vec();
                self.put_header(&entry)
            }
            EntryKind::CharDevice | EntryKind::BlockDevice => {
                let device = directory
                    .status(name)
                    .map_err(|error| io::Error::from(error.errno))?
                    .st_rdev;
                entry.device = (rustix::fs::major(device), rustix::fs::minor(device));
                self.put_header(&entry)
            }
            _ => self.put_header(&entry),
        }
    }

    fn file(&mut self, directory: &Directory, name: &OsString, mut entry: Entry) -> io::Result<()> {
        let node = open(directory, name)?;
        entry.xattrs = self.xattrs(&node)?;
        self.put_header(&entry)?;
        let mut file = File::from(node);
        let mut offset = 0;
        while offset < entry.size {
            let wanted = usize::try_from(entry.size - offset).map_or(CHUNK, |left| left.min(CHUNK));
            let length = file.read(&mut self.buffer[..wanted])?;
            if length == 0 {
                let shown = String::from_utf8_lossy(&entry.path).into_owned();
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("{shown} became shorter while it was read"),
                ));
            }
            self.output.write_all(&self.buffer[..length])?;
            if let Some(record) = &mut self.record {
                record.content(&entry.path, offset, length as u64);
            }
            offset += length as u64;
        }
        self.packed.bytes += entry.size;
        self.raw(&vec![0; padding(entry.size)])
    }

    fn put_header(&mut self, entry: &Entry) -> io::Result<()> {
        self.raw(&header(entry))
    }

    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(record) = &mut self.record {
            record.raw(bytes);
        }
        self.output.write_all(bytes)
    }

    fn time(&self, stat: &Stat) -> i64 {
        let seconds = stat.st_mtime;
        self.options
            .latest
            .map_or(seconds, |latest| seconds.min(latest))
    }

    fn describe(&self, path: Vec<u8>, kind: EntryKind, stat: &Stat) -> Entry {
        Entry {
            path,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Timestamp {
                seconds: self.time(stat),
                nanoseconds: 0,
            },
            size: match (kind, FileType::from_raw_mode(stat.st_mode)) {
                (EntryKind::File, FileType::RegularFile) => {
                    u64::try_from(stat.st_size).unwrap_or(0)
                }
                _ => 0,
            },
            link: Vec::new(),
            device: (0, 0),
            xattrs: Vec::new(),
            segments: None,
        }
    }

    /// The attributes that go into the archive, sorted.
    fn xattrs(&self, node: &OwnedFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut found = Vec::new();
        for name in attribute_names(node)? {
            if ELSEWHERE.contains(&name.as_slice()) {
                let message = format!(
                    "the overlay keeps content elsewhere ({})",
                    String::from_utf8_lossy(&name)
                );
                return Err(io::Error::new(io::ErrorKind::Unsupported, message));
            }
            if is_kept(&name) {
                let value = attribute(node, &name)?;
                found.push((name, value));
            } else if self.options.settle && name.starts_with(OVERLAY) && name != OPAQUE {
                rustix::fs::fremovexattr(node, name.as_slice())?;
            }
        }
        found.sort();
        Ok(found)
    }

    /// After the entries of a directory were settled, its own time.
    fn settle_directory(&self, path: &[u8]) -> io::Result<()> {
        if !self.options.settle {
            return Ok(());
        }
        let directory = self.directory(path)?;
        let node = reopen(&directory)?;
        let stat = rustix::fs::fstat(&node)?;
        if path.is_empty() {
            self.xattrs(&node)?;
        }
        if let Some(times) = times(&stat, self.time(&stat)) {
            rustix::fs::futimens(&node, &times)?;
        }
        Ok(())
    }
}

fn child(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        name.to_vec()
    } else {
        [parent, b"/", name].concat()
    }
}

/// Opens a file or directory whose kind was looked at; should a pipe have taken its place, that does not hang.
fn open(directory: &Directory, name: &OsString) -> io::Result<OwnedFd> {
    directory
        .open(name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
        .map_err(|error| io::Error::from(error.errno))
}

/// A descriptor that attributes can be asked of.
fn reopen(directory: &Directory) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(
        directory.as_directory_fd(),
        c".",
        flags,
        Mode::empty(),
    )?)
}

fn is_opaque(node: &OwnedFd) -> io::Result<bool> {
    let mut value = [0; 4];
    match rustix::fs::fgetxattr(node, OPAQUE, &mut value) {
        Ok(length) => Ok(&value[..length] == b"y"),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn attribute_names(node: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut empty: [u8; 0] = [];
    let length = match rustix::fs::flistxattr(node.as_fd(), &mut empty) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(errno) => return Err(errno.into()),
    };
    if length == 0 {
        return Ok(Vec::new());
    }
    let mut list = vec![0_u8; length];
    let length = rustix::fs::flistxattr(node.as_fd(), &mut list)?;
    list.truncate(length);
    let names = list
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

fn attribute(node: &OwnedFd, name: &[u8]) -> io::Result<Vec<u8>> {
    let mut empty: [u8; 0] = [];
    let length = rustix::fs::fgetxattr(node, name, &mut empty)?;
    let mut value = vec![0; length];
    let length = rustix::fs::fgetxattr(node, name, &mut value)?;
    value.truncate(length);
    Ok(value)
}

/// The times to set, when they are not what the archive says.
fn times(stat: &Stat, seconds: i64) -> Option<Timestamps> {
    let is_settled = stat.st_mtime == seconds && stat.st_mtime_nsec == 0;
    (!is_settled).then_some(Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        },
    })
}

fn settle_time(
    directory: &Directory,
    name: &OsString,
    stat: &Stat,
    seconds: i64,
) -> io::Result<()> {
    match times(stat, seconds) {
        Some(times) => directory
            .set_times(name, &times)
            .map_err(|error| io::Error::from(error.errno)),
        None => Ok(()),
    }
}

/// What overlayfs calls a directory that hides the ones below it.
#[cfg(test)]
pub(crate) fn mark_opaque(directory: &Path) {
    let node = File::open(directory).expect("a directory");
    rustix::fs::fsetxattr(&node, OPAQUE, b"y", rustix::fs::XattrFlags::empty())
        .expect("an attribute");
}
