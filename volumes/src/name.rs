//! Volume names: Docker's rule, and anonymous ones.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::VolumeError;

/// A valid volume name: letters, digits, `_`, `.`, `-`, at least two, beginning with a letter or digit. So it is also a safe file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(String);

/// What a file name can hold.
const LENGTH_LIMIT: usize = 255;

impl VolumeName {
    /// A new name of 64 random hexadecimal digits, as anonymous volumes have.
    ///
    /// # Errors
    /// The kernel's random source cannot be read.
    pub fn anonymous() -> Result<Self, VolumeError> {
        let path = std::path::Path::new("/dev/urandom");
        let mut bytes = [0_u8; 32];
        File::open(path)
            .and_then(|mut source| source.read_exact(&mut bytes))
            .map_err(|error| VolumeError::at("read", path, error))?;
        Ok(Self(
            bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for VolumeName {
    type Err = VolumeError;

    fn from_str(text: &str) -> Result<Self, VolumeError> {
        if text.len() == 1 {
            let message =
                "volume name is too short, names should be at least two alphanumeric characters";
            return Err(VolumeError::InvalidName(message.to_owned()));
        }
        if text.len() > LENGTH_LIMIT {
            let message = format!(
                "volume name is too long: {} characters, {LENGTH_LIMIT} are allowed",
                text.len()
            );
            return Err(VolumeError::InvalidName(message));
        }
        let begins_well = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        let goes_on_well = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if begins_well && goes_on_well {
            return Ok(Self(text.to_owned()));
        }
        Err(VolumeError::InvalidName(format!(
            "{text:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. \
             If you intended to pass a host directory, use absolute path"
        )))
    }
}

impl TryFrom<String> for VolumeName {
    type Error = VolumeError;

    fn try_from(text: String) -> Result<Self, VolumeError> {
        text.parse()
    }
}

impl From<VolumeName> for String {
    fn from(name: VolumeName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, valid: bool) {
        assert_eq!(text.parse::<VolumeName>().is_ok(), valid, "{text:?}");
    }

    #[test]
    fn dockers_rule_holds() {
        for good in ["ab", "shop_data", "0a", "a.b-c_d", &"a".repeat(255)] {
            check(good, true);
        }
        for bad in [
            "",
            "a",
            ".a",
            "..",
            "-a",
            "_a",
            "a/b",
            "a b",
            "a\n",
            "ä1",
            "a\0",
            &"a".repeat(256),
        ] {
            check(bad, false);
        }
    }

    #[test]
    fn anonymous_names_are_valid_and_differ() {
        let name = VolumeName::anonymous().expect("random bytes");
        assert_eq!(name.as_str().len(), 64);
        check(name.as_str(), true);
        assert_ne!(name, VolumeName::anonymous().expect("random bytes"));
    }
}
