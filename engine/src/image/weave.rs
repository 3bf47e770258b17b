//! Gives a layer's archive again: the recorded bytes and the content of the unpacked files, woven together and checked against the diff-id.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hoist_kernel::path::Root;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};

use super::split::{Piece, SplitReader};
use hoist_api::Digest;

const CHUNK: usize = 64 << 10;

/// Names within a layer's directory.
pub(crate) const RECORD: &str = "tar.split";
pub(crate) const ASIDE: &str = "moved";
pub(crate) const TREE: &str = "fs";

/// Writes the archive of the layer in `directory`, uncompressed; returns its size.
///
/// # Errors
/// `NotFound` when the archive was not recorded, `InvalidData` when what is there no longer gives the archive of this diff-id, or `output`'s.
pub(crate) fn weave(directory: &Path, diff_id: &Digest, output: &mut dyn Write) -> io::Result<u64> {
    let mut weaver = Weaver {
        tree: root(&directory.join(TREE))?,
        aside: directory.join(ASIDE),
        moves: moves(directory)?,
        output,
        hasher: Sha256::new(),
        size: 0,
        open: None,
        buffer: vec![0; CHUNK],
    };
    let mut reader = SplitReader::open(&directory.join(RECORD))?;
    let mut position = 0;
    while let Some(piece) = reader.next_piece()? {
        match piece {
            Piece::Raw(bytes) => weaver.put(&bytes)?,
            Piece::Content {
                path,
                offset,
                length,
            } => weaver.content(position, &path, (offset, length))?,
            // The open file may be what was moved.
            Piece::Moved { .. } => weaver.open = None,
        }
        position += 1;
    }
    let found = Digest::from_hash(&weaver.hasher.finalize());
    if found != *diff_id {
        return Err(changed(&format!(
            "its archive would have the digest {found} instead of {diff_id}"
        )));
    }
    Ok(weaver.size)
}

/// The paths that were put aside: when, and under which number, in this order.
type Moves = HashMap<Vec<u8>, Vec<(usize, u64)>>;

/// Only an archive that names something twice has any, so a second pass over the record is rare.
fn moves(directory: &Path) -> io::Result<Moves> {
    let mut found = Moves::new();
    if !directory.join(ASIDE).exists() {
        return Ok(found);
    }
    let mut reader = SplitReader::open(&directory.join(RECORD))?;
    let mut position = 0;
    while let Some(piece) = reader.next_piece()? {
        if let Piece::Moved { path, number } = piece {
            found.entry(path).or_default().push((position, number));
        }
        position += 1;
    }
    Ok(found)
}

struct Weaver<'a> {
    tree: Root,
    aside: PathBuf,
    moves: Moves,
    output: &'a mut dyn Write,
    hasher: Sha256,
    size: u64,
    /// The file that the last piece was of: sparse files come in many.
    open: Option<(Vec<u8>, File)>,
    buffer: Vec<u8>,
}

impl Weaver<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.output.write_all(bytes)
    }

    fn content(
        &mut self,
        position: usize,
        path: &[u8],
        (mut offset, mut left): (u64, u64),
    ) -> io::Result<()> {
        let file = match self.open.take() {
            Some((known, file)) if known == path => file,
            _ => self.find(position, path)?,
        };
        while left > 0 {
            let wanted = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            let length = file.read_at(&mut self.buffer[..wanted], offset)?;
            if length == 0 {
                let name = String::from_utf8_lossy(path).into_owned();
                return Err(changed(&format!("its file {name} is shorter than it was")));
            }
            let buffer = std::mem::take(&mut self.buffer);
            let written = self.put(&buffer[..length]);
            self.buffer = buffer;
            written?;
            offset += length as u64;
            left -= length as u64;
        }
        self.open = Some((path.to_vec(), file));
        Ok(())
    }

    /// The file that was at `path` when the archive was read up to `position`.
    fn find(&self, position: usize, path: &[u8]) -> io::Result<File> {
        let moved = prefixes(path)
            .filter_map(|end| {
                let times = self.moves.get(&path[..end])?;
                let next = times.partition_point(|(when, _)| *when <= position);
                times.get(next).map(|(when, number)| (*when, *number, end))
            })
            .min();
        match moved {
            None => open(&self.tree, path),
            Some((_, number, end)) => {
                let place = [number.to_string().as_bytes(), &path[end..]].concat();
                open(&root(&self.aside)?, &place)
            }
        }
    }
}

/// Where the path and each directory above it end.
fn prefixes(path: &[u8]) -> impl Iterator<Item = usize> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.map(|(end, _)| end).chain([path.len()])
}

fn root(path: &Path) -> io::Result<Root> {
    Root::open(path).map_err(|error| io::Error::from(error.errno))
}

fn open(root: &Root, path: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let file = root
        .open_beneath(path, flags, Mode::empty())
        .map_err(|error| io::Error::from(error.errno))?;
    Ok(File::from(file))
}

fn changed(why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the unpacked layer was changed or is damaged: {why}"),
    )
}

/// A layer's archive as something to read: woven on a thread of its own, a few chunks ahead.
#[derive(Debug)]
pub struct LayerArchive {
    pieces: std::sync::mpsc::Receiver<io::Result<Vec<u8>>>,
    current: io::Cursor<Vec<u8>>,
}

impl LayerArchive {
    pub(crate) fn start(directory: PathBuf, diff_id: Digest) -> Self {
        Self::of(move |output| weave(&directory, &diff_id, output).map(|_| ()))
    }

    /// Reads what `work` writes.
    pub(crate) fn of(work: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> Self {
        let (sender, pieces) = std::sync::mpsc::sync_channel(2);
        std::thread::spawn(move || {
            let mut output = io::BufWriter::with_capacity(CHUNK, Sender(sender.clone()));
            let done = work(&mut output).and_then(|()| output.flush());
            if let Err(error) = done {
                // A reader that is gone has its own reason.
                drop(sender.send(Err(error)));
            }
        });
        Self {
            pieces,
            current: io::Cursor::default(),
        }
    }
}

impl Read for LayerArchive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.current.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            match self.pieces.recv() {
                Ok(piece) => self.current = io::Cursor::new(piece?),
                Err(_) => return Ok(0),
            }
        }
    }
}

struct Sender(std::sync::mpsc::SyncSender<io::Result<Vec<u8>>>);

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.send(Ok(bytes.to_vec()));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
