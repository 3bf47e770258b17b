//! What a container's mounts are on the machine, found anew at each start.

use std::ffi::CString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use hoist_api::error::{ApiError, ErrorKind, Result};
use hoist_kernel::mountns::{map_ids, run_apart};
use hoist_kernel::path::Root;
use hoist_volumes::{BindRequest, MountSource as VolumeSource, SubpathError};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount, move_mount, open_tree};

use super::networking::Joined;
use super::{Service, image_error, internal, spec, volume_error};
use crate::build::tree;
use crate::runtime::spec::{FileIds, Mount, MountSource, UserNamespace};
use crate::store;
use crate::store::container::{ContainerRecord, MountRecord, MountSource as Recorded};

/// The mounts of a start.
#[derive(Debug, Default)]
pub(super) struct Mounted {
    pub(super) mounts: Vec<Mount>,
    /// Detached mounts, in the order of [`MountSource::Passed`].
    pub(super) passed: Vec<OwnedFd>,
}

/// Who asks for a mount.
#[derive(Debug, Clone, Copy)]
pub(super) struct For<'a> {
    pub(super) record: &'a ContainerRecord,
    /// Its user namespace, when it has one of its own.
    pub(super) namespace: Option<&'a OwnedFd>,
}

impl Service {
    pub(super) fn runtime_mounts(
        &self,
        record: &ContainerRecord,
        joined: &Joined,
        users: Option<&(UserNamespace, OwnedFd)>,
    ) -> Result<Mounted> {
        let mut mounted = Mounted::default();
        let whose = For {
            record,
            namespace: users.map(|(_, namespace)| namespace),
        };
        for mount in &record.mounts {
            let (source, read_only) = self.mount_source(mount, whose, &mut mounted.passed)?;
            mounted.mounts.push(Mount {
                target: mount.target.clone(),
                source,
                read_only: mount.read_only || read_only,
            });
        }
        for (target, path) in &joined.files {
            if record.mounts.iter().any(|mount| mount.target == *target) {
                continue;
            }
            mounted.mounts.push(Mount {
                target: (*target).to_owned(),
                source: MountSource::Bind {
                    path: path.clone(),
                    subpath: None,
                    recursive: false,
                    writable_below: false,
                    propagation: spec::propagation(""),
                    ids: FileIds::Container,
                },
                // As Docker has it: what is read-only has no writable corner that nobody asked for.
                read_only: record.host_config.readonly_rootfs,
            });
        }
        Ok(mounted)
    }

    /// What is mounted, and whether it says itself that it is read-only. What is a mount already is added to `passed`.
    pub(super) fn mount_source(
        &self,
        mount: &MountRecord,
        whose: For<'_>,
        passed: &mut Vec<OwnedFd>,
    ) -> Result<(MountSource, bool)> {
        let bind = |path: PathBuf, subpath: Option<PathBuf>, ids: FileIds| MountSource::Bind {
            path,
            subpath,
            recursive: !mount.non_recursive,
            writable_below: mount.read_only_top,
            propagation: spec::propagation(&mount.propagation),
            ids,
        };
        match &mount.source {
            Recorded::Bind { path, create } => {
                let request = BindRequest {
                    path: PathBuf::from(path),
                    create: *create,
                };
                let path = request.resolve().map_err(volume_error)?.path;
                Ok((bind(path, None, FileIds::Machine), false))
            }
            Recorded::Volume { name, subpath, .. } => {
                let subpath = (!subpath.is_empty()).then(|| PathBuf::from(subpath));
                let volume = self.volumes.inspect(name).map_err(volume_error)?;
                let source = self.volumes.mount_source(name, subpath.as_deref());
                match source.map_err(volume_error)? {
                    // One that stands for a directory of the machine is as a bind mount of it: its root's files stay its root's.
                    VolumeSource::Bind {
                        path,
                        subpath,
                        read_only,
                    } => {
                        let ids = if volume.driver_opts.is_empty() {
                            FileIds::Container
                        } else {
                            FileIds::Machine
                        };
                        Ok((bind(path, subpath, ids), read_only))
                    }
                    VolumeSource::FileSystem {
                        kind,
                        device,
                        options,
                    } => Ok((of_file_system(kind, device, options), false)),
                }
            }
            Recorded::Image { id, subpath, .. } => {
                passed.push(self.mount_image((id, subpath), whose)?);
                let index = passed.len() - 1;
                Ok((MountSource::Passed { index }, true))
            }
            Recorded::Tmpfs {
                size,
                mode,
                options,
            } => Ok((
                MountSource::Tmpfs {
                    size: Some(*size).filter(|size| *size > 0),
                    mode: Some(*mode).filter(|mode| *mode > 0),
                    options: options.clone(),
                },
                false,
            )),
        }
    }

    /// An image's files, read-only, or a part of them; mounted nowhere.
    fn mount_image(&self, (id, subpath): (&str, &str), whose: For<'_>) -> Result<OwnedFd> {
        let image = self.images.resolve(id).map_err(image_error)?;
        let cannot = |error: &dyn std::error::Error| {
            let why = hoist_api::error::chain(error);
            let message = format!("cannot mount image {id}: {why}");
            ApiError::new(ErrorKind::Internal, message)
        };
        let empty = self.images.layers().empty();
        if subpath.is_empty() && whose.namespace.is_none() {
            return whole(&image.layers, &empty).map_err(|error| cannot(&error));
        }
        let place = self
            .config
            .container_state(whose.record.id.as_str())
            .join("image");
        store::make_directory(&place).map_err(|error| internal(&error))?;
        let apart = run_apart(|| -> Result<OwnedFd> {
            let layers = match whose.namespace {
                Some(namespace) => shown_with_ids(&image.layers, namespace, &place),
                None => Ok(image.layers.clone()),
            };
            let layers = layers.map_err(|error| cannot(&error))?;
            let mounted = whole(&layers, &empty).map_err(|error| cannot(&error))?;
            if subpath.is_empty() {
                return Ok(mounted);
            }
            part(&mounted, Path::new(subpath), &place).map_err(|error| match &error {
                // As it is with a volume's.
                PartError::Subpath(why) => ApiError::bad_request(format!(
                    "cannot use {subpath:?} of image {id}: {}",
                    hoist_api::error::chain(why)
                )),
                PartError::Mount(_) => cannot(&error),
            })
        });
        apart.map_err(|error| internal(&error))?
    }
}

/// All of a stack of layers. One that is alone is given an empty one, since an overlay wants two.
fn whole(layers: &[PathBuf], empty: &Path) -> std::result::Result<OwnedFd, impl std::error::Error> {
    match layers {
        [] => tree::mount(&[empty.to_owned(), empty.to_owned()], None),
        [only] => tree::mount(&[empty.to_owned(), only.clone()], None),
        layers => tree::mount(layers, None),
    }
}

/// Layers as they are seen with a user namespace's ids, at a place that only this thread sees.
fn shown_with_ids(
    layers: &[PathBuf],
    namespace: &OwnedFd,
    place: &Path,
) -> std::io::Result<Vec<PathBuf>> {
    let options = CString::new("mode=755").unwrap_or_default();
    mount(
        "tmpfs",
        place,
        "tmpfs",
        MountFlags::empty(),
        Some(options.as_c_str()),
    )?;
    let show = |(index, layer): (usize, &PathBuf)| {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(rustix::fs::CWD, layer, flags)?;
        map_ids(tree.as_fd(), namespace.as_fd())?;
        let shown = place.join(index.to_string());
        std::fs::create_dir(&shown)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&tree, "", rustix::fs::CWD, &shown, flags)?;
        Ok(shown)
    };
    layers.iter().enumerate().map(show).collect()
}

#[derive(Debug, thiserror::Error)]
enum PartError {
    #[error(transparent)]
    Subpath(SubpathError),
    #[error(transparent)]
    Mount(std::io::Error),
}

/// A part of what is mounted nowhere. Many kernels clone only from what has a place (before 6.15).
fn part(whole: &OwnedFd, subpath: &Path, place: &Path) -> std::result::Result<OwnedFd, PartError> {
    let failed = |errno: rustix::io::Errno| PartError::Mount(errno.into());
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(whole, "", rustix::fs::CWD, place, flags).map_err(failed)?;
    let root = Root::open(place).map_err(|error| PartError::Mount(error.into()))?;
    let found = root
        .open_within(subpath, OFlags::PATH, Mode::empty())
        .map_err(|error| PartError::Subpath(SubpathError::new(subpath, error)))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(&found, "", flags).map_err(failed)
}

/// What a volume of a type of its own mounts: memory, or what a device or server has.
fn of_file_system(kind: String, device: String, options: Vec<String>) -> MountSource {
    if kind == "tmpfs" {
        return MountSource::Tmpfs {
            size: None,
            mode: None,
            options,
        };
    }
    MountSource::FileSystem {
        kind,
        device,
        options,
    }
}
