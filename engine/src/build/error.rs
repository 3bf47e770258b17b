//! Why a step could not be done.

use std::io;

use hoist_kernel::error::KernelError;
use rustix::io::Errno;

/// A step failed. Display is for users and names the object; the cause is the source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// A file that the Dockerfile names is not there.
    #[error("{0:?} not found")]
    NotFound(String),
    /// The Dockerfile asks for what cannot be.
    #[error("{0}")]
    Refused(String),
    /// A file cannot be read, written or changed.
    #[error("cannot {action} {object}")]
    Io {
        /// The verb.
        action: &'static str,
        /// What was concerned.
        object: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The store of images says no.
    #[error(transparent)]
    Image(#[from] crate::image::ImageError),
    /// The engine says no: networks, containers.
    #[error("{}", .0.message)]
    Engine(hoist_api::ApiError),
    /// A command ended with another code than 0.
    #[error("process {command:?} did not complete successfully: exit code: {code}")]
    Exit {
        /// Program and arguments.
        command: String,
        /// Its exit code.
        code: i64,
    },
    /// The build was given up.
    #[error("the build was cancelled")]
    Cancelled,
}

impl BuildError {
    /// An I/O failure with its object.
    pub(crate) fn io(
        action: &'static str,
        object: impl AsRef<std::path::Path>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io {
            action,
            object: object.as_ref().display().to_string(),
            source: source.into(),
        }
    }

    /// A failed system call on a path; a missing one is [`BuildError::NotFound`].
    pub(crate) fn kernel(
        action: &'static str,
        object: impl AsRef<std::path::Path>,
        error: &KernelError,
    ) -> Self {
        match error.errno {
            Errno::NOENT | Errno::NOTDIR => Self::NotFound(object.as_ref().display().to_string()),
            errno => Self::io(action, object, errno),
        }
    }
}

impl From<hoist_api::ApiError> for BuildError {
    fn from(error: hoist_api::ApiError) -> Self {
        Self::Engine(error)
    }
}
