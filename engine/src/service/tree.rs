//! A container's file system from outside, for the time of one piece of work.
//!
//! The tree of a running container is its init's root, with everything that is mounted there. That of any other is its overlay, mounted for
//! the occasion; its operation lock keeps it from being started meanwhile, since two mounts must not share a writable layer. What
//! volumes and binds it has are mounted in their places then, on a thread whose mounts nobody else sees.
//!
//! Must not know: what is done with the files.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hoist_api::error::{ApiError, ErrorKind, Result};
use hoist_kernel::path::Root;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_fd, fsmount, fsopen, mount, move_mount, open_tree,
    unmount,
};

use super::mounted::For;
use super::{Service, image_error, internal};
use crate::containers::Container;
use crate::runtime::spec::{MountSource, RootFilesystem as Overlay};
use crate::store::container::{ContainerRecord, MountSource as Recorded, Status};

/// What work is done on.
#[derive(Debug, Clone, Copy)]
enum Thread {
    Shared,
    Own,
}

impl Service {
    /// Runs `work`, which does not take long, on a container's tree, running or not. It is finished although the caller goes away.
    pub(super) async fn in_tree<T: Send + 'static>(
        self: &Arc<Self>,
        container: &Arc<Container>,
        work: impl FnOnce(&Service, &ContainerRecord, &Root) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.in_tree_on(Thread::Shared, container, work).await
    }

    /// As [`Service::in_tree`] for work that goes on at the pace of a client.
    pub(super) async fn in_tree_for_client<T: Send + 'static>(
        self: &Arc<Self>,
        container: &Arc<Container>,
        work: impl FnOnce(&Service, &ContainerRecord, &Root) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.in_tree_on(Thread::Own, container, work).await
    }

    async fn in_tree_on<T: Send + 'static>(
        self: &Arc<Self>,
        thread: Thread,
        container: &Arc<Container>,
        work: impl FnOnce(&Service, &ContainerRecord, &Root) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (service, container) = (self.clone(), container.clone());
        let task = tokio::spawn(async move {
            let turn = container.operation.lock().await;
            let record = container.snapshot();
            if matches!(record.run.status, Status::Removing | Status::Dead) {
                let message = format!("container {} is marked for removal", record.name);
                return Err(ApiError::conflict(message));
            }
            if !record.run.status.is_alive() {
                let done = move |service: &Service| service.in_stopped_tree(&record, work);
                return service.on(thread, done).await;
            }
            // It may be stopped while this goes on.
            drop(turn);
            let done = move |service: &Service| {
                let root = PathBuf::from(format!("/proc/{}/root", record.run.pid));
                let root = Root::open(&root).map_err(|error| internal(&error))?;
                work(service, &record, &root)
            };
            service.on(thread, done).await
        });
        task.await.map_err(|error| internal(&error))?
    }

    async fn on<T: Send + 'static>(
        self: &Arc<Self>,
        thread: Thread,
        work: impl FnOnce(&Service) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match thread {
            Thread::Shared => self.blocking(work).await,
            Thread::Own => self.for_client(work).await,
        }
    }

    fn in_stopped_tree<T: Send>(
        &self,
        record: &ContainerRecord,
        work: impl FnOnce(&Service, &ContainerRecord, &Root) -> Result<T> + Send,
    ) -> Result<T> {
        let image = self.images.resolve(&record.image_id).map_err(image_error)?;
        let overlay = Overlay {
            read_only: false,
            ..self.root_filesystem(record, &image)?
        };
        let cannot = |error: &dyn std::fmt::Display| {
            let message = format!(
                "cannot mount the root of container {}: {error}",
                record.name
            );
            ApiError::new(ErrorKind::Internal, message)
        };
        let mounts = self.stored_mounts(record)?;
        if mounts.is_empty() {
            let mounted = mount_detached(&overlay).map_err(|error| cannot(&error))?;
            return work(self, record, &Root::from_fd(mounted));
        }
        let apart = hoist_kernel::mountns::run_apart(|| {
            let root = mount_here(&overlay, &mounts).map_err(|error| cannot(&error))?;
            work(self, record, &root)
        });
        apart.map_err(|error| internal(&error))?
    }

    /// The container's volumes, binds and images; memory file systems have nothing while it does not run.
    fn stored_mounts(&self, record: &ContainerRecord) -> Result<Vec<(PathBuf, OwnedFd)>> {
        let mut mounts = Vec::new();
        let whose = For {
            record,
            namespace: None,
        };
        for mount in &record.mounts {
            if matches!(mount.source, Recorded::Tmpfs { .. }) {
                continue;
            }
            let mut passed = Vec::new();
            let tree = match self.mount_source(mount, whose, &mut passed)?.0 {
                MountSource::Bind { path, subpath, .. } => clone_tree(&path, subpath.as_deref())
                    .map_err(|error| {
                        let message = format!("cannot mount {}: {error}", path.display());
                        ApiError::new(ErrorKind::Internal, message)
                    })?,
                MountSource::Passed { .. } => match passed.pop() {
                    Some(tree) => tree,
                    None => continue,
                },
                _ => continue,
            };
            mounts.push((PathBuf::from(&mount.target), tree));
        }
        mounts.sort_by_key(|(target, _)| target.components().count());
        Ok(mounts)
    }
}

fn clone_tree(path: &Path, subpath: Option<&Path>) -> std::io::Result<OwnedFd> {
    let found = match subpath {
        Some(subpath) => Root::open(path)?.open_beneath(subpath, OFlags::PATH, Mode::empty())?,
        None => rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?,
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(&found, "", flags)?)
}

/// The container's writable layer over its image's, read only and without the mounts in it: what an export shows.
pub(super) fn mount_layers(overlay: &Overlay) -> rustix::io::Result<Root> {
    let mut layers = overlay.layers.clone();
    layers.push(overlay.upper.clone());
    if layers.len() == 1 {
        return open_directory(&overlay.upper).map(Root::from_fd);
    }
    let read_only = Overlay {
        layers,
        read_only: true,
        ..overlay.clone()
    };
    mount_detached(&read_only).map(Root::from_fd)
}

/// Makes a directory in a container that does not run, in its own layer and not in what is to be mounted in it. Nothing is done when one
/// of the layers has it.
pub(super) fn make_directory(overlay: &Overlay, path: &Path) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let is_there = |layer: &PathBuf| {
        Root::open(layer).is_ok_and(|root| root.open_beneath(path, flags, Mode::empty()).is_ok())
    };
    if overlay.layers.iter().any(is_there) {
        return Ok(());
    }
    let root = mount_detached(overlay).map_err(|error| internal(&error))?;
    let made = Root::from_fd(root).create_directories(path, Mode::from_raw_mode(0o755));
    // A file in its place is told at the start, as any other command line's mistake.
    if let Err(error) = made {
        tracing::debug!(path = %path.display(), %error, "a working directory was not made");
    }
    Ok(())
}

fn mount_here(overlay: &Overlay, mounts: &[(PathBuf, OwnedFd)]) -> std::io::Result<Root> {
    let mounted = mount_detached(overlay)?;
    move_mount(
        &mounted,
        "",
        rustix::fs::CWD,
        &overlay.mount_point,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    let root = Root::open(&overlay.mount_point)?;
    for (target, tree) in mounts {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode);
        let place = mount_point(&root, target, kind == FileType::Directory)?;
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(tree, "", &place, "", flags)?;
    }
    Ok(root)
}

/// What a mount goes on, made as the start of the container would make it.
fn mount_point(root: &Root, target: &Path, is_directory: bool) -> std::io::Result<OwnedFd> {
    let found = root.open_beneath(target, OFlags::PATH, Mode::empty());
    match found {
        Err(error) if error.errno == Errno::NOENT => {}
        found => return Ok(found?),
    }
    if is_directory {
        root.create_directories(target, Mode::from_raw_mode(0o755))?;
    } else {
        let (parent, name) = root.create_parent(target, Mode::from_raw_mode(0o755))?;
        parent.create_file(&name, Mode::from_raw_mode(0o644))?;
    }
    Ok(root.open_beneath(target, OFlags::PATH, Mode::empty())?)
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
    if !root.read_only {
        fsconfig_set_fd(&context, "upperdir", open_directory(&root.upper)?)?;
        fsconfig_set_fd(&context, "workdir", open_directory(&root.work)?)?;
    }
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
    let mut data = format!("lowerdir={}", lower.join(":"));
    if !root.read_only {
        let (upper, work) = (escape(&root.upper), escape(&root.work));
        data.push_str(&format!(",upperdir={upper},workdir={work}"));
    }
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
