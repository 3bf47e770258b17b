//! The lists of `hoist config`: names of services, volumes, networks, images, profiles, variables.
//!
//! Variables left in their place (`--no-interpolate`) make no typed project, so that the lists are then read from the
//! merged file as it is.

use std::collections::{BTreeMap, BTreeSet};

use hoist_compose::load::Loaded;
use hoist_compose::model::Service;
use serde_json::{Map, Value};

use crate::commands::config::ConfigArgs;

/// The list that one of the options asks for.
pub(crate) fn names(loaded: &Loaded, args: &ConfigArgs) -> Option<Vec<String>> {
    if args.environment {
        let variables: BTreeMap<_, _> = loaded.project.environment.iter().collect();
        let line = |(key, value)| format!("{key}={value}");
        return Some(variables.into_iter().map(line).collect());
    }
    match &loaded.model {
        Some(model) => as_written(model, loaded, args),
        None => typed(loaded, args),
    }
}

fn typed(loaded: &Loaded, args: &ConfigArgs) -> Option<Vec<String>> {
    let project = &loaded.project;
    let keys = |map: Vec<&String>| Some(map.into_iter().cloned().collect());
    let services = || project.services.values();
    if args.only_services {
        keys(project.services.keys().collect())
    } else if args.volumes {
        keys(project.volumes.keys().collect())
    } else if args.networks {
        keys(project.networks.keys().collect())
    } else if args.models {
        let references = project.models.values().filter_map(|m| m.model.as_ref());
        keys(references.collect())
    } else if args.images {
        let image = |service: &Service| service.image.clone();
        let built = |service: &Service| format!("{}-{}", project.name, service.name);
        Some(
            services()
                .map(|s| image(s).unwrap_or_else(|| built(s)))
                .collect(),
        )
    } else if args.profiles {
        let all = services().chain(project.disabled_services.values());
        let names: BTreeSet<&String> = all.flat_map(|service| &service.profiles).collect();
        keys(names.into_iter().collect())
    } else {
        None
    }
}

/// The same of a file whose variables are left in place.
fn as_written(model: &Value, loaded: &Loaded, args: &ConfigArgs) -> Option<Vec<String>> {
    let project = &loaded.project;
    let services = || entries(model, "services");
    if args.only_services {
        // As the reference: those of other profiles too.
        return Some(services().map(|(name, _)| name.clone()).collect());
    }
    if args.profiles {
        let names: BTreeSet<String> = services().flat_map(|(_, s)| texts(s, "profiles")).collect();
        return Some(names.into_iter().collect());
    }
    let enabled = || {
        services().filter(|(name, service)| {
            let profiles = texts(service, "profiles");
            let on = |profile: &String| profile == "*" || profiles.contains(profile);
            profiles.is_empty() || args.services.contains(name) || project.profiles.iter().any(on)
        })
    };
    if args.images {
        let built = |name: &String| format!("{}-{name}", project.name);
        let image = |(name, service)| text(service, "image").unwrap_or_else(|| built(name));
        return Some(enabled().map(image).collect());
    }
    if args.models {
        let used: BTreeSet<String> = enabled().flat_map(|(_, s)| texts(s, "models")).collect();
        let models = entries(model, "models").filter(|(name, _)| used.contains(*name));
        return Some(models.filter_map(|(_, m)| text(m, "model")).collect());
    }
    let (section, uses): (_, fn(&Value) -> Vec<String>) = if args.volumes {
        ("volumes", mounted)
    } else if args.networks {
        ("networks", |service| texts(service, "networks"))
    } else {
        return None;
    };
    let used: BTreeSet<String> = enabled().flat_map(|(_, service)| uses(service)).collect();
    let declared = entries(model, section).map(|(name, _)| name.clone());
    Some(declared.filter(|name| used.contains(name)).collect())
}

/// The entries of a section.
fn entries<'m>(model: &'m Value, section: &str) -> impl Iterator<Item = (&'m String, &'m Value)> {
    let section = model.get(section).and_then(Value::as_object);
    section.into_iter().flat_map(Map::iter)
}

fn text(map: &Value, name: &str) -> Option<String> {
    map.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// The texts of a list, or the names of a mapping.
fn texts(service: &Value, name: &str) -> Vec<String> {
    match service.get(name) {
        Some(Value::Array(items)) => {
            let texts = items.iter().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        }
        Some(Value::Object(map)) => map.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

/// The names of the volumes that a service mounts.
fn mounted(service: &Value) -> Vec<String> {
    let mounts = service.get("volumes").and_then(Value::as_array);
    let sources = mounts
        .into_iter()
        .flatten()
        .filter_map(|mount| text(mount, "source"));
    sources.collect()
}
