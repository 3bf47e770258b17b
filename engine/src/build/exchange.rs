//! `cache_to` and `cache_from`: steps' records and their layers where another engine can read them. Here is `type=local`, a directory; for
//! registries see `service::build::cache_image`.
//!
//! ```text
//! steps.json              the records, by key
//! layers/<digest>.tar.zst their layers
//! ```
//!
//! A layer is only taken when it has the digest that the record says. The keys themselves are believed: who gives a cache gives what steps
//! have made.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hoist_api::Digest;

use serde::{Deserialize, Serialize};

use super::cache::Record;
use super::error::BuildError;
use crate::image::{HeldLayer, ImageStore};

const RECORDS: &str = "steps.json";
const LAYERS: &str = "layers";
/// Of zstd: fast, since most of the time the directory is on the same machine.
const LEVEL: i32 = 1;

/// The version of [`Document`].
const VERSION: u32 = 1;

/// What is in a cache's one document.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Document {
    version: u32,
    pub(crate) steps: BTreeMap<String, Record>,
    /// In a registry: what the layers of the manifest are, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) layers: Vec<Digest>,
}

impl Default for Document {
    fn default() -> Self {
        Self {
            version: VERSION,
            steps: BTreeMap::new(),
            layers: Vec::new(),
        }
    }
}

/// Where the layers of a cache are.
pub(crate) trait LayerSource: std::fmt::Debug + Send + Sync {
    /// A layer's archive, compressed or not; read on a blocking thread.
    fn archive(&self, diff_id: &Digest) -> Option<Box<dyn Read + Send>>;
}

/// A cache's directory of layers.
#[derive(Debug)]
struct Directory(PathBuf);

impl LayerSource for Directory {
    fn archive(&self, diff_id: &Digest) -> Option<Box<dyn Read + Send>> {
        let file = File::open(place(&self.0, diff_id.hex())).ok()?;
        Some(Box::new(file))
    }
}

/// Steps that other builds left.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    steps: BTreeMap<String, (Record, Arc<dyn LayerSource>)>,
}

/// Leaves steps in a directory, beside what is there.
pub(crate) fn export(
    directory: &Path,
    images: &ImageStore,
    steps: Vec<(String, Record)>,
) -> Result<(), BuildError> {
    let layers = directory.join(LAYERS);
    std::fs::create_dir_all(&layers).map_err(|error| BuildError::io("create", &layers, error))?;
    let mut document = read(directory)?;
    for (key, record) in steps {
        if let Some(layer) = &record.layer {
            let Some(held) = images.hold_layer(layer) else {
                continue;
            };
            write_layer(&layers, &held)?;
        }
        document.steps.insert(key, record);
    }
    let path = directory.join(RECORDS);
    let temporary = directory.join("steps.new");
    let text = serde_json::to_vec(&document)
        .map_err(|error| BuildError::io("write", &path, std::io::Error::from(error)))?;
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, &path))
        .map_err(|error| BuildError::io("write", &path, error))
}

fn write_layer(directory: &Path, layer: &HeldLayer) -> Result<(), BuildError> {
    let path = place(directory, layer.diff_id().hex());
    if path.exists() {
        return Ok(());
    }
    let temporary = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let file = BufWriter::new(File::create(&temporary)?);
        let mut output = zstd::stream::Encoder::new(file, LEVEL)?;
        let mut archive = layer.archive();
        std::io::copy(&mut archive, &mut output)?;
        output.finish()?.flush()?;
        std::fs::rename(&temporary, &path)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        BuildError::io("write", &path, error)
    })
}

fn place(directory: &Path, hex: &str) -> PathBuf {
    directory.join(format!("{hex}.tar.zst"))
}

fn read(directory: &Path) -> Result<Document, BuildError> {
    let path = directory.join(RECORDS);
    match File::open(&path) {
        Ok(file) => serde_json::from_reader(BufReader::new(file))
            .map_err(|error| BuildError::io("read", &path, std::io::Error::from(error))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Document::default()),
        Err(error) => Err(BuildError::io("read", &path, error)),
    }
}

impl Imported {
    /// Adds what is in a directory; one that is not there has nothing.
    pub(crate) fn add_directory(&mut self, directory: &Path) -> Result<(), BuildError> {
        let layers = Directory(directory.join(LAYERS));
        self.add(
            read(directory)?.steps,
            &(Arc::new(layers) as Arc<dyn LayerSource>),
        );
        Ok(())
    }

    /// Adds steps whose layers are in one place.
    pub(crate) fn add(&mut self, steps: BTreeMap<String, Record>, layers: &Arc<dyn LayerSource>) {
        for (key, record) in steps {
            self.steps.insert(key, (record, Arc::clone(layers)));
        }
    }

    /// Takes a step's layer into the store; `None` when the step is not there, or its layer is not what the record says.
    pub(crate) fn take(
        &self,
        key: &str,
        images: &ImageStore,
    ) -> Option<(Record, Option<HeldLayer>)> {
        let (record, layers) = self.steps.get(key)?;
        let Some(digest) = &record.layer else {
            return Some((record.clone(), None));
        };
        if let Some(held) = images.hold_layer(digest) {
            return Some((record.clone(), Some(held)));
        }
        let mut archive = layers.archive(digest)?;
        match images.add_layer(&mut archive) {
            Ok(held) if held.diff_id() == digest => Some((record.clone(), Some(held))),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%digest, %error, "a layer of a cache cannot be used");
                None
            }
        }
    }
}
