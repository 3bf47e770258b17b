//! The language as data: every attribute with the types it takes, and how it is cast, merged and printed.
//!
//! One table drives the phases: the check of shapes, casts after interpolation, merging, the removal of duplicates, the
//! check of durations and sizes, the canonical printer, and the JSON Schema.

mod check;
mod deploy;
mod json;
mod root;
mod service;
mod types;

pub(crate) use check::check;
pub(crate) use json::json_schema;
pub(crate) use root::ROOT;
pub(crate) use service::SERVICE;
pub(crate) use types::{Cast, Format, Merge, Presence, Type, Unify};
