//! The head of an HTTP request as `wslink-embassy` reads it: any bytes, cut anywhere, against a
//! model that reads lines, and what is answered read by another parser.

#![no_main]
#![allow(unexpected_cfgs, reason = "features of the adapter, whose source this is")]

#[path = "../../../adapters/embassy/src/http.rs"]
#[allow(dead_code, reason = "the adapter's, of which a part is used here")]
mod http;
#[path = "../../../adapters/embassy/src/options.rs"]
#[allow(dead_code, reason = "the adapter's, of which a part is used here")]
mod options;

use core::future::Future as _;
use core::ops::Range;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use embedded_io_async::{ErrorKind, ErrorType, Read};
use http::{Answer, Head, Send, read_request, respond};
use libfuzzer_sys::fuzz_target;
use options::{Options, Origins, Page};
use wslink_core::Entropy;
use wslink_fuzz::Input;

const PAGES: &[Page<'static>] = &[
    Page::new("/", "text/html; charset=utf-8", b"<!doctype html>").gzipped().with_etag("v1"),
    Page::new("/both", "text/plain", b"a page"),
];
const PATHS: &[&str] = &["/ws", "/proxy", "/both"];
const OTHERS: &[&str] = &["http://elsewhere"];

/// What browsers send, and what is close to it.
const WORDS: &[&str] = &[
    "GET ",
    "HEAD ",
    "POST ",
    "/",
    "/ws",
    "/both",
    "/proxy",
    "/no",
    "?x=y",
    "#f",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    "\r\n",
    "\n",
    "\r\n\r\n",
    "Host: device\r\n",
    "hOST:device:80\r\n",
    "Origin: http://device\r\n",
    "Origin: https://device:80\r\n",
    "origin: http://elsewhere\r\n",
    "Origin: null\r\n",
    "Upgrade: websocket\r\n",
    "UPGRADE:\tWebSocket , h2c\r\n",
    "Connection: Upgrade\r\n",
    "Connection: keep-alive, Upgrade\r\n",
    "connection: close\r\n",
    "Sec-WebSocket-Version: 13\r\n",
    "sec-websocket-version: 8\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "Sec-WebSocket-Key: short\r\n",
    "If-None-Match: W/\"v1\"\r\n",
    "If-None-Match: \"v0\", \"v1\"\r\n",
    "If-None-Match: *\r\n",
    "Cookie: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
    "a: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\n",
    ": ",
    ",",
    "\"",
    "\t",
    "\0",
    "\u{e9}",
];

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (how, size, seed) = (input.u8(), usize::from(input.u8()) * 4, input.u16());
    let bytes =
        if how & 1 == 0 { data.get(4..).unwrap_or_default().to_vec() } else { words(input) };
    let origins =
        [Origins::SameHost, Origins::Also(OTHERS), Origins::Any][usize::from(how / 2 % 3)];
    let options = Options::new("", || Entropy([0; 16]));
    let options = options.with_pages(PAGES).with_paths(PATHS).with_origins(origins);
    let size = if how & 0x80 == 0 { 1024 } else { size };

    let whole = ask(&bytes, size, usize::MAX, &options);
    for cut in [1, 1 + usize::from(seed) % 64] {
        let cut = ask(&bytes, size, cut, &options);
        match (&whole, &cut) {
            (Some((whole, ..)), Some((cut, ..))) => assert_eq!(whole, cut),
            _ => assert!(whole.is_none() && cut.is_none(), "{whole:?} and {cut:?}"),
        }
    }
    let Some((said, answer, rest)) = whole else { return };
    check_answer(&said, &answer);
    // What was understood is as a reader of lines sees it.
    if !said.starts_with("HTTP/1.1 431 ") && !said.contains("this is not HTTP/1.1") {
        let head = &bytes[..rest.start];
        assert!(head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n"), "the end of a head");
        let status = model(&String::from_utf8_lossy(head), origins);
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{status}, but {said}");
    }
});

fn words(mut input: Input<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !input.is_empty() && bytes.len() < 4096 {
        match usize::from(input.u8()) {
            nth if nth < 2 * WORDS.len() => bytes.extend(WORDS[nth / 2].as_bytes()),
            // What most requests begin with, and a byte as it is.
            nth if nth < 200 => bytes.extend(b"GET /ws HTTP/1.1\r\nHost: device\r\n"),
            _ => bytes.push(input.u8()),
        }
    }
    bytes
}

/// What is answered, as a whole and as it was told, and what is left in the buffer.
fn ask(
    bytes: &[u8],
    size: usize,
    cut: usize,
    options: &Options<'static>,
) -> Option<(String, Answer<'static>, Range<usize>)> {
    let (mut buffer, mut rx) = (vec![0; size], Pieces { rest: bytes, cut });
    let found = {
        let request = pin!(read_request(&mut rx, &mut buffer, options, false));
        let Poll::Ready(found) = request.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it waits for nothing")
        };
        found
    };
    let (rest, answer) = found?;
    assert!(rest.start <= rest.end && rest.end <= size);
    let read = bytes.len() - rx.rest.len();
    assert_eq!(rest.end, read, "what was read is there");
    let mut head = Head::new();
    let [body, end] = respond(&answer, &mut head).expect("pages with short names");
    let text = [head.as_bytes(), body, end].concat();
    Some((String::from_utf8(text).expect("UTF-8"), answer, rest))
}

/// Another parser finds the answer well-formed, and as long as it says.
fn check_answer(said: &str, answer: &Answer<'_>) {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(len)) = response.parse(said.as_bytes()) else {
        panic!("{said}")
    };
    let length = response.headers.iter().find(|it| it.name == "Content-Length");
    let length = length.map(|it| String::from_utf8_lossy(it.value).parse::<usize>().expect("it"));
    let body = said.len() - len;
    match answer {
        Answer::Upgrade(_) => assert_eq!((length, body), (None, 0)),
        Answer::Page { send: Send::NotModified, .. } => assert_eq!((length, body), (None, 0)),
        Answer::Page { send: Send::Head, page } => {
            assert_eq!((length, body), (Some(page.body.len()), 0));
        }
        Answer::Page { send: Send::All, .. } => assert_eq!(length, Some(body)),
        Answer::Elsewhere => panic!("there is nobody else"),
        Answer::Refusal(_) => assert!(length.is_some_and(|it| body == it || body == 0)),
    }
}

/// The status for a head that can be read.
fn model(head: &str, origins: Origins<'_>) -> u16 {
    let mut lines = head.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let mut lines = lines.by_ref().skip_while(|line| line.is_empty());
    let first = lines.next().expect("a request line");
    let words: Vec<_> = first.split(' ').filter(|it| !it.is_empty()).collect();
    let [method, target, version] = words[..] else { panic!("{first:?}") };
    let headers: Vec<(String, &str)> = lines
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_once(':').expect("a header"))
        // What is no UTF-8 is no value that is known.
        .filter(|(_, value)| !value.contains('\u{fffd}'))
        .map(|(name, value)| (name.to_lowercase(), value.trim()))
        .collect();
    let all = |name: &str| {
        let named = headers.iter().filter(|it| it.0 == name).map(|it| it.1.to_owned());
        named.collect::<Vec<_>>()
    };
    let one = |name: &str| all(name).into_iter().next();
    let lists = |name: &str, word: &str| {
        all(name).join(",").split(',').any(|it| it.trim().to_lowercase() == word)
    };
    let path = &target[..target.find(['?', '#']).unwrap_or(target.len())];
    let upgrades = lists("upgrade", "websocket") && lists("connection", "upgrade");
    let page = PAGES.iter().any(|page| page.path() == path);
    if PATHS.contains(&path) && (upgrades || !page) {
        let Some(host) = one("host") else {
            return match () {
                () if method != "GET" => 405,
                () if !upgrades
                    || version == "HTTP/1.1"
                        && one("sec-websocket-version").as_deref() != Some("13") =>
                {
                    426
                }
                () => 400,
            };
        };
        let origin = one("origin").map(|it| it.to_lowercase());
        let own = ["http", "https"].map(|it| format!("{it}://{}", host.to_lowercase()));
        let known = |it: &String| {
            own.contains(it) || matches!(origins, Origins::Also(_)) && it == OTHERS[0]
        };
        return match () {
            () if method != "GET" => 405,
            () if !upgrades => 426,
            () if version != "HTTP/1.1" => 400,
            () if one("sec-websocket-version").as_deref() != Some("13") => 426,
            () if one("sec-websocket-key").is_none_or(|key| key.len() != 24) => 400,
            () if origins == Origins::Any || origin.as_ref().is_none_or(known) => 101,
            () if origin.is_some_and(|it| {
                it.split_once("://").is_some_and(|it| it.1 == host.to_lowercase())
            }) =>
            {
                101
            }
            () => 403,
        };
    }
    if !page {
        return 404;
    }
    let known = one("if-none-match").is_some_and(|known| {
        known.split(',').any(|it| matches!(it.trim(), "*" | "\"v1\"" | "W/\"v1\""))
    });
    match method {
        "GET" | "HEAD" if known && path == "/" => 304,
        "GET" | "HEAD" => 200,
        _ => 405,
    }
}

struct Pieces<'a> {
    rest: &'a [u8],
    cut: usize,
}

impl ErrorType for Pieces<'_> {
    type Error = ErrorKind;
}

impl Read for Pieces<'_> {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, ErrorKind> {
        let count = self.cut.min(into.len()).min(self.rest.len());
        let (read, rest) = self.rest.split_at(count);
        into[..count].copy_from_slice(read);
        self.rest = rest;
        Ok(count)
    }
}
