//! Files into containers: `PUT /containers/{id}/archive`.
//!
//! The tree of a running container is its init's root. That of any other is its overlay, mounted for the occasion and
//! attached nowhere; the container's operation lock keeps it from being started meanwhile, since two mounts must not
//! share a writable layer. Every name is resolved beneath the tree by `openat2`, so that neither links in the
//! container nor names in the archive lead out of it.
//!
//! Must not know: what the files are for.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use hoist_api::error::{ApiError, ErrorKind, Result};
use hoist_kernel::path::{Directory, Root};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_fd, fsmount, fsopen, mount, unmount,
};

use super::images::PieceReader;
use super::{Service, image_error, internal};
use crate::image::tarball::{Entry, EntryKind, TarReader};
use crate::runtime::spec::RootFilesystem;
use crate::store::container::ContainerRecord;

/// Directories that are made on the way to a file.
const DIRECTORY_MODE: u32 = 0o755;

impl Service {
    /// Unpacks an archive at a directory of a container, running or not.
    pub(crate) async fn put_archive(
        self: &Arc<Self>,
        key: &str,
        path: String,
        archive: PieceReader,
    ) -> Result<()> {
        let container = self.containers.find(key)?;
        let _operation = container.operation.lock().await;
        let record = container.snapshot();
        let key = key.to_owned();
        self.blocking(move |service| {
            let root = service.tree(&record)?;
            let target = PathBuf::from(&path);
            root.directory(&target).map_err(|_| {
                ApiError::not_found(format!("Could not find the file {path} in container {key}"))
            })?;
            unpack(&root, &target, BufReader::new(archive))
                .map_err(|failure| failure.into_api(&record.name))
        })
        .await
    }

    /// The container's file system as its processes see it.
    fn tree(&self, record: &ContainerRecord) -> Result<Root> {
        if record.run.status.is_alive() {
            let root = PathBuf::from(format!("/proc/{}/root", record.run.pid));
            return Root::open(&root).map_err(|error| internal(&error));
        }
        let image = self.images.resolve(&record.image_id).map_err(image_error)?;
        let root = self.root_filesystem(record, &image)?;
        let mounted = mount_detached(&root).map_err(|error| {
            ApiError::new(
                ErrorKind::Internal,
                format!(
                    "cannot mount the root of container {}: {error}",
                    record.name
                ),
            )
        })?;
        Ok(Root::from_fd(mounted))
    }
}

/// Mounts a container's overlay where nobody sees it; it is gone when the descriptor is closed.
fn mount_detached(root: &RootFilesystem) -> rustix::io::Result<OwnedFd> {
    match overlay_by_descriptors(root) {
        Err(Errno::INVAL | Errno::NOSYS) => overlay_by_paths(root),
        other => other,
    }
}

fn overlay_by_descriptors(root: &RootFilesystem) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in root.layers.iter().rev() {
        fsconfig_set_fd(&context, "lowerdir+", open_directory(layer)?)?;
    }
    fsconfig_set_fd(&context, "upperdir", open_directory(&root.upper)?)?;
    fsconfig_set_fd(&context, "workdir", open_directory(&root.work)?)?;
    fsconfig_create(context.as_fd())?;
    fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
}

/// For kernels that do not take layers by descriptor: mounted at the engine's own directory for it, and taken off
/// at once; the open descriptor keeps it.
fn overlay_by_paths(root: &RootFilesystem) -> rustix::io::Result<OwnedFd> {
    let escape = |path: &Path| {
        let text = path.to_string_lossy();
        text.replace('\\', "\\\\")
            .replace(':', "\\:")
            .replace(',', "\\,")
    };
    let lower: Vec<String> = root
        .layers
        .iter()
        .rev()
        .map(|layer| escape(layer))
        .collect();
    let (upper, work) = (escape(&root.upper), escape(&root.work));
    let data = format!(
        "lowerdir={},upperdir={upper},workdir={work}",
        lower.join(":")
    );
    let data = std::ffi::CString::new(data).map_err(|_| Errno::INVAL)?;
    mount(
        "overlay",
        &root.mount_point,
        "overlay",
        MountFlags::empty(),
        Some(data.as_c_str()),
    )?;
    let opened = open_directory(&root.mount_point);
    unmount(&root.mount_point, UnmountFlags::DETACH)?;
    opened
}

fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Why an archive could not be unpacked.
#[derive(Debug)]
struct Failure {
    entry: String,
    why: String,
    kind: ErrorKind,
}

impl Failure {
    fn into_api(self, container: &str) -> ApiError {
        let Failure { entry, why, kind } = self;
        ApiError::new(
            kind,
            format!("cannot write {entry} into container {container}: {why}"),
        )
    }
}

/// Unpacks every entry beneath `target`. Directories on the way are made; what is there already is replaced.
fn unpack<R: BufRead>(root: &Root, target: &Path, archive: R) -> Result<(), Failure> {
    let mut reader = TarReader::new(archive);
    loop {
        let next = reader.next_entry().map_err(|error| Failure {
            entry: "the archive".to_owned(),
            why: error.to_string(),
            kind: ErrorKind::BadRequest,
        })?;
        let Some(entry) = next else { return Ok(()) };
        let name = PathBuf::from(OsStr::from_bytes(&entry.path));
        let failure = |kind, why: String| Failure {
            entry: name.display().to_string(),
            why,
            kind,
        };
        if name.components().any(|part| part == Component::ParentDir) {
            return Err(failure(
                ErrorKind::BadRequest,
                "its name has \"..\"".to_owned(),
            ));
        }
        // Compose's names begin with a slash and mean: from the target.
        let beneath: PathBuf = name
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect();
        if beneath.as_os_str().is_empty() {
            continue;
        }
        write_entry(root, &target.join(beneath), &entry, &mut reader)
            .map_err(|error| failure(ErrorKind::Internal, hoist_api::error::chain(&error)))?;
    }
}

fn write_entry<R: BufRead>(
    root: &Root,
    path: &Path,
    entry: &Entry,
    reader: &mut TarReader<R>,
) -> io::Result<()> {
    let (parent, name) = root
        .create_parent(path, Mode::from_raw_mode(DIRECTORY_MODE))
        .map_err(io::Error::other)?;
    let mode = Mode::from_raw_mode(entry.mode);
    match entry.kind {
        EntryKind::Directory => match parent.create_directory(&name, mode) {
            // An existing one keeps what it has.
            Err(_) if parent.child(&name).is_ok() => return Ok(()),
            made => made.map_err(io::Error::other)?,
        },
        EntryKind::File => {
            remove_existing(&parent, &name)?;
            let file = parent
                .create_file(&name, Mode::from_raw_mode(0o600))
                .map_err(io::Error::other)?;
            io::copy(reader, &mut std::fs::File::from(file))?;
        }
        EntryKind::Symlink => {
            remove_existing(&parent, &name)?;
            let link = OsStr::from_bytes(&entry.link);
            parent
                .create_symlink(&name, link)
                .map_err(io::Error::other)?;
        }
        EntryKind::HardLink | EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => {
            return Err(io::Error::other(
                "only files, directories and symbolic links can be written",
            ));
        }
    }
    parent
        .set_owner(&name, entry.uid, entry.gid)
        .map_err(io::Error::other)?;
    if entry.kind != EntryKind::Symlink {
        // After the owner, whose change clears set-id bits.
        parent.set_mode(&name, mode).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Makes room for a file. A directory is in the way.
fn remove_existing(parent: &Directory, name: &OsStr) -> io::Result<()> {
    match parent.status(name) {
        Ok(_) => parent
            .remove(name, AtFlags::empty())
            .map_err(io::Error::other),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    /// A tar archive of `(name, content, mode)`; the owner is 5:6.
    fn archive(entries: &[(&str, &str, u32)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content, mode) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            header.set_uid(5);
            header.set_gid(6);
            // The builder itself refuses names such as `../x`.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            archive.append(&header, content.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn unpack_at(root: &Path, target: &str, entries: &[(&str, &str, u32)]) -> Result<(), String> {
        let root = Root::open(root).unwrap();
        let bytes = archive(entries);
        unpack(&root, Path::new(target), bytes.as_slice()).map_err(|failure| failure.why)
    }

    #[test]
    fn files_have_their_owner_mode_and_directories() {
        let place = tempfile::tempdir().unwrap();
        unpack_at(place.path(), "/", &[("/run/secrets/key", "secret", 0o440)]).unwrap();
        let path = place.path().join("run/secrets/key");
        let found = fs::metadata(&path).unwrap();
        assert_eq!(
            (found.uid(), found.gid(), found.mode() & 0o7777),
            (5, 6, 0o440)
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "secret");
        // Again, over what is there.
        unpack_at(place.path(), "/run", &[("secrets/key", "new", 0o400)]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn links_and_names_stay_inside() {
        let place = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("run")).unwrap();
        std::os::unix::fs::symlink("/run", place.path().join("var-run")).unwrap();
        std::os::unix::fs::symlink(outside.path(), place.path().join("escape")).unwrap();
        unpack_at(place.path(), "/", &[("var-run/key", "a", 0o644)]).unwrap();
        assert_eq!(
            fs::read_to_string(place.path().join("run/key")).unwrap(),
            "a"
        );
        // The link is absolute, so inside the container it leads nowhere.
        assert!(unpack_at(place.path(), "/", &[("escape/key", "a", 0o644)]).is_err());
        let refused = unpack_at(place.path(), "/", &[("../key", "a", 0o644)]);
        assert_eq!(refused.unwrap_err(), "its name has \"..\"");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
    }
}
