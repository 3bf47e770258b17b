//! What is allowed but doubtful: `config --check`. Each finding has a code by which it can be switched off.

use std::collections::HashMap;

use super::consistency::Places;
use super::diagnostic::{Diagnostic, Location};
use super::node::{Node, SourceMap};
use crate::model::{DependencyCondition, MountType, Project, Service};

/// Looks at a loaded project.
pub(crate) fn lint(project: &Project, root: &Node, sources: &SourceMap) -> Vec<Diagnostic> {
    let mut linter = Linter {
        project,
        places: Places { root, sources },
        findings: Vec::new(),
    };
    linter.ports();
    linter.unused();
    for (name, service) in &project.services {
        linter.image_tag(name, service);
        linter.health_gates(name, service);
        linter.plain_secrets(name, service);
    }
    linter.unreachable_profiles();
    linter.findings
}

struct Linter<'a> {
    project: &'a Project,
    places: Places<'a>,
    findings: Vec<Diagnostic>,
}

impl Linter<'_> {
    fn push(&mut self, code: &'static str, message: String, place: Option<Location>, help: &str) {
        self.findings
            .push(Diagnostic::warning(code, message).at(place, "").help(help));
    }

    fn ports(&mut self) {
        let mut seen: HashMap<(u16, String), (String, String, Option<Location>)> = HashMap::new();
        for (name, service) in &self.project.services {
            for (index, port) in service.ports.iter().enumerate() {
                let Some(range) = port.published_range() else {
                    continue;
                };
                // A range lets the engine choose: two of them may share ports.
                if range.start() != range.end() {
                    continue;
                }
                let address = port.host_ip.clone().unwrap_or_default();
                let place = self.places.item(name, "ports", index);
                let key = (*range.start(), port.protocol());
                let previous = seen.insert(key, (name.clone(), address.clone(), place.clone()));
                let Some((other, other_address, other_place)) = previous else {
                    continue;
                };
                let all = |address: &str| address.is_empty() || address == "0.0.0.0";
                if all(&address) || all(&other_address) || address == other_address {
                    let message = format!(
                        "host port {} is published by `{other}` and by `{name}`",
                        range.start()
                    );
                    let finding = Diagnostic::warning("port-used-twice", message)
                        .at(place, "")
                        .and(other_place, "published here too");
                    self.findings
                        .push(finding.help("only one of them can have it: choose another port"));
                }
            }
        }
    }

    fn unused(&mut self) {
        let services = || {
            self.project
                .services
                .values()
                .chain(self.project.disabled_services.values())
        };
        let mut unused: Vec<(&str, String)> = Vec::new();
        let keys = |section: &str| -> Vec<String> {
            self.places
                .root
                .get(section)
                .and_then(Node::as_map)
                .into_iter()
                .flat_map(|map| map.keys().map(ToString::to_string))
                .collect()
        };
        for volume in keys("volumes") {
            let uses = |service: &Service| {
                service.volumes.iter().any(|mount| {
                    mount.kind == MountType::Volume && mount.source.as_ref() == Some(&volume)
                })
            };
            if !services().any(uses) {
                unused.push(("volumes", volume));
            }
        }
        for secret in keys("secrets") {
            let uses = |service: &Service| {
                let built = service.build.iter().flat_map(|build| &build.secrets);
                service
                    .secrets
                    .iter()
                    .chain(built)
                    .any(|reference| reference.source == secret)
            };
            if !services().any(uses) {
                unused.push(("secrets", secret));
            }
        }
        for config in keys("configs") {
            if !services().any(|service| {
                service
                    .configs
                    .iter()
                    .any(|reference| reference.source == config)
            }) {
                unused.push(("configs", config));
            }
        }
        for network in keys("networks")
            .into_iter()
            .filter(|network| network != "default")
        {
            if !services().any(|service| service.networks.contains_key(&network)) {
                unused.push(("networks", network));
            }
        }
        for (section, key) in unused {
            let place = self.places.key(&[section, &key]);
            self.push(
                "unused",
                format!("`{section}.{key}` is declared, but no service uses it"),
                place,
                "use it, or remove it",
            );
        }
    }

    fn image_tag(&mut self, name: &str, service: &Service) {
        let Some(image) = service
            .image
            .as_deref()
            .filter(|image| service.build.is_none() && !image.contains('@'))
        else {
            return;
        };
        let last = image.rsplit('/').next().unwrap_or(image);
        if last.split_once(':').is_none_or(|(_, tag)| tag == "latest") {
            let place = self.places.value(&["services", name, "image"]);
            let message = format!("service `{name}` runs `{image}` in whatever version is latest");
            self.push("latest-tag", message, place, "write a version as its tag");
        }
    }

    fn health_gates(&mut self, name: &str, service: &Service) {
        for (target, dependency) in &service.depends_on {
            let Some(other) = self.project.services.get(target) else {
                continue;
            };
            let checked = other
                .healthcheck
                .as_ref()
                .is_some_and(|check| !check.disable);
            if dependency.condition == DependencyCondition::Healthy && !checked {
                let place = self.places.key(&["services", name, "depends_on", target]);
                let message = format!(
                    "service `{name}` waits until `{target}` is healthy, but `{target}` declares no health check"
                );
                self.push(
                    "no-healthcheck",
                    message,
                    place,
                    "add a `healthcheck` to it, unless its image has one",
                );
            }
        }
    }

    fn plain_secrets(&mut self, name: &str, service: &Service) {
        const WORDS: [&str; 6] = [
            "PASSWORD",
            "PASSWD",
            "SECRET",
            "TOKEN",
            "API_KEY",
            "PRIVATE_KEY",
        ];
        for (variable, value) in &service.environment {
            let upper = variable.to_ascii_uppercase();
            let telling =
                WORDS.iter().any(|word| upper.contains(word)) && !upper.ends_with("_FILE");
            if !telling || value.as_ref().is_none_or(String::is_empty) {
                continue;
            }
            let Some(place) = self
                .places
                .value(&["services", name, "environment", variable])
            else {
                continue;
            };
            let message = format!(
                "`{variable}` of service `{name}` looks like a secret, and stands in the environment for all to see"
            );
            self.push(
                "plain-secret",
                message,
                Some(place),
                "give it as a `secrets` entry, if the program reads files",
            );
        }
    }

    /// A service needs one that is only enabled by profiles which do not enable itself.
    fn unreachable_profiles(&mut self) {
        let all: Vec<(&String, &Service)> = self
            .project
            .services
            .iter()
            .chain(&self.project.disabled_services)
            .collect();
        for (name, service) in &all {
            for (target, dependency) in &service.depends_on {
                let Some((_, other)) = all.iter().find(|(other, _)| *other == target) else {
                    continue;
                };
                let reached = other.profiles.is_empty()
                    || (!service.profiles.is_empty()
                        && service
                            .profiles
                            .iter()
                            .all(|profile| other.profiles.contains(profile)));
                if reached || !dependency.required {
                    continue;
                }
                let place = self.places.key(&["services", name, "depends_on", target]);
                let message = format!(
                    "service `{name}` needs `{target}`, which not every profile that enables `{name}` enables"
                );
                let help = format!("give `{target}` the same profiles, or write `required: false`");
                self.push("unreachable-profile", message, place, &help);
            }
        }
    }
}
