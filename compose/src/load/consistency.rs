//! Rules between resources: what is named must exist, what excludes must not meet, dependencies must not turn in circles.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::diagnostic::{Diagnostic, Location, Spot};
use super::node::{Node, SourceMap};
use super::report::{item_spot, spot};
use super::suggest;
use crate::model::{MountType, Project, Service};

/// Finds places of a project's parts in the tree it was made of.
pub(crate) struct Places<'a> {
    pub(crate) root: &'a Node,
    pub(crate) sources: &'a SourceMap,
}

impl Places<'_> {
    pub(crate) fn key(&self, path: &[&str]) -> Spot {
        spot(self.root, self.sources, path, Node::key_or_value)
    }

    pub(crate) fn value(&self, path: &[&str]) -> Spot {
        spot(self.root, self.sources, path, |node| node.span)
    }

    /// An item of a list of a service.
    pub(crate) fn item(&self, service: &str, list: &str, index: usize) -> Spot {
        self.item_of(&["services", service, list], index)
    }

    /// An item of a list.
    pub(crate) fn item_of(&self, path: &[&str], index: usize) -> Spot {
        item_spot(self.root, self.sources, path, index)
    }

    /// Whether something is written there.
    pub(crate) fn has(&self, path: &[&str]) -> bool {
        self.root.at(path).is_some()
    }
}

/// Of a longer circle of dependencies only the beginning is told: the rest helps nobody.
const LONGEST_CIRCLE: usize = 20;

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

/// Where nothing else is checked (`--no-consistency`): what the given services depend on must take part.
pub(crate) fn check_dependencies(
    project: &Project,
    services: &BTreeSet<String>,
    places: Places<'_>,
) -> Vec<Diagnostic> {
    let mut checker = Checker {
        project,
        places,
        problems: Vec::new(),
    };
    let chosen = |(name, _): &(&String, &Service)| services.contains(*name);
    for (name, service) in project.services.iter().filter(chosen) {
        for (target, dependency) in &service.depends_on {
            if dependency.required && !project.services.contains_key(target) {
                checker.missing_dependency(name, target);
            }
        }
    }
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
                "services `{other}` and `{name}` have the same container name: container name \"{container}\" is already in use"
            );
            let place = |service: &str| places.value(&["services", service, "container_name"]);
            problems.push(
                Diagnostic::error("conflict", message)
                    .on(place(name), "")
                    .and(place(other).location, "used here too")
                    .help("rename one of them, or leave the name to hoist"),
            );
        }
    }
    problems
}

impl Checker<'_> {
    fn push(&mut self, code: &'static str, message: String, place: Spot, help: &str) {
        let problem = Diagnostic::error(code, message).on(place, "");
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
                .on(self.places.key(&["services", name, "network_mode"]), "")
                .and(
                    self.places.key(&["services", name, "networks"]).location,
                    "",
                )
                .help("remove one of them; from another file, with `!reset`");
            self.problems.push(problem);
        }
    }

    fn build(&mut self, name: &str, service: &Service) {
        let Some(build) = &service.build else { return };
        if build.dockerfile.is_some() && build.dockerfile_inline.is_some() {
            let place = |key| self.places.key(&["services", name, "build", key]);
            let message = format!("service `{name}` has both `dockerfile` and `dockerfile_inline`");
            let problem = Diagnostic::error("conflict", message)
                .on(place("dockerfile_inline"), "")
                .and(place("dockerfile").location, "");
            self.problems.push(problem.help("remove one of them"));
        }
        for (context, value) in &build.additional_contexts {
            let Some(target) = value.strip_prefix("service:") else {
                continue;
            };
            let place =
                self.places
                    .value(&["services", name, "build", "additional_contexts", context]);
            match self.project.services.get(target) {
                None => self.undefined_service(
                    target,
                    format!("the build context `{context}` of service `{name}`"),
                    place,
                    "or take another context",
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
            let problem = Diagnostic::error("conflict", message)
                .on(place, format!("expected `{platform}` among them"))
                .and(
                    self.places.value(&["services", name, "platform"]).location,
                    "it runs on this one",
                );
            self.problems
                .push(problem.help("add it, or remove `platform`"));
        }
    }

    /// Tells that something named does not exist.
    fn undefined(&mut self, (kind, target): (&str, &str), who: String, place: Spot) {
        let mut known: Vec<&str> = match kind {
            "network" => names(&self.project.networks),
            "volume" => names(&self.project.volumes),
            "secret" | "build secret" => names(&self.project.secrets),
            "config" => names(&self.project.configs),
            "model" => names(&self.project.models),
            _ => names(&self.project.services),
        };
        // A service cannot need itself.
        known.retain(|name| kind != "service" || who != format!("service `{name}`"));
        if target.is_empty() {
            let message = format!("{who} refers to a {kind} without a name");
            let help = "add `source: <name>`";
            return self.push("missing-attribute", message, place, help);
        }
        let section = kind.rsplit(' ').next().unwrap_or(kind);
        let help = match suggest::nearest(target, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if kind == "service" => suggest::one_of(&known, "declare it below `services:`"),
            None => suggest::one_of(
                &known,
                &format!("declare it below the top-level `{section}s:`"),
            ),
        };
        let message = format!("{who} refers to undefined {kind} `{target}`");
        self.push("undefined", message, place, &help);
    }

    /// Tells that a service is needed that does not exist, or that no profile enables.
    fn undefined_service(&mut self, target: &str, who: String, place: Spot, or: &str) {
        let Some(disabled) = self.project.disabled_services.get(target) else {
            return self.undefined(("service", target), who, place);
        };
        let message = format!("{who} needs service `{target}`, which no active profile enables");
        let profiles = disabled.profiles.join(", ");
        let help = format!("activate a profile of it ({profiles}), {or}");
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
        let built = service.build.iter().flat_map(|build| &build.secrets);
        for (index, secret) in built.enumerate() {
            if !self.project.secrets.contains_key(&secret.source) {
                let list = ["services", name, "build", "secrets"];
                let place = self.places.item_of(&list, index);
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
            self.missing_dependency(name, target);
        }
    }

    fn missing_dependency(&mut self, name: &str, target: &str) {
        let place = self.places.key(&["services", name, "depends_on", target]);
        let or = match self.implied_by(name, target) {
            None => "or write `required: false`".to_owned(),
            Some(attribute) => format!("or remove `{target}` from `{attribute}`"),
        };
        self.undefined_service(target, format!("service `{name}`"), place, &or);
    }

    /// The attribute that implies a dependency; none when it is written below `depends_on`.
    fn implied_by(&self, name: &str, target: &str) -> Option<&'static str> {
        let service = self.places.root.at(&["services", name])?;
        let place = service.at(&["depends_on", target])?.span;
        let attributes = [
            "links",
            "volumes_from",
            "network_mode",
            "ipc",
            "pid",
            "uts",
            "cgroup",
        ];
        attributes.into_iter().find(|attribute| {
            service.get(attribute).is_some_and(|node| {
                let items = node.as_list().unwrap_or(std::slice::from_ref(node));
                place.is_some() && items.iter().any(|item| item.span == place)
            })
        })
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
                let mut path = vec!["services", name, "deploy", "resources"];
                path.extend(other.split('.'));
                let label = if self.places.has(&path) {
                    "the other value"
                } else {
                    "this is not written here"
                };
                let problem = Diagnostic::error("conflict", message)
                    .on(self.places.key(&["services", name, own]), "")
                    .and(self.places.key(&path).location, label)
                    .help("write only one of them, or the same value");
                self.problems.push(problem);
            }
        }
    }

    fn replicas(&mut self, name: &str, service: &Service) {
        let replicas = service.deploy.as_ref().and_then(|deploy| deploy.replicas);
        let scale_place = self.places.value(&["services", name, "scale"]);
        let replicas_place = self.places.value(&["services", name, "deploy", "replicas"]);
        if let (Some(scale), Some(replicas)) = (service.scale, replicas)
            && scale != replicas
        {
            let message = format!("service `{name}`: `scale` and `deploy.replicas` differ");
            let problem = Diagnostic::error("conflict", message)
                .on(scale_place.clone(), "")
                .and(replicas_place.location.clone(), "the other value");
            self.problems.push(problem.help("write only one of them"));
        }
        for (attribute, value, place) in [
            ("scale", service.scale, scale_place),
            ("deploy.replicas", replicas, replicas_place),
        ] {
            if let Some(value) = value.filter(|value| *value < 0) {
                let message = format!(
                    "`services.{name}.{attribute}` must be at least 0, but this is {value}"
                );
                let help = "write how many containers to run; 0 runs none";
                self.push("out-of-range", message, place, help);
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
        let rules = service.develop.iter().flat_map(|develop| &develop.watch);
        for (index, rule) in rules.enumerate() {
            if rule.target.is_none() && !matches!(rule.action.as_str(), "rebuild" | "restart") {
                let message = format!(
                    "service `{name}`: a watch with action `{}` needs `target`",
                    rule.action
                );
                let list = ["services", name, "develop", "watch"];
                let place = self.places.item_of(&list, index);
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
            let who = format!("`network_mode` of service `{name}`");
            self.undefined_service(target, who, place, "or take another network");
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
            if let Some(first) = seen.insert(target, place.location.clone()) {
                let message = format!("service `{name}` mounts two things at `{target}`");
                let problem = Diagnostic::error("conflict", message)
                    .on(place, "")
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
        let way = match names.get(..LONGEST_CIRCLE) {
            Some(first) => format!(
                "{} -> {} services more -> {}",
                first.join(" -> "),
                circle.len() - LONGEST_CIRCLE,
                names[0]
            ),
            None => names.join(" -> "),
        };
        let mut problem = Diagnostic::error(
            "dependency-cycle",
            format!("dependency cycle detected: {way}"),
        );
        for (index, pair) in names.windows(2).take(LONGEST_CIRCLE).enumerate() {
            let label = format!("`{}` needs `{}`", pair[0], pair[1]);
            problem = if index == 0 {
                problem.on(edge(pair[0], pair[1]), label)
            } else {
                problem.and(edge(pair[0], pair[1]).location, label)
            };
        }
        self.problems
            .push(problem.help("remove one of these dependencies"));
    }
}

fn names<T>(map: &indexmap::IndexMap<String, T>) -> Vec<&str> {
    map.keys().map(String::as_str).collect()
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
