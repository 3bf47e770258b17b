//! What can go wrong with a registry.

use std::error::Error as StdError;

type Source = Box<dyn StdError + Send + Sync>;

/// A failed exchange with a registry. Wordings that Docker's clients and scripts match on are Docker's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No connection, or it broke and did not come back.
    #[error("cannot reach the registry {host}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// Nothing came for too long.
    #[error("the registry {host} did not answer within {seconds} s")]
    Timeout {
        /// Host and port.
        host: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The registry wants to know who is asking, or does not let them.
    #[error(
        "{action} access denied for {repository}, repository does not exist or may require 'docker login': denied: {message}"
    )]
    Denied {
        /// `pull`, `push`.
        action: &'static str,
        /// The familiar name.
        repository: String,
        /// What the registry said.
        message: String,
    },
    /// A login that was refused.
    #[error("login attempt to {server} failed: {message}")]
    LoginRefused {
        /// The registry.
        server: String,
        /// What it said.
        message: String,
    },
    /// There is no such manifest.
    #[error("manifest for {reference} not found: manifest unknown: {message}")]
    UnknownManifest {
        /// The familiar name.
        reference: String,
        /// What the registry said.
        message: String,
    },
    /// Some other answer that is no success.
    #[error("{host} answered {status} to {what}: {message}")]
    Status {
        /// Host and port.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What was asked.
        what: String,
        /// What the answer said.
        message: String,
    },
    /// The registry asks to come back later, and said so until patience ended.
    #[error("{host} limits requests (429 toomanyrequests): {message}; try again later, or log in")]
    TooManyRequests {
        /// Host and port.
        host: String,
        /// What the answer said.
        message: String,
    },
    /// The answer cannot be true: wrong digest, wrong size, no end, not what was asked for.
    #[error("{host} gave a wrong answer: {what}")]
    WrongAnswer {
        /// Host and port.
        host: String,
        /// What is wrong, and with which object.
        what: String,
    },
    /// There is an image, but not for this machine.
    #[error("no matching manifest for {wanted} in the manifest list entries: it has {available}")]
    Platform {
        /// What was wanted.
        wanted: String,
        /// What is there.
        available: String,
    },
    /// The configuration of registries is unusable.
    #[error("cannot use {path}: {why}")]
    Config {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// A credential helper or a file of credentials failed.
    #[error("{0}")]
    Credentials(String),
    /// A local file that is to be pushed cannot be read.
    #[error("cannot read {what}")]
    Local {
        /// The object.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl RegistryError {
    pub(crate) fn wrong(host: &str, what: impl Into<String>) -> Self {
        Self::WrongAnswer {
            host: host.to_owned(),
            what: what.into(),
        }
    }

    /// Whether another source of the same content may do better.
    pub fn is_worth_a_mirror(&self) -> bool {
        !matches!(self, Self::Platform { .. } | Self::Local { .. })
    }

    /// Whether the object is not there or not to be seen, as opposed to a failure on the way.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        match self {
            Self::UnknownManifest { .. } | Self::Denied { .. } => true,
            Self::Status { status, .. } => *status == 404,
            _ => false,
        }
    }
}
