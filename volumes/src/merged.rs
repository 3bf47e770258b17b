//! A stack of image layers seen as one tree, as overlayfs would show it, without mounting it.
//!
//! Names are resolved one component at a time on descriptors, and links are read and followed here, with the image's root as `/`: no link
//! in an image, absolute or with any number of `..`, leads to the host's files. The kernel is never asked to follow one.
//!
//! Layers are in overlayfs's terms: a character device 0/0 is a whiteout, `trusted.overlay.opaque` marks a directory that hides those below.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hoist_kernel::error::KernelError;
use hoist_kernel::path::{Directory, Root};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

const OPAQUE: &CStr = c"trusted.overlay.opaque";
/// Links followed in one name, as the kernel has it.
const LINK_LIMIT: usize = 40;

/// A directory: its parts in the layers that have it, the highest (whose metadata counts) first.
#[derive(Debug)]
pub(crate) struct MergedDirectory {
    parts: Vec<Directory>,
}

/// What a name is.
#[derive(Debug)]
pub(crate) enum Found {
    Nothing,
    Directory(MergedDirectory, Stat),
    /// Anything else, in the given part.
    Leaf(usize, Stat),
}

impl MergedDirectory {
    /// The root of a stack of layers, lowest first.
    pub(crate) fn root(layers: &[PathBuf]) -> Result<Self, KernelError> {
        let open = |layer: &PathBuf| Root::open(layer)?.directory(Path::new("."));
        let parts = layers.iter().rev().map(open).collect::<Result<_, _>>()?;
        Ok(Self { parts })
    }

    /// Finds a name in this directory; a link is found itself.
    pub(crate) fn find(&self, name: &OsStr) -> Result<Found, KernelError> {
        let mut directories = Vec::new();
        let mut shown = None;
        for (index, part) in self.parts.iter().enumerate() {
            let stat = match part.status(name) {
                Ok(stat) => stat,
                Err(error) if error.errno == Errno::NOENT => continue,
                Err(error) => return Err(error),
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            let is_whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
            if kind != FileType::Directory {
                // It hides everything below; above it may be a directory that hides it.
                if shown.is_none() && !is_whiteout {
                    return Ok(Found::Leaf(index, stat));
                }
                break;
            }
            directories.push(part.child(name)?);
            shown.get_or_insert(stat);
            if is_opaque(part, name)? {
                break;
            }
        }
        Ok(shown.map_or(Found::Nothing, |stat| {
            Found::Directory(Self { parts: directories }, stat)
        }))
    }

    /// The names that [`MergedDirectory::find`] may find, sorted.
    pub(crate) fn names(&self) -> Result<BTreeSet<OsString>, KernelError> {
        let mut names = BTreeSet::new();
        for part in &self.parts {
            names.extend(part.names()?);
        }
        Ok(names)
    }

    /// One layer's part of this directory.
    pub(crate) fn part(&self, index: usize) -> &Directory {
        &self.parts[index]
    }
}

fn is_opaque(part: &Directory, name: &OsStr) -> Result<bool, KernelError> {
    match part.attribute(name, OPAQUE) {
        Ok(value) => Ok(value.as_deref() == Some(b"y")),
        Err(error) if error.errno == Errno::OPNOTSUPP => Ok(false),
        Err(error) => Err(error),
    }
}

/// The directory at an absolute path of the image, links followed as inside of a container. None when nothing, or no directory, is there.
pub(crate) fn resolve(
    layers: &[PathBuf],
    path: &Path,
) -> Result<Option<(MergedDirectory, Option<Stat>)>, KernelError> {
    let root = || MergedDirectory::root(layers);
    // The way from the root to here; `..` goes back on it.
    let mut way: Vec<(MergedDirectory, Option<Stat>)> = vec![(root()?, None)];
    let mut ahead: VecDeque<OsString> = components(path.as_os_str());
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            if way.len() > 1 {
                way.pop();
            }
            continue;
        }
        let Some((here, _)) = way.last() else {
            return Ok(None);
        };
        match here.find(&name)? {
            Found::Directory(directory, stat) => way.push((directory, Some(stat))),
            Found::Leaf(part, stat)
                if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink =>
            {
                links += 1;
                if links > LINK_LIMIT {
                    return Ok(None);
                }
                let target = here.part(part).read_link(&name)?;
                if target.as_bytes().starts_with(b"/") {
                    way.truncate(1);
                }
                let mut rest = components(&target);
                rest.append(&mut ahead);
                ahead = rest;
            }
            Found::Leaf(..) | Found::Nothing => return Ok(None),
        }
    }
    Ok(way.pop())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Layers(
        #[expect(dead_code, reason = "holds the directory")] tempfile::TempDir,
        Vec<PathBuf>,
    );

    impl Layers {
        fn new(count: usize) -> Self {
            let place = crate::testing::scratch();
            let layers: Vec<PathBuf> = (0..count)
                .map(|index| place.path().join(format!("layer{index}")))
                .collect();
            layers
                .iter()
                .for_each(|layer| fs::create_dir(layer).unwrap());
            Self(place, layers)
        }

        fn directory(&self, layer: usize, path: &str) -> PathBuf {
            let path = self.1[layer].join(path);
            fs::create_dir_all(&path).unwrap();
            path
        }

        #[track_caller]
        fn check(&self, path: &str, expected: Option<&[&str]>) {
            let found = resolve(&self.1, Path::new(path)).unwrap();
            let names = found.map(|(directory, _)| {
                let names = directory.names().unwrap().into_iter();
                names
                    .filter(|name| !matches!(directory.find(name).unwrap(), Found::Nothing))
                    .map(|name| name.into_string().unwrap())
                    .collect::<Vec<_>>()
            });
            assert_eq!(
                names,
                expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
                "{path}"
            );
        }
    }

    fn whiteout(path: PathBuf) {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path,
            FileType::CharacterDevice,
            rustix::fs::Mode::empty(),
            0,
        )
        .unwrap();
    }

    #[test]
    fn layers_merge_as_overlayfs_has_it() {
        let layers = Layers::new(3);
        for (layer, name) in [(0, "d/low"), (0, "d/gone"), (1, "d/middle"), (2, "d/high")] {
            let path = layers.1[layer].join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        whiteout(layers.1[1].join("d/gone"));
        layers.check("/d", Some(&["high", "low", "middle"]));
        whiteout(layers.directory(1, "").join("all"));
        layers.directory(0, "all");
        layers.check("/all", None);
        fs::write(layers.directory(0, "o").join("hidden"), "").unwrap();
        let opaque = layers.directory(2, "o");
        rustix::fs::setxattr(&opaque, OPAQUE, b"y", rustix::fs::XattrFlags::empty()).unwrap();
        fs::write(opaque.join("new"), "").unwrap();
        layers.check("/o", Some(&["new"]));
        // A file over a directory, a directory over a file.
        fs::write(layers.1[2].join("f"), "").unwrap();
        layers.directory(0, "f");
        layers.check("/f", None);
        fs::write(layers.1[0].join("g"), "").unwrap();
        layers.directory(1, "g/x");
        layers.check("/g", Some(&["x"]));
    }

    #[test]
    fn links_stay_in_the_image() {
        let layers = Layers::new(2);
        fs::write(layers.directory(0, "usr/data").join("own"), "").unwrap();
        symlink("usr/data", layers.1[1].join("relative")).unwrap();
        symlink("/usr/data", layers.1[1].join("absolute")).unwrap();
        symlink("../../../../../usr/data", layers.1[0].join("up")).unwrap();
        symlink("/etc", layers.1[0].join("host")).unwrap();
        symlink("loop", layers.1[0].join("loop")).unwrap();
        symlink("/relative/../data", layers.1[0].join("chain")).unwrap();
        for path in [
            "/relative",
            "/absolute",
            "/up",
            "/usr/../usr/./data",
            "/../usr/data/",
            "/chain",
        ] {
            layers.check(path, Some(&["own"]));
        }
        layers.check("/host", None);
        layers.check("/loop", None);
        layers.check("/usr/data/own", None);
        layers.check("/proc/self/root", None);
    }
}
