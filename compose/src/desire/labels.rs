//! The labels by which Docker Compose and we find a project's objects.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::model::{DependencyCondition, Project, Service};

/// The project an object belongs to.
pub const PROJECT: &str = "com.docker.compose.project";
/// The service a container belongs to.
pub const SERVICE: &str = "com.docker.compose.service";
/// Hash of the configuration an object was made from.
pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// A container's number within its service.
pub const CONTAINER_NUMBER: &str = "com.docker.compose.container-number";
/// `True` for containers of `run`.
pub const ONE_OFF: &str = "com.docker.compose.oneoff";
/// What tells containers of `run` from each other.
pub const SLUG: &str = "com.docker.compose.slug";
/// `service:condition:restart`, separated by commas.
pub const DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// Id of the image a container was made from.
pub const IMAGE: &str = "com.docker.compose.image";
/// The project directory.
pub const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
/// The Compose files, separated by commas.
pub const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
/// The `--env-file` files, separated by commas.
pub const ENVIRONMENT_FILE: &str = "com.docker.compose.project.environment_file";
/// Version of the tool.
pub const VERSION: &str = "com.docker.compose.version";
/// Name of the container this one replaces.
pub const REPLACE: &str = "com.docker.compose.replace";
/// A network's key.
pub const NETWORK: &str = "com.docker.compose.network";
/// A volume's key.
pub const VOLUME: &str = "com.docker.compose.volume";

/// The version we put into [`VERSION`].
pub(crate) const OUR_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The labels that all containers of a service share: the user's, and ours on top.
pub(crate) fn of_service(
    project: &Project,
    name: &str,
    service: &Service,
    config_hash: &str,
) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = service
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let depends_on = service.depends_on.iter().map(|(dependency, how)| {
        let condition = match how.condition {
            DependencyCondition::Started => "service_started",
            DependencyCondition::Healthy => "service_healthy",
            DependencyCondition::CompletedSuccessfully => "service_completed_successfully",
        };
        format!("{dependency}:{condition}:{}", how.restart)
    });
    let ours = [
        (PROJECT, project.name.clone()),
        (SERVICE, name.to_owned()),
        (VERSION, OUR_VERSION.to_owned()),
        (ONE_OFF, "False".to_owned()),
        (CONFIG_HASH, config_hash.to_owned()),
        (
            WORKING_DIR,
            project.working_dir.to_string_lossy().into_owned(),
        ),
        (CONFIG_FILES, join(&project.compose_files)),
        (DEPENDS_ON, depends_on.collect::<Vec<_>>().join(",")),
    ];
    labels.extend(ours.map(|(key, value)| (key.to_owned(), value)));
    if !project.env_files.is_empty() {
        labels.insert(ENVIRONMENT_FILE.to_owned(), join(&project.env_files));
    }
    labels
}

fn join(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    paths.join(",")
}

/// The user's labels with ours on top, for a network or volume.
pub(crate) fn of_resource<'a, I>(user: I, ours: [(&str, &str); 4]) -> BTreeMap<String, String>
where
    I: IntoIterator<Item = (&'a String, &'a String)>,
{
    let user = user
        .into_iter()
        .map(|(key, value)| (key.clone(), value.clone()));
    user.chain(ours.map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect()
}
