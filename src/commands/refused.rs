//! Commands of Docker Compose that hoist does not have, each with what does the same here.

use clap::Args;

use crate::failure::Failure;

/// Whatever follows.
#[derive(Args, Debug, Clone)]
pub(crate) struct AnyArgs {
    /// Anything
    #[arg(value_name = "ARGS", num_args = 0.., trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}

/// Says that there is no such command, and what there is instead.
///
/// # Errors
/// Always.
pub(crate) fn run(verb: &str, args: &AnyArgs) -> Result<(), Failure> {
    let (what, hint) = match (verb, args.words.first().map(String::as_str)) {
        ("alpha", Some("dry-run")) => ("alpha dry-run", "hoist --dry-run COMMAND, or hoist plan"),
        ("alpha", Some("scale")) => ("alpha scale", "hoist scale SERVICE=NUM"),
        ("alpha", Some("watch")) => ("alpha watch", "hoist watch"),
        ("alpha", Some("viz")) => (
            "alpha viz",
            "hoist config --format json has what a graph needs",
        ),
        ("alpha", _) => (
            "alpha",
            "the commands that became stable are at the top: hoist --help",
        ),
        ("bridge", _) => (
            "bridge",
            "hoist config prints the whole model for other tools",
        ),
        _ => (
            "publish",
            "hoist config -o FILE writes one file with everything in it",
        ),
    };
    Err(Failure::new(format!("hoist has no command \"{what}\"")).hint(hint))
}
