//! What is told beside each line of a log when details are asked for: the container's labels and variables that its log options
//! choose (`labels`, `labels-regex`, `env`, `env-regex`), and its tag. They are the container's, so that no line has to carry them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::store::container::ContainerRecord;

/// `a=b,c=d` with both sides escaped as in a query; empty without any.
pub(crate) fn of(record: &ContainerRecord) -> String {
    let option = |name: &str| record.host_config.log_config.config.get(name);
    let mut found: BTreeMap<&str, String> = BTreeMap::new();
    let labels = record.config.labels.iter();
    let labels = labels.map(|(name, value)| (name.as_str(), value.as_str()));
    let variables = record.config.env.iter();
    let variables = variables.filter_map(|entry| entry.split_once('='));
    choose(
        labels,
        (option("labels"), option("labels-regex")),
        &mut found,
    );
    choose(variables, (option("env"), option("env-regex")), &mut found);
    if let Some(tag) = option("tag").filter(|tag| !tag.is_empty()) {
        found.insert("tag", filled(tag, record));
    }
    let pairs = found.iter();
    let pairs = pairs.map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    pairs.collect::<Vec<_>>().join(",")
}

fn choose<'a>(
    all: impl Iterator<Item = (&'a str, &'a str)>,
    (names, pattern): (Option<&String>, Option<&String>),
    found: &mut BTreeMap<&'a str, String>,
) {
    let names: Vec<&str> = names.map_or(Vec::new(), |names| names.split(',').collect());
    let pattern = pattern.filter(|pattern| !pattern.is_empty());
    // One that is no pattern chooses nothing.
    let pattern = pattern.and_then(|pattern| regex_lite::Regex::new(pattern).ok());
    for (name, value) in all {
        let by_pattern = || pattern.as_ref().is_some_and(|any| any.is_match(name));
        if names.contains(&name) || by_pattern() {
            found.insert(name, value.to_owned());
        }
    }
}

/// A tag's template; fields that are not known stay as they are.
fn filled(tag: &str, record: &ContainerRecord) -> String {
    let image = record.image_id.strip_prefix("sha256:");
    let image = image.unwrap_or(record.image_id.as_str());
    let fields = [
        ("{{.ID}}", record.id.short()),
        ("{{.FullID}}", record.id.as_str()),
        ("{{.Name}}", record.name.as_str()),
        ("{{.ImageID}}", image.get(..12).unwrap_or(image)),
        ("{{.ImageFullID}}", record.image_id.as_str()),
        ("{{.ImageName}}", record.config.image.as_str()),
        ("{{.DaemonName}}", "docker"),
    ];
    fields.iter().fold(tag.to_owned(), |text, (field, value)| {
        text.replace(field, value)
    })
}

/// As in a query: what is neither letter, digit nor `-_.~` as `%XX`, spaces as `+`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::tests::record;

    #[track_caller]
    fn check(options: &[(&str, &str)], expected: &str) {
        let mut record = record(0xab, "web");
        let labels = [("shop.part", "a b"), ("shop.kind", "c"), ("other", "1")];
        record.config.labels = labels
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        record.config.env = vec!["MODE=x=y".to_owned(), "PATH=/bin".to_owned()];
        record.host_config.log_config.config = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(of(&record), expected, "{options:?}");
    }

    #[test]
    fn what_log_options_choose_is_told() {
        check(&[], "");
        check(&[("labels", "other,none")], "other=1");
        check(
            &[("labels-regex", "^shop"), ("env", "MODE")],
            "MODE=x%3Dy,shop.kind=c,shop.part=a+b",
        );
        check(&[("env-regex", "PA"), ("labels-regex", "(")], "PATH=%2Fbin");
        check(&[("tag", "{{.Name}}/{{.ID}}")], "tag=web%2Fabababababab");
    }
}
