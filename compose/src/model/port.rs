//! Published ports.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::Extensions;

/// One port of a service, published or only named.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Port {
    /// A name for people.
    pub name: Option<String>,
    /// `ingress` (the default) or `host`; the same on one machine.
    pub mode: Option<String>,
    /// The host address to bind; none means all.
    pub host_ip: Option<String>,
    /// The container's port.
    pub target: u32,
    /// The host's port or range (`8080`, `8000-8010`); none means any free port.
    pub published: Option<String>,
    /// `tcp` (the default), `udp` or `sctp`.
    pub protocol: Option<String>,
    /// What is spoken on it, for people (`http`).
    pub app_protocol: Option<String>,
    /// `x-` attributes.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

impl Port {
    /// The host ports asked for; none when any free port will do or the text is not a range of ports.
    pub fn published_range(&self) -> Option<RangeInclusive<u16>> {
        let text = self.published.as_deref()?;
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
        (first > 0 && first <= last).then_some(first..=last)
    }

    /// The protocol in lower case, `tcp` when none is written.
    pub fn protocol(&self) -> String {
        self.protocol
            .as_deref()
            .unwrap_or("tcp")
            .to_ascii_lowercase()
    }
}
