//! Trees that a client sends, honest and hostile, without a network.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use bytes::Bytes;
use hoist_buildkit::proto::session::{Packet, PacketKind, Stat};
use hoist_buildkit::transfer::{Limits, ReceiveError, Received, receive};
use proptest::prelude::*;

const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;

fn entry(path: &str, mode: u32) -> Packet {
    Packet {
        stat: Some(Stat {
            path: path.to_owned(),
            mode,
            mod_time: 1_700_000_000_123_456_789,
            ..Stat::default()
        }),
        ..Packet::default()
    }
}

fn file(path: &str, size: i64) -> Packet {
    let mut packet = entry(path, 0o644);
    packet.stat.as_mut().unwrap().size = size;
    packet
}

fn link(path: &str, mode: u32, to: &str) -> Packet {
    let mut packet = entry(path, mode);
    packet.stat.as_mut().unwrap().linkname = to.to_owned();
    packet
}

fn end() -> Packet {
    Packet::default()
}

fn packet(kind: PacketKind, id: u32, data: &'static str) -> Packet {
    Packet {
        kind: kind as i32,
        id,
        data: Bytes::from_static(data.as_bytes()),
        stat: None,
    }
}

/// A client that answers what it is asked for with "data ID"; what else it says is given.
fn client(root: &Path, said: Vec<Packet>, limits: Limits) -> Result<Received, ReceiveError> {
    let said = std::cell::RefCell::new(VecDeque::from(said));
    let answers = std::cell::RefCell::new(VecDeque::new());
    let next = || {
        let mut answers = answers.borrow_mut();
        said.borrow_mut()
            .pop_front()
            .or_else(|| answers.pop_front())
    };
    let send = |asked: Packet| {
        let mut answers = answers.borrow_mut();
        match PacketKind::try_from(asked.kind) {
            Ok(PacketKind::Request) => {
                let mut data = packet(PacketKind::Data, asked.id, "");
                data.data = Bytes::from(format!("data {}", asked.id));
                answers.push_back(data);
                answers.push_back(packet(PacketKind::Data, asked.id, ""));
            }
            Ok(PacketKind::Finish) => answers.push_back(packet(PacketKind::Finish, 0, "")),
            _ => {}
        }
    };
    receive(root, limits, next, send)
}

fn check(root: &Path, said: Vec<Packet>) -> Result<Received, ReceiveError> {
    client(root, said, Limits::default())
}

#[test]
fn a_tree_arrives_with_its_modes_times_and_links() {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    let tree = || {
        vec![
            entry("bin", DIRECTORY | 0o750),
            link("bin/again", 0o644, "bin/run"),
            entry("bin/run", 0o755 | (1 << 23)),
            entry("dev", DEVICE | 0o600),
            file("empty", 0),
            link("out", SYMLINK | 0o777, "/etc/passwd"),
            end(),
        ]
    };
    fs::create_dir_all(at("old/tree")).unwrap();
    fs::write(at("old/tree/file"), "x").unwrap();
    symlink("/", at("bin")).unwrap();
    let received = check(root.path(), tree()).unwrap();
    assert_eq!((received.entries, received.files), (6, 2));
    assert_eq!(fs::read(at("bin/run")).unwrap(), b"data 2");
    assert_eq!(fs::metadata(at("bin/run")).unwrap().mode() & 0o7777, 0o4755);
    assert_eq!(
        fs::metadata(at("bin/run")).unwrap().mtime_nsec(),
        123_456_789
    );
    let directory = fs::symlink_metadata(at("bin")).unwrap();
    assert!(directory.is_dir() && directory.permissions().mode() & 0o777 == 0o750);
    assert_eq!(directory.mtime(), 1_700_000_000);
    let inode = |path: &str| fs::metadata(at(path)).unwrap().ino();
    assert_eq!(inode("bin/again"), inode("bin/run"));
    assert_eq!(fs::read_link(at("out")).unwrap(), Path::new("/etc/passwd"));
    assert!(!at("old").exists() && !at("dev").exists());
}

#[test]
fn of_the_next_build_only_what_changed_is_moved() {
    let root = tempfile::tempdir().unwrap();
    let tree = |third: i64| {
        vec![
            entry("d", DIRECTORY | 0o755),
            file("d/a", 6),
            file("d/b", 6),
            file("e", third),
            end(),
        ]
    };
    assert_eq!(check(root.path(), tree(6)).unwrap().files, 3);
    assert_eq!(check(root.path(), tree(6)).unwrap().files, 0);
    // Only its size says that it differs.
    assert_eq!(check(root.path(), tree(7)).unwrap().files, 1);
    fs::write(root.path().join("d/b"), "touch!").unwrap();
    fs::write(root.path().join("stray"), "x").unwrap();
    assert_eq!(check(root.path(), tree(6)).unwrap().files, 1);
    assert!(!root.path().join("stray").exists());
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of trees")]
fn hostile_trees_are_refused_and_touch_nothing() {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("root");
    let secret = outer.path().join("secret");
    fs::create_dir(&root).unwrap();
    fs::write(&secret, "untouched").unwrap();
    let absolute = secret.to_string_lossy().into_owned();
    let trees: Vec<(&str, Vec<Packet>)> = vec![
        ("above", vec![file("../secret", 9), end()]),
        ("absolute", vec![file(&absolute, 9), end()]),
        (
            "dots inside",
            vec![
                entry("a", DIRECTORY | 0o755),
                file("a/../../secret", 9),
                end(),
            ],
        ),
        (
            "through a link",
            vec![link("l", SYMLINK | 0o777, ".."), file("l/secret", 9), end()],
        ),
        (
            "a link in place of a directory",
            vec![
                entry("a", DIRECTORY | 0o755),
                link("a", SYMLINK | 0o777, ".."),
                end(),
            ],
        ),
        (
            "hard link above",
            vec![link("h", 0o644, "../secret"), end()],
        ),
        (
            "hard link absolute",
            vec![link("h", 0o644, &absolute), end()],
        ),
        (
            "hard link through a link",
            vec![
                link("h", 0o644, "l/secret"),
                link("l", SYMLINK | 0o777, ".."),
                end(),
            ],
        ),
        (
            "hard link to nothing",
            vec![link("h", 0o644, "gone"), end()],
        ),
        ("no parent", vec![file("a/b", 1), end()]),
        ("twice", vec![file("a", 1), file("a", 1), end()]),
        ("data unasked", vec![packet(PacketKind::Data, 7, "x")]),
        (
            "data of a directory",
            vec![
                entry("a", DIRECTORY | 0o755),
                packet(PacketKind::Data, 0, "x"),
            ],
        ),
        (
            "entries after the end",
            vec![file("a", 1), end(), file("b", 1)],
        ),
        ("a request", vec![packet(PacketKind::Request, 0, "")]),
        ("an early end", vec![packet(PacketKind::Finish, 0, "")]),
        (
            "words",
            vec![packet(PacketKind::Error, 0, "no such directory")],
        ),
        ("nothing", vec![]),
    ];
    for (what, tree) in trees {
        assert!(check(&root, tree).is_err(), "{what}");
        assert_eq!(fs::read(&secret).unwrap(), b"untouched", "{what}");
        assert_eq!(fs::metadata(&secret).unwrap().nlink(), 1, "{what}");
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 2, "{what}");
    }
}

#[test]
fn there_is_an_end_to_everything() {
    let root = tempfile::tempdir().unwrap();
    let limits = Limits {
        entries: 10,
        bytes: 20,
        open_files: 2,
    };
    let endless = (0..100).map(|number| file(&format!("{number:03}"), 1));
    let error = client(root.path(), endless.collect(), limits).unwrap_err();
    assert!(matches!(error, ReceiveError::TooMuch("entries")), "{error}");
    let mut large = vec![file("a", 1), end()];
    large.extend((0..100).map(|_| packet(PacketKind::Data, 0, "0123456789")));
    let error = client(root.path(), large, limits).unwrap_err();
    assert!(matches!(error, ReceiveError::TooMuch("bytes")), "{error}");
    let mut wide = vec![file("b", 1), file("c", 1), file("d", 1)];
    wide.extend((0..3).map(|id| packet(PacketKind::Data, id, "x")));
    let error = client(root.path(), wide, limits).unwrap_err();
    assert!(
        matches!(error, ReceiveError::TooMuch("files at a time")),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is sent, nothing outside changes and nothing panics.
    #[test]
    fn nonsense_stays_inside(
        said in proptest::collection::vec(
            (0..6_i32, "(\\.\\.|[ab]|/){0,4}", any::<u32>(), 0..4_u32, "(\\.\\.|[ab]|/){0,4}"),
            0..20,
        )
    ) {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(outer.path().join("a"), "untouched").unwrap();
        let said = said.into_iter().map(|(kind, path, mode, id, linkname)| Packet {
            kind,
            stat: (mode % 5 != 0).then(|| Stat {
                path,
                mode: if mode % 2 == 0 { mode } else { mode & 0o777 },
                linkname: if mode % 3 == 0 { linkname } else { String::new() },
                ..Stat::default()
            }),
            id,
            data: Bytes::from_static(b"x"),
        });
        let _ = check(&root, said.collect());
        prop_assert_eq!(fs::read(outer.path().join("a")).unwrap(), b"untouched");
        prop_assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 2);
    }
}
