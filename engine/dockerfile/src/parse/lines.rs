//! Physical lines to logical lines: continuations joined, comments dropped, and where every byte came from.

use crate::diagnostic::Diagnostic;
use crate::lint::CheckConfig;
use crate::span::{Source, Span};

use crate::instruction::Directives;

/// A logical line.
#[derive(Debug)]
pub(super) struct Line {
    /// Its text.
    pub(super) text: String,
    /// Where pieces of the text come from: offset in `text`, offset in the file.
    pieces: Vec<(usize, usize)>,
    /// One past its last byte in the file.
    end: usize,
    /// A line that continues it is empty.
    pub(super) empty_continuation: Option<Span>,
    /// The comments directly above.
    pub(super) comments: Vec<String>,
}

impl Line {
    /// Where a stretch of the text is in the file.
    pub(super) fn span(&self, source: &Source<'_>, range: std::ops::Range<usize>) -> Span {
        let start = self.offset(range.start);
        // The end belongs to the piece of the last byte, not to the piece after it.
        let end = match range.end.checked_sub(1) {
            Some(last) if last >= range.start => self.offset(last) + 1,
            _ => start,
        };
        source.span(start, end.min(self.end))
    }

    /// Where all of it is in the file.
    pub(super) fn whole(&self, source: &Source<'_>) -> Span {
        source.span(self.offset(0), self.end)
    }

    /// Where it begins in the file.
    pub(super) fn start(&self) -> usize {
        self.offset(0)
    }

    fn offset(&self, at: usize) -> usize {
        let piece = self.pieces.partition_point(|(own, _)| *own <= at);
        let (own, file) = self.pieces[piece.saturating_sub(1)];
        file + (at - own)
    }
}

/// Reads logical lines, and the lines of heredocs between them.
pub(super) struct Lines<'a> {
    source: &'a Source<'a>,
    ahead: std::iter::Peekable<Box<dyn Iterator<Item = (usize, &'a str)> + 'a>>,
    /// Parser directives may still come.
    at_head: bool,
    seen: Vec<String>,
    pub(super) directives: Directives,
    pub(super) errors: Vec<Diagnostic>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(source: &'a Source<'a>) -> Self {
        let lines: Box<dyn Iterator<Item = (usize, &'a str)> + 'a> =
            Box::new(source.physical_lines());
        Self {
            source,
            ahead: lines.peekable(),
            at_head: true,
            seen: Vec::new(),
            directives: Directives::default(),
            errors: Vec::new(),
        }
    }

    /// The next physical line as it is, for a heredoc.
    pub(super) fn next_raw(&mut self) -> Option<(usize, &'a str)> {
        self.ahead.next()
    }

    /// The next logical line that is not empty.
    pub(super) fn next_logical(&mut self) -> Option<Line> {
        let mut comments = Vec::new();
        loop {
            let (at, raw) = self.ahead.next()?;
            let (at, raw) = match raw.strip_prefix('\u{feff}') {
                Some(rest) if at == 0 => (at + '\u{feff}'.len_utf8(), rest),
                _ => (at, raw),
            };
            let line = raw.trim_end_matches(['\r', '\n']);
            let text = line.trim_start();
            let at = at + (line.len() - text.len());
            if self.directive(at, text) {
                continue;
            }
            if let Some(comment) = text.strip_prefix('#') {
                let comment = comment.trim();
                if comment.is_empty() {
                    comments.clear();
                } else {
                    comments.push(comment.to_owned());
                }
                continue;
            }
            let (text, continues) = self.strip_continuation(text);
            if text.is_empty() && !continues {
                continue;
            }
            let mut line = Line {
                text: text.to_owned(),
                pieces: vec![(0, at)],
                end: at + raw.trim_end().len().min(raw.len()),
                empty_continuation: None,
                comments,
            };
            line.end = at + text.len();
            if continues {
                self.continuations(&mut line);
            }
            return Some(line);
        }
    }

    fn continuations(&mut self, line: &mut Line) {
        while let Some((at, raw)) = self.ahead.next() {
            let text = raw.trim_end_matches(['\r', '\n']);
            if text.trim_start().starts_with('#') {
                continue;
            }
            if text.trim_start().is_empty() {
                line.empty_continuation = Some(self.source.span(at, at + text.len()));
                continue;
            }
            let (text, continues) = self.strip_continuation(text);
            line.pieces.push((line.text.len(), at));
            line.text.push_str(text);
            line.end = at + text.len();
            if !continues {
                return;
            }
        }
    }

    /// Without the escape that continues the line, and whether there was one. A doubled escape is none.
    fn strip_continuation<'t>(&self, text: &'t str) -> (&'t str, bool) {
        let escape = self.directives.escape;
        let trimmed = text.trim_end_matches([' ', '\t']);
        match trimmed.strip_suffix(escape) {
            Some(rest) if !rest.ends_with(escape) => (rest, true),
            _ => (text, false),
        }
    }

    /// Whether a line is a parser directive, which it then obeys.
    fn directive(&mut self, at: usize, text: &str) -> bool {
        if !self.at_head {
            return false;
        }
        let Some((key, value)) = text.strip_prefix('#').and_then(split_directive) else {
            self.at_head = false;
            return false;
        };
        let span = self.source.span(at, at + text.len());
        if self.seen.contains(&key) {
            self.errors.push(Diagnostic::error(
                span,
                format!("only one {key} parser directive can be used"),
            ));
            return true;
        }
        match key.as_str() {
            "syntax" => self.directives.syntax = Some(value.to_owned()),
            "escape" => match value {
                "\\" => self.directives.escape = '\\',
                "`" => self.directives.escape = '`',
                _ => self.errors.push(Diagnostic::error(
                    span,
                    format!("invalid escape token '{value}' does not match ` or \\"),
                )),
            },
            _ => match CheckConfig::parse(value) {
                Ok(config) => self.directives.check = config,
                Err(why) => self.errors.push(Diagnostic::error(span, why)),
            },
        }
        self.seen.push(key);
        true
    }
}

/// `key = value` of a known directive.
fn split_directive(text: &str) -> Option<(String, &str)> {
    let (key, value) = text.trim_start().split_once('=')?;
    let key = key.trim_end().to_ascii_lowercase();
    let value = value.trim();
    let known = matches!(key.as_str(), "syntax" | "escape" | "check");
    (known && !value.is_empty()).then_some((key, value))
}
