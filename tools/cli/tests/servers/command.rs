//! The list, by the real binary. What it prints is the same whoever answers, and so are the
//! snapshots.

use crate::Case;
use crate::common::{Proxy, Shell};
use crate::server::{Kind, SECRET, Server};
use core::time::Duration;
use std::fs;
use std::process::{Output, Stdio};
use std::thread;
use std::time::Instant;
use wslink_core::wire::Dialect;

pub(crate) const CASES: &[Case] = &[
    Case::new("command: values go there and back", values),
    Case::new("command: arguments, results and errors", results),
    Case::new("command: 5 MB down, byte for byte", down),
    Case::new("command: 5 MB up, byte for byte", up),
    Case::new("command: publications are watched", watched),
    Case::new("command: a server is described", described),
    Case::new("command: calls are measured", measured),
    Case::new("command: a proxy lies between", proxied),
];

/// A shell for this server, or for what is in front of it at `port`.
pub(crate) fn shell(server: &Server, port: u16) -> Shell {
    let mut shell = Shell::new(&format!("ws://127.0.0.1:{port}/ws"));
    shell.file("wrong", b"barley");
    shell.env("WSLINK_SECRET", server.secret());
    shell
}

/// The options without which a command would try the other dialect first.
pub(crate) const fn dialect(server: &Server) -> &'static str {
    match server.dialect {
        Dialect::V1 => " --dialect 1",
        _ => " --dialect 2",
    }
}

/// Runs it; again while a device has not yet seen that those before have left.
pub(crate) fn again(shell: &mut Shell, server: &Server, line: &str) -> Output {
    let start = Instant::now();
    let output = loop {
        let whole = format!("{line}{}", dialect(server));
        let output = shell.command(&whole).output().unwrap();
        let patient = server.kind == Kind::Device && start.elapsed() < Duration::from_secs(20);
        if output.status.code() != Some(3) || !patient {
            break output;
        }
        thread::sleep(Duration::from_millis(50));
    };
    shell.note(line, &output);
    output
}

fn works(shell: &mut Shell, server: &Server, line: &str) -> String {
    let output = again(shell, server, line);
    assert!(output.status.success(), "{}", shell.log());
    String::from_utf8(output.stdout).unwrap()
}

fn values(server: &mut Server) {
    let mut shell = shell(server, server.port);
    works(&mut shell, server, "call URL scope.echo 1 [2.5,null] three four=\"5\" five={\"6\":[]}");
    works(&mut shell, server, "call URL scope.echo --json caf\u{e9} -1");
    again(&mut shell, server, "call URL scope.fail on-purpose");
    insta::assert_snapshot!("values", shell.log());
}

fn results(server: &mut Server) {
    let mut shell = shell(server, server.port);
    for line in [
        "call URL scope.settings.get",
        "call URL scope.settings.set frequency=2000 waveform=square",
        "call URL scope.settings.set frequency=1000 waveform=sine --json",
        "call URL no.such.method",
        "call URL scope.capture 100 1000",
        "call URL scope.capture 100 1000 --json",
        "call URL scope.calibrate 5 --timeout 0.3",
        "call URL scope.settings.get --secret-file wrong",
        "call URL scope.firmware_update @wrong",
    ] {
        again(&mut shell, server, line);
    }
    // Upstream's tell where it was raised.
    let log = shell.log();
    let untraced = |line: &str| match line.split_once(",\"trace\":") {
        Some((line, _)) => format!("{line}}}}}}}"),
        None => line.to_owned(),
    };
    let log: Vec<String> = log.lines().map(untraced).collect();
    insta::assert_snapshot!("results", log.join("\n"));
}

fn down(server: &mut Server) {
    let mut shell = shell(server, server.port);
    works(&mut shell, server, "call URL scope.capture 1250000 --output down");
    insta::assert_snapshot!("down", shell.log());
    let down = fs::read(shell.directory.path().join("down")).unwrap();
    assert!(down == server.samples(1_250_000));
}

fn up(server: &mut Server) {
    let mut shell = shell(server, server.port);
    let bytes: Vec<u8> = (0..5_000_000).map(|at: usize| ((at * 7) ^ (at >> 8)) as u8).collect();
    shell.file("up", &bytes);
    works(&mut shell, server, "call URL scope.firmware_update @up");
    insta::assert_snapshot!("up", shell.log());
}

fn watched(server: &mut Server) {
    let mut shell = shell(server, server.port);
    let line = "watch URL scope.trace -n 3 --output traces --template {nth}:{topic}";
    works(&mut shell, server, line);
    let rates = works(&mut shell, server, "watch URL scope.trace --rate --json -t 2.5");
    let rate = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["rate"].as_f64().unwrap()
    };
    // Ten a second, on a machine that does other things, too.
    assert!(rates.lines().map(rate).any(|rate| rate > 2.0), "{rates}");
    for nth in 1..=3 {
        let path = shell.directory.path().join(format!("traces/00000{nth}-scope.trace"));
        assert_eq!(fs::read(path).unwrap().len(), 2000);
    }
    // What somebody else sets; who joins may be told what was set before.
    let line = "watch URL scope.settings -t 4 --template {value.offset}";
    let watching = shell.command(&format!("{line}{}", dialect(server)));
    let watching = { watching }.stdout(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(1500));
    for offset in ["1.5", "0.0"] {
        works(&mut shell, server, &format!("call URL scope.settings.set offset={offset}"));
    }
    let told = watching.wait_with_output().unwrap().stdout;
    let told = String::from_utf8(told).unwrap();
    assert!(told.ends_with("1.5\n0.0\n"), "{told:?}");
}

fn described(server: &mut Server) {
    let mut shell = shell(server, server.port);
    let text = works(&mut shell, server, "describe URL --listen 2");
    let json = works(&mut shell, server, "describe URL --json --listen 1");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let version = if server.dialect == Dialect::V1 { "wslink 1.x" } else { "wslink 2.x" };
    assert!(text.starts_with(version) && text.contains("  scope.trace"), "{text}");
    assert!(json.to_string().contains("scope.trace"), "{json}");
    match server.kind {
        Kind::Upstream(_) => assert!(text.contains("does not describe itself"), "{text}"),
        Kind::Instrument => {
            assert!(text.contains("  scope.capture(samples, trigger?)\n"), "{text}");
        }
        // It has not the room for all of it.
        Kind::Device => {
            let name = format!("described_by_the_device_in_{:?}", server.dialect);
            insta::assert_snapshot!(name, crate::common::steady(&text));
        }
    }
}

fn measured(server: &mut Server) {
    let mut shell = shell(server, server.port);
    let line = "bench URL scope.settings.get --calls 50 --concurrency 2 --json";
    let json: serde_json::Value = serde_json::from_str(&works(&mut shell, server, line)).unwrap();
    assert_eq!(json["calls"], 50);
    let text = works(&mut shell, server, "bench URL scope.settings.get --calls 50");
    assert!(text.contains("\nLatency\n") && text.contains("\nHistogram\n"), "{text}");
}

fn proxied(server: &mut Server) {
    let directory = tempfile::tempdir().unwrap();
    let transcript = directory.path().join("transcript.txt");
    let proxy = Proxy::start(&[&server.url(), "--transcript", transcript.to_str().unwrap()]);
    let port = proxy.address.rsplit(':').next().unwrap().parse().unwrap();
    let mut through = shell(server, port);
    let said = works(&mut through, server, "call URL scope.settings.get");
    assert!(said.contains("\"frequency\":1000.0"), "{said}");
    works(&mut through, server, "call URL scope.capture 1000 --output down");
    let down = fs::read(through.directory.path().join("down")).unwrap();
    assert!(down == server.samples(1000));
    let (shown, status) = proxy.stop();
    assert!(status.success());
    assert!(shown.contains("\"method\": \"scope.capture\", \"args\": [1000]"), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
    // In place of the server.
    let replay = Proxy::start(&["--replay", transcript.to_str().unwrap()]);
    let port = replay.address.rsplit(':').next().unwrap().parse().unwrap();
    let mut replayed = shell(server, port);
    let line = format!("call URL scope.settings.get{}", dialect(server));
    assert_eq!(replayed.works(&line), said);
    replay.stop();
}
