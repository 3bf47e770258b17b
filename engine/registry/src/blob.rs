//! A blob on its way in: resumed when the connection breaks, checked for size and digest while it passes.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use hyper::{Method, Response, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::client::{Call, STALL_LIMIT, Session};
use crate::error::RegistryError;
use crate::manifest::Descriptor;
use crate::retry;
use hoist_api::{Digest, ImageRef};

/// Reads a blob. Only after the last piece it is certain that the content is what its digest says: whoever uses it must read to the end.
#[derive(Debug)]
pub struct BlobReader {
    session: Session,
    image: ImageRef,
    digest: Digest,
    size: u64,
    body: Option<Incoming>,
    /// Bytes that were handed out.
    offset: u64,
    /// Bytes at the beginning of the body that were handed out before.
    skip: u64,
    hasher: Sha256,
    /// Tries since the last piece.
    tried: u32,
    is_done: bool,
}

impl BlobReader {
    pub(crate) fn new(session: Session, image: &ImageRef, descriptor: &Descriptor) -> Self {
        Self {
            session,
            image: image.clone(),
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            body: None,
            offset: 0,
            skip: 0,
            hasher: Sha256::new(),
            tried: 0,
            is_done: false,
        }
    }

    /// Bytes of the blob, as its descriptor says.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next piece; none at the end, which is reached only when size and digest are right.
    ///
    /// # Errors
    /// The blob is not there or not what it should be, or the connection broke too often.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            if self.is_done {
                return Ok(None);
            }
            if self.body.is_none() {
                self.body = Some(self.open().await?);
            }
            match self.piece().await {
                Ok(Some(piece)) => {
                    let piece = self.without_known(piece);
                    if piece.is_empty() {
                        continue;
                    }
                    return self.take(piece).map(Some);
                }
                Ok(None) if self.offset == self.size => return self.finish().map(|()| None),
                Ok(None) => {
                    let what = format!(
                        "the blob {} ends after {} of {} bytes",
                        self.digest, self.offset, self.size
                    );
                    self.interrupted(self.wrong(what)).await?;
                }
                Err(error) => self.interrupted(error).await?,
            }
        }
    }

    /// What is left of a piece after the bytes that a server sends again although it was asked for the rest.
    fn without_known(&mut self, mut piece: Bytes) -> Bytes {
        let known = usize::try_from(self.skip).map_or(piece.len(), |skip| skip.min(piece.len()));
        self.skip -= known as u64;
        piece.split_off(known)
    }

    fn take(&mut self, piece: Bytes) -> Result<Bytes, RegistryError> {
        self.offset += piece.len() as u64;
        if self.offset > self.size {
            let what = format!(
                "the blob {} is longer than the {} bytes that it should have",
                self.digest, self.size
            );
            return Err(self.wrong(what));
        }
        self.tried = 0;
        self.hasher.update(&piece);
        Ok(piece)
    }

    fn finish(&mut self) -> Result<(), RegistryError> {
        self.is_done = true;
        let found = Digest::from_hash(&self.hasher.finalize_reset());
        if found == self.digest {
            return Ok(());
        }
        Err(self.wrong(format!(
            "the blob {} has content with the digest {found}",
            self.digest
        )))
    }

    /// Decides whether to go on after a break.
    async fn interrupted(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.body = None;
        self.tried += 1;
        if self.tried >= retry::TRIES {
            return Err(error);
        }
        tracing::debug!(blob = %self.digest, offset = self.offset, %error, "a download broke off; going on");
        tokio::time::sleep(retry::wait(self.tried - 1, None)).await;
        Ok(())
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let Some(body) = &mut self.body else {
            return Ok(None);
        };
        loop {
            let frame = tokio::time::timeout(STALL_LIMIT, body.frame()).await;
            let host = || self.session.host().to_owned();
            return match frame {
                Err(_) => Err(RegistryError::Timeout {
                    host: host(),
                    seconds: STALL_LIMIT.as_secs(),
                }),
                Ok(None) => Ok(None),
                Ok(Some(Err(error))) => Err(RegistryError::Unreachable {
                    host: host(),
                    source: Box::new(error),
                }),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Ok(Some(data)),
                    // Trailers.
                    Err(_) => continue,
                },
            };
        }
    }

    async fn open(&mut self) -> Result<Incoming, RegistryError> {
        let path = format!("/v2/{}/blobs/{}", self.image.path(), self.digest);
        let mut call = Call::new(Method::GET, self.session.uri(&path).await?);
        if self.offset > 0 {
            call.headers
                .push((RANGE, format!("bytes={}-", self.offset)));
        }
        let scope = format!("repository:{}:pull", self.image.path());
        let response = self.session.send(call, &scope).await?;
        self.skip = match response.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(&response, self.offset) => 0,
            StatusCode::PARTIAL_CONTENT => {
                return Err(self.wrong(format!(
                    "it sends another part of the blob {} than asked for",
                    self.digest
                )));
            }
            // From the beginning, as servers do that know no ranges.
            StatusCode::OK => {
                self.check_length(&response)?;
                self.offset
            }
            _ => {
                let what = format!("the request for the blob {}", self.digest);
                let about = (&self.image, what.as_str());
                return Err(self.session.failure(response, "pull", about).await);
            }
        };
        Ok(response.into_body())
    }

    /// A lie about the length is told before a byte is fetched.
    fn check_length(&self, response: &Response<Incoming>) -> Result<(), RegistryError> {
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        match length {
            Some(length) if length != self.size => Err(self.wrong(format!(
                "the blob {} has {length} bytes, its manifest says {}",
                self.digest, self.size
            ))),
            _ => Ok(()),
        }
    }

    fn wrong(&self, what: String) -> RegistryError {
        RegistryError::wrong(self.session.host(), what)
    }
}

fn starts_at(response: &Response<Incoming>, offset: u64) -> bool {
    response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            value
                .strip_prefix("bytes ")?
                .split('-')
                .next()?
                .trim()
                .parse::<u64>()
                .ok()
        })
        == Some(offset)
}
