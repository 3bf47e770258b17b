//! Docker's rules of `image rm`, as a decision about values: what loses its name, what goes, what is in conflict.

use super::error::ImageError;
use super::id::ImageId;
use super::state::{Record, State};
use super::store::{ImageUse, ImageUsers};
use hoist_api::ImageRef;

/// What a removal is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Removal {
    pub(crate) id: ImageId,
    /// Names to take away.
    pub(crate) untag: Vec<ImageRef>,
    /// Whether the image itself goes.
    pub(crate) delete: bool,
}

/// Decides on `image rm [--force] text`.
pub(crate) fn decide(
    state: &State,
    text: &str,
    users: &ImageUsers,
    force: bool,
) -> Result<Removal, ImageError> {
    let id = state.resolve(text)?;
    let Some(record) = state.images.get(&id) else {
        return Err(ImageError::NotFound(text.to_owned()));
    };
    let users = users.get(&id).map_or(&[][..], Vec::as_slice);
    if state.is_id(text, &id) {
        by_id(&id, record, (users, state.has_children(&id)), force)
    } else {
        let removal = by_name(&id, record, users, (text, force))?;
        // Without a name it is still what others were made from.
        let delete = removal.delete && !state.has_children(&id);
        Ok(Removal { delete, ..removal })
    }
}

fn by_name(
    id: &ImageId,
    record: &Record,
    users: &[ImageUse],
    (text, force): (&str, bool),
) -> Result<Removal, ImageError> {
    if let Some(user) = users.first()
        && !force
        && is_single(record)
    {
        return Err(ImageError::Conflict(format!(
            "unable to remove repository reference {text:?} (must force) - container {} is using its referenced image {}",
            short(&user.container),
            id.short()
        )));
    }
    let name: ImageRef = text.parse().map_err(|source| ImageError::Reference {
        name: text.to_owned(),
        source,
    })?;
    let mut untag: Vec<ImageRef> = record
        .names
        .iter()
        .filter(|known| is_meant(known, &name))
        .cloned()
        .collect();
    let stays = |known: &&ImageRef| !untag.contains(known);
    let repository_has_tag = record
        .names
        .iter()
        .filter(stays)
        .any(|known| known.digest().is_none() && known.same_repository(&name));
    if !repository_has_tag {
        // A digest alone is no name that anybody would miss.
        let digests: Vec<ImageRef> = record
            .names
            .iter()
            .filter(stays)
            .filter(|known| known.same_repository(&name))
            .cloned()
            .collect();
        untag.extend(digests);
    }
    let delete = untag.len() == record.names.len() && users.is_empty();
    Ok(Removal {
        id: id.clone(),
        untag,
        delete,
    })
}

fn by_id(
    id: &ImageId,
    record: &Record,
    (users, has_children): (&[ImageUse], bool),
    force: bool,
) -> Result<Removal, ImageError> {
    let conflict = |how: &str, why: String| {
        Err(ImageError::Conflict(format!(
            "unable to delete {} ({how}) - {why}",
            id.short()
        )))
    };
    if has_children {
        return conflict(
            "cannot be forced",
            "image has dependent child images".to_owned(),
        );
    }
    if let Some(user) = users.iter().find(|user| user.running) {
        return conflict(
            "cannot be forced",
            format!(
                "image is being used by running container {}",
                short(&user.container)
            ),
        );
    }
    if !force {
        if let Some(user) = users.first() {
            return conflict(
                "must be forced",
                format!(
                    "image is being used by stopped container {}",
                    short(&user.container)
                ),
            );
        }
        if !is_single(record) {
            return conflict(
                "must be forced",
                "image is referenced in multiple repositories".to_owned(),
            );
        }
    }
    Ok(Removal {
        id: id.clone(),
        untag: record.names.iter().cloned().collect(),
        delete: users.is_empty(),
    })
}

/// Whether one tag, with digests of the same repository at most, is all that names the image.
fn is_single(record: &Record) -> bool {
    let mut tags = record.names.iter().filter(|name| name.digest().is_none());
    match (tags.next(), tags.next()) {
        (_, Some(_)) => false,
        (Some(tag), None) => record.names.iter().all(|name| name.same_repository(tag)),
        (None, None) => record
            .names
            .iter()
            .zip(record.names.iter().skip(1))
            .all(|(one, next)| one.same_repository(next)),
    }
}

/// A name without a tag but with a digest means every name of the image in that repository.
fn is_meant(known: &ImageRef, name: &ImageRef) -> bool {
    match name.digest() {
        None => known == name,
        Some(digest) => {
            known.same_repository(name)
                && (known.digest() == Some(digest) || known.digest().is_none())
        }
    }
}

fn short(container: &str) -> &str {
    container.get(..12).unwrap_or(container)
}
