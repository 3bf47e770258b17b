//! Pushing: layers that the registry has are not sent, others are made again from the unpacked trees, compressed and sent, then the manifest.
//!
//! An image that came from a registry and whose archives the target has goes there with the very manifest that it came with, so that its
//! digest stays. Anything else gets an OCI manifest.

use std::io;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hoist_api::ImageRef;
use hoist_api::error::{ApiError, Result};
use hoist_api::image::Progress;
use hoist_registry::auth::AuthConfig;
use hoist_registry::manifest::{CONFIG_TYPE, Descriptor, GZIP_LAYER_TYPE, MANIFEST_TYPE, Manifest};
use hoist_registry::{BlobFile, Repository};
use serde_json::json;

use super::registry::registry_error;
use super::report::Reporter;
use super::{Service, image_error};
use crate::image::{HeldLayer, ImageError, Origin, StoredDocuments};

/// Layers that one push works on at a time; compressing takes a core each.
const AT_A_TIME: usize = 3;
/// Repositories of the same registry that are tried for a mount.
const MOUNT_LIMIT: usize = 4;

/// What is to be pushed.
#[derive(Debug, Clone)]
pub(crate) struct PushRequest {
    pub(crate) image: ImageRef,
    pub(crate) auth: AuthConfig,
    /// Whether it is another tag of a repository that has been named already.
    pub(crate) goes_on: bool,
}

impl Service {
    /// Pushes an image under its name.
    pub(crate) async fn image_push(
        self: &Arc<Self>,
        request: &PushRequest,
        reporter: &Reporter,
    ) -> Result<()> {
        tokio::select! {
            pushed = self.push(request, reporter) => pushed,
            () = reporter.closed() => Err(ApiError::internal(&io::Error::other("the client went away"))),
        }
    }

    /// The names of a repository that can be pushed, for a push of all of them.
    pub(crate) fn tags_of(&self, repository: &ImageRef) -> Result<Vec<ImageRef>> {
        let tags: Vec<ImageRef> = self
            .images
            .list()
            .iter()
            .flat_map(|image| image.repo_tags.iter())
            .filter_map(|tag| tag.parse::<ImageRef>().ok())
            .filter(|tag| tag.same_repository(repository))
            .collect();
        if tags.is_empty() {
            return Err(ApiError::not_found(format!(
                "An image does not exist locally with the tag: {}",
                repository.familiar_repository()
            )));
        }
        Ok(tags)
    }

    async fn push(self: &Arc<Self>, request: &PushRequest, reporter: &Reporter) -> Result<()> {
        let image = &request.image;
        let words = format!(
            "The push refers to repository [{}/{}]",
            image.domain(),
            image.path()
        );
        let held = self.images.hold(&image.full());
        let (stored, layers) = held.map_err(|error| match error {
            ImageError::NotFound(_) => ApiError::not_found(format!(
                "An image does not exist locally with the tag: {}",
                image.familiar_repository()
            )),
            error => image_error(error),
        })?;
        if !request.goes_on {
            reporter.say("", words).await;
        }
        let repository = self.repository(image, &request.auth)?;
        let documents = {
            let id = stored.id.clone();
            let read =
                self.blocking(move |service| service.images.documents(&id).map_err(image_error));
            read.await?
        };
        for layer in &layers {
            reporter.say(layer.diff_id().short(), "Preparing").await;
        }
        let known = documents.manifest.layers.iter().cloned().map(Some);
        let known = known.chain(std::iter::repeat(None));
        let pairs: Vec<(HeldLayer, Option<Descriptor>)> = layers.into_iter().zip(known).collect();
        let repository_of = &repository;
        let blobs: Vec<Descriptor> = stream::iter(pairs)
            .map(|(layer, known)| async move {
                self.push_layer(repository_of, (&layer, known.as_ref()), reporter)
                    .await
            })
            .buffered(AT_A_TIME)
            .try_collect()
            .await?;
        self.push_small(&repository, &documents.config).await?;
        let (text, media_type) = manifest_for(&documents, blobs)?;
        let tag = image.tag().map(str::to_owned);
        let name = tag
            .clone()
            .unwrap_or_else(|| hoist_api::Digest::of(&text).to_string());
        let digest = repository
            .put_manifest(&name, &media_type, &text)
            .await
            .map_err(registry_error)?;
        let told = image.with_digest(digest.clone());
        self.blocking(move |service| {
            let id = stored.id.to_string();
            service.images.tag(&id, &told).map_err(image_error)
        })
        .await?;
        reporter
            .say("", format!("{name}: digest: {digest} size: {}", text.len()))
            .await;
        reporter
            .send(Progress {
                aux: Some(json!({"Tag": name, "Digest": digest.as_str(), "Size": text.len()})),
                ..Progress::default()
            })
            .await;
        self.emit_image("push", &image.familiar(), &image.familiar());
        Ok(())
    }

    /// Sees to it that the repository has the layer's archive; how it is described.
    pub(super) async fn push_layer(
        self: &Arc<Self>,
        repository: &Repository,
        (layer, known): (&HeldLayer, Option<&Descriptor>),
        reporter: &Reporter,
    ) -> Result<Descriptor> {
        let (short, image) = (layer.diff_id().short(), repository.image());
        if let Some(blob) = self
            .find_there(repository, (layer, known), reporter)
            .await?
        {
            self.images.remember_origin(layer.diff_id(), image, &blob);
            return Ok(blob);
        }
        reporter.say(short, "Compressing").await;
        let compressed = {
            let layer = layer.clone();
            self.blocking(move |service| service.images.compress(&layer).map_err(image_error))
                .await?
        };
        let blob = Descriptor::new(GZIP_LAYER_TYPE, compressed.digest.clone(), compressed.size);
        let is_there = repository
            .blob_size(&blob.digest)
            .await
            .map_err(registry_error)?
            .is_some();
        if is_there {
            reporter.say(short, "Layer already exists").await;
        } else {
            let counter = reporter.count(short, "Pushing", blob.size);
            repository
                .upload(&compressed, &|sent| counter.set(sent))
                .await
                .map_err(registry_error)?;
            reporter.say(short, "Pushed").await;
        }
        self.images.remember_origin(layer.diff_id(), image, &blob);
        Ok(blob)
    }

    /// Looks for an archive of the layer in the registry, and has it mounted from another repository when it is there.
    async fn find_there(
        self: &Arc<Self>,
        repository: &Repository,
        (layer, known): (&HeldLayer, Option<&Descriptor>),
        reporter: &Reporter,
    ) -> Result<Option<Descriptor>> {
        let (short, image) = (layer.diff_id().short(), repository.image());
        let origins = self.images.origins(layer.diff_id());
        let is_same = |origin: &&Origin| origin.domain == image.domain();
        let mut here: Vec<&Origin> = origins.iter().filter(is_same).collect();
        here.sort_by_key(|origin| origin.repository != image.path());
        for origin in here.into_iter().take(MOUNT_LIMIT) {
            if origin.repository == image.path() {
                let found = repository.blob_size(&origin.blob.digest).await;
                if found.map_err(registry_error)?.is_some() {
                    reporter.say(short, "Layer already exists").await;
                    return Ok(Some(origin.blob.clone()));
                }
            } else {
                let mounted = repository
                    .mount(&origin.blob.digest, &origin.repository)
                    .await;
                if mounted.map_err(registry_error)? {
                    let from = format!("Mounted from {}", origin.repository);
                    reporter.say(short, from).await;
                    return Ok(Some(origin.blob.clone()));
                }
            }
        }
        // An archive that came compressed may be there without our having put it.
        let Some(known) = known.filter(|known| is_compressed(known)) else {
            return Ok(None);
        };
        let found = repository.blob_size(&known.digest).await;
        if found.map_err(registry_error)?.is_none() {
            return Ok(None);
        }
        reporter.say(short, "Layer already exists").await;
        Ok(Some(known.clone()))
    }

    /// Sees to it that the repository has a small blob.
    pub(super) async fn push_small(&self, repository: &Repository, content: &[u8]) -> Result<()> {
        let digest = hoist_api::Digest::of(content);
        let found = repository.blob_size(&digest).await;
        if found.map_err(registry_error)?.is_some() {
            return Ok(());
        }
        let written = crate::image::small_file(content);
        let blob = BlobFile {
            file: Arc::new(written.map_err(|error| ApiError::internal(&error))?),
            digest,
            size: content.len() as u64,
        };
        repository
            .upload(&blob, &|_| {})
            .await
            .map_err(registry_error)
    }
}

fn is_compressed(blob: &Descriptor) -> bool {
    blob.media_type.ends_with("gzip") || blob.media_type.ends_with("zstd")
}

/// The manifest that the image came with, when it describes what is there now; else a new one.
fn manifest_for(documents: &StoredDocuments, blobs: Vec<Descriptor>) -> Result<(Vec<u8>, String)> {
    let stored = &documents.manifest;
    let digests =
        |blobs: &[Descriptor]| -> Vec<_> { blobs.iter().map(|blob| blob.digest.clone()).collect() };
    if digests(&stored.layers) == digests(&blobs) && stored.layers.iter().all(is_compressed) {
        let media_type = if stored.media_type.is_empty() {
            MANIFEST_TYPE
        } else {
            &stored.media_type
        };
        return Ok((documents.manifest_text.clone(), media_type.to_owned()));
    }
    // Docker's names of the same kinds become OCI's: a manifest must not mix them.
    let layers = blobs.into_iter().map(|blob| {
        let media_type = if blob.media_type.ends_with("zstd") {
            "application/vnd.oci.image.layer.v1.tar+zstd"
        } else {
            GZIP_LAYER_TYPE
        };
        Descriptor::new(media_type, blob.digest, blob.size)
    });
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE.to_owned(),
        config: Descriptor::new(
            CONFIG_TYPE,
            stored.config.digest.clone(),
            documents.config.len() as u64,
        ),
        layers: layers.collect(),
        annotations: None,
    };
    let text = serde_json::to_vec(&manifest).map_err(|error| ApiError::internal(&error))?;
    Ok((text, MANIFEST_TYPE.to_owned()))
}
