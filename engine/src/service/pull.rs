//! Pulling: the manifest, then all layers at a time, each fetched, decompressed, hashed and unpacked in one pass, then the image's names.
//!
//! Whoever wants a layer that another pull is fetching waits for that one and finds it made. A pull whose client goes away ends; the
//! layers that it had finished are kept for the next.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use hoist_api::error::{ApiError, Result, chain};
use hoist_api::{Digest, ImageRef};
use hoist_registry::auth::AuthConfig;
use hoist_registry::manifest::Descriptor;
use hoist_registry::{BlobReader, Chosen, Platform, RegistryError, Source};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::registry::registry_error;
use super::report::Reporter;
use super::{Service, image_error};
use crate::image::{HeldLayer, ImageId, PulledImage, human};

/// Layers that one pull works on at a time.
const AT_A_TIME: usize = 4;
/// Pieces of a layer that wait for the decompressor. A piece has at most some hundred kB; twice as many are no faster.
pub(super) const QUEUE: usize = 4;

/// Which layers are being fetched just now.
#[derive(Debug, Default)]
pub(crate) struct Fetching {
    locks: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

impl Fetching {
    /// The lock of a blob; whoever has it fetches.
    fn of(&self, blob: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(blob).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        locks.insert(blob.clone(), Arc::downgrade(&lock));
        lock
    }
}

/// What is to be pulled.
#[derive(Debug, Clone)]
pub(crate) struct PullRequest {
    pub(crate) image: ImageRef,
    /// None for the machine's own.
    pub(crate) platform: Option<Platform>,
    pub(crate) auth: AuthConfig,
}

impl Service {
    /// Pulls an image; returns its id.
    pub(crate) async fn image_pull(
        self: &Arc<Self>,
        request: &PullRequest,
        reporter: &Reporter,
    ) -> Result<ImageId> {
        tokio::select! {
            pulled = self.pull(request, reporter) => pulled,
            () = reporter.closed() => Err(ApiError::internal(&io::Error::other("the client went away"))),
        }
    }

    /// Pulls every tag of a repository, one after the other, as far as the platform is there.
    pub(crate) async fn image_pull_all(
        self: &Arc<Self>,
        request: &PullRequest,
        reporter: &Reporter,
    ) -> Result<()> {
        let repository = self.repository(&request.image, &request.auth)?;
        let tags = repository.tags().await.map_err(registry_error)?;
        if tags.is_empty() {
            let name = request.image.familiar_repository();
            return Err(ApiError::not_found(format!("{name} has no tags")));
        }
        for tag in tags {
            let request = PullRequest {
                image: request
                    .image
                    .with_tag(&tag)
                    .map_err(|error| ApiError::bad_request(error.to_string()))?,
                ..request.clone()
            };
            self.image_pull(&request, reporter).await?;
        }
        Ok(())
    }

    async fn pull(self: &Arc<Self>, request: &PullRequest, reporter: &Reporter) -> Result<ImageId> {
        let image = &request.image;
        let repository = self.repository(image, &request.auth)?;
        let platform = request.platform.clone().unwrap_or_else(Platform::host);
        let what = match (image.tag(), image.digest()) {
            (Some(tag), None) => tag.to_owned(),
            (_, Some(digest)) => digest.to_string(),
            (None, None) => String::new(),
        };
        let from = format!("Pulling from {}", image.path());
        let chosen = repository.find(&platform).await.map_err(registry_error)?;
        reporter.say(&what, from).await;
        let pulled = self.documents(&chosen).await?;
        let layers = self.layers(&pulled, &chosen, (image, reporter)).await?;
        let id = pulled.id.clone();
        let names = [
            image.digest().is_none().then(|| image.clone()),
            Some(image.with_digest(chosen.digest.clone())),
        ];
        let names = names.into_iter().flatten().collect();
        let changed = self
            .blocking(move |service| {
                let finished = service.images.finish_pull(pulled, names, &layers);
                finished.map_err(image_error)
            })
            .await?;
        let familiar = image.familiar();
        let outcome = if changed {
            "Downloaded newer image for"
        } else {
            "Image is up to date for"
        };
        reporter.say("", format!("Digest: {}", chosen.digest)).await;
        reporter
            .say("", format!("Status: {outcome} {familiar}"))
            .await;
        // An image without a list is what its registry has: it is kept, and told.
        if let Some(platform) = &request.platform
            && let Err(other) = self.check_platform(&familiar, &platform.to_string())
        {
            reporter.say("", format!("WARNING: {other}")).await;
        }
        self.emit_image("pull", &familiar, &familiar);
        Ok(id)
    }

    /// The configuration, from the store when it is there.
    async fn documents(self: &Arc<Self>, chosen: &Chosen) -> Result<PulledImage> {
        let known = {
            let digest = chosen.manifest.config.digest.clone();
            self.blocking(move |service| Ok(service.images.document(&digest)))
                .await?
        };
        let config = match known {
            Some(known) => known,
            None => chosen
                .small_blob(&chosen.manifest.config)
                .await
                .map_err(registry_error)?,
        };
        PulledImage::new(chosen.manifest.clone(), chosen.text.clone(), config).map_err(image_error)
    }

    async fn layers(
        self: &Arc<Self>,
        pulled: &PulledImage,
        chosen: &Chosen,
        (image, reporter): (&ImageRef, &Reporter),
    ) -> Result<Vec<HeldLayer>> {
        // As with Docker, an image that is there is not told layer by layer, and a layer that is there in one word.
        if let Some(held) = self.held(pulled) {
            for (blob, diff_id) in pulled.layers() {
                self.images.remember_origin(diff_id, image, blob);
            }
            return Ok(held);
        }
        for (blob, diff_id) in pulled.layers() {
            if self.images.hold_layer(diff_id).is_none() {
                reporter.say(blob.digest.short(), "Pulling fs layer").await;
            }
        }
        let mut wanted: Vec<(usize, Descriptor, Digest)> = pulled
            .layers()
            .enumerate()
            .map(|(place, (blob, diff_id))| (place, blob.clone(), diff_id.clone()))
            .collect();
        // The largest first: begun last, it would be worked on alone in the end.
        wanted.sort_by_key(|(_, blob, _)| std::cmp::Reverse(blob.size));
        let given_up = &CancellationToken::new();
        let mut running = stream::iter(wanted)
            .map(|(place, blob, diff_id)| async move {
                let how = (reporter, given_up);
                let layer = self.layer(chosen, (&blob, &diff_id), how).await?;
                self.images.remember_origin(&diff_id, image, &blob);
                Ok::<_, ApiError>((place, layer))
            })
            .buffer_unordered(AT_A_TIME);
        let (mut layers, mut failure) = (Vec::new(), None);
        while let Some(done) = running.next().await {
            match done {
                Ok(layer) => layers.push(layer),
                // What runs is ended before that is told: nothing comes into the store after a pull that failed.
                Err(error) => {
                    given_up.cancel();
                    failure.get_or_insert(error);
                }
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        layers.sort_by_key(|(place, _)| *place);
        Ok(layers.into_iter().map(|(_, layer)| layer).collect())
    }

    /// The layers of an image that is there.
    fn held(&self, pulled: &PulledImage) -> Option<Vec<HeldLayer>> {
        self.images.resolve(&pulled.id.to_string()).ok()?;
        let layers = pulled.layers();
        layers
            .map(|(_, diff_id)| self.images.hold_layer(diff_id))
            .collect()
    }

    async fn layer(
        self: &Arc<Self>,
        chosen: &Chosen,
        (blob, diff_id): (&Descriptor, &Digest),
        (reporter, given_up): (&Reporter, &CancellationToken),
    ) -> Result<HeldLayer> {
        let no_more = || ApiError::internal(&io::Error::other("the pull was given up"));
        if given_up.is_cancelled() {
            return Err(no_more());
        }
        let short = blob.digest.short();
        let lock = self.fetching.of(&blob.digest);
        let _turn = match lock.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                reporter.say(short, "Waiting").await;
                tokio::select! {
                    turn = lock.lock() => turn,
                    () = given_up.cancelled() => return Err(no_more()),
                }
            }
        };
        if let Some(layer) = self.images.hold_layer(diff_id) {
            reporter.say(short, "Already exists").await;
            return Ok(layer);
        }
        let mut places = chosen.sources().peekable();
        let layer = loop {
            let Some(place) = places.next() else {
                return Err(ApiError::internal(&io::Error::other("no host is known")));
            };
            let how = (reporter, given_up);
            match self.fetched(place, (blob, diff_id), how).await {
                Err(FetchError::Registry(error))
                    if places.peek().is_some()
                        && error.is_worth_a_mirror()
                        && !given_up.is_cancelled() =>
                {
                    place.is_given_up(&error);
                    reporter.say(short, "Retrying from the next mirror").await;
                }
                fetched => break fetched?,
            }
        };
        reporter.say(short, "Pull complete").await;
        Ok(layer)
    }

    /// Fetches a layer from one place and unpacks it.
    async fn fetched(
        self: &Arc<Self>,
        place: &Source,
        (blob, diff_id): (&Descriptor, &Digest),
        (reporter, given_up): (&Reporter, &CancellationToken),
    ) -> std::result::Result<HeldLayer, FetchError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let reader = place.blob(blob);
        let short = blob.digest.short();
        // A task of its own, so that layers are hashed on several cores; it ends with the set when the pull is given up.
        let mut fetch = tokio::task::JoinSet::new();
        fetch.spawn(feed(reader, sender, short.to_owned(), reporter.clone()));
        let unpack = {
            let (blob, diff_id) = (blob.clone(), diff_id.clone());
            self.blocking(move |service| {
                let mut archive = PulledReader::new(receiver);
                let unpacked = service
                    .images
                    .add_pulled_layer(&mut archive, (&blob, &diff_id));
                // What the registry did wrong says more than what it did to the archive.
                let unpacked = unpacked.map_err(|error| match archive.failure {
                    Some(failure) => FetchError::Registry(failure),
                    None => FetchError::Other(image_error(error)),
                });
                Ok(unpacked.map(|layer| (layer, archive.waited)))
            })
        };
        let begun = Instant::now();
        let fetching = async {
            tokio::select! {
                _ = fetch.join_next() => {}
                // The unpacker ends when nobody feeds it.
                () = given_up.cancelled() => fetch.abort_all(),
            }
        };
        let ((), unpacked) = tokio::join!(fetching, unpack);
        let (layer, waited) = unpacked.map_err(FetchError::Other)??;
        let told = format!(
            "Extracted {} to {} of files in {:.2}s, of which {:.2}s waiting for the registry",
            human(blob.size),
            human(layer.size()),
            begun.elapsed().as_secs_f64(),
            waited.as_secs_f64()
        );
        reporter.say(short, told).await;
        Ok(layer)
    }
}

/// Why a layer did not come.
#[derive(Debug)]
enum FetchError {
    /// Another place may give it.
    Registry(RegistryError),
    Other(ApiError),
}

impl From<FetchError> for ApiError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Registry(error) => registry_error(error),
            FetchError::Other(error) => error,
        }
    }
}

/// A piece of a layer, its end, or why there is no more.
pub(super) type Fed = std::result::Result<Option<Bytes>, RegistryError>;

/// Moves a blob from the registry to the unpacker.
async fn feed(
    mut reader: BlobReader,
    sender: mpsc::Sender<Fed>,
    short: String,
    reporter: Reporter,
) {
    let counter = reporter.count(&short, "Downloading", reader.size());
    loop {
        let fed = reader.next().await;
        match &fed {
            Ok(Some(piece)) => counter.add(piece.len() as u64),
            Ok(None) => {
                reporter.say(&short, "Download complete").await;
                reporter.say(&short, "Extracting").await;
            }
            Err(_) => {}
        }
        let is_last = !matches!(fed, Ok(Some(_)));
        if sender.send(fed).await.is_err() || is_last {
            return;
        }
    }
}

/// Reads what is fed. An end that was not told is an error: a layer must never look whole because its pull was given up.
pub(super) struct PulledReader {
    pieces: mpsc::Receiver<Fed>,
    current: Bytes,
    is_ended: bool,
    failure: Option<RegistryError>,
    /// How long the reader had nothing to do.
    waited: Duration,
}

impl PulledReader {
    pub(super) fn new(pieces: mpsc::Receiver<Fed>) -> Self {
        Self {
            pieces,
            current: Bytes::new(),
            is_ended: false,
            failure: None,
            waited: Duration::ZERO,
        }
    }
}

impl Read for PulledReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.is_ended {
            let begun = Instant::now();
            let fed = self.pieces.blocking_recv();
            self.waited += begun.elapsed();
            match fed {
                Some(Ok(Some(piece))) => self.current = piece,
                Some(Ok(None)) => self.is_ended = true,
                Some(Err(error)) => {
                    let told = io::Error::other(chain(&error));
                    self.failure = Some(error);
                    return Err(told);
                }
                None => return Err(io::Error::other("the pull was given up")),
            }
        }
        let length = buffer.len().min(self.current.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}
