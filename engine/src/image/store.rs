//! The store's face: [`ImageStore`] and the types that its callers see.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::config::ImageConfig;
use super::error::ImageError;
use super::id::ImageId;
use super::index::Layout;
use super::layers::{LayerLimits, Layers, Pin};
use super::manifest::{Descriptor, Manifest};
use super::remove::decide;
use super::staging::Staging;
use super::state::{Record, State};
use hoist_api::Digest;
use hoist_api::ImageRef;
pub use hoist_registry::Platform;

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
    /// The image that it was made from, where a builder keeps one for each of its steps.
    pub parent: Option<ImageId>,
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

/// How an image is removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Removing {
    /// Although stopped containers use it, or several names lead to it.
    pub force: bool,
    /// With the images without a name that a builder made it from, step by step.
    pub parents: bool,
}

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
    pub name: Option<ImageRef>,
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
    options: StoreOptions,
    layout: Layout,
    layers: Layers,
    state: Mutex<State>,
    /// Held locked for as long as the store is open.
    _lock: File,
}

/// An image whose layers are unpacked, on its way into the index.
#[derive(Debug)]
pub(crate) struct NewImage {
    pub(crate) id: ImageId,
    pub(crate) config: ImageConfig,
    pub(crate) manifest: Manifest,
    /// The configuration and the manifest as they are stored.
    pub(crate) documents: [Vec<u8>; 2],
    pub(crate) names: Vec<ImageRef>,
    /// Keeps the layers until the index names them.
    pub(crate) pins: Vec<Arc<Pin>>,
}

impl ImageStore {
    /// Opens (and creates when missing) the store beneath the engine's root directory, removes what a killed engine left half done, and
    /// sets unreadable entries aside with a warning.
    ///
    /// # Errors
    /// The directories cannot be made or read, or another engine has the store open.
    pub fn open(root: &Path, options: StoreOptions) -> Result<Self, ImageError> {
        let directory = root.join("images");
        let lock = lock(&directory)?;
        let staging = Staging::open(directory.join("tmp"))?;
        let layout = Layout::open(directory, staging.clone())?;
        let limits = LayerLimits {
            reserve_bytes: options.reserve_bytes,
            max_entries: options.max_entries,
            max_ratio: options.max_ratio,
        };
        let layers = Layers::open(root, staging, limits)?;
        let stored = layout.read_index()?;
        let mut state = recover(&layout, &layers, &stored.entries);
        state.roots = layout.read_roots();
        // Without an index everything looks unused; it is kept for whoever repairs it.
        if !stored.is_torn {
            layers.sweep(&state.layers());
            let blobs = state.blobs();
            layout.sweep(&|digest| blobs.contains(digest));
        }
        let inner = Inner {
            options,
            layout,
            layers,
            state: Mutex::new(state),
            _lock: lock,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Finds an image by name (`x`, `x:1`, `x@sha256:…`), by id (`sha256:…` or 64 digits) or by the beginning of an id.
    /// A name wins over the beginning of an id.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], [`ImageError::Ambiguous`], [`ImageError::Reference`].
    pub fn resolve(&self, name: &str) -> Result<Arc<Image>, ImageError> {
        let state = self.state();
        let id = state.resolve(name)?;
        let record = state
            .images
            .get(&id)
            .ok_or_else(|| ImageError::NotFound(name.to_owned()))?;
        Ok(Arc::new(record.image(&id, &self.inner.layers)))
    }

    /// All images, newest first.
    pub fn list(&self) -> Vec<Arc<Image>> {
        let state = self.state();
        let mut images: Vec<_> = state
            .images
            .iter()
            .map(|(id, record)| Arc::new(record.image(id, &self.inner.layers)))
            .collect();
        let created = |image: &Image| {
            image
                .config
                .created
                .as_ref()
                .and_then(|text| text.parse::<jiff::Timestamp>().ok())
        };
        images.sort_by_cached_key(|image| std::cmp::Reverse(created(image)));
        images
    }

    /// Gives the image that `source` names the further name `target`; takes it from another image when that has it.
    ///
    /// # Errors
    /// As [`ImageStore::resolve`], or the index cannot be written.
    pub fn tag(&self, source: &str, target: &ImageRef) -> Result<(), ImageError> {
        self.change(|state| {
            let id = state.resolve(source)?;
            state.set_name(&id, target, &now());
            Ok(())
        })
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
        users: &ImageUsers,
        options: Removing,
    ) -> Result<Vec<Removed>, ImageError> {
        let mut removed = Vec::new();
        self.change(|state| {
            let removal = decide(state, name, users, options.force)?;
            if let Some(record) = state.images.get_mut(&removal.id) {
                record.names.retain(|name| !removal.untag.contains(name));
            }
            removed.extend(
                removal
                    .untag
                    .iter()
                    .map(|name| Removed::Untagged(name.familiar())),
            );
            if removal.delete {
                let gone = state.images.remove(&removal.id);
                removed.push(Removed::Deleted(removal.id.to_string()));
                let is_unused = |id: &ImageId| users.get(id).is_none_or(Vec::is_empty);
                let parent = gone.and_then(|record| record.parent);
                let parents = parent.filter(|_| options.parents);
                let parents = state.remove_parents(parents, &is_unused).into_iter();
                removed.extend(parents.map(|id| Removed::Deleted(id.to_string())));
            }
            Ok(())
        })?;
        removed.extend(self.sweep().0);
        Ok(removed)
    }

    /// Removes the images that nothing uses and that `is_meant`: the caller's filters. What pulls left that never ended goes, too. Returns
    /// what went and the bytes it gave back.
    ///
    /// # Errors
    /// The index cannot be written.
    pub fn prune(
        &self,
        users: &ImageUsers,
        is_meant: &dyn Fn(&Image) -> bool,
    ) -> Result<(Vec<Removed>, u64), ImageError> {
        let mut removed = Vec::new();
        self.forget_unfinished_pulls()?;
        self.change(|state| {
            let is_unused = |id: &ImageId| users.get(id).is_none_or(Vec::is_empty);
            let doomed = |(id, record): &(&ImageId, &Record)| {
                is_unused(id) && is_meant(&record.image(id, &self.inner.layers))
            };
            let doomed: Vec<ImageId> = state
                .images
                .iter()
                .filter(doomed)
                .map(|(id, _)| id.clone())
                .collect();
            for (id, names) in state.remove_all(doomed, &is_unused) {
                removed.extend(names.iter().map(|name| Removed::Untagged(name.familiar())));
                removed.push(Removed::Deleted(id.to_string()));
            }
            Ok(())
        })?;
        let (layers, bytes) = self.sweep();
        removed.extend(layers);
        Ok((removed, bytes))
    }

    /// Makes an image of one layer from a root file system's tar, plain or compressed with gzip, zstd, xz or bzip2.
    /// The same archive with the same options gives the same image, however often it is imported.
    ///
    /// # Errors
    /// A bad option; a damaged or hostile archive, or one past a limit; a full disk. Nothing of the image is left then.
    pub fn import(
        &self,
        archive: &mut (dyn Read + Send),
        options: &ImportOptions,
    ) -> Result<ImageId, ImageError> {
        let result = super::import::import(self, archive, options);
        self.sweep_after(&result);
        result
    }

    /// Makes an image of another one and a further layer, whose archive may have whiteouts.
    ///
    /// # Errors
    /// As [`ImageStore::import`]; [`ImageError::NotFound`] when the image below is not there.
    pub fn commit(
        &self,
        layer: &mut (dyn Read + Send),
        options: super::commit::CommitOptions,
    ) -> Result<ImageId, ImageError> {
        let result = super::commit::commit(self, layer, options);
        self.sweep_after(&result);
        result
    }

    /// Loads the images of a `docker save` archive or an OCI layout in a tar, plain or compressed. From a list of platforms the wanted
    /// one is taken, else the store's own.
    ///
    /// # Errors
    /// As [`ImageStore::import`], or an image is not for the wanted platform. No image of the archive is in the store then.
    pub fn load(
        &self,
        archive: &mut (dyn Read + Send),
        wanted: Option<&Platform>,
    ) -> Result<Vec<LoadedImage>, ImageError> {
        let result = super::load::load(self, archive, wanted);
        self.sweep_after(&result);
        result
    }

    /// The directory that overlayfs takes for a layer.
    pub fn layer_directory(&self, diff_id: &Digest) -> PathBuf {
        self.inner.layers.content(diff_id)
    }

    pub(crate) fn options(&self) -> &StoreOptions {
        &self.inner.options
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    pub(crate) fn layers(&self) -> &Layers {
        &self.inner.layers
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Changes are made on a copy, so what is in it is whole even after a panic.
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts images and their names into the index, all or none. Their layers are on disk for good when this returns.
    pub(crate) fn publish(&self, images: Vec<NewImage>) -> Result<(), ImageError> {
        self.inner.layers.sync()?;
        self.change(|state| {
            let now = now();
            for image in &images {
                tracing::debug!(image = %image.id, layers = image.pins.len(), "an image comes in");
                // With the state locked, so that no sweep takes them before they are named.
                for document in &image.documents {
                    self.inner.layout.write(document)?;
                }
                state
                    .images
                    .entry(image.id.clone())
                    .or_insert_with(|| image.record(&now));
                for name in &image.names {
                    state.set_name(&image.id, name, &now);
                }
            }
            Ok(())
        })
        // The pins in `images` go only now.
    }

    /// Takes in images that stand for the steps of a build, each with what it was made from. Those that are here stay as they are.
    ///
    /// # Errors
    /// They cannot be written; none of them is in the store then.
    pub(crate) fn publish_steps(
        &self,
        steps: Vec<(NewImage, Option<ImageId>)>,
    ) -> Result<(), ImageError> {
        let is_known = |(image, parent): &(NewImage, Option<ImageId>)| {
            let state = self.state();
            let known = state.images.get(&image.id);
            known.is_some_and(|record| record.parent.is_some() || parent.is_none())
        };
        if steps.iter().all(is_known) {
            return Ok(());
        }
        let (images, parents): (Vec<NewImage>, Vec<Option<ImageId>>) = steps.into_iter().unzip();
        let ids: Vec<ImageId> = images.iter().map(|image| image.id.clone()).collect();
        self.publish(images)?;
        self.set_parents(ids.into_iter().zip(parents))
    }

    /// Says what images were made from, as far as that is not known.
    ///
    /// # Errors
    /// The index cannot be written.
    pub(crate) fn set_parents(
        &self,
        pairs: impl Iterator<Item = (ImageId, Option<ImageId>)>,
    ) -> Result<(), ImageError> {
        self.change(|state| {
            for (id, parent) in pairs {
                if let Some(parent) = parent {
                    state.set_parent(&id, &parent);
                }
            }
            Ok(())
        })
    }

    /// The images that others were made from, step by step.
    pub(crate) fn parents(&self) -> HashSet<ImageId> {
        let state = self.state();
        let records = state.images.values();
        records.filter_map(|record| record.parent.clone()).collect()
    }

    /// Changes the state and the index together: when either fails, neither changes.
    fn change(
        &self,
        change: impl FnOnce(&mut State) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let mut state = self.state();
        let mut changed = state.clone();
        change(&mut changed)?;
        self.inner.layout.write_index(changed.entries())?;
        *state = changed;
        Ok(())
    }

    fn sweep_after<T>(&self, result: &Result<T, ImageError>) {
        if result.is_err() {
            self.sweep();
        }
    }

    /// Removes layers and documents that no image needs. The state stays locked until the unused are set apart, so that nothing is named
    /// in between; erasing them takes longer and needs no lock.
    pub(super) fn sweep(&self) -> (Vec<Removed>, u64) {
        let swept = {
            let state = self.state();
            let blobs = state.blobs();
            self.inner.layout.sweep(&|digest| blobs.contains(digest));
            self.inner.layers.sweep(&state.layers())
        };
        let bytes = swept.iter().map(|layer| layer.size).sum();
        let removed = swept
            .iter()
            .map(|layer| Removed::Deleted(layer.diff_id.to_string()))
            .collect();
        (removed, bytes)
    }
}

impl NewImage {
    fn record(&self, now: &str) -> Record {
        Record {
            config: Arc::new(self.config.clone()),
            manifest: self.manifest.clone(),
            manifest_digest: Digest::of(&self.documents[1]),
            manifest_size: self.documents[1].len() as u64,
            names: BTreeSet::new(),
            last_tagged: now.to_owned(),
            parent: None,
        }
    }
}

/// The present, as Docker writes times.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Two engines on one store would remove each other's staging.
fn lock(directory: &Path) -> Result<File, ImageError> {
    use std::os::unix::fs::DirBuilderExt;
    let make = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    make.map_err(|error| ImageError::at("create", directory, error))?;
    let path = directory.join("lock");
    let file = File::create(&path).map_err(|error| ImageError::at("create", &path, error))?;
    // An engine that is just ending has given up its socket before the kernel closes its files.
    let deadline = std::time::Instant::now() + ENDING;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(ImageError::at("lock", &path, error));
            }
            Err(std::fs::TryLockError::WouldBlock) if std::time::Instant::now() >= deadline => {
                return Err(ImageError::InUse(directory.to_path_buf()));
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
}

/// How long an engine that is ending may still hold the store.
const ENDING: std::time::Duration = std::time::Duration::from_secs(2);

/// Reads the images that the index names. One that is not whole is left out, with a warning.
fn recover(layout: &Layout, layers: &Layers, entries: &[Descriptor]) -> State {
    let mut state = State::default();
    for entry in entries {
        match read_record(layout, layers, entry) {
            Ok((id, record)) => state.images.entry(id).or_insert(record).adopt(entry),
            Err(why) => {
                tracing::warn!(manifest = %entry.digest, why, "an image is not whole and was dropped from the store")
            }
        }
    }
    state
}

fn read_record(
    layout: &Layout,
    layers: &Layers,
    entry: &Descriptor,
) -> Result<(ImageId, Record), String> {
    let text = layout
        .read(&entry.digest)
        .ok_or("its manifest is missing or damaged")?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| format!("its manifest is unreadable: {error}"))?;
    let config = layout
        .read(&manifest.config.digest)
        .ok_or("its configuration is missing or damaged")?;
    let config: ImageConfig = serde_json::from_slice(&config)
        .map_err(|error| format!("its configuration is unreadable: {error}"))?;
    if let Some(missing) = config
        .rootfs
        .diff_ids
        .iter()
        .find(|diff_id| layers.find(diff_id).is_none())
    {
        return Err(format!("its layer {missing} is missing"));
    }
    let id = ImageId(manifest.config.digest.clone());
    let record = Record {
        config: Arc::new(config),
        manifest,
        manifest_digest: entry.digest.clone(),
        manifest_size: text.len() as u64,
        names: BTreeSet::new(),
        last_tagged: String::new(),
        parent: None,
    };
    Ok((id, record))
}

#[cfg(test)]
mod tests;
