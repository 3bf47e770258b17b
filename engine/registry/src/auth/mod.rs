//! Who is asking: credentials, the challenges that registries answer with, and tokens.

pub(crate) mod challenge;
pub(crate) mod token;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::RegistryError;

/// What a registry is shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    #[default]
    Anonymous,
    /// A name and a password.
    Basic {
        /// Name.
        username: String,
        /// Password, or an access token that works as one.
        password: String,
    },
    /// A long-lived token that short-lived ones are asked for with (OAuth 2 refresh token).
    Identity(String),
    /// A short-lived token, sent as it is.
    Bearer(String),
}

/// Secrets stay out of logs.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic(…)",
            Self::Identity(_) => "Identity(…)",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

/// Credentials as Docker's API carries them, in the header `X-Registry-Auth` and the body of `POST /auth`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    /// Name.
    #[serde(deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Password.
    #[serde(deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// `name:password` in base64, instead of the two.
    #[serde(deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub auth: String,
    /// The registry.
    #[serde(deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub serveraddress: String,
    /// See [`Credentials::Identity`].
    #[serde(deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub identitytoken: String,
    /// See [`Credentials::Bearer`].
    #[serde(deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub registrytoken: String,
}

/// A text; clients write null for one that they do not have (bollard).
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Secrets stay out of logs.
impl std::fmt::Debug for AuthConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "AuthConfig({})", self.serveraddress)
    }
}

impl AuthConfig {
    /// Reads the header `X-Registry-Auth`: base64 of JSON, either alphabet, with padding or without.
    ///
    /// # Errors
    /// It is something else.
    pub fn from_header(value: &str) -> Result<Self, RegistryError> {
        let text = header_text(value, "X-Registry-Auth")?;
        if text.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice::<Option<Self>>(&text)
            .map(Option::unwrap_or_default)
            .map_err(|_| not_base64("X-Registry-Auth"))
    }

    /// The header's value.
    #[must_use]
    pub fn to_header(&self) -> String {
        URL_SAFE.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The credentials that are meant; the strongest when there are several.
    ///
    /// # Errors
    /// `auth` is not base64 of `name:password`.
    pub fn credentials(&self) -> Result<Credentials, RegistryError> {
        if !self.registrytoken.is_empty() {
            return Ok(Credentials::Bearer(self.registrytoken.clone()));
        }
        if !self.identitytoken.is_empty() {
            return Ok(Credentials::Identity(self.identitytoken.clone()));
        }
        if !self.username.is_empty() {
            return Ok(Credentials::Basic {
                username: self.username.clone(),
                password: self.password.clone(),
            });
        }
        if self.auth.is_empty() {
            return Ok(Credentials::Anonymous);
        }
        let (username, password) = split_auth(&self.auth).ok_or_else(|| {
            RegistryError::Credentials("invalid auth: not base64 of name:password".to_owned())
        })?;
        Ok(Credentials::Basic { username, password })
    }
}

/// Reads the header `X-Registry-Config`: the credentials of several registries, by the keys of `~/.docker/config.json`.
///
/// # Errors
/// It is something else than base64 of JSON.
pub fn all_from_header(value: &str) -> Result<BTreeMap<String, AuthConfig>, RegistryError> {
    let text = header_text(value, "X-Registry-Config")?;
    if text.trim_ascii().is_empty() {
        return Ok(BTreeMap::new());
    }
    serde_json::from_slice::<Option<BTreeMap<String, AuthConfig>>>(&text)
        .map(Option::unwrap_or_default)
        .map_err(|_| not_base64("X-Registry-Config"))
}

fn header_text(value: &str, name: &str) -> Result<Vec<u8>, RegistryError> {
    let bare = value.trim().trim_end_matches('=');
    URL_SAFE_NO_PAD
        .decode(bare)
        .or_else(|_| STANDARD_NO_PAD.decode(bare))
        .map_err(|_| not_base64(name))
}

fn not_base64(name: &str) -> RegistryError {
    RegistryError::Credentials(format!("invalid {name} header: not base64 of JSON"))
}

/// `name:password` from base64.
pub(crate) fn split_auth(text: &str) -> Option<(String, String)> {
    let decoded = STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (username, password) = decoded.split_once(':')?;
    // Old files are padded with NULs.
    Some((
        username.to_owned(),
        password.trim_end_matches('\0').to_owned(),
    ))
}

/// The value of a basic `Authorization` header.
pub(crate) fn basic(username: &str, password: &str) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{password}"))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_in_every_form_that_clients_write() {
        let json = br#"{"username":"u","password":"p?>","serveraddress":"r.test"}"#;
        for header in [
            STANDARD.encode(json),
            URL_SAFE.encode(json),
            URL_SAFE_NO_PAD.encode(json),
        ] {
            let auth = AuthConfig::from_header(&header).expect("a header");
            assert_eq!(
                auth.credentials().expect("credentials"),
                Credentials::Basic {
                    username: "u".to_owned(),
                    password: "p?>".to_owned()
                }
            );
            assert_eq!(
                AuthConfig::from_header(&auth.to_header()).expect("again"),
                auth
            );
        }
        // As bollard writes it.
        let nulls =
            br#"{"username":"u","password":null,"auth":null,"email":null,"identitytoken":null}"#;
        let auth = AuthConfig::from_header(&STANDARD.encode(nulls)).expect("a header");
        assert_eq!((auth.username.as_str(), auth.password.as_str()), ("u", ""));
        for nothing in ["", "e30=", "bnVsbA=="] {
            let auth = AuthConfig::from_header(nothing).expect("a header");
            assert_eq!(
                auth.credentials().expect("credentials"),
                Credentials::Anonymous
            );
        }
        assert!(AuthConfig::from_header("%%%").is_err());
        let both = AuthConfig {
            auth: STANDARD.encode("a:b:c"),
            ..AuthConfig::default()
        };
        let Ok(Credentials::Basic { username, password }) = both.credentials() else {
            panic!("not basic")
        };
        assert_eq!((username.as_str(), password.as_str()), ("a", "b:c"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials::Identity("secret".to_owned());
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
