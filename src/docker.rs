//! The command line of `docker`, when hoist is started under that name: its words are put into our order.
//!
//! Only words move; what options mean is the same. What `docker` does not have at its top (`up`, `plan`) is no command under this name.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::cli::{Group, Verb};
use crate::commands::object::container::ContainerVerb;
use crate::commands::object::image::ImageVerb;
use crate::failure::Failure;

/// Commands on containers that `docker` has at the top as well.
const CONTAINER: [&str; 21] = [
    "attach", "commit", "cp", "create", "diff", "exec", "export", "kill", "logs", "pause", "port",
    "rename", "restart", "rm", "run", "start", "stats", "stop", "top", "unpause", "update",
];

/// Commands on images that `docker` has at the top as well.
const IMAGE: [&str; 9] = [
    "build", "history", "import", "load", "pull", "push", "save", "search", "tag",
];

/// Everything else that is the same for both.
const SAME: [&str; 14] = [
    "builder",
    "buildx",
    "compose",
    "container",
    "context",
    "help",
    "image",
    "info",
    "inspect",
    "login",
    "logout",
    "network",
    "system",
    "volume",
];

/// Commands of `docker` that need a swarm, a registry of trust, plugins, or an experimental engine.
const ABSENT: [&str; 10] = [
    "checkpoint",
    "config",
    "manifest",
    "node",
    "plugin",
    "secret",
    "service",
    "stack",
    "swarm",
    "trust",
];

/// Whether the program was started as `docker`.
pub(crate) fn is_docker(line: &[OsString]) -> bool {
    let program = line.first().map(Path::new);
    program
        .and_then(Path::file_name)
        .is_some_and(|name| name == "docker")
}

/// Our command line for one of `docker`'s.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Translated {
    pub(crate) line: Vec<OsString>,
    /// Where `--config` says that the settings are.
    pub(crate) settings: Option<OsString>,
}

/// Our command line for one of `docker`'s.
pub(crate) fn translate(line: Vec<OsString>) -> Translated {
    if !is_docker(&line) {
        let settings = None;
        return Translated { line, settings };
    }
    let mut words = line.into_iter();
    let mut ours: Vec<OsString> = words.next().into_iter().collect();
    let mut settings = None;
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        match text.as_str() {
            // With a value of its own.
            "-H" | "--host" | "--context" | "--tlscacert" | "--tlscert" | "--tlskey" => {
                ours.push(word);
                ours.extend(words.next());
            }
            "-c" => {
                ours.push("--context".into());
                ours.extend(words.next());
            }
            "--config" => settings = words.next(),
            "-l" | "--log-level" => drop(words.next()),
            "-D" | "--debug" => {}
            _ if text.starts_with("--log-level=") => {}
            _ if text.starts_with('-') => match text.strip_prefix("--config=") {
                Some(directory) => settings = Some(directory.into()),
                None => ours.push(word),
            },
            "help" => {
                let about = words.next();
                let about = about.as_ref().map(|word| word.to_string_lossy());
                let verb = about.as_deref().map(verb_of).unwrap_or_default();
                ours.extend(verb.into_iter().map(OsString::from));
                ours.extend(words.by_ref());
                ours.push("--help".into());
            }
            verb => {
                ours.extend(verb_of(verb).into_iter().map(OsString::from));
                break;
            }
        }
    }
    ours.extend(words);
    let line = ours;
    Translated { line, settings }
}

/// Our words for a verb of `docker`.
fn verb_of(verb: &str) -> Vec<&str> {
    match verb {
        // What follows is the command line of Compose, which is ours.
        "compose" => vec![],
        "ps" => vec!["container", "ls"],
        "wait" => vec!["container", "wait"],
        "images" => vec!["image", "ls"],
        "rmi" => vec!["image", "rm"],
        "events" | "version" => vec!["system", verb],
        _ if CONTAINER.contains(&verb) => vec!["container", verb],
        _ if IMAGE.contains(&verb) => vec!["image", verb],
        _ if ABSENT.contains(&verb) => vec!["absent", verb],
        _ if SAME.contains(&verb) || verb == "engine" => vec![verb],
        _ => vec!["absent", "unknown", verb],
    }
}

/// Why a command does not go on that is to check signatures: nothing here does, and passing it over would run what nobody signed.
pub(crate) fn signatures_asked(line: &[OsString], verb: &Verb) -> Option<Failure> {
    let asked = std::env::var("DOCKER_CONTENT_TRUST").unwrap_or_default();
    let asked = matches!(asked.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True");
    let fetches = match verb {
        Verb::Image(Group(verb)) => {
            matches!(
                verb,
                ImageVerb::Pull(_) | ImageVerb::Push(_) | ImageVerb::Build(_)
            )
        }
        Verb::Container(Group(verb)) => {
            matches!(verb, ContainerVerb::Run(_) | ContainerVerb::Create(_))
        }
        _ => false,
    };
    let waived = |word: &OsString| {
        let word = word.to_string_lossy();
        // What is named by its digest is that.
        word == "--disable-content-trust"
            || word == "--disable-content-trust=true"
            || word.contains("@sha256:")
    };
    if !(asked && fetches && is_docker(line)) || line.iter().any(waived) {
        return None;
    }
    let failure = Failure::new("cannot check signatures, which DOCKER_CONTENT_TRUST asks for");
    Some(
        failure
            .hint("name the image by its digest, NAME@sha256:…, or give --disable-content-trust"),
    )
}

/// Starts the program anew with `$DOCKER_CONFIG` as `--config` says: credential helpers and all that reads settings go by it.
///
/// # Errors
/// It cannot be started. Returns when there is nothing to do.
pub(crate) fn with_settings(line: &[OsString], settings: &OsStr) -> Result<(), Failure> {
    if std::env::var_os("DOCKER_CONFIG").as_deref() == Some(settings) {
        return Ok(());
    }
    let (program, rest) = line.split_first().unzip();
    let ours = std::env::current_exe()
        .map_err(|error| Failure::from(error).context("cannot tell where this program is"))?;
    let error = Command::new(ours)
        .arg0(program.map_or(OsStr::new("docker"), OsString::as_os_str))
        .args(rest.unwrap_or_default())
        .env("DOCKER_CONFIG", settings)
        .exec();
    Err(Failure::from(error).context("cannot start anew with other settings"))
}

#[cfg(test)]
mod twin;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let words = line.split(' ').map(OsString::from).collect();
        let got: Vec<String> = translate(words)
            .line
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        assert_eq!(got.join(" "), expected);
    }

    #[test]
    fn dockers_words() {
        check("docker ps -a", "docker container ls -a");
        check(
            "/usr/bin/docker run --rm -it x ps",
            "/usr/bin/docker container run --rm -it x ps",
        );
        check("docker -H tcp://x:1 images", "docker -H tcp://x:1 image ls");
        check(
            "docker -c far compose -f a.yaml up",
            "docker --context far -f a.yaml up",
        );
        check("docker --log-level debug rmi x", "docker image rm x");
        check("docker container ls", "docker container ls");
        check("docker inspect x", "docker inspect x");
        check("hoist ps", "hoist ps");
        check("docker help run", "docker container run --help");
        check("docker help", "docker --help");
        check("docker service ls", "docker absent service ls");
        check("docker up -d", "docker absent unknown up -d");
        check("docker --config /x ps", "docker container ls");
    }
}
