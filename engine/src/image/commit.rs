//! A new layer on top of an image: what `docker commit` makes of a container's writable layer.

use std::io::Read;
use std::sync::Arc;

use hoist_api::ImageRef;

use super::config::{ContainerDefaults, HistoryEntry};
use super::error::ImageError;
use super::id::ImageId;
use super::import::{describe, to_json};
use super::manifest::{Descriptor, LAYER_TYPE};
use super::store::{ImageStore, now};

/// What the new image is.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// Id of the image below.
    pub base: String,
    /// The name to give; none leaves the image without a name.
    pub name: Option<ImageRef>,
    /// What containers of the new image run with.
    pub config: ContainerDefaults,
    /// Who made it.
    pub author: String,
    /// The comment in the history.
    pub comment: String,
    /// The command that made the layer, for the history.
    pub created_by: String,
}

pub(super) fn commit(
    store: &ImageStore,
    layer: &mut (dyn Read + Send),
    options: CommitOptions,
) -> Result<ImageId, ImageError> {
    let missing = || ImageError::NotFound(options.base.clone());
    let (mut config, mut layers) = {
        let state = store.state();
        let record = state
            .images
            .get(&state.resolve(&options.base)?)
            .ok_or_else(missing)?;
        ((*record.config).clone(), record.manifest.layers.clone())
    };
    let mut pins = Vec::new();
    for diff_id in &config.rootfs.diff_ids {
        pins.push(Arc::new(store.layers().pin(diff_id).ok_or_else(missing)?));
    }
    let (pin, digests) = store.layers().add(layer)?;
    layers.push(Descriptor::new(
        LAYER_TYPE,
        digests.plain,
        digests.plain_size,
    ));
    let created = Some(now());
    config.rootfs.diff_ids.push(pin.diff_id.clone());
    config.history.push(HistoryEntry {
        created: created.clone(),
        created_by: options.created_by,
        author: options.author.clone(),
        comment: options.comment.clone(),
        ..HistoryEntry::default()
    });
    config.created = created;
    config.author = options.author;
    config.comment = options.comment;
    config.config = options.config;
    config.parent = options.base;
    pins.push(Arc::new(pin));
    let text = to_json(&config)?;
    let names = options.name.into_iter().collect();
    let image = describe(config, text, layers, (names, pins))?;
    let id = image.id.clone();
    store.publish(vec![image])?;
    Ok(id)
}
