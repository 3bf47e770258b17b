//! What a builder needs of the store beside layers: space back, and telling archives from other files.

use std::fs::File;
use std::io::{self, Seek as _};

use super::store::ImageStore;
use super::stream::{ChunkReader, Hashing, StreamLimits, decompressed};
use super::tarball::TarReader;

/// Enough to see an archive's first entry, with the longest records before it.
const LOOK: u64 = 4 << 20;

impl ImageStore {
    /// Removes the layers that nothing needs any more; the bytes that came back.
    pub(crate) fn reclaim(&self) -> u64 {
        self.sweep().1
    }
}

/// Whether a file is a tar archive, plain or compressed. It is read from its beginning again afterwards.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn is_archive(file: &mut File) -> io::Result<bool> {
    let mut found = false;
    let limits = StreamLimits {
        bytes: LOOK,
        ratio: u64::MAX,
    };
    let look = |chunks: &mut ChunkReader| {
        found = matches!(TarReader::new(chunks).next_entry(), Ok(Some(_)));
        Ok::<(), io::Error>(())
    };
    // That it was not read to its end, or is no stream of any kind, is the answer and no error.
    let _ = decompressed(file, (limits, Hashing::None), look);
    file.rewind()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn check(content: &[u8], expected: bool) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        assert_eq!(is_archive(&mut file).unwrap(), expected);
        assert_eq!(file.stream_position().unwrap(), 0);
    }

    #[test]
    fn archives_are_told_from_other_files() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(8 << 20);
        let content = vec![7; 8 << 20];
        archive
            .append_data(&mut header, "big", content.as_slice())
            .unwrap();
        let archive = archive.into_inner().unwrap();
        check(&archive, true);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&archive).unwrap();
        check(&gzip.finish().unwrap(), true);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"only text").unwrap();
        check(&gzip.finish().unwrap(), false);
        check(b"", false);
        check(b"#!/bin/sh\n", false);
        check(&vec![0; 4096], false);
    }
}
