//! A later file's values over an earlier one's, by the rules of each attribute; and the removal of repeated entries.

use std::collections::HashSet;
use std::rc::Rc;

use super::diagnostic::Diagnostic;
use super::node::{Key, Map, MergeTag, Node, Origin, Value};
use super::report::{Path, Report};
use super::schema::{Merge, Type};

/// What to do with the marks of `!reset` and `!override`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// They have done their work: remove them.
    Settle,
    /// They still have to work on another file.
    Keep,
}

/// Where a merge takes place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) ty: &'static Type,
    pub(crate) path: &'a Path<'a>,
    pub(crate) marks: Marks,
}

/// Merges `over` into `base`.
pub(crate) fn merge(base: &mut Node, over: Node, target: Target<'_>, report: &mut Report<'_>) {
    let Target { ty, path, marks } = target;
    Merger { report, marks }.node(base, over, Some(ty), path);
}

struct Merger<'r, 's> {
    report: &'r mut Report<'s>,
    marks: Marks,
}

impl Merger<'_, '_> {
    fn node(&mut self, base: &mut Node, over: Node, ty: Option<&'static Type>, path: &Path<'_>) {
        let rule = ty.map_or(Merge::Natural, |ty| ty.merge);
        if over.tag.is_some() {
            *base = over;
            return;
        }
        if base.is_invalid() || over.is_invalid() {
            *base = over;
            return;
        }
        match rule {
            Merge::Replace => *base = over,
            _ if over.is_null() => {}
            Merge::KeyValues => self.key_values(base, over, path),
            Merge::ExtraHosts => extra_hosts(base, over),
            Merge::Logging if !same_driver(base, &over) => *base = over,
            Merge::Build => {
                wrap(base, "context");
                self.natural(base, wrapped(over, "context"), ty, path);
            }
            Merge::DependsOn => {
                names_to_map(base, started);
                self.natural(base, named(over, started), ty, path);
            }
            Merge::NamedOptions => {
                names_to_map(base, no_options);
                self.natural(base, named(over, no_options), ty, path);
            }
            Merge::AddressPools => self.address_pools(base, over, ty, path),
            Merge::Natural | Merge::Logging => self.natural(base, over, ty, path),
        }
    }

    fn natural(&mut self, base: &mut Node, over: Node, ty: Option<&'static Type>, path: &Path<'_>) {
        let clash = matches!(
            (&base.value, &over.value),
            (Value::Map(_), other) if !matches!(other, Value::Map(_))
        ) || matches!(
            (&base.value, &over.value),
            (Value::List(_), other) if !matches!(other, Value::List(_))
        );
        if clash {
            self.clash(base, &over, path);
            return;
        }
        let (span, key_span, origin) = (over.span, over.key_span, over.origin.clone());
        match (&mut base.value, over.value) {
            (Value::Map(below), Value::Map(above)) => self.maps(below, *above, ty, path),
            (Value::List(below), Value::List(above)) => below.extend(above),
            (below, above) => {
                let known = base.span.is_some() && !matches!(below, Value::Null);
                *below = above;
                let overrides = || known.then(|| Rc::new(Origin::Override(base.span)));
                let origin = origin.or_else(overrides);
                (base.span, base.key_span, base.origin) = (span, key_span, origin);
            }
        }
    }

    fn maps(&mut self, below: &mut Map, above: Map, ty: Option<&'static Type>, path: &Path<'_>) {
        let mut removed = HashSet::new();
        for (name, node) in above {
            if node.tag == Some(MergeTag::Reset) && self.marks == Marks::Settle {
                removed.insert(name);
                continue;
            }
            match below.get_mut(&name) {
                Some(existing) => {
                    let entry_type = ty.and_then(|ty| ty.entry(&name));
                    self.node(existing, node, entry_type, &path.key(&name));
                }
                None => {
                    below.insert(name, node);
                }
            }
        }
        remove(below, &removed);
    }

    fn clash(&mut self, base: &mut Node, over: &Node, path: &Path<'_>) {
        let problem = Diagnostic::error(
            "cannot-override",
            format!(
                "`{path}` is {} here but {} in the file it overrides",
                over.kind(),
                base.kind()
            ),
        )
        .at(
            self.report.locate(over.span),
            format!("{} here", over.kind()),
        )
        .and(
            self.report.locate(base.span),
            format!("{} here", base.kind()),
        )
        .help("write the same kind of value, or mark this one with `!override`");
        self.report.push_about(over, problem);
        base.value = Value::Invalid;
    }

    fn key_values(&mut self, base: &mut Node, over: Node, path: &Path<'_>) {
        if let (Value::Map(below), Value::Map(_), false) =
            (&mut base.value, &over.value, self.report.keeps_variables())
        {
            let Value::Map(above) = over.value else {
                return;
            };
            // What is merged counts as listed: a name alone is in one place.
            for name_alone in below.values_mut().filter(|node| node.is_null()) {
                name_alone.span = name_alone.key_span;
            }
            let mut removed = HashSet::new();
            for (name, mut node) in *above {
                if node.is_null() {
                    node.span = node.key_span;
                }
                if node.tag == Some(MergeTag::Reset) && self.marks == Marks::Settle {
                    removed.insert(name);
                } else {
                    below.insert(name, node);
                }
            }
            remove(below, &removed);
            return;
        }
        if base.is_null() {
            *base = over;
            return;
        }
        let resets: HashSet<Key> = over
            .as_map()
            .into_iter()
            .flatten()
            .filter(|(_, node)| node.tag == Some(MergeTag::Reset))
            .map(|(name, _)| name.clone())
            .collect();
        let (Some(mut below), Some(mut above)) = (to_sequence(base), to_sequence(&over)) else {
            self.clash(base, &over, path);
            return;
        };
        if self.report.keeps_variables() {
            // Nothing makes a mapping of it again: it is printed in the reference's order.
            for (node, items) in [(&*base, &mut below), (&over, &mut above)] {
                if node.as_map().is_some() {
                    items.sort_by(|left, right| left.as_str().cmp(&right.as_str()));
                }
            }
        }
        below.retain(|item| {
            item.as_str()
                .is_none_or(|text| !resets.contains(key_of(text)))
        });
        below.extend(above);
        base.value = Value::List(below);
    }

    fn address_pools(
        &mut self,
        base: &mut Node,
        over: Node,
        ty: Option<&'static Type>,
        path: &Path<'_>,
    ) {
        if base.as_list().is_none() || over.as_list().is_none() {
            self.natural(base, over, ty, path);
            return;
        }
        let (Value::List(below), Value::List(above)) = (&mut base.value, over.value) else {
            return;
        };
        for pool in above {
            let subnet = pool.get("subnet").and_then(Node::as_str).map(str::to_owned);
            let same = below.iter_mut().find(|existing| {
                existing.get("subnet").and_then(Node::as_str) == subnet.as_deref()
            });
            match same {
                Some(existing) => self.natural(existing, pool, ty.and_then(|ty| ty.items), path),
                None => below.push(pool),
            }
        }
    }
}

/// Removes entries, all at once: each removal moves those behind it.
fn remove(map: &mut Map, names: &HashSet<Key>) {
    if !names.is_empty() {
        map.retain(|name, _| !names.contains(name));
    }
}

fn key_of(text: &str) -> &str {
    text.split('=').next().unwrap_or(text)
}

/// `KEY=VALUE` items, with the place of each value; none when the value cannot be one.
fn to_sequence(node: &Node) -> Option<Vec<Node>> {
    match &node.value {
        Value::List(items) => Some(items.clone()),
        Value::String(_) => Some(vec![node.clone()]),
        Value::Null => Some(Vec::new()),
        Value::Map(map) => {
            let mut items = Vec::with_capacity(map.len());
            for (name, value) in map.iter() {
                if value.tag == Some(MergeTag::Reset) {
                    continue;
                }
                items.push(match (&value.value, value.scalar_text()) {
                    (Value::Null, _) => value.with(Value::String(name.to_string())),
                    (_, Some(text)) => value.with(Value::String(format!("{name}={text}"))),
                    // Neither text nor nothing: the check of shapes will tell.
                    (_, None) => value.clone(),
                });
            }
            Some(items)
        }
        _ => None,
    }
}

fn extra_hosts(base: &mut Node, over: Node) {
    let (Some(mut below), Some(above)) = (host_list(base), host_list(&over)) else {
        *base = over;
        return;
    };
    // Both `!reset` and `!override` of a host take away its earlier addresses.
    let entries = over.as_map().into_iter().flatten();
    let tagged = entries.filter(|(_, address)| address.tag.is_some());
    let gone: HashSet<&str> = tagged.map(|(host, _)| host.as_str()).collect();
    below.retain(|item| {
        let host = item.as_str().and_then(|text| text.split(['=', ':']).next());
        host.is_none_or(|host| !gone.contains(host))
    });
    for item in above {
        if !below.contains(&item) {
            below.push(item);
        }
    }
    base.value = Value::List(below);
}

pub(crate) fn host_list(node: &Node) -> Option<Vec<Node>> {
    let Value::Map(map) = &node.value else {
        return to_sequence(node);
    };
    let mut items = Vec::new();
    let kept = |(_, value): &(&Key, &Node)| value.tag != Some(MergeTag::Reset);
    for (name, value) in map.iter().filter(kept) {
        match &value.value {
            Value::List(addresses) => items.extend(addresses.iter().map(|address| {
                address.with(Value::String(format!(
                    "{name}={}",
                    address.scalar_text().unwrap_or_default()
                )))
            })),
            _ => items.push(match value.scalar_text() {
                Some(text) => value.with(Value::String(format!("{name}={text}"))),
                // The check of shapes will tell.
                None => value.clone(),
            }),
        }
    }
    Some(items)
}

/// Options of different drivers do not mix; a missing driver is the same as any, and so is one that is taken away.
fn same_driver(base: &Node, over: &Node) -> bool {
    let driver = over.get("driver");
    match (
        base.get("driver"),
        driver.filter(|node| node.tag != Some(MergeTag::Reset)),
    ) {
        (Some(left), Some(right)) => left == right,
        _ => true,
    }
}

fn wrapped(mut node: Node, key: &'static str) -> Node {
    wrap(&mut node, key);
    node
}

/// `text` becomes `{key: text}`.
pub(crate) fn wrap(node: &mut Node, key: &'static str) {
    if matches!(node.value, Value::String(_)) {
        let inner = Node::new(std::mem::replace(&mut node.value, Value::Null), node.span);
        node.value = Value::Map(Box::new(Map::from_iter([(key, inner)])));
    }
}

fn named(mut node: Node, make: fn(&Node) -> Node) -> Node {
    names_to_map(&mut node, make);
    node
}

/// A list of names becomes a mapping from each name to what `make` makes of it.
pub(crate) fn names_to_map(node: &mut Node, make: fn(&Node) -> Node) {
    let Value::List(items) = &node.value else {
        return;
    };
    if !items.iter().all(|item| item.as_str().is_some()) {
        return;
    }
    let entries = items.iter().filter_map(|item| {
        let mut value = make(item);
        value.key_span = item.span;
        value.origin.clone_from(&item.origin);
        Some((Key::read(item.as_str()?), value))
    });
    node.value = Value::Map(Box::new(entries.collect()));
}

/// A dependency written as a name only.
pub(crate) fn started(item: &Node) -> Node {
    let entries = [
        ("condition", Node::string("service_started", item.span)),
        ("required", Node::new(Value::Bool(true), item.span)),
    ];
    Node::map(Map::from_iter(entries), item.span)
}

/// A network or model written as a name only.
pub(crate) fn no_options(item: &Node) -> Node {
    Node::new(Value::Null, item.span)
}

/// Removes what is marked `!reset` and forgets all marks.
pub(crate) fn settle(node: &mut Node) {
    node.tag = None;
    match &mut node.value {
        Value::Map(map) => {
            map.retain(|_, entry| entry.tag != Some(MergeTag::Reset));
            map.values_mut().for_each(settle);
        }
        Value::List(items) => items.iter_mut().for_each(settle),
        _ => {}
    }
}
