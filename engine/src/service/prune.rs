//! Removing what nothing uses, and what an engine that leaves must not leave behind.

use std::sync::Arc;

use hoist_api::Filters;
use hoist_api::container::{ContainersPruned, RemoveContainer};
use hoist_api::error::{ApiError, ErrorKind, Result};
use hoist_api::image::{ImageDelete, ImagesPruned};
use hoist_network::link::bridge;
use jiff::Timestamp;

use super::{Service, image_error, internal, volume_error};
use crate::image::{Image, Removed};
use crate::store::container::Status;
use crate::times;

const PRUNE_FILTERS: &[&str] = &["label", "label!", "until"];

/// The time that the filter `until` names: a point in time, or a duration before now such as `24h`.
pub(super) fn until(filters: &Filters) -> Result<Option<Timestamp>> {
    match filters.get("until") {
        [] => Ok(None),
        [text] => times::parse_time_or_ago(text),
        _ => Err(ApiError::bad_request(
            "more than one until filter specified",
        )),
    }
}

impl Service {
    /// Removes containers that do not run.
    pub(crate) async fn prune_containers(
        self: &Arc<Self>,
        filters: &Filters,
    ) -> Result<ContainersPruned> {
        filters.allow_only(PRUNE_FILTERS)?;
        let until = until(filters)?;
        let mut pruned = ContainersPruned::default();
        for container in self.containers.all() {
            let wanted = {
                let record = container.record();
                matches!(
                    record.run.status,
                    Status::Created | Status::Exited | Status::Dead
                ) && filters.accepts_labels(&record.config.labels)
                    && until.is_none_or(|until| record.created < until)
            };
            if !wanted {
                continue;
            }
            let (size, _) = self.sizes(&container).await?;
            match self
                .remove(container.id(), RemoveContainer::default())
                .await
            {
                Ok(()) => {
                    pruned.containers_deleted.push(container.id().to_owned());
                    pruned.space_reclaimed += size;
                }
                Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        self.emit_prune("container", pruned.space_reclaimed);
        Ok(pruned)
    }

    /// Tells that unused objects of a kind were removed.
    pub(super) fn emit_prune(&self, kind: &str, reclaimed: i64) {
        let told = [("reclaimed", reclaimed.to_string())];
        let actor = crate::events::actor("", &std::collections::BTreeMap::new(), told);
        self.events.publish(kind, "prune", actor);
    }

    /// Removes networks that no container is to join.
    pub(crate) async fn prune_networks(self: &Arc<Self>, filters: &Filters) -> Result<Vec<String>> {
        filters.allow_only(PRUNE_FILTERS)?;
        let until = until(filters)?;
        let mut removed = Vec::new();
        for network in self.networks.records() {
            let used = self
                .containers
                .all()
                .iter()
                .any(|container| container.record().endpoints.contains_key(&network.name));
            let kept = used
                || network.name == "bridge"
                || !filters.accepts_labels(&network.labels)
                || until.is_some_and(|until| network.created >= until);
            if kept {
                continue;
            }
            self.network_remove(network.id.as_str()).await?;
            removed.push(network.name.clone());
        }
        self.emit_prune("network", 0);
        Ok(removed)
    }

    /// Removes volumes that no container has: anonymous ones, or all.
    pub(crate) async fn prune_volumes(
        self: &Arc<Self>,
        filters: &Filters,
    ) -> Result<(Vec<String>, u64)> {
        filters.allow_only(&["label", "label!", "all"])?;
        let filters = filters.clone();
        let pruned = self.blocking(move |service| {
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
                    .collect::<Vec<_>>(),
                space,
            ))
        });
        let (gone, space) = pruned.await?;
        self.emit_prune("volume", i64::try_from(space).unwrap_or(i64::MAX));
        Ok((gone, space))
    }

    /// Removes images that no container uses: those without a tag, or with the filter `dangling=false` all.
    pub(crate) async fn image_prune(self: &Arc<Self>, filters: &Filters) -> Result<ImagesPruned> {
        filters.allow_only(&["dangling", "label", "label!", "until"])?;
        // What is not understood must not remove anything.
        filters.check_flag("dangling")?;
        let all = filters
            .get("dangling")
            .iter()
            .any(|value| matches!(value.as_str(), "0" | "false" | "False"));
        let before = until(filters)?;
        let filters = filters.clone();
        let pruned = self.blocking(move |service| {
            let is_meant = |image: &Image| {
                let created = image.config.created.as_deref().map(str::parse::<Timestamp>);
                let is_old = before.is_none_or(|before| {
                    // An image of no known age is old.
                    created.is_none_or(|created| created.is_ok_and(|created| created < before))
                });
                (all || image.repo_tags.is_empty())
                    && is_old
                    && filters.accepts_labels(&image.config.config.labels)
            };
            let users = service.image_users();
            let (gone, space) = service
                .images
                .prune(&users, &is_meant)
                .map_err(image_error)?;
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
            let gone: Vec<ImageDelete> = gone.into_iter().map(tell).collect();
            Ok(ImagesPruned {
                images_deleted: gone,
                space_reclaimed: i64::try_from(space).unwrap_or(i64::MAX),
            })
        });
        let pruned = pruned.await?;
        self.emit_prune("image", pruned.space_reclaimed);
        Ok(pruned)
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
}
