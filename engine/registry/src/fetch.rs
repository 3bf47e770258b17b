//! Manifests: asked for by tag or digest, checked, and followed from a list to the one for a platform.

use hyper::Method;
use hyper::header::ACCEPT;

use crate::blob::BlobReader;
use crate::client::{Call, Repository, Session};
use crate::error::RegistryError;
use crate::manifest::{
    DOCKER_LIST_TYPE, DOCKER_MANIFEST_TYPE, Descriptor, Document, INDEX_TYPE, Index, MANIFEST_TYPE,
    Manifest,
};
use crate::platform::Platform;
use hoist_api::{Digest, ImageRef};

/// As Docker and the distribution specification (section "Pushing Manifests") have it.
const MANIFEST_LIMIT: usize = 4 << 20;
/// Configurations; the largest ones known have some hundred kB.
const CONFIG_LIMIT: u64 = 8 << 20;
/// Lists in lists; honest ones need two.
const DEPTH_LIMIT: usize = 4;
const DIGEST_HEADER: &str = "docker-content-digest";

/// How a manifest is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// By a name that may move.
    Tag(String),
    /// By its content.
    Digest(Digest),
}

impl Wanted {
    /// What an image's name names; a digest counts more than a tag beside it.
    #[must_use]
    pub fn of(image: &ImageRef) -> Self {
        match (image.digest(), image.tag()) {
            (Some(digest), _) => Self::Digest(digest.clone()),
            (None, tag) => Self::Tag(tag.unwrap_or("latest").to_owned()),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Tag(tag) => tag,
            Self::Digest(digest) => digest.as_str(),
        }
    }
}

/// A manifest or a list, as it is in the registry.
#[derive(Debug)]
pub struct FetchedManifest {
    /// The bytes.
    pub text: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// What the registry said it is; what it is, [`FetchedManifest::document`] says.
    pub media_type: String,
    /// What it is.
    pub document: Document,
}

/// The image for a platform.
#[derive(Debug)]
pub struct Chosen {
    /// What the name led to: the manifest itself, or the list that it was chosen from. This is the digest that people see.
    pub digest: Digest,
    /// The manifest's bytes.
    pub text: Vec<u8>,
    /// The manifest.
    pub manifest: Manifest,
    /// Where it was found: blobs are fetched from there first.
    pub source: Source,
    /// The places that would have been asked next, the registry itself last: for blobs that the first does not give.
    pub others: Vec<Source>,
}

impl Chosen {
    /// A small blob as a whole, from the first place that gives it.
    ///
    /// # Errors
    /// The last place's: it is not there, too large, or what came is not true.
    pub async fn small_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        let mut place = &self.source;
        for next in &self.others {
            match place.small_blob(descriptor).await {
                Err(error) if error.is_worth_a_mirror() => place.is_given_up(&error),
                result => return result,
            }
            place = next;
        }
        place.small_blob(descriptor).await
    }

    /// All places that blobs may be had from, best first.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        std::iter::once(&self.source).chain(&self.others)
    }
}

/// One of a repository's places.
#[derive(Debug, Clone)]
pub struct Source {
    session: Session,
    image: ImageRef,
}

impl Repository {
    /// The image's name.
    #[must_use]
    pub fn image(&self) -> &ImageRef {
        &self.image
    }

    /// Finds the image for a platform: mirrors first, then the registry.
    ///
    /// # Errors
    /// The last place's: it is not there, not for this platform, or what came is not true.
    pub async fn find(&self, platform: &Platform) -> Result<Chosen, RegistryError> {
        let mut last = None;
        let mut sources = self.sources();
        while let Some(source) = sources.next() {
            match source.find(platform).await {
                Err(error) if error.is_worth_a_mirror() => {
                    source.is_given_up(&error);
                    last = Some(error);
                }
                result => {
                    return result.map(|chosen| Chosen {
                        others: sources.collect(),
                        ..chosen
                    });
                }
            }
        }
        Err(last.unwrap_or_else(|| RegistryError::wrong(self.image.domain(), "no host is known")))
    }

    /// What the name leads to, from the registry itself: for `distribution inspect`.
    ///
    /// # Errors
    /// It is not there, or what came is not true.
    pub async fn manifest(&self) -> Result<FetchedManifest, RegistryError> {
        let source = Source {
            session: self.origin.clone(),
            image: self.image.clone(),
        };
        source.manifest(&Wanted::of(&self.image)).await
    }

    /// All places, best first.
    pub fn sources(&self) -> impl Iterator<Item = Source> {
        let image = &self.image;
        self.sources.iter().map(move |session| Source {
            session: session.clone(),
            image: image.clone(),
        })
    }
}

impl Source {
    /// Notes that another place is asked.
    pub fn is_given_up(&self, error: &RegistryError) {
        if self.session.endpoint.is_mirror {
            tracing::info!(mirror = self.session.host(), %error, "a mirror does not serve an image; trying the next");
        }
    }

    async fn find(&self, platform: &Platform) -> Result<Chosen, RegistryError> {
        let mut fetched = self.manifest(&Wanted::of(&self.image)).await?;
        let digest = fetched.digest.clone();
        for _ in 0..DEPTH_LIMIT {
            let index = match fetched.document {
                Document::Manifest(manifest) => {
                    return Ok(Chosen {
                        digest,
                        text: fetched.text,
                        manifest,
                        source: self.clone(),
                        others: Vec::new(),
                    });
                }
                Document::Index(index) => index,
            };
            let entry = choose(&index, platform)?;
            fetched = self.manifest(&Wanted::Digest(entry.digest.clone())).await?;
            if entry.size != 0 && entry.size != fetched.text.len() as u64 {
                let what = format!(
                    "the manifest {} has {} bytes, the list says {}",
                    entry.digest,
                    fetched.text.len(),
                    entry.size
                );
                return Err(RegistryError::wrong(self.session.host(), what));
            }
        }
        let what = "its lists of manifests lie too deep in each other";
        Err(RegistryError::wrong(self.session.host(), what))
    }

    /// One manifest or list.
    ///
    /// # Errors
    /// It is not there, or what came is not true.
    pub async fn manifest(&self, wanted: &Wanted) -> Result<FetchedManifest, RegistryError> {
        let path = format!("/v2/{}/manifests/{}", self.image.path(), wanted.text());
        let mut call = Call::new(Method::GET, self.session.uri(&path).await?);
        let accepted = [
            MANIFEST_TYPE,
            INDEX_TYPE,
            DOCKER_MANIFEST_TYPE,
            DOCKER_LIST_TYPE,
        ];
        call.headers
            .extend(accepted.map(|kind| (ACCEPT, kind.to_owned())));
        let response = self.session.send(call, &self.scope()).await?;
        if !response.status().is_success() {
            let about = (&self.image, "manifest");
            return Err(self.session.failure(response, "pull", about).await);
        }
        let header = |name: &str| {
            let value = response.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .unwrap_or("")
                .to_owned()
        };
        let (media_type, promised) = (header("content-type"), header(DIGEST_HEADER));
        let name = format!("the manifest of {}", self.image.familiar());
        let text = self
            .session
            .transport
            .body(response, MANIFEST_LIMIT, &name)
            .await?;
        let digest = Digest::of(&text);
        let lie = |what: String| RegistryError::wrong(self.session.host(), what);
        match wanted {
            Wanted::Digest(expected) if *expected != digest => {
                return Err(lie(format!(
                    "manifest verification failed for digest {expected}: the content has {digest}"
                )));
            }
            Wanted::Tag(_)
                if !promised.is_empty()
                    && promised != digest.as_str()
                    && promised.starts_with("sha256:") =>
            {
                return Err(lie(format!(
                    "{name} has the digest {digest}, the registry says {promised}"
                )));
            }
            _ => {}
        }
        let document = Document::parse(&text).map_err(|why| {
            if text.trim_ascii_start().starts_with(b"<") {
                lie(format!("{name} is a web page (is this a registry?)"))
            } else {
                lie(format!("{name} is unusable: {why}"))
            }
        })?;
        Ok(FetchedManifest {
            text,
            digest,
            media_type,
            document,
        })
    }

    /// A small blob as a whole: the configuration.
    ///
    /// # Errors
    /// It is not there, too large, or what came is not true.
    pub async fn small_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        if descriptor.size > CONFIG_LIMIT {
            let what = format!(
                "the configuration {} has {} bytes; more than {CONFIG_LIMIT} are refused",
                descriptor.digest, descriptor.size
            );
            return Err(RegistryError::wrong(self.session.host(), what));
        }
        let mut reader = self.blob(descriptor);
        let mut content = Vec::new();
        while let Some(piece) = reader.next().await? {
            content.extend_from_slice(&piece);
        }
        Ok(content)
    }

    /// A blob as a stream that is checked while it passes.
    #[must_use]
    pub fn blob(&self, descriptor: &Descriptor) -> BlobReader {
        BlobReader::new(self.session.clone(), &self.image, descriptor)
    }

    fn scope(&self) -> String {
        format!("repository:{}:pull", self.image.path())
    }
}

fn choose<'a>(index: &'a Index, platform: &Platform) -> Result<&'a Descriptor, RegistryError> {
    platform
        .choose(&index.manifests)
        .map_err(|available| RegistryError::Platform {
            wanted: platform.to_string(),
            available,
        })
}
