//! `stats`: what containers use, by Docker's arithmetic.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use futures_util::StreamExt;
use hoist_api::client::{Client, StatsStream};
use hoist_api::stats::{ContainerStats, CpuStats, MemoryStats, StatsMode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::context::Context;
use crate::failure::{Failure, INTERRUPTED};
use crate::listing::{self, Columns, Format};
use crate::signals;
use crate::ui::human;

const COLUMNS: &Columns = &[
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

/// How statistics are shown.
#[derive(Debug, Clone)]
pub(crate) struct StatsView {
    pub(crate) format: Format,
    /// Only once.
    pub(crate) once: bool,
    /// Whole ids.
    pub(crate) whole: bool,
    /// Containers are what they were named by, not their ids.
    pub(crate) by_name: bool,
}

/// Shows what these containers (id and name) use, again each second until interrupted.
///
/// # Errors
/// The engine was lost, the template is wrong, or it was interrupted.
pub(crate) async fn show(
    context: &Context,
    engine: &Client,
    containers: &[(String, String)],
    view: &StatsView,
) -> Result<(), Failure> {
    let mode = if view.once {
        StatsMode::Once
    } else {
        StatsMode::Stream
    };
    let (sender, mut received) = mpsc::unbounded_channel();
    for (at, (id, _)) in containers.iter().enumerate() {
        let stream = engine.container_stats(id, mode).await?;
        tokio::spawn(forward(at, stream, sender.clone()));
    }
    drop(sender);
    let mut latest: BTreeMap<usize, ContainerStats> = BTreeMap::new();
    let mut interrupts = signals::Interrupts::catch();
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(500));
    let mut shown = false;
    loop {
        tokio::select! {
            moment = received.recv() => match moment {
                Some((at, moment)) => {
                    latest.insert(at, moment);
                    // The first picture waits until each has said something.
                    if !view.once && !shown && latest.len() == containers.len() {
                        shown = true;
                        print(context, containers, &latest, view)?;
                    }
                }
                None => break,
            },
            _ = tick.tick(), if shown => print(context, containers, &latest, view)?,
            () = interrupts.next() => return Err(Failure::exit(INTERRUPTED)),
        }
    }
    if view.once || !shown {
        print(context, containers, &latest, view)
    } else {
        Ok(())
    }
}

async fn forward(
    at: usize,
    mut stream: StatsStream,
    sender: mpsc::UnboundedSender<(usize, ContainerStats)>,
) {
    // A container that was removed has nothing more to say, and need not be an error.
    while let Some(Ok(moment)) = stream.next().await {
        if sender.send((at, moment)).is_err() {
            break;
        }
    }
}

fn print(
    context: &Context,
    containers: &[(String, String)],
    latest: &BTreeMap<usize, ContainerStats>,
    view: &StatsView,
) -> Result<(), Failure> {
    let rows: Vec<Value> = containers
        .iter()
        .enumerate()
        .map(|(at, (id, name))| row((id, name), latest.get(&at), view))
        .collect();
    if view.once || !std::io::stdout().is_terminal() {
        return listing::print(&context.ui, &view.format, COLUMNS, &rows);
    }
    let text = match &view.format {
        Format::Json => return listing::print(&context.ui, &view.format, COLUMNS, &rows),
        format => listing::text(format, COLUMNS, &rows)?,
    };
    // Home, each line erased to its end, everything below erased.
    let lines: Vec<String> = text
        .lines()
        .map(|line| format!("{line}\x1b[K\r\n"))
        .collect();
    context
        .ui
        .bytes(format!("\x1b[H{}\x1b[J", lines.concat()).as_bytes())
}

fn row((full, name): (&str, &str), stats: Option<&ContainerStats>, view: &StatsView) -> Value {
    let id = if view.whole {
        full
    } else {
        human::short_id(full)
    };
    let container = if view.by_name { name } else { id };
    let Some(stats) = stats.filter(|stats| !stats.read.is_empty()) else {
        return json!({
            "BlockIO": "-- / --", "CPUPerc": "--", "Container": container, "ID": id, "MemPerc": "--",
            "MemUsage": "-- / --", "Name": name, "NetIO": "-- / --", "PIDs": "--",
        });
    };
    let used = memory(&stats.memory_stats);
    let limit = stats.memory_stats.limit;
    let percent = if limit == 0 {
        0.0
    } else {
        ratio(used, limit) * 100.0
    };
    let (received, sent) = traffic(stats);
    let (read, written) = blocks(stats);
    json!({
        "BlockIO": format!("{} / {}", human::size(read), human::size(written)),
        "CPUPerc": format!("{:.2}%", processors(&stats.precpu_stats, &stats.cpu_stats)),
        "Container": container,
        "ID": id,
        "MemPerc": format!("{percent:.2}%"),
        "MemUsage": format!("{} / {}", human::binary_size(used), human::binary_size(limit)),
        "Name": name,
        "NetIO": format!("{} / {}", human::size(received), human::size(sent)),
        "PIDs": stats.pids_stats.current.to_string(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Percent of one processor.
fn processors(before: &CpuStats, now: &CpuStats) -> f64 {
    let used = now
        .cpu_usage
        .total_usage
        .saturating_sub(before.cpu_usage.total_usage);
    let system = now.system_cpu_usage.saturating_sub(before.system_cpu_usage);
    let count = match now.online_cpus {
        0 => now.cpu_usage.percpu_usage.len() as u64,
        count => count,
    };
    if used == 0 || system == 0 {
        return 0.0;
    }
    ratio(used, system) * ratio(count, 1) * 100.0
}

/// Memory without the part of the page cache that is given back first.
fn memory(stats: &MemoryStats) -> u64 {
    let inactive = ["total_inactive_file", "inactive_file"];
    let cache = inactive.iter().find_map(|key| stats.stats.get(*key));
    match cache {
        Some(&cache) if cache < stats.usage => stats.usage - cache,
        _ => stats.usage,
    }
}

fn traffic(stats: &ContainerStats) -> (u64, u64) {
    let devices = stats.networks.iter().flat_map(BTreeMap::values);
    devices.fold((0, 0), |(rx, tx), device| {
        (rx + device.rx_bytes, tx + device.tx_bytes)
    })
}

fn blocks(stats: &ContainerStats) -> (u64, u64) {
    let sum = |op: &str| {
        let entries = stats.blkio_stats.io_service_bytes_recursive.iter();
        entries
            .filter(|entry| entry.op.eq_ignore_ascii_case(op))
            .map(|entry| entry.value)
            .sum()
    };
    (sum("read"), sum("write"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_dockers() {
        let cpu = |used, system| CpuStats {
            cpu_usage: hoist_api::stats::CpuUsage {
                total_usage: used,
                ..Default::default()
            },
            system_cpu_usage: system,
            online_cpus: 4,
            ..CpuStats::default()
        };
        let percent = processors(&cpu(100, 1000), &cpu(200, 2000));
        assert!((percent - 40.0).abs() < 1e-9, "{percent}");
        let memory_stats = MemoryStats {
            usage: 3 << 20,
            stats: BTreeMap::from([("inactive_file".to_owned(), 1 << 20)]),
            limit: 8 << 20,
            ..MemoryStats::default()
        };
        let stats = ContainerStats {
            read: "2026-01-02T13:23:37Z".into(),
            memory_stats,
            ..ContainerStats::default()
        };
        let view = StatsView {
            format: Format::Json,
            once: true,
            whole: false,
            by_name: true,
        };
        let row = row(("0123456789abcdef", "web"), Some(&stats), &view);
        assert_eq!(row["Container"], "web");
        assert_eq!(row["MemUsage"], "2MiB / 8MiB");
        assert_eq!(row["MemPerc"], "25.00%");
        assert_eq!(row["ID"], "0123456789ab");
        assert_eq!(row["NetIO"], "0B / 0B");
    }
}
