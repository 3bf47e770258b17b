//! Compose files: from YAML to a [`model::Project`], a plan, and its execution against an engine.
//!
//! `load` turns files into a project and tells what is wrong with them; everything after it works on the typed model only.
//! This crate never links the container runtime.
#![forbid(unsafe_code)]

pub mod desire;
pub mod execute;
pub mod graph;
pub mod load;
pub mod model;
pub mod observe;
pub mod plan;
pub mod provided;
