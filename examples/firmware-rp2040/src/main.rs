//! The scope on a W5500-EVB-Pico: the service of `examples/scope` and the page of
//! `examples/instrument`, on a Cortex-M0+ with embassy's own drivers.
//!
//! What is wslink here stands between the two lines below, and is what
//! `examples/firmware-lm3s6965` has there but for its sizes: nothing of it knows the board.

#![no_std]
#![no_main]

mod board;

use core::time::Duration;
use embassy_executor::Spawner;
use embassy_net::{Stack, StackResources};
use static_cell::{ConstStaticCell, StaticCell};
use wslink_core::{Fixed, HubBuffers};
use wslink_embassy::{Lent, Options, Page, PeerMemory, Pool, Server, SocketMemory, listen};
use wslink_scope::{Scope, Signal, Timer};

// ---------------------------------------------------------------------------------------- wslink

/// WebSockets at once, and calls that each of them can have running.
const PEERS: usize = 6;
const CALLS: usize = 2;
/// One that listens while all WebSockets are taken.
const SOCKETS: usize = PEERS + 1;

/// Calls, unfinished messages, attachments of a message, topics and one more, publications,
/// WebSockets.
type Tables = Fixed<Lent<'static>, Signal, CALLS, 2, 1, 3, 4, PEERS>;
type Device = Server<'static, Scope<Clock>, Tables, PEERS, CALLS>;

/// Receive ring, transmit ring of two segments, and a buffer for frames of 1 KiB.
type Socket = SocketMemory<1460, { 2 * board::SEGMENT }, 1044>;
/// Messages in pieces, answers that wait, frames that leave.
type Peer = PeerMemory<4096, 1024, 1028>;

const PAGES: &[Page<'static>] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

const SECRET: &str = match option_env!("WSLINK_AUTH_KEY") {
    Some(secret) => secret,
    None => "wslink-secret",
};

fn server() -> &'static Device {
    static PEER_MEMORY: ConstStaticCell<[Peer; PEERS]> = ConstStaticCell::new([Peer::NEW; PEERS]);
    static PUBLICATIONS: ConstStaticCell<[u8; 4096]> = ConstStaticCell::new([0; 4096]);
    static RETAINED: ConstStaticCell<[u8; 384]> = ConstStaticCell::new([0; 384]);
    static POOL: StaticCell<Pool<'static, PEERS>> = StaticCell::new();
    static SERVER: StaticCell<Device> = StaticCell::new();

    let pool = POOL.init_with(|| Pool::new(PEER_MEMORY.take()));
    let (publications, retained) = (&mut PUBLICATIONS.take()[..], &mut RETAINED.take()[..]);
    let hub = HubBuffers { publications, retained };
    let options = Options::new(SECRET, board::entropy).with_pages(PAGES);
    SERVER.init(Server::new(Scope::new(Clock), options, pool, hub).unwrap())
}

#[embassy_executor::task(pool_size = SOCKETS)]
async fn serve(stack: Stack<'static>, server: &'static Device, memory: &'static mut Socket) -> ! {
    listen(stack, 80, server, memory).await
}

#[embassy_executor::task]
async fn sample(server: &'static Device) {
    let period = Duration::from_millis(100);
    let Err(error) = server.service().run(server.publications(), period).await;
    panic!("{error}");
}

// ----------------------------------------------------------------------------------------- board

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    // The sockets of the device, and that of DHCP.
    static RESOURCES: StaticCell<StackResources<{ SOCKETS + 1 }>> = StaticCell::new();
    static SOCKET_MEMORY: ConstStaticCell<[Socket; SOCKETS]> =
        ConstStaticCell::new([Socket::NEW; SOCKETS]);

    let stack = board::network(spawner, &RESOURCES).await;
    let server = server();
    for memory in SOCKET_MEMORY.take() {
        spawner.spawn(serve(stack, server, memory).unwrap());
    }
    spawner.spawn(sample(server).unwrap());
}

/// How the scope waits.
struct Clock;

impl Timer for Clock {
    async fn after(&self, duration: Duration) {
        embassy_time::Timer::after_millis(duration.as_millis() as u64).await;
    }
}
