//! What a pull puts into the store: layers as they come, then the image that they make.
//!
//! A layer that is whole outlasts a pull that is not: it stays until the image is there, a removal of unused images, a restart of the
//! machine, or a day. So a pull that was killed goes on where it was.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::config::ImageConfig;
use super::error::ImageError;
use super::id::ImageId;
use super::load::parse_config;
use super::made::HeldLayer;
use super::manifest::{Descriptor, Manifest};
use super::origins::{self, Origin};
use super::store::{ImageStore, NewImage};
use hoist_api::{Digest, ImageRef};

/// How long a layer of an unfinished pull is kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
const OWNER: &str = "pulls-";

/// An image whose documents were fetched.
#[derive(Debug, Clone)]
pub(crate) struct PulledImage {
    pub(crate) id: ImageId,
    pub(crate) config: ImageConfig,
    pub(crate) manifest: Manifest,
    /// The configuration and the manifest as they came.
    pub(crate) documents: [Vec<u8>; 2],
}

impl PulledImage {
    /// Checks that the documents fit together.
    pub(crate) fn new(
        manifest: Manifest,
        text: Vec<u8>,
        config_text: Vec<u8>,
    ) -> Result<Self, ImageError> {
        let config = parse_config(&config_text, manifest.config.digest.as_str())?;
        let (has, says) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if has != says {
            return Err(ImageError::InvalidArchive(format!(
                "its manifest has {has} layers, its configuration says {says}"
            )));
        }
        Ok(Self {
            id: ImageId(manifest.config.digest.clone()),
            config,
            manifest,
            documents: [config_text, text],
        })
    }

    /// The layers: compressed archive, and what it makes.
    pub(crate) fn layers(&self) -> impl Iterator<Item = (&Descriptor, &Digest)> {
        self.manifest
            .layers
            .iter()
            .zip(&self.config.rootfs.diff_ids)
    }
}

impl ImageStore {
    /// Unpacks a layer while it comes. `archive` must fail when the archive does not have the blob's digest.
    pub(crate) fn add_pulled_layer(
        &self,
        archive: &mut (dyn Read + Send),
        (blob, diff_id): (&Descriptor, &Digest),
    ) -> Result<HeldLayer, ImageError> {
        let layer = self.add_layer(archive)?;
        if layer.diff_id() != diff_id {
            let found = layer.diff_id().clone();
            drop(layer);
            self.sweep();
            return Err(ImageError::InvalidArchive(format!(
                "the layer {} has the diff-id {found}, the image's configuration says {diff_id}",
                blob.digest
            )));
        }
        self.keep_pulled(|kept| kept.insert(diff_id.clone()))?;
        Ok(layer)
    }

    /// A document that is there.
    pub(crate) fn document(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.layout().read(digest)
    }

    /// Notes that a registry has a layer's archive.
    pub(crate) fn remember_origin(&self, diff_id: &Digest, image: &ImageRef, blob: &Descriptor) {
        let origin = Origin {
            domain: image.domain().to_owned(),
            repository: image.path().to_owned(),
            blob: blob.clone(),
        };
        if let Some(directory) = self.layers().content(diff_id).parent() {
            origins::remember(directory, &origin);
        }
    }

    /// Where a layer's archive is known to be.
    pub(crate) fn origins(&self, diff_id: &Digest) -> Vec<Origin> {
        self.layers()
            .content(diff_id)
            .parent()
            .map(origins::read)
            .unwrap_or_default()
    }

    /// Makes the image known under its names; whether anything changed.
    pub(crate) fn finish_pull(
        &self,
        image: PulledImage,
        names: Vec<ImageRef>,
        layers: &[HeldLayer],
    ) -> Result<bool, ImageError> {
        let is_known = {
            let state = self.state();
            names
                .iter()
                .all(|name| state.owner(name) == Some(&image.id))
        };
        let diff_ids: BTreeSet<Digest> =
            layers.iter().map(|layer| layer.diff_id().clone()).collect();
        self.publish(vec![NewImage {
            id: image.id,
            config: image.config,
            manifest: image.manifest,
            documents: image.documents,
            names,
            pins: layers.iter().map(|layer| Arc::clone(&layer.pin)).collect(),
        }])?;
        self.keep_pulled(|kept| {
            let before = kept.len();
            kept.retain(|kept| !diff_ids.contains(kept));
            kept.len() != before
        })?;
        Ok(!is_known)
    }

    /// Lets go of the layers of pulls that did not come to an end.
    pub(crate) fn forget_unfinished_pulls(&self) -> Result<(), ImageError> {
        self.keep_pulled(|kept| {
            let had = !kept.is_empty();
            kept.clear();
            had
        })
    }

    fn keep_pulled(
        &self,
        change: impl FnOnce(&mut BTreeSet<Digest>) -> bool,
    ) -> Result<(), ImageError> {
        let owner = owner();
        let mut state = self.state();
        let kept = state.roots.entry(owner.clone()).or_default();
        if change(kept) {
            self.layout().write_roots(&owner, kept)?;
        }
        Ok(())
    }
}

/// Nothing of an unfinished pull was made to outlast a power cut, so the list holds for one run of the machine.
fn owner() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{OWNER}{}", boot.trim())
}

/// Whether a list of needed layers still holds: those of pulls for a day, and for one run of the machine.
pub(crate) fn is_current(name: &str, path: &Path) -> bool {
    if !name.starts_with(OWNER) {
        return true;
    }
    let age = fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .map(|modified| modified.elapsed().unwrap_or_default());
    name == owner() && age.is_ok_and(|age| age < KEPT)
}
