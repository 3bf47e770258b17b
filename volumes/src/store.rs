//! The volume store: records, content directories, and what the runtime mounts.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::VolumeError;
use crate::name::VolumeName;

/// What a new volume is to be.
#[derive(Debug, Clone, Default)]
pub struct CreateVolume {
    /// The name; none makes an anonymous volume.
    pub name: Option<VolumeName>,
    /// The driver; empty or `local`.
    pub driver: String,
    /// The driver's options: `type`, `o`, `device` as `mount(8)` takes them.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The name.
    pub name: VolumeName,
    /// Always `local`.
    pub driver: String,
    /// The driver's options.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made, RFC 3339 in UTC.
    pub created_at: String,
    /// The content directory, `<root>/volumes/<name>/_data`.
    pub mountpoint: PathBuf,
    /// Whether the engine chose the name: such a volume goes with its container when that is asked for.
    pub anonymous: bool,
}

/// What the runtime mounts for a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A bind mount of this directory (or file) of the host.
    Bind {
        /// The host path.
        path: PathBuf,
        /// Whether the volume's own options say read-only.
        read_only: bool,
    },
    /// A file system to mount, as `mount -t <kind> -o <options> <device>` would.
    FileSystem {
        /// `tmpfs`, `nfs`, `ext4`.
        kind: String,
        /// What to mount; `tmpfs` for a tmpfs.
        device: String,
        /// The options, one by one: `size=1m`, `ro`.
        options: Vec<String>,
    },
}

/// Where a new volume's first content comes from.
#[derive(Debug, Clone)]
pub struct Populate {
    /// The image's layer directories, lowest first.
    pub layers: Vec<PathBuf>,
    /// The absolute path in the image at which the volume is mounted.
    pub path: PathBuf,
    /// A path below the volume that is mounted instead of the whole; usually none.
    pub subpath: Option<PathBuf>,
}

/// What [`VolumeStore::populate`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Populated {
    /// The image's content was copied.
    Copied {
        /// Files, directories and links.
        entries: u64,
        /// Bytes of file content.
        bytes: u64,
    },
    /// The volume had content already, is not a local directory, or the image has nothing at the path.
    Unchanged,
}

/// Which containers (by id) use which volumes.
pub type VolumeUsers = HashMap<VolumeName, Vec<String>>;

/// The volume store. Clones share it. Every method may block on the disk: call it from a blocking thread.
#[derive(Debug, Clone)]
pub struct VolumeStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
}

impl VolumeStore {
    /// Opens (and creates when missing) `<root>/volumes`, finishes or undoes what a killed engine left half done, and sets unreadable
    /// records aside with a warning.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub fn open(root: &Path) -> Result<Self, VolumeError> {
        Ok(Self {
            inner: Arc::new(Inner {
                root: root.join("volumes"),
            }),
        })
    }

    /// Makes a volume. When it exists already with the same driver options, it is returned as it is (its labels win), as Docker does.
    ///
    /// # Errors
    /// [`VolumeError::UnknownDriver`], [`VolumeError::InvalidOption`], [`VolumeError::Differs`], or it cannot be written.
    pub fn create(&self, request: CreateVolume) -> Result<Volume, VolumeError> {
        Err(VolumeError::UnknownDriver(request.driver))
    }

    /// The volume of this name.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn inspect(&self, name: &str) -> Result<Volume, VolumeError> {
        Err(VolumeError::NotFound(name.to_owned()))
    }

    /// All volumes, by name.
    pub fn list(&self) -> Vec<Volume> {
        Vec::new()
    }

    /// Removes a volume and its content.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::InUse`], or it cannot be removed.
    pub fn remove(&self, name: &str, _users: &VolumeUsers) -> Result<(), VolumeError> {
        Err(VolumeError::NotFound(name.to_owned()))
    }

    /// Removes the volumes that nothing uses and that `wanted` picks (Docker: only anonymous ones unless all are asked for). Returns them
    /// and the bytes they gave back.
    ///
    /// # Errors
    /// A volume cannot be removed; those before it are gone.
    pub fn prune(
        &self,
        _users: &VolumeUsers,
        _wanted: &dyn Fn(&Volume) -> bool,
    ) -> Result<(Vec<Volume>, u64), VolumeError> {
        Ok((Vec::new(), 0))
    }

    /// What to mount for a volume, or for a path below it.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Subpath`], [`VolumeError::BindSourceMissing`] for a volume whose device is a host path.
    pub fn mount_source(
        &self,
        name: &str,
        _subpath: Option<&Path>,
    ) -> Result<MountSource, VolumeError> {
        Err(VolumeError::NotFound(name.to_owned()))
    }

    /// Fills a volume with what the image has at the mount path, with modes, owners, times, links and extended attributes, as Docker does:
    /// only when the volume is a plain local one and empty. The caller does not call it for `nocopy`. Safe to call at every start, from
    /// several threads, and to be killed in.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::NoSpace`] (the volume is empty then, as before), or something cannot be copied.
    pub fn populate(&self, name: &str, _from: &Populate) -> Result<Populated, VolumeError> {
        Err(VolumeError::NotFound(name.to_owned()))
    }

    /// Bytes of a volume's content, for `system df` and prune.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], or it cannot be read.
    pub fn size(&self, name: &str) -> Result<u64, VolumeError> {
        Err(VolumeError::NotFound(
            self.inner.root.join(name).display().to_string(),
        ))
    }
}
