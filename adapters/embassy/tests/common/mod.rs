//! A server in memory, on one thread, with pipes for sockets.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test uses a part of it")]

pub mod client;

use async_executor::LocalExecutor;
use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;
pub use wslink_adapters::{Receiver, Sender, pipe};
use wslink_core::{Config, Entropy, Fixed, HubBuffers, Service};
use wslink_embassy::{Lent, Options, PeerMemory, Pool, Server};
use wslink_scope::{Scope, Signal, Timer};

pub const SECRET: &str = "hush";
pub const PEERS: usize = 3;
pub const CALLS: usize = 2;
pub const FRAME: usize = 1100;
/// Bytes that a pipe holds, as the ring of a socket.
pub const RING: usize = 2920;

pub type Tables<B> = Fixed<Lent<'static>, B, CALLS, 2, 1, 3, 8, PEERS>;
pub type Device<S> = Server<'static, S, Tables<<S as Service>::Blob>, PEERS, CALLS>;

pub struct Clock;

impl Timer for Clock {
    async fn after(&self, duration: Duration) {
        embassy_time::Timer::after_millis(duration.as_millis() as u64).await;
    }
}

pub fn options() -> Options<'static> {
    Options::new(SECRET, || Entropy([7; 16]))
}

/// A device's limits, and deadlines that none of the tests reaches.
pub fn config() -> Config {
    Config::device()
}

pub struct Net<S: Service<Blob: 'static> + 'static> {
    pub server: &'static Device<S>,
    executor: Rc<LocalExecutor<'static>>,
    /// Connections that are served.
    pub open: Rc<Cell<usize>>,
}

impl<S: Service<Blob: Send> + 'static> Net<S> {
    /// The client's halves of a connection that is served.
    pub fn connect(&self) -> (Receiver, Sender) {
        self.connect_with(RING, FRAME)
    }

    pub fn connect_with(&self, ring: usize, frame: usize) -> (Receiver, Sender) {
        let (to_server, from_client) = pipe(ring);
        let (to_client, from_server) = pipe(ring);
        let (server, open) = (self.server, Rc::clone(&self.open));
        open.set(open.get() + 1);
        let serve = async move {
            let mut frame = vec![0; frame];
            server.serve(from_client, to_client, &mut frame).await;
            open.set(open.get() - 1);
        };
        self.executor.spawn(serve).detach();
        (from_server, to_server)
    }

    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.executor.spawn(future).detach();
    }
}

/// Runs a test beside its server; all memory of the server is leaked.
pub fn with<S: Service<Blob: Send> + 'static>(
    service: S,
    options: Options<'static>,
    test: impl AsyncFnOnce(&Net<S>),
) {
    let memory = Box::leak(Box::new([PeerMemory::<1024, 2048, 1028>::NEW; PEERS]));
    let pool = Box::leak(Box::new(Pool::new(memory)));
    let hub = HubBuffers { publications: vec![0; 4096].leak(), retained: vec![0; 1024].leak() };
    let server = &*Box::leak(Box::new(Server::new(service, options, pool, hub).unwrap()));
    let executor = Rc::new(LocalExecutor::new());
    let net = Net { server, executor: Rc::clone(&executor), open: Rc::default() };
    let test = async {
        let too_long = async {
            embassy_time::Timer::after_secs(60).await;
            panic!("the test takes too long");
        };
        futures_lite::future::or(test(&net), too_long).await;
    };
    futures_lite::future::block_on(executor.run(test));
}

pub fn with_scope(test: impl AsyncFnOnce(&Net<Scope<Clock>>)) {
    with(Scope::new(Clock), options().with_config(config()), test);
}

pub async fn sleep(millis: u64) {
    embassy_time::Timer::after_millis(millis).await;
}

/// Waits until something holds.
pub async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        sleep(1).await;
    }
}

/// The bytes of a signal as the scope makes it with its first settings.
pub fn signal(samples: u32) -> Vec<u8> {
    let signal = Signal::new(&wslink_scope::Settings::default(), samples);
    let mut bytes = vec![0; samples as usize * 4];
    assert_eq!(wslink_core::Blob::read(&signal, 0, &mut bytes), bytes.len());
    bytes
}
