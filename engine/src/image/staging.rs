//! The staging directory: everything half-made lies in it, on the same file system as the store, and is gone when the store is opened again.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::ImageError;
use hoist_volumes::erase_tree;

/// Hands out names that nothing else has.
#[derive(Debug, Clone)]
pub(crate) struct Staging {
    directory: Arc<PathBuf>,
    next: Arc<AtomicU64>,
}

/// A directory that is removed with all that is in it, unless it was kept (renamed away).
#[derive(Debug)]
pub(crate) struct StagedDirectory {
    path: PathBuf,
    is_kept: std::sync::atomic::AtomicBool,
}

impl Staging {
    /// Empties and opens the staging directory.
    pub(crate) fn open(directory: PathBuf) -> Result<Self, ImageError> {
        erase_tree(&directory).map_err(|error| ImageError::at("empty", &directory, error))?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| ImageError::at("create", &directory, error))?;
        Ok(Self {
            directory: Arc::new(directory),
            next: Arc::default(),
        })
    }

    /// A path in it that nothing has.
    pub(crate) fn name(&self, kind: &str) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.directory.join(format!("{kind}-{number}"))
    }

    /// A new directory.
    pub(crate) fn directory(&self, kind: &str) -> Result<StagedDirectory, ImageError> {
        let path = self.name(kind);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| ImageError::at("create", &path, error))?;
        Ok(StagedDirectory {
            path,
            is_kept: false.into(),
        })
    }
}

impl StagedDirectory {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Says that the directory is somewhere else now.
    pub(crate) fn keep(&self) {
        self.is_kept
            .store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Drop for StagedDirectory {
    fn drop(&mut self) {
        if !self.is_kept.load(std::sync::atomic::Ordering::Relaxed)
            && let Err(error) = erase_tree(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a half-made layer now; the next start of the engine does");
        }
    }
}
