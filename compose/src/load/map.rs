//! Mappings of the tree: in the order of the file, made for a few entries, with an index only when there are many.
//!
//! A project of a thousand services has some ten thousand mappings, most of them of less than ten entries, which every
//! phase walks. Comparing ten names is cheaper than hashing one, and a mapping without a table of hashes is one
//! allocation. Keys are counted, not copied: those of a service that a thousand others extend are there once. Mappings of
//! many entries have an index with hashes that no file can foresee, so that none can make them collide.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use super::node::Node;

/// The name of an entry; a clone is the same text.
#[derive(Clone)]
pub(crate) enum Key {
    /// Written by the loader.
    Known(&'static str),
    /// Written in a file.
    Read(Rc<str>),
}

impl Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Known(text) => text,
            Self::Read(text) => text,
        }
    }
}

impl Key {
    /// A key that a file holds.
    pub(crate) fn read(text: &str) -> Self {
        Self::Read(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        self
    }
}

impl From<&'static str> for Key {
    fn from(text: &'static str) -> Self {
        Self::Known(text)
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self::Read(text.into())
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        self
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Key {}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Mappings of more entries have an index.
const FEW: usize = 32;

/// A mapping, in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct Map {
    entries: Vec<(Key, Node)>,
    /// A bit for each name that was ever inserted: most questions are for names that are not there.
    names: u64,
    /// The place of each key, when there are many.
    #[expect(
        clippy::box_collection,
        reason = "few mappings have it, and all are kept small"
    )]
    index: Option<Box<HashMap<Key, usize>>>,
}

/// The bit of a name.
fn bit(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let letter = |at: usize| bytes.get(at).map_or(0, |byte| u32::from(*byte));
    let mix = letter(0)
        .wrapping_mul(7)
        .wrapping_add(letter(bytes.len() / 2).wrapping_mul(13))
        .wrapping_add(bytes.len() as u32);
    1 << (mix % 64)
}

impl Map {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with_capacity(entries: usize) -> Self {
        Self {
            entries: Vec::with_capacity(entries),
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Moves what it holds into a mapping that takes no more memory than it needs; the room stays for other entries. A
    /// large mapping keeps its room.
    pub(crate) fn take_exact(&mut self) -> Self {
        if self.entries.len() > FEW {
            return std::mem::take(self);
        }
        Self {
            entries: self.entries.drain(..).collect(),
            names: std::mem::take(&mut self.names),
            index: None,
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        if self.names & bit(name) == 0 {
            return None;
        }
        if let Some(index) = &self.index {
            return index.get(name).copied();
        }
        steps::take(self.entries.len());
        self.entries.iter().position(|(key, _)| **key == *name)
    }

    pub(crate) fn contains_key(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.find(name).map(|at| &self.entries[at].1)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.find(name).map(|at| &mut self.entries[at].1)
    }

    /// Sets an entry; one that is there keeps its place.
    pub(crate) fn insert(&mut self, key: impl Into<Key>, node: Node) -> Option<Node> {
        let key = key.into();
        match self.find(&key) {
            Some(at) => Some(std::mem::replace(&mut self.entries[at].1, node)),
            None => {
                self.push(key, node);
                None
            }
        }
    }

    /// The entry of a key, made when it is not there.
    pub(crate) fn get_or_insert_with(
        &mut self,
        key: impl Into<Key>,
        make: impl FnOnce() -> Node,
    ) -> &mut Node {
        let key = key.into();
        let at = self.find(&key).unwrap_or_else(|| self.push(key, make()));
        &mut self.entries[at].1
    }

    fn push(&mut self, key: Key, node: Node) -> usize {
        let at = self.entries.len();
        self.names |= bit(&key);
        if let Some(index) = &mut self.index {
            index.insert(key.clone(), at);
        }
        if self.entries.len() == self.entries.capacity() {
            // Most mappings are tiny, and the entries are large.
            self.entries.reserve_exact(at.max(2));
        }
        self.entries.push((key, node));
        if self.index.is_none() && self.entries.len() > FEW {
            self.make_index();
        }
        at
    }

    fn make_index(&mut self) {
        steps::take(self.entries.len());
        let keys = self.entries.iter().map(|(key, _)| key.clone());
        let index: HashMap<Key, usize> = keys.zip(0..).collect();
        self.index = (self.entries.len() > FEW).then(|| Box::new(index));
    }

    /// Removes an entry; those behind it move up.
    pub(crate) fn shift_remove(&mut self, name: &str) -> Option<Node> {
        let at = self.find(name)?;
        steps::take(self.entries.len());
        let (_, node) = self.entries.remove(at);
        if self.index.is_some() {
            self.make_index();
        }
        Some(node)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Key, &mut Node) -> bool) {
        let before = self.entries.len();
        steps::take(before);
        self.entries.retain_mut(|(key, node)| keep(key, node));
        if self.index.is_some() && self.entries.len() != before {
            self.make_index();
        }
    }

    /// Takes out the entries that are chosen.
    pub(crate) fn extract(&mut self, mut chosen: impl FnMut(&Key) -> bool) -> Self {
        if !self.entries.iter().any(|(key, _)| chosen(key)) {
            return Self::new();
        }
        let (taken, kept) = std::mem::take(self)
            .into_iter()
            .partition(|(key, _)| chosen(key));
        *self = kept;
        taken
    }

    pub(crate) fn iter(&self) -> Iter<'_> {
        steps::take(self.entries.len());
        Iter(self.entries.iter())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&Key, &mut Node)> {
        steps::take(self.entries.len());
        self.entries.iter_mut().map(|(key, node)| (&*key, node))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        steps::take(self.entries.len());
        self.entries.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Node> {
        steps::take(self.entries.len());
        self.entries.iter().map(|(_, node)| node)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        steps::take(self.entries.len());
        self.entries.iter_mut().map(|(_, node)| node)
    }
}

impl Clone for Map {
    fn clone(&self) -> Self {
        steps::take(self.entries.len());
        Self {
            entries: self.entries.clone(),
            names: self.names,
            index: self.index.clone(),
        }
    }
}

impl PartialEq for Map {
    /// The same entries in any order.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .iter()
                .all(|(key, node)| other.get(key).is_some_and(|same| same == node))
    }
}

/// The entries of a mapping, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Iter<'m>(std::slice::Iter<'m, (Key, Node)>);

impl<'m> Iterator for Iter<'m> {
    type Item = (&'m Key, &'m Node);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, node)| (key, node))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<'m> IntoIterator for &'m Map {
    type Item = (&'m Key, &'m Node);
    type IntoIter = Iter<'m>;

    fn into_iter(self) -> Iter<'m> {
        self.iter()
    }
}

impl IntoIterator for Map {
    type Item = (Key, Node);
    type IntoIter = std::vec::IntoIter<(Key, Node)>;

    fn into_iter(self) -> Self::IntoIter {
        steps::take(self.entries.len());
        self.entries.into_iter()
    }
}

impl<K: Into<Key>> FromIterator<(K, Node)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, Node)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K: Into<Key>> Extend<(K, Node)> for Map {
    fn extend<I: IntoIterator<Item = (K, Node)>>(&mut self, entries: I) {
        let entries = entries.into_iter();
        self.entries.reserve(entries.size_hint().0);
        for (key, node) in entries {
            self.insert(key, node);
        }
    }
}

/// How many entries were visited, for the tests that hold loading linear.
pub(super) mod steps {
    #[cfg(test)]
    thread_local! {
        static TAKEN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    #[cfg(test)]
    pub(super) fn take(entries: usize) {
        TAKEN.set(TAKEN.get() + entries);
    }

    #[cfg(not(test))]
    pub(super) fn take(_: usize) {}

    /// Those of this thread since it was asked before.
    #[cfg(test)]
    pub(in crate::load) fn taken() -> usize {
        TAKEN.take()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::node::{Span, Value};
    use super::*;

    fn node(number: i64) -> Node {
        Node::new(Value::Int(number), Span::NONE)
    }

    proptest! {
        /// Whatever is done to it, it holds what an `IndexMap` holds, below and above the size of the index.
        #[test]
        fn behaves_as_an_ordered_map(steps in prop::collection::vec((0..4_u8, 0..60_i64), 0..300)) {
            let (mut map, mut model) = (Map::new(), indexmap::IndexMap::<String, i64>::new());
            for (number, (step, name)) in (0..).zip(steps) {
                let key = format!("k{name}");
                match step {
                    0 => {
                        let old = map.insert(key.clone(), node(number));
                        prop_assert_eq!(old, model.insert(key, number).map(node));
                    }
                    1 => {
                        let entry = map.get_or_insert_with(key.clone(), || node(number));
                        prop_assert_eq!(&*entry, &node(*model.entry(key).or_insert(number)));
                    }
                    2 if name % 8 == 0 => {
                        map.retain(|key, _| !key.ends_with('7'));
                        model.retain(|key, _| !key.ends_with('7'));
                    }
                    2 if name % 8 == 1 => {
                        let taken = map.extract(|key| key.ends_with('3'));
                        prop_assert!(taken.keys().all(|key| key.ends_with('3')));
                        model.retain(|key, _| !key.ends_with('3'));
                    }
                    _ => prop_assert_eq!(map.shift_remove(&key), model.shift_remove(&key).map(node)),
                }
                let held: Vec<_> = map.iter().map(|(key, node)| (key.to_string(), node.clone())).collect();
                let wanted: Vec<_> = model.iter().map(|(key, number)| (key.clone(), node(*number))).collect();
                prop_assert_eq!(held, wanted);
                for name in 0..60 {
                    let key = format!("k{name}");
                    prop_assert_eq!(map.get(&key).cloned(), model.get(&key).map(|number| node(*number)));
                }
            }
        }
    }

    #[test]
    fn equal_in_any_order() {
        let make =
            |names: &[&'static str]| names.iter().map(|name| (*name, node(1))).collect::<Map>();
        assert_eq!(make(&["a", "b"]), make(&["b", "a"]));
        assert_ne!(make(&["a", "b"]), make(&["a"]));
        assert_ne!(make(&["a", "b"]), make(&["a", "c"]));
    }
}
