//! A new layer on top of an image: what `docker commit` makes of a container's writable layer.

use std::io::Read;

use hoist_api::ImageRef;

use super::config::{ContainerDefaults, HistoryEntry};
use super::error::ImageError;
use super::id::ImageId;
use super::made::NewContent;
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
    let (base, mut layers) = store.hold(&options.base)?;
    let mut config = {
        let state = store.state();
        let record = state.images.get(&base.id);
        let missing = || ImageError::NotFound(options.base.clone());
        (*record.ok_or_else(missing)?.config).clone()
    };
    layers.push(store.add_layer(layer)?);
    let created = Some(now());
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
    store.create_image(NewContent {
        config,
        layers,
        names: options.name.into_iter().collect(),
    })
}
