//! Maps of sparse files: GNU's old one in the header, and the PAX ones 0.0, 0.1 and 1.0.

use super::header::{BLOCK, Header, SPARSE_FIELD, number};
use super::pax::{Records, decimal};

/// Data of a sparse file: `length` bytes at `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// A sparse file's map, perhaps still to be completed.
#[derive(Debug, Default)]
pub(super) struct Map {
    pub(super) segments: Vec<Segment>,
    /// The file's whole size.
    pub(super) size: u64,
    /// The file's real name, where the format hides it.
    pub(super) name: Option<Vec<u8>>,
    /// Whether the segments stand at the beginning of the data (PAX 1.0).
    pub(super) is_in_data: bool,
}

const SEGMENT_COUNT_IN_BLOCK: usize = 21;
const MORE_IN_BLOCK: usize = SEGMENT_COUNT_IN_BLOCK * SPARSE_FIELD;
/// Offsets and lengths that a text map may have; each takes at least two bytes of metadata.
const NUMBER_LIMIT: u64 = super::METADATA_LIMIT / 2;

/// The map of an entry, or none for an ordinary file.
pub(super) fn find(header: &Header, records: &Records) -> Result<Option<Map>, String> {
    if header.is_old_sparse() {
        return old_map(header).map(Some);
    }
    let name = || records.text("GNU.sparse.name").map(<[u8]>::to_vec);
    let size = || match records.number("GNU.sparse.realsize")? {
        Some(size) => Ok(Some(size)),
        None => records.number("GNU.sparse.size"),
    };
    if records.text("GNU.sparse.major") == Some(b"1")
        && records.text("GNU.sparse.minor") == Some(b"0")
    {
        let size = size()?.ok_or("a sparse file has no size")?;
        return Ok(Some(Map {
            size,
            name: name(),
            is_in_data: true,
            ..Map::default()
        }));
    }
    let numbers = if let Some(list) = records.text("GNU.sparse.map") {
        list.split(|byte| *byte == b',')
            .map(decimal)
            .collect::<Option<Vec<u64>>>()
    } else if records.text("GNU.sparse.numblocks").is_some() {
        alternating(records)
    } else {
        return Ok(None);
    };
    let segments = numbers
        .and_then(|numbers| pairs(&numbers))
        .ok_or("a sparse file's map is malformed")?;
    let size = size()?.ok_or("a sparse file has no size")?;
    Ok(Some(Map {
        segments,
        size,
        name: name(),
        is_in_data: false,
    }))
}

impl Map {
    /// Takes the segments of a further block of an old map; says whether another one follows.
    pub(super) fn extend(&mut self, block: &[u8; BLOCK]) -> Result<bool, String> {
        take_fields(&block[..MORE_IN_BLOCK], &mut self.segments)?;
        Ok(block[MORE_IN_BLOCK] != 0)
    }

    /// Takes the segments of a PAX 1.0 map when `text` has all of it; says whether it had.
    pub(super) fn parse_text(&mut self, text: &[u8]) -> Result<bool, String> {
        let malformed = || "a sparse file's map is malformed".to_owned();
        let mut lines = text
            .split_inclusive(|byte| *byte == b'\n')
            .filter_map(|line| line.strip_suffix(b"\n"));
        let Some(count) = lines.next() else {
            return Ok(false);
        };
        let count = decimal(count)
            .and_then(|count| count.checked_mul(2))
            .filter(|count| *count <= NUMBER_LIMIT)
            .ok_or_else(malformed)?;
        let available = text.iter().filter(|byte| **byte == b'\n').count() as u64;
        if available < count + 1 {
            return Ok(false);
        }
        let count = usize::try_from(count).map_err(|_| malformed())?;
        let numbers = lines
            .take(count)
            .map(decimal)
            .collect::<Option<Vec<u64>>>()
            .ok_or_else(malformed)?;
        self.segments = pairs(&numbers).ok_or_else(malformed)?;
        Ok(true)
    }

    /// Segments ascend, do not overlap, lie in the file, and have `stored` bytes together.
    pub(super) fn check(&self, stored: u64) -> Result<(), String> {
        let mut end = 0_u64;
        let mut total = 0_u64;
        for segment in &self.segments {
            if segment.offset < end {
                return Err("the segments of a sparse file overlap".to_owned());
            }
            end = segment
                .offset
                .checked_add(segment.length)
                .ok_or("a sparse file's segment is too long")?;
            total += segment.length;
        }
        if end > self.size || self.size > i64::MAX as u64 {
            return Err("a sparse file's segment lies outside of the file".to_owned());
        }
        if total != stored {
            return Err(format!(
                "a sparse file has {stored} bytes of data, its map says {total}"
            ));
        }
        Ok(())
    }
}

fn old_map(header: &Header) -> Result<Map, String> {
    let size =
        u64::try_from(header.real_size()?).map_err(|_| "a sparse file has a negative size")?;
    let mut map = Map {
        size,
        ..Map::default()
    };
    take_fields(header.sparse_fields(), &mut map.segments)?;
    Ok(map)
}

fn take_fields(fields: &[u8], segments: &mut Vec<Segment>) -> Result<(), String> {
    for field in fields.chunks_exact(SPARSE_FIELD) {
        // An empty field ends the list.
        if field[0] == 0 {
            break;
        }
        let half = |text: &[u8]| {
            u64::try_from(number(text, "segment")?)
                .map_err(|_| "a segment of a sparse file is negative".to_owned())
        };
        segments.push(Segment {
            offset: half(&field[..12])?,
            length: half(&field[12..])?,
        });
    }
    Ok(())
}

/// PAX 0.0 repeats one record for offsets and one for lengths, in turn.
fn alternating(records: &Records) -> Option<Vec<u64>> {
    let keys = ["GNU.sparse.offset", "GNU.sparse.numbytes"];
    let mut numbers = Vec::new();
    for (index, value) in records.all(&keys) {
        if index != numbers.len() % 2 {
            return None;
        }
        numbers.push(decimal(value)?);
    }
    Some(numbers)
}

fn pairs(numbers: &[u64]) -> Option<Vec<Segment>> {
    if !numbers.len().is_multiple_of(2) {
        return None;
    }
    Some(
        numbers
            .chunks_exact(2)
            .map(|pair| Segment {
                offset: pair[0],
                length: pair[1],
            })
            .collect(),
    )
}
