//! One transfer to a client: the whole list first, then the contents of the files that it asks for. It blocks, so it runs on a
//! thread of its own.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::mode;
use crate::proto::session::{Packet, PacketKind, Stat};

/// Bytes of one packet.
const PIECE: usize = 64 << 10;

/// Why a tree did not get to the client.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// A file that was not listed, or is none.
    #[error("the client asked for entry {0}, which is no file")]
    NotAFile(u32),
    /// A packet where it does not belong.
    #[error("the client sent a packet of kind {0} where it does not belong")]
    Unexpected(i32),
    /// The client's words.
    #[error("the client cannot take the files: {0}")]
    Client(String),
    /// The connection ended.
    #[error("the client went away while it was taking files")]
    Gone,
    /// The disk.
    #[error("cannot read {path:?}")]
    Disk {
        /// What was read.
        path: String,
        /// The kernel's error.
        #[source]
        source: std::io::Error,
    },
}

/// Sends the tree at `root`. `next` gives the client's packets, none when it is gone; `send` takes ours, false when it is gone. Gives
/// the bytes of all contents.
///
/// # Errors
/// The tree cannot be read, or the client does not take it.
pub fn send(
    root: &Path,
    mut next: impl FnMut() -> Option<Packet>,
    mut send: impl FnMut(Packet) -> bool,
) -> Result<u64, SendError> {
    let mut entries = Vec::new();
    list(root, "", (&mut entries, &mut HashMap::new()))?;
    let mut say = |packet: Packet| {
        if send(packet) {
            Ok(())
        } else {
            Err(SendError::Gone)
        }
    };
    for entry in &entries {
        say(Packet {
            stat: Some(entry.clone()),
            ..Packet::default()
        })?;
    }
    // The list ends with an entry that is none.
    say(Packet::default())?;
    let mut sent = 0;
    loop {
        let packet = next().ok_or(SendError::Gone)?;
        match PacketKind::try_from(packet.kind) {
            Ok(PacketKind::Request) => {
                let entry = usize::try_from(packet.id)
                    .ok()
                    .and_then(|id| entries.get(id));
                let entry = entry.filter(|entry| entry.mode & mode::TYPE == 0);
                let entry = entry.ok_or(SendError::NotAFile(packet.id))?;
                sent += content(&root.join(&entry.path), packet.id, &mut say)?;
            }
            Ok(PacketKind::Finish) => {
                say(packet)?;
                return Ok(sent);
            }
            Ok(PacketKind::Error) => {
                let words = String::from_utf8_lossy(&packet.data).into_owned();
                return Err(SendError::Client(words));
            }
            _ => return Err(SendError::Unexpected(packet.kind)),
        }
    }
}

fn content(
    path: &Path,
    id: u32,
    say: &mut impl FnMut(Packet) -> Result<(), SendError>,
) -> Result<u64, SendError> {
    let mut file = File::open(path).map_err(disk(path))?;
    let mut sent = 0;
    loop {
        let mut piece = vec![0; PIECE];
        let length = file.read(&mut piece).map_err(disk(path))?;
        piece.truncate(length);
        // An empty one is the end.
        say(Packet {
            kind: PacketKind::Data as i32,
            id,
            data: Bytes::from(piece),
            stat: None,
        })?;
        sent += length as u64;
        if length == 0 {
            return Ok(sent);
        }
    }
}

fn disk(path: &Path) -> impl FnOnce(std::io::Error) -> SendError {
    let path = path.display().to_string();
    move |source| SendError::Disk { path, source }
}

/// Lists what is beneath a directory: parents first, names in order, a file's further names as names of the first.
fn list(
    root: &Path,
    below: &str,
    (entries, first_names): (&mut Vec<Stat>, &mut HashMap<(u64, u64), String>),
) -> Result<(), SendError> {
    let directory = root.join(below);
    let read = std::fs::read_dir(&directory).map_err(disk(&directory))?;
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in read {
        names.push(entry.map_err(disk(&directory))?.path());
    }
    names.sort();
    for place in names {
        // The protocol has text for names; others cannot be said.
        let Some(name) = place.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let path = match below {
            "" => name.to_owned(),
            below => format!("{below}/{name}"),
        };
        let metadata = std::fs::symlink_metadata(&place).map_err(disk(&place))?;
        let mut stat = stat_of(&path, &metadata);
        if metadata.is_symlink() {
            let target = std::fs::read_link(&place).map_err(disk(&place))?;
            stat.linkname = String::from_utf8_lossy(target.as_os_str().as_bytes()).into_owned();
        } else if metadata.is_file() && metadata.nlink() > 1 {
            let first = first_names.entry((metadata.dev(), metadata.ino()));
            match first {
                std::collections::hash_map::Entry::Occupied(known) => {
                    stat.linkname.clone_from(known.get());
                }
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(path.clone());
                }
            }
        }
        entries.push(stat);
        if metadata.is_dir() {
            list(root, &path, (&mut *entries, &mut *first_names))?;
        }
    }
    Ok(())
}

/// What a path is, in the protocol's words.
#[must_use]
pub fn stat_of(path: &str, metadata: &std::fs::Metadata) -> Stat {
    let is_device = metadata.rdev() != 0;
    let number = |number: u32| if is_device { i64::from(number) } else { 0 };
    Stat {
        path: path.to_owned(),
        mode: mode::from_unix(metadata.mode()),
        uid: metadata.uid(),
        gid: metadata.gid(),
        size: i64::try_from(metadata.len()).unwrap_or(i64::MAX),
        mod_time: metadata
            .mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(metadata.mtime_nsec()),
        linkname: String::new(),
        devmajor: number(rustix::fs::major(metadata.rdev())),
        devminor: number(rustix::fs::minor(metadata.rdev())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;

    use super::*;
    use crate::transfer::{Limits, receive};

    /// Our two sides speak to each other; the trees are then the same.
    #[test]
    fn what_is_sent_is_what_is_received() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| from.path().join(name);
        fs::create_dir_all(path("a/b")).unwrap();
        fs::write(path("a/b/big"), vec![7; 3 * PIECE + 1]).unwrap();
        fs::write(path("a-b"), "").unwrap();
        fs::hard_link(path("a/b/big"), path("z")).unwrap();
        std::os::unix::fs::symlink("a/b", path("link")).unwrap();
        let (to_client, client) = mpsc::channel();
        let (to_us, us) = mpsc::channel();
        let place = to.path().to_owned();
        let receiving = std::thread::spawn(move || {
            receive(
                &place,
                Limits::default(),
                || client.recv().ok(),
                |packet| {
                    let _ = to_us.send(packet);
                },
            )
        });
        let sent = send(
            from.path(),
            || us.recv().ok(),
            |packet| to_client.send(packet).is_ok(),
        );
        assert_eq!(sent.unwrap(), 3 * PIECE as u64 + 1);
        assert_eq!(receiving.join().unwrap().unwrap().entries, 6);
        let there = |name: &str| fs::read(to.path().join(name)).unwrap();
        assert_eq!(there("z"), vec![7; 3 * PIECE + 1]);
        assert_eq!(there("link/big").len(), 3 * PIECE + 1);
        assert_eq!(there("a-b"), b"");
        let one = |name: &str| fs::metadata(to.path().join(name)).unwrap().ino();
        assert_eq!(one("z"), one("a/b/big"));
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let from = tempfile::tempdir().unwrap();
        fs::create_dir(from.path().join("a")).unwrap();
        let mut asked = [0, 7].into_iter();
        for expected in [0, 7] {
            let mut next = Some(Packet {
                kind: PacketKind::Request as i32,
                id: asked.next().unwrap(),
                ..Packet::default()
            });
            let error = send(from.path(), || next.take(), |_| true).unwrap_err();
            assert!(
                matches!(error, SendError::NotAFile(id) if id == expected),
                "{error}"
            );
        }
        let gone = send(from.path(), || None, |_| true).unwrap_err();
        assert!(matches!(gone, SendError::Gone), "{gone}");
    }
}
