//! Variables of services: values taken from the environment, and from env files.

use std::path::PathBuf;

use indexmap::IndexMap;

use super::diagnostic::{Diagnostic, Location};
use super::dotenv::{self, Parsed};
use super::interpolate::Environment;
use super::loader::Loader;
use super::node::{Node, Value};
use super::sources::{FileKind, read_with};
use crate::model::{EnvFile, Project, Service};

/// Which variables without a value take one from the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// All.
    All,
    /// Those of a list (`- NAME`), not those of a mapping (`NAME:`): of an included file's own environment, which the
    /// project's does not hold, the reference gives only them.
    Listed,
}

/// Gives variables of a service without a value that of the environment, when there is one.
pub(crate) fn resolve_nulls(service: &mut Node, environment: &Environment, names: Names) {
    match service.get_mut("environment").map(|node| &mut node.value) {
        Some(Value::Map(variables)) => {
            let wanted = |node: &Node| names == Names::All || is_listed(node);
            for (name, value) in variables.iter_mut().filter(|(_, node)| wanted(node)) {
                if let (true, Some(found)) = (value.is_null(), environment.get(name.as_str())) {
                    value.value = Value::String(found.clone());
                }
            }
        }
        // As written, when variables are left in place.
        Some(Value::List(items)) => items.iter_mut().for_each(|item| {
            resolve_item(item, environment);
        }),
        _ => {}
    }
}

/// Whether a variable without a value was an item of a list: then its name and its value are in the same place.
fn is_listed(node: &Node) -> bool {
    node.key_span == node.span
}

/// Gives a name in a list the environment's value; false when it stays without one.
pub(crate) fn resolve_item(item: &mut Node, environment: &Environment) -> bool {
    let Some(name) = item.as_str().filter(|text| !text.contains('=')) else {
        return true;
    };
    let found = environment.get(name).map(|value| format!("{name}={value}"));
    let is_found = found.is_some();
    if let Some(text) = found {
        item.value = Value::String(text);
    }
    is_found
}

/// A file that a service uses.
struct FileUse<'a> {
    path: PathBuf,
    /// Where the service names it.
    place: Option<Location>,
    /// Where it says in which format it is.
    format: Option<Location>,
    service: &'a str,
}

impl<'a> FileUse<'a> {
    fn new(project: &Project, file: &str, place: Option<Location>, service: &'a str) -> Self {
        Self {
            path: project.working_dir.join(file),
            format: place.clone(),
            place,
            service,
        }
    }

    fn missing(&self, kind: &str) -> Diagnostic {
        let message = format!(
            "{kind} {} not found, for service `{}`",
            self.path.display(),
            self.service
        );
        Diagnostic::error("missing-file", message).at(self.place.clone(), "there is no such file")
    }

    fn explain(&self, problem: Diagnostic) -> Diagnostic {
        problem.and(
            self.place.clone(),
            format!("used by service `{}`", self.service),
        )
    }
}

impl Loader<'_> {
    /// Reads the env and label files of all enabled services into their variables and labels.
    pub(crate) fn resolve_files(&mut self, project: &mut Project, root: &Node) {
        let mut services = std::mem::take(&mut project.services);
        for (name, service) in &mut services {
            if !self.options.skip.environment_resolution {
                self.resolve_env_files(service, project, root.at(&["services", name, "env_file"]));
            }
            self.resolve_label_files(service, project, root.at(&["services", name, "label_file"]));
        }
        project.services = services;
    }

    fn spend_text(&mut self, bytes: usize, using: &FileUse<'_>) -> bool {
        let left = self.budget.text.checked_sub(bytes);
        if left.is_none() {
            self.too_large_at(
                "the services read too much from env files and label files",
                using.place.clone(),
            );
        }
        self.budget.text = left.unwrap_or(0);
        left.is_some()
    }

    /// Where a service names a file: its path, in either form.
    fn item_place(&self, list: Option<&Node>, index: usize) -> Option<Location> {
        let item = list?.as_list()?.get(index)?;
        self.sources.locate(item.get("path").unwrap_or(item).span)
    }

    fn resolve_env_files(&mut self, service: &mut Service, project: &Project, node: Option<&Node>) {
        // Later files see the variables of earlier ones, and their own first.
        let mut parsed = Parsed::default();
        for (index, file) in std::mem::take(&mut service.env_file).iter().enumerate() {
            let outer = |name: &str| {
                let own = || service.environment.get(name).cloned().flatten();
                project.environment.get(name).cloned().or_else(own)
            };
            let mut using = FileUse::new(
                project,
                &file.path,
                self.item_place(node, index),
                &service.name,
            );
            let items = node.and_then(Node::as_list).unwrap_or_default();
            let format = items.get(index).and_then(|item| item.get("format"));
            if let Some(format) = format {
                using.format = self.sources.locate(format.span);
            }
            self.read_env_file(file, &outer, &using, &mut parsed);
        }
        self.findings.append(&mut parsed.warnings);
        if parsed.variables.is_empty() {
            return;
        }
        let mut merged: IndexMap<String, Option<String>> = parsed
            .variables
            .into_iter()
            .map(|(name, value)| (name, Some(value)))
            .collect();
        merged.extend(std::mem::take(&mut service.environment));
        service.environment = merged;
    }

    fn read_env_file(
        &mut self,
        file: &EnvFile,
        outer: dotenv::Lookup<'_>,
        using: &FileUse<'_>,
        parsed: &mut Parsed,
    ) {
        let parser = match file.format.as_deref() {
            None | Some("") => dotenv::parse,
            Some("raw") => dotenv::parse_raw,
            Some(other) => {
                let message = format!(
                    "`{other}` is not a format of env files, in service `{}`",
                    using.service
                );
                let problem = Diagnostic::error("wrong-word", message)
                    .at(using.format.clone(), "expected `raw`");
                self.findings
                    .push(problem.help("write `raw`, or leave `format` out"));
                return;
            }
        };
        if self.files.kind(&using.path).is_none() {
            if file.required {
                self.findings.push(
                    using
                        .missing("env file")
                        .help("create it, or write `required: false`"),
                );
            }
            return;
        }
        let result = match self.files.read(&using.path) {
            Ok(content) if !self.spend_text(content.len(), using) => return,
            Ok(content) => read_with(
                parser,
                &using.path,
                content,
                outer,
                (&mut self.sources, parsed),
            ),
            Err(error) => {
                let message = format!("env file {} cannot be read: {error}", using.path.display());
                let problem = Diagnostic::error("unreadable-file", message);
                let problem = problem.at(using.place.clone(), "used here");
                self.findings
                    .push(problem.help("name a file that can be read"));
                return;
            }
        };
        if let Err(problem) = result {
            self.findings.push(using.explain(*problem));
        }
    }

    fn resolve_label_files(
        &mut self,
        service: &mut Service,
        project: &Project,
        node: Option<&Node>,
    ) {
        let mut parsed = Parsed::default();
        let files = std::mem::take(&mut service.label_file);
        for (index, file) in files.iter().enumerate() {
            let using = FileUse::new(project, file, self.item_place(node, index), &service.name);
            if self.files.kind(&using.path) != Some(FileKind::File) {
                self.findings.push(
                    using
                        .missing("label file")
                        .help("create it, or remove it here"),
                );
                continue;
            }
            let content = match self.files.read(&using.path) {
                Ok(content) if self.spend_text(content.len(), &using) => content,
                Ok(_) => continue,
                Err(error) => {
                    let message = format!(
                        "label file {} cannot be read: {error}",
                        using.path.display()
                    );
                    let problem = Diagnostic::error("unreadable-file", message);
                    let problem = problem.at(using.place.clone(), "used here");
                    self.findings
                        .push(problem.help("name a file that can be read"));
                    continue;
                }
            };
            let known = parsed.variables.clone();
            let outer = |name: &str| known.get(name).cloned();
            let into = (&mut self.sources, &mut parsed);
            if let Err(problem) = read_with(dotenv::parse, &using.path, content, &outer, into) {
                self.findings.push(using.explain(*problem));
            }
        }
        if !files.is_empty() {
            let mut labels = parsed.variables;
            labels.extend(std::mem::take(&mut service.labels));
            service.labels = labels;
        }
    }
}
