//! Unpacked layers: `<root>/layers/<diff-id hex>/{fs, layer.json, tar.split, moved}`; the last two are for [`super::weave`].
//!
//! A layer is unpacked into a staging directory and renamed into place when it is whole, so a directory under its diff-id is always whole as
//! far as this process is concerned. After a power cut it may not be: layers that no image names are removed when the store is opened, and
//! an image is named only after [`Layers::sync`].
//!
//! A layer in use by a running load is pinned ([`Pin`]), so that a removal beside it does not take it away.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use hoist_volumes::erase_tree;
use serde::{Deserialize, Serialize};

use super::error::{ImageError, is_full};
use super::split::SplitWriter;
use super::staging::{StagedDirectory, Staging};
use super::stream::{ChunkReader, Digests, Hashing, StreamLimits, decompressed};
use super::unpack::{Keep, UnpackError, UnpackLimits, Unpacked, unpack};
use super::upper::{PackOptions, pack};
use super::weave::{ASIDE, RECORD as SPLIT, TREE as CONTENT};
use hoist_api::digest::{Digest, is_full_hex};

const RECORD: &str = "layer.json";
const EMPTY: &str = "empty";

/// What is remembered of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LayerRecord {
    /// Bytes of the files' content.
    pub(crate) size: u64,
    /// Bytes of the uncompressed archive.
    pub(crate) archive_size: u64,
    /// Whether it hides all layers below it.
    #[serde(default)]
    pub(crate) is_opaque: bool,
}

/// The limits of one unpacking, chosen when it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerLimits {
    pub(crate) reserve_bytes: u64,
    pub(crate) max_entries: u64,
    pub(crate) max_ratio: u64,
}

/// The layers beneath one root.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    staging: Staging,
    limits: LayerLimits,
    claims: Mutex<Claims>,
    changed: Condvar,
    /// Records that were read: they never change, and every start of a container asks for them.
    records: Mutex<HashMap<Digest, LayerRecord>>,
}

#[derive(Debug, Default)]
struct Claims {
    /// Digests of archives that are being unpacked just now.
    unpacking: HashSet<Digest>,
    /// How many running operations need a layer.
    pins: HashMap<Digest, usize>,
}

/// A layer that stays while this lives.
#[derive(Debug)]
pub(crate) struct Pin {
    shared: Arc<Shared>,
    pub(crate) diff_id: Digest,
    pub(crate) record: LayerRecord,
}

/// A layer that is no longer one; its files go when this is dropped.
#[derive(Debug)]
pub(crate) struct Swept {
    pub(crate) diff_id: Digest,
    pub(crate) size: u64,
    aside: PathBuf,
}

/// The right to unpack an archive of a known digest; others wait until it is given back.
#[derive(Debug)]
pub(crate) struct Claim {
    shared: Arc<Shared>,
    archive: Digest,
}

impl Layers {
    pub(crate) fn open(
        root: &Path,
        staging: Staging,
        limits: LayerLimits,
    ) -> Result<Self, ImageError> {
        let directory = root.join("layers");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| ImageError::at("create", &directory, error))?;
        let empty = directory.join(EMPTY);
        fs::DirBuilder::new()
            .recursive(true)
            .create(&empty)
            .map_err(|error| ImageError::at("create", &empty, error))?;
        let shared = Shared {
            directory,
            staging,
            limits,
            claims: Mutex::default(),
            changed: Condvar::new(),
            records: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The directory that overlayfs takes for a layer.
    pub(crate) fn content(&self, diff_id: &Digest) -> PathBuf {
        self.shared.path(diff_id).join(CONTENT)
    }

    /// A directory for images without layers: overlayfs needs one.
    pub(crate) fn empty(&self) -> PathBuf {
        self.shared.directory.join(EMPTY)
    }

    /// A layer's record, when the layer is there.
    pub(crate) fn find(&self, diff_id: &Digest) -> Option<LayerRecord> {
        self.shared.read_record(diff_id)
    }

    /// Pins a layer that is there.
    pub(crate) fn pin(&self, diff_id: &Digest) -> Option<Pin> {
        let mut claims = self.shared.claims();
        let record = self.shared.read_record(diff_id)?;
        Some(self.shared.pin(&mut claims, diff_id.clone(), record))
    }

    /// Waits until nobody unpacks the archive `digest` and claims it.
    pub(crate) fn claim(&self, archive: &Digest) -> Claim {
        let mut claims = self.shared.claims();
        while !claims.unpacking.insert(archive.clone()) {
            claims = self
                .shared
                .changed
                .wait(claims)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Claim {
            shared: Arc::clone(&self.shared),
            archive: archive.clone(),
        }
    }

    /// Unpacks a layer's archive, compressed or not, in one pass. When the layer is there already, that one is kept.
    pub(crate) fn add(
        &self,
        archive: &mut (dyn Read + Send),
        hashing: Hashing,
    ) -> Result<(Pin, Digests), ImageError> {
        let staged = self.stage()?;
        let content = staged.path().join(CONTENT);
        let root = File::open(&content).map_err(|error| ImageError::at("open", &content, error))?;
        let budget = self.budget()?;
        let keep = keep(staged.path(), budget.bytes)?;
        // Headers and padding are not written, and a little slack costs nothing.
        let limits = StreamLimits {
            bytes: budget.bytes.saturating_mul(2),
            ratio: self.shared.limits.max_ratio,
        };
        let use_it = |chunks: &mut ChunkReader| {
            unpack(chunks, root.as_fd(), budget, Some(keep)).map_err(LayerError::Unpack)
        };
        let (unpacked, digests) = decompressed(archive, (limits, hashing), use_it)
            .map_err(|error| self.explain(error))?;
        // It is there for archives that name something twice.
        let _ = fs::remove_dir(staged.path().join(ASIDE));
        let pin = self.finish(&staged, &unpacked, (&digests.plain, digests.plain_size))?;
        Ok((pin, digests))
    }

    /// An empty directory beside the layers, with a tree in it that can become one.
    pub(crate) fn stage(&self) -> Result<StagedDirectory, ImageError> {
        let staged = self.shared.staging.directory("layer")?;
        let content = staged.path().join(CONTENT);
        fs::create_dir(&content).map_err(|error| ImageError::at("create", &content, error))?;
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        fs::set_permissions(&content, mode)
            .map_err(|error| ImageError::at("chmod", &content, error))?;
        Ok(staged)
    }

    /// A path for something that is not kept.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.shared.staging.name("scratch")
    }

    /// Makes a layer of a staged tree (an overlay's upper directory), with every time at most `latest`.
    pub(crate) fn adopt(
        &self,
        staged: &StagedDirectory,
        latest: Option<i64>,
    ) -> Result<Pin, ImageError> {
        let content = staged.path().join(CONTENT);
        let failed = |error: io::Error| ImageError::at("make a layer of", &content, error);
        let path = staged.path().join(SPLIT);
        let mut record = SplitWriter::create(&path, u64::MAX).map_err(failed)?;
        let mut hasher = super::stream::HashWriter::default();
        let options = PackOptions {
            latest,
            settle: true,
        };
        let packed = pack(&content, options, Some(&mut record), &mut hasher).map_err(failed)?;
        record.finish().map_err(failed)?;
        let (diff_id, size) = hasher.finish();
        let unpacked = Unpacked {
            bytes: packed.bytes,
            is_opaque: packed.is_opaque,
        };
        self.finish(staged, &unpacked, (&diff_id, size))
    }

    fn finish(
        &self,
        staged: &StagedDirectory,
        unpacked: &Unpacked,
        (diff_id, archive_size): (&Digest, u64),
    ) -> Result<Pin, ImageError> {
        let record = self.record(staged.path(), unpacked, archive_size)?;
        let mut claims = self.shared.claims();
        if self.shared.read_record(diff_id).is_none() {
            self.put(staged, diff_id)?;
        }
        Ok(self.shared.pin(&mut claims, diff_id.clone(), record))
    }

    /// Renames a staged layer into its place. Called with the claims held, when no good layer is there.
    fn put(&self, staged: &StagedDirectory, diff_id: &Digest) -> Result<(), ImageError> {
        let target = self.shared.path(diff_id);
        let failed = |error: io::Error| ImageError::at("rename a layer to", &target, error);
        match fs::rename(staged.path(), &target) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                // Torn by a power cut: without its record it is worth nothing.
                tracing::warn!(path = %target.display(), "a layer without a readable record is replaced");
                fs::rename(&target, self.shared.staging.name("torn"))
                    .and_then(|()| fs::rename(staged.path(), &target))
                    .map_err(failed)?;
            }
            result => result.map_err(failed)?,
        }
        staged.keep();
        Ok(())
    }

    /// Makes everything that was unpacked so far outlast a power cut, with one call for all of it.
    pub(crate) fn sync(&self) -> Result<(), ImageError> {
        let failed = |error: io::Error| ImageError::at("sync", &self.shared.directory, error);
        let directory = File::open(&self.shared.directory).map_err(failed)?;
        rustix::fs::syncfs(&directory).map_err(|errno| failed(errno.into()))
    }

    /// Sets the layers apart that neither `used` nor a running operation needs. A layer that cannot be moved is left for the next time.
    pub(crate) fn sweep(&self, used: &HashSet<Digest>) -> Vec<Swept> {
        self.present()
            .into_iter()
            .filter(|diff_id| !used.contains(diff_id))
            .filter_map(|diff_id| self.set_apart(diff_id))
            .collect()
    }

    fn set_apart(&self, diff_id: Digest) -> Option<Swept> {
        let claims = self.shared.claims();
        if claims.pins.contains_key(&diff_id) {
            return None;
        }
        let size = self
            .shared
            .read_record(&diff_id)
            .map_or(0, |record| record.size);
        let aside = self.shared.staging.name("removed");
        fs::rename(self.shared.path(&diff_id), &aside).ok()?;
        // With the claims still held: whoever reads a record and relies on it has a pin or is in the index.
        self.shared.records().remove(&diff_id);
        Some(Swept {
            diff_id,
            size,
            aside,
        })
    }

    fn present(&self) -> Vec<Digest> {
        let entries = fs::read_dir(&self.shared.directory)
            .into_iter()
            .flatten()
            .flatten();
        let names = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| is_full_hex(name));
        names
            .filter_map(|name| format!("sha256:{name}").parse().ok())
            .collect()
    }

    /// The free space that unpacking may use now.
    fn budget(&self) -> Result<UnpackLimits, ImageError> {
        let limits = self.shared.limits;
        let disk = rustix::fs::statvfs(&self.shared.directory).map_err(|errno| {
            ImageError::at("look at the disk of", &self.shared.directory, errno)
        })?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let bytes = free.saturating_sub(limits.reserve_bytes);
        if bytes == 0 {
            return Err(ImageError::NoSpace {
                object: "a layer".to_owned(),
                directory: self.shared.directory.clone(),
            });
        }
        Ok(UnpackLimits {
            bytes,
            entries: limits.max_entries,
        })
    }

    fn record(
        &self,
        staged: &Path,
        unpacked: &Unpacked,
        archive_size: u64,
    ) -> Result<LayerRecord, ImageError> {
        let record = LayerRecord {
            size: unpacked.bytes,
            archive_size,
            is_opaque: unpacked.is_opaque,
        };
        let path = staged.join(RECORD);
        let text =
            serde_json::to_vec(&record).map_err(|error| ImageError::at("write", &path, error))?;
        fs::write(&path, text).map_err(|error| ImageError::at("write", &path, error))?;
        Ok(record)
    }

    fn explain(&self, error: LayerError) -> ImageError {
        let directory = self.shared.directory.clone();
        match error {
            LayerError::Stream(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                ImageError::Limit(error.to_string())
            }
            LayerError::Stream(error) => ImageError::InvalidArchive(error.to_string()),
            LayerError::Unpack(UnpackError::Full(object)) => {
                ImageError::NoSpace { object, directory }
            }
            LayerError::Unpack(UnpackError::Limit(what)) => ImageError::Limit(what),
            LayerError::Unpack(UnpackError::Archive(error)) => from_tar(error),
            LayerError::Unpack(UnpackError::System { source, object, .. }) if is_full(&source) => {
                ImageError::NoSpace { object, directory }
            }
            LayerError::Unpack(UnpackError::System {
                call,
                object,
                source,
            }) => ImageError::Io {
                action: call,
                object,
                source,
            },
            LayerError::Unpack(refused @ UnpackError::Refused { .. }) => {
                ImageError::InvalidArchive(refused.to_string())
            }
        }
    }
}

/// What is written beside the tree so that the archive can be given again. Headers compress well, so they get a small part of the disk.
fn keep(staged: &Path, bytes: u64) -> Result<Keep, ImageError> {
    let (path, aside) = (staged.join(SPLIT), staged.join(ASIDE));
    let record = SplitWriter::create(&path, bytes / 8)
        .map_err(|error| ImageError::at("create", &path, error))?;
    let opened = fs::create_dir(&aside).and_then(|()| File::open(&aside));
    let aside = opened.map_err(|error| ImageError::at("create", &aside, error))?;
    Ok(Keep {
        record,
        aside: aside.into(),
    })
}

/// Words a tar error. What the stream itself refused comes through the reader as an I/O error.
pub(crate) fn from_tar(error: super::tarball::TarError) -> ImageError {
    match error {
        super::tarball::TarError::Read(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            ImageError::Limit(error.to_string())
        }
        other => ImageError::InvalidArchive(other.to_string()),
    }
}

enum LayerError {
    Stream(io::Error),
    Unpack(UnpackError),
}

impl From<io::Error> for LayerError {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

impl Shared {
    fn path(&self, diff_id: &Digest) -> PathBuf {
        self.directory.join(diff_id.hex())
    }

    fn read_record(&self, diff_id: &Digest) -> Option<LayerRecord> {
        if let Some(known) = self.records().get(diff_id) {
            return Some(known.clone());
        }
        let file = File::open(self.path(diff_id).join(RECORD)).ok()?;
        let record: LayerRecord = serde_json::from_reader(BufReader::new(file)).ok()?;
        self.records().insert(diff_id.clone(), record.clone());
        Some(record)
    }

    fn records(&self) -> MutexGuard<'_, HashMap<Digest, LayerRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pin(self: &Arc<Self>, claims: &mut Claims, diff_id: Digest, record: LayerRecord) -> Pin {
        *claims.pins.entry(diff_id.clone()).or_default() += 1;
        Pin {
            shared: Arc::clone(self),
            diff_id,
            record,
        }
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        // The counters are right after every single change, so a panic elsewhere does not matter.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Swept {
    fn drop(&mut self) {
        if let Err(error) = erase_tree(&self.aside) {
            tracing::warn!(path = %self.aside.display(), %error, "a removed layer's files are left until the engine starts again");
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut claims = self.shared.claims();
        if let Some(count) = claims.pins.get_mut(&self.diff_id) {
            *count -= 1;
            if *count == 0 {
                claims.pins.remove(&self.diff_id);
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shared.claims().unpacking.remove(&self.archive);
        self.shared.changed.notify_all();
    }
}
