//! The command line: what it prints, and what it leaves with. The real binary; where no engine is needed, compared
//! with committed texts in `tests/cli/snapshots`, which `HOIST_BLESS=1` writes anew.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

#[path = "cli/attached.rs"]
mod attached;
#[path = "cli/config.rs"]
mod config;
#[path = "cli/contexts.rs"]
mod contexts;
#[path = "cli/digests.rs"]
mod digests;
#[path = "cli/docker.rs"]
mod docker;
#[path = "cli/errors.rs"]
mod errors;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/hostile.rs"]
mod hostile;
#[path = "cli/objects.rs"]
mod objects;
#[path = "cli/one_off.rs"]
mod one_off;
#[path = "cli/place.rs"]
mod place;
#[path = "cli/running.rs"]
mod running;
#[path = "cli/session.rs"]
mod session;
