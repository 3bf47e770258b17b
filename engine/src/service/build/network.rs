//! Networks of `RUN`: a namespace with links and names is made once and used by one step after the other.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use hoist_api::ContainerId;
use hoist_api::error::Result;
use jiff::Timestamp;

use super::super::networking::Joined;
use super::super::{Service, internal};
use crate::build::remains;
use crate::containers::Container;
use crate::names;
use crate::runtime::spec::NetworkNamespace;
use crate::store;
use crate::store::container::{ContainerRecord, EndpointRecord, Run, VERSION};

/// The networks of one build.
#[derive(Debug, Default)]
pub(super) struct Sandboxes {
    idle: Mutex<Vec<Sandbox>>,
}

/// A place in a network, with the files that tell of it.
#[derive(Debug)]
pub(super) struct Sandbox {
    /// Never among the containers: only what it has from its networks counts.
    holder: Arc<Container>,
    mode: String,
    joined: Joined,
}

impl Sandbox {
    /// The same for one step.
    pub(super) fn lend(&self) -> Result<Joined> {
        let descriptor = self
            .joined
            .descriptor
            .as_ref()
            .map(OwnedFd::try_clone)
            .transpose()
            .map_err(|error| internal(&error))?;
        Ok(Joined {
            network: self.joined.network,
            descriptor,
            users: None,
            endpoints: Default::default(),
            ports: Vec::new(),
            hostname: self.joined.hostname.clone(),
            files: self.joined.files.clone(),
            stored: Vec::new(),
        })
    }

    /// Descriptors of the namespace that a shim gets first.
    pub(super) fn has_namespace(&self) -> bool {
        self.joined.network == NetworkNamespace::Passed
    }
}

impl Sandboxes {
    /// One that nobody uses just now, or a new one. `record` is that of the step.
    pub(super) async fn take(
        &self,
        service: &Arc<Service>,
        record: &ContainerRecord,
    ) -> Result<Sandbox> {
        let mode = record.host_config.network_mode.clone();
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let found = idle.iter().position(|sandbox| sandbox.mode == mode);
            found.map(|at| idle.swap_remove(at))
        };
        match idle {
            Some(sandbox) => Ok(sandbox),
            None => make(service, record, mode).await,
        }
    }

    /// Gives one back.
    pub(super) fn put(&self, sandbox: Sandbox) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(sandbox);
    }

    /// Takes down all of them.
    pub(super) async fn leave(&self, service: &Arc<Service>) {
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *idle)
        };
        for sandbox in idle {
            leave(service, sandbox).await;
        }
    }
}

async fn make(service: &Arc<Service>, record: &ContainerRecord, mode: String) -> Result<Sandbox> {
    let id = ContainerId::from_bytes(names::random_id());
    let mut record = ContainerRecord {
        id: id.clone(),
        name: format!("build-{}", id.short()),
        ..record.clone()
    };
    if !matches!(mode.as_str(), "none" | "host") {
        let network = service.networks.canonical(&mode);
        record.endpoints.insert(network, EndpointRecord::default());
    }
    let state = service.config.container_state(id.as_str());
    store::make_directory(&state).map_err(|error| internal(&error))?;
    std::fs::write(state.join(remains::MARK), "").map_err(|error| internal(&error))?;
    let holder = Arc::new(Container::new(record.clone()));
    match service.join(&holder, &record).await {
        Ok(joined) => {
            for (network, given) in joined.endpoints.clone() {
                let mut record = holder.record();
                record.endpoints.entry(network).or_default().given = Some(given);
            }
            Ok(Sandbox {
                holder,
                mode,
                joined,
            })
        }
        Err(error) => {
            remove_state(service, id.as_str()).await;
            Err(error)
        }
    }
}

async fn leave(service: &Arc<Service>, sandbox: Sandbox) {
    let Sandbox { holder, joined, .. } = sandbox;
    service.leave(&holder).await;
    // The last descriptor: with it the namespace and its links go.
    drop(joined);
    remove_state(service, holder.id()).await;
}

/// Removes the state directory of a step or of a network's holder.
pub(super) async fn remove_state(service: &Arc<Service>, id: &str) {
    let state = service.config.container_state(id);
    let removed = service
        .blocking(move |_| store::remove_directory(&state).map_err(|error| internal(&error)))
        .await;
    if let Err(error) = removed {
        tracing::warn!(%error, "cannot remove the files of a step");
    }
}

/// A record as containers have it, for a process that is none.
pub(super) fn blank() -> ContainerRecord {
    let id = ContainerId::from_bytes(names::random_id());
    ContainerRecord {
        version: VERSION,
        name: format!("build-{}", id.short()),
        id,
        created: Timestamp::now(),
        image_id: String::new(),
        config: Default::default(),
        host_config: Default::default(),
        endpoints: Default::default(),
        mounts: Vec::new(),
        ports: Vec::new(),
        run: Run::default(),
    }
}
