//! What upstream's environment variables do on the wire.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "test code")]

use async_tungstenite::tungstenite::Message;
use async_tungstenite::{WebSocketStream, client_async};
use core::time::Duration;
use smol::net::TcpStream;
use smol::stream::StreamExt as _;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

struct Instrument(Child, u16);

impl Instrument {
    fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_instrument"));
        command.args(["--port", "0", "--test-methods"]).args(args).envs(env.iter().copied());
        let mut child = command
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut info = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut info).unwrap();
        let (_, address) = info.split_once("http://127.0.0.1:").unwrap();
        let port = address.split('/').next().unwrap().parse().unwrap();
        Self(child, port)
    }

    async fn connect(&self) -> WebSocketStream<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.1)).await.unwrap();
        client_async(format!("ws://127.0.0.1:{}/ws", self.1), stream).await.unwrap().0
    }

    async fn login(&self) -> WebSocketStream<TcpStream> {
        let mut ws = self.connect().await;
        assert!(ask(&mut ws, &hello("")).await.unwrap().contains("clientID"));
        // Nothing but answers.
        ask(&mut ws, &call("wslink.subscribe", "[]")).await.unwrap();
        ws
    }
}

impl Drop for Instrument {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn hello(padding: &str) -> String {
    format!(
        r#"{{"id":"system:c0:0","method":"wslink.hello","args":[{{"secret":"wslink-secret","x":"{padding}"}}]}}"#
    )
}

fn call(method: &str, argument: &str) -> String {
    format!(r#"{{"id":"rpc:c0:1","method":"{method}","args":[{argument}]}}"#)
}

const HELLO_IN_2: &[u8] = b"\x83\xa2id\xabsystem:c0:0\xa6method\xacwslink.hello\
    \xa4args\x91\x81\xa6secret\xadwslink-secret";

/// A message of 2.x in one chunk.
fn chunk(message: &[u8]) -> Vec<u8> {
    let header = [7, 0, message.len() as u32].map(u32::to_le_bytes).concat();
    [&header, message].concat()
}

/// A call as long as that.
fn call_of(len: usize) -> String {
    let empty = call("scope.echo", "\"\"").len();
    call("scope.echo", &format!("\"{}\"", "x".repeat(len - empty)))
}

/// The answer of 1.x, or the code with which the server closed.
async fn ask(ws: &mut WebSocketStream<TcpStream>, request: &str) -> Result<String, u16> {
    ws.send(Message::text(request)).await.unwrap();
    loop {
        match ws.next().await.unwrap().unwrap() {
            Message::Text(text) if text.contains(r#""id":"publish:"#) => {}
            Message::Text(text) => return Ok(text.to_string()),
            Message::Close(frame) => return Err(frame.unwrap().code.into()),
            _ => {}
        }
    }
}

#[test]
fn messages_are_smaller_than_the_size_or_in_chunks_than_both_together() {
    let sizes = [("WSLINK_MAX_MSG_SIZE", "1000"), ("WSLINK_MSG_OVERHEAD", "100")];
    let instrument = Instrument::start(&[], &sizes);
    smol::block_on(async {
        let mut ws = instrument.login().await;
        for len in [998, 999] {
            let answer = ask(&mut ws, &call_of(len)).await.unwrap();
            assert!(answer.contains("\"result\""), "{len}: {answer}");
        }
        assert_eq!(ask(&mut ws, &call_of(1000)).await, Err(1009));

        for (len, expected) in [(1098, 1007), (1099, 1007), (1100, 1009)] {
            let mut ws = instrument.connect().await;
            ws.send(Message::binary(chunk(HELLO_IN_2))).await.unwrap();
            let welcome = ws.next().await.unwrap().unwrap().into_data();
            let announced = b"maxMsgSize\xcd\x03\xe8";
            assert!(welcome.windows(announced.len()).any(|part| part == announced));
            // What is read is no MessagePack.
            ws.send(Message::binary(chunk(&vec![0xc1; len - 12]))).await.unwrap();
            let close = loop {
                if let Message::Close(frame) = ws.next().await.unwrap().unwrap() {
                    break u16::from(frame.unwrap().code);
                }
            };
            assert_eq!(close, expected, "{len}");
        }
    });
}

#[test]
fn before_hello_they_are_smaller_still() {
    let instrument = Instrument::start(&[], &[("WSLINK_AUTH_MSG_SIZE", "512")]);
    let padding = |len: usize| "x".repeat(len - hello("").len());
    smol::block_on(async {
        for (len, accepted) in [(511, true), (512, true), (513, false)] {
            let mut ws = instrument.connect().await;
            let answer = ask(&mut ws, &hello(&padding(len))).await.unwrap();
            assert_eq!(answer.contains("clientID"), accepted, "{len}: {answer}");
        }
        let mut ws = instrument.login().await;
        assert!(ask(&mut ws, &call_of(100_000)).await.is_ok());
    });
}

#[test]
fn a_heart_beats_after_silence() {
    let beat = |seconds: &str| {
        let instrument = Instrument::start(&[], &[("WSLINK_HEART_BEAT", seconds)]);
        smol::block_on(async {
            let mut ws = instrument.login().await;
            let start = Instant::now();
            let ping = async {
                while !ws.next().await.unwrap().unwrap().is_ping() {}
                Some(start.elapsed())
            };
            let late = async {
                smol::Timer::after(Duration::from_secs(2)).await;
                None
            };
            smol::future::or(ping, late).await
        })
    };
    let after = beat("1").unwrap();
    assert!(
        (Duration::from_millis(900)..Duration::from_millis(1900)).contains(&after),
        "{after:?}"
    );
    assert_eq!(beat("0"), None);
}

#[test]
fn clients_end_it_only_where_that_is_allowed() {
    for (args, ends) in [(&["--allow-exit"][..], true), (&[], false)] {
        let mut instrument = Instrument::start(args, &[]);
        smol::block_on(async {
            let mut ws = instrument.login().await;
            let answer = ask(&mut ws, &call("application.exit.later", "0")).await.unwrap();
            assert_eq!(answer.contains("\"result\""), ends, "{answer}");
            if ends {
                while ws.next().await.is_some_and(|message| message.is_ok()) {}
            }
        });
        if ends {
            assert!(instrument.0.wait().unwrap().success());
        } else {
            assert_eq!(instrument.0.try_wait().unwrap(), None);
        }
    }
}
