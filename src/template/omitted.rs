//! What Docker's command line finds in objects although the wire leaves it out or says null: its Go types have the field, with nothing in it.

use serde_json::{Value, json};

/// Texts that are left out where they are empty.
const TEXTS: [&str; 13] = [
    "Author",
    "Comment",
    "CreatedAt",
    "DockerVersion",
    "Driver",
    "Isolation",
    "MacAddress",
    "Name",
    "OsVersion",
    "Parent",
    "Runtime",
    "StopSignal",
    "Variant",
];
/// Maps.
const MAPS: [&str; 15] = [
    "Annotations",
    "Data",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "LogOpts",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Status",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];
/// Pointers.
const POINTERS: [&str; 18] = [
    "BindOptions",
    "ClusterOptions",
    "ClusterVolume",
    "DriverConfig",
    "GraphDriver",
    "Health",
    "Healthcheck",
    "IPAMConfig",
    "ImageManifestDescriptor",
    "ImageOptions",
    "Init",
    "MemorySwappiness",
    "PidsLimit",
    "SizeRootFs",
    "SizeRw",
    "StopTimeout",
    "TmpfsOptions",
    "VolumeOptions",
];

/// The value of a field that is left out; none when there is no such field.
pub(super) fn value_of(field: &str) -> Option<Value> {
    Some(match field {
        field if TEXTS.contains(&field) => "".into(),
        field if MAPS.contains(&field) || POINTERS.contains(&field) => Value::Null,
        "UsageData" | "OnBuild" | "Shell" | "Mounts" | "Services" | "Peers" => Value::Null,
        "ArgsEscaped" | "NetworkDisabled" => json!(false),
        _ => return None,
    })
}

/// How nothing is printed in a field.
pub(super) fn printed(field: &str) -> &'static str {
    match field {
        field if MAPS.contains(&field) => "map[]",
        field if POINTERS.contains(&field) || field == "UsageData" => "<nil>",
        _ => "[]",
    }
}
