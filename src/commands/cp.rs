//! `hoist cp`: copy files between our file system and the containers of a service.

use clap::Args;

use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::members::{self, Member};
use crate::transfer::{self, CopyOptions};
use crate::ui::progress::{Change, Phase, Progress};

/// Copy files between a service's containers and the local file system
#[derive(Args, Debug, Clone)]
pub(crate) struct CpArgs {
    /// Also containers made by run
    #[arg(long)]
    pub(crate) all: bool,

    /// Keep owners
    #[arg(short, long)]
    pub(crate) archive: bool,

    /// Copy what a link leads to
    #[arg(short = 'L', long)]
    pub(crate) follow_link: bool,

    /// Which of the service's containers, counted from 1
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) index: u32,

    /// SERVICE:PATH, a path, or "-" for an archive on standard input
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,

    /// A path, SERVICE:PATH, or "-" for an archive on standard output
    #[arg(value_name = "DEST")]
    pub(crate) target: String,
}

/// One side of a copy: a container or service with a path in it, or a path of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Side {
    There(String, String),
    Here(String),
}

impl Side {
    /// Reads a side; a path of ours with a colon is written with `./` or `/` in front.
    pub(crate) fn read(text: &str) -> Side {
        match text.split_once(':') {
            Some((name, path))
                if !name.is_empty() && !name.starts_with(['.', '/']) && !text.starts_with('-') =>
            {
                Side::There(name.to_owned(), path.to_owned())
            }
            _ => Side::Here(text.to_owned()),
        }
    }
}

/// Copies files.
///
/// # Errors
/// The sides do not go together, there is no container, or the copy fails.
pub(crate) async fn run(context: &Context, args: CpArgs) -> Result<(), Failure> {
    let options = CopyOptions {
        archive: args.archive,
        follow_link: args.follow_link,
    };
    match (Side::read(&args.source), Side::read(&args.target)) {
        (Side::There(service, from), Side::Here(target)) => {
            let found = containers(context, &args, &service).await?;
            let Some(first) = found.1.into_iter().next() else {
                return Err(Failure::new(format!(
                    "no container found for service \"{service}\""
                )));
            };
            let what = (first.name(), from.as_str(), target.as_str());
            let to_stdout = target == "-";
            let title = format!("{} copy {}:{from} to {target}", first.name(), first.name());
            if to_stdout {
                return transfer::out_of_container(context, &found.0, what, options)
                    .await
                    .map(drop);
            }
            told(
                context,
                title,
                transfer::out_of_container(context, &found.0, what, options),
            )
            .await
        }
        (Side::Here(source), Side::There(service, to)) => {
            let (engine, found) = containers(context, &args, &service).await?;
            if found.is_empty() {
                return Err(Failure::new(format!(
                    "no container found for service \"{service}\""
                )));
            }
            for member in &found {
                let what = (source.as_str(), member.name(), to.as_str());
                let title = format!("{} copy {source} to {}:{to}", member.name(), member.name());
                told(
                    context,
                    title,
                    transfer::into_container(context, &engine, what, options),
                )
                .await?;
            }
            Ok(())
        }
        (Side::There(..), Side::There(..)) => {
            Err(Failure::new("copying between services is not supported"))
        }
        (Side::Here(_), Side::Here(_)) => {
            Err(Failure::new("unknown copy direction").hint("write one side as SERVICE:PATH"))
        }
    }
}

async fn containers(
    context: &Context,
    args: &CpArgs,
    service: &str,
) -> Result<(hoist_api::client::Client, Vec<Member>), Failure> {
    let services = [service.to_owned()];
    let target = context.target(&services)?;
    let engine = connect::engine(context).await?;
    let mut found = members::all(&engine, &target.name).await?;
    found.retain(|member| member.service == *service && (args.all || !member.one_off));
    if args.index > 0 {
        found.retain(|member| member.number == args.index);
    }
    Ok((engine, found))
}

async fn told<F: Future<Output = Result<u64, Failure>>>(
    context: &Context,
    object: String,
    copy: F,
) -> Result<(), Failure> {
    let progress = Progress::start(&context.ui, "Copying");
    let change = |phase, text: &str| Change {
        object: object.clone(),
        phase,
        text: text.to_owned(),
        detail: None,
    };
    progress.change(change(Phase::Working, "Copying"));
    let outcome = copy.await;
    progress.change(match &outcome {
        Ok(_) => change(Phase::Done, "Copied"),
        Err(_) => change(Phase::Failed, "Error"),
    });
    progress.finish();
    outcome.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides() {
        let there = |name: &str, path: &str| Side::There(name.into(), path.into());
        assert_eq!(Side::read("web:/etc"), there("web", "/etc"));
        assert_eq!(Side::read("./a:b"), Side::Here("./a:b".into()));
        assert_eq!(Side::read("/a:b"), Side::Here("/a:b".into()));
        assert_eq!(Side::read("-"), Side::Here("-".into()));
        assert_eq!(Side::read("plain"), Side::Here("plain".into()));
    }
}
