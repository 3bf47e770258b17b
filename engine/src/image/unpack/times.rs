//! The times of a layer's directories until they can be set: a directory's time changes with every entry made in it, so they come last.
//!
//! An archive may have millions of directories with names of thousands of bytes, so only some are kept in memory; the rest waits in a file
//! without a name, whose bytes are charged like those of the layer.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags};

use super::name::LayerPath;
use super::{Budget, UnpackError};
use crate::image::tarball::Timestamp;

/// Bytes of paths that are kept in memory.
const IN_MEMORY: usize = 1 << 20;
/// What a path costs beyond its own bytes.
const OVERHEAD: usize = 64;
/// Seconds, nanoseconds, the path's length.
const HEAD: usize = 8 + 4 + 2;

/// Directories and their times, in the archive's order.
#[derive(Debug, Default)]
pub(super) struct DirectoryTimes {
    recent: Vec<(LayerPath, Timestamp)>,
    bytes: usize,
    spilled: Option<File>,
}

impl DirectoryTimes {
    /// Remembers a directory's time. `root` is where the file may be made that takes what memory should not.
    pub(super) fn push(
        &mut self,
        (path, time): (LayerPath, Timestamp),
        root: BorrowedFd<'_>,
        budget: &mut Budget,
    ) -> Result<(), UnpackError> {
        self.bytes += path.as_bytes().len() + OVERHEAD;
        self.recent.push((path, time));
        if self.bytes < IN_MEMORY {
            return Ok(());
        }
        budget.bytes(self.bytes as u64)?;
        self.spill(root).map_err(|source| UnpackError::System {
            call: "write",
            object: "the times of its directories".to_owned(),
            source,
        })
    }

    fn spill(&mut self, root: BorrowedFd<'_>) -> io::Result<()> {
        let file = match &mut self.spilled {
            Some(file) => file,
            none => none.insert(unnamed(root)?),
        };
        let mut text = Vec::with_capacity(self.bytes);
        for (path, time) in self.recent.drain(..) {
            let path = path.as_bytes();
            let length = u16::try_from(path.len()).map_err(io::Error::other)?;
            text.extend_from_slice(&time.seconds.to_le_bytes());
            text.extend_from_slice(&time.nanoseconds.to_le_bytes());
            text.extend_from_slice(&length.to_le_bytes());
            text.extend_from_slice(path);
        }
        self.bytes = 0;
        file.write_all(&text)
    }

    /// Gives every directory and its time to `set`, in the order in which they came.
    pub(super) fn restore(
        self,
        mut set: impl FnMut(&LayerPath, Timestamp) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        if let Some(mut file) = self.spilled {
            let unreadable = |source| UnpackError::System {
                call: "read",
                object: "the times of its directories".to_owned(),
                source,
            };
            file.rewind().map_err(unreadable)?;
            let mut file = BufReader::new(file);
            while let Some((path, time)) = next(&mut file).map_err(unreadable)? {
                set(&path, time)?;
            }
        }
        self.recent
            .iter()
            .try_for_each(|(path, time)| set(path, *time))
    }
}

fn next(file: &mut impl Read) -> io::Result<Option<(LayerPath, Timestamp)>> {
    let mut head = [0; HEAD];
    match file.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let (mut seconds, mut nanoseconds, mut length) = ([0; 8], [0; 4], [0; 2]);
    seconds.copy_from_slice(&head[..8]);
    nanoseconds.copy_from_slice(&head[8..12]);
    length.copy_from_slice(&head[12..]);
    let mut path = vec![0; usize::from(u16::from_le_bytes(length))];
    file.read_exact(&mut path)?;
    let path = LayerPath::clean(&path).map_err(io::Error::other)?;
    let time = Timestamp {
        seconds: i64::from_le_bytes(seconds),
        nanoseconds: u32::from_le_bytes(nanoseconds),
    };
    Ok(Some((path, time)))
}

/// A file without a name on the tree's own disk; where its file system has none of the kind (overlayfs), with the temporary files.
fn unnamed(root: BorrowedFd<'_>) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::openat(root, c".", flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        Err(_) => tempfile::tempfile(),
    }
}
