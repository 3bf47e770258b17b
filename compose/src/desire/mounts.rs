//! Volumes, binds, memory file systems, and files of secrets and configs.
//!
//! The short form of the API (`Binds`) is used where it means the same, because it creates a missing host
//! directory as Docker Compose's users expect; the long form where an option needs it.

use std::collections::BTreeMap;

use hoist_api::container::ContainerCreate;
use hoist_api::host_config::{BindOptions, ImageOptions, Mount, TmpfsOptions, VolumeOptions};
use hoist_api::volume::VolumeCreate;

use crate::model::{self, MountType, Project, Service, Volume};

use super::files::{self, Source};
use super::{DesireError, DesiredVolume, hash, labels};

/// The mounts of a service, in the API's three places for them.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    pub(crate) binds: Vec<String>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) tmpfs: BTreeMap<String, String>,
}

/// How to create a named volume.
pub(crate) fn lower_volume(project: &str, key: &str, volume: &Volume) -> DesiredVolume {
    let config_hash = hash::of_volume(volume);
    let ours = [
        (labels::PROJECT, project),
        (labels::VOLUME, key),
        (labels::VERSION, labels::OUR_VERSION),
        (labels::CONFIG_HASH, config_hash.as_str()),
    ];
    let request = VolumeCreate {
        name: volume.name.clone(),
        driver: volume.driver.clone().unwrap_or_default(),
        driver_opts: volume
            .driver_opts
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        labels: labels::of_resource(&volume.labels, ours),
    };
    DesiredVolume {
        name: volume.name.clone(),
        external: volume.external,
        config_hash,
        request,
    }
}

/// Keys of the named volumes a service mounts.
pub(crate) fn volume_keys(service: &Service) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    let named = service
        .volumes
        .iter()
        .filter(|mount| mount.kind == MountType::Volume);
    for key in named
        .filter_map(|mount| mount.source.as_ref())
        .filter(|source| !source.is_empty())
    {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys
}

/// Paths that get an anonymous volume.
pub(crate) fn anonymous_targets(service: &Service) -> Vec<String> {
    let anonymous = service
        .volumes
        .iter()
        .filter(|mount| is_anonymous(mount) && is_plain_volume(mount));
    anonymous.map(|mount| mount.target.clone()).collect()
}

fn is_anonymous(mount: &model::Mount) -> bool {
    mount.kind == MountType::Volume && mount.source.as_deref().unwrap_or_default().is_empty()
}

fn is_plain_volume(mount: &model::Mount) -> bool {
    let options = mount.volume.as_ref();
    !mount.read_only
        && options.is_none_or(|options| {
            !options.nocopy && options.subpath.is_none() && options.labels.is_empty()
        })
}

/// All mounts of a service.
pub(crate) fn lower(
    project: &Project,
    name: &str,
    service: &Service,
) -> Result<Mounts, DesireError> {
    let mut all = Mounts::default();
    for entry in &service.tmpfs {
        let (path, options) = entry.split_once(':').unwrap_or((entry, ""));
        all.tmpfs.insert(path.to_owned(), options.to_owned());
    }
    for mount in &service.volumes {
        add(&mut all, project, name, mount)?;
    }
    for reference in &service.secrets {
        if let Source::File(path) = files::secret(project, name, reference)? {
            all.mounts
                .push(read_only_file(path, files::secret_path(reference)));
        }
    }
    for reference in &service.configs {
        if let Source::File(path) = files::config(project, name, reference)? {
            all.mounts
                .push(read_only_file(path, files::config_path(reference)));
        }
    }
    Ok(all)
}

/// The long form, so that a missing file is an error instead of a new directory.
fn read_only_file(source: &str, target: String) -> Mount {
    Mount {
        kind: "bind".to_owned(),
        source: source.to_owned(),
        target,
        read_only: true,
        ..Mount::default()
    }
}

fn add(
    all: &mut Mounts,
    project: &Project,
    name: &str,
    mount: &model::Mount,
) -> Result<(), DesireError> {
    let source = mount.source.clone().unwrap_or_default();
    match mount.kind {
        MountType::Volume if is_anonymous(mount) => {
            if !is_plain_volume(mount) {
                all.mounts.push(volume_mount(String::new(), mount));
            }
        }
        MountType::Volume => {
            let Some(volume) = project.volumes.get(&source) else {
                return Err(DesireError::Undefined {
                    service: name.to_owned(),
                    kind: "volume",
                    name: source,
                });
            };
            let options = mount.volume.as_ref();
            if options.is_some_and(|options| options.subpath.is_some()) {
                all.mounts.push(volume_mount(volume.name.clone(), mount));
            } else {
                let nocopy = options.is_some_and(|options| options.nocopy);
                all.binds
                    .push(bind_text(&volume.name, mount, nocopy.then_some("nocopy")));
            }
        }
        MountType::Bind if fits_bind_text(&source, mount) => {
            all.binds.push(bind_text(&source, mount, None))
        }
        MountType::Bind => all.mounts.push(bind_mount(source, mount)),
        MountType::Tmpfs => all.mounts.push(tmpfs_mount(mount)),
        MountType::Image => {
            all.mounts.push(Mount {
                kind: "image".to_owned(),
                source,
                target: mount.target.clone(),
                read_only: mount.read_only,
                image_options: mount.image.as_ref().map(|image| ImageOptions {
                    subpath: image.subpath.clone().unwrap_or_default(),
                }),
                ..Mount::default()
            });
        }
        MountType::Cluster | MountType::Npipe => {
            let what =
                format!("a mount of type {:?} at {}", mount.kind, mount.target).to_lowercase();
            return Err(DesireError::Unsupported {
                service: name.to_owned(),
                what,
            });
        }
    }
    Ok(())
}

/// A colon in a path would be taken for a separator.
fn fits_bind_text(source: &str, mount: &model::Mount) -> bool {
    let plain = mount
        .bind
        .as_ref()
        .is_some_and(|bind| bind.create_host_path && bind.recursive.is_none());
    plain && !source.contains(':') && !mount.target.contains(':')
}

fn bind_text(source: &str, mount: &model::Mount, extra: Option<&str>) -> String {
    let bind = mount.bind.as_ref();
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }];
    options.extend(bind.and_then(|bind| bind.selinux.as_deref()));
    options.extend(bind.and_then(|bind| bind.propagation.as_deref()));
    options.extend(extra);
    format!("{source}:{}:{}", mount.target, options.join(","))
}

fn bind_mount(source: String, mount: &model::Mount) -> Mount {
    let options = mount.bind.as_ref().map(|bind| BindOptions {
        propagation: bind.propagation.clone().unwrap_or_default(),
        non_recursive: bind.recursive.as_deref() == Some("disabled"),
        create_mountpoint: bind.create_host_path,
        read_only_non_recursive: bind.recursive.as_deref() == Some("writable"),
        read_only_force_recursive: bind.recursive.as_deref() == Some("readonly"),
    });
    Mount {
        kind: "bind".to_owned(),
        source,
        target: mount.target.clone(),
        read_only: mount.read_only,
        consistency: mount.consistency.clone().unwrap_or_default(),
        bind_options: options,
        ..Mount::default()
    }
}

fn volume_mount(source: String, mount: &model::Mount) -> Mount {
    let options = mount.volume.as_ref().map(|volume| VolumeOptions {
        no_copy: volume.nocopy,
        labels: volume
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        subpath: volume.subpath.clone().unwrap_or_default(),
        ..VolumeOptions::default()
    });
    Mount {
        kind: "volume".to_owned(),
        source,
        target: mount.target.clone(),
        read_only: mount.read_only,
        volume_options: options,
        ..Mount::default()
    }
}

fn tmpfs_mount(mount: &model::Mount) -> Mount {
    let options = mount.tmpfs.as_ref().map(|tmpfs| TmpfsOptions {
        size_bytes: tmpfs.size.map_or(0, model::ByteSize::bytes),
        mode: tmpfs.mode.unwrap_or(0),
        ..TmpfsOptions::default()
    });
    Mount {
        kind: "tmpfs".to_owned(),
        target: mount.target.clone(),
        read_only: mount.read_only,
        tmpfs_options: options,
        ..Mount::default()
    }
}

/// Mounts the anonymous volumes of the replaced container in place of new ones, where the service
/// (or its image) still has nothing else at that path.
pub(crate) fn inherit(request: &mut ContainerCreate, inherited: &[(String, String)]) {
    for (name, target) in inherited {
        if is_mounted_otherwise(request, target) {
            continue;
        }
        if let Some(volumes) = &mut request.config.volumes {
            volumes.remove(target);
        }
        request
            .host_config
            .mounts
            .retain(|mount| mount.target != *target);
        request
            .host_config
            .binds
            .push(format!("{name}:{target}:rw"));
    }
    if request
        .config
        .volumes
        .as_ref()
        .is_some_and(BTreeMap::is_empty)
    {
        request.config.volumes = None;
    }
}

fn is_mounted_otherwise(request: &ContainerCreate, target: &str) -> bool {
    let host = &request.host_config;
    let bound = host
        .binds
        .iter()
        .any(|bind| bind.split(':').nth(1) == Some(target));
    let mounted = host.mounts.iter().any(|mount| {
        mount.target == target && !(mount.kind == "volume" && mount.source.is_empty())
    });
    bound || mounted || host.tmpfs.contains_key(target)
}
