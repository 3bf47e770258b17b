//! A file by HTTP.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hoist_api::error::{ApiError, ErrorKind};
use hoist_registry::RegistryConfig;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HOST, LAST_MODIFIED, LOCATION, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::build::error::BuildError;

/// Hops from one address to another.
const REDIRECTS: usize = 10;
/// Bytes of the largest file that is taken.
const LIMIT: usize = 1 << 30;
/// Pieces that wait for their reader.
const QUEUE: usize = 16;
/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// Downloads a file: its content, and when it was changed (seconds since 1970).
pub(super) async fn get(url: &str) -> Result<(Vec<u8>, Option<i64>), BuildError> {
    let response = open(url).await?;
    let status = response.status();
    if !status.is_success() {
        return Err(BuildError::Refused(refused(url, status)));
    }
    let time = response
        .headers()
        .get(LAST_MODIFIED)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| jiff::fmt::rfc2822::parse(text).ok())
        .map(|time| time.timestamp().as_second());
    Ok((content(url, response).await?, time))
}

/// A file that is read while it comes, of any size: how large the server says that it is, and its pieces.
///
/// # Errors
/// The server cannot be reached, or answers no success: 404 as such, what else is the asker's fault as a bad parameter.
pub(crate) async fn stream(
    url: &str,
) -> Result<(Option<u64>, mpsc::Receiver<io::Result<Bytes>>), ApiError> {
    let response = open(url)
        .await
        .map_err(|error| ApiError::internal(&error))?;
    let status = response.status();
    if !status.is_success() {
        let kind = match status.as_u16() {
            404 => ErrorKind::NotFound,
            400..500 => ErrorKind::BadRequest,
            _ => ErrorKind::Internal,
        };
        return Err(ApiError::new(kind, refused(url, status)));
    }
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    let (sender, pieces) = mpsc::channel(QUEUE);
    let (mut body, url) = (response.into_body(), url.to_owned());
    tokio::spawn(async move {
        loop {
            let next = patient(&url, async { Ok(body.frame().await) }).await;
            let piece = match next {
                Ok(None) => return,
                Ok(Some(Ok(frame))) => frame.into_data().map_or(Ok(Bytes::new()), Ok),
                Ok(Some(Err(error))) => Err(io::Error::other(broken(&url, &error))),
                Err(error) => Err(io::Error::other(error)),
            };
            let is_last = piece.is_err();
            if sender.send(piece).await.is_err() || is_last {
                return;
            }
        }
    });
    Ok((length, pieces))
}

fn refused(url: &str, status: StatusCode) -> String {
    format!("cannot download {url}: the server answered {status}")
}

fn broken(url: &str, error: &hyper::Error) -> BuildError {
    BuildError::Refused(format!("cannot download {url}: it broke off: {error}"))
}

/// Asks for a file, where redirects lead to.
async fn open(url: &str) -> Result<Response<Incoming>, BuildError> {
    let mut uri: Uri = url
        .parse()
        .map_err(|_| BuildError::Refused(format!("invalid URL {url:?}")))?;
    for _ in 0..REDIRECTS {
        let response = patient(url, request(&uri)).await?;
        if response.status().is_redirection()
            && let Some(location) = response.headers().get(LOCATION)
        {
            uri = location
                .to_str()
                .ok()
                .and_then(|location| join(&uri, location))
                .ok_or_else(|| BuildError::Refused(format!("{url} leads to an invalid address")))?;
            continue;
        }
        return Ok(response);
    }
    Err(BuildError::Refused(format!(
        "{url} leads from one address to the next without end"
    )))
}

async fn patient<T>(
    url: &str,
    work: impl Future<Output = Result<T, BuildError>>,
) -> Result<T, BuildError> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| {
            Err(BuildError::Refused(format!(
                "cannot download {url}: the server is silent"
            )))
        })
}

/// Bytes both ways, with TLS or without.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

async fn request(uri: &Uri) -> Result<Response<Incoming>, BuildError> {
    let failed = |error: &dyn std::error::Error| {
        let why = hoist_api::error::chain(error);
        BuildError::Refused(format!("cannot download {uri}: {why}"))
    };
    let is_safe = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => {
            return Err(BuildError::Refused(format!(
                "cannot download {uri}: only http:// and https:// can be fetched"
            )));
        }
    };
    let host = uri
        .host()
        .ok_or_else(|| BuildError::Refused(format!("invalid URL {uri}")))?;
    let host = host.trim_matches(['[', ']']);
    let port = if is_safe { 443 } else { 80 };
    let plain = TcpStream::connect((host, uri.port_u16().unwrap_or(port)))
        .await
        .map_err(|error| failed(&error))?;
    let stream: Box<dyn Connection> = if is_safe {
        let config = hoist_registry::client_config(&RegistryConfig::default(), host)
            .map_err(|error| failed(&error))?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, plain).await;
        Box::new(stream.map_err(|error| failed(&error))?)
    } else {
        Box::new(plain)
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a download's connection ended early");
        }
    });
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let request = Request::get(path)
        .header(HOST, authority)
        .header(USER_AGENT, "hoist")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    sender
        .send_request(request)
        .await
        .map_err(|error| failed(&error))
}

async fn content(url: &str, response: Response<Incoming>) -> Result<Vec<u8>, BuildError> {
    let mut body = response.into_body();
    let mut content = Vec::new();
    loop {
        let frame = patient(url, async { Ok(body.frame().await) }).await?;
        let Some(frame) = frame else {
            return Ok(content);
        };
        let frame = frame.map_err(|error| broken(url, &error))?;
        if let Some(piece) = frame.data_ref() {
            if content.len() + piece.len() > LIMIT {
                return Err(BuildError::Refused(format!(
                    "{url} is larger than {LIMIT} bytes"
                )));
            }
            content.extend_from_slice(piece);
        }
    }
}

/// An address relative to another.
fn join(base: &Uri, location: &str) -> Option<Uri> {
    if location.contains("://") {
        return location.parse().ok();
    }
    let path = if location.starts_with('/') {
        location.to_owned()
    } else {
        let above = base.path().rsplit_once('/').map_or("", |(above, _)| above);
        format!("{above}/{location}")
    };
    format!("{}://{}{path}", base.scheme_str()?, base.authority()?)
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_joined() {
        let base: Uri = "http://h:8/a/b".parse().unwrap();
        let check = |location: &str, expected: &str| {
            assert_eq!(join(&base, location).unwrap().to_string(), expected);
        };
        check("/c", "http://h:8/c");
        check("c", "http://h:8/a/c");
        check("https://x/y", "https://x/y");
    }
}
