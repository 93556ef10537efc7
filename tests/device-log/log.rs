//! What the firmware logs by defmt while a stock client has a session with it. `cargo xtask
//! device-log` builds it, runs it in QEMU, lets `tests/stock/device-log.mjs` talk with it, and calls
//! this with what came out.

use defmt_decoder::{DecodeError, Table};
use std::env::var_os;

#[test]
#[ignore = "needs what a device has logged: `cargo xtask device-log`"]
fn one_session() {
    let file = |name| std::fs::read(var_os(name).unwrap()).unwrap();
    let table = Table::parse(&file("WSLINK_LOG_ELF")).unwrap().unwrap();
    let mut decoder = table.new_stream_decoder();
    decoder.received(&file("WSLINK_LOG"));
    let mut lines = Vec::new();
    let mut last = 0;
    loop {
        match decoder.decode() {
            Ok(frame) => {
                let time = frame.display_timestamp().unwrap().to_string();
                let time = time.replace('.', "").parse::<u64>().unwrap();
                assert!(time >= last, "{time} after {last}");
                last = time;
                // The board itself prints without a level: how deep the stack is.
                if let Some(level) = frame.level() {
                    lines.push(line(level.as_str(), &frame.display_message().to_string()));
                }
            }
            Err(DecodeError::UnexpectedEof) => break,
            Err(DecodeError::Malformed) => panic!("not what this firmware logs"),
        }
    }
    // Where a connection breaks before a request has come over it, who asks tries again.
    lines.dedup_by(|next, line| next == line && line.contains(": accepted "));
    // Before the session somebody looked whether the device is there.
    let first = lines.iter().position(|line| line.contains("HTTP: ")).unwrap();
    let session = &lines[first.saturating_sub(1)..];
    assert!(!session.iter().any(|line| line.contains("wslink-secret")));
    insta::assert_snapshot!(session.join("\n"));
}

/// A line without what is another each time: the port at the other end.
fn line(level: &str, message: &str) -> String {
    let message = match message.split_once("accepted ") {
        Some((at, _)) => format!("{at}accepted <client>"),
        None => message.to_owned(),
    };
    format!("{level:<5} {message}")
}
