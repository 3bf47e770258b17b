//! The machine's devices that a container is to have: those asked for, and for a privileged one all of them.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use hoist_api::error::{ApiError, Result};
use hoist_api::host_config::DeviceMapping;

use crate::runtime::spec::{Device, DeviceKind};
use crate::store::container::ContainerRecord;

const DEV: &str = "/dev";
/// Below `/dev`, what a container has of its own.
const OWN: &[&str] = &[
    "console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "tty", "urandom",
    "zero",
];
/// Directories below `/dev` deeper than this are no devices' any more.
const DEEPEST: usize = 8;

/// The devices of a container, as they are on this machine now.
pub(super) fn of(record: &ContainerRecord) -> Result<Vec<Device>> {
    let mut found = BTreeMap::new();
    if record.host_config.privileged && record.run.user_namespace.is_none() {
        let all = DeviceMapping {
            path_on_host: DEV.to_owned(),
            path_in_container: DEV.to_owned(),
            cgroup_permissions: "rwm".to_owned(),
        };
        add_below((Path::new(DEV), DEV), &all, &mut found, DEEPEST);
    }
    for mapping in &record.host_config.devices {
        add(mapping, &mut found)?;
    }
    Ok(found.into_values().collect())
}

fn add(mapping: &DeviceMapping, found: &mut BTreeMap<String, Device>) -> Result<()> {
    let path = Path::new(&mapping.path_on_host);
    let refuse = |why: &dyn std::fmt::Display| {
        ApiError::bad_request(format!(
            "error gathering device information while adding custom device \"{}\": {why}",
            path.display()
        ))
    };
    let metadata = fs::metadata(path).map_err(|error| refuse(&error))?;
    let inside = match mapping.path_in_container.as_str() {
        "" => mapping.path_on_host.as_str(),
        path => path,
    };
    if metadata.is_dir() {
        let before = found.len();
        add_below((path, inside), mapping, found, DEEPEST);
        if found.len() > before {
            return Ok(());
        }
    }
    let device = device(path.to_owned(), inside, (mapping, &metadata));
    let device = device.ok_or_else(|| refuse(&"not a device node"))?;
    found.insert(device.path.clone(), device);
    Ok(())
}

/// All device nodes of a directory. Links are left out, and so is what goes while it is looked at.
fn add_below(
    (directory, inside): (&Path, &str),
    mapping: &DeviceMapping,
    found: &mut BTreeMap<String, Device>,
    depth: usize,
) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata()) else {
            continue;
        };
        if directory == Path::new(DEV) && OWN.contains(&name.as_str()) {
            continue;
        }
        let target = format!("{}/{name}", inside.trim_end_matches('/'));
        if metadata.is_dir() && depth > 0 {
            add_below((&entry.path(), &target), mapping, found, depth - 1);
        } else if let Some(device) = device(entry.path(), &target, (mapping, &metadata)) {
            found.insert(device.path.clone(), device);
        }
    }
}

fn device(
    source: PathBuf,
    inside: &str,
    (mapping, metadata): (&DeviceMapping, &Metadata),
) -> Option<Device> {
    let kind = if metadata.file_type().is_block_device() {
        DeviceKind::Block
    } else if metadata.file_type().is_char_device() {
        DeviceKind::Character
    } else {
        return None;
    };
    let number = metadata.rdev();
    let access = match mapping.cgroup_permissions.as_str() {
        "" => "rwm",
        access => access,
    };
    Some(Device {
        source,
        path: inside.to_owned(),
        kind,
        major: rustix::fs::major(number),
        minor: rustix::fs::minor(number),
        mode: metadata.mode() & 0o7777,
        user: metadata.uid(),
        group: metadata.gid(),
        access: access.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::tests::record;

    fn paths(record: &ContainerRecord) -> Vec<String> {
        let devices = of(record).unwrap();
        devices.into_iter().map(|device| device.path).collect()
    }

    fn mapping(source: &str, inside: &str) -> DeviceMapping {
        DeviceMapping {
            path_on_host: source.to_owned(),
            path_in_container: inside.to_owned(),
            cgroup_permissions: String::new(),
        }
    }

    #[test]
    fn a_privileged_container_has_all_devices_but_those_of_its_own() {
        let mut record = record(1, "box");
        assert!(paths(&record).is_empty());
        record.host_config.privileged = true;
        let all = paths(&record);
        let own = ["/dev/null", "/dev/ptmx", "/dev/console"];
        assert!(!own.iter().any(|own| all.contains(&(*own).to_owned())));
        for directory in ["/dev/pts/", "/dev/fd/", "/dev/shm/"] {
            assert!(!all.iter().any(|path| path.starts_with(directory)));
        }
        let is_device = |name: &&str| {
            fs::symlink_metadata(Path::new(DEV).join(name))
                .is_ok_and(|found| found.file_type().is_char_device())
        };
        for name in ["kmsg", "fuse", "net/tun"]
            .iter()
            .filter(|name| is_device(name))
        {
            assert!(all.contains(&format!("/dev/{name}")), "{name}: {all:?}");
        }
    }

    #[test]
    fn a_directory_gives_the_devices_in_it() {
        let mut record = record(1, "box");
        record.host_config.devices = vec![mapping("/dev/null", "/dev/x")];
        assert_eq!(paths(&record), ["/dev/x"]);
        record.host_config.devices = vec![mapping("/dev", "/dev/all/")];
        let all = paths(&record);
        assert!(!all.is_empty() && all.iter().all(|path| path.starts_with("/dev/all/")));
        record.host_config.devices = vec![mapping("/etc", "")];
        assert!(
            of(&record)
                .unwrap_err()
                .message
                .ends_with("not a device node")
        );
    }
}
