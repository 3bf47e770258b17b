//! The packet filter's rules, changed in batches: while one change is being applied, all that come meanwhile wait for
//! one more, and so fifty containers that start at once cost a handful of transactions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hoist_api::error::{ApiError, ErrorKind, Result, chain};
use hoist_network::conntrack::{self, Stale};
use hoist_network::firewall::{Firewall, NetworkRules, PublishedPort, Ruleset};

use crate::store::network::NetworkRecord;

/// What the packet filter should do, and what it does.
#[derive(Debug)]
pub(crate) struct Rules {
    table: String,
    wanted: Mutex<Wanted>,
    /// Counts changes of what is wanted.
    changes: AtomicU64,
    applier: tokio::sync::Mutex<Applier>,
    firewall: Mutex<Option<Arc<Mutex<Firewall>>>>,
}

#[derive(Debug, Default)]
struct Wanted {
    /// By bridge.
    networks: BTreeMap<String, NetworkRules>,
    /// By container.
    published: BTreeMap<String, Vec<PublishedPort>>,
}

#[derive(Debug, Default)]
struct Applier {
    /// The change up to which everything is in the kernel.
    done: u64,
    published: Vec<PublishedPort>,
}

impl Rules {
    pub(super) fn new(table: &str) -> Self {
        Self {
            table: table.to_owned(),
            wanted: Mutex::default(),
            changes: AtomicU64::new(0),
            applier: tokio::sync::Mutex::default(),
            firewall: Mutex::default(),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.wanted());
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a network; nothing reaches the kernel before [`Rules::apply`].
    pub(super) fn put_network(&self, record: &NetworkRecord) {
        let rules = NetworkRules {
            bridge: record.bridge.clone(),
            subnets: record.subnets.iter().map(|subnet| subnet.subnet).collect(),
            reach: super::reach(record),
        };
        self.change(|wanted| {
            wanted.networks.insert(rules.bridge.clone(), rules);
        });
    }

    /// Removes a network.
    pub(super) fn remove_network(&self, bridge: &str) {
        self.change(|wanted| {
            wanted.networks.remove(bridge);
        });
    }

    /// Sets what a container publishes; tells whether anything changed.
    pub(crate) fn publish(&self, container: &str, ports: Vec<PublishedPort>) -> bool {
        let before = self
            .wanted()
            .published
            .get(container)
            .cloned()
            .unwrap_or_default();
        if before == ports {
            return false;
        }
        self.change(|wanted| {
            if ports.is_empty() {
                wanted.published.remove(container);
            } else {
                wanted.published.insert(container.to_owned(), ports);
            }
        });
        true
    }

    /// Makes the kernel's rules what is wanted now. Returns when a batch that has all of it is through.
    pub(crate) async fn apply(&self) -> Result<()> {
        let target = self.changes.load(Ordering::SeqCst);
        let mut applier = self.applier.lock().await;
        if applier.done >= target && target > 0 {
            return Ok(());
        }
        let now = self.changes.load(Ordering::SeqCst);
        let ruleset = {
            let wanted = self.wanted();
            Ruleset {
                networks: wanted.networks.values().cloned().collect(),
                published: wanted.published.values().flatten().copied().collect(),
            }
        };
        let firewall = self.firewall()?;
        let stale = Stale::between(&applier.published, &ruleset.published);
        let published = ruleset.published.clone();
        let first = applier.done == 0;
        let applied = tokio::task::spawn_blocking(move || {
            let mut firewall = firewall.lock().unwrap_or_else(PoisonError::into_inner);
            let outcome = firewall.apply(&ruleset);
            if first {
                tell_obstacles(&mut firewall);
            }
            if let Err(error) = conntrack::forget(&stale) {
                tracing::warn!(%error, "known connections to changed ports may go on to where they went");
            }
            outcome
        });
        applied
            .await
            .map_err(|error| ApiError::internal(&error))?
            .map_err(|error| {
                ApiError::new(
                    ErrorKind::Internal,
                    format!("cannot change the packet filter: {}", chain(&error)),
                )
            })?;
        applier.done = now;
        applier.published = published;
        Ok(())
    }

    /// Like [`Rules::apply`] at an engine's start: with no network there is nothing to do, and a failure is a warning.
    pub(crate) async fn apply_if_any(&self) {
        if self.wanted().networks.is_empty() {
            return;
        }
        if let Err(error) = self.apply().await {
            tracing::warn!(%error, "the packet filter is not as it should be");
        }
    }

    /// The packet filter, opened on first use.
    pub(crate) fn firewall(&self) -> Result<Arc<Mutex<Firewall>>> {
        let mut firewall = self.firewall.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(firewall) = &*firewall {
            return Ok(firewall.clone());
        }
        let opened = Firewall::open(&self.table).map_err(|error| ApiError::internal(&error))?;
        Ok(firewall.insert(Arc::new(Mutex::new(opened))).clone())
    }

    /// Removes everything of ours from the kernel, when the engine leaves with nothing running.
    pub(crate) fn remove(&self) -> Result<()> {
        let firewall = self.firewall()?;
        let removed = firewall
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove();
        removed.map_err(|error| ApiError::internal(&error))
    }
}

/// Tells the log what on this machine stops our packets in spite of our rules, and what to do about it.
fn tell_obstacles(firewall: &mut Firewall) {
    match firewall.findings() {
        Ok(findings) => {
            for finding in findings {
                tracing::warn!("{finding}");
            }
        }
        Err(error) => {
            tracing::debug!(%error, "cannot look for others' rules that stop our packets");
        }
    }
}
