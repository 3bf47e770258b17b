//! Commands on one kind of the engine's objects, by name, whatever project they belong to.

pub(crate) mod container;
pub(crate) mod engine;
pub(crate) mod image;
pub(crate) mod network;
pub(crate) mod volume;
