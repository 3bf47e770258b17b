//! `[source:]target[:options]`.

use std::borrow::Cow;

use super::super::diagnostic::Diagnostic;
use super::super::node::{Map, Node, Value};
use super::super::report::Path;
use super::{Expansion, attributes, text_map};

const PROPAGATIONS: [&str; 6] = [
    "rprivate", "private", "rshared", "shared", "rslave", "slave",
];
const KNOWN_OPTIONS: [&str; 3] = ["ro", "rw", "nocopy"];

/// Mounts to their long form.
pub(super) fn volumes(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    let Value::List(items) = &mut node.value else {
        return;
    };
    for (index, item) in items.iter_mut().enumerate() {
        if let Some(text) = item.as_str() {
            match parse(text) {
                Ok(volume) => item.value = Value::Map(Box::new(volume.map(item))),
                Err(why) => {
                    let item_path = path.item(index);
                    let problem = Diagnostic::error(
                        "invalid-volume",
                        format!("`{text}` in `{item_path}` is not a mount: {why}"),
                    )
                    .at(
                        expansion.report.locate(item.span),
                        "expected `[source:]target[:options]`",
                    );
                    expansion.wrong(item, problem);
                }
            }
            continue;
        }
        if let Some(labels) = item
            .get_mut("volume")
            .and_then(|volume| volume.get_mut("labels"))
        {
            attributes::labels(labels, &path.item(index), expansion);
        }
        if let Some(mode) = item
            .get_mut("tmpfs")
            .and_then(|tmpfs| tmpfs.get_mut("mode"))
            && let Some(text) = mode.as_str().map(str::to_owned)
        {
            let message = format!("`{}.tmpfs.mode` must be a number", path.item(index));
            let problem = Diagnostic::error("wrong-type", message);
            let digits = text.trim_start_matches('0');
            let octal = !digits.is_empty() && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
            let advice = if octal {
                format!("write 0{digits} without quotes")
            } else {
                "write octal digits after a 0, as in 0755".to_owned()
            };
            expansion.wrong(mode, problem.help(advice));
        }
        if let Some(target) = item.get_mut("target")
            && let Some(Cow::Owned(cleaned)) = target.as_str().map(clean_path)
        {
            target.value = Value::String(cleaned);
        }
    }
}

/// Where a mount in short form goes; empty when that cannot be told.
pub(crate) fn short_volume_target(text: &str) -> &str {
    parse(text).map(|volume| volume.target).unwrap_or_default()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct ShortVolume<'t> {
    source: &'t str,
    target: &'t str,
    read_only: bool,
    nocopy: bool,
    propagation: &'t str,
    selinux: &'t str,
    tiny: bool,
}

impl ShortVolume<'_> {
    fn map(&self, item: &Node) -> Map {
        let span = item.span;
        let bind = is_host_path(self.source);
        let mut map = text_map(
            &[
                ("type", if bind { "bind" } else { "volume" }),
                ("source", self.source),
                ("target", &clean_path(self.target)),
            ],
            item,
        );
        let flag = || Node::new(Value::Bool(true), span);
        if self.read_only {
            map.insert("read_only", flag());
        }
        let mut bind_options = text_map(
            &[("propagation", self.propagation), ("selinux", self.selinux)],
            item,
        );
        if bind {
            bind_options.insert("create_host_path", flag());
        }
        if !bind_options.is_empty() {
            map.insert("bind", Node::map(bind_options, span));
        }
        if self.nocopy || (!bind && !self.tiny) {
            let options = self.nocopy.then(|| ("nocopy".to_owned(), flag()));
            map.insert("volume", Node::map(Map::from_iter(options), span));
        }
        map
    }
}

fn parse(text: &str) -> Result<ShortVolume<'_>, String> {
    let mut volume = ShortVolume::default();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.len() <= 2 {
        volume.target = text;
        volume.tiny = true;
        return Ok(volume);
    }
    let sections = sections(text);
    if sections.iter().any(|section| section.is_empty()) {
        return Err("a part between colons is empty".to_owned());
    }
    let options = match sections.as_slice() {
        [target] => {
            volume.target = target;
            ""
        }
        [source, target] => {
            (volume.source, volume.target) = (source, target);
            ""
        }
        [source, target, options] => {
            (volume.source, volume.target) = (source, target);
            options
        }
        _ => return Err("it has too many colons".to_owned()),
    };
    for option in options.split(',') {
        match option {
            "ro" => volume.read_only = true,
            "rw" => volume.read_only = false,
            "nocopy" => volume.nocopy = true,
            "z" | "Z" => volume.selinux = option,
            _ if PROPAGATIONS.contains(&option) => volume.propagation = option,
            // Options that nobody knows are passed over, as in the reference.
            _ => debug_assert!(!KNOWN_OPTIONS.contains(&option)),
        }
    }
    Ok(volume)
}

/// The parts between colons; a drive letter keeps its colon.
fn sections(text: &str) -> Vec<&str> {
    let mut sections = Vec::new();
    let (mut start, mut before) = (0, None);
    let mut braces = 0_usize;
    for (at, c) in text.char_indices() {
        // A variable that was left in place may hold colons.
        match c {
            '{' if braces > 0 || (before == Some('$') && at > start) => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            _ => {}
        }
        if c == ':' && braces == 0 && !is_letter(&text[start..at]) {
            sections.push(&text[start..at]);
            start = at + 1;
        }
        before = Some(c);
    }
    sections.push(&text[start..]);
    sections
}

/// One letter, as of a drive.
fn is_letter(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(char::is_alphabetic) && letters.next().is_none()
}

fn is_host_path(source: &str) -> bool {
    let mut letters = source.chars();
    let drive = letters.next().is_some_and(char::is_alphabetic) && letters.next() == Some(':');
    source.starts_with(['.', '/', '~']) || source.starts_with("\\\\") || drive
}

/// A path without `.`, `..`, empty and repeated parts, by text only.
pub(crate) fn clean_path(path: &str) -> Cow<'_, str> {
    let rooted = path.starts_with('/');
    let inside = path.strip_prefix('/').unwrap_or(path);
    if path == "/"
        || inside
            .split('/')
            .all(|part| !matches!(part, "" | "." | ".."))
    {
        return Cow::Borrowed(path);
    }
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
    let joined = parts.join("/");
    Cow::Owned(match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mounts_are_read() {
        let check = |text: &str, expected: Option<(&str, &str, bool)>| {
            let got = parse(text).ok().map(|v| (v.source, v.target, v.read_only));
            assert_eq!(got, expected, "{text}");
        };
        check("/data", Some(("", "/data", false)));
        check("data:/d:ro", Some(("data", "/d", true)));
        check("./x:/y:rw,z,odd", Some(("./x", "/y", false)));
        check("C:\\x:/y", Some(("C:\\x", "/y", false)));
        check(":/x", None);
        check("aa:bb:cc:dd", None);
        check("", None);
        check("/a", Some(("", "/a", false)));
    }

    #[test]
    fn paths_are_cleaned() {
        for (path, expected) in [
            ("/a//b/../c/", "/a/c"),
            ("a/./b", "a/b"),
            ("..", ".."),
            ("/..", "/"),
            ("./", "."),
        ] {
            assert_eq!(clean_path(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_handled(text in "[a-c:/.,~\\\\rozé]{0,30}") {
            let _ = parse(&text);
            let _ = clean_path(&text);
        }
    }
}
