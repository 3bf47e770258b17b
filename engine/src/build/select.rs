//! Which files a `COPY`, an `ADD` or a mount names, and a digest of all that matters of them.
//!
//! Sources are found beneath their root, links followed inside it only; the files of a context are those that `.dockerignore` leaves.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use hoist_dockerfile::{Ignore, IgnoreWalk, glob_matches, has_wildcards};
use hoist_kernel::path::{Directory, Root};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::digest::{FileTable, Hash, KeyHasher};
use super::error::BuildError;

/// Links followed in one name, as the kernel has it.
const LINK_LIMIT: usize = 40;

/// A file system that files are taken from.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) root: Root,
    /// What is as if it were not there; of contexts.
    pub(crate) ignore: Ignore,
    /// Files of a context belong to root, whoever has them on the machine.
    pub(crate) is_context: bool,
}

/// One thing that a source names: a file, or a directory with what is in it.
#[derive(Debug)]
pub(crate) struct Item {
    /// Its path beneath the root, links followed.
    pub(crate) source: PathBuf,
    /// Its path as it was named, wildcards replaced.
    pub(crate) named: PathBuf,
    /// The name it gets in a directory.
    pub(crate) name: OsString,
    /// It and what is below, parents before children; the first one's path is empty.
    pub(crate) entries: Vec<Entry>,
}

/// One file, directory, link or device of an item.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Beneath the item.
    pub(crate) path: PathBuf,
    pub(crate) stat: Stat,
    /// Where a symbolic link leads.
    pub(crate) link: Option<OsString>,
    /// It is only there for what is below it.
    pub(crate) is_parent_only: bool,
}

impl Entry {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// Finds what a source path names. A path without wildcards must be there; wildcards may match nothing.
pub(crate) fn select(
    origin: &Origin,
    path: &str,
    exclude: &Ignore,
) -> Result<Vec<Item>, BuildError> {
    let clean = path.trim_matches('/');
    if !has_wildcards(clean) {
        let names = clean.split('/').filter(|part| !matches!(*part, "" | "."));
        return Ok(vec![item(origin, &names.collect::<PathBuf>(), exclude)?]);
    }
    let mut items = Vec::new();
    for found in expand(origin, clean)? {
        match item(origin, &found, exclude) {
            Ok(item) => items.push(item),
            // Ignored, excluded, or a link that leads nowhere.
            Err(BuildError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(items)
}

/// Paths that match a pattern, sorted, a component at a time.
fn expand(origin: &Origin, pattern: &str) -> Result<Vec<PathBuf>, BuildError> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.split('/').filter(|part| !matches!(*part, "" | ".")) {
        let mut next = Vec::new();
        if component == "**" {
            for above in found {
                directories(origin, above, &mut next)?;
            }
            found = next;
            continue;
        }
        for above in found {
            if !has_wildcards(component) {
                next.push(above.join(component));
                continue;
            }
            let Ok(directory) = origin.root.directory(&above) else {
                continue;
            };
            let names = directory
                .names()
                .map_err(|error| BuildError::kernel("list", &above, &error))?;
            for name in names {
                let matches = glob_matches(component, &name.to_string_lossy())
                    .map_err(|_| BuildError::Refused(format!("invalid pattern {pattern:?}")))?;
                if matches {
                    next.push(above.join(name));
                }
            }
        }
        found = next;
    }
    found.sort();
    Ok(found)
}

/// A directory and all below it; links are not followed.
fn directories(origin: &Origin, top: PathBuf, found: &mut Vec<PathBuf>) -> Result<(), BuildError> {
    let mut ahead = vec![top];
    while let Some(path) = ahead.pop() {
        let Ok(directory) = origin.root.directory(&path) else {
            continue;
        };
        let names = directory
            .names()
            .map_err(|error| BuildError::kernel("list", &path, &error))?;
        for name in names {
            let stat = directory
                .status(&name)
                .map_err(|error| BuildError::kernel("look at", &path, &error))?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                ahead.push(path.join(name));
            }
        }
        found.push(path);
    }
    Ok(())
}

fn item(origin: &Origin, path: &Path, exclude: &Ignore) -> Result<Item, BuildError> {
    let missing = || BuildError::NotFound(format!("/{}", path.display()));
    let source = follow(&origin.root, path)?.ok_or_else(missing)?;
    let name = path.file_name().unwrap_or_default().to_owned();
    let stat = status(&origin.root, &source)?.ok_or_else(missing)?;
    let mut walk = Walk {
        origin,
        exclude,
        entries: Vec::new(),
        source: &source,
    };
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let (above, ignored) = walk.above(&source);
    if is_directory {
        if ignored && !origin.ignore.may_keep_below(&source.to_string_lossy()) {
            return Err(missing());
        }
        walk.entries.push(Entry {
            path: PathBuf::new(),
            stat,
            link: None,
            is_parent_only: false,
        });
        walk.directory(above)?;
        if ignored && walk.entries.len() == 1 {
            return Err(missing());
        }
    } else {
        if ignored || exclude.ignores(&name.to_string_lossy()) {
            return Err(missing());
        }
        walk.entries.push(Entry {
            path: PathBuf::new(),
            stat,
            link: None,
            is_parent_only: false,
        });
    }
    let entries = walk.entries;
    Ok(Item {
        source,
        named: path.to_owned(),
        name,
        entries,
    })
}

/// Walks what is below a directory.
struct Walk<'a> {
    origin: &'a Origin,
    exclude: &'a Ignore,
    source: &'a Path,
    entries: Vec<Entry>,
}

/// A directory on the way: where it is beneath the item, and what is known of its being ignored.
struct Level {
    path: PathBuf,
    ignore: IgnoreWalk,
    exclude: IgnoreWalk,
    names: Vec<OsString>,
}

impl Walk<'_> {
    /// What is known of a path from the directories above it, and whether it is ignored.
    fn above(&self, path: &Path) -> (IgnoreWalk, bool) {
        let mut walk = IgnoreWalk::default();
        let mut ignored = false;
        if self.origin.ignore.is_empty() {
            return (walk, false);
        }
        let mut so_far = PathBuf::new();
        for part in path.components() {
            so_far.push(part);
            (ignored, walk) = self.origin.ignore.step(&walk, &so_far.to_string_lossy());
        }
        (walk, ignored)
    }

    fn directory(&mut self, ignore: IgnoreWalk) -> Result<(), BuildError> {
        let mut levels = vec![self.level(PathBuf::new(), (ignore, IgnoreWalk::default()))?];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                let done = levels.pop();
                self.drop_unneeded(done.as_ref());
                continue;
            };
            let path = level.path.join(&name);
            let (ignored, below_ignore) = self.step(&level.ignore, &path);
            let (excluded, below_exclude) = if self.exclude.is_empty() {
                (false, IgnoreWalk::default())
            } else {
                self.exclude.step(&level.exclude, &path.to_string_lossy())
            };
            let directory = self.open(&level.path)?;
            let stat = directory
                .status(&name)
                .map_err(|error| BuildError::kernel("look at", &path, &error))?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            if kind == FileType::Directory {
                let whole = self.source.join(&path);
                let kept = |flag: bool, ignore: &Ignore, path: &Path| {
                    !flag || ignore.may_keep_below(&path.to_string_lossy())
                };
                if !kept(ignored, &self.origin.ignore, &whole)
                    || !kept(excluded, self.exclude, &path)
                {
                    continue;
                }
                self.entries.push(Entry {
                    path: path.clone(),
                    stat,
                    link: None,
                    is_parent_only: ignored || excluded,
                });
                let next = self.level(path, (below_ignore, below_exclude))?;
                levels.push(next);
            } else if !ignored && !excluded && kind != FileType::Socket {
                let link = match kind {
                    FileType::Symlink => Some(
                        directory
                            .read_link(&name)
                            .map_err(|error| BuildError::kernel("read", &path, &error))?,
                    ),
                    _ => None,
                };
                self.entries.push(Entry {
                    path,
                    stat,
                    link,
                    is_parent_only: false,
                });
            }
        }
        Ok(())
    }

    /// A directory that was only kept for what might be below it, and nothing is.
    fn drop_unneeded(&mut self, level: Option<&Level>) {
        let Some(level) = level else { return };
        let unneeded = self
            .entries
            .last()
            .is_some_and(|entry| entry.is_parent_only && entry.path == level.path);
        if unneeded {
            self.entries.pop();
        }
    }

    fn step(&self, parent: &IgnoreWalk, path: &Path) -> (bool, IgnoreWalk) {
        if self.origin.ignore.is_empty() {
            return (false, IgnoreWalk::default());
        }
        let whole = self.source.join(path);
        self.origin.ignore.step(parent, &whole.to_string_lossy())
    }

    fn open(&self, path: &Path) -> Result<Directory, BuildError> {
        let whole = self.source.join(path);
        self.origin
            .root
            .directory(&whole)
            .map_err(|error| BuildError::kernel("open", &whole, &error))
    }

    fn level(
        &self,
        path: PathBuf,
        (ignore, exclude): (IgnoreWalk, IgnoreWalk),
    ) -> Result<Level, BuildError> {
        let mut names = self
            .open(&path)?
            .names()
            .map_err(|error| BuildError::kernel("list", &path, &error))?;
        names.sort_by(|one, other| other.cmp(one));
        Ok(Level {
            path,
            ignore,
            exclude,
            names,
        })
    }
}

/// The path without links, beneath the root; `None` when nothing is there.
pub(crate) fn follow(root: &Root, path: &Path) -> Result<Option<PathBuf>, BuildError> {
    let (found, is_there) = lead(root, path)?;
    Ok(is_there.then_some(found))
}

/// Where a path leads beneath the root, also by links to what is not there; and whether it is there.
pub(crate) fn lead(root: &Root, path: &Path) -> Result<(PathBuf, bool), BuildError> {
    let mut is_there = true;
    let mut ahead: VecDeque<OsString> = components(path.as_os_str());
    let mut so_far = PathBuf::new();
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            so_far.pop();
            continue;
        }
        so_far.push(&name);
        let Some(stat) = status(root, &so_far)? else {
            is_there = false;
            continue;
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            continue;
        }
        links += 1;
        if links > LINK_LIMIT {
            return Err(BuildError::Refused(format!(
                "too many links in /{}",
                path.display()
            )));
        }
        so_far.pop();
        let directory = root
            .directory(&so_far)
            .map_err(|error| BuildError::kernel("open", &so_far, &error))?;
        let target = directory
            .read_link(&name)
            .map_err(|error| BuildError::kernel("read", &so_far, &error))?;
        if target.as_bytes().starts_with(b"/") {
            so_far = PathBuf::new();
        }
        let mut rest = components(&target);
        rest.append(&mut ahead);
        ahead = rest;
    }
    Ok((so_far, is_there))
}

fn components(path: &OsStr) -> VecDeque<OsString> {
    let parts = path
        .as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."));
    parts
        .map(|part| OsStr::from_bytes(part).to_owned())
        .collect()
}

/// The status of a path itself; `None` when nothing is there.
pub(crate) fn status(root: &Root, path: &Path) -> Result<Option<Stat>, BuildError> {
    match root.open_beneath(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(found) => rustix::fs::fstat(&found)
            .map(Some)
            .map_err(|errno| BuildError::io("look at", path, errno)),
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(BuildError::kernel("look at", path, &error)),
    }
}

/// Adds all that decides what a copy of the item is: paths, kinds, modes, owners, contents. Times do not count.
pub(crate) fn add_to_key(
    origin: &Origin,
    item: &Item,
    files: &FileTable,
    key: &mut KeyHasher,
) -> Result<(), BuildError> {
    key.add(item.name.as_bytes());
    let mut open = Opened::default();
    for entry in item.entries.iter().filter(|entry| !entry.is_parent_only) {
        key.add(entry.path.as_os_str().as_bytes());
        key.number(entry.stat.st_mode);
        if !origin.is_context {
            key.number(entry.stat.st_uid);
            key.number(entry.stat.st_gid);
        }
        match entry.kind() {
            FileType::RegularFile => key.add(content(origin, item, entry, (files, &mut open))?),
            FileType::Symlink => key.add(entry.link.as_deref().unwrap_or_default().as_bytes()),
            FileType::Directory => {}
            _ => key.number(entry.stat.st_rdev),
        }
    }
    Ok(())
}

/// The directory that the last file was in: files come sorted by directory.
#[derive(Debug, Default)]
struct Opened(Option<(PathBuf, Directory)>);

fn content(
    origin: &Origin,
    item: &Item,
    entry: &Entry,
    (files, opened): (&FileTable, &mut Opened),
) -> Result<Hash, BuildError> {
    let path = if entry.path.as_os_str().is_empty() {
        item.source.clone()
    } else {
        item.source.join(&entry.path)
    };
    let open = || {
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or_default();
        let failed = |error: hoist_kernel::error::KernelError| std::io::Error::from(error.errno);
        let known = opened.0.as_ref().is_some_and(|(known, _)| known == parent);
        if !known {
            opened.0 = Some((
                parent.to_owned(),
                origin.root.directory(parent).map_err(failed)?,
            ));
        }
        let Some((_, directory)) = &opened.0 else {
            return Err(std::io::Error::from(Errno::NOENT));
        };
        directory
            .open(name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
            .map_err(failed)
    };
    files
        .digest(&entry.stat, open)
        .map_err(|error| BuildError::io("read", &path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn origin(place: &Path, ignore: &str) -> Origin {
        Origin {
            root: Root::open(place).unwrap(),
            ignore: Ignore::parse(ignore).unwrap(),
            is_context: true,
        }
    }

    fn make(files: &[&str]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for file in files {
            let path = place.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        place
    }

    #[track_caller]
    fn check(origin: &Origin, path: &str, exclude: &str, expected: &[&str]) {
        let exclude = Ignore::parse(exclude).unwrap();
        let found: Vec<String> = select(origin, path, &exclude)
            .unwrap()
            .iter()
            .flat_map(|item| {
                item.entries.iter().map(|entry| {
                    item.source
                        .join(&entry.path)
                        .display()
                        .to_string()
                        .trim_end_matches('/')
                        .to_owned()
                })
            })
            .collect();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn sources_are_found_with_wildcards_ignores_and_excludes() {
        let place = make(&["a.txt", "b.txt", "d/c.txt", "d/e/f.rs", "d/e/g.txt", "n/x"]);
        let all = origin(place.path(), "");
        check(&all, "a.txt", "", &["a.txt"]);
        check(&all, "/*.txt", "", &["a.txt", "b.txt"]);
        check(
            &all,
            "d",
            "",
            &["d", "d/c.txt", "d/e", "d/e/f.rs", "d/e/g.txt"],
        );
        check(&all, "d", "**/*.txt", &["d", "d/e", "d/e/f.rs"]);
        check(&all, "none*", "", &[]);
        check(
            &all,
            "**/*.txt",
            "",
            &["a.txt", "b.txt", "d/c.txt", "d/e/g.txt"],
        );
        assert!(select(&all, "none", &Ignore::parse("").unwrap()).is_err());
        let some = origin(place.path(), "d/e\n!d/e/f.rs\nb.txt\nn");
        check(
            &some,
            "",
            "",
            &["", "a.txt", "d", "d/c.txt", "d/e", "d/e/f.rs"],
        );
        check(&some, "*.txt", "", &["a.txt"]);
        assert!(select(&some, "b.txt", &Ignore::parse("").unwrap()).is_err());
        assert!(select(&some, "n", &Ignore::parse("").unwrap()).is_err());
    }

    #[test]
    fn links_are_followed_inside_only() {
        let place = make(&["real/file"]);
        symlink("/real", place.path().join("absolute")).unwrap();
        symlink("../../../real/file", place.path().join("up")).unwrap();
        symlink("/etc/passwd", place.path().join("host")).unwrap();
        symlink("loop", place.path().join("loop")).unwrap();
        let all = origin(place.path(), "");
        check(&all, "absolute", "", &["real", "real/file"]);
        check(&all, "absolute/file", "", &["real/file"]);
        check(&all, "up", "", &["real/file"]);
        for bad in ["host", "loop", "../x", "/proc/self/root"] {
            assert!(
                select(&all, bad, &Ignore::parse("").unwrap()).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn keys_change_with_content_and_mode_but_not_with_time() {
        let place = make(&["a/x", "a/y"]);
        let files = FileTable::open(place.path().join("table"));
        let key = || {
            let origin = origin(place.path(), "");
            let items = select(&origin, "a", &Ignore::parse("").unwrap()).unwrap();
            let mut key = KeyHasher::new("test");
            add_to_key(&origin, &items[0], &files, &mut key).unwrap();
            key.finish()
        };
        let first = key();
        let old = fs::File::options()
            .write(true)
            .open(place.path().join("a/x"))
            .unwrap();
        old.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(key(), first);
        fs::write(place.path().join("a/x"), "other").unwrap();
        assert_ne!(key(), first);
    }
}
