//! Where a layer's compressed archive is known to be: `layers/<diff-id>/origins.json`, newest first.
//!
//! A push need not send what the registry has. The list is a help, never a truth: the registry is asked, and a list that is lost costs
//! only a compression.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::manifest::Descriptor;

const FILE: &str = "origins.json";
/// Places that are remembered of one layer.
const LIMIT: usize = 50;

/// A blob in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// `docker.io`
    pub(crate) domain: String,
    /// `library/x`
    pub(crate) repository: String,
    /// The compressed archive.
    pub(crate) blob: Descriptor,
}

/// What is known of the layer in `directory`.
pub(crate) fn read(directory: &Path) -> Vec<Origin> {
    let text = fs::read(directory.join(FILE)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Puts an origin first.
pub(crate) fn remember(directory: &Path, origin: &Origin) {
    let mut known = read(directory);
    if known.first() == Some(origin) {
        return;
    }
    known.retain(|known| known != origin);
    known.insert(0, origin.clone());
    known.truncate(LIMIT);
    let staged = directory.join(format!("{FILE}.new"));
    let written = serde_json::to_vec(&known)
        .map_err(std::io::Error::from)
        .and_then(|text| fs::write(&staged, text))
        .and_then(|()| fs::rename(&staged, directory.join(FILE)));
    if let Err(error) = written {
        tracing::warn!(layer = %directory.display(), %error, "cannot remember where a layer came from");
    }
}
