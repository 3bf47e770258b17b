//! One snapshot of what exists at the engine, as planning needs it.
//!
//! Four lists, asked for at once, whatever the size of the project. The engine's wire types are converted here,
//! at the edge: planners see what a container *is*, not how a list words it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use hoist_api::container::{ContainerSummary, ListContainers};
use hoist_api::image::ImageSummary;
use hoist_api::network::NetworkInspect;
use hoist_api::volume::Volume;
use hoist_api::{Engine, Filters, ImageRef};

use crate::desire::labels;

/// What exists at the engine when planning starts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observed {
    /// The project's containers.
    pub containers: Vec<ObservedContainer>,
    /// All networks.
    pub networks: Vec<ObservedNetwork>,
    /// All volumes.
    pub volumes: Vec<ObservedVolume>,
    /// All images.
    pub images: Vec<ObservedImage>,
}

/// A container of the project.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObservedContainer {
    /// Full id.
    pub id: String,
    /// Name, without the leading slash.
    pub name: String,
    /// The image as it was asked for.
    pub image: String,
    /// What it is doing.
    pub state: ContainerState,
    /// Exit code, when it has ended.
    pub exit_code: Option<i64>,
    /// Health, when it runs and has a check.
    pub health: Option<HealthStatus>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Ids of its networks by name.
    pub networks: BTreeMap<String, String>,
    /// The container whose network it is in, as it was named when this one was made.
    pub network_of: Option<String>,
    /// Its volumes: path in the container and volume name.
    pub volumes: BTreeMap<String, String>,
    /// Published ports of the host: port and protocol.
    pub host_ports: Vec<(u16, String)>,
    /// Creation time, Unix seconds.
    pub created: i64,
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    /// Made, never started.
    #[default]
    Created,
    /// Runs.
    Running,
    /// Frozen.
    Paused,
    /// Ended; the engine is about to start it again.
    Restarting,
    /// Being removed.
    Removing,
    /// Ended.
    Exited,
    /// Half removed.
    Dead,
}

impl ContainerState {
    fn parse(text: &str) -> Self {
        match text {
            "running" => Self::Running,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            "removing" => Self::Removing,
            "exited" => Self::Exited,
            "dead" => Self::Dead,
            _ => Self::Created,
        }
    }

    /// The engine's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Whether it has a process, so that it must be stopped before it is removed.
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }
}

/// What a container's health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Not known yet.
    Starting,
    /// Well.
    Healthy,
    /// Not well.
    Unhealthy,
}

/// A network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObservedNetwork {
    /// Full id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObservedVolume {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// An image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObservedImage {
    /// `sha256:…`.
    pub id: String,
    /// Its references, by tag and by digest.
    pub references: Vec<String>,
}

impl ObservedContainer {
    /// The value of a label; empty when it has none.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    /// The service it belongs to.
    pub fn service(&self) -> &str {
        self.label(labels::SERVICE)
    }

    /// Its number within the service; 0 when the label is missing.
    pub fn number(&self) -> u32 {
        self.label(labels::CONTAINER_NUMBER).parse().unwrap_or(0)
    }

    /// Whether it was made by `run`.
    pub fn is_one_off(&self) -> bool {
        self.label(labels::ONE_OFF).eq_ignore_ascii_case("true")
    }

    /// Its state in a few words: `running`, `exited (1)`.
    pub fn state_text(&self) -> String {
        match self.exit_code {
            Some(code) if self.state == ContainerState::Exited => format!("exited ({code})"),
            _ => self.state.as_str().to_owned(),
        }
    }

    /// Its anonymous volumes: name and path. The engine names them with 64 hexadecimal digits.
    pub fn anonymous_volumes(&self) -> Vec<(String, String)> {
        let is_anonymous =
            |name: &str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let volumes = self.volumes.iter().filter(|(_, name)| is_anonymous(name));
        volumes
            .map(|(path, name)| (name.clone(), path.clone()))
            .collect()
    }
}

impl Observed {
    /// The containers of one service, without those of `run`.
    pub fn of_service<'a>(
        &'a self,
        service: &'a str,
    ) -> impl Iterator<Item = &'a ObservedContainer> {
        self.containers
            .iter()
            .filter(move |container| container.service() == service && !container.is_one_off())
    }

    /// The network with this name.
    pub fn network(&self, name: &str) -> Option<&ObservedNetwork> {
        self.networks.iter().find(|network| network.name == name)
    }

    /// The volume with this name.
    pub fn volume(&self, name: &str) -> Option<&ObservedVolume> {
        self.volumes.iter().find(|volume| volume.name == name)
    }

    /// The id of the image that a reference (or an id, or the beginning of one) stands for.
    pub fn image_id(&self, reference: &str) -> Option<&str> {
        let wanted = reference
            .parse::<ImageRef>()
            .ok()
            .map(|wanted| wanted.full());
        let is_wanted = |known: &String| {
            wanted.is_some() && known.parse::<ImageRef>().ok().map(|known| known.full()) == wanted
        };
        let by_name = self
            .images
            .iter()
            .find(|image| image.references.iter().any(is_wanted));
        let found = by_name.or_else(|| {
            let digits = reference.strip_prefix("sha256:").unwrap_or(reference);
            let is_id = digits.len() >= 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let mut matching = self.images.iter().filter(|image| {
                is_id && image.id.trim_start_matches("sha256:").starts_with(digits)
            });
            matching.next().filter(|_| matching.next().is_none())
        });
        found.map(|image| image.id.as_str())
    }
}

/// Asks the engine for a snapshot of a project.
///
/// # Errors
/// The first call that failed.
pub async fn observe<E: Engine>(engine: &E, project: &str) -> hoist_api::Result<Observed> {
    let mine = ListContainers {
        all: true,
        filters: Filters::new().label(format!("{}={project}", labels::PROJECT)),
        ..ListContainers::default()
    };
    let everything = Filters::new();
    let (containers, networks, volumes, images) = tokio::try_join!(
        engine.containers(&mine),
        engine.networks(&everything),
        engine.volumes(&everything),
        engine.images(&everything),
    )?;
    let mut containers: Vec<ObservedContainer> = containers
        .into_iter()
        .map(ObservedContainer::from)
        .collect();
    containers.sort_by(|left, right| {
        (left.service(), left.number(), &left.name).cmp(&(
            right.service(),
            right.number(),
            &right.name,
        ))
    });
    Ok(Observed {
        containers,
        networks: networks.into_iter().map(ObservedNetwork::from).collect(),
        volumes: volumes
            .volumes
            .into_iter()
            .map(ObservedVolume::from)
            .collect(),
        images: images.into_iter().map(ObservedImage::from).collect(),
    })
}

impl From<ContainerSummary> for ObservedContainer {
    fn from(summary: ContainerSummary) -> Self {
        let name = summary
            .names
            .first()
            .map(|name| name.trim_start_matches('/').to_owned())
            .unwrap_or_default();
        let networks = summary
            .network_settings
            .networks
            .into_iter()
            .map(|(name, endpoint)| (name, endpoint.network_id));
        let network_mode = &summary.host_config.network_mode;
        let network_of = network_mode.strip_prefix("container:");
        let volumes = summary
            .mounts
            .into_iter()
            .filter(|mount| mount.kind == "volume");
        let mut host_ports: Vec<(u16, String)> = summary
            .ports
            .into_iter()
            .filter_map(|port| Some((port.public_port?, port.protocol)))
            .collect();
        host_ports.sort();
        host_ports.dedup();
        ObservedContainer {
            id: summary.id,
            name,
            image: summary.image,
            state: ContainerState::parse(&summary.state),
            exit_code: exit_code(&summary.status),
            health: health(&summary.status),
            labels: summary.labels,
            networks: networks.collect(),
            network_of: network_of.map(str::to_owned),
            volumes: volumes
                .map(|mount| (mount.destination, mount.name))
                .collect(),
            host_ports,
            created: summary.created,
        }
    }
}

/// `Exited (137) 2 minutes ago`.
fn exit_code(status: &str) -> Option<i64> {
    status
        .strip_prefix("Exited (")?
        .split_once(')')?
        .0
        .parse()
        .ok()
}

/// `Up 3 seconds (healthy)`, `Up 1 second (health: starting)`.
fn health(status: &str) -> Option<HealthStatus> {
    let (_, word) = status.strip_suffix(')')?.rsplit_once('(')?;
    match word {
        "healthy" => Some(HealthStatus::Healthy),
        "unhealthy" => Some(HealthStatus::Unhealthy),
        "health: starting" => Some(HealthStatus::Starting),
        _ => None,
    }
}

impl From<NetworkInspect> for ObservedNetwork {
    fn from(network: NetworkInspect) -> Self {
        ObservedNetwork {
            id: network.id,
            name: network.name,
            labels: network.labels,
        }
    }
}

impl From<Volume> for ObservedVolume {
    fn from(volume: Volume) -> Self {
        ObservedVolume {
            name: volume.name,
            labels: volume.labels,
        }
    }
}

impl From<ImageSummary> for ObservedImage {
    fn from(image: ImageSummary) -> Self {
        let mut references = image.repo_tags;
        references.extend(image.repo_digests);
        ObservedImage {
            id: image.id,
            references,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_texts_carry_exit_codes_and_health() {
        assert_eq!(exit_code("Exited (137) 2 minutes ago"), Some(137));
        assert_eq!(exit_code("Up 2 minutes"), None);
        assert_eq!(
            health("Up 3 seconds (healthy)"),
            Some(HealthStatus::Healthy)
        );
        assert_eq!(
            health("Up 3 seconds (health: starting)"),
            Some(HealthStatus::Starting)
        );
        assert_eq!(health("Up 3 seconds (Paused)"), None);
        assert_eq!(health("Exited (1) 2 minutes ago"), None);
    }

    #[test]
    fn an_image_is_found_by_any_of_its_names() {
        let image = |id: &str, name: &str| ObservedImage {
            id: format!("sha256:{id}"),
            references: vec![name.to_owned()],
        };
        let observed = Observed {
            images: vec![
                image("abcd12", "nginx:latest"),
                image("abff34", "r.example/x:1"),
            ],
            ..Observed::default()
        };
        for (reference, expected) in [
            ("nginx", Some("sha256:abcd12")),
            ("docker.io/library/nginx:latest", Some("sha256:abcd12")),
            ("r.example/x:1", Some("sha256:abff34")),
            ("r.example/x", None),
            ("sha256:abcd", Some("sha256:abcd12")),
            ("abff", Some("sha256:abff34")),
            ("ab", None),
        ] {
            assert_eq!(observed.image_id(reference), expected, "{reference}");
        }
    }
}
