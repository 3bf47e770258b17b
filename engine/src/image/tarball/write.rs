//! Writes tar headers: ustar where an entry fits it, with a PAX record before it where it does not. The same entry always gives the same
//! bytes.

use super::header::BLOCK;
use super::{Entry, EntryKind};

/// The two empty blocks at an archive's end.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

const NAME: usize = 100;
const PREFIX: usize = 155;
/// The largest numbers of an octal field with 7 and 11 digits.
const SMALL: u64 = 0o7_777_777;
const LARGE: u64 = 0o77_777_777_777;

/// The header blocks of an entry; its data and [`padding`] follow.
pub(crate) fn header(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    let name = fit_name(&entry.path, &mut records);
    let link = fit(&entry.link, NAME, "linkpath", &mut records);
    let numbers = Numbers {
        uid: fit_number(entry.uid.into(), SMALL, "uid", &mut records),
        gid: fit_number(entry.gid.into(), SMALL, "gid", &mut records),
        size: fit_number(entry.size, LARGE, "size", &mut records),
        mtime: fit_time(entry, &mut records),
    };
    for (name, value) in &entry.xattrs {
        let key = [b"SCHILY.xattr.", name.as_slice()].concat();
        push_record(&mut records, &key, value);
    }
    let mut out = Vec::new();
    if !records.is_empty() {
        let base = entry
            .path
            .split(|byte| *byte == b'/')
            .rfind(|part| !part.is_empty());
        let mut name = [b"PaxHeaders.0/", base.unwrap_or_default()].concat();
        name.truncate(NAME);
        let plain = Numbers {
            size: records.len() as u64,
            ..Numbers::default()
        };
        out.extend(block(b'x', (b"", &name), (b"", 0o644), &plain));
        let padding = padding(records.len() as u64);
        out.append(&mut records);
        out.resize(out.len() + padding, 0);
    }
    let mut header = block(kind(entry.kind), name, (link, entry.mode), &numbers);
    if matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
        octal(&mut header[329..337], entry.device.0.into());
        octal(&mut header[337..345], entry.device.1.into());
        checksum(&mut header);
    }
    out.extend(header);
    out
}

/// Bytes of padding after data of this size.
pub(crate) fn padding(size: u64) -> usize {
    let block = BLOCK as u64;
    usize::try_from((block - size % block) % block).unwrap_or(0)
}

#[derive(Default)]
struct Numbers {
    uid: u64,
    gid: u64,
    size: u64,
    mtime: u64,
}

fn kind(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::File => b'0',
        EntryKind::HardLink => b'1',
        EntryKind::Symlink => b'2',
        EntryKind::CharDevice => b'3',
        EntryKind::BlockDevice => b'4',
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
    }
}

fn block(
    kind: u8,
    (prefix, name): (&[u8], &[u8]),
    (link, mode): (&[u8], u32),
    numbers: &Numbers,
) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name);
    octal(&mut block[100..108], mode.into());
    octal(&mut block[108..116], numbers.uid);
    octal(&mut block[116..124], numbers.gid);
    octal(&mut block[124..136], numbers.size);
    octal(&mut block[136..148], numbers.mtime);
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    octal(&mut block[329..337], 0);
    octal(&mut block[337..345], 0);
    block[345..345 + prefix.len()].copy_from_slice(prefix);
    checksum(&mut block);
    block
}

fn checksum(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], sum);
    block[155] = b' ';
}

/// Digits up to the last byte of the field, which is NUL.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}");
    field[..digits].copy_from_slice(text.as_bytes());
    field[digits] = 0;
}

/// Splits a name into ustar's prefix and name, or puts it into a record.
fn fit_name<'a>(path: &'a [u8], records: &mut Vec<u8>) -> (&'a [u8], &'a [u8]) {
    if path.len() <= NAME {
        return (b"", path);
    }
    let fits = |slash: &usize| {
        let rest = path.len() - slash - 1;
        *slash > 0 && *slash <= PREFIX && rest > 0 && rest <= NAME
    };
    let mut slashes = (0..path.len()).filter(|index| path[*index] == b'/');
    if let Some(slash) = slashes.rfind(fits) {
        return (&path[..slash], &path[slash + 1..]);
    }
    (b"", fit(path, NAME, "path", records))
}

fn fit<'a>(text: &'a [u8], limit: usize, key: &str, records: &mut Vec<u8>) -> &'a [u8] {
    if text.len() <= limit {
        return text;
    }
    push_record(records, key.as_bytes(), text);
    &text[..limit]
}

fn fit_number(value: u64, limit: u64, key: &str, records: &mut Vec<u8>) -> u64 {
    if value <= limit {
        return value;
    }
    push_record(records, key.as_bytes(), value.to_string().as_bytes());
    0
}

/// Times are whole seconds, as in Docker's layers; before 1970 only a record can say.
fn fit_time(entry: &Entry, records: &mut Vec<u8>) -> u64 {
    let seconds = entry.mtime.seconds;
    match u64::try_from(seconds) {
        Ok(seconds) if seconds <= LARGE => seconds,
        _ => {
            push_record(records, b"mtime", seconds.to_string().as_bytes());
            0
        }
    }
}

/// `<length> <key>=<value>\n`, where the length counts itself.
fn push_record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let body = key.len() + value.len() + 3;
    let mut length = body;
    while length != body + length.to_string().len() {
        length = body + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::super::{TarReader, Timestamp};
    use super::*;
    use proptest::prelude::*;

    fn entry(path: Vec<u8>, link: Vec<u8>) -> Entry {
        Entry {
            path,
            kind: EntryKind::Symlink,
            mode: 0o777,
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            size: 0,
            link,
            device: (0, 0),
            xattrs: Vec::new(),
            segments: None,
        }
    }

    fn check(entry: &Entry) {
        let archive = [header(entry), END.to_vec()].concat();
        let mut reader = TarReader::new(&archive[..]);
        let found = reader.next_entry().expect("readable").expect("an entry");
        assert_eq!(found, *entry);
        assert!(reader.next_entry().expect("readable").is_none());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            path in "[a-z/\u{e9}]{1,300}", link in "[a-z/.]{1,300}", uid in 0..u32::MAX, gid in 0..u32::MAX,
            seconds in -1_000_000_i64..1 << 40, value in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut entry = entry(path.into_bytes(), link.into_bytes());
            (entry.uid, entry.gid, entry.mtime.seconds) = (uid, gid, seconds);
            entry.xattrs = vec![(b"user.x".to_vec(), value)];
            check(&entry);
        }
    }

    #[test]
    fn gnu_tar_reads_devices_and_long_names() {
        let mut device = entry(vec![b'd'; 90], Vec::new());
        (device.kind, device.device) = (EntryKind::CharDevice, (10, 229));
        check(&device);
        let deep = entry([&b"p/"[..]; 70].concat(), b"x".to_vec());
        assert_eq!(header(&deep).len(), BLOCK, "a prefix suffices");
        check(&deep);
    }
}
