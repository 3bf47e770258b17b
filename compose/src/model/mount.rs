//! A service's mounts: volumes, binds, tmpfs, and files from secrets and configs.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{ByteSize, Extensions};

/// What is mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountType {
    /// A named volume, or an anonymous one when the mount has no source.
    #[default]
    Volume,
    /// A host path.
    Bind,
    /// A temporary file system in memory.
    Tmpfs,
    /// Content of an image.
    Image,
    /// A cluster volume.
    Cluster,
    /// A Windows named pipe.
    Npipe,
}

/// One entry of a service's `volumes`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// What is mounted.
    #[serde(rename = "type")]
    pub kind: MountType,
    /// Volume key, absolute host path, or image; none for anonymous volumes and tmpfs.
    pub source: Option<String>,
    /// Absolute path in the container.
    pub target: String,
    /// Mounted read-only.
    pub read_only: bool,
    /// Consistency hint; without effect on Linux.
    pub consistency: Option<String>,
    /// Options of binds.
    pub bind: Option<BindOptions>,
    /// Options of volumes.
    pub volume: Option<VolumeOptions>,
    /// Options of tmpfs.
    pub tmpfs: Option<TmpfsOptions>,
    /// Options of image mounts.
    pub image: Option<ImageOptions>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Options of a bind mount.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BindOptions {
    /// SELinux label: `z` shared, `Z` private.
    pub selinux: Option<String>,
    /// Propagation: `rprivate`, `private`, `rshared`, `shared`, `rslave`, `slave`.
    pub propagation: Option<String>,
    /// Create the host path as a directory when it is missing; otherwise a missing path is an error.
    pub create_host_path: bool,
    /// `enabled`, `disabled`, `writable` or `readonly`.
    pub recursive: Option<String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Options of a volume mount.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeOptions {
    /// Labels for a volume created for this mount.
    pub labels: IndexMap<String, String>,
    /// Do not fill a new volume with the image's content.
    pub nocopy: bool,
    /// Mount this path within the volume.
    pub subpath: Option<String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Options of a tmpfs mount.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TmpfsOptions {
    /// Size limit in bytes; zero means half the memory.
    pub size: Option<ByteSize>,
    /// Mode of the root directory.
    pub mode: Option<u32>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Options of an image mount.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageOptions {
    /// Mount this path within the image.
    pub subpath: Option<String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// A secret or config given to a service as a file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileReference {
    /// Key of the top-level secret or config.
    pub source: String,
    /// Path in the container; relative ones are below `/run/secrets` (secrets) or `/` (configs).
    pub target: Option<String>,
    /// Numeric owner.
    pub uid: Option<String>,
    /// Numeric group.
    pub gid: Option<String>,
    /// Mode in octal digits (`0440`).
    pub mode: Option<String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

impl FileReference {
    /// The mode as a number, when one is written.
    pub fn mode_bits(&self) -> Option<u32> {
        let digits = self.mode.as_deref()?;
        u32::from_str_radix(digits.trim_start_matches("0o"), 8).ok()
    }
}
