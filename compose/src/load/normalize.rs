//! What the files leave unsaid: the default network, names of resources, dependencies implied by other attributes.

use super::environment::resolve_item;
use super::interpolate::Environment;
use super::node::{Map, Node, Span, Value};

/// Completes the model.
pub(crate) fn normalize(root: &mut Node, project: &str, environment: &Environment) {
    normalize_networks(root);
    if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
        for service in services.values_mut() {
            normalize_service(service, environment);
        }
    }
    for section in ["networks", "volumes", "configs", "secrets"] {
        let Some(resources) = root.get_mut(section).and_then(Node::as_map_mut) else {
            continue;
        };
        for (key, resource) in resources.iter_mut() {
            name_resource(key, resource, project);
        }
    }
}

fn normalize_networks(root: &mut Node) {
    let mut uses_default = false;
    if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
        for service in services.values_mut() {
            let span = service.span;
            let Some(map) = service.as_map_mut() else {
                continue;
            };
            if map.contains_key("provider") || map.contains_key("network_mode") {
                continue;
            }
            let declared = map.get("networks").and_then(Node::as_map);
            match declared.filter(|networks| !networks.is_empty()) {
                Some(networks) => uses_default |= networks.contains_key("default"),
                None => {
                    let default = Map::from_iter([("default", Node::new(Value::Null, Span::NONE))]);
                    map.insert("networks", Node::map(default, span));
                    uses_default = true;
                }
            }
        }
    }
    if !uses_default {
        return;
    }
    let Some(map) = root.as_map_mut() else { return };
    let networks = map.get_or_insert_with("networks", || Node::empty_map(Span::NONE));
    if let Some(networks) = networks.as_map_mut() {
        networks.get_or_insert_with("default", || Node::new(Value::Null, Span::NONE));
    }
}

fn normalize_service(service: &mut Node, environment: &Environment) {
    let Some(map) = service.as_map_mut() else {
        return;
    };
    if let Some(policy) = map.get_mut("pull_policy")
        && policy.as_str() == Some("if_not_present")
    {
        policy.value = Value::String("missing".to_owned());
    }
    if let Some(build) = map.get_mut("build") {
        normalize_build(build, environment);
    }
    let implied = implied_dependencies(map);
    if !implied.is_empty() {
        let dependencies = map.get_or_insert_with("depends_on", || Node::empty_map(Span::NONE));
        if let Some(dependencies) = dependencies.as_map_mut() {
            for (name, restart, span) in implied {
                dependencies.get_or_insert_with(name, || implied_dependency(restart, span));
            }
        }
    }
    let image = map.get("image").cloned();
    let hooks = map.get_mut("pre_start").and_then(Node::as_list_mut);
    for hook in hooks.into_iter().flatten().filter_map(Node::as_map_mut) {
        if let (false, Some(image)) = (hook.contains_key("image"), &image) {
            hook.insert("image", image.clone());
        }
    }
}

fn normalize_build(build: &mut Node, environment: &Environment) {
    let span = build.span;
    let Some(map) = build.as_map_mut() else {
        return;
    };
    map.get_or_insert_with("context", || Node::string(".", span));
    if !map.contains_key("dockerfile") && !map.contains_key("dockerfile_inline") {
        map.insert("dockerfile", Node::string("Dockerfile", span));
    }
    if let Some(Value::List(items)) = map.get_mut("args").map(|args| &mut args.value) {
        items.retain_mut(|item| resolve_item(item, environment));
    }
    let Some(args) = map.get_mut("args").and_then(Node::as_map_mut) else {
        return;
    };
    for (name, value) in args.iter_mut() {
        if let (true, Some(found)) = (value.is_null(), environment.get(name.as_str())) {
            value.value = Value::String(found.clone());
        }
    }
    args.retain(|_, value| !value.is_null());
}

/// Services that other attributes name, and whether to follow their restarts.
fn implied_dependencies(service: &Map) -> Vec<(String, bool, Span)> {
    let mut implied = Vec::new();
    let texts = |key: &str| {
        service
            .get(key)
            .and_then(Node::as_list)
            .into_iter()
            .flatten()
    };
    for link in texts("links") {
        let Some(text) = link.as_str() else { continue };
        let name = match text.split(':').collect::<Vec<_>>().as_slice() {
            [name, _] => (*name).to_owned(),
            _ => text.to_owned(),
        };
        implied.push((name, true, link.span));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let Some(node) = service.get(key) else {
            continue;
        };
        if let Some(name) = node.as_str().and_then(|text| text.strip_prefix("service:")) {
            implied.push((name.to_owned(), true, node.span));
        }
    }
    for source in texts("volumes_from") {
        let Some(text) = source
            .as_str()
            .filter(|text| !text.starts_with("container:"))
        else {
            continue;
        };
        implied.push((
            text.split(':').next().unwrap_or(text).to_owned(),
            false,
            source.span,
        ));
    }
    implied
}

fn implied_dependency(restart: bool, span: Span) -> Node {
    let entries = [
        ("condition", Node::string("service_started", span)),
        ("restart", Node::new(Value::Bool(restart), span)),
        ("required", Node::new(Value::Bool(true), span)),
    ];
    let mut node = Node::map(Map::from_iter(entries), span);
    node.key_span = span;
    node
}

fn name_resource(key: &str, resource: &mut Node, project: &str) {
    if resource.is_null() {
        resource.value = Value::Map(Box::default());
    }
    let span = resource.span;
    let Some(map) = resource.as_map_mut() else {
        return;
    };
    let external = matches!(
        map.get("external").map(|node| &node.value),
        Some(Value::Bool(true))
    );
    let default = if external {
        key.to_owned()
    } else {
        format!("{project}_{key}")
    };
    if map.get("name").is_none_or(Node::is_null) {
        map.insert("name", Node::string(default, span));
    }
}
