//! Changing a container's limits and restart policy while it runs or not: `/update`.

use std::path::PathBuf;
use std::sync::Arc;

use hoist_api::container::ContainerUpdated;
use hoist_api::error::{ApiError, ErrorKind, Result};
use hoist_api::host_config::HostConfig;

use super::{Service, check, spec};
use crate::runtime;
use crate::store::container::Status;
use crate::supervise::restart::{Backoff, Policy};

impl Service {
    /// Changes what the body names; zero and empty mean «as it is».
    pub(crate) async fn update(
        self: &Arc<Self>,
        key: &str,
        asked: HostConfig,
    ) -> Result<ContainerUpdated> {
        let container = self.containers.find(key)?;
        let _operation = container.operation.lock().await;
        let (before, status) = {
            let record = container.record();
            (record.host_config.clone(), record.run.status)
        };
        let cannot = |error: ApiError| ApiError {
            message: format!(
                "Cannot update container {}: {}",
                container.id(),
                error.message
            ),
            ..error
        };
        if matches!(status, Status::Removing | Status::Dead) {
            let message = "container is marked for removal and cannot be \"update\"";
            return Err(cannot(ApiError::conflict(message)));
        }
        let after = merge(&before, &asked).map_err(cannot)?;
        let warnings = check::limits(&after, &self.machine.cgroups)?;
        if status.is_alive() {
            let group = self.group(&container.snapshot());
            let resources = spec::resources(&after);
            let writes = runtime::updates(&resources, &group, &self.machine.cgroups);
            self.blocking(move |_| write_all(writes))
                .await
                .map_err(cannot)?;
        }
        container.record().host_config = after;
        if !asked.restart_policy.name.is_empty() {
            container.live().backoff = Backoff::default();
        }
        self.save_now(&container);
        self.emit(&container, "update", []);
        Ok(ContainerUpdated { warnings })
    }
}

/// Writes files of control groups. Some limits bound each other, so that the order in which they can be
/// raised is not that in which they can be lowered: what fails is tried again after the rest.
fn write_all(writes: Vec<(PathBuf, String)>) -> Result<()> {
    let try_all = |writes: Vec<(PathBuf, String)>| {
        let mut failed = Vec::new();
        for (file, value) in writes {
            match std::fs::write(&file, &value) {
                // A controller that this machine does not have limits nothing, as at the start.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => failed.push((file, value, error)),
                Ok(()) => {}
            }
        }
        failed
    };
    let failed = try_all(writes);
    let again = failed.into_iter().map(|(file, value, _)| (file, value));
    match try_all(again.collect()).into_iter().next() {
        None => Ok(()),
        Some((file, value, error)) => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let message = format!("cannot set {name} to {value}: {error}");
            let invalid = matches!(
                error.kind(),
                std::io::ErrorKind::InvalidInput | std::io::ErrorKind::ResourceBusy
            );
            let kind = if invalid {
                ErrorKind::BadRequest
            } else {
                ErrorKind::Internal
            };
            Err(ApiError::new(kind, message))
        }
    }
}

/// The new settings, by Docker's rules (moby, `daemon/container/container_unix.go`, `UpdateContainer`).
fn merge(before: &HostConfig, asked: &HostConfig) -> Result<HostConfig> {
    let mut after = before.clone();
    let conflict = |message: &str| Err(ApiError::bad_request(message));
    if asked.nano_cpus > 0 && (before.cpu_period > 0 || before.cpu_quota > 0) {
        return conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Period or CPU Quota has already been set",
        );
    }
    for (option, asked) in [
        ("CPU Period", asked.cpu_period),
        ("CPU Quota", asked.cpu_quota),
    ] {
        if before.nano_cpus > 0 && asked > 0 {
            return conflict(&format!(
                "Conflicting options: {option} cannot be updated as NanoCPUs has already been set"
            ));
        }
    }
    if !asked.restart_policy.name.is_empty() {
        Policy::parse(&asked.restart_policy).map_err(ApiError::bad_request)?;
        if before.auto_remove && asked.restart_policy.name != "no" {
            return Err(ApiError::conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        after.restart_policy = asked.restart_policy.clone();
    }
    if asked.memory != 0 {
        let swap = before.memory_swap;
        if asked.memory_swap == 0 && swap > 0 && asked.memory > swap {
            return conflict(
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
            );
        }
        after.memory = asked.memory;
        if asked.memory_swap == 0 && swap == 0 {
            after.memory_swap = asked.memory.saturating_mul(2);
        }
    }
    set(&mut after.memory_swap, asked.memory_swap);
    set(&mut after.memory_reservation, asked.memory_reservation);
    set(&mut after.cpu_shares, asked.cpu_shares);
    set(&mut after.nano_cpus, asked.nano_cpus);
    set(&mut after.cpu_period, asked.cpu_period);
    set(&mut after.cpu_quota, asked.cpu_quota);
    set(&mut after.cpu_realtime_period, asked.cpu_realtime_period);
    set(&mut after.cpu_realtime_runtime, asked.cpu_realtime_runtime);
    set(&mut after.blkio_weight, asked.blkio_weight);
    set(&mut after.cpuset_cpus, asked.cpuset_cpus.clone());
    set(&mut after.cpuset_mems, asked.cpuset_mems.clone());
    if asked.pids_limit.is_some() {
        after.pids_limit = asked.pids_limit;
    }
    Ok(after)
}

fn set<T: Default + PartialEq>(field: &mut T, asked: T) {
    if asked != T::default() {
        *field = asked;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoist_api::host_config::RestartPolicy;

    fn memory(memory: i64, memory_swap: i64) -> HostConfig {
        HostConfig {
            memory,
            memory_swap,
            ..HostConfig::default()
        }
    }

    #[test]
    fn only_what_is_named_changes() {
        let before = HostConfig {
            cpu_shares: 512,
            pids_limit: Some(5),
            ..memory(64 << 20, 128 << 20)
        };
        let after = merge(&before, &memory(96 << 20, 0)).unwrap();
        let expected = HostConfig {
            memory: 96 << 20,
            ..before.clone()
        };
        assert_eq!(after, expected);
        assert!(merge(&before, &memory(256 << 20, 0)).is_err());
        assert!(merge(&before, &memory(256 << 20, -1)).is_ok());
        assert_eq!(
            merge(&memory(0, 0), &memory(64 << 20, 0))
                .unwrap()
                .memory_swap,
            128 << 20
        );
    }

    #[test]
    fn a_container_that_removes_itself_is_not_restarted() {
        let before = HostConfig {
            auto_remove: true,
            ..HostConfig::default()
        };
        let asked = HostConfig {
            restart_policy: RestartPolicy {
                name: "always".to_owned(),
                maximum_retry_count: 0,
            },
            ..HostConfig::default()
        };
        assert!(merge(&before, &asked).is_err());
        assert_eq!(
            merge(&HostConfig::default(), &asked)
                .unwrap()
                .restart_policy
                .name,
            "always"
        );
    }
}
