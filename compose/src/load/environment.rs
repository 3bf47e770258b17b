//! Variables of services: values taken from the environment, and from env files.

use std::path::Path as FilePath;

use indexmap::IndexMap;

use super::diagnostic::Diagnostic;
use super::dotenv::{self, Parsed};
use super::interpolate::{Environment, missing_variable};
use super::loader::Loader;
use super::node::{Node, Value};
use super::sources::{FileKind, read_with};
use crate::model::{EnvFile, Project, Service};

/// Gives variables without a value that of the environment, when there is one.
pub(crate) fn resolve_nulls(root: &mut Node, environment: &Environment) {
    let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) else {
        return;
    };
    for service in services.values_mut() {
        let Some(variables) = service.get_mut("environment").and_then(Node::as_map_mut) else {
            continue;
        };
        for (name, value) in variables.iter_mut() {
            if let (true, Some(found)) = (value.is_null(), environment.get(name)) {
                value.value = Value::String(found.clone());
            }
        }
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
            self.resolve_label_files(service, root.at(&["services", name, "label_file"]));
        }
        project.services = services;
    }

    fn resolve_env_files(&mut self, service: &mut Service, project: &Project, node: Option<&Node>) {
        let mut from_files: IndexMap<String, String> = IndexMap::new();
        for (index, file) in std::mem::take(&mut service.env_file).iter().enumerate() {
            let outer = |name: &str| {
                let own = || service.environment.get(name).cloned().flatten();
                project.environment.get(name).cloned().or_else(own)
            };
            let place = node
                .and_then(Node::as_list)
                .and_then(|items| items.get(index));
            if let Some(variables) = self.read_env_file(file, &outer, place, &service.name) {
                from_files.extend(variables);
            }
        }
        if from_files.is_empty() {
            return;
        }
        let mut merged: IndexMap<String, Option<String>> = from_files
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
        node: Option<&Node>,
        service: &str,
    ) -> Option<IndexMap<String, String>> {
        let path = FilePath::new(&file.path);
        let place = node.and_then(|node| self.sources.locate(node.span));
        let parser = match file.format.as_deref() {
            None | Some("") => dotenv::parse,
            Some("raw") => dotenv::parse_raw,
            Some(other) => {
                let message =
                    format!("`{other}` is not a format of env files, in service `{service}`");
                self.findings.push(
                    Diagnostic::error("wrong-word", message)
                        .at(place, "")
                        .help("write `raw`, or leave `format` out"),
                );
                return None;
            }
        };
        if self.files.kind(path).is_none() {
            if file.required {
                let message = format!(
                    "env file {} not found, for service `{service}`",
                    path.display()
                );
                let problem =
                    Diagnostic::error("missing-file", message).at(place, "there is no such file");
                self.findings
                    .push(problem.help("create it, or write `required: false`"));
            }
            return None;
        }
        let mut parsed = Parsed::default();
        let result = match self.files.read(path) {
            Ok(content) => read_with(
                parser,
                path,
                content,
                outer,
                (&mut self.sources, &mut parsed),
            ),
            Err(error) => Err(Diagnostic::error(
                "unreadable-file",
                format!("env file {} cannot be read: {error}", path.display()),
            )),
        };
        if let Err(problem) = result {
            self.findings
                .push(problem.and(place, format!("used by service `{service}`")));
            return None;
        }
        self.findings
            .extend(parsed.missing.iter().map(|name| missing_variable(name)));
        Some(parsed.variables)
    }

    fn resolve_label_files(&mut self, service: &mut Service, node: Option<&Node>) {
        let mut parsed = Parsed::default();
        for (index, file) in service.label_file.iter().enumerate() {
            let path = FilePath::new(file);
            let place = node
                .and_then(Node::as_list)
                .and_then(|items| items.get(index));
            let place = place.and_then(|node| self.sources.locate(node.span));
            if self.files.kind(path) != Some(FileKind::File) {
                let message = format!(
                    "label file {} not found, for service `{}`",
                    path.display(),
                    service.name
                );
                self.findings.push(
                    Diagnostic::error("missing-file", message).at(place, "there is no such file"),
                );
                continue;
            }
            let Ok(content) = self.files.read(path) else {
                continue;
            };
            let known = parsed.variables.clone();
            let outer = |name: &str| known.get(name).cloned();
            if let Err(problem) = read_with(
                dotenv::parse,
                path,
                content,
                &outer,
                (&mut self.sources, &mut parsed),
            ) {
                self.findings
                    .push(problem.and(place, format!("used by service `{}`", service.name)));
            }
        }
        if service.label_file.is_empty() {
            return;
        }
        service.label_file.clear();
        let mut labels = parsed.variables;
        labels.extend(std::mem::take(&mut service.labels));
        service.labels = labels;
    }
}
