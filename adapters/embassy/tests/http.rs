//! Pages, and what is no upgrade.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::client::UPGRADE;
use common::{Clock, Net, options, with};
use embedded_io_async::{Read as _, Write as _};
use wslink_embassy::{Options, Origins, Page};
use wslink_scope::Scope;

const PAGES: &[Page<'static>] = &[
    Page::new("/", "text/html; charset=utf-8", b"<!doctype html>").gzipped().with_etag("v1"),
    Page::new("/both", "text/plain", b"a page"),
];

fn pages() -> Options<'static> {
    options().with_pages(PAGES).with_paths(&["/ws", "/proxy", "/both"])
}

fn run(options: Options<'static>, test: impl AsyncFnOnce(&Net<Scope<Clock>>)) {
    with(Scope::new(Clock), options, test);
}

/// The answer to a request that comes in pieces of `cut` bytes.
async fn ask(net: &Net<Scope<Clock>>, request: &str, cut: usize) -> String {
    let (mut rx, mut tx) = net.connect();
    for piece in request.as_bytes().chunks(cut) {
        // It may be refused before it has come whole.
        if tx.write_all(piece).await.is_err() {
            break;
        }
        futures_lite::future::yield_now().await;
    }
    let (mut answer, mut buffer) = (Vec::new(), [0; 512]);
    while let Ok(len @ 1..) = rx.read(&mut buffer).await {
        answer.extend(&buffer[..len]);
        if answer.starts_with(b"HTTP/1.1 101 ") && answer.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn pages_in_any_cut() {
    run(pages(), async |net| {
        for cut in [1, 2, 3, 10, 1000] {
            let page = ask(net, "GET / HTTP/1.1\r\nHost: device\r\n\r\n", cut).await;
            assert_eq!(
                page,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\
                 Content-Encoding: gzip\r\nETag: \"v1\"\r\nCache-Control: no-cache\r\n\
                 Content-Length: 15\r\nConnection: close\r\n\r\n<!doctype html>"
            );
            let head = ask(net, "HEAD /?x HTTP/1.1\r\nHost: device\r\n\r\n", cut).await;
            assert_eq!(head, page.strip_suffix("<!doctype html>").unwrap());
            for (known, status) in [
                ("\"v1\"", "304 Not Modified"),
                ("\"v0\", W/\"v1\"", "304 Not Modified"),
                ("*", "304 Not Modified"),
                ("\"v2\"", "200 OK"),
            ] {
                let request =
                    format!("GET / HTTP/1.1\r\nhost: device\r\nIF-NONE-MATCH: {known}\r\n\r\n");
                let answer = ask(net, &request, cut).await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
                assert!(answer.contains("ETag: \"v1\"\r\n"), "{answer}");
            }
        }
        let page = ask(net, "GET /both HTTP/1.1\r\nHost: device\r\n\r\n", 1000).await;
        assert!(page.ends_with("\r\n\r\na page"));
    });
}

#[test]
fn refusals_have_bodies() {
    let long = format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "x".repeat(1100));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(40));
    run(pages(), async |net| {
        for (request, status, header, body) in [
            ("GET /no HTTP/1.1\r\n\r\n", "404 Not Found", "", "not found\n"),
            (
                "POST / HTTP/1.1\r\n\r\n",
                "405 Method Not Allowed",
                "Allow: GET, HEAD",
                "only GET and HEAD\n",
            ),
            ("HEAD /ws HTTP/1.1\r\n\r\n", "405 Method Not Allowed", "Allow: GET", ""),
            (
                "GET /ws HTTP/1.1\r\n\r\n",
                "426 Upgrade Required",
                "Upgrade: websocket",
                "this is a WebSocket\n",
            ),
            ("\x16\x03\x01\x02\r\n\r\n", "400 Bad Request", "", "this is not HTTP/1.1\n"),
            (
                &long,
                "431 Request Header Fields Too Large",
                "",
                "the head of the request is too large\n",
            ),
            (
                &many,
                "431 Request Header Fields Too Large",
                "",
                "the head of the request is too large\n",
            ),
        ] {
            let answer = ask(net, request, 100).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
            assert!(answer.contains(header), "{answer}");
            assert!(answer.ends_with(&format!("Connection: close\r\n\r\n{body}")), "{answer}");
        }
    });
}

#[test]
fn upgrades() {
    run(pages(), async |net| {
        for (change, to, status) in [
            ("", "", "101"),
            ("/ws?sessionURL=x", "/proxy", "101"),
            ("/ws?", "/both?", "101"),
            ("Connection: Upgrade", "Connection: keep-alive, Upgrade", "101"),
            ("Connection: Upgrade", "cOnNeCtIoN:  keep-alive ,uPGRADE ", "101"),
            ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade", "101"),
            (
                "Upgrade: websocket\r\nConnection: Upgrade",
                "Connection: Upgrade\r\nUPGRADE: WebSocket",
                "101",
            ),
            ("Host: device", "Origin: http://device\r\nHost: device", "101"),
            ("Host: device", "Host: DEVICE:80\r\nOrigin: https://device:80", "101"),
            ("Host: device", "Host: device\r\nOrigin: http://elsewhere", "403"),
            ("Host: device", "Host: device\r\nOrigin: http://device.elsewhere", "403"),
            ("Host: device", "Host: device\r\nOrigin: null", "403"),
            ("Host: device", "X: y", "400"),
            ("Connection: Upgrade", "Connection: close", "426"),
            ("Version: 13", "Version: 8", "426"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhl", "400"),
            ("GET", "POST", "405"),
            ("HTTP/1.1", "HTTP/1.0", "400"),
            ("/ws", "/wss", "404"),
        ] {
            let request = UPGRADE.replacen(change, to, 1);
            for cut in [1, 1000] {
                let answer = ask(net, &request, cut).await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{answer}");
            }
        }
    });
    let others = Origins::Also(&["http://elsewhere"]);
    for (origins, origin, status) in [
        (others, "http://elsewhere", 101),
        (others, "http://device", 101),
        (others, "http://else", 403),
        (Origins::Any, "null", 101),
    ] {
        run(pages().with_origins(origins), async |net| {
            let request = UPGRADE.replace("Host:", &format!("Origin: {origin}\r\nHost:"));
            let answer = ask(net, &request, 1000).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        });
    }
}

#[test]
fn options_print_no_secret() {
    assert!(!format!("{:?}", pages()).contains(common::SECRET));
}
