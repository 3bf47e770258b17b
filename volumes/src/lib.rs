//! Named and anonymous volumes: create, populate from an image, hand to the runtime as a mount, prune; and the host side of bind mounts.
//!
//! On disk: `<root>/volumes/<name>/volume.json` (the record) and `<root>/volumes/<name>/_data` (the content). The record is written before
//! the volume is told of and removed first, so a directory without a good record is never a volume.
//!
//! Invariants:
//! - The inode of `_data` never changes while the volume exists: a container may have it mounted.
//! - Copying from an image never follows a link out of the image (`merged` resolves names itself, on descriptors).
//! - A copy that was cut short is finished or undone when the store is opened, before anyone can see the volume.
//!
//! This crate knows paths, not containers or images: who uses a volume is told by the caller, an image is a stack of layer directories.

#![forbid(unsafe_code)]

mod bind;
mod driver;
mod erase;
mod error;
mod merged;
mod name;
mod populate;
mod store;
#[cfg(test)]
mod testing;
mod usage;

pub use bind::{BindKind, BindRequest, BindSource};
pub use driver::SubpathError;
pub use erase::{erase_at, erase_tree};
pub use error::{VolumeError, VolumeErrorKind};
pub use name::VolumeName;
pub use populate::copy_content;
pub use store::{CreateVolume, MountSource, Populate, Populated, Volume, VolumeStore, VolumeUsers};
