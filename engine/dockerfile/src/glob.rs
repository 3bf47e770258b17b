//! Wildcards as Go's `filepath.Match` reads them, and the longer ones of `.dockerignore`.
//!
//! Both are lists of [`Token`]s, matched by one walk over the name that holds every state at once, so that no pattern
//! takes more time than its length times the name's.

/// A pattern that is none: an unclosed class or an escape of nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPattern(
    /// The pattern.
    pub String,
);

impl std::fmt::Display for BadPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "syntax error in pattern {:?}", self.0)
    }
}

impl std::error::Error for BadPattern {}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// This character.
    One(char),
    /// One character, but no slash.
    Any,
    /// One character of a class.
    Class(Class),
    /// Any characters, but no slash.
    Star,
    /// Any characters.
    Everything,
    /// Nothing, or any characters and a slash.
    Directories,
}

/// `[a-z]`, `[^a-z]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    /// Reads what follows `[`, and the `]`.
    pub(crate) fn read(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Self> {
        let negated = chars.next_if_eq(&'^').is_some();
        let mut ranges = Vec::new();
        loop {
            if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
                return Some(Self { negated, ranges });
            }
            let low = class_char(chars)?;
            let high = match chars.next_if_eq(&'-') {
                Some(_) => class_char(chars)?,
                None => low,
            };
            ranges.push((low, high));
        }
    }

    fn has(&self, c: char) -> bool {
        self.negated
            != self
                .ranges
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&c))
    }
}

/// A character of a class; one with a meaning there must be escaped.
fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

/// Whether a name matches a pattern: `*`, `?`, `[class]`, `\escape`. Wildcards stay within a path's component.
///
/// # Errors
/// The pattern is none.
pub fn matches(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    Ok(run(&parse(pattern)?, name))
}

/// Whether a path has wildcards.
pub fn has_wildcards(path: &str) -> bool {
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '[' => return true,
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
    false
}

/// Reads a pattern of Go's `filepath.Match`.
pub(crate) fn parse(pattern: &str) -> Result<Vec<Token>, BadPattern> {
    let bad = || BadPattern(pattern.to_owned());
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '[' => Token::Class(Class::read(&mut chars).ok_or_else(bad)?),
            '\\' => Token::One(chars.next().ok_or_else(bad)?),
            c => Token::One(c),
        });
    }
    Ok(tokens)
}

/// Whether all of a name matches.
pub(crate) fn run(tokens: &[Token], name: &str) -> bool {
    // Which prefixes of the pattern match what was read so far; `inside` are `Directories` amidst a directory's name.
    let mut states = vec![false; tokens.len() + 1];
    let mut inside = vec![false; tokens.len()];
    states[0] = true;
    close(tokens, &mut states);
    for c in name.chars() {
        let mut next = vec![false; tokens.len() + 1];
        let mut still_inside = vec![false; tokens.len()];
        for (i, token) in tokens.iter().enumerate() {
            if !(states[i] || inside[i]) {
                continue;
            }
            match token {
                Token::One(own) if *own == c => next[i + 1] = true,
                Token::Any if c != '/' => next[i + 1] = true,
                Token::Class(class) if class.has(c) => next[i + 1] = true,
                Token::Star if c != '/' => next[i] = true,
                Token::Everything => next[i] = true,
                Token::Directories => {
                    still_inside[i] = true;
                    if c == '/' {
                        next[i + 1] = true;
                    }
                }
                _ => {}
            }
        }
        close(tokens, &mut next);
        if !next.contains(&true) && !still_inside.contains(&true) {
            return false;
        }
        states = next;
        inside = still_inside;
    }
    states[tokens.len()]
}

/// Stars may match nothing.
fn close(tokens: &[Token], states: &mut [bool]) {
    for (i, token) in tokens.iter().enumerate() {
        let empty = matches!(token, Token::Star | Token::Everything | Token::Directories);
        if states[i] && empty {
            states[i + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_go_matches() {
        // From the table of Go's path/filepath/match_test.go, as facts: pattern, name, whether.
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[\\]a]", "]", true),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
        ] {
            assert_eq!(matches(pattern, name), Ok(expected), "{pattern} {name}");
        }
        for bad in [
            "[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[",
        ] {
            assert!(matches(bad, "x").is_err(), "{bad}");
        }
    }

    #[test]
    fn no_pattern_is_slow() {
        let pattern = "*a".repeat(1_000);
        assert_eq!(matches(&pattern, &"b".repeat(10_000)), Ok(false));
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in "[a/*?\\[\\]^\\\\-]{0,20}", name in "[ab/]{0,20}") {
            let _ = matches(&pattern, &name);
        }

        #[test]
        fn a_literal_matches_itself(name in "[a-z/.]{0,20}") {
            prop_assert_eq!(matches(&name, &name), Ok(true));
            prop_assert!(!has_wildcards(&name));
        }
    }
}
