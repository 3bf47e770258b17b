//! The engine about itself and its machine.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use hoist_api::DOCKER_VERSION;
use hoist_api::container::ListContainers;
use hoist_api::error::{ApiError, Result};
use hoist_api::system::{
    Commit, ComponentVersion, DataUsage, DefaultPool, EngineStatus, FirewallBackend, IndexInfo,
    Info, PlatformInfo, Plugins, RegistryConfig, Runtime, SwarmInfo, Version,
};
use jiff::Timestamp;

use super::Service;
use crate::networking::builtin_id;
use crate::store::container::Status;

/// The engine's own version. Where clients look for one they compare, they are told [`DOCKER_VERSION`].
pub(crate) const ENGINE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What clients know the way by in which containers are run unless they say otherwise. It is our own whatever it is called.
pub(super) const DEFAULT_RUNTIME: &str = "runc";

fn api_version((major, minor): (u16, u16)) -> String {
    format!("{major}.{minor}")
}

/// Go's name of the architecture.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Service {
    /// Versions.
    pub(crate) fn version(&self) -> Version {
        let api = api_version(hoist_api::API_VERSION);
        let least = api_version(hoist_api::MIN_API_VERSION);
        let kernel = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        let details = BTreeMap::from([
            ("ApiVersion".to_owned(), api.clone()),
            ("MinAPIVersion".to_owned(), least.clone()),
            ("Arch".to_owned(), go_architecture().to_owned()),
            ("Os".to_owned(), "linux".to_owned()),
            ("KernelVersion".to_owned(), kernel.clone()),
        ]);
        Version {
            platform: PlatformInfo {
                name: "hoist".to_owned(),
            },
            components: vec![
                ComponentVersion {
                    name: "Engine".to_owned(),
                    version: DOCKER_VERSION.to_owned(),
                    details,
                },
                ComponentVersion {
                    name: "hoist".to_owned(),
                    version: ENGINE_VERSION.to_owned(),
                    details: BTreeMap::new(),
                },
            ],
            version: DOCKER_VERSION.to_owned(),
            api_version: api,
            min_api_version: least,
            os: "linux".to_owned(),
            arch: go_architecture().to_owned(),
            kernel_version: kernel,
            ..Version::default()
        }
    }

    /// Facts about engine and machine.
    pub(crate) fn info(&self) -> Info {
        let statuses: Vec<Status> = self
            .containers
            .all()
            .iter()
            .map(|container| container.record().run.status)
            .collect();
        let count = |wanted: &dyn Fn(Status) -> bool| {
            i64::try_from(statuses.iter().filter(|status| wanted(**status)).count()).unwrap_or(0)
        };
        Info {
            id: builtin_id(&self.config.root.to_string_lossy()),
            containers: count(&|_| true),
            containers_running: count(&|status| {
                matches!(status, Status::Running | Status::Restarting)
            }),
            containers_paused: count(&|status| status == Status::Paused),
            containers_stopped: count(&|status| {
                matches!(status, Status::Created | Status::Exited | Status::Dead)
            }),
            images: i64::try_from(self.images.list().len()).unwrap_or(0),
            driver: "overlay2".to_owned(),
            driver_status: [
                ("Backing Filesystem", "unknown"),
                ("Supports d_type", "true"),
                ("Using metacopy", "false"),
                ("Native Overlay Diff", "true"),
            ]
            .map(|(name, value)| [name.to_owned(), value.to_owned()])
            .to_vec(),
            open_descriptors: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
            event_listeners: i64::try_from(self.events.listeners()).unwrap_or(0),
            default_address_pools: self
                .networks
                .config
                .pools
                .iter()
                .map(|pool| DefaultPool {
                    base: pool.base.to_string(),
                    size: i64::from(pool.size),
                })
                .collect(),
            plugins: Plugins {
                volume: vec!["local".to_owned()],
                network: vec!["bridge".to_owned(), "host".to_owned(), "null".to_owned()],
                authorization: None,
                log: vec![
                    "json-file".to_owned(),
                    "local".to_owned(),
                    "none".to_owned(),
                ],
            },
            security_options: self.security_options(),
            ..self.machine_info()
        }
    }

    /// As Docker names them.
    fn security_options(&self) -> Vec<String> {
        let mut options = vec!["name=seccomp,profile=builtin".to_owned()];
        if self.config.userns_remap.is_some() {
            options.push("name=userns".to_owned());
        }
        options
    }

    /// Facts that do not change while the engine runs.
    fn machine_info(&self) -> Info {
        let uname = rustix::system::uname();
        let (system, system_version) = operating_system();
        Info {
            memory_limit: true,
            swap_limit: true,
            cpu_cfs_period: true,
            cpu_cfs_quota: true,
            cpu_shares: true,
            cpu_set: true,
            pids_limit: true,
            ipv4_forwarding: switched_on("/proc/sys/net/ipv4/ip_forward"),
            system_time: Timestamp::now().to_string(),
            logging_driver: "json-file".to_owned(),
            cgroup_driver: "cgroupfs".to_owned(),
            cgroup_version: if self.machine.cgroups.v1.is_empty() {
                "2"
            } else {
                "1"
            }
            .to_owned(),
            kernel_version: uname.release().to_string_lossy().into_owned(),
            operating_system: system,
            os_version: system_version,
            os_type: "linux".to_owned(),
            architecture: uname.machine().to_string_lossy().into_owned(),
            index_server_address: "https://index.docker.io/v1/".to_owned(),
            registry_config: registries(),
            oom_kill_disable: self.machine.cgroups.hierarchy("memory").is_some(),
            firewall_backend: Some(FirewallBackend {
                driver: "nftables".to_owned(),
                info: Vec::new(),
            }),
            http_proxy: proxy("HTTP_PROXY"),
            https_proxy: proxy("HTTPS_PROXY"),
            no_proxy: proxy("NO_PROXY"),
            ncpu: std::thread::available_parallelism()
                .map_or(1, |count| i64::try_from(count.get()).unwrap_or(1)),
            mem_total: total_memory(),
            docker_root_dir: self.config.root.to_string_lossy().into_owned(),
            name: uname.nodename().to_string_lossy().into_owned(),
            server_version: DOCKER_VERSION.to_owned(),
            runtimes: ["hoist", DEFAULT_RUNTIME]
                .map(|name| {
                    let path = "hoist-shim".to_owned();
                    (name.to_owned(), Runtime { path })
                })
                .into(),
            default_runtime: DEFAULT_RUNTIME.to_owned(),
            swarm: SwarmInfo {
                local_node_state: "inactive".to_owned(),
                ..SwarmInfo::default()
            },
            live_restore_enabled: true,
            init_binary: "hoist-shim".to_owned(),
            init_commit: Commit {
                id: ENGINE_VERSION.to_owned(),
                expected: String::new(),
            },
            ..Info::default()
        }
    }

    /// What takes room on the disk: of these kinds, or of all when none is named.
    pub(crate) async fn disk_usage(self: &Arc<Self>, kinds: &[String]) -> Result<DataUsage> {
        const KINDS: &[&str] = &["container", "image", "volume", "build-cache"];
        if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            return Err(ApiError::bad_request(format!(
                "unknown object type: {unknown}"
            )));
        }
        let wanted = |kind: &str| kinds.is_empty() || kinds.iter().any(|known| known == kind);
        let mut usage = DataUsage::default();
        if wanted("image") {
            (usage.images, usage.layers_size) = self.image_usage()?;
        }
        if wanted("container") {
            let all = ListContainers {
                all: true,
                size: true,
                ..ListContainers::default()
            };
            usage.containers = self.list(&all).await?;
        }
        if wanted("volume") {
            usage.volumes = self.volumes_with_usage().await?;
        }
        if wanted("build-cache") {
            usage.build_cache = self.build_usage().await?;
        }
        Ok(usage)
    }

    /// Our own facts.
    pub(crate) fn status(&self) -> EngineStatus {
        let containers = self.containers.all();
        let running = containers
            .iter()
            .filter(|container| container.is_running())
            .count();
        let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
        EngineStatus {
            pid: i64::from(std::process::id()),
            version: ENGINE_VERSION.to_owned(),
            root: path(&self.config.root),
            state: path(&self.config.state),
            socket: path(&self.config.socket),
            started_at: self.started_at.to_string(),
            containers: i64::try_from(containers.len()).unwrap_or(0),
            running: i64::try_from(running).unwrap_or(0),
            idle_exit: None,
        }
    }
}

fn entries(directory: &str) -> i64 {
    fs::read_dir(directory).map_or(0, |entries| i64::try_from(entries.count()).unwrap_or(0))
}

fn switched_on(file: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.trim() != "0")
}

fn proxy(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    std::env::var(name)
        .or_else(|_| std::env::var(lower))
        .unwrap_or_default()
}

fn registries() -> RegistryConfig {
    let official = IndexInfo {
        name: "docker.io".to_owned(),
        secure: true,
        official: true,
        ..IndexInfo::default()
    };
    RegistryConfig {
        insecure_registry_cidrs: ["::1/128", "127.0.0.0/8"].map(str::to_owned).to_vec(),
        index_configs: BTreeMap::from([("docker.io".to_owned(), official)]),
        mirrors: Vec::new(),
    }
}

/// Name and version of the distribution (os-release(5)).
fn operating_system() -> (String, String) {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
            .unwrap_or_default()
    };
    (value("PRETTY_NAME"), value("VERSION_ID"))
}

fn total_memory() -> i64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<i64>().ok());
    kibibytes.unwrap_or(0) * 1024
}
