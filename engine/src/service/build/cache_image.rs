//! Build caches in registries: `type=registry`, a repository of the cache's own, and `type=inline`, notes in the configuration of the image
//! that was built.
//!
//! A cache of its own is an OCI manifest. Its configuration is of [`CACHE_TYPE`] and has the steps; its layers are the steps' layers, in the
//! order that the configuration lists them by their diff-ids. So every registry keeps it as it keeps images, and layers that an image of
//! the same repository has are not sent twice. BuildKit's caches are told from ours by their types and are not used: their keys are
//! digests of BuildKit's own graphs.
//!
//! A layer is only taken when it has the digest that its step's record says.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use hoist_api::error::{ApiError, Result};
use hoist_api::{Digest, ImageRef};
use hoist_registry::manifest::{Descriptor, Document, MANIFEST_TYPE, Manifest};
use hoist_registry::{Platform, Source};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::logins::Logins;
use crate::build::cache::Record;
use crate::build::exchange::{Document as Steps, LayerSource};
use crate::image::{HeldLayer, ImageConfig};
use crate::service::Service;
use crate::service::pull::{PulledReader, QUEUE};
use crate::service::registry::registry_error;
use crate::service::report::Reporter;

/// What the configuration of a cache is.
const CACHE_TYPE: &str = "application/vnd.hoist.buildcache.v1+json";
/// What BuildKit's is, in a manifest or in an index.
const BUILDKIT_TYPE: &str = "application/vnd.buildkit.cacheconfig.v0";

/// Steps that were found in a registry, and where their layers are.
pub(super) type Found = (BTreeMap<String, Record>, Arc<dyn LayerSource>);

/// Looks for steps under an image's name.
///
/// # Errors
/// There is nothing of the name, it may not be seen, or it holds no steps of ours.
pub(super) async fn read(service: &Service, reference: &str, logins: &Logins) -> Result<Found> {
    let image = name(reference)?;
    let auth = logins.of(image.domain()).await?;
    let repository = service.repository(&image, &auth)?;
    let fetched = repository.manifest().await.map_err(registry_error)?;
    let (manifest, source) = match fetched.document {
        Document::Index(index) if index.manifests.iter().any(is_buildkits) => {
            return Err(not_ours(
                reference,
                "was written by BuildKit, whose steps have other keys",
            ));
        }
        Document::Index(_) => {
            let chosen = repository.find(&Platform::host()).await;
            let chosen = chosen.map_err(registry_error)?;
            (chosen.manifest, chosen.source)
        }
        Document::Manifest(manifest) => {
            let origin = repository.sources().last();
            let origin = origin.ok_or_else(|| not_ours(reference, "cannot be fetched"))?;
            (manifest, origin)
        }
    };
    if is_buildkits(&manifest.config) {
        return Err(not_ours(
            reference,
            "was written by BuildKit, whose steps have other keys",
        ));
    }
    let text = source.small_blob(&manifest.config).await;
    let text = text.map_err(registry_error)?;
    let (steps, diff_ids) = steps_of(&manifest, &text)
        .ok_or_else(|| not_ours(reference, "has no notes of a build's steps"))?;
    let blobs = diff_ids.into_iter().zip(manifest.layers).collect();
    let layers = RemoteLayers {
        source,
        blobs,
        runtime: Handle::current(),
    };
    Ok((steps, Arc::new(layers)))
}

/// The steps whose notes an image of the store carries.
pub(super) fn of_image(service: &Service, reference: &str) -> Option<Found> {
    let image = service.images.resolve(reference).ok()?;
    let document: Steps = serde_json::from_value(image.config.build_cache.clone()?).ok()?;
    Some((document.steps, Arc::new(Here)))
}

/// Leaves steps in a registry under an image's name.
///
/// # Errors
/// The registry does not take them.
pub(super) async fn write(
    service: &Arc<Service>,
    reference: &str,
    (logins, steps): (&Logins, Vec<(String, Record)>),
) -> Result<()> {
    let image = name(reference)?;
    let auth = logins.of(image.domain()).await?;
    let repository = service.repository(&image, &auth)?;
    // Nobody follows the lines; the build waits for the end.
    let (lines, mut told) = mpsc::channel(QUEUE);
    tokio::spawn(async move { while told.recv().await.is_some() {} });
    let reporter = Reporter::new(lines);
    let mut document = Steps::default();
    let mut layers: Vec<Descriptor> = Vec::new();
    for (key, record) in steps {
        if let Some(diff_id) = record
            .layer
            .as_ref()
            .filter(|layer| !document.layers.contains(layer))
        {
            let Some(held) = service.images.hold_layer(diff_id) else {
                continue;
            };
            let pushed = service.push_layer(&repository, (&held, None), &reporter);
            layers.push(pushed.await?);
            document.layers.push(diff_id.clone());
        }
        document.steps.insert(key, record);
    }
    let failed = |error: serde_json::Error| ApiError::internal(&error);
    let config = serde_json::to_vec(&document).map_err(failed)?;
    service.push_small(&repository, &config).await?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE.to_owned(),
        config: Descriptor::new(CACHE_TYPE, Digest::of(&config), config.len() as u64),
        layers,
        annotations: None,
    };
    let text = serde_json::to_vec(&manifest).map_err(failed)?;
    let tag = image.tag().unwrap_or("latest");
    let put = repository.put_manifest(tag, MANIFEST_TYPE, &text).await;
    put.map(drop).map_err(registry_error)
}

/// Whether an image of these layers has what a step made; a step that changed nothing is in every image.
pub(super) fn is_in_image(record: &Record, layers: &[HeldLayer]) -> bool {
    let layer = record.layer.as_ref();
    layer.is_none_or(|layer| layers.iter().any(|held| held.diff_id() == layer))
}

/// The notes that an image of these layers carries: the steps that made them, and those that changed nothing. The times of their last use
/// stay out, so that the same build gives the same image.
pub(super) fn inline(
    steps: Vec<(String, Record)>,
    layers: &[HeldLayer],
) -> std::result::Result<serde_json::Value, serde_json::Error> {
    let steps = steps
        .into_iter()
        .filter(|(_, record)| is_in_image(record, layers));
    let steps = steps.map(|(key, record)| {
        let used = record.made;
        (key, Record { used, ..record })
    });
    let mut document = Steps::default();
    document.steps.extend(steps);
    serde_json::to_value(document)
}

/// The steps, and what the manifest's layers are.
fn steps_of(manifest: &Manifest, config: &[u8]) -> Option<(BTreeMap<String, Record>, Vec<Digest>)> {
    if manifest.config.media_type == CACHE_TYPE {
        let document: Steps = serde_json::from_slice(config).ok()?;
        return Some((document.steps, document.layers));
    }
    let config: ImageConfig = serde_json::from_slice(config).ok()?;
    let document: Steps = serde_json::from_value(config.build_cache?).ok()?;
    Some((document.steps, config.rootfs.diff_ids))
}

fn is_buildkits(descriptor: &Descriptor) -> bool {
    descriptor.media_type == BUILDKIT_TYPE
}

fn name(reference: &str) -> Result<ImageRef> {
    reference.parse().map_err(|error| {
        ApiError::bad_request(format!("{reference:?} is not an image's name: {error}"))
    })
}

fn not_ours(reference: &str, why: &str) -> ApiError {
    ApiError::bad_request(format!("{reference} {why}"))
}

/// Layers that the store has, or nobody.
#[derive(Debug)]
struct Here;

impl LayerSource for Here {
    fn archive(&self, _: &Digest) -> Option<Box<dyn Read + Send>> {
        None
    }
}

/// The layers of a manifest.
#[derive(Debug)]
struct RemoteLayers {
    source: Source,
    blobs: BTreeMap<Digest, Descriptor>,
    runtime: Handle,
}

impl LayerSource for RemoteLayers {
    fn archive(&self, diff_id: &Digest) -> Option<Box<dyn Read + Send>> {
        let mut reader = self.source.blob(self.blobs.get(diff_id)?);
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.runtime.spawn(async move {
            loop {
                let piece = reader.next().await;
                let is_last = !matches!(piece, Ok(Some(_)));
                if sender.send(piece).await.is_err() || is_last {
                    return;
                }
            }
        });
        Some(Box::new(PulledReader::new(receiver)))
    }
}
