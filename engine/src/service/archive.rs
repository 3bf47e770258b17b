//! Files in and out of containers: `/containers/{id}/archive`.
//!
//! Every name is resolved beneath the container's tree by `openat2`, so that neither links in the container nor names in an
//! archive lead out of it (CVE-2018-15664, CVE-2019-14271), and nothing of the container is executed.

use std::ffi::OsString;
use std::io::{self, Read as _, Write};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hoist_api::archive::{PathStat, PutArchive};
use hoist_api::error::{ApiError, ErrorKind, Result};
use hoist_kernel::accounts;
use hoist_kernel::path::Root;
use jiff::Timestamp;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use tokio::sync::{mpsc, oneshot};

use super::images::PieceReader;
use super::{Service, internal};
use crate::image::pack::{Marks, Packing, pack};
use crate::image::{ImageErrorKind, RootError, RootFilesystem, Unpacking};
use crate::store::container::ContainerRecord;

/// Bytes of an archive that are sent at a time.
const PIECE: usize = 64 << 10;
/// Pieces that may wait for a slow client.
pub(super) const QUEUE: usize = 2;
/// Links that may lead on from one to the next (the kernel's own limit, path_resolution(7)).
const MOST_LINKS: usize = 40;
/// Largest `/etc/passwd` that is looked at.
const MOST_ACCOUNTS: u64 = 1 << 20;

/// An archive as it is made.
pub(crate) type Pieces = mpsc::Receiver<io::Result<Bytes>>;

impl Service {
    /// What is at a path.
    pub(crate) async fn stat_archive(self: &Arc<Self>, key: &str, path: &str) -> Result<PathStat> {
        let container = self.containers.find(key)?;
        let asked = Asked::new(key, path)?;
        self.in_tree(&container, move |_, _, root| asked.stat(root))
            .await
    }

    /// What is at a path, and it and all below it as an archive. A link is packed as a link, unless the path says that it means
    /// what the link leads to.
    pub(crate) async fn get_archive(
        self: &Arc<Self>,
        key: &str,
        path: &str,
    ) -> Result<(PathStat, Pieces)> {
        let container = self.containers.find(key)?;
        let asked = Asked::new(key, path)?;
        let (told, hears) = oneshot::channel::<PathStat>();
        let (sender, pieces) = mpsc::channel(QUEUE);
        let (service, packed) = (self.clone(), container.clone());
        tokio::spawn(async move {
            let mut told = Some(told);
            let work = move |_: &Service, _: &ContainerRecord, root: &Root| {
                let stat = asked.stat(root)?;
                let from = asked.resolved(root)?;
                if let Some(told) = told.take() {
                    // A client that has gone is noticed at the first piece.
                    let _ = told.send(stat);
                }
                let packing = Packing {
                    root,
                    from,
                    name: asked.name_in_archive(),
                    marks: Marks::Plain,
                    skip: &|_| false,
                };
                send_archive(&sender, |out| pack(&packing, out));
                Ok(())
            };
            service.in_tree_for_client(&packed, work).await
        });
        let stat = match hears.await {
            Ok(stat) => stat,
            // It ended before there was anything to say: why, a look tells.
            Err(_) => return Err(self.why_no_archive(key, path).await),
        };
        self.emit(&container, "archive-path", []);
        Ok((stat, pieces))
    }

    async fn why_no_archive(self: &Arc<Self>, key: &str, path: &str) -> ApiError {
        match self.stat_archive(key, path).await {
            Err(error) => error,
            Ok(_) => ApiError::new(
                ErrorKind::Internal,
                format!("cannot read {path} in container {key}: it changed meanwhile"),
            ),
        }
    }

    /// Unpacks an archive at a directory of a container, running or not.
    pub(crate) async fn put_archive(
        self: &Arc<Self>,
        key: &str,
        options: PutArchive,
        mut archive: PieceReader,
    ) -> Result<()> {
        let container = self.containers.find(key)?;
        let key = key.to_owned();
        let work = move |_: &Service, record: &ContainerRecord, root: &Root| {
            let target = Path::new("/").join(&options.path);
            // Through links, too: one in a volume may lead to the root that is read-only.
            let place = lead(root, &target);
            check_writable(record, place.as_deref().unwrap_or(&target))?;
            let owner = match options.copy_uid_gid {
                true => owner(root, &record.config.user),
                false => None,
            };
            let unpacking = Unpacking {
                keep_kinds: options.no_overwrite_dir_non_dir,
                owner,
            };
            let root = root.try_clone().map_err(|error| internal(&error))?;
            RootFilesystem::new(root, format!("container {key}"))
                .put_archive(&target, &mut archive, unpacking)
                .map_err(|error| root_error(&key, &target, &error))
        };
        self.in_tree_for_client(&container, work).await?;
        self.emit(&container, "extract-to-dir", []);
        Ok(())
    }
}

/// A path as a client gives it.
#[derive(Debug, Clone)]
struct Asked {
    container: String,
    text: String,
}

impl Asked {
    fn new(container: &str, path: &str) -> Result<Self> {
        if path.is_empty() {
            return Err(ApiError::bad_request("bad parameter: path cannot be empty"));
        }
        if path.contains('\0') {
            return Err(ApiError::bad_request(
                "bad parameter: path holds a NUL byte",
            ));
        }
        Ok(Self {
            container: container.to_owned(),
            text: path.to_owned(),
        })
    }

    /// `/link/` and `/link/.` mean what the link leads to.
    fn follows(&self) -> bool {
        self.text.ends_with('/') || self.text.ends_with("/.") || self.text == "."
    }

    fn path(&self) -> PathBuf {
        Path::new("/").join(&self.text)
    }

    /// What Go's `filepath.Base` makes of it, which clients build on: `/` of the root, `.` of `/dir/.`.
    fn base(&self) -> OsString {
        if self.text.ends_with("/.") || self.text == "." {
            return ".".into();
        }
        let last = self.text.rsplit('/').find(|part| !part.is_empty());
        last.unwrap_or("/").into()
    }

    fn name_in_archive(&self) -> PathBuf {
        self.base().into()
    }

    fn missing(&self) -> ApiError {
        let (path, container) = (&self.text, &self.container);
        ApiError::not_found(format!(
            "Could not find the file {path} in container {container}"
        ))
    }

    fn no_directory(&self) -> ApiError {
        let (path, container) = (&self.text, &self.container);
        ApiError::bad_request(format!(
            "cannot find {path} in container {container}: not a directory"
        ))
    }

    /// The path to pack: links on the way are followed by the kernel.
    fn resolved(&self, root: &Root) -> Result<PathBuf> {
        let path = self.path();
        if !self.follows() {
            return Ok(path);
        }
        Ok(lead(root, &path).unwrap_or(path))
    }

    fn stat(&self, root: &Root) -> Result<PathStat> {
        let path = self.path();
        let mut flags = OFlags::PATH;
        if !self.follows() {
            flags |= OFlags::NOFOLLOW;
        }
        let found = root
            .open_beneath(&path, flags, Mode::empty())
            .map_err(|error| match error.errno {
                rustix::io::Errno::NOTDIR => self.no_directory(),
                _ => self.missing(),
            })?;
        let stat = rustix::fs::fstat(&found).map_err(|error| internal(&error))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if self.text.ends_with('/') && kind != FileType::Directory {
            return Err(self.no_directory());
        }
        let link_target = match kind {
            FileType::Symlink => lead(root, &path).unwrap_or_default(),
            _ => PathBuf::new(),
        };
        let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let modified = Timestamp::new(stat.st_mtime, nanoseconds);
        Ok(PathStat {
            name: self.base().to_string_lossy().into_owned(),
            size: stat.st_size,
            mode: go_mode(&stat),
            mtime: modified.unwrap_or(Timestamp::UNIX_EPOCH).to_string(),
            link_target: link_target.to_string_lossy().into_owned(),
        })
    }
}

/// Where a link leads in the end, as far as there is something.
fn lead(root: &Root, path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let Ok(found) = root.open_beneath(&path, flags, Mode::empty()) else {
            return Some(path);
        };
        let stat = rustix::fs::fstat(&found).ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Some(path);
        }
        let target = rustix::fs::readlinkat(&found, c"", Vec::new()).ok()?;
        let target = OsString::from_vec(target.into_bytes());
        path = normal(&path.parent().unwrap_or(Path::new("/")).join(target));
    }
    None
}

fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => result.push(name),
            Component::ParentDir => {
                result.pop();
            }
            _ => {}
        }
    }
    result
}

/// Go's `os.FileMode` of a file.
fn go_mode(stat: &Stat) -> u32 {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => 1 << 26 | 1 << 21,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        _ => 0,
    };
    let bit = |mine: u32, gos: u32| if stat.st_mode & mine == 0 { 0 } else { gos };
    kind | (stat.st_mode & 0o777)
        | bit(0o4000, 1 << 23)
        | bit(0o2000, 1 << 22)
        | bit(0o1000, 1 << 20)
}

/// What cannot be written while the container runs is not written otherwise either.
fn check_writable(record: &ContainerRecord, target: &Path) -> Result<()> {
    let target = normal(target);
    let within = record
        .mounts
        .iter()
        .filter(|mount| target.starts_with(&mount.target))
        .max_by_key(|mount| mount.target.len());
    match within {
        Some(mount) if mount.read_only => {
            Err(ApiError::bad_request("mounted volume is marked read-only"))
        }
        None if record.host_config.readonly_rootfs => Err(ApiError::bad_request(
            "container rootfs is marked read-only",
        )),
        _ => Ok(()),
    }
}

/// The user that the container runs as, by the container's own accounts.
fn owner(root: &Root, user: &str) -> Option<(u32, u32)> {
    let (user, group) = user.split_once(':').unwrap_or((user, ""));
    if user.is_empty() && group.is_empty() {
        return None;
    }
    // `:group` is the root user's.
    let user = if user.is_empty() { "0" } else { user };
    let read = |path: &str| {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let mut content = Vec::new();
        if let Ok(opened) = root.open_beneath(Path::new(path), flags, Mode::empty()) {
            // A file that cannot be read has no accounts.
            let _ = std::fs::File::from(opened)
                .take(MOST_ACCOUNTS)
                .read_to_end(&mut content);
        }
        content
    };
    let passwd = read("/etc/passwd");
    let found = accounts::find_user(&passwd, user.as_bytes());
    let number = |text: &str| {
        text.parse::<u32>()
            .ok()
            .filter(|id| *id <= accounts::MAX_ID)
    };
    let uid = found.map(|user| user.uid).or_else(|| number(user))?;
    let gid = if group.is_empty() {
        found.map_or(0, |user| user.gid)
    } else {
        let groups = read("/etc/group");
        accounts::find_group(&groups, group.as_bytes())
            .map(|group| group.gid)
            .or_else(|| number(group))?
    };
    Some((uid, gid))
}

/// Runs what writes an archive and sends it in pieces; a failure is the last piece, and the client sees a torn answer.
pub(super) fn send_archive(
    sender: &mpsc::Sender<io::Result<Bytes>>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) {
    let mut out = PieceWriter {
        sender,
        buffer: BytesMut::with_capacity(PIECE),
    };
    let written = write(&mut out).and_then(|()| out.give());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => {
            tracing::warn!(%error, "cannot pack files of a container");
            // The client may be gone as well.
            let _ = sender.blocking_send(Err(error));
        }
        Ok(()) => {}
    }
}

/// Writes into a channel of pieces.
struct PieceWriter<'a> {
    sender: &'a mpsc::Sender<io::Result<Bytes>>,
    buffer: BytesMut,
}

impl PieceWriter<'_> {
    fn give(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = self.buffer.split().freeze();
        self.sender
            .blocking_send(Ok(piece))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for PieceWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= PIECE {
            self.give()?;
            self.buffer.reserve(PIECE);
        }
        // Whoever writes more comes again: pieces are no larger than was reserved for them.
        let taken = bytes.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// By what went wrong.
fn root_error(container: &str, path: &Path, error: &RootError) -> ApiError {
    match error {
        RootError::NotFound(_) => ApiError::not_found(format!(
            "Could not find the file {} in container {container}",
            path.display()
        )),
        RootError::NotDirectory => ApiError::bad_request(error.to_string()),
        RootError::Archive(error) => {
            let kind = match error.kind() {
                ImageErrorKind::Invalid => ErrorKind::BadRequest,
                _ => ErrorKind::Internal,
            };
            let why = hoist_api::error::chain(error);
            ApiError::new(
                kind,
                format!("cannot write into container {container}: {why}"),
            )
        }
        error => internal(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn names_are_gos() {
        for (path, base, follows) in [
            ("/", "/", true),
            ("/etc", "etc", false),
            ("etc/passwd", "passwd", false),
            ("/etc/", "etc", true),
            ("/etc/.", ".", true),
        ] {
            let asked = Asked::new("c", path).unwrap();
            assert_eq!(
                (asked.base().as_bytes(), asked.follows()),
                (base.as_bytes(), follows),
                "{path}"
            );
        }
        assert!(Asked::new("c", "").is_err());
        assert!(Asked::new("c", "a\0b").is_err());
    }

    #[test]
    fn links_lead_within_the_tree() {
        let place = tempfile::tempdir().unwrap();
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, place.path().join(name)).unwrap();
        };
        std::fs::create_dir_all(place.path().join("usr/bin")).unwrap();
        link("usr/bin", "bin");
        link("/bin", "again");
        link("../../../../etc", "out");
        link("turn", "turn");
        let root = Root::open(place.path()).unwrap();
        let to = |path: &str| lead(&root, Path::new(path));
        assert_eq!(to("/again").as_deref(), Some(Path::new("/usr/bin")));
        assert_eq!(to("/out").as_deref(), Some(Path::new("/etc")));
        assert_eq!(to("/turn"), None);
    }

    #[test]
    fn modes_are_gos() {
        let mode = |st_mode| {
            let mut stat = rustix::fs::stat("/").unwrap();
            stat.st_mode = st_mode;
            go_mode(&stat)
        };
        // As Docker's engine says of a container's `/tmp` and of a link.
        assert_eq!(mode(0o041_777), 2_148_532_735);
        assert_eq!(mode(0o120_777), 134_218_239);
        assert_eq!(mode(0o104_755), 8_389_101);
    }
}
