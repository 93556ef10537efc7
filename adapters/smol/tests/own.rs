//! What the client asks of servers of this project alone: to end calls that nobody waits for, and
//! to publish no more than a rate.

#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::service::Bench;
use common::{SECRET, with_bench, within};
use core::net::SocketAddr;
use core::sync::atomic::Ordering;
use core::time::Duration;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use smol::future::{or, poll_once, zip};
use smol::{Task, Timer};
use wslink_core::Policy;
use wslink_core::client::Config;
use wslink_core::wire::Dialect;
use wslink_smol::Server;
use wslink_smol::client::{Client, ConnectError, Error, Options, Subscription, Value};

const DIALECTS: [Dialect; 2] = [Dialect::V1, Dialect::V2];

type Running = Task<Result<(), ConnectError>>;

fn options() -> Options {
    Options::new(SECRET).without_proxy()
}

async fn connect(address: SocketAddr, dialect: Dialect) -> (Client, Running) {
    connect_with(address, options().with_dialect(dialect)).await
}

/// A client of a server that has described itself.
async fn connect_with(address: SocketAddr, options: Options) -> (Client, Running) {
    let (client, driver) = Client::connect(&format!("ws://{address}/ws"), options).await.unwrap();
    let driver = smol::spawn(driver);
    // It was asked first.
    client.call("wslink.describe").send::<Value>().await.unwrap();
    (client, driver)
}

/// Until so many calls of `bench.wait` and `bench.brief` run.
async fn running(server: &Server<Bench>, count: usize) {
    while server.service().waiting.load(Ordering::SeqCst) != count {
        Timer::after(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_call_that_nobody_waits_for_is_dropped_by_the_server() {
    with_bench(|server, address| async move {
        for dialect in DIALECTS {
            let (client, driver) = connect(address, dialect).await;
            let mut calls = [c"", c""].map(|_| Box::pin(client.call("bench.wait").send::<i64>()));
            for call in &mut calls {
                assert!(poll_once(call).await.is_none());
            }
            within(Duration::from_secs(5), running(&server, 2)).await;
            let [dropped, kept] = calls;
            drop(dropped);
            within(Duration::from_secs(5), running(&server, 1)).await;
            // The other one, of the same method, goes on.
            server.service().release.send(7).await.unwrap();
            assert_eq!(kept.await, Ok(7));

            // So does one whose time is over here.
            let late = client.call("bench.wait").within(Duration::from_millis(50));
            let (late, ()) = zip(late.send::<i64>(), running(&server, 1)).await;
            assert_eq!(late, Err(Error::Deadline));
            within(Duration::from_secs(5), running(&server, 0)).await;
            drop(client);
            driver.await.unwrap();
        }
    });
}

#[test]
fn as_many_as_there_may_be_are_dropped_together() {
    with_bench(|server, address| async move {
        let mut config = Config::desktop();
        config.limits.calls = 20;
        let (client, driver) = connect_with(address, options().with_config(config)).await;
        let calls = (0..30).map(|_| client.call("bench.wait").send::<i64>());
        let mut calls = Box::pin(join_all(calls));
        let all_run = async {
            running(&server, 20).await;
            Vec::new()
        };
        within(Duration::from_secs(5), or(all_run, &mut calls)).await;
        drop(calls);
        within(Duration::from_secs(5), running(&server, 0)).await;
        assert_eq!(client.call("bench.add").arg(1).arg(1).send().await, Ok(2));
        drop(client);
        driver.await.unwrap();
    });
}

async fn say(client: &Client, text: &str) {
    client.call("bench.say").arg(text).send::<Value>().await.unwrap();
}

/// All that has come within a time in which anything would have come.
async fn heard(said: &mut Subscription<String>) -> String {
    Timer::after(Duration::from_millis(100)).await;
    let mut all = String::new();
    while let Some(Some(next)) = poll_once(said.next()).await {
        all += &next.unwrap().value;
    }
    all
}

#[test]
fn a_rate_is_the_highest_that_somebody_wants() {
    with_bench(|_, address| async move {
        for dialect in DIALECTS {
            let (client, driver) = connect(address, dialect).await;
            let all = Policy::DropOldest(64);
            // Once in 1000 seconds.
            let mut slow = client.subscribe_at::<String>(&["bench.said"], all, 0.001);
            for text in ["a", "b", "c"] {
                say(&client, text).await;
            }
            assert_eq!(heard(&mut slow).await, "a");
            let mut fast = client.subscribe::<String>("bench.*");
            for text in ["d", "e"] {
                say(&client, text).await;
            }
            assert!(heard(&mut slow).await.ends_with("de"));
            assert!(heard(&mut fast).await.ends_with("de"));
            // A slower one changes nothing for the others.
            let slower = client.subscribe_at::<String>(&["bench.*"], all, 0.0005);
            for text in ["f", "g"] {
                say(&client, text).await;
            }
            assert!(heard(&mut fast).await.ends_with("fg"));
            drop((slower, fast));
            heard(&mut slow).await;
            for text in ["h", "i", "j"] {
                say(&client, text).await;
            }
            assert_eq!(heard(&mut slow).await, "h");
            // No rate at all.
            drop(slow);
            let mut none = client.subscribe_at::<String>(&["bench.said"], all, -1.0);
            for text in ["k", "l"] {
                say(&client, text).await;
            }
            assert!(heard(&mut none).await.ends_with("kl"));
            drop((client, none));
            driver.await.unwrap();
        }
    });
}
