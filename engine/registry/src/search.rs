//! The search of version 1 of Docker's registry API, which Docker Hub and several registries still answer. It is not part of version 2
//! or of the OCI specification.

use hyper::Method;
use hyper::header::ACCEPT;
use serde::Deserialize;

use crate::client::{Call, Client, Session};
use crate::error::RegistryError;
use crate::uri::encode;
use crate::{Credentials, config};

/// Most bytes of an answer.
const ANSWER_LIMIT: usize = 4 << 20;

/// What a search asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The registry as image names have it: `docker.io`, `registry.lab:5000`.
    pub domain: String,
    /// The words.
    pub words: String,
    /// Most results.
    pub limit: u32,
}

/// A repository that fits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Its name, as the registry has it.
    pub name: String,
    /// What its owner says of it.
    pub description: String,
    /// How many people like it.
    pub star_count: i64,
    /// Whether the registry's owner vouches for it.
    pub is_official: bool,
    /// Whether it is built by the registry.
    pub is_automated: bool,
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<Found>,
}

impl Search {
    /// Splits what was typed: `registry.lab:5000/words` asks that registry, all else Docker Hub.
    #[must_use]
    pub fn of(term: &str, limit: u32) -> Self {
        let (domain, words) = match term.split_once('/') {
            Some((first, rest))
                if first.contains(['.', ':']) || first.eq_ignore_ascii_case("localhost") =>
            {
                (first, rest)
            }
            _ => (config::HUB, term),
        };
        let domain = match domain {
            "index.docker.io" => config::HUB,
            other => other,
        };
        let words = match words.strip_prefix("library/") {
            Some(official) if domain == config::HUB => official,
            _ => words,
        };
        Self {
            domain: domain.to_owned(),
            words: words.to_owned(),
            limit,
        }
    }

    fn path(&self) -> String {
        format!("/v1/search?q={}&n={}", encode(&self.words), self.limit)
    }
}

impl Client {
    /// Asks a registry which repositories fit some words. When it cannot be reached, its mirrors are asked.
    ///
    /// # Errors
    /// Nobody can be reached, or the registry has no search. The error is the registry's own, not a mirror's.
    pub async fn search(
        &self,
        search: &Search,
        credentials: Credentials,
    ) -> Result<Vec<Found>, RegistryError> {
        let index = self.config().index(&search.domain);
        let failure = match self.session(index, credentials).search(search).await {
            Ok(found) => return Ok(found),
            Err(failure) => failure,
        };
        let is_away = matches!(
            failure,
            RegistryError::Unreachable { .. } | RegistryError::Timeout { .. }
        );
        if !is_away {
            return Err(failure);
        }
        let places = self.config().endpoints(&search.domain).into_iter();
        for mirror in places.filter(|place| place.is_mirror) {
            let session = self.session(mirror, Credentials::Anonymous);
            match session.search(search).await {
                Ok(found) => return Ok(found),
                Err(error) => tracing::debug!(%error, "a mirror cannot search"),
            }
        }
        Err(failure)
    }
}

impl Session {
    async fn search(&self, search: &Search) -> Result<Vec<Found>, RegistryError> {
        let mut call = Call::new(Method::GET, self.uri(&search.path()).await?);
        call.headers.push((ACCEPT, "application/json".to_owned()));
        let response = self.send(call, "").await?;
        if !response.status().is_success() {
            let (status, message) = self.explain(response).await;
            return Err(RegistryError::Status {
                host: self.host().to_owned(),
                status: status.as_u16(),
                what: format!("the search for \"{}\"", search.words),
                message,
            });
        }
        let what = format!("the answer to the search for \"{}\"", search.words);
        let text = self.transport.body(response, ANSWER_LIMIT, &what).await?;
        let answer: Answer = serde_json::from_slice(&text).map_err(|error| {
            RegistryError::wrong(self.host(), format!("{what} is unusable: {error}"))
        })?;
        Ok(answer.results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(term: &str, domain: &str, path: &str) {
        let search = Search::of(term, 25);
        assert_eq!(search.domain, domain, "{term}");
        assert_eq!(search.path(), path, "{term}");
    }

    #[test]
    fn what_is_typed_says_whom_to_ask() {
        check("redis", "docker.io", "/v1/search?q=redis&n=25");
        check("library/redis", "docker.io", "/v1/search?q=redis&n=25");
        check(
            "docker.io/library/a b",
            "docker.io",
            "/v1/search?q=a%20b&n=25",
        );
        check("me/tool", "docker.io", "/v1/search?q=me%2Ftool&n=25");
        check(
            "lab:5000/library/x",
            "lab:5000",
            "/v1/search?q=library%2Fx&n=25",
        );
        check("localhost/x", "localhost", "/v1/search?q=x&n=25");
    }
}
