//! What a Dockerfile offers: its targets, and what a target can be given. In the words of BuildKit's calls of that name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::instruction::{Dockerfile, Instruction, Kind, Stage};
use crate::span::Span;

impl Dockerfile {
    /// The stages that can be built.
    pub fn targets(&self) -> Value {
        let last = self.stages.len().saturating_sub(1);
        let target = |(index, stage): (usize, &Stage)| {
            let name = stage.name.as_deref().unwrap_or_default();
            let description = told(&stage.comments, name);
            let mut target = json!({ "base": stage.base, "location": location(stage.span) });
            for (key, value) in [
                ("name", name),
                ("description", description.as_str()),
                ("platform", stage.platform.as_deref().unwrap_or_default()),
            ] {
                if !value.is_empty() {
                    target[key] = json!(value);
                }
            }
            if index == last {
                target["default"] = json!(true);
            }
            target
        };
        let targets: Vec<Value> = self.stages.iter().enumerate().map(target).collect();
        json!({ "targets": targets })
    }

    /// What a target can be given: arguments, secrets, agents, caches. `None` when there is no such target.
    pub fn outline(&self, target: &str, given: &BTreeMap<String, String>) -> Option<Value> {
        let wanted = match target {
            "" => self.stages.len().checked_sub(1)?,
            name => match self.stage_named(name) {
                Some(stage) => stage,
                None => name
                    .parse::<usize>()
                    .ok()
                    .filter(|index| *index < self.stages.len())?,
            },
        };
        let stage = self.stages.get(wanted)?;
        let needed = self.needed(wanted);
        let own = needed.iter().filter_map(|index| self.stages.get(*index));
        let instructions: Vec<&Instruction> = self
            .global_args
            .iter()
            .chain(own.flat_map(|stage| &stage.instructions))
            .collect();
        let name = stage.name.as_deref().unwrap_or_default();
        let mut outline = json!({});
        if !name.is_empty() {
            outline["name"] = json!(name);
        }
        let description = told(&stage.comments, name);
        if !description.is_empty() {
            outline["description"] = json!(description);
        }
        for (key, found) in [
            ("args", arguments(&instructions, given)),
            ("secrets", mounts(&instructions, "secret")),
            ("ssh", mounts(&instructions, "ssh")),
            ("cache", mounts(&instructions, "cache")),
        ] {
            if !found.is_empty() {
                outline[key] = json!(found);
            }
        }
        Some(outline)
    }

    /// A stage and those that it is made from.
    fn needed(&self, wanted: usize) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut ahead = vec![wanted];
        while let Some(index) = ahead.pop() {
            let Some(stage) = self.stages.get(index).filter(|_| needed.insert(index)) else {
                continue;
            };
            let copied = stage.instructions.iter().filter_map(|one| match &one.kind {
                Kind::Copy(copy) => copy.from.as_ref().map(|from| from.value.clone()),
                _ => None,
            });
            let names = copied.chain([stage.base.clone()]);
            ahead.extend(names.filter_map(|name| {
                let found = self.stage_named(&name).or_else(|| name.parse().ok());
                found.filter(|found| *found < index)
            }));
        }
        needed
    }
}

fn arguments(instructions: &[&Instruction], given: &BTreeMap<String, String>) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    let mut seen = BTreeSet::new();
    for instruction in instructions {
        let Kind::Arg(pairs) = &instruction.kind else {
            continue;
        };
        for pair in pairs.iter().filter(|pair| seen.insert(pair.key.as_str())) {
            let mut argument = json!({ "name": pair.key, "location": location(instruction.span) });
            let default = pair
                .value
                .as_deref()
                .map(|value| value.trim_matches(['"', '\'']));
            let value = given.get(&pair.key).map(String::as_str).or(default);
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                argument["value"] = json!(value);
            }
            let description = told(&instruction.comments, &pair.key);
            if !description.is_empty() {
                argument["description"] = json!(description);
            }
            found.push(argument);
        }
    }
    found
}

/// The mounts of a type, each id once.
fn mounts(instructions: &[&Instruction], kind: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for instruction in instructions {
        let Kind::Run(run) = &instruction.kind else {
            continue;
        };
        for flag in &run.mounts {
            let fields: BTreeMap<&str, &str> = flag
                .value
                .split(',')
                .map(|field| field.split_once('=').unwrap_or((field, "true")))
                .collect();
            let field = |name: &str| fields.get(name).copied();
            if field("type").unwrap_or("bind") != kind {
                continue;
            }
            let target = field("target").or(field("dst")).or(field("destination"));
            let name = match (field("id"), kind, target) {
                (Some(id), ..) => id,
                (None, "ssh", _) => "default",
                (None, "secret", Some(target)) => target.rsplit('/').next().unwrap_or(target),
                (None, _, target) => target.unwrap_or_default(),
            };
            if !seen.insert(name) {
                continue;
            }
            let key = if kind == "cache" { "ID" } else { "name" };
            let mut mount = json!({ "location": location(flag.span) });
            mount[key] = json!(name);
            if field("required").is_some_and(|required| required != "false") {
                mount["required"] = json!(true);
            }
            found.push(mount);
        }
    }
    found
}

/// What the comment above tells of a name: `# name what it is`.
fn told(comments: &[String], name: &str) -> String {
    let of_name = |comment: &String| {
        let rest = comment.trim_start_matches('#').trim().strip_prefix(name)?;
        Some(rest.strip_prefix(' ')?.trim().to_owned())
    };
    let found = comments.iter().find_map(of_name);
    found.filter(|_| !name.is_empty()).unwrap_or_default()
}

fn location(span: Span) -> Value {
    json!({ "ranges": [{ "start": { "line": span.line }, "end": { "line": span.end_line } }] })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ARG BASE=busybox\n# base all begins here\nFROM ${BASE} AS base\n# A how many\nARG A=1\n\
        RUN --mount=type=secret,id=s,required --mount=type=ssh --mount=type=cache,target=/c true\n\
        FROM busybox AS other\nARG NOT\nFROM base\nARG B\nCOPY --from=base /x /\n";

    #[test]
    fn targets_and_parameters_are_told() {
        let file = crate::parse(TEXT).unwrap();
        let targets = file.targets();
        assert_eq!(targets["targets"][0]["name"], "base");
        assert_eq!(targets["targets"][0]["description"], "all begins here");
        assert_eq!(targets["targets"][2]["default"], true);
        let given = BTreeMap::from([("B".to_owned(), "7".to_owned())]);
        let outline = file.outline("", &given).unwrap();
        let names = |key: &str, name: &str| -> Vec<String> {
            let found = outline[key].as_array().unwrap().iter();
            found
                .map(|one| one[name].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(names("args", "name"), ["BASE", "A", "B"]);
        assert_eq!(outline["args"][1]["description"], "how many");
        assert_eq!(outline["args"][2]["value"], "7");
        assert_eq!(names("secrets", "name"), ["s"]);
        assert_eq!(outline["secrets"][0]["required"], true);
        assert_eq!(names("ssh", "name"), ["default"]);
        assert_eq!(names("cache", "ID"), ["/c"]);
        assert!(file.outline("nobody", &given).is_none());
        assert_eq!(
            file.outline("other", &given).unwrap()["args"][1]["name"],
            "NOT"
        );
    }
}
