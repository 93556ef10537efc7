//! Ways through a proxy.

use super::connect::{Address, Stream, exchange, secure, tcp};
use super::error::ConnectError;
use super::options::Options;
use core::net::SocketAddr;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use std::io;
use tokio_socks::io::Compat;
use tokio_socks::tcp::Socks5Stream;
use tokio_socks::{IntoTargetAddr as _, TargetAddr};

/// Which proxy is used.
#[derive(Clone)]
pub(super) enum Proxies {
    /// What the environment says.
    Environment,
    None,
    This(String),
}

/// A proxy for an address.
pub(super) struct Proxy {
    uri: Uri,
    /// Who we are, for proxies of HTTP.
    auth: Option<HeaderValue>,
    /// User and password, for those of SOCKS.
    login: Option<(String, String)>,
}

impl Proxies {
    pub(super) fn of(&self, address: &Address) -> Option<Proxy> {
        let matcher = match self {
            Self::Environment => Matcher::from_env(),
            Self::None => return None,
            Self::This(url) => Matcher::builder().all(url.as_str()).build(),
        };
        let scheme = if address.secure { "https" } else { "http" };
        let uri = format!("{scheme}://{}/", authority(&address.host, address.port));
        let found = matcher.intercept(&uri.parse().ok()?)?;
        let auth = found.basic_auth().cloned();
        let login = found.raw_auth().map(|(user, password)| (user.to_owned(), password.to_owned()));
        Some(Proxy { uri: found.uri().clone(), auth, login })
    }
}

impl Proxy {
    /// A stream to the server, through the proxy.
    pub(super) async fn reach(
        &self,
        host: &str,
        port: u16,
        options: &Options,
    ) -> Result<Stream, ConnectError> {
        let name = self.uri.authority().map(|it| it.as_str()).unwrap_or_default();
        // What stands before an `@` may be secret.
        let name = name.rsplit('@').next().unwrap_or_default().to_owned();
        let failed = |why: String| ConnectError::Proxy(format!("{name}: {why}"));
        let proxy_host = self.uri.host().unwrap_or_default();
        let proxy_host = proxy_host.trim_start_matches('[').trim_end_matches(']');
        let stream = match self.uri.scheme_str() {
            Some("http") | None => {
                let port = self.uri.port_u16().unwrap_or(80);
                let stream = tcp(proxy_host, port).await;
                Box::new(stream.map_err(|error| failed(error.to_string()))?)
            }
            Some("https") => {
                let port = self.uri.port_u16().unwrap_or(443);
                let stream = tcp(proxy_host, port).await;
                let stream = Box::new(stream.map_err(|error| failed(error.to_string()))?);
                secure(stream, proxy_host, port, options).await?
            }
            Some(scheme @ ("socks5" | "socks5h")) => {
                let proxy = tcp(proxy_host, self.uri.port_u16().unwrap_or(1080)).await;
                let proxy = Compat::new(proxy.map_err(|error| failed(error.to_string()))?);
                // With the `h` it is the proxy who finds out where the host is.
                let target = if scheme == "socks5" {
                    TargetAddr::Ip(resolve(host, port).await?)
                } else {
                    (host, port).into_target_addr().map_err(|error| failed(error.to_string()))?
                };
                let stream = match &self.login {
                    None => Socks5Stream::connect_with_socket(proxy, target).await,
                    Some((user, password)) => {
                        let with = Socks5Stream::connect_with_password_and_socket;
                        with(proxy, target, user, password).await
                    }
                };
                let stream = stream.map_err(|error| failed(error.to_string()))?;
                return Ok(Box::new(stream.into_inner().into_inner()));
            }
            Some(scheme) => return Err(failed(format!("{scheme}:// is not supported"))),
        };
        let target = authority(host, port);
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(target.as_str())
            .header(header::HOST, target.as_str())
            .body(String::new())
            .map_err(|error| failed(error.to_string()))?;
        if let Some(auth) = &self.auth {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, auth.clone());
        }
        let result = exchange(stream, request, |response| {
            let status = response.status();
            if status.is_success() {
                Ok(())
            } else {
                Err(failed(format!("the answer is {status}")))
            }
        });
        match result.await {
            Ok((stream, read_ahead)) if read_ahead.is_empty() => Ok(stream),
            // A server says nothing before it is asked.
            Ok(_) => Err(failed("something was said before it was asked".to_owned())),
            Err(error @ ConnectError::Proxy(_)) => Err(error),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

async fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let addresses = smol::net::resolve((host, port)).await?;
    addresses.into_iter().next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
