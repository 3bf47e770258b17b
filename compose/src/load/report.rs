//! Collecting what is wrong while walking a tree: the path for messages, the texts for places, the findings.

use std::fmt;

use super::diagnostic::{Diagnostic, Label, Location, Severity, Spot};
use super::node::{Node, Origin, SourceMap, Span};

/// Where a walk is: `services.web.ports[0]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Item(usize),
}

impl<'a> Path<'a> {
    pub(crate) const ROOT: Self = Self {
        parent: None,
        step: Step::Root,
    };

    pub(crate) fn key<'b>(&'b self, name: &'b str) -> Path<'b>
    where
        'a: 'b,
    {
        Path {
            parent: Some(self),
            step: Step::Key(name),
        }
    }

    pub(crate) fn item<'b>(&'b self, index: usize) -> Path<'b>
    where
        'a: 'b,
    {
        Path {
            parent: Some(self),
            step: Step::Item(index),
        }
    }

    /// Whether it is an item of a list, or below one.
    pub(crate) fn is_in_list(&self) -> bool {
        matches!(self.step, Step::Item(_)) || self.parent.is_some_and(Path::is_in_list)
    }

    pub(crate) fn is_root(&self) -> bool {
        matches!(self.step, Step::Root)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else {
            return Ok(());
        };
        parent.fmt(f)?;
        match self.step {
            Step::Root => Ok(()),
            Step::Key(name) if parent.is_root() => f.write_str(name),
            Step::Key(name) => write!(f, ".{name}"),
            Step::Item(index) => write!(f, "[{index}]"),
        }
    }
}

/// One phase tells no more than this.
const MOST_FINDINGS: usize = 1_000;

/// Findings so far.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    sources: &'a SourceMap,
    /// Through which places the walk came, with what each did.
    via: Vec<(Span, &'static str)>,
    findings: Vec<Diagnostic>,
    /// Bytes that variables may still become.
    text_left: usize,
    /// Variables are left in place.
    variables: bool,
}

impl<'a> Report<'a> {
    pub(crate) fn new(sources: &'a SourceMap) -> Self {
        Self {
            sources,
            via: Vec::new(),
            findings: Vec::new(),
            text_left: 0,
            variables: false,
        }
    }

    /// The same for a file whose variables are left in place, or not.
    pub(crate) fn with_variables(mut self, variables: bool) -> Self {
        self.variables = variables;
        self
    }

    /// Whether variables are left in place: then the file is printed as it is merged.
    pub(crate) fn keeps_variables(&self) -> bool {
        self.variables
    }

    /// The same with an allowance of text that variables may become, in bytes.
    pub(crate) fn with_text(mut self, bytes: usize) -> Self {
        self.text_left = bytes;
        self
    }

    /// Takes from the allowance; false when it is used up.
    pub(crate) fn spend(&mut self, bytes: usize) -> bool {
        let left = self.text_left.checked_sub(bytes);
        self.text_left = left.unwrap_or(0);
        left.is_some()
    }

    /// What is left of the allowance.
    pub(crate) fn text_left(&self) -> usize {
        self.text_left
    }

    pub(crate) fn sources(&self) -> &'a SourceMap {
        self.sources
    }

    pub(crate) fn locate(&self, span: Span) -> Option<Location> {
        self.sources.locate(span)
    }

    /// Adds a finding, with the places through which the walk came here.
    pub(crate) fn push(&mut self, mut finding: Diagnostic) {
        if self.findings.len() < MOST_FINDINGS {
            for (span, message) in &self.via {
                let label = self.sources.locate(*span).map(|location| Label {
                    location,
                    message: (*message).to_owned(),
                });
                finding
                    .related
                    .extend(label.filter(|label| !finding.related.contains(label)));
            }
            self.findings.push(finding);
        }
    }

    /// Adds the variables that a node's value came from, with where they are set.
    pub(crate) fn explain(&self, node: &Node, finding: Diagnostic) -> Diagnostic {
        let (labels, help) = variables(self.sources, node.origin.as_deref());
        let mut finding = help.into_iter().fold(finding, Diagnostic::help);
        finding.related.extend(labels);
        finding
    }

    /// Adds a finding about a node that the walk has not entered, with where its value came from.
    pub(crate) fn push_about(&mut self, node: &Node, finding: Diagnostic) {
        let finding = self.explain(node, finding);
        self.enter(node.origin.as_deref());
        self.push(finding);
        self.leave(node.origin.as_deref());
    }

    /// The walk enters a value that came from elsewhere; undone by [`Report::leave`] with the same origin.
    pub(crate) fn enter(&mut self, origin: Option<&Origin>) {
        self.via.extend(origin.and_then(via));
    }

    pub(crate) fn leave(&mut self, origin: Option<&Origin>) {
        if origin.and_then(via).is_some() {
            self.via.pop();
        }
    }

    pub(crate) fn into_findings(self) -> Vec<Diagnostic> {
        self.findings
    }
}

/// The place where a value was taken over, and by what.
fn via(origin: &Origin) -> Option<(Span, &'static str)> {
    match origin {
        Origin::Variables(_) => None,
        Origin::Alias(span) => Some((*span, "taken over by this alias")),
        Origin::Extends(span) => Some((*span, "taken over by this `extends`")),
        Origin::Include(span) => Some((*span, "taken over by this `include`")),
        Origin::Override(span) => Some((*span, "this value is overridden")),
    }
}

/// The same with the text around it.
fn via_label(sources: &SourceMap, origin: &Origin) -> Option<Label> {
    let (span, message) = via(origin)?;
    Some(Label {
        location: sources.locate(span)?,
        message: message.to_owned(),
    })
}

/// The variables that a value came from: the places where files set them, and words for the others.
fn variables(sources: &SourceMap, origin: Option<&Origin>) -> (Vec<Label>, Vec<String>) {
    let Some(Origin::Variables(names)) = origin else {
        return (Vec::new(), Vec::new());
    };
    let (mut labels, mut unset) = (Vec::new(), Vec::new());
    for name in names {
        match sources.variable(name) {
            Some(location) => labels.push(Label {
                location,
                message: format!("the value comes from `{name}`"),
            }),
            None => unset.push(format!("`{name}`")),
        }
    }
    let help = match unset.split_last() {
        None => None,
        Some((name, [])) => Some(format!(
            "the value comes from the variable {name}, which is not set"
        )),
        Some((last, rest)) => Some(format!(
            "the value comes from the variables {} and {last}, which are not set",
            rest.join(", ")
        )),
    };
    (labels, help.into_iter().collect())
}

/// The place of what is at a path of keys, and how it came there; the nearest place around it when it was not written.
pub(crate) fn spot(
    root: &Node,
    sources: &SourceMap,
    path: &[&str],
    span: fn(&Node) -> Span,
) -> Spot {
    let mut spot = Spot::default();
    let mut node = root;
    for (depth, key) in path.iter().enumerate() {
        let Some(inner) = node.get(key) else { break };
        node = inner;
        let last = depth + 1 == path.len();
        let place = if last {
            span(node)
        } else {
            node.key_or_value()
        };
        step(node, place, sources, &mut spot);
    }
    spot
}

/// The same for an item of a list.
pub(crate) fn item_spot(root: &Node, sources: &SourceMap, path: &[&str], index: usize) -> Spot {
    let mut spot = spot(root, sources, path, Node::key_or_value);
    let item = root
        .at(path)
        .and_then(Node::as_list)
        .and_then(|items| items.get(index));
    if let Some(item) = item {
        step(item, item.span, sources, &mut spot);
    }
    spot
}

/// One step towards a value.
fn step(node: &Node, place: Span, sources: &SourceMap, spot: &mut Spot) {
    spot.location = sources.locate(place).or(spot.location.take());
    let Some(origin) = node.origin.as_deref() else {
        return;
    };
    let (labels, help) = variables(sources, Some(origin));
    for label in via_label(sources, origin).into_iter().chain(labels) {
        if !spot.via.contains(&label) {
            spot.via.push(label);
        }
    }
    spot.help.extend(help);
}

/// Whether any of the findings is an error.
pub(crate) fn has_errors(findings: &[Diagnostic]) -> bool {
    findings
        .iter()
        .any(|finding| finding.severity == Severity::Error)
}
