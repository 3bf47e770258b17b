//! Which images an archive's members are: the lists of `docker save` and of OCI layouts, followed to configurations and layers.

use std::collections::HashMap;
use std::sync::Arc;

use super::config::ImageConfig;
use super::error::ImageError;
use super::id::ImageId;
use super::import::describe;
use super::layers::Pin;
use super::load::{Member, parse_config};
use super::manifest::{
    DescribedPlatform, Descriptor, Document, Index, LAYER_TYPE, Manifest, NAME_ANNOTATION,
    REF_ANNOTATION, SavedImage,
};
use super::store::{ImageStore, NewImage};
use hoist_api::Digest;
use hoist_api::ImageRef;
use hoist_registry::Platform;

pub(super) type Members = HashMap<String, Member>;

/// Indexes in indexes; honest ones need two.
const DEPTH_LIMIT: usize = 4;
const LINK_LIMIT: usize = 16;

/// The images that the archive's own list names.
pub(super) fn images(
    store: &ImageStore,
    members: &Members,
    wanted: Option<&Platform>,
) -> Result<Vec<NewImage>, ImageError> {
    let archive = Archive {
        members,
        platform: wanted.unwrap_or(&store.options().platform),
    };
    // An archive of a newer Docker has both lists; the older one is about exactly one platform, the one that was saved.
    let images = if let Some(Member::Document(text)) = members.get("manifest.json") {
        archive.saved_images(text)?
    } else if let Some(Member::Document(text)) = members.get("index.json") {
        archive.layout_images(text)?
    } else {
        let what = "it has neither a manifest.json nor an index.json, so it is no archive of images (a root file system is taken by \"image import\")";
        return Err(ImageError::InvalidArchive(what.to_owned()));
    };
    if images.is_empty() {
        return Err(ImageError::InvalidArchive("it lists no image".to_owned()));
    }
    if let Some(wanted) = wanted {
        images.iter().try_for_each(|image| is_for(image, wanted))?;
    }
    Ok(images)
}

/// Refuses an image for another platform than the one that was asked for.
fn is_for(image: &NewImage, wanted: &Platform) -> Result<(), ImageError> {
    let found = DescribedPlatform {
        architecture: image.config.architecture.clone(),
        os: image.config.os.clone(),
        variant: image.config.variant.clone(),
    };
    match wanted.fitness(&found) {
        Some(_) => Ok(()),
        None => Err(ImageError::Platform {
            wanted: wanted.to_string(),
            available: found.to_string(),
        }),
    }
}

#[derive(Clone, Copy)]
struct Archive<'a> {
    members: &'a Members,
    platform: &'a Platform,
}

/// A layer of an image: what it made, and how the archive described it.
type FoundLayer = (Arc<Pin>, Digest, u64);

impl Archive<'_> {
    fn saved_images(&self, text: &[u8]) -> Result<Vec<NewImage>, ImageError> {
        let saved: Vec<SavedImage> = serde_json::from_slice(text)
            .map_err(|error| invalid(format!("its manifest.json is unreadable: {error}")))?;
        saved.iter().map(|image| self.saved_image(image)).collect()
    }

    fn saved_image(&self, image: &SavedImage) -> Result<NewImage, ImageError> {
        let text = self.document(&image.config)?;
        if let Some(digest) = blob_digest(&image.config) {
            check_digest(text, &digest, &image.config)?;
        }
        let config = parse_config(text, &image.config)?;
        let names = image
            .repo_tags
            .iter()
            .flatten()
            .map(|tag| parse_name(tag))
            .collect::<Result<Vec<_>, _>>()?;
        let layers = image
            .layers
            .iter()
            .flatten()
            .map(|name| self.layer(name))
            .collect::<Result<Vec<_>, _>>()?;
        let pins = matching(&config, &layers)?;
        let descriptors = layers
            .iter()
            .map(|(pin, ..)| {
                Descriptor::new(LAYER_TYPE, pin.diff_id.clone(), pin.record.archive_size)
            })
            .collect();
        describe(config, text.to_vec(), descriptors, (names, pins))
    }

    fn layout_images(&self, text: &[u8]) -> Result<Vec<NewImage>, ImageError> {
        let index: Index = serde_json::from_slice(text)
            .map_err(|error| invalid(format!("its index.json is unreadable: {error}")))?;
        let named: Vec<&Descriptor> = index
            .manifests
            .iter()
            .filter(|entry| entry.is_image())
            .collect();
        // Several platforms of one image may stand in the outermost list.
        if named.len() > 1
            && named
                .iter()
                .all(|entry| entry.platform.is_some() && name_of(entry).is_none())
        {
            return Ok(vec![self.layout_image(
                self.choose(&named)?,
                Vec::new(),
                0,
            )?]);
        }
        let mut images: Vec<NewImage> = Vec::new();
        for entry in named {
            let names = name_of(entry).map(parse_name).transpose()?;
            let image = self.layout_image(entry, names.into_iter().collect(), 0)?;
            match images.iter_mut().find(|known| known.id == image.id) {
                Some(known) => known.names.extend(image.names),
                None => images.push(image),
            }
        }
        Ok(images)
    }

    fn layout_image(
        &self,
        entry: &Descriptor,
        names: Vec<ImageRef>,
        depth: usize,
    ) -> Result<NewImage, ImageError> {
        let text = self.blob(&entry.digest)?;
        let what = |why: String| invalid(format!("{} is unusable: {why}", entry.digest));
        match Document::parse(text).map_err(what)? {
            Document::Index(_) if depth >= DEPTH_LIMIT => {
                Err(invalid("its indexes lie too deep in each other".to_owned()))
            }
            Document::Index(index) => {
                let candidates: Vec<&Descriptor> = index
                    .manifests
                    .iter()
                    .filter(|entry| entry.is_image())
                    .collect();
                let chosen = if let [only] = candidates[..] {
                    only
                } else {
                    self.choose(&candidates)?
                };
                self.layout_image(chosen, names, depth + 1)
            }
            Document::Manifest(manifest) => self.manifest_image(manifest, text, names),
        }
    }

    fn manifest_image(
        &self,
        manifest: Manifest,
        text: &[u8],
        names: Vec<ImageRef>,
    ) -> Result<NewImage, ImageError> {
        let config_text = self.blob(&manifest.config.digest)?;
        let config = parse_config(config_text, manifest.config.digest.as_str())?;
        let layer = |layer: &Descriptor| self.layer(&blob_name(&layer.digest));
        let layers = manifest
            .layers
            .iter()
            .map(layer)
            .collect::<Result<Vec<_>, _>>()?;
        let pins = matching(&config, &layers)?;
        let id = ImageId(manifest.config.digest.clone());
        Ok(NewImage {
            id,
            config,
            manifest,
            documents: [config_text.to_vec(), text.to_vec()],
            names,
            pins,
        })
    }

    /// The entry for the store's platform. One without a platform is looked into.
    fn choose<'a>(&self, candidates: &[&'a Descriptor]) -> Result<&'a Descriptor, ImageError> {
        let wanted = self.platform;
        let platform = |entry: &Descriptor| {
            entry
                .platform
                .clone()
                .or_else(|| self.platform_inside(entry))
                .unwrap_or_default()
        };
        let score = |entry: &Descriptor| wanted.fitness(&platform(entry));
        let best = candidates
            .iter()
            .copied()
            .filter_map(|entry| Some((score(entry)?, entry)))
            .max_by_key(|(score, _)| *score);
        best.map(|(_, entry)| entry).ok_or_else(|| {
            let available: Vec<String> = candidates
                .iter()
                .map(|entry| platform(entry).to_string())
                .collect();
            ImageError::Platform {
                wanted: wanted.to_string(),
                available: available.join(", "),
            }
        })
    }

    fn platform_inside(&self, entry: &Descriptor) -> Option<DescribedPlatform> {
        let Ok(Document::Manifest(manifest)) = Document::parse(self.blob(&entry.digest).ok()?)
        else {
            return None;
        };
        let config: ImageConfig =
            serde_json::from_slice(self.blob(&manifest.config.digest).ok()?).ok()?;
        Some(DescribedPlatform {
            architecture: config.architecture,
            os: config.os,
            variant: config.variant,
        })
    }

    fn member(&self, name: &str) -> Result<&Member, ImageError> {
        let mut name = name.trim_start_matches("./").to_owned();
        for _ in 0..LINK_LIMIT {
            match self.members.get(&name) {
                Some(Member::Link(target)) => name.clone_from(target),
                Some(Member::Unusable(why)) => {
                    return Err(invalid(format!("its member {name} is unusable: {why}")));
                }
                Some(member) => return Ok(member),
                None => return Err(invalid(format!("its member {name} is missing"))),
            }
        }
        Err(invalid(format!(
            "its member {name} is a link that leads to itself"
        )))
    }

    fn document(&self, name: &str) -> Result<&[u8], ImageError> {
        match self.member(name)? {
            Member::Document(text) => Ok(text),
            _ => Err(invalid(format!(
                "its member {name} is a layer, not a document"
            ))),
        }
    }

    /// A document by its digest, which it has.
    fn blob(&self, digest: &Digest) -> Result<&[u8], ImageError> {
        let name = blob_name(digest);
        let text = self.document(&name)?;
        check_digest(text, digest, &name)?;
        Ok(text)
    }

    fn layer(&self, name: &str) -> Result<FoundLayer, ImageError> {
        match self.member(name)? {
            Member::Layer(pin, archive, size) => Ok((Arc::clone(pin), archive.clone(), *size)),
            _ => Err(invalid(format!("its member {name} is not a layer"))),
        }
    }
}

/// The layers, if they are those that the configuration has, in its order.
fn matching(config: &ImageConfig, layers: &[FoundLayer]) -> Result<Vec<Arc<Pin>>, ImageError> {
    let expected = &config.rootfs.diff_ids;
    if expected.len() != layers.len() {
        return Err(invalid(format!(
            "an image has {} layers, its configuration says {}",
            layers.len(),
            expected.len()
        )));
    }
    for ((pin, ..), diff_id) in layers.iter().zip(expected) {
        if pin.diff_id != *diff_id {
            return Err(invalid(format!(
                "a layer has the digest {}, the image's configuration says {diff_id}",
                pin.diff_id
            )));
        }
    }
    Ok(layers.iter().map(|(pin, ..)| Arc::clone(pin)).collect())
}

fn check_digest(text: &[u8], digest: &Digest, name: &str) -> Result<(), ImageError> {
    if Digest::of(text) == *digest {
        return Ok(());
    }
    Err(invalid(format!(
        "its member {name} does not have the content that its name says"
    )))
}

fn invalid(what: String) -> ImageError {
    ImageError::InvalidArchive(what)
}

fn parse_name(text: &str) -> Result<ImageRef, ImageError> {
    text.parse().map_err(|source| ImageError::Reference {
        name: text.to_owned(),
        source,
    })
}

/// The name of an image in a layout. OCI's annotation may hold only a tag, which names nothing here.
fn name_of(entry: &Descriptor) -> Option<&str> {
    entry.annotation(NAME_ANNOTATION).or_else(|| {
        entry
            .annotation(REF_ANNOTATION)
            .filter(|name| name.contains([':', '/']))
    })
}

/// A blob's name in a layout.
fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The digest that a member's name promises.
pub(super) fn blob_digest(name: &str) -> Option<Digest> {
    format!("sha256:{}", name.strip_prefix("blobs/sha256/")?)
        .parse()
        .ok()
}

/// The member that a link in the archive leads to.
pub(super) fn join(link: &str, target: &str) -> String {
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        parts.clear();
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}
