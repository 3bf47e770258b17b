//! A tar reader for archives that cannot be trusted.
//!
//! It reads the formats that image tools write: V7, ustar, GNU (long names, sparse files, base-256 numbers) and PAX (records of an entry
//! and of the whole archive, all three sparse variants, extended attributes). Where formats contradict each other it decides as Go's
//! `archive/tar` does, because that is what registries' images were made and read with.
//!
//! Bounds: the metadata of one entry is at most [`METADATA_LIMIT`] bytes, and nothing is allocated by a declared size. Names come out as
//! they are in the archive; making them safe is the unpacker's work. This module does no I/O but reading its source.

mod header;
mod pax;
mod sparse;
pub(crate) mod write;

use std::io::{self, BufRead, Read};

use super::split::SplitWriter;
use header::{BLOCK, Header};
use pax::Records;
pub(crate) use sparse::Segment;

/// Bytes that the long names, PAX records and sparse maps of one entry may have together.
pub(crate) const METADATA_LIMIT: u64 = 1 << 20;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    /// The source failed (also when decompression did).
    #[error("{0}")]
    Read(#[source] io::Error),
    /// The archive stops in the middle of something.
    #[error("the archive ends in the middle of {0}")]
    Truncated(String),
    /// A header or a record is not what the format says.
    #[error("{what} (at byte {offset} of the archive)")]
    Malformed {
        /// What is wrong.
        what: String,
        /// Bytes of the uncompressed archive before the header.
        offset: u64,
    },
}

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Directory,
    Symlink,
    HardLink,
    CharDevice,
    BlockDevice,
    Fifo,
}

/// Seconds since 1970 and nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Timestamp {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// An entry's metadata, all formats made equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryKind,
    /// Permission, set-id and sticky bits only.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Timestamp,
    /// The file's size; with holes, more than the archive holds.
    pub(crate) size: u64,
    /// The target of a symbolic or hard link.
    pub(crate) link: Vec<u8>,
    /// Major and minor number of a device node.
    pub(crate) device: (u32, u32),
    /// Name and value, in the archive's order.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the data belongs, when the file has holes.
    pub(crate) segments: Option<Vec<Segment>>,
}

/// Reads entries one after the other. Between two calls of [`TarReader::next_entry`] it is a reader of the entry's data.
#[derive(Debug)]
pub(crate) struct TarReader<R> {
    source: R,
    /// Bytes read from the source.
    offset: u64,
    /// Data of the current entry that is still unread.
    remaining: u64,
    /// Padding after it.
    padding: u64,
    global: Records,
    finished: bool,
    /// Where the bytes go that are not kept as files.
    record: Option<SplitWriter>,
}

/// Metadata entries that came before the real one.
#[derive(Debug, Default)]
struct Preamble {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    records: Records,
    bytes: u64,
}

impl<R: BufRead> TarReader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            offset: 0,
            remaining: 0,
            padding: 0,
            global: Records::default(),
            finished: false,
            record: None,
        }
    }

    /// Writes down everything that [`TarReader::consume_content`] does not take.
    pub(crate) fn recording(source: R, record: Option<SplitWriter>) -> Self {
        Self {
            record,
            ..Self::new(source)
        }
    }

    /// The record, to be finished by the caller.
    pub(crate) fn take_record(&mut self) -> Option<SplitWriter> {
        self.record.take()
    }

    /// Notes that what was at `path` lies aside now.
    pub(crate) fn note_moved(&mut self, path: &[u8], number: u64) {
        if let Some(record) = &mut self.record {
            record.moved(path, number);
        }
    }

    /// The next entry, or none at the end of the archive. Unread data of the entry before is skipped.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut preamble = Preamble::default();
        loop {
            self.skip_data()?;
            let Some(header) = self.next_header()? else {
                return Ok(None);
            };
            match header.kind() {
                b'x' => {
                    preamble.records = Records::parse(&self.metadata(&header, &mut preamble)?)
                        .map_err(|what| self.malformed(what))?
                }
                b'g' => {
                    let records = self.metadata(&header, &mut preamble)?;
                    let records = Records::parse(&records).map_err(|what| self.malformed(what))?;
                    self.global
                        .merge(records)
                        .map_err(|what| self.malformed(what))?;
                }
                b'L' => preamble.long_name = Some(self.long_text(&header, &mut preamble)?),
                b'K' => preamble.long_link = Some(self.long_text(&header, &mut preamble)?),
                _ => return self.entry(&header, preamble).map(Some),
            }
        }
    }

    /// Reads the source to its end, so that whoever hashes it has seen all of it.
    pub(crate) fn drain(&mut self) -> Result<(), TarError> {
        loop {
            let length = self.source.fill_buf().map_err(TarError::Read)?.len();
            if length == 0 {
                return Ok(());
            }
            self.write_down(length)?;
            self.source.consume(length);
        }
    }

    /// Records the next bytes of the source, which are buffered.
    fn write_down(&mut self, length: usize) -> Result<(), TarError> {
        if let Some(record) = &mut self.record {
            let buffer = self.source.fill_buf().map_err(TarError::Read)?;
            record.raw(&buffer[..length]);
        }
        Ok(())
    }

    /// A piece of the current entry's data; empty at its end.
    pub(crate) fn fill_data(&mut self) -> Result<&[u8], TarError> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let limit = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let buffer = self.source.fill_buf().map_err(TarError::Read)?;
        if buffer.is_empty() {
            return Err(TarError::Truncated("a file".to_owned()));
        }
        Ok(&buffer[..buffer.len().min(limit)])
    }

    /// Marks `length` bytes of what [`TarReader::fill_data`] gave as used.
    pub(crate) fn consume_data(&mut self, length: usize) -> Result<(), TarError> {
        self.write_down(length)?;
        self.use_up(length);
        Ok(())
    }

    /// Like [`TarReader::consume_data`] for bytes that were written to the file at `path`.
    pub(crate) fn consume_content(&mut self, path: &[u8], offset: u64, length: usize) {
        if let Some(record) = &mut self.record {
            record.content(path, offset, length as u64);
        }
        self.use_up(length);
    }

    fn use_up(&mut self, length: usize) {
        self.source.consume(length);
        self.offset += length as u64;
        self.remaining -= length as u64;
    }

    fn entry(&mut self, header: &Header, preamble: Preamble) -> Result<Entry, TarError> {
        let records = self.global.overlaid_with(preamble.records);
        let bytes = preamble.bytes;
        let mut entry = header
            .entry(&records)
            .map_err(|what| self.malformed(what))?;
        if let Some(name) = preamble.long_name {
            entry.path = name;
        }
        if let Some(link) = preamble.long_link {
            entry.link = link;
        }
        if entry.kind == EntryKind::File {
            self.expect_data(entry.size)?;
            let limit = METADATA_LIMIT.saturating_sub(bytes);
            self.read_sparse_map(header, &records, &mut entry, limit)?;
        }
        // V7 had no type for directories. Data that such an entry has is skipped.
        if header.is_plain_file() && entry.path.ends_with(b"/") {
            entry.kind = EntryKind::Directory;
        }
        Ok(entry)
    }

    fn read_sparse_map(
        &mut self,
        header: &Header,
        records: &Records,
        entry: &mut Entry,
        limit: u64,
    ) -> Result<(), TarError> {
        let Some(mut map) = sparse::find(header, records).map_err(|what| self.malformed(what))?
        else {
            return Ok(());
        };
        if header.has_more_segments() {
            // The blocks of the map lie before the data and are not counted in its size.
            self.extend_old_map(&mut map, limit)?;
        }
        if map.is_in_data {
            self.read_map_from_data(&mut map, limit)?;
        }
        map.check(self.remaining)
            .map_err(|what| self.malformed(what))?;
        entry.size = map.size;
        if let Some(name) = map.name {
            entry.path = name;
        }
        entry.segments = Some(map.segments);
        Ok(())
    }

    fn extend_old_map(&mut self, map: &mut sparse::Map, limit: u64) -> Result<(), TarError> {
        let mut used = 0;
        loop {
            used += BLOCK as u64;
            let Some(block) = self.read_block()? else {
                return Err(TarError::Truncated("a sparse file's map".to_owned()));
            };
            if used > limit {
                return Err(self.malformed("a sparse file's map is too long".to_owned()));
            }
            if !map.extend(&block).map_err(|what| self.malformed(what))? {
                return Ok(());
            }
        }
    }

    fn read_map_from_data(&mut self, map: &mut sparse::Map, limit: u64) -> Result<(), TarError> {
        let mut text = Vec::new();
        while !map.parse_text(&text).map_err(|what| self.malformed(what))? {
            if text.len() as u64 + BLOCK as u64 > limit || self.remaining < BLOCK as u64 {
                return Err(self.malformed("a sparse file's map is too long".to_owned()));
            }
            let Some(block) = self.read_block()? else {
                return Err(TarError::Truncated("a sparse file's map".to_owned()));
            };
            self.remaining -= BLOCK as u64;
            text.extend_from_slice(&block);
        }
        Ok(())
    }

    fn long_text(&mut self, header: &Header, preamble: &mut Preamble) -> Result<Vec<u8>, TarError> {
        let mut text = self.metadata(header, preamble)?;
        if let Some(end) = text.iter().position(|byte| *byte == 0) {
            text.truncate(end);
        }
        Ok(text)
    }

    /// The data of a metadata entry. Its size is always its own header's: PAX records before it are not about it.
    fn metadata(&mut self, header: &Header, preamble: &mut Preamble) -> Result<Vec<u8>, TarError> {
        let size = header.size().map_err(|what| self.malformed(what))?;
        // Each costs something even when it is empty, so that an endless row of them ends.
        preamble.bytes = preamble
            .bytes
            .saturating_add(size)
            .saturating_add(BLOCK as u64);
        if preamble.bytes > METADATA_LIMIT {
            return Err(self.malformed(format!(
                "the names and records of one entry have more than {METADATA_LIMIT} bytes"
            )));
        }
        self.expect_data(size)?;
        let mut data = Vec::new();
        while self.remaining > 0 {
            let piece = self.fill_data().map_err(in_metadata)?;
            let length = piece.len();
            data.extend_from_slice(piece);
            self.consume_data(length)?;
        }
        Ok(data)
    }

    fn expect_data(&mut self, size: u64) -> Result<(), TarError> {
        let block = BLOCK as u64;
        if self
            .offset
            .checked_add(size)
            .and_then(|end| end.checked_add(block))
            .is_none()
        {
            return Err(self.malformed(format!("an entry declares {size} bytes")));
        }
        self.remaining = size;
        self.padding = (block - size % block) % block;
        Ok(())
    }

    fn skip_data(&mut self) -> Result<(), TarError> {
        while self.remaining > 0 {
            let length = self.fill_data()?.len();
            self.consume_data(length)?;
        }
        let mut padding = [0; BLOCK];
        let length = usize::try_from(self.padding).unwrap_or(0);
        self.padding = 0;
        // Some writers leave the last padding out.
        self.read_up_to(&mut padding[..length]).map(|_| ())
    }

    fn next_header(&mut self) -> Result<Option<Header>, TarError> {
        if self.finished {
            return Ok(None);
        }
        let Some(block) = self.read_block()? else {
            self.finished = true;
            return Ok(None);
        };
        if block == [0; BLOCK] {
            self.finished = true;
            return match self.read_block()? {
                Some(second) if second != [0; BLOCK] => {
                    Err(self.malformed("something follows the archive's end mark".to_owned()))
                }
                _ => Ok(None),
            };
        }
        Header::parse(block)
            .map(Some)
            .map_err(|what| self.malformed(what))
    }

    /// A whole block, or none at the source's end.
    fn read_block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        match self.read_up_to(&mut block)? {
            BLOCK => Ok(Some(block)),
            0 => Ok(None),
            _ => Err(TarError::Truncated("a header".to_owned())),
        }
    }

    fn read_up_to(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.source.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
        if let Some(record) = &mut self.record {
            record.raw(&buffer[..filled]);
        }
        self.offset += filled as u64;
        Ok(filled)
    }

    fn malformed(&self, what: String) -> TarError {
        TarError::Malformed {
            what,
            offset: self.offset.saturating_sub(BLOCK as u64),
        }
    }
}

fn in_metadata(error: TarError) -> TarError {
    match error {
        TarError::Truncated(_) => TarError::Truncated("an entry's metadata".to_owned()),
        other => other,
    }
}

/// The current entry's data as it lies in the archive.
impl<R: BufRead> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let failed = |error| match error {
            TarError::Read(error) => error,
            other => io::Error::new(io::ErrorKind::UnexpectedEof, other.to_string()),
        };
        let piece = self.fill_data().map_err(failed)?;
        let length = piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&piece[..length]);
        self.consume_data(length).map_err(failed)?;
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
