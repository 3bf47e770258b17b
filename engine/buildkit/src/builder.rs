//! What is needed of whoever builds.

use std::fs::File;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use hoist_api::build::{BuildEvent, BuildPrune, BuildPruned, BuildRequest};
use hoist_api::error::Result;
use hoist_api::system::BuildCacheRecord;
use serde_json::Value;

use crate::proto::session::Stat;
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

/// Whose files are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// An image's.
    Image(String),
    /// Those of layers, lowest first.
    Layers(Vec<String>),
}

/// What is asked of a path; links are followed, and lead nowhere but beneath the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// The bytes of a file: at most so many, from an offset on.
    Read {
        /// Where to begin.
        offset: u64,
        /// How many; none: all.
        length: Option<u64>,
    },
    /// What is in a directory: names that match the pattern, all when it is empty.
    List(String),
    /// What it is.
    Stat,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// Bytes of a file.
    Bytes(Vec<u8>),
    /// Entries, by name.
    Entries(Vec<Stat>),
    /// One.
    Entry(Stat),
}

/// What is asked of a Dockerfile itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Describe {
    /// Its stages.
    Targets,
    /// What the build of a target can be given.
    Outline,
}

/// Builds images.
pub trait Builder: Send + Sync + std::fmt::Debug + 'static {
    /// Starts a build. `context` is the archive when the request says that there is one. Credentials, secrets and SSH agents that the
    /// request does not have are asked of the session.
    fn build(
        &self,
        request: BuildRequest,
        context: Option<File>,
        session: Arc<Session>,
    ) -> BoxFuture<'_, Result<Events>>;

    /// Tells of a Dockerfile what BuildKit's call of this name tells, without its sources.
    ///
    /// # Errors
    /// What is wrong with it.
    fn describe(&self, what: Describe, text: &[u8], request: &BuildRequest) -> Result<Value>;

    /// Looks at a path of a result.
    fn look(&self, tree: Tree, path: String, look: Look) -> BoxFuture<'_, Result<Seen>>;

    /// An image of the store, or of its registry.
    fn image_config(&self, reference: String) -> BoxFuture<'_, Result<ImageConfig>>;

    /// Pushes an image of the store under its name, with the credentials that the session has.
    fn push(&self, name: String, session: Arc<Session>) -> BoxFuture<'_, Result<()>>;

    /// What the build cache holds.
    fn usage(&self) -> BoxFuture<'_, Result<Vec<BuildCacheRecord>>>;

    /// Removes records of the build cache.
    fn prune(&self, options: BuildPrune) -> BoxFuture<'_, Result<BuildPruned>>;
}
