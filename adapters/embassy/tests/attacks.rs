//! Peers that mean harm, to a device. What is tried against both adapters is in `tests/adapters`;
//! `docs/security.md` has the whole list.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::client::{BOTH, Client, Raw, UPGRADE, frame};
use common::{Clock, config, options, sleep, until, with, with_scope};
use core::time::Duration;
use embedded_io_async::{Read as _, Write as _};
use futures_lite::future;
use std::time::Instant;
use wslink_scope::Scope;

/// Who pings without end and reads nothing is answered by one pong at a time, the newest, and the
/// others notice nothing.
#[test]
fn pings_without_end_pile_up_no_pongs() {
    const PINGS: u32 = 20_000;
    for dialect in BOTH {
        with_scope(async |net| {
            let mut client = Client::login(net, dialect).await;
            let mut other = Client::login(net, dialect).await;
            for nth in 0..PINGS {
                let payload = [&nth.to_be_bytes()[..], &[b'p'; 121]].concat();
                client.raw.send(0x89, &payload).await;
            }
            other.call("scope.settings.get", vec![]).await.unwrap();
            let mut pongs = 0;
            loop {
                let (first, payload) = client.raw.receive().await.unwrap();
                assert_eq!((first, payload.len()), (0x8a, 125));
                pongs += 1;
                if payload.starts_with(&(PINGS - 1).to_be_bytes()) {
                    break;
                }
            }
            // What the ring of the socket holds, and what was on its way there.
            assert!(pongs < 30, "{pongs} pongs");
            client.call("scope.settings.get", vec![]).await.unwrap();
        });
    }
}

/// Bytes are a sign of life, but neither a request nor a hello.
#[test]
fn heads_and_hellos_that_come_byte_by_byte_are_given_up() {
    let mut config = config();
    config.deadlines.hello = Duration::from_millis(200);
    config.deadlines.close = Duration::from_millis(200);
    let options = options().with_config(config);
    with(Scope::new(Clock), options, async |net| {
        for upgraded in [false, true] {
            let start = Instant::now();
            let (mut rx, mut tx) = net.connect();
            let mut bytes = UPGRADE.as_bytes().to_vec();
            if upgraded {
                let raw = Raw::upgrade(rx, tx).await;
                (rx, tx) = (raw.rx, raw.tx);
                bytes = frame(0x82, &[7; 500]);
            }
            let trickle = async {
                for byte in &bytes {
                    sleep(10).await;
                    if tx.write_all(&[*byte]).await.is_err() {
                        break;
                    }
                }
                future::pending::<()>().await;
            };
            let mut answer = Vec::new();
            let closed = async {
                let mut byte = [0];
                while rx.read(&mut byte).await.unwrap() > 0 {
                    answer.extend(byte);
                }
            };
            future::or(trickle, closed).await;
            // A WebSocket is told, and has the time of a Close besides.
            let took = start.elapsed().as_millis();
            assert!((200..3000).contains(&took), "{took} ms");
            let told = answer.first() == Some(&0x88) && answer.get(2..4) == Some(&[0x03, 0xf0]);
            assert_eq!((told, answer.is_empty()), (upgraded, !upgraded), "{answer:?}");
        }
        until(|| net.open.get() == 0).await;
    });
}
