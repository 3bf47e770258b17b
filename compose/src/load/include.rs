//! `include`: other models, each loaded on its own, then copied in.

use std::path::{Path as FilePath, PathBuf};
use std::rc::Rc;

use super::diagnostic::Diagnostic;
use super::expand::expand;
use super::loader::{Loader, Scope};
use super::node::{Map, Node, Origin, SourceMap, Span, Value};
use super::report::Report;
use super::sources::{EnvFileUse, FileKind, absolute, read_variables, relative};

const SECTIONS: [&str; 6] = [
    "services", "networks", "volumes", "secrets", "configs", "models",
];

/// One entry of `include`.
struct Entry {
    paths: Vec<(String, Span)>,
    project_directory: Option<String>,
    env_files: Option<Vec<(String, Span)>>,
    span: Span,
}

impl Loader<'_> {
    /// Loads what a file includes, and copies it into the file.
    pub(crate) fn apply_includes(&mut self, root: &mut Node, scope: &Scope) {
        let Some(include) = root
            .as_map_mut()
            .and_then(|map| map.shift_remove("include"))
        else {
            return;
        };
        let Value::List(items) = &include.value else {
            if !include.is_invalid() && !include.is_null() {
                let problem = Diagnostic::error(
                    "wrong-type",
                    format!("`include` must be a list, but this is {}", include.kind()),
                )
                .at(self.sources.locate(include.span), "expected a list")
                .help("write `include: [<file>]`");
                self.findings.push(problem);
            }
            return;
        };
        for item in items {
            let Some(entry) = self.include_entry(item) else {
                continue;
            };
            let told = self.findings.len();
            let model = self.included_model(&entry, scope);
            self.lead_here(told, entry.span, "included here");
            if let Some(model) = model {
                self.import(root, model, entry.span);
            }
        }
    }

    fn include_entry(&mut self, item: &Node) -> Option<Entry> {
        let paths = match &item.value {
            Value::Map(map) => map.get("path").map_or(Some(Vec::new()), |path| {
                if path.is_null() {
                    Some(Vec::new())
                } else {
                    texts(path)
                }
            }),
            Value::Null => Some(Vec::new()),
            Value::List(_) => None,
            _ => texts(item),
        };
        if item.is_invalid() {
            return None;
        }
        let Some(paths) = paths else {
            let place = item.get("path").unwrap_or(item).span;
            self.wrong_include(
                "an entry of `include` must be a path, or a mapping with `path`",
                place,
            );
            return None;
        };
        if paths.is_empty() {
            let warning =
                Diagnostic::warning("empty-include", "this entry of `include` names no file")
                    .at(self.sources.locate(item.span), "")
                    .help("write `- <file>`, or remove the entry");
            self.findings.push(warning);
            return None;
        }
        let env_files = self.include_env_files(item)?;
        let project_directory = self.include_directory(item)?;
        Some(Entry {
            paths,
            project_directory,
            env_files,
            span: item.span,
        })
    }

    /// The env files of an entry; `Some(None)`: the default one.
    fn include_env_files(&mut self, item: &Node) -> Option<Option<Vec<(String, Span)>>> {
        let Some(node) = item.get("env_file").filter(|node| !node.is_null()) else {
            return Some(None);
        };
        let files = texts(node);
        if files.is_none() {
            let message = format!(
                "`env_file` of an `include` must be a path or a list of paths, but this is {}",
                node.kind()
            );
            self.wrong_include(&message, node.span);
        }
        // A list of none is the same as none written.
        files.map(|files| Some(files).filter(|files| !files.is_empty()))
    }

    /// The project directory of an entry; `Some(None)`: that of its file.
    fn include_directory(&mut self, item: &Node) -> Option<Option<String>> {
        let Some(node) = item.get("project_directory").filter(|node| !node.is_null()) else {
            return Some(None);
        };
        match &node.value {
            Value::String(text) => Some(Some(text.clone())),
            Value::Int(number) => Some(Some(number.to_string())),
            _ => {
                let message = format!(
                    "`project_directory` of an `include` must be a path, but this is {}",
                    node.kind()
                );
                self.wrong_include(&message, node.span);
                None
            }
        }
    }

    fn wrong_include(&mut self, message: &str, place: Span) {
        let problem = Diagnostic::error("wrong-type", message)
            .at(self.sources.locate(place), "")
            .help("write `- <file>`, or `- path: <file>`");
        self.findings.push(problem);
    }

    fn included_model(&mut self, entry: &Entry, scope: &Scope) -> Option<Node> {
        let mut files = Vec::new();
        for (name, span) in &entry.paths {
            files.push((
                self.local_path(name, *span, &scope.directory, "include")?,
                *span,
            ));
        }
        let main = files.first()?.0.clone();
        let directory = match entry
            .project_directory
            .as_deref()
            .filter(|directory| !directory.is_empty())
        {
            Some(directory) => absolute(&scope.directory, FilePath::new(directory)),
            None => main.parent()?.to_path_buf(),
        };
        if scope.included.contains(&main) || scope.included.len() > 64 {
            self.include_circle(&main, entry.span, scope);
            return None;
        }
        let environment = self.included_environment(entry, &directory, scope)?;
        let start = self.start_of_paths(entry, &directory, scope);
        self.scopes += 1;
        let inner = Scope {
            id: self.scopes,
            way: relative(&scope.directory, &start),
            directory,
            environment: Rc::new(environment),
            included: scope.included.clone(),
            top: false,
        };
        Some(
            self.load_model(
                &files
                    .iter()
                    .map(|(path, span)| (path.clone(), Some(*span)))
                    .collect::<Vec<_>>(),
                &inner,
            ),
        )
    }

    /// Where relative paths start from: as in the reference, a relative project directory that does not exist is taken
    /// for a file, whose directory counts.
    fn start_of_paths(&mut self, entry: &Entry, directory: &FilePath, scope: &Scope) -> PathBuf {
        let Some(written) = entry.project_directory.as_deref() else {
            return directory.to_path_buf();
        };
        let exists = self.files.kind(directory) == Some(FileKind::Directory);
        if exists || written.is_empty() || FilePath::new(written).is_absolute() {
            return directory.to_path_buf();
        }
        let parent = written.rsplit_once('/').map_or(".", |(parent, _)| parent);
        let start = absolute(&scope.directory, FilePath::new(parent));
        let message = format!(
            "the project directory {} does not exist",
            directory.display()
        );
        let warning = Diagnostic::warning("missing-directory", message)
            .at(self.sources.locate(entry.span), "")
            .help(format!("relative paths start from {}", start.display()));
        self.findings.push(warning);
        start
    }

    /// The parent's variables, then those of the entry's env files, or of `.env` beside the included file.
    fn included_environment(
        &mut self,
        entry: &Entry,
        directory: &FilePath,
        scope: &Scope,
    ) -> Option<super::interpolate::Environment> {
        let mut list: Vec<EnvFileUse> = Vec::new();
        match &entry.env_files {
            None => {
                let default = directory.join(".env");
                if self.files.kind(&default) == Some(FileKind::File) {
                    list.push((default, None));
                }
            }
            Some(names) => {
                for (name, span) in names.iter().filter(|(name, _)| name != "/dev/null") {
                    let path = absolute(&scope.directory, FilePath::new(name));
                    if self.files.kind(&path) != Some(FileKind::File) {
                        let problem = Diagnostic::error(
                            "missing-file",
                            format!("the env file {} cannot be read", path.display()),
                        )
                        .at(self.sources.locate(*span), "there is no such file");
                        self.findings.push(
                            problem.help("create it, or write `env_file: /dev/null` for none"),
                        );
                        return None;
                    }
                    list.push((path, self.sources.locate(*span)));
                }
            }
        }
        let mut environment = (*scope.environment).clone();
        match read_variables(
            &list,
            &environment,
            self.files,
            &mut self.sources,
            &mut self.findings,
        ) {
            Ok(variables) => {
                for (name, value) in variables {
                    environment.entry(name).or_insert(value);
                }
                Some(environment)
            }
            Err(problem) => {
                self.findings
                    .push(problem.and(self.sources.locate(entry.span), "included here"));
                None
            }
        }
    }

    fn include_circle(&mut self, main: &FilePath, span: Span, scope: &Scope) {
        let names = scope
            .included
            .iter()
            .map(|path| path.display().to_string())
            .chain([main.display().to_string()]);
        let message = format!(
            "files include each other in a circle: {}",
            names.collect::<Vec<_>>().join(" → ")
        );
        let problem = Diagnostic::error("include-circle", message)
            .at(self.sources.locate(span), "the circle closes here");
        self.findings
            .push(problem.help("remove one of these includes"));
    }

    /// Copies the sections of an included model; what is there already must be the same.
    fn import(&mut self, root: &mut Node, mut model: Node, span: Span) {
        let origin = Rc::new(Origin::Include(span));
        for section in SECTIONS {
            let Some(Value::Map(imported)) = model
                .as_map_mut()
                .and_then(|map| map.shift_remove(section))
                .map(|node| node.value)
            else {
                continue;
            };
            let Some(map) = root.as_map_mut() else { return };
            let target = map.get_or_insert_with(section, || Node::empty_map(Span::NONE));
            if target.is_null() {
                target.value = Value::Map(Box::<Map>::default());
            }
            let Some(target) = target.as_map_mut() else {
                continue;
            };
            for (name, mut node) in *imported {
                node.origin.get_or_insert_with(|| Rc::clone(&origin));
                match target.get(&name) {
                    None => {
                        target.insert(name, node);
                    }
                    Some(own) if same_resource(section, &name, own, &node) => {}
                    Some(own) => {
                        let message =
                            format!("`{section}.{name}` is defined here and in an included file");
                        let problem = Diagnostic::error("include-conflict", message)
                            .at(self.sources.locate(own.key_or_value()), "defined here")
                            .and(self.sources.locate(node.key_or_value()), "defined here too")
                            .and(self.sources.locate(span), "included here")
                            .help("rename one of them, or override it with a further file (`-f`, or a second `path` of the include)");
                        self.findings.push(problem);
                    }
                }
            }
        }
    }
}

/// Whether two resources are the same, whichever syntax they are written in.
fn same_resource(section: &str, name: &str, own: &Node, imported: &Node) -> bool {
    let canonical = |resource: &Node| {
        let entry = Map::from_iter([(name.to_owned(), resource.clone())]);
        let section = Map::from_iter([(section.to_owned(), Node::map(entry, Span::NONE))]);
        let mut root = Node::map(section, Span::NONE);
        expand(&mut root, false, &mut Report::new(&SourceMap::default()));
        root
    };
    own == imported || canonical(own) == canonical(imported)
}

/// A text, or a list of texts, each with its place.
fn texts(node: &Node) -> Option<Vec<(String, Span)>> {
    match &node.value {
        Value::String(text) => Some(vec![(text.clone(), node.span)]),
        Value::List(items) => items
            .iter()
            .map(|item| Some((item.as_str()?.to_owned(), item.span)))
            .collect(),
        _ => None,
    }
}
