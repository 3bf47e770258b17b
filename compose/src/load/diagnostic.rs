//! What is wrong with a file, and where: values that render to a terminal or to JSON.
//!
//! A diagnostic carries the text of the files it points into, so that it can be shown without reading them again.

use std::fmt;
use std::sync::{Arc, OnceLock};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

/// A text that was read, with the name it is shown by.
#[derive(Debug)]
pub struct SourceText {
    /// Shown name: the path as the user would write it.
    pub name: String,
    /// The text.
    pub text: String,
    /// Where its lines end, once that was asked: a file may be long and have many findings.
    line_ends: OnceLock<Vec<usize>>,
}

impl SourceText {
    /// A text with its name.
    pub fn new(name: String, text: String) -> Self {
        Self {
            name,
            text,
            line_ends: OnceLock::new(),
        }
    }

    /// The line in which a byte is, from 0.
    fn line_of(&self, byte: usize) -> usize {
        let ends = self.line_ends.get_or_init(|| {
            let bytes = self.text.bytes().enumerate();
            bytes
                .filter(|(_, byte)| *byte == b'\n')
                .map(|(at, _)| at)
                .collect()
        });
        ends.partition_point(|end| *end < byte)
    }
}

impl PartialEq for SourceText {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.text == other.text
    }
}

impl Eq for SourceText {}

/// A stretch of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The text.
    pub source: Arc<SourceText>,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Location {
    /// Line and column of the first character, both from 1, the column in characters.
    pub fn line_and_column(&self) -> (usize, usize) {
        let before = self.source.text.get(..self.start).unwrap_or_default();
        let line = self.source.line_of(before.len()) + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        (line, column)
    }

    /// Length in characters.
    pub fn length(&self) -> usize {
        self.source
            .text
            .get(self.start..self.end)
            .unwrap_or_default()
            .chars()
            .count()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_and_column();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth telling.
    Warning,
    /// The project cannot be loaded.
    Error,
}

/// A place, and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub location: Location,
    /// Shown beside the underlined text; may be empty.
    pub message: String,
}

/// A place in the merged files, and how its value came there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spot {
    /// The place.
    pub(crate) location: Option<Location>,
    /// The alias, the `extends`, the `include`, the variables' lines, the overridden value.
    pub(crate) via: Vec<Label>,
    /// What has no place of its own: variables of the environment.
    pub(crate) help: Vec<String>,
}

/// One thing that is wrong, or worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Stable name of this kind of finding (`unknown-attribute`), by which it can be switched off.
    pub code: &'static str,
    /// What is wrong, in one sentence, without the place.
    pub message: String,
    /// Where it is wrong; none when no file is to blame.
    pub primary: Option<Label>,
    /// Other places that matter: where it was first defined, where the value came from.
    pub related: Vec<Label>,
    /// What to do.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// A new error.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message.into())
    }

    /// A new warning.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message.into())
    }

    fn new(severity: Severity, code: &'static str, message: String) -> Self {
        Self {
            severity,
            code,
            message,
            primary: None,
            related: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Says where it is wrong.
    #[must_use]
    pub fn at(mut self, location: Option<Location>, message: impl Into<String>) -> Self {
        self.primary = location.map(|location| Label {
            location,
            message: message.into(),
        });
        self
    }

    /// Points at another place.
    #[must_use]
    pub fn and(mut self, location: Option<Location>, message: impl Into<String>) -> Self {
        self.related.extend(location.map(|location| Label {
            location,
            message: message.into(),
        }));
        self
    }

    /// Says where it is wrong, and how the value came there.
    #[must_use]
    pub(crate) fn on(self, spot: Spot, message: impl Into<String>) -> Self {
        let mut told = self.at(spot.location, message);
        told.related.extend(spot.via);
        told.help.extend(spot.help);
        told
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// The finding with its snippets, for a terminal; no newline at the end.
    pub fn render(&self, color: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.message.as_str()).id(self.code);
        let mut group = match &self.primary {
            None => Group::with_title(title),
            Some(primary) => self
                .snippets(primary)
                .into_iter()
                .fold(Group::with_title(title), Group::element),
        };
        for text in &self.help {
            group = group.element(Level::HELP.message(text.as_str()));
        }
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        renderer.render(&[group])
    }

    /// One snippet for each group of places that are near each other, the primary's first.
    fn snippets<'a>(
        &'a self,
        primary: &'a Label,
    ) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
        let related = self
            .related
            .iter()
            .take(MOST_PLACES)
            .map(|label| (AnnotationKind::Context, label));
        let mut groups: Vec<Window<'a>> = Vec::new();
        for (kind, label) in std::iter::once((AnnotationKind::Primary, primary)).chain(related) {
            match groups.iter_mut().find(|group| group.takes(label)) {
                Some(group) => group.add(kind, label),
                None => groups.push(Window::new(kind, label)),
            }
        }
        groups.iter().map(Window::snippet).collect()
    }

    /// For editors: severity, code, message, file, line, column, length, related places, help.
    pub fn to_json(&self) -> Value {
        let place = |label: &Label| {
            let (line, column) = label.location.line_and_column();
            json!({
                "file": label.location.source.name, "line": line, "column": column,
                "length": label.location.length(), "message": label.message,
            })
        };
        json!({
            "severity": match self.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "code": self.code,
            "message": self.message,
            "at": self.primary.as_ref().map(place),
            "related": self.related.iter().map(place).collect::<Vec<_>>(),
            "help": self.help,
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In one line, a place on the command line tells nothing that the message does not.
        let shown = |label: &&Label| {
            !matches!(
                label.location.source.name.as_str(),
                "<command line>" | "<environment>"
            )
        };
        if let Some(primary) = self.primary.as_ref().filter(shown) {
            write!(f, "{}: ", primary.location)?;
        }
        f.write_str(&self.message)
    }
}

/// More findings than this are only counted on a terminal.
const MOST_FINDINGS: usize = 50;

/// More places than this are not shown.
const MOST_PLACES: usize = 20;

/// Places further apart than this many bytes are shown apart, so that a finding in a huge file is quick to show.
const NEAR: usize = 2_000;

/// Part of a source with places in it.
struct Window<'a> {
    source: &'a SourceText,
    start: usize,
    end: usize,
    labels: Vec<(AnnotationKind, &'a Label)>,
}

impl<'a> Window<'a> {
    fn new(kind: AnnotationKind, label: &'a Label) -> Self {
        let source = label.location.source.as_ref();
        let (start, end) = whole_lines(&source.text, label.location.start, label.location.end);
        Self {
            source,
            start,
            end,
            labels: vec![(kind, label)],
        }
    }

    fn takes(&self, label: &Label) -> bool {
        let other = &label.location;
        std::ptr::eq(self.source, other.source.as_ref())
            && other.start + NEAR >= self.start
            && other.start <= self.end + NEAR
    }

    fn add(&mut self, kind: AnnotationKind, label: &'a Label) {
        let (start, end) = whole_lines(&self.source.text, label.location.start, label.location.end);
        (self.start, self.end) = (self.start.min(start), self.end.max(end));
        self.labels.push((kind, label));
    }

    fn snippet(&self) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let text = self
            .source
            .text
            .get(self.start..self.end)
            .unwrap_or_default();
        let line = self.source.line_of(self.start) + 1;
        let annotations = self.labels.iter().map(|(kind, label)| {
            let place = |offset: usize| offset.saturating_sub(self.start).min(text.len());
            // Whole characters: the renderer cuts the line there.
            let start = text.floor_char_boundary(place(label.location.start));
            let end = text.ceil_char_boundary(place(label.location.end));
            kind.span(start..end).label(label.message.as_str())
        });
        Snippet::source(text)
            .line_start(line)
            .path(self.source.name.as_str())
            .annotations(annotations.collect::<Vec<_>>())
    }
}

/// The bytes of the lines that a stretch touches; of a stretch of many lines only the first ones.
fn whole_lines(text: &str, start: usize, end: usize) -> (usize, usize) {
    let start = start.min(text.len());
    let end = end.clamp(start, (start + NEAR).min(text.len()));
    let line_start = text.as_bytes()[..start]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let rest = &text.as_bytes()[end..];
    let line_end = rest
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(text.len(), |at| end + at);
    (line_start, line_end)
}

/// A text that is fit to be quoted in a message.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 120;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

/// A value in a sentence: in backquotes, when there is something to put there.
pub(crate) fn value_in_words(text: &str) -> String {
    if text.is_empty() {
        "an empty text".to_owned()
    } else {
        format!("`{}`", quoted(text))
    }
}

/// A result that ends the loading with one finding.
pub(crate) type Fatal<T> = Result<T, Box<Diagnostic>>;

/// The files cannot be loaded.
#[derive(Debug, Clone, Default)]
pub struct LoadError {
    /// Why: at least one error; warnings found on the way too.
    pub diagnostics: Vec<Diagnostic>,
}

impl LoadError {
    /// All findings with their snippets, for a terminal.
    pub fn render(&self, color: bool) -> String {
        render_all(&self.diagnostics, color).join("\n\n")
    }
}

/// Findings with their snippets, for a terminal. Of very many, the last text tells how many are left out.
pub fn render_all(diagnostics: &[Diagnostic], color: bool) -> Vec<String> {
    let shown = diagnostics.iter().take(MOST_FINDINGS);
    let mut texts: Vec<String> = shown.map(|finding| finding.render(color)).collect();
    if diagnostics.len() > MOST_FINDINGS {
        texts.push(format!("… and {} more", diagnostics.len() - MOST_FINDINGS));
    }
    texts
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = || {
            let all = self.diagnostics.iter();
            all.filter(|diagnostic| diagnostic.severity == Severity::Error)
        };
        // Finding out the line of each takes a walk through its file.
        for (index, diagnostic) in errors().take(MOST_FINDINGS).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        match errors().count().saturating_sub(MOST_FINDINGS) {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<Diagnostic> for LoadError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            diagnostics: vec![diagnostic],
        }
    }
}
