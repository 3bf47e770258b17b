//! The host side of bind mounts.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Path, PathBuf};

use crate::error::VolumeError;

/// A bind mount's host path, and what to do when it does not exist.
#[derive(Debug, Clone)]
pub struct BindRequest {
    /// The absolute host path.
    pub path: PathBuf,
    /// Whether a missing path is made as a directory: Compose's short syntax and `create_host_path`, Docker's `-v`.
    pub create: bool,
}

/// What a bind mount's host path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A socket, device node or named pipe: mounted on a file.
    Special,
}

/// A host path that exists and can be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindSource {
    /// The path as it was asked for (links in it are the host's own and are followed).
    pub path: PathBuf,
    /// What it is.
    pub kind: BindKind,
    /// Whether it was made just now.
    pub created: bool,
}

impl BindRequest {
    /// Finds or makes the host path.
    ///
    /// # Errors
    /// [`VolumeError::BindSourceRelative`], [`VolumeError::BindSourceMissing`], or the path cannot be looked at or made.
    pub fn resolve(&self) -> Result<BindSource, VolumeError> {
        if !self.path.is_absolute() {
            return Err(VolumeError::BindSourceRelative(self.path.clone()));
        }
        match classify(&self.path) {
            Ok(kind) => Ok(BindSource {
                path: self.path.clone(),
                kind,
                created: false,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.create => {
                self.make_directory()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(VolumeError::BindSourceMissing(self.path.clone()))
            }
            Err(error) => Err(VolumeError::at("look at bind source", &self.path, error)),
        }
    }

    fn make_directory(&self) -> Result<BindSource, VolumeError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&self.path)
            .map_err(|error| VolumeError::at("create bind source", &self.path, error))?;
        Ok(BindSource {
            path: self.path.clone(),
            kind: BindKind::Directory,
            created: true,
        })
    }
}

fn classify(path: &Path) -> io::Result<BindKind> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Ok(BindKind::Directory);
    }
    let special =
        kind.is_socket() || kind.is_fifo() || kind.is_char_device() || kind.is_block_device();
    Ok(if special {
        BindKind::Special
    } else {
        BindKind::File
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &Path, create: bool) -> Result<(BindKind, bool), String> {
        let request = BindRequest {
            path: path.to_path_buf(),
            create,
        };
        request
            .resolve()
            .map(|source| (source.kind, source.created))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn existing_paths_are_taken_as_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        fs::write(&file, "x").unwrap();
        let socket = directory.path().join("s");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(
            check(directory.path(), false),
            Ok((BindKind::Directory, false))
        );
        assert_eq!(check(&file, true), Ok((BindKind::File, false)));
        assert_eq!(check(&socket, true), Ok((BindKind::Special, false)));
    }

    #[test]
    fn a_missing_path_is_made_or_refused() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("a/b");
        assert_eq!(
            check(&missing, false),
            Err(format!(
                "bind source path does not exist: {}",
                missing.display()
            ))
        );
        assert_eq!(check(&missing, true), Ok((BindKind::Directory, true)));
        assert_eq!(check(&missing, false), Ok((BindKind::Directory, false)));
        assert!(check(Path::new("a"), true).is_err());
    }
}
