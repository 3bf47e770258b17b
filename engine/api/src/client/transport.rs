//! The ways to an engine: a unix socket, TCP, TLS, and a command at the other end of `ssh`.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::tls::{self, TlsConfig};
use crate::error::ApiError;

/// Longest socket path that `sockaddr_un` takes, without its final zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;
/// How long a machine may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// Docker's ports without and with TLS.
const PORTS: (u16, u16) = (2375, 2376);

/// What runs at the other end of `ssh`: it joins its standard streams with the engine's socket.
const DIAL: &str = "if command -v hoist >/dev/null 2>&1; then exec hoist system dial-stdio; \
                    else exec docker system dial-stdio; fi";

/// Where an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// TCP without protection: whoever reaches it is root on that machine.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// TCP with TLS.
    Tls {
        /// Name or address; the server's certificate must be for it.
        host: String,
        /// Port.
        port: u16,
        /// Certificates.
        config: TlsConfig,
    },
    /// The engine of another machine through `ssh`.
    Ssh {
        /// `user@host`, or `host`.
        target: String,
        /// Port; absent: as ssh's configuration says.
        port: Option<u16>,
        /// Socket there; absent: that of the engine found there.
        path: Option<String>,
    },
}

/// A text is not the address of an engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the engine at {address:?}: {reason}")]
pub struct ParseEndpointError {
    /// The text.
    pub address: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl From<ParseEndpointError> for ApiError {
    fn from(error: ParseEndpointError) -> Self {
        Self::bad_request(error.to_string())
            .with_hint("write it as unix:///path/of/the.sock, tcp://HOST:PORT or ssh://USER@HOST")
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Endpoint {
    /// Reads an address as `DOCKER_HOST` has it; a path alone is a unix socket. TLS is added by [`Endpoint::with_tls`].
    ///
    /// # Errors
    /// The scheme is unknown, or the address is not complete.
    ///
    /// # Examples
    /// ```
    /// use hoist_api::client::Endpoint;
    ///
    /// assert_eq!(Endpoint::parse("unix:///run/x.sock").unwrap(), Endpoint::Unix("/run/x.sock".into()));
    /// assert!(Endpoint::parse("http+unix://x").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, ParseEndpointError> {
        let wrong = |reason| ParseEndpointError {
            address: text.to_owned(),
            reason,
        };
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| wrong("it has no scheme"))?;
        match scheme {
            "unix" if rest.is_empty() => Err(wrong("it names no socket")),
            "unix" => Ok(Self::Unix(rest.into())),
            "tcp" | "http" | "https" => {
                let (host, port) =
                    host_and_port(rest).ok_or_else(|| wrong("it is not HOST:PORT"))?;
                let default = if scheme == "https" { PORTS.1 } else { PORTS.0 };
                let port = port.unwrap_or(default);
                Ok(if scheme == "https" {
                    let config = TlsConfig::default();
                    Self::Tls { host, port, config }
                } else {
                    Self::Tcp { host, port }
                })
            }
            "ssh" => ssh(rest).ok_or_else(|| wrong("it is not USER@HOST")),
            _ => Err(wrong("only unix, tcp and ssh are known")),
        }
    }

    /// The same engine spoken to with TLS; a unix socket or `ssh` needs none.
    #[must_use]
    pub fn with_tls(self, config: TlsConfig) -> Self {
        match self {
            Self::Tcp { host, port } | Self::Tls { host, port, .. } => {
                Self::Tls { host, port, config }
            }
            other => other,
        }
    }

    /// The unix socket, when it is one.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            _ => None,
        }
    }

    /// What the user can do when it does not answer.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Unix(_) => {
                "`hoist engine status` tells whether it runs, `hoist engine logs` why it ended"
                    .to_owned()
            }
            Self::Tcp { .. } => "an engine with TLS wants --tls or DOCKER_TLS_VERIFY=1".to_owned(),
            Self::Tls { .. } => {
                "ca.pem, cert.pem and key.pem are looked for in DOCKER_CERT_PATH".to_owned()
            }
            Self::Ssh { target, .. } => {
                format!("`ssh {target}` must work without a password, and hoist or docker be there")
            }
        }
    }

    pub(super) async fn connect(&self) -> io::Result<Connection> {
        Ok(match self {
            Self::Unix(path) => Connection(Box::new(connect_unix(path).await?)),
            Self::Tcp { host, port } => Connection(Box::new(connect_tcp(host, *port).await?)),
            Self::Tls { host, port, config } => {
                let connector = tls::connector(config).map_err(io::Error::other)?;
                let name = tls::server_name(host).map_err(io::Error::other)?;
                let stream = connect_tcp(host, *port).await?;
                Connection(Box::new(connector.connect(name, stream).await?))
            }
            Self::Ssh { target, port, path } => {
                Connection(Box::new(connect_ssh(target, *port, path.as_deref())?))
            }
        })
    }
}

fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let text = text.trim_end_matches('/');
    if text.contains('/') || text.contains('@') {
        return None;
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map(str::parse).transpose().ok()?;
    let host = if host.is_empty() { "localhost" } else { host };
    Some((host.to_owned(), port))
}

fn ssh(text: &str) -> Option<Endpoint> {
    let (authority, path) = match text.split_once('/') {
        Some((authority, path)) => (authority, Some(path).filter(|path| !path.is_empty())),
        None => (text, None),
    };
    let (user, host) = match authority.split_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let (host, port) = host_and_port(host).filter(|_| !host.is_empty())?;
    // A target that looks like an option would be one (CVE-2017-1000117's kind).
    let target = user.map_or_else(|| host.clone(), |user| format!("{user}@{host}"));
    if target.starts_with('-') || user.is_some_and(|user| user.is_empty() || user.contains(':')) {
        return None;
    }
    Some(Endpoint::Ssh {
        target,
        port,
        path: path.map(|path| format!("/{path}")),
    })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |host: &str, port: u16| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        match self {
            Self::Unix(path) => path.display().fmt(formatter),
            Self::Tcp { host, port } | Self::Tls { host, port, .. } => {
                write!(formatter, "tcp://{}", address(host, *port))
            }
            Self::Ssh { target, port, path } => {
                write!(formatter, "ssh://{target}")?;
                if let Some(port) = port {
                    write!(formatter, ":{port}")?;
                }
                formatter.write_str(path.as_deref().unwrap_or_default())
            }
        }
    }
}

/// Connects also to paths that are too long for `sockaddr_un`, through a descriptor of the directory.
async fn connect_unix(socket: &Path) -> io::Result<UnixStream> {
    if socket.as_os_str().len() <= MAX_SOCKET_PATH {
        return UnixStream::connect(socket).await;
    }
    let (Some(parent), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = std::fs::File::open(parent)?;
    UnixStream::connect(
        Path::new("/proc/self/fd")
            .join(directory.as_raw_fd().to_string())
            .join(name),
    )
    .await
}

async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect((host, port)))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn connect_ssh(target: &str, port: Option<u16>, path: Option<&str>) -> io::Result<SshStream> {
    let mut command = Command::new("ssh");
    command.args(["-T", "-o", "ConnectTimeout=30"]);
    if let Some(port) = port {
        command.args(["-p", &port.to_string()]);
    }
    let dial = match path {
        // The far shell reads the line: quote what it must not read.
        Some(path) => format!(
            "DOCKER_HOST='unix://{}'; export DOCKER_HOST; {DIAL}",
            path.replace('\'', "'\\''")
        ),
        None => DIAL.to_owned(),
    };
    let mut child = command
        .args(["--", target, &dial])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot execute ssh: {error}")))?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(input), Some(output)) => Ok(SshStream {
            input: Some(input),
            output,
            _child: child,
        }),
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection to an engine, of whatever kind.
pub struct Connection(Box<dyn Stream>);

impl Connection {
    pub(super) fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(Box::new(stream))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// The standard streams of an `ssh` that ends with this value.
struct SshStream {
    /// `None` when it is closed.
    input: Option<ChildStdin>,
    output: ChildStdout,
    _child: Child,
}

impl AsyncRead for SshStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(context, buffer)
    }
}

impl AsyncWrite for SshStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.input {
            Some(input) => Pin::new(input).poll_write(context, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.input {
            Some(input) => Pin::new(input).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    /// The pipe is closed: the other end sees the end of what is sent, and goes on sending.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.as_mut().poll_flush(context);
        if flushed.is_ready() {
            self.input = None;
        }
        flushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let got = Endpoint::parse(text)
            .ok()
            .map(|endpoint| endpoint.to_string());
        assert_eq!(got.as_deref(), expected, "{text}");
    }

    #[test]
    fn addresses() {
        check("/run/x.sock", Some("/run/x.sock"));
        check("unix:///run/x.sock", Some("/run/x.sock"));
        check("unix://", None);
        check("tcp://1.2.3.4:2375", Some("tcp://1.2.3.4:2375"));
        check("tcp://box", Some("tcp://box:2375"));
        check("https://box", Some("tcp://box:2376"));
        check("tcp://[::1]:99", Some("tcp://[::1]:99"));
        check("tcp://:2375", Some("tcp://localhost:2375"));
        check("tcp://box:port", None);
        check("tcp://box/path", None);
        check("ssh://me@box", Some("ssh://me@box"));
        check("ssh://box:22/run/d.sock", Some("ssh://box:22/run/d.sock"));
        check("ssh://-oProxyCommand=x", None);
        check("ssh://", None);
        check("npipe:////./pipe/docker_engine", None);
        check("box:2375", None);
    }
}
