//! `container cp`, `diff`, `export`, `commit`: files of containers.

use clap::Args;
use futures_util::StreamExt;
use hoist_api::client::{BodyStream, Client};
use hoist_api::container::CommitContainer;
use tokio::io::AsyncWriteExt;

use crate::commands::cp::Side;
use crate::commands::single::refuse_terminal;
use crate::context::Context;
use crate::failure::Failure;
use crate::transfer::{self, CopyOptions};
use crate::ui::human;

/// Copy files between a container and the local file system
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerCpArgs {
    /// Keep owners
    #[arg(short, long)]
    pub(crate) archive: bool,

    /// Copy what a link leads to
    #[arg(short = 'L', long)]
    pub(crate) follow_link: bool,

    /// Say nothing of the progress
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// CONTAINER:PATH, a path, or "-" for an archive on standard input
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,

    /// A path, CONTAINER:PATH, or "-" for an archive on standard output
    #[arg(value_name = "DEST")]
    pub(crate) target: String,
}

/// List the paths that differ from the image
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerDiffArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) name: String,
}

/// Write a container's file system as a tar archive
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerExportArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) name: String,

    /// File to write (default: standard output)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<String>,
}

/// Make an image of a container
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerCommitArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) name: String,

    /// Name of the image
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) reference: Option<String>,

    /// Author
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) author: Option<String>,

    /// Dockerfile instruction to apply; repeatable
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,

    /// Message
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,

    /// Freeze the container meanwhile
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) pause: bool,
}

/// Copies files in or out.
///
/// # Errors
/// The two sides do not go together, or the copy fails.
pub(super) async fn copy(
    context: &Context,
    engine: &Client,
    args: ContainerCpArgs,
) -> Result<(), Failure> {
    let options = CopyOptions {
        archive: args.archive,
        follow_link: args.follow_link,
    };
    let told = |count: u64, to: &str| {
        if !args.quiet {
            context.ui.note(&format!(
                "Successfully copied {} to {to}",
                human::size(count)
            ));
        }
    };
    match (Side::read(&args.source), Side::read(&args.target)) {
        (Side::There(container, from), Side::Here(to)) => {
            let what = (container.as_str(), from.as_str(), to.as_str());
            let count = transfer::out_of_container(context, engine, what, options).await?;
            if to != "-" {
                told(count, &to);
            }
        }
        (Side::Here(from), Side::There(container, to)) => {
            let what = (from.as_str(), container.as_str(), to.as_str());
            let count = transfer::into_container(context, engine, what, options).await?;
            told(count, &args.target);
        }
        (Side::There(..), Side::There(..)) => {
            return Err(Failure::new("copying between containers is not supported"));
        }
        (Side::Here(_), Side::Here(_)) => {
            return Err(Failure::new("must specify at least one container source")
                .hint("write one side as CONTAINER:PATH"));
        }
    }
    Ok(())
}

pub(super) async fn diff(
    context: &Context,
    engine: &Client,
    args: ContainerDiffArgs,
) -> Result<(), Failure> {
    for change in engine.container_changes(&args.name).await? {
        let letter = match change.kind {
            0 => 'C',
            1 => 'A',
            _ => 'D',
        };
        context.ui.line(&format!("{letter} {}", change.path))?;
    }
    Ok(())
}

pub(super) async fn export(
    context: &Context,
    engine: &Client,
    args: ContainerExportArgs,
) -> Result<(), Failure> {
    refuse_terminal(args.output.as_deref())?;
    let body = engine.container_export(&args.name).await?;
    save(context, body, args.output.as_deref()).await
}

pub(super) async fn commit(
    context: &Context,
    engine: &Client,
    args: ContainerCommitArgs,
) -> Result<(), Failure> {
    let options = CommitContainer {
        reference: args.reference.unwrap_or_default(),
        comment: args.message.unwrap_or_default(),
        author: args.author.unwrap_or_default(),
        pause: args.pause,
        changes: args.change,
    };
    let committed = engine.container_commit(&args.name, &options).await?;
    context.ui.line(&committed.id)
}

/// Writes an archive into a file, or to standard output. A file that could not be finished is removed.
///
/// # Errors
/// It cannot be written, or the engine was lost.
pub(crate) async fn save(
    context: &Context,
    mut body: BodyStream,
    output: Option<&str>,
) -> Result<(), Failure> {
    let Some(path) = output else {
        while let Some(piece) = body.next().await {
            context.ui.bytes(&piece?)?;
        }
        return Ok(());
    };
    let cannot =
        |error: std::io::Error| Failure::from(error).context(format!("cannot write {path}"));
    let mut file = tokio::fs::File::create(path).await.map_err(cannot)?;
    let writing = async {
        while let Some(piece) = body.next().await {
            file.write_all(&piece?).await.map_err(cannot)?;
        }
        file.flush().await.map_err(cannot)
    };
    let outcome = writing.await;
    if outcome.is_err() {
        // The error counts; half an archive is worse than none.
        let _ = tokio::fs::remove_file(path).await;
    }
    outcome
}
