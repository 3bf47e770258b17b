//! Files of a build's result, looked at before anything becomes of it (BuildKit's `ReadFile`, `ReadDir`, `StatFile`).

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use hoist_api::Digest;
use hoist_buildkit::proto::session::Stat;
use hoist_buildkit::transfer::stat_of;
use hoist_buildkit::{Look, Seen, Tree};
use hoist_kernel::path::Root;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::steps::Output;
use crate::build::error::BuildError;
use crate::service::Service;

/// The most that is read of a file at a time: what one message may hold.
const MAX_BYTES: u64 = 16 << 20;

/// Looks at a path of a result. Blocks.
///
/// # Errors
/// The result is gone, or there is no such path.
pub(crate) fn look(
    service: &Service,
    tree: &Tree,
    (path, look): (&str, &Look),
) -> Result<Seen, BuildError> {
    let output = match tree {
        Tree::Image(name) => Output::of(service.images.hold(name)?.1),
        Tree::Layers(layers) => {
            let held = layers.iter().map(|layer| {
                let gone = || BuildError::NotFound(format!("layer {layer}"));
                let digest: Digest = layer.parse().map_err(|_| gone())?;
                service.images.hold_layer(&digest).ok_or_else(gone)
            });
            Output::of(held.collect::<Result<_, _>>()?)
        }
    };
    let root = output.read(service)?;
    match look {
        Look::Read { offset, length } => read(&root, path, (*offset, *length)).map(Seen::Bytes),
        Look::List(pattern) => list(&root, path, pattern).map(Seen::Entries),
        Look::Stat => stat(&root, path).map(Seen::Entry),
    }
}

fn kernel(path: &str) -> impl FnOnce(hoist_kernel::error::KernelError) -> BuildError + '_ {
    move |error| match error.errno {
        Errno::NOENT => BuildError::NotFound(path.to_owned()),
        _ => BuildError::kernel("open", path, &error),
    }
}

fn read(
    root: &Root,
    path: &str,
    (offset, length): (u64, Option<u64>),
) -> Result<Vec<u8>, BuildError> {
    // Without waiting, should it be a pipe.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = root.open_beneath(Path::new(path), flags, Mode::empty());
    let mut file = File::from(file.map_err(kernel(path))?);
    let failed = |error| BuildError::io("read", path, error);
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(BuildError::Refused(format!("{path} is not a regular file")));
    }
    let rest = metadata.len().saturating_sub(offset);
    let length = length.map_or(rest, |length| length.min(rest));
    if length > MAX_BYTES {
        return Err(BuildError::Refused(format!(
            "{path} has {length} bytes, and {MAX_BYTES} at most are read at a time: ask for a range"
        )));
    }
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn list(root: &Root, path: &str, pattern: &str) -> Result<Vec<Stat>, BuildError> {
    let place = Path::new(path);
    let directory = root.directory(place).map_err(kernel(path))?;
    let mut names = directory
        .names()
        .map_err(|error| BuildError::kernel("read", path, &error))?;
    names.sort();
    let mut entries = Vec::new();
    for name in names {
        // Names are text in the protocol.
        let Some(text) = name.to_str() else { continue };
        let is_meant = pattern.is_empty()
            || hoist_dockerfile::glob_matches(pattern, text)
                .map_err(|error| BuildError::Refused(error.to_string()))?;
        if is_meant {
            let below = place.join(&name);
            let shown = below.to_string_lossy();
            entries.push(describe(root, &shown, (text, OFlags::NOFOLLOW))?);
        }
    }
    Ok(entries)
}

fn stat(root: &Root, path: &str) -> Result<Stat, BuildError> {
    let name = Path::new(path)
        .file_name()
        .map_or_else(|| ".".into(), |name| name.to_string_lossy());
    describe(root, path, (&name, OFlags::empty()))
}

fn describe(root: &Root, path: &str, (name, follow): (&str, OFlags)) -> Result<Stat, BuildError> {
    let flags = OFlags::PATH | follow;
    let found = root.open_beneath(Path::new(path), flags, Mode::empty());
    let found = File::from(found.map_err(kernel(path))?);
    let failed = |error| BuildError::io("read", path, error);
    let metadata = found.metadata().map_err(failed)?;
    let mut stat = stat_of(name, &metadata);
    if metadata.is_symlink() {
        let target = rustix::fs::readlinkat(&found, "", Vec::new());
        let target = target.map_err(|errno| failed(errno.into()))?;
        stat.linkname = target.to_string_lossy().into_owned();
    }
    Ok(stat)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, Root) {
        let top = tempfile::tempdir().unwrap();
        let etc = top.path().join("etc");
        fs::create_dir(&etc).unwrap();
        fs::write(etc.join("b.conf"), "0123456789").unwrap();
        fs::write(etc.join("a.conf"), "").unwrap();
        fs::write(etc.join("c.txt"), "").unwrap();
        symlink("/etc/b.conf", top.path().join("absolute")).unwrap();
        symlink("../../../../etc/b.conf", etc.join("upwards")).unwrap();
        let root = Root::open(top.path()).unwrap();
        (top, root)
    }

    #[test]
    fn files_are_read_in_parts() {
        let (top, root) = tree();
        let of = |path: &str, part| read(&root, path, part);
        assert_eq!(of("/etc/b.conf", (0, None)).unwrap(), b"0123456789");
        assert_eq!(of("etc/b.conf", (3, Some(4))).unwrap(), b"3456");
        assert_eq!(of("etc/b.conf", (8, Some(99))).unwrap(), b"89");
        assert_eq!(of("etc/b.conf", (99, None)).unwrap(), b"");
        let large = fs::File::create(top.path().join("large")).unwrap();
        large.set_len(MAX_BYTES + 1).unwrap();
        let refused = of("large", (0, None)).unwrap_err().to_string();
        assert!(refused.contains("ask for a range"), "{refused}");
        assert_eq!(of("large", (MAX_BYTES, None)).unwrap(), [0]);
    }

    #[test]
    fn what_is_no_file_of_the_result_is_not_read() {
        let (top, root) = tree();
        let of = |path: &str| read(&root, path, (0, None));
        // Links lead to the result's own files only.
        assert_eq!(of("absolute").unwrap(), b"0123456789");
        assert_eq!(of("etc/upwards").unwrap(), b"0123456789");
        symlink("/etc/passwd", top.path().join("outside")).unwrap();
        for path in ["nothing", "etc/nothing", "outside"] {
            let missing = of(path).unwrap_err();
            assert!(matches!(missing, BuildError::NotFound(_)), "{missing}");
        }
        let directory = of("etc").unwrap_err().to_string();
        assert_eq!(directory, "etc is not a regular file");
        // A pipe that nobody writes to would be waited for.
        let fifo = rustix::fs::FileType::Fifo;
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, top.path().join("pipe"), fifo, mode, 0).unwrap();
        let pipe = of("pipe").unwrap_err().to_string();
        assert_eq!(pipe, "pipe is not a regular file");
    }

    #[test]
    fn directories_are_listed_and_entries_described() {
        let (_top, root) = tree();
        let names = |pattern: &str| -> Vec<String> {
            let entries = list(&root, "/etc", pattern).unwrap();
            entries.into_iter().map(|entry| entry.path).collect()
        };
        assert_eq!(names(""), ["a.conf", "b.conf", "c.txt", "upwards"]);
        assert_eq!(names("*.conf"), ["a.conf", "b.conf"]);
        let wrong = list(&root, "/etc", "[").unwrap_err();
        assert!(matches!(wrong, BuildError::Refused(_)), "{wrong}");
        let missing = list(&root, "/nothing", "").unwrap_err();
        assert!(matches!(missing, BuildError::NotFound(_)), "{missing}");

        let link = &list(&root, "/etc", "up*").unwrap()[0];
        assert_eq!(link.linkname, "../../../../etc/b.conf");
        let followed = stat(&root, "/etc/upwards").unwrap();
        assert_eq!((followed.path.as_str(), followed.size), ("upwards", 10));
        assert_eq!(followed.linkname, "");
        assert_eq!(stat(&root, "/").unwrap().path, ".");
    }
}
