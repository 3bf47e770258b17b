//! What the engine does for its callers: one file for each kind of object. The HTTP handlers of [`crate::serve`] call these
//! methods and add nothing of their own.

pub(crate) mod archive;
pub(crate) mod attach;
pub(crate) mod build;
pub(crate) mod buildkit;
mod check;
mod conflicts;
mod connect;
mod convert;
mod create;
mod devices;
mod ended;
mod exec;
pub(crate) mod images;
mod inspect;
mod lifecycle;
mod links;
mod list;
mod logs;
mod mounted;
mod mounts;
mod networking;
mod networks;
mod pace;
mod prune;
mod published;
pub(crate) mod pull;
pub(crate) mod push;
mod recover;
pub(crate) mod registry;
mod remove;
pub(crate) mod report;
mod snapshot;
mod spec;
mod start;
mod stats;
mod system;
mod top;
mod tree;
mod update;
mod usage;
mod userns;
mod volumes;
mod watch_health;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hoist_api::error::Result;
use hoist_shim::client::ShimProgram;
use jiff::Timestamp;

use crate::build::Builder;
use crate::config::EngineConfig;
use crate::containers::{Container, Containers};
use crate::events::{self, EventBus};
use crate::image::ImageStore;
use crate::logs::follow::LogWatcher;
use crate::runtime::machine::Machine;
use crate::store::container::ContainerRecord;
use crate::store::{self, Durability};
use hoist_volumes::VolumeStore;

pub(crate) use convert::{image_error, internal, volume_error};
pub(crate) use exec::Exec;
pub(crate) use system::ENGINE_VERSION;

/// Everything the engine holds.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) config: EngineConfig,
    pub(crate) containers: Containers,
    pub(crate) images: ImageStore,
    fetching: pull::Fetching,
    pub(crate) volumes: VolumeStore,
    pub(crate) builder: Builder,
    pub(crate) networks: networking::Networks,
    pub(crate) events: EventBus,
    /// One network is created or removed at a time: subnets and names are compared with all others.
    network_turn: tokio::sync::Mutex<()>,
    execs: Mutex<HashMap<String, Arc<Exec>>>,
    pace: pace::Pace,
    log_watcher: Arc<LogWatcher>,
    machine: Machine,
    shim_program: ShimProgram,
    pub(crate) started_at: Timestamp,
}

impl Service {
    /// Opens the stores under the root; nothing runs yet.
    pub(crate) fn open(config: EngineConfig) -> Result<Arc<Self>> {
        crate::build::remains::clear(&config.state.join("c"));
        let images = ImageStore::open(&config.root, crate::image::StoreOptions::default())
            .map_err(image_error)?;
        let volumes = VolumeStore::open(&config.root).map_err(volume_error)?;
        let builder = Builder::open(&config, images.clone()).map_err(|error| internal(&error))?;
        let networks = networking::Networks::open(&config)?;
        let log_watcher = LogWatcher::start().map_err(|error| internal(&error))?;
        let machine = Machine::detect().map_err(|error| internal(&error))?;
        let shim_program = ShimProgram::load(&config.shim).map_err(|error| internal(&error))?;
        Ok(Arc::new(Self {
            config,
            containers: Containers::default(),
            images,
            fetching: pull::Fetching::default(),
            volumes,
            builder,
            networks,
            events: EventBus::default(),
            network_turn: tokio::sync::Mutex::default(),
            execs: Mutex::default(),
            pace: pace::Pace::default(),
            log_watcher,
            machine,
            shim_program,
            started_at: Timestamp::now(),
        }))
    }

    /// Runs what blocks on the disk or the kernel on a thread where that hurts nobody.
    async fn blocking<T, F>(self: &Arc<Self>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T> + Send + 'static,
    {
        let service = self.clone();
        tokio::task::spawn_blocking(move || work(&service))
            .await
            .map_err(|error| internal(&error))?
    }

    /// [`Service::blocking`] for what goes on at the pace of a client that reads or writes an archive.
    pub(crate) async fn for_client<T, F>(self: &Arc<Self>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T> + Send + 'static,
    {
        let service = self.clone();
        self.pace.run(move || work(&service)).await
    }

    /// Removes the control group that holds all containers' groups; where one is left, so is this.
    pub(crate) fn remove_empty_cgroups(&self) {
        let parent = std::path::Path::new(&self.config.cgroup_parent);
        for directory in self.machine.cgroups.directories(parent) {
            // ENOENT and EBUSY are what is to be expected, and nothing could be done about another error.
            let _ = std::fs::remove_dir(directory);
        }
    }

    /// Writes a container's record; only what cannot be found out again must survive a power failure.
    fn save(&self, record: &ContainerRecord) -> Result<()> {
        let path = self
            .config
            .container_root(record.id.as_str())
            .join("container.json");
        store::save(&path, record, Durability::Replaced).map_err(|error| internal(&error))
    }

    /// Writes the record as it is now; a failure is a warning, since the change itself has happened.
    fn save_now(&self, container: &Container) {
        let record = container.snapshot();
        if let Err(error) = self.save(&record) {
            tracing::warn!(container = container.id(), %error, "cannot write a container's record");
        }
    }

    /// Tells of something that happened to a container.
    fn emit<const N: usize>(&self, container: &Container, action: &str, more: [(&str, String); N]) {
        let record = container.record();
        let mut actor = events::actor(container.id(), &record.config.labels, more);
        actor
            .attributes
            .insert("name".to_owned(), record.name.clone());
        actor
            .attributes
            .insert("image".to_owned(), record.config.image.clone());
        drop(record);
        self.events.publish("container", action, actor);
    }
}
