//! Short forms to long ones: after this phase an attribute has one shape only. Running it twice changes nothing.

mod attributes;
mod command;
mod hosts;
mod ports;
mod volumes;

use super::diagnostic::Diagnostic;
use super::merge::{names_to_map, no_options, wrap};
use super::node::{Map, Node, Value};
use super::report::{Path, Report};

pub(crate) use volumes::short_volume_target;

/// What a step works with.
pub(super) struct Expansion<'r, 's> {
    pub(super) report: &'r mut Report<'s>,
    /// Values may still hold variables: what cannot be read stays as it is.
    pub(super) lenient: bool,
    pub(super) left: &'r mut Allowance,
}

/// What may still be made of short forms, in all services.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    /// How many ports may still come out of ranges.
    pub(super) ports: usize,
    /// How many items of lists may still become mappings.
    items: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            ports: MOST_PORTS,
            items: MOST_ITEMS,
        }
    }
}

/// More ports than this in all services are refused: one range of all ports is just allowed.
const MOST_PORTS: usize = 80_000;

/// More short forms than this in all services are refused where each becomes a mapping, which is several values.
const MOST_ITEMS: usize = 30_000;

impl Expansion<'_, '_> {
    /// Empties a list that is longer than what is left, and tells it.
    fn bound(&mut self, node: &mut Node, path: &Path<'_>) {
        let Value::List(items) = &mut node.value else {
            return;
        };
        let mut short = items.iter().filter(|item| item.as_map().is_none());
        let Some(excess) = short.nth(self.left.items) else {
            self.left.items -= items.iter().filter(|item| item.as_map().is_none()).count();
            return;
        };
        let place = self.report.locate(excess.span);
        let message = format!("with `{path}` the lists of all services have too many items");
        let problem =
            Diagnostic::error("too-large", message).at(place, "the limit is reached here");
        self.report
            .push(problem.help("make several projects of it, or remove some"));
        items.clear();
    }

    /// Tells that a value is wrong, and makes it invalid; in lenient runs it stays.
    pub(super) fn wrong(&mut self, node: &mut Node, problem: Diagnostic) {
        if self.lenient {
            return;
        }
        let place = self.report.locate(node.span);
        let problem = if problem.primary.is_some() {
            problem
        } else {
            problem.at(place, "")
        };
        self.report.push_about(node, problem);
        node.value = Value::Invalid;
    }
}

type Step = fn(&mut Node, &Path<'_>, &mut Expansion<'_, '_>);

/// Before what makes mappings.
const BOUND: Step = |node, path, expansion| expansion.bound(node, path);

/// Attributes of a service, by path, and how each is expanded.
const SERVICE_STEPS: &[(&[&str], Step)] = &[
    (&["build"], attributes::build),
    (&["annotations"], attributes::labels),
    (&["command"], command::command),
    (&["deploy", "labels"], attributes::labels),
    (&["develop", "watch"], attributes::watch),
    (&["dns"], attributes::texts_without_empty),
    (&["dns_search"], attributes::typed_texts),
    (&["entrypoint"], command::command),
    (&["environment"], attributes::environment),
    (&["expose"], ports::expose),
    (&["extends"], |node, _, _| wrap(node, "service")),
    (&["healthcheck", "test"], attributes::health_test),
    (&["label_file"], attributes::texts),
    (&["labels"], attributes::labels),
    (&["post_start"], attributes::hooks),
    (&["pre_start"], attributes::hooks),
    (&["pre_stop"], attributes::hooks),
    (&["ports"], ports::ports),
    (&["sysctls"], attributes::labels),
    (&["tmpfs"], attributes::typed_texts),
];

/// The same for lists whose items become mappings.
const MAPPING_STEPS: &[(&[&str], Step)] = &[
    (&["configs"], attributes::file_references),
    (&["depends_on"], attributes::dependencies),
    (
        &["deploy", "resources", "reservations", "devices"],
        attributes::device_requests,
    ),
    (&["devices"], attributes::devices),
    (&["env_file"], attributes::env_files),
    (&["gpus"], attributes::gpus),
    (&["models"], |node, _, _| names_to_map(node, no_options)),
    (&["networks"], |node, _, _| names_to_map(node, no_options)),
    (&["secrets"], attributes::file_references),
    (&["volumes"], volumes::volumes),
];

/// Attributes of the resources at the top level.
const RESOURCE_STEPS: &[(&str, &[&str], Step)] = &[
    ("networks", &[], attributes::external),
    ("networks", &["labels"], attributes::labels),
    ("volumes", &[], attributes::external),
    ("volumes", &["labels"], attributes::labels),
    ("secrets", &[], attributes::external),
    ("secrets", &["labels"], attributes::labels),
    ("configs", &[], attributes::external),
    ("configs", &["labels"], attributes::labels),
];

/// Expands a whole file.
pub(crate) fn expand(root: &mut Node, lenient: bool, report: &mut Report<'_>) {
    let mut left = Allowance::default();
    if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
        let path = Path::ROOT.key("services");
        for (name, service) in services.iter_mut() {
            expand_service(service, &path.key(name), (lenient, &mut left), report);
        }
    }
    expand_resources(root, lenient, report);
}

/// Expands what is not a service.
pub(crate) fn expand_resources(root: &mut Node, lenient: bool, report: &mut Report<'_>) {
    let mut expansion = Expansion {
        report,
        lenient,
        left: &mut Allowance::default(),
    };
    let top = Path::ROOT;
    for (section, place, step) in RESOURCE_STEPS {
        let Some(resources) = root.get_mut(section).and_then(Node::as_map_mut) else {
            continue;
        };
        let path = top.key(section);
        for (name, resource) in resources.iter_mut() {
            apply(resource, place, *step, &path.key(name), &mut expansion);
        }
    }
}

/// Expands what is merged as it is written. Runs once, after all files.
pub(crate) fn expand_last(service: &mut Node, path: &Path<'_>, report: &mut Report<'_>) {
    hosts::expand_hosts(service, path, report);
    if let Some(provider) = service.get_mut("provider") {
        provider_options(provider);
    }
}

/// Each option becomes a list of texts.
fn provider_options(provider: &mut Node) {
    let options = provider.get_mut("options").and_then(Node::as_map_mut);
    for value in options.into_iter().flat_map(|map| map.values_mut()) {
        let items = match &value.value {
            Value::List(items) => items.clone(),
            _ => vec![value.clone()],
        };
        let texts = items
            .iter()
            .filter_map(|item| Some(Node::string(item.scalar_text()?, item.span)));
        value.value = Value::List(texts.collect());
    }
}

/// Expands one service.
pub(crate) fn expand_service(
    service: &mut Node,
    path: &Path<'_>,
    (lenient, left): (bool, &mut Allowance),
    report: &mut Report<'_>,
) {
    let expansion = &mut Expansion {
        report,
        lenient,
        left,
    };
    let origin = service.origin.clone();
    expansion.report.enter(origin.as_deref());
    for (place, step) in SERVICE_STEPS {
        apply_below(service, place, &[*step], path, expansion);
    }
    for (place, step) in MAPPING_STEPS {
        apply_below(service, place, &[BOUND, *step], path, expansion);
    }
    expansion.report.leave(origin.as_deref());
}

/// Runs a step on what is at a place, if there is something.
fn apply(
    node: &mut Node,
    place: &[&str],
    step: Step,
    path: &Path<'_>,
    expansion: &mut Expansion<'_, '_>,
) {
    if node.is_invalid() {
        return;
    }
    let origin = node.origin.clone();
    expansion.report.enter(origin.as_deref());
    match place {
        [] => step(node, path, expansion),
        _ => apply_below(node, place, &[step], path, expansion),
    }
    expansion.report.leave(origin.as_deref());
}

/// The same for several steps and a place below a node that the walk has entered.
fn apply_below(
    node: &mut Node,
    place: &[&str],
    steps: &[Step],
    path: &Path<'_>,
    expansion: &mut Expansion<'_, '_>,
) {
    if let [first, rest @ ..] = place
        && let Some(inner) = node.get_mut(first)
    {
        for step in steps {
            apply(inner, rest, *step, &path.key(first), expansion);
        }
    }
}

/// A mapping of text entries; empty ones are left out.
pub(super) fn text_map(entries: &[(&'static str, &str)], node: &Node) -> Map {
    // Some callers add one more.
    let mut map = Map::with_capacity(entries.len() + 1);
    for (key, text) in entries.iter().filter(|(_, text)| !text.is_empty()) {
        map.insert(*key, Node::string(*text, node.span));
    }
    map
}
