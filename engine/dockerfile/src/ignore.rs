//! `.dockerignore`: which files of a context do not come along.
//!
//! The last pattern that matches a file or one of its directories decides; `!` takes an earlier match back. The rules
//! are those of the Dockerfile reference's section on `.dockerignore` and of moby's pattern matcher where it is silent.

use crate::glob::{self, BadPattern, Class, Token};

/// A `.dockerignore`, or the patterns of `--exclude`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// Without `!`, cleaned.
    text: String,
    /// Begins with `!`.
    exception: bool,
    matcher: Matcher,
}

/// How a pattern matches a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Matcher {
    Exact,
    /// `dir/**`: what begins so.
    Prefix,
    /// `**/name`, `**name`: what ends so.
    Suffix,
    Tokens(Vec<Token>),
}

/// What is known of a directory on the way down, so that nothing is matched twice.
#[derive(Debug, Clone, Default)]
pub struct IgnoreWalk {
    matched: Vec<bool>,
}

impl Ignore {
    /// Reads a file's text.
    ///
    /// # Errors
    /// The first pattern that is none.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self::new(lines.map(|line| {
            let line = line.trim();
            let (mark, pattern) = match line.strip_prefix('!') {
                Some(rest) => ("!", rest.trim()),
                None => ("", line),
            };
            let pattern = match pattern {
                "" => String::new(),
                pattern => clean(pattern),
            };
            match pattern.strip_prefix('/') {
                Some(rest) if !rest.is_empty() => format!("{mark}{rest}"),
                _ => format!("{mark}{pattern}"),
            }
        }))
    }

    /// Takes patterns, each as a line of the file.
    ///
    /// # Errors
    /// The first pattern that is none.
    pub fn new<I>(patterns: I) -> Result<Self, BadPattern>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut read = Vec::new();
        for pattern in patterns {
            let text = pattern.as_ref().trim();
            if text.is_empty() {
                continue;
            }
            let text = clean(text);
            let (exception, text) = match text.strip_prefix('!') {
                Some("") => return Err(BadPattern(text)),
                Some(rest) => (true, rest.to_owned()),
                None => (false, text),
            };
            glob::parse(&text)?;
            let matcher = compile(&text).ok_or_else(|| BadPattern(text.clone()))?;
            read.push(Pattern {
                text,
                exception,
                matcher,
            });
        }
        Ok(Self { patterns: read })
    }

    /// No pattern.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Some pattern takes matches back.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.exception)
    }

    /// All files are ignored by one pattern: `*`, `**` or `**/*`.
    pub fn ignores_all(&self) -> bool {
        let all = |pattern: &Pattern| matches!(pattern.text.as_str(), "*" | "**" | "**/*");
        self.patterns
            .iter()
            .any(|pattern| !pattern.exception && all(pattern))
    }

    /// Whether a path, relative to the context and with slashes, is ignored, by itself or by a directory above it.
    pub fn ignores(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at);
        let mut known = IgnoreWalk::default();
        for end in ends.filter(|end| *end > 0) {
            known = self.step(&known, &path[..end]).1;
        }
        self.step(&known, path).0
    }

    /// Whether a path is ignored, given what is known of its directory, and what to know for what is below it.
    /// At the context's root nothing is known: `IgnoreWalk::default()`.
    pub fn step(&self, parent: &IgnoreWalk, path: &str) -> (bool, IgnoreWalk) {
        let mut ignored = false;
        let mut below = IgnoreWalk {
            matched: vec![false; self.patterns.len()],
        };
        for (i, pattern) in self.patterns.iter().enumerate() {
            let mut matched = parent.matched.get(i).copied().unwrap_or_default();
            if !matched {
                // Only what changes something is matched: Docker's client does the same, and it shows below.
                if pattern.exception != ignored {
                    continue;
                }
                matched = pattern.matches(path);
            }
            below.matched[i] = matched;
            if matched {
                ignored = !pattern.exception;
            }
        }
        (ignored, below)
    }

    /// Whether something below an ignored directory may come along because of a `!` pattern.
    pub fn may_keep_below(&self, directory: &str) -> bool {
        let directory = format!("{directory}/");
        self.patterns
            .iter()
            .filter(|pattern| pattern.exception)
            .any(|pattern| {
                let text = pattern.text.strip_suffix("/**").unwrap_or(&pattern.text);
                let own = format!("{text}/");
                glob::has_wildcards(text)
                    || own.starts_with(&directory)
                    || directory.starts_with(&own)
            })
    }
}

impl Pattern {
    fn matches(&self, path: &str) -> bool {
        match &self.matcher {
            Matcher::Exact => path == self.text,
            Matcher::Prefix => path.starts_with(&self.text[..self.text.len() - 2]),
            Matcher::Suffix => {
                let suffix = &self.text[2..];
                path.ends_with(suffix) || suffix.strip_prefix('/') == Some(path)
            }
            Matcher::Tokens(tokens) => glob::run(tokens, path),
        }
    }
}

/// Reads a pattern with `**`.
fn compile(pattern: &str) -> Option<Matcher> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    let mut first = true;
    // Exact until a wildcard is found; then what the last decisive one made of it, as moby's matcher decides.
    let mut matcher = Matcher::Exact;
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_some() {
                    tokens.push(Token::Directories);
                    matcher = Matcher::Tokens(Vec::new());
                } else {
                    tokens.push(Token::Everything);
                    matcher = match matcher {
                        Matcher::Exact => Matcher::Prefix,
                        _ => Matcher::Tokens(Vec::new()),
                    };
                }
                if first {
                    matcher = Matcher::Suffix;
                }
            }
            '*' | '?' | '[' | '\\' => {
                tokens.push(match c {
                    '*' => Token::Star,
                    '?' => Token::Any,
                    '[' => Token::Class(Class::read(&mut chars)?),
                    _ => Token::One(chars.next()?),
                });
                matcher = Matcher::Tokens(Vec::new());
            }
            c => tokens.push(Token::One(c)),
        }
        first = false;
    }
    Some(match matcher {
        Matcher::Tokens(_) => Matcher::Tokens(tokens),
        other => other,
    })
}

/// A path without `.`, doubled slashes and what `..` can take away, as Go's `filepath.Clean`.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, ignored: &[&str], kept: &[&str]) {
        let ignore = Ignore::parse(text).unwrap();
        for path in ignored {
            assert!(ignore.ignores(path), "{path} should be ignored by {text:?}");
        }
        for path in kept {
            assert!(!ignore.ignores(path), "{path} should be kept by {text:?}");
        }
    }

    #[test]
    fn the_examples_of_the_reference() {
        check(
            "# comment\n*/temp*\n*/*/temp*\ntemp?\n",
            &[
                "somedir/temporary.txt",
                "somedir/temp",
                "somedir/sub/temporary.txt",
                "tempa",
            ],
            &["temp", "temporary", "a/b/c/temp"],
        );
        check("*.md\n!README.md\n", &["a.md"], &["README.md", "sub/a.md"]);
        check(
            "*.md\n!README*.md\nREADME-secret.md\n",
            &["a.md", "README-secret.md"],
            &["README.md", "README-x.md"],
        );
        check(
            "*.md\nREADME-secret.md\n!README*.md\n",
            &["a.md"],
            &["README-secret.md"],
        );
        check("**/*.go", &["a.go", "x/a.go", "x/y/a.go"], &["a.goo"]);
    }

    #[test]
    fn directories_take_what_is_below() {
        check(
            "node_modules",
            &["node_modules", "node_modules/a/b"],
            &["x/node_modules"],
        );
        check(
            "**/node_modules",
            &["node_modules", "x/y/node_modules/z"],
            &["my"],
        );
        check(
            "dir\n!dir/keep",
            &["dir", "dir/x"],
            &["dir/keep", "dir/keep/y"],
        );
        check("dir/**", &["dir/x", "dir/x/y"], &["dir", "dirx"]);
        check("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb"]);
        check("**", &["a", "a/b"], &[]);
        check(
            "*\n!src\n!Cargo.*",
            &["target", "x/y"],
            &["src/main.rs", "Cargo.toml"],
        );
    }

    #[test]
    fn paths_are_cleaned() {
        check("/a/./b/../c/", &["a/c", "a/c/d"], &["b"]);
        check("  spaced  \n\n./x", &["spaced", "x"], &[]);
        check("\u{feff}first", &["first"], &[]);
        check("! kept\n", &[], &["kept"]);
        check("[a-c]x\n\\*y", &["ax", "*y"], &["dx", "zy"]);
    }

    #[test]
    fn bad_patterns_are_named() {
        assert_eq!(Ignore::parse("[a"), Err(BadPattern("[a".to_owned())));
        assert!(Ignore::parse("!").is_err());
    }

    #[test]
    fn an_ignored_directory_is_entered_for_an_exception() {
        let ignore = Ignore::parse("*\n!src/main").unwrap();
        assert!(ignore.may_keep_below("src"));
        assert!(ignore.may_keep_below("src/main/deep"));
        assert!(!ignore.may_keep_below("target"));
        assert!(
            Ignore::parse("*\n!**/*.rs")
                .unwrap()
                .may_keep_below("target")
        );
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "[a/*?!#\\[\\]\\\\\n.-]{0,40}", path in "[a/.]{0,20}") {
            if let Ok(ignore) = Ignore::parse(&text) {
                ignore.ignores(&path);
            }
        }

        #[test]
        fn walking_down_agrees_with_asking(
            text in "(!?(\\*\\*/|a/|b/)?[ab*]\n){0,5}",
            parts in proptest::collection::vec("[ab]", 1..4),
        ) {
            let Ok(ignore) = Ignore::parse(&text) else { return Ok(()) };
            let mut known = IgnoreWalk::default();
            let mut path = String::new();
            for part in parts {
                if !path.is_empty() {
                    path.push('/');
                }
                path.push_str(&part);
                let (ignored, below) = ignore.step(&known, &path);
                prop_assert_eq!(ignored, ignore.ignores(&path), "{:?} {}", text, path);
                known = below;
            }
        }

        #[test]
        fn cleaning_twice_is_cleaning(path in "[a/.]{0,20}") {
            let once = clean(&path);
            prop_assert_eq!(clean(&once), once);
        }
    }
}
