//! Mounts: what was asked for in Docker's several forms, resolved once; and the volumes behind them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hoist_api::container::ContainerConfig;
use hoist_api::error::{ApiError, Result};
use hoist_api::host_config::{HostConfig, Mount};
use hoist_api::inspect::MountPoint;
use hoist_volumes::{CreateVolume, Populate, VolumeName, VolumeUsers};

use super::{Service, image_error, volume_error};
use crate::image::Image;
use crate::store::container::{ContainerRecord, MountRecord, MountSource};

const PROPAGATIONS: &[&str] = &[
    "private", "rprivate", "shared", "rshared", "slave", "rslave",
];

/// All mounts of a new container. Later forms do not replace earlier ones: a target asked for twice is refused,
/// but the image's own volumes give way.
pub(super) fn resolve(
    config: &ContainerConfig,
    host: &HostConfig,
    from_others: Vec<MountRecord>,
) -> Result<Vec<MountRecord>> {
    let mut found: BTreeMap<String, MountRecord> = BTreeMap::new();
    let mut asked = Vec::new();
    for bind in &host.binds {
        asked.push(from_bind(bind)?);
    }
    for mount in &host.mounts {
        asked.push(from_mount(mount)?);
    }
    for (target, options) in &host.tmpfs {
        asked.push(from_tmpfs(target, options)?);
    }
    for mount in asked {
        let target = mount.target.clone();
        if found.insert(target.clone(), mount).is_some() {
            return Err(ApiError::bad_request(format!(
                "Duplicate mount point: {target}"
            )));
        }
    }
    for mount in from_others {
        found.entry(mount.target.clone()).or_insert(mount);
    }
    for path in config.volumes.iter().flat_map(BTreeMap::keys) {
        let target = clean_target(path)?;
        found
            .entry(target.clone())
            .or_insert_with(|| volume(target, String::new()));
    }
    Ok(found.into_values().collect())
}

fn volume(target: String, name: String) -> MountRecord {
    MountRecord {
        target,
        source: MountSource::Volume {
            anonymous: name.is_empty(),
            name,
            no_copy: false,
            subpath: String::new(),
        },
        read_only: false,
        mode: String::new(),
        propagation: String::new(),
        non_recursive: false,
        read_only_top: false,
    }
}

/// An absolute path without `.`, `..` and double slashes; not the root.
fn clean_target(path: &str) -> Result<String> {
    if !path.starts_with('/') {
        return Err(ApiError::bad_request(format!(
            "invalid mount path: '{path}' mount path must be absolute"
        )));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err(ApiError::bad_request(
            "invalid volume specification: destination can't be '/'",
        ));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// `source:target[:options]`, or a target alone for an anonymous volume.
fn from_bind(bind: &str) -> Result<MountRecord> {
    let parts: Vec<&str> = bind.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => return Ok(volume(clean_target(target)?, String::new())),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => {
            return Err(ApiError::bad_request(format!(
                "invalid volume specification: '{bind}'"
            )));
        }
    };
    if source.is_empty() {
        return Err(ApiError::bad_request(format!(
            "invalid volume specification: '{bind}'"
        )));
    }
    let target = clean_target(target)?;
    let mut mount = if source.starts_with('/') {
        let source = MountSource::Bind {
            path: source.to_owned(),
            create: true,
        };
        MountRecord {
            source,
            ..volume(target, String::new())
        }
    } else {
        source.parse::<VolumeName>().map_err(volume_error)?;
        volume(target, source.to_owned())
    };
    options.clone_into(&mut mount.mode);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match (option, &mut mount.source) {
            ("ro" | "readonly", _) => mount.read_only = true,
            ("nocopy", MountSource::Volume { no_copy, .. }) => *no_copy = true,
            ("rw" | "z" | "Z" | "consistent" | "cached" | "delegated" | "rbind", _) => {}
            ("bind", _) => mount.non_recursive = true,
            (word, MountSource::Bind { .. }) if PROPAGATIONS.contains(&word) => {
                word.clone_into(&mut mount.propagation);
            }
            (word, MountSource::Volume { .. }) if PROPAGATIONS.contains(&word) => {
                return Err(ApiError::bad_request(
                    "invalid mount config for type \"volume\": field BindOptions must not be specified",
                ));
            }
            (word, _) => return Err(ApiError::bad_request(format!("invalid mode: {word}"))),
        }
    }
    Ok(mount)
}

fn from_mount(mount: &Mount) -> Result<MountRecord> {
    let invalid = |reason: &str| {
        ApiError::bad_request(format!(
            "invalid mount config for type \"{}\": {reason}",
            mount.kind
        ))
    };
    if mount.target.is_empty() {
        return Err(invalid("field Target must not be empty"));
    }
    let mut record = volume(clean_target(&mount.target)?, String::new());
    record.read_only = mount.read_only;
    foreign_options(mount).map_err(|reason| invalid(&reason))?;
    record.source = match mount.kind.as_str() {
        "bind" => bind_source(mount, &mut record, &invalid)?,
        "volume" => volume_source(mount, &invalid)?,
        "image" => {
            if mount.source.is_empty() {
                return Err(invalid("field Source must not be empty"));
            }
            let options = mount.image_options.clone().unwrap_or_default();
            record.read_only = true;
            MountSource::Image {
                id: String::new(),
                name: mount.source.clone(),
                subpath: clean_subpath(&options.subpath).map_err(invalid)?,
            }
        }
        "cluster" => {
            return Err(invalid(
                "ClusterOptions are for a swarm, which this engine is not in",
            ));
        }
        "tmpfs" => {
            if !mount.source.is_empty() {
                return Err(invalid("field Source must not be specified"));
            }
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            let size =
                u64::try_from(options.size_bytes).map_err(|_| invalid("the size is negative"))?;
            MountSource::Tmpfs {
                size,
                mode: options.mode,
                options: options.options.iter().map(|pair| pair.join("=")).collect(),
            }
        }
        other => {
            return Err(ApiError::bad_request(format!(
                "invalid mount config: mount type unknown: \"{other}\""
            )));
        }
    };
    Ok(record)
}

fn bind_source(
    mount: &Mount,
    record: &mut MountRecord,
    invalid: &dyn Fn(&str) -> ApiError,
) -> Result<MountSource> {
    if mount.source.is_empty() {
        return Err(invalid("field Source must not be empty"));
    }
    let options = mount.bind_options.clone().unwrap_or_default();
    record.propagation = options.propagation;
    record.non_recursive = options.non_recursive;
    if options.read_only_non_recursive && options.read_only_force_recursive {
        return Err(invalid(
            "ReadOnlyNonRecursive and ReadOnlyForceRecursive contradict each other",
        ));
    }
    record.read_only_top = options.read_only_non_recursive;
    let source = Path::new(&mount.source);
    if source.is_absolute() && !options.create_mountpoint && !source.exists() {
        return Err(invalid(&format!(
            "bind source path does not exist: {}",
            mount.source
        )));
    }
    Ok(MountSource::Bind {
        path: mount.source.clone(),
        create: options.create_mountpoint,
    })
}

/// Options of one type in a mount of another.
fn foreign_options(mount: &Mount) -> std::result::Result<(), String> {
    for (option, is_given, kind) in [
        ("BindOptions", mount.bind_options.is_some(), "bind"),
        ("VolumeOptions", mount.volume_options.is_some(), "volume"),
        ("ImageOptions", mount.image_options.is_some(), "image"),
        ("ClusterOptions", mount.cluster_options.is_some(), "cluster"),
    ] {
        // As lenient as Docker, which takes options of volumes in mounts of memory.
        let is_taken = kind == mount.kind || (kind, mount.kind.as_str()) == ("volume", "tmpfs");
        if is_given && !is_taken {
            return Err(format!("field {option} must not be specified"));
        }
    }
    Ok(())
}

fn volume_source(mount: &Mount, invalid: &dyn Fn(&str) -> ApiError) -> Result<MountSource> {
    let options = mount.volume_options.clone().unwrap_or_default();
    let subpath = clean_subpath(&options.subpath).map_err(invalid)?;
    if mount.source.is_empty() {
        if !options.subpath.is_empty() {
            return Err(invalid("must not set Subpath when using anonymous volumes"));
        }
        if mount.read_only {
            return Err(invalid(
                "must not set ReadOnly mode when using anonymous volumes",
            ));
        }
    } else {
        mount.source.parse::<VolumeName>().map_err(volume_error)?;
    }
    Ok(MountSource::Volume {
        name: mount.source.clone(),
        anonymous: mount.source.is_empty(),
        no_copy: options.no_copy,
        subpath,
    })
}

/// A path below a volume or an image, without `.` and `..`: links are looked at when it is mounted.
fn clean_subpath(path: &str) -> std::result::Result<String, &'static str> {
    let refusal = "subpath must be a relative path within the volume";
    let mut parts: Vec<&str> = Vec::new();
    if path.starts_with('/') {
        return Err(refusal);
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or(refusal)?),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Options of `mount -t tmpfs`: `size=64m,mode=1777,noexec`.
fn from_tmpfs(target: &str, text: &str) -> Result<MountRecord> {
    let mut record = volume(clean_target(target)?, String::new());
    let (mut size, mut mode, mut options) = (0, 0, Vec::new());
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let invalid =
            || ApiError::bad_request(format!("invalid tmpfs option \"{option}\" for {target}"));
        match option.split_once('=') {
            Some(("size", value)) => size = bytes(value).ok_or_else(invalid)?,
            Some(("mode", value)) => mode = u32::from_str_radix(value, 8).map_err(|_| invalid())?,
            _ if option == "ro" => record.read_only = true,
            _ => options.push(option.to_owned()),
        }
    }
    text.clone_into(&mut record.mode);
    record.source = MountSource::Tmpfs {
        size,
        mode,
        options,
    };
    Ok(record)
}

/// `64m`, `1g`, `4096`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match &lower[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl Service {
    /// Finds the images that are to be mounted; from then on they are known by their ids.
    pub(super) fn find_images(&self, mounts: &mut [MountRecord]) -> Result<()> {
        for mount in mounts {
            if let MountSource::Image { id, name, .. } = &mut mount.source
                && id.is_empty()
            {
                // No 404: clients would take it for the container's own image, and pull that.
                let image = self.images.resolve(name).map_err(|error| {
                    let told = image_error(error);
                    ApiError::bad_request(format!(
                        "invalid mount config for type \"image\": {}",
                        told.message
                    ))
                    .with_hint("pull the image first")
                })?;
                *id = image.id.to_string();
            }
        }
        Ok(())
    }

    /// Makes the volumes that do not exist and fills new ones from the image.
    pub(super) fn create_volumes(&self, record: &mut ContainerRecord, image: &Image) -> Result<()> {
        let asked = std::mem::take(&mut record.host_config.mounts);
        let made = self.create_volumes_as(&asked, &mut record.mounts, image);
        record.host_config.mounts = asked;
        made
    }

    fn create_volumes_as(
        &self,
        asked: &[Mount],
        mounts: &mut [MountRecord],
        image: &Image,
    ) -> Result<()> {
        for mount in mounts {
            let MountSource::Volume {
                name,
                no_copy,
                subpath,
                ..
            } = &mut mount.source
            else {
                continue;
            };
            let wanted = if name.is_empty() {
                None
            } else {
                Some(name.parse().map_err(volume_error)?)
            };
            let existed = wanted
                .as_ref()
                .is_some_and(|name: &VolumeName| self.volumes.inspect(name.as_str()).is_ok());
            let asked = asked.iter().find(|asked| asked.target == mount.target);
            let options = asked.and_then(|asked| asked.volume_options.clone());
            let options = options.unwrap_or_default();
            let driver = options.driver_config.unwrap_or_default();
            let request = CreateVolume {
                name: wanted,
                driver: driver.name,
                driver_opts: driver.options,
                labels: options.labels,
            };
            let volume = if existed {
                self.volumes.inspect(name)
            } else {
                self.volumes.create(request)
            }
            .map_err(volume_error)?;
            *name = volume.name.to_string();
            if !*no_copy {
                let populate = Populate {
                    layers: image.layers.clone(),
                    path: PathBuf::from(&mount.target),
                    subpath: (!subpath.is_empty()).then(|| PathBuf::from(&*subpath)),
                };
                self.volumes
                    .populate(name, &populate)
                    .map_err(volume_error)?;
            }
            if !existed {
                let actor =
                    crate::events::actor(name, &volume.labels, [("driver", "local".to_owned())]);
                self.events.publish("volume", "create", actor);
            }
        }
        Ok(())
    }

    /// Removes a container's anonymous volumes that no other container uses.
    pub(super) fn remove_anonymous(&self, record: &ContainerRecord) {
        let users = self.volume_users(Some(record.id.as_str()));
        for mount in &record.mounts {
            let MountSource::Volume {
                name,
                anonymous: true,
                ..
            } = &mount.source
            else {
                continue;
            };
            if name.is_empty() {
                continue;
            }
            match self.volumes.remove(name, &users) {
                Ok(()) => {
                    let actor = crate::events::actor(
                        name,
                        &BTreeMap::new(),
                        [("driver", "local".to_owned())],
                    );
                    self.events.publish("volume", "destroy", actor);
                }
                Err(
                    hoist_volumes::VolumeError::NotFound(_)
                    | hoist_volumes::VolumeError::InUse { .. },
                ) => {}
                Err(error) => {
                    tracing::warn!(volume = %name, %error, "cannot remove an anonymous volume")
                }
            }
        }
    }

    /// Which containers use which volumes, but for one container.
    pub(super) fn volume_users(&self, except: Option<&str>) -> VolumeUsers {
        let mut users = VolumeUsers::new();
        for container in self.containers.all() {
            if Some(container.id()) == except {
                continue;
            }
            for name in container.record().volumes() {
                if let Ok(name) = name.parse::<VolumeName>() {
                    users
                        .entry(name)
                        .or_default()
                        .push(container.id().to_owned());
                }
            }
        }
        users
    }

    /// The mounts as inspect and lists show them; tmpfs in the short form is not among them, as with Docker.
    pub(super) fn mount_points(&self, record: &ContainerRecord) -> Vec<MountPoint> {
        record
            .mounts
            .iter()
            .filter_map(|mount| self.mount_point(record, mount))
            .collect()
    }

    fn mount_point(&self, record: &ContainerRecord, mount: &MountRecord) -> Option<MountPoint> {
        let mut point = MountPoint {
            destination: mount.target.clone(),
            mode: mount.mode.clone(),
            rw: !mount.read_only,
            propagation: mount.propagation.clone(),
            ..MountPoint::default()
        };
        match &mount.source {
            MountSource::Bind { path, .. } => {
                point.kind = "bind".to_owned();
                point.source.clone_from(path);
                if point.propagation.is_empty() {
                    point.propagation = "rprivate".to_owned();
                }
            }
            MountSource::Volume {
                name, anonymous, ..
            } => {
                point.kind = "volume".to_owned();
                point.name.clone_from(name);
                point.driver = "local".to_owned();
                point.source = self
                    .config
                    .root
                    .join("volumes")
                    .join(name)
                    .join("_data")
                    .to_string_lossy()
                    .into_owned();
                let asked = &record.config.volumes;
                let of_image = asked
                    .as_ref()
                    .is_some_and(|all| all.contains_key(&mount.target));
                if point.mode.is_empty() && !(*anonymous && of_image) {
                    point.mode = "z".to_owned();
                }
            }
            MountSource::Image { id, name, .. } => {
                point.kind = "image".to_owned();
                point.name.clone_from(name);
                point.source.clone_from(id);
                point.propagation = "rprivate".to_owned();
            }
            MountSource::Tmpfs { .. } if record.host_config.tmpfs.contains_key(&mount.target) => {
                return None;
            }
            MountSource::Tmpfs { .. } => point.kind = "tmpfs".to_owned(),
        }
        Some(point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(binds: &[&str], expected: std::result::Result<&[&str], &str>) {
        let host = HostConfig {
            binds: binds.iter().map(|bind| (*bind).to_owned()).collect(),
            ..Default::default()
        };
        let described = resolve(&ContainerConfig::default(), &host, Vec::new()).map(|mounts| {
            let describe = |mount: MountRecord| {
                let source = match mount.source {
                    MountSource::Bind { path, .. } => format!("bind {path}"),
                    MountSource::Volume { name, .. } => format!("volume {name}"),
                    MountSource::Image { name, .. } => format!("image {name}"),
                    MountSource::Tmpfs { .. } => "tmpfs".to_owned(),
                };
                format!(
                    "{source} {}{}",
                    mount.target,
                    if mount.read_only { " ro" } else { "" }
                )
            };
            mounts.into_iter().map(describe).collect::<Vec<_>>()
        });
        let expected = expected.map(|list| {
            list.iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        });
        assert_eq!(
            described.map_err(|error| error.message),
            expected.map_err(str::to_owned),
            "{binds:?}"
        );
    }

    #[test]
    fn binds_are_read() {
        check(&["/a:/b"], Ok(&["bind /a /b"]));
        check(&["data:/b//c/../d:ro"], Ok(&["volume data /b/d ro"]));
        check(&["/v"], Ok(&["volume  /v"]));
        check(&["/a:/b:rslave,z"], Ok(&["bind /a /b"]));
        check(
            &["a:b"],
            Err("invalid mount path: 'b' mount path must be absolute"),
        );
        check(
            &["/a:/"],
            Err("invalid volume specification: destination can't be '/'"),
        );
        check(&["/a:/b:odd"], Err("invalid mode: odd"));
        check(&["/a:/b", "/c:/b/"], Err("Duplicate mount point: /b"));
    }

    #[test]
    fn the_images_volumes_give_way() {
        let config = ContainerConfig {
            volumes: Some(BTreeMap::from([
                ("/a".to_owned(), Default::default()),
                ("/b".to_owned(), Default::default()),
            ])),
            ..Default::default()
        };
        let host = HostConfig {
            binds: vec!["data:/a".to_owned()],
            ..Default::default()
        };
        let mounts = resolve(&config, &host, Vec::new()).unwrap();
        let anonymous: Vec<bool> = mounts
            .iter()
            .map(|mount| {
                matches!(
                    mount.source,
                    MountSource::Volume {
                        anonymous: true,
                        ..
                    }
                )
            })
            .collect();
        assert_eq!(anonymous, [false, true]);
    }

    #[test]
    fn tmpfs_options_are_read() {
        let mount = from_tmpfs("/t", "size=64m,mode=700,noexec,ro").unwrap();
        assert!(mount.read_only);
        assert_eq!(
            mount.source,
            MountSource::Tmpfs {
                size: 64 << 20,
                mode: 0o700,
                options: vec!["noexec".to_owned()]
            }
        );
        assert!(from_tmpfs("/t", "size=much").is_err());
    }
}
