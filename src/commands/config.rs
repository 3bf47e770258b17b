//! `hoist config`: the project as the loader understands it.

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use hoist_compose::load::canonical;
use hoist_compose::load::{LoadOptions, Loaded, SkippedPhases, WARNINGS};
use hoist_compose::model::Project;
use serde::Serialize;

use crate::commands::{config_check, config_digests, config_names, config_variables};
use crate::context::{Context, check_services};
use crate::failure::Failure;

/// Check the files and print them as one, in canonical form
#[derive(Args, Debug, Clone)]
pub(crate) struct ConfigArgs {
    /// Services to print, with what they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Only check, print nothing
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Form of the output
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) format: Option<ConfigFormat>,

    /// Write into this file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<String>,

    /// Print "SERVICE HASH" of these services (comma separated, "*" for all)
    #[arg(long, value_name = "SERVICES")]
    pub(crate) hash: Option<String>,

    /// Print the names of the services
    #[arg(long = "services")]
    pub(crate) only_services: bool,

    /// Print the names of the volumes
    #[arg(long)]
    pub(crate) volumes: bool,

    /// Print the names of the networks
    #[arg(long)]
    pub(crate) networks: bool,

    /// Print the references of the models
    #[arg(long)]
    pub(crate) models: bool,

    /// Print the names of the images
    #[arg(long)]
    pub(crate) images: bool,

    /// Print the names of the profiles
    #[arg(long)]
    pub(crate) profiles: bool,

    /// Print the variables that the files use
    #[arg(long)]
    pub(crate) variables: bool,

    /// Print the variables that interpolation sees
    #[arg(long)]
    pub(crate) environment: bool,

    /// Leave ${VARIABLES} as they are
    #[arg(long)]
    pub(crate) no_interpolate: bool,

    /// Leave out the defaults that the canonical form adds
    #[arg(long)]
    pub(crate) no_normalize: bool,

    /// Leave relative paths as they are
    #[arg(long)]
    pub(crate) no_path_resolution: bool,

    /// Do not check that what is referred to exists
    #[arg(long)]
    pub(crate) no_consistency: bool,

    /// Leave env_file as it is
    #[arg(long)]
    pub(crate) no_env_resolution: bool,

    /// Replace image tags by digests
    #[arg(long)]
    pub(crate) resolve_image_digests: bool,

    /// Print a file that pins images to digests
    #[arg(long)]
    pub(crate) lock_image_digests: bool,

    /// Tell all that is wrong or doubtful (with --format json as JSON, for editors)
    #[arg(long)]
    pub(crate) check: bool,

    /// Do not tell warnings of this code; may be repeated. In a file: `# hoist-allow: CODE`
    #[arg(long, value_name = "CODE", requires = "check", value_parser = warnings())]
    pub(crate) allow: Vec<String>,

    /// Print the JSON Schema of Compose files, for editors
    #[arg(long)]
    pub(crate) schema: bool,
}

/// The codes that `--allow` takes.
fn warnings() -> PossibleValuesParser {
    let codes = WARNINGS.iter();
    PossibleValuesParser::new(codes.map(|(code, _)| *code))
}

/// Form of `config`'s output.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigFormat {
    // YAML
    Yaml,
    // JSON
    Json,
}

/// Prints the project, or the part of it that is asked for.
///
/// # Errors
/// The files are wrong, a service is unknown, or the output cannot be written.
pub(crate) fn run(context: &Context, args: &ConfigArgs) -> Result<(), Failure> {
    // Lists of what the files declare are about all services.
    let all = args.only_services || args.volumes || args.networks || args.models;
    let services = if all { &[][..] } else { &args.services };
    let options = LoadOptions {
        skip: skipped(args),
        late_files: false,
        ..context.load_options(services)
    };
    if args.schema {
        return output(context, args, &format!("{:#}\n", canonical::schema()));
    }
    if args.check {
        return config_check::run(context, args, &options);
    }
    if args.variables {
        let variables = context.variables(&options)?;
        return output(
            context,
            args,
            &config_variables::text(variables, args.format)?,
        );
    }
    let loaded = context.load_with(&options)?;
    if loaded.model.is_none() {
        check_services(&loaded.project, services)?;
    }
    match text_of(context, &loaded, args)? {
        Some(text) => output(context, args, &text),
        None => Ok(()),
    }
}

pub(super) fn output(context: &Context, args: &ConfigArgs, text: &str) -> Result<(), Failure> {
    match &args.output {
        None => context.ui.bytes(text.as_bytes()),
        Some(file) => std::fs::write(file, text)
            .map_err(|error| Failure::from(error).context(format!("cannot write {file}"))),
    }
}

fn skipped(args: &ConfigArgs) -> SkippedPhases {
    // Nothing is printed of what these phases make or check.
    let list = [
        args.only_services,
        args.volumes,
        args.networks,
        args.models,
        args.images,
        args.profiles,
        args.environment,
        args.variables,
    ]
    .contains(&true);
    SkippedPhases {
        interpolation: args.no_interpolate,
        normalization: args.no_normalize,
        path_resolution: args.no_path_resolution,
        consistency: args.no_consistency,
        environment_resolution: args.no_env_resolution || list,
        container_names: args.hash.is_some() || list,
    }
}

/// What is asked for; nothing of the project itself with `--quiet`, which does not silence lists.
fn text_of(
    context: &Context,
    loaded: &Loaded,
    args: &ConfigArgs,
) -> Result<Option<String>, Failure> {
    let first = args.only_services || args.volumes || args.networks || args.models;
    if let Some(services) = args.hash.as_ref().filter(|_| !first) {
        if loaded.model.is_some() {
            let why = "a hash is of values, and --no-interpolate leaves variables in their place";
            return Err(Failure::new(why).hint("leave out one of --hash and --no-interpolate"));
        }
        return hashes(&loaded.project, services).map(Some);
    }
    if let Some(names) = config_names::names(loaded, args) {
        let lines = names.iter().map(|name| format!("{name}\n"));
        return Ok(Some(lines.collect()));
    }
    if args.quiet {
        return Ok(None);
    }
    let pins = args.resolve_image_digests || args.lock_image_digests;
    let Some(model) = loaded.model.clone().or_else(|| {
        let project = &loaded.project;
        pins.then(|| canonical::project_value(project))
    }) else {
        return text(&canonical::project_data(&loaded.project), args).map(Some);
    };
    let mut value = model;
    if loaded.model.is_some() {
        // What is not typed has no order of its own; the reference's is this one.
        value.sort_all_objects();
    }
    if pins {
        config_digests::pin(context, &mut value)?;
    }
    if args.lock_image_digests {
        value = config_digests::lock(&value);
    }
    text(&value, args).map(Some)
}

fn text<T: Serialize>(data: &T, args: &ConfigArgs) -> Result<String, Failure> {
    match args.format {
        Some(ConfigFormat::Json) => serde_json::to_string_pretty(data)
            .map(|text| text + "\n")
            .map_err(|error| Failure::from(error).context("cannot write the project as JSON")),
        Some(ConfigFormat::Yaml) | None => yaml(data),
    }
}

fn yaml<T: Serialize>(data: &T) -> Result<String, Failure> {
    yaml_with(data, 2)
}

/// As YAML with so many blanks for a level.
pub(super) fn yaml_with<T: Serialize>(data: &T, indent: usize) -> Result<String, Failure> {
    // One line stays one line, for those who search the output for `image:`, and lists are indented below their keys: the
    // reference's form.
    let options = serde_saphyr::ser_options! {
        folded_wrap_chars: usize::MAX, compact_list_indent: false, indent_step: indent
    };
    serde_saphyr::to_string_with_options(data, options)
        .map_err(|error| Failure::from(error).context("cannot write the project as YAML"))
}

fn hashes(project: &Project, services: &str) -> Result<String, Failure> {
    let wanted: Vec<String> = match services {
        "*" => project.services.keys().cloned().collect(),
        list => list.split(',').map(|name| name.trim().to_owned()).collect(),
    };
    check_services(project, &wanted)?;
    let lines = wanted.iter().filter_map(|name| {
        let service = project.services.get(name)?;
        Some(format!("{name} {}\n", canonical::service_hash(service)))
    });
    Ok(lines.collect())
}
