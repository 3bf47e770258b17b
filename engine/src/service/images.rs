//! The images API: what the store says, in Docker's shapes.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use hoist_api::container::ContainerConfig;
use hoist_api::error::{ApiError, Result, chain};
use hoist_api::image::{
    ImageDelete, ImageHistory, ImageInspect, ImageMetadata, ImageSummary, ImportImage, RemoveImage,
    RootFs,
};
use hoist_api::inspect::GraphDriver;
use hoist_api::{Digest, Filters, ImageRef};
use hoist_registry::Platform;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{Service, image_error};
use crate::events;
use crate::image::{Image, ImageId, ImageUse, ImageUsers, ImportOptions, Removed, Removing, save};
use crate::times::parse_time;

const FILTERS: &[&str] = &[
    "dangling",
    "label",
    "reference",
    "before",
    "since",
    "until",
    "id",
];

/// Reads what comes in pieces from an asynchronous task.
#[derive(Debug)]
pub(crate) struct PieceReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl PieceReader {
    /// Reads until the sender is gone; must be used on a blocking thread.
    pub(crate) fn new(pieces: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self {
            pieces,
            current: Bytes::new(),
        }
    }
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}

/// Hands what is written to an asynchronous task.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Service {
    /// Lists images; those that others were made from, step by step, only with `all`, or when they have a name.
    pub(crate) fn images(&self, filters: &Filters, all: bool) -> Result<Vec<ImageSummary>> {
        filters.allow_only(FILTERS)?;
        filters.check_flag("dangling")?;
        let users = self.image_users();
        let images = self.images.list();
        let span = self.image_span(filters)?;
        let parents = self.images.parents();
        let is_step = |image: &Image| image.repo_tags.is_empty() && parents.contains(&image.id);
        let listed = images
            .iter()
            .filter(|image| all || !is_step(image))
            .filter(|image| accepts(filters, image) && span.has(image))
            .map(|image| ImageSummary {
                id: image.id.to_string(),
                parent_id: image
                    .parent
                    .as_ref()
                    .map_or_else(String::new, ToString::to_string),
                repo_tags: wanted_tags(filters, image),
                repo_digests: image.repo_digests.clone(),
                created: seconds(image.config.created.as_deref()),
                size: bytes(image.size),
                shared_size: -1,
                labels: labels(image),
                containers: users
                    .get(&image.id)
                    .map_or(0, |users| i64::try_from(users.len()).unwrap_or(0)),
            });
        Ok(listed.collect())
    }

    /// The times that `before`, `since` and `until` leave.
    fn image_span(&self, filters: &Filters) -> Result<Span> {
        let created = |name: &String| -> Result<Timestamp> {
            let image = self.images.resolve(name).map_err(image_error)?;
            Ok(created(&image))
        };
        let mut span = Span::default();
        for name in filters.get("before") {
            let time = created(name)?;
            span.before = Some(span.before.map_or(time, |known| known.min(time)));
        }
        for text in filters.get("until") {
            if let Some(time) = parse_time(text)? {
                span.before = Some(span.before.map_or(time, |known| known.min(time)));
            }
        }
        for name in filters.get("since") {
            let time = created(name)?;
            span.since = Some(span.since.map_or(time, |known| known.max(time)));
        }
        Ok(span)
    }

    /// All images with what they share, and the bytes of all layers.
    pub(crate) fn image_usage(&self) -> Result<(Vec<ImageSummary>, i64)> {
        let mut listed = self.images(&Filters::new(), false)?;
        let images = self.images.list();
        let mut layers: BTreeMap<&Digest, (u64, usize)> = BTreeMap::new();
        let layers_of = |image: &Arc<Image>| -> BTreeMap<Digest, u64> {
            let diff_ids = image.config.rootfs.diff_ids.iter().cloned();
            diff_ids.zip(image.layer_sizes.iter().copied()).collect()
        };
        let all: Vec<BTreeMap<Digest, u64>> = images.iter().map(layers_of).collect();
        for (diff_id, size) in all.iter().flatten() {
            let known = layers.entry(diff_id).or_insert((*size, 0));
            known.1 += 1;
        }
        for (image, own) in images.iter().zip(&all) {
            let shared = own
                .iter()
                .filter(|(diff_id, _)| layers.get(diff_id).is_some_and(|(_, users)| *users > 1));
            let shared: u64 = shared.map(|(_, size)| size).sum();
            let id = image.id.to_string();
            if let Some(summary) = listed.iter_mut().find(|summary| summary.id == id) {
                summary.shared_size = bytes(shared);
            }
        }
        Ok((listed, bytes(layers.values().map(|(size, _)| size).sum())))
    }

    /// Writes images as one archive; its pieces, and in the end perhaps why there are no more.
    pub(crate) async fn images_save(
        self: &Arc<Self>,
        names: Vec<String>,
    ) -> Result<mpsc::Receiver<io::Result<Bytes>>> {
        let (exported, ids) = self
            .blocking(move |service| {
                let exported = service.images.export(&names).map_err(image_error)?;
                let found = names
                    .iter()
                    .filter_map(|name| service.images.resolve(name).ok());
                let ids: Vec<String> = found.map(|image| image.id.to_string()).collect();
                Ok((exported, ids))
            })
            .await?;
        for id in ids {
            self.emit_image("save", &id, &id);
        }
        let (sender, receiver) = mpsc::channel(2);
        let write = move |_: &Service| {
            let pieces = Pieces(sender.clone());
            let mut output = io::BufWriter::with_capacity(128 << 10, pieces);
            let done = save(&exported, &mut output).and_then(|()| output.flush());
            if let Err(error) = done {
                tracing::debug!(%error, "an archive of images was not finished");
                // A client that is gone needs no reason.
                let _ = sender.blocking_send(Err(error));
            }
            Ok(())
        };
        let service = self.clone();
        tokio::spawn(async move { service.for_client(write).await });
        Ok(receiver)
    }

    /// Everything about an image.
    pub(crate) fn image_inspect(&self, name: &str) -> Result<ImageInspect> {
        let image = self.images.resolve(name).map_err(image_error)?;
        let config = &image.config;
        Ok(ImageInspect {
            id: image.id.to_string(),
            repo_tags: image.repo_tags.clone(),
            repo_digests: image.repo_digests.clone(),
            parent: match &image.parent {
                Some(parent) => parent.to_string(),
                None => config.parent.clone(),
            },
            comment: config.comment.clone(),
            created: config
                .created
                .clone()
                .unwrap_or_else(|| hoist_api::ZERO_TIME.to_owned()),
            docker_version: config.docker_version.clone(),
            author: config.author.clone(),
            config: wire_config(&image)?,
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
            os: config.os.clone(),
            size: bytes(image.size),
            graph_driver: graph_driver(&image),
            root_fs: RootFs {
                kind: "layers".to_owned(),
                layers: config
                    .rootfs
                    .diff_ids
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            },
            metadata: ImageMetadata {
                last_tag_time: image.last_tagged.clone(),
            },
        })
    }

    /// How an image was made, newest step first.
    pub(crate) fn image_history(&self, name: &str) -> Result<Vec<ImageHistory>> {
        let image = self.images.resolve(name).map_err(image_error)?;
        let mut sizes = image.layer_sizes.iter();
        let mut steps: Vec<ImageHistory> = image
            .config
            .history
            .iter()
            .map(|entry| ImageHistory {
                id: "<missing>".to_owned(),
                created: seconds(entry.created.as_deref()),
                created_by: entry.created_by.clone(),
                tags: None,
                size: if entry.empty_layer {
                    0
                } else {
                    bytes(sizes.next().copied().unwrap_or(0))
                },
                comment: entry.comment.clone(),
            })
            .collect();
        steps.reverse();
        // Where each step's image was kept, it is named.
        let mut current = Some(image);
        for step in &mut steps {
            let Some(image) = current.take() else { break };
            step.id = image.id.to_string();
            step.tags = Some(image.repo_tags.clone()).filter(|tags| !tags.is_empty());
            current = parent_of(&image).and_then(|parent| self.images.resolve(&parent).ok());
        }
        Ok(steps)
    }

    /// Removes a name or an image.
    pub(crate) async fn image_remove(
        self: &Arc<Self>,
        name: &str,
        options: RemoveImage,
    ) -> Result<Vec<ImageDelete>> {
        let wanted = name.to_owned();
        let removing = Removing {
            force: options.force,
            parents: !options.no_prune,
        };
        let (image, removed) = self
            .blocking(move |service| {
                let image = service.images.resolve(&wanted).map_err(image_error)?;
                let users = service.image_users();
                let removed = service
                    .images
                    .remove(&wanted, &users, removing)
                    .map_err(image_error)?;
                Ok((image, removed))
            })
            .await?;
        let (id, labels) = (image.id.to_string(), &image.config.config.labels);
        let emit = |action: &str, id: &str, name: &str| {
            let actor = events::actor(id, labels, [("name", name.to_owned())]);
            self.events.publish("image", action, actor);
        };
        let told = removed.into_iter().map(|removed| match removed {
            Removed::Untagged(name) => {
                emit("untag", &id, &name);
                ImageDelete {
                    untagged: name,
                    deleted: String::new(),
                }
            }
            Removed::Deleted(gone) => {
                emit("delete", &gone, &gone);
                ImageDelete {
                    deleted: gone,
                    untagged: String::new(),
                }
            }
        });
        Ok(told.collect())
    }

    /// Gives an image a further name.
    pub(crate) async fn image_tag(self: &Arc<Self>, image: &str, target: &str) -> Result<()> {
        let name = image_name(target)?;
        if name.familiar_repository() == "sha256" {
            return Err(ApiError::bad_request(
                "refusing to create an ambiguous tag using digest algorithm as name",
            ));
        }
        let (source, told) = (image.to_owned(), target.to_owned());
        let familiar = name.familiar();
        let id = self
            .blocking(move |service| {
                service.images.tag(&source, &name).map_err(image_error)?;
                Ok(service
                    .images
                    .resolve(&told)
                    .map_err(image_error)?
                    .id
                    .to_string())
            })
            .await?;
        self.emit_image("tag", &id, &familiar);
        Ok(())
    }

    /// Makes an image from a root file system's archive.
    pub(crate) async fn image_import(
        self: &Arc<Self>,
        options: ImportImage,
        mut archive: PieceReader,
    ) -> Result<String> {
        let import = ImportOptions {
            name: if options.reference.is_empty() {
                None
            } else {
                Some(image_name(&options.reference)?)
            },
            changes: options.changes,
            message: options.message,
            platform: match options.platform.as_str() {
                "" => None,
                text => Some(platform_of(text)?),
            },
        };
        let id = self
            .for_client(move |service| {
                service
                    .images
                    .import(&mut archive, &import)
                    .map_err(image_error)
            })
            .await?;
        self.emit_image("import", id.as_str(), id.as_str());
        Ok(id.to_string())
    }

    /// Loads the images of an archive; returns the names they got, or their ids.
    pub(crate) async fn image_load(
        self: &Arc<Self>,
        mut archive: PieceReader,
        platform: Option<Platform>,
    ) -> Result<Vec<Loaded>> {
        let loaded = self
            .for_client(move |service| {
                let loaded = service.images.load(&mut archive, platform.as_ref());
                loaded.map_err(image_error)
            })
            .await?;
        let mut told = Vec::new();
        for image in loaded {
            self.emit_image("load", image.id.as_str(), image.id.as_str());
            if image.names.is_empty() {
                told.push(Loaded::Id(image.id.to_string()));
            }
            told.extend(image.names.into_iter().map(Loaded::Name));
        }
        Ok(told)
    }

    pub(super) fn emit_image(&self, action: &str, id: &str, name: &str) {
        let image = self.images.resolve(id);
        let labels = image.map(|image| image.config.config.labels.clone());
        let actor = events::actor(id, &labels.unwrap_or_default(), [("name", name.to_owned())]);
        self.events.publish("image", action, actor);
    }

    /// Which containers use which images.
    pub(super) fn image_users(&self) -> ImageUsers {
        let mut users = ImageUsers::new();
        for container in self.containers.all() {
            let record = container.record();
            let usage = ImageUse {
                container: record.id.short().to_owned(),
                running: record.run.status.is_alive(),
            };
            for digest in record.images().filter_map(|id| id.parse().ok()) {
                let users: &mut Vec<ImageUse> = users.entry(ImageId(digest)).or_default();
                if !users.contains(&usage) {
                    users.push(usage.clone());
                }
            }
        }
        users
    }
}

/// What a load brought.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// An image with this name.
    Name(String),
    /// An image without a name.
    Id(String),
}

pub(crate) fn image_name(text: &str) -> Result<ImageRef> {
    text.parse()
        .map_err(|error: hoist_api::image_ref::ImageRefError| {
            ApiError::bad_request(format!("invalid reference format: {text:?}: {error}"))
        })
}

/// The image's defaults in the API's type: both have Docker's field names.
fn wire_config(image: &Image) -> Result<ContainerConfig> {
    let value =
        serde_json::to_value(&image.config.config).map_err(|error| ApiError::internal(&error))?;
    serde_json::from_value(value).map_err(|error| ApiError::internal(&error))
}

fn graph_driver(image: &Image) -> GraphDriver {
    let mut layers: Vec<String> = image
        .layers
        .iter()
        .rev()
        .map(|layer| layer.to_string_lossy().into_owned())
        .collect();
    let upper = if layers.is_empty() {
        String::new()
    } else {
        layers.remove(0)
    };
    let mut data = BTreeMap::from([("UpperDir".to_owned(), upper)]);
    if !layers.is_empty() {
        data.insert("LowerDir".to_owned(), layers.join(":"));
    }
    GraphDriver {
        name: "overlay2".to_owned(),
        data,
    }
}

/// What an image was made from, by a builder or by `commit`.
fn parent_of(image: &Image) -> Option<String> {
    let committed = Some(&image.config.parent).filter(|parent| !parent.is_empty());
    let parent = image.parent.as_ref().map(ToString::to_string);
    parent.or_else(|| committed.cloned())
}

fn labels(image: &Image) -> BTreeMap<String, String> {
    image.config.config.labels.clone()
}

fn seconds(time: Option<&str>) -> i64 {
    time.and_then(|time| time.parse::<Timestamp>().ok())
        .map_or(0, Timestamp::as_second)
}

fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn accepts(filters: &Filters, image: &Image) -> bool {
    let dangling = image.repo_tags.is_empty();
    filters.accepts("dangling", |wanted| {
        matches!(wanted.as_str(), "1" | "true" | "True") == dangling
    }) && filters.accepts_labels(&image.config.config.labels)
        && filters.accepts("id", |wanted| {
            image.id.to_string().contains(wanted.as_str())
        })
        && filters.accepts("reference", |wanted| {
            image
                .repo_tags
                .iter()
                .any(|tag| reference_matches(wanted, tag))
        })
}

/// A platform that an image may be of: containers of other systems than Linux run nowhere here.
fn platform_of(text: &str) -> Result<Platform> {
    let platform: Platform = text
        .parse()
        .map_err(|error| ApiError::bad_request(chain(&error)))?;
    if platform.os != "linux" {
        return Err(ApiError::bad_request(format!(
            "cannot import an image for {text}: operating system is not supported"
        )));
    }
    Ok(platform)
}

/// When images were made: after the one and before the other.
#[derive(Debug, Default)]
struct Span {
    since: Option<Timestamp>,
    before: Option<Timestamp>,
}

impl Span {
    fn has(&self, image: &Image) -> bool {
        let created = created(image);
        self.since.is_none_or(|since| created > since)
            && self.before.is_none_or(|before| created < before)
    }
}

fn created(image: &Image) -> Timestamp {
    let text = image.config.created.as_deref().unwrap_or_default();
    text.parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The names of an image that a list asks for.
fn wanted_tags(filters: &Filters, image: &Image) -> Vec<String> {
    let is_wanted =
        |tag: &&String| filters.accepts("reference", |wanted| reference_matches(wanted, tag));
    image.repo_tags.iter().filter(is_wanted).cloned().collect()
}

/// A pattern of `path.Match`, for the repository with or without the tag.
fn reference_matches(pattern: &str, tag: &str) -> bool {
    let repository = tag
        .rsplit_once(':')
        .map_or(tag, |(repository, _)| repository);
    [tag, repository]
        .into_iter()
        .any(|text| glob(pattern.as_bytes(), text.as_bytes()))
}

/// `*` matches anything but `/`, `?` one character.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            glob(rest, text)
                || text
                    .split_first()
                    .is_some_and(|(byte, more)| *byte != b'/' && glob(pattern, more))
        }
        (Some((b'?', rest)), Some((byte, more))) => *byte != b'/' && glob(rest, more),
        (Some((wanted, rest)), Some((byte, more))) => wanted == byte && glob(rest, more),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_match_patterns() {
        for (pattern, tag, expected) in [
            ("nginx", "nginx:1", true),
            ("nginx:1", "nginx:1", true),
            ("ngin*", "nginx:1", true),
            ("*:1", "nginx:1", true),
            ("nginx:2", "nginx:1", false),
            ("*", "a/b:1", false),
            ("a/?", "a/b:1", true),
        ] {
            assert_eq!(reference_matches(pattern, tag), expected, "{pattern} {tag}");
        }
    }
}
