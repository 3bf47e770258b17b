//! Content digests as OCI writes them. Only SHA-256 is spoken: it is what every registry and archive uses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// A string that is not a SHA-256 digest in OCI's form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a digest of the form sha256:<64 hexadecimal digits>")]
pub struct InvalidDigest(pub String);

const PREFIX: &str = "sha256:";

impl Digest {
    /// The digest of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self::from_hash(&Sha256::digest(content))
    }

    /// The digest whose raw value is `hash` (32 bytes, as a finished hasher gives them).
    #[must_use]
    pub fn from_hash(hash: &[u8]) -> Self {
        Self(format!("{PREFIX}{}", hex::encode(hash)))
    }

    /// The 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    /// The first 12 hexadecimal digits, the form that people read.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    /// The whole digest with its algorithm.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let valid = text.strip_prefix(PREFIX).is_some_and(is_full_hex);
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidDigest(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// Whether `text` is exactly 64 lower-case hexadecimal digits.
#[must_use]
pub fn is_full_hex(text: &str) -> bool {
    text.len() == 64 && is_lower_hex(text)
}

/// Whether `text` holds only lower-case hexadecimal digits.
#[must_use]
pub fn is_lower_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, valid: bool) {
        assert_eq!(text.parse::<Digest>().is_ok(), valid, "{text}");
    }

    #[test]
    fn only_whole_lower_case_sha256_is_a_digest() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        check(&format!("sha256:{hex}"), true);
        check(hex, false);
        check(&format!("sha256:{}", hex.to_uppercase()), false);
        check(&format!("sha256:{}", &hex[1..]), false);
        check(&format!("sha512:{hex}"), false);
        check("sha256:../../../../etc/passwd", false);
        assert_eq!(Digest::of(b"").hex(), hex);
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
    }
}
