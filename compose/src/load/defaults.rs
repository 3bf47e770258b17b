//! Default values that the reference writes into the model.

use super::node::{Map, Node, Value};

/// Sets the defaults of a service; `all` is how many devices are requested when no number is written.
pub(crate) fn set_defaults(service: &mut Node, all: &Value) {
    for secret in items(service.get_mut("secrets")) {
        let source = secret
            .get("source")
            .and_then(Node::as_str)
            .unwrap_or_default()
            .to_owned();
        default_text(secret, "target", || format!("/run/secrets/{source}"));
    }
    for port in items(service.get_mut("ports")) {
        default_text(port, "protocol", || "tcp".to_owned());
        default_text(port, "mode", || "ingress".to_owned());
    }
    for request in items(service.get_mut("gpus")) {
        default_count(request, all);
    }
    let devices = ["deploy", "resources", "reservations", "devices"]
        .iter()
        .try_fold(&mut *service, |node, key| node.get_mut(key));
    for request in items(devices) {
        default_count(request, all);
    }
    if let Some(build) = service.get_mut("build") {
        default_text(build, "context", || ".".to_owned());
    }
}

fn items(node: Option<&mut Node>) -> impl Iterator<Item = &mut Node> {
    node.and_then(Node::as_list_mut).into_iter().flatten()
}

fn entry(node: &mut Node) -> Option<(&mut Map, super::node::Span)> {
    let span = node.span;
    Some((node.as_map_mut()?, span))
}

fn default_text(node: &mut Node, key: &'static str, text: impl FnOnce() -> String) {
    if let Some((map, span)) = entry(node)
        && !map.contains_key(key)
    {
        map.insert(key, Node::string(text(), span));
    }
}

fn default_count(node: &mut Node, all: &Value) {
    if let Some((map, span)) = entry(node)
        && !map.contains_key("count")
        && !map.contains_key("device_ids")
    {
        map.insert("count", Node::new(all.clone(), span));
    }
}
