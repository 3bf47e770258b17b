//! The tags of a repository (`GET /v2/<name>/tags/list`, OCI distribution specification, "Listing Tags").

use hyper::Method;
use hyper::header::{ACCEPT, LINK};
use serde::Deserialize;

use crate::client::{Call, Repository};
use crate::error::RegistryError;

/// The most that one page of tags may have.
const PAGE_LIMIT: usize = 4 << 20;
/// Pages that are followed, so that a registry cannot keep somebody for ever.
const PAGES: usize = 1_000;

#[derive(Debug, Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Repository {
    /// All tags, from the registry itself, in its order.
    ///
    /// # Errors
    /// There is no such repository, it may not be read, or what came is not a list.
    pub async fn tags(&self) -> Result<Vec<String>, RegistryError> {
        let session = &self.origin;
        let first = format!("/v2/{}/tags/list", self.image.path());
        let scope = format!("repository:{}:pull", self.image.path());
        let what = format!("the list of tags of {}", self.image.familiar_repository());
        let mut uri = session.uri(&first).await?;
        let mut tags = Vec::new();
        for _ in 0..PAGES {
            let mut call = Call::new(Method::GET, uri.clone());
            call.headers.push((ACCEPT, "application/json".to_owned()));
            let response = session.send(call, &scope).await?;
            if !response.status().is_success() {
                let about = (&self.image, "manifest");
                return Err(session.failure(response, "pull", about).await);
            }
            let link = response.headers().get(LINK);
            let next = link.and_then(|link| next_page(link.to_str().ok()?));
            let next = next.and_then(|next| crate::uri::resolve(&uri, next));
            let text = session.transport.body(response, PAGE_LIMIT, &what).await?;
            let page: Page = serde_json::from_slice(&text).map_err(|error| {
                RegistryError::wrong(session.host(), format!("{what} is unusable: {error}"))
            })?;
            tags.extend(page.tags.unwrap_or_default());
            match next.filter(|next| crate::uri::same_origin(&uri, next)) {
                Some(next) => uri = next,
                None => return Ok(tags),
            }
        }
        let what = format!("{what} has more than {PAGES} pages");
        Err(RegistryError::wrong(session.host(), what))
    }
}

/// The address of `<address>; rel="next"` (RFC 8288).
fn next_page(link: &str) -> Option<&str> {
    let (address, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = rest.contains("rel=\"next\"") || rest.contains("rel=next");
    is_next.then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_next_page() {
        assert_eq!(
            next_page("</v2/a/tags/list?last=x&n=2>; rel=\"next\""),
            Some("/v2/a/tags/list?last=x&n=2")
        );
        assert_eq!(next_page("</v2/a>; rel=\"prev\""), None);
        assert_eq!(next_page("nonsense"), None);
    }
}
