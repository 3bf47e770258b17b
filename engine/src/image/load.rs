//! `image load`: `docker save` archives and OCI layouts, in one pass over a stream.
//!
//! The list of images may come last in the archive, so every member that can be a layer is unpacked as it comes (pinned, so it goes again
//! when nothing names it), and every member that can be a document is kept in memory, bounded. Then the list decides.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use super::config::ImageConfig;
use super::error::ImageError;
use super::layers::{Layers, Pin, from_tar};
use super::load_plan::{self, Members};
use super::store::{ImageStore, LoadedImage};
use super::stream::{ChunkReader, Hashing, StreamLimits, decompressed};
use super::tarball::{Entry, EntryKind, TarReader};
use hoist_api::ImageRef;
use hoist_api::digest::{Digest, is_full_hex};
use hoist_registry::Platform;

/// Bytes that one document may have, and all together with the members' names.
const DOCUMENT_LIMIT: u64 = 8 << 20;
const DOCUMENTS_LIMIT: u64 = 64 << 20;
/// Members of an archive of images.
const MEMBER_LIMIT: usize = 100_000;
const BLOBS: &str = "blobs/sha256/";

/// What a member of the archive turned out to be.
#[derive(Debug)]
pub(super) enum Member {
    /// Something that begins like JSON, or is small.
    Document(Vec<u8>),
    /// An unpacked layer with the digest of its archive as it came.
    Layer(Arc<Pin>, Digest, u64),
    /// Another name of a member.
    Link(String),
    /// Neither; it is an error only if an image needs it.
    Unusable(String),
}

pub(super) fn load(
    store: &ImageStore,
    archive: &mut (dyn Read + Send),
    wanted: Option<&Platform>,
) -> Result<Vec<LoadedImage>, ImageError> {
    let limits = StreamLimits {
        bytes: u64::MAX,
        ratio: store.options().max_ratio,
    };
    let known = store.state().known_archives();
    let collect = |chunks: &mut ChunkReader| {
        let mut collector = Collector {
            layers: store.layers(),
            known,
            members: Members::default(),
            document_bytes: 0,
        };
        collector.collect(chunks).map_err(Failure::Image)?;
        Ok(collector.members)
    };
    let (members, _) = decompressed(archive, (limits, Hashing::None), collect).map_err(
        |failure| match failure {
            Failure::Stream(error) => ImageError::InvalidArchive(error.to_string()),
            Failure::Image(error) => error,
        },
    )?;
    let images = load_plan::images(store, &members, wanted)?;
    let loaded = images
        .iter()
        .map(|image| LoadedImage {
            id: image.id.clone(),
            names: image.names.iter().map(ImageRef::familiar).collect(),
        })
        .collect();
    store.publish(images)?;
    Ok(loaded)
}

enum Failure {
    Stream(io::Error),
    Image(ImageError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

/// Reads the archive's members.
struct Collector<'a> {
    layers: &'a Layers,
    /// Archives of layers that the store has read before, and what they made.
    known: HashMap<Digest, Digest>,
    members: Members,
    document_bytes: u64,
}

impl Collector<'_> {
    fn collect(&mut self, chunks: &mut ChunkReader) -> Result<(), ImageError> {
        let mut reader = TarReader::new(chunks);
        while let Some(entry) = reader.next_entry().map_err(from_tar)? {
            let Some(name) = clean(&entry.path) else {
                continue;
            };
            let member = match entry.kind {
                EntryKind::File => self.file(&name, &entry, &mut reader)?,
                EntryKind::Symlink => Member::Link(load_plan::join(
                    &name,
                    &String::from_utf8_lossy(&entry.link),
                )),
                EntryKind::HardLink => Member::Link(
                    String::from_utf8_lossy(&entry.link)
                        .trim_start_matches("./")
                        .to_owned(),
                ),
                _ => continue,
            };
            // A name may have a million bytes, and a link's target, too.
            self.remember(name.len() as u64 + entry.link.len() as u64)?;
            self.members.insert(name, member);
            if self.members.len() > MEMBER_LIMIT {
                return Err(ImageError::Limit(format!(
                    "it has more than {MEMBER_LIMIT} members"
                )));
            }
        }
        reader.drain().map_err(from_tar)
    }

    fn file(
        &mut self,
        name: &str,
        entry: &Entry,
        reader: &mut TarReader<&mut ChunkReader>,
    ) -> Result<Member, ImageError> {
        let first = reader.fill_data().map_err(from_tar)?.first().copied();
        let is_json = matches!(first, Some(b'{' | b'['));
        if is_json || !may_be_layer(name) {
            return self.document(entry, reader);
        }
        let digest = load_plan::blob_digest(name);
        // Whoever reads the same layer beside us waits here, and finds it made.
        let _claim = digest.as_ref().map(|digest| self.layers.claim(digest));
        if let Some(pin) = self.known_layer(name) {
            let archive = digest.unwrap_or_else(|| pin.diff_id.clone());
            return Ok(Member::Layer(Arc::new(pin), archive, entry.size));
        }
        match self.layers.add(reader, Hashing::Both) {
            Ok((_, digests))
                if digest
                    .as_ref()
                    .is_some_and(|digest| *digest != digests.compressed) =>
            {
                Ok(Member::Unusable(format!(
                    "its content has the digest {}",
                    digests.compressed
                )))
            }
            Ok((pin, digests)) => Ok(Member::Layer(
                Arc::new(pin),
                digests.compressed,
                digests.compressed_size,
            )),
            // A member that is no tar may be something that no image needs.
            Err(ImageError::InvalidArchive(why)) => Ok(Member::Unusable(why)),
            Err(error) => Err(error),
        }
    }

    fn document(
        &mut self,
        entry: &Entry,
        reader: &mut TarReader<&mut ChunkReader>,
    ) -> Result<Member, ImageError> {
        if entry.size > DOCUMENT_LIMIT {
            return Ok(Member::Unusable(format!(
                "it is a document of more than {DOCUMENT_LIMIT} bytes"
            )));
        }
        self.remember(entry.size)?;
        let mut content = Vec::new();
        reader
            .read_to_end(&mut content)
            .map_err(|error| ImageError::InvalidArchive(error.to_string()))?;
        if content.len() as u64 != entry.size {
            return Err(ImageError::InvalidArchive(
                "it ends in the middle of a document".to_owned(),
            ));
        }
        Ok(Member::Document(content))
    }

    /// Charges what is kept in memory.
    fn remember(&mut self, bytes: u64) -> Result<(), ImageError> {
        self.document_bytes += bytes;
        if self.document_bytes > DOCUMENTS_LIMIT {
            return Err(ImageError::Limit(format!(
                "its documents and names have more than {DOCUMENTS_LIMIT} bytes"
            )));
        }
        Ok(())
    }

    /// The layer that a member of this name makes, when the store has it. A name is only a claim, but a configuration names layers by their
    /// diff-ids, and the one taken has that.
    fn known_layer(&self, name: &str) -> Option<Pin> {
        let file = name.rsplit('/').next().unwrap_or(name);
        let hex = file.strip_suffix(".tar").unwrap_or(file);
        if !is_full_hex(hex) {
            return None;
        }
        let digest: Digest = format!("sha256:{hex}").parse().ok()?;
        let diff_id = self.known.get(&digest).unwrap_or(&digest);
        self.layers.pin(diff_id)
    }
}

/// Reads and checks a configuration.
pub(super) fn parse_config(text: &[u8], what: &str) -> Result<ImageConfig, ImageError> {
    let config: ImageConfig = serde_json::from_slice(text).map_err(|error| {
        ImageError::InvalidArchive(format!("{what} is not an image's configuration: {error}"))
    })?;
    if !config.os.is_empty() && config.os != "linux" {
        return Err(ImageError::InvalidArchive(format!(
            "{what} is an image for {:?}: only linux images can be run here",
            config.os
        )));
    }
    Ok(config)
}

fn may_be_layer(name: &str) -> bool {
    name.starts_with(BLOBS)
        || [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz"]
            .iter()
            .any(|ending| name.ends_with(ending))
}

/// A member's name without `./`; none for what is not text.
fn clean(path: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(path).ok()?;
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    (!parts.is_empty()).then(|| parts.join("/"))
}
