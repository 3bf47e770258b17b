//! What steps have made, by their keys: one small record a step, beneath the builder's directory.
//!
//! A record is written after its layer is in the store and replaced atomically. One whose layer is gone is as good as none, so a crash
//! at any moment costs at most a step that is done again. The layers that records name are kept by the store ([`ImageStore::set_roots`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hoist_api::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::digest::Hash;
use crate::image::{HeldLayer, ImageError, ImageStore};
use crate::store::{self, Durability};

/// The store's name for who keeps the layers.
const OWNER: &str = "build";
const SUFFIX: &str = ".json";

/// What a step has made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// The layer; `None` when the step changed nothing.
    pub(crate) layer: Option<Digest>,
    /// Bytes of the layer's files.
    pub(crate) size: u64,
    /// The step, for people.
    pub(crate) name: String,
    pub(crate) made: Timestamp,
    pub(crate) used: Timestamp,
}

/// The records.
#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
    images: ImageStore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<String, Record>,
    /// What the store was told last.
    rooted: BTreeSet<Digest>,
}

/// What a step made, held, and when it did: an image of known steps is the same image again.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// `None` when it changed nothing.
    pub(crate) layer: Option<HeldLayer>,
    pub(crate) at: Timestamp,
}

impl Made {
    /// What was made now.
    pub(crate) fn now(layer: Option<HeldLayer>) -> Self {
        Self {
            layer,
            at: Timestamp::now(),
        }
    }
}

/// Steps that are being done now, by key. Who comes second waits and takes what the first has made: stages that begin alike do the
/// same work once, and a later build finds the very layers that this one has used.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<BTreeMap<Hash, Weak<tokio::sync::Mutex<()>>>>);

impl Flights {
    /// The lock of a key.
    pub(crate) fn of(&self, key: &Hash) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = all.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        all.insert(*key, Arc::downgrade(&lock));
        lock
    }
}

impl Cache {
    /// Reads the records; those that cannot be read are forgotten.
    pub(crate) fn open(directory: PathBuf, images: ImageStore) -> Self {
        let mut records = BTreeMap::new();
        for name in store::names(&directory).unwrap_or_default() {
            let Some(key) = name.strip_suffix(SUFFIX) else {
                continue;
            };
            if let Ok(Some(record)) = store::load(&directory.join(&name)) {
                records.insert(key.to_owned(), record);
            }
        }
        let rooted = images.roots(OWNER);
        Self {
            directory,
            images,
            state: Mutex::new(State { records, rooted }),
        }
    }

    /// What a step of this key has made, when that is still there.
    pub(crate) fn find(&self, key: &Hash) -> Option<Made> {
        let name = hex::encode(key);
        let (layer, at) = {
            let mut state = self.state();
            let record = state.records.get_mut(&name)?;
            record.used = Timestamp::now();
            (record.layer.clone(), record.made)
        };
        let Some(layer) = layer else {
            return Some(Made { layer: None, at });
        };
        match self.images.hold_layer(&layer) {
            Some(held) => Some(Made {
                layer: Some(held),
                at,
            }),
            None => {
                self.forget(&name);
                None
            }
        }
    }

    /// Notes what a step has made.
    pub(crate) fn put(&self, key: &Hash, name: &str, made: &Made) -> Result<(), store::StoreError> {
        let layer = made.layer.as_ref();
        let record = Record {
            layer: layer.map(|layer| layer.diff_id().clone()),
            size: layer.map_or(0, HeldLayer::size),
            name: name.to_owned(),
            made: made.at,
            used: Timestamp::now(),
        };
        let key = hex::encode(key);
        store::save(&self.path(&key), &record, Durability::Replaced)?;
        self.state().records.insert(key, record);
        Ok(())
    }

    /// The records of these keys.
    pub(crate) fn records(&self, keys: &BTreeSet<String>) -> Vec<(String, Record)> {
        let state = self.state();
        let found = keys
            .iter()
            .filter_map(|key| Some((key.clone(), state.records.get(key)?.clone())));
        found.collect()
    }

    /// All records.
    pub(crate) fn all(&self) -> Vec<(String, Record)> {
        let state = self.state();
        let pairs = state.records.iter();
        pairs
            .map(|(key, record)| (key.clone(), record.clone()))
            .collect()
    }

    /// Tells the store which layers to keep. Called while the layers of the build are still held.
    pub(crate) fn keep(&self) -> Result<(), ImageError> {
        let layers: BTreeSet<Digest> = {
            let state = self.state();
            let layers = layers(&state.records);
            if layers == state.rooted {
                return Ok(());
            }
            layers
        };
        self.images.set_roots(OWNER, &layers)?;
        self.state().rooted = layers;
        Ok(())
    }

    /// Removes records; the space comes back when the store is swept.
    pub(crate) fn remove(&self, keys: &[String]) -> Result<(), ImageError> {
        for key in keys {
            self.forget(key);
        }
        self.keep()
    }

    fn forget(&self, key: &str) {
        self.state().records.remove(key);
        if let Err(error) = store::remove_file(&self.path(key)) {
            tracing::warn!(%error, "cannot remove a record of the build cache");
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}{SUFFIX}"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn layers(records: &BTreeMap<String, Record>) -> BTreeSet<Digest> {
    records
        .values()
        .filter_map(|record| record.layer.clone())
        .collect()
}

/// Where the records are beneath the builder's directory.
pub(crate) fn directory(builder: &Path) -> PathBuf {
    builder.join("steps")
}
