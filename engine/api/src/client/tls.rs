//! Certificates of connections with TLS, read at the moment of connecting.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

/// Which certificates a connection with TLS uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificates of the authorities to believe, as PEM; absent: the machine's.
    pub ca: Option<PathBuf>,
    /// Our own certificate, as PEM.
    pub cert: Option<PathBuf>,
    /// The key of our own certificate, as PEM.
    pub key: Option<PathBuf>,
    /// Believe any server; what is sent is secret, but perhaps told to a stranger.
    pub insecure: bool,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("cannot read {path}", path = path.display())]
    Pem {
        path: PathBuf,
        source: rustls::pki_types::pem::Error,
    },
    #[error("there is no certificate of an authority in {path}", path = path.display())]
    NoAuthority { path: PathBuf },
    #[error(
        "this machine has no certificates of authorities: install ca-certificates, or name a file"
    )]
    NoMachineAuthority,
    #[error("a certificate needs its key, and a key its certificate")]
    Half,
    #[error("the certificates cannot be used")]
    Rustls(#[from] rustls::Error),
    #[error("{0:?} is not the name of a server")]
    Name(String),
}

impl TlsConfig {
    /// `ca.pem`, `cert.pem` and `key.pem` of a directory, those that are there.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        let file = |name: &str| Some(directory.join(name)).filter(|path| path.exists());
        Self {
            ca: file("ca.pem"),
            cert: file("cert.pem"),
            key: file("key.pem"),
            insecure: false,
        }
    }
}

pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))
}

pub(super) fn connector(config: &TlsConfig) -> Result<TlsConnector, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = if config.insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
    } else {
        builder.with_root_certificates(authorities(config.ca.as_deref())?)
    };
    let client = match (&config.cert, &config.key) {
        (Some(cert), Some(key)) => {
            let key_of = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Pem {
                path: key.clone(),
                source,
            })?;
            builder.with_client_auth_cert(certificates(cert)?, key_of)?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(TlsError::Half),
    };
    Ok(TlsConnector::from(Arc::new(client)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Pem {
        path: path.to_owned(),
        source,
    };
    CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)
}

/// The authorities that the machine believes, and what of them cannot be read. Reads some hundred files.
#[must_use]
pub fn machine_authorities() -> (RootCertStore, Vec<rustls_native_certs::Error>) {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // Some may be too old to be understood; the others count.
    store.add_parsable_certificates(found.certs);
    (store, found.errors)
}

fn authorities(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let Some(path) = ca else {
        let (store, _) = machine_authorities();
        return if store.is_empty() {
            Err(TlsError::NoMachineAuthority)
        } else {
            Ok(store)
        };
    };
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates(path)?);
    if added == 0 {
        return Err(TlsError::NoAuthority {
            path: path.to_owned(),
        });
    }
    Ok(store)
}

/// Believes any certificate, as `--tls` without `--tlsverify` and insecure registries ask. Signatures are still checked, so that the
/// peer has the key of the certificate that it shows.
#[derive(Debug)]
pub struct AnyServer(pub Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
