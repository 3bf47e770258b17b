//! Directory trees as tar archives: what is copied out of containers, exports, and writable layers on their way into images.
//!
//! The tree may be a running container's: everything is opened beneath the root without following links, a file whose kind changed after it
//! was seen is left out, and one that changed its length has the length that its header says. One directory is open at a time, so
//! that no depth uses up the engine's descriptors. Entries come in the order of their names, parents first.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use hoist_kernel::path::Root;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tar::{EntryType, Header};

/// An attribute that travels: file capabilities. Others are the machine's business.
const CAPABILITY: &str = "security.capability";
/// What overlayfs marks a directory with that hides those below.
const OPAQUE: &str = "trusted.overlay.opaque";
/// Bytes of a name in a header.
const NAME_FIELD: usize = 100;

/// What a tree's own marks mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// Nothing: every file is what it is.
    Plain,
    /// It is overlayfs's upper directory: devices 0/0 and opaque directories become whiteouts (OCI image specification, layer.md).
    Overlay,
}

/// What is packed, and under which names.
pub(crate) struct Packing<'a> {
    /// The tree.
    pub(crate) root: &'a Root,
    /// Where in the tree to begin.
    pub(crate) from: PathBuf,
    /// The name of what is there in the archive; empty: only what is in it.
    pub(crate) name: PathBuf,
    pub(crate) marks: Marks,
    /// Whether a path of the tree is left out.
    pub(crate) skip: &'a dyn Fn(&Path) -> bool,
}

/// Writes the archive.
///
/// # Errors
/// What the tree or `out` fail with; the archive is torn then.
pub(crate) fn pack(packing: &Packing<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut packer = Packer {
        packing,
        archive: tar::Builder::new(out),
        links: HashMap::new(),
        directories: Vec::new(),
    };
    packer.begin()?;
    while let Some((path, name)) = packer.directories.pop() {
        packer.directory(&path, &name)?;
    }
    packer.archive.into_inner()?.flush()
}

struct Packer<'a> {
    packing: &'a Packing<'a>,
    archive: tar::Builder<&'a mut dyn Write>,
    /// Files with several names that are in the archive already, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    /// Directories still to be packed: path in the tree, name in the archive.
    directories: Vec<(PathBuf, PathBuf)>,
}

impl Packer<'_> {
    fn begin(&mut self) -> io::Result<()> {
        let packing = self.packing;
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let found = packing
            .root
            .open_beneath(&packing.from, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&found)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            self.directories
                .push((packing.from.clone(), packing.name.clone()));
            return Ok(());
        }
        let (parent, name) = packing.root.parent(&packing.from)?;
        self.child(parent.as_directory_fd(), &name, &packing.name.clone())
    }

    fn directory(&mut self, path: &Path, name: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let directory = match self.packing.root.open_beneath(path, flags, Mode::empty()) {
            // It has gone since its parent was read.
            Err(error) if path != self.packing.from && is_gone(error.errno) => return Ok(()),
            opened => opened?,
        };
        let stat = rustix::fs::fstat(&directory)?;
        if !name.as_os_str().is_empty() {
            let mut header = header(&stat, EntryType::Directory);
            let mut with_slash = name.as_os_str().as_bytes().to_vec();
            if with_slash != b"/" {
                with_slash.push(b'/');
            }
            self.attributes(&directory)?;
            self.put(&mut header, &with_slash, io::empty())?;
        }
        if self.packing.marks == Marks::Overlay && is_opaque(&directory) {
            self.empty_file(&stat, &name.join(".wh..wh..opq"))?;
        }
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&directory)? {
            let entry = entry?.file_name().to_bytes().to_vec();
            if !matches!(entry.as_slice(), b"." | b"..") {
                names.push(entry);
            }
        }
        names.sort();
        let before = self.directories.len();
        for child in &names {
            let child = OsStr::from_bytes(child);
            let below = path.join(child);
            if (self.packing.skip)(&below) {
                continue;
            }
            match self.kind_of(directory.as_fd(), child) {
                Ok(FileType::Directory) => self.directories.push((below, name.join(child))),
                Ok(_) => self.child(directory.as_fd(), child, &name.join(child))?,
                Err(errno) if is_gone(errno) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        self.directories[before..].reverse();
        Ok(())
    }

    fn kind_of(&self, directory: impl AsFd, name: &OsStr) -> Result<FileType, Errno> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode))
    }

    /// Packs anything but a directory.
    fn child(&mut self, directory: impl AsFd, name: &OsStr, told: &Path) -> io::Result<()> {
        let directory = directory.as_fd();
        let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(errno) if is_gone(errno) => return Ok(()),
            result => result?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
        if is_whiteout && self.packing.marks == Marks::Overlay {
            let mut hidden = std::ffi::OsString::from(".wh.");
            hidden.push(name);
            return self.empty_file(&stat, &told.with_file_name(hidden));
        }
        let key = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(first) = self.links.get(&key)
        {
            let first = first.as_os_str().as_bytes().to_vec();
            return self.put_link(&stat, (EntryType::Link, told), &first);
        }
        let packed = match kind {
            FileType::RegularFile => self.file(directory, name, (&stat, told))?,
            FileType::Symlink => {
                let target = match rustix::fs::readlinkat(directory, name, Vec::new()) {
                    Err(errno) if is_gone(errno) || errno == Errno::INVAL => return Ok(()),
                    target => target?.into_bytes(),
                };
                self.put_link(&stat, (EntryType::Symlink, told), &target)?;
                true
            }
            FileType::CharacterDevice => self.node(&stat, EntryType::Char, told)?,
            FileType::BlockDevice => self.node(&stat, EntryType::Block, told)?,
            FileType::Fifo => self.node(&stat, EntryType::Fifo, told)?,
            // A socket is nothing without its process, and tar has no word for it.
            _ => false,
        };
        if packed && stat.st_nlink > 1 {
            self.links.insert(key, told.to_owned());
        }
        Ok(())
    }

    fn file(
        &mut self,
        directory: impl AsFd,
        name: &OsStr,
        (seen, told): (&Stat, &Path),
    ) -> io::Result<bool> {
        // Without NONBLOCK a file that was swapped for a pipe would hold the engine up.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Err(errno) if is_gone(errno) || matches!(errno, Errno::LOOP | Errno::NXIO) => {
                return Ok(false);
            }
            opened => opened?,
        };
        let stat = rustix::fs::fstat(&opened)?;
        if (stat.st_dev, stat.st_ino) != (seen.st_dev, seen.st_ino)
            || FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
        {
            return Ok(false);
        }
        self.attributes(&opened)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut header = header(&stat, EntryType::Regular);
        header.set_size(size);
        let content = File::from(opened)
            .take(size)
            .chain(io::repeat(0))
            .take(size);
        self.put(&mut header, told.as_os_str().as_bytes(), content)?;
        Ok(true)
    }

    fn node(&mut self, stat: &Stat, kind: EntryType, told: &Path) -> io::Result<bool> {
        let mut header = header(stat, kind);
        header.set_device_major(rustix::fs::major(stat.st_rdev))?;
        header.set_device_minor(rustix::fs::minor(stat.st_rdev))?;
        self.put(&mut header, told.as_os_str().as_bytes(), io::empty())?;
        Ok(true)
    }

    fn empty_file(&mut self, stat: &Stat, told: &Path) -> io::Result<()> {
        let mut header = header(stat, EntryType::Regular);
        header.set_mode(0o600);
        self.put(&mut header, told.as_os_str().as_bytes(), io::empty())
    }

    fn put_link(
        &mut self,
        stat: &Stat,
        (kind, told): (EntryType, &Path),
        target: &[u8],
    ) -> io::Result<()> {
        let mut header = header(stat, kind);
        if target.len() > NAME_FIELD {
            self.long(EntryType::GNULongLink, target)?;
        }
        let kept = &target[..target.len().min(NAME_FIELD)];
        header.as_old_mut().linkname[..kept.len()].copy_from_slice(kept);
        self.put(&mut header, told.as_os_str().as_bytes(), io::empty())
    }

    /// Writes an entry under exactly this name: clients build on names with a leading slash or dot.
    fn put(&mut self, header: &mut Header, name: &[u8], content: impl Read) -> io::Result<()> {
        if name.len() > NAME_FIELD {
            self.long(EntryType::GNULongName, name)?;
        }
        let kept = &name[..name.len().min(NAME_FIELD)];
        header.as_old_mut().name[..kept.len()].copy_from_slice(kept);
        header.set_cksum();
        self.archive.append(header, content)
    }

    /// GNU's way to say a name that does not fit the header.
    fn long(&mut self, kind: EntryType, name: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        let field = b"././@LongLink";
        header.as_old_mut().name[..field.len()].copy_from_slice(field);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(name.len() as u64 + 1);
        header.set_cksum();
        self.archive.append(&header, name.chain(&[0][..]))
    }

    /// Extended attributes, as a header before the entry that they belong to.
    fn attributes(&mut self, file: &OwnedFd) -> io::Result<()> {
        let mut value = [0; 256];
        match rustix::fs::fgetxattr(file, CAPABILITY, &mut value[..]) {
            Ok(length) => {
                let key = format!("SCHILY.xattr.{CAPABILITY}");
                self.archive
                    .append_pax_extensions([(key.as_str(), &value[..length])])
            }
            Err(_) => Ok(()),
        }
    }
}

fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR)
}

fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0; 1];
    let name = CString::new(OPAQUE).unwrap_or_default();
    matches!(rustix::fs::fgetxattr(directory, name.as_c_str(), &mut value[..]), Ok(1) if value == *b"y")
}

fn header(stat: &Stat, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(u64::from(stat.st_uid));
    header.set_gid(u64::from(stat.st_gid));
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(0);
    header
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::image::testing::scratch;

    /// Packs `root/from` and lists `kind name -> target (size)`.
    fn check(place: &Path, packing: (&str, &str, Marks), expected: &[&str]) {
        let root = Root::open(place).unwrap();
        let mut bytes = Vec::new();
        let packing = Packing {
            root: &root,
            from: packing.0.into(),
            name: packing.1.into(),
            marks: packing.2,
            skip: &|path| path.ends_with("skipped"),
        };
        pack(&packing, &mut bytes).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let target = entry
                .link_name()
                .unwrap()
                .map(|target| format!(" -> {}", target.display()));
            format!(
                "{:?} {}{} {}",
                header.entry_type(),
                entry.path().unwrap().display(),
                target.unwrap_or_default(),
                header.size().unwrap()
            )
        });
        assert_eq!(entries.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_tree_is_packed_in_the_order_of_names() {
        let place = scratch();
        let path = |name: &str| place.path().join(name);
        fs::create_dir_all(path("top/b/deep")).unwrap();
        fs::write(path("top/b/file"), "12345").unwrap();
        fs::hard_link(path("top/b/file"), path("top/b/same")).unwrap();
        symlink("/etc/passwd", path("top/a")).unwrap();
        fs::write(path("top/skipped"), "x").unwrap();
        let long = "n".repeat(200);
        fs::write(path("top/b/deep").join(&long), "").unwrap();
        let inside = [
            "Symlink a -> /etc/passwd 0",
            "Directory b/ 0",
            "Regular b/file 5",
            "Link b/same -> b/file 0",
            "Directory b/deep/ 0",
            &format!("Regular b/deep/{long} 0"),
        ];
        check(place.path(), ("/top", "", Marks::Plain), &inside);
        let named: Vec<String> = inside
            .iter()
            .map(|line| line.replace(" b/", " new/b/").replace(" a ", " new/a "))
            .collect();
        let mut named: Vec<&str> = named.iter().map(String::as_str).collect();
        named.insert(0, "Directory new/ 0");
        check(place.path(), ("/top", "new", Marks::Plain), &named);
        check(
            place.path(),
            ("/top/b/file", "f", Marks::Plain),
            &["Regular f 5"],
        );
    }

    #[test]
    fn overlays_marks_become_whiteouts() {
        let place = scratch();
        let upper = place.path().join("upper");
        fs::create_dir_all(upper.join("hides")).unwrap();
        let device = rustix::fs::makedev(0, 0);
        let here = rustix::fs::open(&upper, OFlags::PATH, Mode::empty()).unwrap();
        rustix::fs::mknodat(
            &here,
            "gone",
            FileType::CharacterDevice,
            Mode::empty(),
            device,
        )
        .unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(upper.join("hides"), OPAQUE, b"y", flags).unwrap();
        check(
            place.path(),
            ("/upper", "", Marks::Overlay),
            &[
                "Regular .wh.gone 0",
                "Directory hides/ 0",
                "Regular hides/.wh..wh..opq 0",
            ],
        );
    }
}
