//! An instruction's `--flags`: which there are, and what they are given.

use crate::diagnostic::Diagnostic;
use crate::instruction::Flag;
use crate::span::Span;
use crate::suggest;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// `--flag`, `--flag=true`, `--flag=false`.
    Bool,
    /// `--flag=value`.
    Text,
    /// The same, more than once.
    Texts,
}

/// The flags an instruction knows.
pub(super) type Known = &'static [(&'static str, Takes)];

/// Of `ADD`.
pub(super) const ADD: Known = &[
    ("chown", Takes::Text),
    ("chmod", Takes::Text),
    ("link", Takes::Bool),
    ("keep-git-dir", Takes::Bool),
    ("checksum", Takes::Text),
    ("unpack", Takes::Bool),
    ("exclude", Takes::Texts),
];
/// Of `COPY`.
pub(super) const COPY: Known = &[
    ("chown", Takes::Text),
    ("from", Takes::Text),
    ("chmod", Takes::Text),
    ("link", Takes::Bool),
    ("parents", Takes::Bool),
    ("exclude", Takes::Texts),
];
/// Of `FROM`.
pub(super) const FROM: Known = &[("platform", Takes::Text)];
/// Of `RUN`.
pub(super) const RUN: Known = &[
    ("mount", Takes::Texts),
    ("network", Takes::Text),
    ("security", Takes::Text),
    ("device", Takes::Texts),
];
/// Of `HEALTHCHECK CMD`.
pub(super) const HEALTHCHECK: Known = &[
    ("interval", Takes::Text),
    ("timeout", Takes::Text),
    ("start-period", Takes::Text),
    ("start-interval", Takes::Text),
    ("retries", Takes::Text),
];
/// Of all others.
pub(super) const NONE: Known = &[];

/// A flag as written.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) span: Span,
}

/// Flags that were understood.
#[derive(Debug, Default)]
pub(super) struct Flags(Vec<(&'static str, Flag)>);

impl Flags {
    /// Reads the flags; what is wrong with one does not hide the others.
    pub(super) fn read(given: &[Given], known: Known, errors: &mut Vec<Diagnostic>) -> Self {
        let mut flags = Self::default();
        for flag in given {
            match flags.one(flag, known) {
                Ok(read) => flags.0.push(read),
                Err(error) => errors.push(error),
            }
        }
        flags
    }

    fn one(&self, given: &Given, known: Known) -> Result<(&'static str, Flag), Diagnostic> {
        let (written, value) = match given.text.split_once('=') {
            Some((written, value)) => (written, Some(value)),
            None => (given.text.as_str(), None),
        };
        let error = |message: String| Diagnostic::error(given.span, message);
        let name = written.strip_prefix("--").unwrap_or(written);
        let names = || known.iter().map(|(name, _)| *name);
        let Some((name, takes)) = known.iter().find(|(own, _)| *own == name).copied() else {
            let near = suggest::did_you_mean(name, names());
            let finding = error(format!("unknown flag: {written}{near}"));
            return Err(match known {
                [] => finding.help("this instruction takes no flags"),
                _ => finding.help(format!(
                    "its flags are {}",
                    names()
                        .map(|name| format!("--{name}"))
                        .collect::<Vec<_>>()
                        .join(", ")
                )),
            });
        };
        if takes != Takes::Texts && self.0.iter().any(|(own, _)| *own == name) {
            return Err(error(format!("duplicate flag specified: {written}")));
        }
        let missing = || error(format!("missing a value on flag: {written}"));
        let value = match (takes, value) {
            (Takes::Bool, None) => "true".to_owned(),
            (Takes::Bool, Some("")) => return Err(missing()),
            (Takes::Bool, Some(value)) => match value.to_ascii_lowercase().as_str() {
                text @ ("true" | "false") => text.to_owned(),
                _ => {
                    return Err(error(format!(
                        "expecting boolean value for flag {written}, not: {value}"
                    )));
                }
            },
            (_, None) => return Err(missing()),
            (_, Some(value)) => value.to_owned(),
        };
        Ok((
            name,
            Flag {
                value,
                span: given.span,
            },
        ))
    }

    /// A flag, when given.
    pub(super) fn get(&self, name: &str) -> Option<&Flag> {
        self.0
            .iter()
            .find(|(own, _)| *own == name)
            .map(|(_, flag)| flag)
    }

    /// A flag's text; empty is as good as not given.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name)
            .map(|flag| flag.value.clone())
            .filter(|value| !value.is_empty())
    }

    /// A boolean flag, when given.
    pub(super) fn bool(&self, name: &str) -> Option<bool> {
        self.get(name).map(|flag| flag.value == "true")
    }

    /// All uses of a flag.
    pub(super) fn all(&self, name: &str) -> Vec<Flag> {
        self.0
            .iter()
            .filter(|(own, _)| *own == name)
            .map(|(_, flag)| flag.clone())
            .collect()
    }
}
