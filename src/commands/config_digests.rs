//! `hoist config --resolve-image-digests` and `--lock-image-digests`: what the images' names stand for now.
//!
//! The registry is asked, through the engine. Where it does not answer, the digest that a local image was pulled by is
//! the next best: it is what `up` would run.

use std::collections::BTreeMap;

use hoist_api::digest::InvalidDigest;
use hoist_api::image_ref::ImageRefError;
use hoist_api::{ApiError, Digest, Engine, ImageRef};
use serde_json::{Map, Value, json};

use crate::connect;
use crate::context::Context;
use crate::failure::Failure;

/// Replaces the image of every service by its digest.
///
/// # Errors
/// A name is no image's, or its digest cannot be found out.
pub(crate) fn pin(context: &Context, model: &mut Value) -> Result<(), Failure> {
    let mut pinned: BTreeMap<String, String> = BTreeMap::new();
    let mut unknown: Vec<(String, ImageRef)> = Vec::new();
    for image in images(model) {
        let Some(name) = image.as_str().filter(|name| !pinned.contains_key(*name)) else {
            continue;
        };
        let reference: ImageRef = name
            .parse()
            .map_err(|error: ImageRefError| Failure::from(error).context(cannot(name)))?;
        match reference.digest().cloned() {
            Some(digest) => {
                pinned.insert(name.to_owned(), reference.with_digest(digest).full());
            }
            None if unknown.iter().any(|(known, _)| known == name) => {}
            None => unknown.push((name.to_owned(), reference)),
        }
    }
    if !unknown.is_empty() {
        pinned.extend(connect::wait_for(resolve(context, unknown))?);
    }
    for image in images(model) {
        if let Some(digest) = image.as_str().and_then(|name| pinned.get(name)) {
            *image = Value::String(digest.clone());
        }
    }
    Ok(())
}

/// Only the services with their images: a file that pins another one.
pub(crate) fn lock(model: &Value) -> Value {
    let services = model.get("services").and_then(Value::as_object);
    let pinned = services.into_iter().flatten().map(|(name, service)| {
        let image = service.get("image").cloned();
        (
            name.clone(),
            image.map_or(json!({}), |image| json!({ "image": image })),
        )
    });
    json!({ "services": pinned.collect::<Map<String, Value>>() })
}

/// The images of the services.
fn images(model: &mut Value) -> impl Iterator<Item = &mut Value> {
    let services = model.get_mut("services").and_then(Value::as_object_mut);
    services
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(|service| service.get_mut("image"))
}

fn cannot(name: &str) -> String {
    format!("cannot find out the digest of {name}")
}

async fn resolve(
    context: &Context,
    names: Vec<(String, ImageRef)>,
) -> Result<Vec<(String, String)>, Failure> {
    let engine = connect::engine(context).await?;
    let mut pinned = Vec::new();
    for (name, reference) in names {
        let auth = super::object::transfer::stored_auth(&reference.full())?;
        let digest: Digest = match engine.distribution_inspect(&reference.full(), &auth).await {
            Ok(found) => found
                .descriptor
                .digest
                .parse()
                .map_err(|error: InvalidDigest| Failure::from(error).context(cannot(&name)))?,
            Err(error) => {
                let digest = local_digest(&engine, &reference)
                    .await
                    .ok_or_else(|| unresolved(&name, error.clone()))?;
                context.ui.warn(&format!(
                    "{name}: taking the digest that the local image was pulled by: {error}"
                ));
                digest
            }
        };
        pinned.push((name, format!("{}@{digest}", reference.full())));
    }
    Ok(pinned)
}

/// The digest that the local image of this name was pulled by.
async fn local_digest<E: Engine>(engine: &E, reference: &ImageRef) -> Option<Digest> {
    let image = engine.image_inspect(&reference.full()).await.ok()?;
    let pulled = image
        .repo_digests
        .iter()
        .filter_map(|text| text.parse().ok());
    pulled
        .filter(|known: &ImageRef| known.same_repository(reference))
        .find_map(|known| known.digest().cloned())
}

fn unresolved(name: &str, refusal: ApiError) -> Failure {
    Failure::from(refusal)
        .context(cannot(name))
        .hint("pull the image first, or write its digest into the file (image: name@sha256:…)")
}
