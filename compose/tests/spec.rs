//! The Compose Specification's own examples.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;
#[path = "spec/mod.rs"]
mod spec;
