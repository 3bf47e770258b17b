//! What a build is made of, without the engine around it: files that are selected, hashed and copied, what steps have made, caches that
//! stay between builds. How these come together, and everything that needs networks and containers, is in `service::build`.
//!
//! On disk, beneath the engine's root:
//!
//! ```text
//! build/steps/<key>.json     what a step has made; its layer is with the images' layers
//! build/files                digests of files, by place, size and times
//! build/chains               instructions that were carried out, for the classic builder's clients
//! build/mounts/<hash of id>  cache mounts
//! build/tmp/                 contexts and downloads of running builds; removed when the engine starts
//! ```
//!
//! A step's key is the digest of what it does and of its inputs' content: of the layers below, of the files that it copies. Where a key
//! is known, its layer is taken; nothing else decides.

pub(crate) mod agent;
pub(crate) mod cache;
pub(crate) mod chains;
pub(crate) mod copy;
pub(crate) mod digest;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod mounts;
pub(crate) mod owner;
pub(crate) mod prune;
pub(crate) mod remains;
pub(crate) mod report;
pub(crate) mod select;
pub(crate) mod tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, RwLock, Semaphore, watch};

use crate::config::EngineConfig;
use crate::image::ImageStore;
use crate::store::{self, StoreError};
use cache::Cache;
use chains::Chains;
use digest::FileTable;
use error::BuildError;
use mounts::CacheMounts;

/// Beneath the state directory, while a step has them and the kernel cannot mount a file that is nowhere.
const SECRETS: &str = "build-secrets";

/// What all builds of an engine share.
#[derive(Debug)]
pub(crate) struct Builder {
    directory: PathBuf,
    pub(crate) cache: Cache,
    /// What is being made for it.
    pub(crate) flights: cache::Flights,
    pub(crate) files: FileTable,
    pub(crate) mounts: CacheMounts,
    pub(crate) chains: Arc<Chains>,
    /// How many steps may work at a time, of all builds.
    pub(crate) turns: Arc<Semaphore>,
    /// True when the engine leaves: no build may outlive it.
    leaving: watch::Sender<bool>,
    /// Held for reading by every build.
    running: Arc<RwLock<()>>,
}

impl Builder {
    /// Opens the builder's directory beneath the engine's root and removes what a killed engine left there.
    pub(crate) fn open(config: &EngineConfig, images: ImageStore) -> Result<Self, StoreError> {
        let directory = config.root.join("build");
        let temporary = directory.join("tmp");
        for left in [&temporary, &config.state.join(SECRETS)] {
            if let Err(error) = hoist_volumes::erase_tree(left) {
                tracing::warn!(%error, "cannot remove what an earlier build left");
            }
        }
        for made in [
            &temporary,
            &cache::directory(&directory),
            &directory.join("mounts"),
        ] {
            store::make_directory(made)?;
        }
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Self {
            cache: Cache::open(cache::directory(&directory), images),
            flights: cache::Flights::default(),
            files: FileTable::open(digest::table_path(&directory)),
            mounts: CacheMounts::new(&directory),
            chains: Arc::new(Chains::at(&directory)),
            turns: Arc::new(Semaphore::new(processors.max(4))),
            leaving: watch::Sender::new(false),
            running: Arc::default(),
            directory,
        })
    }

    /// Counts a build as running while the guard lives, and tells it when it has to end.
    pub(crate) async fn begin(&self) -> (OwnedRwLockReadGuard<()>, watch::Receiver<bool>) {
        let running = self.running.clone().read_owned().await;
        (running, self.leaving.subscribe())
    }

    /// Ends all builds and waits until they have ended, at most this long.
    pub(crate) async fn leave(&self, patience: Duration) {
        self.leaving.send_replace(true);
        if tokio::time::timeout(patience, self.running.write())
            .await
            .is_err()
        {
            tracing::warn!(
                "a build is still not over: its remains are removed when the engine starts again"
            );
        }
    }

    /// A directory of a build's own, removed with the value.
    pub(crate) fn scratch(&self) -> Result<Scratch, BuildError> {
        let name = hex::encode(&crate::names::random_id()[..8]);
        let path = self.directory.join("tmp").join(name);
        std::fs::create_dir(&path).map_err(|error| BuildError::io("create", &path, error))?;
        Ok(Scratch::at(path))
    }
}

/// A directory that goes with the value.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    /// How many unnamed things were made in it.
    made: AtomicUsize,
}

impl Scratch {
    /// One for a secret, beneath the engine's state directory.
    pub(crate) fn secret(state: &Path) -> Result<Self, BuildError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let name = hex::encode(&crate::names::random_id()[..8]);
        let path = state.join(SECRETS).join(name);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|error| BuildError::io("create", &path, error))?;
        Ok(Self::at(path))
    }

    fn at(path: PathBuf) -> Self {
        Self {
            path,
            made: AtomicUsize::new(0),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A new, empty directory in it, with a name of no meaning.
    pub(crate) fn unique(&self) -> Result<PathBuf, BuildError> {
        self.directory(&self.next())
    }

    /// A file with this content.
    pub(crate) fn file(&self, content: &[u8]) -> Result<PathBuf, BuildError> {
        let path = self.path.join(self.next());
        std::fs::write(&path, content).map_err(|error| BuildError::io("write", &path, error))?;
        Ok(path)
    }

    fn next(&self) -> String {
        self.made.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// A new, empty directory in it.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf, BuildError> {
        let path = self.path.join(name);
        std::fs::create_dir(&path).map_err(|error| BuildError::io("create", &path, error))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = hoist_volumes::erase_tree(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a build's files before the engine starts again");
        }
    }
}
