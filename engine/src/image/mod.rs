//! The image store: images by name or id, and how they come in (`import`, `load`).
//!
//! What is on disk, all beneath the engine's root:
//!
//! ```text
//! images/oci-layout, index.json      an OCI image layout; the index is the only truth about which images and names exist
//! images/blobs/sha256/<hex>          manifests and configurations, content-addressed
//! layers/<diff-id hex>/fs            a layer, unpacked once in overlayfs's own terms, shared by all images and containers
//! layers/<diff-id hex>/layer.json    its size and whether it hides everything below it
//! layers/<diff-id hex>/tar.split     the bytes of its archive that are not files' content, to give the very same archive again
//! images/roots/<owner>.json          layers that somebody beside the images needs, as a builder's cache
//! images/tmp/                        staging; whatever is found there when a store is opened is removed
//! ```
//!
//! Layer archives themselves are not kept, compressed or not: the unpacked tree is what containers use, and a second copy would double the
//! disk that an image takes. Push and save weave them together again (`weave`).
//!
//! Invariants:
//! - The index is replaced atomically and only after everything it names is on disk. Blobs and layers that no index entry names are
//!   garbage, so a crash at any moment costs at most space, which the next [`ImageStore::open`] takes back.
//! - Nothing in an archive can cause a write outside its layer's directory: see `unpack`.
//! - A layer's directory is never changed after it was renamed into place.
//!
//! This module knows nothing of containers: who uses an image is told by the caller ([`ImageUsers`]).

mod archive;
pub mod change;
mod commit;
pub mod config;
mod error;
mod export;
mod id;
mod import;
mod index;
mod layers;
mod load;
mod load_plan;
mod made;
mod manifest;
mod origins;
pub(crate) mod pack;
mod pulled;
mod reclaim;
mod remove;
mod rootfs;
mod split;
mod staging;
mod state;
mod store;
mod stream;
pub(crate) mod tarball;
mod unpack;
mod upper;
mod weave;
mod words;

pub(crate) use archive::{replace, save};
pub use commit::CommitOptions;
pub use config::{ContainerDefaults, HealthcheckDefaults, HistoryEntry, ImageConfig};
pub use error::{ImageError, ImageErrorKind};
pub(crate) use export::{Exported, StoredDocuments, small_file};
pub use id::ImageId;
pub(crate) use made::described;
pub use made::{HeldLayer, NewContent, StagedLayer};
pub(crate) use origins::Origin;
pub(crate) use pulled::PulledImage;
pub(crate) use reclaim::is_archive;
pub use rootfs::{PathStatus, RootError, RootFilesystem, Unpacking};
pub use store::{
    Image, ImageStore, ImageUse, ImageUsers, ImportOptions, LoadedImage, Platform, Removed,
    Removing, StoreOptions,
};

pub(crate) use unpack::human;
pub use weave::LayerArchive;

#[cfg(test)]
mod testing;
