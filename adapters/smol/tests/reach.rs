//! The client of this crate against its server.

#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::service::{Bench, digest};
use common::{SECRET, pattern, with_bench, within};
use core::net::SocketAddr;
use core::time::Duration;
use futures_util::StreamExt as _;
use smol::Task;
use smol::io::AsyncWriteExt as _;
use wslink_core::wire::Dialect;
use wslink_core::{Policy, code};
use wslink_smol::Client;
use wslink_smol::client::{
    Backoff, Binary, ConnectError, Error, Options, Progress, Publication, TopicError, Value,
};

type Running = Task<Result<(), ConnectError>>;

fn options() -> Options {
    Options::new(SECRET).without_proxy()
}

async fn connect(address: SocketAddr, options: Options) -> (Client, Running) {
    let (client, driver) = Client::connect(&format!("ws://{address}/ws"), options).await.unwrap();
    (client, smol::spawn(driver))
}

const DIALECTS: [Dialect; 2] = [Dialect::V1, Dialect::V2];

#[test]
fn calls_and_errors() {
    with_bench(|_, address| async move {
        for dialect in DIALECTS {
            let (client, driver) = connect(address, options().with_dialect(dialect)).await;
            assert_eq!(client.dialect(), Some(dialect));
            let sum: i64 = client.call("bench.add").arg(1).arg(2).send().await.unwrap();
            assert_eq!(sum, 3);
            let sum: i64 = client.call("bench.add").arg(1).kwarg("b", 5).send().await.unwrap();
            assert_eq!(sum, 6);
            #[derive(serde::Serialize)]
            struct Both {
                a: i32,
                b: i32,
            }
            let both = Both { a: 3, b: 4 };
            assert_eq!(client.call("bench.add").kwargs(&both).send().await, Ok(7));
            let text: Result<String, _> = client.call("bench.add").arg(1).arg(2).send().await;
            assert!(matches!(text, Err(Error::Answer(_))), "{text:?}");

            let failed = client.call("bench.fail").send::<Value>().await.unwrap_err();
            let Error::Server(failed) = failed else { panic!("{failed}") };
            assert_eq!(failed.code, i64::from(code::EXCEPTION));
            assert_eq!(failed.exception(), Some("the trigger never came"));
            let unknown = client.call("bench.none").send::<Value>().await.unwrap_err();
            assert!(matches!(&unknown, Error::Server(it) if it.is_unknown_method()), "{unknown}");
            let brief = client.call("bench.brief").send::<Value>().await.unwrap_err();
            assert!(matches!(&brief, Error::Server(it) if it.code == i64::from(code::DEADLINE)));
            let within = Duration::from_millis(30);
            let late = client.call("bench.wait").within(within).send::<Value>().await;
            assert_eq!(late, Err(Error::Deadline));
            drop(client);
            driver.await.unwrap();
        }
    });
}

#[test]
fn under_tokio() {
    with_bench(|_, address| async move {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sum = smol::unblock(move || {
            runtime.block_on(async {
                let url = format!("ws://{address}/ws");
                let (client, driver) = Client::connect(&url, options()).await.unwrap();
                let driver = tokio::spawn(driver);
                let sum = client.call("bench.add").arg(1).arg(2).send::<i64>().await;
                drop(client);
                driver.await.unwrap().unwrap();
                sum
            })
        });
        assert_eq!(sum.await, Ok(3));
    });
}

#[test]
fn five_megabytes_both_ways() {
    with_bench(|_, address| async move {
        for dialect in DIALECTS {
            let (client, driver) = connect(address, options().with_dialect(dialect)).await;
            for len in [0, 1, 3000, 5 << 20] {
                let bytes = pattern(len);
                let sum = client.call("bench.digest").binary(bytes.clone()).send().await;
                assert_eq!(sum, Ok((len, digest(&bytes))));
                let inline = Binary::from(bytes.clone());
                let sum = client.call("bench.digest").kwarg("value", inline).send().await;
                assert_eq!(sum, Ok((len, digest(&bytes))));
                let down: Binary = client.call("bench.blob").arg(len).send().await.unwrap();
                assert!(*down == *bytes);
            }
            drop(client);
            driver.await.unwrap();
        }
    });
}

#[test]
fn up_from_a_reader_and_down_to_a_writer() {
    with_bench(|_, address| async move {
        for dialect in DIALECTS {
            let (client, driver) = connect(address, options().with_dialect(dialect)).await;
            let bytes = pattern(3 << 20);
            let (up, down) = (Progress::default(), Progress::default());
            let call = client.call("bench.digest").progress(&up);
            let call = call.reader(smol::io::Cursor::new(bytes.clone()), 3 << 20);
            let changed = up.changed();
            let (sum, ()) = smol::future::zip(call.send(), changed).await;
            assert_eq!(sum, Ok((bytes.len(), digest(&bytes))));
            assert_eq!(up.sent(), up.to_send());
            assert!(up.sent() > 3 << 20 && up.sent() < (3 << 20) + 200, "{up:?}");

            let mut file = Vec::new();
            let call = client.call("bench.blob").arg(3 << 20).progress(&down);
            assert_eq!(call.send_into(&mut file).await, Ok(3 << 20));
            assert!(file == bytes);
            // What was told last is of the last chunk but one.
            let (received, all) = (down.received(), down.to_receive());
            match dialect {
                Dialect::V2 => assert!(received > 2 << 20 && received < all && all > 3 << 20),
                _ => assert_eq!((received, all), (0, 0)),
            }

            // By keyword, a few bytes at a time, with others beside it; and not to its end.
            let pipe = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let end = pipe.local_addr().unwrap();
            let mut writer = smol::net::TcpStream::connect(end).await.unwrap();
            let (reader, _) = pipe.accept().await.unwrap();
            let call = client.call("bench.digest").kwarg_reader("value", reader, 300_000);
            let call = smol::spawn(call.send::<(usize, u64)>());
            let write = async {
                for piece in bytes.chunks(700) {
                    // The end of what is wanted.
                    if writer.write_all(piece).await.is_err() {
                        break;
                    }
                }
            };
            let sum = client.call("bench.add").arg(1).arg(2).send::<i64>();
            let (_, sum) = smol::future::zip(write, sum).await;
            assert_eq!(sum, Ok(3));
            assert_eq!(call.await, Ok((300_000, digest(&bytes[..300_000]))));

            let short = smol::io::Cursor::new(bytes.clone());
            let short = client.call("bench.digest").reader(short, (3 << 20) + 1);
            let why = "it has 3145728 bytes instead of 3145729".to_owned();
            assert_eq!(short.send::<Value>().await, Err(Error::Read(why)));
            // What has begun cannot be ended otherwise.
            assert!(client.connected().await);
            assert_eq!(client.call("bench.add").arg(1).arg(2).send().await, Ok(3));
            drop(client);
            driver.await.unwrap();
        }
    });
}

#[test]
fn publications_to_those_who_asked() {
    with_bench(|_, address| async move {
        for dialect in DIALECTS {
            let (client, driver) = connect(address, options().with_dialect(dialect)).await;
            let mut said = client.subscribe::<String>("bench.said");
            let mut all = client.subscribe_with::<Value>(&["bench.*"], Policy::DropOldest(2));
            let none = client.subscribe::<Value>("bench.picture");
            for text in ["a", "b", "c"] {
                client.call("bench.say").arg(text).send::<Value>().await.unwrap();
            }
            for text in ["a", "b", "c"] {
                let Publication { topic, value, .. } = said.next().await.unwrap().unwrap();
                assert_eq!((&*topic, &*value), ("bench.said", text));
            }
            // The driver gives a publication to one after the other, and then goes on.
            assert_eq!(client.call("bench.add").arg(1).arg(2).send().await, Ok(3));
            assert_eq!(all.next().await, Some(Err(TopicError::Lagged(1))));
            let next = all.next().await.unwrap().unwrap();
            assert_eq!(next.value, Value::Str("b".into()));
            drop(said);
            client.call("bench.say").arg("d").send::<Value>().await.unwrap();
            assert_eq!(all.next().await.unwrap().unwrap().value, Value::Str("c".into()));
            assert_eq!(all.next().await.unwrap().unwrap().value, Value::Str("d".into()));
            drop((client, all));
            // A subscription alone keeps the connection.
            smol::Timer::after(Duration::from_millis(20)).await;
            assert!(!driver.is_finished());
            drop(none);
            driver.await.unwrap();
        }
    });
}

#[test]
fn a_wrong_secret_and_wrong_addresses() {
    with_bench(|_, address| async move {
        for dialect in DIALECTS {
            let wrong = Options::new("wrong").without_proxy().with_dialect(dialect);
            let url = format!("ws://{address}/ws");
            let error = Client::connect(&url, wrong).await.unwrap_err();
            assert!(matches!(error, ConnectError::Refused(_)), "{error}");
        }
        let error = Client::connect(&format!("ws://{address}/no"), options()).await.unwrap_err();
        assert!(matches!(error, ConnectError::NotAWebSocket(_)), "{error}");
        let error = Client::connect("ws://127.0.0.1:1/ws", options()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Io(_)), "{error}");
    });
}

#[test]
fn whoever_does_not_answer_is_not_waited_for() {
    smol::block_on(within(Duration::from_secs(20), async {
        let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        let options = options().with_connect_deadline(Duration::from_millis(100));
        let error = Client::connect(&url, options).await.unwrap_err();
        assert!(matches!(error, ConnectError::Deadline), "{error}");
    }));
}

#[test]
fn a_call_that_is_dropped_is_forgotten() {
    with_bench(|server, address| async move {
        let (client, driver) = connect(address, options()).await;
        {
            let call = client.call("bench.wait").send::<i64>();
            assert!(smol::future::poll_once(call).await.is_none());
        }
        server.service().release.send(1).await.unwrap();
        assert_eq!(client.call("bench.add").arg(1).arg(1).send().await, Ok(2));
        drop(client);
        driver.await.unwrap();
    });
}

#[test]
fn a_driver_that_is_dropped_ends_all() {
    with_bench(|_, address| async move {
        let (client, driver) = connect(address, options()).await;
        let mut said = client.subscribe::<String>("bench.said");
        let call = smol::spawn({
            let client = client.clone();
            async move { client.call("bench.wait").send::<i64>().await }
        });
        smol::Timer::after(Duration::from_millis(30)).await;
        driver.cancel().await;
        assert_eq!(call.await, Err(Error::Lost { may_have_run: true }));
        assert_eq!(said.next().await, None);
        assert!(!client.connected().await);
        assert_eq!(client.call("bench.wait").send::<i64>().await, Err(Error::NotConnected));
        assert!(client.subscribe::<String>("bench.said").next().await.is_none());
    });
}

#[test]
fn whoever_must_have_all_is_ended_when_slow() {
    with_bench(|_, address| async move {
        let (client, driver) = connect(address, options()).await;
        let mut strict = client.subscribe_with::<String>(&["bench.said"], Policy::Disconnect);
        let mut latest = client.subscribe_with::<String>(&["bench.said"], Policy::KeepLatest);
        for n in 0..1025 {
            client.call("bench.say").arg(n.to_string()).send::<Value>().await.unwrap();
        }
        // The answer comes before the publication.
        smol::Timer::after(Duration::from_millis(50)).await;
        assert_eq!(strict.next().await, Some(Err(TopicError::Lagged(1025))));
        assert_eq!(strict.next().await, None);
        assert_eq!(latest.next().await, Some(Err(TopicError::Lagged(1024))));
        assert_eq!(latest.next().await.unwrap().unwrap().value, "1024");
        drop((client, strict, latest));
        driver.await.unwrap();
    });
}

#[test]
fn more_calls_than_there_may_be_at_once_wait() {
    with_bench(|_, address| async move {
        let (client, driver) = connect(address, options()).await;
        let calls = (0..1000_i64).map(|n| client.call("bench.add").arg(n).arg(n).send::<i64>());
        let sums = futures_util::future::join_all(calls).await;
        for (n, sum) in sums.into_iter().enumerate() {
            assert_eq!(sum, Ok(2 * n as i64));
        }
        drop(client);
        driver.await.unwrap();
    });
}

#[test]
fn a_server_that_comes_back() {
    let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(50));
    smol::block_on(within(Duration::from_secs(30), async {
        for dialect in DIALECTS {
            let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let start = |listener| {
                let options = wslink_smol::Options::new(SECRET).with_grace(Duration::ZERO);
                let server = wslink_smol::Server::new(Bench::default(), options);
                let running = server.clone();
                (server, smol::spawn(async move { running.run(listener).await }))
            };
            let (server, running) = start(listener);
            let options = options().with_dialect(dialect).with_reconnect(backoff);
            let (client, driver) = connect(address, options).await;
            let mut said = client.subscribe::<String>("bench.said");
            client.call("bench.say").arg("before").send::<Value>().await.unwrap();
            assert_eq!(said.next().await.unwrap().unwrap().value, "before");
            // The call in flight fails at once, and says that it may have run.
            let flight = smol::spawn({
                let client = client.clone();
                async move { client.call("bench.wait").send::<i64>().await }
            });
            while server.service().waiting.load(core::sync::atomic::Ordering::SeqCst) == 0 {
                smol::Timer::after(Duration::from_millis(5)).await;
            }
            server.stop();
            assert_eq!(flight.await, Err(Error::Lost { may_have_run: true }));
            running.await;
            let error = client.call("bench.add").arg(1).arg(2).send::<i64>().await.unwrap_err();
            assert!(!error.may_have_run(), "{error}");

            let listener = smol::net::TcpListener::bind(address).await.unwrap();
            let (server, running) = start(listener);
            let again = Some(Err(TopicError::Reconnected { same_session: Some(false) }));
            assert_eq!(said.next().await, again);
            assert!(client.connected().await);
            client.call("bench.say").arg("after").send::<Value>().await.unwrap();
            assert_eq!(said.next().await.unwrap().unwrap().value, "after");
            drop((client, said));
            driver.await.unwrap();
            server.stop();
            running.await;
        }
    }));
}
