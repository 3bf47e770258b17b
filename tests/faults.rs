//! What goes wrong: each fault is made, the message is read as its user would read it, and nothing may be left over.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

#[path = "faults/engine.rs"]
mod engine;
#[path = "faults/project.rs"]
mod project;
#[path = "faults/resources.rs"]
mod resources;
