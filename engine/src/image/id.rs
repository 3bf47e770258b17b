//! What an image is known by inside the engine.

use std::fmt;

use hoist_api::Digest;

/// An image's id: the digest of its configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub Digest);

impl ImageId {
    /// `sha256:<64 hex>`, the form on the wire.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The first 12 hexadecimal digits.
    pub fn short(&self) -> &str {
        self.0.short()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}
