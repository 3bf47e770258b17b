//! What is needed of whoever builds.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use hoist_api::build::{BuildEvent, BuildPrune, BuildPruned, BuildRequest};
use hoist_api::error::Result;

use crate::session::Session;

/// What a build tells, in order; dropping it ends the build.
pub type Events = BoxStream<'static, BuildEvent>;

/// What an image is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Its full name.
    pub reference: String,
    /// Its digest.
    pub digest: String,
    /// Its configuration, in JSON.
    pub config: Vec<u8>,
}

/// Builds images.
pub trait Builder: Send + Sync + std::fmt::Debug + 'static {
    /// Starts a build. Credentials that the request does not have are asked of the session.
    fn build(&self, request: BuildRequest, session: Arc<Session>) -> BoxFuture<'_, Result<Events>>;

    /// An image of the store, or of its registry.
    fn image_config(&self, reference: String) -> BoxFuture<'_, Result<ImageConfig>>;

    /// Removes records of the build cache.
    fn prune(&self, options: BuildPrune) -> BoxFuture<'_, Result<BuildPruned>>;
}
