//! What happened, in both of Docker's forms: the old `status`, `id`, `from` and the new `Type`, `Action`, `Actor`.

use std::collections::BTreeMap;

use crate::wire::wire;

wire! {
    /// Whom an event is about.
    pub struct Actor {
        /// Full id; of volumes the name.
        #[serde(rename = "ID")]
        pub id: String,
        /// Labels, and what the action adds.
        pub attributes: BTreeMap<String, String>,
    }

    /// One event.
    pub struct Event {
        /// Legacy: the action, of containers and images.
        #[serde(rename = "status", skip_serializing_if = "String::is_empty")]
        pub status: String,
        /// Legacy: the actor's id.
        #[serde(rename = "id", skip_serializing_if = "String::is_empty")]
        pub id: String,
        /// Legacy: the image.
        #[serde(rename = "from", skip_serializing_if = "String::is_empty")]
        pub from: String,
        /// `container`, `image`, `network`, `volume` or `daemon`.
        #[serde(rename = "Type")]
        pub kind: String,
        /// `create`, `start`, `die`, `health_status: healthy`, …
        pub action: String,
        /// Whom it is about.
        pub actor: Actor,
        /// `local`.
        #[serde(rename = "scope")]
        pub scope: String,
        /// Unix seconds.
        #[serde(rename = "time")]
        pub time: i64,
        /// Unix nanoseconds.
        #[serde(rename = "timeNano")]
        pub time_nano: i64,
    }
}

/// Which events are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventsOptions {
    /// Replay from this time on: Unix seconds, perhaps with a fraction.
    pub since: Option<String>,
    /// End at this time, in the same form.
    pub until: Option<String>,
    /// `type`, `event`, `container`, `image`, `network`, `volume`, `label`, …
    pub filters: crate::Filters,
}
