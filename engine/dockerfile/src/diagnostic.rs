//! What is wrong with a Dockerfile, and where.

use std::fmt;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::{Deserialize, Serialize};

use crate::span::Span;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth telling: a build check.
    Warning,
    /// The Dockerfile cannot be built.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The build check's name, `StageNameCasing`, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What is wrong, in Docker's words where it has some.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What was expected, or what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            rule: None,
            message: message.into(),
            span,
            help: None,
        }
    }

    /// The same, with what was expected or what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The finding with the line it points at and a caret below, as a terminal shows it.
    ///
    /// `name` is the file's name as the user would write it, `text` its content.
    pub fn render(&self, name: &str, text: &str) -> String {
        let level = match self.severity {
            Severity::Warning => Level::WARNING,
            Severity::Error => Level::ERROR,
        };
        let title = match &self.rule {
            Some(rule) => format!("{rule}: {}", self.message),
            None => self.message.clone(),
        };
        let first_line_end = text
            .get(self.span.start..self.span.end)
            .and_then(|inside| inside.find('\n'))
            .map_or(self.span.end, |length| self.span.start + length);
        let snippet = Snippet::source(text)
            .path(name)
            .annotation(AnnotationKind::Primary.span(self.span.start..first_line_end));
        let mut group = level.primary_title(&title).element(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        Renderer::plain().render(&[group])
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.span.line, self.span.column)?;
        if let Some(rule) = &self.rule {
            write!(f, "{rule}: ")?;
        }
        f.write_str(&self.message)
    }
}
