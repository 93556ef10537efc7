//! Services that go wrong, and a system that is short of something.

use crate::common::client::{BOTH, Client, Dialect, code};
use crate::common::service::{Bench, SAID};
use crate::common::{alone, logged, options, resident, until, with_bench, with_server, within};
use crate::is_well;
use core::sync::atomic::Ordering;
use core::time::Duration;
use smol::Timer;
use smol::net::TcpStream;
use wslink_core::Audience;
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
        for _ in 0..2 {
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
            // One that ends makes room for one that waits, and then there are no files again.
            for _ in 0..5 {
                streams.pop();
                Timer::after(Duration::from_millis(50)).await;
            }
            drop(streams);
            // A new one comes in as soon as there are files again.
            let login = Client::login(address, Dialect::V1);
            is_well(&mut within(Duration::from_secs(5), login).await).await;
        }
        let lines = logged::stop();
        assert_eq!(logged::ours(&lines, "accept: "), 1, "{lines:?}");
    });
}
