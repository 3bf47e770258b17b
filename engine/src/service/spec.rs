//! From a record to what the runtime runs: Docker's words become the kernel's. Pure.

use std::path::{Path, PathBuf};

use hoist_api::container::ContainerConfig;
use hoist_api::error::{ApiError, Result};
use hoist_api::exec::ExecCreate;
use hoist_api::host_config::HostConfig;
use hoist_kernel::init::program::Propagation;

use super::create::merge_env;
use crate::runtime::spec::{
    CgroupNamespaceMode, Device, ExecSpec, Mount, NamespaceMode, Namespaces, NetworkNamespace,
    ResourceLimit, Resources, RootFilesystem, RuntimeSpec, Seccomp, Security, TerminalSize,
    Throttle, ThrottleKind, UserNamespace,
};
use crate::store::container::ContainerRecord;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a start has found out beside the record.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) root: RootFilesystem,
    pub(super) mounts: Vec<Mount>,
    pub(super) devices: Vec<Device>,
    pub(super) network: NetworkNamespace,
    pub(super) pid: NamespaceMode,
    pub(super) ipc: NamespaceMode,
    pub(super) hostname: String,
    /// Contents of a seccomp profile named in the security options.
    pub(super) seccomp: Option<String>,
    /// The engine's parent control group.
    pub(super) cgroup_parent: String,
    pub(super) user_namespace: Option<UserNamespace>,
}

/// Makes the runtime's description.
///
/// # Errors
/// 400 when an option cannot be understood.
pub(super) fn runtime_spec(record: &ContainerRecord, found: Found) -> Result<RuntimeSpec> {
    let (config, host) = (&record.config, &record.host_config);
    let own_uts = host.uts_mode != "host";
    let parent = if host.cgroup_parent.is_empty() {
        found.cgroup_parent
    } else {
        cgroup_parent(&host.cgroup_parent)?
    };
    Ok(RuntimeSpec {
        id: record.id.to_string(),
        argv: record.argv(),
        environment: environment((config, config.tty), &found.hostname),
        working_directory: if config.working_dir.is_empty() {
            "/".to_owned()
        } else {
            config.working_dir.clone()
        },
        user: config.user.clone(),
        additional_groups: host.group_add.clone(),
        hostname: own_uts.then_some(found.hostname),
        domainname: Some(config.domainname.clone()).filter(|name| own_uts && !name.is_empty()),
        root: found.root,
        mounts: found.mounts,
        terminal: config.tty.then(|| terminal_size(host.console_size)),
        security: security(host, found.seccomp)?,
        devices: found.devices,
        device_rules: host.device_cgroup_rules.clone(),
        limits: host.ulimits.iter().map(limit).collect(),
        sysctls: host.sysctls.clone(),
        oom_score_adj: i32::try_from(host.oom_score_adj)
            .ok()
            .filter(|adjustment| *adjustment != 0),
        resources: resources(host),
        cgroup: Path::new(&parent).join(record.id.as_str()),
        namespaces: Namespaces {
            network: found.network,
            pid: found.pid,
            ipc: found.ipc,
            without_shm: host.ipc_mode == "none",
            uts: if own_uts {
                NamespaceMode::Private
            } else {
                NamespaceMode::Host
            },
            cgroup: match host.cgroupns_mode.as_str() {
                "private" => CgroupNamespaceMode::Private,
                "host" => CgroupNamespaceMode::Host,
                _ => CgroupNamespaceMode::Default,
            },
        },
        user_namespace: found.user_namespace,
        init: host.init.unwrap_or(false),
        shm_size: u64::try_from(host.shm_size).ok().filter(|size| *size > 0),
        umask: None,
    })
}

/// The runtime's description of a further process.
pub(super) fn exec_spec(record: &ContainerRecord, exec: &ExecCreate, hostname: &str) -> ExecSpec {
    // Whether the container itself has a terminal says nothing of this process.
    let environment = merge_env(
        &environment((&record.config, exec.tty), hostname),
        &exec.env,
    );
    ExecSpec {
        argv: exec.cmd.clone(),
        environment,
        working_directory: exec.working_dir.clone(),
        user: exec.user.clone(),
        terminal: exec
            .tty
            .then(|| terminal_size(exec.console_size.unwrap_or_default())),
        privileged: exec.privileged,
    }
}

fn terminal_size([rows, columns]: [u32; 2]) -> TerminalSize {
    let fit = |number: u32| u16::try_from(number).unwrap_or(0);
    TerminalSize {
        rows: fit(rows),
        columns: fit(columns),
    }
}

/// Docker's variables first, so that the container's own win.
fn environment((config, tty): (&ContainerConfig, bool), hostname: &str) -> Vec<String> {
    let mut own = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if tty {
        own.push("TERM=xterm".to_owned());
    }
    merge_env(&own, &config.env)
}

/// A path beneath the hierarchies' mount points that cannot leave them.
fn cgroup_parent(given: &str) -> Result<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in given.split('/') {
        match part {
            "" | "." => {}
            // As at the top of a file system, where Docker ends as well.
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err(ApiError::bad_request(format!(
            "invalid cgroup parent \"{given}\""
        )));
    }
    Ok(parts.join("/"))
}

fn limit(ulimit: &hoist_api::host_config::Ulimit) -> ResourceLimit {
    let bound = |value: i64| u64::try_from(value).ok();
    ResourceLimit {
        name: ulimit.name.clone(),
        soft: bound(ulimit.soft),
        hard: bound(ulimit.hard),
    }
}

/// Whether its security options are known.
pub(super) fn check_security(host: &HostConfig) -> Result<()> {
    security(host, None).map(drop)
}

fn security(host: &HostConfig, profile: Option<String>) -> Result<Security> {
    let mut security = Security {
        privileged: host.privileged,
        add_capabilities: host.cap_add.clone(),
        drop_capabilities: host.cap_drop.clone(),
        masked_paths: host.masked_paths.clone(),
        read_only_paths: host.readonly_paths.clone(),
        ..Security::default()
    };
    for option in &host.security_opt {
        let (key, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (key, value) {
            ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
            ("no-new-privileges", "false") => security.no_new_privileges = false,
            ("writable-cgroups", "" | "true") => security.writable_cgroups = true,
            ("writable-cgroups", "false") => security.writable_cgroups = false,
            ("seccomp", "unconfined") => security.seccomp = Seccomp::Unconfined,
            ("seccomp", "" | "builtin") => security.seccomp = Seccomp::Default,
            ("seccomp", _) => {
                security.seccomp =
                    Seccomp::Profile(profile.clone().unwrap_or_else(|| value.to_owned()))
            }
            ("systempaths", "unconfined") => {
                security.masked_paths = Some(Vec::new());
                security.read_only_paths = Some(Vec::new());
            }
            // This machine may have neither; without them there is nothing to label or confine.
            ("apparmor" | "label", _) => {}
            _ => {
                return Err(ApiError::bad_request(format!(
                    "invalid --security-opt 2: {option:?}"
                )));
            }
        }
    }
    // A profile of one's own holds for privileged containers, too.
    if security.privileged && security.seccomp == Seccomp::Default {
        security.seccomp = Seccomp::Unconfined;
    }
    Ok(security)
}

/// The limits of a container; throttled devices are looked up on this machine.
pub(super) fn resources(host: &HostConfig) -> Resources {
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let (quota, period) = if host.nano_cpus > 0 {
        (Some(host.nano_cpus / 10_000), Some(100_000))
    } else {
        (
            Some(host.cpu_quota).filter(|quota| *quota != 0),
            positive(host.cpu_period),
        )
    };
    Resources {
        cpu_shares: positive(host.cpu_shares),
        cpu_quota: quota,
        cpu_period: period,
        cpuset_cpus: host.cpuset_cpus.clone(),
        cpuset_mems: host.cpuset_mems.clone(),
        memory: positive(host.memory),
        memory_swap: Some(host.memory_swap).filter(|swap| *swap != 0),
        memory_reservation: positive(host.memory_reservation),
        memory_swappiness: host
            .memory_swappiness
            .and_then(|value| u64::try_from(value).ok()),
        pids: host
            .pids_limit
            .map(|limit| u64::try_from(limit).unwrap_or(0)),
        blkio_weight: Some(host.blkio_weight).filter(|weight| *weight > 0),
        throttles: throttles(host),
        oom_kill_disable: host.oom_kill_disable.unwrap_or(false),
    }
}

fn throttles(host: &HostConfig) -> Vec<Throttle> {
    use std::os::unix::fs::MetadataExt as _;
    let all = [
        (ThrottleKind::ReadBytes, &host.blkio_device_read_bps),
        (ThrottleKind::WriteBytes, &host.blkio_device_write_bps),
        (ThrottleKind::Reads, &host.blkio_device_read_iops),
        (ThrottleKind::Writes, &host.blkio_device_write_iops),
    ];
    let mut throttles = Vec::new();
    for (kind, asked) in all {
        for throttle in asked {
            // The creation has checked that it is a device; one that has gone since cannot be used either.
            if let Ok(found) = std::fs::metadata(&throttle.path) {
                let number = found.rdev();
                throttles.push(Throttle {
                    kind,
                    device: (rustix::fs::major(number), rustix::fs::minor(number)),
                    rate: throttle.rate,
                });
            }
        }
    }
    throttles
}

/// Docker's word for mount propagation; private unless said otherwise.
pub(super) fn propagation(word: &str) -> Propagation {
    match word {
        "shared" | "rshared" => Propagation::Shared,
        "slave" | "rslave" => Propagation::Slave,
        _ => Propagation::Private,
    }
}

/// A seccomp profile's file named in the security options.
pub(super) fn seccomp_file(host: &HostConfig) -> Option<PathBuf> {
    let value = host
        .security_opt
        .iter()
        .find_map(|option| option.strip_prefix("seccomp="))?;
    // Clients read the file themselves and send its contents; only a path is left to be read here.
    value.starts_with('/').then(|| PathBuf::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_become_quota_and_period() {
        let host = HostConfig {
            nano_cpus: 1_500_000_000,
            ..Default::default()
        };
        let limits = resources(&host);
        assert_eq!(
            (limits.cpu_quota, limits.cpu_period),
            (Some(150_000), Some(100_000))
        );
        let lifted = resources(&HostConfig {
            pids_limit: Some(-1),
            cpu_quota: -1,
            ..Default::default()
        });
        let expected = Resources {
            pids: Some(0),
            cpu_quota: Some(-1),
            ..Resources::default()
        };
        assert_eq!(lifted, expected);
        assert_eq!(resources(&HostConfig::default()), Resources::default());
    }

    #[test]
    fn the_containers_variables_win() {
        let config = ContainerConfig {
            env: vec!["PATH=/x".to_owned(), "A=1".to_owned()],
            ..Default::default()
        };
        assert_eq!(
            environment((&config, false), "h"),
            ["HOSTNAME=h", "PATH=/x", "A=1"]
        );
    }

    #[test]
    fn a_cgroup_parent_cannot_lead_out() {
        assert_eq!(cgroup_parent("/a/b/").unwrap(), "a/b");
        for (given, inside) in [("../a", "a"), ("a/../../b", "b"), ("a//b/./c/..", "a/b")] {
            assert_eq!(cgroup_parent(given).unwrap(), inside, "{given}");
        }
        for bad in ["/", "", "..", "a/../../.."] {
            assert!(cgroup_parent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn security_options_are_read() {
        let host = |option: &str| HostConfig {
            security_opt: vec![option.to_owned()],
            ..Default::default()
        };
        assert!(
            security(&host("no-new-privileges:true"), None)
                .unwrap()
                .no_new_privileges
        );
        assert_eq!(
            security(&host("seccomp=unconfined"), None).unwrap().seccomp,
            Seccomp::Unconfined
        );
        assert_eq!(
            security(&host("seccomp={}"), None).unwrap().seccomp,
            Seccomp::Profile("{}".to_owned())
        );
        assert!(security(&host("magic"), None).is_err());
    }
}
