//! Calls on images beyond the [`Engine`](crate::Engine) trait: those for one platform only (Engine API 1.46 to 1.50), which are the trait's
//! own when none is named, and pulls of all tags.

use serde_json::Value;

use super::engine::{TAR, parse_reference};
use super::request::Call;
use super::{Client, streams};
use crate::engine::{ByteStream, PieceStream, ProgressStream};
use crate::error::Result;
use crate::image::{ImageDelete, ImageHistory, ImagePlatform, PullImage, PushImage, RemoveImage};

impl Call {
    /// Adds a platform as the API has it: JSON.
    fn platform(self, key: &str, platform: Option<&ImagePlatform>) -> Self {
        let text = platform.and_then(|platform| serde_json::to_string(platform).ok());
        self.query(key, &text.unwrap_or_default())
    }
}

impl Client {
    /// Pulls every tag of a repository; the tag of the reference does not matter.
    ///
    /// # Errors
    /// There is no such repository, or the registry does not list its tags.
    pub async fn image_pull_all(&self, pull: &PullImage) -> Result<ProgressStream> {
        let reference = parse_reference(&pull.reference)?;
        self.pull(pull, &reference.familiar_repository(), None)
            .await
    }

    /// `POST /images/create`: without a tag all of them.
    pub(super) async fn pull(
        &self,
        pull: &PullImage,
        repository: &str,
        tag: Option<&str>,
    ) -> Result<ProgressStream> {
        let call = Call::post("/images/create")
            .query("fromImage", repository)
            .query("tag", tag.unwrap_or_default())
            .query("platform", &pull.platform)
            .registry_auth(&pull.auth);
        let answer = self.send(call).await?.response;
        Ok(streams::progress(streams::pieces(answer)))
    }

    /// Everything about an image of a platform, in the engine's own words.
    ///
    /// # Errors
    /// There is none, or only for another platform.
    pub async fn image_inspect_of(
        &self,
        image: &str,
        platform: Option<&ImagePlatform>,
    ) -> Result<Value> {
        self.json(Call::get(format!("/images/{image}/json")).platform("platform", platform))
            .await
    }

    /// Removes a reference for these platforms, and the image with its last one; for all when none is named.
    ///
    /// # Errors
    /// There is none, it is in use, or for another platform.
    pub async fn image_remove_of(
        &self,
        image: &str,
        options: RemoveImage,
        platforms: &[ImagePlatform],
    ) -> Result<Vec<ImageDelete>> {
        let call = Call::delete(format!("/images/{image}"))
            .flag("force", options.force)
            .flag("noprune", options.no_prune);
        let call = platforms.iter().fold(call, |call, platform| {
            call.platform("platforms", Some(platform))
        });
        self.json(call).await
    }

    /// Loads images of a platform from an archive.
    ///
    /// # Errors
    /// The archive cannot be read.
    pub async fn image_load_of(
        &self,
        body: ByteStream,
        platform: Option<&ImagePlatform>,
    ) -> Result<ProgressStream> {
        let call = Call::post("/images/load")
            .query("quiet", "1")
            .platform("platform", platform)
            .stream(body, TAR);
        let answer = self.send(call).await?.response;
        Ok(streams::progress(streams::pieces(answer)))
    }

    /// Images of a platform as one archive.
    ///
    /// # Errors
    /// One does not exist, or only for another platform.
    pub async fn image_save_of(
        &self,
        images: &[String],
        platform: Option<&ImagePlatform>,
    ) -> Result<PieceStream> {
        let mut call = Call::get("/images/get").platform("platform", platform);
        for image in images {
            call = call.query("names", image);
        }
        Ok(streams::pieces(self.send(call).await?.response))
    }

    /// How an image of a platform was made, newest step first.
    ///
    /// # Errors
    /// There is none, or only for another platform.
    pub async fn image_history_of(
        &self,
        image: &str,
        platform: Option<&ImagePlatform>,
    ) -> Result<Vec<ImageHistory>> {
        self.json(Call::get(format!("/images/{image}/history")).platform("platform", platform))
            .await
    }

    /// Pushes an image of a platform.
    ///
    /// # Errors
    /// There is none, only for another platform, or the registry refuses it.
    pub async fn image_push_of(
        &self,
        push: &PushImage,
        platform: Option<&ImagePlatform>,
    ) -> Result<ProgressStream> {
        let reference = parse_reference(&push.reference)?;
        // Docker's engine wants the header even when there is nothing in it.
        let auth = if push.auth.is_empty() {
            "e30="
        } else {
            &push.auth
        };
        let last = push.reference.rsplit('/').next();
        let has_tag = last.is_some_and(|last| last.contains(':'));
        let tag = reference.tag().filter(|_| has_tag).unwrap_or_default();
        let call = Call::post(format!("/images/{}/push", reference.familiar_repository()))
            .query("tag", tag)
            .platform("platform", platform)
            .registry_auth(auth);
        let answer = self.send(call).await?.response;
        Ok(streams::progress(streams::pieces(answer)))
    }
}
