//! The volumes API.

use std::sync::Arc;

use hoist_api::Filters;
use hoist_api::error::{ApiError, Result};
use hoist_api::volume::{Volume, VolumeCreate, VolumeList, VolumeUsage};
use hoist_volumes::{CreateVolume, VolumeError};

use super::{Service, volume_error};
use crate::events;

const FILTERS: &[&str] = &["dangling", "driver", "label", "name"];

impl Service {
    /// Lists volumes.
    pub(crate) fn volumes(&self, filters: &Filters) -> Result<VolumeList> {
        filters.allow_only(FILTERS)?;
        filters.check_flag("dangling")?;
        let users = self.volume_users(None);
        let volumes = self.volumes.list().into_iter().filter(|volume| {
            let dangling = !users.contains_key(&volume.name);
            filters.accepts_labels(&volume.labels)
                && filters.accepts("name", |wanted| {
                    super::list::pattern_matches(wanted, volume.name.as_str())
                })
                && filters.accepts("driver", |wanted| *wanted == volume.driver)
                && filters.accepts("dangling", |wanted| {
                    matches!(wanted.as_str(), "1" | "true" | "True") == dangling
                })
        });
        Ok(VolumeList {
            volumes: volumes.map(wire).collect(),
            warnings: None,
        })
    }

    /// All volumes with their sizes and users.
    pub(super) async fn volumes_with_usage(self: &Arc<Self>) -> Result<Vec<Volume>> {
        self.blocking(|service| {
            let users = service.volume_users(None);
            let with_usage = |volume: hoist_volumes::Volume| {
                let size = service
                    .volumes
                    .size(volume.name.as_str())
                    .map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX));
                let count = users.get(&volume.name).map_or(0, Vec::len);
                Volume {
                    usage_data: Some(VolumeUsage {
                        size,
                        ref_count: i64::try_from(count).unwrap_or(0),
                    }),
                    ..wire(volume)
                }
            };
            Ok(service.volumes.list().into_iter().map(with_usage).collect())
        })
        .await
    }

    /// Everything about a volume.
    pub(crate) fn volume_inspect(&self, name: &str) -> Result<Volume> {
        self.volumes.inspect(name).map(wire).map_err(volume_error)
    }

    /// Creates a volume; the same one again is no error.
    pub(crate) async fn volume_create(self: &Arc<Self>, body: VolumeCreate) -> Result<Volume> {
        let name = body.name.clone();
        let made = self.make_volume(body).await;
        made.map_err(|error| ApiError {
            message: format!("create {name}: {}", error.message),
            ..error
        })
    }

    async fn make_volume(self: &Arc<Self>, body: VolumeCreate) -> Result<Volume> {
        let request = CreateVolume {
            name: if body.name.is_empty() {
                None
            } else {
                Some(body.name.parse().map_err(volume_error)?)
            },
            driver: body.driver,
            driver_opts: body.driver_opts,
            labels: body.labels,
        };
        let (volume, existed) = self
            .blocking(move |service| {
                let existed = request
                    .name
                    .as_ref()
                    .is_some_and(|name| service.volumes.inspect(name.as_str()).is_ok());
                Ok((
                    service.volumes.create(request).map_err(volume_error)?,
                    existed,
                ))
            })
            .await?;
        if !existed {
            self.emit_volume("create", volume.name.as_str());
        }
        Ok(wire(volume))
    }

    /// Removes a volume that nothing uses; with `force` a missing one is no error.
    pub(crate) async fn volume_remove(self: &Arc<Self>, name: &str, force: bool) -> Result<()> {
        let wanted = name.to_owned();
        let removed = self
            .blocking(move |service| {
                match service.volumes.remove(&wanted, &service.volume_users(None)) {
                    Err(VolumeError::NotFound(_)) if force => Ok(false),
                    result => result.map(|()| true).map_err(volume_error),
                }
            })
            .await?;
        if removed {
            self.emit_volume("destroy", name);
        }
        Ok(())
    }

    /// Tells that a container's volumes are in use now, or no longer.
    pub(super) fn emit_volume_use(&self, action: &str, container: &crate::containers::Container) {
        let record = container.snapshot();
        for mount in &record.mounts {
            let crate::store::container::MountSource::Volume { name, .. } = &mount.source else {
                continue;
            };
            let attributes = [
                ("driver", "local".to_owned()),
                ("container", record.id.to_string()),
                ("destination", mount.target.clone()),
                ("propagation", mount.propagation.clone()),
                ("read/write", (!mount.read_only).to_string()),
            ];
            // Docker says of the end only whose it was.
            let attributes = attributes
                .into_iter()
                .take(if action == "mount" { 5 } else { 2 });
            let mut actor = events::actor(name, &std::collections::BTreeMap::new(), []);
            actor
                .attributes
                .extend(attributes.map(|(key, value)| (key.to_owned(), value)));
            self.events.publish("volume", action, actor);
        }
    }

    fn emit_volume(&self, action: &str, name: &str) {
        let actor = events::actor(
            name,
            &std::collections::BTreeMap::new(),
            [("driver", "local".to_owned())],
        );
        self.events.publish("volume", action, actor);
    }
}

fn wire(volume: hoist_volumes::Volume) -> Volume {
    Volume {
        name: volume.name.to_string(),
        driver: volume.driver,
        mountpoint: volume.mountpoint.to_string_lossy().into_owned(),
        created_at: volume.created_at,
        scope: "local".to_owned(),
        labels: volume.labels,
        options: if volume.driver_opts.is_empty() {
            None
        } else {
            Some(volume.driver_opts)
        },
        usage_data: None,
    }
}
