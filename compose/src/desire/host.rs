//! The part of a container's description that ties it to the host: limits, privileges, ports, name resolution.

use std::collections::BTreeMap;

use hoist_api::host_config::{
    DeviceMapping, DeviceRequest, HostConfig, LogConfig, PortBinding, PortMap, RestartPolicy,
    ThrottleDevice, Ulimit, WeightDevice,
};

use crate::graph::Reason;
use crate::model::{self, BlkioConfig, Deploy, DeviceRate, Project, Service};

use super::{DesireError, Shared, mounts, networks};

pub(crate) fn lower(
    project: &Project,
    name: &str,
    service: &Service,
) -> Result<HostConfig, DesireError> {
    let mounts = mounts::lower(project, name, service)?;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut host = HostConfig {
        binds: mounts.binds,
        mounts: mounts.mounts,
        tmpfs: mounts.tmpfs,
        log_config: log_config(service),
        network_mode: networks::mode(project, service),
        port_bindings: port_bindings(service),
        restart_policy: restart_policy(name, service)?,
        volumes_from: service
            .volumes_from
            .iter()
            .filter_map(|from| from.strip_prefix("container:"))
            .map(str::to_owned)
            .collect(),
        annotations: sorted(&service.annotations),
        cap_add: service.cap_add.clone(),
        cap_drop: service.cap_drop.clone(),
        cgroupns_mode: text(&service.cgroup),
        dns: service.dns.clone(),
        dns_options: service.dns_opt.clone(),
        dns_search: service.dns_search.clone(),
        extra_hosts: service
            .extra_hosts
            .iter()
            .map(|entry| entry.replacen('=', ":", 1))
            .collect(),
        group_add: service.group_add.clone(),
        ipc_mode: unless_service(&service.ipc),
        links: service.external_links.clone(),
        pid_mode: unless_service(&service.pid),
        privileged: service.privileged,
        readonly_rootfs: service.read_only,
        security_opt: service.security_opt.clone(),
        storage_opt: sorted(&service.storage_opt),
        uts_mode: text(&service.uts),
        userns_mode: text(&service.userns_mode),
        shm_size: service.shm_size.bytes(),
        sysctls: sorted(&service.sysctls),
        runtime: text(&service.runtime),
        isolation: text(&service.isolation),
        init: service.init,
        ..HostConfig::default()
    };
    set_resources(&mut host, service);
    set_devices(&mut host, service);
    if let Some(config) = &service.blkio_config {
        set_block_io(&mut host, config);
    }
    Ok(host)
}

/// Points a namespace or `volumes_from` at the container of another service.
pub(crate) fn share(host: &mut HostConfig, shared: &Shared, container: &str) {
    let mode = format!("container:{container}");
    match shared.reason {
        Reason::NetworkNamespace => host.network_mode = mode,
        Reason::IpcNamespace => host.ipc_mode = mode,
        Reason::PidNamespace => host.pid_mode = mode,
        Reason::VolumesFrom => host.volumes_from.push(match &shared.mode {
            Some(mode) => format!("{container}:{mode}"),
            None => container.to_owned(),
        }),
        Reason::DependsOn | Reason::Link => {}
    }
}

/// `service:x` is filled in when the container of that service is known.
fn unless_service(mode: &Option<String>) -> String {
    mode.as_deref()
        .filter(|mode| !mode.starts_with("service:"))
        .unwrap_or_default()
        .to_owned()
}

fn sorted(map: &indexmap::IndexMap<String, String>) -> BTreeMap<String, String> {
    map.iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn log_config(service: &Service) -> LogConfig {
    service
        .logging
        .as_ref()
        .map_or_else(LogConfig::default, |logging| LogConfig {
            driver: logging.driver.clone().unwrap_or_default(),
            config: sorted(&logging.options),
        })
}

fn port_bindings(service: &Service) -> PortMap {
    let mut map = PortMap::new();
    for port in &service.ports {
        let binding = PortBinding {
            host_ip: port.host_ip.clone().unwrap_or_default(),
            host_port: port.published.clone().unwrap_or_default(),
        };
        let key = format!("{}/{}", port.target, port.protocol());
        map.entry(key)
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    map
}

/// `deploy.restart_policy` wins over `restart`.
fn restart_policy(name: &str, service: &Service) -> Result<RestartPolicy, DesireError> {
    let unknown = |text: &str| DesireError::Unsupported {
        service: name.to_owned(),
        what: format!("restart policy {text:?}"),
    };
    if let Some(policy) = service
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.restart_policy.as_ref())
    {
        let attempts = policy
            .max_attempts
            .map_or(0, |attempts| i64::try_from(attempts).unwrap_or(i64::MAX));
        return Ok(match policy.condition.as_deref() {
            Some("none") => named_policy("no", 0),
            Some("on-failure") => named_policy("on-failure", attempts),
            Some("any") | None => named_policy("always", 0),
            Some(other) => return Err(unknown(other)),
        });
    }
    match service.restart.as_deref() {
        None | Some("") => Ok(RestartPolicy::default()),
        Some(word @ ("no" | "always" | "unless-stopped" | "on-failure")) => {
            Ok(named_policy(word, 0))
        }
        Some(text) => match text
            .strip_prefix("on-failure:")
            .and_then(|attempts| attempts.parse().ok())
        {
            Some(attempts) => Ok(named_policy("on-failure", attempts)),
            None => Err(unknown(text)),
        },
    }
}

fn named_policy(name: &str, maximum_retry_count: i64) -> RestartPolicy {
    RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count,
    }
}

/// `deploy.resources` wins over the service's own limits; the loader has checked that they agree.
fn set_resources(host: &mut HostConfig, service: &Service) {
    let limits = service
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.resources.limits.as_ref());
    let reservations = service
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.resources.reservations.as_ref());
    let cpus = limits
        .and_then(|limits| limits.cpus)
        .unwrap_or(service.cpus);
    host.nano_cpus = billionths(cpus);
    host.memory = limits
        .and_then(|limits| limits.memory)
        .unwrap_or(service.mem_limit)
        .bytes();
    host.memory_reservation = reservations
        .and_then(|kept| kept.memory)
        .unwrap_or(service.mem_reservation)
        .bytes();
    host.memory_swap = service.memswap_limit.bytes();
    host.memory_swappiness =
        Some(service.mem_swappiness.bytes()).filter(|swappiness| *swappiness != 0);
    host.oom_kill_disable = service.oom_kill_disable.then_some(true);
    host.oom_score_adj = service.oom_score_adj;
    host.pids_limit = Some(
        limits
            .and_then(|limits| limits.pids)
            .unwrap_or(service.pids_limit),
    )
    .filter(|limit| *limit != 0);
    host.cpu_shares = service.cpu_shares;
    host.cpu_period = service.cpu_period;
    host.cpu_quota = service.cpu_quota;
    host.cpu_realtime_period = service.cpu_rt_period;
    host.cpu_realtime_runtime = service.cpu_rt_runtime;
    host.cpuset_cpus = service.cpuset.clone().unwrap_or_default();
    host.cgroup_parent = service.cgroup_parent.clone().unwrap_or_default();
    let mut ulimits: Vec<Ulimit> = service
        .ulimits
        .iter()
        .map(|(name, limit)| {
            let (soft, hard) = limit.soft_and_hard();
            Ulimit {
                name: name.clone(),
                soft,
                hard,
            }
        })
        .collect();
    ulimits.sort_by(|left, right| left.name.cmp(&right.name));
    host.ulimits = ulimits;
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a float cast saturates, and so many processors mean no limit"
)]
fn billionths(cpus: f64) -> i64 {
    (cpus * 1e9).round() as i64
}

fn set_devices(host: &mut HostConfig, service: &Service) {
    host.devices = service
        .devices
        .iter()
        .map(|device| DeviceMapping {
            path_on_host: device.source.clone(),
            path_in_container: device
                .target
                .clone()
                .unwrap_or_else(|| device.source.clone()),
            cgroup_permissions: device
                .permissions
                .clone()
                .unwrap_or_else(|| "rwm".to_owned()),
        })
        .collect();
    host.device_cgroup_rules
        .clone_from(&service.device_cgroup_rules);
    let reserved = service
        .deploy
        .as_deref()
        .and_then(|deploy: &Deploy| deploy.resources.reservations.as_ref());
    let reserved = reserved
        .map(|reservations| reservations.devices.as_slice())
        .unwrap_or_default();
    let gpus = service
        .gpus
        .iter()
        .map(|request| device_request(request, Some("gpu")));
    host.device_requests = reserved
        .iter()
        .map(|request| device_request(request, None))
        .chain(gpus)
        .collect();
}

fn device_request(request: &model::DeviceRequest, implied: Option<&str>) -> DeviceRequest {
    let mut capabilities = request.capabilities.clone();
    if let Some(implied) =
        implied.filter(|implied| !capabilities.iter().any(|have| have == implied))
    {
        capabilities.push(implied.to_owned());
    }
    DeviceRequest {
        driver: request.driver.clone().unwrap_or_default(),
        count: request
            .count
            .unwrap_or(if request.device_ids.is_empty() { -1 } else { 0 }),
        device_ids: request.device_ids.clone(),
        capabilities: vec![capabilities],
        options: sorted(&request.options),
    }
}

fn set_block_io(host: &mut HostConfig, config: &BlkioConfig) {
    let rates = |rates: &[DeviceRate]| -> Vec<ThrottleDevice> {
        let rates = rates.iter();
        rates
            .map(|rate| ThrottleDevice {
                path: rate.path.clone(),
                rate: u64::try_from(rate.rate.bytes()).unwrap_or(0),
            })
            .collect()
    };
    host.blkio_weight = config.weight;
    host.blkio_weight_device = config
        .weight_device
        .iter()
        .map(|device| WeightDevice {
            path: device.path.clone(),
            weight: device.weight,
        })
        .collect();
    host.blkio_device_read_bps = rates(&config.device_read_bps);
    host.blkio_device_read_iops = rates(&config.device_read_iops);
    host.blkio_device_write_bps = rates(&config.device_write_bps);
    host.blkio_device_write_iops = rates(&config.device_write_iops);
}
