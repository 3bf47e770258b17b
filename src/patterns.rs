//! Patterns of `.dockerignore` files, as `develop.watch` uses them: later ones win, `!` takes back.

/// A list of patterns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patterns(Vec<(bool, Vec<String>)>);

impl Patterns {
    /// Reads patterns, one a text; empty ones and comments are nothing.
    pub(crate) fn read<'a>(texts: impl IntoIterator<Item = &'a str>) -> Patterns {
        let one = |text: &str| {
            let text = text.trim();
            let (back, text) = match text.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, text),
            };
            let parts = text.split('/').filter(|part| !matches!(*part, "" | "."));
            let parts: Vec<String> = parts.map(str::to_owned).collect();
            (!parts.is_empty() && !text.starts_with('#')).then_some((back, parts))
        };
        Patterns(texts.into_iter().filter_map(one).collect())
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a path, relative to where the patterns are, is meant: it, or a directory that it is in.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut matched = false;
        for (back, pattern) in &self.0 {
            let found = (1..=parts.len()).any(|depth| path_matches(pattern, &parts[..depth]));
            if found {
                matched = !back;
            }
        }
        matched
    }
}

fn path_matches(pattern: &[String], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => {
            path_matches(rest, path) || (!path.is_empty() && path_matches(pattern, &path[1..]))
        }
        (Some((first, rest)), Some((name, below))) => {
            let (first, name): (Vec<char>, Vec<char>) =
                (first.chars().collect(), name.chars().collect());
            name_matches(&first, &name) && path_matches(rest, below)
        }
        _ => false,
    }
}

/// `*`, `?`, `[a-z]`, `\` before a character that is meant as it is.
fn name_matches(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => {
            name_matches(rest, name) || (!name.is_empty() && name_matches(pattern, &name[1..]))
        }
        (['?', rest @ ..], [_, below @ ..]) => name_matches(rest, below),
        (['[', set @ ..], [c, below @ ..]) => match set.iter().skip(1).position(|c| *c == ']') {
            Some(end) => in_set(&set[..=end], *c) && name_matches(&set[end + 2..], below),
            None => false,
        },
        (['\\', c, rest @ ..], [d, below @ ..]) | ([c, rest @ ..], [d, below @ ..]) => {
            c == d && name_matches(rest, below)
        }
        _ => false,
    }
}

fn in_set(set: &[char], c: char) -> bool {
    let (not, set) = match set {
        ['^' | '!', rest @ ..] => (true, rest),
        set => (false, set),
    };
    let mut found = false;
    let mut at = 0;
    while at < set.len() {
        match set[at..] {
            [low, '-', high, ..] => {
                found |= (low..=high).contains(&c);
                at += 3;
            }
            [one, ..] => {
                found |= one == c;
                at += 1;
            }
            [] => break,
        }
    }
    found != not
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str], path: &str, expected: bool) {
        let got = Patterns::read(patterns.iter().copied()).matches(path);
        assert_eq!(got, expected, "{patterns:?} {path}");
    }

    #[test]
    fn patterns() {
        check(&["node_modules"], "node_modules/a/b.js", true);
        check(&["node_modules/"], "node_modules", true);
        check(&["node_modules"], "src/node_modules", false);
        check(&["**/node_modules"], "src/node_modules/x", true);
        check(&["*.pyc"], "a.pyc", true);
        check(&["*.pyc"], "d/a.pyc", false);
        check(&["**/*.pyc"], "a.pyc", true);
        check(&["src/**"], "src/a/b", true);
        check(&["*.md", "!README.md"], "README.md", false);
        check(&["*.md", "!README.md"], "x.md", true);
        check(&["a?[0-9]"], "ab7", true);
        check(&["a?[^0-9]"], "ab7", false);
        check(&["# comment", ""], "# comment", false);
        check(&["./x"], "x/y", true);
    }
}
