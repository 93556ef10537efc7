//! What RFC 6455, the limits and the deadlines of a transport have to say.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::client::{BOTH, Client, Dialect, Raw, UPGRADE, code, frame, get};
use common::{Clock, Net, SECRET, config, options, until, with, with_scope};
use core::time::Duration;
use embedded_io_async::{Read as _, Write as _};
use rmpv::Value;
use std::time::Instant;
use wslink_core::Config;
use wslink_scope::Scope;

type Scoped = Net<Scope<Clock>>;

fn with_config(change: impl Fn(&mut Config), test: impl AsyncFnOnce(&Scoped)) {
    let mut config = config();
    change(&mut config);
    with(Scope::new(Clock), options().with_config(config), test);
}

#[test]
fn violations_are_told_by_their_code() {
    let long = frame(0x89, &[0; 126]);
    let mut half_minimal = vec![0x82, 0x80 | 126, 0, 125];
    half_minimal.extend([0; 4]);
    let mut not_minimal = vec![0x82, 0x80 | 127];
    not_minimal.extend(0xffff_u64.to_be_bytes());
    not_minimal.extend([0; 4]);
    let mut negative = vec![0x82, 0x80 | 127];
    negative.extend((1_u64 << 63).to_be_bytes());
    negative.extend([0; 4]);
    let cases: &[(&[u8], u16, &str)] = &[
        (b"\x82\x02hi", 1002, "a client has to mask"),
        (&frame(0xc2, b"x"), 1002, "reserved bits are set"),
        (&frame(0xa2, b"x"), 1002, "reserved bits are set"),
        (&frame(0x91, b"x"), 1002, "reserved bits are set"),
        (&frame(0x83, b"x"), 1002, "an opcode without a meaning"),
        (&frame(0x8b, b"x"), 1002, "an opcode without a meaning"),
        (&frame(0x09, b"x"), 1002, "a control frame in pieces"),
        (&long, 1002, "a long control frame"),
        (&half_minimal, 1002, "a length that is not minimal"),
        (&not_minimal, 1002, "a length that is not minimal"),
        (&negative, 1002, "a length that is not minimal"),
        (&frame(0x80, b"x"), 1002, "continuation of nothing"),
        (
            &[frame(0x02, b"x"), frame(0x82, b"y")].concat(),
            1002,
            "a message begins inside of another",
        ),
        (&frame(0x88, b"x"), 1002, "half a close code"),
        (&frame(0x88, &999_u16.to_be_bytes()), 1002, "a close code that may not be sent"),
        (&frame(0x88, &1005_u16.to_be_bytes()), 1002, "a close code that may not be sent"),
        (&frame(0x88, &2999_u16.to_be_bytes()), 1002, "a close code that may not be sent"),
        (&frame(0x88, b"\x03\xe8\xff"), 1007, "a close reason that is not UTF-8"),
        (&frame(0x81, b"\"\xff\""), 1007, ""),
    ];
    for (bytes, code, reason) in cases {
        for cut in [1, 3, usize::MAX] {
            with_scope(async |net| {
                let mut raw = Raw::connect(net).await;
                for piece in bytes.chunks(cut) {
                    _ = raw.tx.write_all(piece).await;
                    futures_lite::future::yield_now().await;
                }
                let (said, why) = raw.closed().await;
                assert_eq!(said, *code, "{bytes:x?}: {why}");
                assert!(why.contains(reason), "{why}");
                _ = raw.tx.write_all(&frame(0x88, &code.to_be_bytes())).await;
                // The stream ends behind it.
                assert_eq!(raw.receive().await, None);
                until(|| net.open.get() == 0).await;
            });
        }
    }
}

#[test]
fn fragments_and_pings_between_them_in_any_cut() {
    for dialect in BOTH {
        for cut in [1, 2, 7, 100, 5000] {
            with_scope(async |net| {
                let mut client = Client::login(net, dialect).await;
                let image = Value::Binary(vec![5; 600]);
                let frames = client.frames("rpc:test:1", "scope.firmware_update", vec![image]);
                let mut bytes = Vec::new();
                let mut pings = 0;
                for (first, payload) in frames {
                    let count = payload.chunks(64).count();
                    for (nth, piece) in payload.chunks(64).enumerate() {
                        let opcode = if nth == 0 { first & 0x7f } else { 0 };
                        let fin = if nth + 1 == count { 0x80 } else { 0 };
                        bytes.extend(frame(opcode | fin, piece));
                        bytes.extend(frame(0x89, b"ping"));
                        bytes.extend(frame(0x8a, b"pong that nobody asked for"));
                        pings += 1;
                    }
                }
                for piece in bytes.chunks(cut) {
                    _ = client.raw.tx.write_all(piece).await;
                    futures_lite::future::yield_now().await;
                }
                let upload = client.answer("rpc:test:1").await.unwrap();
                assert_eq!(get(&upload, "length").as_u64(), Some(600));
                // Of pings that came faster than they were answered, the last one counts.
                assert!((1..=pings).contains(&client.pongs), "{} of {pings}", client.pongs);
            });
        }
    }
}

/// A frame that is longer than the buffer is given to the engine in pieces.
#[test]
fn frames_that_are_longer_than_the_buffer() {
    for dialect in BOTH {
        with_scope(async |net| {
            let (rx, tx) = net.connect_with(64, 300);
            let mut client = Client::new(Raw::upgrade(rx, tx).await, dialect);
            client.hello(SECRET).await.unwrap();
            let image = Value::Binary(vec![9; 800]);
            let upload = client.call("scope.firmware_update", vec![image]).await.unwrap();
            assert_eq!(get(&upload, "length").as_u64(), Some(800));
            let capture = client.call("scope.capture", vec![5000.into()]).await.unwrap();
            assert_eq!(get(&capture, "samples").as_slice(), Some(&*common::signal(5000)));
        });
    }
}

/// As on a device: chunks that neither the buffer of frames nor that of messages could hold.
#[test]
fn chunks_that_are_longer_than_all_buffers() {
    let mut config = config();
    (config.limits.max_msg_size, config.limits.published) = (4096, 1024);
    with(Scope::new(Clock), options().with_config(config), async |net| {
        let (rx, tx) = net.connect_with(512, 1044);
        let mut client = Client::new(Raw::upgrade(rx, tx).await, Dialect::V2);
        client.hello(SECRET).await.unwrap();
        // Of the envelope there are less than a hundred bytes.
        for len in (900..1050).step_by(7).chain([2000, 4000, 4090, 20_000]) {
            let image = Value::Binary(vec![9; len]);
            let upload = client.call("scope.firmware_update", vec![image]).await.unwrap();
            assert_eq!(get(&upload, "length").as_u64(), Some(len as u64));
        }
        for len in [1012, 4000, 20_000] {
            let image = Value::Binary(vec![9; len]);
            let refused = client.call("scope.capture", vec![image]).await.unwrap_err();
            assert_eq!(code(&refused), -32003, "{len}: {refused:?}");
        }
        let capture = client.call("scope.capture", vec![5000.into()]).await.unwrap();
        assert_eq!(get(&capture, "samples").as_slice(), Some(&*common::signal(5000)));
    });
}

#[test]
fn the_limit_of_a_frame_and_one_more() {
    for dialect in BOTH {
        with_scope(async |net| {
            let most = config().limits.frame as usize;
            for len in [most - 1, most, most + 1] {
                let mut client = Client::login(net, dialect).await;
                let (first, mut payload) =
                    client.frames("rpc:test:1", "scope.settings.get", vec![]).remove(0);
                match dialect {
                    // Room between values.
                    Dialect::V1 => payload.resize(len, b' '),
                    // Bytes behind the message.
                    Dialect::V2 => {
                        payload.resize(len, 0xc0);
                        payload[8..12].copy_from_slice(&(len as u32 - 12).to_le_bytes());
                    }
                }
                client.raw.send(first, &payload).await;
                if len > most {
                    assert_eq!(client.raw.closed().await, (1009, "message too big".to_owned()));
                    continue;
                }
                // The message's own limit is below that of its frame in 1.x, and is an answer.
                let error = match dialect {
                    Dialect::V1 => -32003,
                    Dialect::V2 => -32700,
                };
                assert_eq!(code(&client.answer("rpc:test:1").await.unwrap_err()), error, "{len}");
            }
            // Fragments are counted together, and a claim costs nothing.
            let mut client = Client::login(net, Dialect::V2).await;
            let mut begin = [0; 1000];
            begin[8..12].copy_from_slice(&1012_u32.to_le_bytes());
            client.raw.send(0x02, &begin).await;
            client.raw.send(0x00, &[0; 25]).await;
            assert_eq!(client.raw.closed().await, (1009, "message too big".to_owned()));
            let mut client = Client::login(net, Dialect::V2).await;
            let mut claim = vec![0x82, 0x80 | 127];
            claim.extend((1_u64 << 62).to_be_bytes());
            claim.extend([0; 4]);
            client.raw.send_raw(&claim).await;
            assert_eq!(client.raw.closed().await, (1009, "message too big".to_owned()));
            // The Close reaches a client that goes on sending.
            for _ in 0..100 {
                client.raw.tx.write_all(&[7; 1000]).await.ok();
            }
        });
    }
}

#[test]
fn a_close_is_answered_and_ends_the_stream() {
    with_scope(async |net| {
        let mut client = Client::login(net, Dialect::V2).await;
        client.raw.send(0x88, &[&4000_u16.to_be_bytes()[..], b"bye"].concat()).await;
        assert_eq!(client.raw.receive().await, Some((0x88, 1000_u16.to_be_bytes().to_vec())));
        assert_eq!(client.raw.receive().await, None);
        let mut raw = Raw::connect(net).await;
        raw.send(0x88, b"").await;
        assert_eq!(raw.receive().await.unwrap().0, 0x88);
        assert_eq!(raw.receive().await, None);
        until(|| net.open.get() == 0).await;
    });
}

#[test]
fn who_vanishes_in_any_state_frees_its_place() {
    for dialect in BOTH {
        with_scope(async |net| {
            for state in 0..5 {
                let (rx, tx) = net.connect();
                if state == 0 {
                    drop((rx, tx));
                } else {
                    let mut client = Client::new(Raw::upgrade(rx, tx).await, dialect);
                    if state > 1 {
                        client.hello(SECRET).await.unwrap();
                    }
                    match state {
                        2 => _ = client.start("scope.calibrate", vec![Value::F64(30.0)]).await,
                        3 => _ = client.start("scope.capture", vec![1_000_000.into()]).await,
                        4 => client.raw.send_raw(&frame(0x82, &[0; 500])[..100]).await,
                        _ => {}
                    }
                    futures_lite::future::yield_now().await;
                }
                until(|| net.open.get() == 0).await;
            }
        });
    }
}

#[test]
fn who_never_says_hello_is_closed() {
    with_config(
        |config| config.deadlines.hello = Duration::from_millis(50),
        async |net| {
            let mut raw = Raw::connect(net).await;
            assert_eq!(raw.closed().await.0, 1008);
            raw.send(0x88, &1008_u16.to_be_bytes()).await;
            assert_eq!(raw.receive().await, None);
            // Nor does one that never asks for anything.
            let (mut rx, mut tx) = net.connect();
            tx.write_all(&UPGRADE.as_bytes()[..20]).await.unwrap();
            assert_eq!(rx.read(&mut [0; 10]).await, Ok(0));
            until(|| net.open.get() == 0).await;
        },
    );
}

#[test]
fn a_message_that_is_not_finished_and_one_that_comes_slowly() {
    with_config(
        |config| config.deadlines.partial = Duration::from_millis(100),
        async |net| {
            let mut client = Client::login(net, Dialect::V2).await;
            client.raw.send(0x02, &[1; 10]).await;
            assert_eq!(client.raw.closed().await.0, 1008);

            let mut client = Client::login(net, Dialect::V1).await;
            let frames = client.frames("rpc:test:1", "scope.settings.get", vec![]);
            let (first, payload) = &frames[0];
            for (nth, piece) in payload.chunks(20).enumerate() {
                client.raw.send(if nth == 0 { first & 0x7f } else { 0 }, piece).await;
                common::sleep(40).await;
            }
            client.raw.send(0x80, b"").await;
            client.answer("rpc:test:1").await.unwrap();
        },
    );
}

#[test]
fn pings_keep_a_silent_client_and_find_a_dead_one() {
    with_config(
        |config| {
            config.deadlines.ping = Some(Duration::from_millis(50));
            config.deadlines.pong = Duration::from_millis(50);
        },
        async |net| {
            let mut client = Client::login(net, Dialect::V2).await;
            let started = Instant::now();
            while started.elapsed() < Duration::from_millis(250) {
                client.receive().await;
            }
            client.call("scope.settings.get", vec![]).await.unwrap();
            until(|| net.open.get() == 0).await;
            assert!(started.elapsed() < Duration::from_millis(600));
        },
    );
}

#[test]
fn bytes_behind_the_handshake_are_not_lost() {
    for dialect in BOTH {
        for cut in [1, 50, 5000] {
            with_scope(async |net| {
                let (rx, tx) = net.connect();
                let mut client = Client::new(Raw { rx, tx }, dialect);
                let secret = Value::Map(vec![("secret".into(), SECRET.into())]);
                let mut bytes = UPGRADE.as_bytes().to_vec();
                for (first, payload) in client.frames("system:c0:0", "wslink.hello", vec![secret]) {
                    bytes.extend(frame(first, &payload));
                }
                for (first, payload) in client.frames("rpc:test:1", "scope.settings.get", vec![]) {
                    bytes.extend(frame(first, &payload));
                }
                for piece in bytes.chunks(cut) {
                    _ = client.raw.tx.write_all(piece).await;
                    futures_lite::future::yield_now().await;
                }
                assert!(client.raw.head().await.starts_with("HTTP/1.1 101 "));
                client.answer("system:c0:0").await.unwrap();
                client.answer("rpc:test:1").await.unwrap();
            });
        }
    }
}

/// With a ring as large as two segments, a frame that fits it is never cut.
#[test]
fn frames_leave_whole() {
    with_scope(async |net| {
        let mut client = Client::login(net, Dialect::V2).await;
        let mut bytes = [0; common::RING];
        for _ in 0..20 {
            client.start("scope.settings.get", vec![]).await;
            let len = client.raw.rx.read(&mut bytes).await.unwrap();
            let whole = 4 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
            assert_eq!((bytes[0], bytes[1], len), (0x82, 126, whole));
        }
    });
}
