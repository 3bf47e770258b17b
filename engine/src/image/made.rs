//! New layers on top of those that are there, and images of them: what a builder and `commit` need of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::ImageConfig;
use super::error::ImageError;
use super::id::ImageId;
use super::import::describe;
use super::layers::Pin;
use super::manifest::{Descriptor, LAYER_TYPE};
use super::staging::StagedDirectory;
use super::store::{Image, ImageStore, NewImage};
use super::stream::Hashing;
use super::upper::{PackOptions, pack};
use super::weave::{LayerArchive, TREE};
use hoist_api::{Digest, ImageRef};

/// A layer that stays in the store while this lives, whether an image has it or not.
#[derive(Debug, Clone)]
pub struct HeldLayer {
    pub(crate) pin: Arc<Pin>,
    directory: PathBuf,
}

impl HeldLayer {
    /// The digest of its uncompressed archive.
    pub fn diff_id(&self) -> &Digest {
        &self.pin.diff_id
    }

    /// The directory for overlayfs; never change anything in it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its archive, uncompressed, byte for byte as it came. Reading fails at the end if the layer was changed.
    pub fn archive(&self) -> LayerArchive {
        let layer = self.directory.parent().unwrap_or(&self.directory);
        LayerArchive::start(layer.to_path_buf(), self.pin.diff_id.clone())
    }

    /// Bytes of its files.
    pub fn size(&self) -> u64 {
        self.pin.record.size
    }

    /// Bytes of its uncompressed archive.
    pub fn archive_size(&self) -> u64 {
        self.pin.record.archive_size
    }

    /// Whether it hides everything below it.
    pub fn is_opaque(&self) -> bool {
        self.pin.record.is_opaque
    }
}

/// Directories on the store's file system in which a layer is made; removed with all that is in them unless it is committed.
#[derive(Debug)]
pub struct StagedLayer {
    staged: StagedDirectory,
}

impl StagedLayer {
    /// The upper directory of an overlay, or any tree; becomes the layer.
    pub fn tree(&self) -> PathBuf {
        self.staged.path().join(TREE)
    }

    /// A place beside it for overlayfs's work directory and the like; must be removed (or made here and forgotten) before the commit.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.staged.path().join(name)
    }
}

/// An image to be made of layers that are there.
#[derive(Debug)]
pub struct NewContent {
    /// Everything but `rootfs.diff_ids`, which follow from the layers.
    pub config: ImageConfig,
    /// Lowest first.
    pub layers: Vec<HeldLayer>,
    /// The names to give; whoever had them loses them.
    pub names: Vec<ImageRef>,
}

impl ImageStore {
    /// An image and its layers, lowest first and one per diff-id, held.
    ///
    /// # Errors
    /// As [`ImageStore::resolve`].
    pub fn hold(&self, name: &str) -> Result<(Arc<Image>, Vec<HeldLayer>), ImageError> {
        // The state stays locked, so that no removal comes between.
        let state = self.state();
        let id = state.resolve(name)?;
        let missing = || ImageError::NotFound(name.to_owned());
        let record = state.images.get(&id).ok_or_else(missing)?;
        let layers = record
            .config
            .rootfs
            .diff_ids
            .iter()
            .map(|diff_id| self.hold_layer(diff_id).ok_or_else(missing))
            .collect::<Result<_, _>>()?;
        Ok((Arc::new(record.image(&id, self.layers())), layers))
    }

    /// Holds a layer that is there.
    pub fn hold_layer(&self, diff_id: &Digest) -> Option<HeldLayer> {
        self.layers().pin(diff_id).map(|pin| self.held(pin))
    }

    /// Directories in which a layer can be made.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn stage_layer(&self) -> Result<StagedLayer, ImageError> {
        Ok(StagedLayer {
            staged: self.layers().stage()?,
        })
    }

    /// Makes a layer of a staged tree: reads every file once, and moves the tree into place without copying it. Times after `latest`
    /// (seconds since 1970; `SOURCE_DATE_EPOCH`) become that. An empty tree gives a layer, too.
    ///
    /// # Errors
    /// The tree cannot be read or moved; it is removed then.
    pub fn commit_layer(
        &self,
        staged: StagedLayer,
        latest: Option<i64>,
    ) -> Result<HeldLayer, ImageError> {
        // overlayfs leaves its work directory; anything beside the tree would stay for ever.
        for entry in std::fs::read_dir(staged.staged.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry.file_name() != TREE {
                hoist_volumes::erase_tree(&entry.path())
                    .map_err(|error| ImageError::at("remove", &entry.path(), error))?;
            }
        }
        let pin = self.layers().adopt(&staged.staged, latest)?;
        Ok(self.held(pin))
    }

    /// Makes a layer of a copy of `tree`, an overlay's upper directory that stays what it is (`commit` of a container).
    ///
    /// # Errors
    /// The tree cannot be read, or the disk is full.
    pub fn copy_layer(&self, tree: &Path, latest: Option<i64>) -> Result<HeldLayer, ImageError> {
        let (from, options) = (
            tree.to_path_buf(),
            PackOptions {
                latest,
                settle: false,
            },
        );
        let mut archive = LayerArchive::of(move |output: &mut dyn Write| {
            pack(&from, options, None, output).map(|_| ())
        });
        self.add_layer(&mut archive)
    }

    /// Makes a layer of an archive, plain or compressed.
    ///
    /// # Errors
    /// As [`ImageStore::import`].
    pub fn add_layer(&self, archive: &mut (dyn Read + Send)) -> Result<HeldLayer, ImageError> {
        let (pin, _) = self.layers().add(archive, Hashing::Plain)?;
        Ok(self.held(pin))
    }

    /// Makes an image of layers that are held. The same content gives the same id.
    ///
    /// # Errors
    /// It cannot be written; nothing of it is in the store then.
    pub fn create_image(&self, content: NewContent) -> Result<ImageId, ImageError> {
        let image = described(content)?;
        let id = image.id.clone();
        self.publish(vec![image])?;
        Ok(id)
    }

    /// Says which layers `owner` (a word) needs beside the images, from now on and after restarts. What it no longer names goes with the
    /// next removal.
    ///
    /// # Errors
    /// It cannot be written; the old set holds then.
    pub fn set_roots(&self, owner: &str, layers: &BTreeSet<Digest>) -> Result<(), ImageError> {
        // A layer that is named must be whole after a power cut.
        self.layers().sync()?;
        let mut state = self.state();
        self.layout().write_roots(owner, layers)?;
        state.roots.insert(owner.to_owned(), layers.clone());
        Ok(())
    }

    /// The layers that `owner` said it needs.
    pub fn roots(&self, owner: &str) -> BTreeSet<Digest> {
        self.state().roots.get(owner).cloned().unwrap_or_default()
    }

    fn held(&self, pin: Pin) -> HeldLayer {
        HeldLayer {
            directory: self.layers().content(&pin.diff_id),
            pin: Arc::new(pin),
        }
    }
}

/// An image of layers that are held, ready to be taken in.
///
/// # Errors
/// It cannot be written as JSON.
pub(crate) fn described(mut content: NewContent) -> Result<NewImage, ImageError> {
    let layers = &content.layers;
    content.config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id().clone()).collect();
    let text = serde_json::to_vec(&content.config).map_err(|error| {
        ImageError::InvalidOption(format!("the image cannot be described: {error}"))
    })?;
    let descriptor = |layer: &HeldLayer| {
        Descriptor::new(LAYER_TYPE, layer.diff_id().clone(), layer.archive_size())
    };
    let descriptors = layers.iter().map(descriptor).collect();
    let pins = layers.iter().map(|layer| Arc::clone(&layer.pin)).collect();
    describe(content.config, text, descriptors, (content.names, pins))
}

/// Who needs which layers beside the images.
pub(crate) type Roots = BTreeMap<String, BTreeSet<Digest>>;

#[cfg(test)]
mod tests;
