//! Finds the last lines of a file without reading all of it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

const BLOCK: u64 = 64 << 10;

/// Where the last `wanted` whole lines begin, and how many there are.
pub(super) fn start_of_last(file: &mut File, wanted: u64) -> io::Result<(u64, u64)> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut ends = 0;
    let mut position = length;
    let mut block = vec![0; BLOCK as usize];
    while position > 0 {
        let start = position.saturating_sub(BLOCK);
        let size = usize::try_from(position - start).map_err(io::Error::other)?;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block[..size])?;
        for index in (0..size).rev().filter(|index| block[*index] == b'\n') {
            // The newline before the wanted lines; the last line's own newline counts as the first.
            if ends == wanted {
                return Ok((start + index as u64 + 1, wanted));
            }
            ends += 1;
        }
        position = start;
    }
    Ok((if wanted == 0 { length } else { 0 }, ends))
}
