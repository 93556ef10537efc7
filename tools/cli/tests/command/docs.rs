//! What docs/cli.md shows is what happens. `UPDATE_DOCUMENTS=1` writes it anew.

use crate::common::{Proxy, steady};
use crate::kiln::Running;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");

/// The page's server and proxy stand in commands as if they had these addresses.
const SERVER: &str = "127.0.0.1:1234";
const PROXY: &str = "127.0.0.1:1235";

struct Session<'a> {
    directory: &'a Path,
    server: String,
    proxy: Option<Proxy>,
}

impl Session<'_> {
    /// What a terminal shows after the command.
    fn run(&mut self, line: &str) -> String {
        if let Some(line) = line.strip_suffix(" &") {
            let line = line.replace(SERVER, &self.server);
            let words: Vec<&str> = line.split(' ').skip(3).collect();
            self.proxy = Some(Proxy::start(&words));
            return String::new();
        }
        let proxy = self.proxy.as_ref().map_or(PROXY, |proxy| &proxy.address);
        let line = line.replace(SERVER, &self.server).replace(PROXY, proxy);
        let binary = Path::new(env!("CARGO_BIN_EXE_wslink")).parent().unwrap().to_owned();
        let mut path = binary.into_os_string();
        path.push(":");
        path.push(env::var_os("PATH").unwrap());
        let output = Command::new("sh")
            .args(["-c", &format!("{{ {line}\n}} 2>&1")])
            .env("PATH", path)
            .env_remove("WSLINK_SECRET")
            .current_dir(self.directory)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let mut shown = String::from_utf8(output.stdout).unwrap();
        if !shown.is_empty() && !shown.ends_with('\n') {
            shown.push('\n');
        }
        match output.status.code() {
            Some(0) => shown,
            code => format!("{shown}[exit code {}]\n", code.unwrap()),
        }
    }

    /// What the proxy showed, once the block is over.
    fn end(&mut self) -> String {
        let Some(proxy) = self.proxy.take() else { return String::new() };
        let (shown, status) = proxy.stop();
        assert!(status.success());
        let line = |line: &str| match line.trim_start().split_once(' ') {
            Some((_, rest)) => format!("     0 {rest}\n"),
            None => format!("{line}\n"),
        };
        shown.lines().map(line).collect()
    }
}

/// With what differs from machine to machine made the same: times.
fn untimed(shown: &str) -> String {
    let number = |word: &str| word.contains('.') && word.parse::<f64>().is_ok();
    let mut text = String::new();
    for line in shown.lines() {
        let timed = line.ends_with(" ms") || line.contains(" ms ") || line.contains(" calls in ");
        if !timed {
            text += &format!("{line}\n");
            continue;
        }
        // The form and the number of calls stay.
        let words: Vec<&str> = line.split_whitespace().collect();
        let rate = words.len().checked_sub(3);
        let word = |(nth, word): (usize, &&str)| match () {
            () if number(word) => "0.0".to_owned(),
            () if line.contains(" calls in ") && Some(nth) == rate => "0".to_owned(),
            () if word.starts_with('#') => "#".to_owned(),
            () => (*word).to_owned(),
        };
        let words: Vec<String> = words.iter().enumerate().map(word).collect();
        text += &format!("{}\n", words.join(" "));
    }
    text
}

/// What passes in both directions at once is told in an order of its own each time, and what the
/// client did not wait for when it left may be there or not.
fn crossing(shown: &str) -> Vec<&str> {
    let left = [" eof", " close", "wslink.subscribe", "{\"topics\": []}"];
    let told = |line: &&str| !left.iter().any(|part| line.contains(part));
    let mut lines: Vec<&str> = shown.lines().filter(told).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn what_the_page_shows_is_what_happens() {
    let kiln = Running::start();
    let directory = tempfile::tempdir().unwrap();
    let server = kiln.address.to_string();
    let mut session = Session { directory: directory.path(), server, proxy: None };
    let update = env::var_os("UPDATE_DOCUMENTS").is_some();
    let page = fs::read_to_string(PAGE).unwrap();
    let mut fresh = String::new();
    let mut commands = 0;
    let mut rest = page.as_str();
    while let Some((before, after)) = rest.split_once("```console\n") {
        let (block, after) = after.split_once("```\n").unwrap();
        let mut shown = String::new();
        for line in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
            commands += 1;
            shown += &format!("$ {line}\n{}", steady(&session.run(line)));
        }
        shown += &steady(&session.end());
        let same = if block.contains(" bench ") {
            // The histogram differs each time: the page shows one.
            untimed(&shown).lines().take(3).eq(untimed(block).lines().take(3))
        } else if block.contains(" proxy ") {
            crossing(&shown) == crossing(block)
        } else {
            shown == block
        };
        assert!(same || update, "the page shows:\n{block}\nbut it is:\n{shown}");
        let block = if same { block } else { &shown };
        fresh += &format!("{before}```console\n{block}```\n");
        rest = after;
    }
    fresh += rest;
    assert!(commands > 15, "only {commands} commands were found");
    if update {
        fs::write(PAGE, fresh).unwrap();
    }
}
