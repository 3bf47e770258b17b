//! `hoist image history`: how an image was made.

use clap::Args;
use hoist_api::client::Client;
use hoist_api::image::ImageHistory;
use serde_json::{Value, json};

use crate::commands::values::PlatformName;
use crate::context::Context;
use crate::failure::Failure;
use crate::listing::{self, Columns, Format};
use crate::ui::human;

/// `image history`.
#[derive(Args, Debug, Clone)]
pub(crate) struct HistoryArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,

    /// table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Sizes and times for people; with =false bytes and exact times
    #[arg(short = 'H', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) human: bool,

    /// Do not shorten
    #[arg(long)]
    pub(crate) no_trunc: bool,

    /// Only the ids
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Only when the image is for this platform, as os/arch[/variant]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<PlatformName>,
}

const COLUMNS: &Columns = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

const EXACT_COLUMNS: &Columns = &[
    ("ID", "IMAGE"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// How wide the table shows what made a step.
const BY_WIDTH: usize = 45;

/// Times up to here mean that there is none: a builder that wants to be reproducible writes them.
const EPOCH: i64 = 946_684_800;

/// Prints how an image was made.
///
/// # Errors
/// There is no such image, or the template is wrong.
pub(super) async fn run(
    context: &Context,
    engine: &Client,
    args: HistoryArgs,
) -> Result<(), Failure> {
    let format = Format::read(args.format.as_deref())?;
    let platform = args.platform.as_ref().map(|platform| &platform.0);
    let steps = engine.image_history_of(&args.image, platform).await?;
    if args.quiet && matches!(format, Format::Table) {
        return steps
            .iter()
            .try_for_each(|step| context.ui.line(&shown_id(step, &args)));
    }
    let now = jiff::Timestamp::now().as_second();
    let rows: Vec<Value> = steps.iter().map(|step| row(step, &args, now)).collect();
    let columns = if args.human { COLUMNS } else { EXACT_COLUMNS };
    listing::print(&context.ui, &format, columns, &rows)
}

fn shown_id(step: &ImageHistory, args: &HistoryArgs) -> String {
    match args.no_trunc || step.id == "<missing>" {
        true => step.id.clone(),
        false => human::short_id(&step.id).to_owned(),
    }
}

fn row(step: &ImageHistory, args: &HistoryArgs, now: i64) -> Value {
    let by = step.created_by.replace('\t', " ");
    let at = jiff::Timestamp::from_second(step.created).unwrap_or_default();
    let at = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let since = match step.created {
        _ if !args.human => at.clone(),
        created if created <= EPOCH => "N/A".to_owned(),
        created => human::ago(created, now),
    };
    json!({
        "Comment": step.comment,
        "CreatedAt": at,
        "CreatedBy": if args.no_trunc { by } else { human::ellipsis(&by, BY_WIDTH) },
        "CreatedSince": since,
        "ID": shown_id(step, args),
        "Size": match args.human {
            true => human::size(u64::try_from(step.size).unwrap_or(0)),
            false => step.size.to_string(),
        },
    })
}
