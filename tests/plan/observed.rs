//! What exists before a case's command, from its `observed.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use hoist_api::container::ContainerCreate;
use hoist_compose::desire::{Desired, DesiredService, InstanceFacts, desire, labels};
use hoist_compose::model::Project;
use hoist_compose::observe::{
    ContainerState, HealthStatus, Observed, ObservedContainer, ObservedImage, ObservedNetwork,
    ObservedVolume,
};

/// The file. Without one, nothing exists but the images.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Case {
    containers: Vec<Container>,
    /// Names of networks that match the file; `"name!"` does not, and `"name?"` is not ours.
    networks: Vec<String>,
    /// Names of volumes, in the same way.
    volumes: Vec<String>,
    /// Images; all that the file needs when left out.
    images: Option<Vec<String>>,
}

/// A container. What is left out is as the file wants it, and it runs.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Container {
    service: String,
    number: Option<u32>,
    name: Option<String>,
    state: Option<ContainerState>,
    exit_code: Option<i64>,
    health: Option<HealthStatus>,
    /// Made from another configuration.
    outdated: bool,
    /// Made from another image.
    other_image: bool,
    networks: Option<Vec<String>>,
    /// The container whose network it is in.
    network_of: Option<String>,
    volumes: BTreeMap<String, String>,
    host_ports: Vec<u16>,
    /// Made by `run`.
    one_off: bool,
    /// Made to replace the container of this name.
    replaces: Option<String>,
}

/// Reads the file of a case.
pub(crate) fn read(case: &Path, project: &Project) -> Observed {
    let text =
        std::fs::read_to_string(case.join("observed.json")).unwrap_or_else(|_| "{}".to_owned());
    let file: Case = serde_json::from_str(&text).expect("observed.json is readable");
    let services = project.services.keys().map(String::as_str);
    let desired = desire(project, services);
    let needed = || {
        project
            .services
            .values()
            .filter_map(|service| service.image.clone())
            .collect::<Vec<_>>()
    };
    let images = file.images.clone().unwrap_or_else(needed);
    let image = |name: String| ObservedImage {
        id: image_id(&name),
        references: vec![name],
    };
    let mut observed = Observed {
        containers: Vec::new(),
        networks: file
            .networks
            .iter()
            .map(|text| network(text, &desired, project))
            .collect(),
        volumes: file
            .volumes
            .iter()
            .map(|text| volume(text, &desired, project))
            .collect(),
        images: images.into_iter().map(image).collect(),
    };
    for entry in &file.containers {
        let service = desired
            .as_ref()
            .ok()
            .and_then(|desired| desired.services.get(&entry.service));
        observed.containers.push(container(entry, service, project));
    }
    observed
}

fn image_id(name: &str) -> String {
    format!("sha256:{}", id_of(name))
}

/// 64 hexadecimal digits that depend only on the text, and tell it to a reader.
fn id_of(text: &str) -> String {
    let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits:0<64}").chars().take(64).collect()
}

type LoweredProject = Result<Desired, hoist_compose::desire::DesireError>;

/// The bare name, and whether it matches the file and is ours.
fn marked(text: &str) -> (&str, bool, bool) {
    let name = text.trim_end_matches(['!', '?']);
    (name, !text.ends_with('!'), !text.ends_with('?'))
}

fn network(text: &str, desired: &LoweredProject, project: &Project) -> ObservedNetwork {
    let (name, matches, ours) = marked(text);
    let found = desired.as_ref().ok().and_then(|desired| {
        desired
            .networks
            .values()
            .find(|network| network.name == name)
    });
    let mut labels = BTreeMap::new();
    if ours {
        labels = found
            .map(|network| network.request.labels.clone())
            .unwrap_or_default();
        labels.insert(labels::PROJECT.to_owned(), project.name.clone());
    }
    if !matches {
        labels.insert(labels::CONFIG_HASH.to_owned(), "another".to_owned());
    }
    ObservedNetwork {
        id: id_of(name),
        name: name.to_owned(),
        labels,
    }
}

fn volume(text: &str, desired: &LoweredProject, project: &Project) -> ObservedVolume {
    let (name, matches, ours) = marked(text);
    let found = desired
        .as_ref()
        .ok()
        .and_then(|desired| desired.volumes.values().find(|volume| volume.name == name));
    let mut labels = BTreeMap::new();
    if ours {
        labels = found
            .map(|volume| volume.request.labels.clone())
            .unwrap_or_default();
        labels.insert(labels::PROJECT.to_owned(), project.name.clone());
    }
    if !matches {
        labels.insert(labels::CONFIG_HASH.to_owned(), "another".to_owned());
    }
    ObservedVolume {
        name: name.to_owned(),
        labels,
    }
}

fn container(
    entry: &Container,
    service: Option<&DesiredService>,
    project: &Project,
) -> ObservedContainer {
    let number = entry.number.unwrap_or(1);
    let default_name = || match service {
        Some(service) => service.container_name(&project.name, number),
        None => format!("{}-{}-{number}", project.name, entry.service),
    };
    let name = entry.name.clone().unwrap_or_else(default_name);
    let request = service.map(|service| request(entry, service, project));
    let networks = entry.networks.clone().unwrap_or_else(|| {
        let endpoints = request
            .iter()
            .flat_map(|request| request.networking_config.endpoints_config.keys());
        endpoints.cloned().collect()
    });
    ObservedContainer {
        id: id_of(&name),
        name,
        image: service
            .map(|service| service.image.clone())
            .unwrap_or_default(),
        state: entry.state.unwrap_or(ContainerState::Running),
        exit_code: entry.exit_code,
        health: entry.health,
        labels: labels_of(entry, request.as_ref(), project),
        networks: networks
            .into_iter()
            .map(|name| (name.clone(), id_of(&name)))
            .collect(),
        network_of: entry.network_of.clone(),
        volumes: volumes_of(entry, request.as_ref()),
        host_ports: entry
            .host_ports
            .iter()
            .map(|port| (*port, "tcp".to_owned()))
            .collect(),
        created: 0,
    }
}

/// The request that makes the container as the file wants it.
fn request(entry: &Container, service: &DesiredService, project: &Project) -> ContainerCreate {
    let shared = service.shared.iter();
    let shared: Vec<String> = shared
        .map(|shared| format!("{}-{}-1", project.name, shared.service))
        .collect();
    let facts = InstanceFacts {
        number: entry.number.unwrap_or(1),
        image_id: &image_id(&service.image),
        shared: &shared,
        links: &[],
        inherited: &[],
        replaces: entry.replaces.as_deref(),
    };
    service.instance(&project.name, &facts)
}

fn labels_of(
    entry: &Container,
    request: Option<&ContainerCreate>,
    project: &Project,
) -> BTreeMap<String, String> {
    let mut labels = request
        .map(|request| request.config.labels.clone())
        .unwrap_or_default();
    let mut set = |key: &str, value: &str| labels.insert(key.to_owned(), value.to_owned());
    set(labels::PROJECT, &project.name);
    set(labels::SERVICE, &entry.service);
    set(
        labels::CONTAINER_NUMBER,
        &entry.number.unwrap_or(1).to_string(),
    );
    set(
        labels::ONE_OFF,
        if entry.one_off { "True" } else { "False" },
    );
    if entry.outdated {
        set(labels::CONFIG_HASH, "another");
    }
    if entry.other_image {
        set(labels::IMAGE, "sha256:another");
    }
    labels
}

/// Those of the case, else the named ones that the file wants.
fn volumes_of(entry: &Container, request: Option<&ContainerCreate>) -> BTreeMap<String, String> {
    if !entry.volumes.is_empty() {
        return entry.volumes.clone();
    }
    let binds = request
        .iter()
        .flat_map(|request| &request.host_config.binds);
    let parts = binds.filter_map(|bind| bind.split_once(':'));
    parts
        .filter(|(source, _)| !source.starts_with('/'))
        .map(|(source, rest)| {
            let target = rest.split(':').next().unwrap_or_default();
            (target.to_owned(), source.to_owned())
        })
        .collect()
}
