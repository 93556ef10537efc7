//! The address of a server, as `wslink proxy` reaches it: by bytes, whatever they are.

use crate::connection::read;
use crate::fault::{Exit, Fault};
use async_tungstenite::tungstenite::http::Uri;
use core::fmt::Display;
use futures_rustls::TlsConnector;
use futures_rustls::pki_types::pem::PemObject as _;
use futures_rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ClientConfig, RootCertStore};
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A `ws://` or `wss://` address.
pub(crate) struct Target {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<Tls>,
}

struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// The way to a server.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl Target {
    /// `roots` is a file of certificates to trust in place of the system's.
    pub(crate) fn parse(url: &str, roots: Option<&Path>) -> Result<Self, Fault> {
        const HINT: &str = "an address looks like ws://127.0.0.1:1234/ws";
        let bad = |why: &str| Fault::usage(format!("`{url}` is no address: {why}")).hint(HINT);
        let uri: Uri = url.parse().map_err(|_| bad("it cannot be parsed"))?;
        let (port, secure) = match uri.scheme_str() {
            Some("ws") => (80, false),
            Some("wss") => (443, true),
            Some("http" | "https") => return Err(bad("WebSockets begin with ws:// or wss://")),
            _ => return Err(bad("ws:// is missing")),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| bad("it names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(port);
        let tls = if secure {
            let name = ServerName::try_from(host.clone());
            let name = name.map_err(|_| bad("TLS knows no such name"))?;
            let config = Arc::new(config(roots)?);
            Some(Tls { connector: TlsConnector::from(config), name })
        } else {
            None
        };
        Ok(Self { uri, host, port, tls })
    }

    pub(crate) fn path_and_query(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    pub(crate) const fn url(&self) -> &Uri {
        &self.uri
    }

    pub(crate) async fn connect(&self) -> Result<Box<dyn Stream>, Fault> {
        let Self { host, port, tls, .. } = self;
        let connected = TcpStream::connect((host.as_str(), *port)).await;
        let stream = connected.map_err(|error| no_connection(host, *port, &error))?;
        // Without it frames only come later.
        _ = stream.set_nodelay(true);
        let Some(Tls { connector, name }) = tls else { return Ok(Box::new(stream)) };
        let secure = connector.connect(name.clone(), stream).await;
        let secure = secure.map_err(|error| no_connection(host, *port, &error))?;
        Ok(Box::new(secure))
    }
}

fn config(roots: Option<&Path>) -> Result<ClientConfig, Fault> {
    let mut store = RootCertStore::empty();
    match roots {
        Some(path) => {
            let pem = read(path)?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| Fault::file(path, error))?;
                store.add(certificate).map_err(|error| Fault::file(path, error))?;
            }
            if store.is_empty() {
                return Err(Fault::file(path, "there is no certificate in it"));
            }
        }
        None => {
            // Those that cannot be read are those that nobody can use.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let tls = |error: &dyn Display| Fault::new(Exit::NoConnection, format!("TLS: {error}"));
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| tls(&error))?
        .with_root_certificates(store)
        .with_no_client_auth())
}

fn no_connection(host: &str, port: u16, error: &io::Error) -> Fault {
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    };
    Fault::new(Exit::NoConnection, format!("{host}:{port}: {why}"))
}
