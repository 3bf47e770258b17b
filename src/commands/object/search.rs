//! `hoist image search`, which is `docker search`.

use clap::Args;
use hoist_api::Engine;
use hoist_api::image::{ImageSearchResult, SearchImages};
use hoist_registry::Search;
use serde_json::{Value, json};

use super::filters;
use super::transfer::auth_for;
use crate::context::Context;
use crate::failure::Failure;
use crate::listing::{self, Columns, Format};
use crate::ui::human;

/// `image search`.
#[derive(Args, Debug, Clone)]
pub(crate) struct SearchArgs {
    /// What to look for
    #[arg(value_name = "[REGISTRY/]WORDS")]
    pub(crate) term: String,

    /// Only what fits (is-official=true, stars=NUMBER); repeatable
    #[arg(short, long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,

    /// table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Most results, 1 to 100
    #[arg(long, value_name = "NUMBER")]
    pub(crate) limit: Option<u32>,

    /// Do not shorten descriptions
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

const COLUMNS: &Columns = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
];

/// How much of a description a row shows.
const DESCRIPTION: usize = 45;

/// Searches.
///
/// # Errors
/// A filter or the format is wrong, the registry cannot be reached or has no search.
pub(crate) async fn run<E: Engine>(
    context: &Context,
    engine: &E,
    args: SearchArgs,
) -> Result<(), Failure> {
    let format = Format::read(args.format.as_deref())?;
    let request = SearchImages {
        filters: filters(&args.filter)?,
        limit: args.limit,
        auth: auth_for(&Search::of(&args.term, 1).domain)?,
        term: args.term.clone(),
    };
    let found = engine.image_search(&request).await.map_err(|error| {
        Failure::from(error).context(format!("cannot search for {}", args.term))
    })?;
    let width = if args.no_trunc {
        usize::MAX
    } else {
        DESCRIPTION
    };
    let rows: Vec<Value> = found
        .iter()
        .map(|found| row(found, &format, width))
        .collect();
    listing::print(&context.ui, &format, COLUMNS, &rows)
}

/// Docker says yes and no in JSON, and elsewhere only yes.
fn row(found: &ImageSearchResult, format: &Format, width: usize) -> Value {
    let is_json = matches!(format, Format::Json);
    let flag = |is: bool| match (is_json, is) {
        (true, is) => is.to_string(),
        (false, true) => "[OK]".to_owned(),
        (false, false) => String::new(),
    };
    let description = found.description.replace(['\n', '\r'], " ");
    json!({
        "Description": human::ellipsis(&description, width),
        "IsAutomated": flag(found.is_automated),
        "IsOfficial": flag(found.is_official),
        "Name": found.name,
        "StarCount": found.star_count.to_string(),
    })
}
