//! The HTTP side: files, handlers, and the way to the WebSockets.

mod assets;
mod body;
mod content;
mod handler;
mod origin;
mod patient;
mod visitor;

pub use assets::Assets;
pub use body::Body;
pub(crate) use content::Content;
pub(crate) use handler::Handlers;
pub use handler::web;
pub use origin::Origins;
pub(crate) use visitor::Visitor;

use crate::Options;
use crate::shared::{Control, Entered, lock};
use crate::site::Front;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use bytes::Bytes;
use core::convert::Infallible;
use core::net::SocketAddr;
use core::panic::AssertUnwindSafe;
use core::pin::pin;
use futures_util::FutureExt as _;
use futures_util::future::poll_fn;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use patient::Patient;
use smol::io::{AsyncRead, AsyncWrite};
use smol_hyper::rt::{FuturesIo, SmolTimer};
use std::sync::{Arc, Mutex};

/// Browsers shall ask each time whether a file is still the same, or a new version of the program
/// would meet old pages.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// A stream that became a WebSocket, with what was read behind the handshake, and its place among
/// the clients.
pub(crate) struct Upgraded<T> {
    pub(crate) stream: T,
    pub(crate) read_ahead: Bytes,
    pub(crate) accepted: Accepted,
}

/// What an accepted upgrade leaves for later.
pub(crate) struct Accepted {
    /// Which of the servers it asked for.
    pub(crate) endpoint: usize,
    pub(crate) visitor: Arc<Visitor>,
    pub(crate) place: Entered,
}

/// Where an accepted upgrade waits until HTTP is over.
type Waiting = Mutex<Option<(OnUpgrade, Accepted)>>;

/// Speaks HTTP until the stream ends, or becomes a WebSocket.
pub(crate) async fn serve<T, F>(
    stream: T,
    remote: Option<SocketAddr>,
    front: &F,
) -> Option<Upgraded<T>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Front,
{
    let waiting = Waiting::default();
    let (options, control) = (front.options(), front.control());
    let respond = async |mut request: Request<Incoming>| {
        if let Some(remote) = remote {
            request.extensions_mut().insert(remote);
        }
        let mut response = route(request, remote, front, &waiting).await;
        for (name, value) in &options.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        Ok::<_, Infallible>(response)
    };
    let deadlines = &options.config.deadlines;
    let mut builder = http1::Builder::new();
    builder
        .timer(SmolTimer::new())
        // A peer that never asks is no better than one that never says hello.
        .header_read_timeout(deadlines.hello)
        .max_buf_size(16 << 10);
    let stream = FuturesIo::new(Patient::new(stream, deadlines.write));
    let mut connection =
        pin!(builder.serve_connection(stream, service_fn(respond)).with_upgrades());
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

    let waiting = lock(&waiting).take();
    let (upgrade, accepted) = waiting?;
    let upgraded = upgrade.await.map_err(|error| log::debug!("no upgrade: {error}")).ok()?;
    let parts = upgraded.downcast::<FuturesIo<Patient<T>>>().ok()?;
    let stream = parts.io.into_inner().into_inner();
    Some(Upgraded { stream, read_ahead: parts.read_buf, accepted })
}

/// WebSockets first, then what the user has mounted, then files.
async fn route<F: Front>(
    request: Request<Incoming>,
    remote: Option<SocketAddr>,
    front: &F,
    waiting: &Waiting,
) -> Response<Body> {
    let path = request.uri().path();
    let options = front.options();
    let endpoint = front.endpoint_at(path);
    if let Some(endpoint) = endpoint
        && (path != "/" || wants_upgrade(request.headers()))
    {
        return upgrade(request, remote, front, endpoint, waiting);
    }
    if let Some(handler) = options.handlers.find(path) {
        let (path, handler) = (path.to_owned(), Arc::clone(handler));
        let answer = AssertUnwindSafe(async move { handler(request).await });
        return answer.catch_unwind().await.unwrap_or_else(|_| {
            log::error!("the handler of {path:?} panicked");
            status_page(StatusCode::INTERNAL_SERVER_ERROR)
        });
    }
    if path == "/health" && options.health {
        return only_reads(request.method()).unwrap_or_else(|| health(front));
    }
    if let Some((content, rest)) = options.directory(path) {
        let rest = rest.to_owned();
        return content.respond(request, &rest, options.follow_symlinks).await;
    }
    if let Some(answer) = options.assets.respond(request.method(), path, request.headers()) {
        return answer;
    }
    if let Some(content) = &options.content {
        if path == "/" {
            return only_reads(request.method()).unwrap_or_else(|| to_index(&request));
        }
        let path = path.to_owned();
        return content.respond(request, &path, options.follow_symlinks).await;
    }
    if path == "/" {
        let text = match &options.ws_path {
            Some(path) => format!("wslink server, WebSocket at {path}"),
            None => "wslink server".to_owned(),
        };
        return only_reads(request.method()).unwrap_or_else(|| plain(StatusCode::OK, &text));
    }
    status_page(StatusCode::NOT_FOUND)
}

fn upgrade<F: Front>(
    mut request: Request<Incoming>,
    remote: Option<SocketAddr>,
    front: &F,
    endpoint: usize,
    waiting: &Waiting,
) -> Response<Body> {
    if request.method() != Method::GET {
        let response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET");
        return with(response, header::ALLOW, HeaderValue::from_static("GET"));
    }
    if !wants_upgrade(request.headers()) {
        let response = plain(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket");
        return upgrade_to_websocket(response);
    }
    let origins = front.options_of(endpoint).map(|options: &Options| &options.origins);
    if !origins.is_some_and(|origins| origins.allow(request.uri(), request.headers())) {
        return refuse_origin(request.headers());
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
    let control: &Arc<Control> = front.control();
    if control.is_stopping() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "the server stops");
    }
    let most = front.options().max_connections;
    let Some(place) = control.enter_client(most) else {
        log::warn!("a client was turned away: {most} are connected");
        let response = plain(StatusCode::SERVICE_UNAVAILABLE, "too many clients");
        return with(response, header::RETRY_AFTER, HeaderValue::from_static("5"));
    };
    let visitor = Arc::new(Visitor::new(request.uri(), request.headers(), remote));
    let accepted = Accepted { endpoint, visitor, place };
    let upgrade = hyper::upgrade::on(&mut request);
    *lock(waiting) = Some((upgrade, accepted));
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let response = with(response, header::SEC_WEBSOCKET_ACCEPT, accept);
    upgrade_to_websocket(response)
}

/// Says so in full, for it is somebody setting up a proxy who reads it.
fn refuse_origin(headers: &HeaderMap) -> Response<Body> {
    let text = |name| headers.get(name).and_then(|it: &HeaderValue| it.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let refused = match text(header::ORIGIN) {
        Some(origin) => format!("pages from {origin:?} may not connect to {host:?}"),
        None => format!("no origin, no connection to {host:?}"),
    };
    log::warn!("refused: {refused}");
    plain(StatusCode::FORBIDDEN, &refused)
}

/// How the server is, for load balancers and people.
fn health<F: Front>(front: &F) -> Response<Body> {
    let control = front.control();
    let (status, word) = match control.is_stopping() {
        false => (StatusCode::OK, "ok"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    };
    let text = format!(
        "{{\"status\":\"{word}\",\"peers\":{},\"websockets\":{},\"connections\":{},\
         \"publications\":{},\"uptime\":{}}}",
        front.peers(),
        control.clients(),
        control.streams(),
        front.published(),
        control.now().as_millis() / 1000,
    );
    let response =
        with(plain(status, &text), header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    with(response, header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
}

/// As upstream, and relative, so that it is right under any path of a proxy.
fn to_index(request: &Request<Incoming>) -> Response<Body> {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let response = status_page(StatusCode::FOUND);
    match HeaderValue::try_from(format!("index.html{query}")) {
        Ok(location) => with(response, header::LOCATION, location),
        Err(_) => status_page(StatusCode::BAD_REQUEST),
    }
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

fn upgrade_to_websocket(response: Response<Body>) -> Response<Body> {
    let response = with(response, header::CONNECTION, HeaderValue::from_static("Upgrade"));
    with(response, header::UPGRADE, HeaderValue::from_static("websocket"))
}

/// What a method is answered that would change something; `None` for those that only read.
fn only_reads(method: &Method) -> Option<Response<Body>> {
    (!matches!(*method, Method::GET | Method::HEAD)).then(only_get_and_head)
}

fn only_get_and_head() -> Response<Body> {
    let response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
    with(response, header::ALLOW, HeaderValue::from_static("GET, HEAD"))
}

/// A page that says what its status says.
fn status_page(status: StatusCode) -> Response<Body> {
    let reason = status.canonical_reason().unwrap_or_default();
    plain(status, &reason.to_ascii_lowercase())
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    with(response, header::CONTENT_TYPE, text)
}

fn with(mut response: Response<Body>, name: HeaderName, value: HeaderValue) -> Response<Body> {
    response.headers_mut().insert(name, value);
    response
}
