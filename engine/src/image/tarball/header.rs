//! The 512-byte header block: field positions of V7, ustar and GNU, numbers, the checksum.

use super::pax::Records;
use super::{Entry, EntryKind, Timestamp};

/// The size of a header and the unit of all data.
pub(super) const BLOCK: usize = 512;

/// One sparse segment's place in a header: offset and length, twelve characters each.
pub(super) const SPARSE_FIELD: usize = 24;

const NAME: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const UID: std::ops::Range<usize> = 108..116;
const GID: std::ops::Range<usize> = 116..124;
const SIZE: std::ops::Range<usize> = 124..136;
const MTIME: std::ops::Range<usize> = 136..148;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const LINK: std::ops::Range<usize> = 157..257;
const MAGIC: std::ops::Range<usize> = 257..265;
const MAJOR: std::ops::Range<usize> = 329..337;
const MINOR: std::ops::Range<usize> = 337..345;
const PREFIX: std::ops::Range<usize> = 345..500;
const STAR_PREFIX: std::ops::Range<usize> = 345..476;
const STAR_TRAILER: std::ops::Range<usize> = 508..512;
const SPARSE: std::ops::Range<usize> = 386..482;
const MORE_SPARSE: usize = 482;
const REAL_SIZE: std::ops::Range<usize> = 483..495;

const NO_HEADER: &str = "this is not a tar header (wrong checksum)";
const MODE_BITS: i64 = 0o7777;

/// A header block whose checksum is right.
#[derive(Debug, Clone)]
pub(super) struct Header {
    block: [u8; BLOCK],
}

impl Header {
    pub(super) fn parse(block: [u8; BLOCK]) -> Result<Self, String> {
        let expected = number(&block[CHECKSUM], "checksum").map_err(|_| NO_HEADER.to_owned())?;
        let is_field = |index: usize| CHECKSUM.contains(&index);
        let sum = |value: fn(u8) -> i64| -> i64 {
            block
                .iter()
                .enumerate()
                .map(|(index, byte)| {
                    if is_field(index) {
                        i64::from(b' ')
                    } else {
                        value(*byte)
                    }
                })
                .sum()
        };
        // Old writers summed signed characters.
        if expected == sum(i64::from) || expected == sum(|byte| i64::from(byte as i8)) {
            Ok(Self { block })
        } else {
            Err(NO_HEADER.to_owned())
        }
    }

    pub(super) fn kind(&self) -> u8 {
        self.block[KIND]
    }

    /// Whether the type says no more than "file", so that a name with a slash at its end is a directory (V7).
    pub(super) fn is_plain_file(&self) -> bool {
        matches!(self.kind(), 0 | b'0')
    }

    pub(super) fn size(&self) -> Result<u64, String> {
        let size = number(&self.block[SIZE], "size")?;
        u64::try_from(size).map_err(|_| format!("an entry declares {size} bytes"))
    }

    /// The entry, with what PAX records say about it.
    pub(super) fn entry(&self, records: &Records) -> Result<Entry, String> {
        let kind = self.entry_kind()?;
        let has_device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        let device = if has_device {
            (self.id(MAJOR, "major")?, self.id(MINOR, "minor")?)
        } else {
            (0, 0)
        };
        let size = match records.number("size")? {
            Some(size) => size,
            None => self.size()?,
        };
        Ok(Entry {
            path: records
                .text("path")
                .map_or_else(|| self.path(), <[u8]>::to_vec),
            kind,
            mode: (number(&self.block[MODE], "mode")? & MODE_BITS) as u32,
            uid: records.id("uid")?.map_or_else(|| self.id(UID, "uid"), Ok)?,
            gid: records.id("gid")?.map_or_else(|| self.id(GID, "gid"), Ok)?,
            mtime: records.time("mtime")?.map_or_else(|| self.mtime(), Ok)?,
            size: if kind == EntryKind::File { size } else { 0 },
            link: records
                .text("linkpath")
                .map_or_else(|| until_nul(&self.block[LINK]), <[u8]>::to_vec),
            device,
            xattrs: records.xattrs(),
            segments: None,
        })
    }

    pub(super) fn is_old_sparse(&self) -> bool {
        self.kind() == b'S'
    }

    pub(super) fn has_more_segments(&self) -> bool {
        self.is_old_sparse() && self.block[MORE_SPARSE] != 0
    }

    pub(super) fn sparse_fields(&self) -> &[u8] {
        &self.block[SPARSE]
    }

    pub(super) fn real_size(&self) -> Result<i64, String> {
        number(&self.block[REAL_SIZE], "real size")
    }

    fn entry_kind(&self) -> Result<EntryKind, String> {
        Ok(match self.kind() {
            0 | b'0' | b'7' | b'S' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'3' => EntryKind::CharDevice,
            b'4' => EntryKind::BlockDevice,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            other => {
                let name = String::from_utf8_lossy(&self.path()).into_owned();
                return Err(format!(
                    "{name:?} has the unknown entry type {:?}",
                    char::from(other)
                ));
            }
        })
    }

    fn path(&self) -> Vec<u8> {
        let name = until_nul(&self.block[NAME]);
        let prefix = if &self.block[MAGIC][..6] == b"ustar\0" {
            let is_star = &self.block[STAR_TRAILER] == b"tar\0";
            until_nul(&self.block[if is_star { STAR_PREFIX } else { PREFIX }])
        } else {
            Vec::new()
        };
        if prefix.is_empty() {
            name
        } else {
            [prefix, name].join(&b'/')
        }
    }

    fn id(&self, field: std::ops::Range<usize>, what: &str) -> Result<u32, String> {
        let value = number(&self.block[field], what)?;
        as_id(value).ok_or_else(|| format!("an entry has the {what} {value}"))
    }

    fn mtime(&self) -> Result<Timestamp, String> {
        Ok(Timestamp {
            seconds: number(&self.block[MTIME], "time")?,
            nanoseconds: 0,
        })
    }
}

/// All ones means "leave it" to the kernel, so it is nobody's id.
pub(super) fn as_id(value: impl TryInto<u32>) -> Option<u32> {
    value.try_into().ok().filter(|id| *id != u32::MAX)
}

fn until_nul(field: &[u8]) -> Vec<u8> {
    field
        .iter()
        .copied()
        .take_while(|byte| *byte != 0)
        .collect()
}

/// A number in a header: octal digits among blanks and NULs, or big-endian two's complement when the first bit is set (GNU, star).
pub(super) fn number(field: &[u8], what: &str) -> Result<i64, String> {
    if field.first().is_some_and(|byte| byte & 0x80 != 0) {
        return binary(field).ok_or_else(|| format!("the {what} of an entry is too large"));
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field
        .iter()
        .position(|byte| !is_blank(byte))
        .unwrap_or(field.len());
    let end = field[start..]
        .iter()
        .position(is_blank)
        .map_or(field.len(), |length| start + length);
    field[start..end]
        .iter()
        .try_fold(0_i64, |value, byte| match byte {
            b'0'..=b'7' => Ok(value << 3 | i64::from(byte - b'0')),
            _ => Err(format!("the {what} of an entry is not a number")),
        })
}

fn binary(field: &[u8]) -> Option<i64> {
    // The first bit is the mark, the second the sign.
    let first = field[0] & 0x7f;
    let start = if first & 0x40 != 0 {
        -1_i64 << 7 | i64::from(first)
    } else {
        i64::from(first)
    };
    field[1..].iter().try_fold(start, |value, byte| {
        value.checked_mul(256)?.checked_add(i64::from(*byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(field: &[u8], expected: Option<i64>) {
        assert_eq!(number(field, "size").ok(), expected, "{field:?}");
    }

    #[test]
    fn numbers_are_octal_or_binary() {
        check(b"0000644\0", Some(0o644));
        check(b"   644 \0", Some(0o644));
        check(b"\0\0\0\0\0\0\0\0", Some(0));
        check(b"77777777777\0", Some(0o77777777777));
        check(b"777777777777", Some(0o777777777777));
        check(b"\x80\0\0\0\0\0\0\x01", Some(1));
        check(b"\x80\0\0\0\x02\0\0\0\0\0\0\0", Some(2 << 56));
        check(b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1));
        check(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", None);
        check(b"-1\0\0\0\0\0\0", None);
        check(b"0x12\0\0\0\0", None);
        check(b"8\0\0\0\0\0\0\0", None);
    }
}
