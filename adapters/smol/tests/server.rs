//! The life of a server: executors, stopping, limits, idleness.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::client::{BOTH, Client, Dialect};
use common::service::Bench;
use common::{SECRET, listen, options, until, with_server, within};
use core::cell::Cell;
use core::sync::atomic::Ordering;
use core::time::Duration;
use smol::future;
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, LocalExecutor};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Instant;
use wslink_core::{
    Call, CloseCode, CloseReason, Config, Cx, MethodInfo, NoBlob, RpcError, Service, TopicInfo,
};
use wslink_smol::{Ended, Options, Server};

const SHUTDOWN: (u16, &str) = (1001, "Server shutdown");

fn shutdown() -> Option<(u16, String)> {
    Some((SHUTDOWN.0, SHUTDOWN.1.to_owned()))
}

#[test]
fn connections_may_run_on_several_threads() {
    let executor = Arc::new(Executor::<'static>::new());
    let (quit, quitting) = smol::channel::unbounded::<()>();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| future::block_on(executor.run(quitting.recv())));
        }
        smol::block_on(within(Duration::from_secs(60), async {
            let listener = listen().await;
            let address = listener.local_addr().unwrap();
            let server = Server::new(Bench::default(), options());
            let accepting = executor.spawn({
                let (server, executor) = (server.clone(), Arc::clone(&executor));
                async move {
                    loop {
                        match server.accept(&listener).await {
                            Ok(stream) => executor.spawn(server.serve(stream)).detach(),
                            Err(ended) => return ended,
                        }
                    }
                }
            });
            let clients = (0..8).map(|nth| {
                executor.spawn(async move {
                    let mut client = Client::login(address, BOTH[nth % 2]).await;
                    for n in 0..200 {
                        let sum = client.call("bench.add", vec![n.into(), 1.into()]).await;
                        assert_eq!(sum, Ok((n + 1).into()));
                        client.call("bench.say", vec!["hello".into()]).await.unwrap();
                    }
                    client
                })
            });
            for client in clients.collect::<Vec<_>>() {
                let mut client = client.await;
                for _ in 0..200 {
                    client.published("bench.said").await;
                }
            }
            server.stop();
            assert_eq!(accepting.await, Ended::Stopped);
            until(|| server.peers() == 0).await;
        }));
        drop(quit);
    });
}

#[test]
fn the_whole_server_may_move_between_threads() {
    smol::block_on(within(Duration::from_secs(60), async {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let server = Server::new(Bench::default(), options());
        // The executor of smol demands `Send`.
        let running = smol::spawn({
            let server = server.clone();
            async move { server.run(listener).await }
        });
        let mut client = Client::login(address, Dialect::V2).await;
        assert_eq!(client.call("bench.add", vec![1.into(), 2.into()]).await, Ok(3.into()));
        server.stop();
        assert_eq!(client.end().await, shutdown());
        assert_eq!(running.await, Ended::Stopped);
    }));
}

/// A service that can't leave its thread.
struct Counter(Rc<Cell<i64>>);

impl Service for Counter {
    type Request = ();
    type Reply = i64;
    type Blob = NoBlob;
    const METHODS: &'static [MethodInfo] = &[MethodInfo::new("counter.next")];
    const TOPICS: &'static [TopicInfo] = &[];

    fn decode(&self, _: &Call<'_>) -> Result<(), RpcError> {
        Ok(())
    }

    async fn call(&self, _: Cx<'_, NoBlob>, (): ()) -> Result<i64, RpcError> {
        let own = Rc::clone(&self.0);
        future::yield_now().await;
        own.set(own.get() + 1);
        Ok(own.get())
    }
}

#[test]
fn a_service_may_stay_on_its_thread() {
    let count = Rc::new(Cell::new(0));
    with_server(Counter(Rc::clone(&count)), options(), async |_, address| {
        for (nth, dialect) in BOTH.into_iter().enumerate() {
            let mut client = Client::login(address, dialect).await;
            assert_eq!(client.call("counter.next", vec![]).await, Ok((nth + 1).into()));
        }
    });
    assert_eq!(count.get(), 2);
}

#[test]
fn a_stop_closes_idle_connections_at_once_and_frees_the_port() {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(within(Duration::from_secs(60), async {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let server = Server::new(Bench::default(), options());
        let stop = server.stop_handle();
        let running = executor.spawn({
            let server = server.clone();
            async move { server.run(listener).await }
        });
        let mut clients = Vec::new();
        for dialect in BOTH {
            clients.push(Client::login(address, dialect).await);
            clients.push(Client::connect(address, dialect).await);
        }
        // Neither one that never asked for anything, nor one whose page was answered.
        let silent = TcpStream::connect(address).await.unwrap();

        let start = Instant::now();
        stop.stop();
        for client in &mut clients {
            assert_eq!(client.end().await, shutdown());
        }
        assert_eq!(running.await, Ended::Stopped);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert!(TcpStream::connect(address).await.is_err());
        drop(TcpListener::bind(address).await.unwrap());
        drop(silent);
        let reason = CloseReason::Local(CloseCode::GoingAway);
        assert_eq!(*server.service().closed.lock().unwrap(), [reason; 2]);
    })));
}

#[test]
fn a_stop_lets_calls_end_that_can() {
    let mut config = Config::desktop();
    config.deadlines.ping = Some(Duration::from_millis(50));
    config.deadlines.pong = Duration::from_millis(50);
    with_server(Bench::default(), options().with_config(config), async |server, address| {
        let mut client = Client::login(address, Dialect::V2).await;
        let id = client.start("bench.wait", vec![]).await;
        until(|| server.service().waiting.load(Ordering::SeqCst) == 1).await;
        server.stop();
        // Too late to begin; and behind it no pong is heard, for which nobody is blamed.
        client.start("bench.wait", vec![]).await;
        smol::Timer::after(Duration::from_millis(300)).await;
        assert!(TcpStream::connect(address).await.is_err());
        assert_eq!(server.service().waiting.load(Ordering::SeqCst), 1);
        server.service().release.send(7).await.unwrap();
        assert_eq!(client.answer(&id).await, Ok(7.into()));
        assert_eq!(client.end().await, shutdown());
    });
}

#[test]
fn a_stop_is_bounded_when_calls_do_not_end() {
    let options = options().with_grace(Duration::from_millis(200));
    with_server(Bench::default(), options, async |server, address| {
        let mut client = Client::login(address, Dialect::V1).await;
        client.start("bench.wait", vec![]).await;
        until(|| server.service().waiting.load(Ordering::SeqCst) == 1).await;
        let start = Instant::now();
        server.stop();
        assert_eq!(client.end().await, shutdown());
        let took = start.elapsed();
        assert!((Duration::from_millis(190)..Duration::from_secs(2)).contains(&took), "{took:?}");
        assert_eq!(server.service().waiting.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_stop_is_bounded_when_clients_do_not_answer() {
    let mut config = Config::desktop();
    config.deadlines.close = Duration::from_millis(300);
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(within(Duration::from_secs(60), async {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let server = Server::new(Bench::default(), options().with_config(config));
        let running = executor.spawn({
            let server = server.clone();
            async move { server.run(listener).await }
        });
        // One reads nothing at all, and has a lot to read.
        let mut stalled = Client::login(address, Dialect::V2).await;
        stalled.start("bench.blob", vec![50_000_000.into()]).await;
        let _silent = Client::login(address, Dialect::V2).await;
        smol::Timer::after(Duration::from_millis(200)).await;
        let start = Instant::now();
        server.stop();
        assert_eq!(running.await, Ended::Stopped);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert_eq!(server.peers(), 0);
    })));
}

#[test]
fn dropping_the_server_drops_all_that_runs() {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(within(Duration::from_secs(60), async {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let server = Server::new(Bench::default(), options());
        let running = executor.spawn({
            let server = server.clone();
            async move { server.run(listener).await }
        });
        let mut client = Client::login(address, Dialect::V2).await;
        client.start("bench.wait", vec![]).await;
        until(|| server.service().waiting.load(Ordering::SeqCst) == 1).await;
        running.cancel().await;
        assert_eq!(server.service().waiting.load(Ordering::SeqCst), 0);
        assert_eq!(server.peers(), 0);
        assert_eq!(server.service().closed.lock().unwrap().len(), 1);
        assert_eq!(client.end().await, None);
    })));
}

#[test]
fn a_full_house_turns_clients_away() {
    let options = options().with_max_connections(2);
    with_server(Bench::default(), options, async |server, address| {
        let one = Client::login(address, Dialect::V1).await;
        let _two = Client::login(address, Dialect::V2).await;
        let stream = TcpStream::connect(address).await.unwrap();
        let url = format!("ws://{address}/ws");
        let error = async_tungstenite::client_async(url, stream).await.unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
        drop(one);
        until(|| server.peers() == 1).await;
        Client::login(address, Dialect::V1).await;
    });
}

#[test]
fn it_ends_when_nobody_comes() {
    let listen = async || {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        (listener, address)
    };
    let server =
        || Server::new(Bench::default(), options().with_timeout(Duration::from_millis(300)));
    smol::block_on(within(Duration::from_secs(60), async {
        let (listener, address) = listen().await;
        let start = Instant::now();
        assert_eq!(server().run(listener).await, Ended::Idle);
        assert!(start.elapsed() >= Duration::from_millis(300));
        assert!(start.elapsed() < Duration::from_secs(2));
        drop(TcpListener::bind(address).await.unwrap());

        // A client holds it open, and the time counts from when it left.
        let (listener, address) = listen().await;
        let server = server();
        let visit = async {
            let client = Client::login(address, Dialect::V2).await;
            smol::Timer::after(Duration::from_millis(600)).await;
            drop(client);
            Instant::now()
        };
        let (ended, left) = future::zip(server.run(listener), visit).await;
        assert_eq!(ended, Ended::Idle);
        assert!(left.elapsed() >= Duration::from_millis(250), "{:?}", left.elapsed());
    }));
}

#[test]
fn who_never_says_hello_is_closed() {
    let mut config = Config::desktop();
    config.deadlines.hello = Duration::from_millis(200);
    with_server(Bench::default(), options().with_config(config), async |_, address| {
        let mut client = Client::connect(address, Dialect::V2).await;
        let (code, _) = client.end().await.unwrap();
        assert_eq!(code, 1008);
        // One that does not even speak HTTP.
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut answer = Vec::new();
        smol::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await.unwrap();
    });
}

#[test]
fn neither_options_nor_server_print_the_secret() {
    let server = Server::new(Bench::default(), Options::new(SECRET));
    let printed = format!("{server:?} {:?}", server.stop_handle());
    assert!(!printed.contains(SECRET), "{printed}");
}
