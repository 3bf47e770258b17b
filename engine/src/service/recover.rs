//! What a new engine finds: records on the disk, shims that live or have left their exit records, and remains of what was
//! half done. Everything found running goes on; everything else is brought to a state that its record can say.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use hoist_api::error::Result;
use hoist_network::dns::DnsSockets;
use hoist_network::reconcile;
use hoist_shim::client::Connection;
use hoist_shim::protocol::{Reply, RequestBody, Started, State, Status as ShimStatus};

use super::{Service, internal};
use crate::containers::Container;
use crate::networking::join::{self, STORED_DNS, STORED_PORTS};
use crate::shim::Shim;
use crate::store;
use crate::store::container::{ContainerRecord, EndpointGiven, Status, VERSION};
use crate::supervise::restart::Policy;
use crate::times;

impl Service {
    /// Brings the engine's memory and the machine together. Called once, before anyone is served.
    pub(crate) async fn recover(self: &Arc<Self>) -> Result<()> {
        let records = self.blocking(Self::load_records).await?;
        let mut ended = Vec::new();
        let mut askers = Vec::new();
        for record in records {
            if let Err(error) = self.containers.reserve(&record.name, record.id.as_str()) {
                tracing::warn!(container = record.id.as_str(), %error, "two containers have one name: this one is left alone");
                continue;
            }
            let container = Arc::new(Container::new(record));
            self.containers.insert(container.clone());
            if !self.find_running(&container, &mut askers).await {
                ended.push(container);
            }
        }
        // Only now, when every name is known: a question for one that is not would go to the machine's name servers.
        for (record, shim) in askers {
            self.take_dns(&record, &shim).await;
        }
        self.networks.rules.apply_if_any().await;
        for container in ended {
            self.settle(&container).await;
        }
        self.remove_remains().await;
        Ok(())
    }

    fn load_records(&self) -> Result<Vec<ContainerRecord>> {
        let directory = self.config.root.join("containers");
        store::make_directory(&directory).map_err(|error| internal(&error))?;
        let mut records = Vec::new();
        for name in store::names(&directory).map_err(|error| internal(&error))? {
            let own = directory.join(&name);
            let record: Option<ContainerRecord> =
                store::load(&own.join("container.json")).map_err(|error| internal(&error))?;
            match record {
                Some(record) if record.version == VERSION && record.id.as_str() == name => {
                    records.push(record)
                }
                Some(_) => {
                    tracing::warn!(directory = %own.display(), "a container's record is of another version or place: left alone")
                }
                None => self.remove_half_created(&own),
            }
        }
        Ok(records)
    }

    /// A directory without a record is a creation that never finished, unless its record was damaged.
    fn remove_half_created(&self, directory: &Path) {
        if directory.join("container.damaged").exists() {
            return;
        }
        if let Err(error) = store::remove_directory(directory) {
            tracing::warn!(%error, "cannot remove a half-created container");
        }
    }

    /// Takes a container over whose shim lives; one that asks for names is added to `askers`.
    async fn find_running(
        self: &Arc<Self>,
        container: &Arc<Container>,
        askers: &mut Vec<(ContainerRecord, Shim)>,
    ) -> bool {
        let directory = self.config.container_state(container.id());
        let connection = self
            .blocking(move |_| {
                let opened = std::fs::File::open(&directory).map_err(|error| internal(&error))?;
                Connection::open(opened.as_fd()).map_err(|error| internal(&error))
            })
            .await;
        let Ok(connection) = connection else {
            return false;
        };
        let Ok((shim, events)) = Shim::drive(connection) else {
            return false;
        };
        let Ok((Reply::Status(status), _)) = shim.call(RequestBody::Status, Vec::new()).await
        else {
            return false;
        };
        let started = match &status.state {
            State::Running(started) => started.clone(),
            State::Created => {
                // The engine that made it is gone in the middle of a start: there is nothing to keep.
                let _ = shim.request(RequestBody::Release).await;
                return false;
            }
            State::Exited(exit) => {
                let exit = exit.clone();
                container.record().run.status = Status::Running;
                self.ended(container, &exit).await;
                let _ = shim.request(RequestBody::Release).await;
                return true;
            }
        };
        self.take_over(container, &shim, &status, &started).await;
        if status.stored.iter().any(|name| name == STORED_DNS) {
            askers.push((container.snapshot(), shim.clone()));
        }
        self.supervise(container, shim, events);
        self.save_now(container);
        true
    }

    async fn take_over(
        self: &Arc<Self>,
        container: &Arc<Container>,
        shim: &Shim,
        status: &ShimStatus,
        started: &Started,
    ) {
        {
            let mut record = container.record();
            if record.run.status != Status::Paused {
                record.run.status = Status::Running;
            }
            record.run.pid = started.pid;
            record.run.started_at = Some(times::from_nanoseconds(started.at.0));
        }
        let record = container.snapshot();
        let endpoints: BTreeMap<String, EndpointGiven> = record
            .endpoints
            .iter()
            .filter_map(|(name, endpoint)| Some((name.clone(), endpoint.given.clone()?)))
            .collect();
        for (name, given) in &endpoints {
            self.networks.restore_lease(
                name,
                &format!("container {}", record.name),
                &join::addresses(given),
            );
        }
        self.networks.announce(&record, &endpoints);
        if status.stored.iter().any(|name| name == STORED_PORTS) {
            self.take_ports(&record, shim, &endpoints).await;
        }
    }

    async fn take_dns(self: &Arc<Self>, record: &ContainerRecord, shim: &Shim) {
        let descriptors = take(shim, STORED_DNS).await;
        let mut descriptors = descriptors.into_iter();
        let (Some(udp), Some(tcp)) = (descriptors.next(), descriptors.next()) else {
            return;
        };
        self.announce_links(record);
        let view = self.networks.view(record, &self.config.dns);
        if let Err(error) =
            self.networks
                .dns
                .serve(record.id.as_str(), DnsSockets::adopt(udp, tcp), view)
        {
            tracing::warn!(container = record.id.as_str(), %error, "cannot go on answering a container's name queries");
        }
    }

    async fn take_ports(
        self: &Arc<Self>,
        record: &ContainerRecord,
        shim: &Shim,
        endpoints: &BTreeMap<String, EndpointGiven>,
    ) {
        let label = format!("container {}", record.name);
        let mut claims = Vec::new();
        for descriptor in take(shim, STORED_PORTS).await {
            let Ok(claim) = self.networks.adopt(descriptor, &label) else {
                continue;
            };
            match join::port_of(&claim, &record.ports) {
                Some(port) => claims.push((port, claim)),
                None => self.networks.unclaim(vec![(0, claim)]),
            }
        }
        let targets: Vec<IpAddr> = self.port_targets(record, endpoints);
        if let Err(error) = self.networks.publish(record.id.as_str(), claims, &targets) {
            tracing::warn!(container = record.id.as_str(), %error, "cannot go on publishing a container's ports");
        }
    }

    /// Brings a container without a shim to rest, and starts it again when its policy says so.
    async fn settle(self: &Arc<Self>, container: &Arc<Container>) {
        let status = container.record().run.status;
        match status {
            Status::Running | Status::Paused => {
                let exit = self.exit_without_shim(container).await;
                self.ended(container, &exit).await;
                return;
            }
            Status::Removing | Status::Dead => {
                container.record().run.status = Status::Exited;
                let options = hoist_api::container::RemoveContainer {
                    force: true,
                    volumes: false,
                };
                if let Err(error) = self.remove(container.id(), options).await {
                    tracing::warn!(container = container.id(), %error, "cannot finish a removal");
                }
                return;
            }
            Status::Created | Status::Exited | Status::Restarting => {}
        }
        let directory = self.config.container_state(container.id());
        let cleaned = self
            .blocking(move |_| {
                store::remove_directory(&directory).map_err(|error| internal(&error))
            })
            .await;
        if let Err(error) = cleaned {
            tracing::warn!(container = container.id(), %error, "cannot remove the files of a run");
        }
        let restart = {
            let mut record = container.record();
            for endpoint in record.endpoints.values_mut() {
                endpoint.given = None;
            }
            record.ports.clear();
            let policy = Policy::parse(&record.host_config.restart_policy).unwrap_or_default();
            status == Status::Restarting
                && policy.restarts_with_engine(record.run.stopped_by_user, record.run.exit_code)
        };
        if restart {
            container.record().run.status = Status::Restarting;
            container.announce(|phase| phase.restarting = true);
            self.restart_later(container, std::time::Duration::ZERO);
        }
    }

    /// Links of ours that no container and no network owns.
    async fn remove_remains(self: &Arc<Self>) {
        let config = self.networks.config.clone();
        let mut owned: HashSet<String> = self
            .networks
            .records()
            .iter()
            .map(|record| config.alias(record.id.as_str()))
            .collect();
        owned.extend(
            self.containers
                .all()
                .iter()
                .filter(|container| container.is_running())
                .map(|container| config.alias(container.id())),
        );
        let report = self
            .blocking(move |_| Ok(reconcile::remove_orphans(&config, &owned)))
            .await;
        let Ok(report) = report else { return };
        if !report.removed.is_empty() {
            tracing::info!(links = ?report.removed, "removed links that nothing owned any more");
        }
        for error in report.errors {
            tracing::warn!(%error, "cannot remove a link that nothing owns");
        }
    }
}

async fn take(shim: &Shim, name: &str) -> Vec<OwnedFd> {
    match shim
        .call(
            RequestBody::TakeFds {
                name: name.to_owned(),
            },
            Vec::new(),
        )
        .await
    {
        Ok((_, descriptors)) => descriptors,
        Err(error) => {
            tracing::warn!(%error, "cannot take descriptors back from a shim");
            Vec::new()
        }
    }
}
