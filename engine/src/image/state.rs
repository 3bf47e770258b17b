//! What the store knows while it is open: images by id, and who has which name. Values only; the store keeps it and the index on disk equal.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::config::ImageConfig;
use super::error::ImageError;
use super::id::ImageId;
use super::layers::Layers;
use super::made::Roots;
use super::manifest::{
    Annotations, Descriptor, MANIFEST_TYPE, Manifest, NAME_ANNOTATION, REF_ANNOTATION,
};
use super::store::Image;
use hoist_api::ImageRef;
use hoist_api::digest::{Digest, is_full_hex, is_lower_hex};

/// When the image got its newest name.
const TAGGED_ANNOTATION: &str = "dev.hoist.last-tagged";
/// The image of the step before, where a builder made one for each of its steps.
const PARENT_ANNOTATION: &str = "dev.hoist.parent";

/// An image and what the index says of it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) config: Arc<ImageConfig>,
    pub(crate) manifest: Manifest,
    pub(crate) manifest_digest: Digest,
    pub(crate) manifest_size: u64,
    pub(crate) names: BTreeSet<ImageRef>,
    pub(crate) last_tagged: String,
    /// The image that a builder made it from, step by step.
    pub(crate) parent: Option<ImageId>,
}

/// All images.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) images: BTreeMap<ImageId, Record>,
    pub(crate) roots: Roots,
}

impl State {
    /// Finds an image as people name it.
    pub(crate) fn resolve(&self, text: &str) -> Result<ImageId, ImageError> {
        let id = text.strip_prefix("sha256:").unwrap_or(text);
        if is_full_hex(id) {
            let found = self.images.keys().find(|known| known.0.hex() == id);
            return found
                .cloned()
                .ok_or_else(|| ImageError::NotFound(text.to_owned()));
        }
        let name: Result<ImageRef, _> = text.parse();
        if let Ok(name) = &name
            && let Some(id) = self.owner(name)
        {
            return Ok(id.clone());
        }
        if let Some(found) = self.by_prefix(id)? {
            return Ok(found);
        }
        match name {
            Ok(name) => Err(ImageError::NotFound(name.familiar())),
            Err(source) => Err(ImageError::Reference {
                name: text.to_owned(),
                source,
            }),
        }
    }

    /// The image that has a name. A digest counts more than a tag beside it; it may also be that of a tagged image's own manifest.
    pub(crate) fn owner(&self, name: &ImageRef) -> Option<&ImageId> {
        let is_it = |record: &Record| match name.digest() {
            None => record.names.contains(name),
            Some(digest) => record.names.iter().any(|known| {
                known.same_repository(name)
                    && (known.digest() == Some(digest) || record.manifest_digest == *digest)
            }),
        };
        self.images
            .iter()
            .find(|(_, record)| is_it(record))
            .map(|(id, _)| id)
    }

    /// Whether `text` names an image by its id (whole or begun) and not by a name.
    pub(crate) fn is_id(&self, text: &str, id: &ImageId) -> bool {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let by_name = text
            .parse::<ImageRef>()
            .ok()
            .and_then(|name| self.owner(&name).cloned());
        by_name.is_none() && id.0.hex().starts_with(digits)
    }

    /// Gives an image a name, which whoever had it before loses.
    pub(crate) fn set_name(&mut self, id: &ImageId, name: &ImageRef, now: &str) {
        for record in self.images.values_mut() {
            record.names.remove(name);
        }
        if let Some(record) = self.images.get_mut(id) {
            record.names.insert(name.clone());
            now.clone_into(&mut record.last_tagged);
        }
    }

    /// Whether other images were made from this one, step by step.
    pub(crate) fn has_children(&self, id: &ImageId) -> bool {
        let mut images = self.images.values();
        images.any(|record| record.parent.as_ref() == Some(id))
    }

    /// Says what an image was made from, unless that is known, or would go in a circle.
    pub(crate) fn set_parent(&mut self, id: &ImageId, parent: &ImageId) {
        let mut above = Some(parent.clone());
        while let Some(known) = above {
            if known == *id {
                return;
            }
            above = self
                .images
                .get(&known)
                .and_then(|record| record.parent.clone());
        }
        if let Some(record) = self.images.get_mut(id) {
            record.parent.get_or_insert_with(|| parent.clone());
        }
    }

    /// Removes the images below one that has gone as far as nothing else needs them: a name, a container, another image.
    pub(crate) fn remove_parents(
        &mut self,
        first: Option<ImageId>,
        is_unused: &dyn Fn(&ImageId) -> bool,
    ) -> Vec<ImageId> {
        let mut removed = Vec::new();
        let mut next = first;
        while let Some(id) = next.take() {
            let is_free = |record: &Record| record.names.is_empty();
            if !self.images.get(&id).is_some_and(is_free)
                || !is_unused(&id)
                || self.has_children(&id)
            {
                break;
            }
            next = self.images.remove(&id).and_then(|record| record.parent);
            removed.push(id);
        }
        removed
    }

    /// Removes images, and with each what it was made from. One that others were made from goes after them, or not at all.
    pub(crate) fn remove_all(
        &mut self,
        mut doomed: Vec<ImageId>,
        is_unused: &dyn Fn(&ImageId) -> bool,
    ) -> Vec<(ImageId, BTreeSet<ImageRef>)> {
        let mut removed = Vec::new();
        loop {
            let before = removed.len();
            let mut left = Vec::new();
            for id in doomed {
                if self.has_children(&id) {
                    left.push(id);
                } else if let Some(record) = self.images.remove(&id) {
                    removed.push((id, record.names));
                    let parents = self.remove_parents(record.parent, is_unused).into_iter();
                    removed.extend(parents.map(|id| (id, BTreeSet::new())));
                }
            }
            if left.is_empty() || removed.len() == before {
                return removed;
            }
            doomed = left;
        }
    }

    /// The layers that images and others need.
    pub(crate) fn layers(&self) -> HashSet<Digest> {
        let of_images = self
            .images
            .values()
            .flat_map(|record| record.config.rootfs.diff_ids.iter());
        let of_others = self.roots.values().flatten();
        of_images.chain(of_others).cloned().collect()
    }

    /// The documents that images need.
    pub(crate) fn blobs(&self) -> HashSet<Digest> {
        self.images
            .iter()
            .flat_map(|(id, record)| [id.0.clone(), record.manifest_digest.clone()])
            .collect()
    }

    /// Which layer an archive of this digest makes, for archives that were read before.
    pub(crate) fn known_archives(&self) -> HashMap<Digest, Digest> {
        let pairs = |record: &Record| {
            let archives: Vec<Digest> = record
                .manifest
                .layers
                .iter()
                .map(|layer| layer.digest.clone())
                .collect();
            archives
                .into_iter()
                .zip(record.config.rootfs.diff_ids.clone())
                .collect::<Vec<_>>()
        };
        self.images.values().flat_map(pairs).collect()
    }

    /// The index's entries: one for each name, one for an image without.
    pub(crate) fn entries(&self) -> Vec<Descriptor> {
        self.images.values().flat_map(Record::entries).collect()
    }

    fn by_prefix(&self, prefix: &str) -> Result<Option<ImageId>, ImageError> {
        if prefix.is_empty() || !is_lower_hex(prefix) {
            return Ok(None);
        }
        let mut found = self
            .images
            .keys()
            .filter(|id| id.0.hex().starts_with(prefix));
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(ImageError::Ambiguous(prefix.to_owned())),
            (first, _) => Ok(first.cloned()),
        }
    }
}

impl Record {
    /// Takes over what an index entry says beyond the manifest.
    pub(crate) fn adopt(&mut self, entry: &Descriptor) {
        if let Some(name) = entry
            .annotation(NAME_ANNOTATION)
            .and_then(|name| name.parse().ok())
        {
            self.names.insert(name);
        }
        if let Some(time) = entry.annotation(TAGGED_ANNOTATION) {
            time.clone_into(&mut self.last_tagged);
        }
        let parent = entry.annotation(PARENT_ANNOTATION);
        if let Some(parent) = parent.and_then(|parent| parent.parse().ok()) {
            self.parent = Some(ImageId(parent));
        }
    }

    /// The image as callers see it.
    pub(crate) fn image(&self, id: &ImageId, layers: &Layers) -> Image {
        let records: Vec<_> = self
            .config
            .rootfs
            .diff_ids
            .iter()
            .map(|diff_id| (diff_id, layers.find(diff_id)))
            .collect();
        let sizes: Vec<u64> = records
            .iter()
            .map(|(_, record)| record.as_ref().map_or(0, |record| record.size))
            .collect();
        // An opaque root hides what is below it, which overlayfs itself does not look for.
        let first = records
            .iter()
            .rposition(|(_, record)| record.as_ref().is_some_and(|record| record.is_opaque))
            .unwrap_or(0);
        let visible: Vec<&Digest> = records[first..]
            .iter()
            .map(|(diff_id, _)| *diff_id)
            .collect();
        let familiar = |is_digest: bool| {
            self.names
                .iter()
                .filter(move |name| name.digest().is_some() == is_digest)
                .map(ImageRef::familiar)
                .collect()
        };
        let mut directories: Vec<_> = stack(&visible)
            .into_iter()
            .map(|diff_id| layers.content(diff_id))
            .collect();
        if directories.is_empty() {
            directories.push(layers.empty());
        }
        Image {
            id: id.clone(),
            config: (*self.config).clone(),
            repo_tags: familiar(false),
            repo_digests: familiar(true),
            size: sizes.iter().sum(),
            layer_sizes: sizes,
            layers: directories,
            manifest: self.manifest_digest.clone(),
            last_tagged: self.last_tagged.clone(),
            parent: self.parent.clone(),
        }
    }

    fn entries(&self) -> Vec<Descriptor> {
        let entry = |name: Option<&ImageRef>| {
            let mut annotations =
                Annotations::from([(TAGGED_ANNOTATION.to_owned(), self.last_tagged.clone())]);
            if let Some(parent) = &self.parent {
                annotations.insert(PARENT_ANNOTATION.to_owned(), parent.to_string());
            }
            if let Some(name) = name {
                annotations.insert(NAME_ANNOTATION.to_owned(), name.to_string());
                annotations.extend(
                    name.tag()
                        .map(|tag| (REF_ANNOTATION.to_owned(), tag.to_owned())),
                );
            }
            let mut entry = Descriptor::new(
                MANIFEST_TYPE,
                self.manifest_digest.clone(),
                self.manifest_size,
            );
            entry.annotations = Some(annotations);
            entry
        };
        if self.names.is_empty() {
            vec![entry(None)]
        } else {
            self.names.iter().map(|name| entry(Some(name))).collect()
        }
    }
}

/// Lowest first, each layer once: overlayfs refuses a directory twice. The highest occurrence stays, because it hides what the lower ones
/// would show.
fn stack<'a>(diff_ids: &[&'a Digest]) -> Vec<&'a Digest> {
    let mut seen = HashSet::new();
    let mut stack: Vec<&Digest> = diff_ids
        .iter()
        .rev()
        .copied()
        .filter(|diff_id| seen.insert(*diff_id))
        .collect();
    stack.reverse();
    stack
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_occurs_twice_is_stacked_once_at_its_highest_place() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|text| Digest::of(text));
        assert_eq!(stack(&[&a, &b, &a, &c]), [&b, &a, &c]);
        assert_eq!(stack(&[]), Vec::<&Digest>::new());
    }
}
