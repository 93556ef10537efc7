//! Clients that vanish without a word, and what a server keeps of them: nothing.
//!
//! The server is a process of its own, so that what is measured is the server's, and what it
//! allocates is counted: a byte of each client that is forgotten shows. Resident memory alone would
//! not tell it from what the allocator keeps of memory that is free.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use async_tungstenite::tungstenite::Message;
use common::client::{BOTH, Client, Dialect, chunk};
use common::raw::{get, header, send_raw};
use common::service::Bytes;
use common::{SECRET, listen, options, resident, within};
use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use peak_alloc::PeakAlloc;
use smol::Timer;
use smol::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use smol::net::TcpStream;
use smol::process::{Child, ChildStdout, Command, Stdio};
use smol::stream::StreamExt as _;
use wslink_core::{Attachment, Call, Config, Cx, MethodInfo, RpcError, Service, TopicInfo};
use wslink_smol::{Ended, Server};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// How far a client comes before nobody hears of it again.
#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    Upgraded,
    Uploading,
    Calling,
    Downloading,
}

const STATES: [State; 5] =
    [State::Head, State::Upgraded, State::Uploading, State::Calling, State::Downloading];

/// What the server may hold more or less than after the first clients: a list that has grown once,
/// but not one that grows with each client.
const BYTES: usize = 1 << 10;

/// As many in each state as the environment says, for a longer run: 10,000 are 50,000 in all.
#[test]
fn clients_that_vanish_in_any_state_leave_nothing_behind() {
    let all = std::env::var("WSLINK_TEST_VANISHING").map_or(120, |all| all.parse().unwrap());
    let at_once: usize = (all / 50).clamp(20, 200);
    let rounds = all / (2 * at_once);
    smol::block_on(within(Duration::from_secs(1800), async {
        let server = Process::start().await;
        let address = server.address;
        let before = Kept::by(address).await;
        let mut after = Vec::new();
        for _ in 0..rounds {
            let mut sockets = Vec::new();
            for (state, dialect) in STATES.into_iter().flat_map(|it| BOTH.map(|of| (it, of))) {
                for _ in 0..at_once {
                    sockets.push(vanish(address, dialect, state).await);
                }
            }
            // Heads that are not whole and WebSockets without a hello are no peers.
            let nobody = "\"peers\":0,\"websockets\":0,\"connections\":1,";
            let all_gone = async {
                while !get(address, "/health").await.contains(nobody) {
                    Timer::after(Duration::from_millis(50)).await;
                }
            };
            // All sockets are still open at this end, so it is the server that ended them.
            within(Duration::from_secs(60), all_gone).await;
            drop(sockets);
            let kept = Kept::by(address).await;
            println!("{kept:?}");
            after.push(kept);
        }
        let vanished = 2 * at_once * STATES.len() * rounds;
        println!("{vanished} clients vanished, {at_once} of a kind at a time");
        let first = after[0];
        // Each client came as far as it was to.
        assert_eq!(after[rounds - 1].began, 4 * at_once * rounds);
        for kept in after {
            assert_eq!((kept.calls, kept.files), (0, first.files));
            assert!(kept.bytes.abs_diff(first.bytes) <= BYTES, "{kept:?} after {first:?}");
            // The allocator goes on with what it has, and asks for no more than it ever had to.
            let resident = kept.resident.saturating_sub(before.resident);
            assert!(resident <= kept.peak, "{kept:?} after {before:?}");
        }
    }));
}

/// Its socket stays open and silent, as when a cable is pulled.
async fn vanish(address: SocketAddr, dialect: Dialect, state: State) -> TcpStream {
    if let State::Head = state {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpg").await.unwrap();
        return stream;
    }
    let mut client = Client::connect(address, dialect).await;
    if !matches!(state, State::Upgraded) {
        client.hello(SECRET).await.unwrap();
    }
    match (state, dialect) {
        (State::Uploading, Dialect::V2) => {
            let chunk = chunk(1001, 0, 1 << 20, &[0x81; 10_000]);
            client.ws.send(Message::Binary(chunk.into())).await.unwrap();
        }
        (State::Uploading, Dialect::V1) => {
            send_raw(&mut client, &header(0x81, 1 << 20)).await;
            send_raw(&mut client, &[b'{'; 10_000]).await;
        }
        (State::Calling, _) => _ = client.start("pond.wait", vec![]).await,
        (State::Downloading, _) => _ = client.start("pond.much", vec![]).await,
        (State::Head | State::Upgraded, _) => {}
    }
    // Without the client's buffers; the socket stays open.
    client.ws.get_ref().clone()
}

/// What the server holds, beside the connection that asks for it.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// Bytes that are allocated, and the most that ever were at once.
    bytes: usize,
    peak: usize,
    /// Resident memory in bytes.
    resident: usize,
    /// Files that are open.
    files: usize,
    /// Calls that run, and those that ever began.
    calls: usize,
    began: usize,
}

impl Kept {
    async fn by(address: SocketAddr) -> Self {
        let mut client = Client::login(address, Dialect::V2).await;
        let said = client.call("pond.kept", vec![]).await.unwrap();
        let mut said = said.as_array().unwrap().iter().map(|it| it.as_u64().unwrap() as usize);
        let mut next = || said.next().unwrap();
        let (bytes, peak, resident) = (next(), next(), next());
        let (files, calls, began) = (next(), next(), next());
        client.ws.close(None).await.unwrap();
        client.end().await;
        Self { bytes, peak, resident, files, calls, began }
    }
}

/// The server in a process of its own, which ends when this is dropped.
struct Process {
    address: SocketAddr,
    _child: Child,
    /// It writes now and then that it still runs, and so has to be heard.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    async fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "a_server_of_its_own"])
            .env("WSLINK_TEST_SERVER", "1")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let line = output.next().await.unwrap().unwrap();
            if let Some(address) = line.strip_prefix("listens at ") {
                let address = address.parse().unwrap();
                return Self { address, _child: child, _output: output };
            }
        }
    }
}

#[test]
#[ignore = "clients_that_vanish_in_any_state_leave_nothing_behind runs it"]
fn a_server_of_its_own() {
    // Without that somebody has just asked for all tests.
    if std::env::var_os("WSLINK_TEST_SERVER").is_none() {
        return;
    }
    let mut config = Config::desktop();
    config.deadlines.hello = Duration::from_secs(3);
    config.deadlines.ping = Some(Duration::from_secs(1));
    config.deadlines.pong = Duration::from_secs(1);
    config.deadlines.partial = Duration::from_secs(1);
    config.deadlines.write = Duration::from_secs(1);
    config.deadlines.close = Duration::from_millis(500);
    let options = options()
        .with_config(config)
        .with_max_connections(usize::MAX)
        .with_timeout(Duration::from_secs(30));
    smol::block_on(async {
        let listener = listen().await;
        println!("\nlistens at {}", listener.local_addr().unwrap());
        let server = Server::new(Pond::default(), options);
        assert_eq!(server.run(listener).await, Ended::Idle);
    });
}

/// Knows what its process holds.
#[derive(Default)]
struct Pond {
    calls: AtomicUsize,
    began: AtomicUsize,
}

/// A call counts as long as its future lives.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(serde::Serialize)]
#[serde(untagged)]
enum Reply {
    Much(Attachment),
    Kept([usize; 6]),
}

impl Service for Pond {
    type Request = &'static str;
    type Reply = Reply;
    type Blob = Bytes;
    const METHODS: &'static [MethodInfo] =
        &[MethodInfo::new("pond.wait"), MethodInfo::new("pond.much"), MethodInfo::new("pond.kept")];
    const TOPICS: &'static [TopicInfo] = &[];

    fn decode(&self, call: &Call<'_>) -> Result<&'static str, RpcError> {
        call.params().map(|_| call.method.name)
    }

    async fn call(&self, cx: Cx<'_, Bytes>, method: &'static str) -> Result<Reply, RpcError> {
        if method != "pond.kept" {
            self.began.fetch_add(1, Ordering::SeqCst);
        }
        match method {
            "pond.wait" => {
                self.calls.fetch_add(1, Ordering::SeqCst);
                let _running = Running(&self.calls);
                core::future::pending().await
            }
            "pond.much" => Ok(Reply::Much(cx.attach(Bytes::Saw(30_000_000))?)),
            _ => Ok(Reply::Kept([
                ALLOCATED.current_usage(),
                ALLOCATED.peak_usage(),
                resident(),
                open_files(),
                self.calls.load(Ordering::SeqCst),
                self.began.load(Ordering::SeqCst),
            ])),
        }
    }
}

/// Files that this process has open; zero where there is no `/proc`.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
