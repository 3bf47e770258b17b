//! Images as archives.
//!
//! What `image save` writes is what `docker save` writes today: an OCI layout that has Docker's `manifest.json` as well, so that old and
//! new readers take it, with uncompressed layers, whose bytes are those that came. What a build writes ([`ImageArchive`]) may be compressed,
//! annotated, without Docker's list, or a directory. All are reproducible: members in a fixed order, times of 1970.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use hoist_api::build::{ArchiveFormat, Compression, ImageArchive};
use hoist_api::{Digest, ImageRef};
use hoist_registry::BlobFile;

use super::error::ImageError;
use super::export::Exported;
use super::made::HeldLayer;
use super::manifest::{
    Annotations, CONFIG_TYPE, DOCKER_CONFIG_TYPE, DOCKER_LAYER_TYPE, DOCKER_MANIFEST_TYPE,
    DOCKER_PLAIN_LAYER_TYPE, Descriptor, GZIP_LAYER_TYPE, INDEX_TYPE, Index, LAYER_TYPE,
    MANIFEST_TYPE, Manifest, NAME_ANNOTATION, REF_ANNOTATION, SavedImage, ZSTD_LAYER_TYPE,
};
use super::store::ImageStore;
use super::tarball::write::{END, header, padding};
use super::tarball::{Entry, EntryKind, Timestamp};

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX: &str = "index.json";
const BLOBS: &str = "blobs/sha256/";

/// Writes images as one archive, as `docker save` does.
pub(crate) fn save(images: &[Exported], output: &mut dyn Write) -> io::Result<()> {
    let wanted = ImageArchive {
        format: ArchiveFormat::Docker,
        compression: Compression::Uncompressed,
        ..ImageArchive::default()
    };
    let mut archive = Archive::default();
    let mut saved = Vec::new();
    for image in images {
        let layers: Vec<Blob> = image.layers.iter().cloned().map(Blob::Held).collect();
        saved.push(archive.add_image(image, layers, &wanted)?);
    }
    archive.finish(saved, &wanted)?;
    archive.write(output)
}

impl ImageStore {
    /// Writes an image to the place that a build was asked for. Gives the digest of its manifest.
    ///
    /// # Errors
    /// The place cannot be written. No file is at its path then, or the one that was there before; a directory still lists what it listed,
    /// and may hold blobs that nothing names.
    pub(crate) fn write_archive(
        &self,
        image: &Exported,
        wanted: &ImageArchive,
    ) -> Result<Digest, ImageError> {
        let path = Path::new(&wanted.path);
        // Not [`ImageError::at`]: what is full here need not be the disk that has the images.
        let failed = |source: io::Error| ImageError::Io {
            action: "write",
            object: path.display().to_string(),
            source,
        };
        let layers = self.blobs(&image.layers, wanted)?;
        let mut archive = Archive::default();
        let saved = archive.add_image(image, layers, wanted).map_err(failed)?;
        let digest = archive.listed[0].digest.clone();
        if wanted.unpacked {
            archive.join(path).map_err(failed)?;
            archive.finish(vec![saved], wanted).map_err(failed)?;
            archive.write_directory(path).map_err(failed)?;
            return Ok(digest);
        }
        archive.finish(vec![saved], wanted).map_err(failed)?;
        replace(path, &mut |file| archive.write(file)).map_err(failed)?;
        Ok(digest)
    }

    /// The layers as they are written, compressed by as many threads as there are processors.
    fn blobs(&self, layers: &[HeldLayer], wanted: &ImageArchive) -> Result<Vec<Blob>, ImageError> {
        if wanted.compression == Compression::Uncompressed {
            return Ok(layers.iter().cloned().map(Blob::Held).collect());
        }
        let next = AtomicUsize::new(0);
        let made: Mutex<BTreeMap<usize, Result<BlobFile, ImageError>>> = Mutex::default();
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(layer) = layers.get(at) else { return };
                let blob = self.compress_with(layer, (wanted.compression, wanted.level));
                made.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(at, blob);
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 1..threads.min(layers.len()) {
                scope.spawn(work);
            }
            work();
        });
        let made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
        made.into_values()
            .map(|blob| blob.map(Blob::File))
            .collect()
    }
}

/// Writes a file beside its place and puts it there when it is whole. What is no file (a pipe, a terminal) is written as it is.
pub(crate) fn replace(
    path: &Path,
    write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let is_other = std::fs::metadata(path).is_ok_and(|there| !there.is_file());
    if is_other {
        let mut file = io::BufWriter::new(File::options().write(true).open(path)?);
        write(&mut file)?;
        return file.flush();
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let mut attempt = || -> io::Result<()> {
        let mut file = io::BufWriter::with_capacity(256 << 10, File::create(&partial)?);
        write(&mut file)?;
        file.flush()?;
        std::fs::rename(&partial, path)
    };
    attempt().inspect_err(|_| {
        // The first error is the one that matters.
        let _ = std::fs::remove_file(&partial);
    })
}

/// A layer as it stands in an archive.
#[derive(Debug)]
enum Blob {
    /// Uncompressed.
    Held(HeldLayer),
    /// Compressed.
    File(BlobFile),
}

impl Blob {
    fn digest(&self) -> &Digest {
        match self {
            Self::Held(layer) => layer.diff_id(),
            Self::File(file) => &file.digest,
        }
    }

    fn size(&self) -> u64 {
        match self {
            Self::Held(layer) => layer.archive_size(),
            Self::File(file) => file.size,
        }
    }

    fn copy(&self, output: &mut dyn Write) -> io::Result<()> {
        let written = match self {
            Self::Held(layer) => io::copy(&mut layer.archive(), output)?,
            Self::File(blob) => {
                use std::io::Seek as _;
                let mut file = &*blob.file;
                file.rewind()?;
                io::copy(&mut file, output)?
            }
        };
        if written != self.size() {
            let message = format!("the layer {} gave {written} bytes", self.digest());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(())
    }
}

/// The members, by name: their order is the names'.
#[derive(Default)]
struct Archive {
    documents: BTreeMap<String, Vec<u8>>,
    layers: BTreeMap<String, Blob>,
    listed: Vec<Descriptor>,
}

impl Archive {
    fn put(&mut self, name: &str, content: Vec<u8>) {
        self.documents.insert(name.to_owned(), content);
    }

    /// Adds an image's blobs; its line in Docker's list.
    fn add_image(
        &mut self,
        image: &Exported,
        layers: Vec<Blob>,
        wanted: &ImageArchive,
    ) -> io::Result<SavedImage> {
        let [manifest_type, config_type, layer_type] = types(wanted);
        let layer = |blob: &Blob| Descriptor::new(layer_type, blob.digest().clone(), blob.size());
        let manifest = Manifest {
            schema_version: 2,
            media_type: manifest_type.to_owned(),
            config: Descriptor::new(config_type, image.id.0.clone(), image.config.len() as u64),
            layers: layers.iter().map(layer).collect(),
            annotations: Some(wanted.annotations.clone()).filter(|all| !all.is_empty()),
        };
        let text = serde_json::to_vec(&manifest)?;
        let digest = Digest::of(&text);
        let described = Descriptor::new(manifest_type, digest.clone(), text.len() as u64);
        self.listed
            .extend(entries(&image.names, &described, &wanted.entry_annotations));
        self.put(&blob_name(&digest), text);
        self.put(&blob_name(&image.id.0), image.config.clone());
        let saved = SavedImage {
            config: blob_name(&image.id.0),
            repo_tags: (!image.names.is_empty())
                .then(|| image.names.iter().map(ImageRef::familiar).collect()),
            layers: Some(layers.iter().map(|blob| blob_name(blob.digest())).collect()),
        };
        for blob in layers {
            self.layers.insert(blob_name(blob.digest()), blob);
        }
        Ok(saved)
    }

    /// Takes over what a layout lists already, but for what has a name of ours.
    fn join(&mut self, directory: &Path) -> io::Result<()> {
        let text = match std::fs::read(directory.join(INDEX)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            text => text?,
        };
        let there: Index = serde_json::from_slice(&text)?;
        let name = |entry: &Descriptor| entry.annotations.clone()?.remove(NAME_ANNOTATION);
        let is_replaced = |entry: &Descriptor| {
            let same = |ours: &Descriptor| match (name(ours), name(entry)) {
                (None, None) => ours.digest == entry.digest,
                (ours, theirs) => ours == theirs,
            };
            self.listed.iter().any(same)
        };
        let kept: Vec<Descriptor> = there
            .manifests
            .into_iter()
            .filter(|entry| !is_replaced(entry))
            .collect();
        self.listed.splice(0..0, kept);
        Ok(())
    }

    fn finish(&mut self, saved: Vec<SavedImage>, wanted: &ImageArchive) -> io::Result<()> {
        let index = Index {
            schema_version: 2,
            media_type: INDEX_TYPE.to_owned(),
            manifests: std::mem::take(&mut self.listed),
        };
        self.put(INDEX, serde_json::to_vec(&index)?);
        if wanted.format == ArchiveFormat::Docker {
            self.put("manifest.json", serde_json::to_vec(&saved)?);
        }
        self.put("oci-layout", LAYOUT.to_vec());
        Ok(())
    }

    fn write(&self, output: &mut dyn Write) -> io::Result<()> {
        for directory in ["blobs/", BLOBS] {
            output.write_all(&header(&member(directory, EntryKind::Directory, 0)))?;
        }
        for (name, layer) in &self.layers {
            output.write_all(&header(&member(name, EntryKind::File, layer.size())))?;
            layer.copy(output)?;
            output.write_all(&vec![0; padding(layer.size())])?;
        }
        for (name, content) in &self.documents {
            let size = content.len() as u64;
            output.write_all(&header(&member(name, EntryKind::File, size)))?;
            output.write_all(content)?;
            output.write_all(&vec![0; padding(size)])?;
        }
        output.write_all(&END)
    }

    /// The index last: what it names is there when it is.
    fn write_directory(&self, directory: &Path) -> io::Result<()> {
        std::fs::create_dir_all(directory.join(BLOBS))?;
        for (name, layer) in &self.layers {
            let path = directory.join(name);
            // Content-addressed: what is there is the same.
            if !path.exists() {
                replace(&path, &mut |output| layer.copy(output))?;
            }
        }
        let blobs_first = |name: &&String| (!name.starts_with(BLOBS), name.as_str() == INDEX);
        let mut names: Vec<&String> = self.documents.keys().collect();
        names.sort_by_key(blobs_first);
        for name in names {
            let content = &self.documents[name];
            replace(&directory.join(name), &mut |output| {
                output.write_all(content)
            })?;
        }
        Ok(())
    }
}

/// Of the manifest, the configuration and the layers.
fn types(wanted: &ImageArchive) -> [&'static str; 3] {
    let layer = match (wanted.compression, wanted.docker_types) {
        (Compression::Uncompressed, true) => DOCKER_PLAIN_LAYER_TYPE,
        (_, true) => DOCKER_LAYER_TYPE,
        (Compression::Uncompressed, false) => LAYER_TYPE,
        (Compression::Gzip, false) => GZIP_LAYER_TYPE,
        (Compression::Zstd, false) => ZSTD_LAYER_TYPE,
    };
    if wanted.docker_types {
        [DOCKER_MANIFEST_TYPE, DOCKER_CONFIG_TYPE, layer]
    } else {
        [MANIFEST_TYPE, CONFIG_TYPE, layer]
    }
}

/// The image in the index: once for each name.
fn entries(
    names: &[ImageRef],
    manifest: &Descriptor,
    more: &BTreeMap<String, String>,
) -> Vec<Descriptor> {
    let with = |own: Annotations| {
        let annotations: Annotations = own.into_iter().chain(more.clone()).collect();
        Descriptor {
            annotations: Some(annotations).filter(|all| !all.is_empty()),
            ..manifest.clone()
        }
    };
    if names.is_empty() {
        return vec![with(Annotations::new())];
    }
    let named = |name: &ImageRef| {
        let mut annotations = Annotations::from([(NAME_ANNOTATION.to_owned(), name.full())]);
        let tag = name
            .tag()
            .map(|tag| (REF_ANNOTATION.to_owned(), tag.to_owned()));
        annotations.extend(tag);
        with(annotations)
    };
    names.iter().map(named).collect()
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
    format!("{BLOBS}{}", digest.hex())
}
