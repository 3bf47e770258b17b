//! Files to one merged, checked, expanded tree: the phases that run for each file, in the reference's order.

use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};
use std::rc::Rc;

use indexmap::IndexMap;

use super::LoadOptions;
use super::by_service::{Adding, each_service, without_services};
use super::decode::{DecodeError, decode, path_to};
use super::defaults::set_defaults;
use super::diagnostic::{Diagnostic, Label, Location};
use super::environment::{Names, resolve_nulls};
use super::expand::Allowance;
use super::extends::FileServices;
use super::interpolate::{Environment, interpolate};
use super::node::{Map, Node, SourceMap, Span, Value};
use super::paths::{self, Base};
use super::report::{Path, Report, has_errors};
use super::schema::ROOT;
use super::sources::{self, Files, Unreadable, asked_for, read_text};
use super::validate::{validate_resources, validate_service};
use super::yaml::{Limits, parse};
use crate::model::{EXTENSIONS_KEY, Project};

/// Where a set of files is read: the main files, or those of one `include`.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// Tells scopes apart: they may have different variables.
    pub(crate) id: usize,
    /// The project directory, absolute.
    pub(crate) directory: PathBuf,
    /// The project directory as paths are led to: relative to the including scope's.
    pub(crate) way: PathBuf,
    pub(crate) environment: Rc<Environment>,
    /// Files being included, outermost first.
    pub(crate) included: Vec<PathBuf>,
    /// The main files.
    pub(crate) top: bool,
}

/// Services of a project, networks, and so on: more of them than one machine can hold.
const MOST_RESOURCES: usize = 10_000;

/// So many values of one resource that do not fit the model are told.
const MOST_UNDECODABLE: usize = 20;

/// How much all files of a project may be together, so that a few small ones cannot fill the memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Keys and values, with aliases expanded and each `extends` counted again.
    pub(crate) nodes: usize,
    /// Files read; the same one twice counts twice.
    pub(crate) files: usize,
    /// Bytes of variables: what they become in values, and env files for each use.
    pub(crate) text: usize,
    /// Short forms that become more.
    pub(crate) short_forms: Allowance,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            nodes: 250_000,
            files: 5_000,
            text: 16 << 20,
            short_forms: Allowance::default(),
        }
    }
}

/// What loading works with.
pub(crate) struct Loader<'a> {
    pub(crate) options: &'a LoadOptions,
    pub(crate) files: &'a dyn Files,
    pub(crate) sources: SourceMap,
    pub(crate) findings: Vec<Diagnostic>,
    /// Services of files that were extended from, by file and scope.
    pub(crate) extends_files: HashMap<(PathBuf, usize), Rc<FileServices>>,
    /// Documents of the main files, read before the project's name is known; none when a file cannot be used, which was told.
    main: HashMap<PathBuf, Option<Vec<Node>>>,
    /// Also tell what is doubtful.
    pub(crate) lint: bool,
    /// The last scope's number.
    pub(crate) scopes: usize,
    /// What may still be read.
    pub(crate) budget: Budget,
    /// Values of secrets and configs that come from variables, by section and name.
    pub(crate) given: HashMap<(&'static str, String), String>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(options: &'a LoadOptions, files: &'a dyn Files) -> Self {
        Self {
            options,
            files,
            sources: SourceMap::with_environment(Rc::new(options.environment.clone())),
            findings: Vec::new(),
            extends_files: HashMap::new(),
            main: HashMap::new(),
            lint: false,
            scopes: 0,
            budget: Budget::default(),
            given: HashMap::new(),
        }
    }

    /// Runs a phase and keeps what it found.
    pub(crate) fn report<T>(&mut self, phase: impl FnOnce(&mut Report<'_>) -> T) -> T {
        let mut report = Report::new(&self.sources)
            .with_text(self.budget.text)
            .with_variables(self.options.skip.interpolation);
        let result = phase(&mut report);
        self.budget.text = report.text_left();
        self.findings.extend(report.into_findings());
        result
    }

    /// Loads a list of files, each over the ones before.
    pub(crate) fn load_model(&mut self, files: &[(PathBuf, Option<Span>)], scope: &Scope) -> Node {
        let mut model = Node::empty_map(Span::NONE);
        for (path, asked_at) in files {
            let documents = match self.main.remove(path).filter(|_| scope.top) {
                Some(documents) => documents.unwrap_or_default(),
                None if scope.top && path.as_os_str() == "-" => continue,
                None => self.documents(path, *asked_at).unwrap_or_default(),
            };
            for document in documents {
                self.add_document(&mut model, document, path, scope);
                if self.is_too_large() {
                    return Node::empty_map(Span::NONE);
                }
            }
        }
        let all = if self.options.skip.interpolation {
            Value::String("all".to_owned())
        } else {
            Value::Int(-1)
        };
        let lenient = self.options.skip.interpolation;
        let resolves_paths = !(scope.top && self.options.skip.path_resolution);
        let resolves_nulls = !(scope.top && self.options.skip.interpolation);
        let names = if scope.top { Names::All } else { Names::Listed };
        let home = self.options.environment.get("HOME").cloned();
        let base = Base {
            directory: &scope.way,
            home: home.as_deref(),
            files: scope.top.then_some(self.files),
        };
        self.report(|report| {
            each_service(&mut model, |service, path| {
                set_defaults(service, &all);
                validate_service(service, path, lenient, report);
                if resolves_paths {
                    paths::resolve_service(service, base, path, report);
                }
                if resolves_nulls {
                    resolve_nulls(service, &scope.environment, names);
                }
            });
            without_services(&mut model, |rest| {
                validate_resources(rest, lenient, report);
                if resolves_paths {
                    paths::resolve_resources(rest, base);
                }
            });
        });
        if resolves_nulls {
            self.note_given(&model, scope);
        }
        model
    }

    /// Keeps the values of secrets and configs that come from variables: an included file has variables of its own.
    fn note_given(&mut self, model: &Node, scope: &Scope) {
        for section in ["secrets", "configs"] {
            let entries = model.get(section).and_then(Node::as_map);
            for (name, entry) in entries.into_iter().flatten() {
                let variable = entry.get("environment").and_then(Node::as_str);
                if let Some(value) = variable.and_then(|variable| scope.environment.get(variable)) {
                    let key = (section, name.as_str().to_owned());
                    self.given.entry(key).or_insert_with(|| value.clone());
                }
            }
        }
    }

    /// Reads the main files ahead: one of them may name the project.
    pub(crate) fn read_main_files(&mut self, files: &[PathBuf]) {
        for path in files {
            if !self.main.contains_key(path) {
                let documents = self.documents(path, None);
                self.main.insert(path.clone(), documents);
            }
        }
    }

    /// The documents of a main file that was read ahead.
    pub(crate) fn main_documents(&self, path: &FilePath) -> Option<&Vec<Node>> {
        self.main.get(path)?.as_ref()
    }

    /// Decodes the tree into the project, one resource at a time, so that all that does not fit is told.
    pub(crate) fn decode_into(&mut self, project: &mut Project, root: &Node) {
        project.services = self.decode_section(root, "services");
        project.networks = self.decode_section(root, "networks");
        project.volumes = self.decode_section(root, "volumes");
        project.secrets = self.decode_section(root, "secrets");
        project.configs = self.decode_section(root, "configs");
        project.models = self.decode_section(root, "models");
        if let Some(extensions) = root.get(EXTENSIONS_KEY) {
            project.extensions = decode(extensions).unwrap_or_default();
        }
    }

    fn decode_section<T: serde::de::DeserializeOwned>(
        &mut self,
        root: &Node,
        section: &str,
    ) -> IndexMap<String, T> {
        let nodes = root.get(section).and_then(Node::as_map);
        let right = |map: &Map| map.values().filter(|node| !node.is_invalid()).count();
        let mut decoded = IndexMap::with_capacity(nodes.map_or(0, right));
        for (name, node) in nodes.into_iter().flatten() {
            if node.is_invalid() {
                // It was told, and a file may hold any number of them.
                continue;
            }
            match decode(node) {
                Ok(resource) => {
                    decoded.insert(name.to_string(), resource);
                }
                Err(error) => self.tell_undecodable::<T>((section, name), node, error),
            }
        }
        decoded
    }

    /// Tells what in a resource does not fit the model: the value at which decoding stopped, and without that the next one.
    fn tell_undecodable<T: serde::de::DeserializeOwned>(
        &mut self,
        (section, name): (&str, &str),
        node: &Node,
        mut error: DecodeError,
    ) {
        // What earlier phases have told is not told again in the decoder's words.
        let mut told = has_errors(&self.findings);
        let mut rest = node.clone();
        for _ in 0..MOST_UNDECODABLE {
            let place = rest.at_span(error.span);
            let is_part = place.as_ref().is_some_and(|place| !place.is_invalid());
            if told && !is_part {
                return;
            }
            told = true;
            let path = path_to(node, error.span).unwrap_or_default();
            let message = format!("`{section}.{name}{path}`: {}", error.message);
            let location = self.sources.locate(error.span);
            let location = location.or_else(|| self.sources.locate(node.key_or_value()));
            self.findings
                .push(Diagnostic::error("wrong-value", message).at(location, "this value"));
            let Some(place) = place.filter(|_| is_part) else {
                return;
            };
            place.value = Value::Invalid;
            match decode::<T>(&rest) {
                Err(next) => error = next,
                Ok(_) => return,
            }
        }
    }

    /// The YAML documents of a file.
    pub(crate) fn documents(
        &mut self,
        path: &FilePath,
        asked_at: Option<Span>,
    ) -> Option<Vec<Node>> {
        let Some(files) = self.budget.files.checked_sub(1) else {
            self.too_large("these files include or extend too many files", asked_at);
            return None;
        };
        self.budget.files = files;
        let file = match read_text(
            path,
            &self.options.working_directory,
            self.files,
            &mut self.sources,
        ) {
            Ok(file) => file,
            Err(unreadable) => {
                self.unreadable(path, asked_at, unreadable);
                return None;
            }
        };
        let limits = Limits::default();
        let limits = Limits {
            nodes: limits.nodes.min(self.budget.nodes),
            ..limits
        };
        match parse(&self.sources, file, limits) {
            Ok(documents) => self
                .spend_nodes(documents.iter().map(Node::size).sum(), asked_at)
                .then_some(documents),
            Err(problems) => {
                self.findings.extend(problems);
                None
            }
        }
    }

    fn unreadable(&mut self, path: &FilePath, asked_at: Option<Span>, unreadable: Unreadable) {
        let message = format!("{} cannot be read: {}", path.display(), unreadable.why);
        let problem = Diagnostic::error("unreadable-file", message);
        let (asked, advice) = match asked_at.and_then(|span| self.sources.locate(span)) {
            Some(place) => (
                Some(place),
                "paths are relative to the directory of the file that names them",
            ),
            None => (
                asked_for(path, self.options, &mut self.sources),
                "check the path that was given with -f or COMPOSE_FILE",
            ),
        };
        self.findings.push(match unreadable.place {
            Some(place) => problem
                .at(Some(place), "")
                .and(asked, "wanted here")
                .help("name a text in YAML"),
            None => problem.at(asked, "wanted here").help(advice),
        });
    }

    /// The beginning of a file, for what is wrong with the whole of it.
    pub(crate) fn beginning(&mut self, path: Option<&PathBuf>) -> Option<Location> {
        let directory = &self.options.working_directory;
        let (path, files) = (path?, self.files);
        // Standard input cannot be read twice.
        let read =
            (path.as_os_str() != "-").then(|| read_text(path, directory, files, &mut self.sources));
        match read {
            Some(Ok(file)) => self.sources.locate(Span::new(file, 0, 0)),
            _ => sources::beginning(path, &mut self.sources),
        }
    }

    /// Adds to what was found in other files since `told` findings, by which place of this one they are read.
    pub(crate) fn lead_here(&mut self, told: usize, span: Span, message: &str) {
        let Some(location) = self.sources.locate(span) else {
            return;
        };
        for finding in self.findings.iter_mut().skip(told) {
            let elsewhere = finding
                .primary
                .as_ref()
                .is_some_and(|label| label.location.source != location.source);
            let known = finding
                .related
                .iter()
                .any(|label| label.location == location);
            if elsewhere && !known {
                finding.related.push(Label {
                    location: location.clone(),
                    message: message.to_owned(),
                });
            }
        }
    }

    /// Takes from the allowance of keys and values; false, with an error told, when it is used up.
    pub(crate) fn spend_nodes(&mut self, nodes: usize, asked_at: Option<Span>) -> bool {
        if let Some(left) = self.budget.nodes.checked_sub(nodes) {
            self.budget.nodes = left;
            return true;
        }
        self.budget.nodes = 0;
        self.too_large(
            "these files hold too many keys and values, those taken over by `extends` included",
            asked_at,
        );
        false
    }

    /// Whether a limit was reached.
    pub(crate) fn is_too_large(&self) -> bool {
        self.findings.iter().any(|known| known.code == "too-large")
    }

    /// Tells once that there is too much.
    pub(crate) fn too_large(&mut self, message: &str, asked_at: Option<Span>) {
        let place = asked_at.and_then(|span| self.sources.locate(span));
        self.too_large_at(message, place);
    }

    /// The same at a place that is known already.
    pub(crate) fn too_large_at(&mut self, message: &str, place: Option<Location>) {
        if self.is_too_large() {
            return;
        }
        let problem =
            Diagnostic::error("too-large", message).at(place, "the limit is reached here");
        self.findings
            .push(problem.help("make several projects of it, or remove repetitions"));
    }

    pub(crate) fn interpolate(&mut self, document: &mut Node, scope: &Scope) {
        if self.options.skip.interpolation {
            return;
        }
        self.report(|report| {
            interpolate(
                document,
                Some(&ROOT),
                &scope.environment,
                &Path::ROOT,
                report,
            )
        });
    }

    /// Whether a file, or what it makes with others, has more services or the like than a machine can hold; it is told.
    fn has_too_many_resources(&mut self, root: &Node) -> bool {
        let sections = [
            "services", "networks", "volumes", "secrets", "configs", "models",
        ];
        let found = sections.iter().find_map(|name| {
            let entries = root.get(name)?.as_map()?;
            let (_, first) = entries.iter().nth(MOST_RESOURCES)?;
            Some((name, first.key_or_value()))
        });
        if let Some((section, span)) = found {
            let message = format!("there are more than {MOST_RESOURCES} {section}");
            self.too_large(&message, Some(span));
        }
        found.is_some()
    }

    fn add_document(
        &mut self,
        model: &mut Node,
        mut document: Node,
        path: &FilePath,
        scope: &Scope,
    ) {
        if self.has_too_many_resources(&document) {
            return;
        }
        if document.as_map().is_none() {
            let message = format!(
                "a Compose file must be a mapping at the top level, but this is {}",
                document.kind()
            );
            let place = self.sources.locate(document.span);
            self.findings.push(
                Diagnostic::error("wrong-type", message)
                    .at(place, "expected `services:` and the like"),
            );
            return;
        }
        self.interpolate(&mut document, scope);
        self.apply_extends(&mut document, path, scope);
        let mut inside = scope.clone();
        inside.included.push(path.to_path_buf());
        self.apply_includes(&mut document, &inside);
        if self.is_too_large() {
            return;
        }
        let lenient = self.options.skip.interpolation;
        let mut left = self.budget.short_forms;
        self.report(|report| {
            let mut adding = Adding {
                lenient,
                left: &mut left,
                report,
            };
            adding.add(model, document);
        });
        self.budget.short_forms = left;
        self.has_too_many_resources(model);
    }
}
