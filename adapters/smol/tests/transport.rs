//! What RFC 6455 and the limits of a transport have to say.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::frame::Frame;
use async_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use common::client::{BOTH, Client, Dialect, chunk, get};
use common::raw::{header, send_raw};
use common::service::{Bench, digest};
use common::{SECRET, options, pattern, until, with_bench, with_server, within};
use core::sync::atomic::Ordering;
use core::time::Duration;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use rmpv::Value;
use smol::future;
use smol::io::AsyncReadExt as _;
use std::time::Instant;
use wslink_core::{CloseReason, Config, Limit};

#[test]
fn a_message_that_is_too_big_is_told_so() {
    let mut config = Config::desktop();
    config.limits.frame = 100_000;
    (config.limits.max_msg_size, config.limits.overhead) = (40_000, 30_000);
    for (dialect, most) in [(Dialect::V1, 100_000), (Dialect::V2, 70_000)] {
        with_server(Bench::default(), options().with_config(config), async |server, address| {
            // The limit itself is allowed: the message is read, and answered.
            for (len, expected) in [(most - 1, 1007), (most, 1007), (most + 1, 1009)] {
                let mut client = Client::login(address, dialect).await;
                let message = match dialect {
                    Dialect::V1 => Message::text("{".repeat(len)),
                    Dialect::V2 => {
                        let len = len - 12;
                        Message::Binary(chunk(1, 0, len as u32, &vec![0xc1; len]).into())
                    }
                };
                client.ws.send(message).await.unwrap();
                let (code, reason) = client.end().await.unwrap();
                assert_eq!(code, expected, "{len}: {reason}");
            }

            // More is not is not, and the Close reaches a client that goes on sending.
            let mut client = Client::login(address, dialect).await;
            send_raw(&mut client, &header(0x82, 5_000_000)).await;
            for _ in 0..50 {
                send_raw(&mut client, &[7; 100_000]).await;
            }
            let (code, reason) = client.end().await.unwrap();
            assert_eq!((code, reason.as_str()), (1009, "message too big"));
            drop(client);
            until(|| server.service().closed.lock().unwrap().len() == 4).await;
            let closed = server.service().closed.lock().unwrap();
            let CloseReason::Limit(limit) = closed[3] else { panic!("{closed:?}") };
            let which = match dialect {
                Dialect::V1 => Limit::Frame,
                Dialect::V2 => Limit::MaxMsgSize,
            };
            assert_eq!(
                (limit.limit, limit.needed, limit.available),
                (which, 5_000_000, most as u64)
            );
        });
    }
}

#[test]
fn a_stranger_may_not_send_much() {
    with_bench(async |_, address| {
        // A claim of 2^62 bytes costs nothing.
        let mut client = Client::connect(address, Dialect::V2).await;
        send_raw(&mut client, &header(0x82, 1 << 62)).await;
        assert_eq!(client.end().await.unwrap().0, 1009);

        // Nor does one that comes in fragments.
        let mut client = Client::connect(address, Dialect::V2).await;
        let piece = || OpCode::Data(Data::Continue);
        let first = Frame::message(vec![0; 10_000], OpCode::Data(Data::Binary), false);
        client.ws.send(Message::Frame(first)).await.unwrap();
        for _ in 0..10 {
            let frame = Frame::message(vec![0; 10_000], piece(), false);
            if client.ws.send(Message::Frame(frame)).await.is_err() {
                break;
            }
        }
        assert_eq!(client.end().await.unwrap().0, 1009);

        // After hello there is room.
        let mut client = Client::login(address, Dialect::V2).await;
        let bytes = pattern(1_000_000);
        let result = client.call("bench.digest", vec![Value::Binary(bytes.clone())]).await;
        assert_eq!(result, Ok(Value::Array(vec![1_000_000.into(), digest(&bytes).into()])));
    });
}

#[test]
fn violations_are_told_by_their_code() {
    with_bench(async |_, address| {
        for (bytes, expected) in [
            // Text that is no UTF-8.
            ([0x81, 0x82, 0, 0, 0, 0, 0xff, 0xff].as_slice(), 1007),
            // A frame without a mask.
            (&[0x82, 0x01, 0], 1002),
            // A reserved bit, an unknown opcode, a continuation of nothing, a fragmented ping.
            (&[0xc2, 0x80, 0, 0, 0, 0], 1002),
            (&[0x83, 0x80, 0, 0, 0, 0], 1002),
            (&[0x80, 0x80, 0, 0, 0, 0], 1002),
            (&[0x09, 0x80, 0, 0, 0, 0], 1002),
        ] {
            for logged_in in [false, true] {
                let mut client = Client::connect(address, Dialect::V1).await;
                if logged_in {
                    client.hello(SECRET).await.unwrap();
                }
                send_raw(&mut client, bytes).await;
                assert_eq!(client.end().await.map(|(code, _)| code), Some(expected), "{bytes:x?}");
            }
        }
    });
}

#[test]
fn fragments_and_pings_between_them() {
    for dialect in BOTH {
        with_bench(async |_, address| {
            let mut client = Client::login(address, dialect).await;
            let text = r#"{"id":"rpc:x:1","method":"bench.add","args":[1,2]}"#;
            let (opcode, bytes) = match dialect {
                Dialect::V1 => (Data::Text, text.as_bytes().to_vec()),
                Dialect::V2 => {
                    let mut bytes = Vec::new();
                    let envelope = Value::Map(vec![
                        ("id".into(), "rpc:x:1".into()),
                        ("method".into(), "bench.add".into()),
                        ("args".into(), Value::Array(vec![1.into(), 2.into()])),
                    ]);
                    rmpv::encode::write_value(&mut bytes, &envelope).unwrap();
                    (Data::Binary, chunk(77, 0, bytes.len() as u32, &bytes))
                }
            };
            let last = bytes.len() - 1;
            for (nth, byte) in bytes.into_iter().enumerate() {
                let opcode = if nth == 0 { opcode } else { Data::Continue };
                let frame = Frame::message(vec![byte], OpCode::Data(opcode), nth == last);
                client.ws.send(Message::Frame(frame)).await.unwrap();
                if nth == 3 {
                    client.ws.send(Message::Ping("are you there?".into())).await.unwrap();
                    let pong = client.ws.next().await.unwrap().unwrap();
                    assert_eq!(pong, Message::Pong("are you there?".into()));
                }
            }
            assert_eq!(client.answer("rpc:x:1").await, Ok(3.into()));
        });
    }
}

/// Bytes that come one by one are a sign of life, also when no message becomes of them for long.
#[test]
fn a_slow_message_is_life() {
    let mut config = Config::desktop();
    config.deadlines.ping = Some(Duration::from_millis(200));
    config.deadlines.pong = Duration::from_millis(200);
    with_server(Bench::default(), options().with_config(config), async |server, address| {
        let mut client = Client::login(address, Dialect::V1).await;
        let text = r#"{"id":"rpc:x:1","method":"bench.add","args":[1,2]}"#.as_bytes();
        send_raw(&mut client, &header(0x81, text.len() as u64)).await;
        for byte in text {
            // Nothing is read here, so no ping is answered.
            send_raw(&mut client, &[*byte]).await;
            smol::Timer::after(Duration::from_millis(20)).await;
        }
        assert_eq!(server.peers(), 1);
        assert_eq!(client.answer("rpc:x:1").await, Ok(3.into()));
    });
}

#[test]
fn who_does_not_read_is_given_up_in_time() {
    let mut config = Config::desktop();
    config.deadlines.write = Duration::from_millis(300);
    with_server(Bench::default(), options().with_config(config), async |server, address| {
        let mut slow = Client::login(address, Dialect::V2).await;
        let mut stalled = Client::login(address, Dialect::V2).await;
        let id = slow.start("bench.blob", vec![30_000_000.into()]).await;
        let start = Instant::now();
        stalled.start("bench.blob", vec![30_000_000.into()]).await;
        // One is slow, but reads, and is not given up.
        let reading = async {
            while !slow.codec.inbox.iter().any(|message| get(message, "id").as_str() == Some(&id)) {
                assert!(slow.receive().await);
                if start.elapsed() < Duration::from_secs(1) {
                    smol::Timer::after(Duration::from_millis(20)).await;
                }
            }
        };
        let gone = async {
            until(|| server.peers() == 1).await;
            assert!(start.elapsed() >= Duration::from_millis(300));
        };
        future::zip(reading, gone).await;
        assert_eq!(server.peers(), 1);
    });
}

#[test]
fn a_close_is_answered_and_ends_the_stream() {
    with_bench(async |server, address| {
        let mut client = Client::login(address, Dialect::V2).await;
        // Close 1000, by hand.
        send_raw(&mut client, &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).await;
        let mut answer = Vec::new();
        within(Duration::from_secs(2), client.ws.get_mut().read_to_end(&mut answer)).await.unwrap();
        assert_eq!(answer, [0x88, 0x02, 0x03, 0xe8]);
        until(|| server.peers() == 0).await;
        assert_eq!(*server.service().closed.lock().unwrap(), [CloseReason::Peer(Some(1000))]);
    });
}

#[test]
fn an_end_without_a_close_is_an_end() {
    with_bench(async |server, address| {
        let client = Client::login(address, Dialect::V2).await;
        drop(client);
        until(|| server.peers() == 0).await;
        assert_eq!(*server.service().closed.lock().unwrap(), [CloseReason::Eof]);
    });
}

/// While all calls are busy nothing further is read, but the connection is not silent.
#[test]
fn pings_are_answered_while_all_calls_are_busy() {
    let mut config = Config::desktop();
    config.limits.calls = 2;
    config.deadlines.ping = Some(Duration::from_millis(100));
    config.deadlines.pong = Duration::from_millis(100);
    with_server(Bench::default(), options().with_config(config), async |server, address| {
        let mut client = Client::login(address, Dialect::V2).await;
        let mut ids = Vec::new();
        for _ in 0..2 {
            ids.push(client.start("bench.wait", vec![]).await);
        }
        let waiting = &server.service().waiting;
        until(|| waiting.load(Ordering::SeqCst) == 2).await;
        for nth in 0..5_u8 {
            client.ws.send(Message::Ping(vec![nth].into())).await.unwrap();
            while client.ws.next().await.unwrap().unwrap() != Message::Pong(vec![nth].into()) {}
        }
        // From the next call on nobody listens, and nobody is blamed for it.
        ids.push(client.start("bench.wait", vec![]).await);
        smol::Timer::after(Duration::from_millis(500)).await;
        assert_eq!((waiting.load(Ordering::SeqCst), server.peers()), (2, 1));
        for nth in 0..3 {
            server.service().release.send(nth).await.unwrap();
        }
        for id in ids {
            client.answer(&id).await.unwrap();
        }
    });
}

/// Buffers are made anew a second after something large; what is under way then is not lost.
#[test]
fn giving_back_buffers_loses_nothing() {
    with_bench(async |_, address| {
        let cases = BOTH.into_iter().flat_map(|it| [0, 1, 2, 5, 6, 7, 25].map(|cut| (it, cut)));
        let clients = cases.map(async |(dialect, cut)| {
            let mut client = Client::login(address, dialect).await;
            let bytes = Value::Binary(pattern(200_000));
            assert!(client.call("bench.digest", vec![bytes]).await.is_ok());
            // The beginning of a ping, its rest more than a second later.
            let mut ping = header(0x89, 20);
            ping[1] = 0x80 | 20;
            ping.drain(2..10);
            ping.extend([7; 20]);
            let (begin, end) = ping.split_at(cut.min(ping.len()));
            send_raw(&mut client, begin).await;
            smol::Timer::after(Duration::from_millis(1_500)).await;
            send_raw(&mut client, end).await;
            let pong = client.ws.next().await.unwrap().unwrap();
            assert_eq!(pong, Message::Pong(vec![7; 20].into()), "{cut}");
            let result = client.call("bench.blob", vec![200_000.into()]).await;
            assert_eq!(result, Ok(Value::Binary(pattern(200_000))));
        });
        join_all(clients).await;
    });
}

/// Calls that were read with others, and that wait for their turn, are in a buffer, too.
#[test]
fn giving_back_buffers_loses_no_call_that_waits() {
    let mut config = Config::desktop();
    config.limits.calls = 2;
    with_server(Bench::default(), options().with_config(config), async |server, address| {
        let mut client = Client::login(address, Dialect::V2).await;
        let bytes = Value::Binary(pattern(20_000));
        client.call("bench.digest", vec![bytes]).await.unwrap();
        let mut ids = Vec::new();
        for _ in 0..40 {
            ids.push(client.start("bench.wait", vec![]).await);
        }
        smol::Timer::after(Duration::from_millis(1_500)).await;
        for nth in 0..40 {
            server.service().release.send(nth).await.unwrap();
        }
        for id in ids {
            client.answer(&id).await.unwrap();
        }
    });
}
