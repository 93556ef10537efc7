//! Handlers, headers, health, and several servers on one port.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::client::{BOTH, Client, Dialect};
use common::raw::{UPGRADE, get_with, request, upgrade};
use common::service::Bench;
use common::{listen, options, with_bench, with_server, within};
use core::net::SocketAddr;
use core::time::Duration;
use smol::{LocalExecutor, future};
use wslink_smol::web::{self, Body, Response, StatusCode};
use wslink_smol::{Assets, Ended, Options, Server};

#[test]
fn handlers_answer_what_is_theirs() {
    let assets = Assets::new().with("/", "text/plain", b"page").with("/api/x", "text/plain", b"no");
    let options = options()
        .with_assets(assets)
        .with_handler("/api/", async |request: web::Request| {
            let remote = request.extensions().get::<SocketAddr>().unwrap().ip();
            let (method, uri) = (request.method(), request.uri());
            web::text(StatusCode::OK, &format!("{method} {uri} from {remote}"))
        })
        .with_handler("/api/echo", async |mut request| {
            match web::read(&mut request, 1000, Duration::from_millis(200)).await {
                Ok(bytes) => Response::new(Body::from(bytes)),
                Err(status) => web::status(status),
            }
        })
        .with_handler("panic", async |_| panic!("as the test wants"));
    with_server(Bench::default(), options, async |server, address| {
        let answer = get_with(address, "/api/x?y=%20", "").await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "GET /api/x?y=%20 from 127.0.0.1\n")
        );
        let answer = request(address, "DELETE", "/api/", "").await;
        assert_eq!(answer.body, "DELETE /api/ from 127.0.0.1\n");
        assert_eq!(get_with(address, "/api", "").await.status, 404);
        assert_eq!(get_with(address, "/", "").await.body, "page");

        let long = "x".repeat(1000);
        for (headers, body) in [
            ("Content-Length: 5\r\n\r\nhello", "hello"),
            ("Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello"),
            (&format!("Content-Length: 1000\r\n\r\n{long}"), &long),
            ("", ""),
        ] {
            let answer = request(address, "POST", "/api/echo", headers).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, body));
        }
        let chunked = format!("Transfer-Encoding: chunked\r\n\r\n3e9\r\n{long}x\r\n0\r\n\r\n");
        for headers in ["Content-Length: 1001\r\n\r\n", &chunked] {
            let answer = request(address, "POST", "/api/echo", headers).await;
            assert_eq!(answer.status, 413, "{}", answer.body);
        }
        let slow = request(address, "POST", "/api/echo", "Content-Length: 9\r\n\r\nhel").await;
        assert_eq!(slow.status, 408);
        let answer = get_with(address, "/panic", "").await;
        assert_eq!((answer.status, answer.body.as_str()), (500, "internal server error\n"));
        assert_eq!(get_with(address, "/", "").await.status, 200);
        assert_eq!(server.peers(), 0);
    });
}

#[test]
fn a_slow_handler_holds_nobody_up() {
    let options = options().with_handler("/slow", async |_| {
        smol::Timer::after(Duration::from_millis(300)).await;
        web::text(StatusCode::OK, "slow")
    });
    with_server(Bench::default(), options, async |_, address| {
        let slow = get_with(address, "/slow", "");
        let fast = async {
            let mut client = Client::login(address, Dialect::V1).await;
            client.call("bench.add", vec![1.into(), 2.into()]).await.unwrap();
            std::time::Instant::now()
        };
        let start = std::time::Instant::now();
        let (slow, fast) = future::zip(slow, fast).await;
        assert_eq!(slow.body, "slow\n");
        assert!(fast - start < Duration::from_millis(250), "{:?}", fast - start);
    });
}

#[test]
fn each_answer_has_the_headers_that_were_asked_for() {
    let options = options()
        .with_header("Cross-Origin-Opener-Policy", "same-origin")
        .and_then(|options| options.with_header("Cache-Control", "max-age=60"))
        .unwrap()
        .with_assets(Assets::new().with("/a", "text/plain", b"a"));
    with_server(Bench::default(), options, async |_, address| {
        for (path, status) in [("/a", 200), ("/", 200), ("/none", 404), ("/ws", 426)] {
            let answer = get_with(address, path, "").await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"), "{path}");
            assert_eq!(answer.header("cache-control"), Some("max-age=60"), "{path}");
        }
        let head = upgrade(address, &format!("GET /ws HTTP/1.1\r\n{UPGRADE}")).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(head.contains("cross-origin-opener-policy: same-origin\r\n"), "{head}");
    });
    assert!(Options::new("x").with_header("a b", "c").is_err());
    assert!(Options::new("x").with_header("a", "b\nc").is_err());
}

#[test]
fn health_counts() {
    with_bench(async |server, address| {
        let health = async || {
            let answer = get_with(address, "/health", "").await;
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            serde_json::from_str::<serde_json::Value>(&answer.body).unwrap()
        };
        let alone = health().await;
        assert_eq!(alone["status"], "ok");
        assert_eq!((&alone["peers"], &alone["websockets"]), (&0.into(), &0.into()));
        assert!(alone["uptime"].as_u64().unwrap() < 60);
        let mut client = Client::login(address, Dialect::V2).await;
        let _silent = Client::connect(address, Dialect::V2).await;
        client.call("bench.say", vec!["x".into()]).await.unwrap();
        let busy = health().await;
        assert_eq!((&busy["peers"], &busy["websockets"]), (&1.into(), &2.into()));
        assert_eq!((&busy["publications"], &busy["connections"]), (&1.into(), &3.into()));
        assert_eq!(request(address, "POST", "/health", "").await.status, 405);

        // It tells load balancers that it is about to end.
        client.start("bench.wait", vec![]).await;
        let mut kept = smol::net::TcpStream::connect(address).await.unwrap();
        use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
        kept.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n").await.unwrap();
        smol::Timer::after(Duration::from_millis(50)).await;
        server.stop();
        kept.write_all(b"\r\n").await.unwrap();
        let mut answer = String::new();
        _ = kept.read_to_string(&mut answer).await;
        // Whether it is still answered is up to the order of things.
        assert!(answer.is_empty() || answer.contains("\"stopping\""), "{answer}");
    });
    with_server(Bench::default(), options().with_health(false), async |_, address| {
        assert_eq!(get_with(address, "/health", "").await.status, 404);
    });
}

#[test]
fn without_a_websocket_there_is_none() {
    with_server(Bench::default(), options().without_ws(), async |_, address| {
        let head = upgrade(address, &format!("GET /ws HTTP/1.1\r\n{UPGRADE}")).await;
        assert!(head.starts_with("http/1.1 404 "), "{head}");
        assert_eq!(get_with(address, "/", "").await.body, "wslink server\n");
    });
}

#[test]
fn servers_on_one_port_have_services_and_secrets_of_their_own() {
    let at = |path: &str, secret: &str| Options::new(secret).with_ws_path(path);
    let site = Server::new(Bench::default(), at("/ws", "one"))
        .and(Bench::default(), at("/admin/ws", "two"))
        .and_then(|site| site.and(Bench::default(), at("/third", "three")))
        .unwrap();
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(within(Duration::from_secs(60), async {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let running = executor.spawn({
            let site = site.clone();
            async move { site.run(listener).await }
        });
        let ((one, two), three) = site.servers();
        for dialect in BOTH {
            let mut clients = Vec::new();
            for (path, secret) in [("/ws", "one"), ("/admin/ws", "two"), ("/third", "three")] {
                let mut client = Client::connect_at(address, path, dialect).await;
                assert!(client.hello("hush").await.is_err());
                client.hello(secret).await.unwrap();
                clients.push(client);
            }
            assert_eq!([one.peers(), two.peers(), three.peers()], [1, 1, 1]);
            let health = get_with(address, "/health", "").await.body;
            assert!(health.contains("\"peers\":3,\"websockets\":3,"), "{health}");
            // What one publishes does not reach the clients of another.
            clients[1].call("bench.say", vec!["two".into()]).await.unwrap();
            clients[0].call("bench.say", vec!["one".into()]).await.unwrap();
            assert_eq!(clients[1].published("bench.said").await, "two".into());
            assert_eq!(clients[0].published("bench.said").await, "one".into());
            for client in &mut clients {
                client.call("bench.add", vec![1.into(), 2.into()]).await.unwrap();
                assert!(client.codec.inbox.is_empty(), "{:?}", client.codec.inbox);
            }
            drop(clients);
            common::until(|| one.peers() + two.peers() + three.peers() == 0).await;
        }
        let mut last = Client::connect_at(address, "/third", Dialect::V2).await;
        last.hello("three").await.unwrap();
        two.stop();
        assert_eq!(last.end().await, Some((1001, "Server shutdown".to_owned())));
        assert_eq!(running.await, Ended::Stopped);
    })));
}

#[test]
fn its_futures_may_change_threads() {
    fn is_send<T: Send>(_: &T) {}

    let site = Server::new(Bench::default(), options())
        .and(Bench::default(), options().with_ws_path("other"))
        .unwrap();
    is_send(&site.serve(smol::io::Cursor::new(Vec::new())));
    is_send(&site.servers().0.serve(smol::io::Cursor::new(Vec::new())));
}

#[test]
fn two_servers_cannot_share_a_path() {
    let server = || Server::new(Bench::default(), options());
    let error = server().and(Bench::default(), options()).unwrap_err();
    assert!(error.to_string().contains("/ws"), "{error}");
    assert!(server().and(Bench::default(), options().without_ws()).is_err());
}
