//! The Dockerfile language: text to instructions with their places, and instructions to the graph of a build.
//!
//! Pure: no file is read and nothing is run here.
#![forbid(unsafe_code)]
