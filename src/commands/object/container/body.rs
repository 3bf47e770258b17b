//! From the options of `container run` to the request that creates the container. Reads the files that options name.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hoist_api::Empty;
use hoist_api::container::{ContainerConfig, ContainerCreate, HealthConfig};
use hoist_api::host_config::{
    DeviceMapping, HostConfig, LogConfig, RestartPolicy, ThrottleDevice, Ulimit, WeightDevice,
};
use hoist_api::network::{EndpointIpamConfig, EndpointSettings};
use hoist_compose::model::{ByteSize, ComposeDuration};

use super::flags::{CreateFlags, HealthFlags, LimitFlags, NetworkFlags, ProcessFlags};
use super::mount;
use crate::commands::exec::variables;
use crate::commands::object::pairs;
use crate::context::Context;
use crate::failure::Failure;
use crate::publish;

/// The request; `words` are the image, and the command with its arguments.
///
/// # Errors
/// An option's value is wrong, or a file cannot be read.
pub(super) fn request(
    context: &Context,
    flags: &CreateFlags,
    words: &[String],
) -> Result<ContainerCreate, Failure> {
    if flags.limits.gpus.is_some() {
        return Err(Failure::new(
            "cannot give a container GPUs: this engine has no driver for them",
        )
        .hint("--device gives it a device file"));
    }
    let Some((image, command)) = words.split_first() else {
        return Err(Failure::new("name an image"));
    };
    let mut request = ContainerCreate {
        config: config(context, &flags.process, image, command)?,
        host_config: host(flags)?,
        ..ContainerCreate::default()
    };
    request.config.healthcheck = health(&flags.health)?;
    names(&flags.network)?;
    network(&mut request, &flags.network)?;
    mount::add(context, &mut request, &flags.mounts)?;
    Ok(request)
}

fn config(
    context: &Context,
    flags: &ProcessFlags,
    image: &str,
    command: &[String],
) -> Result<ContainerConfig, Failure> {
    let mut env = Vec::new();
    for file in &flags.env_file {
        env.extend(variables(&context.environment, &lines_of(file)?));
    }
    env.extend(variables(&context.environment, &flags.env));
    let mut labels = BTreeMap::new();
    for file in &flags.label_file {
        labels.extend(pairs(&lines_of(file)?));
    }
    labels.extend(pairs(&flags.label));
    if labels.contains_key("") {
        return Err(Failure::new("invalid label: empty name").hint("write it as KEY=VALUE"));
    }
    let entrypoint = flags.entrypoint.clone().map(|entry| vec![entry]);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    Ok(ContainerConfig {
        hostname: text(&flags.hostname),
        domainname: text(&flags.domainname),
        user: text(&flags.user),
        tty: flags.tty,
        open_stdin: flags.interactive,
        env,
        cmd: (!command.is_empty()).then(|| command.to_vec()),
        image: image.to_owned(),
        working_dir: text(&flags.workdir),
        entrypoint,
        labels,
        stop_signal: text(&flags.stop_signal),
        stop_timeout: flags.stop_timeout,
        ..ContainerConfig::default()
    })
}

/// Checks what the resolver is told, before any engine is asked, as `docker` does: Docker's engine takes servers as they are.
fn names(flags: &NetworkFlags) -> Result<(), Failure> {
    for line in &flags.add_host {
        let bad = || Failure::new(format!("bad format for add-host: {line:?}"));
        let (name, address) = line
            .split_once('=')
            .or_else(|| line.split_once(':'))
            .ok_or_else(bad)?;
        if name.is_empty() {
            return Err(bad());
        }
        let bare = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if address != "host-gateway" && bare.unwrap_or(address).parse::<IpAddr>().is_err() {
            return Err(
                Failure::new(format!("invalid IP address in add-host: {address:?}"))
                    .hint("write it as NAME:ADDRESS or NAME:host-gateway"),
            );
        }
    }
    for server in &flags.dns {
        if server.trim().parse::<IpAddr>().is_err() {
            return Err(Failure::new(format!(
                "IP address is not correctly formatted: {server}"
            )));
        }
    }
    Ok(())
}

/// The lines of a file of `KEY=VALUE`s, without comments, as Docker reads them: no quotes.
pub(crate) fn lines_of(path: &str) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::from(error).context(format!("cannot read {path}")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = text.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

fn health(flags: &HealthFlags) -> Result<Option<HealthConfig>, Failure> {
    let nanoseconds =
        |value: Option<ComposeDuration>| value.map_or(0, ComposeDuration::as_nanoseconds);
    let check = HealthConfig {
        test: match &flags.health_cmd {
            Some(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
            None => Vec::new(),
        },
        interval: nanoseconds(flags.health_interval),
        timeout: nanoseconds(flags.health_timeout),
        start_period: nanoseconds(flags.health_start_period),
        start_interval: nanoseconds(flags.health_start_interval),
        retries: flags.health_retries.unwrap_or(0),
    };
    let given = check != HealthConfig::default();
    match (flags.no_healthcheck, given) {
        (true, true) => Err(Failure::new(
            "--no-healthcheck conflicts with --health-* options",
        )),
        (true, false) => Ok(Some(HealthConfig {
            test: vec!["NONE".to_owned()],
            ..HealthConfig::default()
        })),
        (false, given) => Ok(given.then_some(check)),
    }
}

fn host(flags: &CreateFlags) -> Result<HostConfig, Failure> {
    let (rights, mounts, process) = (&flags.rights, &flags.mounts, &flags.process);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let restart_policy = restart(&flags.restart)?;
    if flags.rm && !matches!(restart_policy.name.as_str(), "" | "no") {
        return Err(Failure::new(
            "conflicting options: cannot specify both --restart and --rm",
        ));
    }
    let mut host = HostConfig {
        container_id_file: text(&flags.cidfile),
        auto_remove: flags.rm,
        restart_policy,
        log_config: LogConfig {
            driver: text(&process.log_driver),
            config: pairs(&process.log_opt),
        },
        annotations: pairs(&process.annotation),
        init: process.init.then_some(true),
        runtime: text(&process.runtime),
        isolation: text(&process.isolation),
        cap_add: rights.cap_add.clone(),
        cap_drop: rights.cap_drop.clone(),
        privileged: rights.privileged,
        security_opt: security(&rights.security_opt)?,
        group_add: rights.group_add.clone(),
        sysctls: pairs(&rights.sysctl),
        pid_mode: text(&rights.pid),
        ipc_mode: text(&rights.ipc),
        uts_mode: text(&rights.uts),
        userns_mode: text(&rights.userns),
        cgroupns_mode: text(&rights.cgroupns),
        readonly_rootfs: mounts.read_only,
        storage_opt: pairs(&mounts.storage_opt),
        volumes_from: mounts.volumes_from.clone(),
        volume_driver: text(&mounts.volume_driver),
        shm_size: mounts.shm_size.map_or(0, ByteSize::bytes),
        device_cgroup_rules: mounts.device_cgroup_rule.clone(),
        devices: mounts.device.iter().map(|text| device(text)).collect(),
        console_size: crate::streams::console_size(process.tty).unwrap_or_default(),
        ..HostConfig::default()
    };
    limits(&mut host, &flags.limits)?;
    Ok(host)
}

/// `seccomp=FILE` carries the file's text, since the engine may be elsewhere.
fn security(options: &[String]) -> Result<Vec<String>, Failure> {
    let read = |option: &String| match option.strip_prefix("seccomp=") {
        Some(path) if path != "unconfined" && path != "builtin" => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::from(error).context(format!("cannot read the seccomp profile {path}"))
            })?;
            Ok(format!("seccomp={text}"))
        }
        _ => Ok(option.clone()),
    };
    options.iter().map(read).collect()
}

pub(super) fn restart(text: &str) -> Result<RestartPolicy, Failure> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (name, Some(count)),
        None => (text, None),
    };
    let wrong = || {
        Failure::new(format!("invalid restart policy \"{text}\""))
            .hint("it is one of no, on-failure[:N], always, unless-stopped")
    };
    if !matches!(name, "" | "no" | "always" | "unless-stopped" | "on-failure")
        || (count.is_some() && name != "on-failure")
    {
        return Err(wrong());
    }
    Ok(RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count: count.map_or(Ok(0), str::parse).map_err(|_| wrong())?,
    })
}

fn device(text: &str) -> DeviceMapping {
    let mut parts = text.splitn(3, ':');
    let source = parts.next().unwrap_or_default();
    let (mut target, mut rights) = (parts.next(), parts.next());
    let is_rights = |text: &&str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
    if rights.is_none() && target.as_ref().is_some_and(is_rights) {
        rights = target.take();
    }
    DeviceMapping {
        path_on_host: source.to_owned(),
        path_in_container: target.unwrap_or(source).to_owned(),
        cgroup_permissions: rights.unwrap_or("rwm").to_owned(),
    }
}

fn limits(host: &mut HostConfig, flags: &LimitFlags) -> Result<(), Failure> {
    let bytes = |value: Option<ByteSize>| value.map_or(0, ByteSize::bytes);
    host.memory = bytes(flags.memory);
    host.memory_reservation = bytes(flags.memory_reservation);
    host.memory_swap = bytes(flags.memory_swap);
    host.memory_swappiness = flags.memory_swappiness;
    host.nano_cpus = billionths(flags.cpus.unwrap_or(0.0));
    host.cpu_shares = flags.cpu_shares.unwrap_or(0);
    host.cpu_period = flags.cpu_period.unwrap_or(0);
    host.cpu_quota = flags.cpu_quota.unwrap_or(0);
    host.cpu_realtime_period = flags.cpu_rt_period.unwrap_or(0);
    host.cpu_realtime_runtime = flags.cpu_rt_runtime.unwrap_or(0);
    host.cpuset_cpus = flags.cpuset_cpus.clone().unwrap_or_default();
    host.cpuset_mems = flags.cpuset_mems.clone().unwrap_or_default();
    host.pids_limit = flags.pids_limit;
    host.oom_kill_disable = flags.oom_kill_disable.then_some(true);
    host.oom_score_adj = flags.oom_score_adj.unwrap_or(0);
    host.cgroup_parent = flags.cgroup_parent.clone().unwrap_or_default();
    host.blkio_weight = flags.blkio_weight.unwrap_or(0);
    host.ulimits = each(&flags.ulimit, ulimit)?;
    host.blkio_weight_device = each(&flags.blkio_weight_device, |text| {
        let (path, weight) = text.rsplit_once(':')?;
        let (path, weight) = (path.to_owned(), weight.parse().ok()?);
        Some(WeightDevice { path, weight })
    })?;
    host.blkio_device_read_bps = each(&flags.device_read_bps, throttle)?;
    host.blkio_device_write_bps = each(&flags.device_write_bps, throttle)?;
    host.blkio_device_read_iops = each(&flags.device_read_iops, throttle)?;
    host.blkio_device_write_iops = each(&flags.device_write_iops, throttle)?;
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float cast saturates, and so many processors mean no limit"
)]
pub(super) fn billionths(cpus: f64) -> i64 {
    (cpus * 1e9).round() as i64
}

fn each<T>(texts: &[String], read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Failure> {
    let one = |text: &String| {
        read(text).ok_or_else(|| Failure::new(format!("cannot read the limit \"{text}\"")))
    };
    texts.iter().map(one).collect()
}

fn ulimit(text: &str) -> Option<Ulimit> {
    let (name, values) = text.split_once('=')?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (soft.parse().ok()?, hard.parse().ok()?);
    let name = name.to_owned();
    (hard == -1 || soft <= hard).then_some(Ulimit { name, hard, soft })
}

fn throttle(text: &str) -> Option<ThrottleDevice> {
    let (path, rate) = text.rsplit_once(':')?;
    let rate: ByteSize = rate.parse().ok()?;
    Some(ThrottleDevice {
        path: path.to_owned(),
        rate: u64::try_from(rate.bytes()).ok()?,
    })
}

fn network(request: &mut ContainerCreate, flags: &NetworkFlags) -> Result<(), Failure> {
    publish::add(request, &flags.publish)?;
    for text in &flags.expose {
        for published in publish::parse(text)? {
            request
                .config
                .exposed_ports
                .insert(published.port, Empty {});
        }
    }
    let host = &mut request.host_config;
    host.publish_all_ports = flags.publish_all;
    host.links = flags.link.clone();
    host.dns = flags.dns.clone();
    host.dns_options = flags.dns_option.clone();
    host.dns_search = flags.dns_search.clone();
    host.extra_hosts = flags
        .add_host
        .iter()
        .map(|h| h.replacen('=', ":", 1))
        .collect();
    host.network_mode = "default".to_owned();
    let mut endpoints = BTreeMap::new();
    for (position, text) in flags.network.iter().enumerate() {
        let (name, mut endpoint) = attachment(text)?;
        let aliases = endpoint
            .aliases
            .as_ref()
            .is_some_and(|aliases| !aliases.is_empty());
        if aliases && matches!(name.as_str(), "bridge" | "host" | "none" | "default") {
            return Err(Failure::new(
                "network-scoped aliases are only supported for user-defined networks",
            ));
        }
        if position == 0 {
            host.network_mode.clone_from(&name);
            add_address(&mut endpoint, flags);
        }
        endpoints.insert(name, endpoint);
    }
    if flags.network.is_empty() {
        let mut endpoint = EndpointSettings::default();
        add_address(&mut endpoint, flags);
        if endpoint != EndpointSettings::default() {
            endpoints.insert("default".to_owned(), endpoint);
        }
    }
    let is_mode = |name: &str| matches!(name, "host" | "none") || name.starts_with("container:");
    endpoints.retain(|name, endpoint| !is_mode(name) || *endpoint != EndpointSettings::default());
    request.networking_config.endpoints_config = endpoints;
    Ok(())
}

/// What `--ip`, `--network-alias` and the like say of the first network.
fn add_address(endpoint: &mut EndpointSettings, flags: &NetworkFlags) {
    if flags.ip.is_some() || flags.ip6.is_some() || !flags.link_local_ip.is_empty() {
        endpoint.ipam_config = Some(EndpointIpamConfig {
            ipv4_address: flags.ip.clone().unwrap_or_default(),
            ipv6_address: flags.ip6.clone().unwrap_or_default(),
            link_local_ips: flags.link_local_ip.clone(),
        });
    }
    if !flags.network_alias.is_empty() {
        let aliases = endpoint.aliases.get_or_insert_default();
        aliases.extend(flags.network_alias.iter().cloned());
    }
    if let Some(address) = &flags.mac_address {
        endpoint.mac_address.clone_from(address);
    }
}

/// `NAME`, or `name=NAME,alias=A,ip=ADDRESS,…`.
fn attachment(text: &str) -> Result<(String, EndpointSettings), Failure> {
    let mut endpoint = EndpointSettings::default();
    if !text.contains('=') {
        return Ok((text.to_owned(), endpoint));
    }
    let mut name = String::new();
    for part in text.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.to_owned();
        match key {
            "name" => name = value,
            "alias" => endpoint.aliases.get_or_insert_default().push(value),
            "ip" => endpoint.ipam_config.get_or_insert_default().ipv4_address = value,
            "ip6" => endpoint.ipam_config.get_or_insert_default().ipv6_address = value,
            "link-local-ip" => {
                let config = endpoint.ipam_config.get_or_insert_default();
                config.link_local_ips.push(value);
            }
            "mac-address" => endpoint.mac_address = value,
            "gw-priority" => {
                endpoint.gw_priority = value
                    .parse()
                    .map_err(|_| Failure::new(format!("gw-priority \"{value}\" is no number")))?;
            }
            "driver-opt" => {
                let (key, value) = value.split_once('=').unwrap_or((&value, ""));
                let options = endpoint.driver_opts.get_or_insert_default();
                options.insert(key.to_owned(), value.to_owned());
            }
            _ => {
                return Err(Failure::new(format!(
                    "invalid key \"{key}\" in --network {text}"
                )));
            }
        }
    }
    match name.is_empty() {
        true => Err(Failure::new(format!("--network {text} names no network"))),
        false => Ok((name, endpoint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        let check = |text: &str, expected: [&str; 3]| {
            let got = device(text);
            let got = [
                got.path_on_host,
                got.path_in_container,
                got.cgroup_permissions,
            ];
            assert_eq!(got, expected.map(str::to_owned), "{text}");
        };
        check("/dev/null", ["/dev/null", "/dev/null", "rwm"]);
        check("/dev/a:/dev/b", ["/dev/a", "/dev/b", "rwm"]);
        check("/dev/a:r", ["/dev/a", "/dev/a", "r"]);
        check("/dev/a:/dev/b:rw", ["/dev/a", "/dev/b", "rw"]);
    }

    #[test]
    fn restart_policies() {
        assert_eq!(restart("on-failure:3").unwrap().maximum_retry_count, 3);
        assert_eq!(restart("always").unwrap().name, "always");
        assert!(restart("always:3").is_err());
        assert!(restart("sometimes").is_err());
    }

    #[test]
    fn networks_in_the_long_form() {
        let (name, endpoint) = attachment("name=n,alias=a,alias=b,ip=10.0.0.2").unwrap();
        assert_eq!(name, "n");
        assert_eq!(endpoint.aliases.unwrap(), ["a", "b"]);
        assert_eq!(endpoint.ipam_config.unwrap().ipv4_address, "10.0.0.2");
        assert!(attachment("alias=a").is_err());
    }

    #[test]
    fn limits_of_resources() {
        let limit = ulimit("nofile=10:20").unwrap();
        assert_eq!((limit.soft, limit.hard), (10, 20));
        assert!(ulimit("nofile=30:20").is_none());
        assert_eq!(throttle("/dev/sda:1m").unwrap().rate, 1 << 20);
    }
}
