//! Files in containers: what copying in and out says of them, and what a container has changed.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, ErrorKind, Result};
use crate::wire::wire;

/// Header of answers about a path, which carries a [`PathStat`].
pub const PATH_STAT_HEADER: &str = "x-docker-container-path-stat";

/// Go's `os.ModeDir`.
const MODE_DIR: u32 = 1 << 31;
/// Go's `os.ModeSymlink`.
const MODE_SYMLINK: u32 = 1 << 27;

/// What is at a path in a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathStat {
    /// Its name, without the directories before it.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Type and permissions in Go's bits (`os.FileMode`), which are not those of stat(2) above the lowest nine.
    pub mode: u32,
    /// RFC 3339.
    pub mtime: String,
    /// Where a symbolic link leads in the container, resolved; else empty.
    pub link_target: String,
}

impl PathStat {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.mode & MODE_DIR != 0
    }

    /// Whether it is a symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.mode & MODE_SYMLINK != 0
    }

    /// Reads the header's value: JSON in base64.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when it is neither.
    pub fn from_header(value: &[u8]) -> Result<Self> {
        let unreadable = |cause: String| {
            ApiError::new(
                ErrorKind::Protocol,
                format!("cannot read what the engine says of the path: {cause}"),
            )
        };
        let json = BASE64_STANDARD
            .decode(value)
            .map_err(|error| unreadable(error.to_string()))?;
        serde_json::from_slice(&json).map_err(|error| unreadable(error.to_string()))
    }

    /// The header's value.
    #[must_use]
    pub fn to_header(&self) -> String {
        BASE64_STANDARD.encode(serde_json::to_vec(self).unwrap_or_default())
    }
}

wire! {
    /// A path that differs from the image.
    pub struct FileChange {
        /// The path in the container.
        pub path: String,
        /// 0 changed, 1 added, 2 deleted.
        pub kind: u8,
    }
}

/// Where and how an archive is unpacked in a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutArchive {
    /// An existing directory in the container.
    pub path: String,
    /// Refuse to put a directory in the place of a file, or a file in the place of a directory.
    pub no_overwrite_dir_non_dir: bool,
    /// Give everything to the user of the container, when it names one; otherwise the archive tells the owners.
    pub copy_uid_gid: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_json_in_base64() {
        let value = BASE64_STANDARD
            .encode(r#"{"name":"etc","size":4096,"mode":2147484141,"mtime":"2026-01-02T13:23:37Z","linkTarget":""}"#);
        let stat = PathStat::from_header(value.as_bytes()).unwrap();
        assert_eq!(stat.name, "etc");
        assert!(stat.is_dir() && !stat.is_symlink());
        assert_eq!(
            PathStat::from_header(stat.to_header().as_bytes()).unwrap(),
            stat
        );
        assert!(PathStat::from_header(b"{}").is_err());
    }
}
