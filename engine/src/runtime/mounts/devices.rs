//! The nodes and links of `/dev`.

use std::ffi::CStr;
use std::path::Path;

use hoist_kernel::init::program::{DeviceNode, Op, Target};

use super::super::lower::{Builder, LowerError, c_path, c_string};
use super::super::spec::{Device, DeviceKind};
use super::{KERNEL_LINKS, target};

const CHARACTER: u32 = 0o020_000;
const BLOCK: u32 = 0o060_000;

const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("dev/null", 1, 3),
    ("dev/zero", 1, 5),
    ("dev/full", 1, 7),
    ("dev/random", 1, 8),
    ("dev/urandom", 1, 9),
    ("dev/tty", 5, 0),
];
const LINKS: [(&CStr, &CStr); 6] = [
    (c"/proc/self/fd", c"dev/fd"),
    (c"/proc/self/fd/0", c"dev/stdin"),
    (c"/proc/self/fd/1", c"dev/stdout"),
    (c"/proc/self/fd/2", c"dev/stderr"),
    (c"pts/ptmx", c"dev/ptmx"),
    (c"/proc/kcore", c"dev/core"),
];

pub(super) fn add_devices(builder: &mut Builder<'_>) -> Result<(), LowerError> {
    for (path, major, minor) in DEFAULT_DEVICES {
        let node = DeviceNode {
            path: c_string("a path", path)?,
            parents: Vec::new(),
            mode: CHARACTER | 0o666,
            device: (major, minor),
            user: 0,
            group: 0,
        };
        let source = Path::new("/").join(path);
        add_device(builder, node, &source)?;
    }
    for device in &builder.spec.devices {
        let node = device_node(device)?;
        add_device(builder, node, &device.source)?;
    }
    for (to, path) in LINKS {
        builder.inside(Op::MakeLink {
            target: to.to_owned(),
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// Device nodes cannot be made in a user namespace (mknod(2)): there the machine's own are bound.
fn add_device(
    builder: &mut Builder<'_>,
    node: DeviceNode,
    source: &Path,
) -> Result<(), LowerError> {
    if builder.user_namespace.is_none() {
        builder.inside(Op::MakeDevice(node));
        return Ok(());
    }
    let slot = builder.slot();
    builder.before(Op::CloneTree {
        slot,
        path: c_path(source)?,
        below: None,
        recursive: false,
    });
    builder.inside(Op::Attach {
        slot,
        target: Target {
            path: node.path,
            parents: node.parents,
            links: KERNEL_LINKS,
        },
    });
    Ok(())
}

fn device_node(device: &Device) -> Result<DeviceNode, LowerError> {
    let kind = match device.kind {
        DeviceKind::Character => CHARACTER,
        DeviceKind::Block => BLOCK,
    };
    let Target { path, parents, .. } = target(&device.path, KERNEL_LINKS)?;
    Ok(DeviceNode {
        path,
        parents,
        mode: kind | device.mode & 0o7777,
        device: (device.major, device.minor),
        user: device.user,
        group: device.group,
    })
}
