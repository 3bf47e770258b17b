//! `attach`, `stats`, `commit`, `export`: what is done with single containers of services.

use clap::Args;
use hoist_api::client::Client;
use hoist_api::container::CommitContainer;
use std::io::IsTerminal;

use super::object::container::files::save;
use super::object::container::run::{ContainerAttachArgs, attach_running};
use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::listing::Format;
use crate::members::{self, Member};
use crate::streams::DetachKeys;
use crate::usage::{self, StatsView};

/// Join our streams with a service's running container
#[derive(Args, Debug, Clone)]
pub(crate) struct AttachArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,

    /// Keys that leave it running and come back
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<DetachKeys>,

    /// Which of the service's containers, counted from 1
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) index: u32,

    /// Do not send it our input
    #[arg(long)]
    pub(crate) no_stdin: bool,

    /// Send it the signals that we get
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) sig_proxy: bool,
}

/// Show what the containers use, again each second
#[derive(Args, Debug, Clone)]
pub(crate) struct StatsArgs {
    /// The service (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) service: Option<String>,

    /// Also containers that do not run
    #[arg(short, long)]
    pub(crate) all: bool,

    /// table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Only once
    #[arg(long)]
    pub(crate) no_stream: bool,

    /// Do not shorten ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

/// Make an image of a service's container
#[derive(Args, Debug, Clone)]
pub(crate) struct CommitArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,

    /// Name of the image
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) reference: Option<String>,

    /// Author
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) author: Option<String>,

    /// Dockerfile instruction to apply; repeatable
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,

    /// Which of the service's containers, counted from 1
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) index: u32,

    /// Message
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,

    /// Freeze the container meanwhile
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) pause: bool,
}

/// Write a container's file system as a tar archive
#[derive(Args, Debug, Clone)]
pub(crate) struct ExportArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,

    /// Which of the service's containers, counted from 1
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) index: u32,

    /// File to write (default: standard output)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<String>,
}

async fn pick(context: &Context, service: &str, index: u32) -> Result<(Client, Member), Failure> {
    let services = [service.to_owned()];
    let target = context.target(&services)?;
    let engine = connect::engine(context).await?;
    let found = members::of_services(&engine, &target, &services).await?;
    let member = members::pick(found, service, index)?;
    Ok((engine, member))
}

/// Joins our streams with a service's container.
///
/// # Errors
/// It does not run, or the engine was lost; else its code when it ends.
pub(crate) async fn attach(context: &Context, args: AttachArgs) -> Result<(), Failure> {
    let (engine, member) = pick(context, &args.service, args.index).await?;
    if !member.is_running() {
        return Err(members::not_active(&member));
    }
    let args = ContainerAttachArgs {
        detach_keys: args.detach_keys,
        no_stdin: args.no_stdin,
        sig_proxy: args.sig_proxy,
        name: member.summary.id,
    };
    attach_running(context, &engine, &args).await
}

/// Shows what the project's containers use.
///
/// # Errors
/// The files are wrong, a service is unknown, or the engine was lost.
pub(crate) async fn stats(context: &Context, args: StatsArgs) -> Result<(), Failure> {
    let view = StatsView {
        format: Format::read(args.format.as_deref())?,
        once: args.no_stream,
        whole: args.no_trunc,
        by_name: false,
    };
    let services: Vec<String> = args.service.into_iter().collect();
    let target = context.target(&services)?;
    let engine = connect::engine(context).await?;
    let found = members::of_services(&engine, &target, &services).await?;
    let found = found.iter().filter(|member| args.all || member.is_active());
    let containers: Vec<(String, String)> = found
        .map(|member| (member.summary.id.clone(), member.name().to_owned()))
        .collect();
    usage::show(context, &engine, &containers, &view).await
}

/// Makes an image of a service's container and prints its id.
///
/// # Errors
/// There is no container, or the engine refuses.
pub(crate) async fn commit(context: &Context, args: CommitArgs) -> Result<(), Failure> {
    let (engine, member) = pick(context, &args.service, args.index).await?;
    let options = CommitContainer {
        reference: args.reference.unwrap_or_default(),
        comment: args.message.unwrap_or_default(),
        author: args.author.unwrap_or_default(),
        pause: args.pause,
        changes: args.change,
    };
    let committed = engine
        .container_commit(&member.summary.id, &options)
        .await?;
    context.ui.line(&committed.id)
}

/// Writes a container's file system as an archive.
///
/// # Errors
/// There is no container, the output is a terminal, or cannot be written.
pub(crate) async fn export(context: &Context, args: ExportArgs) -> Result<(), Failure> {
    refuse_terminal(args.output.as_deref())?;
    let (engine, member) = pick(context, &args.service, args.index).await?;
    let body = engine.container_export(&member.summary.id).await?;
    save(context, body, args.output.as_deref()).await
}

/// An archive is nothing for a terminal.
///
/// # Errors
/// There is no output file, and standard output is a terminal.
pub(crate) fn refuse_terminal(output: Option<&str>) -> Result<(), Failure> {
    match output.is_none() && std::io::stdout().is_terminal() {
        true => Err(Failure::new("cannot write an archive to a terminal")
            .hint("name a file with -o, or send the output elsewhere")),
        false => Ok(()),
    }
}
