//! What happened: a bus with the last events kept, so that `since` replays them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use hoist_api::Filters;
use hoist_api::event::{Actor, Event};
use jiff::Timestamp;
use tokio::sync::broadcast;

/// Events kept for replay; Docker keeps 256.
const KEPT: usize = 1024;
/// Events a slow reader may be behind before it misses some.
const BEHIND: usize = 4096;

/// The filters that events know.
pub(crate) const FILTERS: &[&str] = &[
    "type",
    "event",
    "container",
    "image",
    "network",
    "volume",
    "label",
    "daemon",
    "scope",
    "plugin",
    "node",
    "service",
    "secret",
    "config",
];

/// The bus.
#[derive(Debug)]
pub(crate) struct EventBus {
    kept: Mutex<VecDeque<Arc<Event>>>,
    sender: broadcast::Sender<Arc<Event>>,
}

impl Default for EventBus {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            sender: broadcast::channel(BEHIND).0,
        }
    }
}

impl EventBus {
    /// Tells everyone.
    pub(crate) fn publish(&self, kind: &str, action: &str, actor: Actor) {
        let now = Timestamp::now();
        let legacy = kind == "container" || kind == "image";
        let event = Arc::new(Event {
            status: if legacy {
                action.to_owned()
            } else {
                String::new()
            },
            id: if legacy {
                actor.id.clone()
            } else {
                String::new()
            },
            from: if legacy {
                actor.attributes.get("image").cloned().unwrap_or_default()
            } else {
                String::new()
            },
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor,
            scope: "local".to_owned(),
            time: now.as_second(),
            time_nano: i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
        });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(event.clone());
        // Sent under the lock, so that a subscriber sees each event once: kept or received.
        let _ = self.sender.send(event);
    }

    /// How many follow.
    pub(crate) fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }

    /// The kept events from a time on, and a receiver of all later ones.
    pub(crate) fn subscribe(
        &self,
        since: Option<Timestamp>,
    ) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let past = match since {
            None => Vec::new(),
            Some(since) => kept
                .iter()
                .filter(|event| i128::from(event.time_nano) >= since.as_nanosecond())
                .cloned()
                .collect(),
        };
        (past, self.sender.subscribe())
    }
}

/// Whether an event passes the filters.
pub(crate) fn wanted(filters: &Filters, event: &Event) -> bool {
    let attribute = |name: &str| event.actor.attributes.get(name).map(String::as_str);
    let about = |kind: &'static str| {
        filters.accepts(kind, |wanted| {
            event.kind == kind
                && (event.actor.id.starts_with(wanted.as_str())
                    || attribute("name").is_some_and(|name| name.starts_with(wanted.as_str())))
        })
    };
    // An image by its id or name, the latter with or without its tag; a container's event by its image.
    let of_image = filters.accepts("image", |wanted| {
        let name = attribute(if event.kind == "image" {
            "name"
        } else {
            "image"
        });
        [Some(event.actor.id.as_str()), name]
            .into_iter()
            .flatten()
            .any(|text| text == wanted || without_tag(text) == wanted)
    });
    filters.accepts("type", |kind| *kind == event.kind)
        && filters.accepts("event", |action| {
            event.action == *action
                || event
                    .action
                    .split_once(':')
                    .is_some_and(|(head, _)| head == action)
        })
        && filters.accepts_labels(&event.actor.attributes)
        && filters.accepts("scope", |scope| *scope == event.scope)
        && of_image
        && ["container", "network", "volume"].into_iter().all(about)
}

/// A reference without its tag; a digest stays.
fn without_tag(reference: &str) -> &str {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !name.is_empty() => name,
        _ => reference,
    }
}

/// An actor with attributes.
pub(crate) fn actor<const N: usize>(
    id: &str,
    labels: &BTreeMap<String, String>,
    more: [(&str, String); N],
) -> Actor {
    let mut attributes = labels.clone();
    attributes.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Actor {
        id: id.to_owned(),
        attributes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, action: &str) -> Event {
        let labels = BTreeMap::from([("project".to_owned(), "shop".to_owned())]);
        Event {
            kind: kind.into(),
            action: action.into(),
            actor: actor(
                "0123456789ab",
                &labels,
                [("name", "web".into()), ("container", "feed01".into())],
            ),
            ..Event::default()
        }
    }

    #[test]
    fn filters_pass_what_they_name() {
        for (filters, kind, action, expected) in [
            (Filters::new(), "container", "start", true),
            (
                Filters::new().with("type", "container"),
                "container",
                "start",
                true,
            ),
            (
                Filters::new().with("type", "network"),
                "container",
                "start",
                false,
            ),
            (
                Filters::new().with("event", "health_status"),
                "container",
                "health_status: healthy",
                true,
            ),
            (
                Filters::new().with("event", "start"),
                "container",
                "restart",
                false,
            ),
            (
                Filters::new().label("project=shop"),
                "container",
                "die",
                true,
            ),
            (
                Filters::new().label("project=other"),
                "container",
                "die",
                false,
            ),
            (
                Filters::new().with("container", "web"),
                "container",
                "die",
                true,
            ),
            (
                Filters::new().with("container", "0123"),
                "container",
                "die",
                true,
            ),
            (
                Filters::new().with("container", "feed01"),
                "network",
                "connect",
                // By its own id and name alone (moby, `daemon/events/filter.go`).
                false,
            ),
            (
                Filters::new().with("container", "db"),
                "container",
                "die",
                false,
            ),
        ] {
            assert_eq!(
                wanted(&filters, &event(kind, action)),
                expected,
                "{filters:?} {kind} {action}"
            );
        }
    }

    #[test]
    fn since_replays_and_the_rest_is_received() {
        let bus = EventBus::default();
        let before = Timestamp::now();
        bus.publish("container", "create", Actor::default());
        let (past, mut later) = bus.subscribe(Some(before));
        assert_eq!(past.len(), 1);
        bus.publish("container", "start", Actor::default());
        assert_eq!(later.try_recv().unwrap().action, "start");
        assert!(bus.subscribe(None).0.is_empty());
    }
}
