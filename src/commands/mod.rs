//! One file per command: its options, and what it does with them.

pub(crate) mod attached;
pub(crate) mod build;
pub(crate) mod config;
mod config_check;
mod config_digests;
mod config_names;
mod config_variables;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod down;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod lifecycle;
pub(crate) mod listing;
pub(crate) mod logs;
pub(crate) mod menu;
pub(crate) mod object;
pub(crate) mod plan;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod refused;
pub(crate) mod run;
pub(crate) mod single;
pub(crate) mod up;
pub(crate) mod values;
pub(crate) mod watch;
mod watch_places;
