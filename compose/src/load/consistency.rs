//! Rules between resources: what is named must exist, what excludes must not meet, dependencies must not turn in circles.

use std::collections::{HashMap, HashSet};

use super::diagnostic::{Diagnostic, Location};
use super::node::{Node, SourceMap};
use super::suggest;
use crate::model::{MountType, Project, Service};

/// Finds places of a project's parts in the tree it was made of.
pub(crate) struct Places<'a> {
    pub(crate) root: &'a Node,
    pub(crate) sources: &'a SourceMap,
}

impl Places<'_> {
    pub(crate) fn key(&self, path: &[&str]) -> Option<Location> {
        self.sources.locate(self.root.at(path)?.key_or_value())
    }

    pub(crate) fn value(&self, path: &[&str]) -> Option<Location> {
        self.sources.locate(self.root.at(path)?.span)
    }

    /// An item of a list of a service.
    pub(crate) fn item(&self, service: &str, list: &str, index: usize) -> Option<Location> {
        let items = self.root.at(&["services", service, list])?.as_list()?;
        self.sources.locate(items.get(index)?.span)
    }
}

struct Checker<'a> {
    project: &'a Project,
    places: Places<'a>,
    problems: Vec<Diagnostic>,
}

/// Checks a project whose profiles were applied; `passed` services are not looked at.
pub(crate) fn check_consistency(
    project: &Project,
    passed: &HashSet<String>,
    places: Places<'_>,
) -> Vec<Diagnostic> {
    let mut checker = Checker {
        project,
        places,
        problems: Vec::new(),
    };
    let looked_at = |(name, _): &(&String, &Service)| !passed.contains(*name);
    for (name, service) in project.services.iter().filter(looked_at) {
        checker.image(name, service);
        checker.build(name, service);
        checker.references(name, service);
        checker.mounts_declared(name, service);
        checker.dependencies(name, service);
        checker.limits(name, service);
        checker.replicas(name, service);
        checker.watch_and_health(name, service);
        checker.mount_targets(name, service);
    }
    checker.secrets();
    checker.circles();
    checker.problems
}

/// Names of containers must differ, among the services that were asked for.
pub(crate) fn check_container_names(project: &Project, places: &Places<'_>) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let mut seen: HashMap<&str, &str> = HashMap::new();
    for (name, service) in &project.services {
        let Some(container) = &service.container_name else {
            continue;
        };
        if let Some(other) = seen.insert(container, name) {
            let message = format!(
                "services `{other}` and `{name}` have the same container name `{container}`"
            );
            let place = |service: &str| places.value(&["services", service, "container_name"]);
            problems.push(
                Diagnostic::error("conflict", message)
                    .at(place(name), "")
                    .and(place(other), "used here too")
                    .help("rename one of them, or leave the name to hoist"),
            );
        }
    }
    problems
}

impl Checker<'_> {
    fn push(&mut self, code: &'static str, message: String, place: Option<Location>, help: &str) {
        let problem = Diagnostic::error(code, message).at(place, "");
        self.problems.push(if help.is_empty() {
            problem
        } else {
            problem.help(help)
        });
    }

    fn image(&mut self, name: &str, service: &Service) {
        if service.build.is_none() && service.image.is_none() && service.provider.is_none() {
            let message = format!("service `{name}` has neither an image nor a build context");
            let place = self.places.key(&["services", name]);
            self.push("no-image", message, place, "add `image: …` or `build: …`");
        }
        if service.network_mode.is_some() && !service.networks.is_empty() {
            let message = format!(
                "service `{name}` has both `network_mode` and `networks`, which exclude each other"
            );
            let problem = Diagnostic::error("conflict", message)
                .at(self.places.key(&["services", name, "network_mode"]), "")
                .and(self.places.key(&["services", name, "networks"]), "")
                .help("remove one of them; from another file, with `!reset`");
            self.problems.push(problem);
        }
    }

    fn build(&mut self, name: &str, service: &Service) {
        let Some(build) = &service.build else { return };
        if build.dockerfile.is_some() && build.dockerfile_inline.is_some() {
            let place = self
                .places
                .key(&["services", name, "build", "dockerfile_inline"]);
            let message = format!("service `{name}` has both `dockerfile` and `dockerfile_inline`");
            self.push("conflict", message, place, "remove one of them");
        }
        for (context, value) in &build.additional_contexts {
            let Some(target) = value.strip_prefix("service:") else {
                continue;
            };
            let place =
                self.places
                    .value(&["services", name, "build", "additional_contexts", context]);
            match self.project.services.get(target) {
                None => self.undefined(
                    ("service", target),
                    format!("the build context `{context}` of service `{name}`"),
                    place,
                ),
                Some(other) if other.build.is_none() => {
                    let message = format!(
                        "the build context `{context}` of service `{name}` is service `{target}`, which is not built"
                    );
                    self.push(
                        "conflict",
                        message,
                        place,
                        "only a service with `build` can be a context",
                    );
                }
                Some(_) => {}
            }
        }
        if let Some(platform) = &service.platform
            && !build.platforms.is_empty()
            && !build.platforms.contains(platform)
        {
            let place = self.places.key(&["services", name, "build", "platforms"]);
            let message = format!(
                "service `{name}` runs on `{platform}`, but `build.platforms` does not hold it"
            );
            self.push("conflict", message, place, "add it, or remove `platform`");
        }
    }

    /// Tells that something named does not exist.
    fn undefined(&mut self, (kind, target): (&str, &str), who: String, place: Option<Location>) {
        let known: Vec<&String> = match kind {
            "network" => self.project.networks.keys().collect(),
            "volume" => self.project.volumes.keys().collect(),
            "secret" | "build secret" => self.project.secrets.keys().collect(),
            "config" => self.project.configs.keys().collect(),
            "model" => self.project.models.keys().collect(),
            _ => self.project.services.keys().collect(),
        };
        let near =
            suggest::nearest(target, known.into_iter().map(String::as_str)).map(str::to_owned);
        let disabled = kind == "service" && self.project.disabled_services.contains_key(target);
        let message = if disabled {
            format!("{who} needs service `{target}`, which no active profile enables")
        } else {
            format!("{who} refers to undefined {kind} `{target}`")
        };
        let help = match (near, disabled) {
            (_, true) => {
                let profiles = &self.project.disabled_services[target].profiles;
                format!(
                    "activate a profile of it ({}), or write `required: false`",
                    profiles.join(", ")
                )
            }
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, _) if kind == "service" => String::new(),
            (None, _) => {
                let section = kind.rsplit(' ').next().unwrap_or(kind);
                format!("declare it below the top-level `{section}s:`")
            }
        };
        self.push("undefined", message, place, &help);
    }

    fn references(&mut self, name: &str, service: &Service) {
        let who = || format!("service `{name}`");
        for network in service
            .networks
            .keys()
            .filter(|network| !self.project.networks.contains_key(*network))
        {
            let place = self.places.key(&["services", name, "networks", network]);
            self.undefined(("network", network), who(), place);
        }
        for model in service
            .models
            .keys()
            .filter(|model| !self.project.models.contains_key(*model))
        {
            let place = self.places.key(&["services", name, "models", model]);
            self.undefined(("model", model), who(), place);
        }
        for (index, secret) in service.secrets.iter().enumerate() {
            if !self.project.secrets.contains_key(&secret.source) {
                let place = self.places.item(name, "secrets", index);
                self.undefined(("secret", &secret.source), who(), place);
            }
        }
        for (index, config) in service.configs.iter().enumerate() {
            if !self.project.configs.contains_key(&config.source) {
                let place = self.places.item(name, "configs", index);
                self.undefined(("config", &config.source), who(), place);
            }
        }
        for secret in service.build.iter().flat_map(|build| &build.secrets) {
            if !self.project.secrets.contains_key(&secret.source) {
                let place = self.places.key(&["services", name, "build", "secrets"]);
                self.undefined(("build secret", &secret.source), who(), place);
            }
        }
    }

    fn mounts_declared(&mut self, name: &str, service: &Service) {
        for (index, mount) in service.volumes.iter().enumerate() {
            let Some(source) = mount
                .source
                .as_ref()
                .filter(|_| mount.kind == MountType::Volume)
            else {
                continue;
            };
            if self.project.volumes.contains_key(source) {
                continue;
            }
            let place = self.places.item(name, "volumes", index);
            if source.contains('/') {
                let message = format!("service `{name}` refers to undefined volume `{source}`");
                self.push(
                    "undefined",
                    message,
                    place,
                    &format!("for a host path, write `./{source}`"),
                );
            } else {
                self.undefined(("volume", source), format!("service `{name}`"), place);
            }
        }
    }

    fn dependencies(&mut self, name: &str, service: &Service) {
        for (target, dependency) in &service.depends_on {
            if self.project.services.contains_key(target)
                || (!dependency.required && self.project.disabled_services.contains_key(target))
            {
                continue;
            }
            let place = self.places.key(&["services", name, "depends_on", target]);
            self.undefined(("service", target), format!("service `{name}`"), place);
        }
    }

    fn limits(&mut self, name: &str, service: &Service) {
        let Some(resources) = service.deploy.as_ref().map(|deploy| &deploy.resources) else {
            return;
        };
        let (limits, reserved) = (resources.limits.as_ref(), resources.reservations.as_ref());
        let differ =
            |own: f64, other: Option<f64>| own != 0.0 && other.is_some_and(|other| other != own);
        let bytes = |size: i64| size as f64;
        let pairs = [
            (
                "cpus",
                "limits.cpus",
                differ(
                    service.cpus,
                    limits.map(|limits| limits.cpus.unwrap_or(0.0)),
                ),
            ),
            (
                "mem_limit",
                "limits.memory",
                differ(
                    bytes(service.mem_limit.0),
                    limits.map(|limits| bytes(limits.memory.unwrap_or_default().0)),
                ),
            ),
            (
                "mem_reservation",
                "reservations.memory",
                differ(
                    bytes(service.mem_reservation.0),
                    reserved.map(|reserved| bytes(reserved.memory.unwrap_or_default().0)),
                ),
            ),
            (
                "pids_limit",
                "limits.pids",
                differ(
                    bytes(service.pids_limit),
                    limits.map(|limits| bytes(limits.pids.unwrap_or(0))),
                ),
            ),
        ];
        for (own, other, wrong) in pairs {
            if wrong {
                let message =
                    format!("service `{name}`: `{own}` and `deploy.resources.{other}` differ");
                let place = self.places.key(&["services", name, own]);
                self.push(
                    "conflict",
                    message,
                    place,
                    "write only one of them, or the same value",
                );
            }
        }
    }

    fn replicas(&mut self, name: &str, service: &Service) {
        let replicas = service.deploy.as_ref().and_then(|deploy| deploy.replicas);
        let scale_place = self.places.key(&["services", name, "scale"]);
        let replicas_place = self.places.key(&["services", name, "deploy", "replicas"]);
        if let (Some(scale), Some(replicas)) = (service.scale, replicas)
            && scale != replicas
        {
            let message = format!("service `{name}`: `scale` and `deploy.replicas` differ");
            self.push(
                "conflict",
                message,
                scale_place.clone(),
                "write only one of them",
            );
        }
        for (attribute, value, place) in [
            ("scale", service.scale, &scale_place),
            ("deploy.replicas", replicas, &replicas_place),
        ] {
            if value.is_some_and(|value| value < 0) {
                let message =
                    format!("services.{name}.{attribute}: must be greater than or equal to 0");
                self.push("out-of-range", message, place.clone(), "");
            }
        }
        if service.container_name.is_some() && service.scale.or(replicas).unwrap_or(1) > 1 {
            let message = format!(
                "service `{name}` has a `container_name` and more than one replica, but names are unique"
            );
            let place = self.places.key(&["services", name, "container_name"]);
            self.push("conflict", message, place, "remove `container_name`");
        }
    }

    fn watch_and_health(&mut self, name: &str, service: &Service) {
        for rule in service.develop.iter().flat_map(|develop| &develop.watch) {
            if rule.target.is_none() && !matches!(rule.action.as_str(), "rebuild" | "restart") {
                let message = format!(
                    "service `{name}`: a watch with action `{}` needs `target`",
                    rule.action
                );
                let place = self.places.key(&["services", name, "develop", "watch"]);
                self.push(
                    "missing-attribute",
                    message,
                    place,
                    "add `target: <path in the container>`",
                );
            }
        }
        let first = service
            .healthcheck
            .as_ref()
            .and_then(|check| check.test.first());
        if let Some(first) =
            first.filter(|first| !matches!(first.as_str(), "CMD" | "CMD-SHELL" | "NONE"))
        {
            let message = format!("the health check of service `{name}` starts with `{first}`");
            let place = self
                .places
                .value(&["services", name, "healthcheck", "test"]);
            self.push(
                "wrong-word",
                message,
                place,
                "start the list with CMD, CMD-SHELL or NONE, or write the test as one text",
            );
        }
        if let Some(target) = service
            .network_mode
            .as_deref()
            .and_then(|mode| mode.strip_prefix("service:"))
            && !self.project.services.contains_key(target)
            && !service.depends_on.contains_key(target)
        {
            let place = self.places.value(&["services", name, "network_mode"]);
            self.undefined(
                ("service", target),
                format!("`network_mode` of service `{name}`"),
                place,
            );
        }
    }

    fn mount_targets(&mut self, name: &str, service: &Service) {
        let mut seen: HashMap<&str, Option<Location>> = HashMap::new();
        let tmpfs = service
            .tmpfs
            .iter()
            .enumerate()
            .map(|(index, text)| (text.split(':').next().unwrap_or(text), "tmpfs", index));
        let volumes = service
            .volumes
            .iter()
            .enumerate()
            .map(|(index, mount)| (mount.target.as_str(), "volumes", index));
        for (target, list, index) in tmpfs.chain(volumes) {
            let place = self.places.item(name, list, index);
            if let Some(first) = seen.insert(target, place.clone()) {
                let message = format!("service `{name}` mounts two things at `{target}`");
                let problem = Diagnostic::error("conflict", message)
                    .at(place, "")
                    .and(first, "mounted here too");
                self.problems.push(problem.help("remove one of them"));
            }
        }
    }

    fn secrets(&mut self) {
        for (key, secret) in &self.project.secrets {
            if !secret.external && secret.file.is_none() && secret.environment.is_none() {
                let message = format!("secret `{key}` must declare either `file` or `environment`");
                let place = self.places.key(&["secrets", key]);
                self.push(
                    "missing-attribute",
                    message,
                    place,
                    "add `file: <path>`, `environment: <variable>` or `external: true`",
                );
            }
        }
    }

    fn circles(&mut self) {
        let mut done: HashSet<&str> = HashSet::new();
        for name in self.project.services.keys() {
            let mut path = Vec::new();
            if let Some(circle) = find_circle(self.project, name, &mut path, &mut done) {
                self.tell_circle(&circle);
                return;
            }
        }
    }

    fn tell_circle(&mut self, circle: &[&str]) {
        let names = circle
            .iter()
            .chain(circle.first())
            .copied()
            .collect::<Vec<_>>();
        let edge = |from: &str, to: &str| self.places.key(&["services", from, "depends_on", to]);
        let mut problem = Diagnostic::error(
            "dependency-cycle",
            format!("dependency cycle detected: {}", names.join(" -> ")),
        );
        for (index, pair) in names.windows(2).enumerate() {
            let label = format!("`{}` needs `{}`", pair[0], pair[1]);
            problem = if index == 0 {
                problem.at(edge(pair[0], pair[1]), label)
            } else {
                problem.and(edge(pair[0], pair[1]), label)
            };
        }
        self.problems
            .push(problem.help("remove one of these dependencies"));
    }
}

/// The first circle that a service leads into, in order. Iterative, so that long chains do no harm.
fn find_circle<'p>(
    project: &'p Project,
    start: &'p str,
    path: &mut Vec<&'p str>,
    done: &mut HashSet<&'p str>,
) -> Option<Vec<&'p str>> {
    let dependencies = |name: &str| {
        project
            .services
            .get(name)
            .map(|service| service.depends_on.keys())
    };
    if done.contains(start) {
        return None;
    }
    let mut stack = vec![(start, dependencies(start)?)];
    path.push(start);
    let mut on_path = HashSet::from([start]);
    while let Some((name, rest)) = stack.last_mut() {
        let Some(next) = rest.next() else {
            done.insert(name);
            on_path.remove(name);
            path.pop();
            stack.pop();
            continue;
        };
        if done.contains(next.as_str()) {
            continue;
        }
        if on_path.contains(next.as_str()) {
            let at = path.iter().position(|seen| *seen == next.as_str());
            return at.map(|at| path[at..].to_vec());
        }
        if let Some(inner) = dependencies(next) {
            on_path.insert(next);
            path.push(next);
            stack.push((next, inner));
        }
    }
    None
}
