//! The HTTP side: pages out of flash, and the way to the WebSocket.

use crate::options::{Options, Origins, Page};
use core::fmt::Write as _;
use core::ops::Range;
use embedded_io_async::Read;
use heapless::String;
use httparse::{EMPTY_HEADER, Header, Request, Status};

/// Headers of a request; browsers send about 15.
const HEADERS: usize = 32;

/// What is answered to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer<'o> {
    /// The WebSocket, with its accept key.
    Upgrade([u8; 28]),
    /// A page; its head only, or that it has not changed.
    Page {
        page: &'o Page<'o>,
        send: Send,
    },
    Refusal(Refusal),
    /// None: it is for somebody else.
    Elsewhere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) enum Send {
    All,
    Head,
    NotModified,
}

/// An answer that says what was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Code and name.
    status: &'static str,
    /// Further headers, each with its end of line.
    headers: &'static str,
    /// Why.
    text: &'static str,
    head_only: bool,
}

impl Refusal {
    const fn new(status: &'static str, text: &'static str) -> Self {
        Self { status, headers: "", text, head_only: false }
    }

    const fn with(self, headers: &'static str) -> Self {
        Self { headers, ..self }
    }

    pub(crate) const FULL: Self =
        Self::new("503 Service Unavailable", "too many clients").with("Retry-After: 5\r\n");
    const MALFORMED: Self = Self::new("400 Bad Request", "this is not HTTP/1.1");
    const TOO_LARGE: Self =
        Self::new("431 Request Header Fields Too Large", "the head of the request is too large");
    const NOT_FOUND: Self = Self::new("404 Not Found", "not found");
    const NO_PAGE_METHOD: Self =
        Self::new("405 Method Not Allowed", "only GET and HEAD").with("Allow: GET, HEAD\r\n");
    const NO_UPGRADE_METHOD: Self =
        Self::new("405 Method Not Allowed", "only GET").with("Allow: GET\r\n");
    const NO_UPGRADE: Self =
        Self::new("426 Upgrade Required", "this is a WebSocket").with("Upgrade: websocket\r\n");
    const VERSION: Self = Self::new("426 Upgrade Required", "WebSocket version 13 only")
        .with("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    const NO_KEY: Self = Self::new("400 Bad Request", "no Sec-WebSocket-Key");
    const NO_HOST: Self = Self::new("400 Bad Request", "no Host");
    const ORIGIN: Self = Self::new("403 Forbidden", "not from this origin");
}

#[cfg(feature = "defmt")]
impl defmt::Format for Answer<'_> {
    fn format(&self, fmt: defmt::Formatter<'_>) {
        match self {
            Self::Upgrade(_) => defmt::write!(fmt, "101 Switching Protocols"),
            Self::Page { page, send } => defmt::write!(fmt, "{=str}, {}", page.path(), send),
            Self::Refusal(Refusal { status, text, .. }) => {
                defmt::write!(fmt, "{=str}, {=str}", status, text);
            }
            Self::Elsewhere => defmt::write!(fmt, "left to another server"),
        }
    }
}

/// Reads the head of a request, and tells what is behind it in the buffer and what to answer;
/// `None` if the peer went away. If it is `mounted` beside another server, what is no WebSocket is
/// left to that.
pub(crate) async fn read_request<'o, R: Read>(
    rx: &mut R,
    buffer: &mut [u8],
    options: &Options<'o>,
    mounted: bool,
) -> Option<(Range<usize>, Answer<'o>)> {
    let mut len = 0;
    loop {
        match rx.read(buffer.get_mut(len..)?).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => len += count,
        }
        let head = buffer.get(..len)?;
        if let Some((end, answer)) = parse(head, options, mounted) {
            return Some((end..len, answer));
        }
        if len == buffer.len() {
            return Some((len..len, Answer::Refusal(Refusal::TOO_LARGE)));
        }
    }
}

/// The length of a request's head, and what to answer; `None` if it is not complete. Not inlined:
/// the headers are large, and are to be gone from the stack when the rest runs.
#[inline(never)]
fn parse<'o>(bytes: &[u8], options: &Options<'o>, mounted: bool) -> Option<(usize, Answer<'o>)> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut request = Request::new(&mut headers);
    let refusal = match request.parse(bytes) {
        Ok(Status::Partial) => return None,
        Ok(Status::Complete(len)) => return Some((len, answer(&request, options, mounted))),
        Err(httparse::Error::TooManyHeaders) => Refusal::TOO_LARGE,
        Err(_) => Refusal::MALFORMED,
    };
    Some((bytes.len(), Answer::Refusal(refusal)))
}

fn answer<'o>(request: &Request<'_, '_>, options: &Options<'o>, mounted: bool) -> Answer<'o> {
    let target = request.path.unwrap_or_default();
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let method = request.method.unwrap_or_default();
    let is_head = method == "HEAD";
    let page = options.pages.iter().find(|page| page.path() == path);
    let is_ws = options.paths.contains(&path);
    if mounted && !is_ws {
        return Answer::Elsewhere;
    }
    let refusal = if is_ws && (page.is_none() || wants_upgrade(request.headers)) {
        match upgrade(request, method, options) {
            Ok(accept) => return Answer::Upgrade(accept),
            Err(refusal) => refusal,
        }
    } else {
        match page {
            Some(page) if is_head || method == "GET" => {
                let send = match (page.etag(), value(request.headers, "If-None-Match")) {
                    (Some(etag), Some(known)) if is_known(etag, known) => Send::NotModified,
                    _ if is_head => Send::Head,
                    _ => Send::All,
                };
                return Answer::Page { page, send };
            }
            Some(_) => Refusal::NO_PAGE_METHOD,
            None => Refusal::NOT_FOUND,
        }
    };
    Answer::Refusal(Refusal { head_only: is_head, ..refusal })
}

fn upgrade(
    request: &Request<'_, '_>,
    method: &str,
    options: &Options<'_>,
) -> Result<[u8; 28], Refusal> {
    if method != "GET" {
        return Err(Refusal::NO_UPGRADE_METHOD);
    }
    if !wants_upgrade(request.headers) {
        return Err(Refusal::NO_UPGRADE);
    }
    if request.version != Some(1) {
        return Err(Refusal::MALFORMED);
    }
    if value(request.headers, "Sec-WebSocket-Version") != Some("13") {
        return Err(Refusal::VERSION);
    }
    let key = value(request.headers, "Sec-WebSocket-Key").unwrap_or_default();
    // 16 bytes in base64.
    if key.len() != 24 {
        return Err(Refusal::NO_KEY);
    }
    let host = value(request.headers, "Host").ok_or(Refusal::NO_HOST)?;
    if let Some(origin) = value(request.headers, "Origin")
        && !is_allowed(origin, host, options.origins)
    {
        return Err(Refusal::ORIGIN);
    }
    Ok(accept(key))
}

fn is_allowed(origin: &str, host: &str, origins: Origins<'_>) -> bool {
    let is_same = || origin.split_once("://").is_some_and(|(_, it)| it.eq_ignore_ascii_case(host));
    match origins {
        Origins::SameHost => is_same(),
        Origins::Also(others) => {
            is_same() || others.iter().any(|it| it.eq_ignore_ascii_case(origin))
        }
        Origins::Any => true,
    }
}

/// Whether a client asks to leave HTTP for a WebSocket; Firefox says `keep-alive, Upgrade`.
fn wants_upgrade(headers: &[Header<'_>]) -> bool {
    let names = |header: &str, word: &str| {
        values(headers, header)
            .any(|value| value.split(',').any(|it| it.trim().eq_ignore_ascii_case(word)))
    };
    names("Upgrade", "websocket") && names("Connection", "upgrade")
}

/// Whether a page is among those that the client has: `"a", W/"b"` or `*`.
fn is_known(etag: &str, known: &str) -> bool {
    known.split(',').map(str::trim).any(|it| {
        let quoted = it.strip_prefix("W/").unwrap_or(it);
        let bare = quoted.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        it == "*" || bare == Some(etag)
    })
}

fn value<'h>(headers: &[Header<'h>], name: &str) -> Option<&'h str> {
    values(headers, name).next()
}

fn values<'h>(headers: &[Header<'h>], name: &str) -> impl Iterator<Item = &'h str> {
    let named = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.filter_map(|header| core::str::from_utf8(header.value).ok()).map(str::trim)
}

/// The accept key of RFC 6455 §4.2.2: the digest of the key and a constant, in base64.
fn accept(key: &str) -> [u8; 28] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let mut out = [b'='; 28];
    for (bytes, digits) in sha1.digest().bytes().chunks(3).zip(out.chunks_mut(4)) {
        let mut group = [0; 4];
        group[1..=bytes.len()].copy_from_slice(bytes);
        let group = u32::from_be_bytes(group);
        for (nth, digit) in digits.iter_mut().take(bytes.len() + 1).enumerate() {
            *digit = DIGITS[(group >> (18 - 6 * nth) & 63) as usize];
        }
    }
    out
}

/// The head of an answer. A page of which type and tag are too long for it is not sent.
pub(crate) type Head = String<320>;

/// Writes what answers a request, and gives the body that follows it. Pages and refusals end their
/// connection: a device has few sockets.
#[inline(never)]
pub(crate) fn respond<'o>(
    answer: &Answer<'o>,
    to: &mut Head,
) -> Result<[&'o [u8]; 2], core::fmt::Error> {
    Ok(match answer {
        Answer::Upgrade(accept) => {
            to.write_str("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")?;
            accept.iter().try_for_each(|digit| to.write_char(char::from(*digit)))?;
            to.write_str("\r\n\r\n")?;
            [&[], &[]]
        }
        Answer::Page { page, send } => {
            let status = match send {
                Send::NotModified => "304 Not Modified",
                Send::All | Send::Head => "200 OK",
            };
            write_all(to, &["HTTP/1.1 ", status, "\r\nContent-Type: ", page.content_type()])?;
            if let Some(encoding) = page.encoding() {
                write_all(to, &["\r\nContent-Encoding: ", encoding])?;
            }
            if let Some(etag) = page.etag() {
                write_all(to, &["\r\nETag: \"", etag, "\""])?;
            }
            to.write_str("\r\nCache-Control: no-cache\r\n")?;
            end(to, (*send != Send::NotModified).then_some(page.body.len()))?;
            [if *send == Send::All { page.body } else { &[] }, &[]]
        }
        Answer::Elsewhere => [&[], &[]],
        Answer::Refusal(Refusal { status, headers, text, head_only }) => {
            write_all(to, &["HTTP/1.1 ", status, "\r\n", headers])?;
            to.write_str("Content-Type: text/plain; charset=utf-8\r\n")?;
            end(to, Some(text.len() + 1))?;
            if *head_only { [&[], &[]] } else { [text.as_bytes(), b"\n"] }
        }
    })
}

fn write_all(to: &mut Head, parts: &[&str]) -> core::fmt::Result {
    parts.iter().try_for_each(|part| to.write_str(part))
}

fn end(to: &mut Head, len: Option<usize>) -> core::fmt::Result {
    if let Some(len) = len {
        write!(to, "Content-Length: {len}\r\n")?;
    }
    to.write_str("Connection: close\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::ToString as _;
    use wslink_core::Entropy;

    const REQUEST: &str = "GET /ws?x HTTP/1.1\r\nHost: device\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nIf-None-Match: W/\"a\", \"b\"\r\n\r\n";

    /// One byte after the other is each of the 256 that there are, also where the head is cut.
    #[test]
    fn no_byte_is_too_strange() {
        let pages = [Page::new("/", "text/html", b"page").gzipped().with_etag("b")];
        let options = Options::new("", || Entropy([0; 16])).with_pages(&pages);
        for at in 0..REQUEST.len() {
            for byte in 0..=255 {
                let mut bytes = REQUEST.as_bytes().to_vec();
                bytes[at] = byte;
                for end in [at, at + 1, bytes.len()] {
                    if let Some((len, answer)) = parse(&bytes[..end], &options, false) {
                        assert!(len <= end);
                        respond(&answer, &mut Head::new()).unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn a_head_that_is_too_long_is_no_answer() {
        let long = "x".repeat(400).to_string();
        let page = Page::new("/", &long, b"page");
        let answer = Answer::Page { page: &page, send: Send::All };
        assert!(respond(&answer, &mut Head::new()).is_err());
        assert_eq!(format!("{page:?}"), "Page { path: \"/\", len: 4, .. }");
    }
}
