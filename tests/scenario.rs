//! Whole stacks, told as sentences: each test brings up a Compose project on a test host and checks what is true then.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

#[path = "scenario/build.rs"]
mod build;
#[path = "scenario/builder.rs"]
mod builder;
#[path = "scenario/compose_build.rs"]
mod compose_build;
#[path = "scenario/docker.rs"]
mod docker;
#[path = "scenario/dockerfile.rs"]
mod dockerfile;
#[path = "scenario/lifecycle.rs"]
mod lifecycle;
#[path = "scenario/providers.rs"]
mod providers;
#[path = "scenario/services.rs"]
mod services;
#[path = "scenario/shapes.rs"]
mod shapes;
#[path = "scenario/shop.rs"]
mod shop;
