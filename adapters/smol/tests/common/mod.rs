//! A service and a client for the tests of this crate, both written by hand.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test uses a part of it")]

pub mod client;
pub mod logged;
pub mod raw;
pub mod service;

use core::net::SocketAddr;
use core::time::Duration;
use service::Bench;
use smol::LocalExecutor;
use smol::future;
use smol::net::TcpListener;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wslink_core::{Blob, Service};
use wslink_smol::{Ended, Options, Server};

pub const SECRET: &str = "hush";

pub fn options() -> Options {
    Options::new(SECRET)
}

/// A server on a free port; the test runs beside it on the same thread, and it is stopped behind
/// it.
pub fn with_server<S, F>(
    service: S,
    options: Options,
    test: impl FnOnce(Server<S>, SocketAddr) -> F,
) where
    S: Service<Blob: Blob + Send + 'static> + 'static,
    F: Future<Output = ()>,
{
    with_server_for(Duration::from_secs(60), service, options, test);
}

/// The same for a test that may take longer.
pub fn with_server_for<S, F>(
    time: Duration,
    service: S,
    options: Options,
    test: impl FnOnce(Server<S>, SocketAddr) -> F,
) where
    S: Service<Blob: Blob + Send + 'static> + 'static,
    F: Future<Output = ()>,
{
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(within(time, async {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let server = Server::new(service, options);
        let running = executor.spawn({
            let server = server.clone();
            async move { server.run(listener).await }
        });
        test(server.clone(), address).await;
        server.stop();
        let ended = within(Duration::from_secs(20), running).await;
        assert!(matches!(ended, Ended::Stopped | Ended::Idle));
    })));
}

/// The usual test: a [`Bench`] with usual options.
pub fn with_bench<F>(test: impl FnOnce(Server<Bench>, SocketAddr) -> F)
where
    F: Future<Output = ()>,
{
    with_server(Bench::default(), options(), test);
}

pub async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// No test waits forever.
pub async fn within<T>(time: Duration, future: impl Future<Output = T>) -> T {
    let late = async {
        smol::Timer::after(time).await;
        panic!("not ready within {time:?}")
    };
    future::or(future, late).await
}

/// Waits for something that others bring about.
pub async fn until(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            smol::Timer::after(Duration::from_millis(2)).await;
        }
    };
    within(Duration::from_secs(20), wait).await;
}

/// For tests that measure memory or read the log, of which a process has one.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resident memory of this process; unknown, and so never grown, where there is no `/proc`.
pub fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// Bytes that tell where they were cut wrongly.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(pattern_at).collect()
}

pub fn pattern_at(at: usize) -> u8 {
    (at ^ at >> 8 ^ at >> 16) as u8
}
