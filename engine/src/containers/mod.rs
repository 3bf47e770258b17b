//! The containers that exist: found by id, name or prefix, each with its record and what lives around it.
//!
//! No lock here is held over I/O. What must not happen twice at a time to one container (start, stop, remove, …) takes
//! its `operation` lock, which is asynchronous and of that container alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use hoist_api::error::{ApiError, Result};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::shim::{Shim, ShimProcess};
use crate::store::container::{ContainerRecord, Status};
use crate::supervise::restart::Backoff;

/// What others wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Phase {
    /// How many ends are in the record: those attached learn of an end before everybody else is told.
    pub(crate) noted: u64,
    /// Its process lives.
    pub(crate) running: bool,
    /// It will be started again by policy.
    pub(crate) restarting: bool,
    /// How often it ended in this engine's life.
    pub(crate) exits: u64,
    /// Exit code of the last run.
    pub(crate) exit_code: i64,
    /// It is gone.
    pub(crate) removed: bool,
}

/// Streams of a client that attached before the start, to be handed to the shim.
#[derive(Debug)]
pub(crate) struct PendingAttach {
    pub(crate) request: hoist_shim::protocol::RequestBody,
    pub(crate) descriptors: Vec<std::os::fd::OwnedFd>,
}

/// What lives only while this engine does.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) shim: Option<Shim>,
    /// The shim's process, when this engine started it.
    pub(crate) process: Option<ShimProcess>,
    pub(crate) attach: Vec<PendingAttach>,
    pub(crate) health: Option<AbortHandle>,
    pub(crate) restart: Option<AbortHandle>,
    pub(crate) backoff: Backoff,
    /// The user asked the current run to end.
    pub(crate) stopping: bool,
}

/// A container.
#[derive(Debug)]
pub(crate) struct Container {
    id: String,
    record: Mutex<ContainerRecord>,
    live: Mutex<Live>,
    phase: watch::Sender<Phase>,
    /// True once the log of the current run is complete.
    log_ended: watch::Sender<bool>,
    /// Clients that get its output, each with a token until it has all of it.
    pub(crate) delivering: TaskTracker,
    pub(crate) operation: tokio::sync::Mutex<()>,
}

impl Container {
    /// Around a record; not running.
    pub(crate) fn new(record: ContainerRecord) -> Self {
        let phase = Phase {
            exit_code: record.run.exit_code,
            ..Phase::default()
        };
        let delivering = TaskTracker::new();
        // So that it can be waited for at any time.
        delivering.close();
        Self {
            id: record.id.to_string(),
            record: Mutex::new(record),
            live: Mutex::default(),
            phase: watch::Sender::new(phase),
            log_ended: watch::Sender::new(true),
            delivering,
            operation: tokio::sync::Mutex::default(),
        }
    }

    /// The full id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The record, locked for a moment.
    pub(crate) fn record(&self) -> MutexGuard<'_, ContainerRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the record.
    pub(crate) fn snapshot(&self) -> ContainerRecord {
        self.record().clone()
    }

    /// What lives around it, locked for a moment.
    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name without the leading `/`.
    pub(crate) fn name(&self) -> String {
        self.record().name.clone()
    }

    /// The connection to its shim, while it runs.
    pub(crate) fn shim(&self) -> Option<Shim> {
        self.live().shim.clone()
    }

    /// Whether its process lives.
    pub(crate) fn is_running(&self) -> bool {
        self.record().run.status.is_alive()
    }

    /// What others wait for.
    pub(crate) fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Tells when the log of the current run is complete.
    pub(crate) fn watch_log(&self) -> watch::Receiver<bool> {
        self.log_ended.subscribe()
    }

    /// Tells everyone who waits.
    pub(crate) fn announce(&self, change: impl FnOnce(&mut Phase)) {
        self.phase.send_modify(change);
    }

    /// Tells whether more will be written to the log.
    pub(crate) fn set_log_ended(&self, ended: bool) {
        self.log_ended.send_replace(ended);
    }

    /// The error that a call on a container that does not run gets.
    pub(crate) fn not_running(&self) -> ApiError {
        ApiError::conflict(format!("Container {} is not running", self.id))
    }
}

#[derive(Debug, Default)]
struct Index {
    by_id: BTreeMap<String, Arc<Container>>,
    /// Also names of containers that are just being created.
    by_name: HashMap<String, String>,
}

/// The containers that exist.
#[derive(Debug, Default)]
pub(crate) struct Containers {
    index: RwLock<Index>,
}

impl Containers {
    /// Takes a name for an id; refuses one that is taken.
    pub(crate) fn reserve(&self, name: &str, id: &str) -> Result<()> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = index.by_name.get(name) {
            return Err(ApiError::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". \
                 You have to remove (or rename) that container to be able to reuse that name."
            )));
        }
        index.by_name.insert(name.to_owned(), id.to_owned());
        Ok(())
    }

    /// Gives a name back.
    pub(crate) fn release(&self, name: &str) {
        self.index
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .by_name
            .remove(name);
    }

    /// Adds a container whose name is reserved.
    pub(crate) fn insert(&self, container: Arc<Container>) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.by_id.insert(container.id().to_owned(), container);
    }

    /// Removes a container and its name.
    pub(crate) fn remove(&self, container: &Container) {
        let name = container.name();
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.by_id.remove(container.id());
        if index
            .by_name
            .get(&name)
            .is_some_and(|id| id == container.id())
        {
            index.by_name.remove(&name);
        }
    }

    /// Finds by full id, by name with or without `/`, by its link in another as `web/db`, or by an unambiguous prefix of the id.
    pub(crate) fn find(&self, key: &str) -> Result<Arc<Container>> {
        let missing = || ApiError::not_found(format!("No such container: {key}"));
        match key.strip_prefix('/').unwrap_or(key).split_once('/') {
            Some((linking, alias)) => {
                let linking = self.find_one(linking).map_err(|_| missing())?;
                let links = linking.snapshot().host_config.links;
                let mut targets = links.iter().filter_map(|link| link.split_once(':'));
                let target = targets.find(|(_, known)| *known == alias);
                let target = target.and_then(|(id, _)| self.find_one(id).ok());
                target.ok_or_else(missing)
            }
            None => self.find_one(key),
        }
    }

    fn find_one(&self, key: &str) -> Result<Arc<Container>> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let missing = || ApiError::not_found(format!("No such container: {key}"));
        let name = key.strip_prefix('/').unwrap_or(key);
        let by_name = || index.by_name.get(name).and_then(|id| index.by_id.get(id));
        if let Some(found) = index.by_id.get(key).or_else(by_name) {
            return Ok(found.clone());
        }
        if name.is_empty() {
            return Err(ApiError::bad_request(
                "invalid container name or ID: value is empty",
            ));
        }
        let mut matches = index
            .by_id
            .range(key.to_owned()..)
            .take_while(|(id, _)| id.starts_with(key));
        match (matches.next(), matches.next()) {
            (Some((_, found)), None) => Ok(found.clone()),
            (Some(_), Some(_)) => Err(ApiError::bad_request(format!(
                "multiple IDs found with provided prefix: {key}"
            ))),
            _ => Err(missing()),
        }
    }

    /// All of them, in no order that means anything.
    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        self.index
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .by_id
            .values()
            .cloned()
            .collect()
    }

    /// Whether any runs or waits to be started again.
    pub(crate) fn any_active(&self) -> bool {
        self.all().iter().any(|container| {
            let status = container.record().run.status;
            status.is_alive() || status == Status::Restarting
        })
    }
}

/// Marks the end of a run in a record.
pub(crate) fn mark_ended(record: &mut ContainerRecord, code: i64, finished: Timestamp) {
    record.run.status = Status::Exited;
    record.run.pid = 0;
    record.run.exit_code = code;
    record.run.finished_at = Some(finished);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::store::container::{Run, VERSION};
    use hoist_api::ContainerId;

    /// A record with an id of this byte.
    pub(crate) fn record(byte: u8, name: &str) -> ContainerRecord {
        ContainerRecord {
            version: VERSION,
            id: ContainerId::from_bytes([byte; 32]),
            name: name.to_owned(),
            created: Timestamp::UNIX_EPOCH,
            image_id: String::new(),
            config: Default::default(),
            host_config: Default::default(),
            endpoints: BTreeMap::new(),
            mounts: Vec::new(),
            ports: Vec::new(),
            run: Run::default(),
        }
    }

    fn containers() -> Containers {
        let containers = Containers::default();
        let mut near = record(0xab, "near");
        near.id = ContainerId::new(format!("abcd{}", "0".repeat(60))).unwrap();
        near.host_config.links = vec![format!("{}:db", "ab".repeat(32))];
        for record in [record(0xab, "one"), near, record(0x01, "abab")] {
            containers
                .reserve(&record.name, record.id.as_str())
                .unwrap();
            containers.insert(Arc::new(Container::new(record)));
        }
        containers
    }

    fn check(key: &str, expected: std::result::Result<&str, &str>) {
        let found = containers().find(key).map(|found| found.name());
        assert_eq!(
            found.map_err(|error| error.message),
            expected.map(str::to_owned).map_err(str::to_owned),
            "{key}"
        );
    }

    #[test]
    fn containers_are_found_by_name_id_and_prefix() {
        check("one", Ok("one"));
        check("/one", Ok("one"));
        check(&"ab".repeat(32), Ok("one"));
        check("abcd", Ok("near"));
        check("ababa", Ok("one"));
        // A name wins over a prefix.
        check("abab", Ok("abab"));
        check("ab", Err("multiple IDs found with provided prefix: ab"));
        check("ff", Err("No such container: ff"));
        check("", Err("invalid container name or ID: value is empty"));
        // By a link.
        check("near/db", Ok("one"));
        check("/near/db", Ok("one"));
        check("near/none", Err("No such container: near/none"));
        check("none/db", Err("No such container: none/db"));
    }

    #[test]
    fn a_taken_name_is_refused_with_its_holder() {
        let containers = containers();
        let error = containers.reserve("one", "x").unwrap_err();
        assert!(error.message.starts_with(
            "Conflict. The container name \"/one\" is already in use by container \"abab"
        ));
        let one = containers.find("one").unwrap();
        containers.remove(&one);
        assert!(containers.reserve("one", "x").is_ok());
    }
}
