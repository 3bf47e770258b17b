//! `hoist`: reads Compose files and runs them on its own container engine.
//!
//! This crate only turns arguments into requests and results into text.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod failure;
mod globals;
mod ui;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Cli::read(std::env::args_os()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = error.print();
            ExitCode::from(u8::from(error.use_stderr()))
        }
    }
}
