//! TLS per host: the system's authorities, the host's own, client certificates, and unverified for insecure hosts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use hoist_api::client::tls::{AnyServer, machine_authorities};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::config::RegistryConfig;
use crate::error::RegistryError;

/// Makes the settings for one host. Reads certificates from disk: do not call it for every connection.
///
/// # Errors
/// A configured certificate cannot be read.
pub fn client_config(config: &RegistryConfig, host: &str) -> Result<ClientConfig, RegistryError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("TLS", &error))?;
    let certificates = config.certificates(host);
    let builder = if config.is_insecure(host) {
        let verifier = Arc::new(AnyServer(provider));
        builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
    } else {
        let verifier = Arc::new(Verified::new(&certificates.authorities, &provider)?);
        builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
    };
    match &certificates.client {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unusable(&key.display().to_string(), &error))?;
            builder
                .with_client_auth_cert(read(certificate)?, private)
                .map_err(|error| unusable(&certificate.display().to_string(), &error))
        }
    }
}

/// The system's authorities, read once: there are some hundred files.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let (roots, errors) = machine_authorities();
        for error in &errors {
            tracing::warn!(%error, "cannot read some of the system's certificates");
        }
        roots
    })
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, RegistryError> {
    let shown = path.display().to_string();
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| unusable(&shown, &error))?
        .collect();
    let found = found.map_err(|error| unusable(&shown, &error))?;
    if found.is_empty() {
        return Err(RegistryError::Config {
            path: shown,
            why: "it holds no certificate".to_owned(),
        });
    }
    Ok(found)
}

fn unusable(path: &str, error: &dyn std::fmt::Display) -> RegistryError {
    RegistryError::Config {
        path: path.to_owned(),
        why: error.to_string(),
    }
}

/// The usual verification, except that a host may show the very certificate that was configured to vouch for it: `openssl req -x509` makes
/// such ones, marked as an authority, and Docker takes them.
#[derive(Debug)]
struct Verified {
    usual: Arc<WebPkiServerVerifier>,
    configured: Vec<CertificateDer<'static>>,
}

impl Verified {
    fn new(authorities: &[PathBuf], provider: &Arc<CryptoProvider>) -> Result<Self, RegistryError> {
        let mut roots = system_roots().clone();
        let mut configured = Vec::new();
        for path in authorities {
            for certificate in read(path)? {
                configured.push(certificate.clone());
                roots
                    .add(certificate)
                    .map_err(|error| unusable(&path.display().to_string(), &error))?;
            }
        }
        let usual =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        Ok(Self {
            usual: usual
                .build()
                .map_err(|error| unusable("the system's certificates", &error))?,
            configured,
        })
    }
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let usual = self.usual.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        let is_configured = self.configured.iter().any(|known| known == end_entity);
        match usual {
            // Before this the name was not looked at yet.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_))) if is_configured => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                verify_server_name(&parsed, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
