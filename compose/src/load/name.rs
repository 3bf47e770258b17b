//! The project's name.

use super::LoadOptions;
use super::diagnostic::{Diagnostic, Fatal};
use super::interpolate::Environment;
use super::node::SourceMap;
use super::sources::{Discovered, argument};
use super::template::{Used, substitute};

/// The name: given, from `COMPOSE_PROJECT_NAME`, the last `name:` `written` in the files, or the directory's.
pub(crate) fn project_name(
    options: &LoadOptions,
    found: &Discovered,
    written: &[String],
    sources: &mut SourceMap,
) -> Fatal<String> {
    let environment = &found.environment;
    if let Some(name) = given(options, environment) {
        if normalized(name) == name {
            return Ok(name.to_owned());
        }
        let message = format!(
            "invalid project name \"{name}\": must consist only of lowercase alphanumeric characters, hyphens, and \
             underscores as well as start with a letter or number"
        );
        let suggestion = normalized(name);
        let place = match &options.project_name {
            Some(given) if !given.is_empty() => argument(sources, "-p", given),
            _ => sources.variable("COMPOSE_PROJECT_NAME"),
        };
        let problem = Diagnostic::error("invalid-project-name", message).at(place, "");
        return Err(Box::new(if suggestion.is_empty() {
            problem
        } else {
            problem.help(format!("use `{suggestion}`"))
        }));
    }
    let written = written.iter().rfind(|name| !name.is_empty());
    if let Some(written) = written {
        let lookup = |name: &str| environment.get(name).cloned();
        let text = if options.skip.interpolation {
            Ok(written.clone())
        } else {
            substitute(written, &lookup, &mut Used::default())
        };
        // A malformed name is told with its place when the file is interpolated.
        if let Ok(text) = text {
            return Ok(if options.skip.normalization {
                text
            } else {
                normalized(&text)
            });
        }
    }
    let base = found
        .directory
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(normalized(&base))
}

/// The name that is given beside the files.
fn given<'a>(options: &'a LoadOptions, environment: &'a Environment) -> Option<&'a str> {
    let set = |name: Option<&'a String>| name.map(String::as_str).filter(|name| !name.is_empty());
    set(options.project_name.as_ref()).or_else(|| set(environment.get("COMPOSE_PROJECT_NAME")))
}

/// Whether the name was not left to the files.
pub(crate) fn is_given(options: &LoadOptions) -> bool {
    given(options, &options.environment).is_some()
}

fn normalized(name: &str) -> String {
    let kept: String = name
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
        .collect();
    kept.trim_start_matches(['-', '_']).to_owned()
}
