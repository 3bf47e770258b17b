//! YAML text to [`Node`]s: composed from parser events, so that every key and value keeps its place.
//!
//! Aliases are expanded and charged against a budget, merge keys (`<<`) are applied, duplicate and non-string keys are
//! refused with both places. Knows nothing about Compose beyond its two merge tags.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::diagnostic::{Diagnostic, Fatal, value_in_words};
use super::node::{Key, Map, MergeTag, Node, Origin, SourceMap, Span, Value};
use super::suggest;
use super::yaml_scalar::{tagged, typed_plain};

/// How much one file may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Keys and values, with all aliases expanded.
    pub(crate) nodes: usize,
    /// Levels of nesting, with all aliases expanded.
    pub(crate) depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            nodes: 150_000,
            depth: 128,
        }
    }
}

/// Parses all documents of a text that is already in the source map.
///
/// # Errors
/// The first syntax error, or all duplicate and non-string keys.
pub(crate) fn parse(
    sources: &SourceMap,
    file: u32,
    limits: Limits,
) -> Result<Vec<Node>, Vec<Diagnostic>> {
    let Some(source) = sources.text(file).cloned() else {
        return Ok(Vec::new());
    };
    let text = source.text.as_str();
    let mut composer = Composer {
        parser: Parser::new_from_str(text),
        sources,
        file,
        text,
        anchors: HashMap::new(),
        recent: [const { None }; RECENT],
        rooms: Vec::new(),
        nodes_left: limits.nodes,
        limits,
        problems: Vec::new(),
    };
    let documents = composer.documents();
    match documents {
        Ok(documents) if composer.problems.is_empty() => Ok(documents),
        Ok(_) => Err(composer.problems),
        Err(fatal) => {
            composer.problems.push(*fatal);
            Err(composer.problems)
        }
    }
}

/// What a mistake counts as in [`Limits::nodes`]: telling it takes as much memory as so many values.
const MISTAKE: usize = 10;

/// More keys than this in one mapping are nobody's configuration; services, networks and the like have a lower limit.
const MOST_KEYS: usize = 50_000;

/// So many keys are remembered, each in a place of its own.
const RECENT: usize = 128;

struct Anchored {
    node: Node,
    weight: usize,
    depth: usize,
}

/// A node under construction, with its size.
struct Built {
    node: Node,
    weight: usize,
    depth: usize,
    merge_key: bool,
}

/// The key of an entry.
enum Name {
    /// `<<`.
    Merge,
    Text(Key),
    /// What no key can be.
    Other(Node),
}

struct Composer<'a> {
    parser: Parser<'a, StrInput<'a>>,
    sources: &'a SourceMap,
    file: u32,
    text: &'a str,
    anchors: HashMap<usize, Anchored>,
    /// Keys that were read lately.
    recent: [Option<Key>; RECENT],
    /// Empty mappings with room, for those under construction.
    rooms: Vec<Map>,
    nodes_left: usize,
    limits: Limits,
    problems: Vec<Diagnostic>,
}

impl<'a> Composer<'a> {
    fn documents(&mut self) -> Fatal<Vec<Node>> {
        let mut documents = Vec::new();
        loop {
            match self.event()? {
                None | Some((Event::StreamEnd, _)) => return Ok(documents),
                Some((Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _)) => {
                    self.anchors.clear();
                }
                Some((event, span)) => documents.push(self.node(event, span, 0)?.node),
            }
        }
    }

    fn event(&mut self) -> Fatal<Option<(Event<'a>, Span)>> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or(0..0);
                Ok(Some((event, Span::new(self.file, range.start, range.end))))
            }
            Some(Err(error)) => Err(Box::new(self.syntax_error(&error))),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Fatal<Built> {
        self.charge(1, span)?;
        if depth > self.limits.depth {
            return Err(self.too_deep(span));
        }
        let (built, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (self.scalar(&text, style, tag.as_deref(), span), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                (self.list(tag.as_deref(), span, depth)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                (self.mapping(tag.as_deref(), span, depth)?, anchor)
            }
            Event::Alias(id) => (self.alias(id, span, depth)?, 0),
            _ => (
                Built {
                    node: Node::new(Value::Null, span),
                    weight: 1,
                    depth: 0,
                    merge_key: false,
                },
                0,
            ),
        };
        if anchor != 0 {
            self.charge(built.weight, span)?;
            self.anchors.insert(
                anchor,
                Anchored {
                    node: built.node.clone(),
                    weight: built.weight,
                    depth: built.depth,
                },
            );
        }
        Ok(built)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Built {
        let plain = style == ScalarStyle::Plain;
        let merge = merge_tag(tag);
        let typed = || plain.then(|| typed_plain(text)).flatten();
        let value = match tag {
            Some(tag) => match core_tag(tag) {
                Some(core) => self.tagged(&core, text, span),
                // `!override` of nothing is of an empty text.
                None if merge.is_some() && !text.is_empty() => typed(),
                None if says_nothing(tag) => typed(),
                None => None,
            },
            None => typed(),
        };
        let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
        let mut node = Node::new(value, span);
        node.tag = merge;
        Built {
            node,
            weight: 1,
            depth: 0,
            // Printers of YAML (yq) write the tag that is implied.
            merge_key: text == "<<"
                && plain
                && tag.is_none_or(|tag| core_tag(tag).as_deref() == Some("merge")),
        }
    }

    /// A scalar with one of YAML's own tags.
    fn tagged(&mut self, core: &str, text: &str, span: Span) -> Option<Value> {
        let wrong = match tagged(core, text) {
            Ok(value) => return Some(value),
            Err(expected) => expected,
        };
        let message = format!("{} is not what `!!{core}` announces", value_in_words(text));
        self.problems.push(
            Diagnostic::error("yaml-tag", message)
                .at(self.sources.locate(span), format!("expected {wrong}"))
                .help(format!("remove `!!{core}`, or write {wrong}")),
        );
        Some(Value::Invalid)
    }

    fn list(&mut self, tag: Option<&Tag>, start: Span, depth: usize) -> Fatal<Built> {
        let mut items = Vec::new();
        let (mut weight, mut deepest) = (1, 0);
        let mut end = start;
        while let Some((event, span)) = self.event()? {
            if event == Event::SequenceEnd {
                end = span;
                break;
            }
            let built = self.node(event, span, depth + 1)?;
            weight += built.weight;
            deepest = deepest.max(built.depth + 1);
            // An item cannot be addressed by a later file, so that a reset of one only removes it here.
            if built.node.tag != Some(MergeTag::Reset) {
                items.push(built.node);
            }
        }
        let mut node = Node::new(Value::List(items), self.whole(start, end));
        node.tag = merge_tag(tag);
        Ok(Built {
            node,
            weight,
            depth: deepest,
            merge_key: false,
        })
    }

    fn mapping(&mut self, tag: Option<&Tag>, start: Span, depth: usize) -> Fatal<Built> {
        let mut map = self.rooms.pop().unwrap_or_default();
        let mut merges: Vec<Node> = Vec::new();
        let mut merge_at: Option<Span> = None;
        let (mut weight, mut deepest) = (1, 0);
        let mut end = start;
        while let Some((event, span)) = self.event()? {
            if event == Event::MappingEnd {
                end = span;
                break;
            }
            let (name, key_weight) = self.name(event, span, depth + 1)?;
            let Some((event, value_span)) = self.event()? else {
                break;
            };
            let value = self.node(event, value_span, depth + 1)?;
            weight += key_weight + value.weight;
            deepest = deepest.max(value.depth + 1);
            let mistakes = self.problems.len();
            match name {
                Name::Merge => {
                    if let Some(first) = merge_at.replace(span) {
                        self.duplicate("<<", first, span);
                    }
                    self.collect_merges(value.node, &mut merges);
                }
                Name::Text(name) => self.insert(&mut map, (name, span), value.node),
                Name::Other(key) => self.non_string_key(&key),
            }
            if self.problems.len() > mistakes {
                self.charge(MISTAKE, span)?;
            }
            if map.len() > MOST_KEYS {
                return Err(self.too_many_keys(span));
            }
        }
        take_in(&mut map, merges);
        let mut node = Node::map(map.take_exact(), self.whole(start, end));
        self.rooms.push(map);
        node.tag = merge_tag(tag);
        Ok(Built {
            node,
            weight,
            depth: deepest,
            merge_key: false,
        })
    }

    /// The whole of a `[…]` or `{…}`; of other collections only the start.
    fn whole(&self, start: Span, end: Span) -> Span {
        let (first, last) = (start.range().start, end.range().end);
        let flow = self
            .text
            .get(first..)
            .is_some_and(|text| text.starts_with(['[', '{']));
        if flow {
            Span::new(self.file, first, last)
        } else {
            start
        }
    }

    /// The key of an entry, and its weight.
    fn name(&mut self, event: Event<'a>, span: Span, depth: usize) -> Fatal<(Name, usize)> {
        if let Event::Scalar(text, style, 0, None) = &event {
            let plain = *style == ScalarStyle::Plain;
            let is_text = !plain || (text != "<<" && typed_plain(text).is_none());
            if is_text && depth <= self.limits.depth {
                self.charge(1, span)?;
                return Ok((Name::Text(self.key(text)), 1));
            }
        }
        let built = self.node(event, span, depth)?;
        let name = match built.node.value {
            _ if built.merge_key => Name::Merge,
            Value::String(text) => Name::Text(self.key(&text)),
            _ => Name::Other(built.node),
        };
        Ok((name, built.weight))
    }

    /// A key. Nearly all are a few attributes, again and again: their texts are kept once.
    fn key(&mut self, text: &str) -> Key {
        let bytes = text.as_bytes();
        let mix = bytes.len() + bytes.first().map_or(0, |byte| usize::from(*byte) * 3);
        let recent = mix % RECENT;
        if let Some(known) = self.recent[recent]
            .as_ref()
            .filter(|known| ***known == *text)
        {
            return known.clone();
        }
        let key = Key::read(text);
        self.recent[recent] = Some(key.clone());
        key
    }

    fn insert(&mut self, map: &mut Map, (name, span): (Key, Span), mut value: Node) {
        value.key_span = span;
        if let Some(first) = map.get(&name) {
            self.duplicate(&name, first.key_span, span);
            return;
        }
        map.insert(name, value);
    }

    /// The mappings that a `<<` takes in, the one that wins first.
    fn collect_merges(&mut self, value: Node, merges: &mut Vec<Node>) {
        match value.value {
            Value::Map(_) => merges.push(value),
            Value::List(items) => {
                for item in items {
                    if matches!(item.value, Value::Map(_)) {
                        merges.push(item);
                    } else {
                        self.bad_merge(&item);
                    }
                }
            }
            _ => self.bad_merge(&value),
        }
    }

    fn alias(&mut self, id: usize, span: Span, depth: usize) -> Fatal<Built> {
        let Some(anchored) = self.anchors.get(&id) else {
            let problem = Diagnostic::error(
                "yaml-alias",
                "this alias refers to an anchor that contains it",
            )
            .at(self.sources.locate(span), "")
            .help("an anchor can only be used after its own value");
            return Err(Box::new(problem));
        };
        let (weight, inner) = (anchored.weight, anchored.depth);
        if depth + inner > self.limits.depth {
            return Err(self.too_deep(span));
        }
        self.charge(weight, span)?;
        let mut node = self.anchors[&id].node.clone();
        node.origin = Some(Rc::new(Origin::Alias(span)));
        Ok(Built {
            node,
            weight,
            depth: inner,
            merge_key: false,
        })
    }

    fn charge(&mut self, nodes: usize, span: Span) -> Fatal<()> {
        if let Some(left) = self.nodes_left.checked_sub(nodes) {
            self.nodes_left = left;
            return Ok(());
        }
        let message = format!(
            "this file holds more than {} keys and values, aliases included",
            self.limits.nodes
        );
        let problem = Diagnostic::error("too-large", message)
            .at(self.sources.locate(span), "the limit is reached here")
            .help("split the file, or remove nested aliases");
        Err(Box::new(problem))
    }

    fn too_many_keys(&self, span: Span) -> Box<Diagnostic> {
        let message = format!("this mapping holds more than {MOST_KEYS} keys");
        Box::new(
            Diagnostic::error("too-large", message)
                .at(self.sources.locate(span), "the limit is reached here")
                .help("put what belongs together into files of its own, such as an `env_file`"),
        )
    }

    fn too_deep(&self, span: Span) -> Box<Diagnostic> {
        let message = format!(
            "this file is nested deeper than {} levels",
            self.limits.depth
        );
        Box::new(
            Diagnostic::error("too-deep", message)
                .at(self.sources.locate(span), "the limit is reached here")
                .help("write it flatter: no Compose file needs so many levels"),
        )
    }

    fn duplicate(&mut self, name: &str, first: Span, second: Span) {
        self.problems.push(
            Diagnostic::error(
                "duplicate-key",
                format!("the key `{name}` is written twice in the same mapping"),
            )
            .at(self.sources.locate(second), "written again here")
            .and(self.sources.locate(first), "first written here")
            .help("remove one of them, or merge their values"),
        );
    }

    fn non_string_key(&mut self, key: &Node) {
        let text = key.scalar_text().unwrap_or_else(|| key.kind().to_owned());
        let problem = Diagnostic::error(
            "non-string-key",
            format!("a key must be a string, but `{text}` is {}", key.kind()),
        )
        .at(self.sources.locate(key.span), "");
        let quotable = !matches!(key.value, Value::List(_) | Value::Map(_) | Value::Null);
        self.problems.push(if quotable {
            problem.help(format!("write \"{text}\" in quotes"))
        } else {
            problem.help("write a name")
        });
    }

    fn bad_merge(&mut self, value: &Node) {
        self.problems.push(
            Diagnostic::error(
                "yaml-merge",
                format!(
                    "`<<` takes in a mapping or a list of mappings, but this is {}",
                    value.kind()
                ),
            )
            .at(self.sources.locate(value.span), "")
            .help("write `<<: *anchor` or `<<: [*first, *second]`"),
        );
    }

    fn unknown_anchor(&self, offset: usize) -> Diagnostic {
        let name = anchor_name(&self.text[offset..]);
        let span = Span::new(self.file, offset, offset + 1 + name.len());
        let anchors = self.text.match_indices('&').filter(|(at, _)| {
            let before = self.text[..*at].chars().next_back();
            before.is_none_or(|c| c.is_whitespace() || matches!(c, '[' | '{' | ','))
        });
        let known = anchors.map(|(at, _)| anchor_name(&self.text[at..]));
        let known: Vec<&str> = known.filter(|known| !known.is_empty()).take(100).collect();
        let problem = Diagnostic::error(
            "yaml-syntax",
            format!("this is not valid YAML: there is no anchor `{name}` above this alias"),
        )
        .at(self.sources.locate(span), "");
        if let Some(key) = name.strip_suffix(':').filter(|key| known.contains(key)) {
            return problem.help(format!(
                "write a space before the colon, `*{key} : …`: it counts as part of the name"
            ));
        }
        if known.contains(&name) {
            return problem.help("an alias comes after its anchor: move the anchor up");
        }
        match suggest::nearest(name, known.iter().copied()) {
            Some(near) => problem.help(format!("did you mean `*{near}`?")),
            None => problem.help(format!(
                "define it further up in the same file, as in `key: &{name} value`"
            )),
        }
    }

    /// The parser names the beginning of what the tab is in.
    fn tab(&self, offset: usize, problem: Diagnostic) -> Diagnostic {
        let from = self.text[offset..].find("\n\t").map(|at| offset + at + 1);
        let place = from.map(|at| Span::new(self.file, at, at + 1));
        let problem = match place {
            Some(place) => problem.at(self.sources.locate(place), "a tab"),
            None => problem,
        };
        problem.help("indent with spaces: YAML does not allow tabs there")
    }

    fn syntax_error(&self, error: &ScanError) -> Diagnostic {
        let offset = error
            .marker()
            .byte_offset()
            .unwrap_or(0)
            .min(self.text.len());
        let end = self.text[offset..]
            .chars()
            .next()
            .map_or(offset, |c| offset + c.len_utf8());
        if error.info().contains("unknown anchor") {
            return self.unknown_anchor(offset);
        }
        let message = format!("this is not valid YAML: {}", error.info());
        let problem = Diagnostic::error("yaml-syntax", message)
            .at(self.sources.locate(Span::new(self.file, offset, end)), "");
        if error.info().contains("found a tab") {
            return self.tab(offset, problem);
        }
        let line_start = self.text[..offset].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[line_start..].lines().next().unwrap_or_default();
        if line.trim_start_matches(' ').starts_with('\t') || line.starts_with('\t') {
            return problem.help("indent with spaces: YAML does not allow tabs there");
        }
        if line.contains("${") && line.contains(['{', '[']) {
            return problem
                .help("inside `[…]` and `{…}`, write values that contain `${…}` in quotes");
        }
        match syntax_advice(&error.info(), &self.text[offset..end]) {
            Some(advice) => problem.help(advice),
            None => problem,
        }
    }
}

/// What to write instead of what the parser stumbled over, at a character.
fn syntax_advice(info: &str, at: &str) -> Option<&'static str> {
    let known = [
        ("YAML major version", "remove the line with `%YAML`"),
        (
            "indentation in multiline quoted",
            "close the quote, or indent every further line of the text deeper than its key",
        ),
        (
            "must be separated from other tokens",
            "write a space before `#`, or put the value in quotes",
        ),
        (
            "did not find expected key",
            "check the indentation here and in the line above",
        ),
        (
            "mapping values are not allowed",
            "put a value that holds `: ` in quotes, or check the indentation",
        ),
        (
            "mapping keys are not allowed",
            "put a value that starts with `? ` in quotes",
        ),
        (
            "only valid inside a block",
            "write `[first, second]`, or each `- ` entry in a line of its own",
        ),
        (
            "expected ',' or",
            "separate entries by commas, close each bracket, and put values that hold `: `, commas or brackets in quotes",
        ),
    ];
    if at.starts_with(['%', '@', '`']) && !info.contains("version") {
        return Some("write values that start with `%`, `@` or a backquote in quotes");
    }
    let found = known.into_iter().find(|(words, _)| info.contains(words));
    found.map(|(_, advice)| advice)
}

/// Adds what `<<` takes in to a mapping. An entry that is reset gives way to what is taken in, which then replaces what
/// earlier files have: the reference resets before it merges.
fn take_in(map: &mut Map, merges: Vec<Node>) {
    for source in merges {
        let Value::Map(entries) = source.value else {
            continue;
        };
        for (name, mut entry) in *entries {
            entry.origin = entry.origin.or_else(|| source.origin.clone());
            match map.get_mut(&name) {
                Some(known) if known.tag == Some(MergeTag::Reset) => {
                    entry.tag = Some(MergeTag::Override);
                    *known = entry;
                }
                Some(_) => {}
                None => {
                    map.insert(name, entry);
                }
            }
        }
    }
}

/// The name of an anchor or alias at the front of a text, without its sign.
fn anchor_name(text: &str) -> &str {
    let rest = text.get(1..).unwrap_or_default();
    let end = rest.find(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}'));
    &rest[..end.unwrap_or(rest.len())]
}

/// The name of one of YAML's own tags: `int` of `!!int`.
fn core_tag(tag: &Tag) -> Option<String> {
    let full = format!("{}{}", tag.handle(), tag.suffix());
    full.strip_prefix("tag:yaml.org,2002:").map(str::to_owned)
}

/// A bare `!`.
fn says_nothing(tag: &Tag) -> bool {
    matches!((tag.handle(), tag.suffix()), ("!", "") | ("", "!"))
}

fn merge_tag(tag: Option<&Tag>) -> Option<MergeTag> {
    let tag = tag?;
    match (tag.handle(), tag.suffix()) {
        ("!", "reset") => Some(MergeTag::Reset),
        ("!", "override") => Some(MergeTag::Override),
        _ => None,
    }
}
