//! A container's first process, and the processes that join it later.
//!
//! [`program`] is the list of operations, [`start`] makes a process that runs it, [`report`] is what that
//! process tells. The interpreter itself is private: it is only ever entered right after clone3(2).

pub mod program;
pub mod report;
pub mod start;

mod console;
mod identity;
mod mounts;
mod reaper;
mod run;

pub use program::{InitProgram, Op};
