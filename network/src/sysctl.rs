//! Kernel settings under `/proc/sys/net`, in the network namespace of the calling thread.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A setting could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// The write failed.
    #[error("write {value:?} to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A name that does not stay under `net.`.
    #[error("sysctl {name:?} is not a setting of a network namespace")]
    NotNetwork {
        /// As given.
        name: String,
    },
}

/// What a write found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The value was already there.
    None,
    /// The value was written.
    Written,
}

/// Writes a setting below `/proc/sys/net`, for instance `ipv4/ip_forward`, unless it has the value already.
///
/// # Errors
/// [`SysctlError::Write`].
pub fn write(name: &str, value: &str) -> Result<Change, SysctlError> {
    let path = Path::new("/proc/sys/net").join(name);
    if fs::read_to_string(&path).is_ok_and(|current| current.trim() == value) {
        return Ok(Change::None);
    }
    match fs::write(&path, value) {
        Ok(()) => Ok(Change::Written),
        Err(source) => Err(SysctlError::Write {
            path,
            value: value.to_owned(),
            source,
        }),
    }
}

/// Writes a setting of a link made a moment ago, without looking at it first. A setting that the kernel does not have is
/// passed over (no IPv6, for instance).
pub(crate) fn set_if_present(name: &str, value: &str) -> Result<(), SysctlError> {
    let path = Path::new("/proc/sys/net").join(name);
    match fs::write(&path, value) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(SysctlError::Write {
            path,
            value: value.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Like [`write()`], but a setting that the kernel does not have counts as unchanged (no IPv6, for instance).
///
/// # Errors
/// [`SysctlError::Write`] for any other failure.
pub fn write_if_present(name: &str, value: &str) -> Result<Change, SysctlError> {
    match write(name, value) {
        Err(SysctlError::Write { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(Change::None)
        }
        other => other,
    }
}

/// Reads a setting below `/proc/sys/net`; none when it is not there.
pub fn read(name: &str) -> Option<String> {
    fs::read_to_string(Path::new("/proc/sys/net").join(name))
        .ok()
        .map(|value| value.trim().to_owned())
}

/// Writes a setting by its dotted name, for instance `net.core.somaxconn` (dots or slashes, as sysctl(8)).
/// Only `net.` names are accepted: the others do not belong to a network namespace.
///
/// # Errors
/// [`SysctlError`].
pub fn write_dotted(name: &str, value: &str) -> Result<Change, SysctlError> {
    let not_network = || SysctlError::NotNetwork {
        name: name.to_owned(),
    };
    let rest = name
        .strip_prefix("net.")
        .or_else(|| name.strip_prefix("net/"))
        .ok_or_else(not_network)?;
    // With a slash as first separator, dots are part of names (interface names may hold dots).
    let path = if name.starts_with("net/") {
        rest.to_owned()
    } else {
        rest.replace('.', "/")
    };
    if path.split('/').any(|part| part.is_empty() || part == "..") {
        return Err(not_network());
    }
    write(&path, value)
}

/// Turns on forwarding of IPv4 packets between links, which every published port and every way out needs.
/// [`Change::Written`] tells that it was off: tell the user then.
///
/// # Errors
/// [`SysctlError::Write`].
pub fn enable_ipv4_forwarding() -> Result<Change, SysctlError> {
    write("ipv4/ip_forward", "1")
}

/// Turns on forwarding of IPv6 packets. The host's links that learn their route from router advertisements would
/// stop doing so: those with `accept_ra=1` get `accept_ra=2` first, so that the host keeps its route.
///
/// # Errors
/// [`SysctlError::Write`].
pub fn enable_ipv6_forwarding() -> Result<Change, SysctlError> {
    if read("ipv6/conf/all/forwarding").is_none_or(|value| value == "1") {
        return Ok(Change::None);
    }
    let links = fs::read_dir("/proc/sys/net/ipv6/conf")
        .into_iter()
        .flatten();
    for link in links.flatten() {
        let name = link.file_name();
        let Some(name) = name.to_str().filter(|name| *name != "all") else {
            continue;
        };
        let setting = format!("ipv6/conf/{name}/accept_ra");
        if read(&setting).as_deref() == Some("1") {
            write(&setting, "2")?;
        }
    }
    write("ipv6/conf/all/forwarding", "1")
}
