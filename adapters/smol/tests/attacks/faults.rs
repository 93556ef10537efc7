//! Services that go wrong, and a system that is short of something.

use crate::common::client::{BOTH, Client, Dialect, chunk, code};
use crate::common::raw::{get, header, send_raw};
use crate::common::service::{Bench, SAID};
use crate::common::{
    SECRET, alone, logged, options, resident, until, with_bench, with_server, with_server_for,
    within,
};
use crate::is_well;
use async_tungstenite::tungstenite::Message;
use core::net::SocketAddr;
use core::sync::atomic::Ordering;
use core::time::Duration;
use smol::Timer;
use smol::io::AsyncWriteExt as _;
use smol::net::TcpStream;
use wslink_core::{Audience, Config};
use wslink_smol::Options;

/// More than may be sent: said by an error, and given back.
#[test]
fn an_answer_of_100_mb_is_an_error_and_leaves_nothing_behind() {
    let _alone = alone();
    with_bench(async |_, address| {
        for dialect in BOTH {
            let mut client = Client::login(address, dialect).await;
            let before = resident();
            for _ in 0..5 {
                let error = client.call("bench.text", vec![100_000_000.into()]).await.unwrap_err();
                assert_eq!(code(&error), -32003, "{error}");
                is_well(&mut client).await;
            }
            Timer::after(Duration::from_millis(1_200)).await;
            is_well(&mut client).await;
            let grown = resident().saturating_sub(before);
            assert!(grown < 4 << 20, "{grown} bytes");
        }
    });
}

/// A service that publishes without a pause, 1 GiB in all: what nobody could be sent is passed
/// over and counted, and memory stays what the hub may have.
#[test]
fn publishing_in_a_loop_is_bounded() {
    const COUNT: usize = 16 << 10;
    let _alone = alone();
    with_bench(async |server, address| {
        let mut client = Client::login(address, Dialect::V2).await;
        is_well(&mut client).await;
        let text = "x".repeat(64 << 10);
        let before = resident();
        for _ in 0..COUNT {
            server.publications().publish(Audience::All, &SAID, &text, &[]).unwrap();
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 64 << 20, "{grown} bytes");
        is_well(&mut client).await;
        let lagged = || server.service().lagged.load(Ordering::SeqCst);
        assert!(lagged() > COUNT / 2, "{} were lost", lagged());
    });
}

/// The same by a call that does not end: the others do not wait for it.
#[test]
fn a_call_that_publishes_in_a_loop_is_bounded() {
    let _alone = alone();
    with_bench(async |server, address| {
        for dialect in BOTH {
            let mut client = Client::login(address, dialect).await;
            let mut flooding = Client::login(address, dialect).await;
            flooding.start("bench.flood", vec![]).await;
            while !client.published("bench.said").await.is_str() {}
            let before = resident();
            for _ in 0..40 {
                // It reads what was published before, too, of which it keeps nothing.
                is_well(&mut client).await;
                while client.codec.take(|_| true).is_some() {}
            }
            let grown = resident().saturating_sub(before);
            assert!(grown < 64 << 20, "{grown} bytes");
            drop(flooding);
            until(|| server.service().waiting.load(Ordering::SeqCst) == 0).await;
        }
    });
}

#[test]
fn a_result_that_cannot_be_serialized_fails_its_call_and_nothing_else() {
    with_bench(async |_, address| {
        for dialect in BOTH {
            let mut client = Client::login(address, dialect).await;
            let error = client.call("bench.nonsense", vec![]).await.unwrap_err();
            assert_eq!(code(&error), -32002, "{error}");
            is_well(&mut client).await;
        }
    });
}

/// How far a client comes before nobody hears of it again.
#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    Upgraded,
    Uploading,
    Calling,
    Downloading,
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
        (State::Calling, _) => _ = client.start("bench.wait", vec![]).await,
        (State::Downloading, _) => _ = client.start("bench.saw", vec![30_000_000.into()]).await,
        (State::Head | State::Upgraded, _) => {}
    }
    // Without the client's buffers; the socket stays open.
    client.ws.get_ref().clone()
}

/// As many of each kind at a time as the environment says, for a longer run: 200 are 10,000 in all.
#[test]
fn clients_that_vanish_in_any_state_leave_nothing_behind() {
    let _alone = alone();
    let count = std::env::var("WSLINK_TEST_VANISHING").map_or(20, |count| count.parse().unwrap());
    let mut config = Config::desktop();
    // One thread has to greet all of them meanwhile.
    config.deadlines.hello = Duration::from_secs(3);
    config.deadlines.ping = Some(Duration::from_secs(1));
    config.deadlines.pong = Duration::from_secs(1);
    config.deadlines.partial = Duration::from_secs(1);
    config.deadlines.write = Duration::from_secs(1);
    config.deadlines.close = Duration::from_millis(500);
    let options = options().with_config(config).with_max_connections(usize::MAX);
    let time = Duration::from_secs(1800);
    with_server_for(time, Bench::default(), options, async |server, address| {
        let files = open_files();
        let mut after = Vec::new();
        // What the first ones leave to the allocator, the last ones use.
        let rounds = if count > 20 { 5 } else { 3 };
        for _ in 0..rounds {
            let sockets = vanish_all(address, count).await;
            let waiting = &server.service().waiting;
            until(|| server.peers() == 0 && waiting.load(Ordering::SeqCst) == 0).await;
            // Heads that are not whole and WebSockets without a hello are no peers.
            let only_this = "\"websockets\":0,\"connections\":1,";
            let all_gone = async {
                while !get(address, "/health").await.contains(only_this) {
                    Timer::after(Duration::from_millis(50)).await;
                }
            };
            within(Duration::from_secs(60), all_gone).await;
            // Of what is open the ends here only.
            until(|| files == 0 || open_files() == files + sockets.len()).await;
            drop(sockets);
            is_well(&mut Client::login(address, Dialect::V1).await).await;
            until(|| server.peers() == 0).await;
            after.push(resident());
        }
        let vanished = 10 * count * rounds;
        println!("{vanished} clients vanished; resident after each round: {after:?}");
        let grown = after[rounds - 1].saturating_sub(after[rounds / 2]);
        assert!(grown < 2 << 20, "{grown} bytes");
    });
}

async fn vanish_all(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let states =
        [State::Head, State::Upgraded, State::Uploading, State::Calling, State::Downloading];
    let mut sockets = Vec::new();
    for (state, dialect) in states.into_iter().flat_map(|state| BOTH.map(|it| (state, it))) {
        for _ in 0..count {
            sockets.push(vanish(address, dialect, state).await);
        }
    }
    sockets
}

/// Files that this process has open; zero where there is no `/proc`.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Files are a limit of the process, so another one is asked.
#[test]
fn a_server_without_files_waits_for_some_and_says_so_once() {
    let _alone = alone();
    let child = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 40 && exec \"$0\" --exact --ignored --nocapture \"$1\""])
        .arg(child)
        .arg("faults::a_child_with_few_files")
        .env("WSLINK_TEST_FEW_FILES", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
#[ignore = "a_server_without_files_waits_for_some_and_says_so_once runs it"]
fn a_child_with_few_files() {
    // Without that somebody has just asked for all tests.
    if std::env::var_os("WSLINK_TEST_FEW_FILES").is_none() {
        return;
    }
    logged::start();
    let options: Options = options();
    with_server(Bench::default(), options, async |_, address| {
        let mut client = Client::login(address, Dialect::V2).await;
        for round in 1..=2 {
            // Each of them takes a file here, and one more when it is accepted.
            let mut streams = Vec::new();
            while let Ok(stream) = TcpStream::connect(address).await {
                streams.push(stream);
                Timer::after(Duration::from_millis(2)).await;
            }
            assert!(streams.len() > 10, "{}", streams.len());
            // There are some that nobody can accept, and the server tries for a while.
            Timer::after(Duration::from_secs(1)).await;
            is_well(&mut client).await;
            drop(streams);
            // A new one comes in as soon as there are files again.
            let login = Client::login(address, Dialect::V1);
            is_well(&mut within(Duration::from_secs(5), login).await).await;
            if round == 2 {
                let lines = logged::stop();
                assert_eq!(logged::ours(&lines, "accept: "), 2, "{lines:?}");
            }
        }
    });
}
