//! The driver `local`: its options, and what they make of a volume.
//!
//! Without options a volume is a directory. With them it is what `mount -t <type> -o <o> <device>` would mount.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use hoist_kernel::path::Root;
use rustix::fs::{Mode, OFlags};

use crate::bind::BindRequest;
use crate::error::VolumeError;
use crate::store::{MountSource, Volume};

const TYPE: &str = "type";
const OPTIONS: &str = "o";
const DEVICE: &str = "device";

/// Checks a new volume's options: only known ones, and not one without those that it needs.
pub(crate) fn check_options(options: &BTreeMap<String, String>) -> Result<(), VolumeError> {
    if let Some(unknown) = options
        .keys()
        .find(|name| ![TYPE, OPTIONS, DEVICE].contains(&name.as_str()))
    {
        return Err(VolumeError::InvalidOption(format!(
            "invalid option: {unknown:?} (the driver \"local\" knows type, o and device)"
        )));
    }
    let has = |name: &str| options.get(name).is_some_and(|value| !value.is_empty());
    let missing = |name: &str| {
        Err(VolumeError::InvalidOption(format!(
            "missing required option: {name:?}"
        )))
    };
    match (has(TYPE), has(DEVICE)) {
        (true, false) => missing(DEVICE),
        (false, true) => missing(TYPE),
        (false, false) if has(OPTIONS) => missing(DEVICE),
        _ => Ok(()),
    }
}

/// What to mount for a volume, or for a path below it.
pub(crate) fn mount(volume: &Volume, subpath: Option<&Path>) -> Result<MountSource, VolumeError> {
    let option = |name: &str| volume.driver_opts.get(name).map_or("", String::as_str);
    let (kind, device) = (option(TYPE), option(DEVICE));
    let options: Vec<String> = option(OPTIONS)
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let is_bind = options.iter().any(|word| word == "bind" || word == "rbind");
    if device.is_empty() {
        return Ok(MountSource::Bind {
            path: below(volume, &volume.mountpoint, subpath)?,
            read_only: false,
        });
    }
    if is_bind {
        let source = BindRequest {
            path: PathBuf::from(device),
            create: false,
        }
        .resolve()?;
        let read_only = options.iter().any(|word| word == "ro");
        return Ok(MountSource::Bind {
            path: below(volume, &source.path, subpath)?,
            read_only,
        });
    }
    if let Some(subpath) = subpath {
        let source = std::io::Error::other(format!("a volume of type {kind} is mounted whole"));
        return Err(VolumeError::Subpath {
            name: volume.name.to_string(),
            subpath: subpath.to_path_buf(),
            source,
        });
    }
    let options = if kind.starts_with("nfs") {
        with_address(options)?
    } else {
        options
    };
    Ok(MountSource::FileSystem {
        kind: kind.to_owned(),
        device: device.to_owned(),
        options,
    })
}

/// A path below a volume. What is in a volume is a container's work, so links in it must not lead out: they are followed inside, and the
/// path where that ends is what is mounted.
fn below(volume: &Volume, base: &Path, subpath: Option<&Path>) -> Result<PathBuf, VolumeError> {
    let Some(subpath) = subpath.filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(base.to_path_buf());
    };
    let failed = |source: std::io::Error| VolumeError::Subpath {
        name: volume.name.to_string(),
        subpath: subpath.to_path_buf(),
        source,
    };
    if subpath.is_absolute()
        || subpath
            .components()
            .any(|part| part == std::path::Component::ParentDir)
    {
        return Err(failed(std::io::Error::other(
            "it must be a relative path without \"..\"",
        )));
    }
    let root = Root::open(base).map_err(|error| failed(error.into()))?;
    let found = root
        .open_beneath(subpath, OFlags::PATH, Mode::empty())
        .map_err(|error| failed(error.into()))?;
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found));
    std::fs::read_link(link).map_err(failed)
}

/// The kernel wants the server of an NFS mount as a number.
fn with_address(options: Vec<String>) -> Result<Vec<String>, VolumeError> {
    let resolve = |word: String| {
        let Some(host) = word
            .strip_prefix("addr=")
            .filter(|host| host.parse::<IpAddr>().is_err())
        else {
            return Ok(word);
        };
        let unknown = |why: String| {
            VolumeError::InvalidOption(format!(
                "cannot find the address of the NFS server {host}: {why}"
            ))
        };
        let mut addresses = (host, 0)
            .to_socket_addrs()
            .map_err(|error| unknown(error.to_string()))?;
        let address = addresses
            .next()
            .ok_or_else(|| unknown("it has none".to_owned()))?;
        Ok(format!("addr={}", address.ip()))
    };
    options.into_iter().map(resolve).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn check(pairs: &[(&str, &str)], expected: Result<MountSource, &str>) {
        let volume = Volume {
            name: "vol".parse().unwrap(),
            driver: "local".to_owned(),
            driver_opts: options(pairs),
            labels: BTreeMap::new(),
            created_at: String::new(),
            mountpoint: PathBuf::from("/v/_data"),
            anonymous: false,
        };
        let found = check_options(&volume.driver_opts)
            .and_then(|()| mount(&volume, None))
            .map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{pairs:?}");
    }

    fn file_system(kind: &str, device: &str, options: &[&str]) -> MountSource {
        MountSource::FileSystem {
            kind: kind.to_owned(),
            device: device.to_owned(),
            options: options.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    #[test]
    fn options_say_what_is_mounted() {
        check(
            &[],
            Ok(MountSource::Bind {
                path: "/v/_data".into(),
                read_only: false,
            }),
        );
        check(
            &[("type", "none"), ("o", "bind,ro"), ("device", "/etc")],
            Ok(MountSource::Bind {
                path: "/etc".into(),
                read_only: true,
            }),
        );
        check(
            &[
                ("type", "tmpfs"),
                ("device", "tmpfs"),
                ("o", "size=1m, uid=7"),
            ],
            Ok(file_system("tmpfs", "tmpfs", &["size=1m", "uid=7"])),
        );
        let nfs = [
            ("type", "nfs"),
            ("o", "addr=127.0.0.1,rw"),
            ("device", ":/export"),
        ];
        check(
            &nfs,
            Ok(file_system("nfs", ":/export", &["addr=127.0.0.1", "rw"])),
        );
    }

    #[test]
    fn bad_options_are_told() {
        check(
            &[("typ", "tmpfs")],
            Err("invalid option: \"typ\" (the driver \"local\" knows type, o and device)"),
        );
        check(
            &[("type", "tmpfs")],
            Err("missing required option: \"device\""),
        );
        check(
            &[("device", "/x")],
            Err("missing required option: \"type\""),
        );
        check(&[("o", "bind")], Err("missing required option: \"device\""));
        check(
            &[("type", "none"), ("o", "bind"), ("device", "/not/there")],
            Err("bind source path does not exist: /not/there"),
        );
    }
}
