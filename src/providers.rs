//! Services that a program runs instead of a container: its `compose up` and `compose down`, and what it tells meanwhile.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use hoist_compose::graph::of_project;
use hoist_compose::model::{Project, Provider};
use hoist_compose::provided::{self, Told};
use indexmap::IndexMap;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::context::Context;
use crate::contexts;
use crate::failure::Failure;
use crate::ui::progress::{Change, Phase, Progress};

/// Where Docker's plugins are, beside the user's own.
const PLUGINS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// How much a program may say in one line.
const LONGEST_LINE: u64 = 1 << 20;

/// Has the chosen services' programs run, and takes all services of programs out of the project. Those that depend on one
/// get the variables that it tells. What is to be started that is left is returned; nothing when nothing was to be but those.
///
/// # Errors
/// A program is not there, or it failed.
pub(crate) async fn up(
    context: &Context,
    project: &mut Project,
    (chosen, named): (&BTreeSet<String>, Vec<String>),
) -> Result<Option<Vec<String>>, Failure> {
    let mut told = Told::new();
    for name in in_order(project)? {
        if !chosen.contains(&name) {
            continue;
        }
        if context.globals.dry_run {
            context.ui.warn(&left_out(&name));
        } else {
            let variables = run(context, project, &name, &UP).await?;
            told.insert(name, variables);
        }
    }
    provided::resolve(project, &told);
    Ok(still(project, named))
}

/// As [`up`] does, but the programs are not run: for what only looks ahead.
///
/// # Errors
/// The services have no order.
pub(crate) fn leave_out(
    context: &Context,
    project: &mut Project,
    named: Vec<String>,
) -> Result<Option<Vec<String>>, Failure> {
    for name in in_order(project)? {
        context.ui.warn(&left_out(&name));
    }
    provided::resolve(project, &Told::new());
    Ok(still(project, named))
}

/// Has the programs take away what they made: those of the services that are named, or all.
///
/// # Errors
/// As [`up`].
pub(crate) async fn down(
    context: &Context,
    project: &Project,
    named: &[String],
) -> Result<(), Failure> {
    for name in in_order(project)?.into_iter().rev() {
        if !named.is_empty() && !named.contains(&name) {
            continue;
        }
        if context.globals.dry_run {
            context.ui.warn(&left_out(&name));
        } else {
            run(context, project, &name, &DOWN).await?;
        }
    }
    Ok(())
}

/// The services with a provider, dependencies first.
///
/// # Errors
/// The services have no order.
fn in_order(project: &Project) -> Result<Vec<String>, Failure> {
    let provided = |name: &str| {
        let service = project.services.get(name);
        service.is_some_and(|service| service.provider.is_some())
    };
    if !project.services.keys().any(|name| provided(name)) {
        return Ok(Vec::new());
    }
    let graph = of_project(project)?;
    let names = graph.order().filter(|name| provided(name));
    Ok(names.map(str::to_owned).collect())
}

/// Of the services that were named, those that are containers; nothing when none of those that were named is one.
fn still(project: &Project, mut named: Vec<String>) -> Option<Vec<String>> {
    let all = named.is_empty();
    named.retain(|name| project.services.contains_key(name));
    (all || !named.is_empty()).then_some(named)
}

fn left_out(service: &str) -> String {
    format!("service \"{service}\" is left out: its provider's program is not run here")
}

/// What the program is asked to do.
struct Verb {
    name: &'static str,
    working: &'static str,
    done: &'static str,
    what: &'static str,
}

static UP: Verb = Verb {
    name: "up",
    working: "Creating",
    done: "Created",
    what: "start",
};
static DOWN: Verb = Verb {
    name: "down",
    working: "Removing",
    done: "Removed",
    what: "remove",
};

/// One line of what a program tells.
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
}

/// What a program says about its own options.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    up: Parameters,
    down: Parameters,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Parameters {
    parameters: Option<Vec<Parameter>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Parameter {
    name: String,
    required: bool,
}

/// Runs one service's program; what it tells its dependents.
async fn run(
    context: &Context,
    project: &Project,
    name: &str,
    verb: &Verb,
) -> Result<IndexMap<String, String>, Failure> {
    let provider = project.services.get(name);
    let Some(provider) = provider.and_then(|service| service.provider.as_deref()) else {
        return Ok(IndexMap::new());
    };
    let program = find(context, name, &provider.kind)?;
    let options = options(context, project, (&program, provider), verb).await;
    let options = options.map_err(|failure| failure.context(cannot(name, verb)))?;
    let mut command = command(context, project, &program);
    command
        .arg(format!("--project-name={}", project.name))
        .arg(verb.name)
        .args(options)
        .arg(name);
    let progress = Progress::start(&context.ui, "Running");
    let show = |phase, text: &str, detail: Option<&str>| {
        progress.change(Change {
            object: name.to_owned(),
            phase,
            text: text.to_owned(),
            detail: detail.map(str::to_owned),
        });
    };
    show(Phase::Working, verb.working, None);
    let told = follow(&mut command, |info| show(Phase::Working, info, None)).await;
    match told {
        Ok(variables) => {
            show(Phase::Done, verb.done, None);
            Ok(variables)
        }
        Err(reason) => {
            show(Phase::Failed, "Error", Some(&reason));
            progress.finish();
            Err(Failure::new(reason).context(cannot(name, verb)))
        }
    }
}

fn cannot(name: &str, verb: &Verb) -> String {
    format!("cannot {} service \"{name}\" by its provider", verb.what)
}

/// Runs the command and reads what it tells until it ends.
async fn follow(
    command: &mut Command,
    mut info: impl FnMut(&str),
) -> Result<IndexMap<String, String>, String> {
    let program = command.as_std().get_program().to_owned();
    let program = Path::new(&program).display();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    let (Some(output), Some(mut errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(format!("cannot read from {program}"));
    };
    let said = tokio::spawn(async move {
        let mut said = Vec::new();
        let _ = (&mut errors)
            .take(LONGEST_LINE)
            .read_to_end(&mut said)
            .await;
        // What is more is not kept, but read: the program is not to wait.
        let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
        String::from_utf8_lossy(&said).trim().to_owned()
    });
    let mut variables = IndexMap::new();
    let mut output = BufReader::new(output);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut output).take(LONGEST_LINE);
        let read = bounded.read_until(b'\n', &mut line).await;
        let read = read.map_err(|error| format!("{program}: {error}"))?;
        if read == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            heed(text.trim(), &mut variables, &mut info)?;
        }
    }
    let status = child.wait().await;
    let status = status.map_err(|error| format!("{program}: {error}"))?;
    if status.success() {
        return Ok(variables);
    }
    let said = said.await.unwrap_or_default();
    Err(match said.is_empty() {
        true => format!("{program}: {status}"),
        false => format!("{program}: {status}: {said}"),
    })
}

fn heed(
    line: &str,
    variables: &mut IndexMap<String, String>,
    info: &mut impl FnMut(&str),
) -> Result<(), String> {
    let message: Message = serde_json::from_str(line)
        .map_err(|error| format!("invalid response from plugin: {line}: {error}"))?;
    match message.kind.as_str() {
        "error" => return Err(message.message),
        "info" => info(&message.message),
        "setenv" => {
            let Some((variable, value)) = message.message.split_once('=') else {
                return Err(format!("invalid response from plugin: {}", message.message));
            };
            variables.insert(variable.to_owned(), value.to_owned());
        }
        // For who works on the program.
        "debug" => {}
        other => return Err(format!("invalid response from plugin: {other}")),
    }
    Ok(())
}

/// The file's options as the program takes them: all, or those that it says it has.
async fn options(
    context: &Context,
    project: &Project,
    (program, provider): (&Path, &Provider),
    verb: &Verb,
) -> Result<Vec<String>, Failure> {
    let mut command = command(context, project, program);
    let asked = command.arg("metadata").kill_on_drop(true).output().await;
    // A program need not know this.
    let metadata = asked
        .ok()
        .filter(|asked| asked.status.success())
        .and_then(|asked| serde_json::from_slice::<Metadata>(&asked.stdout).ok());
    let known = metadata.and_then(|metadata| match metadata {
        Metadata {
            up: Parameters { parameters: None },
            down: Parameters { parameters: None },
        } => None,
        Metadata { up, .. } if verb.name == UP.name => Some(up),
        Metadata { down, .. } => Some(down),
    });
    let known = known.map(|known| known.parameters.unwrap_or_default());
    for parameter in known.iter().flatten() {
        if parameter.required && !provider.options.contains_key(&parameter.name) {
            return Err(Failure::new(format!(
                "required parameter \"{}\" is missing from provider \"{}\" definition",
                parameter.name, provider.kind
            )));
        }
    }
    let takes = |option: &str| {
        let named = |known: &Vec<Parameter>| known.iter().any(|one| one.name == option);
        known.as_ref().is_none_or(named)
    };
    let options = provider.options.iter().filter(|(name, _)| takes(name));
    Ok(options
        .flat_map(|(name, values)| values.iter().map(move |value| format!("--{name}={value}")))
        .collect())
}

/// The program with the project's variables, `compose` its first word.
fn command(context: &Context, project: &Project, program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(&context.environment)
        .envs(&project.environment)
        .current_dir(&context.working_directory)
        .stdin(Stdio::null())
        .arg("compose");
    command
}

/// The program of this name: a plugin of Docker's command line, else one in the user's `PATH`.
fn find(context: &Context, service: &str, kind: &str) -> Result<PathBuf, Failure> {
    let failure = |why: &str| Failure::new(format!("service \"{service}\": {why}"));
    if kind.is_empty() || kind.contains('/') || kind == "compose" {
        return Err(failure(&format!("'{kind}' is not a valid provider type"))
            .hint("provider.type is the name of a program"));
    }
    let own = contexts::docker_directory(&context.environment);
    let plugins = std::iter::once(own.join("cli-plugins"))
        .chain(PLUGINS.map(PathBuf::from))
        .map(|directory| directory.join(format!("docker-{kind}")));
    let path = context.environment.get("PATH").map(std::env::split_paths);
    let programs = path
        .into_iter()
        .flatten()
        .map(|directory| directory.join(kind));
    plugins
        .chain(programs)
        .find(|program| is_program(program))
        .ok_or_else(|| {
            failure(&format!(
                "its provider's program \"{kind}\" is not found in $PATH, nor \"docker-{kind}\" among Docker's plugins"
            ))
            .hint(format!("install {kind}, or correct provider.type"))
        })
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}
