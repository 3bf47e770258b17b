//! An archive on its way in: found out how it is compressed, decompressed, hashed on both sides, bounded, all while it is read.
//!
//! Decompression runs on a thread of its own, because it is the slowest part; what it makes is handed over in chunks, and hashed and used by
//! the caller. Where there is nothing to decompress, that thread hashes, so that both have work. Nothing is buffered beyond a few chunks,
//! whatever the size, and chunks that were used go back to be filled again.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest as _, Sha256};

use hoist_api::Digest;

const CHUNK: usize = 256 << 10;
const CHUNKS_AHEAD: usize = 4;
/// xz and zstd let the archive choose how much memory its reader needs; this is what their strongest ordinary levels take.
const XZ_MEMORY: u64 = 256 << 20;
const ZSTD_WINDOW_LOG: u32 = 27;
/// Small archives of zeros are harmless, so the ratio is looked at only beyond this size.
const RATIO_FREE: u64 = 1 << 30;

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

/// What a stream may become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamLimits {
    /// Uncompressed bytes.
    pub(crate) bytes: u64,
    /// Uncompressed bytes for one compressed byte.
    pub(crate) ratio: u64,
}

/// What has to be hashed of an archive; each costs as much as half of its unpacking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hashing {
    /// The archive as it came and what it holds.
    Both,
    /// Only what it holds: whoever gives the archive checks it.
    Plain,
    /// Neither: an archive of archives that have their own digests. The digests that come out mean nothing.
    None,
}

/// Digests and sizes of an archive, as it came and uncompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digests {
    pub(crate) compression: Compression,
    pub(crate) compressed: Digest,
    pub(crate) compressed_size: u64,
    pub(crate) plain: Digest,
    pub(crate) plain_size: u64,
}

impl Compression {
    fn of(magic: &[u8]) -> Self {
        match magic {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // Skippable frames may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, _] => Self::Bzip2,
            _ => Self::None,
        }
    }
}

/// Runs `use_it` on the uncompressed bytes of `source`, and returns what it gave together with the digests that were asked for.
/// `use_it` must read to the end for the digests to be whole.
pub(crate) fn decompressed<T, E>(
    source: &mut (dyn Read + Send),
    (limits, hashing): (StreamLimits, Hashing),
    use_it: impl FnOnce(&mut ChunkReader) -> Result<T, E>,
) -> Result<(T, Digests), E>
where
    E: From<io::Error>,
{
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(CHUNKS_AHEAD);
        let (give_back, used_up) = sync_channel(CHUNKS_AHEAD);
        let handover = Handover { sender, used_up };
        let producer = scope.spawn(move || produce(source, (limits, hashing), &handover));
        let mut chunks = ChunkReader {
            receiver,
            give_back,
            chunk: Vec::new(),
            position: 0,
            hasher: None,
            size: 0,
            failed: false,
        };
        let used = use_it(&mut chunks);
        let (hasher, plain_size) = (chunks.hasher.take(), chunks.size);
        // A producer that waits for room learns that nobody reads.
        drop(chunks);
        let produced = producer
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the decompressor failed")));
        let used = used?;
        let produced = produced?;
        let plain = hasher.or(produced.plain).unwrap_or_default();
        let plain = Digest::from_hash(&plain.finalize());
        Ok((
            used,
            Digests {
                compression: produced.compression,
                compressed: produced.compressed.unwrap_or_else(|| plain.clone()),
                compressed_size: produced.size,
                plain,
                plain_size,
            },
        ))
    })
}

/// What the decompressing thread knows at the end.
struct Produced {
    compression: Compression,
    compressed: Option<Digest>,
    /// Of the uncompressed bytes, when they were hashed there.
    plain: Option<Sha256>,
    size: u64,
}

/// Chunks on their way to the reader, and back.
struct Handover {
    sender: SyncSender<io::Result<Chunk>>,
    used_up: Receiver<Vec<u8>>,
}

/// A piece of what was decompressed.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    /// Whether the reader has to hash it.
    is_to_hash: bool,
}

fn produce(
    source: &mut (dyn Read + Send),
    (limits, hashing): (StreamLimits, Hashing),
    handover: &Handover,
) -> io::Result<Produced> {
    let mut magic = Vec::with_capacity(6);
    let compression = match (&mut *source).take(6).read_to_end(&mut magic) {
        Ok(_) => Compression::of(&magic),
        Err(error) => return tell(handover, error),
    };
    let is_compressed = compression != Compression::None;
    let mut counted = Counted {
        source: Cursor::new(magic).chain(source),
        hasher: (is_compressed && hashing == Hashing::Both).then(Sha256::new),
        size: 0,
    };
    let mut plain = (!is_compressed && hashing != Hashing::None).then(Sha256::new);
    let is_to_hash = is_compressed && hashing != Hashing::None;
    let pumped = pump(&mut counted, (compression, limits), |chunk| {
        if let Some(hasher) = &mut plain {
            hasher.update(&chunk);
        }
        let chunk = Chunk {
            bytes: chunk,
            is_to_hash,
        };
        let sent = handover.sender.send(Ok(chunk));
        sent.map_err(|_| io::Error::other("the archive is not read any more"))?;
        Ok(handover.used_up.try_recv().unwrap_or_default())
    });
    if let Err(error) = pumped {
        return tell(handover, error);
    }
    // What a decompressor leaves unread is part of the digest, too, and whoever gives the archive checks it to its end.
    if is_compressed && let Err(error) = io::copy(&mut counted, &mut io::sink()) {
        return tell(handover, error);
    }
    let digest = counted
        .hasher
        .map(|hasher| Digest::from_hash(&hasher.finalize()));
    Ok(Produced {
        compression,
        compressed: digest,
        plain,
        size: counted.size,
    })
}

/// Hands an error to the reader; if nobody reads any more, the reader has its own.
fn tell(handover: &Handover, error: io::Error) -> io::Result<Produced> {
    let copy = io::Error::new(error.kind(), error.to_string());
    drop(handover.sender.send(Err(error)));
    Err(copy)
}

/// Gives chunk after chunk to `send`, which gives one back that can be filled.
fn pump(
    counted: &mut Counted<impl Read + Send>,
    (compression, limits): (Compression, StreamLimits),
    mut send: impl FnMut(Vec<u8>) -> io::Result<Vec<u8>>,
) -> io::Result<()> {
    let consumed = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let tracked = Tracked {
        source: counted,
        consumed: std::sync::Arc::clone(&consumed),
    };
    let mut plain = decoder(compression, tracked)?;
    let mut size = 0;
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = fill(&mut plain, &mut chunk).map_err(|error| damaged(compression, &error))?;
        if length == 0 {
            return Ok(());
        }
        chunk.truncate(length);
        size += length as u64;
        check_limits(
            size,
            consumed.load(std::sync::atomic::Ordering::Relaxed),
            limits,
        )?;
        chunk = send(chunk)?;
        // Cleared only when it is new: decoders want initialised memory.
        chunk.resize(CHUNK, 0);
    }
}

/// Reads until the buffer is full or the source ends.
fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn check_limits(plain: u64, compressed: u64, limits: StreamLimits) -> io::Result<()> {
    if plain > limits.bytes {
        let message = format!(
            "uncompressed it has more than the {} that may be used on the disk",
            super::unpack::human(limits.bytes)
        );
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    if plain > RATIO_FREE && plain / limits.ratio.max(1) > compressed {
        let message = format!(
            "it is a decompression bomb: {} became {}",
            super::unpack::human(compressed),
            super::unpack::human(plain)
        );
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(())
}

fn damaged(compression: Compression, error: &io::Error) -> io::Error {
    if compression == Compression::None {
        return io::Error::new(error.kind(), error.to_string());
    }
    let name = match compression {
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::Xz => "xz",
        _ => "bzip2",
    };
    io::Error::new(
        error.kind(),
        format!("its {name} data is damaged or cut short: {error}"),
    )
}

fn decoder<'a>(
    compression: Compression,
    source: impl Read + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    if compression == Compression::None {
        return Ok(Box::new(source));
    }
    let source = BufReader::with_capacity(CHUNK, source);
    Ok(match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(source)),
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(
                XZ_MEMORY,
                liblzma::stream::CONCATENATED,
            )?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream))
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
}

/// Counts and hashes what is read.
struct Counted<R> {
    source: R,
    hasher: Option<Sha256>,
    size: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..length]);
        }
        self.size += length as u64;
        Ok(length)
    }
}

/// Lets the ratio be looked at while a decoder owns the source.
struct Tracked<'a, R> {
    source: &'a mut Counted<R>,
    consumed: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl<R: Read> Read for Tracked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.consumed
            .store(self.source.size, std::sync::atomic::Ordering::Relaxed);
        Ok(length)
    }
}

/// Hashes what is written.
#[derive(Debug, Default)]
pub(crate) struct HashWriter {
    hasher: Sha256,
    size: u64,
}

impl HashWriter {
    /// The digest and the number of bytes.
    pub(crate) fn finish(self) -> (Digest, u64) {
        (Digest::from_hash(&self.hasher.finalize()), self.size)
    }
}

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The uncompressed bytes, hashed as they come.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    receiver: Receiver<io::Result<Chunk>>,
    give_back: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    /// Bytes of the chunk that were read.
    position: usize,
    /// Where the decompressing thread does not hash.
    hasher: Option<Sha256>,
    size: u64,
    failed: bool,
}

impl BufRead for ChunkReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position >= self.chunk.len() && !self.failed {
            let used = std::mem::take(&mut self.chunk);
            self.position = 0;
            if used.capacity() > 0 {
                // When there are enough it goes.
                let _ = self.give_back.try_send(used);
            }
            match self.receiver.recv() {
                Ok(Ok(Chunk { bytes, is_to_hash })) => {
                    if is_to_hash {
                        self.hasher.get_or_insert_default().update(&bytes);
                    }
                    self.size += bytes.len() as u64;
                    self.chunk = bytes;
                }
                Ok(Err(error)) => {
                    self.failed = true;
                    return Err(error);
                }
                // The producer is through.
                Err(_) => {}
            }
        }
        Ok(&self.chunk[self.position..])
    }

    fn consume(&mut self, length: usize) {
        self.position += length;
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LIMITS: StreamLimits = StreamLimits {
        bytes: 16 << 20,
        ratio: 100,
    };

    fn read_all(archive: &[u8], limits: StreamLimits) -> io::Result<(Vec<u8>, Digests)> {
        decompressed(&mut &archive[..], (limits, Hashing::Both), |chunks| {
            let mut plain = Vec::new();
            chunks.read_to_end(&mut plain)?;
            Ok(plain)
        })
    }

    fn check(compression: Compression, archive: &[u8], plain: &[u8]) {
        let (found, digests) = read_all(archive, LIMITS).expect("a good archive");
        assert!(found == plain);
        let expected = Digests {
            compression,
            compressed: Digest::of(archive),
            compressed_size: archive.len() as u64,
            plain: Digest::of(plain),
            plain_size: plain.len() as u64,
        };
        assert_eq!(digests, expected);
    }

    fn sample() -> Vec<u8> {
        (0..300_000_u32)
            .flat_map(|number| (number / 3).to_le_bytes())
            .collect()
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_compression_is_recognised_and_hashed_on_both_sides() {
        let plain = sample();
        check(Compression::None, &plain, &plain);
        check(Compression::None, b"", b"");
        check(Compression::None, b"abc", b"abc");
        check(Compression::Gzip, &gzip(&plain), &plain);
        check(
            Compression::Gzip,
            &[gzip(&plain), gzip(b"more")].concat(),
            &[&plain[..], b"more"].concat(),
        );
        check(
            Compression::Zstd,
            &zstd::encode_all(&plain[..], 1).unwrap(),
            &plain,
        );
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&plain).unwrap();
        check(Compression::Xz, &xz.finish().unwrap(), &plain);
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&plain).unwrap();
        check(Compression::Bzip2, &bzip2.finish().unwrap(), &plain);
    }

    #[test]
    fn a_cut_or_damaged_archive_is_an_error() {
        let good = gzip(&sample());
        for cut in [7, good.len() / 2, good.len() - 1] {
            let error = read_all(&good[..cut], LIMITS).expect_err("cut");
            assert!(
                error.to_string().contains("damaged or cut short"),
                "{error}"
            );
        }
        let mut damaged = good;
        let middle = damaged.len() - 5;
        damaged[middle] ^= 1;
        assert!(read_all(&damaged, LIMITS).is_err());
    }

    #[test]
    fn a_stream_stops_at_its_limit() {
        let bomb = gzip(&vec![0; 17 << 20]);
        let error = read_all(&bomb, LIMITS).expect_err("too much");
        assert!(
            error.to_string().contains("more than the 16.8MB"),
            "{error}"
        );
        assert!(
            check_limits(
                2 << 30,
                1 << 20,
                StreamLimits {
                    bytes: u64::MAX,
                    ratio: 400
                }
            )
            .is_err()
        );
        assert!(
            check_limits(
                2 << 30,
                16 << 20,
                StreamLimits {
                    bytes: u64::MAX,
                    ratio: 400
                }
            )
            .is_ok()
        );
    }

    #[test]
    fn a_reader_that_gives_up_does_not_hang() {
        let plain = vec![7; 64 << 20];
        let limits = StreamLimits {
            bytes: u64::MAX,
            ratio: 100,
        };
        let result: io::Result<((), Digests)> =
            decompressed(&mut &plain[..], (limits, Hashing::Both), |_| {
                Err(io::Error::other("enough"))
            });
        assert_eq!(result.expect_err("gave up").to_string(), "enough");
    }
}
