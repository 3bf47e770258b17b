//! Connections to registries: plain or TLS, directly or through a proxy.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::RegistryConfig;
use crate::proxy::Proxy;
use crate::tls;
use crate::uri::port;

/// For everything up to the first byte of HTTP.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// A proxy's answer to CONNECT.
const ANSWER_LIMIT: usize = 8 << 10;
/// A resolver that says no within this has asked nobody, or only once.
const SOON: Duration = Duration::from_millis(500);

/// Makes connections; clones share the TLS settings of hosts.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    config: Arc<RegistryConfig>,
    settings: Arc<Mutex<HashMap<String, Arc<rustls::ClientConfig>>>>,
}

impl Connector {
    pub(crate) fn new(config: Arc<RegistryConfig>) -> Self {
        Self {
            config,
            settings: Arc::default(),
        }
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<Stream>> {
        let connecting = self.connect_now(&uri);
        let connected = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
        connected.unwrap_or_else(|_| {
            let message = format!("no connection within {} s", CONNECT_LIMIT.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        })
    }

    async fn connect_now(&self, uri: &Uri) -> io::Result<TokioIo<Stream>> {
        let host = uri
            .host()
            .ok_or_else(|| io::Error::other("an address without a host"))?
            .trim_matches(['[', ']'])
            .to_owned();
        let is_tls = uri.scheme_str() == Some("https");
        let proxy = self.config.proxies.of(uri);
        let tcp = match proxy {
            Some(proxy) => dial(&proxy.host, proxy.port).await?,
            None => dial(&host, port(uri)).await?,
        };
        tcp.set_nodelay(true)?;
        if !is_tls {
            return Ok(TokioIo::new(Stream::Plain {
                tcp,
                is_proxied: proxy.is_some(),
            }));
        }
        let tcp = match proxy {
            Some(proxy) => tunnel(tcp, proxy, &host, port(uri)).await?,
            None => tcp,
        };
        let settings = self.settings_of(uri).await?;
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let stream = TlsConnector::from(settings).connect(name, tcp).await?;
        Ok(TokioIo::new(Stream::Tls(Box::new(stream))))
    }

    /// The first use of a host reads certificates, on a thread where that hurts nobody.
    async fn settings_of(&self, uri: &Uri) -> io::Result<Arc<rustls::ClientConfig>> {
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let known = self.known().get(host).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let (config, name) = (Arc::clone(&self.config), host.to_owned());
        let made = tokio::task::spawn_blocking(move || tls::client_config(&config, &name)).await?;
        let made = Arc::new(made.map_err(io::Error::other)?);
        self.known().insert(host.to_owned(), Arc::clone(&made));
        Ok(made)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<rustls::ClientConfig>>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that no resolver knows, or that none could be asked for.
#[derive(Debug, thiserror::Error)]
#[error("cannot find the address of {host}")]
pub(crate) struct NoAddress {
    host: String,
    #[source]
    source: io::Error,
}

/// Connects to the first address that answers.
async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = addresses(host, port).await?;
    TcpStream::connect(addresses.as_slice()).await
}

/// Asks the resolver. One that fails at once (SERVFAIL, a network that is just coming up) is asked a second time; one that took its
/// seconds has asked again itself.
async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let begun = Instant::now();
    let mut answer = lookup_host((host, port)).await;
    if answer.as_ref().is_err_and(is_passing) && begun.elapsed() < SOON {
        tokio::time::sleep(SOON / 2).await;
        answer = lookup_host((host, port)).await;
    }
    let found: Vec<SocketAddr> = match answer {
        Ok(found) => found.collect(),
        Err(source) => {
            let host = host.to_owned();
            return Err(io::Error::other(NoAddress { host, source }));
        }
    };
    Ok(found)
}

/// `EAI_AGAIN` of getaddrinfo(3), which the standard library gives as text only.
fn is_passing(error: &io::Error) -> bool {
    error.to_string().contains("Temporary failure")
}

/// Asks a proxy for a connection to the host (RFC 9110, section 9.3.6).
async fn tunnel(mut tcp: TcpStream, proxy: &Proxy, host: &str, port: u16) -> io::Result<TcpStream> {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let authorization = proxy
        .authorization
        .as_ref()
        .map(|value| format!("Proxy-Authorization: {value}\r\n"))
        .unwrap_or_default();
    let request =
        format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}\r\n");
    tcp.write_all(request.as_bytes()).await?;
    // Byte by byte, because what follows the answer belongs to TLS.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= ANSWER_LIMIT {
            return Err(io::Error::other("the proxy's answer does not end"));
        }
        answer.push(tcp.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&answer);
    let line = text.lines().next().unwrap_or_default();
    if line.split(' ').nth(1) == Some("200") {
        return Ok(tcp);
    }
    Err(io::Error::other(format!(
        "the proxy {}:{} refuses a connection: {line}",
        proxy.host, proxy.port
    )))
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain { tcp: TcpStream, is_proxied: bool },
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Plain { is_proxied, .. } => Connected::new().proxy(*is_proxied),
            Self::Tls(_) => Connected::new(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { tcp, .. } => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain { tcp, .. } => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { tcp, .. } => Pin::new(tcp).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { tcp, .. } => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
