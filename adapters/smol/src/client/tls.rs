//! TLS: whom to trust, and why somebody was not.

use super::connect::Stream;
use super::error::ConnectError;
use crate::shared::lock;
use core::error::Error as StdError;
use core::fmt::Write as _;
use futures_rustls::TlsConnector;
use futures_rustls::pki_types::pem::PemObject as _;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use futures_rustls::rustls::client::WebPkiServerVerifier;
use futures_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use futures_rustls::rustls::crypto::{CryptoProvider, ring};
use futures_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use std::io;
use std::sync::{Arc, Mutex};

/// Whom to trust, and who we are.
#[derive(Clone, Default)]
pub(super) struct Tls {
    /// `None`: whom the system trusts.
    roots: Option<Arc<RootCertStore>>,
    certificate: Option<Arc<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>>,
}

impl Tls {
    pub(super) fn with_roots(mut self, pem: &[u8]) -> Result<Self, ConnectError> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem) {
            let root = root.map_err(|error| settings("a root", &error))?;
            roots.add(root).map_err(|error| settings("a root", &error))?;
        }
        if roots.is_empty() {
            return Err(settings("the roots", &"no certificate in them"));
        }
        self.roots = Some(Arc::new(roots));
        Ok(self)
    }

    pub(super) fn with_certificate(
        mut self,
        chain: &[u8],
        key: &[u8],
    ) -> Result<Self, ConnectError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|error| settings("the client's certificate", &error))?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| settings("the client's key", &error))?;
        self.certificate = Some(Arc::new((chain, key)));
        // Whether they belong together is told now, and not when a server asks.
        self.config(Arc::new(RootCertStore::empty()), None)?;
        Ok(self)
    }

    pub(super) async fn secure(
        &self,
        stream: Stream,
        host: &str,
        port: u16,
    ) -> Result<Stream, ConnectError> {
        let roots = match &self.roots {
            Some(roots) => Arc::clone(roots),
            None => smol::unblock(system_roots).await?,
        };
        let refused = Arc::new(Mutex::new(None));
        let config = self.config(roots, Some(Arc::clone(&refused)))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ConnectError::Url(format!("{host} is no name that a certificate has")))?;
        match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => {
                let refused = lock(&refused).take();
                Err(match refused {
                    Some(Refused { digest, why }) => ConnectError::Tls(format!(
                        "the certificate of {host}:{port} (SHA-256 {digest}) was refused: {why}"
                    )),
                    None => match alert(&error) {
                        Some(why) => ConnectError::Tls(format!("{host}:{port}: {why}")),
                        None => ConnectError::Tls(format!("{host}:{port}: {error}")),
                    },
                })
            }
        }
    }

    fn config(
        &self,
        roots: Arc<RootCertStore>,
        refused: Option<Arc<Mutex<Option<Refused>>>>,
    ) -> Result<ClientConfig, ConnectError> {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| settings("TLS", &error))?;
        let config = match refused {
            // Nobody is asked with it.
            None => config.with_root_certificates(roots),
            Some(refused) => {
                let judge =
                    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                        .build()
                        .map_err(|error| settings("the roots", &error))?;
                let telling = Arc::new(Telling { judge, refused, provider });
                // Not less is checked: it hands on to the usual judge.
                config.dangerous().with_custom_certificate_verifier(telling)
            }
        };
        match self.certificate.as_deref() {
            None => Ok(config.with_no_client_auth()),
            Some((chain, key)) => config
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| settings("the client's certificate", &error)),
        }
    }
}

fn settings(what: &str, why: &dyn ToString) -> ConnectError {
    ConnectError::Settings(format!("{what}: {}", why.to_string()))
}

fn system_roots() -> Result<Arc<RootCertStore>, ConnectError> {
    static ROOTS: Mutex<Option<Arc<RootCertStore>>> = Mutex::new(None);
    let mut roots = lock(&ROOTS);
    if let Some(roots) = &*roots {
        return Ok(Arc::clone(roots));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let why = found.errors.first().map_or_else(|| "none".to_owned(), ToString::to_string);
        return Err(ConnectError::Tls(format!("the system's roots cannot be read: {why}")));
    }
    Ok(Arc::clone(roots.insert(Arc::new(store))))
}

/// What the other end said against us, if that is what ended it.
pub(super) fn alert(error: &io::Error) -> Option<String> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(Error::AlertReceived(alert)) = error.downcast_ref() {
            return Some(format!("the server refused us: {alert:?}"));
        }
        // An `io::Error` hides what it holds behind its own sources.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// A certificate that was refused.
struct Refused {
    digest: String,
    why: String,
}

/// Judges as usual, and keeps what was refused.
struct Telling {
    judge: Arc<WebPkiServerVerifier>,
    refused: Arc<Mutex<Option<Refused>>>,
    provider: Arc<CryptoProvider>,
}

impl core::fmt::Debug for Telling {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Telling")
    }
}

impl ServerCertVerifier for Telling {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.judge.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        if let Err(error) = &verdict {
            let mut digest = String::new();
            for byte in Sha256::digest(end_entity) {
                _ = write!(digest, "{byte:02x}");
            }
            let why = match error {
                Error::InvalidCertificate(why) => why.to_string(),
                other => other.to_string(),
            };
            let mut refused = lock(&self.refused);
            *refused = Some(Refused { digest, why });
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
