//! The one error type of the API: what the wire carries (`{"message": …}` and a status), plus its kind for programs
//! and a hint for people.

use crate::wire::wire;

/// Shorthand for results of API calls.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

/// What kind of failure it is, independent of the HTTP status that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is wrong in itself (400).
    BadRequest,
    /// Nobody has proved who they are (401).
    Unauthorized,
    /// The request is understood and refused (403).
    Forbidden,
    /// No such object (404).
    NotFound,
    /// The object's state does not allow it (409).
    Conflict,
    /// Nothing to do: already started, already stopped (304).
    NotModified,
    /// The engine failed (500 and the rest).
    Internal,
    /// The engine does not do this (501).
    NotImplemented,
    /// The engine cannot do it now, as swarm calls without a swarm (503).
    Unavailable,
    /// No engine answers at the socket, or it went away in the middle.
    Unreachable,
    /// The answer could not be understood.
    Protocol,
}

impl ErrorKind {
    /// The HTTP status that carries this kind; 0 for the kinds that never travel.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::NotModified => 304,
            Self::Internal => 500,
            Self::NotImplemented => 501,
            Self::Unavailable => 503,
            Self::Unreachable | Self::Protocol => 0,
        }
    }

    /// The kind that a status stands for.
    #[must_use]
    pub fn from_status(status: u16) -> Self {
        match status {
            304 => Self::NotModified,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            409 => Self::Conflict,
            501 => Self::NotImplemented,
            503 => Self::Unavailable,
            400..=499 => Self::BadRequest,
            _ => Self::Internal,
        }
    }
}

/// A failed API call, worded for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// The HTTP status; 0 when there was no answer.
    pub status: u16,
    /// What failed and why, with the causes, as Docker words it where scripts match on it.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

impl ApiError {
    /// An error of a kind, with the kind's status.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            status: kind.status(),
            message: message.into(),
            hint: None,
        }
    }

    /// 404.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// 409.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadRequest, message)
    }

    /// 403.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, message)
    }

    /// 304.
    #[must_use]
    pub fn not_modified() -> Self {
        Self::new(ErrorKind::NotModified, "nothing to do")
    }

    /// 500, worded with the error's whole chain of causes.
    #[must_use]
    pub fn internal(error: &(dyn std::error::Error + '_)) -> Self {
        Self::new(ErrorKind::Internal, chain(error))
    }

    /// Adds what the user can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether it is of this kind.
    #[must_use]
    pub fn is(&self, kind: ErrorKind) -> bool {
        self.kind == kind
    }
}

/// An error and its causes on one line, separated by colons.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + '_)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

wire! {
    /// The body of every error answer. `Hint` is ours; Docker's clients ignore it.
    pub struct ErrorBody {
        /// What the client prints.
        #[serde(rename = "message")]
        pub message: String,
        /// What the user can do.
        #[serde(rename = "hint", skip_serializing_if = "Option::is_none")]
        pub hint: Option<String>,
    }
}
