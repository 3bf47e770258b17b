//! Entries of a list that mean the same thing (a variable, a mount point, a port): the later one takes the earlier one's place.

use std::borrow::Cow;
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
            for (name, entry) in map.iter_mut().filter(|(_, entry)| !entry.is_single()) {
                if let Some(entry_type) = ty.entry(name) {
                    unify(entry, entry_type, &path.key(name), report);
                }
            }
        }
        Value::List(items) => unify_items(items, ty.unify, path, report),
        _ => {}
    }
}

/// Removes repeated entries of a list; not of one below another list.
pub(crate) fn unify_items(
    items: &mut Vec<Node>,
    unify: Unify,
    path: &Path<'_>,
    report: &mut Report<'_>,
) {
    if unify != Unify::None && !items.is_empty() && !path.is_in_list() {
        let old = std::mem::take(items);
        *items = unified(old, unify, path, report);
    }
}

fn unified(items: Vec<Node>, unify: Unify, path: &Path<'_>, report: &mut Report<'_>) -> Vec<Node> {
    let mut complete = true;
    for (index, item) in items.iter().enumerate() {
        if let Some(missing) = missing(item, unify) {
            let problem = Diagnostic::error(
                "missing-attribute",
                format!("`{}` needs `{missing}`", path.item(index)),
            )
            .at(report.locate(item.span), "")
            .help(format!("add `{missing}: …`"));
            report.push(problem);
            complete = false;
        }
        complete &= !item.is_invalid();
    }
    let places = places(&items, unify);
    let repeats = places.as_ref().is_some_and(|places| {
        places
            .iter()
            .enumerate()
            .any(|(index, place)| index != *place)
    });
    if complete && !repeats {
        return items;
    }
    let mut kept: Vec<Option<Node>> = Vec::new();
    kept.resize_with(items.len(), || None);
    for (index, item) in items.into_iter().enumerate() {
        if !item.is_invalid() && missing(&item, unify).is_none() {
            let place = places.as_ref().map_or(index, |places| places[index]);
            kept[place] = Some(item);
        }
    }
    kept.into_iter().flatten().collect()
}

/// So many entries are compared with each other rather than hashed.
const FEW: usize = 8;

/// For each item, the place of the first one that means the same; none when there is nothing to compare.
fn places(items: &[Node], unify: Unify) -> Option<Vec<usize>> {
    if items.len() < 2 {
        return None;
    }
    let identities = items.iter().map(|item| identity(item, unify)).enumerate();
    if items.len() > FEW {
        let mut known = HashMap::with_capacity(items.len());
        let place = |(index, identity): (usize, Option<_>)| {
            identity.map_or(index, |identity| *known.entry(identity).or_insert(index))
        };
        return Some(identities.map(place).collect());
    }
    let mut known: Vec<(usize, Cow<'_, str>)> = Vec::with_capacity(items.len());
    let place = |(index, identity): (usize, Option<_>)| {
        let Some(identity) = identity else {
            return index;
        };
        match known.iter().find(|(_, other)| *other == identity) {
            Some((first, _)) => *first,
            None => {
                known.push((index, identity));
                index
            }
        }
    };
    Some(identities.map(place).collect())
}

/// The attribute without which an entry cannot be told from another.
fn missing(item: &Node, unify: Unify) -> Option<&'static str> {
    let map = item.as_map()?;
    let needed = match unify {
        Unify::VolumeTarget | Unify::DeviceTarget | Unify::Port => "target",
        Unify::EnvFile => "path",
        Unify::FileTarget(_) | Unify::KeyValue | Unify::Expose | Unify::None => return None,
    };
    // What is wrong was told already.
    let is_there = map
        .get(needed)
        .is_some_and(|node| node.is_scalar() || node.is_invalid());
    (!is_there).then_some(needed)
}

/// What makes an entry the same as another; none when nothing does.
fn identity(item: &Node, unify: Unify) -> Option<Cow<'_, str>> {
    let attribute = |name: &str| item.get(name).and_then(Node::scalar);
    if item.as_map().is_some() {
        let or = |name, default| attribute(name).unwrap_or(Cow::Borrowed(default));
        return match unify {
            Unify::VolumeTarget | Unify::DeviceTarget => attribute("target"),
            Unify::EnvFile => attribute("path"),
            Unify::Port => Some(Cow::Owned(format!(
                "{}:{}:{}/{}",
                or("host_ip", "0.0.0.0"),
                or("published", ""),
                attribute("target")?,
                or("protocol", "tcp")
            ))),
            Unify::FileTarget(directory) => Some(
                attribute("target")
                    .unwrap_or_else(|| Cow::Owned(format!("{directory}/{}", or("source", "")))),
            ),
            Unify::KeyValue | Unify::Expose | Unify::None => None,
        };
    }
    let text = item.scalar()?;
    Some(match unify {
        Unify::KeyValue => match text {
            Cow::Borrowed(text) => text.split('=').next().unwrap_or_default().into(),
            Cow::Owned(text) => text.into(),
        },
        Unify::VolumeTarget => match text {
            Cow::Borrowed(text) => short_volume_target(text).into(),
            Cow::Owned(text) => short_volume_target(&text).to_owned().into(),
        },
        Unify::DeviceTarget => Cow::Owned(text.split(':').nth(1).unwrap_or(&text).to_owned()),
        Unify::FileTarget(directory) => Cow::Owned(format!("{directory}/{text}")),
        Unify::Port | Unify::Expose | Unify::EnvFile | Unify::None => text,
    })
}
