//! Identifiers. A full id is 64 lower-case hexadecimal digits; people also give any unambiguous prefix or a name,
//! which stays a plain `&str` until the engine has resolved it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an id of 64 hexadecimal digits")]
pub struct IdError(String);

fn is_full_id(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

macro_rules! id_type {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes a full id.
            ///
            /// # Errors
            /// When the text is not 64 lower-case hexadecimal digits.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                if is_full_id(&text) { Ok(Self(text)) } else { Err(IdError(text)) }
            }

            /// Makes an id from 32 bytes, usually random ones.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                use std::fmt::Write as _;
                let mut text = String::with_capacity(64);
                for byte in bytes {
                    let _ = write!(text, "{byte:02x}");
                }
                Self(text)
            }

            /// All 64 digits.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first 12 digits, as lists show them.
            #[must_use]
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

id_type!(
    /// A container's full id.
    ContainerId
);
id_type!(
    /// A network's full id.
    NetworkId
);
id_type!(
    /// An exec's full id.
    ExecId
);

/// An image's id: `sha256:` and 64 hexadecimal digits, the digest of its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(String);

impl ImageId {
    /// Takes an id with or without the `sha256:` prefix.
    ///
    /// # Errors
    /// When what follows the prefix is not 64 lower-case hexadecimal digits.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        let digits = text.strip_prefix("sha256:").unwrap_or(&text);
        if is_full_id(digits) {
            Ok(Self(format!("sha256:{digits}")))
        } else {
            Err(IdError(text))
        }
    }

    /// The id with its `sha256:` prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 digits alone.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// The first 12 digits, as lists show them.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.digits()[..12]
    }
}

impl TryFrom<String> for ImageId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> String {
        id.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_64_lower_case_hexadecimal_digits() {
        assert!(ContainerId::new("a".repeat(64)).is_ok());
        for wrong in ["", "abc", &"A".repeat(64), &"g".repeat(64), &"a".repeat(65)] {
            assert!(ContainerId::new(wrong).is_err(), "{wrong}");
        }
        assert_eq!(ContainerId::from_bytes([0xab; 32]).short(), "abababababab");
    }

    #[test]
    fn image_ids_keep_their_algorithm() {
        let id = ImageId::new("1".repeat(64)).unwrap();
        assert_eq!(id.as_str(), format!("sha256:{}", "1".repeat(64)));
        assert_eq!(ImageId::new(id.as_str()).unwrap(), id);
        assert_eq!(id.short(), "111111111111");
    }
}
