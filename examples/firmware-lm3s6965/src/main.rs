//! The scope as a device: the service of `examples/scope` and the page of `examples/instrument`, on
//! a Cortex-M3 with 64 KB of RAM and 256 KB of flash.
//!
//! What is wslink here stands between the two lines below; the rest is the board, or memory.

#![no_std]
#![no_main]

mod board;

use board::print;
use core::time::Duration;
use embassy_net::{Stack, StackResources};
use static_cell::{ConstStaticCell, StaticCell};
use wslink_core::{Config, Connection, Entropy, Fixed, HubBuffers};
use wslink_embassy::{Lent, Options, Page, PeerMemory, Pool, Server, SocketMemory, listen};
use wslink_scope::{Scope, Signal, Timer};

// ---------------------------------------------------------------------------------------- wslink

/// WebSockets at once, and calls that each of them can have running.
const PEERS: usize = match option_env!("FIRMWARE_PEERS") {
    Some(number) => (number.as_bytes()[0] - b'0') as usize,
    None => 3,
};
const CALLS: usize = 2;
/// One that listens while all WebSockets are taken.
const SOCKETS: usize = PEERS + 1;

/// Calls, unfinished messages, attachments of a message, topics and one more, publications,
/// WebSockets.
type Tables = Fixed<Lent<'static>, Signal, CALLS, 2, 1, 3, 4, PEERS>;
type Device = Server<'static, Scope<Clock>, Tables, PEERS, CALLS>;
const _: () = assert!(size_of::<Connection<Tables>>() <= 1024, "see docs/embedded.md");

/// A 2.x chunk, or a piece of a 1.x message: what is behind it waits for so long.
const CHUNK: u32 = 4096;
/// The same of a publication, which has to fit the stage of a connection.
const PUBLISHED: usize = 728;
/// Receive ring, transmit ring of two segments, and a buffer for frames of 1 KiB.
type Socket = SocketMemory<512, { 2 * board::SEGMENT }, 1044>;
/// Messages in pieces, answers that wait, and what is about to leave.
type Peer = PeerMemory<1024, 560, { PUBLISHED + 4 }>;

const PAGES: &[Page<'static>] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

const SECRET: &str = match option_env!("WSLINK_AUTH_KEY") {
    Some(secret) => secret,
    None => "wslink-secret",
};

fn server() -> &'static Device {
    static PEER_MEMORY: ConstStaticCell<[Peer; PEERS]> = ConstStaticCell::new([Peer::NEW; PEERS]);
    static PUBLICATIONS: ConstStaticCell<[u8; 1024]> = ConstStaticCell::new([0; 1024]);
    static RETAINED: ConstStaticCell<[u8; 384]> = ConstStaticCell::new([0; 384]);
    static POOL: StaticCell<Pool<'static, PEERS>> = StaticCell::new();
    static SERVER: StaticCell<Device> = StaticCell::new();

    let pool = POOL.init_with(|| Pool::new(PEER_MEMORY.take()));
    let (publications, retained) = (&mut PUBLICATIONS.take()[..], &mut RETAINED.take()[..]);
    let hub = HubBuffers { publications, retained };
    let mut config = Config::device();
    (config.limits.max_msg_size, config.limits.published) = (CHUNK, PUBLISHED as u32);
    let options = Options::new(SECRET, entropy).with_config(config).with_pages(PAGES);
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

#[cortex_m_rt::entry]
fn main() -> ! {
    static RESOURCES: StaticCell<StackResources<SOCKETS>> = StaticCell::new();
    static SOCKET_MEMORY: ConstStaticCell<[Socket; SOCKETS]> =
        ConstStaticCell::new([Socket::NEW; SOCKETS]);

    board::init();
    board::run(|spawner| {
        let stack = board::network(spawner, &RESOURCES);
        let server = server();
        for memory in SOCKET_MEMORY.take() {
            spawner.spawn(serve(stack, server, memory).unwrap());
        }
        spawner.spawn(sample(server).unwrap());
        spawner.spawn(watch_memory().unwrap());
    })
}

/// Tells through the debugger whenever the stack has been deeper than ever.
#[embassy_executor::task]
async fn watch_memory() -> ! {
    let mut deepest = 0;
    loop {
        let memory = board::memory::memory();
        if memory.stack_used > deepest {
            deepest = memory.stack_used;
            let (statics, size) = (memory.statics, memory.stack_size);
            print!("memory: {} bytes static, stack {} of {}", statics, deepest, size);
        }
        embassy_time::Timer::after_secs(1).await;
    }
}

/// How the scope waits.
struct Clock;

impl Timer for Clock {
    async fn after(&self, duration: Duration) {
        embassy_time::Timer::after_millis(duration.as_millis() as u64).await;
    }
}

/// This chip has no generator of random numbers: what comes out is different each time, and can be
/// guessed. A chip that has one returns 16 bytes of it here.
fn entropy() -> Entropy {
    use core::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(0x9e37_79b9, Ordering::Relaxed);
    let ticks = embassy_time::Instant::now().as_ticks();
    Entropy((u128::from(ticks) << 64 | u128::from(count) << 32 | 0x6c6d_3373).to_le_bytes())
}
