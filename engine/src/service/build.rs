//! Building images.

use std::sync::Arc;

use hoist_api::build::{BuildEvent, BuildPrune, BuildPruned, BuildRequest};
use hoist_api::error::{ApiError, ErrorKind, Result};
use tokio::sync::mpsc;

use super::Service;
use super::images::PieceReader;

/// Events of a build; dropping it ends the build.
pub(crate) type BuildEvents = mpsc::Receiver<BuildEvent>;

impl Service {
    /// Starts a build. What is wrong with the request itself is an error; everything later is an event.
    pub(crate) async fn image_build(
        self: &Arc<Self>,
        _request: BuildRequest,
        _body: PieceReader,
    ) -> Result<BuildEvents> {
        Err(ApiError::new(
            ErrorKind::NotImplemented,
            "this engine does not build images yet",
        ))
    }

    /// Removes records of the build cache.
    pub(crate) async fn build_prune(self: &Arc<Self>, _options: BuildPrune) -> Result<BuildPruned> {
        Ok(BuildPruned::default())
    }
}
