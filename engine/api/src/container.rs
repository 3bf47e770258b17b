//! Containers as they are asked for: configuration, creation, lists, waiting.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::host_config::HostConfig;
use crate::inspect::MountPoint;
use crate::network::EndpointSettings;
use crate::wire::{Empty, wire};

wire! {
    /// A health check. Durations are nanoseconds; 0 means the default, as does an empty `test`.
    pub struct HealthConfig {
        /// Empty: inherit; `["NONE"]`: off; `["CMD", args…]`: execute; `["CMD-SHELL", line]`: by the shell.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub test: Vec<String>,
        /// Time between checks (default 30 s).
        #[serde(skip_serializing_if = "is_zero")]
        pub interval: i64,
        /// Time after which a check counts as failed (default 30 s).
        #[serde(skip_serializing_if = "is_zero")]
        pub timeout: i64,
        /// Time during which failures do not count (default 0).
        #[serde(skip_serializing_if = "is_zero")]
        pub start_period: i64,
        /// Time between checks during the start period (default 5 s).
        #[serde(skip_serializing_if = "is_zero")]
        pub start_interval: i64,
        /// Consecutive failures that make it unhealthy (default 3).
        #[serde(skip_serializing_if = "is_zero")]
        pub retries: i64,
    }

    /// The part of a container's description that does not depend on the host. Images carry one too.
    pub struct ContainerConfig {
        /// Host name; empty: the short id.
        pub hostname: String,
        /// NIS domain name.
        pub domainname: String,
        /// `user[:group]`, names or numbers; empty: root.
        pub user: String,
        /// Attach standard input at start.
        pub attach_stdin: bool,
        /// Attach standard output at start.
        pub attach_stdout: bool,
        /// Attach standard error at start.
        pub attach_stderr: bool,
        /// Ports the image offers, as `80/tcp`.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub exposed_ports: BTreeMap<String, Empty>,
        /// Give it a terminal.
        pub tty: bool,
        /// Keep standard input open.
        pub open_stdin: bool,
        /// Close standard input when the first client that attached leaves.
        pub stdin_once: bool,
        /// `NAME=value`; `NAME` alone removes the image's.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub env: Vec<String>,
        /// The command; absent: the image's.
        pub cmd: Option<Vec<String>>,
        /// The health check; absent: the image's.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub healthcheck: Option<HealthConfig>,
        /// The image's reference.
        pub image: String,
        /// Paths that get an anonymous volume.
        pub volumes: Option<BTreeMap<String, Empty>>,
        /// Working directory; empty: the image's, or `/`.
        pub working_dir: String,
        /// The entry point; absent: the image's; `[""]`: none.
        pub entrypoint: Option<Vec<String>>,
        /// No networking at all.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub network_disabled: bool,
        /// MAC address of the first endpoint (deprecated in 1.44).
        #[serde(skip_serializing_if = "String::is_empty")]
        pub mac_address: String,
        /// Build triggers, only of images.
        pub on_build: Option<Vec<String>>,
        /// Labels.
        pub labels: BTreeMap<String, String>,
        /// Signal that asks it to stop; empty: the image's, or `SIGTERM`.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub stop_signal: String,
        /// Seconds between the stop signal and `SIGKILL`; absent: 10.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub stop_timeout: Option<i64>,
        /// Shell of `CMD-SHELL` and of the shell form, only of images.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub shell: Vec<String>,
    }

    /// Which networks a new container joins.
    pub struct NetworkingConfig {
        /// By network name or id.
        pub endpoints_config: BTreeMap<String, EndpointSettings>,
    }

    /// Answer to a creation.
    pub struct ContainerCreated {
        /// The full id.
        pub id: String,
        /// What was accepted but does not work as asked.
        pub warnings: Vec<String>,
    }

    /// Why waiting failed.
    pub struct WaitError {
        /// The reason.
        pub message: String,
    }

    /// Answer to `wait`.
    pub struct WaitResponse {
        /// Exit code of the container.
        pub status_code: i64,
        /// Set when waiting itself failed.
        pub error: Option<WaitError>,
    }

    /// A published or exposed port in lists.
    pub struct PortSummary {
        /// Host address; absent when the port is not published.
        #[serde(rename = "IP", skip_serializing_if = "String::is_empty")]
        pub ip: String,
        /// Port in the container.
        pub private_port: u16,
        /// Port on the host; absent when not published.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub public_port: Option<u16>,
        /// `tcp`, `udp` or `sctp`.
        #[serde(rename = "Type")]
        pub protocol: String,
    }

    /// The part of `HostConfig` that lists carry.
    pub struct SummaryHostConfig {
        /// How it is networked.
        pub network_mode: String,
        /// What was noted at the creation.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub annotations: BTreeMap<String, String>,
    }

    /// The part of `NetworkSettings` that lists carry.
    pub struct SummaryNetworkSettings {
        /// By network name.
        pub networks: BTreeMap<String, EndpointSettings>,
    }

    /// One line of a list of containers.
    pub struct ContainerSummary {
        /// Full id.
        pub id: String,
        /// Names, each with a leading `/`.
        pub names: Vec<String>,
        /// The image as it was asked for.
        pub image: String,
        /// The image's id.
        #[serde(rename = "ImageID")]
        pub image_id: String,
        /// Command line for people.
        pub command: String,
        /// Unix seconds.
        pub created: i64,
        /// Ports.
        pub ports: Vec<PortSummary>,
        /// Bytes of the writable layer, only when asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_rw: Option<i64>,
        /// Bytes of all layers, only when asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_root_fs: Option<i64>,
        /// Labels.
        pub labels: BTreeMap<String, String>,
        /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
        pub state: String,
        /// For people: `Up 3 seconds (healthy)`.
        pub status: String,
        /// How it is networked.
        pub host_config: SummaryHostConfig,
        /// Its endpoints.
        pub network_settings: SummaryNetworkSettings,
        /// Its mounts.
        pub mounts: Vec<MountPoint>,
    }

    /// Answer to an update.
    pub struct ContainerUpdated {
        /// What was accepted but does not work as asked.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub warnings: Vec<String>,
    }

    /// Answer to a commit.
    pub struct ContainerCommitted {
        /// The new image's id.
        pub id: String,
    }

    /// Answer to the removal of all stopped containers.
    pub struct ContainersPruned {
        /// Their ids.
        #[serde(serialize_with = "crate::wire::empty_as_null")]
        pub containers_deleted: Vec<String>,
        /// Bytes freed.
        pub space_reclaimed: i64,
    }

    /// Processes of a container.
    pub struct TopResponse {
        /// Column titles.
        pub titles: Vec<String>,
        /// One row a process.
        pub processes: Vec<Vec<String>>,
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Body of a creation: the configuration's fields at the top, the rest beside them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ContainerCreate {
    /// What does not depend on the host.
    #[serde(flatten)]
    pub config: ContainerConfig,
    /// What does.
    #[serde(
        rename = "HostConfig",
        default,
        deserialize_with = "crate::wire::null_as_default"
    )]
    pub host_config: HostConfig,
    /// The networks it joins.
    #[serde(
        rename = "NetworkingConfig",
        default,
        deserialize_with = "crate::wire::null_as_default"
    )]
    pub networking_config: NetworkingConfig,
}

/// What a list of containers is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListContainers {
    /// Also those that do not run.
    pub all: bool,
    /// Only the newest so many; implies `all`.
    pub limit: Option<usize>,
    /// Compute sizes.
    pub size: bool,
    /// `label`, `name`, `id`, `status`, `network`, `volume`, `ancestor`, `health`, `exited`, `before`, `since`, `publish`, `expose`.
    pub filters: crate::Filters,
}

/// What a removal is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemoveContainer {
    /// Kill it when it runs.
    pub force: bool,
    /// Remove its anonymous volumes.
    pub volumes: bool,
}

/// Which part of a container becomes a new image, and how the image is described.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitContainer {
    /// `repository[:tag]` of the image; empty: none.
    pub reference: String,
    /// Message.
    pub comment: String,
    /// Author.
    pub author: String,
    /// Freeze the container meanwhile.
    pub pause: bool,
    /// Dockerfile instructions for the configuration: `CMD ["x"]`, `ENV a=b`.
    pub changes: Vec<String>,
}

/// When waiting ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitCondition {
    /// As soon as it does not run: at once when it already does not.
    #[default]
    NotRunning,
    /// At its next exit.
    NextExit,
    /// When it is removed.
    Removed,
}

impl WaitCondition {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotRunning => "not-running",
            Self::NextExit => "next-exit",
            Self::Removed => "removed",
        }
    }

    /// Reads the word on the wire; the empty word is the default.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "not-running" => Some(Self::NotRunning),
            "next-exit" => Some(Self::NextExit),
            "removed" => Some(Self::Removed),
            _ => None,
        }
    }
}

/// What a reading of logs is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogsOptions {
    /// Go on with what is written from now on, until the container stops.
    pub follow: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// RFC 3339 time with nanoseconds before each line.
    pub timestamps: bool,
    /// Only the last so many lines; absent: all.
    pub tail: Option<u64>,
    /// Only from this time on: Unix seconds, perhaps with a fraction.
    pub since: Option<String>,
    /// Only before this time, in the same form.
    pub until: Option<String>,
    /// Before each line, what the log options choose of labels and variables.
    pub details: bool,
}

impl Default for LogsOptions {
    fn default() -> Self {
        Self {
            follow: false,
            stdout: true,
            stderr: true,
            timestamps: false,
            tail: None,
            since: None,
            until: None,
            details: false,
        }
    }
}

/// What an attachment is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachOptions {
    /// Send standard input.
    pub stdin: bool,
    /// Receive standard output.
    pub stdout: bool,
    /// Receive standard error.
    pub stderr: bool,
    /// First what was written already.
    pub logs: bool,
    /// Then what is written from now on.
    pub stream: bool,
}

impl Default for AttachOptions {
    fn default() -> Self {
        Self {
            stdin: false,
            stdout: true,
            stderr: true,
            logs: false,
            stream: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the docker CLI sends it: nulls everywhere, `-1` swappiness, newer fields.
    #[test]
    fn what_go_clients_send_is_read() {
        let body = r#"{"Hostname":"","Env":null,"Cmd":["sh"],"Image":"busybox","Volumes":{"/v":{}},"Entrypoint":["x"],"OnBuild":null,
            "Labels":null,"Newer":1,"ExposedPorts":{"80/tcp":{}},
            "HostConfig":{"Binds":null,"LogConfig":{"Type":"","Config":null},"NetworkMode":"default","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]},
              "RestartPolicy":{"Name":"no","MaximumRetryCount":0},"ConsoleSize":[0,0],"MemorySwappiness":-1,"OomKillDisable":false,"PidsLimit":0,"Ulimits":null,"Mounts":null},
            "NetworkingConfig":{"EndpointsConfig":{"default":{"IPAMConfig":null,"Links":null,"Aliases":null,"DriverOpts":null,"GwPriority":0}}}}"#;
        let create: ContainerCreate = serde_json::from_str(body).unwrap();
        assert_eq!(create.config.cmd, Some(vec!["sh".to_owned()]));
        assert_eq!(create.config.entrypoint, Some(vec!["x".to_owned()]));
        assert_eq!(create.host_config.memory_swappiness, Some(-1));
        assert_eq!(
            create.host_config.port_bindings["80/tcp"].as_ref().unwrap()[0].host_port,
            "8080"
        );
        assert!(
            create
                .networking_config
                .endpoints_config
                .contains_key("default")
        );
        let again: ContainerCreate =
            serde_json::from_str(&serde_json::to_string(&create).unwrap()).unwrap();
        assert_eq!(again, create);
    }

    #[test]
    fn an_absent_command_is_not_an_empty_one() {
        let create: ContainerCreate =
            serde_json::from_str(r#"{"Image":"a","Cmd":null,"HostConfig":null}"#).unwrap();
        assert_eq!((create.config.cmd, create.config.entrypoint), (None, None));
        let create: ContainerCreate = serde_json::from_str(r#"{"Image":"a","Cmd":[]}"#).unwrap();
        assert_eq!(create.config.cmd, Some(vec![]));
    }
}
