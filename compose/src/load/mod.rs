//! From Compose files to a [`Project`]: a list of phases, each a function from values to values.
//!
//! Only [`sources`] touches the world; everything else is pure, takes the environment as a value, and tells what is
//! wrong as [`Diagnostic`]s that know their file, line and column.

mod by_service;
pub mod canonical;
mod consistency;
mod data;
mod decode;
mod defaults;
pub mod diagnostic;
mod dotenv;
mod environment;
mod expand;
mod extends;
mod include;
mod interpolate;
mod lint;
mod loader;
mod map;
mod merge;
mod name;
mod node;
mod normalize;
mod paths;
mod report;
mod schema;
mod select;
pub mod sources;
mod suggest;
mod template;
mod unify;
mod validate;
mod writer;
mod yaml;
mod yaml_scalar;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;

use indexmap::IndexMap;

pub use diagnostic::{Diagnostic, Label, LoadError, Severity, render_all};
pub use lint::WARNINGS;
pub use sources::{FileKind, Files, LocalFiles};
pub use template::Variable;

use crate::model::Project;
use diagnostic::Fatal;
use loader::{Loader, Scope};
use report::has_errors;

/// What to load, and how. All of it is given: nothing is taken from the process.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// `-f`, in order; `-` is standard input. Empty: `COMPOSE_FILE`, then the search upwards from `working_directory`.
    pub files: Vec<String>,
    /// `--project-directory`.
    pub project_directory: Option<PathBuf>,
    /// `--project-name`.
    pub project_name: Option<String>,
    /// `--env-file`, in order. Empty: `COMPOSE_ENV_FILES`, then `.env` in the project directory.
    pub env_files: Vec<String>,
    /// `--profile`; when empty, `COMPOSE_PROFILES`. `*` is all.
    pub profiles: Vec<String>,
    /// Services named on the command line: they are enabled whatever their profiles. Empty means all.
    pub services: Vec<String>,
    /// The process's environment.
    pub environment: IndexMap<String, String>,
    /// The process's current directory, absolute.
    pub working_directory: PathBuf,
    /// Phases left out.
    pub skip: SkippedPhases,
    /// Keep resources that no enabled service uses (`--all-resources`).
    pub all_resources: bool,
    /// Read the env and label files of selected services only: what is not to run need not be complete.
    pub late_files: bool,
}

/// Phases that `config` can leave out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SkippedPhases {
    /// `--no-interpolate`.
    pub interpolation: bool,
    /// `--no-normalize`.
    pub normalization: bool,
    /// `--no-path-resolution`.
    pub path_resolution: bool,
    /// `--no-consistency`.
    pub consistency: bool,
    /// `--no-env-resolution`.
    pub environment_resolution: bool,
    /// Two services may have the same container name: nothing is printed that could be run.
    pub container_names: bool,
}

/// A loaded project and what should be told about its files.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The project.
    pub project: Project,
    /// With variables left in place (`--no-interpolate`) the model cannot be typed: this is the merged file as data,
    /// and the project holds no services.
    pub model: Option<serde_json::Value>,
    /// Warnings, in the order of the files.
    pub warnings: Vec<Diagnostic>,
}

/// Loads a project.
///
/// # Errors
/// All that is wrong with the files, at once, as far as it can be told.
pub fn load(options: &LoadOptions, files: &dyn Files) -> Result<Loaded, LoadError> {
    run(&mut Loader::new(options, files))
}

/// The variables that the files use, by name, in the order of first use. Of several uses the first one counts that
/// says what the variable is without a value.
///
/// # Errors
/// As [`load`].
pub fn variables(options: &LoadOptions, files: &dyn Files) -> Result<Vec<Variable>, LoadError> {
    let skip = SkippedPhases {
        interpolation: true,
        consistency: true,
        ..options.skip
    };
    let loaded = load(
        &LoadOptions {
            skip,
            ..options.clone()
        },
        files,
    )?;
    let mut found: IndexMap<String, Variable> = IndexMap::new();
    let mut texts = Vec::new();
    strings(
        loaded.model.as_ref().unwrap_or(&serde_json::Value::Null),
        &mut texts,
    );
    for variable in texts.into_iter().flat_map(template::variables) {
        match found.get_mut(&variable.name) {
            Some(known) if known.says_nothing() => *known = variable,
            Some(_) => {}
            None => {
                found.insert(variable.name.clone(), variable);
            }
        }
    }
    Ok(found.into_values().collect())
}

/// All texts of a value.
fn strings<'v>(value: &'v serde_json::Value, texts: &mut Vec<&'v str>) {
    match value {
        serde_json::Value::String(text) => texts.push(text),
        serde_json::Value::Array(items) => items.iter().for_each(|item| strings(item, texts)),
        serde_json::Value::Object(map) => map.values().for_each(|item| strings(item, texts)),
        _ => {}
    }
}

/// Loads a project and also tells what is doubtful about it, but for the `silenced` codes of [`WARNINGS`] and what
/// comments in the files allow.
///
/// # Errors
/// As [`load`].
pub fn load_and_lint(
    options: &LoadOptions,
    files: &dyn Files,
    silenced: &[String],
) -> Result<Loaded, LoadError> {
    let mut loader = Loader::new(options, files);
    loader.lint = true;
    match run(&mut loader) {
        Ok(mut loaded) => {
            let kept = |warning: &Diagnostic| !lint::is_allowed(warning, silenced);
            loaded.warnings.retain(kept);
            Ok(loaded)
        }
        Err(mut error) => {
            let kept = |finding: &Diagnostic| !lint::is_allowed(finding, silenced);
            error.diagnostics.retain(kept);
            Err(error)
        }
    }
}

fn run(loader: &mut Loader<'_>) -> Result<Loaded, LoadError> {
    let result = load_project(loader);
    let mut findings = without_repetitions(std::mem::take(&mut loader.findings));
    match result {
        Ok((project, model)) if !has_errors(&findings) => Ok(Loaded {
            project,
            model,
            warnings: findings,
        }),
        Ok(_) => Err(LoadError {
            diagnostics: findings,
        }),
        Err(fatal) => {
            findings.push(*fatal);
            Err(LoadError {
                diagnostics: findings,
            })
        }
    }
}

fn load_project(loader: &mut Loader<'_>) -> Fatal<(Project, Option<serde_json::Value>)> {
    let options = loader.options;
    let mut found = sources::discover(options, loader.files, &mut loader.sources)?;
    loader.findings.append(&mut found.warnings);
    loader.read_main_files(&found.files);
    let written = written_names(loader, &found.files);
    let name = name::project_name(options, &found, &written, &mut loader.sources)?;
    found
        .environment
        .insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());
    let environment = Rc::new(found.environment.clone());
    let scope = Scope {
        id: 0,
        directory: found.directory.clone(),
        way: found.directory.clone(),
        environment,
        included: Vec::new(),
        top: true,
    };
    let main: Vec<_> = found
        .files
        .iter()
        .map(|path| (path.clone(), None))
        .collect();
    let mut root = loader.load_model(&main, &scope);
    if loader.is_too_large() {
        // The rest would only cost more.
        return Ok((Project::default(), None));
    }
    let broken = has_errors(&loader.findings);
    if !broken && root.as_map().is_none_or(node::Map::is_empty) {
        let file = loader.beginning(found.files.first());
        return Err(Box::new(
            Diagnostic::error("empty-file", "empty compose file")
                .at(file, "")
                .help("write `services:` with at least one service"),
        ));
    }
    if name.is_empty() {
        let file = loader.beginning(found.files.first());
        let problem = Diagnostic::error("invalid-project-name", "project name must not be empty")
            .at(file, "");
        return Err(Box::new(
            problem.help("write `name: …` in the file, or give it with -p"),
        ));
    }
    let name_node = root.as_map_mut().and_then(|map| map.shift_remove("name"));
    if !options.skip.normalization {
        normalize::normalize(&mut root, &name, &scope.environment);
    }
    let profiles = active_profiles(options, &scope.environment);
    let raw = Project {
        name,
        working_dir: found.directory,
        compose_files: found.files,
        env_files: found.env_files,
        environment: found.environment,
        profiles,
        ..Project::default()
    };
    if options.skip.interpolation {
        let as_written = options.skip.normalization && !name::is_given(options);
        let printed = if as_written {
            name_node.as_ref().and_then(node::Node::as_str)
        } else {
            Some(raw.name.as_str())
        };
        let model = canonical::tree_value(&root, printed);
        return Ok((raw, Some(model)));
    }
    finish(loader, raw, root, broken)
}

/// The names that the main files give the project, in their order.
fn written_names(loader: &Loader<'_>, files: &[PathBuf]) -> Vec<String> {
    files
        .iter()
        .filter_map(|path| loader.main_documents(path))
        .flatten()
        .filter_map(|document| Some(document.get("name")?.as_str()?.to_owned()))
        .collect()
}

/// From the merged tree to the project.
fn finish(
    loader: &mut Loader<'_>,
    mut project: Project,
    mut root: node::Node,
    broken: bool,
) -> Fatal<(Project, Option<serde_json::Value>)> {
    let options = loader.options;
    loader.report(|report| {
        by_service::each_service(&mut root, |service, path| {
            expand::expand_last(service, path, report);
            decode::gather_extensions(service, &schema::SERVICE);
        });
    });
    by_service::without_services(&mut root, |rest| {
        decode::gather_extensions(rest, &schema::ROOT);
    });
    loader.decode_into(&mut project, &root);
    let broken = broken || has_errors(&loader.findings);
    for (name, service) in &mut project.services {
        service.name.clone_from(name);
    }
    let bystanders = select::apply_profiles(&mut project, &options.services);
    let places = consistency::Places {
        root: &root,
        sources: &loader.sources,
    };
    if options.skip.consistency {
        let named = select::with_dependencies(&project, &options.services);
        let problems = consistency::check_dependencies(&project, &named, places);
        loader.findings.extend(problems);
    } else {
        let mut problems = consistency::check_consistency(&project, &bystanders, places);
        // What is missing may be what was found wrong.
        problems.retain(|problem| !broken || problem.code == "dependency-cycle");
        loader.findings.extend(problems);
    }
    let checked = !options.skip.consistency;
    for service in project.services.values_mut().filter(|_| checked) {
        if let (Some(scale), Some(deploy)) = (service.scale, &mut service.deploy) {
            deploy.replicas = Some(scale);
        }
    }
    if broken {
        return Ok((project, None));
    }
    if !options.late_files {
        loader.resolve_files(&mut project, &root);
    }
    loader.findings.extend(select::select_services(
        &mut project,
        &options.services,
        &mut loader.sources,
    ));
    if options.late_files {
        loader.resolve_files(&mut project, &root);
    }
    if !options.skip.consistency && !options.skip.container_names {
        let places = consistency::Places {
            root: &root,
            sources: &loader.sources,
        };
        let problems = consistency::check_container_names(&project, &places);
        loader.findings.extend(problems);
    }
    if !options.all_resources {
        select::drop_unused(&mut project);
    }
    give_values(&mut project, &loader.given);
    if loader.lint {
        loader
            .findings
            .extend(lint::lint(&project, &root, &loader.sources));
    }
    Ok((project, None))
}

/// Values of secrets and configs that come from variables.
fn give_values(project: &mut Project, given: &HashMap<(&'static str, String), String>) {
    let environment = &project.environment;
    let value = |(section, name): (&'static str, &String), variable: &Option<String>| {
        let variable = variable.as_ref()?;
        let own = || given.get(&(section, name.clone()));
        environment.get(variable).or_else(own).cloned()
    };
    for (name, secret) in &mut project.secrets {
        secret.environment_value = value(("secrets", name), &secret.environment);
    }
    for (name, config) in &mut project.configs {
        let found = value(("configs", name), &config.environment);
        config.content = config.content.take().or(found);
    }
}

fn active_profiles(options: &LoadOptions, environment: &IndexMap<String, String>) -> Vec<String> {
    if !options.profiles.is_empty() {
        return options.profiles.clone();
    }
    let list = environment
        .get("COMPOSE_PROFILES")
        .map(String::as_str)
        .unwrap_or_default();
    // Nothing given is the profile without a name: `profiles: ["${DEBUG}"]` is on as long as DEBUG is not set.
    list.split(',').map(str::trim).map(str::to_owned).collect()
}

/// The same finding once; a missing variable once, wherever it is used. In the order of the files.
fn without_repetitions(findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut seen = HashSet::new();
    let place = |finding: &Diagnostic| {
        let location = &finding.primary.as_ref()?.location;
        Some((location.source.name.clone(), location.start, location.end))
    };
    let identity = |finding: &Diagnostic| {
        let place = if finding.code == "missing-variable" {
            None
        } else {
            place(finding)
        };
        (finding.code, finding.message.clone(), place)
    };
    let mut kept: Vec<Diagnostic> = findings
        .into_iter()
        .filter(|finding| seen.insert(identity(finding)))
        .collect();
    let mut files: Vec<String> = Vec::new();
    for (name, ..) in kept.iter().filter_map(place) {
        if !files.contains(&name) {
            files.push(name);
        }
    }
    kept.sort_by_key(|finding| {
        place(finding).map(|(name, start, _)| (files.iter().position(|file| *file == name), start))
    });
    kept
}

#[cfg(test)]
mod linear;
