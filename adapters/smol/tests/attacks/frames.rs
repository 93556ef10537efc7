//! Pings without end, peers that dawdle, compression.

use crate::common::client::{BOTH, Client};
use crate::common::raw::{UPGRADE, header, send_raw, upgrade};
use crate::common::service::Bench;
use crate::common::{SECRET, alone, options, resident, until, with_bench, with_server, within};
use crate::is_well;
use async_tungstenite::tungstenite::Message;
use core::time::Duration;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use smol::Timer;
use smol::future;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::TcpStream;
use std::time::Instant;
use wslink_core::Config;

/// Who pings and reads nothing is not read from, so that no pongs pile up; and when it reads, all
/// goes on.
#[test]
fn pings_without_end_pile_up_no_pongs() {
    const FLOOD: usize = 64 << 20;
    let _alone = alone();
    let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'p'; 125]].concat();
    let pings = ping.repeat(500);
    for (dialect, logged_in) in BOTH.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        with_bench(async |_, address| {
            let mut other = Client::login(address, dialect).await;
            let mut client = Client::connect(address, dialect).await;
            if logged_in {
                client.hello(SECRET).await.unwrap();
            }
            let mut raw = client.ws.get_ref().clone();
            let before = resident();
            let mut sent = 0;
            while sent < FLOOD {
                let rest = &pings[sent % pings.len()..];
                let write = async { raw.write(rest).await.ok() };
                let stuck = async {
                    Timer::after(Duration::from_millis(500)).await;
                    None
                };
                let Some(count) = future::or(write, stuck).await else { break };
                sent += count;
            }
            let grown = resident().saturating_sub(before);
            assert!(grown < 2 << 20, "{grown} bytes for {sent} of pings");
            assert!(sent < FLOOD, "all of it was read");
            is_well(&mut other).await;

            let rest = async {
                let within_one = sent % ping.len();
                if within_one > 0 {
                    raw.write_all(&ping[within_one..]).await.unwrap();
                }
            };
            let first = async {
                let pong = client.ws.next().await.unwrap().unwrap();
                assert_eq!(pong, Message::Pong(vec![b'p'; 125].into()));
                let mut pongs = 1;
                // All of them are answered, for each was read when there was room for its pong.
                while pongs < sent.div_ceil(ping.len()) {
                    assert!(client.ws.next().await.unwrap().unwrap().is_pong());
                    pongs += 1;
                }
            };
            future::zip(rest, first).await;
            if !logged_in {
                client.hello(SECRET).await.unwrap();
            }
            is_well(&mut client).await;
        });
    }
}

#[test]
fn a_head_that_comes_byte_by_byte_is_given_up() {
    let _alone = alone();
    let mut config = Config::desktop();
    config.deadlines.hello = Duration::from_millis(400);
    with_server(Bench::default(), options().with_config(config), async |_, address| {
        let start = Instant::now();
        let slow = (0..20).map(async |nth| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = match nth % 2 {
                0 => format!("GET /ws HTTP/1.1\r\n{UPGRADE}"),
                _ => format!("GET /{} HTTP/1.1\r\n", "x".repeat(10_000)),
            };
            let mut reader = stream.clone();
            let writing = async {
                for byte in head.as_bytes() {
                    Timer::after(Duration::from_millis(50)).await;
                    if stream.write_all(&[*byte]).await.is_err() {
                        break;
                    }
                }
                core::future::pending::<()>().await;
            };
            let closed = async {
                let mut answer = Vec::new();
                _ = reader.read_to_end(&mut answer).await;
                assert!(!answer.starts_with(b"HTTP/1.1 101"));
            };
            future::or(writing, closed).await;
        });
        within(Duration::from_secs(5), join_all(slow)).await;
        assert!(start.elapsed() >= Duration::from_millis(400));
        is_well(&mut Client::login(address, BOTH[0]).await).await;
    });
}

/// Bytes are a sign of life, but no hello.
#[test]
fn a_hello_that_comes_byte_by_byte_is_given_up() {
    let _alone = alone();
    let mut config = Config::desktop();
    config.deadlines.hello = Duration::from_millis(400);
    config.deadlines.close = Duration::from_millis(400);
    with_server(Bench::default(), options().with_config(config), async |_, address| {
        for dialect in BOTH {
            let mut client = Client::connect(address, dialect).await;
            let start = Instant::now();
            let mut raw = client.ws.get_ref().clone();
            send_raw(&mut client, &header(0x82, 5_000)).await;
            let writing = async {
                while raw.write_all(&[7]).await.is_ok() {
                    Timer::after(Duration::from_millis(20)).await;
                }
                core::future::pending().await
            };
            let ended = within(Duration::from_secs(5), future::or(writing, client.end())).await;
            assert_eq!(ended.unwrap().0, 1008);
            assert!(start.elapsed() >= Duration::from_millis(400));
        }
    });
}

/// A frame that is begun and goes no further: no pong can come behind it.
#[test]
fn a_frame_that_stops_in_the_middle_is_given_up() {
    let _alone = alone();
    let mut config = Config::desktop();
    config.deadlines.ping = Some(Duration::from_millis(200));
    config.deadlines.pong = Duration::from_millis(200);
    with_server(Bench::default(), options().with_config(config), async |server, address| {
        for dialect in BOTH {
            let mut client = Client::login(address, dialect).await;
            send_raw(&mut client, &header(0x82, 5_000)).await;
            send_raw(&mut client, &[7; 100]).await;
            until(|| server.peers() == 0).await;
        }
    });
}

/// That a frame with the bit of a compressed one is refused is in `transport.rs`.
#[test]
fn compression_is_not_agreed_to() {
    let _alone = alone();
    with_bench(async |_, address| {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits; server_max_window_bits=15",
            "x-webkit-deflate-frame, permessage-bzip2, permessage-deflate",
        ] {
            let request = format!(
                "GET /ws HTTP/1.1\r\nSec-WebSocket-Extensions: {offer}\r\n\
                 Sec-WebSocket-Protocol: wamp\r\n{UPGRADE}"
            );
            let head = upgrade(address, &request).await;
            assert!(head.starts_with("http/1.1 101 "), "{head}");
            assert!(!head.contains("sec-websocket-extensions"), "{head}");
            assert!(!head.contains("sec-websocket-protocol"), "{head}");
        }
    });
}
