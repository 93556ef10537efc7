//! The instrument as launchers see it: its line, its end.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "test code")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

struct Instrument {
    child: Child,
    port: u16,
    line: String,
}

fn command(port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_instrument"));
    command
        .args(["--port", &port.to_string()])
        .env_remove("WSLINK_READY_MSG")
        .env_remove("WSLINK_AUTH_KEY")
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Instrument {
    fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = command(0).args(args).envs(env.iter().copied()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let mut info = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut info).unwrap();
        let (_, address) = info.split_once("http://127.0.0.1:").unwrap();
        let port = address.split('/').next().unwrap().parse().unwrap();
        Self { child, port, line }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

impl Drop for Instrument {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_says_that_it_is_ready() {
    assert_eq!(Instrument::start(&[], &[]).line, "wslink: Starting factory\n");
    let told = Instrument::start(&[], &[("WSLINK_READY_MSG", "up and running")]);
    assert_eq!(told.line, "up and running\n");
}

#[test]
fn signals_end_it_gracefully() {
    for name in ["INT", "TERM"] {
        let mut instrument = Instrument::start(&[], &[]);
        // An upgraded connection gets its Close frame: 1001, "going away".
        let mut client = TcpStream::connect(("127.0.0.1", instrument.port)).unwrap();
        let head = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        client.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(client.try_clone().unwrap());
        let mut status = String::new();
        reader.read_line(&mut status).unwrap();
        assert!(status.starts_with("HTTP/1.1 101 "), "{status}");
        while status != "\r\n" {
            status.clear();
            reader.read_line(&mut status).unwrap();
        }

        instrument.signal(name);
        let mut close = [0; 4];
        reader.read_exact(&mut close).unwrap();
        assert_eq!((close[0], &close[2..]), (0x88, &1001_u16.to_be_bytes()[..]));
        // The client's own Close, masked with zeros.
        client.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]).unwrap();

        assert_eq!(instrument.child.wait().unwrap().code(), Some(0), "after SIG{name}");
        TcpListener::bind(("127.0.0.1", instrument.port)).unwrap();
    }
}

#[test]
fn a_port_in_use_is_an_error() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let output = command(port).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"", "it is not ready");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{port}: ")), "{said}");
}

#[test]
fn an_empty_secret_is_refused() {
    let output = command(0).env("WSLINK_AUTH_KEY", "").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--authKey"));
}

#[test]
fn a_bad_setting_is_refused_with_its_name() {
    for (variable, value) in [
        ("WSLINK_MAX_MSG_SIZE", "4M"),
        ("WSLINK_MSG_OVERHEAD", "-1"),
        ("WSLINK_HEART_BEAT", "often"),
        ("WSLINK_AUTH_MSG_SIZE", "x"),
        ("WSLINK_HTTP_HEADERS", "/nowhere/headers.json"),
        ("WSLINK_FOLLOW_SYMLINKS", "perhaps"),
    ] {
        let output = command(0).env(variable, value).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{said}");
        assert!(said.starts_with(&format!("instrument: {variable}: ")), "{said}");
    }
    for (flag, value) in [
        ("--port", "high"),
        ("--timeout", "soon"),
        ("--content", "/nowhere"),
        ("--fs-endpoints", "data=/nowhere"),
        ("--fs-endpoints", "data"),
    ] {
        let output = command(0).args([flag, value]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(flag), "{said}");
    }
}

impl Instrument {
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn its_page_is_in_the_binary() {
    let instrument = Instrument::start(&[], &[]);
    for (path, kind) in [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/style.css", "text/css"),
        ("/wslink.js", "text/javascript"),
    ] {
        let answer = instrument.get(path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        assert!(answer.contains(&format!("content-type: {kind}; charset=utf-8\r\n")), "{answer}");
        assert!(answer.contains("\r\netag: \""), "{answer}");
    }
}

#[test]
fn it_serves_a_directory_instead() {
    let here = env!("CARGO_MANIFEST_DIR");
    let headers = concat!(env!("CARGO_TARGET_TMPDIR"), "/headers.json");
    std::fs::write(headers, r#"{"Cross-Origin-Embedder-Policy": "require-corp"}"#).unwrap();
    let instrument = Instrument::start(
        &["--content", here, "--fs-endpoints", &format!("source={here}/src")],
        &[("WSLINK_HTTP_HEADERS", headers)],
    );
    let root = instrument.get("/?sessionURL=x");
    assert!(root.starts_with("HTTP/1.1 302 "), "{root}");
    assert!(root.contains("location: index.html?sessionURL=x\r\n"), "{root}");
    assert!(root.contains("cross-origin-embedder-policy: require-corp\r\n"), "{root}");
    assert!(instrument.get("/Cargo.toml").contains("name = \"instrument\""));
    assert!(instrument.get("/source/main.rs").contains("fn main()"));
    assert!(instrument.get("/../scope/Cargo.toml").starts_with("HTTP/1.1 404 "));
    assert!(instrument.get("/app.js").starts_with("HTTP/1.1 404 "));
}

#[test]
fn it_ends_when_nobody_comes() {
    let mut instrument = Instrument::start(&["--timeout", "1"], &[]);
    assert_eq!(instrument.child.wait().unwrap().code(), Some(0));
}

/// Whatever says a secret, at the level that logs most: it is in no line.
#[test]
fn no_secret_is_logged_at_any_level() {
    let secret = [("WSLINK_AUTH_KEY", "sesame-environment"), ("RUST_LOG", "trace")];
    let mut instrument = Instrument::start(&["--authKey", "sesame-argument"], &secret);
    let connect = || TcpStream::connect(("127.0.0.1", instrument.port)).unwrap();
    let ask = |request: &str| {
        let mut stream = connect();
        stream.write_all(request.as_bytes()).unwrap();
        // The answer, or the first piece of it.
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0, "{request}");
        stream
    };
    let headers = "Host: localhost\r\nAuthorization: Bearer sesame-bearer\r\n\
                   Cookie: session=sesame-cookie\r\nReferer: http://x/?t=sesame-referer\r\n";
    ask(&format!("GET /?token=sesame-page HTTP/1.1\r\n{headers}\r\n"));
    ask(&format!("GET /not/there?token=sesame-lost HTTP/1.1\r\n{headers}\r\n"));
    ask(&format!("BREW /?token=sesame-brew HTTP/1.1\r\n{headers}\r\n"));
    ask("GET /ws?token=sesame-garbage WHATEVER\r\n\r\n");
    ask(&format!("GET /ws?token=sesame-plain HTTP/1.1\r\n{headers}\r\n"));
    let upgrade = format!(
        "GET /ws?token=sesame-upgrade HTTP/1.1\r\n{headers}Connection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    );
    ask(&format!("{upgrade}Origin: http://evil\r\n\r\n"));
    let mut client = ask(&format!("{upgrade}\r\n"));
    for (id, secret) in [(1, "sesame-guess"), (2, "sesame-argument")] {
        let hello = format!(
            r#"{{"wslink":"1.0","id":"system:c0:{id}","method":"wslink.hello","args":[{{"secret":"{secret}","more":"sesame-more"}}],"kwargs":{{}}}}"#
        );
        client.write_all(&frame(0x81, hello.as_bytes())).unwrap();
        let mut answer = [0; 4096];
        let len = client.read(&mut answer).unwrap();
        let said = String::from_utf8_lossy(&answer[..len]);
        assert_eq!(said.contains("clientID"), secret == "sesame-argument", "{said}");
    }
    let call = r#"{"wslink":"1.0","id":"rpc:c0:3","method":"scope.calibrate","args":["sesame-call"],"kwargs":{"password":"sesame-keyword"}}"#;
    client.write_all(&frame(0x81, call.as_bytes())).unwrap();
    assert!(client.read(&mut [0; 4096]).unwrap() > 0);
    // Not even where a frame is no frame.
    client.write_all(&frame(0xf1, b"sesame-reserved")).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();

    instrument.signal("TERM");
    assert!(instrument.child.wait().unwrap().success());
    let mut said = String::new();
    instrument.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    instrument.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("[DEBUG]") && said.contains("said hello"), "{said}");
    assert!(!said.contains("sesame"), "{said}");
}

/// A frame as a client sends it, with an empty mask.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[first, 0xfe, len[0], len[1], 0, 0, 0, 0], payload].concat()
}
