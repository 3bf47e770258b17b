//! The driver `local`: its options, and what they make of a volume.
//!
//! Without options a volume is a directory. With them it is what `mount -t <type> -o <o> <device>` would mount.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};

use hoist_kernel::error::KernelError;
use hoist_kernel::path::Root;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

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
            subpath: below(volume.name.as_str(), &volume.mountpoint, subpath)?,
            path: volume.mountpoint.clone(),
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
            subpath: below(volume.name.as_str(), &source.path, subpath)?,
            path: source.path,
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

/// A path below a volume, as it is without links. What is in a volume is a container's work: a link in it that leads out is refused, as
/// Docker does.
pub(crate) fn below(
    volume: &str,
    base: &Path,
    subpath: Option<&Path>,
) -> Result<Option<PathBuf>, VolumeError> {
    let Some(subpath) = subpath.filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(None);
    };
    let failed = |why: SubpathError| VolumeError::Subpath {
        name: volume.to_owned(),
        subpath: subpath.to_path_buf(),
        source: std::io::Error::other(why),
    };
    let root = Root::open(base).map_err(|error| failed(SubpathError::new(subpath, error)))?;
    let found = root
        .open_within(subpath, OFlags::PATH, Mode::empty())
        .map_err(|error| failed(SubpathError::new(subpath, error)))?;
    let name = |descriptor: std::os::fd::BorrowedFd<'_>| {
        std::fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
            .map_err(|source| failed(SubpathError::Inaccessible(subpath.to_owned(), source)))
    };
    let (base, found) = (name(root.as_directory_fd())?, name(found.as_fd())?);
    match found.strip_prefix(&base) {
        Ok(found) => Ok(Some(found.to_owned()).filter(|path| !path.as_os_str().is_empty())),
        Err(_) => Err(failed(SubpathError::LeadsOut)),
    }
}

/// Why there is no such path below a volume or an image, in Docker's words.
#[derive(Debug, thiserror::Error)]
pub enum SubpathError {
    /// A link on the way, or `..`.
    #[error("path concatenation escapes the base directory")]
    LeadsOut,
    /// It is not there. Docker's command line looks for these words, and leaves with 127.
    #[error("cannot access path {}: no such file or directory", .0.display())]
    Missing(PathBuf),
    /// The kernel refuses it.
    #[error("cannot access path {}", .0.display())]
    Inaccessible(PathBuf, #[source] std::io::Error),
}

impl SubpathError {
    /// By what the kernel said of a lookup that must not leave its root.
    pub fn new(path: &Path, error: KernelError) -> Self {
        match error.errno {
            Errno::XDEV => Self::LeadsOut,
            Errno::NOENT => Self::Missing(path.to_owned()),
            errno => Self::Inaccessible(path.to_owned(), errno.into()),
        }
    }
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
                subpath: None,
                read_only: false,
            }),
        );
        check(
            &[("type", "none"), ("o", "bind,ro"), ("device", "/etc")],
            Ok(MountSource::Bind {
                path: "/etc".into(),
                subpath: None,
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
