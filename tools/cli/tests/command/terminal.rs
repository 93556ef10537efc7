//! What is there on a terminal only: bars, colours, and the question for the secret. The terminal is
//! that of `script`.
#![cfg(target_os = "linux")]

use crate::common::{Shell, wslink};
use crate::kiln::Running;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

/// What a terminal shows of a command, whose lines are these words, when this is typed.
fn on_terminal(shell: &Shell, words: &[&str], typed: &str) -> String {
    let line: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let line = format!("stty cols 80; {} {}", env!("CARGO_BIN_EXE_wslink"), line.join(" "));
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env("SHELL", "/bin/sh")
        .env_remove("NO_COLOR")
        .current_dir(shell.directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Not before it asks.
    thread::sleep(Duration::from_millis(500));
    stdin.write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    String::from_utf8(output.stdout).unwrap()
}

/// A slow line to a server.
fn slow_line(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || crawl(from, to));
            thread::spawn(move || crawl(server, client));
        }
    });
    address
}

fn crawl(mut from: impl Read, mut to: TcpStream) {
    let mut piece = vec![0; 32 << 10];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
        if read > 1000 {
            thread::sleep(Duration::from_millis(10));
        }
    }
    // The other end may have gone first.
    _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_bar_shows_how_far_a_call_has_come() {
    let kiln = Running::start();
    let line = slow_line(kiln.address);
    let url = format!("ws://{line}/ws");
    let shell = Shell::new(&url);
    shell.file("logo", &vec![7; 20_000_000]);
    let shown =
        on_terminal(&shell, &["call", &url, "kiln.set_logo", "@logo", "--dialect", "2"], "");
    let bar = shown.split('\r').find(|line| line.contains("sending kiln.set_logo"));
    let bar = bar.unwrap_or_else(|| panic!("{shown:?}"));
    assert!(bar.contains("MiB of 19.07 MiB"), "{bar:?}");
    assert!(shown.ends_with("20000000\r\n"), "the bar is gone: {shown:?}");

    let words = ["call", &url, "kiln.pixels", "--output", "back", "--dialect", "2"];
    let shown = on_terminal(&shell, &words, "");
    assert!(shown.contains("receiving kiln.pixels"), "{shown:?}");
    let waiting = on_terminal(&shell, &["call", &url, "kiln.fire", "1", "--color", "never"], "");
    assert!(waiting.contains("waiting for kiln.fire"), "{waiting:?}");
    assert!(waiting.contains("1.0\r\n"), "{waiting:?}");

    let piped = shell.command("call URL kiln.fire 0.6").output().unwrap();
    assert!(piped.stderr.is_empty(), "nothing of that without a terminal");
}

#[test]
fn a_secret_is_asked_for_and_not_shown() {
    let kiln = Running::with_secret("open sesame");
    let shell = Shell::new(&kiln.url());
    let words = ["call", &kiln.url(), "kiln.set", "[7]", "--ask-secret"];
    let shown = on_terminal(&shell, &words, "open sesame\n");
    assert!(shown.contains("Secret: ") && !shown.contains("sesame"), "{shown:?}");
    // The error is the method's: the secret was right.
    assert!(shown.contains("Invalid params") && shown.contains("\x1b[31merror"), "{shown:?}");
}

#[test]
fn results_are_laid_out_for_people_and_not_for_programs() {
    let kiln = Running::start();
    let shell = Shell::new(&kiln.url());
    let words = ["call", &kiln.url(), "kiln.logo"];
    let people = on_terminal(&shell, &words, "");
    assert_eq!(people.lines().count(), 7, "{people:?}");
    let programs = wslink(&words).output().unwrap();
    assert_eq!(programs.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
}
