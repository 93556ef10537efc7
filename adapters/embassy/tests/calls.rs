//! Calls, attachments and publications through the whole adapter.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::Clock;
use common::client::{BOTH, Client, Dialect, Raw, code, get};
use common::{SECRET, config, options, signal, sleep, until, with, with_scope};
use core::time::Duration;
use embedded_io_async::Read as _;
use rmpv::Value;
use std::time::Instant;
use wslink_scope::Scope;

#[test]
fn hello_and_call() {
    for dialect in BOTH {
        with_scope(async |net| {
            let mut client = Client::new(Raw::connect(net).await, dialect);
            let error = client.call("scope.settings.get", vec![]).await.unwrap_err();
            assert_eq!(code(&error), -32000);
            assert_eq!(code(&client.hello("wrong").await.unwrap_err()), -32000);
            client.hello(SECRET).await.unwrap();
            let settings = client.call("scope.settings.get", vec![]).await.unwrap();
            assert_eq!(get(&settings, "waveform").as_str(), Some("sine"));
            let error = client.call("scope.nothing", vec![]).await.unwrap_err();
            assert_eq!(code(&error), -32601);
            let error = client.call("scope.capture", vec![0.into()]).await.unwrap_err();
            assert_eq!(code(&error), -32602);
        });
    }
}

#[test]
fn attachments_both_ways() {
    for dialect in BOTH {
        with_scope(async |net| {
            let mut client = Client::login(net, dialect).await;
            for samples in [1, 10, 100, 1000, 5000] {
                let capture = client.call("scope.capture", vec![samples.into()]).await.unwrap();
                assert_eq!(get(&capture, "samples").as_slice(), Some(&*signal(samples)));
            }
            for len in [0, 1, 500, 700] {
                let image = Value::Binary(vec![3; len]);
                let upload = client.call("scope.firmware_update", vec![image]).await.unwrap();
                assert_eq!(get(&upload, "length").as_u64(), Some(len as u64));
            }
        });
    }
}

/// Far more than there is memory for, made while it is sent.
#[test]
fn a_mebibyte_out_of_a_generator() {
    const SAMPLES: u32 = 1 << 18;
    for dialect in BOTH {
        with_scope(async |net| {
            let mut client = Client::login(net, dialect).await;
            let capture = client.start("scope.capture", vec![SAMPLES.into()]).await;
            let small = client.start("scope.settings.get", vec![]).await;
            client.answer(&small).await.unwrap();
            // In 2.x a small answer passes between two chunks of a large one.
            let passed =
                !client.codec.inbox.iter().any(|it| get(it, "id").as_str() == Some(&capture));
            assert_eq!(passed, dialect == Dialect::V2);
            let capture = client.answer(&capture).await.unwrap();
            assert!(get(&capture, "samples").as_slice() == Some(&*signal(SAMPLES)));
        });
    }
}

#[test]
fn a_fast_call_overtakes_a_slow_one() {
    for dialect in BOTH {
        with_scope(async |net| {
            let mut client = Client::login(net, dialect).await;
            let slow = client.start("scope.calibrate", vec![Value::F64(0.1)]).await;
            client.call("scope.settings.get", vec![]).await.unwrap();
            assert!(client.codec.inbox.is_empty());
            client.answer(&slow).await.unwrap();
        });
    }
}

#[test]
fn a_full_table_holds_the_client_back_but_not_its_pings() {
    for dialect in BOTH {
        with_scope(async |net| {
            let mut client = Client::login(net, dialect).await;
            let calls = [0.1, 0.1].map(Value::F64);
            let mut ids = Vec::new();
            for seconds in calls {
                ids.push(client.start("scope.calibrate", vec![seconds]).await);
            }
            client.raw.send(0x89, b"there?").await;
            ids.push(client.start("scope.settings.get", vec![]).await);
            let started = Instant::now();
            while client.pongs == 0 {
                client.receive().await;
            }
            assert!(started.elapsed() < Duration::from_millis(80), "{:?}", started.elapsed());
            for id in ids {
                client.answer(&id).await.unwrap();
            }
        });
    }
}

#[test]
fn publications_reach_all_and_retained_ones_those_who_come_later() {
    with_scope(async |net| {
        let mut one = Client::login(net, Dialect::V1).await;
        let mut two = Client::login(net, Dialect::V2).await;
        one.call("scope.settings.set", vec![0.5.into()]).await.unwrap();
        for client in [&mut one, &mut two] {
            let settings = client.published("scope.settings").await;
            assert_eq!(get(&settings, "timebase").as_f64(), Some(0.5));
        }
        for dialect in BOTH {
            let mut late = Client::login(net, dialect).await;
            let settings = late.published("scope.settings").await;
            assert_eq!(get(&settings, "timebase").as_f64(), Some(0.5));
            drop(late);
            until(|| net.open.get() == 2).await;
        }
    });
}

#[test]
fn a_running_publication() {
    with_scope(async |net| {
        let server = net.server;
        net.spawn(async move {
            let scope = server.service();
            let Err(error) = scope.run(server.publications(), Duration::from_millis(5)).await;
            panic!("{error}");
        });
        let mut clients =
            [Client::login(net, Dialect::V1).await, Client::login(net, Dialect::V2).await];
        for client in &mut clients {
            let mut last = None;
            for _ in 0..20 {
                let trace = client.published("scope.trace").await;
                let n = get(&trace, "n").as_u64();
                assert!(n > last);
                assert_eq!(get(&trace, "samples").as_slice().unwrap().len(), 2000);
                last = n;
            }
        }
    });
}

/// One of three does not read. The others see no delay, and nothing of it is kept in memory; it is
/// given up in time, and its place is free again.
#[test]
fn who_does_not_read_delays_nobody() {
    let mut config = config();
    config.deadlines.write = Duration::from_millis(300);
    with(Scope::new(Clock), options().with_config(config), async |net| {
        let server = net.server;
        net.spawn(async move {
            let scope = server.service();
            let Err(error) = scope.run(server.publications(), Duration::from_millis(5)).await;
            panic!("{error}");
        });
        let mut stalled = Client::login(net, Dialect::V2).await;
        let mut one = Client::login(net, Dialect::V1).await;
        let mut two = Client::login(net, Dialect::V2).await;
        stalled.start("scope.capture", vec![100_000.into()]).await;
        while net.open.get() == 3 {
            for client in [&mut one, &mut two] {
                let started = Instant::now();
                client.call("scope.settings.get", vec![]).await.unwrap();
                client.published("scope.trace").await;
                assert!(started.elapsed() < Duration::from_millis(250));
            }
        }
        assert_eq!(net.open.get(), 2);
        Client::login(net, Dialect::V1).await;
        drop(stalled);
    });
}

/// A slow reader loses publications, never its connection.
#[test]
fn who_reads_slowly_stays() {
    for dialect in BOTH {
        with_scope(async |net| {
            let server = net.server;
            net.spawn(async move {
                let scope = server.service();
                let Err(error) = scope.run(server.publications(), Duration::from_millis(1)).await;
                panic!("{error}");
            });
            let mut client = Client::login(net, dialect).await;
            for _ in 0..10 {
                sleep(30).await;
                client.published("scope.trace").await;
            }
            client.call("scope.settings.get", vec![]).await.unwrap();
        });
    }
}

#[test]
fn a_full_house_answers_503_and_a_place_is_free_at_once() {
    with_scope(async |net| {
        let mut clients = Vec::new();
        for _ in 0..common::PEERS {
            clients.push(Client::login(net, Dialect::V2).await);
        }
        let (rx, mut tx) = net.connect();
        embedded_io_async::Write::write_all(&mut tx, common::client::UPGRADE.as_bytes())
            .await
            .unwrap();
        let mut raw = Raw { rx, tx };
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        let mut body = [0; 64];
        let len = raw.rx.read(&mut body).await.unwrap();
        assert!(body[..len].starts_with(b"too many clients"));
        clients.pop();
        until(|| net.open.get() == common::PEERS - 1).await;
        let mut client = Client::login(net, Dialect::V1).await;
        client.call("scope.settings.get", vec![]).await.unwrap();
    });
}

/// A device does not end, whatever its options say.
#[test]
fn no_client_ends_a_device() {
    let mut config = config();
    config.exit = true;
    with(Scope::new(Clock), options().with_config(config), async |net| {
        for dialect in BOTH {
            let mut client = Client::login(net, dialect).await;
            for method in ["application.exit", "application.exit.later"] {
                assert_eq!(code(&client.call(method, vec![]).await.unwrap_err()), -32601);
            }
        }
    });
}

#[test]
fn two_hundred_connections_one_after_the_other() {
    with_scope(async |net| {
        for nth in 0..200 {
            let mut client = Client::login(net, BOTH[nth % 2]).await;
            client.call("scope.settings.get", vec![]).await.unwrap();
            drop(client);
            until(|| net.open.get() == 0).await;
        }
    });
}

/// An upload is read as it comes, and may be larger than all memory of the device.
#[test]
fn an_upload_that_is_larger_than_all_memory() {
    let image: Vec<u8> = (0..300_000).map(|at| (at * 31 / 7) as u8).collect();
    let mut digests = Vec::new();
    for dialect in BOTH {
        with_scope(async |net| {
            let mut client = Client::login(net, dialect).await;
            let upload = Value::Binary(image.clone());
            let update = client.call("scope.firmware_update", vec![upload]).await.unwrap();
            assert_eq!(get(&update, "length").as_u64(), Some(300_000));
            digests.push(get(&update, "digest").as_str().unwrap().to_owned());
            // Those that fit are taken in the same way.
            for len in [0, 1, 900, 1012, 1013] {
                let upload = Value::Binary(image[..len].to_vec());
                let update = client.call("scope.firmware_update", vec![upload]).await.unwrap();
                assert_eq!(get(&update, "length").as_u64(), Some(len as u64));
            }
        });
    }
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn small_calls_are_answered_while_an_upload_comes() {
    with_scope(async |net| {
        let mut client = Client::login(net, Dialect::V2).await;
        let upload = vec![Value::Binary(vec![3; 50_000])];
        let frames = client.frames("rpc:upload:1", "scope.firmware_update", upload);
        for (first, payload) in frames {
            let mut chunk = payload;
            chunk[..4].copy_from_slice(&0xffff_u32.to_le_bytes());
            client.raw.send(first, &chunk).await;
            client.call("scope.settings.get", vec![]).await.unwrap();
        }
        let update = client.answer("rpc:upload:1").await.unwrap();
        assert_eq!(get(&update, "length").as_u64(), Some(50_000));
    });
}

#[test]
fn an_attachment_for_another_method_is_told_its_limit() {
    with_scope(async |net| {
        let mut client = Client::login(net, Dialect::V1).await;
        let upload = vec![Value::Binary(vec![3; 50_000])];
        let error = client.call("scope.capture", upload.clone()).await.unwrap_err();
        assert_eq!(code(&error), -32003);
        let update = client.call("scope.firmware_update", upload).await.unwrap();
        assert_eq!(get(&update, "length").as_u64(), Some(50_000));
    });
}
