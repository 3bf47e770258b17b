//! How much a container uses: the inputs of `docker stats`' arithmetic, as cgroups and network devices count them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::wire::null_as_default;

/// Declares the structs of this answer: snake_case keys, unlike the rest of the API.
macro_rules! snake {
    ($( $(#[$meta:meta])* pub struct $name:ident { $( $(#[$field_meta:meta])* pub $field:ident : $type:ty ),* $(,)? } )*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
            #[serde(default)]
            pub struct $name {
                $(
                    $(#[$field_meta])*
                    #[serde(deserialize_with = "null_as_default")]
                    pub $field: $type,
                )*
            }
        )*
    };
}

snake! {
    /// Processor time used, in nanoseconds.
    pub struct CpuUsage {
        /// In all.
        pub total_usage: u64,
        /// By processor; only with control groups of version 1.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub percpu_usage: Vec<u64>,
        /// In the kernel.
        pub usage_in_kernelmode: u64,
        /// In user space.
        pub usage_in_usermode: u64,
    }

    /// How often a limit on processor time was felt.
    pub struct ThrottlingData {
        /// Periods that have begun.
        pub periods: u64,
        /// Periods in which it was held back.
        pub throttled_periods: u64,
        /// Nanoseconds that it was held back.
        pub throttled_time: u64,
    }

    /// Processor time at one moment.
    pub struct CpuStats {
        /// The container's.
        pub cpu_usage: CpuUsage,
        /// The whole machine's, in nanoseconds.
        pub system_cpu_usage: u64,
        /// Processors that it may use.
        pub online_cpus: u64,
        /// What limits did.
        pub throttling_data: ThrottlingData,
    }

    /// Memory, in bytes.
    pub struct MemoryStats {
        /// Used, page cache included.
        pub usage: u64,
        /// The most ever used; only with control groups of version 1.
        #[serde(skip_serializing_if = "is_zero")]
        pub max_usage: u64,
        /// The kernel's `memory.stat`.
        pub stats: BTreeMap<String, u64>,
        /// How often the limit was hit; only with control groups of version 1.
        #[serde(skip_serializing_if = "is_zero")]
        pub failcnt: u64,
        /// What it may use; the machine's memory without a limit.
        pub limit: u64,
    }

    /// Processes.
    pub struct PidsStats {
        /// How many there are.
        pub current: u64,
        /// How many there may be; 0 for no limit.
        pub limit: u64,
    }

    /// One counter of a block device.
    pub struct BlkioEntry {
        /// Number of the driver.
        pub major: u64,
        /// Number of the device.
        pub minor: u64,
        /// `read`, `write`, …
        pub op: String,
        /// The count.
        pub value: u64,
    }

    /// Input and output of block devices.
    pub struct BlkioStats {
        /// Bytes by device and direction.
        pub io_service_bytes_recursive: Vec<BlkioEntry>,
        /// Operations by device and direction.
        pub io_serviced_recursive: Vec<BlkioEntry>,
        /// No longer counted by any kernel; there for those who look.
        pub io_queue_recursive: Option<Vec<BlkioEntry>>,
        /// As above.
        pub io_service_time_recursive: Option<Vec<BlkioEntry>>,
        /// As above.
        pub io_wait_time_recursive: Option<Vec<BlkioEntry>>,
        /// As above.
        pub io_merged_recursive: Option<Vec<BlkioEntry>>,
        /// As above.
        pub io_time_recursive: Option<Vec<BlkioEntry>>,
        /// As above.
        pub sectors_recursive: Option<Vec<BlkioEntry>>,
    }

    /// Only on Windows.
    pub struct StorageStats {
    }

    /// Traffic of one network device, seen from inside.
    pub struct NetworkStats {
        /// Bytes received.
        pub rx_bytes: u64,
        /// Packets received.
        pub rx_packets: u64,
        /// Packets not received for an error.
        pub rx_errors: u64,
        /// Packets not received for lack of room.
        pub rx_dropped: u64,
        /// Bytes sent.
        pub tx_bytes: u64,
        /// Packets sent.
        pub tx_packets: u64,
        /// Packets not sent for an error.
        pub tx_errors: u64,
        /// Packets not sent for lack of room.
        pub tx_dropped: u64,
    }

    /// What a container uses at one moment, and what it used at the moment before.
    pub struct ContainerStats {
        /// The container's name with a leading `/`.
        pub name: String,
        /// The container's id.
        pub id: String,
        /// `linux`.
        pub os_type: String,
        /// This moment, RFC 3339.
        pub read: String,
        /// The moment before, RFC 3339, or [`crate::ZERO_TIME`].
        pub preread: String,
        /// Processes.
        pub pids_stats: PidsStats,
        /// Block devices.
        pub blkio_stats: BlkioStats,
        /// Only on Windows.
        pub num_procs: u64,
        /// Only on Windows.
        pub storage_stats: StorageStats,
        /// Processor time now.
        pub cpu_stats: CpuStats,
        /// Processor time the moment before.
        pub precpu_stats: CpuStats,
        /// Memory.
        pub memory_stats: MemoryStats,
        /// Traffic by network device; absent without a network of its own.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub networks: Option<BTreeMap<String, NetworkStats>>,
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How often statistics are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatsMode {
    /// Every second until the container is removed.
    #[default]
    Stream,
    /// Once, with the moment a second before to compare with.
    Once,
    /// Once, at once, with nothing to compare with.
    OneShot,
}
