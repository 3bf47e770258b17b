//! A full disk: the message names what and where, nothing half-made is left, and the next try works when there is room again.
//!
//! Each test runs itself again in a mount namespace of its own with a small tmpfs, which dies with it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hoist_engine::image::{ImageError, ImageStore, ImportOptions, StoreOptions};
use hoist_volumes::{CreateVolume, Populate, Populated, VolumeError, VolumeStore};

const INSIDE: &str = "HOIST_TEST_SMALL_DISK";

/// Runs `test` on a disk of `size`; outside of one, starts the test's own process again inside.
fn on_small_disk(test: &str, size: &str, work: impl FnOnce(&Path)) {
    if let Some(disk) = std::env::var_os(INSIDE) {
        work(Path::new(&disk));
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let disk = place.path();
    let script = format!(
        "mount -t tmpfs -o size={size} tmpfs {0} && exec env {INSIDE}={0} \"$@\"",
        disk.display()
    );
    let output = Command::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-ec",
            &script,
            "sh",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&text)
    );
}

/// An archive of files of incompressible content.
fn archive(names: &[&str], size: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for name in names {
        let mut header = tar::Header::new_gnu();
        header.set_size(size as u64);
        header.set_mode(0o644);
        let mut state = 1_u64;
        let content: Vec<u8> = std::iter::repeat_with(|| noise(&mut state))
            .take(size)
            .collect();
        builder
            .append_data(&mut header, name, &content[..])
            .unwrap();
    }
    builder.into_inner().unwrap()
}

fn noise(state: &mut u64) -> u8 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 56) as u8
}

/// Takes all but `left` bytes of the disk.
fn fill(disk: &Path, left: u64) -> PathBuf {
    let path = disk.join("ballast");
    let space = rustix::fs::statvfs(disk).unwrap();
    let free = space.f_bavail * space.f_frsize;
    fs::write(&path, vec![0; usize::try_from(free - left).unwrap()]).unwrap();
    path
}

#[test]
fn an_import_on_a_full_disk_says_so_and_leaves_nothing() {
    on_small_disk(
        "an_import_on_a_full_disk_says_so_and_leaves_nothing",
        "32m",
        |disk| {
            let root = disk.join("root");
            // No reserve, so that the kernel's error and not our limit is met: the limit counts bytes, the disk whole pages.
            let options = StoreOptions {
                reserve_bytes: 0,
                ..StoreOptions::default()
            };
            let store = ImageStore::open(&root, options).unwrap();
            let names: Vec<String> = (0..1500).map(|index| format!("d/file{index}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let archive = archive(&names, 100);
            let ballast = fill(disk, 3 << 20);
            let error = store
                .import(&mut &archive[..], &ImportOptions::default())
                .unwrap_err();
            assert!(
                matches!(&error, ImageError::NoSpace { object, .. } if object.contains("/d/file")),
                "{error}"
            );
            let text = error.to_string();
            assert!(
                text.contains(&format!(
                    "no space left on the disk of {}/layers while writing /d/file",
                    root.display()
                )),
                "{text}"
            );
            assert_eq!(fs::read_dir(root.join("layers")).unwrap().count(), 1);
            assert_eq!(fs::read_dir(root.join("images/tmp")).unwrap().count(), 0);
            fs::remove_file(ballast).unwrap();
            store
                .import(&mut &archive[..], &ImportOptions::default())
                .unwrap();
            // The limit is met before the disk is, when it can be known.
            let large = self::archive(&["large"], 31 << 20);
            let error = store
                .import(&mut &large[..], &ImportOptions::default())
                .unwrap_err();
            assert!(matches!(error, ImageError::Limit(_)), "{error}");
        },
    );
}

#[test]
fn a_volume_that_cannot_be_filled_stays_empty() {
    on_small_disk(
        "a_volume_that_cannot_be_filled_stays_empty",
        "16m",
        |disk| {
            let layer = tempfile::tempdir().unwrap();
            fs::create_dir(layer.path().join("data")).unwrap();
            for index in 0..10 {
                fs::write(
                    layer.path().join(format!("data/f{index}")),
                    vec![1; 1 << 20],
                )
                .unwrap();
            }
            let store = VolumeStore::open(disk).unwrap();
            let volume = store
                .create(CreateVolume {
                    name: Some("vol".parse().unwrap()),
                    ..CreateVolume::default()
                })
                .unwrap();
            let from = Populate {
                layers: vec![layer.path().to_path_buf()],
                path: "/data".into(),
                subpath: None,
            };
            let ballast = fill(disk, 4 << 20);
            let error = store.populate("vol", &from).unwrap_err();
            assert!(matches!(error, VolumeError::NoSpace { .. }), "{error}");
            assert_eq!(fs::read_dir(&volume.mountpoint).unwrap().count(), 0);
            assert_eq!(
                fs::read_dir(volume.mountpoint.parent().unwrap())
                    .unwrap()
                    .count(),
                2
            );
            fs::remove_file(ballast).unwrap();
            assert_eq!(
                store.populate("vol", &from).unwrap(),
                Populated::Copied {
                    entries: 10,
                    bytes: 10 << 20
                }
            );
        },
    );
}
