//! Lists of containers, filtered.

use std::collections::BTreeMap;
use std::sync::Arc;

use hoist_api::Filters;
use hoist_api::container::{
    ContainerSummary, ListContainers, PortSummary, SummaryHostConfig, SummaryNetworkSettings,
};
use hoist_api::error::{ApiError, Result};
use jiff::Timestamp;

use super::Service;
use super::inspect::with_protocol;
use crate::containers::Container;
use crate::image::Image;
use crate::networking::ports::{self, PortRange};
use crate::status::status_text;
use crate::store::container::{ContainerRecord, MountSource, Status};

const FILTERS: &[&str] = &[
    "ancestor",
    "before",
    "since",
    "exited",
    "health",
    "id",
    "label",
    "name",
    "network",
    "status",
    "volume",
    "publish",
    "expose",
    "is-task",
    "isolation",
];
const HEALTHS: &[&str] = &["starting", "healthy", "unhealthy", "none"];
const STATUSES: &[&str] = &[
    "created",
    "running",
    "paused",
    "restarting",
    "removing",
    "exited",
    "dead",
];

impl Service {
    /// Lists containers, newest first; computes sizes when they are asked for.
    pub(crate) async fn list(
        self: &Arc<Self>,
        options: &ListContainers,
    ) -> Result<Vec<ContainerSummary>> {
        let mut listed = self.matching(options)?;
        if options.size {
            for summary in &mut listed {
                if let Ok(container) = self.containers.find(&summary.id) {
                    let (own, all) = self.sizes(&container).await?;
                    (summary.size_rw, summary.size_root_fs) = (Some(own), Some(all));
                }
            }
        }
        Ok(listed)
    }

    fn matching(&self, options: &ListContainers) -> Result<Vec<ContainerSummary>> {
        let filters = &options.filters;
        filters.allow_only(FILTERS)?;
        filters.check_values("exited", |code| code.parse::<i64>().is_ok())?;
        filters.check_values("health", |health| HEALTHS.contains(&health))?;
        filters.check_flag("is-task")?;
        for key in ["publish", "expose"] {
            filters.check_values(key, |ports| PortRange::parse(ports).is_some())?;
        }
        for status in filters.get("status") {
            if !STATUSES.contains(&status.as_str()) {
                return Err(ApiError::bad_request(format!(
                    "invalid filter 'status={status}'"
                )));
            }
        }
        let all = options.all
            || options.limit.is_some()
            || !filters.get("status").is_empty()
            || !filters.get("exited").is_empty();
        let (after, before) = (
            self.time_bound(filters, "since")?,
            self.time_bound(filters, "before")?,
        );
        let ancestors = self.ancestors(filters);
        let mut records: Vec<ContainerRecord> = self
            .containers
            .all()
            .iter()
            .map(|container| container.snapshot())
            .filter(|record| {
                all || record.run.status.is_alive() || record.run.status == Status::Restarting
            })
            .filter(|record| after.is_none_or(|after| record.created > after))
            .filter(|record| before.is_none_or(|before| record.created < before))
            .filter(|record| {
                ancestors
                    .as_ref()
                    .is_none_or(|ids| ids.contains(&record.image_id))
            })
            .filter(|record| accepts(filters, record))
            .filter(|record| self.accepts_networks(filters, record))
            .collect();
        records.sort_by(|one, other| {
            other
                .created
                .cmp(&one.created)
                .then_with(|| other.id.cmp(&one.id))
        });
        let now = Timestamp::now();
        let limit = options
            .limit
            .filter(|limit| *limit > 0)
            .unwrap_or(usize::MAX);
        Ok(records
            .iter()
            .take(limit)
            .map(|record| self.summary(record, now))
            .collect())
    }

    fn time_bound(&self, filters: &Filters, key: &str) -> Result<Option<Timestamp>> {
        match filters.get(key).first() {
            Some(name) => Ok(Some(self.containers.find(name)?.record().created)),
            None => Ok(None),
        }
    }

    /// Ids of the images that the filter names; an unknown one matches nothing.
    fn ancestors(&self, filters: &Filters) -> Option<Vec<String>> {
        let wanted = filters.get("ancestor");
        if wanted.is_empty() {
            return None;
        }
        let found: Vec<_> = wanted
            .iter()
            .filter_map(|name| self.images.resolve(name).ok())
            .collect();
        // With what was built on them: images whose lowest layers are all of theirs.
        let descends = |image: &Image| {
            let layers = &image.config.rootfs.diff_ids;
            found.iter().any(|ancestor| {
                let (lowest, steps) = (&ancestor.config.rootfs.diff_ids, &ancestor.config.history);
                ancestor.id == image.id
                    || (!lowest.is_empty()
                        && layers.starts_with(lowest)
                        && image.config.history.starts_with(steps))
            })
        };
        let all = self.images.list();
        Some(
            all.iter()
                .filter(|image| descends(image))
                .map(|image| image.id.to_string())
                .collect(),
        )
    }

    fn accepts_networks(&self, filters: &Filters, record: &ContainerRecord) -> bool {
        filters.accepts("network", |wanted| {
            record.host_config.network_mode == *wanted
                || record.endpoints.keys().any(|name| {
                    name == wanted
                        || self
                            .networks
                            .id_of(name)
                            .is_some_and(|id| id.starts_with(wanted.as_str()))
                })
        })
    }

    fn summary(&self, record: &ContainerRecord, now: Timestamp) -> ContainerSummary {
        let networks: BTreeMap<_, _> = match record.host_config.network_mode.as_str() {
            builtin @ ("host" | "none") => BTreeMap::from([(
                builtin.to_owned(),
                self.builtin_endpoint(builtin, record.run.status.is_alive()),
            )]),
            _ => record
                .endpoints
                .iter()
                .map(|(name, endpoint)| (name.clone(), self.wire_endpoint(record, name, endpoint)))
                .collect(),
        };
        ContainerSummary {
            id: record.id.to_string(),
            names: std::iter::once(format!("/{}", record.name))
                .chain(self.linked_names(record.id.as_str()))
                .collect(),
            image: self.image_name(record),
            image_id: record.image_id.clone(),
            command: command_line(&record.argv()),
            created: record.created.as_second(),
            ports: ports(record),
            labels: record.config.labels.clone(),
            state: record.run.status.as_str().to_owned(),
            status: status_text(&record.run, now),
            host_config: SummaryHostConfig {
                network_mode: record.host_config.network_mode.clone(),
                annotations: record.host_config.annotations.clone(),
            },
            network_settings: SummaryNetworkSettings { networks },
            mounts: self.mount_points(record),
            ..ContainerSummary::default()
        }
    }

    /// The image as it was asked for; its id when that name now means another image.
    fn image_name(&self, record: &ContainerRecord) -> String {
        match self.images.resolve(&record.config.image) {
            Ok(image) if image.id.to_string() != record.image_id => record.image_id.clone(),
            _ => record.config.image.clone(),
        }
    }

    /// A container's record by any of its names, for other services.
    pub(super) fn container_named(&self, key: &str) -> Result<Arc<Container>> {
        self.containers.find(key)
    }
}

/// The filters that need the record alone.
fn accepts(filters: &Filters, record: &ContainerRecord) -> bool {
    let health = record
        .run
        .health
        .as_ref()
        .map_or("none", |health| health.status.as_str());
    filters.accepts_labels(&record.config.labels)
        && filters.accepts("name", |wanted| {
            container_name_matches(wanted, &record.name)
        })
        && filters.accepts("id", |wanted| pattern_matches(wanted, record.id.as_str()))
        && filters.accepts("status", |wanted| wanted == record.run.status.as_str())
        && filters.accepts("health", |wanted| wanted == health)
        && filters.accepts("exited", |wanted| {
            record.run.status == Status::Exited && *wanted == record.run.exit_code.to_string()
        })
        && filters.accepts("volume", |wanted| {
            record.mounts.iter().any(|mount| {
                let named =
                    matches!(&mount.source, MountSource::Volume { name, .. } if name == wanted);
                let bound =
                    matches!(&mount.source, MountSource::Bind { path, .. } if path == wanted);
                named || bound || mount.target.trim_end_matches('/') == wanted.trim_end_matches('/')
            })
        })
        && filters.accepts("expose", |wanted| {
            let exposed = record.config.exposed_ports.keys();
            let mut exposed = exposed.filter_map(|port| PortRange::parse(port));
            PortRange::parse(wanted).is_some_and(|wanted| exposed.any(|port| wanted.has(port)))
        })
        && filters.accepts("publish", |wanted| {
            let mut published = record.ports.iter().filter_map(|port| {
                let protocol = ports::parse_protocol(&port.protocol)?;
                Some(PortRange::of(port.host_port, protocol))
            });
            PortRange::parse(wanted).is_some_and(|wanted| published.any(|port| wanted.has(port)))
        })
}

/// Whether a name or an id is the one that is wanted, or matches it as a regular expression, anywhere in it.
pub(super) fn pattern_matches(pattern: &str, text: &str) -> bool {
    // Most are words, which need no machinery.
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-/".contains(&byte))
    };
    if plain(pattern) {
        return text.contains(pattern);
    }
    let exactly = pattern
        .strip_prefix('^')
        .and_then(|rest| rest.strip_suffix('$'));
    if let Some(name) = exactly.filter(|name| plain(name)) {
        return name == text;
    }
    pattern == text || regex_lite::Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
}

/// Containers' names begin with a slash or not.
fn container_name_matches(pattern: &str, name: &str) -> bool {
    pattern_matches(pattern, name) || pattern_matches(pattern, &format!("/{name}"))
}

/// As Docker lists a command: arguments with blanks in single quotes, all others as they are.
fn command_line(argv: &[String]) -> String {
    let quote = |word: &String| match word.contains(' ') {
        true => format!("'{word}'"),
        false => word.clone(),
    };
    argv.iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn ports(record: &ContainerRecord) -> Vec<PortSummary> {
    if !record.run.status.is_alive() {
        return Vec::new();
    }
    let mut ports: Vec<PortSummary> = record
        .ports
        .iter()
        .map(|port| PortSummary {
            ip: port.host_ip.clone(),
            private_port: port.container_port,
            public_port: Some(port.host_port),
            protocol: port.protocol.clone(),
        })
        .collect();
    for exposed in record.config.exposed_ports.keys() {
        let exposed = with_protocol(exposed);
        let Some((number, protocol)) = exposed.split_once('/') else {
            continue;
        };
        let Ok(number) = number.parse() else { continue };
        if !ports
            .iter()
            .any(|port| port.private_port == number && port.protocol == protocol)
        {
            ports.push(PortSummary {
                private_port: number,
                protocol: protocol.to_owned(),
                ..PortSummary::default()
            });
        }
    }
    ports.sort_by(|one, other| {
        (one.private_port, &one.protocol, &one.ip).cmp(&(
            other.private_port,
            &other.protocol,
            &other.ip,
        ))
    });
    ports
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::tests::record;

    fn check(filters: Filters, expected: bool) {
        let mut web = record(0xab, "shop-web-1");
        web.config.labels.insert("a".to_owned(), "1".to_owned());
        web.run.status = Status::Exited;
        web.run.exit_code = 3;
        assert_eq!(accepts(&filters, &web), expected, "{filters:?}");
    }

    #[test]
    fn filters_pass_what_they_name() {
        check(Filters::new(), true);
        check(Filters::new().with("name", "web"), true);
        check(Filters::new().with("name", "^/shop-web-1$"), true);
        check(Filters::new().with("name", "^web"), false);
        check(Filters::new().with("name", "^/?shop-(web|db)-\\d+$"), true);
        check(Filters::new().with("name", "shop.web"), true);
        check(Filters::new().with("name", "shop-web-[2-9]"), false);
        check(Filters::new().with("name", "(["), false);
        check(Filters::new().with("name", "db").with("name", "web"), true);
        check(Filters::new().with("id", "abab"), true);
        check(Filters::new().with("id", "cd"), false);
        check(Filters::new().label("a=1").with("status", "exited"), true);
        check(Filters::new().label("a=1").with("status", "running"), false);
        check(Filters::new().with("exited", "3"), true);
        check(Filters::new().with("exited", "0"), false);
        check(Filters::new().with("health", "none"), true);
        check(Filters::new().with("volume", "data"), false);
    }

    #[test]
    fn commands_are_listed_as_docker_does() {
        let argv = ["sh", "-c", "echo 'hi'"].map(str::to_owned);
        assert_eq!(command_line(&argv), "sh -c 'echo 'hi''");
        let argv = ["redis-server", "--save", ""].map(str::to_owned);
        assert_eq!(command_line(&argv), "redis-server --save ");
    }
}
