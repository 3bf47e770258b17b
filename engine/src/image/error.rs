//! What can go wrong in the image store, and of which kind it is for the API.

use std::io;
use std::path::{Path, PathBuf};

use hoist_api::image_ref::ImageRefError;

/// An image operation that failed. Messages that start with a capital or name a conflict are Docker's: clients match on them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Nothing has this name or id.
    #[error("No such image: {0}")]
    NotFound(String),
    /// An id's beginning that more than one image has.
    #[error("multiple images have an id that begins with {0}: give more of its digits")]
    Ambiguous(String),
    /// Not an image name.
    #[error("{name:?} is not an image name")]
    Reference {
        /// What was given.
        name: String,
        /// Why it is none.
        #[source]
        source: ImageRefError,
    },
    /// A removal that needs force or cannot be.
    #[error("conflict: {0}")]
    Conflict(String),
    /// A bad `--change`, platform or option.
    #[error("{0}")]
    InvalidOption(String),
    /// The archive is damaged, hostile, or not of a known kind.
    #[error("cannot read the archive: {0}")]
    InvalidArchive(String),
    /// The archive passes a limit.
    #[error("the archive was refused: {0}")]
    Limit(String),
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
    /// The archive has no image for this machine.
    #[error("no image for {wanted} in the archive, only for {available}")]
    Platform {
        /// What was asked for, `linux/amd64`.
        wanted: String,
        /// What is there.
        available: String,
    },
    /// The store's own files: a system call failed.
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
    /// Another engine has this store open.
    #[error("another engine uses the image store {0}")]
    InUse(PathBuf),
}

/// The coarse kind of an [`ImageError`], for the API's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageErrorKind {
    /// 404
    NotFound,
    /// 400
    Invalid,
    /// 409
    Conflict,
    /// 500, with a message that says what to do.
    NoSpace,
    /// 500
    Internal,
}

impl ImageError {
    /// The coarse kind.
    pub fn kind(&self) -> ImageErrorKind {
        match self {
            Self::NotFound(_) => ImageErrorKind::NotFound,
            Self::Conflict(_) => ImageErrorKind::Conflict,
            Self::NoSpace { .. } => ImageErrorKind::NoSpace,
            Self::Io { .. } | Self::InUse(_) => ImageErrorKind::Internal,
            _ => ImageErrorKind::Invalid,
        }
    }

    /// An error of the file system at `path`. A full disk gets its own kind.
    pub(crate) fn at(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        if is_full(&source) {
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

/// Whether the error means that the disk or a quota on it is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
