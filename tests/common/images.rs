//! The example images: made once per machine by `examples/images/build.sh` and `tests/tools/demo-check.sh`, put into each
//! host that wants them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::TestHost;
use super::run;

const IMPORT_LIMIT: Duration = Duration::from_secs(120);

/// Imports images by name, each as `NAME:latest` with its recipe's configuration.
#[track_caller]
pub fn import(host: &TestHost, names: &[&str]) {
    for name in names {
        let archive = archive(name);
        let changes = std::fs::read_to_string(archive.with_extension("zst.changes"))
            .expect("build.sh writes it");
        let mut command = host.hoist_command();
        command.args(["image", "import"]);
        for change in changes.lines() {
            command.args(["--change", change]);
        }
        command.arg(&archive).arg(format!("{name}:latest"));
        run::to_end(command, IMPORT_LIMIT).ok();
    }
}

/// Loads the images of `examples/shop`, as `tests/tools/demo-check.sh` has built them from their Dockerfiles.
#[track_caller]
pub fn load_shop(host: &TestHost) {
    let (archive, made_from) = (
        cache().join("shop.tar.zst"),
        cache().join("shop.tar.zst.id"),
    );
    assert!(
        std::fs::read(&made_from).is_ok_and(|known| known == shop_sources()),
        "{}: missing, or built from other files than those of examples/shop: run tests/tools/demo-check.sh, with the \
         built hoist in $HOIST, which builds it",
        archive.display()
    );
    let mut command = host.hoist_command();
    command.args(["image", "load", "--input"]).arg(archive);
    run::to_end(command, IMPORT_LIMIT).ok();
}

/// The text of everything that the shop's images are built from.
fn shop_sources() -> Vec<u8> {
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop");
    let mut ahead: Vec<PathBuf> = ["api", "cache", "db", "web"]
        .map(|name| shop.join(name))
        .into();
    let mut files = Vec::new();
    while let Some(path) = ahead.pop() {
        match std::fs::read_dir(&path) {
            Ok(entries) => ahead.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) => files.push(path),
        }
    }
    // As `sort` has it: by the path's bytes.
    files.sort_by(|one, other| one.as_os_str().cmp(other.as_os_str()));
    files
        .iter()
        .flat_map(|path| std::fs::read(path).expect("a file of the example"))
        .collect()
}

fn cache() -> PathBuf {
    std::env::var_os("HOIST_IMAGE_CACHE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/images"),
        PathBuf::from,
    )
}

/// The image's root file system as a tar archive.
#[track_caller]
pub fn archive(name: &str) -> PathBuf {
    let cache = cache();
    let archive = cache.join(format!("{name}.tar.zst"));
    if !archive.with_extension("zst.id").exists() {
        let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/images/build.sh");
        let status = Command::new(&build)
            .arg(name)
            .env("HOIST_IMAGE_CACHE", &cache)
            .status();
        assert!(
            status.expect("build.sh runs").success(),
            "{} {name}",
            build.display()
        );
    }
    archive
}
