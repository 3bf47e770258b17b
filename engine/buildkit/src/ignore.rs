//! `.dockerignore` as a list of patterns, the way that Docker hands them to clients.

/// Reads the patterns: one a line, `#` begins a comment, `!` takes something back.
#[must_use]
pub fn patterns(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| match line.strip_prefix('!') {
            Some(rest) => format!("!{}", clean(rest.trim())),
            None => clean(line),
        })
        .collect()
}

/// Go's `filepath.Clean`, and no slash in front.
fn clean(pattern: &str) -> String {
    if pattern.is_empty() {
        return String::new();
    }
    let rooted = pattern.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in pattern.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => {
                names.pop();
            }
            ".." if rooted => {}
            name => names.push(name),
        }
    }
    match (names.is_empty(), rooted) {
        (true, true) => "/".to_owned(),
        (true, false) => ".".to_owned(),
        _ => names.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read() {
        let text = "\u{feff}# no\n\n  a/b/ \n!a/b/../c\n/top\n./x//y\n!\n #no comment\n.";
        let expected = ["a/b", "!a/c", "top", "x/y", "!", "#no comment", "."];
        assert_eq!(patterns(text.as_bytes()), expected);
    }
}
