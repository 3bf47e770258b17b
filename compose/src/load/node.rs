//! The tree that all phases work on: YAML data in which every key and value knows where it was written.
//!
//! A node that was found wrong becomes [`Value::Invalid`]: it is reported once and every later phase passes over it, so
//! that one run can tell everything that is wrong.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;

use super::diagnostic::{Location, SourceText};
pub(crate) use super::map::{Key, Map};

/// A stretch of one of the texts in a [`SourceMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    file: u32,
    start: u32,
    end: u32,
}

impl Span {
    /// No place: made by the loader itself.
    pub(crate) const NONE: Self = Self {
        file: u32::MAX,
        start: 0,
        end: 0,
    };

    pub(crate) fn new(file: u32, start: usize, end: usize) -> Self {
        let clamp = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self {
            file,
            start: clamp(start),
            end: clamp(end.max(start)),
        }
    }

    pub(crate) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(crate) fn is_some(self) -> bool {
        self.file != u32::MAX
    }
}

/// All texts read so far.
#[derive(Debug, Default)]
pub(crate) struct SourceMap {
    texts: Vec<Arc<SourceText>>,
    /// The last text of each name: what many services use is kept once.
    by_name: HashMap<String, u32>,
    /// Where variables are set, as far as they come from files.
    variables: HashMap<String, Span>,
    /// The variables of the process, which win over those of files.
    environment: Rc<IndexMap<String, String>>,
}

/// So much of a variable of the process is shown, in characters.
const SHOWN: usize = 200;

impl SourceMap {
    /// A map of no texts, for files that are read with these variables of the process.
    pub(crate) fn with_environment(environment: Rc<IndexMap<String, String>>) -> Self {
        Self {
            environment,
            ..Self::default()
        }
    }

    /// Adds a text; the number names it in spans.
    pub(crate) fn add(&mut self, name: String, text: String) -> u32 {
        if let Some(&known) = self.by_name.get(&name)
            && self.text(known).is_some_and(|source| source.text == text)
        {
            return known;
        }
        let file = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.by_name.insert(name.clone(), file);
        self.texts.push(Arc::new(SourceText::new(name, text)));
        file
    }

    /// Remembers where a variable is set.
    pub(crate) fn set_variable(&mut self, name: String, span: Span) {
        self.variables.insert(name, span);
    }

    /// Where a variable is set: in the environment, as if it were a file, or in an env file.
    pub(crate) fn variable(&self, name: &str) -> Option<Location> {
        match self.environment.get(name) {
            Some(value) => Some(in_environment(name, value)),
            None => self.locate(*self.variables.get(name)?),
        }
    }

    /// Where a value uses a variable, as near as can be told.
    pub(crate) fn variable_use(&self, file: u32, value: (usize, usize), name: &str) -> Span {
        let (start, end) = value;
        let written = self
            .text(file)
            .and_then(|source| source.text.get(start..end))
            .unwrap_or_default();
        for (before, after) in [("${", ""), ("$", "")] {
            let wanted = format!("{before}{name}{after}");
            if let Some(at) = written.find(&wanted) {
                let first = start + at;
                return Span::new(file, first, first + wanted.len());
            }
        }
        Span::new(file, start, end)
    }

    pub(crate) fn text(&self, file: u32) -> Option<&Arc<SourceText>> {
        self.texts.get(file as usize)
    }

    pub(crate) fn locate(&self, span: Span) -> Option<Location> {
        let source = self.text(span.file)?.clone();
        Some(Location {
            source,
            start: span.start as usize,
            end: span.end as usize,
        })
    }

    /// A part of a span, when the text there is written as it is meant (no escapes, no folding).
    pub(crate) fn part(&self, span: Span, text: &str, start: usize, end: usize) -> Span {
        self.parts(span, text)(start, end)
    }

    /// Finds parts of a span; the text is looked for once, since it may be long and have many parts.
    pub(crate) fn parts(&self, span: Span, text: &str) -> impl Fn(usize, usize) -> Span + use<> {
        let written = self
            .text(span.file)
            .and_then(|source| source.text.get(span.range()))
            .filter(|_| !text.is_empty());
        let offset = written.and_then(|written| written.find(text));
        let length = text.len();
        move |start, end| match offset {
            Some(offset) if end <= length => {
                let base = span.start as usize + offset;
                Span::new(span.file, base + start, base + end)
            }
            _ => span,
        }
    }
}

/// The place of a variable of the process.
fn in_environment(name: &str, value: &str) -> Location {
    let line = value.lines().next().unwrap_or_default();
    let shown: String = line.chars().take(SHOWN).collect();
    let text = format!("{name}={shown}");
    let end = text.len();
    Location {
        source: Arc::new(SourceText::new("<environment>".to_owned(), text)),
        start: name.len() + 1,
        end,
    }
}

/// What a merge should do with a node, from its YAML tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MergeTag {
    /// `!reset`: remove what is there.
    Reset,
    /// `!override`: replace what is there.
    Override,
}

/// How a value came to its place, when that is not where it is written.
#[derive(Debug)]
pub(crate) enum Origin {
    /// It was written with variables.
    Variables(Vec<String>),
    /// It was taken over by an alias, written at the span.
    Alias(Span),
    /// The service was taken over by `extends`, written at the span.
    Extends(Span),
    /// The section was taken over by `include`, written at the span.
    Include(Span),
    /// It took the place of a value of an earlier file, or of the service that is extended, written at the span.
    Override(Span),
}

/// A date, or a date with a time of day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timestamp {
    /// As it is written in the file.
    pub(crate) written: String,
    /// By RFC 3339, as it is printed.
    pub(crate) canonical: String,
}

/// YAML data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Float(f64),
    String(String),
    /// Rare, so that it does not make every node large.
    Timestamp(Box<Timestamp>),
    List(Vec<Node>),
    Map(Box<Map>),
    Invalid,
}

/// A value and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
    /// The key, when the node is an entry of a mapping.
    pub(crate) key_span: Span,
    pub(crate) tag: Option<MergeTag>,
    pub(crate) origin: Option<Rc<Origin>>,
}

impl PartialEq for Node {
    /// Equal data; places do not matter.
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Node {
    pub(crate) fn new(value: Value, span: Span) -> Self {
        Self {
            value,
            span,
            key_span: Span::NONE,
            tag: None,
            origin: None,
        }
    }

    /// A value that takes the place of `self`.
    pub(crate) fn with(&self, value: Value) -> Self {
        Self {
            value,
            ..Self {
                value: Value::Null,
                span: self.span,
                key_span: self.key_span,
                tag: self.tag,
                origin: self.origin.clone(),
            }
        }
    }

    pub(crate) fn string(text: impl Into<String>, span: Span) -> Self {
        Self::new(Value::String(text.into()), span)
    }

    pub(crate) fn empty_map(span: Span) -> Self {
        Self::new(Value::Map(Box::default()), span)
    }

    pub(crate) fn map(map: Map, span: Span) -> Self {
        Self::new(Value::Map(Box::new(map)), span)
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    pub(crate) fn as_list_mut(&mut self) -> Option<&mut Vec<Node>> {
        match &mut self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub(crate) fn is_scalar(&self) -> bool {
        !matches!(
            self.value,
            Value::Null | Value::List(_) | Value::Map(_) | Value::Invalid
        )
    }

    /// Whether nothing is below it: it is no list and no mapping.
    pub(crate) fn is_single(&self) -> bool {
        !matches!(self.value, Value::List(_) | Value::Map(_))
    }

    pub(crate) fn is_invalid(&self) -> bool {
        matches!(self.value, Value::Invalid)
    }

    /// The entry of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.as_map_mut()?.get_mut(key)
    }

    /// The node at a path of keys.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// A value below it by its place.
    pub(crate) fn at_span(&mut self, span: Span) -> Option<&mut Node> {
        let mut inner: Box<dyn Iterator<Item = &mut Node>> = match &mut self.value {
            Value::Map(map) => Box::new(map.values_mut()),
            Value::List(items) => Box::new(items.iter_mut()),
            _ => return None,
        };
        inner.find_map(|node| {
            if node.span == span {
                Some(node)
            } else {
                node.at_span(span)
            }
        })
    }

    /// How many values it is made of, itself included.
    pub(crate) fn size(&self) -> usize {
        1 + match &self.value {
            Value::Map(map) => map.values().map(Self::size).sum(),
            Value::List(items) => items.iter().map(Self::size).sum(),
            _ => 0,
        }
    }

    /// The key's place when there is one, else the value's.
    pub(crate) fn key_or_value(&self) -> Span {
        if self.key_span.is_some() {
            self.key_span
        } else {
            self.span
        }
    }

    /// Text of a scalar as Go prints it; none for null, lists and mappings.
    pub(crate) fn scalar_text(&self) -> Option<String> {
        self.scalar().map(Cow::into_owned)
    }

    /// The same, without a copy of what is a text.
    pub(crate) fn scalar(&self) -> Option<Cow<'_, str>> {
        match &self.value {
            Value::Bool(value) => Some(value.to_string().into()),
            Value::Int(value) => Some(value.to_string().into()),
            Value::Unsigned(value) => Some(value.to_string().into()),
            Value::Float(value) => Some(float_text(*value).into()),
            Value::String(text) => Some(text.into()),
            Value::Timestamp(date) => Some((&date.written).into()),
            Value::Null | Value::List(_) | Value::Map(_) | Value::Invalid => None,
        }
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Unsigned(_) => "an integer",
            Value::Float(_) => "a number",
            Value::String(_) => "a string",
            Value::Timestamp(_) => "a timestamp",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Invalid => "invalid",
        }
    }
}

/// A float as Go's `%v` prints it: shortest form, an exponent from 1e6 on and below 1e-4.
fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e6).contains(&magnitude) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent
            .strip_prefix('-')
            .map_or(('+', exponent), |rest| ('-', rest));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    value.to_string()
}
