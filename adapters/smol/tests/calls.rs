//! Calls, attachments and publications over real sockets, in both dialects.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::client::{BOTH, Client, Dialect, code, get};
use common::service::{Bench, Bytes, PICTURE, SAID, digest};
use common::{options, pattern, until, with_bench, with_server, within};
use core::sync::atomic::Ordering;
use core::time::Duration;
use rmpv::Value;
use wslink_core::{Attachment, Audience, Config};

#[test]
fn hello_and_call() {
    for dialect in BOTH {
        with_bench(async |server, address| {
            let mut client = Client::connect(address, dialect).await;
            let error = client.call("bench.add", vec![1.into(), 2.into()]).await.unwrap_err();
            assert_eq!(
                get(&error, "message").as_str(),
                Some("Unauthorized: Skip message processing")
            );
            let error = client.hello("wrong").await.unwrap_err();
            assert_eq!(get(&error, "message").as_str(), Some("Authentication failed"));
            assert_eq!(server.peers(), 0);

            let first = client.hello(common::SECRET).await.unwrap();
            assert_eq!(server.peers(), 1);
            assert_eq!(client.hello(common::SECRET).await.unwrap(), first);
            assert_eq!(server.service().opened.load(Ordering::SeqCst), 1);

            let sum = client.call("bench.add", vec![40.into(), 2.into()]).await;
            assert_eq!(sum, Ok(42.into()));
            let error = client.call("bench.nothing", vec![]).await.unwrap_err();
            assert_eq!(code(&error), -32601);
            let error = client.call("bench.add", vec!["x".into()]).await.unwrap_err();
            assert_eq!(code(&error), -32602);
            let error = client.call("bench.fail", vec![]).await.unwrap_err();
            assert_eq!(code(&error), -32001);

            client.ws.close(None).await.unwrap();
            assert_eq!(client.end().await, None);
            until(|| server.peers() == 0).await;
            assert_eq!(server.service().closed.lock().unwrap().len(), 1);
        });
    }
}

#[test]
fn a_hello_may_take_its_time() {
    for dialect in BOTH {
        let service = Bench { slow_hello: true, ..Bench::default() };
        with_server(service, options(), async |_, address| {
            let mut client = Client::login(address, dialect).await;
            assert_eq!(client.call("bench.add", vec![1.into(), 2.into()]).await, Ok(3.into()));
        });
    }
}

#[test]
fn a_full_table_holds_the_client_back() {
    with_bench(async |server, address| {
        let mut client = Client::login(address, Dialect::V2).await;
        let mut ids = Vec::new();
        for _ in 0..40 {
            ids.push(client.start("bench.wait", vec![]).await);
        }
        let waiting = &server.service().waiting;
        until(|| waiting.load(Ordering::SeqCst) == 32).await;
        smol::Timer::after(Duration::from_millis(50)).await;
        assert_eq!(waiting.load(Ordering::SeqCst), 32);
        for n in 0..40 {
            server.service().release.send(n).await.unwrap();
        }
        for id in ids {
            client.answer(&id).await.unwrap();
        }
    });
}

#[test]
fn a_panic_fails_its_call_and_nothing_else() {
    for dialect in BOTH {
        with_bench(async |_, address| {
            let mut client = Client::login(address, dialect).await;
            let mut other = Client::login(address, dialect).await;
            for method in ["bench.panic", "bench.panic_decoding", "bench.panic_serializing"] {
                let error = client.call(method, vec![]).await.unwrap_err();
                assert_eq!(code(&error), -32001);
                let data = get(&error, "data");
                assert_eq!(get(data, "exception").as_str(), Some("panicked"));
                assert_eq!(get(data, "method").as_str(), Some(method));
                for client in [&mut client, &mut other] {
                    assert_eq!(
                        client.call("bench.add", vec![1.into(), 2.into()]).await,
                        Ok(3.into())
                    );
                }
            }
        });
    }
}

#[test]
fn a_deadline_drops_its_call() {
    for dialect in BOTH {
        with_bench(async |server, address| {
            let mut client = Client::login(address, dialect).await;
            let error = client.call("bench.brief", vec![]).await.unwrap_err();
            assert_eq!(code(&error), -32004);
            until(|| server.service().waiting.load(Ordering::SeqCst) == 0).await;
            assert_eq!(client.call("bench.add", vec![1.into(), 2.into()]).await, Ok(3.into()));
        });
    }
}

#[test]
fn a_client_that_leaves_takes_its_calls_along() {
    with_bench(async |server, address| {
        let mut client = Client::login(address, Dialect::V2).await;
        client.start("bench.wait", vec![]).await;
        let waiting = &server.service().waiting;
        until(|| waiting.load(Ordering::SeqCst) == 1).await;
        drop(client);
        until(|| waiting.load(Ordering::SeqCst) == 0).await;
        until(|| server.peers() == 0).await;
    });
}

#[test]
fn large_attachments_arrive_as_they_left() {
    for dialect in BOTH {
        with_bench(async |_, address| {
            let mut client = Client::login(address, dialect).await;
            for len in [0, 1, 100, 4095, 4096, 65_000, 65_536, 70_001, 5_000_000] {
                for method in ["bench.blob", "bench.saw"] {
                    let result = client.call(method, vec![len.into()]).await.unwrap();
                    let Value::Binary(bytes) = result else { panic!("{result}") };
                    assert!(bytes == pattern(len), "{method} of {len} bytes in {dialect:?}");
                }
                let bytes = Value::Binary(pattern(len));
                let result = client.call("bench.digest", vec![bytes]).await.unwrap();
                let expected = Value::Array(vec![len.into(), digest(&pattern(len)).into()]);
                assert_eq!(result, expected, "{len} bytes in {dialect:?}");
            }
        });
    }
}

#[test]
fn a_small_answer_passes_a_large_one() {
    with_bench(async |_, address| {
        let mut client = Client::login(address, Dialect::V2).await;
        let large = client.start("bench.blob", vec![30_000_000.into()]).await;
        let small = client.start("bench.add", vec![1.into(), 2.into()]).await;
        client.answer(&small).await.unwrap();
        assert!(client.codec.inbox.is_empty());
        let Value::Binary(bytes) = client.answer(&large).await.unwrap() else { panic!() };
        assert!(bytes == pattern(30_000_000));
    });
}

#[test]
fn publications_reach_those_they_are_for() {
    with_bench(async |server, address| {
        let mut one = Client::login(address, Dialect::V1).await;
        let mut two = Client::login(address, Dialect::V2).await;
        let mut three = Client::login(address, Dialect::V2).await;
        let _stranger = Client::connect(address, Dialect::V2).await;

        one.call("bench.say", vec!["to all".into()]).await.unwrap();
        two.call("bench.whisper", vec!["not to me".into()]).await.unwrap();
        let publisher = server.publisher();
        std::thread::spawn(move || {
            let publications = publisher.publications();
            publications.publish(Audience::All, &SAID, &"from a thread".to_owned(), &[]).unwrap();
            let picture = Bytes::Shared(pattern(100_000).into());
            publications.publish(Audience::All, &PICTURE, &Attachment::nth(0), &[picture]).unwrap();
        })
        .join()
        .unwrap();

        for (client, expected) in [
            (&mut one, ["to all", "not to me", "from a thread"].as_slice()),
            (&mut two, &["to all", "from a thread"]),
            (&mut three, &["to all", "not to me", "from a thread"]),
        ] {
            for text in expected {
                assert_eq!(client.published("bench.said").await.as_str(), Some(*text));
            }
            assert_eq!(client.published("bench.picture").await, Value::Binary(pattern(100_000)));
            assert!(client.codec.inbox.is_empty());
        }
    });
}

/// What is published for others wakes a connection as well, which then waits anew.
#[test]
fn whoever_was_woken_for_nothing_is_woken_again() {
    with_bench(async |server, address| {
        for dialect in BOTH {
            let mut client = Client::login(address, dialect).await;
            let topics = Value::Array(vec!["bench.picture".into()]);
            client.call("wslink.subscribe", vec![topics]).await.unwrap();
            for _ in 0..3 {
                let publications = server.publications();
                let text = "for nobody".to_owned();
                publications.publish(Audience::All, &SAID, &text, &[]).unwrap();
                smol::Timer::after(Duration::from_millis(20)).await;
                let picture = Bytes::Shared(pattern(10).into());
                let key = Attachment::nth(0);
                publications.publish(Audience::All, &PICTURE, &key, &[picture]).unwrap();
                let picture = client.published("bench.picture");
                let picture = within(Duration::from_secs(5), picture).await;
                assert_eq!(picture, Value::Binary(pattern(10)));
            }
        }
    });
}

#[test]
fn answers_wait_for_room_and_none_is_lost() {
    let mut config = Config::desktop();
    config.limits.transmit_bytes = 100_000;
    for dialect in BOTH {
        with_server(Bench::default(), options().with_config(config), async |_, address| {
            let mut client = Client::login(address, dialect).await;
            let mut ids = Vec::new();
            for _ in 0..200 {
                ids.push(client.start("bench.text", vec![70_000.into()]).await);
            }
            for id in ids {
                let text = client.answer(&id).await.unwrap();
                assert_eq!(text.as_str().map(str::len), Some(70_000));
            }
            // What can never fit is told so.
            let error = client.call("bench.text", vec![100_001.into()]).await.unwrap_err();
            assert_eq!(code(&error), -32003);
        });
    }
}
