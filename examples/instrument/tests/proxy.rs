//! The instrument behind nginx, with the configuration that docs/proxy.md shows.
//!
//! `cargo xtask proxy` runs it; on its own: `cargo test -p instrument --test proxy -- --ignored`.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "test code")]

use async_tungstenite::tungstenite::client::IntoClientRequest as _;
use async_tungstenite::tungstenite::{Error, Message};
use async_tungstenite::{WebSocketStream, client_async};
use core::time::Duration;
use smol::net::TcpStream;
use smol::stream::StreamExt as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use std::{fs, thread};

const GUIDE: &str = include_str!("../../../docs/proxy.md");

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn instrument(args: &[&str]) -> (Running, u16) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_instrument"));
    command
        .args(["--port", "0", "--test-methods"])
        .args(args)
        // A second of silence, then a ping.
        .env("WSLINK_HEART_BEAT", "1")
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut info = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut info).unwrap();
    let (_, address) = info.split_once("http://127.0.0.1:").unwrap();
    let port = address.split('/').next().unwrap().parse().unwrap();
    thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    (Running(child), port)
}

/// nginx with the lines of the guide, but for its port and the instrument's, and with a patience
/// that does not hold the test up.
fn nginx(instrument: u16) -> (Running, u16, PathBuf) {
    let port = free_port();
    let (_, block) = GUIDE.split_once("```nginx\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let mut server = block.to_owned();
    for (shown, wanted) in [
        ("listen 80;", format!("listen 127.0.0.1:{port};")),
        ("127.0.0.1:1234/", format!("127.0.0.1:{instrument}/")),
        ("proxy_read_timeout 60s;", "proxy_read_timeout 2s;".to_owned()),
    ] {
        assert_eq!(server.matches(shown).count(), 1, "{shown}");
        server = server.replace(shown, &wanted);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nginx-{port}"));
    fs::create_dir_all(&folder).unwrap();
    let at = |name: &str| format!("{}/{name}", folder.display());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|what| format!("{what}_temp_path {};\n", at(what)))
        .collect();
    let configuration = format!(
        "daemon off;\nmaster_process off;\npid {};\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}{server}\n}}\n",
        at("pid")
    );
    fs::write(at("nginx.conf"), configuration).unwrap();
    let child = Command::new("nginx")
        .args(["-p", &at(""), "-c", &at("nginx.conf"), "-e", "stderr"])
        .spawn()
        .expect("nginx is needed: `cargo xtask proxy` says how to install it");
    let running = Running(child);
    let start = Instant::now();
    while net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "nginx does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    (running, port, folder)
}

fn free_port() -> u16 {
    net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn get(port: u16, path: &str, headers: &str) -> String {
    let mut stream = net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let mut lines = answer.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(it, _)| it.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
}

async fn connect(port: u16, origin: &str) -> Result<WebSocketStream<TcpStream>, Error> {
    let mut request = format!("ws://127.0.0.1:{port}/scope/ws").into_client_request()?;
    request.headers_mut().insert("origin", origin.parse().unwrap());
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    Ok(client_async(request, stream).await?.0)
}

/// Calls in 1.x, and gives the text of the answer.
async fn call(ws: &mut WebSocketStream<TcpStream>, id: &str, rest: &str) -> String {
    let request = format!(r#"{{"wslink":"1.0","id":"{id}",{rest},"kwargs":{{}}}}"#);
    ws.send(Message::text(request)).await.unwrap();
    loop {
        if let Message::Text(text) = ws.next().await.unwrap().unwrap()
            && text.contains(id)
        {
            return text.to_string();
        }
    }
}

#[test]
#[ignore = "needs nginx: cargo xtask proxy"]
fn pages_and_calls_go_through_a_sub_path() {
    let (_instrument, behind) = instrument(&[]);
    let (_nginx, port, folder) = nginx(behind);

    let page = get(port, "/scope/", "");
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    assert_eq!(header(&get(port, "/scope", ""), "location"), "/scope/");
    let script = get(port, "/scope/wslink.js", "");
    let known = format!("If-None-Match: {}\r\n", header(&script, "etag"));
    assert!(get(port, "/scope/wslink.js", &known).starts_with("HTTP/1.1 304 "));
    let part = get(port, "/scope/wslink.js", "Range: bytes=0-3\r\n");
    assert!(part.starts_with("HTTP/1.1 206 "), "{part}");
    assert!(get(port, "/scope/health", "").contains(r#""status":"ok""#));
    assert!(get(port, "/", "").starts_with("HTTP/1.1 404 "), "it is nginx's own");

    smol::block_on(async {
        let error = connect(port, "http://evil.example").await.unwrap_err();
        assert!(error.to_string().contains("403"), "{error}");
        let mut ws = connect(port, &format!("http://127.0.0.1:{port}")).await.unwrap();
        let hello = r#""method":"wslink.hello","args":[{"secret":"wslink-secret"}]"#;
        assert!(call(&mut ws, "system:c0:0", hello).await.contains("clientID"));
        let echo = |text: &str| format!(r#""method":"scope.echo","args":["{text}"]"#);
        let answer = call(&mut ws, "rpc:c0:1", &echo("through")).await;
        assert!(answer.contains(r#""through""#), "{answer}");
        let large = "x".repeat(1_000_000);
        let answer = call(&mut ws, "rpc:c0:2", &echo(&large)).await;
        assert!(answer.contains(&large), "{} bytes", answer.len());

        // Longer than the proxy waits; pings keep it open, and publications are left out.
        let narrow = r#""method":"wslink.subscribe","args":[[]]"#;
        call(&mut ws, "rpc:c0:3", narrow).await;
        let quiet = async { while ws.next().await.unwrap().is_ok() {} };
        let pause = async { _ = smol::Timer::after(Duration::from_secs(4)).await };
        smol::future::or(quiet, pause).await;
        let answer = call(&mut ws, "rpc:c0:4", &echo("still there")).await;
        assert!(answer.contains("still there"), "{answer}");
    });
    _ = fs::remove_dir_all(folder);
}

#[test]
#[ignore = "needs nginx: cargo xtask proxy"]
fn redirects_stay_below_the_sub_path() {
    let here = env!("CARGO_MANIFEST_DIR");
    let files = format!("files={here}");
    let (_instrument, behind) =
        instrument(&["--content", &format!("{here}/src"), "--fs-endpoints", &files]);
    let (_nginx, port, folder) = nginx(behind);
    // Relative to /scope/ and /scope/files/.
    for (path, location) in
        [("/scope/?sessionURL=x", "index.html?sessionURL=x"), ("/scope/files/src?x", "./src/?x")]
    {
        let answer = get(port, path, "");
        assert_eq!(header(&answer, "location"), location, "{path}: {answer}");
    }
    assert!(get(port, "/scope/main.rs", "").contains("fn main()"));
    assert!(get(port, "/scope/files/src/main.rs", "").contains("fn main()"));
    for path in ["/scope/files/../../scope/Cargo.toml", "/scope/files/%2e%2e/scope/Cargo.toml"] {
        let answer = get(port, path, "");
        let status = answer.split(' ').nth(1).unwrap();
        assert!(matches!(status, "400" | "404"), "{path}: {answer}");
    }
    _ = fs::remove_dir_all(folder);
}
