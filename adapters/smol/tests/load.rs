//! Under load: readers that stall while others read, and a stop while everybody calls.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::client::{BOTH, Client, Dialect, get};
use common::service::{Bench, SAID};
use common::{SECRET, alone, listen, options, resident, until, within};
use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use futures_util::future::join_all;
use rmpv::Value;
use smol::{LocalExecutor, Timer};
use std::time::Instant;
use wslink_core::{
    Audience, Call, Config, Cx, MethodInfo, NoBlob, ParamInfo, RpcError, Service, TopicInfo,
};
use wslink_smol::{Ended, Server};

/// Publications whose times are compared with each other.
const BLOCK: usize = 50;
/// Publications before the memory is looked at, enough to fill what a stalled reader's sockets take.
const WARM: usize = 4 * BLOCK;

/// Bytes of a publication: one frame in either dialect. What was begun in 1.x and is lost in the
/// middle of a text ends its connection.
const SIZE: usize = 60 << 10;

/// 150 MiB of publications.
#[test]
fn one_reader_of_two_stalls() {
    others_notice_nothing(1, 1, 2600);
}

/// `WSLINK_TEST_STALLED=2600` makes it 150 MiB here as well.
#[test]
fn half_of_a_hundred_readers_stall() {
    let all = std::env::var("WSLINK_TEST_STALLED").map_or(450, |all| all.parse().unwrap());
    others_notice_nothing(50, 50, all);
}

/// A server, and those who read what it publishes.
struct Arm {
    server: Server<Bench>,
    reading: Vec<Client>,
    stalled: Vec<Client>,
    /// From each publication until the last of those who read had it.
    took: Vec<Duration>,
}

/// Three servers publish in turn: two for `reading` clients alone, and one for as many beside
/// `stalling` ones. The first two tell how much two runs of the same differ.
fn others_notice_nothing(reading: usize, stalling: usize, all: usize) {
    let _alone = alone();
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(within(Duration::from_secs(1800), async {
        let mut arms = Vec::new();
        for stalling in [0, 0, stalling] {
            arms.push(Arm::new(&executor, reading, stalling, all).await);
        }
        let mut warm = 0;
        for n in 0..all {
            if n == WARM {
                warm = resident();
            }
            let text = format!("{n} {}", "x".repeat(SIZE));
            // Whoever is first in one round is last in another.
            for turn in 0..arms.len() {
                let arm = (n + turn) % arms.len();
                arms[arm].publish(&text).await;
            }
        }
        let grown = resident().saturating_sub(warm);

        let whole = arms.iter().map(|arm| arm.late(0..all)).collect::<Vec<_>>();
        let ratio = |one: usize, other: usize| {
            // Behind the first publications, which fill the sockets of those who stall.
            let blocks = (WARM..all).step_by(BLOCK).map(|at| at..(at + BLOCK).min(all));
            let of = |block: core::ops::Range<usize>| {
                let (one, other) = (arms[one].late(block.clone()), arms[other].late(block));
                one.as_secs_f64() / other.as_secs_f64()
            };
            let mut ratios = blocks.map(of).collect::<Vec<_>>();
            ratios.sort_by(f64::total_cmp);
            ratios[ratios.len() / 2]
        };
        let (same, stalled) = (ratio(1, 0), ratio(2, 0));
        println!(
            "{reading} read, {stalling} stall, {all} publications: p99 {whole:?}; blocks of \
             {BLOCK}, median of the ratios of p99: {same:.2} of the same, {stalled:.2} beside \
             those who stall; {grown} bytes more"
        );
        assert!(grown < 1 << 20, "{grown} bytes more than after {WARM} publications");
        let noise = same.max(1.0 / same);
        assert!(stalled < 1.5 * noise, "{stalled:.2} where the same differ by {same:.2}");

        for arm in &mut arms {
            arm.wake(all as u64).await;
        }
    })));
}

impl Arm {
    async fn new(
        executor: &LocalExecutor<'static>,
        reading: usize,
        stalling: usize,
        all: usize,
    ) -> Self {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        // Whoever stalls is given up in time, which is not what this is about.
        let mut config = Config::desktop();
        config.deadlines.write = Duration::from_secs(3600);
        config.deadlines.ping = None;
        let server = Server::new(Bench::default(), options().with_config(config));
        let running = server.clone();
        executor.spawn(async move { running.run(listener).await }).detach();
        let clients = async |count| {
            let mut clients = Vec::new();
            for nth in 0..count {
                let mut client = Client::login(address, BOTH[(nth + 1) % 2]).await;
                let topics = Value::Array(vec!["bench.*".into(), "wslink.lagged".into()]);
                client.call("wslink.subscribe", vec![topics]).await.unwrap();
                clients.push(client);
            }
            clients
        };
        let (reading, stalled) = (clients(reading).await, clients(stalling).await);
        Self { server, reading, stalled, took: Vec::with_capacity(all) }
    }

    async fn publish(&mut self, text: &str) {
        let start = Instant::now();
        let text = text.to_owned();
        self.server.publications().publish(Audience::All, &SAID, &text, &[]).unwrap();
        join_all(self.reading.iter_mut().map(async |client| {
            let said = within(Duration::from_secs(10), client.published("bench.said")).await;
            assert_eq!(said.as_str(), Some(text.as_str()));
        }))
        .await;
        self.took.push(start.elapsed());
    }

    /// The 99th percentile of those publications; of few the latest one.
    fn late(&self, of: core::ops::Range<usize>) -> Duration {
        let mut took = self.took[of].to_vec();
        took.sort();
        took[(took.len() * 99 / 100).min(took.len() - 1)]
    }

    /// Those who stalled read again: they get what the server still has, the newest too, and are
    /// told how many they missed. Nothing comes twice, and nothing is lost without being counted.
    async fn wake(&mut self, all: u64) {
        let mut lost = 0;
        for client in &mut self.stalled {
            let (mut last, mut came) = (None, 0);
            while last != Some(all - 1) {
                let said = client.published("bench.said").await;
                let number = said.as_str().unwrap().split(' ').next().unwrap().parse().unwrap();
                assert!(last.is_none_or(|last| last < number), "{number} after {last:?}");
                (last, came) = (Some(number), came + 1);
            }
            let mut missed = 0;
            while came + missed < all {
                let lagged = client.published("wslink.lagged").await;
                missed += get(&lagged, "missed").as_u64().unwrap();
            }
            assert_eq!((came + missed, missed > 0), (all, true));
            lost += missed;
        }
        assert_eq!(self.server.service().lagged.load(Ordering::SeqCst) as u64, lost);
    }
}

/// A service that knows how many answers it gave.
#[derive(Default)]
struct Work {
    given: AtomicUsize,
    stuck: AtomicUsize,
}

impl Service for Work {
    type Request = (u64, usize);
    type Reply = String;
    type Blob = NoBlob;
    const METHODS: &'static [MethodInfo] = &[MethodInfo::new("work.do")
        .with_params(&[ParamInfo::required("millis"), ParamInfo::required("size")])];
    const TOPICS: &'static [TopicInfo] = &[];

    fn decode(&self, call: &Call<'_>) -> Result<Self::Request, RpcError> {
        let params = call.params()?;
        Ok((params.required(0)?, params.required(1)?))
    }

    async fn call(&self, _: Cx<'_, NoBlob>, request: Self::Request) -> Result<String, RpcError> {
        let (millis, size) = request;
        if millis == NEVER {
            self.stuck.fetch_add(1, Ordering::SeqCst);
            let () = core::future::pending().await;
        }
        Timer::after(Duration::from_millis(millis)).await;
        self.given.fetch_add(1, Ordering::SeqCst);
        Ok("x".repeat(size))
    }
}

/// Milliseconds of a call that does not end.
const NEVER: u64 = u64::MAX;
/// Calls that each client has open at any time.
const OPEN: u64 = 8;

/// Small answers and large ones, both dialects, some who never read and some whose calls never end.
#[test]
fn a_stop_under_load_loses_no_answer_and_is_bounded() {
    const GRACE: Duration = Duration::from_millis(1500);
    const CLOSE: Duration = Duration::from_millis(1000);
    let mut config = Config::desktop();
    config.deadlines.close = CLOSE;
    let options = options().with_config(config).with_grace(GRACE);
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(within(Duration::from_secs(120), async {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let server = Server::new(Work::default(), options);
        let running = executor.spawn({
            let server = server.clone();
            async move { server.run(listener).await }
        });
        let clients = (0..20).map(|nth| executor.spawn(work(address, nth)));
        let clients = clients.collect::<Vec<_>>();
        let mut stuck = Vec::new();
        for dialect in BOTH {
            let mut client = Client::login(address, dialect).await;
            client.start("work.do", vec![NEVER.into(), 0.into()]).await;
            stuck.push(client);
        }
        let mut deaf = Client::login(address, Dialect::V2).await;
        until(|| server.service().stuck.load(Ordering::SeqCst) == 2).await;
        until(|| server.service().given.load(Ordering::SeqCst) > 500).await;
        // What this one is given it does not take, so it is not counted.
        deaf.start("work.do", vec![NEVER.into(), 0.into()]).await;
        until(|| server.service().stuck.load(Ordering::SeqCst) == 3).await;

        let start = Instant::now();
        server.stop();
        let mut got = 0;
        for client in clients {
            got += client.await;
        }
        // Who had something to wait for did not wait for the others.
        let worked = start.elapsed();
        assert!(worked < GRACE, "{worked:?}");
        assert_eq!(running.await, Ended::Stopped);
        let took = start.elapsed();
        let given = server.service().given.load(Ordering::SeqCst);
        println!("{given} answers given, {got} received; {worked:?}, {took:?} with the stuck ones");
        assert_eq!(got, given);
        assert!(took >= GRACE, "{took:?}");
        assert!(took < GRACE + CLOSE + CLOSE / 2, "{took:?}");
        for mut client in stuck {
            assert_eq!(client.end().await, Some((1001, "Server shutdown".to_owned())));
        }
        drop(deaf);
    })));
}

/// Calls without a pause until the server has closed; tells how many answers came.
async fn work(address: SocketAddr, nth: u64) -> usize {
    let dialect = if nth.is_multiple_of(2) { Dialect::V1 } else { Dialect::V2 };
    let mut client = Client::connect(address, dialect).await;
    client.hello(SECRET).await.unwrap();
    let mut calls = 0;
    let mut call = async |client: &mut Client| {
        calls += 1;
        let size = if calls % 10 == 0 { 300_000 } else { 100 };
        client.start("work.do", vec![(calls * 7 % 50 + nth).into(), size.into()]).await;
    };
    for _ in 0..OPEN {
        call(&mut client).await;
    }
    let mut got = 0;
    while client.receive().await && client.closed.is_none() {
        while let Some(answer) = client.codec.take(|_| true) {
            assert!(get(&answer, "error").is_nil(), "{answer}");
            got += 1;
            call(&mut client).await;
        }
    }
    assert!(client.closed.is_some(), "an end without a Close");
    got
}
