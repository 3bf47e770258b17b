//! `hoist builder`: the build cache, and `docker builder`'s and `docker buildx`'s words for building.

use clap::{Args, Subcommand};
use hoist_api::Engine;
use hoist_api::build::BuildPrune;
use hoist_api::client::Client;
use hoist_api::system::BuildCacheRecord;
use serde_json::{Value, json};

use super::build::{self, ImageBuildArgs};
use super::container::state::{agreed, print_pruned};
use super::usage::size;
use crate::commands::build::bytes;
use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::listing::{self, Columns, Format};
use crate::ui::human;

/// What can be done with the builder.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum BuilderVerb {
    /// Build an image from a Dockerfile
    #[command(alias = "b")]
    Build(Box<ImageBuildArgs>),
    /// Show what the build cache holds
    Du(BuilderDuArgs),
    /// Remove what the build cache holds
    Prune(BuilderPruneArgs),
    /// Print which buildx the options are those of
    #[command(hide = true)]
    Version,
}

/// The release of Docker's buildx whose options `build` takes, in the words that programs look for.
const BUILDX: &str = "github.com/docker/buildx v0.29.1";

/// `builder du`.
#[derive(Args, Debug, Clone)]
pub(crate) struct BuilderDuArgs {
    /// table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `builder prune`.
#[derive(Args, Debug, Clone)]
pub(crate) struct BuilderPruneArgs {
    /// Also what images are made of
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Only records of which this holds (until=24h, id=, type=regular|exec.cachemount, inuse=, shared=, private=); repeatable
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,

    /// Space that may stay in use
    #[arg(long, alias = "keep-storage", value_name = "BYTES")]
    pub(crate) reserved_space: Option<String>,

    /// Remove until no more space is used
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_used_space: Option<String>,

    /// Remove until this much of the disk is free
    #[arg(long, value_name = "BYTES")]
    pub(crate) min_free_space: Option<String>,

    /// Name of a builder (accepted; there is but one)
    #[arg(long, hide = true, value_name = "NAME")]
    pub(crate) builder: Option<String>,
}

/// Carries out a `builder` command.
///
/// # Errors
/// What the engine says.
pub(crate) async fn run(context: &Context, verb: BuilderVerb) -> Result<(), Failure> {
    if matches!(verb, BuilderVerb::Version) {
        let ours = env!("CARGO_PKG_VERSION");
        return context.ui.line(&format!("{BUILDX} hoist-{ours}"));
    }
    let engine = connect::engine(context).await?;
    match verb {
        BuilderVerb::Version => Ok(()),
        BuilderVerb::Build(args) => build::run(context, &engine, &args).await,
        BuilderVerb::Du(args) => usage(context, &engine, &args).await,
        BuilderVerb::Prune(args) => prune(context, &engine, &args).await,
    }
}

/// The columns of records, here and in `system df -v`.
pub(super) const COLUMNS: &Columns = &[
    ("ID", "CACHE ID"),
    ("CacheType", "CACHE TYPE"),
    ("Size", "SIZE"),
    ("CreatedSince", "CREATED"),
    ("LastUsedSince", "LAST USED"),
    ("UsageCount", "USAGE"),
    ("Shared", "SHARED"),
];

/// A record as a row.
pub(super) fn row(record: &BuildCacheRecord) -> Value {
    let now = jiff::Timestamp::now().as_second();
    let since = |time: &str| match time.parse::<jiff::Timestamp>() {
        Ok(time) => human::ago(time.as_second(), now),
        Err(_) => String::new(),
    };
    let used = record.last_used_at.as_deref().unwrap_or_default();
    let short = record.id.get(..12).unwrap_or(&record.id);
    json!({
        "ID": short, "CacheType": record.kind, "Size": size(record.size), "Description": record.description,
        "CreatedSince": since(&record.created_at), "CreatedAt": record.created_at, "LastUsedAt": used,
        "LastUsedSince": since(used), "UsageCount": record.usage_count.to_string(),
        "Shared": record.shared.to_string(), "InUse": record.in_use.to_string(),
    })
}

async fn usage(context: &Context, engine: &Client, args: &BuilderDuArgs) -> Result<(), Failure> {
    let format = Format::read(args.format.as_deref())?;
    let cache = engine.data_usage().await?.build_cache;
    let rows: Vec<Value> = cache.iter().map(row).collect();
    listing::print(&context.ui, &format, COLUMNS, &rows)?;
    if args.format.is_some() {
        return Ok(());
    }
    let sum = |is_meant: &dyn Fn(&&BuildCacheRecord) -> bool| {
        let meant = cache.iter().filter(is_meant);
        size(meant.map(|record| record.size).sum())
    };
    for (name, bytes) in [
        ("Shared:", sum(&|record| record.shared)),
        ("Private:", sum(&|record| !record.shared)),
        (
            "Reclaimable:",
            sum(&|record| !record.in_use && !record.shared),
        ),
        ("Total:", sum(&|_| true)),
    ] {
        context.ui.line(&format!("{name:<15}{bytes}"))?;
    }
    Ok(())
}

async fn prune(context: &Context, engine: &Client, args: &BuilderPruneArgs) -> Result<(), Failure> {
    let options = options(args)?;
    let what = if args.all {
        "This will remove all build cache."
    } else {
        "This will remove all dangling build cache."
    };
    if !args.force && !agreed(context, what).await? {
        return Ok(());
    }
    let pruned = engine.build_prune(&options).await?;
    print_pruned(
        context,
        ("Deleted build cache objects:", &pruned.caches_deleted),
        Some(pruned.space_reclaimed),
    )
}

fn options(args: &BuilderPruneArgs) -> Result<BuildPrune, Failure> {
    let size = |text: &Option<String>| text.as_deref().map(bytes).transpose();
    let mut options = BuildPrune {
        all: args.all,
        keep_storage: size(&args.reserved_space)?.unwrap_or_default(),
        max_used_space: size(&args.max_used_space)?.unwrap_or_default(),
        min_free_space: size(&args.min_free_space)?.unwrap_or_default(),
        ..BuildPrune::default()
    };
    for filter in &args.filter {
        let (key, value) = filter.split_once('=').unwrap_or((filter, "true"));
        match key {
            // How long ago is the engine's own business; both sides read it the same way.
            "until" | "unused-for" => options.unused_for = seconds(filter, value)?,
            key => options
                .filters
                .entry(key.to_owned())
                .or_default()
                .push(value.to_owned()),
        }
    }
    Ok(options)
}

/// `24h`, or a time.
fn seconds(filter: &str, text: &str) -> Result<i64, Failure> {
    let wrong = || {
        Failure::new(format!(
            "--filter {filter}: neither a time nor how long ago"
        ))
        .hint("write it as until=24h")
    };
    let now = jiff::Timestamp::now();
    let time = match text.parse::<jiff::SignedDuration>() {
        Ok(ago) => now.checked_sub(ago).map_err(|_| wrong())?,
        Err(_) => text.parse().map_err(|_| wrong())?,
    };
    Ok(now.duration_since(time).as_secs().max(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        prune: BuilderPruneArgs,
    }

    fn check(line: &str) -> Result<BuildPrune, Failure> {
        let words = ["prune"].into_iter().chain(line.split_whitespace());
        options(&Line::parse_from(words).prune)
    }

    #[test]
    fn options_are_dockers() {
        let read = check(
            "-a --keep-storage 1g --max-used-space 2kb --filter until=1h --filter type=regular",
        )
        .unwrap_or_else(|_| panic!("options"));
        assert_eq!(
            (read.all, read.keep_storage, read.max_used_space),
            (true, 1 << 30, 2048)
        );
        assert_eq!(read.unused_for, 3600);
        assert_eq!(read.filters["type"], ["regular"]);
        let flag = check("--filter inuse").unwrap_or_else(|_| panic!("options"));
        assert_eq!(flag.filters["inuse"], ["true"]);
        assert!(check("--filter until=soon").is_err());
    }
}
