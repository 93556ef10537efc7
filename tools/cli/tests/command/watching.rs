//! `wslink watch`, against a server of wslink-smol.

use crate::common::Shell;
use crate::kiln::Running;
use core::time::Duration;
use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

/// Watches, lets `then` publish, and gives what was printed.
fn watched(shell: &Shell, line: &str, then: &[&str]) -> Output {
    let child = start(shell, line);
    for line in then {
        assert!(shell.command(line).output().unwrap().status.success(), "{line}");
    }
    child.wait_with_output().unwrap()
}

fn start(shell: &Shell, line: &str) -> Child {
    let mut command = shell.command(line);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Until it is connected; it says nothing about that.
    thread::sleep(Duration::from_millis(700));
    child
}

#[test]
fn publications_are_lines() {
    let kiln = Running::start();
    let mut shell = Shell::new(&kiln.url());
    let glow = ["call URL kiln.watch 3"];
    for (line, then) in [
        ("watch URL -n 3", glow),
        ("watch URL kiln.glow -n 3 --json", glow),
        ("watch URL kiln.glow -n 3 --output images", glow),
        ("watch URL kiln.glow -n 2 --template {nth}:{topic}:{value.celsius}:{value.none}", glow),
        ("watch URL kiln.temp* -n 1 --json", ["call URL kiln.set 77"]),
        ("watch URL kiln.temperature -n 1 --json --dialect 1", ["describe URL"]),
        ("watch URL kiln.glow --timeout 1.5 --max-rate 0.5 --json", glow),
    ] {
        let output = watched(&shell, line, &then);
        shell.note(line, &output);
    }
    let image = |name: &str| fs::read(shell.directory.path().join("images").join(name)).unwrap();
    assert_eq!(image("000001-kiln.glow"), [0; 10]);
    assert_eq!(image("000003-kiln.glow"), [2; 10]);
    shell.run("watch URL --template {nothing}");
    shell.run("watch URL --max-rate 0");
    insta::assert_snapshot!(shell.log());
}

#[test]
fn rates_are_told_each_second() {
    let kiln = Running::start();
    let shell = Shell::new(&kiln.url());
    let output = watched(&shell, "watch URL --rate -t 1.9", &["call URL kiln.watch 40"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let rate: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix("kiln.glow ")?.strip_suffix("/s")?.parse().ok())
        .unwrap_or_else(|| panic!("{text:?}"));
    assert!((20.0..=45.0).contains(&rate), "{text}");
}

#[test]
fn what_is_not_printed_in_time_is_counted() {
    let kiln = Running::start();
    let shell = Shell::new(&kiln.url());
    let output = watched(&shell, "watch URL --queue 1 -t 2", &["call URL kiln.watch 100"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("publications were passed over here"), "{said}");
}

#[test]
fn it_ends_by_a_signal_and_comes_back_to_a_server_that_was_away() {
    let kiln = Running::start();
    let address = kiln.address;
    let mut shell = Shell::new(&kiln.url());
    let staying = start(&shell, "watch URL kiln.temperature");
    let leaving = start(&shell, "watch URL --no-reconnect");
    drop(kiln);
    let output = leaving.wait_with_output().unwrap();
    shell.note("watch URL --no-reconnect", &output);
    let kiln = Running::at(address, "wslink-secret");
    thread::sleep(Duration::from_millis(1500));
    assert!(shell.command("call URL kiln.set 5").output().unwrap().status.success());
    thread::sleep(Duration::from_millis(300));
    let id = staying.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let output = staying.wait_with_output().unwrap();
    shell.note("watch URL kiln.temperature", &output);
    drop(kiln);
    insta::assert_snapshot!(shell.log());
}
