//! `wslink call`, `describe` and `bench`, against a server of wslink-smol.

use crate::common::{Proxy, Shell, recorded};
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

#[test]
fn a_signal_ends_every_command_in_order() {
    let kiln = Running::start();
    for (line, signal, code) in [
        ("call URL kiln.fire 60", "TERM", 130),
        ("describe URL", "INT", 0),
        ("bench URL kiln.fire 0.2 --duration 60", "INT", 130),
        ("bench URL kiln.fire 60", "TERM", 130),
        ("watch URL", "INT", 0),
        ("watch URL --rate --json", "TERM", 0),
        ("watch URL --count 100", "INT", 130),
    ] {
        let proxy = Proxy::start(&[&kiln.url(), "--clients", "1"]);
        let shell = Shell::new(&proxy.url());
        let mut command = shell.command(&format!("{line} --dialect 2"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(700));
        let id = child.id().to_string();
        let mut kill = Command::new("kill");
        let kill = kill.args([&format!("-{signal}"), &id]).stderr(Stdio::null()).status();
        // What ends by itself may have ended.
        assert!(kill.unwrap().success() || code == 0);
        let start = Instant::now();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{line}");
        assert!(start.elapsed() < Duration::from_secs(2), "{line}");
        let (shown, _) = proxy.wait();
        assert!(shown.contains(" A > close 1000\n"), "{line}: {shown}");
    }
}

/// The table of docs/cli.md has these codes and no others.
#[test]
fn every_exit_code_is_there_and_in_the_documents() {
    let kiln = Running::start();
    let mut shell = Shell::new(&kiln.url());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    shell.file("wrong", b"barley");
    let other = recorded("v1.txt");
    let replay = Proxy::start(&["--replay", other.to_str().unwrap()]);
    let mut codes = Vec::new();
    for (line, code) in [
        ("call URL kiln.set 5".to_owned(), 0),
        ("call URL kiln.set 5000".to_owned(), 1),
        ("call URL".to_owned(), 2),
        (format!("call ws://{nobody}/ws kiln.set 5"), 3),
        ("call URL kiln.set 5 --secret-file wrong".to_owned(), 4),
        (format!("call {} x --dialect 2", replay.url()), 5),
        ("call URL kiln.fire 5 --timeout 0.2".to_owned(), 6),
        ("call URL kiln.set @nothing".to_owned(), 7),
    ] {
        let text = shell.run(&line);
        assert_eq!(text.status.code(), Some(code), "{}", shell.log());
        // The same as an object for programs.
        let json = shell.command(&format!("{line} --json")).output().unwrap();
        assert_eq!(json.status.code(), Some(code), "{line}");
        if code > 0 {
            let said: serde_json::Value = serde_json::from_slice(&json.stderr).unwrap();
            assert_eq!(said["exit"], code, "{said}");
            assert!(json.stdout.is_empty() && said["error"].is_string(), "{said}");
        }
        codes.push(code.to_string());
    }
    replay.stop();
    // By a signal: the test above.
    codes.push("130".to_owned());
    let page = include_str!("../../../../docs/cli.md");
    let table = page.split("| code | means |\n|---|---|\n").nth(1).unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let listed: Vec<_> = rows.map(|row| row.split('|').nth(1).unwrap().trim()).collect();
    assert_eq!(listed, codes);
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let kiln = Running::start();
    let mut shell = Shell::new(&kiln.url());
    shell.file("logo", &noise(3_000_000));
    shell.works("call URL kiln.set_logo @logo");
    // In a directory that nobody may write to, on a full device, and in none.
    for target in ["/dev/full", "nowhere/back", "/proc/back"] {
        let output = shell.run(&format!("call URL kiln.pixels --output {target}"));
        assert_eq!(output.status.code(), Some(7), "{target}");
    }
    // What stands there already is replaced at once, also through a link.
    shell.file("old", b"old");
    let at = |name: &str| shell.directory.path().join(name);
    std::os::unix::fs::symlink(at("old"), at("link")).unwrap();
    // As if the disk became full on the way.
    let words = ["call", &kiln.url(), "kiln.pixels", "--output", "link"];
    let limited = "trap '' XFSZ; ulimit -f 100; exec \"$@\"";
    let full = Command::new("sh")
        .args(["-c", limited, "sh", env!("CARGO_BIN_EXE_wslink")])
        .args(words)
        .current_dir(shell.directory.path())
        .output()
        .unwrap();
    assert_eq!(full.status.code(), Some(7), "{full:?}");
    assert!(fs::read(at("old")).unwrap() == b"old");
    let (old, link) = (at("old"), at("link"));
    shell.works("call URL kiln.pixels --output link");
    assert!(fs::read(old).unwrap() == noise(3_000_000) && link.is_symlink());
    let mut names: Vec<_> = fs::read_dir(shell.directory.path())
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["link", "logo", "old"]);
}

/// Bytes that the process has had in memory at most, looked at while it runs.
fn most_memory(mut child: std::process::Child) -> (u64, std::process::ExitStatus) {
    let path = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        // It is gone when the process is.
        let status = fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|it| it.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or_default() << 10);
        if let Some(end) = child.try_wait().unwrap() {
            return (most, end);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn an_upload_takes_no_more_memory_than_a_piece_of_it() {
    let kiln = Running::with_room_for(256 << 20);
    for dialect in ["1", "2"] {
        let shell = Shell::new(&kiln.url());
        let file = fs::File::create(shell.directory.path().join("up")).unwrap();
        file.set_len(200_000_000).unwrap();
        let start = |line: &str| {
            let mut command = shell.command(&format!("call URL {line} --dialect {dialect}"));
            command.stdout(Stdio::null()).spawn().unwrap()
        };
        let (idle, _) = most_memory(start("kiln.fire 0.3"));
        let (most, end) = most_memory(start("kiln.set_logo @up"));
        assert!(end.success());
        assert!(idle > 1 << 20 && most < idle + (8 << 20), "{most} bytes, without {idle}");
    }
}
