//! The bytes of a layer's archive that are not the content of its files: headers, padding, records, end marks, as they came.
//!
//! The store keeps layers unpacked. To give the very same archive again (push, save), what unpacking does not keep is written beside the
//! tree while the archive is read, and woven together with the files' content later. Digests need every byte, so nothing is interpreted
//! here. An archive may name a file twice: what a later entry replaces is moved aside instead of removed, and the move is recorded.
//!
//! The file is a zstd stream of records: a kind, then lengths as LEB128 and bytes.
//!
//! ```text
//! 0 length bytes                       copy the bytes
//! 1 length path offset length          copy this part of the file's content
//! 2 length path number                 from here on, what was at the path is `moved/<number>`
//! ```

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

/// Raw bytes that are collected before they become a record.
const RAW_LIMIT: usize = 64 << 10;
/// The longest path or raw record that is read back.
const LENGTH_LIMIT: u64 = 1 << 20;
/// Headers are so alike that more effort gives little.
const LEVEL: i32 = 1;

const RAW: u8 = 0;
const CONTENT: u8 = 1;
const MOVED: u8 = 2;

/// One step of weaving an archive together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Raw(Vec<u8>),
    Content {
        path: Vec<u8>,
        offset: u64,
        length: u64,
    },
    Moved {
        path: Vec<u8>,
        number: u64,
    },
}

/// Writes the record of an archive while it is read. A failure is kept until [`SplitWriter::finish`].
pub(crate) struct SplitWriter {
    output: zstd::stream::write::Encoder<'static, Limited>,
    raw: Vec<u8>,
    content: Option<(Vec<u8>, u64, u64)>,
    failed: Option<io::Error>,
}

impl std::fmt::Debug for SplitWriter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SplitWriter").finish_non_exhaustive()
    }
}

impl SplitWriter {
    /// A new record at `path` that may take `limit` bytes of the disk.
    pub(crate) fn create(path: &Path, limit: u64) -> io::Result<Self> {
        let file = Limited {
            file: BufWriter::new(File::create_new(path)?),
            left: limit,
        };
        Ok(Self {
            output: zstd::stream::write::Encoder::new(file, LEVEL)?,
            raw: Vec::new(),
            content: None,
            failed: None,
        })
    }

    /// Bytes that have to come again as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.flush_content();
        self.raw.extend_from_slice(bytes);
        if self.raw.len() >= RAW_LIMIT {
            self.flush_raw();
        }
    }

    /// Content that is in the file at `path`.
    pub(crate) fn content(&mut self, path: &[u8], offset: u64, length: u64) {
        if let Some((known, start, so_far)) = &mut self.content
            && known == path
            && *start + *so_far == offset
        {
            *so_far += length;
            return;
        }
        self.flush_content();
        self.flush_raw();
        self.content = Some((path.to_vec(), offset, length));
    }

    /// What was at `path` until now lies aside under `number`.
    pub(crate) fn moved(&mut self, path: &[u8], number: u64) {
        self.flush_content();
        self.flush_raw();
        let record = [
            &[MOVED][..],
            &leb128(path.len() as u64),
            path,
            &leb128(number),
        ]
        .concat();
        self.write(&record);
    }

    /// Ends the record; the first failure of all the writing.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush_content();
        self.flush_raw();
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.output.finish()?.file.flush()
    }

    fn flush_content(&mut self) {
        if let Some((path, offset, length)) = self.content.take() {
            let record = [
                &[CONTENT][..],
                &leb128(path.len() as u64),
                &path,
                &leb128(offset),
                &leb128(length),
            ]
            .concat();
            self.write(&record);
        }
    }

    fn flush_raw(&mut self) {
        let raw = std::mem::take(&mut self.raw);
        for part in raw.chunks(RAW_LIMIT) {
            self.write(&[&[RAW][..], &leb128(part.len() as u64)].concat());
            self.write(part);
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.output.write_all(bytes).err();
        }
    }
}

/// A file that grows only so far: an archive may consist of nothing but headers.
struct Limited {
    file: BufWriter<File>,
    left: u64,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            let message = "its headers need more than may be used on the disk";
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        };
        self.left = left;
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Reads a record piece by piece.
pub(crate) struct SplitReader {
    input: Box<dyn Read + Send>,
}

impl std::fmt::Debug for SplitReader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SplitReader").finish_non_exhaustive()
    }
}

impl SplitReader {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let decoder = zstd::stream::read::Decoder::new(File::open(path)?)?;
        Ok(Self {
            input: Box::new(BufReader::with_capacity(RAW_LIMIT, decoder)),
        })
    }

    /// The next piece; none at the end.
    pub(crate) fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        let mut kind = [0];
        if self.input.read(&mut kind)? == 0 {
            return Ok(None);
        }
        Ok(Some(match kind[0] {
            RAW => Piece::Raw(self.bytes()?),
            CONTENT => Piece::Content {
                path: self.bytes()?,
                offset: self.number()?,
                length: self.number()?,
            },
            MOVED => Piece::Moved {
                path: self.bytes()?,
                number: self.number()?,
            },
            _ => return Err(damaged()),
        }))
    }

    fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let length = self.number()?;
        if length > LENGTH_LIMIT {
            return Err(damaged());
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| damaged())?];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.input.read_exact(&mut byte)?;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged())
    }
}

fn damaged() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the record of a layer's archive is damaged",
    )
}

fn leb128(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4);
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::testing::scratch;

    #[test]
    fn pieces_come_back_and_parts_of_one_file_are_one_piece() {
        let place = scratch();
        let path = place.path().join("split");
        let mut writer = SplitWriter::create(&path, 1 << 20).expect("create");
        writer.raw(b"header");
        writer.raw(b" more");
        writer.content(b"a", 0, 300);
        writer.content(b"a", 300, 1 << 40);
        writer.content(b"b", 7, 1);
        writer.moved(b"a", 200);
        writer.raw(&[0; RAW_LIMIT + 3]);
        writer.finish().expect("finish");
        let mut reader = SplitReader::open(&path).expect("open");
        let mut pieces = Vec::new();
        while let Some(piece) = reader.next_piece().expect("piece") {
            pieces.push(piece);
        }
        let content = |path: &[u8], offset, length| Piece::Content {
            path: path.to_vec(),
            offset,
            length,
        };
        assert_eq!(
            pieces,
            [
                Piece::Raw(b"header more".to_vec()),
                content(b"a", 0, 300 + (1 << 40)),
                content(b"b", 7, 1),
                Piece::Moved {
                    path: b"a".to_vec(),
                    number: 200
                },
                Piece::Raw(vec![0; RAW_LIMIT]),
                Piece::Raw(vec![0; 3]),
            ]
        );
    }

    #[test]
    fn a_record_stops_at_its_limit() {
        let place = scratch();
        let mut writer = SplitWriter::create(&place.path().join("split"), 1000).expect("create");
        let noise: Vec<u8> = (0..400_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        writer.raw(&noise);
        let error = writer.finish().expect_err("too much");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
