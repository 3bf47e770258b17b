//! How long an import takes beside `tar -x` of the same archive: `cargo bench -p hoist-engine --bench image_speed`.
//! `HOIST_BENCH_ARCHIVE` names the archive; without it one is made of the machine's own files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement, run by hand"
)]

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hoist_engine::image::{ImageStore, ImportOptions, StoreOptions};

const ROUNDS: usize = 3;

fn time(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The fastest of some rounds, each with an empty directory.
fn best(place: &Path, mut work: impl FnMut(&Path)) -> Duration {
    let round = |_| {
        let directory = place.join("round");
        fs::create_dir(&directory).unwrap();
        let taken = time(|| work(&directory));
        fs::remove_dir_all(&directory).unwrap();
        taken
    };
    (0..ROUNDS).map(round).min().unwrap()
}

fn archive(place: &Path) -> PathBuf {
    if let Some(given) = std::env::var_os("HOIST_BENCH_ARCHIVE") {
        return given.into();
    }
    let path = place.join("archive.tar");
    let status = Command::new("tar")
        .args(["-C", "/usr", "-cf"])
        .arg(&path)
        .args(["bin", "share"])
        .status()
        .unwrap();
    assert!(status.success());
    path
}

fn import(root: &Path, archive: &Path) {
    let store = ImageStore::open(
        root,
        StoreOptions {
            reserve_bytes: 0,
            ..StoreOptions::default()
        },
    )
    .unwrap();
    let mut file = BufReader::new(File::open(archive).unwrap());
    store.import(&mut file, &ImportOptions::default()).unwrap();
}

fn main() {
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let plain = archive(place.path());
    println!("{:>8} {:>10} {:>10} {:>8}", "", "tar -x", "import", "ratio");
    for (name, compress) in [("plain", ""), ("gzip", "gzip -6"), ("zstd", "zstd -q -3")] {
        let mut path = plain.clone();
        if !compress.is_empty() {
            path = place.path().join(name);
            let command = format!("{compress} < {} > {}", plain.display(), path.display());
            assert!(
                Command::new("sh")
                    .args(["-c", &command])
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let tar = best(place.path(), |directory| {
            let status = Command::new("tar")
                .arg("-C")
                .arg(directory)
                .arg("-xf")
                .arg(&path)
                .status()
                .unwrap();
            assert!(status.success());
        });
        let ours = best(place.path(), |directory| import(directory, &path));
        let ratio = ours.as_secs_f64() / tar.as_secs_f64();
        println!(
            "{name:>8} {:>8}ms {:>8}ms {ratio:>8.2}",
            tar.as_millis(),
            ours.as_millis()
        );
        if !compress.is_empty() {
            fs::remove_file(&path).unwrap();
        }
    }
}
