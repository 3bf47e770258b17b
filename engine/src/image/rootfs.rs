//! A container's root file system, reached from outside: what `docker cp` and Compose's inline configs and secrets need.
//!
//! All names are resolved beneath the root's descriptor with the root as `/`, and nothing of the container is executed or loaded
//! (CVE-2018-15664, CVE-2019-14271). How the root is opened, the caller knows: that of a running container may change while this works.

use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use hoist_kernel::path::Root;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::error::ImageError;
use super::layers::from_tar;
use super::stream::{ChunkReader, Hashing, StreamLimits, decompressed};
use super::unpack::{UnpackError, UnpackLimits, UnpackOptions, unpack_at};

/// A container's root, open.
#[derive(Debug)]
pub struct RootFilesystem {
    root: Root,
    /// For messages.
    name: PathBuf,
}

/// What is at a path; the fields of Docker's `X-Docker-Container-Path-Stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStatus {
    /// The last component.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Type and permission bits, as `st_mode` has them.
    pub mode: u32,
    /// Seconds since 1970 and nanoseconds.
    pub modified: (i64, u32),
    /// Where a link leads; empty for anything else.
    pub link_target: String,
}

/// How an archive is unpacked in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unpacking {
    /// A directory is not replaced by anything else, nor anything else by a directory.
    pub keep_kinds: bool,
    /// Who owns all that is unpacked; none: as the archive says.
    pub owner: Option<(u32, u32)>,
}

/// Why a path or an archive could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// Nothing is at the path.
    #[error("nothing is at {0}")]
    NotFound(String),
    /// An archive is to be unpacked at something that is no directory.
    #[error("extraction point is not a directory")]
    NotDirectory,
    /// The archive cannot be unpacked.
    #[error(transparent)]
    Archive(#[from] ImageError),
    /// The root cannot be reached.
    #[error("cannot {action} {object}")]
    Io {
        /// The verb.
        action: &'static str,
        /// What was concerned.
        object: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

impl RootFilesystem {
    /// Takes an open root; `name` is for messages.
    pub fn new(root: Root, name: impl Into<PathBuf>) -> Self {
        Self {
            root,
            name: name.into(),
        }
    }

    /// What is at a path. Links on the way are followed inside the root, a link at its end is not.
    ///
    /// # Errors
    /// [`RootError::NotFound`], or it cannot be looked at.
    pub fn status(&self, path: &Path) -> Result<PathStatus, RootError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let found = self
            .root
            .open_beneath(path, flags, Mode::empty())
            .map_err(|error| self.lookup_failed(path, error))?;
        let stat = rustix::fs::fstat(&found).map_err(|errno| failed("look at", path, errno))?;
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        let link_target = if is_link {
            rustix::fs::readlinkat(&found, c"", Vec::new())
                .map_err(|errno| failed("read link", path, errno))?
        } else {
            CString::default()
        };
        Ok(status(
            path,
            &stat,
            link_target.to_string_lossy().into_owned(),
        ))
    }

    /// Unpacks a tar, plain or compressed, at a directory. Modes and times are those of the archive; what is in the way of an entry
    /// is replaced.
    ///
    /// # Errors
    /// [`RootError::NotFound`], [`RootError::NotDirectory`], or the archive is damaged, hostile or too large. What was unpacked until then
    /// stays.
    pub fn put_archive(
        &self,
        path: &Path,
        archive: &mut (dyn Read + Send),
        unpacking: Unpacking,
    ) -> Result<(), RootError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let directory = match self.root.open_beneath(path, flags, Mode::empty()) {
            Err(error) if error.errno == Errno::NOTDIR => return Err(RootError::NotDirectory),
            result => result.map_err(|error| self.lookup_failed(path, error))?,
        };
        let limits = free_space(&directory)
            .map_err(|errno| failed("look at the disk of", &self.name, errno))?;
        let options = UnpackOptions {
            limits,
            below: path.as_os_str().as_bytes().to_vec(),
            whiteouts: false,
            keep_kinds: unpacking.keep_kinds,
            owner: unpacking.owner,
        };
        let stream = StreamLimits {
            bytes: limits.bytes.saturating_mul(2),
            ratio: u64::MAX,
        };
        let use_it = |chunks: &mut ChunkReader| {
            unpack_at(chunks, self.root.as_directory_fd(), &options).map_err(PutError::Unpack)
        };
        decompressed(archive, (stream, Hashing::None), use_it)
            .map(|_| ())
            .map_err(|error| self.explain(error))
    }

    fn lookup_failed(&self, path: &Path, error: hoist_kernel::error::KernelError) -> RootError {
        match error.errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => {
                RootError::NotFound(path.display().to_string())
            }
            _ => failed("open", path, error),
        }
    }

    fn explain(&self, error: PutError) -> RootError {
        RootError::Archive(match error {
            PutError::Stream(error) => ImageError::InvalidArchive(error.to_string()),
            PutError::Unpack(UnpackError::Full(object)) => ImageError::NoSpace {
                object,
                directory: self.name.clone(),
            },
            PutError::Unpack(UnpackError::Limit(what)) => ImageError::Limit(what),
            PutError::Unpack(UnpackError::Archive(error)) => from_tar(error),
            PutError::Unpack(UnpackError::System {
                call,
                object,
                source,
            }) => ImageError::Io {
                action: call,
                object,
                source,
            },
            PutError::Unpack(refused @ UnpackError::Refused { .. }) => {
                ImageError::InvalidArchive(refused.to_string())
            }
        })
    }
}

enum PutError {
    Stream(io::Error),
    Unpack(UnpackError),
}

impl From<io::Error> for PutError {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

fn failed(action: &'static str, object: &Path, error: impl Into<io::Error>) -> RootError {
    RootError::Io {
        action,
        object: object.display().to_string(),
        source: error.into(),
    }
}

fn free_space(directory: &OwnedFd) -> Result<UnpackLimits, Errno> {
    // An O_PATH descriptor is enough for fstatvfs(3)'s system call.
    let disk = rustix::fs::fstatvfs(directory)?;
    Ok(UnpackLimits {
        bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        entries: 4_000_000,
    })
}

fn status(path: &Path, stat: &Stat, link_target: String) -> PathStatus {
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_os_string()
        .into_vec();
    PathStatus {
        name: String::from_utf8_lossy(&name).into_owned(),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode,
        modified: (
            stat.st_mtime,
            u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
        link_target,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;
    use crate::image::testing::{Tar, scratch};

    struct Container {
        place: tempfile::TempDir,
        unpacking: Unpacking,
    }

    impl Container {
        /// A root layer with links that aim at the host.
        fn new() -> Self {
            let place = scratch();
            for directory in ["root/etc", "root/run", "root/var", "victim"] {
                fs::create_dir_all(place.path().join(directory)).unwrap();
            }
            fs::write(place.path().join("victim/canary"), "alive").unwrap();
            let root = place.path().join("root");
            fs::write(root.join("etc/old"), "old").unwrap();
            symlink("/run", root.join("var/run")).unwrap();
            symlink(place.path().join("victim"), root.join("out")).unwrap();
            Self {
                place,
                unpacking: Unpacking::default(),
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.place.path().join(name)
        }

        fn root(&self) -> RootFilesystem {
            RootFilesystem::new(Root::open(&self.path("root")).unwrap(), self.path("root"))
        }

        fn put(&self, path: &str, archive: Tar) -> Result<(), RootError> {
            self.root()
                .put_archive(Path::new(path), &mut &archive.finish()[..], self.unpacking)
        }

        #[track_caller]
        fn assert_unharmed(&self) {
            assert_eq!(fs::read_dir(self.path("victim")).unwrap().count(), 1);
            assert_eq!(fs::read(self.path("victim/canary")).unwrap(), b"alive");
        }
    }

    #[test]
    fn files_land_where_the_container_sees_them() {
        let container = Container::new();
        container
            .put(
                "/",
                Tar::new()
                    .file("run/secrets/key", b"s3cret")
                    .file("etc/old", b"new"),
            )
            .unwrap();
        container
            .put("/var/run", Tar::new().file("pid", b"1"))
            .unwrap();
        container
            .put("/etc", Tar::new().file(".wh.x", b"plain"))
            .unwrap();
        assert_eq!(
            fs::read(container.path("root/run/secrets/key")).unwrap(),
            b"s3cret"
        );
        assert_eq!(fs::read(container.path("root/etc/old")).unwrap(), b"new");
        assert_eq!(fs::read(container.path("root/run/pid")).unwrap(), b"1");
        assert_eq!(
            fs::read(container.path("root/etc/.wh.x")).unwrap(),
            b"plain"
        );
        assert_eq!(
            fs::metadata(container.path("root/run/secrets/key"))
                .unwrap()
                .mode()
                & 0o7777,
            0o644
        );
        container.assert_unharmed();
    }

    #[test]
    fn kinds_and_owners_are_as_asked_for() {
        let mut container = Container::new();
        container.unpacking = Unpacking {
            keep_kinds: true,
            owner: Some((7, 8)),
        };
        for archive in [
            Tar::new().file("etc", b"no directory"),
            Tar::new().directory("etc/old"),
        ] {
            let refused = container.put("/", archive);
            assert!(matches!(refused, Err(RootError::Archive(_))), "{refused:?}");
        }
        container.put("/etc", Tar::new().file("new", b"")).unwrap();
        let made = fs::metadata(container.path("root/etc/new")).unwrap();
        assert_eq!((made.uid(), made.gid()), (7, 8));
    }

    #[test]
    fn nothing_leads_out_of_the_container() {
        let container = Container::new();
        let missing = container.put("/out", Tar::new().file("x", b""));
        assert!(
            matches!(missing, Err(RootError::NotFound(_))),
            "{missing:?}"
        );
        for archive in [
            Tar::new().file("out/x", b"dead"),
            Tar::new().file("../x", b"dead"),
            Tar::new().hard_link("x", "out/canary"),
        ] {
            assert!(matches!(
                container.put("/", archive),
                Err(RootError::Archive(_))
            ));
        }
        assert!(
            container
                .put("/etc", Tar::new().file("../../x", b"dead"))
                .is_err()
        );
        container.assert_unharmed();
    }

    #[test]
    fn the_place_must_be_a_directory() {
        let container = Container::new();
        assert!(matches!(
            container.put("/etc/old", Tar::new()),
            Err(RootError::NotDirectory)
        ));
        assert!(matches!(
            container.put("/missing", Tar::new()),
            Err(RootError::NotFound(_))
        ));
    }

    #[test]
    fn paths_are_described() {
        let container = Container::new();
        let root = container.root();
        let status = root.status(Path::new("/etc/old")).unwrap();
        assert_eq!(
            (status.name.as_str(), status.size, status.mode & 0o170_000),
            ("old", 3, 0o100_000)
        );
        let link = root.status(Path::new("/var/run")).unwrap();
        assert_eq!(
            (link.link_target.as_str(), link.mode & 0o170_000),
            ("/run", 0o120_000)
        );
        assert!(matches!(
            root.status(Path::new("/nope")),
            Err(RootError::NotFound(_))
        ));
    }
}
