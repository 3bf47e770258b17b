//! Entries of a list that mean the same thing (a variable, a mount point, a port): the later one takes the earlier one's place.

use std::collections::HashMap;

use super::diagnostic::Diagnostic;
use super::expand::short_volume_target;
use super::node::{Node, Value};
use super::report::{Path, Report};
use super::schema::{Type, Unify};

/// Removes repeated entries everywhere below a node.
pub(crate) fn unify(node: &mut Node, ty: &'static Type, path: &Path<'_>, report: &mut Report<'_>) {
    match &mut node.value {
        Value::Map(map) => {
            for (name, entry) in map.iter_mut() {
                if let Some(entry_type) = ty.entry(name) {
                    unify(entry, entry_type, &path.key(name), report);
                }
            }
        }
        Value::List(items) if ty.unify != Unify::None => {
            let old = std::mem::take(items);
            *items = unified(old, ty.unify, path, report);
        }
        _ => {}
    }
}

fn unified(items: Vec<Node>, unify: Unify, path: &Path<'_>, report: &mut Report<'_>) -> Vec<Node> {
    let mut kept: Vec<Node> = Vec::with_capacity(items.len());
    let mut places: HashMap<String, usize> = HashMap::new();
    for (index, item) in items.into_iter().enumerate() {
        if item.is_invalid() {
            continue;
        }
        match identity(&item, unify) {
            Ok(None) => kept.push(item),
            Ok(Some(identity)) => match places.get(&identity) {
                Some(place) => kept[*place] = item,
                None => {
                    places.insert(identity, kept.len());
                    kept.push(item);
                }
            },
            Err(missing) => {
                let problem = Diagnostic::error(
                    "missing-attribute",
                    format!("`{}` needs `{missing}`", path.item(index)),
                )
                .at(report.locate(item.span), "")
                .help(format!("add `{missing}: …`"));
                report.push(problem);
            }
        }
    }
    kept
}

/// What makes an entry the same as another; or the attribute that is missing to tell.
fn identity(item: &Node, unify: Unify) -> Result<Option<String>, &'static str> {
    let text = item.scalar_text();
    let attribute = |name: &str| item.get(name).and_then(Node::scalar_text);
    if item.as_map().is_some() {
        return match unify {
            Unify::VolumeTarget | Unify::DeviceTarget => {
                attribute("target").map(Some).ok_or("target")
            }
            Unify::EnvFile => attribute("path").map(Some).ok_or("path"),
            Unify::Port => {
                let target = attribute("target").ok_or("target")?;
                let or =
                    |name, default: &str| attribute(name).unwrap_or_else(|| default.to_owned());
                Ok(Some(format!(
                    "{}:{}:{target}/{}",
                    or("host_ip", "0.0.0.0"),
                    or("published", ""),
                    or("protocol", "tcp")
                )))
            }
            Unify::FileTarget(directory) => Ok(Some(attribute("target").unwrap_or_else(|| {
                format!("{directory}/{}", attribute("source").unwrap_or_default())
            }))),
            Unify::KeyValue | Unify::Expose | Unify::None => Ok(None),
        };
    }
    Ok(text.map(|text| match unify {
        Unify::KeyValue => text.split('=').next().unwrap_or_default().to_owned(),
        Unify::VolumeTarget => short_volume_target(&text),
        Unify::DeviceTarget => text.split(':').nth(1).unwrap_or(&text).to_owned(),
        Unify::FileTarget(directory) => format!("{directory}/{text}"),
        Unify::Port | Unify::Expose | Unify::EnvFile | Unify::None => text,
    }))
}
