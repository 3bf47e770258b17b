//! Tokens: asked for once per set of rights, kept until they expire (distribution's token specification and its OAuth 2 form).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hyper::{Method, Uri};
use serde::Deserialize;

use super::challenge::Challenge;
use super::{Credentials, basic};
use crate::client::{Call, Payload, Transport};
use crate::error::RegistryError;
use crate::uri::{encode, with_query};

const LIMIT: usize = 1 << 20;
/// What a token that does not say so lives at least.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// Time for the request that the token is for.
const MARGIN: Duration = Duration::from_secs(10);
/// What we call ourselves towards authorization servers.
const CLIENT_ID: &str = "hoist";

/// The tokens of one operation.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    known: HashMap<String, (String, Instant)>,
}

/// What an authorization server gives.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    refresh_token: String,
    #[serde(default)]
    expires_in: u64,
}

/// A challenge to answer.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    pub(crate) challenge: &'a Challenge,
    /// What is going to be asked, separated by blanks.
    pub(crate) scope: &'a str,
    pub(crate) credentials: &'a Credentials,
    /// Whether passwords may travel without TLS.
    pub(crate) is_insecure: bool,
}

impl Tokens {
    /// The value of `Authorization` for a challenge; none when there is nothing to show.
    pub(crate) async fn authorize(
        &mut self,
        transport: &Transport,
        wanted: Wanted<'_>,
    ) -> Result<Option<String>, RegistryError> {
        let (realm, service, offered) = match (wanted.challenge, wanted.credentials) {
            (_, Credentials::Bearer(token)) => return Ok(Some(format!("Bearer {token}"))),
            (Challenge::Basic, Credentials::Basic { username, password }) => {
                return Ok(Some(basic(username, password)));
            }
            (Challenge::Basic, _) => return Ok(None),
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                },
                _,
            ) => (realm, service, scope),
        };
        let scope = if wanted.scope.is_empty() {
            offered
        } else {
            wanted.scope
        };
        let key = format!("{realm} {service} {scope}");
        if let Some((token, until)) = self.known.get(&key)
            && *until > Instant::now()
        {
            return Ok(Some(format!("Bearer {token}")));
        }
        let answer = ask(transport, &wanted, (realm, service, scope)).await?;
        let life = Duration::from_secs(answer.expires_in).max(DEFAULT_LIFE);
        let token = if answer.token.is_empty() {
            answer.access_token
        } else {
            answer.token
        };
        let value = format!("Bearer {token}");
        self.known
            .insert(key, (token, Instant::now() + life.saturating_sub(MARGIN)));
        Ok(Some(value))
    }

    /// Forgets all tokens: the registry did not take one.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
    }
}

/// The refresh token that a login with a password gives, where the server gives any; empty otherwise.
pub(crate) async fn log_in(
    transport: &Transport,
    wanted: Wanted<'_>,
) -> Result<String, RegistryError> {
    let Challenge::Bearer { realm, service, .. } = wanted.challenge else {
        return Ok(String::new());
    };
    let answer = ask(transport, &wanted, (realm, service, "offline")).await?;
    Ok(answer.refresh_token)
}

async fn ask(
    transport: &Transport,
    wanted: &Wanted<'_>,
    (realm, service, scope): (&str, &str, &str),
) -> Result<Answer, RegistryError> {
    let uri: Uri = realm
        .parse()
        .ok()
        .filter(|uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")))
        .ok_or_else(|| {
            RegistryError::wrong(
                service,
                format!("it sends to {realm:?} for a token, which is no address"),
            )
        })?;
    let host = uri
        .authority()
        .map_or("", |authority| authority.as_str())
        .to_owned();
    let is_secret = !matches!(wanted.credentials, Credentials::Anonymous);
    if uri.scheme_str() == Some("http") && is_secret && !wanted.is_insecure {
        let what = format!("it wants the password sent to {realm} without TLS");
        return Err(RegistryError::wrong(&host, what));
    }
    let call = match wanted.credentials {
        Credentials::Identity(token) => refresh(&uri, token, (service, scope)),
        credentials => plain(&uri, credentials, (service, scope)),
    };
    let call =
        call.ok_or_else(|| RegistryError::wrong(&host, "the address for tokens is unusable"))?;
    let response = transport.send(call).await?;
    let status = response.status();
    let text = transport
        .body(response, LIMIT, &format!("the token from {host}"))
        .await?;
    if !status.is_success() {
        let message = crate::client::message_of(&text);
        return Err(RegistryError::Status {
            host,
            status: status.as_u16(),
            what: "the request for a token".to_owned(),
            message,
        });
    }
    let answer: Answer = serde_json::from_slice(&text)
        .map_err(|error| RegistryError::wrong(&host, format!("the token is not JSON: {error}")))?;
    if answer.token.is_empty() && answer.access_token.is_empty() {
        return Err(RegistryError::wrong(&host, "the answer holds no token"));
    }
    Ok(answer)
}

fn plain(uri: &Uri, credentials: &Credentials, (service, scope): (&str, &str)) -> Option<Call> {
    let mut parameters = vec![("service", service)];
    let is_login = scope == "offline";
    if is_login {
        parameters.push(("offline_token", "true"));
    } else {
        parameters.extend(
            scope
                .split(' ')
                .filter(|scope| !scope.is_empty())
                .map(|scope| ("scope", scope)),
        );
    }
    let mut authorization = None;
    if let Credentials::Basic { username, password } = credentials {
        parameters.push(("account", username));
        authorization = Some(basic(username, password));
    }
    parameters.push(("client_id", CLIENT_ID));
    let mut call = Call::new(Method::GET, with_query(uri, &parameters)?);
    call.authorization = authorization;
    Some(call)
}

fn refresh(uri: &Uri, token: &str, (service, scope): (&str, &str)) -> Option<Call> {
    let form = format!(
        "grant_type=refresh_token&service={}&scope={}&client_id={CLIENT_ID}&refresh_token={}",
        encode(service),
        encode(scope),
        encode(token)
    );
    let mut call = Call::new(Method::POST, uri.clone());
    call.headers.push((
        hyper::header::CONTENT_TYPE,
        "application/x-www-form-urlencoded".to_owned(),
    ));
    call.payload = Payload::Bytes(form.into());
    Some(call)
}
