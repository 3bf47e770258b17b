//! Names of images: Docker's grammar, normalisation and familiar form.
//!
//! `x` means `docker.io/library/x:latest`, and is shown as `x:latest` again. The grammar is that of the distribution project's `reference`
//! package, which every registry and client shares.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, is_full_hex};

/// The registry that a name without one means.
const DEFAULT_DOMAIN: &str = "docker.io";
/// Its old name, still accepted.
const LEGACY_DOMAIN: &str = "index.docker.io";
/// Where the default registry keeps names without a slash.
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const NAME_LIMIT: usize = 255;
const TAG_LIMIT: usize = 128;

/// A whole, normalised image name: registry, repository, and a tag or a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image name. The wording is Docker's: scripts match on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageRefError {
    /// Upper case in the repository.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// A name that reads as an image id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    /// More than 255 characters.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    /// Anything else.
    #[error("invalid reference format")]
    Invalid,
}

impl ImageRef {
    /// The registry, `docker.io`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry, `library/x`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; `latest` was filled in when neither a tag nor a digest was given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest, when the name has one.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository as people write them: `x`, `user/x`, `quay.io/a/b`.
    #[must_use]
    pub fn familiar_repository(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.path);
        }
        match self.path.strip_prefix(OFFICIAL) {
            // `library/a/b` must stay as it is: `a/b` would mean another repository.
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            // Without its registry, the first part would be read as one.
            _ if self
                .path
                .split_once('/')
                .is_some_and(|(first, _)| looks_like_domain(first)) =>
            {
                format!("{}/{}", self.domain, self.path)
            }
            _ => self.path.clone(),
        }
    }

    /// The canonical form: `docker.io/library/x:latest`.
    #[must_use]
    pub fn full(&self) -> String {
        self.to_string()
    }

    /// The whole name as people write it: `x:latest`, `x@sha256:…`.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_repository())
    }

    /// The same repository with `tag` and no digest.
    ///
    /// # Errors
    /// `tag` is not a valid tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ImageRefError> {
        if !is_tag(tag) {
            return Err(ImageRefError::Invalid);
        }
        Ok(Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// The same repository with `digest` and no tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// Whether both names mean the same repository.
    #[must_use]
    pub fn same_repository(&self, other: &Self) -> bool {
        self.domain == other.domain && self.path == other.path
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(digest.as_str());
        }
        name
    }
}

/// The canonical form, `docker.io/library/x:latest`.
impl fmt::Display for ImageRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.with_suffix(format!("{}/{}", self.domain, self.path)))
    }
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        if is_full_hex(text) {
            return Err(ImageRefError::LooksLikeId(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (
                rest,
                Some(digest.parse().map_err(|_| ImageRefError::Invalid)?),
            ),
            None => (text, None),
        };
        let (name, tag) = split_tag(rest);
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ImageRefError::Invalid);
        }
        let (domain, path) = split_domain(name);
        check_repository(&domain, &path)?;
        let tag = match (tag, &digest) {
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self {
            domain,
            path,
            tag,
            digest,
        })
    }
}

/// Splits a tag off: a colon after the last slash (an earlier one belongs to the registry's port).
fn split_tag(text: &str) -> (&str, Option<&str>) {
    let last = text.rfind('/').map_or(0, |slash| slash + 1);
    match text[last..].find(':') {
        Some(colon) => (&text[..last + colon], Some(&text[last + colon + 1..])),
        None => (text, None),
    }
}

/// The first component is a registry when it has a dot, a port or upper case, or is `localhost`.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if looks_like_domain(first) => (first, rest),
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == LEGACY_DOMAIN {
        DEFAULT_DOMAIN
    } else {
        domain
    };
    if domain == DEFAULT_DOMAIN && !path.contains('/') {
        return (domain.to_owned(), format!("{OFFICIAL}{path}"));
    }
    (domain.to_owned(), path.to_owned())
}

fn looks_like_domain(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':'])
        || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_repository(domain: &str, path: &str) -> Result<(), ImageRefError> {
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(ImageRefError::Uppercase(
            path.strip_prefix(OFFICIAL).unwrap_or(path).to_owned(),
        ));
    }
    if !is_domain(domain) || !path.split('/').all(is_path_component) {
        return Err(ImageRefError::Invalid);
    }
    if domain.len() + 1 + path.len() > NAME_LIMIT {
        return Err(ImageRefError::TooLong);
    }
    Ok(())
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rfind(':') {
        Some(colon) if !domain.ends_with(']') => (&domain[..colon], Some(&domain[colon + 1..])),
        _ => (domain, None),
    };
    let port_valid =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let host_valid = match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(address) => {
            !address.is_empty()
                && address
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit() || byte == b':')
        }
        None => host.split('.').all(is_host_label),
    };
    port_valid && host_valid
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Runs of lower-case letters and digits, joined by one dot, one or two underscores, or any number of dashes.
fn is_path_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_in_words =
        bytes.first().copied().is_some_and(is_word) && bytes.last().copied().is_some_and(is_word);
    let joints_valid = component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|joint| {
            matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-')
        });
    ends_in_words && joints_valid
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= TAG_LIMIT
        && tag.bytes().next().is_some_and(is_word)
        && tag
            .bytes()
            .all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn check(text: &str, canonical: &str, familiar: &str) {
        let name: ImageRef = text
            .parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            (name.to_string().as_str(), name.familiar().as_str()),
            (canonical, familiar),
            "{text}"
        );
    }

    fn check_refused(text: &str, message: &str) {
        let error = text.parse::<ImageRef>().expect_err(text);
        assert_eq!(error.to_string(), message, "{text}");
    }

    #[test]
    fn short_names_are_completed_and_shown_short() {
        check("x", "docker.io/library/x:latest", "x:latest");
        check("x:1.2", "docker.io/library/x:1.2", "x:1.2");
        check("docker.io/x", "docker.io/library/x:latest", "x:latest");
        check(
            "index.docker.io/library/x",
            "docker.io/library/x:latest",
            "x:latest",
        );
        check("user/x", "docker.io/user/x:latest", "user/x:latest");
        check("localhost/x", "localhost/x:latest", "localhost/x:latest");
        check(
            "localhost:5000/x:3",
            "localhost:5000/x:3",
            "localhost:5000/x:3",
        );
        check(
            "quay.io/a/b_c",
            "quay.io/a/b_c:latest",
            "quay.io/a/b_c:latest",
        );
        check("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest");
        check(
            "docker.io/library/a/b",
            "docker.io/library/a/b:latest",
            "library/a/b:latest",
        );
        check("HOST/x", "HOST/x:latest", "HOST/x:latest");
        check(
            "a__b--c.d",
            "docker.io/library/a__b--c.d:latest",
            "a__b--c.d:latest",
        );
    }

    #[test]
    fn a_digest_needs_no_tag() {
        let digest = format!("sha256:{HEX}");
        check(
            &format!("x@{digest}"),
            &format!("docker.io/library/x@{digest}"),
            &format!("x@{digest}"),
        );
        check(
            &format!("x:1@{digest}"),
            &format!("docker.io/library/x:1@{digest}"),
            &format!("x:1@{digest}"),
        );
    }

    #[test]
    fn bad_names_are_refused_in_dockers_words() {
        check_refused(
            "Foo",
            "invalid reference format: repository name (Foo) must be lowercase",
        );
        check_refused(
            HEX,
            &format!("invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"),
        );
        for bad in [
            "",
            ":",
            "x:",
            "x@",
            "/x",
            "x/",
            "a//b",
            "-x",
            "x-",
            "a..b",
            "a___b",
            "x:-1",
            "x@sha256:1",
            "a b",
            "../x",
            "x:a/b",
            "a.b:/x",
        ] {
            check_refused(bad, "invalid reference format");
        }
        check_refused(
            &format!("x:{}", "t".repeat(129)),
            "invalid reference format",
        );
        check_refused(
            &"a".repeat(256),
            "repository name must not be more than 255 characters",
        );
    }

    proptest! {
        #[test]
        fn both_forms_parse_to_the_same_name(
            domain in proptest::option::of("[a-z]{1,5}(-[a-z0-9]{1,3})?\\.[a-z]{2,3}(:[0-9]{1,5})?"),
            path in "[a-z0-9]{1,6}((_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,6}){0,2}",
            tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}"),
            with_digest in any::<bool>(),
        ) {
            let mut text = domain.map_or(path.clone(), |domain| format!("{domain}/{path}"));
            if let Some(tag) = tag {
                text = format!("{text}:{tag}");
            }
            if with_digest {
                text = format!("{text}@sha256:{HEX}");
            }
            prop_assume!(!text.starts_with("localhost"));
            let name: ImageRef = text.parse().expect("a name of the grammar");
            prop_assert_eq!(&name.to_string().parse::<ImageRef>().expect("canonical form"), &name);
            prop_assert_eq!(&name.familiar().parse::<ImageRef>().expect("familiar form"), &name);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,40}") {
            if let Ok(name) = text.parse::<ImageRef>() {
                prop_assert_eq!(name.to_string().parse::<ImageRef>().expect("canonical form"), name);
            }
        }
    }
}
