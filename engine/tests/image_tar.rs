//! Real archives, made by the machine's own tools from random trees, come out of an import as they went in.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use hoist_engine::image::{ImageStore, ImportOptions, StoreOptions};
use proptest::prelude::*;

/// One entry of a tree.
#[derive(Debug, Clone)]
struct Made {
    path: Vec<String>,
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    seconds: u64,
    nanoseconds: u32,
    note: Option<String>,
}

#[derive(Debug, Clone)]
enum Kind {
    Directory,
    File(Vec<u8>),
    /// Bytes at an offset, holes around.
    Sparse(u32, u32),
    Symlink(String),
    HardLink(usize),
    Fifo,
    Device(bool, u32, u32),
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[a-f]{1,2}", 1 => "[a-zA-Z0-9 äöü'\"\\\\]{1,20}", 1 => "[x-z]{150}"]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Directory),
        6 => proptest::collection::vec(any::<u8>(), 0..2000).prop_map(Kind::File),
        1 => (0..400_000_u32, 1..9000_u32).prop_map(|(offset, length)| Kind::Sparse(offset, length)),
        2 => prop_oneof!["[a-f/.]{1,30}", "/[a-f]{200}"].prop_map(Kind::Symlink),
        2 => any::<usize>().prop_map(Kind::HardLink),
        1 => Just(Kind::Fifo),
        1 => (any::<bool>(), 1..200_u32, 0..300_u32).prop_map(|(block, major, minor)| Kind::Device(block, major, minor)),
    ]
}

fn made() -> impl Strategy<Value = Made> {
    let path = proptest::collection::vec(name(), 1..5);
    let owner = (0..3_000_000_u32, 0..70_000_u32);
    let time = (0..4_000_000_000_u64, 0..1_000_000_000_u32);
    (
        path,
        kind(),
        0..0o10000_u32,
        owner,
        time,
        proptest::option::of("[a-z]{1,9}"),
    )
        .prop_map(
            |(path, kind, mode, owner, (seconds, nanoseconds), note)| Made {
                path,
                kind,
                mode,
                owner,
                seconds,
                nanoseconds,
                note,
            },
        )
}

/// Makes the entries that can be made; what is in the way of another is left out.
fn build(root: &Path, entries: &[Made]) {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut done: Vec<(PathBuf, &Made)> = Vec::new();
    for entry in entries {
        let path = root.join(entry.path.join("/"));
        let parent = path.parent().unwrap();
        if !is_inside(root, parent)
            || fs::create_dir_all(parent).is_err()
            || fs::symlink_metadata(&path).is_ok()
        {
            continue;
        }
        match &entry.kind {
            Kind::Directory => fs::create_dir(&path).unwrap(),
            Kind::File(content) => fs::write(&path, content).unwrap(),
            Kind::Sparse(offset, length) => {
                let file = fs::File::create(&path).unwrap();
                let content = vec![7; *length as usize];
                std::os::unix::fs::FileExt::write_all_at(&file, &content, u64::from(*offset))
                    .unwrap();
                file.set_len(u64::from(*offset) * 2 + u64::from(*length))
                    .unwrap();
            }
            Kind::Symlink(target) => symlink(target, &path).unwrap(),
            Kind::HardLink(which) => {
                if files.is_empty() {
                    continue;
                }
                fs::hard_link(&files[which % files.len()], &path).unwrap();
                continue;
            }
            Kind::Fifo => node(&path, rustix::fs::FileType::Fifo, (0, 0)),
            Kind::Device(true, major, minor) => {
                node(&path, rustix::fs::FileType::BlockDevice, (*major, *minor))
            }
            Kind::Device(false, major, minor) => node(
                &path,
                rustix::fs::FileType::CharacterDevice,
                (*major, *minor),
            ),
        }
        if path.is_file() && !path.is_symlink() {
            files.push(path.clone());
        }
        done.push((path, entry));
    }
    done.iter()
        .for_each(|(path, entry)| set_owner_and_mode(path, entry));
    // Deepest first: making an entry changes its directory's time.
    done.iter()
        .rev()
        .for_each(|(path, entry)| set_time(path, entry));
    done.iter()
        .filter(|(path, _)| path.is_dir() && !path.is_symlink())
        .for_each(|(path, entry)| set_time(path, entry));
}

/// Whether a path has no link in it, so that nothing is made outside.
fn is_inside(root: &Path, path: &Path) -> bool {
    path.ancestors()
        .take_while(|above| *above != root)
        .all(|above| !above.is_symlink())
}

fn node(path: &Path, kind: rustix::fs::FileType, (major, minor): (u32, u32)) {
    let device = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        kind,
        rustix::fs::Mode::from_raw_mode(0o600),
        device,
    )
    .unwrap();
}

fn set_owner_and_mode(path: &Path, entry: &Made) {
    std::os::unix::fs::lchown(path, Some(entry.owner.0), Some(entry.owner.1)).unwrap();
    if path.is_symlink() {
        return;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(entry.mode)).unwrap();
    if let (Some(note), Kind::File(_) | Kind::Directory) = (&entry.note, &entry.kind) {
        rustix::fs::setxattr(
            path,
            "user.note",
            note.as_bytes(),
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
    }
}

fn set_time(path: &Path, entry: &Made) {
    let time = rustix::fs::Timespec {
        tv_sec: entry.seconds as i64,
        tv_nsec: entry.nanoseconds.into(),
    };
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(
        rustix::fs::CWD,
        path,
        &times,
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
}

/// A tree as text, a line for each entry, with everything that an archive carries.
fn describe(root: &Path, nanoseconds: bool) -> BTreeMap<PathBuf, String> {
    let mut lines = BTreeMap::new();
    let mut first_names: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut ahead = vec![root.to_path_buf()];
    let mut found = Vec::new();
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                ahead.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    for path in found {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let relative = path.strip_prefix(root).unwrap().to_path_buf();
        let first = first_names
            .entry(metadata.ino())
            .or_insert_with(|| relative.clone())
            .clone();
        let what = if kind.is_symlink() {
            format!("link {:?}", fs::read_link(&path).unwrap())
        } else if kind.is_file() {
            format!(
                "file {} {:?}",
                metadata.len(),
                digest(&fs::read(&path).unwrap())
            )
        } else if kind.is_char_device() || kind.is_block_device() {
            format!("device {} {}", kind.is_block_device(), metadata.rdev())
        } else if kind.is_fifo() {
            "fifo".to_owned()
        } else {
            "directory".to_owned()
        };
        let time = if nanoseconds {
            metadata.mtime_nsec()
        } else {
            0
        };
        let note = note(&path);
        let mode = if kind.is_symlink() {
            0
        } else {
            metadata.mode() & 0o7777
        };
        let owner = (metadata.uid(), metadata.gid());
        lines.insert(
            relative,
            format!(
                "{what} {mode:o} {owner:?} {}.{time} {note:?} {first:?}",
                metadata.mtime()
            ),
        );
    }
    lines
}

fn digest(content: &[u8]) -> String {
    hoist_api::Digest::of(content).to_string()
}

fn note(path: &Path) -> Option<Vec<u8>> {
    let mut value = vec![0; 64];
    let length = rustix::fs::lgetxattr(path, "user.note", &mut value).ok()?;
    value.truncate(length);
    Some(value)
}

fn scratch() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() {
        tempfile::tempdir_in(shm).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// Packs with a shell command line that writes to its output, imports, and returns the layer's directory.
fn import(place: &Path, tree: &Path, pack: &str) -> (ImageStore, PathBuf) {
    let packed = Command::new("bash")
        .args(["-ec", &format!("set -o pipefail; {pack}")])
        .current_dir(tree)
        .output()
        .unwrap();
    assert!(
        packed.status.success(),
        "{pack}: {}",
        String::from_utf8_lossy(&packed.stderr)
    );
    let options = StoreOptions {
        reserve_bytes: 0,
        ..StoreOptions::default()
    };
    let store = ImageStore::open(&place.join("root"), options).unwrap();
    let id = store
        .import(&mut &packed.stdout[..], &ImportOptions::default())
        .unwrap_or_else(|error| panic!("{pack}: {error}"));
    let layer = store.resolve(id.as_str()).unwrap().layers[0].clone();
    (store, layer)
}

#[track_caller]
fn check(place: &Path, tree: &Path, pack: &str, nanoseconds: bool) {
    let (store, layer) = import(place, tree, pack);
    let (expected, found) = (describe(tree, nanoseconds), describe(&layer, nanoseconds));
    for (path, line) in &expected {
        assert_eq!(found.get(path), Some(line), "{pack}: {}", path.display());
    }
    assert_eq!(found.len(), expected.len(), "{pack}");
    drop(store);
    fs::remove_dir_all(place.join("root")).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_gnu_tar_packs_is_unpacked_the_same(entries in proptest::collection::vec(made(), 0..40)) {
        let place = scratch();
        let tree = place.path().join("tree");
        fs::create_dir(&tree).unwrap();
        build(&tree, &entries);
        check(place.path(), &tree, "tar --format=pax --xattrs --sparse -c .", true);
        check(place.path(), &tree, "tar --format=pax --xattrs -c . | gzip -1", true);
        // GNU's own format has no attributes and whole seconds.
        let plain: Vec<Made> = entries.iter().cloned().map(|entry| Made { note: None, ..entry }).collect();
        let tree = place.path().join("plain");
        fs::create_dir(&tree).unwrap();
        build(&tree, &plain);
        check(place.path(), &tree, "tar --format=gnu -S -c . | zstd -q -1", false);
        // Children before their directories.
        let backwards = "find . -mindepth 1 -print0 | sort -zr | tar --format=gnu --no-recursion --null --verbatim-files-from -T - -c";
        check(place.path(), &tree, backwards, false);
    }
}

/// A fixed tree that has one of everything.
fn one_of_everything(tree: &Path) {
    let entry = |path: &str, kind: Kind| Made {
        path: path.split('/').map(str::to_owned).collect(),
        kind,
        mode: 0o4751,
        owner: (1000, 2_500_000),
        seconds: 1_600_000_000,
        nanoseconds: 123_456_789,
        note: None,
    };
    fs::create_dir(tree).unwrap();
    build(
        tree,
        &[
            entry("d/e", Kind::Directory),
            entry("d/file", Kind::File(vec![1; 5000])),
            entry("d/same", Kind::HardLink(0)),
            entry("d/link", Kind::Symlink("../../etc".to_owned())),
            entry(
                &format!("{}/{}", "l".repeat(200), "m".repeat(120)),
                Kind::File(b"long".to_vec()),
            ),
            entry("sparse", Kind::Sparse(3_000_000, 5)),
            entry("pipe", Kind::Fifo),
            entry("zero", Kind::Device(false, 1, 5)),
            entry("disk", Kind::Device(true, 8, 0)),
        ],
    );
}

#[test]
fn every_compression_and_sparse_format_is_taken() {
    let place = scratch();
    let tree = place.path().join("tree");
    one_of_everything(&tree);
    for version in ["0.0", "0.1", "1.0"] {
        check(
            place.path(),
            &tree,
            &format!("tar --format=pax --sparse-version={version} -S -c ."),
            true,
        );
    }
    for compressor in ["gzip", "xz -0", "bzip2", "zstd -q --long=27"] {
        check(
            place.path(),
            &tree,
            &format!("tar --format=pax -c . | {compressor}"),
            true,
        );
    }
    // A sparse file of more segments than a header holds.
    let file = fs::File::create(tree.join("many-holes")).unwrap();
    for index in 0..100_u64 {
        std::os::unix::fs::FileExt::write_all_at(&file, b"data", index * 65_536).unwrap();
    }
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1_500_000_000))
        .unwrap();
    for format in ["gnu", "pax"] {
        check(
            place.path(),
            &tree,
            &format!("tar --format={format} -S -c ."),
            false,
        );
    }
    assert!(tree.as_os_str().as_bytes().starts_with(b"/"));
}
