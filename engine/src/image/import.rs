//! `image import`: a root file system becomes an image of one layer.

use std::io::Read;
use std::sync::Arc;

use super::change;
use super::config::{ContainerDefaults, HistoryEntry, ImageConfig, RootFs};
use super::error::ImageError;
use super::id::ImageId;
use super::layers::Pin;
use super::manifest::{CONFIG_TYPE, Descriptor, LAYER_TYPE, MANIFEST_TYPE, Manifest};
use super::store::{ImageStore, ImportOptions, NewImage, now};
use super::stream::Hashing;
use hoist_api::Digest;
use hoist_api::ImageRef;

/// What Docker writes when it is told nothing.
const DEFAULT_MESSAGE: &str = "Imported from -";

pub(super) fn import(
    store: &ImageStore,
    archive: &mut (dyn Read + Send),
    options: &ImportOptions,
) -> Result<ImageId, ImageError> {
    // Before the archive: a typing error should not cost a minute.
    let mut defaults = ContainerDefaults::default();
    change::apply_all(&mut defaults, &options.changes)
        .map_err(|error| ImageError::InvalidOption(error.to_string()))?;
    let (pin, digests) = store.layers().add(archive, Hashing::Both)?;
    let config = configuration(store, options, defaults, &pin);
    let layer = Descriptor::new(LAYER_TYPE, digests.plain, digests.plain_size);
    let names: Vec<_> = options.name.iter().cloned().collect();
    let pins = vec![Arc::new(pin)];
    let image = match equal_image(store, &config) {
        Some(known) => NewImage {
            names,
            pins,
            ..known
        },
        None => describe(
            config.clone(),
            to_json(&config)?,
            vec![layer],
            (names, pins),
        )?,
    };
    let id = image.id.clone();
    store.publish(vec![image])?;
    Ok(id)
}

/// Makes a manifest for a configuration that comes without one.
pub(super) fn describe(
    config: ImageConfig,
    config_text: Vec<u8>,
    layers: Vec<Descriptor>,
    (names, pins): (Vec<ImageRef>, Vec<Arc<Pin>>),
) -> Result<NewImage, ImageError> {
    let digest = Digest::of(&config_text);
    let described = Descriptor::new(CONFIG_TYPE, digest.clone(), config_text.len() as u64);
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE.to_owned(),
        config: described,
        layers,
        annotations: None,
    };
    let manifest_text = to_json(&manifest)?;
    Ok(NewImage {
        id: ImageId(digest),
        config,
        manifest,
        documents: [config_text, manifest_text],
        names,
        pins,
    })
}

pub(super) fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>, ImageError> {
    serde_json::to_vec(value).map_err(|error| {
        ImageError::InvalidOption(format!("the image cannot be described: {error}"))
    })
}

fn configuration(
    store: &ImageStore,
    options: &ImportOptions,
    defaults: ContainerDefaults,
    layer: &Pin,
) -> ImageConfig {
    let platform = options
        .platform
        .as_ref()
        .unwrap_or(&store.options().platform);
    let message = if options.message.is_empty() {
        DEFAULT_MESSAGE
    } else {
        &options.message
    };
    let created = Some(now());
    ImageConfig {
        created: created.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone(),
        os: platform.os.clone(),
        comment: message.to_owned(),
        config: defaults,
        rootfs: RootFs {
            diff_ids: vec![layer.diff_id.clone()],
            ..RootFs::default()
        },
        history: vec![HistoryEntry {
            created,
            comment: message.to_owned(),
            ..HistoryEntry::default()
        }],
        ..ImageConfig::default()
    }
}

/// An image that differs in nothing but its times. Taking it keeps the id, so that importing again does not recreate containers.
fn equal_image(store: &ImageStore, config: &ImageConfig) -> Option<NewImage> {
    let timeless = |config: &ImageConfig| {
        let mut config = config.clone();
        config.created = None;
        config
            .history
            .iter_mut()
            .for_each(|entry| entry.created = None);
        config
    };
    let wanted = timeless(config);
    let state = store.state();
    let (id, record) = state
        .images
        .iter()
        .find(|(_, record)| timeless(&record.config) == wanted)?;
    let documents = [
        store.layout().read(&id.0)?,
        store.layout().read(&record.manifest_digest)?,
    ];
    let config = (*record.config).clone();
    Some(NewImage {
        id: id.clone(),
        config,
        manifest: record.manifest.clone(),
        documents,
        names: Vec::new(),
        pins: Vec::new(),
    })
}
