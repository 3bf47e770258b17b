//! What a container is asked for that this engine or this machine cannot do: refused by name, or warned of where Docker warns.

use std::os::unix::fs::FileTypeExt as _;

use hoist_api::error::{ApiError, ErrorKind, Result};
use hoist_api::host_config::{HostConfig, LogConfig, ThrottleDevice};

use crate::networking::ports;
use crate::runtime::capabilities;
use crate::runtime::machine::CgroupLayout;

/// Least memory limit: below it no process starts (as Docker has it).
const LEAST_MEMORY: i64 = 6 << 20;
/// Names that mean the engine's own way to run containers.
const RUNTIMES: &[&str] = &["", "hoist", "runc", "io.containerd.runc.v2"];

/// Checks everything that does not depend on other objects; returns warnings.
pub(super) fn host_config(host: &HostConfig, layout: &CgroupLayout) -> Result<Vec<String>> {
    let warnings = limits(host, layout)?;
    modes(host)?;
    for (option, names) in [("CapAdd", &host.cap_add), ("CapDrop", &host.cap_drop)] {
        if let Some(name) = names.iter().find(|name| !capabilities::is_known(name)) {
            let name = name.trim().to_ascii_uppercase();
            let name = name.strip_prefix("CAP_").unwrap_or(&name);
            return Err(ApiError::bad_request(format!(
                "invalid {option}: unknown capability: \"CAP_{name}\""
            )));
        }
    }
    super::spec::check_security(host)?;
    ports::check_host_ports(&host.port_bindings)?;
    if let Some(entry) = host.extra_hosts.iter().find(|entry| !is_extra_host(entry)) {
        return Err(
            ApiError::bad_request(format!("bad format for add-host: \"{entry}\""))
                .with_hint("give NAME:ADDRESS, with host-gateway for an address of this machine"),
        );
    }
    log_driver(&host.log_config)?;
    if host.shm_size < 0 {
        return Err(ApiError::bad_request("SHM size can not be less than 0"));
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(ApiError::bad_request(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000].",
            host.oom_score_adj
        )));
    }
    if !RUNTIMES.contains(&host.runtime.as_str()) {
        let message = format!("unknown or invalid runtime name: {}", host.runtime);
        return Err(
            ApiError::bad_request(message).with_hint("the only runtime here is hoist's own")
        );
    }
    if host.annotations.contains_key("") {
        return Err(ApiError::bad_request(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        ));
    }
    unsupported(host)?;
    Ok(warnings)
}

/// `name:address` or `name=address`; an address in brackets may be IPv6.
fn is_extra_host(entry: &str) -> bool {
    let Some((name, address)) = entry.split_once(['=', ':']) else {
        return false;
    };
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_address = bare.unwrap_or(address).parse::<std::net::IpAddr>().is_ok();
    !name.is_empty() && (is_address || address == "host-gateway")
}

fn modes(host: &HostConfig) -> Result<()> {
    let known = |mode: &str, words: &[&str]| {
        words.contains(&mode) || (words.contains(&"container:") && mode.starts_with("container:"))
    };
    let checks: [(&str, &str, &[&str]); 6] = [
        (
            "IPC mode",
            &host.ipc_mode,
            &["", "none", "private", "shareable", "host", "container:"],
        ),
        (
            "PID mode",
            &host.pid_mode,
            &["", "private", "host", "container:"],
        ),
        ("UTS mode", &host.uts_mode, &["", "private", "host"]),
        (
            "cgroup namespace mode",
            &host.cgroupns_mode,
            &["", "private", "host"],
        ),
        ("isolation", &host.isolation, &["", "default"]),
        ("cgroup", &host.cgroup, &[""]),
    ];
    for (what, mode, words) in checks {
        if !known(mode, words) {
            return Err(ApiError::bad_request(format!("invalid {what}: {mode}")));
        }
    }
    Ok(())
}

fn log_driver(log: &LogConfig) -> Result<()> {
    let driver = log.driver.as_str();
    // Docker's json-file knows these; `local` has no attributes.
    let of_files: &[&str] = &["max-size", "max-file", "compress"];
    let known: &[&[&str]] = match driver {
        "" | "json-file" => &[
            of_files,
            &["labels", "labels-regex", "env", "env-regex", "tag"],
        ],
        "local" => &[of_files],
        "none" => &[],
        _ => {
            let message = format!("logger: no log driver named '{driver}' is registered");
            return Err(ApiError::bad_request(message)
                .with_hint("the log drivers here are json-file, local and none"));
        }
    };
    let of_all = ["mode", "max-buffer-size"];
    let is_known = |option: &str| {
        of_all.contains(&option) || known.iter().any(|names| names.contains(&option))
    };
    match log.config.keys().find(|option| !is_known(option)) {
        Some(option) if driver != "none" => {
            let driver = if driver.is_empty() {
                "json-file"
            } else {
                driver
            };
            Err(ApiError::bad_request(format!(
                "unknown log opt '{option}' for {driver} log driver"
            )))
        }
        _ => Ok(()),
    }
}

/// Options that are Docker's and that nothing here carries out.
fn unsupported(host: &HostConfig) -> Result<()> {
    let refuse = |option: &str, why: &str| {
        let message = format!("HostConfig.{option} is not supported by this engine: {why}");
        Err(ApiError::new(ErrorKind::BadRequest, message))
    };
    if !host.device_requests.is_empty() {
        let first = &host.device_requests[0];
        let capabilities: Vec<String> = first
            .capabilities
            .iter()
            .map(|all| format!("[{}]", all.join(" ")))
            .collect();
        return Err(ApiError::bad_request(format!(
            "could not select device driver \"{}\" with capabilities: [{}]",
            first.driver,
            capabilities.join(" ")
        )));
    }
    if let Some(option) = host.storage_opt.keys().next() {
        return refuse(
            "StorageOpt",
            &format!("{option} needs a quota of the writable layer"),
        );
    }
    if host.cpu_realtime_period != 0 || host.cpu_realtime_runtime != 0 {
        return refuse(
            "CpuRealtimePeriod",
            "containers get no real-time processor time",
        );
    }
    if !host.blkio_weight_device.is_empty() {
        return refuse(
            "BlkioWeightDevice",
            "weights are of all devices: use BlkioWeight",
        );
    }
    let kernel = [
        ("KernelMemory", host.kernel_memory),
        ("KernelMemoryTCP", host.kernel_memory_tcp),
    ];
    if let Some((option, _)) = kernel.iter().find(|(_, value)| *value > 0) {
        return refuse(option, "kernels no longer limit it apart: use Memory");
    }
    let windows = [
        ("CpuCount", host.cpu_count),
        ("CpuPercent", host.cpu_percent),
        ("IOMaximumIOps", host.io_maximum_iops),
        ("IOMaximumBandwidth", host.io_maximum_bandwidth),
    ];
    match windows.iter().find(|(_, value)| *value != 0) {
        Some((option, _)) => refuse(option, "it is only for Windows"),
        None => Ok(()),
    }
}

/// The limits, in Docker's words; returns warnings.
pub(super) fn limits(host: &HostConfig, layout: &CgroupLayout) -> Result<Vec<String>> {
    let fail = |message: &str| Err(ApiError::bad_request(message));
    if host.memory != 0 && host.memory < LEAST_MEMORY {
        return fail("Minimum memory limit allowed is 6MB");
    }
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return fail("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if host.memory == 0 && host.memory_swap > 0 {
        return fail(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if host.memory_reservation > 0 && host.memory_reservation < LEAST_MEMORY {
        return fail("Minimum memory reservation allowed is 6MB");
    }
    if host.memory > 0 && host.memory_reservation > host.memory {
        return fail(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    if host.memory < 0 || host.memory_swap < -1 || host.memory_reservation < 0 {
        return fail("invalid memory limit: it is negative");
    }
    if host
        .memory_swappiness
        .is_some_and(|value| !(-1..=100).contains(&value))
    {
        return fail("Invalid value for memory swappiness, range is [0, 100]");
    }
    processors(host)?;
    if host.blkio_weight > 0 && !(10..=1000).contains(&host.blkio_weight) {
        return fail("Range of blkio weight is from 10 to 1000");
    }
    let throttles = [
        &host.blkio_device_read_bps,
        &host.blkio_device_write_bps,
        &host.blkio_device_read_iops,
        &host.blkio_device_write_iops,
    ];
    throttles.into_iter().flatten().try_for_each(block_device)?;
    Ok(discarded(host, layout))
}

fn processors(host: &HostConfig) -> Result<()> {
    let fail = |message: String| Err(ApiError::bad_request(message));
    if host.nano_cpus < 0 {
        return fail("NanoCPUs cannot be negative".to_owned());
    }
    if host.nano_cpus > 0 && (host.cpu_quota > 0 || host.cpu_period > 0) {
        return fail("Conflicting options: Nano CPUs and CPU Period cannot both be set".to_owned());
    }
    let online = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if host.nano_cpus
        > i64::try_from(online)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000_000)
    {
        return fail(format!(
            "range of CPUs is from 0.01 to {online}.00, as there are only {online} CPUs available"
        ));
    }
    if host.cpu_period != 0 && !(1_000..=1_000_000).contains(&host.cpu_period) {
        return fail(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
                .to_owned(),
        );
    }
    if host.cpu_quota > 0 && host.cpu_quota < 1000 {
        return fail("CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned());
    }
    if host.cpu_shares < 0 {
        return fail(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            host.cpu_shares
        ));
    }
    for (what, list) in [
        ("cpuset cpus", &host.cpuset_cpus),
        ("cpuset mems", &host.cpuset_mems),
    ] {
        if !is_list(list) {
            return fail(format!("Invalid value {list} for {what}"));
        }
    }
    available("CPUs", &host.cpuset_cpus, "/sys/devices/system/cpu/online")?;
    available(
        "memory nodes",
        &host.cpuset_mems,
        "/sys/devices/system/node/online",
    )
}

/// Refuses processors and memory nodes that the machine does not have.
fn available(what: &str, asked: &str, list: &str) -> Result<()> {
    // A machine that does not tell has no list to compare with.
    let Ok(online) = std::fs::read_to_string(list) else {
        return Ok(());
    };
    let (online, wanted) = (numbers(&online), numbers(asked));
    if wanted.iter().all(|wanted| {
        online
            .iter()
            .any(|there| there.contains(wanted.start()) && there.contains(wanted.end()))
    }) {
        return Ok(());
    }
    let online: Vec<String> = online
        .iter()
        .map(|range| match range.start() == range.end() {
            true => range.start().to_string(),
            false => format!("{}-{}", range.start(), range.end()),
        })
        .collect();
    Err(ApiError::bad_request(format!(
        "Requested {what} are not available - requested {asked}, available: {}",
        online.join(",")
    )))
}

fn numbers(list: &str) -> Vec<std::ops::RangeInclusive<u16>> {
    let number = |text: &str| text.trim().parse::<u16>().ok();
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(number(from)?..=number(to)?)
    };
    list.split(',').filter_map(range).collect()
}

/// Numbers and ranges, `0-2,4`.
fn is_list(text: &str) -> bool {
    let number = |text: &str| text.trim().parse::<u16>().ok();
    text.is_empty()
        || text.split(',').all(|part| match part.split_once('-') {
            Some((from, to)) => {
                matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to)
            }
            None => number(part).is_some(),
        })
}

fn block_device(throttle: &ThrottleDevice) -> Result<()> {
    let found = std::fs::metadata(&throttle.path);
    match found {
        Ok(found) if found.file_type().is_block_device() => Ok(()),
        Ok(_) => Err(ApiError::bad_request(format!(
            "\"{}\" is not a block device",
            throttle.path
        ))),
        Err(error) => Err(ApiError::bad_request(format!(
            "no such device: \"{}\": {error}",
            throttle.path
        ))),
    }
}

/// What the kernel has no word for any more.
fn discarded(host: &HostConfig, layout: &CgroupLayout) -> Vec<String> {
    let mut warnings = Vec::new();
    if !layout.is_unified() {
        return warnings;
    }
    if host.memory_swappiness.is_some_and(|value| value >= 0) {
        warnings.push(
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded."
                .to_owned(),
        );
    }
    if host.oom_kill_disable == Some(true) {
        warnings.push(
            "Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned(),
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (json, expected) in [
            ("{}", ""),
            (r#"{"Memory":67108864,"MemorySwap":-1}"#, ""),
            (r#"{"Memory":1048576}"#, "6MB"),
            (
                r#"{"Memory":67108864,"MemorySwap":33554432}"#,
                "larger than memory limit",
            ),
            (r#"{"MemorySwap":67108864}"#, "always set the Memory limit"),
            (r#"{"Runtime":"kata"}"#, "runtime name: kata"),
            (r#"{"Runtime":"runc"}"#, ""),
            (r#"{"IpcMode":"odd"}"#, "invalid IPC mode: odd"),
            (r#"{"PidMode":"container:x"}"#, ""),
            (r#"{"Isolation":"hyperv"}"#, "invalid isolation"),
            (r#"{"CpusetCpus":"0-x"}"#, "cpuset cpus"),
            (r#"{"CpusetCpus":"0"}"#, ""),
            (
                r#"{"CpusetCpus":"0,60000"}"#,
                "Requested CPUs are not available",
            ),
            (
                r#"{"LogConfig":{"Config":{"max-size":"1k","env":"A"}}}"#,
                "",
            ),
            (
                r#"{"LogConfig":{"Config":{"odd":"1"}}}"#,
                "unknown log opt 'odd' for json-file",
            ),
            (
                r#"{"LogConfig":{"Type":"local","Config":{"env":"1"}}}"#,
                "unknown log opt 'env' for local",
            ),
            (r#"{"CpuPercent":5}"#, "CpuPercent"),
            (r#"{"StorageOpt":{"size":"1G"}}"#, "StorageOpt"),
            (
                r#"{"BlkioDeviceReadBps":[{"Path":"/dev/null","Rate":1}]}"#,
                "not a block device",
            ),
            (
                r#"{"DeviceRequests":[{"Capabilities":[["gpu"]]}]}"#,
                "capabilities: [[gpu]]",
            ),
        ] {
            let host: HostConfig = serde_json::from_str(json).unwrap();
            let result = host_config(&host, &CgroupLayout::default());
            let message = result.err().map_or_else(String::new, |error| error.message);
            let good = expected.is_empty() == message.is_empty() && message.contains(expected);
            assert!(good, "{json}: {message:?} instead of {expected:?}");
        }
    }
}
