//! Copies what a `COPY` or `ADD` names into a file system, by BuildKit's rules.
//!
//! - A directory's content comes, not the directory. A file comes under its name where the destination ends in `/` or is a directory.
//! - Missing directories of the destination are made with mode 0755 and the copy's owner; links in it are followed inside the root.
//! - What is in the way of a file is replaced, except a directory; a directory never replaces anything else.
//! - Times, modes, extended attributes, devices and hard links are kept. Files of a context belong to root.

use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use hoist_dockerfile::Chmod;
use hoist_kernel::error::KernelError;
use hoist_kernel::path::{Directory, Node, Root};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::error::BuildError;
use super::owner::{self, Owner};
use super::select::{Entry, Item, Origin, follow, lead, status};

/// Where copies go and what they get.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) root: &'a Root,
    /// Absolute; a trailing slash says that it is a directory.
    pub(crate) dest: String,
    /// `--chown`.
    pub(crate) owner: Option<Owner>,
    /// `--chmod`.
    pub(crate) mode: Option<Chmod>,
    /// The time of what is made here, seconds since 1970; `None`: the present.
    pub(crate) time: Option<i64>,
}

/// A copy under way.
#[derive(Debug)]
pub(crate) struct Copier<'a> {
    target: &'a Target<'a>,
    /// Files with several names, and the first copy of each.
    links: HashMap<(u64, u64), PathBuf>,
    /// Directories whose time is set when nothing more comes into them.
    times: Vec<(PathBuf, Timestamps)>,
}

impl<'a> Copier<'a> {
    pub(crate) fn new(target: &'a Target<'a>) -> Self {
        Self {
            target,
            links: HashMap::new(),
            times: Vec::new(),
        }
    }

    /// Copies one item. `kept` is the part of its path that stays (`--parents`).
    pub(crate) fn item(
        &mut self,
        origin: &Origin,
        item: &Item,
        kept: Option<&Path>,
    ) -> Result<(), BuildError> {
        let Some((first, rest)) = item.entries.split_first() else {
            return Ok(());
        };
        let dest = PathBuf::from(&self.target.dest);
        if let Some(kept) = kept {
            return self.item_with_parents(origin, item, &dest.join(kept));
        }
        if first.kind() == FileType::Directory {
            let base = self.make_directories(&dest)?;
            return self.below(origin, item, (rest, &base));
        }
        let (parent, name) = self.place(&dest, &item.name)?;
        self.entry(origin, (item, first), (&parent, &name))?;
        self.finish()
    }

    fn item_with_parents(
        &mut self,
        origin: &Origin,
        item: &Item,
        place: &Path,
    ) -> Result<(), BuildError> {
        let Some((first, rest)) = item.entries.split_first() else {
            return Ok(());
        };
        let parent = self.make_directories(place.parent().unwrap_or(Path::new("/")))?;
        let name = place.file_name().unwrap_or_default().to_owned();
        if name.is_empty() {
            return self.below(origin, item, (rest, &parent));
        }
        self.entry(origin, (item, first), (&parent, &name))?;
        if first.kind() == FileType::Directory {
            return self.below(origin, item, (rest, &parent.join(name)));
        }
        self.finish()
    }

    fn below(
        &mut self,
        origin: &Origin,
        item: &Item,
        (entries, base): (&[Entry], &Path),
    ) -> Result<(), BuildError> {
        for entry in entries {
            let parent = match entry.path.parent() {
                Some(parent) if parent != Path::new("") => base.join(parent),
                _ => base.to_owned(),
            };
            let name = entry.path.file_name().unwrap_or_default().to_owned();
            self.entry(origin, (item, entry), (&parent, &name))?;
        }
        self.finish()
    }

    /// A file whose content is at hand: heredocs and downloads. `mode` and `time` are the file's own.
    pub(crate) fn content(
        &mut self,
        name: &OsStr,
        (content, mode): (&[u8], u32),
        time: Option<i64>,
    ) -> Result<(), BuildError> {
        let dest = PathBuf::from(&self.target.dest);
        let (parent, name) = self.place(&dest, name)?;
        let directory = self.open(&parent)?;
        let path = parent.join(&name);
        let failed = |error: KernelError| BuildError::kernel("write", &path, &error);
        clear(&directory, &name, &path)?;
        let file = directory
            .create_file(&name, Mode::from_raw_mode(0o600))
            .map_err(failed)?;
        File::from(file)
            .write_all(content)
            .map_err(|error| BuildError::io("write", &path, error))?;
        let owner = self.target.owner.unwrap_or_default();
        directory
            .set_owner(&name, owner.user, owner.group)
            .map_err(failed)?;
        let mode = self.mode(mode, FileType::RegularFile)?;
        directory
            .set_mode(&name, Mode::from_raw_mode(mode))
            .map_err(failed)?;
        if let Some(seconds) = time.or(self.target.time) {
            directory
                .set_times(&name, &at(seconds, 0))
                .map_err(failed)?;
        }
        self.finish()
    }

    /// Where a file goes: beside others, or under another name.
    fn place(&mut self, dest: &Path, name: &OsStr) -> Result<(PathBuf, OsString), BuildError> {
        let is_directory = self.target.dest.ends_with('/')
            || match follow(self.target.root, dest)? {
                Some(found) => status(self.target.root, &found)?.is_some_and(|stat| {
                    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                }),
                None => false,
            };
        if is_directory {
            return Ok((self.make_directories(dest)?, name.to_owned()));
        }
        // A link at the end is followed where it leads somewhere.
        let found = follow(self.target.root, dest)?;
        let dest = found.as_deref().unwrap_or(dest);
        let parent = self.make_directories(dest.parent().unwrap_or(Path::new("")))?;
        let name = dest.file_name().ok_or_else(|| {
            BuildError::Refused(format!("cannot copy to directory: {}", dest.display()))
        })?;
        Ok((parent, name.to_owned()))
    }

    /// Makes what is missing of a directory's path; returns it without links.
    pub(crate) fn make_directories(&self, path: &Path) -> Result<PathBuf, BuildError> {
        let root = self.target.root;
        let mut here = PathBuf::new();
        // A link to what is not there leads to where it is made.
        let (path, _) = lead(root, path)?;
        for part in path.components() {
            let name = match part {
                std::path::Component::Normal(name) => name,
                std::path::Component::ParentDir => {
                    here.pop();
                    continue;
                }
                _ => continue,
            };
            let next = here.join(name);
            match follow(root, &next)? {
                Some(found) => {
                    here = found;
                    let stat = status(root, &here)?;
                    if stat.is_some_and(|stat| {
                        FileType::from_raw_mode(stat.st_mode) != FileType::Directory
                    }) {
                        return Err(BuildError::Refused(format!(
                            "cannot copy to non-directory: /{}",
                            here.display()
                        )));
                    }
                }
                None => {
                    self.make_directory(&here, name)?;
                    here = next;
                }
            }
        }
        Ok(here)
    }

    fn make_directory(&self, parent: &Path, name: &OsStr) -> Result<(), BuildError> {
        let directory = self.open(parent)?;
        let path = parent.join(name);
        let failed = |error: KernelError| BuildError::kernel("make", &path, &error);
        directory
            .create_directory(name, Mode::from_raw_mode(0o755))
            .map_err(failed)?;
        let owner = self.target.owner.unwrap_or_default();
        directory
            .set_owner(name, owner.user, owner.group)
            .map_err(failed)?;
        directory
            .set_mode(name, Mode::from_raw_mode(0o755))
            .map_err(failed)?;
        if let Some(seconds) = self.target.time {
            directory.set_times(name, &at(seconds, 0)).map_err(failed)?;
        }
        Ok(())
    }

    fn open(&self, path: &Path) -> Result<Directory, BuildError> {
        self.target
            .root
            .directory(path)
            .map_err(|error| BuildError::kernel("open", path, &error))
    }

    fn entry(
        &mut self,
        origin: &Origin,
        (item, entry): (&Item, &Entry),
        (parent, name): (&Path, &OsStr),
    ) -> Result<(), BuildError> {
        let directory = self.open(parent)?;
        let path = parent.join(name);
        if entry.kind() == FileType::Directory {
            return self.directory(origin, (item, entry), (&directory, &path));
        }
        clear(&directory, name, &path)?;
        #[allow(
            clippy::unnecessary_cast,
            reason = "the fields' types differ between architectures"
        )]
        let identity = (entry.stat.st_dev as u64, entry.stat.st_ino as u64);
        if entry.stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&identity) {
                let old = self.open(first.parent().unwrap_or(Path::new("")))?;
                let old_name = first.file_name().unwrap_or_default();
                return directory
                    .create_link(name, &old, old_name)
                    .map_err(|error| BuildError::kernel("link", &path, &error));
            }
            self.links.insert(identity, path.clone());
        }
        let from = source(origin, item, entry)?;
        let failed = |error: KernelError| BuildError::kernel("write", &path, &error);
        match entry.kind() {
            FileType::RegularFile => file(&from, entry, (&directory, name), &path)?,
            FileType::Symlink => directory
                .create_symlink(name, entry.link.as_deref().unwrap_or_default())
                .map_err(failed)?,
            kind => directory
                .make_node(name, node(kind, &entry.stat), Mode::from_raw_mode(0o600))
                .map_err(failed)?,
        }
        self.metadata(origin, entry, (&from, (&directory, name)), &path)?;
        directory
            .set_times(name, &times(&entry.stat))
            .map_err(failed)
    }

    fn directory(
        &mut self,
        origin: &Origin,
        (item, entry): (&Item, &Entry),
        (parent, path): (&Directory, &Path),
    ) -> Result<(), BuildError> {
        let name = path.file_name().unwrap_or_default();
        let failed = |error: KernelError| BuildError::kernel("make", path, &error);
        match parent.status(name) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
            Ok(_) => {
                return Err(BuildError::Refused(format!(
                    "cannot copy to non-directory: /{}",
                    path.display()
                )));
            }
            Err(error) if error.errno == Errno::NOENT => parent
                .create_directory(name, Mode::from_raw_mode(0o700))
                .map_err(failed)?,
            Err(error) => return Err(failed(error)),
        }
        let from = source(origin, item, entry)?;
        self.metadata(origin, entry, (&from, (parent, name)), path)?;
        self.times.push((path.to_owned(), times(&entry.stat)));
        Ok(())
    }

    /// Owner, then mode (the owner's change clears set-id bits), then attributes (it clears capabilities, too).
    fn metadata(
        &self,
        origin: &Origin,
        entry: &Entry,
        (from, (directory, name)): (&(Directory, OsString), (&Directory, &OsStr)),
        path: &Path,
    ) -> Result<(), BuildError> {
        let failed = |error: KernelError| BuildError::kernel("change", path, &error);
        let own = if origin.is_context {
            Owner::default()
        } else {
            Owner {
                user: entry.stat.st_uid,
                group: entry.stat.st_gid,
            }
        };
        let owner = self.target.owner.unwrap_or(own);
        directory
            .set_owner(name, owner.user, owner.group)
            .map_err(failed)?;
        if entry.kind() == FileType::Symlink {
            return Ok(());
        }
        let mode = self.mode(entry.stat.st_mode, entry.kind())?;
        directory
            .set_mode(name, Mode::from_raw_mode(mode))
            .map_err(failed)?;
        for (attribute, value) in attributes(&from.0, &from.1).map_err(failed)? {
            directory
                .set_attribute(name, &attribute, &value)
                .or_else(|error| match error.errno {
                    // The file system here has none of this kind.
                    Errno::OPNOTSUPP => Ok(()),
                    _ => Err(failed(error)),
                })?;
        }
        Ok(())
    }

    fn mode(&self, mode: u32, kind: FileType) -> Result<u32, BuildError> {
        match &self.target.mode {
            None => Ok(mode & 0o7777),
            Some(Chmod::Octal(bits)) => Ok(bits & 0o7777),
            Some(Chmod::Symbolic(text)) => owner::symbolic(text, mode, kind == FileType::Directory),
        }
    }

    /// Sets the times of directories, the deepest first.
    fn finish(&mut self) -> Result<(), BuildError> {
        for (path, times) in std::mem::take(&mut self.times).into_iter().rev() {
            let directory = self.open(path.parent().unwrap_or(Path::new("")))?;
            directory
                .set_times(path.file_name().unwrap_or_default(), &times)
                .map_err(|error| BuildError::kernel("change", &path, &error))?;
        }
        Ok(())
    }
}

/// The directory that an entry is in, and its name there; of the root itself, itself.
fn source(
    origin: &Origin,
    item: &Item,
    entry: &Entry,
) -> Result<(Directory, OsString), BuildError> {
    let path = if entry.path.as_os_str().is_empty() {
        item.source.clone()
    } else {
        item.source.join(&entry.path)
    };
    let parent = path.parent().unwrap_or(Path::new(""));
    let directory = origin
        .root
        .directory(parent)
        .map_err(|error| BuildError::kernel("open", parent, &error))?;
    Ok((directory, path.file_name().unwrap_or_default().to_owned()))
}

fn file(
    (from, old): &(Directory, OsString),
    entry: &Entry,
    (to, name): (&Directory, &OsStr),
    path: &Path,
) -> Result<(), BuildError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let input = from
        .open(old, flags, Mode::empty())
        .map_err(|error| BuildError::kernel("read", path, &error))?;
    let now = rustix::fs::fstat(&input).map_err(|errno| BuildError::io("look at", path, errno))?;
    // What the key was made of must be what is copied.
    if (now.st_size, now.st_mtime, now.st_ino)
        != (entry.stat.st_size, entry.stat.st_mtime, entry.stat.st_ino)
    {
        return Err(BuildError::Refused(format!(
            "{} changed while it was copied: build again",
            path.display()
        )));
    }
    let output = to
        .create_file(name, Mode::from_raw_mode(0o600))
        .map_err(|error| BuildError::kernel("write", path, &error))?;
    hoist_volumes::copy_content(&input, &output)
        .map(drop)
        .map_err(|errno| BuildError::io("write", path, errno))
}

/// Removes what is in the way of a file.
fn clear(directory: &Directory, name: &OsStr, path: &Path) -> Result<(), BuildError> {
    match directory.remove(name, AtFlags::empty()) {
        Ok(()) => Ok(()),
        Err(error) if error.errno == Errno::NOENT => Ok(()),
        Err(error) if error.errno == Errno::ISDIR => Err(BuildError::Refused(format!(
            "cannot copy to directory: /{}",
            path.display()
        ))),
        Err(error) => Err(BuildError::kernel("replace", path, &error)),
    }
}

fn node(kind: FileType, stat: &Stat) -> Node {
    let (major, minor) = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    match kind {
        FileType::CharacterDevice => Node::Character(major, minor),
        FileType::BlockDevice => Node::Block(major, minor),
        _ => Node::Fifo,
    }
}

fn times(stat: &Stat) -> Timestamps {
    at(
        stat.st_mtime,
        u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
    )
}

fn at(seconds: i64, nanoseconds: u32) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

type Attribute = (CString, Vec<u8>);

/// What means something in a container; overlayfs's own attributes and the machine's labels do not.
fn attributes(directory: &Directory, name: &OsStr) -> Result<Vec<Attribute>, KernelError> {
    if name.is_empty() {
        return Ok(Vec::new());
    }
    let names = match directory.attributes(name) {
        Err(error) if error.errno == Errno::OPNOTSUPP => return Ok(Vec::new()),
        result => result?,
    };
    let mut found = Vec::new();
    for attribute in names {
        let text = attribute.to_bytes();
        let is_kept = (text.starts_with(b"user.") && !text.starts_with(b"user.overlay."))
            || text == b"security.capability"
            || text.starts_with(b"system.posix_acl_");
        if is_kept && let Some(value) = directory.attribute(name, &attribute)? {
            found.push((attribute, value));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::select::select;
    use hoist_dockerfile::Ignore;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    struct Places {
        place: tempfile::TempDir,
    }

    impl Places {
        fn new() -> Self {
            let place = tempfile::tempdir().unwrap();
            for name in ["from", "to"] {
                fs::create_dir(place.path().join(name)).unwrap();
            }
            Self { place }
        }

        fn at(&self, path: &str) -> PathBuf {
            self.place.path().join(path)
        }

        fn write(&self, path: &str) {
            let path = self.at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
        }

        fn copy(&self, source: &str, dest: &str) -> Result<(), BuildError> {
            self.copy_as(source, dest, (None, None))
        }

        fn copy_as(
            &self,
            source: &str,
            dest: &str,
            (owner, mode): (Option<Owner>, Option<Chmod>),
        ) -> Result<(), BuildError> {
            let origin = Origin {
                root: Root::open(&self.at("from")).unwrap(),
                ignore: Ignore::parse("").unwrap(),
                is_context: true,
            };
            let root = Root::open(&self.at("to")).unwrap();
            let target = Target {
                root: &root,
                dest: dest.to_owned(),
                owner,
                mode,
                time: Some(5),
            };
            let mut copier = Copier::new(&target);
            for item in select(&origin, source, &Ignore::parse("").unwrap())? {
                copier.item(&origin, &item, None)?;
            }
            Ok(())
        }

        #[track_caller]
        fn check(&self, path: &str, content: &str) {
            assert_eq!(
                fs::read_to_string(self.at(path)).unwrap(),
                content,
                "{path}"
            );
        }
    }

    #[test]
    fn destinations_are_files_or_directories_as_docker_has_it() {
        let places = Places::new();
        places.write("from/file");
        places.write("from/dir/inner");
        places.copy("file", "/new").unwrap();
        places.check("to/new", "file");
        places.copy("file", "/sub/dir/").unwrap();
        places.check("to/sub/dir/file", "file");
        places.copy("file", "/sub").unwrap();
        places.check("to/sub/file", "file");
        places.copy("dir", "/sub/copy").unwrap();
        places.check("to/sub/copy/inner", "inner");
        places.copy("dir", "/").unwrap();
        places.check("to/inner", "inner");
        assert!(places.copy("dir", "/new").is_err());
    }

    #[test]
    fn links_in_the_destination_stay_inside() {
        let places = Places::new();
        places.write("from/file");
        places.write("to/real/x");
        places.write("outside/x");
        symlink("/real", places.at("to/absolute")).unwrap();
        symlink("../../outside", places.at("to/up")).unwrap();
        symlink("/real/x", places.at("to/linked")).unwrap();
        places.copy("file", "/absolute/").unwrap();
        places.check("to/real/file", "file");
        places.copy("file", "/linked").unwrap();
        places.check("to/real/x", "file");
        symlink("over", places.at("to/nowhere")).unwrap();
        symlink("/../../made/here", places.at("to/over")).unwrap();
        places.copy("file", "/nowhere/").unwrap();
        places.check("to/made/here/file", "file");
        let _ = places.copy("file", "/up/x");
        places.check("outside/x", "x");
        assert!(!places.at("outside/file").exists());
    }

    #[test]
    fn metadata_is_kept_or_given() {
        let places = Places::new();
        places.write("from/d/a");
        fs::hard_link(places.at("from/d/a"), places.at("from/d/b")).unwrap();
        symlink("nowhere", places.at("from/d/link")).unwrap();
        fs::set_permissions(places.at("from/d/a"), fs::Permissions::from_mode(0o4711)).unwrap();
        places.copy("d", "/one").unwrap();
        let a = fs::metadata(places.at("to/one/a")).unwrap();
        assert_eq!(a.mode() & 0o7777, 0o4711);
        assert_eq!(a.ino(), fs::metadata(places.at("to/one/b")).unwrap().ino());
        assert_eq!(
            fs::read_link(places.at("to/one/link")).unwrap(),
            Path::new("nowhere")
        );
        let owner = Owner {
            user: 12,
            group: 34,
        };
        let mode = Chmod::Symbolic("go-x".to_owned());
        places
            .copy_as("d/a", "/made/two", (Some(owner), Some(mode)))
            .unwrap();
        let two = fs::metadata(places.at("to/made/two")).unwrap();
        assert_eq!(
            (two.uid(), two.gid(), two.mode() & 0o7777),
            (12, 34, 0o4700)
        );
        assert_eq!(fs::metadata(places.at("to/made")).unwrap().uid(), 12);
    }
}
