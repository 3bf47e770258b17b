//! Removing what nothing uses, and what an engine that leaves must not leave behind.

use std::sync::Arc;

use hoist_api::Filters;
use hoist_api::container::{RemoveContainer, TopResponse};
use hoist_api::error::{ErrorKind, Result};
use hoist_api::image::ImageDelete;
use hoist_network::link::bridge;

use super::{Service, image_error, internal, volume_error};
use crate::image::Removed;
use crate::store::container::Status;

impl Service {
    /// Removes containers that do not run.
    pub(crate) async fn prune_containers(
        self: &Arc<Self>,
        filters: &Filters,
    ) -> Result<Vec<String>> {
        filters.allow_only(&["label", "label!", "until"])?;
        let mut removed = Vec::new();
        for container in self.containers.all() {
            let wanted = {
                let record = container.record();
                matches!(
                    record.run.status,
                    Status::Created | Status::Exited | Status::Dead
                ) && filters.accepts_labels(&record.config.labels)
            };
            if !wanted {
                continue;
            }
            match self
                .remove(container.id(), RemoveContainer::default())
                .await
            {
                Ok(()) => removed.push(container.id().to_owned()),
                Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Removes networks that no container is to join.
    pub(crate) async fn prune_networks(self: &Arc<Self>, filters: &Filters) -> Result<Vec<String>> {
        filters.allow_only(&["label", "label!", "until"])?;
        let mut removed = Vec::new();
        for network in self.networks.records() {
            let used = self
                .containers
                .all()
                .iter()
                .any(|container| container.record().endpoints.contains_key(&network.name));
            if used || network.name == "bridge" || !filters.accepts_labels(&network.labels) {
                continue;
            }
            self.network_remove(network.id.as_str()).await?;
            removed.push(network.name.clone());
        }
        Ok(removed)
    }

    /// Removes volumes that no container has: anonymous ones, or all.
    pub(crate) async fn prune_volumes(
        self: &Arc<Self>,
        filters: &Filters,
    ) -> Result<(Vec<String>, u64)> {
        filters.allow_only(&["label", "label!", "all"])?;
        let filters = filters.clone();
        self.blocking(move |service| {
            let all = filters
                .get("all")
                .iter()
                .any(|value| matches!(value.as_str(), "1" | "true"));
            let users = service.volume_users(None);
            let wanted = |volume: &hoist_volumes::Volume| {
                (all || volume.anonymous) && filters.accepts_labels(&volume.labels)
            };
            let (gone, space) = service
                .volumes
                .prune(&users, &wanted)
                .map_err(volume_error)?;
            Ok((
                gone.into_iter()
                    .map(|volume| volume.name.to_string())
                    .collect(),
                space,
            ))
        })
        .await
    }

    /// Removes images that no container uses: those without a name, or all.
    pub(crate) async fn image_prune(
        self: &Arc<Self>,
        all: bool,
    ) -> Result<(Vec<ImageDelete>, u64)> {
        self.blocking(move |service| {
            let users = service.image_users();
            let (gone, space) = service.images.prune(&users, all).map_err(image_error)?;
            let tell = |removed| match removed {
                Removed::Untagged(untagged) => ImageDelete {
                    untagged,
                    ..ImageDelete::default()
                },
                Removed::Deleted(deleted) => ImageDelete {
                    deleted,
                    ..ImageDelete::default()
                },
            };
            Ok((gone.into_iter().map(tell).collect(), space))
        })
        .await
    }

    /// Takes everything of an engine with nothing to run out of the kernel: bridges come back with the first container.
    pub(crate) async fn sweep(self: &Arc<Self>) -> Result<()> {
        self.blocking(|service| {
            for record in service.networks.records() {
                let plan = service.networks.bridge_plan(&record);
                bridge::remove(&plan.name, &plan.alias).map_err(|error| internal(&error))?;
            }
            service.networks.rules.remove()
        })
        .await
    }

    /// The processes of a container, as `ps -ef` shows them.
    pub(crate) async fn top(self: &Arc<Self>, key: &str) -> Result<TopResponse> {
        let container = self.containers.find(key)?;
        if !container.is_running() {
            return Err(container.not_running());
        }
        let pid = container.record().run.pid;
        let processes = self.blocking(move |_| Ok(processes_with(pid))).await?;
        let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
        Ok(TopResponse {
            titles: titles.map(str::to_owned).to_vec(),
            processes,
        })
    }
}

/// The processes in the pid namespace of one of them.
fn processes_with(pid: i32) -> Vec<Vec<String>> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(own) = namespace(&pid.to_string()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit())
            || namespace(&name).as_ref() != Some(&own)
        {
            continue;
        }
        let status = std::fs::read_to_string(format!("/proc/{name}/status")).unwrap_or_default();
        let field = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next().map(str::to_owned)
        };
        let command = std::fs::read(format!("/proc/{name}/cmdline")).unwrap_or_default();
        let words: Vec<String> = command
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let command = if words.is_empty() {
            field("Name:").unwrap_or_default()
        } else {
            words.join(" ")
        };
        let text = |key: &str| field(key).unwrap_or_else(|| "0".to_owned());
        let fill = |text: &str| text.to_owned();
        found.push(vec![
            text("Uid:"),
            name,
            text("PPid:"),
            fill("0"),
            fill("?"),
            fill("?"),
            fill("00:00:00"),
            command,
        ]);
    }
    found.sort_by_key(|row| row[1].parse::<u32>().unwrap_or(0));
    found
}
