//! Which services of the files take part: profiles, and services named on the command line.

use std::collections::{BTreeSet, HashSet};

use super::diagnostic::Diagnostic;
use super::node::SourceMap;
use super::sources::argument;
use super::suggest;
use crate::model::{MountType, Project, Service};

/// Moves services whose profiles are not active to the disabled ones. Naming a service activates its profiles; returns
/// the services that are enabled only because of that, though nobody asked for them.
pub(crate) fn apply_profiles(project: &mut Project, named: &[String]) -> HashSet<String> {
    let active = |profiles: &[String], service: &Service| {
        let is_active = |profile: &String| profile == "*" || service.profiles.contains(profile);
        service.profiles.is_empty() || profiles.iter().any(is_active)
    };
    let given = project.profiles.clone();
    for service in named.iter().filter_map(|name| project.services.get(name)) {
        if !active(&project.profiles, service) {
            project.profiles.extend(service.profiles.iter().cloned());
        }
    }
    let all = project.services.values();
    if all.clone().all(|service| service.profiles.is_empty()) {
        return HashSet::new();
    }
    let profiles = std::mem::take(&mut project.profiles);
    let (enabled, disabled) = std::mem::take(&mut project.services)
        .into_iter()
        .partition(|(_, service)| active(&profiles, service));
    project.profiles = profiles;
    project.services = enabled;
    project.disabled_services = disabled;
    if named.is_empty() {
        return HashSet::new();
    }
    let kept = with_dependencies(project, named);
    let bystanders = project
        .services
        .iter()
        .filter(|(name, service)| !active(&given, service) && !kept.contains(*name));
    bystanders.map(|(name, _)| name.clone()).collect()
}

/// Keeps the named services and what they depend on; none named keeps all.
pub(crate) fn select_services(
    project: &mut Project,
    named: &[String],
    sources: &mut SourceMap,
) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for name in named {
        if !project.services.contains_key(name) {
            let problem = Diagnostic::error("unknown-service", format!("no such service: {name}"))
                .at(argument(sources, "", name), "");
            let known: Vec<&str> = project.services.keys().map(String::as_str).collect();
            problems.push(
                problem.help(match suggest::nearest(name, known.iter().copied()) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => suggest::one_of(&known, "declare it below `services:`"),
                }),
            );
        }
    }
    if named.is_empty() {
        return problems;
    }
    let kept = with_dependencies(project, named);
    let (enabled, disabled): (Vec<_>, Vec<_>) = std::mem::take(&mut project.services)
        .into_iter()
        .partition(|(name, _)| kept.contains(name));
    project.services = enabled.into_iter().collect();
    project.disabled_services.extend(disabled);
    for service in project.services.values_mut() {
        service.depends_on.retain(|name, _| kept.contains(name));
    }
    problems
}

/// The named services and what they depend on.
pub(crate) fn with_dependencies(project: &Project, named: &[String]) -> BTreeSet<String> {
    let mut kept = BTreeSet::new();
    let mut waiting: Vec<String> = named.to_vec();
    while let Some(name) = waiting.pop() {
        let Some(service) = project.services.get(&name) else {
            continue;
        };
        if kept.insert(name) {
            waiting.extend(service.depends_on.keys().cloned());
        }
    }
    kept
}

/// Drops networks, volumes, secrets, configs and models that no enabled service uses.
pub(crate) fn drop_unused(project: &mut Project) {
    let mut used = Used::default();
    for service in project.services.values() {
        used.networks.extend(service.networks.keys().cloned());
        used.models.extend(service.models.keys().cloned());
        let volumes = service
            .volumes
            .iter()
            .filter(|mount| mount.kind == MountType::Volume);
        used.volumes
            .extend(volumes.filter_map(|mount| mount.source.clone()));
        used.secrets
            .extend(service.secrets.iter().map(|secret| secret.source.clone()));
        let build_secrets = service.build.iter().flat_map(|build| &build.secrets);
        used.secrets
            .extend(build_secrets.map(|secret| secret.source.clone()));
        used.configs
            .extend(service.configs.iter().map(|config| config.source.clone()));
    }
    project
        .networks
        .retain(|name, _| used.networks.contains(name));
    project
        .volumes
        .retain(|name, _| used.volumes.contains(name));
    project
        .secrets
        .retain(|name, _| used.secrets.contains(name));
    project
        .configs
        .retain(|name, _| used.configs.contains(name));
    project.models.retain(|name, _| used.models.contains(name));
}

#[derive(Default)]
struct Used {
    networks: BTreeSet<String>,
    volumes: BTreeSet<String>,
    secrets: BTreeSet<String>,
    configs: BTreeSet<String>,
    models: BTreeSet<String>,
}
