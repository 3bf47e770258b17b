//! Files into containers: `PUT /containers/{id}/archive`.
//!
//! The tree of a running container is its init's root. That of any other is its overlay, mounted for the occasion and
//! attached nowhere; the container's operation lock keeps it from being started meanwhile, since two mounts must not
//! share a writable layer. Every name is resolved beneath the tree by `openat2`, so that neither links in the
//! container nor names in the archive lead out of it.
//!
//! Must not know: what the files are for.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hoist_api::error::{ApiError, ErrorKind, Result};
use hoist_kernel::path::Root;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_fd, fsmount, fsopen, mount, unmount,
};

use super::images::PieceReader;
use super::{Service, image_error, internal};
use crate::image::{ImageErrorKind, RootError, RootFilesystem};
use crate::runtime::spec::RootFilesystem as Overlay;
use crate::store::container::ContainerRecord;

impl Service {
    /// Unpacks an archive at a directory of a container, running or not.
    pub(crate) async fn put_archive(
        self: &Arc<Self>,
        key: &str,
        path: String,
        mut archive: PieceReader,
    ) -> Result<()> {
        let container = self.containers.find(key)?;
        let _operation = container.operation.lock().await;
        let record = container.snapshot();
        let key = key.to_owned();
        self.blocking(move |service| {
            let root = service.tree(&record)?;
            let target = PathBuf::from(path);
            RootFilesystem::new(root, format!("container {key}"))
                .put_archive(&target, &mut archive)
                .map_err(|error| root_error(&key, &target, &error))
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
fn mount_detached(root: &Overlay) -> rustix::io::Result<OwnedFd> {
    match overlay_by_descriptors(root) {
        Err(Errno::INVAL | Errno::NOSYS) => overlay_by_paths(root),
        other => other,
    }
}

fn overlay_by_descriptors(root: &Overlay) -> rustix::io::Result<OwnedFd> {
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
fn overlay_by_paths(root: &Overlay) -> rustix::io::Result<OwnedFd> {
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
