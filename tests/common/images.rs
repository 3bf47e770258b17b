//! The example images: made once per machine by `examples/images/build.sh`, imported into each host that wants them.

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

/// The image's root file system as a tar archive.
#[track_caller]
pub fn archive(name: &str) -> PathBuf {
    let cache = std::env::var_os("HOIST_IMAGE_CACHE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/images"),
        PathBuf::from,
    );
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
