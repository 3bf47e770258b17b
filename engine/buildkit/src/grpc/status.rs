//! How a call ended.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use prost::Message as _;

use crate::proto::{Any, RpcStatus};

/// gRPC's codes, those that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs, reason = "gRPC's own names")]
pub enum Code {
    Ok = 0,
    Canceled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Code {
    fn from_number(number: i32) -> Self {
        [
            Self::Ok,
            Self::Canceled,
            Self::InvalidArgument,
            Self::DeadlineExceeded,
            Self::NotFound,
            Self::AlreadyExists,
            Self::PermissionDenied,
            Self::ResourceExhausted,
            Self::FailedPrecondition,
            Self::Unimplemented,
            Self::Internal,
            Self::Unavailable,
            Self::Unauthenticated,
        ]
        .into_iter()
        .find(|code| *code as i32 == number)
        .unwrap_or(Self::Unknown)
    }
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// Its kind.
    pub code: Code,
    /// For people.
    pub message: String,
    /// For programs: BuildKit's clients find the failed lines of the Dockerfile here.
    pub details: Vec<Any>,
}

impl Status {
    /// A failure without details.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Vec::new(),
        }
    }

    /// As a message.
    pub(crate) fn from_message(status: RpcStatus) -> Self {
        Self {
            code: Code::from_number(status.code),
            message: status.message,
            details: status.details,
        }
    }

    /// Writes it where gRPC has it: headers when there is no body, else trailers.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.insert("grpc-status", HeaderValue::from(self.code as i32));
        if let Ok(message) = HeaderValue::from_str(&escape(&self.message)) {
            headers.insert("grpc-message", message);
        }
        if !self.details.is_empty() {
            let message = RpcStatus {
                code: self.code as i32,
                message: self.message.clone(),
                details: self.details.clone(),
            };
            let text = STANDARD_NO_PAD.encode(message.encode_to_vec());
            if let Ok(details) = HeaderValue::from_str(&text) {
                headers.insert("grpc-status-details-bin", details);
            }
        }
    }

    /// Reads headers or trailers.
    ///
    /// # Errors
    /// The status, unless it is that all is well.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<(), Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let code = match text("grpc-status").map(str::parse) {
            None | Some(Ok(0)) => return Ok(()),
            Some(Ok(number)) => Code::from_number(number),
            Some(Err(_)) => Code::Unknown,
        };
        let details = text("grpc-status-details-bin")
            .and_then(|text| {
                let text = text.trim_end_matches('=');
                STANDARD_NO_PAD
                    .decode(text)
                    .or_else(|_| STANDARD.decode(text))
                    .ok()
            })
            .and_then(|bytes| RpcStatus::decode(bytes.as_slice()).ok())
            .map(|status| status.details)
            .unwrap_or_default();
        Err(Self {
            code,
            message: unescape(text("grpc-message").unwrap_or_default()),
            details,
        })
    }
}

/// gRPC's percent-encoding of messages: all but printable ASCII, and the percent sign.
fn escape(message: &str) -> String {
    let mut escaped = String::with_capacity(message.len());
    for byte in message.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push_str(&hex::encode_upper([byte]));
        }
    }
    escaped
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut message = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let decoded = bytes
            .get(at + 1..at + 3)
            .filter(|_| byte == b'%')
            .and_then(|digits| hex::decode(digits).ok());
        match decoded {
            Some(decoded) => {
                message.extend(decoded);
                at += 3;
            }
            None => {
                message.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&message).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_survive_headers() {
        for message in ["", "a b", "100 %", "grün\nzwei", "%41"] {
            let status = Status {
                code: Code::NotFound,
                message: message.to_owned(),
                details: vec![Any {
                    type_url: "x".to_owned(),
                    value: vec![0, 255],
                }],
            };
            let mut headers = HeaderMap::new();
            status.write(&mut headers);
            assert_eq!(Status::from_headers(&headers), Err(status));
        }
        assert_eq!(Status::from_headers(&HeaderMap::new()), Ok(()));
    }
}
