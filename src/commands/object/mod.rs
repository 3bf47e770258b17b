//! Commands on one kind of the engine's objects, by name, whatever project they belong to.

pub(crate) mod absent;
pub(crate) mod build;
pub(crate) mod builder;
pub(crate) mod container;
pub(crate) mod context;
pub(crate) mod engine;
pub(crate) mod facts;
mod history;
pub(crate) mod image;
pub(crate) mod manifest;
pub(crate) mod network;
pub(crate) mod search;
pub(crate) mod serve;
pub(crate) mod system;
pub(crate) mod transfer;
mod tree;
pub(crate) mod usage;
pub(crate) mod volume;

use hoist_api::Filters;
use serde_json::Value;

use crate::context::Context;
use crate::failure::{FAILED, Failure};
use crate::listing;

/// Does something with each name, reports each failure, and fails at the end when one failed.
///
/// # Errors
/// At least one name failed.
pub(crate) async fn each<F>(
    context: &Context,
    names: &[String],
    mut action: F,
) -> Result<(), Failure>
where
    F: AsyncFnMut(&str) -> Result<(), Failure>,
{
    let mut failed = None;
    for name in names {
        if let Err(failure) = action(name).await {
            match (&failure.report, names.len()) {
                // The reader of the output has gone away.
                (None, _) | (_, 1) => return Err(failure),
                (Some(report), _) => context.ui.report(report),
            }
            failed = Some(Failure::exit(FAILED));
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Prints everything known of each name, as one JSON list or each through a template, then fails when a name is
/// unknown.
///
/// # Errors
/// The template is wrong, or at least one name is unknown.
pub(crate) async fn inspect<F>(
    context: &Context,
    (names, format): (&[String], Option<&str>),
    mut find: F,
) -> Result<(), Failure>
where
    F: AsyncFnMut(&str) -> Result<Value, Failure>,
{
    let mut found: Vec<Value> = Vec::new();
    let mut failures: Vec<Failure> = Vec::new();
    for name in names {
        match find(name).await {
            Ok(object) => found.push(object),
            Err(failure) => failures.push(failure),
        }
    }
    listing::inspect(&context.ui, format, &found)?;
    let Some(last) = failures.pop() else {
        return Ok(());
    };
    failures
        .iter()
        .filter_map(|failure| failure.report.as_ref())
        .for_each(|report| context.ui.report(report));
    Err(last)
}

/// `KEY=VALUE` options as a map; a key alone has an empty value.
pub(crate) fn pairs(texts: &[String]) -> std::collections::BTreeMap<String, String> {
    let split = |text: &String| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (text.clone(), String::new()),
    };
    texts.iter().map(split).collect()
}

/// `--filter KEY=VALUE` options.
///
/// # Errors
/// One has no "=".
pub(crate) fn filters(texts: &[String]) -> Result<Filters, Failure> {
    texts
        .iter()
        .try_fold(Filters::new(), |filters, text| match text.split_once('=') {
            Some((key, value)) => Ok(filters.with(key, value)),
            None => Err(Failure::new(format!("cannot filter by \"{text}\""))
                .hint("write it as KEY=VALUE, for example name=web")),
        })
}
