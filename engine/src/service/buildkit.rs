//! The engine as the builder behind BuildKit's protocol.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use hoist_api::build::{BuildPrune, BuildPruned, BuildRequest};
use hoist_api::error::{ApiError, Result};
use hoist_buildkit::{Builder, Events, ImageConfig, Session};
use tokio::sync::mpsc;

use super::build::Plan;
use super::images::PieceReader;
use super::{Service, image_error};

/// Builds with this engine.
#[derive(Debug)]
pub(crate) struct EngineBuilder(pub(crate) Arc<Service>);

impl Builder for EngineBuilder {
    fn build(&self, request: BuildRequest, session: Arc<Session>) -> BoxFuture<'_, Result<Events>> {
        Box::pin(async move {
            // The context is a directory: there is no archive.
            let (_, nothing) = mpsc::channel(1);
            let asking = (Plan::default(), Some(session));
            let events = self
                .0
                .image_build(request, PieceReader::new(nothing), asking)
                .await?;
            let events = stream::unfold(events, |mut events| async move {
                events.recv().await.map(|event| (event, events))
            });
            Ok(events.boxed())
        })
    }

    fn image_config(&self, reference: String) -> BoxFuture<'_, Result<ImageConfig>> {
        Box::pin(async move {
            let image = self.0.images.resolve(&reference).map_err(image_error)?;
            let config = serde_json::to_vec(&image.config);
            Ok(ImageConfig {
                reference,
                digest: image.manifest.to_string(),
                config: config.map_err(|error| ApiError::internal(&error))?,
            })
        })
    }

    fn prune(&self, options: BuildPrune) -> BoxFuture<'_, Result<BuildPruned>> {
        Box::pin(self.0.build_prune(options))
    }
}
