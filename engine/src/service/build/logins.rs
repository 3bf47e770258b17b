//! Who a build is to registries: credentials that came with the request, or those that its client is asked for over a session.

use std::collections::BTreeMap;
use std::sync::Arc;

use hoist_api::build::RegistryLogin;
use hoist_api::error::{ApiError, ErrorKind, Result};
use hoist_buildkit::Session;
use hoist_registry::auth::AuthConfig;

use crate::service::registry::registry_error;

/// What clients know the default registry by.
const HUB: &str = "docker.io";
const HUB_HOST: &str = "registry-1.docker.io";

/// Credentials, found when they are needed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logins {
    given: BTreeMap<String, RegistryLogin>,
    session: Option<Arc<Session>>,
}

impl Logins {
    pub(crate) fn new(
        given: BTreeMap<String, RegistryLogin>,
        session: Option<Arc<Session>>,
    ) -> Self {
        Self { given, session }
    }

    /// Who is asked, beside what was given.
    pub(super) fn session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref()
    }

    /// The credentials for a registry, by the domain of an image's name; empty ones when there are none.
    ///
    /// # Errors
    /// What was given is unreadable, or the client cannot be asked.
    pub(crate) async fn of(&self, domain: &str) -> Result<AuthConfig> {
        if let Some(RegistryLogin(value)) = self.given.get(domain) {
            return AuthConfig::from_header(value).map_err(registry_error);
        }
        let Some(session) = &self.session else {
            return Ok(AuthConfig::default());
        };
        let host = if domain == HUB { HUB_HOST } else { domain };
        let found = session.credentials(host).await.map_err(|status| {
            let message = format!(
                "the client does not give its credentials for {domain}: {}",
                status.message
            );
            ApiError::new(ErrorKind::Unauthorized, message)
        })?;
        Ok(match found {
            // A secret without a name is a token that others are asked for with.
            Some((username, secret)) if username.is_empty() => AuthConfig {
                identitytoken: secret,
                ..AuthConfig::default()
            },
            Some((username, password)) => AuthConfig {
                username,
                password,
                ..AuthConfig::default()
            },
            None => AuthConfig::default(),
        })
    }
}
