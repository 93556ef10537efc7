//! From an address to a WebSocket: socket, HTTP, and what is between them.

use super::error::ConnectError;
use super::options::Options;
use crate::socket::Socket;
use async_tungstenite::tungstenite::handshake::client::generate_key;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::protocol::Role;
use core::pin::pin;
use futures_util::FutureExt as _;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode, Uri};
use smol::future::or;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;
use smol_hyper::rt::FuturesIo;
use std::io;

/// A stream of bytes, whatever is between it and the wire.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(super) type Stream = Box<dyn Io>;

/// Where a server is.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// What stands in `Host`.
    authority: String,
    /// Path and query.
    target: String,
}

impl Address {
    /// `ws://host:port/path?query`, `wss://` for TLS; without a path `/ws`.
    pub(super) fn parse(url: &str) -> Result<Self, ConnectError> {
        let wrong = |why: &str| ConnectError::Url(format!("{url}: {why}"));
        let uri: Uri = url.parse().map_err(|_| wrong("expected ws://host:port/ws"))?;
        let secure = match uri.scheme_str() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            Some(_) => return Err(wrong("neither ws:// nor wss://")),
            None => return Err(wrong("expected ws:// or wss:// in front")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("no host"))?;
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let authority = match uri.port_u16() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let target = match uri.path_and_query().map_or("/", |it| it.as_str()) {
            "/" | "" => "/ws".to_owned(),
            target => target.to_owned(),
        };
        // Brackets are part of an address, not of the host.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { secure, host, port, authority, target })
    }
}

/// Connects, and asks for a WebSocket.
pub(super) async fn connect(
    address: &Address,
    options: &Options,
) -> Result<Socket<Stream>, ConnectError> {
    let stream = stream(address, options).await?;
    let frame = u64::from(options.config.limits.frame);
    let (stream, read_ahead) = upgrade(stream, address, options).await?;
    Ok(Socket::new(Role::Client, stream, &read_ahead, frame, frame))
}

async fn stream(address: &Address, options: &Options) -> Result<Stream, ConnectError> {
    let (host, port) = (&address.host, address.port);
    let stream = match options.proxy.of(address) {
        Some(proxy) => proxy.reach(host, port, options).await?,
        None => Box::new(tcp(host, port).await?),
    };
    if address.secure { secure(stream, host, port, options).await } else { Ok(stream) }
}

/// TLS on a stream.
#[cfg(feature = "tls")]
pub(super) async fn secure(
    stream: Stream,
    host: &str,
    port: u16,
    options: &Options,
) -> Result<Stream, ConnectError> {
    options.tls.secure(stream, host, port).await
}

/// TLS on a stream.
#[cfg(not(feature = "tls"))]
pub(super) async fn secure(
    _stream: Stream,
    _host: &str,
    _port: u16,
    _options: &Options,
) -> Result<Stream, ConnectError> {
    Err(ConnectError::Tls("built without the feature `tls`".to_owned()))
}

pub(super) async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    // Calls are small, and somebody waits for them.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks for a WebSocket; gives the stream and what was read behind the answer.
async fn upgrade(
    stream: Stream,
    address: &Address,
    options: &Options,
) -> Result<(Stream, Vec<u8>), ConnectError> {
    let key = generate_key();
    let mut request = Request::get(address.target.as_str())
        .header(header::HOST, address.authority.as_str())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, key.as_str())
        .body(String::new())
        .map_err(|error| ConnectError::Url(error.to_string()))?;
    for (name, value) in &options.headers {
        request.headers_mut().insert(name, value.clone());
    }
    let check = |response: &Response<_>| {
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(ConnectError::NotAWebSocket(format!("the answer is {status}")));
        }
        let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        if accept.map(HeaderValue::as_bytes) != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(ConnectError::NotAWebSocket("a wrong accept key".to_owned()));
        }
        Ok(())
    };
    exchange(stream, request, check).await
}

/// Sends a request, after which the stream is no longer HTTP if `check` likes the answer.
pub(super) async fn exchange(
    stream: Stream,
    request: Request<String>,
    check: impl FnOnce(&Response<hyper::body::Incoming>) -> Result<(), ConnectError>,
) -> Result<(Stream, Vec<u8>), ConnectError> {
    let http = |error: hyper::Error| match error.is_parse() {
        true => ConnectError::NotAWebSocket(format!("no HTTP: {error}")),
        false => ConnectError::from(io::Error::other(error)),
    };
    let (mut sender, connection) = http1::handshake(FuturesIo::new(stream)).await.map_err(http)?;
    let mut connection = pin!(connection.with_upgrades().fuse());
    // Whatever ends the connection ends the request, too.
    let response = or(sender.send_request(request), async {
        _ = connection.as_mut().await;
        core::future::pending().await
    });
    let response = response.await.map_err(http)?;
    check(&response)?;
    let upgraded = or(hyper::upgrade::on(response), async {
        _ = connection.as_mut().await;
        core::future::pending().await
    });
    let upgraded: Upgraded = upgraded.await.map_err(http)?;
    let parts = upgraded
        .downcast::<FuturesIo<Stream>>()
        .map_err(|_| ConnectError::NotAWebSocket("an unknown stream".to_owned()))?;
    Ok((parts.io.into_inner(), parts.read_buf.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let parse = |url| {
            let Address { secure, host, port, authority, target } = Address::parse(url)?;
            Ok::<_, ConnectError>((secure, format!("{host} {port} {authority} {target}")))
        };
        let good = [
            ("ws://localhost:8080/ws", (false, "localhost 8080 localhost:8080 /ws")),
            ("ws://localhost:8080", (false, "localhost 8080 localhost:8080 /ws")),
            ("ws://localhost/", (false, "localhost 80 localhost /ws")),
            ("wss://a.b/x/y?z=1", (true, "a.b 443 a.b /x/y?z=1")),
            ("http://[::1]:9/", (false, "::1 9 [::1]:9 /ws")),
        ];
        for (url, (secure, text)) in good {
            assert_eq!(parse(url).unwrap(), (secure, text.to_owned()), "{url}");
        }
        for url in ["", "localhost", "localhost:8080", "ftp://a", "ws://", "/ws", "ws://a b"] {
            let error = parse(url).unwrap_err();
            assert!(matches!(error, ConnectError::Url(_)), "{url}: {error}");
        }
    }
}
