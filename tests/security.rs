//! What a container can see and do, and what it cannot. Each test is an obligation; the escapes of the past are tried.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;
#[path = "../engine/registry/tests/support/mod.rs"]
mod support;

#[path = "security/archives.rs"]
mod archives;
#[path = "security/container.rs"]
mod container;
#[path = "security/userns.rs"]
mod userns;
