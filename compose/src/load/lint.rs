//! What is allowed but doubtful: `config --check`. Each finding has a code by which it can be switched off: with
//! `--allow CODE`, or with a comment in the file.
//!
//! ```yaml
//! # hoist-allow: unused            (above all keys: for the whole file)
//! services:
//!   a:
//!     image: nginx   # hoist-allow: latest-tag
//!     # hoist-allow: plain-secret  (alone on its line: for the next one)
//!     environment: {DB_PASSWORD: x}
//! ```

use std::collections::HashMap;

use super::consistency::Places;
use super::diagnostic::{Diagnostic, Location, Severity, Spot};
use super::node::{Node, SourceMap};
use crate::model::{DependencyCondition, FileReference, MountType, Project, Service};

/// The codes of all warnings, and what each is about.
pub const WARNINGS: &[(&str, &str)] = &[
    (
        "boolean-word",
        "yes, no, on, off, y and n where true or false is meant",
    ),
    (
        "command-operator",
        "a command without a shell that holds &&, |, ; or a redirection",
    ),
    ("deprecated", "an old form of an attribute"),
    ("empty-include", "an entry of include that names no file"),
    (
        "latest-tag",
        "an image without a version, or with the tag latest",
    ),
    (
        "missing-directory",
        "a project directory of an include that does not exist",
    ),
    ("missing-variable", "a variable without a value"),
    (
        "no-healthcheck",
        "waiting for the health of a service that declares no health check",
    ),
    ("obsolete-version", "the attribute version"),
    (
        "plain-secret",
        "what looks like a secret among the environment's variables",
    ),
    (
        "port-used-twice",
        "a host port that two containers would publish",
    ),
    (
        "several-files",
        "several Compose files, of which one is used",
    ),
    (
        "unreachable-profile",
        "needing a service that no profile of one's own enables",
    ),
    (
        "unused",
        "a volume, network, secret, config or model that no service uses",
    ),
];

/// Whether a finding is switched off, by its code or by a comment where it is. Errors cannot be.
pub(crate) fn is_allowed(finding: &Diagnostic, codes: &[String]) -> bool {
    let comment = || {
        let place = finding.primary.as_ref().map(|label| &label.location);
        place.is_some_and(|place| allowed_by_comment(place, finding.code))
    };
    finding.severity == Severity::Warning
        && (codes.iter().any(|code| code == finding.code) || comment())
}

/// Whether a comment on the line of a place, alone above it, or at the head of the file names a code.
fn allowed_by_comment(place: &Location, code: &str) -> bool {
    let text = place.source.text.as_str();
    let before = text.get(..place.start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let above = text[..line_start].lines().next_back().unwrap_or_default();
    let only_comment = |line: &&str| line.trim_start().starts_with('#');
    let head = text
        .lines()
        .take_while(|line| line.trim().is_empty() || *line == "---" || only_comment(line));
    let mut lines = head
        .filter(only_comment)
        .chain([line])
        .chain([above].into_iter().filter(only_comment));
    lines.any(|line| names_code(line, code))
}

/// Whether a line ends in `# hoist-allow: …` with the code.
fn names_code(line: &str, code: &str) -> bool {
    const SIGN: &str = "hoist-allow:";
    let Some((before, list)) = line.split_once(SIGN) else {
        return false;
    };
    before.trim_end().ends_with('#') && list.split([',', ' ']).any(|named| named.trim() == code)
}

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

/// A host port that one service publishes.
struct Published<'a> {
    service: &'a str,
    address: &'a str,
    place: Spot,
}

impl Published<'_> {
    /// Whether both cannot be bound.
    fn meets(&self, other: &Self) -> bool {
        let all = |address: &str| matches!(address, "" | "0.0.0.0" | "::");
        all(self.address) || all(other.address) || self.address == other.address
    }
}

struct Linter<'a> {
    project: &'a Project,
    places: Places<'a>,
    findings: Vec<Diagnostic>,
}

impl Linter<'_> {
    fn push(&mut self, code: &'static str, message: String, place: Spot, help: &str) {
        self.findings
            .push(Diagnostic::warning(code, message).on(place, "").help(help));
    }

    fn ports(&mut self) {
        let mut seen: HashMap<(u16, String), Vec<Published<'_>>> = HashMap::new();
        for (name, service) in &self.project.services {
            for (index, port) in service.ports.iter().enumerate() {
                // A range lets the engine choose: two of them may share ports.
                let Some(number) = port
                    .published_range()
                    .filter(|range| range.start() == range.end())
                    .map(|range| *range.start())
                else {
                    continue;
                };
                let here = Published {
                    service: name,
                    address: port.host_ip.as_deref().unwrap_or_default(),
                    place: self.places.item(name, "ports", index),
                };
                let others = seen.entry((number, port.protocol())).or_default();
                let other = others.iter().find(|other| other.meets(&here));
                let copies = replicas(service);
                let found = match other {
                    Some(other) => port_twice(number, &here, other),
                    None if copies > 1 => port_of_replicas(number, &here, copies),
                    None => {
                        others.push(here);
                        continue;
                    }
                };
                self.findings.push(found);
                others.push(here);
            }
        }
    }

    fn unused(&mut self) {
        for section in ["volumes", "secrets", "configs", "networks", "models"] {
            let declared = self.places.root.get(section).and_then(Node::as_map);
            let keys: Vec<String> = declared
                .into_iter()
                .flat_map(|map| map.keys().map(ToString::to_string))
                .filter(|key| (section, key.as_str()) != ("networks", "default"))
                .collect();
            for key in keys {
                let services = self.project.services.values();
                let mut all = services.chain(self.project.disabled_services.values());
                if all.any(|service| uses(service, section, &key)) {
                    continue;
                }
                let place = self.places.key(&[section, &key]);
                self.push(
                    "unused",
                    format!("`{section}.{key}` is declared, but no service uses it"),
                    place,
                    "use it, or remove it",
                );
            }
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
            let checked = other.healthcheck.as_ref().is_some_and(|check| {
                !check.disable && check.test.first().is_none_or(|first| first != "NONE")
            });
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
            let path = ["services", name, "environment", variable];
            if !self.places.has(&path) {
                continue;
            }
            let place = self.places.value(&path);
            let message = format!(
                "`{variable}` of service `{name}` looks like a secret, and stands in the environment for all to see"
            );
            self.push(
                "plain-secret",
                message,
                place,
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

/// Whether a service uses a resource of a section.
fn uses(service: &Service, section: &str, key: &str) -> bool {
    let named =
        |references: &[FileReference]| references.iter().any(|reference| reference.source == key);
    match section {
        "volumes" => service
            .volumes
            .iter()
            .any(|mount| mount.kind == MountType::Volume && mount.source.as_deref() == Some(key)),
        "secrets" => {
            let built = service.build.as_ref();
            named(&service.secrets) || built.is_some_and(|build| named(&build.secrets))
        }
        "configs" => named(&service.configs),
        "networks" => service.networks.contains_key(key),
        _ => service.models.contains_key(key),
    }
}

/// How many containers a service asks for.
fn replicas(service: &Service) -> i64 {
    let deployed = service.deploy.as_ref().and_then(|deploy| deploy.replicas);
    service.scale.or(deployed).unwrap_or(1)
}

fn port_twice(number: u16, here: &Published<'_>, other: &Published<'_>) -> Diagnostic {
    let message = if here.service == other.service {
        format!(
            "host port {number} is published twice by `{}`",
            here.service
        )
    } else {
        format!(
            "host port {number} is published by `{}` and by `{}`",
            other.service, here.service
        )
    };
    Diagnostic::warning("port-used-twice", message)
        .on(here.place.clone(), "")
        .and(other.place.location.clone(), "published here too")
        .help("only one of them can have it: choose another port")
}

fn port_of_replicas(number: u16, here: &Published<'_>, copies: i64) -> Diagnostic {
    let message = format!(
        "host port {number} is published by all {copies} containers of `{}`",
        here.service
    );
    Diagnostic::warning("port-used-twice", message)
        .on(here.place.clone(), "")
        .help("only one of them can have it: publish a range, as in `8000-8010:80`, or none")
}
