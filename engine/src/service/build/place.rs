//! Where something stands in a Dockerfile.

use hoist_api::build::{BuildFinding, BuildPlace, BuildWarning};
use hoist_dockerfile::{Diagnostic, Span};

/// A Dockerfile's text and the name that the user gave it.
#[derive(Debug, Clone, Default)]
pub(super) struct DockerfileText {
    pub(super) name: String,
    pub(super) text: String,
}

impl DockerfileText {
    /// A place for people: lines, columns and the lines themselves.
    pub(super) fn place(&self, span: Span) -> BuildPlace {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let count = (span.end_line + 1).saturating_sub(span.line);
        let lines: Vec<&str> = self
            .text
            .lines()
            .skip(span.line.saturating_sub(1))
            .take(count)
            .collect();
        let last = self.text.get(span.start..span.end).unwrap_or_default();
        let width = last.rsplit('\n').next().unwrap_or_default().chars().count();
        let begins = if span.line == span.end_line {
            span.column
        } else {
            1
        };
        BuildPlace {
            file: self.name.clone(),
            line: number(span.line),
            end_line: number(span.end_line),
            column: number(span.column),
            end_column: number(begins + width),
            text: lines.join("\n"),
        }
    }

    /// A finding that keeps the build from beginning.
    pub(super) fn finding(&self, finding: &Diagnostic) -> BuildFinding {
        BuildFinding {
            message: finding.message.clone(),
            hint: finding.help.clone().unwrap_or_default(),
            place: self.place(finding.span),
        }
    }

    /// A finding as a warning.
    pub(super) fn warning(&self, finding: &Diagnostic) -> BuildWarning {
        let rule = finding.rule.clone().unwrap_or_default();
        BuildWarning {
            url: if rule.is_empty() {
                String::new()
            } else {
                format!(
                    "https://docs.docker.com/go/dockerfile/rule/{}/",
                    kebab(&rule)
                )
            },
            rule,
            message: finding.message.clone(),
            place: Some(self.place(finding.span)),
        }
    }
}

/// `FromAsCasing` as `from-as-casing`, `JSONArgsRecommended` as `json-args-recommended`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    let mut before = None;
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_word = letters.peek().is_some_and(char::is_ascii_lowercase);
        let begins = match before {
            None => false,
            Some(before) => char::is_ascii_lowercase(&before) || is_word,
        };
        if letter.is_ascii_uppercase() && begins {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
        before = Some(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_their_lines() {
        let file = DockerfileText {
            name: "Dockerfile".to_owned(),
            text: "FROM a\nRUN x \\\n  y\n".to_owned(),
        };
        let span = Span {
            start: 7,
            end: 18,
            line: 2,
            column: 1,
            end_line: 3,
        };
        let place = file.place(span);
        assert_eq!(place.text, "RUN x \\\n  y");
        assert_eq!((place.line, place.end_line, place.end_column), (2, 3, 4));
        assert_eq!(kebab("FromAsCasing"), "from-as-casing");
        assert_eq!(kebab("JSONArgsRecommended"), "json-args-recommended");
    }
}
