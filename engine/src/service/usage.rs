//! How much a control group uses: the kernel's files of both versions, read into the API's numbers.
//!
//! A file that is not there leaves its numbers at zero: the controller is not on this machine, or the group has just gone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hoist_api::stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, PidsStats, ThrottlingData,
};

use crate::runtime::machine::CgroupLayout;

/// Nanoseconds in a tick of the clock that `/proc` and `cpuacct.stat` count in (`USER_HZ`, 100 on Linux).
const TICK: u64 = 10_000_000;

/// What a group uses at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: CpuStats,
    pub(crate) memory: MemoryStats,
    pub(crate) blkio: BlkioStats,
    pub(crate) pids: PidsStats,
}

/// Reads what a group uses.
pub(crate) fn read(layout: &CgroupLayout, group: &Path) -> Usage {
    let mut usage = if layout.is_unified() {
        let tree = layout.v2.as_ref().map(|tree| tree.mount_point.join(group));
        unified(&tree.unwrap_or_default())
    } else {
        let directory = |controller: &str| {
            layout
                .hierarchy(controller)
                .map(|hierarchy| hierarchy.mount_point.join(group))
                .unwrap_or_default()
        };
        separate(&directory)
    };
    let machine = total_memory();
    let limit = &mut usage.memory.limit;
    *limit = if *limit == 0 {
        machine
    } else {
        (*limit).min(machine)
    };
    let (system, online) = system_time(&fs::read_to_string("/proc/stat").unwrap_or_default());
    usage.cpu.system_cpu_usage = system;
    usage.cpu.online_cpus = online;
    usage
}

fn unified(group: &Path) -> Usage {
    let cpu = pairs(&group.join("cpu.stat"));
    let cpu = |key: &str| cpu.get(key).copied().unwrap_or(0);
    let microseconds = |key: &str| cpu(key).saturating_mul(1000);
    let events = pairs(&group.join("memory.events"));
    Usage {
        cpu: CpuStats {
            cpu_usage: CpuUsage {
                total_usage: microseconds("usage_usec"),
                usage_in_kernelmode: microseconds("system_usec"),
                usage_in_usermode: microseconds("user_usec"),
                ..CpuUsage::default()
            },
            throttling_data: ThrottlingData {
                periods: cpu("nr_periods"),
                throttled_periods: cpu("nr_throttled"),
                throttled_time: microseconds("throttled_usec"),
            },
            ..CpuStats::default()
        },
        memory: MemoryStats {
            usage: number(&group.join("memory.current")),
            // `max` is no number: no limit of its own.
            limit: number(&group.join("memory.max")),
            failcnt: events.get("oom").copied().unwrap_or(0),
            stats: pairs(&group.join("memory.stat")),
            ..MemoryStats::default()
        },
        blkio: BlkioStats {
            io_service_bytes_recursive: io_stat(&text(&group.join("io.stat"))),
            ..BlkioStats::default()
        },
        pids: PidsStats {
            current: number(&group.join("pids.current")),
            limit: number(&group.join("pids.max")),
        },
    }
}

fn separate(directory: &dyn Fn(&str) -> PathBuf) -> Usage {
    let (cpu, account) = (directory("cpu"), directory("cpuacct"));
    let (memory, blkio, pids) = (directory("memory"), directory("blkio"), directory("pids"));
    let throttled = pairs(&cpu.join("cpu.stat"));
    let throttled = |key: &str| throttled.get(key).copied().unwrap_or(0);
    let ticks = pairs(&account.join("cpuacct.stat"));
    let nanoseconds = |key: &str| ticks.get(key).copied().unwrap_or(0).saturating_mul(TICK);
    let percpu = text(&account.join("cpuacct.usage_percpu"));
    let entries = |name: &str| {
        let throttle = blkio_entries(&text(&blkio.join(format!("blkio.throttle.{name}"))));
        let bfq = blkio_entries(&text(&blkio.join(format!("blkio.bfq.{name}"))));
        if bfq.is_empty() { throttle } else { bfq }
    };
    Usage {
        cpu: CpuStats {
            cpu_usage: CpuUsage {
                total_usage: number(&account.join("cpuacct.usage")),
                percpu_usage: percpu
                    .split_whitespace()
                    .filter_map(|number| number.parse().ok())
                    .collect(),
                usage_in_kernelmode: nanoseconds("system"),
                usage_in_usermode: nanoseconds("user"),
            },
            throttling_data: ThrottlingData {
                periods: throttled("nr_periods"),
                throttled_periods: throttled("nr_throttled"),
                throttled_time: throttled("throttled_time"),
            },
            ..CpuStats::default()
        },
        memory: MemoryStats {
            usage: number(&memory.join("memory.usage_in_bytes")),
            max_usage: number(&memory.join("memory.max_usage_in_bytes")),
            limit: number(&memory.join("memory.limit_in_bytes")),
            failcnt: number(&memory.join("memory.failcnt")),
            stats: pairs(&memory.join("memory.stat")),
        },
        blkio: BlkioStats {
            io_service_bytes_recursive: entries("io_service_bytes_recursive"),
            io_serviced_recursive: entries("io_serviced_recursive"),
            ..BlkioStats::default()
        },
        pids: PidsStats {
            current: number(&pids.join("pids.current")),
            limit: number(&pids.join("pids.max")),
        },
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn number(path: &Path) -> u64 {
    text(path).trim().parse().unwrap_or(0)
}

/// Lines of a word and a number.
fn pairs(path: &Path) -> BTreeMap<String, u64> {
    let text = text(path);
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `8:0 rbytes=1 wbytes=2 …` of version 2.
fn io_stat(text: &str) -> Vec<BlkioEntry> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else {
            continue;
        };
        let counts: BTreeMap<&str, &str> = words.filter_map(|word| word.split_once('=')).collect();
        for (op, key) in [("read", "rbytes"), ("write", "wbytes")] {
            let value = counts.get(key).and_then(|count| count.parse().ok());
            entries.push(BlkioEntry {
                major,
                minor,
                op: op.to_owned(),
                value: value.unwrap_or(0),
            });
        }
    }
    entries
}

/// `8:0 Read 1` of version 1; the line `Total 1` is about no device.
fn blkio_entries(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = words.next().and_then(device)?;
        Some(BlkioEntry {
            major,
            minor,
            op: words.next()?.to_ascii_lowercase(),
            value: words.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(entry).collect()
}

/// The machine's processor time in nanoseconds, and its processors, from `/proc/stat`.
fn system_time(text: &str) -> (u64, u64) {
    let mut total = 0;
    let mut processors = 0;
    for line in text.lines().take_while(|line| line.starts_with("cpu")) {
        let mut words = line.split_whitespace();
        match words.next() {
            // User, nice, system, idle, iowait, irq, softirq, steal; the rest is counted in these already.
            Some("cpu") => {
                let ticks = words.take(8).filter_map(|word| word.parse::<u64>().ok());
                total = ticks.sum::<u64>().saturating_mul(TICK);
            }
            _ => processors += 1,
        }
    }
    (total, processors)
}

fn total_memory() -> u64 {
    let text = text(Path::new("/proc/meminfo"));
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(entries: &[BlkioEntry]) -> Vec<String> {
        let line = |entry: &BlkioEntry| {
            format!(
                "{}:{} {} {}",
                entry.major, entry.minor, entry.op, entry.value
            )
        };
        entries.iter().map(line).collect()
    }

    #[test]
    fn block_devices_of_both_versions_are_read() {
        let v2 = io_stat("8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n7:1 \nx\n");
        let expected = ["8:0 read 10", "8:0 write 20", "7:1 read 0", "7:1 write 0"];
        assert_eq!(told(&v2), expected);
        let v1 = blkio_entries("8:0 Read 10\n8:0 Write 20\nTotal 30\n");
        assert_eq!(told(&v1), ["8:0 read 10", "8:0 write 20"]);
    }

    #[test]
    fn the_machines_time_leaves_guests_out() {
        let text = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 0 0 0\ncpu1 0 0 0 0\nintr 5\n";
        assert_eq!(system_time(text), (36 * TICK, 2));
    }

    #[test]
    fn groups_of_both_versions_are_read() {
        let place = tempfile::tempdir().unwrap();
        let write =
            |name: &str, content: &str| fs::write(place.path().join(name), content).unwrap();
        write(
            "cpu.stat",
            "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 2\n",
        );
        write("memory.current", "4096\n");
        write("memory.max", "max\n");
        write("memory.stat", "anon 5\ninactive_file 6\n");
        write("pids.current", "3\n");
        let usage = unified(place.path());
        assert_eq!(usage.cpu.cpu_usage.total_usage, 7000);
        assert_eq!(usage.cpu.throttling_data.periods, 2);
        assert_eq!((usage.memory.usage, usage.memory.limit), (4096, 0));
        assert_eq!(usage.memory.stats["inactive_file"], 6);
        assert_eq!(usage.pids.current, 3);

        write("cpuacct.usage", "11\n");
        write("cpuacct.stat", "user 1\nsystem 2\n");
        write("cpuacct.usage_percpu", "5 6 \n");
        write("memory.usage_in_bytes", "8192\n");
        write("memory.limit_in_bytes", "65536\n");
        let usage = separate(&|_| place.path().to_owned());
        assert_eq!(usage.cpu.cpu_usage.percpu_usage, [5, 6]);
        assert_eq!(usage.cpu.cpu_usage.usage_in_kernelmode, 2 * TICK);
        assert_eq!((usage.memory.usage, usage.memory.limit), (8192, 65536));
    }
}
