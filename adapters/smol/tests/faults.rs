//! The client when its server is killed or stopped, in whatever it does, and when only the
//! connection is cut.

#![cfg(all(feature = "client", unix))]
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::service::Bench;
use common::{SECRET, options, pattern, with_bench, with_server_for, within};
use core::net::SocketAddr;
use core::time::Duration;
use futures_util::{FutureExt as _, StreamExt as _};
use smol::io::AsyncReadExt as _;
use smol::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use wslink_core::client::Config;
use wslink_core::wire::Dialect;
use wslink_smol::Client;
use wslink_smol::client::{Backoff, Binary, ConnectError, Error, Options, TopicError, Value};

/// Notices within a second that nobody is there.
fn impatient(dialect: Dialect) -> Options {
    let mut config = Config::desktop();
    config.deadlines.ping = Some(Duration::from_millis(300));
    config.deadlines.pong = Duration::from_millis(300);
    config.deadlines.write = Duration::from_millis(600);
    let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(100));
    Options::new(SECRET)
        .without_proxy()
        .with_dialect(dialect)
        .with_config(config)
        .with_reconnect(backoff)
}

/// This test binary as a server, so that it can be killed.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self { process: process(port), port }
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    fn restart(&mut self) {
        self.signal("KILL");
        self.process.wait().unwrap();
        self.process = process(self.port);
    }

    async fn ready(&self) {
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            smol::Timer::after(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn process(port: u16) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "a_child_that_serves"])
        .env("WSLINK_TEST_PORT", port.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "a_server_that_is_killed_or_stopped runs it"]
fn a_child_that_serves() {
    // Without a port somebody has just asked for all tests.
    let Ok(port) = std::env::var("WSLINK_TEST_PORT") else { return };
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    smol::block_on(async {
        let listener = TcpListener::bind(address).await.unwrap();
        let options = wslink_smol::Options::new(SECRET);
        wslink_smol::Server::new(Bench::default(), options).run(listener).await;
    });
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum During {
    Idle,
    Call,
    Upload,
    Download,
}

async fn fault(dialect: Dialect, during: During, signal: &str) {
    let what = format!("{dialect:?} {during:?} {signal}");
    let mut server = Server::start();
    server.ready().await;
    let url = format!("ws://127.0.0.1:{}/ws", server.port);
    let (client, driver) = Client::connect(&url, impatient(dialect)).await.unwrap();
    let driver = smol::spawn(driver);
    let mut said = client.subscribe::<String>("bench.said");
    assert_eq!(client.call("bench.add").arg(1).arg(1).send().await, Ok(2));
    let big = 60 << 20;
    let call = match during {
        During::Idle => None,
        During::Call => Some(client.call("bench.wait").send::<Value>().boxed()),
        During::Upload => Some(client.call("bench.digest").binary(pattern(big)).send().boxed()),
        During::Download => Some(client.call("bench.blob").arg(big).send::<Value>().boxed()),
    };
    match call {
        None => {
            server.signal(signal);
            while client.is_connected() {
                smol::Timer::after(Duration::from_millis(5)).await;
            }
        }
        Some(call) => {
            let call = smol::spawn(call);
            smol::Timer::after(Duration::from_millis(20)).await;
            server.signal(signal);
            let end = call.await;
            assert!(matches!(end, Err(Error::Lost { .. })), "{what}: {end:?}");
            if during == During::Call {
                assert_eq!(end, Err(Error::Lost { may_have_run: true }), "{what}");
            }
        }
    }
    server.restart();
    let again = said.next().await;
    assert_eq!(again, Some(Err(TopicError::Reconnected { same_session: Some(false) })), "{what}");
    assert_eq!(client.call("bench.say").arg("again").send().await, Ok(0), "{what}");
    assert_eq!(said.next().await.unwrap().unwrap().value, "again", "{what}");
    drop((client, said));
    driver.await.unwrap();
}

#[test]
fn a_server_that_is_killed_or_stopped() {
    for dialect in [Dialect::V1, Dialect::V2] {
        for during in [During::Idle, During::Call, During::Upload, During::Download] {
            for signal in ["KILL", "STOP"] {
                smol::block_on(within(Duration::from_secs(60), fault(dialect, during, signal)));
            }
        }
    }
}

#[test]
fn a_connection_that_is_cut_comes_back_to_the_same_session() {
    with_bench(|_, address| async move {
        for dialect in [Dialect::V1, Dialect::V2] {
            let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("ws://{}/ws", front.local_addr().unwrap());
            let (cut, is_cut) = smol::channel::bounded::<()>(1);
            let relay = smol::spawn(async move {
                loop {
                    let (near, _) = front.accept().await.unwrap();
                    let far = TcpStream::connect(address).await.unwrap();
                    let up = smol::io::copy(near.clone(), far.clone());
                    let down = smol::io::copy(far, near);
                    let until = async {
                        is_cut.recv().await.unwrap();
                        Ok(0)
                    };
                    _ = smol::future::or(smol::future::or(up, down), until).await;
                }
            });
            let (client, driver) = Client::connect(&url, impatient(dialect)).await.unwrap();
            let driver = smol::spawn(driver);
            let mut said = client.subscribe::<String>("bench.said");
            let blob: Binary = client.call("bench.blob").arg(10).send().await.unwrap();
            assert_eq!(*blob, *pattern(10));
            cut.send(()).await.unwrap();
            let again = Some(Err(TopicError::Reconnected { same_session: Some(true) }));
            assert_eq!(said.next().await, again);
            client.call("bench.say").arg("again").send::<Value>().await.unwrap();
            assert_eq!(said.next().await.unwrap().unwrap().value, "again");
            drop((client, said));
            driver.await.unwrap();
            drop(relay);
        }
    });
}

/// Which bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Up,
    Down,
}

/// A short conversation through a line that is cut after so many bytes of one way. Gives whether it
/// was whole.
async fn cut_after(server: SocketAddr, dialect: Dialect, way: Way, count: u64) -> bool {
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", front.local_addr().unwrap());
    let line = smol::spawn(async move {
        let (near, _) = front.accept().await.unwrap();
        let far = TcpStream::connect(server).await.unwrap();
        let most = |it| if it == way { count } else { u64::MAX };
        let up = smol::io::copy(near.clone().take(most(Way::Up)), far.clone());
        let down = smol::io::copy(far.take(most(Way::Down)), near);
        // Whichever ends first ends both.
        _ = smol::future::or(up, down).await;
    });
    let options = Options::new(SECRET).without_proxy().without_reconnect().with_dialect(dialect);
    let conversation = async {
        let (client, driver) = match Client::connect(&url, options).await {
            Ok(connected) => connected,
            Err(ConnectError::Io(_) | ConnectError::Closed(_) | ConnectError::NotAWebSocket(_)) => {
                return false;
            }
            Err(error) => panic!("{error}"),
        };
        let driver = smol::spawn(driver);
        let sum = client.call("bench.add").arg(1).arg(2).send::<i64>();
        let blob = client.call("bench.blob").arg(20).send::<Binary>();
        let digest = client.call("bench.digest").binary(pattern(20)).send::<(usize, u64)>();
        let (sum, (blob, digest)) = smol::future::zip(sum, smol::future::zip(blob, digest)).await;
        let lost = |error: &Error| matches!(error, Error::Lost { .. } | Error::NotConnected);
        assert!(sum.as_ref().map_or_else(lost, |sum| *sum == 3), "{sum:?}");
        assert!(blob.as_ref().map_or_else(lost, |blob| **blob == *pattern(20)), "{blob:?}");
        assert!(digest.as_ref().map_or_else(lost, |(len, _)| *len == 20), "{digest:?}");
        drop(client);
        // What the end of a connection was is not of interest here.
        _ = driver.await;
        sum.is_ok() && blob.is_ok() && digest.is_ok()
    };
    let whole = within(Duration::from_secs(20), conversation).await;
    drop(line);
    whole
}

#[test]
fn cut_at_every_byte_all_calls_end() {
    const AT_ONCE: u64 = 64;
    with_server_for(
        Duration::from_secs(300),
        Bench::default(),
        options(),
        |_, address| async move {
            for dialect in [Dialect::V1, Dialect::V2] {
                for way in [Way::Up, Way::Down] {
                    let mut count = 0;
                    loop {
                        let cuts =
                            (count..count + AT_ONCE).map(|at| cut_after(address, dialect, way, at));
                        let whole = futures_util::future::join_all(cuts).await;
                        // The last calls may be answered before the end of a long line.
                        if whole.iter().all(|whole| *whole) {
                            break;
                        }
                        count += AT_ONCE;
                    }
                    assert!((300..5000).contains(&count), "{dialect:?} {way:?}: {count} bytes");
                }
            }
        },
    );
}
