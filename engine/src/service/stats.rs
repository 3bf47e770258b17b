//! How much containers use: `/stats`. A follower costs a timer between its samples, and no thread.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hoist_api::ZERO_TIME;
use hoist_api::error::Result;
use hoist_api::stats::{ContainerStats, NetworkStats, StatsMode};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::Service;
use super::usage;
use crate::containers::Container;
use crate::store::container::ContainerRecord;

/// Time between two samples.
const PERIOD: Duration = Duration::from_secs(1);

impl Service {
    /// Samples as JSON lines, until the container is removed or nobody reads.
    pub(crate) fn stats(
        self: &Arc<Self>,
        key: &str,
        mode: StatsMode,
    ) -> Result<mpsc::Receiver<Bytes>> {
        let container = self.containers.find(key)?;
        let (sender, receiver) = mpsc::channel(1);
        let service = self.clone();
        tokio::spawn(async move { service.sample(&container, mode, &sender).await });
        Ok(receiver)
    }

    async fn sample(
        self: &Arc<Self>,
        container: &Arc<Container>,
        mode: StatsMode,
        sender: &mpsc::Sender<Bytes>,
    ) {
        let mut phase = container.watch();
        let mut clock = tokio::time::interval(PERIOD);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before: Option<ContainerStats> = None;
        loop {
            tokio::select! {
                _ = clock.tick() => {}
                () = sender.closed() => return,
                _ = phase.wait_for(|phase| phase.removed) => return,
            }
            let mut now = self.stats_now(container).await;
            if let Some(before) = &before {
                now.preread.clone_from(&before.read);
                now.precpu_stats.clone_from(&before.cpu_stats);
            }
            // Once means two samples to compare, of what runs.
            let first_of_two =
                mode == StatsMode::Once && before.is_none() && container.is_running();
            if !first_of_two {
                let mut line = serde_json::to_vec(&now).unwrap_or_default();
                line.push(b'\n');
                if sender.send(line.into()).await.is_err() || mode != StatsMode::Stream {
                    return;
                }
            }
            before = Some(now);
        }
    }

    /// One sample; of a container that does not run only who it is.
    async fn stats_now(self: &Arc<Self>, container: &Arc<Container>) -> ContainerStats {
        let record = container.snapshot();
        let nobody = ContainerStats {
            name: format!("/{}", record.name),
            id: record.id.to_string(),
            read: ZERO_TIME.to_owned(),
            preread: ZERO_TIME.to_owned(),
            os_type: "linux".to_owned(),
            ..ContainerStats::default()
        };
        if !record.run.status.is_alive() {
            return nobody;
        }
        let read = self.blocking(move |service| {
            let usage = usage::read(&service.machine.cgroups, &service.group(&record));
            Ok((usage, networks(&record)))
        });
        let Ok((usage, networks)) = read.await else {
            return nobody;
        };
        ContainerStats {
            read: Timestamp::now().to_string(),
            pids_stats: usage.pids,
            blkio_stats: usage.blkio,
            cpu_stats: usage.cpu,
            memory_stats: usage.memory,
            networks,
            ..nobody
        }
    }

    /// A container's control group beneath each hierarchy.
    pub(super) fn group(&self, record: &ContainerRecord) -> PathBuf {
        let own = record.host_config.cgroup_parent.trim_matches('/');
        let parent = if own.is_empty() {
            self.config.cgroup_parent.as_str()
        } else {
            own
        };
        PathBuf::from(parent).join(record.id.as_str())
    }
}

fn networks(record: &ContainerRecord) -> Option<BTreeMap<String, NetworkStats>> {
    if record.host_config.network_mode == "host" {
        return None;
    }
    let path = format!("/proc/{}/net/dev", record.run.pid);
    let devices = devices(&std::fs::read_to_string(path).ok()?);
    (!devices.is_empty()).then_some(devices)
}

/// The counters of `/proc/net/dev` (proc_pid_net(5)), without `lo`.
fn devices(text: &str) -> BTreeMap<String, NetworkStats> {
    let device = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let counters: Vec<u64> = counters
            .split_whitespace()
            .map_while(|counter| counter.parse().ok())
            .collect();
        let at = |index: usize| counters.get(index).copied().unwrap_or(0);
        let stats = NetworkStats {
            rx_bytes: at(0),
            rx_packets: at(1),
            rx_errors: at(2),
            rx_dropped: at(3),
            tx_bytes: at(8),
            tx_packets: at(9),
            tx_errors: at(10),
            tx_dropped: at(11),
        };
        Some((name.trim().to_owned(), stats))
    };
    text.lines()
        .filter_map(device)
        .filter(|(name, _)| name != "lo")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_devices_are_read() {
        let text = "Inter-|   Receive\n face |bytes packets errs drop\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 11 12 13 0 0 0 0 20 21 22 23 0 0 0 0\n";
        let devices = devices(text);
        assert_eq!(devices.len(), 1);
        let eth0 = &devices["eth0"];
        assert_eq!(
            (
                eth0.rx_bytes,
                eth0.rx_dropped,
                eth0.tx_bytes,
                eth0.tx_errors
            ),
            (10, 13, 20, 22)
        );
    }
}
