//! `wslink call`, `describe` and `bench`, against a server of wslink-smol.

use crate::common::{Proxy, Shell};
use crate::kiln::Running;
use core::time::Duration;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * 7) ^ (at >> 8)) as u8).collect()
}

#[test]
fn arguments_and_results() {
    let kiln = Running::start();
    let mut shell = Shell::new(&kiln.url());
    for line in [
        "call URL kiln.set 900",
        "call URL kiln.set celsius=1000",
        "call URL kiln.set celsius=1100 --json --dialect 1",
        "call URL kiln.set 1200 --dialect 2",
        "call URL kiln.set",
        "call URL kiln.set hot",
        "call URL kiln.set -5",
        "call URL kiln.set 2000",
        "--json call URL kiln.set 2000",
        "call URL kiln.cool",
        "call URL kiln.fire 30 --timeout 0.2",
        "call URL kiln.set a=1 a=2",
        "call URL kiln.set_logo @missing",
        "call URL kiln.fire 1 --timeout 0",
    ] {
        shell.run(line);
    }
    insta::assert_snapshot!(shell.log());
}

#[test]
fn binary_data_goes_up_and_down_byte_for_byte() {
    let kiln = Running::start();
    for dialect in ["1", "2"] {
        let mut shell = Shell::new(&kiln.url());
        let bytes = noise(5_000_000);
        shell.file("logo", &bytes);
        let directory = shell.directory.path().to_owned();
        let at = |name: &str| directory.join(name);
        shell.works(&format!("call URL kiln.set_logo @logo --dialect {dialect}"));
        shell.works(&format!("call URL kiln.logo --dialect {dialect}"));
        shell.works(&format!("call URL kiln.logo --output back --dialect {dialect}"));
        assert!(fs::read(at("back")).unwrap() == bytes);
        assert_eq!(shell.works(&format!("call URL kiln.pixels -o bare --dialect {dialect}")), "");
        assert!(fs::read(at("bare")).unwrap() == bytes);
        let log = shell.log().replace(&format!(" --dialect {dialect}"), "");
        insta::assert_snapshot!("binary_data", log);

        let piped = shell.command("call URL kiln.pixels -o -").output().unwrap();
        assert!(piped.stdout == bytes);
        let mut command = shell.command("call URL kiln.set_logo pixels=@-");
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout, b"5000000\n");
    }
}

#[test]
fn the_secret_comes_by_file_or_environment() {
    let kiln = Running::with_secret("open sesame");
    let mut shell = Shell::new(&kiln.url());
    shell.file("right", b"open sesame\nand more\n");
    shell.file("wrong", b"open barley\n");
    shell.file("hello.json", br#"{"secret": "open sesame", "user": "ali baba"}"#);
    shell.file("list.json", b"[1]");
    for line in [
        "call URL kiln.set 1 --secret-file right",
        "call URL kiln.set 2 --hello hello.json",
        "call URL kiln.set 3 --secret-file wrong",
        "call URL kiln.set 4",
        "call URL kiln.set 5 --hello list.json",
        "call URL kiln.set 6 --secret-file right --hello hello.json",
        "call URL kiln.set 7 --secret-file nowhere",
        "call URL kiln.set 8 --ask-secret",
    ] {
        shell.run(line);
    }
    shell.env("WSLINK_SECRET", "open sesame");
    shell.works("call URL kiln.set 9");
    insta::assert_snapshot!(shell.log());
}

#[test]
fn what_a_server_tells_of_itself() {
    let kiln = Running::start();
    let mut shell = Shell::new(&kiln.url());
    shell.works("describe URL");
    shell.works("describe URL --json --dialect 1");
    insta::assert_snapshot!(shell.log());
}

#[test]
fn latencies_are_measured() {
    let kiln = Running::start();
    let mut shell = Shell::new(&kiln.url());
    let json = shell.works("bench URL kiln.set 5 --json --calls 200 --concurrency 8");
    let measured: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(measured["calls"], 200);
    assert!(measured["rate"].as_f64().unwrap() > 1.0);
    let percentiles = measured["microseconds"]["percentiles"].as_object().unwrap();
    let percentiles: Vec<u64> = percentiles.values().map(|it| it.as_u64().unwrap()).collect();
    assert_eq!(percentiles.len(), 5);
    assert!(percentiles.is_sorted() && percentiles[0] > 0, "{percentiles:?}");

    // Half a second each, four at a time.
    let table = shell.works("bench URL kiln.fire 0.5 --calls 8 --concurrency 4 --warm-up 0");
    let word = |name: &str, nth: usize| {
        let line = table.lines().find(|line| line.contains(name)).unwrap();
        line.split_whitespace().nth(nth).unwrap().to_owned()
    };
    assert!(table.starts_with("kiln.fire: 8 calls in "), "{table}");
    let took: f64 = word("kiln.fire", 4).parse().unwrap();
    assert!((1.0..3.0).contains(&took), "eight calls, four at a time: {table}");
    for name in ["least", "mean", "100 %"] {
        let nth = if name == "100 %" { 2 } else { 1 };
        let millis: f64 = word(name, nth).parse().unwrap();
        assert!((500.0..2000.0).contains(&millis), "{table}");
    }
    assert!(table.contains(" ###"), "{table}");
    let failed = shell.run("bench URL kiln.set 2000 --calls 1");
    assert_eq!(failed.status.code(), Some(1));
}

#[test]
fn where_there_is_no_server_of_that_kind() {
    // A port that nobody listens on, one where nobody answers, and one that is no WebSocket.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut shell = Shell::new(&format!("ws://{free}/ws"));
    shell.run("call URL x");
    let kiln = Running::start();
    let mut silent = Shell::new(&format!("ws://{}/nowhere", kiln.address));
    silent.run("call URL x");
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut hanging = Shell::new(&format!("ws://{}/ws", mute.local_addr().unwrap()));
    let start = Instant::now();
    hanging.run("call URL x --connect-timeout 0.3");
    assert!(start.elapsed() < Duration::from_secs(5));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut foreign = Shell::new(&format!("ws://{}/ws", other.local_addr().unwrap()));
    let thread = thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        stream.read_exact(&mut [0; 20]).unwrap();
        stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
        // Nothing that comes is of interest.
        _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    foreign.run("call URL x");
    thread.join().unwrap();
    let mut odd = Shell::new("127.0.0.1:1234");
    odd.run("call URL x");
    insta::assert_snapshot!([shell, silent, hanging, foreign, odd].map(|it| it.log()).concat());
}

#[test]
fn a_signal_ends_a_call_in_order() {
    let kiln = Running::start();
    let proxy = Proxy::start(&[&kiln.url(), "--clients", "1"]);
    let mut shell = Shell::new(&proxy.url());
    let line = "call URL kiln.fire 60";
    let mut command = shell.command(line);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(700));
    let start = Instant::now();
    assert!(
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success()
    );
    let output = child.wait_with_output().unwrap();
    assert!(start.elapsed() < Duration::from_secs(2));
    shell.note(line, &output);
    insta::assert_snapshot!(shell.log());
    let (shown, _) = proxy.wait();
    assert!(shown.contains(" A > close 1000\n") && shown.contains(" A < close 1000\n"), "{shown}");
}
