//! From a project to what should exist at the engine: networks, volumes, and a template of each service's containers.
//!
//! Pure: the same project always gives the same requests. Names, labels and defaults are Docker Compose's, so
//! that either tool sees the other's projects. Nothing here looks at what exists already; ids, image ids and
//! names of other containers are filled in by the planner through [`DesiredService::instance`].

mod build;
mod container;
mod files;
mod hash;
mod host;
pub mod labels;
mod mounts;
mod networks;

use indexmap::IndexMap;

use hoist_api::container::ContainerCreate;
use hoist_api::network::NetworkCreate;
use hoist_api::volume::VolumeCreate;

use crate::graph::Reason;
use crate::model::{Project, Service};

pub use build::{build_request, built_before, cache as cache_location};
pub use files::InjectedFile;
pub(crate) use networks::endpoint_of;

/// Everything that should exist for a project.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The project's name.
    pub project: String,
    /// Networks by key.
    pub networks: IndexMap<String, DesiredNetwork>,
    /// Named volumes by key.
    pub volumes: IndexMap<String, DesiredVolume>,
    /// Services by name.
    pub services: IndexMap<String, DesiredService>,
}

/// A network of the project.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredNetwork {
    /// Its name at the engine.
    pub name: String,
    /// It must exist already and is not ours to create or remove.
    pub external: bool,
    /// Hash of what the file says about it.
    pub config_hash: String,
    /// How to create it.
    pub request: NetworkCreate,
}

/// A named volume of the project.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredVolume {
    /// Its name at the engine.
    pub name: String,
    /// It must exist already and is not ours to create or remove.
    pub external: bool,
    /// Hash of what the file says about it.
    pub config_hash: String,
    /// How to create it.
    pub request: VolumeCreate,
}

/// A service: what all its containers have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredService {
    /// Its name in the file.
    pub name: String,
    /// How many containers it should have.
    pub replicas: u32,
    /// `container_name`.
    pub container_name: Option<String>,
    /// What stands between the parts of its containers' names: `-`, or `_` as Docker Compose 1 had it.
    pub separator: char,
    /// The image's reference.
    pub image: String,
    /// Where a missing image would come from.
    pub image_source: ImageSource,
    /// Hash of what the file says about it: what changes its containers, and nothing else.
    pub config_hash: String,
    /// Contents to write into each created container.
    pub files: Vec<InjectedFile>,
    /// Keys of the networks it joins.
    pub networks: Vec<String>,
    /// Keys of the named volumes it mounts.
    pub volumes: Vec<String>,
    /// Services whose containers its own refer to, and `volumes_from` of any kind, in order.
    pub shared: Vec<Shared>,
    /// `links` within the project: service and alias.
    pub links: Vec<(String, String)>,
    /// Seconds between stop signal and SIGKILL, when the file says so.
    pub stop_timeout: Option<i64>,
    template: ContainerCreate,
}

/// A reference from a service's containers to the container of another service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// What is shared.
    pub reason: Reason,
    /// With which service.
    pub service: String,
    /// `ro` or `rw`, of `volumes_from`.
    pub mode: Option<String>,
}

/// Where a missing image would come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageSource {
    /// A registry: pulled when missing.
    Registry,
    /// Nowhere: `pull_policy: never`.
    Local,
    /// The service's `build` section.
    Build,
}

/// Why a project cannot be lowered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DesireError {
    /// The variable of a secret or config is not set.
    #[error("environment variable {variable:?} required by {kind} {name:?} is not set")]
    VariableUnset {
        /// The variable.
        variable: String,
        /// `secret` or `config`.
        kind: &'static str,
        /// Its name at the engine.
        name: String,
    },
    /// A service uses a secret or config that the files do not declare.
    #[error("service {service:?} refers to undefined {kind} {name:?}")]
    Undefined {
        /// The service.
        service: String,
        /// `secret`, `config`, `network` or `volume`.
        kind: &'static str,
        /// The key.
        name: String,
    },
    /// A health check looks more often at the beginning, but does not say how long that is.
    #[error(
        "service {0:?}: healthcheck.start_interval requires healthcheck.start_period to be set"
    )]
    StartInterval(String),
    /// Something this version does not do.
    #[error("service {service:?}: {what} is not supported")]
    Unsupported {
        /// The service.
        service: String,
        /// What.
        what: String,
    },
}

/// Everything about the container that the file cannot know.
#[derive(Debug, Clone, Copy)]
pub struct InstanceFacts<'a> {
    /// The replica's number, from 1.
    pub number: u32,
    /// The id of the image, for the label that notices a changed image.
    pub image_id: &'a str,
    /// Names of the containers that [`DesiredService::shared`] refers to, in the same order.
    pub shared: &'a [String],
    /// `container:alias` links.
    pub links: &'a [String],
    /// Anonymous volumes to take over from the container it replaces: name and path.
    pub inherited: &'a [(String, String)],
    /// Name of the container it replaces.
    pub replaces: Option<&'a str>,
}

/// Lowers the services named in `selected`, with the networks and volumes they use.
///
/// # Errors
/// [`DesireError`] for the first service that cannot be lowered.
pub fn desire<'a, I>(project: &Project, selected: I) -> Result<Desired, DesireError>
where
    I: IntoIterator<Item = &'a str>,
{
    let mut services = IndexMap::new();
    for name in selected {
        if let Some(service) = project.services.get(name) {
            services.insert(name.to_owned(), lower_service(project, name, service)?);
        }
    }
    let networks = project.networks.iter();
    let networks = networks.filter(|(key, _)| {
        is_wanted(
            key,
            &services,
            |service| &service.networks,
            project.services.values().map(networks::in_priority_order),
        )
    });
    let networks = networks
        .map(|(key, network)| (key.clone(), networks::lower(&project.name, key, network)))
        .collect();
    let volumes = project.volumes.iter();
    let volumes = volumes.filter(|(key, _)| {
        is_wanted(
            key,
            &services,
            |service| &service.volumes,
            project.services.values().map(mounts::volume_keys),
        )
    });
    let volumes = volumes
        .map(|(key, volume)| {
            (
                key.clone(),
                mounts::lower_volume(&project.name, key, volume),
            )
        })
        .collect();
    Ok(Desired {
        project: project.name.clone(),
        networks,
        volumes,
        services,
    })
}

/// Whether a network or volume is used by a lowered service, or by none at all: then the loader has kept it because
/// the user wants it (`--all-resources`).
fn is_wanted<F, U>(
    key: &String,
    services: &IndexMap<String, DesiredService>,
    used: F,
    mut all: U,
) -> bool
where
    F: Fn(&DesiredService) -> &Vec<String>,
    U: Iterator<Item = Vec<String>>,
{
    services.values().any(|service| used(service).contains(key))
        || !all.any(|keys| keys.contains(key))
}

/// The name of a service's image: `image`, else the name its build is tagged with.
pub fn image_name(project: &str, service: &str, image: Option<&str>) -> String {
    image.map_or_else(|| format!("{project}-{service}"), str::to_owned)
}

fn lower_service(
    project: &Project,
    name: &str,
    service: &Service,
) -> Result<DesiredService, DesireError> {
    if service.provider.is_some() {
        return Err(DesireError::Unsupported {
            service: name.to_owned(),
            what: "a provider".to_owned(),
        });
    }
    let check = service
        .healthcheck
        .as_deref()
        .filter(|check| !check.disable);
    if check.is_some_and(|check| check.start_interval.is_some() && check.start_period.is_none()) {
        return Err(DesireError::StartInterval(name.to_owned()));
    }
    let image = image_name(&project.name, name, service.image.as_deref());
    let image_source = match service.pull_policy.as_deref() {
        Some("never") => ImageSource::Local,
        _ if service.build.is_some() => ImageSource::Build,
        _ => ImageSource::Registry,
    };
    let files = files::contents(project, name, service)?;
    let config_hash = hash::of_service(service, &files);
    let template = ContainerCreate {
        config: container::lower(
            project,
            &image,
            service,
            &labels::of_service(project, name, service, &config_hash),
        ),
        host_config: host::lower(project, name, service)?,
        networking_config: networks::attachments(project, name, service)?,
    };
    Ok(DesiredService {
        name: name.to_owned(),
        replicas: service.replicas(),
        container_name: service.container_name.clone(),
        separator: '-',
        image,
        image_source,
        config_hash,
        files,
        networks: networks::in_priority_order(service),
        volumes: mounts::volume_keys(service),
        shared: container::shared(service),
        links: container::links(service),
        stop_timeout: template.config.stop_timeout,
        template,
    })
}

impl DesiredService {
    /// The name of the container with this number.
    pub fn container_name(&self, project: &str, number: u32) -> String {
        self.container_name
            .clone()
            .unwrap_or_else(|| format!("{project}{1}{0}{1}{number}", self.name, self.separator))
    }

    /// Ports on the host it asks for: `(port, protocol)`; ranges and free ports are left out.
    pub fn fixed_host_ports(&self) -> Vec<(u16, String)> {
        let bindings = self.template.host_config.port_bindings.iter();
        let ports = bindings.flat_map(|(port, bindings)| {
            let protocol = port.split_once('/').map_or("tcp", |(_, protocol)| protocol);
            bindings.iter().flatten().filter_map(move |binding| {
                Some((binding.host_port.parse().ok()?, protocol.to_owned()))
            })
        });
        ports.filter(|(port, _)| *port != 0).collect()
    }

    /// Static addresses its containers have.
    pub fn static_addresses(&self) -> Vec<String> {
        let endpoints = self.template.networking_config.endpoints_config.values();
        let asked = endpoints.filter_map(|endpoint| endpoint.ipam_config.as_ref());
        asked
            .flat_map(|asked| [asked.ipv4_address.clone(), asked.ipv6_address.clone()])
            .filter(|address| !address.is_empty())
            .collect()
    }

    /// Whether the file gives it a health check of its own.
    pub fn has_healthcheck(&self) -> bool {
        self.template
            .config
            .healthcheck
            .as_ref()
            .is_some_and(|check| check.test.first().is_some_and(|word| word != "NONE"))
    }

    /// Its endpoint on the network with this engine name, for the container with this name.
    pub fn endpoint(
        &self,
        network: &str,
        container: &str,
    ) -> Option<hoist_api::network::EndpointSettings> {
        let mut endpoint = self
            .template
            .networking_config
            .endpoints_config
            .get(network)?
            .clone();
        networks::add_container_alias(&mut endpoint, container);
        Some(endpoint)
    }

    /// The request for one container.
    pub fn instance(&self, project: &str, facts: &InstanceFacts<'_>) -> ContainerCreate {
        let mut request = self.template.clone();
        container::set_instance_labels(&mut request.config.labels, facts);
        for (shared, container) in self.shared.iter().zip(facts.shared) {
            host::share(&mut request.host_config, shared, container);
        }
        let name = self.container_name(project, facts.number);
        for endpoint in request.networking_config.endpoints_config.values_mut() {
            networks::add_container_alias(endpoint, &name);
            if !facts.links.is_empty() {
                endpoint
                    .links
                    .get_or_insert_default()
                    .extend(facts.links.iter().cloned());
            }
        }
        if self.is_linked_by_engine() {
            request
                .host_config
                .links
                .extend(facts.links.iter().cloned());
        }
        mounts::inherit(&mut request, facts.inherited);
        request
    }

    /// Whether its links are the engine's business: the default bridge has no name server that could answer them.
    pub(crate) fn is_linked_by_engine(&self) -> bool {
        let mode = self.template.host_config.network_mode.as_str();
        !self.links.is_empty() && matches!(mode, "bridge" | "default")
    }
}

#[cfg(test)]
mod tests;
