//! `hoist logs`: what the containers have written.

use clap::Args;
use hoist_api::Engine;
use hoist_api::container::LogsOptions;
use jiff::Timestamp;

use crate::connect;
use crate::context::Context;
use crate::failure::{Failure, INTERRUPTED};
use crate::follow::{FollowOptions, Follower};
use crate::members::{self, Member};
use crate::session::Session;
use crate::signals;
use crate::ui::logs::LogStyle;
use crate::when;

/// Show the output of containers
#[derive(Args, Debug, Clone)]
pub(crate) struct LogsArgs {
    /// Services to show (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Stay and show what comes
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// How many of the last lines of each container to show, or "all"
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value = "all",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    pub(crate) tail: String,

    /// Put the time before each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,

    /// Only lines since a time (2026-01-02T13:23:37Z, Unix seconds) or for so long back (42m)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,

    /// Only lines before a time, written as for --since
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,

    /// Do not colour the containers' names
    #[arg(long)]
    pub(crate) no_color: bool,

    /// Do not put the container's name before its lines
    #[arg(long)]
    pub(crate) no_log_prefix: bool,

    /// Which of the service's containers, counted from 1
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) index: u32,
}

/// Prints what the containers have written.
///
/// # Errors
/// An option is wrong, the files are wrong, or the engine cannot be asked.
pub(crate) async fn run(context: &Context, args: LogsArgs) -> Result<(), Failure> {
    let options = follow_options(context, &args)?;
    let target = context.target(&args.services)?;
    let Some(engine) = connect::existing_engine(context).await? else {
        return Ok(());
    };
    let since = Timestamp::now();
    let mut members = members::of_services(&engine, &target, &args.services).await?;
    if args.index > 0 {
        members.retain(|member| member.number == args.index);
        if members.is_empty() {
            return Err(Failure::new(format!(
                "there is no container #{} of these services",
                args.index
            )));
        }
    }
    if !args.follow {
        let mut follower = Follower::new(engine.clone(), &context.ui, options);
        follower.register(&members);
        return print_all(&mut follower, &members).await;
    }
    let mut session = Session::open((&engine, &context.ui), &target.name, options, since).await?;
    session.read(&members, true);
    tokio::select! {
        outcome = follow(&mut session) => outcome,
        () = signals::interrupted() => Err(Failure::exit(INTERRUPTED)),
    }
}

fn follow_options(context: &Context, args: &LogsArgs) -> Result<FollowOptions, Failure> {
    let logs = LogsOptions {
        timestamps: args.timestamps,
        tail: when::tail(&args.tail)?,
        since: when::optional(args.since.as_deref(), "--since")?,
        until: when::optional(args.until.as_deref(), "--until")?,
        ..LogsOptions::default()
    };
    let style = LogStyle {
        prefix: !args.no_log_prefix,
        color: context.ui.color_out && !args.no_color,
    };
    Ok(FollowOptions {
        style,
        logs,
        split_streams: false,
        services: args.services.clone(),
        hidden: Vec::new(),
    })
}

/// One container after the other, so that the output is the same each time.
async fn print_all<E: Engine + Clone + 'static>(
    follower: &mut Follower<'_, E>,
    members: &[Member],
) -> Result<(), Failure> {
    for member in members {
        follower.read_log(&member.summary.id, false);
        while follower.is_reading() {
            if let Some(error) = follower.print_next().await? {
                return Err(Failure::from(error)
                    .context(format!("cannot read the output of {}", member.name())));
            }
        }
    }
    Ok(())
}

/// Prints until nothing of the project is active any more.
async fn follow(session: &mut Session<'_>) -> Result<(), Failure> {
    loop {
        if !session.is_reading() && !session.members().await?.iter().any(Member::is_active) {
            return Ok(());
        }
        session.next().await?;
    }
}
