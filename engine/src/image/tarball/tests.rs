//! Formats as the tar crate writes them, and archives that nobody honest writes.

use std::io::Read;

use proptest::prelude::*;

use super::*;
use crate::image::testing::Tar;

fn read(archive: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut reader = TarReader::new(archive);
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut data = Vec::new();
        reader.read_to_end(&mut data).map_err(TarError::Read)?;
        found.push((entry, data));
    }
    Ok(found)
}

#[track_caller]
fn check_refused(archive: &[u8], expected: &str) {
    let error = read(archive).expect_err(expected).to_string();
    assert!(error.contains(expected), "{error}");
}

fn only(archive: &[u8]) -> (Entry, Vec<u8>) {
    let mut found = read(archive).expect("archive");
    assert_eq!(found.len(), 1);
    found.remove(0)
}

/// Changes the last header (before its data and the end mark) and makes its checksum right.
fn with_header(mut archive: Vec<u8>, offset: usize, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let header = &mut archive[offset..offset + 512];
    change(header);
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive
}

#[test]
fn long_names_are_read_in_all_formats() {
    let long = format!("{}/end", "directory-".repeat(30));
    let gnu = only(&Tar::new().symlink(&long, &long).finish()).0;
    assert_eq!(
        (gnu.path.as_slice(), gnu.link.as_slice()),
        (long.as_bytes(), long.as_bytes())
    );
    let pax = Tar::new()
        .pax(&[("path", long.as_bytes()), ("linkpath", b"x")])
        .symlink("short", "target")
        .finish();
    let pax = only(&pax).0;
    assert_eq!(
        (pax.path.as_slice(), pax.link.as_slice()),
        (long.as_bytes(), &b"x"[..])
    );
    let mut ustar = tar::Header::new_ustar();
    let split = format!("{}/{}", "p".repeat(120), "n".repeat(90));
    ustar.set_path(&split).expect("path");
    ustar.set_size(0);
    ustar.set_cksum();
    assert_eq!(only(ustar.as_bytes()).0.path, split.as_bytes());
}

#[test]
fn pax_records_override_the_header() {
    let records: [(&str, &[u8]); 6] = [
        ("uid", b"70000"),
        ("gid", b"4000000000"),
        ("mtime", b"-1.5"),
        ("size", b"3"),
        ("SCHILY.xattr.user.a", b"v\n\0="),
        ("comment", b"x"),
    ];
    let archive = Tar::new().pax(&records).file("f", b"abc").finish();
    let (entry, data) = only(&archive);
    assert_eq!((entry.uid, entry.gid), (70_000, 4_000_000_000));
    assert_eq!(
        entry.mtime,
        Timestamp {
            seconds: -2,
            nanoseconds: 500_000_000
        }
    );
    assert_eq!(entry.xattrs, [(b"user.a".to_vec(), b"v\n\0=".to_vec())]);
    assert_eq!(data, b"abc");
    // They are about one entry only, and an empty value takes a record back.
    let archive = Tar::new()
        .meta(tar::EntryType::XGlobalHeader, b"9 uid=42\n")
        .file("a", b"")
        .pax(&[("uid", b"")])
        .file("b", b"")
        .pax(&[("uid", b"7")])
        .file("c", b"")
        .file("d", b"")
        .finish();
    let uids: Vec<u32> = read(&archive)
        .expect("archive")
        .iter()
        .map(|(entry, _)| entry.uid)
        .collect();
    assert_eq!(uids, [42, 0, 7, 42]);
}

#[test]
fn a_size_record_is_not_about_the_metadata_between() {
    // The trick of 2025: a record of the size before a long name makes readers disagree about where the next header is.
    let long = "n".repeat(150);
    let archive = Tar::new()
        .pax(&[("size", b"5")])
        .file(&long, b"abcde")
        .file("next", b"")
        .finish();
    let found = read(&archive).expect("archive");
    assert_eq!(found.len(), 2);
    assert_eq!(
        (found[0].0.path.as_slice(), found[0].1.as_slice()),
        (long.as_bytes(), &b"abcde"[..])
    );
    assert_eq!(found[1].0.path, b"next");
}

#[test]
fn sizes_that_lie_are_refused() {
    check_refused(
        &Tar::new()
            .pax(&[("size", b"18446744073709551615")])
            .file("f", b"")
            .finish(),
        "declares 18446744073709551615 bytes",
    );
    check_refused(
        &Tar::new()
            .pax(&[("size", b"99999999999999999999")])
            .file("f", b"")
            .finish(),
        "is not a number",
    );
    check_refused(
        &Tar::new().pax(&[("size", b"-1")]).file("f", b"").finish(),
        "is not a number",
    );
    check_refused(
        &Tar::new()
            .pax(&[("size", b"4096")])
            .file("f", b"abc")
            .finish(),
        "ends in the middle of a file",
    );
    let negative = with_header(Tar::new().file("f", b"").finish(), 0, |header| {
        header[124..136].fill(0xff)
    });
    check_refused(&negative, "declares -1 bytes");
    // A directory or link with a size has no data.
    let archive = with_header(
        Tar::new().symlink("l", "t").file("f", b"x").finish(),
        0,
        |header| header[124..136].copy_from_slice(b"00000001000\0"),
    );
    assert_eq!(read(&archive).expect("archive").len(), 2);
}

#[test]
fn metadata_is_bounded() {
    let huge = vec![b'n'; 2 << 20];
    check_refused(
        &Tar::new()
            .meta(tar::EntryType::GNULongName, &huge)
            .file("f", b"")
            .finish(),
        "have more than 1048576 bytes",
    );
    check_refused(
        &Tar::new().meta(tar::EntryType::XHeader, &huge).finish(),
        "have more than 1048576 bytes",
    );
    let endless = (0..3000)
        .fold(Tar::new(), |tar, _| {
            tar.meta(tar::EntryType::GNULongName, b"")
        })
        .file("f", b"")
        .finish();
    check_refused(&endless, "have more than 1048576 bytes");
    let globals = (0..2000).fold(Tar::new(), |tar, index| {
        tar.meta(
            tar::EntryType::XGlobalHeader,
            format!("12 k{index:06}=\n").as_bytes(),
        )
        .file("f", b"")
    });
    check_refused(&globals.finish(), "more than 256 global PAX records");
    // A declared size alone allocates nothing.
    let archive = with_header(
        Tar::new().meta(tar::EntryType::GNULongName, b"x").finish(),
        0,
        |header| header[124..136].copy_from_slice(b"00002000000\0"),
    );
    check_refused(&archive, "ends in the middle of an entry's metadata");
}

#[test]
fn broken_archives_are_refused() {
    let good = Tar::new().file("f", b"abc").finish();
    let mut damaged = good.clone();
    damaged[3] ^= 1;
    check_refused(&damaged, "not a tar header");
    check_refused(&good[..300], "ends in the middle of a header");
    check_refused(
        &Tar::new()
            .raw(tar::EntryType::new(b'V'), "volume", "", b"")
            .finish(),
        "unknown entry type 'V'",
    );
    let after_end = [&good[..1024], &[0; 512], &good[..1024]].concat();
    check_refused(&after_end, "follows the archive's end mark");
    let own_all = with_header(good.clone(), 0, |header| {
        header[108..116].copy_from_slice(b"\x80\0\0\0\xff\xff\xff\xff")
    });
    check_refused(&own_all, "has the uid 4294967295");
    // Archives without an end mark or the last padding exist.
    assert_eq!(read(&good[..1024]).expect("no end mark").len(), 1);
    assert_eq!(read(&good[..515]).expect("no padding").len(), 1);
}

#[test]
fn sparse_maps_are_checked() {
    let map = |text: &'static str, size: &'static str| {
        let major = [
            ("GNU.sparse.map", text.as_bytes()),
            ("GNU.sparse.size", size.as_bytes()),
            ("GNU.sparse.name", b"real"),
        ];
        Tar::new()
            .pax(&major)
            .file("GNUSparseFile.0/f", b"abc")
            .finish()
    };
    let (entry, data) = only(&map("1,2,8,1", "10"));
    assert_eq!(
        (entry.path.as_slice(), entry.size, data.as_slice()),
        (&b"real"[..], 10, &b"abc"[..])
    );
    assert_eq!(
        entry.segments,
        Some(vec![
            Segment {
                offset: 1,
                length: 2
            },
            Segment {
                offset: 8,
                length: 1
            }
        ])
    );
    check_refused(&map("8,1,1,2", "10"), "overlap");
    check_refused(&map("1,2,2,1", "10"), "overlap");
    check_refused(&map("1,2,8,3", "10"), "outside of the file");
    check_refused(&map("1,2", "10"), "its map says 2");
    check_refused(&map("1,2,8", "10"), "malformed");
    check_refused(&map("18446744073709551615,2", "10"), "too long");
    check_refused(&map("1,3", "18446744073709551615"), "outside of the file");
    let in_data = |text: &[u8]| {
        let mut content = text.to_vec();
        content.resize(512, 0);
        content.extend_from_slice(b"abc");
        let records: [(&str, &[u8]); 3] = [
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"10"),
        ];
        Tar::new().pax(&records).file("f", &content).finish()
    };
    assert_eq!(only(&in_data(b"1\n4\n3\n")).1, b"abc");
    check_refused(&in_data(b"99999999999\n"), "malformed");
    check_refused(&in_data(b"200\n1\n"), "too long");
    check_refused(&in_data(b"x\n"), "malformed");
}

#[test]
fn unread_data_is_skipped() {
    let archive = Tar::new().file("a", &[1; 5000]).file("b", b"b").finish();
    let mut reader = TarReader::new(&archive[..]);
    assert_eq!(reader.next_entry().expect("a").expect("a").size, 5000);
    let mut some = [0; 10];
    reader.read_exact(&mut some).expect("data");
    assert_eq!(reader.next_entry().expect("b").expect("b").path, b"b");
    assert_eq!(reader.next_entry().expect("end"), None);
    assert_eq!(reader.next_entry().expect("end"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is damaged, reading ends, and with a value or an error.
    #[test]
    fn damaged_archives_are_read_or_refused(positions in proptest::collection::vec((0..6144_usize, any::<u8>()), 1..12), fix in any::<bool>()) {
        let long = "x".repeat(200);
        let mut archive = Tar::new()
            .directory("d/")
            .pax(&[("mtime", b"1.5"), ("SCHILY.xattr.user.a", b"b"), ("GNU.sparse.map", b"0,3"), ("GNU.sparse.size", b"9")])
            .file("d/f", b"abc")
            .hard_link(&long, "d/f")
            .finish();
        for (position, value) in positions {
            let length = archive.len();
            archive[position % length] = value;
        }
        if fix {
            for offset in (0..archive.len() - 511).step_by(512) {
                if archive[offset..offset + 512] != [0; 512] {
                    archive = with_header(archive, offset, |_| ());
                }
            }
        }
        let mut total = 0;
        if let Ok(found) = read(&archive) {
            total = found.len();
        }
        prop_assert!(total <= archive.len() / 512);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        drop(read(&bytes));
    }
}
