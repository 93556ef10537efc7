//! The command against upstream's Python servers of both dialects: `cargo xtask upstream`, which
//! makes their virtual environments first.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[allow(dead_code, reason = "the other tests need more of it")]
#[path = "command/common.rs"]
mod common;

use common::{Proxy, Shell};
use core::time::Duration;
use std::env;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

/// Below this 1.x servers take no attachment of 5 MB.
const LARGEST: &str = "8388608";

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start(version: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let python = root.join(target).join(format!("wslink-python-{version}/bin/python"));
        assert!(python.exists(), "{}: cargo xtask upstream makes it", python.display());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(python)
            .arg(root.join("adapters/smol/tests/upstream.py"))
            .args(["--timeout", "0", "--authKey", "sesame", "--port", &port.to_string()])
            .env("WSLINK_MAX_MSG_SIZE", LARGEST)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let server = Self { process: process.unwrap(), port };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "{version} does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn each(what: impl Fn(&Server, Shell)) {
    for version in ["1.12.4", "2.6.0"] {
        let server = Server::start(version);
        let mut shell = Shell::new(&format!("ws://127.0.0.1:{}/ws", server.port));
        shell.env("WSLINK_SECRET", "sesame");
        what(&server, shell);
    }
}

#[test]
#[ignore = "needs Python: cargo xtask upstream"]
fn every_command() {
    each(|server, mut shell| {
        let bytes: Vec<u8> = (0..5_000_000).map(|at: usize| ((at * 7) ^ (at >> 8)) as u8).collect();
        shell.file("up", &bytes);
        shell.file("wrong", b"barley");
        for line in [
            "call URL judge.echo 1 [2.5,null] three four=\"5\"",
            "call URL judge.digest @up",
            "call URL judge.blob 5000000 --output down",
            "call URL judge.fail on-purpose",
            "call URL no.such.method",
            "call URL judge.sleep 5 --timeout 0.3",
            "call URL judge.echo --secret-file wrong",
        ] {
            shell.run(line);
        }
        let down = fs::read(shell.directory.path().join("down")).unwrap();
        let pattern = (0..251_u32).map(|at| (at * 31) as u8).cycle().take(5_000_000 / 251 * 251);
        let pattern: Vec<u8> = pattern.chain([0; 5_000_000 % 251]).collect();
        assert!(down == pattern);

        let json = shell.works("bench URL judge.echo 1 --calls 50 --json");
        let measured: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(measured["calls"], 50);
        let log = shell.log();
        let log = log.split("$ wslink bench").next().unwrap().to_owned();

        let url = format!("ws://127.0.0.1:{}/ws", server.port);
        let proxy = Proxy::start(&[&url]);
        let mut through = Shell::new(&proxy.url());
        through.env("WSLINK_SECRET", "sesame");
        assert_eq!(through.works("call URL judge.echo"), "{\"args\":[],\"kwargs\":{}}\n");
        let (shown, _) = proxy.stop();
        assert!(
            shown.contains("\"method\": \"judge.echo\"") && !shown.contains("sesame"),
            "{shown}"
        );
        insta::assert_snapshot!("every_command", log);
    });
}

#[test]
#[ignore = "needs Python: cargo xtask upstream"]
fn publications_are_watched_and_topics_heard() {
    each(|_, mut shell| {
        let start = |line: &str| {
            let mut command = shell.command(line);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            thread::sleep(Duration::from_secs(1));
            child
        };
        let watch = "watch URL a.* -n 3";
        let describe = "describe URL --listen 4";
        let (watching, describing) = (start(watch), start(describe));
        shell.works("call URL judge.publish a.b 2 10");
        shell.works("call URL judge.publish other.topic 1 10");
        shell.works("call URL judge.publish a.c 1 300000");
        shell.note(watch, &watching.wait_with_output().unwrap());
        shell.note(describe, &describing.wait_with_output().unwrap());
        let log = shell.log();
        let dialect = if log.contains("wslink 1.x") { "1.x" } else { "2.x" };
        insta::assert_snapshot!("watched", log.replace(dialect, "DIALECT"));
    });
}

#[test]
#[ignore = "needs Python: cargo xtask upstream"]
fn a_server_that_dies_or_hangs_ends_a_call() {
    each(|server, mut shell| {
        let line = "call URL judge.sleep 60";
        let mut command = shell.command(line);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        thread::sleep(Duration::from_secs(1));
        server.signal("STOP");
        let stopped = shell.run("call URL judge.echo --connect-timeout 1 --timeout 1");
        assert_ne!(stopped.status.code(), Some(0));
        server.signal("KILL");
        shell.note(line, &child.wait_with_output().unwrap());
        insta::assert_snapshot!("dies_or_hangs", shell.log());
    });
}
