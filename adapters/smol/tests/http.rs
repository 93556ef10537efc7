//! The pages, the upgrade, and what is neither.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::client::{Client, Dialect};
use common::raw::{UPGRADE, ask, get, upgrade};
use common::service::Bench;
use common::{options, with_bench, with_server};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::TcpStream;

#[test]
fn pages() {
    with_bench(async |_, address| {
        let page = get(address, "/").await;
        assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("/ws"), "{page}");
        let health = get(address, "/health?x=y").await;
        assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
        for path in ["/nothing", "/ws/", "/wsx", "/%2e%2e/etc/passwd"] {
            let answer = get(address, path).await;
            assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("not found\n"));
        }
        for path in ["/", "/health", "/ws"] {
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            );
            let answer = ask(address, &request).await;
            assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
            assert!(answer.to_lowercase().contains("\r\nallow: get"), "{answer}");
        }
        let answer = get(address, "/ws").await;
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
        let answer = ask(address, "nonsense\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let head = ask(address, "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    });
}

#[test]
fn several_pages_and_a_websocket_on_one_connection() {
    with_bench(async |_, address| {
        let request =
            format!("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /ws?a=b&c HTTP/1.1\r\n{UPGRADE}");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut seen = String::new();
        // RFC 6455 §1.3 has this key as its example.
        while !seen.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
            let mut piece = [0; 512];
            let count = stream.read(&mut piece).await.unwrap();
            assert_ne!(count, 0, "{seen}");
            seen.push_str(core::str::from_utf8(&piece[..count]).unwrap());
        }
    });
}

#[test]
fn upgrades_that_are_none() {
    with_bench(async |_, address| {
        let head = upgrade(address, &format!("GET /ws?x HTTP/1.1\r\n{UPGRADE}")).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"));
        assert!(!head.contains("sec-websocket-extensions"), "{head}");

        let old = UPGRADE.replace("Version: 13", "Version: 8");
        let head = upgrade(address, &format!("GET /ws HTTP/1.1\r\n{old}")).await;
        assert!(head.starts_with("http/1.1 426 "), "{head}");
        assert!(head.contains("sec-websocket-version: 13\r\n"), "{head}");

        let keyless = UPGRADE.replace("Sec-WebSocket-Key", "X");
        let head = upgrade(address, &format!("GET /ws HTTP/1.1\r\n{keyless}")).await;
        assert!(head.starts_with("http/1.1 400 "), "{head}");

        let elsewhere = upgrade(address, &format!("GET / HTTP/1.1\r\n{UPGRADE}")).await;
        assert!(elsewhere.starts_with("http/1.1 200 "), "{elsewhere}");
    });
}

#[test]
fn the_websocket_may_be_at_another_path_or_at_the_root() {
    let elsewhere = options().with_ws_path("/api/socket");
    with_server(Bench::default(), elsewhere, async |_, address| {
        let head = upgrade(address, &format!("GET /api/socket HTTP/1.1\r\n{UPGRADE}")).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        let head = upgrade(address, &format!("GET /ws HTTP/1.1\r\n{UPGRADE}")).await;
        assert!(head.starts_with("http/1.1 404 "), "{head}");
    });
    with_server(Bench::default(), options().with_ws_path("/"), async |_, address| {
        let head = upgrade(address, &format!("GET /?x HTTP/1.1\r\n{UPGRADE}")).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(get(address, "/").await.starts_with("HTTP/1.1 200 "));
    });
}

/// A client may send its first message with the handshake.
#[test]
fn bytes_behind_the_handshake_are_not_lost() {
    with_bench(async |_, address| {
        let hello = br#"{"id":"system:c0:0","method":"wslink.hello","args":[{"secret":"hush"}]}"#;
        let mut request = format!("GET /ws HTTP/1.1\r\n{UPGRADE}").into_bytes();
        request.extend([0x81, 0x80 | hello.len() as u8, 0, 0, 0, 0]);
        request.extend(hello);
        let mut stream = TcpStream::connect(address).await.unwrap();
        // In two writes, so that the second may come before or after the upgrade.
        stream.write_all(&request).await.unwrap();
        let mut seen = Vec::<u8>::new();
        while !seen.windows(8).any(|piece| piece == b"clientID") {
            let mut piece = [0; 512];
            let count = stream.read(&mut piece).await.unwrap();
            assert_ne!(count, 0);
            seen.extend(&piece[..count]);
        }
        let mut client = Client::login(address, Dialect::V1).await;
        assert_eq!(client.call("bench.add", vec![1.into(), 2.into()]).await, Ok(3.into()));
    });
}
