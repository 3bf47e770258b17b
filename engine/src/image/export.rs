//! What leaves the store: compressed layers for registries, and images for archives ([`super::archive`]).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Seek as _, Write};
use std::sync::Arc;

use hoist_api::build::Compression;
use hoist_registry::BlobFile;
use sha2::{Digest as _, Sha256};

use super::config::ImageConfig;
use super::error::ImageError;
use super::id::ImageId;
use super::made::HeldLayer;
use super::manifest::Manifest;
use super::store::ImageStore;
use hoist_api::{Digest, ImageRef};

/// Of gzip: what most tools take; more costs much and gives little.
const LEVEL: u32 = 6;
/// Of zstd, its own default.
const ZSTD_LEVEL: i32 = 3;

/// An image's documents.
#[derive(Debug, Clone)]
pub(crate) struct StoredDocuments {
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Manifest,
    pub(crate) manifest_text: Vec<u8>,
}

/// An image to be saved.
#[derive(Debug)]
pub(crate) struct Exported {
    pub(super) id: ImageId,
    /// In the order in which they were asked for.
    pub(super) names: Vec<ImageRef>,
    pub(super) layers: Vec<HeldLayer>,
    pub(super) config: Vec<u8>,
}

impl Exported {
    /// An image that is in no store: the same content has the id there that it has here.
    ///
    /// # Errors
    /// Its configuration cannot be written.
    pub(crate) fn of(
        mut config: ImageConfig,
        layers: Vec<HeldLayer>,
        names: Vec<ImageRef>,
    ) -> io::Result<Self> {
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id().clone()).collect();
        let config = serde_json::to_vec(&config)?;
        Ok(Self {
            id: ImageId(Digest::of(&config)),
            names,
            layers,
            config,
        })
    }

    /// The digest of its configuration.
    pub(crate) fn id(&self) -> &ImageId {
        &self.id
    }
}

impl ImageStore {
    /// An image's documents as they are stored.
    pub(crate) fn documents(&self, id: &ImageId) -> Result<StoredDocuments, ImageError> {
        let missing = || ImageError::NotFound(id.to_string());
        let (manifest, digest) = {
            let state = self.state();
            let record = state.images.get(id).ok_or_else(missing)?;
            (record.manifest.clone(), record.manifest_digest.clone())
        };
        Ok(StoredDocuments {
            config: self.layout().read(&id.0).ok_or_else(missing)?,
            manifest_text: self.layout().read(&digest).ok_or_else(missing)?,
            manifest,
        })
    }

    /// A layer's archive, compressed with gzip, in a file that is gone when it is closed. The same layer gives the same bytes.
    pub(crate) fn compress(&self, layer: &HeldLayer) -> Result<BlobFile, ImageError> {
        self.compress_with(layer, (Compression::Gzip, None))
    }

    /// A layer's archive in a file that is gone when it is closed. The same layer gives the same bytes.
    pub(super) fn compress_with(
        &self,
        layer: &HeldLayer,
        (compression, level): (Compression, Option<i32>),
    ) -> Result<BlobFile, ImageError> {
        let path = self.layers().scratch();
        let failed = |error: io::Error| ImageError::at("compress a layer to", &path, error);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(failed)?;
        std::fs::remove_file(&path).map_err(failed)?;
        let mut output = HashedFile {
            file: io::BufWriter::with_capacity(256 << 10, file),
            hasher: Sha256::new(),
            size: 0,
        };
        let mut archive = layer.archive();
        let output = match compression {
            Compression::Uncompressed => io::copy(&mut archive, &mut output).map(|_| output),
            Compression::Gzip => {
                let level = level.and_then(|level| u32::try_from(level).ok());
                let level = flate2::Compression::new(level.unwrap_or(LEVEL));
                let mut encoder = flate2::write::GzEncoder::new(output, level);
                io::copy(&mut archive, &mut encoder).and_then(|_| encoder.finish())
            }
            Compression::Zstd => {
                let level = level.unwrap_or(ZSTD_LEVEL);
                zstd::stream::Encoder::new(output, level).and_then(|mut encoder| {
                    io::copy(&mut archive, &mut encoder)?;
                    encoder.finish()
                })
            }
        };
        let output = output.map_err(failed)?;
        let (digest, size) = (Digest::from_hash(&output.hasher.finalize()), output.size);
        let mut file = output
            .file
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.rewind().map_err(failed)?;
        Ok(BlobFile {
            file: Arc::new(file),
            digest,
            size,
        })
    }

    /// Collects what `image save` is to write. A name of a repository without a tag means all its tags.
    pub(crate) fn export(&self, names: &[String]) -> Result<Vec<Exported>, ImageError> {
        let mut found: Vec<Exported> = Vec::new();
        for name in names {
            for (text, reference) in self.meant(name) {
                let (image, layers) = self.hold(&text)?;
                let names: Vec<ImageRef> = reference.into_iter().collect();
                match found.iter_mut().find(|known| known.id == image.id) {
                    Some(known) => {
                        known.names.extend(names);
                        known.names.sort();
                        known.names.dedup();
                    }
                    None => found.push(Exported {
                        config: self.documents(&image.id)?.config,
                        id: image.id.clone(),
                        names,
                        layers,
                    }),
                }
            }
        }
        Ok(found)
    }

    /// What a text names, and the name that is written: none for an id or a digest.
    fn meant(&self, text: &str) -> Vec<(String, Option<ImageRef>)> {
        let Ok(name) = text.parse::<ImageRef>() else {
            return vec![(text.to_owned(), None)];
        };
        // An id reads as a name and a tag, too.
        if name.familiar_repository() == "sha256" {
            return vec![(text.to_owned(), None)];
        }
        let has_tag = text
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains(':'));
        let state = self.state();
        if state.owner(&name).is_some_and(|id| state.is_id(text, id)) || name.digest().is_some() {
            return vec![(text.to_owned(), None)];
        }
        if has_tag {
            return vec![(text.to_owned(), Some(name))];
        }
        let tags: BTreeSet<&ImageRef> = state
            .images
            .values()
            .flat_map(|record| &record.names)
            .filter(|known| known.tag().is_some() && known.same_repository(&name))
            .collect();
        if tags.is_empty() {
            // Perhaps the beginning of an id; else the error names it.
            return vec![(text.to_owned(), None)];
        }
        tags.into_iter()
            .map(|tag| (tag.full(), Some(tag.clone())))
            .collect()
    }
}

/// A file without a name that holds some bytes.
pub(crate) fn small_file(content: &[u8]) -> io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("blob", flags)?);
    file.write_all(content)?;
    Ok(file)
}

struct HashedFile {
    file: io::BufWriter<File>,
    hasher: Sha256,
    size: u64,
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
