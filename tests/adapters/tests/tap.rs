//! A device on a TAP device, and a client on the other side of it, on the TCP of Linux with its
//! delayed acknowledgements.
//!
//! `cargo xtask tap` makes the TAP device, in a network namespace of its own.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use core::time::Duration;
use embassy_net::{Config, Ipv4Address, Ipv4Cidr, StackResources, StaticConfigV4};
use embassy_net_tuntap::TunTapDevice;
use smol::future::FutureExt as _;
use smol::net::TcpStream;
use smol::{LocalExecutor, Timer};
use std::thread;
use std::time::Instant;
use wslink_adapters::{Log, Stream, Visitor};
use wslink_core::wire::Dialect;
use wslink_core::{Entropy, Fixed, HubBuffers};
use wslink_embassy::{Lent, Options, PeerMemory, Pool, Server, SocketMemory, listen};
use wslink_scope::{Scope, Signal};
use wslink_testkit::{Val, val};

const SECRET: &str = "hush";
const PEERS: usize = 3;
const CALLS: usize = 2;
/// Segments of Ethernet, and the ring for what is sent: two of them.
const SEGMENT: usize = 1460;
const RING: usize = 2 * SEGMENT;

type Tables = Fixed<Lent<'static>, Signal, CALLS, 2, 1, 3, 8>;

struct Clock;

impl wslink_scope::Timer for Clock {
    async fn after(&self, duration: Duration) {
        Timer::after(duration).await;
    }
}

#[test]
#[ignore = "needs a TAP device: cargo xtask tap"]
fn a_hundred_kilobytes_in_less_than_a_hundred_milliseconds() {
    thread::spawn(|| smol::block_on(device()));
    smol::block_on(client().or(async {
        Timer::after(Duration::from_secs(30)).await;
        panic!("it takes too long");
    }));
}

/// As many listeners as WebSockets and one more, all memory leaked.
async fn device() {
    let device = TunTapDevice::new("tap0").unwrap();
    let address = Ipv4Cidr::new(Ipv4Address::new(10, 9, 0, 2), 24);
    let config = StaticConfigV4 { address, gateway: None, dns_servers: Default::default() };
    let resources = Box::leak(Box::new(StackResources::<8>::new()));
    let (stack, mut runner) = embassy_net::new(device, Config::ipv4_static(config), resources, 1);

    let memory = Box::leak(Box::new([PeerMemory::<1024, 2048, 1028>::NEW; PEERS]));
    let pool = Box::leak(Box::new(Pool::new(memory)));
    let hub = HubBuffers { publications: vec![0; 4096].leak(), retained: vec![0; 1024].leak() };
    let options = Options::new(SECRET, || Entropy([7; 16]));
    let server = Server::<_, Tables, PEERS, CALLS>::new(Scope::new(Clock), options, pool, hub);
    let server = &*Box::leak(Box::new(server.unwrap()));

    let executor = LocalExecutor::new();
    for _ in 0..=PEERS {
        let memory = Box::leak(Box::new(SocketMemory::<SEGMENT, RING, 1100>::NEW));
        executor.spawn(listen(stack, 80, server, memory)).detach();
    }
    executor.run(runner.run()).await;
}

async fn client() {
    for (dialect, name) in [(Dialect::V1, "1.x"), (Dialect::V2, "2.x")] {
        let mut fastest = Duration::MAX;
        for _ in 0..5 {
            let mut client = connect(dialect).await;
            client.hello(SECRET).await.unwrap();
            let start = Instant::now();
            let capture = client.call("scope.capture", val!([25_000])).await.unwrap();
            let took = start.elapsed();
            let Some(Val::Bin(samples)) = capture.field("samples") else { panic!("{capture}") };
            assert_eq!(samples.len(), 100_000);
            fastest = fastest.min(took);
        }
        println!("100 KB in {name}: {fastest:?}");
        assert!(fastest < Duration::from_millis(100), "100 KB in {name} took {fastest:?}");
    }
}

async fn connect(dialect: Dialect) -> Visitor {
    let stream = loop {
        // The device may not be up yet.
        match TcpStream::connect("10.9.0.2:80").await {
            Ok(stream) => break Stream::Tcp(stream),
            Err(_) => _ = Timer::after(Duration::from_millis(50)).await,
        }
    };
    Visitor::open('A', stream, dialect, Log::default()).await
}
