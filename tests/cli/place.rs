//! A directory with Compose files, an engine's places that do not exist, and snapshots.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::run::{self, Run};

/// Where a test's commands run.
#[derive(Debug)]
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// An empty directory called `shop`.
    pub(crate) fn new() -> Place {
        let place = Place {
            dir: tempfile::tempdir().expect("a directory can be made"),
        };
        std::fs::create_dir(place.path()).expect("it is ours");
        place
    }

    /// The directory with this `compose.yaml`.
    pub(crate) fn with(compose: &str) -> Place {
        Place::new().file("compose.yaml", compose)
    }

    /// The same with a file.
    pub(crate) fn file(self, name: &str, text: &str) -> Place {
        std::fs::write(self.path().join(name), text).expect("it is ours");
        self
    }

    /// The directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("shop")
    }

    /// `hoist LINE` here; the line is split at blanks.
    #[track_caller]
    pub(crate) fn hoist(&self, line: &str) -> Run {
        run::to_end(self.command(line), crate::common::LONG)
    }

    /// `hoist LINE` here, not started.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hoist"));
        command
            .args(line.split_whitespace())
            .current_dir(self.path());
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", "/nowhere")
            .env("COLUMNS", "100");
        command
            .env("HOIST_ROOT", self.dir.path().join("root"))
            .env("HOIST_STATE", self.dir.path().join("state"));
        command
    }

    /// Everything that the command printed and left with, with this place's paths replaced.
    pub(crate) fn told(&self, run: &Run) -> String {
        let text = format!("{}{}[exit code {}]\n", run.stdout, run.stderr, run.code);
        text.replace(&self.dir.path().display().to_string(), "[PLACE]")
    }

    /// Whether an engine's places have appeared.
    pub(crate) fn has_engine(&self) -> bool {
        self.dir.path().join("root").exists() || self.dir.path().join("state").exists()
    }
}

/// Compares a text with the committed one of this name.
#[track_caller]
pub(crate) fn check_snapshot(name: &str, got: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cli/snapshots")
        .join(format!("{name}.txt"));
    if std::env::var_os("HOIST_BLESS").is_some() {
        std::fs::write(&path, got).expect("the sources can be written");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == got,
        "{name} differs from {}:\n--- expected\n{expected}\n--- got\n{got}\n(HOIST_BLESS=1 accepts it)",
        path.display()
    );
}
