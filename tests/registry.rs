//! Registries, from the command line to Debian's `docker-registry` and skopeo, and servers that do not behave.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

#[path = "registry/archives.rs"]
mod archives;
#[path = "registry/builds.rs"]
mod builds;
#[path = "registry/imports.rs"]
mod imports;
#[path = "registry/interrupted.rs"]
mod interrupted;
#[path = "registry/outputs.rs"]
mod outputs;
#[path = "registry/round_trip.rs"]
mod round_trip;
#[path = "registry/search.rs"]
mod search;
#[path = "../engine/registry/tests/support/mod.rs"]
mod support;
