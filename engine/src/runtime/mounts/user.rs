//! What the user mounts: binds, volumes, memory.

use hoist_kernel::init::program::{Filesystem, FsOption, MountAttributes, Op, Propagation, Slot};

use super::super::lower::{Builder, LowerError, c_string};
use super::super::spec::{Mount, MountSource};
use super::{
    ATIME_MASK, NOATIME, NODEV, NODIRATIME, NOEXEC, NOSUID, RDONLY, STRICTATIME, USER_LINKS,
    fs_option, relative, target,
};

pub(super) fn add_user_mount(
    builder: &mut Builder<'_>,
    mount: &Mount,
    source: Option<Slot>,
) -> Result<(), LowerError> {
    let slot = match (&mount.source, source) {
        (
            MountSource::Bind {
                propagation,
                writable_below,
                ..
            },
            Some(slot),
        ) => {
            let flags = if mount.read_only { RDONLY } else { 0 };
            // Recursive, as Docker does since it can: a read-only bind has no writable corner, unless it is asked for.
            let attributes = MountAttributes {
                set: if *writable_below { 0 } else { flags },
                clear: 0,
                propagation: Some(*propagation),
                recursive: true,
            };
            builder.privileged(Op::SetAttributes { slot, attributes });
            if *writable_below {
                let attributes = MountAttributes {
                    set: flags,
                    clear: 0,
                    propagation: None,
                    recursive: false,
                };
                builder.privileged(Op::SetAttributes { slot, attributes });
            }
            slot
        }
        (MountSource::Passed { .. }, Some(slot)) => {
            let attributes = MountAttributes {
                set: if mount.read_only { RDONLY } else { 0 },
                clear: 0,
                propagation: Some(Propagation::Private),
                recursive: true,
            };
            builder.privileged(Op::SetAttributes { slot, attributes });
            slot
        }
        (MountSource::Tmpfs { .. }, _) => add_tmpfs(builder, mount)?,
        (
            MountSource::FileSystem {
                kind,
                device,
                options,
            },
            _,
        ) => add_file_system(builder, (kind, device, options), mount.read_only)?,
        (MountSource::Pseudo { kind }, _) => {
            let slot = builder.slot();
            builder.inside(Op::MakeFilesystem(Filesystem {
                slot,
                kind: c_string("a file system", kind.as_str())?,
                options: Vec::new(),
                attributes: NOSUID | NODEV | NOEXEC | if mount.read_only { RDONLY } else { 0 },
                mode_of: None,
            }));
            slot
        }
        (MountSource::Bind { .. } | MountSource::Passed { .. }, None) => return Ok(()),
    };
    builder.inside(Op::Attach {
        slot,
        target: target(&mount.target, USER_LINKS)?,
    });
    Ok(())
}

/// A tmpfs of the user: nosuid, nodev and noexec unless asked otherwise, as Docker has it.
fn add_tmpfs(builder: &mut Builder<'_>, mount: &Mount) -> Result<Slot, LowerError> {
    let MountSource::Tmpfs {
        size,
        mode,
        options,
    } = &mount.source
    else {
        return Ok(builder.slot());
    };
    let start = NOSUID | NODEV | NOEXEC | if mount.read_only { RDONLY } else { 0 };
    let propagation = options.iter().rev().find_map(|word| propagation(word));
    let options: Vec<String> = options
        .iter()
        .filter(|word| self::propagation(word).is_none())
        .cloned()
        .collect();
    let (attributes, mut fs_options) = split_options(&options, start)?;
    if let Some(size) = size {
        fs_options.push(fs_option("size", Some(&size.to_string()))?);
    }
    if let Some(mode) = mode {
        fs_options.push(fs_option("mode", Some(&format!("{mode:o}")))?);
    }
    // Without a mode of its own it takes over that of the directory it covers, else it is the kernel's 1777.
    let takes_over = mode.is_none() && !options.iter().any(|option| option.starts_with("mode="));
    let slot = builder.slot();
    let mode_of = takes_over.then(|| relative(&mount.target)).transpose()?;
    builder.inside(Op::MakeFilesystem(Filesystem {
        slot,
        kind: c"tmpfs".to_owned(),
        options: fs_options,
        attributes,
        mode_of,
    }));
    if propagation.is_some() {
        let attributes = MountAttributes {
            propagation,
            ..MountAttributes::default()
        };
        builder.inside(Op::SetAttributes { slot, attributes });
    }
    Ok(slot)
}

/// The words of mount(8) for how mounts below spread.
fn propagation(word: &str) -> Option<Propagation> {
    Some(match word {
        "private" | "rprivate" => Propagation::Private,
        "slave" | "rslave" => Propagation::Slave,
        "shared" | "rshared" => Propagation::Shared,
        _ => return None,
    })
}

/// A file system of the machine's devices or of a server: only the machine's own root may mount it.
fn add_file_system(
    builder: &mut Builder<'_>,
    (kind, device, options): (&str, &str, &[String]),
    read_only: bool,
) -> Result<Slot, LowerError> {
    let start = if read_only { RDONLY } else { 0 };
    let (attributes, mut fs_options) = split_options(options, start)?;
    fs_options.insert(0, fs_option("source", Some(device))?);
    let slot = builder.slot();
    builder.privileged(Op::MakeFilesystem(Filesystem {
        slot,
        kind: c_string("a file system", kind)?,
        options: fs_options,
        attributes,
        mode_of: None,
    }));
    Ok(slot)
}

/// Options of mounts become attributes, added to or taken from those given; the rest are the file system's.
fn split_options(
    options: &[String],
    mut attributes: u64,
) -> Result<(u64, Vec<FsOption>), LowerError> {
    let mut others = Vec::new();
    for option in options.iter().filter(|option| !option.is_empty()) {
        if let Some((set, clear)) = mount_flag(option) {
            attributes = attributes & !clear | set;
        } else if !matches!(option.as_str(), "rprivate" | "private" | "defaults") {
            let (key, value) = option
                .split_once('=')
                .map_or((option.as_str(), None), |(k, v)| (k, Some(v)));
            others.push(fs_option(key, value)?);
        }
    }
    Ok((attributes, others))
}

/// A mount option as attributes to set and to clear.
fn mount_flag(option: &str) -> Option<(u64, u64)> {
    Some(match option {
        "ro" => (RDONLY, 0),
        "rw" => (0, RDONLY),
        "exec" => (0, NOEXEC),
        "noexec" => (NOEXEC, 0),
        "suid" => (0, NOSUID),
        "nosuid" => (NOSUID, 0),
        "dev" => (0, NODEV),
        "nodev" => (NODEV, 0),
        "noatime" => (NOATIME, ATIME_MASK),
        "strictatime" => (STRICTATIME, ATIME_MASK),
        "relatime" | "atime" => (0, ATIME_MASK),
        "nodiratime" => (NODIRATIME, 0),
        _ => return None,
    })
}
