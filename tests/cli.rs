//! The command line without an engine: what it prints, and what it leaves with. The real binary, compared with
//! committed texts in `tests/cli/snapshots`; `HOIST_BLESS=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

#[path = "cli/config.rs"]
mod config;
#[path = "cli/errors.rs"]
mod errors;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/place.rs"]
mod place;
