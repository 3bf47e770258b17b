//! The build checks: BuildKit's rules by their names, and which of them a Dockerfile wants to hear.

use std::collections::BTreeSet;

use crate::diagnostic::{Diagnostic, Severity};
use crate::span::Span;

/// Makes [`Rule`] with its names.
macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// A build check, by BuildKit's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[$doc])* $name,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name, as `# check=skip=` takes it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

rules! {
    /// Stage names should be lowercase.
    StageNameCasing,
    /// The `as` keyword should match the case of the `from` keyword.
    FromAsCasing,
    /// Empty continuation lines will become errors in a future release.
    NoEmptyContinuation,
    /// All commands should use the same casing.
    ConsistentInstructionCasing,
    /// Stage names should be unique.
    DuplicateStageName,
    /// Reserved words should not be used as stage names.
    ReservedStageName,
    /// The exec form is recommended for CMD and ENTRYPOINT, because of signals.
    JSONArgsRecommended,
    /// MAINTAINER is deprecated in favour of a label.
    MaintainerDeprecated,
    /// FROM must use declared ARGs.
    UndefinedArgInFrom,
    /// A relative WORKDIR without an absolute one before it.
    WorkdirRelativePath,
    /// Variables should be defined before their use.
    UndefinedVar,
    /// Only the last CMD, ENTRYPOINT or HEALTHCHECK of a stage counts.
    MultipleInstructionsDisallowed,
    /// `ENV key value` should be `ENV key=value`.
    LegacyKeyValueFormat,
    /// The base image is for another platform.
    InvalidBaseImagePlatform,
    /// `--platform=$TARGETPLATFORM` is the default.
    RedundantTargetPlatform,
    /// Secrets do not belong into ARG or ENV.
    SecretsUsedInArgOrEnv,
    /// The default of a global ARG makes an invalid image name.
    InvalidDefaultArgInFrom,
    /// `FROM --platform` should not be constant.
    FromPlatformFlagConstDisallowed,
    /// A file to copy is excluded by .dockerignore.
    CopyIgnoredFile,
    /// The comment above a stage or argument should begin with its name.
    InvalidDefinitionDescription,
    /// The protocol in EXPOSE should be lowercase.
    ExposeProtoCasing,
    /// EXPOSE takes no address and no host port.
    ExposeInvalidFormat,
}

impl Rule {
    /// Only told when asked for by `# check=experimental=`.
    pub fn experimental(self) -> bool {
        self == Self::InvalidDefinitionDescription
    }

    /// Where Docker documents the rule.
    pub fn url(self) -> String {
        let mut slug = String::new();
        let name: Vec<char> = self.name().chars().collect();
        for (i, c) in name.iter().enumerate() {
            let after_lower = i > 0 && name[i - 1].is_lowercase();
            let before_lower = i > 0 && name.get(i + 1).is_some_and(|next| next.is_lowercase());
            if c.is_uppercase() && (after_lower || before_lower) {
                slug.push('-');
            }
            slug.push(c.to_ascii_lowercase());
        }
        format!("https://docs.docker.com/go/dockerfile/rule/{slug}/")
    }
}

/// Which checks are told: `# check=skip=A,B;error=true`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckConfig {
    /// Told not.
    pub skip: BTreeSet<String>,
    /// `skip=all`.
    pub skip_all: bool,
    /// Experimental ones told.
    pub experimental: BTreeSet<String>,
    /// `experimental=all`.
    pub experimental_all: bool,
    /// A warning fails the build.
    pub error: bool,
}

impl CheckConfig {
    /// Reads the directive's value.
    ///
    /// # Errors
    /// What is wrong with it, in BuildKit's words.
    pub fn parse(value: &str) -> Result<Self, String> {
        let mut config = Self::default();
        let value = value.trim();
        if value.is_empty() {
            return Ok(config);
        }
        for part in value.splitn(3, ';') {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| format!("invalid check option {part:?}"))?;
            let value = value.trim();
            match key.trim() {
                "skip" if value == "all" => config.skip_all = true,
                "skip" => config.skip = names(value),
                "experimental" if value == "all" => config.experimental_all = true,
                "experimental" => config.experimental = names(value),
                "error" => {
                    config.error = parse_bool(value)
                        .ok_or_else(|| format!("failed to parse check option {part:?}"))?;
                }
                other => return Err(format!("invalid check option {other:?}")),
            }
        }
        Ok(config)
    }

    /// With the checks that the comments directly above an instruction skip: `# check=skip=A`.
    pub(crate) fn with_comments(&self, comments: &[String]) -> std::borrow::Cow<'_, Self> {
        for comment in comments {
            let Some((key, value)) = comment.split_once('=') else {
                continue;
            };
            if !key.trim().eq_ignore_ascii_case("check") {
                continue;
            }
            let value = value.trim().split(' ').next().unwrap_or_default();
            let Ok(other) = Self::parse(value) else {
                return std::borrow::Cow::Borrowed(self);
            };
            let mut merged = self.clone();
            merged.skip.extend(other.skip);
            merged.skip_all |= other.skip_all;
            merged.experimental.extend(other.experimental);
            merged.experimental_all |= other.experimental_all;
            return std::borrow::Cow::Owned(merged);
        }
        std::borrow::Cow::Borrowed(self)
    }

    /// Whether a rule is told.
    pub fn tells(&self, rule: Rule) -> bool {
        if rule.experimental() {
            self.experimental_all || self.experimental.contains(rule.name())
        } else {
            !self.skip_all && !self.skip.contains(rule.name())
        }
    }
}

fn names(value: &str) -> BTreeSet<String> {
    value
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect()
}

/// A boolean as Go reads it.
pub(crate) fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The findings of the checks so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Linter {
    pub(crate) config: CheckConfig,
    pub(crate) findings: Vec<Diagnostic>,
}

impl Linter {
    pub(crate) fn new(config: CheckConfig) -> Self {
        Self {
            config,
            findings: Vec::new(),
        }
    }

    /// Adds a finding about an instruction, unless the file or the comments above it skip the rule.
    pub(crate) fn warn(&mut self, rule: Rule, span: Span, comments: &[String], message: String) {
        if !self.config.with_comments(comments).tells(rule) {
            return;
        }
        let finding = Diagnostic {
            severity: Severity::Warning,
            rule: Some(rule.name().to_owned()),
            message,
            span,
            help: None,
        };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_chooses_the_rules() {
        let config = CheckConfig::parse("skip=StageNameCasing, UndefinedVar;error=true").unwrap();
        assert!(config.error);
        assert!(!config.tells(Rule::UndefinedVar));
        assert!(config.tells(Rule::FromAsCasing));
        assert!(!config.tells(Rule::InvalidDefinitionDescription));
        assert!(
            !CheckConfig::parse("skip=all")
                .unwrap()
                .tells(Rule::FromAsCasing)
        );
        assert!(
            CheckConfig::parse("experimental=all")
                .unwrap()
                .tells(Rule::InvalidDefinitionDescription)
        );
        assert!(CheckConfig::parse("error=perhaps").is_err());
        assert!(CheckConfig::parse("ignore=x").is_err());
    }

    #[test]
    fn rules_know_their_page() {
        assert!(
            Rule::JSONArgsRecommended
                .url()
                .ends_with("/json-args-recommended/")
        );
        assert!(Rule::FromAsCasing.url().ends_with("/from-as-casing/"));
    }
}
