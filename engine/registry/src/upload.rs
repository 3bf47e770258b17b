//! Pushing: blobs that are there are not sent, blobs of other repositories are mounted, the rest goes up in pieces that can be resumed.

use std::fs::File;
use std::sync::Arc;

use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE};
use hyper::{Method, Response, StatusCode, Uri, body::Incoming};

use crate::client::{Call, Payload, Repository};
use crate::error::RegistryError;
use crate::retry;
use crate::uri::{resolve, with_query};
use hoist_api::Digest;

/// One piece of an upload; what a break costs at most.
const PIECE: u64 = 32 << 20;

/// A blob to be pushed.
#[derive(Debug, Clone)]
pub struct BlobFile {
    /// The content.
    pub file: Arc<File>,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// How a blob came to be in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploaded {
    /// It was there.
    Existed,
    /// The registry took it from another of its repositories.
    Mounted,
    /// It was sent.
    Sent,
}

/// Where an upload goes on.
struct Upload {
    location: Uri,
    /// Bytes that have arrived.
    offset: u64,
}

impl Repository {
    /// The size of a blob in the registry's repository; none when it is not there.
    ///
    /// # Errors
    /// The registry cannot be asked, or refuses.
    pub async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        let path = format!("/v2/{}/blobs/{digest}", self.image.path());
        let call = Call::new(Method::HEAD, self.origin.uri(&path).await?);
        let response = self.origin.send(call, &self.push_scope(None)).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let length = response.headers().get(CONTENT_LENGTH);
                let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
                Ok(Some(length.unwrap_or(0)))
            }
            _ => Err(self
                .failed(response, &format!("the question for the blob {digest}"))
                .await),
        }
    }

    /// Asks the registry to take a blob from its repository `from`, without sending it.
    ///
    /// # Errors
    /// The registry cannot be asked, or refuses to be pushed to.
    pub async fn mount(&self, digest: &Digest, from: &str) -> Result<bool, RegistryError> {
        let path = format!("/v2/{}/blobs/uploads/", self.image.path());
        let uri = self.origin.uri(&path).await?;
        let uri = with_query(&uri, &[("mount", digest.as_str()), ("from", from)])
            .ok_or_else(|| self.wrong("the address of an upload is unusable"))?;
        let call = Call::new(Method::POST, uri.clone());
        let response = self.origin.send(call, &self.push_scope(Some(from))).await?;
        match response.status() {
            StatusCode::CREATED => Ok(true),
            // The registry has begun an upload instead.
            StatusCode::ACCEPTED => {
                if let Some(location) = location(&uri, &response) {
                    let cancel = Call::new(Method::DELETE, location);
                    // It would be forgotten some day anyway.
                    let _ = self.origin.send(cancel, &self.push_scope(None)).await;
                }
                Ok(false)
            }
            // No right to read there, or a registry that cannot.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::BAD_REQUEST => {
                Ok(false)
            }
            _ => Err(self.failed(response, "the start of an upload").await),
        }
    }

    /// Sends a blob. `progress` is told how many bytes have arrived.
    ///
    /// # Errors
    /// The registry refuses it, or the connection broke too often.
    pub async fn upload(
        &self,
        blob: &BlobFile,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), RegistryError> {
        let mut upload = self.begin().await?;
        let mut tried = 0;
        while upload.offset < blob.size {
            let before = upload.offset;
            match self.send_piece(&upload, blob).await {
                Ok(next) => {
                    if next.offset <= before || next.offset > blob.size {
                        return Err(self.wrong("it does not say how much of an upload has arrived"));
                    }
                    tried = 0;
                    upload = next;
                    progress(upload.offset);
                }
                Err(error) => {
                    tried += 1;
                    if tried >= retry::TRIES || !is_broken(&error) {
                        return Err(error);
                    }
                    tracing::debug!(blob = %blob.digest, %error, "an upload broke off; going on");
                    tokio::time::sleep(retry::wait(tried - 1, None)).await;
                    upload = self.resume(&upload).await?;
                }
            }
        }
        self.complete(&upload, blob).await
    }

    /// Puts a manifest under a tag or its digest; returns the digest under which the registry has it.
    ///
    /// # Errors
    /// The registry refuses it.
    pub async fn put_manifest(
        &self,
        name: &str,
        media_type: &str,
        text: &[u8],
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(text);
        let path = format!("/v2/{}/manifests/{name}", self.image.path());
        let mut call = Call::new(Method::PUT, self.origin.uri(&path).await?);
        call.headers.push((CONTENT_TYPE, media_type.to_owned()));
        call.payload = Payload::Bytes(text.to_vec().into());
        let response = self.origin.send(call, &self.push_scope(None)).await?;
        if !response.status().is_success() {
            return Err(self.failed(response, "the new manifest").await);
        }
        let told = response.headers().get("docker-content-digest");
        let told = told.and_then(|value| value.to_str().ok());
        match told {
            Some(told) if told.starts_with("sha256:") && told != digest.as_str() => {
                Err(self.wrong(format!("it has stored the manifest {digest} as {told}")))
            }
            _ => Ok(digest),
        }
    }

    async fn begin(&self) -> Result<Upload, RegistryError> {
        let path = format!("/v2/{}/blobs/uploads/", self.image.path());
        let uri = self.origin.uri(&path).await?;
        let call = Call::new(Method::POST, uri.clone());
        let response = self.origin.send(call, &self.push_scope(None)).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.failed(response, "the start of an upload").await);
        }
        let location = location(&uri, &response)
            .ok_or_else(|| self.wrong("it does not say where an upload goes"))?;
        Ok(Upload {
            location,
            offset: 0,
        })
    }

    async fn send_piece(&self, upload: &Upload, blob: &BlobFile) -> Result<Upload, RegistryError> {
        let length = PIECE.min(blob.size - upload.offset);
        let end = upload.offset + length - 1;
        let mut call = Call::new(Method::PATCH, upload.location.clone());
        call.headers = vec![
            (CONTENT_TYPE, "application/octet-stream".to_owned()),
            (CONTENT_RANGE, format!("{}-{end}", upload.offset)),
        ];
        call.payload = Payload::File(Arc::clone(&blob.file), upload.offset, length);
        let response = self.origin.send(call, &self.push_scope(None)).await?;
        if !response.status().is_success() {
            return Err(self
                .failed(response, &format!("the upload of the blob {}", blob.digest))
                .await);
        }
        Ok(self.state_of(&response, upload, end + 1))
    }

    /// Asks how much has arrived.
    async fn resume(&self, upload: &Upload) -> Result<Upload, RegistryError> {
        let call = Call::new(Method::GET, upload.location.clone());
        let response = self.origin.send(call, &self.push_scope(None)).await?;
        if !response.status().is_success() {
            return Err(self.failed(response, "the state of an upload").await);
        }
        Ok(self.state_of(&response, upload, 0))
    }

    fn state_of(&self, response: &Response<Incoming>, upload: &Upload, otherwise: u64) -> Upload {
        Upload {
            location: location(&upload.location, response)
                .unwrap_or_else(|| upload.location.clone()),
            offset: arrived(response).unwrap_or(otherwise),
        }
    }

    async fn complete(&self, upload: &Upload, blob: &BlobFile) -> Result<(), RegistryError> {
        let uri = with_query(&upload.location, &[("digest", blob.digest.as_str())])
            .ok_or_else(|| self.wrong("the address of an upload is unusable"))?;
        let response = self
            .origin
            .send(Call::new(Method::PUT, uri), &self.push_scope(None))
            .await?;
        if response.status() == StatusCode::CREATED || response.status() == StatusCode::NO_CONTENT {
            return Ok(());
        }
        Err(self
            .failed(
                response,
                &format!("the end of the upload of {}", blob.digest),
            )
            .await)
    }

    fn push_scope(&self, from: Option<&str>) -> String {
        let own = format!("repository:{}:pull,push", self.image.path());
        match from {
            Some(from) => format!("{own} repository:{from}:pull"),
            None => own,
        }
    }

    async fn failed(&self, response: Response<Incoming>, what: &str) -> RegistryError {
        self.origin
            .failure(response, "push", (&self.image, what))
            .await
    }

    fn wrong(&self, what: impl Into<String>) -> RegistryError {
        RegistryError::wrong(self.origin.host(), what)
    }
}

fn is_broken(error: &RegistryError) -> bool {
    match error {
        RegistryError::Unreachable { .. } | RegistryError::Timeout { .. } => true,
        RegistryError::Status { status, .. } => *status >= 500 || *status == 416,
        _ => false,
    }
}

fn location(base: &Uri, response: &Response<Incoming>) -> Option<Uri> {
    resolve(base, response.headers().get(LOCATION)?.to_str().ok()?)
}

/// `Range: 0-<last byte>`: how much the registry has. Docker's says `0-0` for nothing, too, which the upload's end tells apart.
fn arrived(response: &Response<Incoming>) -> Option<u64> {
    let value: &HeaderName = &RANGE;
    let text = response.headers().get(value)?.to_str().ok()?;
    let last: u64 = text
        .trim_start_matches("bytes=")
        .split_once('-')?
        .1
        .parse()
        .ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}
