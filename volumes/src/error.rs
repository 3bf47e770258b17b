//! What can go wrong with volumes, and of which kind it is for the API.

use std::io;
use std::path::{Path, PathBuf};

/// A volume operation that failed. Messages that clients match on are Docker's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// Nothing has this name.
    #[error("get {0}: no such volume")]
    NotFound(String),
    /// Not a volume name.
    #[error("{0}")]
    InvalidName(String),
    /// A driver that does not exist here.
    #[error(
        "error looking up volume plugin {0}: plugin {0:?} not found (the only volume driver here is local)"
    )]
    UnknownDriver(String),
    /// A driver option that is unknown, missing or contradicts another.
    #[error("{0}")]
    InvalidOption(String),
    /// The volume exists with other driver options.
    #[error(
        "volume {0} exists already with other driver options: remove it first (hoist volume rm {0}) or choose another name"
    )]
    Differs(String),
    /// The volume is used.
    #[error("remove {name}: volume is in use - [{}]", .users.join(", "))]
    InUse {
        /// The volume.
        name: String,
        /// The containers' ids.
        users: Vec<String>,
    },
    /// The host path of a bind mount does not exist and may not be created.
    #[error("bind source path does not exist: {0}")]
    BindSourceMissing(PathBuf),
    /// A bind mount's host path is not absolute.
    #[error("invalid mount path: {0:?} mount path must be absolute")]
    BindSourceRelative(PathBuf),
    /// A path below a volume (`subpath`) that does not exist or leads out of it.
    #[error("cannot use {subpath:?} of volume {name}")]
    Subpath {
        /// The volume.
        name: String,
        /// What was asked for.
        subpath: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The disk, or a quota on it, is full.
    #[error(
        "no space left on the disk of {directory} while writing {object}: free some space (hoist image rm, hoist volume rm) and try again"
    )]
    NoSpace {
        /// What was being written.
        object: String,
        /// The directory on the full disk.
        directory: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {action} {object}")]
    Io {
        /// The verb: `create`, `rename`.
        action: &'static str,
        /// The path or the entry concerned.
        object: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// The coarse kind of a [`VolumeError`], for the API's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeErrorKind {
    /// 404
    NotFound,
    /// 400
    Invalid,
    /// 409
    Conflict,
    /// 500
    Internal,
}

impl VolumeError {
    /// The coarse kind.
    pub fn kind(&self) -> VolumeErrorKind {
        match self {
            Self::NotFound(_) | Self::UnknownDriver(_) => VolumeErrorKind::NotFound,
            Self::Differs(_) | Self::InUse { .. } => VolumeErrorKind::Conflict,
            Self::NoSpace { .. } | Self::Io { .. } => VolumeErrorKind::Internal,
            _ => VolumeErrorKind::Invalid,
        }
    }

    /// An error of the file system at `path`. A full disk gets its own kind.
    pub(crate) fn at(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        if matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ) {
            let directory = path.parent().unwrap_or(path).to_path_buf();
            return Self::NoSpace {
                object: path.display().to_string(),
                directory,
            };
        }
        Self::Io {
            action,
            object: path.display().to_string(),
            source,
        }
    }
}
