//! Removes links of ours that no record owns any more: after a crash between making a link and noting it, or after
//! records were lost. Only links whose alias begins with this engine's tag are looked at.

use std::collections::HashSet;

use crate::NetworkConfig;
use crate::link::{LinkError, bridge, endpoint};

/// What a clean-up did.
#[derive(Debug, Default)]
pub struct Report {
    /// Names of removed links.
    pub removed: Vec<String>,
    /// What could not be removed, and why; the rest was tried all the same.
    pub errors: Vec<LinkError>,
}

/// Removes this engine's links whose alias is not in `owned`. Blocks for tens of milliseconds per link.
pub fn remove_orphans(config: &NetworkConfig, owned: &HashSet<String>) -> Report {
    let mut report = Report::default();
    let links = match bridge::list(&config.alias_prefix()) {
        Ok(links) => links,
        Err(error) => {
            report.errors.push(error);
            return report;
        }
    };
    for (name, alias) in links {
        if owned.contains(&alias) {
            continue;
        }
        // A bridge takes its ports with it; they may be gone when their turn comes, which is fine.
        match endpoint::remove(&name, &alias) {
            Ok(()) => report.removed.push(name),
            Err(error) => report.errors.push(error),
        }
    }
    report
}
