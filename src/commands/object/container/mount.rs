//! `-v`, `--mount` and `--tmpfs`: what is mounted into a container.

use hoist_api::Empty;
use hoist_api::container::ContainerCreate;
use hoist_api::host_config::{BindOptions, DriverConfig, Mount, TmpfsOptions, VolumeOptions};
use hoist_compose::model::ByteSize;

use super::flags::MountFlags;
use crate::context::Context;
use crate::failure::Failure;

/// Adds the mounts to the request.
///
/// # Errors
/// One is not of its form.
pub(super) fn add(
    context: &Context,
    request: &mut ContainerCreate,
    flags: &MountFlags,
) -> Result<(), Failure> {
    volumes(context, request, &flags.volume)?;
    for text in &flags.tmpfs {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let tmpfs = &mut request.host_config.tmpfs;
        tmpfs.insert(target.to_owned(), options.to_owned());
    }
    for text in &flags.mount {
        let mount = mount(context, text)?;
        request.host_config.mounts.push(mount);
    }
    Ok(())
}

/// Adds mounts of the short form `[SOURCE:]TARGET[:OPTIONS]`; a relative source is one of ours.
///
/// # Errors
/// There are too many parts, or the target is no path.
pub(crate) fn volumes(
    context: &Context,
    request: &mut ContainerCreate,
    texts: &[String],
) -> Result<(), Failure> {
    for text in texts {
        if text.is_empty() {
            return Err(Failure::new("invalid empty volume spec")
                .hint("write it as [SOURCE:]TARGET[:OPTIONS]"));
        }
        let wrong = |why: &str| {
            Failure::new(format!("invalid volume \"{text}\": {why}"))
                .hint("write it as [SOURCE:]TARGET[:OPTIONS]")
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target) = match parts.as_slice() {
            [target] => (None, *target),
            [source, target] | [source, target, _] => (Some(*source), *target),
            _ => return Err(wrong("it has too many parts")),
        };
        if parts.iter().any(|part| part.is_empty()) {
            return Err(wrong("empty section between colons"));
        }
        if !target.starts_with('/') {
            return Err(wrong("the target must be an absolute path"));
        }
        let Some(source) = source else {
            let volumes = request.config.volumes.get_or_insert_default();
            volumes.insert(target.to_owned(), Empty {});
            continue;
        };
        let source = host_path(context, source);
        let rest = parts
            .get(2)
            .map_or(String::new(), |rest| format!(":{rest}"));
        request
            .host_config
            .binds
            .push(format!("{source}:{target}{rest}"));
    }
    Ok(())
}

/// A path of ours as an absolute one; a volume's name as it is.
fn host_path(context: &Context, source: &str) -> String {
    let is_path = source.starts_with(['/', '~'])
        || source.starts_with("./")
        || source.starts_with("../")
        || matches!(source, "." | "..");
    match (is_path, source.strip_prefix('~'), context.variable("HOME")) {
        (false, ..) => source.to_owned(),
        (true, Some(rest), Some(home)) => format!("{home}{rest}"),
        _ => context.absolute(source).to_string_lossy().into_owned(),
    }
}

fn mount(context: &Context, text: &str) -> Result<Mount, Failure> {
    let wrong = |why: String| {
        Failure::new(format!("invalid mount \"{text}\": {why}"))
            .hint("write it as type=bind,source=/path,target=/path[,readonly]")
    };
    let mut mount = Mount {
        kind: "volume".to_owned(),
        ..Mount::default()
    };
    for part in fields(text) {
        let (key, value) = part.split_once('=').unwrap_or((&part, "true"));
        set(&mut mount, key, value).map_err(wrong)?;
    }
    if mount.target.is_empty() {
        return Err(wrong("target is required".to_owned()));
    }
    if mount.kind == "bind" && !mount.source.is_empty() {
        mount.source = context
            .absolute(&mount.source)
            .to_string_lossy()
            .into_owned();
    }
    let odd = [
        ("bind", mount.bind_options.is_some()),
        ("volume", mount.volume_options.is_some()),
        ("tmpfs", mount.tmpfs_options.is_some()),
    ];
    match odd
        .into_iter()
        .find(|(kind, given)| *given && *kind != mount.kind)
    {
        Some((kind, _)) => Err(wrong(format!(
            "cannot mix {kind} options with type {}",
            mount.kind
        ))),
        None => Ok(mount),
    }
}

/// The fields of a line of comma-separated values; one in quotes may hold commas, and quotes twice.
fn fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let field_is_new = fields.last().is_some_and(String::is_empty);
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_none() => quoted = false,
            '"' if !quoted && field_is_new => quoted = true,
            ',' if !quoted => fields.push(String::new()),
            c => fields
                .last_mut()
                .into_iter()
                .for_each(|field| field.push(c)),
        }
    }
    fields
}

fn set(mount: &mut Mount, key: &str, value: &str) -> Result<(), String> {
    let text = value.to_owned();
    let truth = || match value.to_lowercase().as_str() {
        "true" | "1" | "t" => Ok(true),
        "false" | "0" | "f" => Ok(false),
        _ => Err(format!("{key} is true or false, not {value}")),
    };
    match key.to_lowercase().as_str() {
        "type" if matches!(value, "bind" | "volume" | "tmpfs" | "image") => mount.kind = text,
        "type" => return Err(format!("there is no type {value}")),
        "source" | "src" => mount.source = text,
        "target" | "dst" | "destination" => mount.target = text,
        "readonly" | "ro" => mount.read_only = truth()?,
        "consistency" => mount.consistency = text,
        "bind-propagation" => bind(mount).propagation = text,
        "bind-nonrecursive" => bind(mount).non_recursive = truth()?,
        "bind-create-src" => bind(mount).create_mountpoint = truth()?,
        "bind-recursive" => match value {
            "enabled" => {}
            "disabled" => bind(mount).non_recursive = true,
            "writable" => bind(mount).read_only_non_recursive = true,
            "readonly" => bind(mount).read_only_force_recursive = true,
            _ => return Err(format!("bind-recursive cannot be {value}")),
        },
        "volume-nocopy" => volume(mount).no_copy = truth()?,
        "volume-subpath" => volume(mount).subpath = text,
        "volume-label" => {
            let (key, value) = value.split_once('=').unwrap_or((value, ""));
            volume(mount)
                .labels
                .insert(key.to_owned(), value.to_owned());
        }
        "volume-driver" => driver(mount).name = text,
        "volume-opt" => {
            let (key, value) = value.split_once('=').unwrap_or((value, ""));
            driver(mount)
                .options
                .insert(key.to_owned(), value.to_owned());
        }
        "tmpfs-size" => {
            let size: ByteSize = value.parse().map_err(|_| format!("{value} is no size"))?;
            tmpfs(mount).size_bytes = size.bytes();
        }
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(value, 8);
            tmpfs(mount).mode = mode.map_err(|_| format!("{value} is no mode"))?;
        }
        _ => return Err(format!("there is no key {key}")),
    }
    Ok(())
}

fn bind(mount: &mut Mount) -> &mut BindOptions {
    mount.bind_options.get_or_insert_default()
}

fn volume(mount: &mut Mount) -> &mut VolumeOptions {
    mount.volume_options.get_or_insert_default()
}

fn driver(mount: &mut Mount) -> &mut DriverConfig {
    volume(mount).driver_config.get_or_insert_default()
}

fn tmpfs(mount: &mut Mount) -> &mut TmpfsOptions {
    mount.tmpfs_options.get_or_insert_default()
}
