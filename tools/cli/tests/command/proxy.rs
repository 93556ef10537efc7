//! `wslink proxy`, the real binary.

use crate::common::{Proxy, recorded, wslink};
use async_tungstenite::tungstenite::{self, Message as WsMessage, WebSocket};
use core::time::Duration;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use wslink_core::OpCode;
use wslink_core::wire::Dialect;
use wslink_testkit::{Decoder, Frame, Kept, Line, Message, Transcript, Way};

/// Bytes that are nothing in particular.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A server that says `answer` once it has read the first byte, and gives all that it was sent.
fn server(answer: Vec<u8>) -> (String, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/some/path?query", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = vec![0];
        stream.read_exact(&mut seen).unwrap();
        let mut writing = stream.try_clone().unwrap();
        let writer = thread::spawn(move || {
            writing.write_all(&answer).unwrap();
            writing.shutdown(Shutdown::Write).unwrap();
        });
        stream.read_to_end(&mut seen).unwrap();
        writer.join().unwrap();
        seen
    });
    (url, thread)
}

/// Sends these bytes through a proxy, and gives what came back and what the proxy showed.
fn through(args: &[&str], sent: &[u8], answer: &[u8]) -> (Vec<u8>, Vec<u8>, String) {
    let (url, server) = server(answer.to_vec());
    let proxy = Proxy::start(&[&[url.as_str(), "--clients", "1"], args].concat());
    let mut stream = TcpStream::connect(&proxy.address).unwrap();
    let (mut writing, bytes) = (stream.try_clone().unwrap(), sent.to_vec());
    let writer = thread::spawn(move || {
        writing.write_all(&bytes).unwrap();
        writing.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    writer.join().unwrap();
    let (shown, status) = proxy.wait();
    assert!(status.success(), "{shown}");
    (server.join().unwrap(), back, shown)
}

/// Times are not the same twice.
fn timeless(shown: &str) -> String {
    let line = |line: &str| match line.trim_start().split_once(' ') {
        Some((ms, rest)) if ms.bytes().all(|c| c.is_ascii_digit()) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    shown.lines().map(line).collect()
}

const UPGRADE: &[u8] = b"GET /some/path?secret=x HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\n\
    connection:keep-alive,  Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &[u8] = b"HTTP/1.1 101 Whatever\r\nupgrade: websocket\r\nX-Odd:\tx \r\n\r\n";

#[test]
fn no_byte_is_changed_whatever_they_are() {
    let (up, down) = (noise(3_000_000, 1), noise(5_000_000, 2));
    for (sent, answer) in [
        (up.clone(), down.clone()),
        ([UPGRADE, &up].concat(), [SWITCHED, &down].concat()),
        ([UPGRADE, &up].concat(), [b"HTTP/1.1 404 Not Found\r\n\r\n", &down[..]].concat()),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), [b"HTTP/1.1 200 OK\r\n\r\n", &down[..]].concat()),
        (b"G".to_vec(), Vec::new()),
    ] {
        let (arrived, back, shown) = through(&[], &sent, &answer);
        assert!(arrived == sent, "{} of {} bytes: {shown}", arrived.len(), sent.len());
        assert!(back == answer, "{} of {} bytes: {shown}", back.len(), answer.len());
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[test]
fn odd_frames_are_passed_on_and_told() {
    let hello = br#"{"method": "wslink.hello", "args": [{"secret": "top"}]}"#;
    let frames_up = [
        b"\x89\x02hi".to_vec(),
        [&[0x81, hello.len() as u8], &hello[..]].concat(),
        [&[0x82, hello.len() as u8], &hello[..]].concat(),
        [&b"\x01\x04"[..], b"[1, ", b"\x8a\x00", b"\x80\x02", b"2]"].concat(),
        b"\x81\x03{\"a".to_vec(),
        b"\x81\x05\x1b[31m".to_vec(),
        b"\x88\x0a\x03\xe9a\nb\x1b[2Jc".to_vec(),
    ]
    .concat();
    let frames_down = [&b"\x82\x05\x00\x01\x02\x03\x04"[..], b"\xc1\x01x", b"\x81\x00"].concat();
    let (sent, answer) = ([UPGRADE, &frames_up].concat(), [SWITCHED, &frames_down].concat());
    let (arrived, back, shown) = through(&[], &sent, &answer);
    assert_eq!((arrived, back), (sent, answer));
    let of = |sign: &str| -> String {
        let shown = timeless(&shown);
        shown
            .lines()
            .filter(|line| line.starts_with(sign))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    insta::assert_snapshot!([of("A *"), of("A >"), of("A <")].concat());
}

#[test]
fn large_messages_are_passed_on_and_only_counted() {
    let frame = |payload: &str| {
        let head = [0x81, 126, (payload.len() >> 8) as u8, payload.len() as u8];
        [&head, payload.as_bytes()].concat()
    };
    let text = |len: usize| format!("\"{}\"", "x".repeat(len - 2));
    let up = [199, 200, 201, 200].map(|len| frame(&text(len))).concat();
    let sent = [UPGRADE, &up].concat();
    let (arrived, _, shown) = through(&["--max-message", "200"], &sent, SWITCHED);
    assert!(arrived == sent);
    let shown = timeless(&shown);
    let told: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("A > text ")).collect();
    assert_eq!(told, [text(199), text(200), "(201)".to_owned(), text(200)]);
}

/// Plays what a recorded client sent, through a proxy, against a replay of the recording. Gives the
/// recorded lines, and those of the new transcript.
fn again(name: &str, args: &[&str], transcript: &Path) -> (Vec<String>, Vec<String>, String) {
    let path = recorded(name);
    let replay = Proxy::start(&["--replay", path.to_str().unwrap()]);
    let file = transcript.to_str().unwrap();
    let proxy =
        Proxy::start(&[&[&replay.url(), "--transcript", file, "--clients", "2"], args].concat());
    let text = fs::read_to_string(&path).unwrap();
    let lines: Transcript = text.parse().unwrap();
    for client in 0..2 {
        let of_client = |line: &&Line| line.client == client;
        converse(&proxy, &path, lines.lines().iter().filter(of_client));
    }
    let (shown, status) = proxy.wait();
    assert!(status.success());
    let (_, status) = replay.stop();
    assert!(status.success());
    let frames = |text: &str| -> Vec<String> {
        let told = |line: &Line| matches!(line.way, Way::Up | Way::Down) && line.text != "eof";
        let transcript: Transcript = text.parse().unwrap();
        let lines = transcript.lines().iter().filter(|line| told(line));
        let lines = lines.map(|line| timeless(&line.shown(true).to_string()));
        // A hello without its secret has another length; whoever ends first ends otherwise.
        lines.filter(|line| !line.contains(" close") && !line.contains("hello")).collect()
    };
    (frames(&text), frames(&fs::read_to_string(transcript).unwrap()), shown)
}

fn converse<'a>(proxy: &Proxy, path: &Path, lines: impl Iterator<Item = &'a Line>) {
    let stream = TcpStream::connect(&proxy.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (mut socket, _) = tungstenite::client(proxy.url(), stream).unwrap();
    let directory = format!("{}.bin", path.display());
    let mut find = |kept: &Kept| {
        fs::read(Path::new(&directory).join(format!("{}-{}", kept.len, kept.digest))).ok()
    };
    let mut chunk = 0;
    let mut decoder = None;
    for line in lines {
        let message = line.message(&mut find).unwrap();
        if line.way == Way::Up {
            let frame = match message {
                Message::Envelope(envelope) if line.text.starts_with("text") => {
                    Frame::text(envelope.to_json())
                }
                Message::Envelope(envelope) => {
                    chunk += 1;
                    Frame::message(chunk, &envelope)
                }
                Message::Attachment(bytes) => Frame::binary(bytes),
                _ => continue,
            };
            let text = frame.opcode == OpCode::Text;
            decoder
                .get_or_insert_with(|| Decoder::new(if text { Dialect::V1 } else { Dialect::V2 }));
            send(&mut socket, frame);
        } else if line.way == Way::Down && message != Message::Control {
            let frame = match socket.read().unwrap() {
                WsMessage::Text(text) => Frame::text(text.as_str()),
                message => Frame::binary(message.into_data()),
            };
            let decoder: &mut Decoder = decoder.as_mut().unwrap();
            assert_eq!(decoder.frame(&frame).0, line.text);
        }
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
}

fn send(socket: &mut WebSocket<TcpStream>, frame: Frame) {
    let message = match frame.opcode {
        OpCode::Text => WsMessage::text(String::from_utf8(frame.payload).unwrap()),
        _ => WsMessage::binary(frame.payload),
    };
    socket.send(message).unwrap();
}

#[test]
fn a_recording_is_replayed_and_recorded_again() {
    for name in ["v1.txt", "v2.txt"] {
        let directory = tempfile::tempdir().unwrap();
        let (recorded, again, _) = again(name, &[], &directory.path().join("again.txt"));
        assert!(recorded.len() > 15, "{recorded:?}");
        assert_eq!(again, recorded, "{name}");
        let kept = |path: &Path| {
            let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
            let mut all: Vec<_> = entries
                .map(|path| (path.file_name().unwrap().to_owned(), fs::read(path).unwrap()))
                .collect();
            all.sort();
            all
        };
        let original = kept(&crate::common::recorded(&format!("{name}.bin")));
        assert_eq!(kept(&directory.path().join("again.txt.bin")), original, "{name}");
    }
}

#[test]
fn frames_are_shown_in_colour_as_lines_or_as_json() {
    let directory = tempfile::tempdir().unwrap();
    let shown = |name: &str, args: &[&str]| {
        let transcript = directory.path().join("transcript.txt");
        again(name, args, &transcript).2
    };
    insta::assert_snapshot!("shown_as_lines", timeless(&shown("v1.txt", &[])));
    let json = shown("v2.txt", &["--json"]);
    let json = json.lines().map(|line| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        value["ms"] = 0.into();
        format!("{value}\n")
    });
    insta::assert_snapshot!("shown_as_json", json.collect::<String>());
    let coloured = shown("v1.txt", &["--color", "always"]);
    assert!(coloured.contains("\x1b["));
    let line = coloured.lines().find(|line| line.contains("no.such.method")).unwrap();
    let line = line.split_once(" B ").unwrap().1.replace('\x1b', "ESC");
    insta::assert_snapshot!("shown_in_colour", line);
    assert_eq!(shown("v1.txt", &["--quiet"]), "");
}

#[test]
fn what_is_wrong_is_said_and_what_to_do() {
    let said = |args: &[&str]| {
        let output = wslink(args).output().unwrap();
        assert!(output.stdout.is_empty(), "{args:?}");
        let code = output.status.code().unwrap();
        format!("exit code {code}\n{}", String::from_utf8(output.stderr).unwrap())
    };
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let nonsense = file("nonsense.txt", "     0 > ping\nnonsense\n");
    let empty = file("empty.txt", "     0 A * GET /ws: 404 Not Found\n");
    let missing = file("missing.txt", "     7 > text {\"id\": bin(3, 00112233)}\n");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let cases: &[&[&str]] = &[
        &["proxy", "0", "http://127.0.0.1/"],
        &["proxy", "0", "127.0.0.1:1234"],
        &["proxy", "0", "ws:///ws"],
        &["proxy", &port, "ws://127.0.0.1:1/ws"],
        &["proxy", "nowhere", "ws://127.0.0.1:1/ws"],
        &["proxy", "0", "--replay", "no such file"],
        &["proxy", "0", "--replay", &nonsense],
        &["proxy", "0", "--replay", &empty],
        &["proxy", "0", "--replay", &missing],
        &["proxy", "0", "ws://127.0.0.1:1/ws", "--transcript", "no such directory/x"],
        &["proxy", "0", "ws://127.0.0.1:1/ws", "--replay", "x"],
        &["man", "nothing"],
    ];
    let said: Vec<String> = cases.iter().map(|args| said(args)).collect();
    let said = said.join("\n").replace(directory.path().to_str().unwrap(), "DIRECTORY");
    insta::assert_snapshot!(said.replace(&port, "PORT"));
}

#[test]
fn a_server_that_is_not_there_is_told_to_the_client_by_the_end_of_the_connection() {
    let proxy = Proxy::start(&["ws://127.0.0.1:1/ws", "--clients", "1"]);
    let mut stream = TcpStream::connect(&proxy.address).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    let (shown, status) = proxy.wait();
    assert!(status.success());
    assert_eq!(timeless(&shown), "A * no connection to the server: 127.0.0.1:1: refused\n");
}

#[test]
fn a_transcript_that_cannot_be_kept_ends_it() {
    let path = Path::new("/dev/full");
    if !path.exists() {
        return;
    }
    let replay = recorded("v1.txt");
    let args = ["--replay", replay.to_str().unwrap(), "--transcript", "/dev/full"];
    let proxy = Proxy::start(&args);
    let stream = TcpStream::connect(&proxy.address).unwrap();
    let (mut socket, _) = tungstenite::client(proxy.url(), stream).unwrap();
    socket.send(WsMessage::text(r#"{"id": "system:c0:0", "method": "wslink.hello"}"#)).unwrap();
    let (_, status) = proxy.wait();
    assert_eq!(status.code(), Some(7));
}
