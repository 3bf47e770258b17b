//! What the engine does by itself: starting again what ended, and checking health.

pub(crate) mod health;
pub(crate) mod restart;
