//! What leaves the store: compressed layers for registries, and archives of images.
//!
//! A saved archive is what `docker save` writes today: an OCI layout that has Docker's `manifest.json` as well, so that old and new readers
//! take it. It is reproducible: members in a fixed order, times of 1970, uncompressed layers, whose bytes are those that came.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Seek as _, Write};
use std::sync::Arc;

use hoist_registry::BlobFile;
use sha2::{Digest as _, Sha256};

use super::error::ImageError;
use super::id::ImageId;
use super::made::HeldLayer;
use super::manifest::{
    Annotations, CONFIG_TYPE, Descriptor, INDEX_TYPE, Index, LAYER_TYPE, MANIFEST_TYPE, Manifest,
    NAME_ANNOTATION, REF_ANNOTATION, SavedImage,
};
use super::store::{Image, ImageStore};
use super::tarball::write::{END, header, padding};
use super::tarball::{Entry, EntryKind, Timestamp};
use hoist_api::{Digest, ImageRef};

/// What most tools take; more costs much and gives little.
const LEVEL: u32 = 6;
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

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
    image: Arc<Image>,
    /// In the order in which they were asked for.
    names: Vec<ImageRef>,
    layers: Vec<HeldLayer>,
    config: Vec<u8>,
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
        let path = self.layers().scratch();
        let failed = |error: io::Error| ImageError::at("compress a layer to", &path, error);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(failed)?;
        std::fs::remove_file(&path).map_err(failed)?;
        let output = HashedFile {
            file: io::BufWriter::with_capacity(256 << 10, file),
            hasher: Sha256::new(),
            size: 0,
        };
        let mut encoder = flate2::write::GzEncoder::new(output, flate2::Compression::new(LEVEL));
        io::copy(&mut layer.archive(), &mut encoder).map_err(failed)?;
        let output = encoder.finish().map_err(failed)?;
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
                match found.iter_mut().find(|known| known.image.id == image.id) {
                    Some(known) => {
                        known.names.extend(names);
                        known.names.sort();
                        known.names.dedup();
                    }
                    None => found.push(Exported {
                        config: self.documents(&image.id)?.config,
                        image,
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

/// Writes images as one archive.
pub(crate) fn save(images: &[Exported], output: &mut dyn Write) -> io::Result<()> {
    let mut archive = Archive::default();
    let mut saved = Vec::new();
    let mut listed = Vec::new();
    for image in images {
        let manifest = archive.add_image(image)?;
        listed.extend(entries(image, &manifest));
        saved.push(SavedImage {
            config: blob_name(&image.image.id.0),
            repo_tags: (!image.names.is_empty())
                .then(|| image.names.iter().map(ImageRef::familiar).collect()),
            layers: Some(
                image
                    .layers
                    .iter()
                    .map(|layer| blob_name(layer.diff_id()))
                    .collect(),
            ),
        });
    }
    let index = Index {
        schema_version: 2,
        media_type: INDEX_TYPE.to_owned(),
        manifests: listed,
    };
    archive.put("index.json", serde_json::to_vec(&index)?);
    archive.put("manifest.json", serde_json::to_vec(&saved)?);
    archive.put("oci-layout", LAYOUT.to_vec());
    archive.write(output)
}

/// The image in the index: once for each name.
fn entries(image: &Exported, manifest: &Descriptor) -> Vec<Descriptor> {
    if image.names.is_empty() {
        return vec![manifest.clone()];
    }
    let named = |name: &ImageRef| {
        let mut annotations = Annotations::from([(NAME_ANNOTATION.to_owned(), name.full())]);
        let tag = name
            .tag()
            .map(|tag| (REF_ANNOTATION.to_owned(), tag.to_owned()));
        annotations.extend(tag);
        Descriptor {
            annotations: Some(annotations),
            ..manifest.clone()
        }
    };
    image.names.iter().map(named).collect()
}

/// The members, by name: their order is the names'.
#[derive(Default)]
struct Archive {
    documents: BTreeMap<String, Vec<u8>>,
    layers: BTreeMap<String, HeldLayer>,
}

impl Archive {
    fn put(&mut self, name: &str, content: Vec<u8>) {
        self.documents.insert(name.to_owned(), content);
    }

    /// Adds an image's blobs; its manifest's descriptor.
    fn add_image(&mut self, image: &Exported) -> io::Result<Descriptor> {
        let layer = |layer: &HeldLayer| {
            Descriptor::new(LAYER_TYPE, layer.diff_id().clone(), layer.archive_size())
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST_TYPE.to_owned(),
            config: Descriptor::new(
                CONFIG_TYPE,
                image.image.id.0.clone(),
                image.config.len() as u64,
            ),
            layers: image.layers.iter().map(layer).collect(),
        };
        let text = serde_json::to_vec(&manifest)?;
        let digest = Digest::of(&text);
        let described = Descriptor::new(MANIFEST_TYPE, digest.clone(), text.len() as u64);
        self.put(&blob_name(&digest), text);
        self.put(&blob_name(&image.image.id.0), image.config.clone());
        for layer in &image.layers {
            self.layers
                .insert(blob_name(layer.diff_id()), layer.clone());
        }
        Ok(described)
    }

    fn write(self, output: &mut dyn Write) -> io::Result<()> {
        for directory in ["blobs/", "blobs/sha256/"] {
            output.write_all(&header(&member(directory, EntryKind::Directory, 0)))?;
        }
        for (name, layer) in &self.layers {
            let size = layer.archive_size();
            output.write_all(&header(&member(name, EntryKind::File, size)))?;
            let written = io::copy(&mut layer.archive(), output)?;
            if written != size {
                let message = format!("the layer {} gave {written} bytes", layer.diff_id());
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            output.write_all(&vec![0; padding(size)])?;
        }
        for (name, content) in &self.documents {
            let size = content.len() as u64;
            output.write_all(&header(&member(name, EntryKind::File, size)))?;
            output.write_all(content)?;
            output.write_all(&vec![0; padding(size)])?;
        }
        output.write_all(&END)
    }
}

fn member(name: &str, kind: EntryKind, size: u64) -> Entry {
    Entry {
        path: name.as_bytes().to_vec(),
        kind,
        mode: if kind == EntryKind::Directory {
            0o755
        } else {
            0o644
        },
        uid: 0,
        gid: 0,
        mtime: Timestamp::default(),
        size,
        link: Vec::new(),
        device: (0, 0),
        xattrs: Vec::new(),
        segments: None,
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
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
