//! The engine's further doors: TCP, with certificates on both sides. Whoever comes in can do everything that root can, so a door without
//! TLS is opened on the loopback only, unless it is said explicitly that it is not to be secure.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client may take for its greeting.
const GREETING: Duration = Duration::from_secs(10);

/// The certificates of a door, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities that sign clients' certificates.
    pub authorities: PathBuf,
    /// The engine's own certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A door to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpDoor {
    /// Where.
    pub address: SocketAddr,
    /// With which certificates; none: without TLS.
    pub tls: Option<TlsFiles>,
}

/// Why a door cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DoorError {
    /// It is not `tcp://ADDRESS:PORT`.
    #[error("{0:?} is no place to listen at: write tcp://127.0.0.1:2376")]
    Form(String),
    /// Everybody could come in.
    #[error(
        "refusing to listen at {0} without TLS: whoever reaches it is root on this machine; give --tlscacert, --tlscert and --tlskey, or --insecure-listen"
    )]
    Open(SocketAddr),
    /// Some of the three files are given, and some are not.
    #[error("--tlscacert, --tlscert and --tlskey go together")]
    Half,
    /// A file cannot be used.
    #[error("cannot read {}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificates do not fit.
    #[error("cannot use the certificates: {0}")]
    Certificates(String),
}

impl TcpDoor {
    /// Reads `tcp://ADDRESS:PORT`. `insecure` allows what is neither encrypted nor on the loopback.
    ///
    /// # Errors
    /// [`DoorError::Form`], [`DoorError::Open`].
    pub fn parse(text: &str, tls: Option<TlsFiles>, insecure: bool) -> Result<Self, DoorError> {
        let form = || DoorError::Form(text.to_owned());
        let place = text.strip_prefix("tcp://").ok_or_else(form)?;
        let place = place.replace("localhost:", "127.0.0.1:");
        let address: SocketAddr = place.parse().map_err(|_| form())?;
        if tls.is_none() && !address.ip().is_loopback() && !insecure {
            return Err(DoorError::Open(address));
        }
        Ok(Self { address, tls })
    }

    /// What greets clients; none without TLS.
    pub(crate) fn acceptor(&self) -> Result<Option<TlsAcceptor>, DoorError> {
        let Some(files) = &self.tls else {
            return Ok(None);
        };
        let fits = |error: &dyn std::fmt::Display| DoorError::Certificates(error.to_string());
        let mut authorities = RootCertStore::empty();
        for certificate in certificates(&files.authorities)? {
            authorities.add(certificate).map_err(|error| fits(&error))?;
        }
        let provider = Arc::new(ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider.clone())
                .build()
                .map_err(|error| fits(&error))?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable(&files.key))?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| fits(&error))?
            .with_client_cert_verifier(clients)
            .with_single_cert(certificates(&files.certificate)?, key)
            .map_err(|error| fits(&error))?;
        Ok(Some(TlsAcceptor::from(Arc::new(config))))
    }

    /// Listens.
    pub(crate) async fn open(&self) -> io::Result<TcpListener> {
        TcpListener::bind(self.address).await
    }
}

/// Greets a client; one that has no certificate that is believed, or takes too long, is sent away.
pub(crate) async fn greet(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
) -> Option<TlsStream<TcpStream>> {
    match tokio::time::timeout(GREETING, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::info!(%error, "a client without a certificate that is believed was sent away");
            None
        }
        Err(_) => None,
    }
}

fn unreadable(path: &Path) -> impl FnOnce(rustls::pki_types::pem::Error) -> DoorError + '_ {
    move |source| DoorError::Pem {
        path: path.to_owned(),
        source,
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, DoorError> {
    CertificateDer::pem_file_iter(path)
        .map_err(unreadable(path))?
        .collect::<Result<_, _>>()
        .map_err(unreadable(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_doors_are_only_on_the_loopback() {
        let parse = |text: &str, insecure| TcpDoor::parse(text, None, insecure);
        assert!(parse("tcp://127.0.0.1:2375", false).is_ok());
        assert!(parse("tcp://localhost:2375", false).is_ok());
        assert!(parse("tcp://[::1]:2375", false).is_ok());
        assert!(parse("tcp://0.0.0.0:2375", true).is_ok());
        assert!(matches!(
            parse("tcp://0.0.0.0:2375", false),
            Err(DoorError::Open(_))
        ));
        assert!(matches!(
            parse("0.0.0.0:2375", true),
            Err(DoorError::Form(_))
        ));
        let files = TlsFiles {
            authorities: "/none".into(),
            certificate: "/none".into(),
            key: "/none".into(),
        };
        let door = TcpDoor::parse("tcp://0.0.0.0:2376", Some(files), false).unwrap();
        assert!(matches!(door.acceptor(), Err(DoorError::Pem { .. })));
    }
}
