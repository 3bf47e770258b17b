//! A process killed in the middle of an import: whatever the moment, the store opens again, has all images or none, and no rubbish.
//!
//! The test starts itself again to import, and kills that process when it has written so much that it must be in the middle.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hoist_engine::image::{ImageStore, ImportOptions, StoreOptions};

const ROOT: &str = "HOIST_TEST_IMPORT_ROOT";
const NAME: &str = "a_killed_import_leaves_a_store_that_works";
const FILES: usize = 200;

fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for index in 0..FILES {
        let mut header = tar::Header::new_gnu();
        header.set_size(4096);
        header.set_mode(0o644);
        builder
            .append_data(
                &mut header,
                format!("d{}/f{index}", index % 7),
                &[index as u8; 4096][..],
            )
            .unwrap();
    }
    builder.into_inner().unwrap()
}

fn open(root: &Path) -> ImageStore {
    ImageStore::open(
        root,
        StoreOptions {
            reserve_bytes: 0,
            ..StoreOptions::default()
        },
    )
    .unwrap()
}

/// The importing process: reads the archive from its input.
fn import_input(root: &Path) {
    let options = ImportOptions {
        name: Some("x".parse().unwrap()),
        ..ImportOptions::default()
    };
    open(root).import(&mut std::io::stdin(), &options).unwrap();
}

/// Waits until the staged layer has this many files, or the layer is in place.
fn wait_for_files(root: &Path, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let count_in = |directory: &Path| -> usize {
        let directories = fs::read_dir(directory).into_iter().flatten().flatten();
        directories
            .map(|entry| fs::read_dir(entry.path()).into_iter().flatten().count())
            .sum()
    };
    while Instant::now() < deadline {
        let staged = fs::read_dir(root.join("images/tmp"))
            .into_iter()
            .flatten()
            .flatten();
        if staged
            .map(|entry| count_in(&entry.path().join("fs")))
            .sum::<usize>()
            >= count
        {
            return;
        }
        std::thread::yield_now();
    }
    panic!("the import did not get to {count} files");
}

#[test]
fn a_killed_import_leaves_a_store_that_works() {
    if let Some(root) = std::env::var_os(ROOT) {
        import_input(Path::new(&root));
        return;
    }
    let archive = archive();
    // It unpacks in pieces of about 56 files.
    for count in [1, 60, 150] {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        drop(open(root));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env(ROOT, root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // All but the end, so that it cannot get through before it is killed.
        let mut input = child.stdin.take().unwrap();
        input.write_all(&archive[..archive.len() - 4096]).unwrap();
        drop(input.flush());
        wait_for_files(root, count);
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(root);
        assert!(store.list().is_empty());
        assert_eq!(fs::read_dir(root.join("images/tmp")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(root.join("layers")).unwrap().count(), 1);
        let id = store
            .import(&mut &archive[..], &ImportOptions::default())
            .unwrap();
        drop(store);
        assert_eq!(
            open(root).resolve(id.as_str()).unwrap().size,
            (FILES * 4096) as u64
        );
    }
}
