//! What a build is told besides the Dockerfile, and what it learns of its base images.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{ImageConfig, Network, Platform};
use crate::ignore::Ignore;
use crate::span::Span;

/// What a build is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// `--target`; `None` is the last stage.
    pub target: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--platform`.
    pub target_platform: Platform,
    /// Where the build runs.
    pub build_platform: Platform,
    /// `--build-context`, by name in lower case.
    pub contexts: BTreeMap<String, NamedContext>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--network`.
    pub network: Network,
    /// Whose results are not taken from the cache.
    pub no_cache: NoCache,
    /// The main context's `.dockerignore`, for a check.
    pub ignore: Option<Ignore>,
    /// Tell what each instruction leaves: [`crate::BuildGraph::trail`].
    pub trail: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            target: None,
            build_args: BTreeMap::new(),
            target_platform: Platform::host(),
            build_platform: Platform::host(),
            contexts: BTreeMap::new(),
            labels: BTreeMap::new(),
            network: Network::Default,
            no_cache: NoCache::None,
            ignore: None,
            trail: false,
        }
    }
}

/// What a named context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// `docker-image://reference`.
    Image(String),
    /// A directory, an archive, a git repository: files.
    Files,
}

/// Whose results are not taken from the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NoCache {
    /// Nobody's.
    #[default]
    None,
    /// All steps'.
    All,
    /// Those of these stages.
    Stages(BTreeSet<String>),
}

/// An image whose configuration a build needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// As written, after expansion.
    pub reference: String,
    /// Which of its platforms.
    pub platform: Platform,
    /// What asks for it.
    pub span: Span,
}

/// What a build knows of its base images.
#[derive(Debug, Clone, Default)]
pub struct Bases(BTreeMap<(String, Platform), Base>);

/// What is to be known of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base {
    /// Its configuration.
    pub config: ImageConfig,
    /// The platform it is really for, when that is known.
    pub platform: Option<Platform>,
}

impl Bases {
    /// Adds what is known of an image that [`crate::Dockerfile::bases`] asked for.
    pub fn insert(&mut self, image: &BaseImage, base: Base) {
        self.0
            .insert((image.reference.clone(), image.platform.clone()), base);
    }

    pub(crate) fn get(&self, reference: &str, platform: &Platform) -> Option<&Base> {
        self.0.get(&(reference.to_owned(), platform.clone()))
    }
}
