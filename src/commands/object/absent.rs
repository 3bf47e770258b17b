//! Commands of `docker` that hoist does not have: those of swarms, plugins, signatures and checkpoints. What lists answers as Docker
//! does where there is nothing of the kind.

use crate::commands::refused::AnyArgs;
use crate::context::Context;
use crate::failure::Failure;

/// What an engine says that is in no swarm.
const NO_MANAGER: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

/// Answers a command that there is not; the words are `docker`'s, the first of a command that it does not have either is `unknown`.
///
/// # Errors
/// Always but for a list of plugins: there are none.
pub(crate) fn run(context: &Context, args: &AnyArgs) -> Result<(), Failure> {
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    let no = |what: &str| Failure::new(format!("hoist has no command \"docker {what}\""));
    Err(match words.as_slice() {
        ["unknown", verb, ..] => {
            let failure = Failure::new(format!("docker: unknown command: docker {verb}"));
            failure.hint(format!("a command on Compose files is \"docker compose {verb}\"; `docker --help` shows all"))
        }
        ["plugin", "ls" | "list", options @ ..] => return list_plugins(context, options),
        ["plugin", ..] => no("plugin").hint("the engine has no plugins; volumes and networks come with it"),
        ["swarm", "leave", ..] => {
            Failure::new("Error response from daemon: This node is not part of a swarm")
        }
        ["swarm", "init" | "join", ..] => {
            no("swarm").hint("hoist runs on one machine: services, replicas and health belong into a Compose file, `docker compose up`")
        }
        ["swarm" | "node" | "service" | "stack" | "secret" | "config", ..] => {
            Failure::new(format!("Error response from daemon: {NO_MANAGER}"))
                .hint("hoist has no swarms: `docker compose` runs services, secrets and configs of a Compose file on this machine")
        }
        ["manifest", ..] => no("manifest").hint("only `docker manifest inspect`: registries' own tools write lists of images"),
        ["trust", ..] => no("trust").hint("pull by digest to get what you know: NAME@sha256:…"),
        ["checkpoint", ..] => no("checkpoint").hint("`docker pause` freezes a container for as long as the machine runs"),
        _ => no(&words.join(" ")),
    })
}

/// An empty list of plugins.
fn list_plugins(context: &Context, options: &[&str]) -> Result<(), Failure> {
    let is_plain = !options
        .iter()
        .any(|option| ["-q", "--quiet"].contains(option) || option.starts_with("--format"));
    match is_plain {
        true => context.ui.line("ID        NAME      DESCRIPTION   ENABLED"),
        false => Ok(()),
    }
}
