//! Image references, normalised as Docker does: `nginx` is `docker.io/library/nginx:latest`
//! (distribution/reference, "familiar names").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
/// Longest repository name, as the reference grammar sets it.
const MAX_NAME: usize = 255;
/// Longest tag.
const MAX_TAG: usize = 128;

/// Why a text is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid reference format: {text:?} {reason}")]
pub struct ImageRefError {
    text: String,
    reason: &'static str,
}

/// A normalised image reference: domain, path, and a tag, a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl ImageRef {
    /// Reads and normalises a reference; without tag and digest the tag is `latest`.
    ///
    /// # Errors
    /// When the text does not follow the grammar.
    pub fn parse(text: &str) -> Result<Self, ImageRefError> {
        let fail = |reason| ImageRefError {
            text: text.to_owned(),
            reason,
        };
        if text.len() == 64
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        {
            return Err(fail("is an image id, not a name"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(fail("has a malformed digest"));
        }
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(fail("has a malformed tag"));
        }
        let (domain, path) = split_domain(name);
        if !is_domain(&domain) {
            return Err(fail("has a malformed registry name"));
        }
        if path.is_empty() || domain.len() + 1 + path.len() > MAX_NAME {
            return Err(fail("has an empty or too long name"));
        }
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(fail("must have a name in lower case"));
        }
        if !path.split('/').all(is_path_component) {
            return Err(fail("has a malformed name"));
        }
        let tag = match (tag, digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        Ok(Self {
            domain,
            path,
            tag,
            digest: digest.map(str::to_owned),
        })
    }

    /// The registry's host, `docker.io` for names without one.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry, as `library/nginx`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; absent only when a digest is given without one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, as `sha256:…`.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The repository as people write it, without tag and digest: `nginx`, `user/app`, `host:5000/app`.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.path);
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(short) if !short.contains('/') => short.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The reference as people write it: `nginx:latest`.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// The whole reference: `docker.io/library/nginx:latest`.
    #[must_use]
    pub fn full(&self) -> String {
        self.with_suffix(format!("{}/{}", self.domain, self.path))
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest);
        }
        text
    }
}

/// A first component is a host when it has a dot or a port, is `localhost`, or has upper-case letters.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == LEGACY_DOMAIN {
        DEFAULT_DOMAIN
    } else {
        domain
    };
    let official = domain == DEFAULT_DOMAIN && !path.contains('/') && !path.is_empty();
    (
        domain.to_owned(),
        if official {
            format!("{OFFICIAL}{path}")
        } else {
            path.to_owned()
        },
    )
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let port_good =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    if let Some(address) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return port_good && address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label_good = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    port_good && host.split('.').all(label_good)
}

/// `[a-z0-9]+` runs joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !bytes.first().copied().is_some_and(is_word) || !bytes.last().copied().is_some_and(is_word) {
        return false;
    }
    component
        .split(|character: char| is_word(u8::try_from(character).unwrap_or(0)))
        .filter(|separator| !separator.is_empty())
        .all(|separator| {
            matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !tag.is_empty()
        && tag.len() <= MAX_TAG
        && tag
            .bytes()
            .enumerate()
            .all(|(index, byte)| word(byte) || (index > 0 && matches!(byte, b'.' | b'-')))
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, digits)| {
        algorithm == "sha256"
            && digits.len() == 64
            && digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

impl FromStr for ImageRef {
    type Err = ImageRefError;
    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for ImageRef {
    type Error = ImageRefError;
    fn try_from(text: String) -> Result<Self, ImageRefError> {
        Self::parse(&text)
    }
}

impl From<ImageRef> for String {
    fn from(reference: ImageRef) -> String {
        reference.full()
    }
}

/// Prints the familiar form.
impl fmt::Display for ImageRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.familiar())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, full: &str, familiar: &str) {
        let reference = ImageRef::parse(text).unwrap();
        assert_eq!(
            (reference.full().as_str(), reference.familiar().as_str()),
            (full, familiar),
            "{text}"
        );
        assert_eq!(ImageRef::parse(&reference.full()).unwrap(), reference);
        assert_eq!(ImageRef::parse(&reference.familiar()).unwrap(), reference);
    }

    #[test]
    fn names_are_normalised() {
        let digest = format!("sha256:{}", "a".repeat(64));
        check("nginx", "docker.io/library/nginx:latest", "nginx:latest");
        check("nginx:1.27", "docker.io/library/nginx:1.27", "nginx:1.27");
        check("user/app", "docker.io/user/app:latest", "user/app:latest");
        check(
            "docker.io/nginx",
            "docker.io/library/nginx:latest",
            "nginx:latest",
        );
        check(
            "index.docker.io/library/nginx",
            "docker.io/library/nginx:latest",
            "nginx:latest",
        );
        check(
            "localhost/app",
            "localhost/app:latest",
            "localhost/app:latest",
        );
        check(
            "localhost:5000/a/b:x",
            "localhost:5000/a/b:x",
            "localhost:5000/a/b:x",
        );
        check("ghcr.io/a/b", "ghcr.io/a/b:latest", "ghcr.io/a/b:latest");
        check("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest");
        check(
            "a__b-c--d.e",
            "docker.io/library/a__b-c--d.e:latest",
            "a__b-c--d.e:latest",
        );
        check(
            &format!("nginx@{digest}"),
            &format!("docker.io/library/nginx@{digest}"),
            &format!("nginx@{digest}"),
        );
        check(
            &format!("nginx:1@{digest}"),
            &format!("docker.io/library/nginx:1@{digest}"),
            &format!("nginx:1@{digest}"),
        );
    }

    #[test]
    fn malformed_references_are_refused() {
        for text in [
            "",
            ":tag",
            "Nginx",
            "a//b",
            "-a",
            "a-",
            "a:",
            "a:b:c",
            "a@sha256:12",
            "a b",
            "a___b",
            "a:-x",
            &"a".repeat(64),
        ] {
            assert!(ImageRef::parse(text).is_err(), "{text:?}");
        }
    }
}
