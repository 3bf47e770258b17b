//! A container's first process, and the processes that join it later.

pub mod program;

pub use program::{InitProgram, Op};
