//! What every command starts from: how to print, where the engine is, what the process was given.
//!
//! The process's environment and current directory are read here, once, and handed on as values.

use std::io;
use std::path::PathBuf;

use hoist_api::client::Endpoint;
use hoist_compose::load::{self, LoadOptions, Loaded, LocalFiles, SkippedPhases, render_all};
use hoist_compose::model::Project;
use indexmap::IndexMap;

use crate::failure::Failure;
use crate::globals::{AnsiMode, Globals, ProgressMode};
use crate::places::{PlaceOptions, Places};
use crate::ui::{Ui, UiOptions};

/// What every command starts from.
#[derive(Debug)]
pub(crate) struct Context {
    /// The options given before or after the verb.
    pub(crate) globals: Globals,
    /// How to print.
    pub(crate) ui: Ui,
    /// Where the engine is.
    pub(crate) places: Places,
    /// The process's environment; what is not UTF-8 is left out.
    pub(crate) environment: IndexMap<String, String>,
    pub(crate) working_directory: PathBuf,
}

/// A project as a command needs it: loaded from files, or known by its name only.
#[derive(Debug)]
pub(crate) struct Target {
    /// The project's name.
    pub(crate) name: String,
    /// The project, when there are files.
    pub(crate) project: Option<Project>,
}

impl Context {
    /// Reads the process's environment and decides from it and the options; `engine` decides which engine is meant, `None` being our own.
    ///
    /// # Errors
    /// A variable has a value that cannot be used, or there is no current directory.
    pub(crate) fn new(
        globals: Globals,
        engine: impl FnOnce(&Globals, &IndexMap<String, String>) -> Result<Option<Endpoint>, Failure>,
    ) -> Result<Context, Failure> {
        let environment: IndexMap<String, String> = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let working_directory = std::env::current_dir()
            .map_err(|error| Failure::from(error).context("cannot tell the current directory"))?;
        let ui = Ui::new(ui_options(&globals, &environment)?);
        let endpoint = engine(&globals, &environment)?;
        let options = place_options(&globals, &environment, &working_directory);
        let places = Places::decide(&PlaceOptions {
            endpoint,
            ..options
        });
        Ok(Context {
            globals,
            ui,
            places,
            environment,
            working_directory,
        })
    }

    /// A path as the user wrote it, from the current directory on.
    pub(crate) fn absolute(&self, path: &str) -> PathBuf {
        self.working_directory.join(path).components().collect()
    }

    /// A variable that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Whether a variable says yes.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        is_on(&self.environment, name)
    }

    /// Whether containers are named as Docker Compose 1 named them.
    pub(crate) fn compatible_names(&self) -> bool {
        self.globals.compatibility || self.is_on("COMPOSE_COMPATIBILITY")
    }

    /// Most steps at the same time; `None` for no limit.
    ///
    /// # Errors
    /// The number is 0, or COMPOSE_PARALLEL_LIMIT is no number.
    pub(crate) fn parallel(&self) -> Result<Option<usize>, Failure> {
        let limit = match (
            self.globals.parallel,
            self.variable("COMPOSE_PARALLEL_LIMIT"),
        ) {
            (Some(limit), _) => limit,
            (None, Some(text)) => text.parse().map_err(|_| {
                Failure::new(format!(
                    "COMPOSE_PARALLEL_LIMIT must be a number, not \"{text}\""
                ))
            })?,
            (None, None) => return Ok(None),
        };
        match usize::try_from(limit) {
            Ok(0) => Err(Failure::new("--parallel must be -1 or at least 1")),
            Ok(limit) => Ok(Some(limit)),
            Err(_) => Ok(None),
        }
    }

    /// What the loader is asked for.
    pub(crate) fn load_options(&self, services: &[String]) -> LoadOptions {
        let globals = &self.globals;
        LoadOptions {
            files: globals.file.clone(),
            project_directory: globals
                .project_directory
                .as_ref()
                .or(globals.workdir.as_ref())
                .filter(|directory| !directory.is_empty())
                .map(|directory| self.working_directory.join(directory)),
            project_name: globals.project_name.clone(),
            env_files: globals.env_file.clone(),
            profiles: globals.profile.clone(),
            services: services.to_vec(),
            environment: self.environment.clone(),
            working_directory: self.working_directory.clone(),
            skip: SkippedPhases::default(),
            all_resources: globals.all_resources,
            late_files: true,
        }
    }

    /// Loads the project, prints what should be told about its files.
    ///
    /// # Errors
    /// What is wrong with the files, with snippets.
    pub(crate) fn load_with(&self, options: &LoadOptions) -> Result<Loaded, Failure> {
        let loaded = load::load(options, &LocalFiles)
            .map_err(|error| load_failure(&error, self.ui.color_err))?;
        for warning in render_all(&loaded.warnings, self.ui.color_err) {
            self.ui.note(&warning);
        }
        Ok(loaded)
    }

    /// The variables that the files use.
    ///
    /// # Errors
    /// The files are wrong.
    pub(crate) fn variables(&self, options: &LoadOptions) -> Result<Vec<load::Variable>, Failure> {
        load::variables(options, &LocalFiles)
            .map_err(|error| load_failure(&error, self.ui.color_err))
    }

    /// Loads the project with these services enabled, whatever their profiles.
    ///
    /// # Errors
    /// As [`Context::load_with`].
    pub(crate) fn load(&self, services: &[String]) -> Result<Project, Failure> {
        Ok(self.load_with(&self.load_options(services))?.project)
    }

    /// The project that a command on existing containers is about. With a name given, files are not needed.
    ///
    /// # Errors
    /// The files are wrong, there are none and no name is given, or a service is not in them.
    pub(crate) fn target(&self, services: &[String]) -> Result<Target, Failure> {
        let mut options = self.load_options(services);
        // What exists has its variables already.
        options.skip.environment_resolution = true;
        let loaded = load::load(&options, &LocalFiles);
        let project = match (loaded, self.given_name()) {
            (Ok(loaded), _) => loaded.project,
            (Err(error), Some(name)) if is_missing_file(&error) && options.files.is_empty() => {
                return Ok(Target {
                    name,
                    project: None,
                });
            }
            (Err(error), _) => return Err(load_failure(&error, self.ui.color_err)),
        };
        check_services(&project, services)?;
        Ok(Target {
            name: project.name.clone(),
            project: Some(project),
        })
    }

    fn given_name(&self) -> Option<String> {
        let named = self.globals.project_name.as_deref();
        named
            .or_else(|| self.variable("COMPOSE_PROJECT_NAME"))
            .map(str::to_owned)
    }
}

/// Refuses services that the project does not have.
///
/// # Errors
/// `no such service: x`, with the nearest name.
pub(crate) fn check_services(project: &Project, services: &[String]) -> Result<(), Failure> {
    let known = || {
        project
            .services
            .keys()
            .chain(project.disabled_services.keys())
    };
    for service in services {
        if !known().any(|name| name == service) {
            return Err(no_such_service(service, known().map(String::as_str)));
        }
    }
    Ok(())
}

/// `no such service: x`, with the nearest of the known names.
pub(crate) fn no_such_service<'a>(service: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    let failure = Failure::new(format!("no such service: {service}"));
    let known: Vec<&str> = known.collect();
    match nearest(service, &known) {
        Some(near) => failure.hint(format!("did you mean \"{near}\"?")),
        None if known.is_empty() => failure,
        None => failure.hint(format!("the services are: {}", known.join(", "))),
    }
}

fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |name: &&str| edit_distance(wrong, name);
    let near = known.iter().copied().min_by_key(distance)?;
    (distance(&near) <= 1 + wrong.len() / 3).then_some(near)
}

/// Letters to insert, delete or replace (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn load_failure(error: &load::LoadError, color: bool) -> Failure {
    Failure::rendered(error, error.render(color))
}

fn is_missing_file(error: &load::LoadError) -> bool {
    error.diagnostics.iter().any(|d| d.code == "no-file")
}

/// Whether a variable says yes.
pub(crate) fn is_on(environment: &IndexMap<String, String>, name: &str) -> bool {
    let value = environment.get(name).map(|value| value.to_lowercase());
    matches!(
        value.as_deref(),
        Some("1" | "t" | "true" | "y" | "yes" | "on")
    )
}

fn ui_options(
    globals: &Globals,
    environment: &IndexMap<String, String>,
) -> Result<UiOptions, Failure> {
    let ansi = if globals.no_ansi {
        Some(AnsiMode::Never)
    } else {
        globals.ansi
    };
    let progress = globals.progress;
    Ok(UiOptions {
        ansi: one_of(ansi, environment, "COMPOSE_ANSI")?.unwrap_or(AnsiMode::Auto),
        progress: one_of(progress, environment, "COMPOSE_PROGRESS")?.unwrap_or(ProgressMode::Auto),
        no_color: environment
            .get("NO_COLOR")
            .is_some_and(|value| !value.is_empty()),
        progress_on_stdout: is_on(environment, "COMPOSE_STATUS_STDOUT"),
    })
}

/// The option, or else the variable read as the option would be.
fn one_of<T: clap::ValueEnum>(
    option: Option<T>,
    environment: &IndexMap<String, String>,
    variable: &str,
) -> Result<Option<T>, Failure> {
    let text = environment.get(variable).filter(|text| !text.is_empty());
    match (option, text) {
        (Some(value), _) => Ok(Some(value)),
        (None, None) => Ok(None),
        (None, Some(text)) => T::from_str(text, true).map(Some).map_err(|_| {
            let values = T::value_variants().iter().filter_map(T::to_possible_value);
            let names: Vec<String> = values.map(|value| value.get_name().to_owned()).collect();
            Failure::new(format!(
                "{variable} must be one of {}, not \"{text}\"",
                names.join(", ")
            ))
        }),
    }
}

fn place_options(
    globals: &Globals,
    environment: &IndexMap<String, String>,
    working_directory: &std::path::Path,
) -> PlaceOptions {
    let variable = |name: &str| {
        environment
            .get(name)
            .filter(|value| !value.is_empty())
            .cloned()
    };
    let ordinary_user = !rustix::process::geteuid().is_root();
    let directory = |name: &str| variable(name).map(PathBuf::from).filter(|_| ordinary_user);
    let data = directory("XDG_DATA_HOME")
        .or_else(|| directory("HOME").map(|home| home.join(".local/share")));
    PlaceOptions {
        root: globals.root.clone().or_else(|| variable("HOIST_ROOT")),
        state: globals.state.clone().or_else(|| variable("HOIST_STATE")),
        endpoint: None,
        user_runtime: directory("XDG_RUNTIME_DIR"),
        user_data: data,
        working_directory: working_directory.to_owned(),
    }
}

/// Opens a file that a command was given, or standard input for "-".
///
/// # Errors
/// The file cannot be opened.
pub(crate) async fn open_input(
    path: &str,
) -> Result<Box<dyn tokio::io::AsyncRead + Send + Unpin>, Failure> {
    if path == "-" {
        return Ok(Box::new(tokio::io::stdin()));
    }
    match tokio::fs::File::open(path).await {
        Ok(file) if file.metadata().await.is_ok_and(|m| m.is_dir()) => {
            Err(Failure::from(io::Error::from(io::ErrorKind::IsADirectory))
                .context(format!("cannot read {path}")))
        }
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(Failure::from(error).context(format!("cannot open {path}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_service_is_proposed() {
        for (wrong, expected) in [
            ("wbe", Some("web")),
            ("databse", Some("database")),
            ("x", None),
        ] {
            assert_eq!(nearest(wrong, &["web", "database"]), expected, "{wrong}");
        }
    }
}
