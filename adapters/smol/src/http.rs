//! The HTTP side: a few pages, and the way to the WebSocket.

use crate::Options;
use crate::shared::{Control, Entered};
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use bytes::Bytes;
use core::convert::Infallible;
use core::pin::pin;
use futures_util::future::poll_fn;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use smol::io::{AsyncRead, AsyncWrite};
use smol_hyper::rt::{FuturesIo, SmolTimer};
use std::sync::{Arc, Mutex, PoisonError};

/// A stream that became a WebSocket, with what was read behind the handshake, and its place among
/// the clients.
pub(crate) struct Upgraded<T> {
    pub(crate) stream: T,
    pub(crate) read_ahead: Bytes,
    pub(crate) place: Entered,
}

/// What an accepted upgrade leaves for later.
type Accepted = Mutex<Option<(OnUpgrade, Entered)>>;

/// Speaks HTTP until the stream ends, or becomes a WebSocket.
pub(crate) async fn serve<T>(
    stream: T,
    options: &Options,
    control: &Arc<Control>,
) -> Option<Upgraded<T>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let accepted = Accepted::default();
    let respond = |request| {
        let response = respond(request, options, control, &accepted);
        core::future::ready(Ok::<_, Infallible>(response))
    };
    let mut builder = http1::Builder::new();
    builder
        .timer(SmolTimer::new())
        // A peer that never asks is no better than one that never says hello.
        .header_read_timeout(options.config.deadlines.hello)
        .max_buf_size(16 << 10);
    let mut connection =
        pin!(builder.serve_connection(FuturesIo::new(stream), service_fn(respond)).with_upgrades());
    let mut news = pin!(control.listen());
    let mut stopping = false;
    let result = poll_fn(|cx| {
        while news.as_mut().poll(cx).is_ready() {
            news.set(control.listen());
        }
        if control.is_stopping() && !stopping {
            stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await;
    if let Err(error) = result {
        log::debug!("an HTTP connection ended: {error}");
    }

    let accepted = accepted.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (upgrade, place) = accepted?;
    let upgraded = upgrade.await.map_err(|error| log::debug!("no upgrade: {error}")).ok()?;
    let parts = upgraded.downcast::<FuturesIo<T>>().ok()?;
    Some(Upgraded { stream: parts.io.into_inner(), read_ahead: parts.read_buf, place })
}

fn respond(
    mut request: Request<Incoming>,
    options: &Options,
    control: &Arc<Control>,
    accepted: &Accepted,
) -> Response<String> {
    let path = request.uri().path();
    let is_ws = path == options.ws_path;
    if !is_ws && !matches!(path, "/" | "/health") {
        return plain(StatusCode::NOT_FOUND, "not found");
    }
    if is_ws && (path != "/" || wants_upgrade(request.headers())) {
        return upgrade(&mut request, options, control, accepted);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        return with(response, header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    match path {
        "/health" => plain(StatusCode::OK, "ok"),
        _ => plain(StatusCode::OK, &format!("wslink server, WebSocket at {}", options.ws_path)),
    }
}

fn upgrade(
    request: &mut Request<Incoming>,
    options: &Options,
    control: &Arc<Control>,
    accepted: &Accepted,
) -> Response<String> {
    if request.method() != Method::GET {
        let response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET");
        return with(response, header::ALLOW, HeaderValue::from_static("GET"));
    }
    if !wants_upgrade(request.headers()) {
        let response = plain(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket");
        return upgrade_to_websocket(response);
    }
    let version = request.headers().get(header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version != "13") {
        let response = plain(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 only");
        let response = upgrade_to_websocket(response);
        return with(response, header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    // 16 bytes in base64.
    let Some(key) = key.filter(|key| key.len() == 24) else {
        return plain(StatusCode::BAD_REQUEST, "no Sec-WebSocket-Key");
    };
    let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "no accept key");
    };
    if control.is_stopping() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "the server stops");
    }
    let Some(place) = control.enter_client(options.max_connections) else {
        log::warn!("a client was turned away: {} are connected", options.max_connections);
        let response = plain(StatusCode::SERVICE_UNAVAILABLE, "too many clients");
        return with(response, header::RETRY_AFTER, HeaderValue::from_static("5"));
    };
    let upgrade = hyper::upgrade::on(request);
    *accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some((upgrade, place));
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let response = with(response, header::SEC_WEBSOCKET_ACCEPT, accept);
    upgrade_to_websocket(response)
}

/// Whether a client asks to leave HTTP for a WebSocket.
fn wants_upgrade(headers: &HeaderMap) -> bool {
    let names =
        |header: HeaderName, word: &str| {
            headers.get_all(header).iter().filter_map(|value| value.to_str().ok()).any(|value| {
                value.split(',').any(|element| element.trim().eq_ignore_ascii_case(word))
            })
        };
    names(header::UPGRADE, "websocket") && names(header::CONNECTION, "upgrade")
}

fn upgrade_to_websocket(response: Response<String>) -> Response<String> {
    let response = with(response, header::CONNECTION, HeaderValue::from_static("Upgrade"));
    with(response, header::UPGRADE, HeaderValue::from_static("websocket"))
}

fn plain(status: StatusCode, text: &str) -> Response<String> {
    let mut response = Response::new(format!("{text}\n"));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    with(response, header::CONTENT_TYPE, text)
}

fn with(mut response: Response<String>, name: HeaderName, value: HeaderValue) -> Response<String> {
    response.headers_mut().insert(name, value);
    response
}
