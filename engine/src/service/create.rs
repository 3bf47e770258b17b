//! Creating containers: the request is checked and completed once, here, and kept as the record.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hoist_api::ContainerId;
use hoist_api::container::{ContainerConfig, ContainerCreate, ContainerCreated, HealthConfig};
use hoist_api::error::{ApiError, Result};
use hoist_api::host_config::HostConfig;
use hoist_registry::Platform;
use hoist_registry::manifest::DescribedPlatform;
use hoist_registry::platform::InvalidPlatform;
use jiff::Timestamp;

use super::build::Ended;
use super::{Service, check, conflicts, image_error, internal, mounts, tree};
use crate::containers::Container;
use crate::image::{ContainerDefaults, Image};
use crate::names;
use crate::networking::options;
use crate::store;
use crate::store::container::{ContainerRecord, EndpointRecord, MountSource, Run, VERSION};
use crate::supervise::health;
use crate::supervise::restart::Policy;

const SHM_SIZE: i64 = 64 << 20;

impl Service {
    /// Creates a container; `name` may be empty.
    pub(crate) async fn create(
        self: &Arc<Self>,
        name: &str,
        body: ContainerCreate,
    ) -> Result<ContainerCreated> {
        let name = name.strip_prefix('/').unwrap_or(name);
        if !name.is_empty() {
            names::check_name(name)?;
        }
        let ContainerCreate {
            config,
            host_config,
            networking_config,
        } = body;
        conflicts::check(name, &config, &host_config)?;
        let says_nothing = |words: &Option<Vec<String>>| words.as_ref().is_none_or(Vec::is_empty);
        if config.image.is_empty() && says_nothing(&config.cmd) && says_nothing(&config.entrypoint)
        {
            return Err(ApiError::bad_request("no command specified"));
        }
        let image = self.images.resolve(&config.image).map_err(|error| {
            let told = image_error(error);
            match told.message.ends_with(": invalid reference format") {
                // Clients know this by these words alone.
                true => ApiError::bad_request("invalid reference format").with_hint(told.message),
                false => told,
            }
        })?;
        let config = merge(config, &image.config.config)?;
        let warnings = check::host_config(&host_config, &self.machine.cgroups)?;
        let host_config = self.complete_host_config(host_config)?;
        for (network, asked) in &networking_config.endpoints_config {
            options::check(network, asked)?;
        }
        let id = ContainerId::from_bytes(names::random_id());
        let name = self.reserve_name(name, &id)?;
        let endpoints = match config.network_disabled {
            true => BTreeMap::new(),
            false => self.asked_endpoints(&host_config, networking_config.endpoints_config),
        };
        let record = ContainerRecord {
            version: VERSION,
            id: id.clone(),
            name: name.clone(),
            created: Timestamp::now(),
            image_id: image.id.to_string(),
            config,
            host_config,
            endpoints,
            mounts: Vec::new(),
            ports: Vec::new(),
            run: Run::default(),
        };
        let created = self
            .blocking(move |service| service.write_new(record, &image))
            .await;
        if created.is_err() {
            self.containers.release(&name);
        }
        let container = Arc::new(Container::new(created?));
        self.containers.insert(container.clone());
        self.emit(&container, "create", []);
        Ok(ContainerCreated {
            id: id.to_string(),
            warnings,
        })
    }

    /// Puts a container into the list that has run already, by a builder. It has no volumes.
    pub(crate) fn add_ended(&self, ended: Ended<'_>) -> Result<()> {
        let Ended { called, run, .. } = ended;
        let image = self.images.resolve(&ended.image).map_err(image_error)?;
        let host_config = self.complete_host_config(HostConfig::default())?;
        let name = self
            .reserve_name(&called.name, &called.id)
            .or_else(|_| self.reserve_name("", &called.id))?;
        let record = ContainerRecord {
            version: VERSION,
            name: name.clone(),
            created: run.started_at.unwrap_or_else(Timestamp::now),
            image_id: image.id.to_string(),
            config: ended.config,
            endpoints: self.asked_endpoints(&host_config, BTreeMap::new()),
            host_config,
            mounts: Vec::new(),
            ports: Vec::new(),
            run,
            id: called.id,
        };
        let directory = self.config.container_root(record.id.as_str());
        let made = store::make_directory(&directory).map_err(|error| internal(&error));
        let made = made.and_then(|()| match ended.changes {
            Some(tree) => {
                std::fs::rename(tree, directory.join("upper")).map_err(|error| internal(&error))
            }
            None => Ok(()),
        });
        if let Err(error) = made.and_then(|()| self.save(&record)) {
            self.containers.release(&name);
            // What is left is no container, and goes when an engine starts.
            let _ = store::remove_directory(&directory);
            return Err(error);
        }
        self.containers.insert(Arc::new(Container::new(record)));
        Ok(())
    }

    /// Refuses an image that is there, but for another platform than the one that is asked for: clients pull the right one then.
    pub(crate) fn check_platform(&self, image: &str, platform: &str) -> Result<()> {
        if platform.is_empty() {
            return Ok(());
        }
        let wanted: Platform = platform
            .parse()
            .map_err(|error: InvalidPlatform| ApiError::bad_request(error.to_string()))?;
        let found = self.images.resolve(image).map_err(image_error)?;
        let found = DescribedPlatform {
            architecture: found.config.architecture.clone(),
            os: found.config.os.clone(),
            variant: found.config.variant.clone(),
        };
        match wanted.fitness(&found) {
            Some(_) => Ok(()),
            None => Err(ApiError::not_found(format!(
                "image with reference {image} was found but its platform ({found}) does not match the specified platform ({wanted})"
            ))),
        }
    }

    fn reserve_name(&self, name: &str, id: &ContainerId) -> Result<String> {
        if !name.is_empty() {
            self.containers.reserve(name, id.as_str())?;
            return Ok(name.to_owned());
        }
        for attempt in 0..6 {
            let name = names::random_name(attempt);
            if self.containers.reserve(&name, id.as_str()).is_ok() {
                return Ok(name);
            }
        }
        self.containers.reserve(id.short(), id.as_str())?;
        Ok(id.short().to_owned())
    }

    /// Makes its directory, its volumes and its record; on failure nothing of it is left.
    fn write_new(&self, mut record: ContainerRecord, image: &Image) -> Result<ContainerRecord> {
        let from = self.mounts_from(&record.host_config.volumes_from)?;
        record.mounts = mounts::resolve(&record.config, &record.host_config, from)?;
        self.find_images(&mut record.mounts)?;
        let driver = record.host_config.volume_driver.as_str();
        if !matches!(driver, "" | "local") && record.volumes().next().is_some() {
            return Err(ApiError::not_found(format!(
                "error looking up volume plugin {driver}: plugin \"{driver}\" not found"
            ))
            .with_hint("the only volume driver here is local"));
        }
        let directory = self.config.container_root(record.id.as_str());
        let result = self
            .create_volumes(&mut record, image)
            .and_then(|()| store::make_directory(&directory).map_err(|error| internal(&error)))
            .and_then(|()| self.make_working_directory(&record, image))
            .and_then(|()| self.save(&record));
        if let Err(error) = result {
            self.remove_anonymous(&record);
            if let Err(error) = store::remove_directory(&directory) {
                tracing::warn!(%error, "cannot clean up after a container that was not created");
            }
            return Err(error);
        }
        Ok(record)
    }

    /// Clients copy files into it before the first start.
    fn make_working_directory(&self, record: &ContainerRecord, image: &Image) -> Result<()> {
        let path = record.config.working_dir.as_str();
        if matches!(path, "" | "/") {
            return Ok(());
        }
        tree::make_directory(&self.root_filesystem(record, image)?, Path::new(path))
    }

    /// The networks a new container is to join: those named, and the one of its mode.
    fn asked_endpoints(
        &self,
        host: &HostConfig,
        named: BTreeMap<String, hoist_api::network::EndpointSettings>,
    ) -> BTreeMap<String, EndpointRecord> {
        let mode = host.network_mode.as_str();
        if matches!(mode, "host" | "none") || mode.starts_with("container:") {
            return BTreeMap::new();
        }
        let canonical = |name: &str| {
            if name == "default" {
                "bridge".to_owned()
            } else {
                self.networks.canonical(name)
            }
        };
        let mut endpoints: BTreeMap<String, EndpointRecord> = named
            .into_iter()
            .map(|(name, asked)| (canonical(&name), EndpointRecord { asked, given: None }))
            .collect();
        endpoints.entry(canonical(mode)).or_default();
        endpoints
    }

    fn complete_host_config(&self, mut host: HostConfig) -> Result<HostConfig> {
        Policy::parse(&host.restart_policy).map_err(ApiError::bad_request)?;
        if host.restart_policy.name.is_empty() {
            host.restart_policy.name = "no".to_owned();
        }
        if host.auto_remove && host.restart_policy.name != "no" {
            return Err(ApiError::bad_request(
                "can't create 'AutoRemove' container with restart policy",
            ));
        }
        if matches!(host.network_mode.as_str(), "" | "default") {
            host.network_mode = "bridge".to_owned();
        }
        if host.log_config.driver.is_empty() {
            host.log_config.driver = "json-file".to_owned();
        }
        if host.shm_size == 0 {
            host.shm_size = SHM_SIZE;
        }
        if host.ipc_mode.is_empty() {
            host.ipc_mode = "private".to_owned();
        }
        if host.cgroupns_mode.is_empty() {
            let unified = self.machine.cgroups.v1.is_empty();
            host.cgroupns_mode = if unified { "private" } else { "host" }.to_owned();
        }
        if host.memory > 0 && host.memory_swap == 0 {
            host.memory_swap = host.memory.saturating_mul(2);
        }
        if host.runtime.is_empty() {
            host.runtime = super::system::DEFAULT_RUNTIME.to_owned();
        }
        self.check_user_namespace(&host)?;
        for device in &mut host.devices {
            if device.path_in_container.is_empty() {
                device.path_in_container.clone_from(&device.path_on_host);
            }
            if device.cgroup_permissions.is_empty() {
                device.cgroup_permissions = "rwm".to_owned();
            }
        }
        if host.security_opt.is_empty()
            && (host.privileged || host.pid_mode == "host" || host.ipc_mode == "host")
        {
            // As Docker tells it: what shares so much with the machine is not kept apart by labels either.
            host.security_opt = vec!["label=disable".to_owned()];
        }
        self.resolve_shared_namespaces(&mut host)?;
        self.resolve_links(&mut host)?;
        Ok(host)
    }

    /// Turns names in `container:<name>` modes into ids, so that a renamed container is still found. As Docker has it, the one whose
    /// network is shared may come later: it is looked for at the start.
    fn resolve_shared_namespaces(&self, host: &mut HostConfig) -> Result<()> {
        for mode in [&mut host.pid_mode, &mut host.ipc_mode] {
            if let Some(name) = mode.strip_prefix("container:") {
                *mode = format!("container:{}", self.referred(name)?.id());
            }
        }
        if let Some(name) = host.network_mode.strip_prefix("container:")
            && let Ok(found) = self.containers.find(name)
        {
            host.network_mode = format!("container:{}", found.id());
        }
        Ok(())
    }

    /// A container that a new one refers to. That it is missing is no 404: clients would take it for the image, and pull.
    fn referred(&self, name: &str) -> Result<Arc<Container>> {
        self.containers
            .find(name)
            .map_err(|error| ApiError::bad_request(error.message))
    }

    fn mounts_from(&self, names: &[String]) -> Result<Vec<crate::store::container::MountRecord>> {
        let mut found = Vec::new();
        for entry in names {
            let (name, mode) = entry.split_once(':').unwrap_or((entry, "rw"));
            let mut is_read_only = false;
            for word in mode.split(',').filter(|word| !word.is_empty()) {
                match word {
                    "ro" => is_read_only = true,
                    "rw" | "z" | "Z" => {}
                    _ => return Err(ApiError::bad_request(format!("invalid mode: {mode}"))),
                }
            }
            for mut mount in self.referred(name)?.snapshot().mounts {
                if let MountSource::Volume { no_copy, .. } = &mut mount.source {
                    *no_copy = true;
                }
                mount.read_only |= is_read_only;
                // Of two containers with the same place, the last one's is taken.
                found.retain(|other: &crate::store::container::MountRecord| {
                    other.target != mount.target
                });
                found.push(mount);
            }
        }
        Ok(found)
    }
}

/// Completes what was asked for with the image's defaults, by Docker's rules (moby, `daemon/commit.go`, `merge`).
fn merge(mut asked: ContainerConfig, image: &ContainerDefaults) -> Result<ContainerConfig> {
    if asked.user.is_empty() {
        asked.user.clone_from(&image.user);
    }
    for port in image.exposed_ports.keys() {
        asked.exposed_ports.entry(port.clone()).or_default();
    }
    asked.env = keep_env(&image.env, &asked.env);
    for (key, value) in &image.labels {
        asked
            .labels
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
    if asked.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if asked.cmd.as_ref().is_none_or(Vec::is_empty) {
            asked.cmd.clone_from(&image.cmd);
        }
        if asked.entrypoint.is_none() {
            asked.entrypoint.clone_from(&image.entrypoint);
        }
    }
    if asked.entrypoint.as_deref() == Some(&[String::new()]) {
        asked.entrypoint = None;
    }
    asked.healthcheck = health::inherit(
        asked.healthcheck,
        image.healthcheck.as_ref().map(image_health),
    );
    if asked.working_dir.is_empty() {
        asked.working_dir.clone_from(&image.working_dir);
    }
    let mut volumes = asked.volumes.unwrap_or_default();
    for path in image.volumes.keys() {
        volumes.entry(path.clone()).or_default();
    }
    asked.volumes = Some(volumes).filter(|volumes| !volumes.is_empty());
    if asked.stop_signal.is_empty() {
        asked.stop_signal.clone_from(&image.stop_signal);
    }
    check_config(&asked)?;
    asked.working_dir = clean_path(&asked.working_dir);
    if asked.shell.is_empty() {
        asked.shell = image.shell.clone().unwrap_or_default();
    }
    if asked
        .entrypoint
        .iter()
        .flatten()
        .chain(asked.cmd.iter().flatten())
        .next()
        .is_none()
    {
        return Err(ApiError::bad_request("no command specified")
            .with_hint("the image has neither ENTRYPOINT nor CMD: give a command"));
    }
    Ok(asked)
}

/// An absolute path without `.`, `..`, double slashes and a slash at the end, as Go's `filepath.Clean` has it; empty stays empty.
fn clean_path(path: &str) -> String {
    if path.is_empty() {
        return String::new();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The name of a variable.
fn name_of(entry: &str) -> &str {
    entry.split('=').next().unwrap_or_default()
}

/// Nanoseconds that a health check's times must at least be, or zero for the default.
const LEAST_HEALTH: i64 = 1_000_000;

/// Refuses values that cannot be meant.
fn check_config(config: &ContainerConfig) -> Result<()> {
    let (directory, signal) = (&config.working_dir, &config.stop_signal);
    if !directory.is_empty() && !directory.starts_with('/') {
        return Err(ApiError::bad_request(format!(
            "the working directory '{directory}' is invalid, it needs to be an absolute path"
        )));
    }
    if let Some(entry) = config.env.iter().find(|entry| name_of(entry).is_empty()) {
        return Err(ApiError::bad_request(format!(
            "invalid environment variable: {entry}"
        )));
    }
    if !signal.is_empty() && super::lifecycle::signal_number(signal).is_none() {
        return Err(ApiError::bad_request(format!("Invalid signal: {signal}")));
    }
    config.healthcheck.as_ref().map_or(Ok(()), check_health)
}

fn check_health(health: &HealthConfig) -> Result<()> {
    let times = [
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ];
    let wrong = times
        .iter()
        .find(|(_, time)| *time != 0 && *time < LEAST_HEALTH);
    if let Some((what, _)) = wrong {
        return Err(ApiError::bad_request(format!(
            "{what} in Healthcheck cannot be less than 1ms"
        )));
    }
    if health.retries < 0 {
        return Err(ApiError::bad_request(
            "Retries in Healthcheck cannot be negative",
        ));
    }
    Ok(())
}

/// As [`merge_env`], with the names that take something away: they are the configuration's, and take effect at each start.
fn keep_env(image: &[String], asked: &[String]) -> Vec<String> {
    let (given, bare): (Vec<&String>, Vec<&String>) =
        asked.iter().partition(|entry| entry.contains('='));
    // In Docker's order: first what was asked for.
    let kept = merge_env(image, asked);
    let kept = kept.iter().filter(|entry| !given.contains(entry));
    let all = given.iter().copied().chain(kept).chain(bare);
    all.cloned().collect()
}

/// The image's variables, then those asked for; a name without `=` takes the image's away.
pub(super) fn merge_env(image: &[String], asked: &[String]) -> Vec<String> {
    let name = |entry: &str| name_of(entry).to_owned();
    let named: Vec<String> = asked.iter().map(|entry| name(entry)).collect();
    let kept = image.iter().filter(|entry| !named.contains(&name(entry)));
    kept.chain(asked.iter().filter(|entry| entry.contains('=')))
        .cloned()
        .collect()
}

fn image_health(image: &crate::image::HealthcheckDefaults) -> HealthConfig {
    HealthConfig {
        test: image.test.clone(),
        interval: image.interval,
        timeout: image.timeout,
        start_period: image.start_period,
        start_interval: image.start_interval,
        retries: image.retries,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        match text {
            "-" => None,
            "" => Some(Vec::new()),
            text => Some(text.split(' ').map(|word| word.replace("''", "")).collect()),
        }
    }

    /// Entry point and command of image and request; expected: those of the container, joined.
    fn check(image: (&str, &str), asked: (&str, &str), expected: &str) {
        let image = ContainerDefaults {
            entrypoint: words(image.0),
            cmd: words(image.1),
            ..Default::default()
        };
        let asked = ContainerConfig {
            entrypoint: words(asked.0),
            cmd: words(asked.1),
            ..Default::default()
        };
        let text = format!("{asked:?}");
        let merged = merge(asked, &image).map(|config| {
            let words: Vec<String> = config
                .entrypoint
                .into_iter()
                .chain(config.cmd)
                .flatten()
                .collect();
            words.join(" ")
        });
        assert_eq!(
            merged.unwrap_or_else(|error| error.message),
            expected,
            "{text}"
        );
    }

    #[test]
    fn commands_are_merged_as_docker_does() {
        check(("-", "sh"), ("-", "-"), "sh");
        check(("entry", "arg"), ("-", "-"), "entry arg");
        check(("entry", "arg"), ("-", "own"), "entry own");
        check(("entry", "arg"), ("own", "-"), "own");
        check(("entry", "arg"), ("own", "x"), "own x");
        check(("entry", "arg"), ("''", "x"), "x");
        check(("entry", "arg"), ("''", "-"), "no command specified");
        check(("entry", "arg"), ("", "-"), "arg");
        check(("-", "-"), ("-", "-"), "no command specified");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let merged = |json: &str| {
            let mut asked: ContainerConfig = serde_json::from_str(json).unwrap();
            asked.cmd = words("x");
            merge(asked, &ContainerDefaults::default())
        };
        for (json, expected) in [
            (r#"{"Env":[""]}"#, "invalid environment variable: "),
            (
                r#"{"Env":["A=1","=x"]}"#,
                "invalid environment variable: =x",
            ),
            (
                r#"{"Healthcheck":{"Interval":-1}}"#,
                "Interval in Healthcheck cannot be less than 1ms",
            ),
            (
                r#"{"Healthcheck":{"StartPeriod":1}}"#,
                "StartPeriod in Healthcheck cannot be less than 1ms",
            ),
            (
                r#"{"Healthcheck":{"Retries":-1}}"#,
                "Retries in Healthcheck cannot be negative",
            ),
        ] {
            let said = merged(json).unwrap_err();
            assert_eq!(said.message, expected, "{json}");
        }
        let config = merged(r#"{"WorkingDir":"/tmp/../a//b/","Env":["A","B="]}"#).unwrap();
        assert_eq!(config.working_dir, "/a/b");
    }

    #[test]
    fn variables_are_merged_by_name() {
        let strings = |list: &[&str]| {
            list.iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        let merged = merge_env(
            &strings(&["PATH=/bin", "A=1", "B=2"]),
            &strings(&["A=3", "B", "C=4"]),
        );
        assert_eq!(merged, strings(&["PATH=/bin", "A=3", "C=4"]));
        let kept = keep_env(
            &strings(&["PATH=/bin", "A=1", "B=2"]),
            &strings(&["A=3", "B"]),
        );
        assert_eq!(kept, strings(&["A=3", "PATH=/bin", "B"]));
    }
}
