//! The Dockerfile language: text to instructions with their places, and instructions to the graph of a build.
//!
//! ```text
//! text ──parse──► Dockerfile ──bases──► images whose configuration is needed
//!                     └───────lower (with those configurations)──► BuildGraph
//! ```
//!
//! Pure: no file is read and nothing is run here. The rules are those of the Dockerfile reference of
//! `docker/dockerfile` 1.x with its labs features, and where the reference is silent those of BuildKit's front end.
#![forbid(unsafe_code)]

mod describe;
mod diagnostic;
mod duration;
mod expand;
mod glob;
mod graph;
mod ignore;
mod instruction;
mod lint;
mod lower;
mod options;
mod parse;
mod span;
mod suggest;

pub use diagnostic::{Diagnostic, Severity};
pub use glob::{BadPattern, has_wildcards, matches as glob_matches};
pub use graph::{
    BuildGraph, Chmod, CopyOp, Empty, GitSource, Healthcheck, History, ImageConfig, InlineFile,
    Mark, MountKind, Network, Node, NodeId, Op, Ownership, Platform, RunMount, RunOp, Security,
    Sharing, Source,
};
pub use ignore::{Ignore, IgnoreWalk};
pub use instruction::{
    Add, ArgPair, Copy, Directives, Dockerfile, Flag, Heredoc, Instruction, Kind, Pair, Run,
    ShellForm, Stage, Transfer,
};
pub use lint::{CheckConfig, Rule};
pub use lower::git_context;
pub use options::{Base, BaseImage, Bases, NamedContext, NoCache, Options};
pub use parse::parse;
pub use span::Span;
