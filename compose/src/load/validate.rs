//! Rules between attributes of one resource, and the grammars of durations and sizes.

use super::diagnostic::Diagnostic;
use super::node::{Key, Node, Value};
use super::report::{Path, Report};
use super::schema::{Format, ROOT, SERVICE, Type};
use crate::model::{ByteSize, ComposeDuration};

/// Checks a merged service.
pub(crate) fn validate_service(
    service: &mut Node,
    path: &Path<'_>,
    lenient: bool,
    report: &mut Report<'_>,
) {
    // Values that may still hold variables have no grammar yet.
    if !lenient {
        formats(service, &SERVICE, path, report);
    }
    service_rules(service, path, report);
}

/// Checks what is not a service in the merged files.
pub(crate) fn validate_resources(root: &mut Node, lenient: bool, report: &mut Report<'_>) {
    let top = Path::ROOT;
    if !lenient {
        formats(root, &ROOT, &top, report);
    }
    for (name, volume) in entries(root, "volumes") {
        external_alone(volume, &top.key("volumes").key(name), report);
    }
    let file_sources: [(&str, &[&str]); 2] = [
        ("configs", &["file", "environment", "content"]),
        ("secrets", &["file", "environment"]),
    ];
    for (section, attributes) in file_sources {
        for (name, resource) in entries(root, section) {
            one_source(resource, attributes, &top.key(section).key(name), report);
        }
    }
}

fn entries<'n>(root: &'n Node, section: &str) -> impl Iterator<Item = (&'n Key, &'n Node)> {
    root.get(section)
        .and_then(Node::as_map)
        .into_iter()
        .flatten()
}

fn service_rules(service: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    let ports_path = path.key("ports");
    for (index, port) in list(service.get("ports")).enumerate() {
        if let Some(address) = port.get("host_ip")
            && let Some(text) = address.as_str()
            && text.parse::<std::net::IpAddr>().is_err()
        {
            let message = format!(
                "`{}.host_ip` is `{text}`, which is not an IP address",
                ports_path.item(index)
            );
            let problem = Diagnostic::error("invalid-port", message)
                .at(report.locate(address.span), "expected an IP address");
            let advice = if text == "localhost" {
                "write 127.0.0.1"
            } else {
                "write an address like 127.0.0.1, or leave `host_ip` out for all addresses"
            };
            report.push_about(address, problem.help(advice));
        }
    }
    let watch = service
        .get("develop")
        .and_then(|develop| develop.get("watch"));
    for rule in list(watch) {
        if let Some(watched) = rule
            .get("path")
            .filter(|watched| watched.as_str().is_some_and(|text| text.trim().is_empty()))
        {
            let problem = Diagnostic::error(
                "wrong-value",
                format!("a watched path of `{path}` is blank"),
            );
            let problem = problem.at(report.locate(watched.span), "expected a path");
            report.push(problem.help("write the path of a file or directory to watch"));
        }
    }
    let devices = service.at(&["deploy", "resources", "reservations", "devices"]);
    for request in list(service.get("gpus")).chain(list(devices)) {
        if let (Some(count), Some(ids)) = (request.get("count"), request.get("device_ids")) {
            let problem = Diagnostic::error(
                "conflict",
                format!("a device request of `{path}` has both `count` and `device_ids`"),
            )
            .at(report.locate(ids.key_or_value()), "")
            .and(report.locate(count.key_or_value()), "")
            .help("write only one of them");
            report.push(problem);
        }
    }
}

fn list(node: Option<&Node>) -> impl Iterator<Item = &Node> {
    node.and_then(Node::as_list).into_iter().flatten()
}

fn is_external(resource: &Node) -> bool {
    matches!(
        resource.get("external").map(|node| &node.value),
        Some(Value::Bool(true))
    )
}

fn external_alone(volume: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    if !is_external(volume) {
        return;
    }
    let Some(map) = volume.as_map() else { return };
    for (key, node) in map {
        if matches!(key.as_str(), "external" | "name") || key.starts_with("x-") {
            continue;
        }
        let problem = Diagnostic::error(
            "conflict",
            format!("`{path}` is external, so that `{key}` has no effect on it"),
        )
        .at(report.locate(node.key_or_value()), "")
        .and(
            map.get("external")
                .and_then(|external| report.locate(external.key_or_value())),
            "external here",
        )
        .help(format!("remove `{key}` or `external`"));
        report.push(problem);
    }
}

fn one_source(resource: &Node, attributes: &[&str], path: &Path<'_>, report: &mut Report<'_>) {
    let Some(map) = resource.as_map() else { return };
    let given: Vec<&Node> = attributes.iter().filter_map(|name| map.get(name)).collect();
    let names = attributes
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    match given.as_slice() {
        [] if !is_external(resource) && !map.contains_key("driver") => {
            let problem =
                Diagnostic::error("missing-attribute", format!("`{path}` has no content"))
                    .at(report.locate(resource.key_or_value()), "")
                    .help(format!("add one of {names}, or `external: true`"));
            report.push(problem);
        }
        [first, second, ..] => {
            let problem =
                Diagnostic::error("conflict", format!("`{path}` has more than one of {names}"))
                    .at(report.locate(second.key_or_value()), "")
                    .and(report.locate(first.key_or_value()), "the other one")
                    .help("remove one; from another file, with `!reset`");
            report.push(problem);
        }
        _ => {}
    }
}

/// What was likely meant, when only spaces and capitals are wrong.
fn repaired(text: &str, format: Format) -> Option<String> {
    let better: String = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect::<String>()
        .to_lowercase();
    let fits = match format {
        Format::None => false,
        Format::Duration => better.parse::<ComposeDuration>().is_ok(),
        Format::Bytes => better.parse::<ByteSize>().is_ok(),
    };
    fits.then_some(better)
}

/// Checks all durations and sizes below a node.
fn formats(node: &mut Node, ty: &'static Type, path: &Path<'_>, report: &mut Report<'_>) {
    match &mut node.value {
        Value::Map(map) => {
            for (name, entry) in map.iter_mut() {
                if let Some(entry_type) = ty.entry(name) {
                    formats(entry, entry_type, &path.key(name), report);
                }
            }
        }
        Value::List(items) => {
            let Some(item_type) = ty.items else { return };
            for (index, item) in items.iter_mut().enumerate() {
                formats(item, item_type, &path.item(index), report);
            }
        }
        Value::String(text) => {
            let wrong = match ty.format {
                Format::None => None,
                Format::Duration => text
                    .parse::<ComposeDuration>()
                    .err()
                    .map(|error| error.to_string()),
                Format::Bytes => text
                    .parse::<ByteSize>()
                    .err()
                    .map(|error| error.to_string()),
            };
            if let Some(why) = wrong {
                // Only an empty text is quoted as two backquotes.
                let why = why.replace("``", "an empty text");
                let expected = match ty.format {
                    Format::Bytes => "expected a size",
                    _ => "expected a duration",
                };
                let problem = Diagnostic::error("wrong-value", format!("`{path}`: {why}"))
                    .at(report.locate(node.span), expected);
                let problem = match repaired(text, ty.format) {
                    Some(better) => problem.help(format!("write `{better}`")),
                    None => problem,
                };
                report.push_about(node, problem);
                node.value = Value::Invalid;
            }
        }
        _ => {}
    }
}
