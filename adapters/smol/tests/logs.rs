//! What is logged, and what never is.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::client::{BOTH, Client};
use common::{SECRET, until, with_bench};
use log::{LevelFilter, Log, Metadata, Record};
use std::sync::Mutex;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keep;

impl Log for Keep {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // tungstenite logs whole messages at `trace`, as the documentation of the crate says.
        let target = metadata.target();
        !target.starts_with("tungstenite") || metadata.level() < LevelFilter::Trace
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format!("{} {} {}", record.level(), record.target(), record.args());
            LINES.lock().unwrap().push(line);
        }
    }

    fn flush(&self) {}
}

/// In one test, since a process has one logger.
#[test]
fn neither_secrets_nor_arguments_are_logged() {
    log::set_logger(&Keep).unwrap();
    log::set_max_level(LevelFilter::Trace);
    for dialect in BOTH {
        with_bench(async |server, address| {
            let mut client = Client::connect(address, dialect).await;
            client.hello("a wrong secret").await.unwrap_err();
            client.hello(SECRET).await.unwrap();
            client.call("bench.say", vec!["an argument".into()]).await.unwrap();
            client.call("bench.add", vec!["an argument".into()]).await.unwrap_err();
            client.call("no.such\nmethod", vec![]).await.unwrap_err();
            client.call("bench.panic", vec![]).await.unwrap_err();
            client.call("bench.fail", vec![]).await.unwrap_err();
            drop(client);
            until(|| server.peers() == 0).await;
        });
    }
    let lines = LINES.lock().unwrap();
    for line in lines.iter() {
        assert!(!line.contains(SECRET) && !line.contains("a wrong secret"), "{line}");
        assert!(!line.contains("an argument") && !line.contains("the trigger"), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
    let ours = |text: &str| {
        lines.iter().filter(|line| line.contains(" wslink_smol::") && line.contains(text)).count()
    };
    assert_eq!(ours(" connected"), 2);
    assert_eq!(ours("said a wrong hello"), 2);
    assert_eq!(ours("said hello"), 2);
    assert_eq!(ours("\"bench.panic\" panicked"), 2);
    assert_eq!(ours("\"bench.fail\" failed with -32001"), 2);
    assert_eq!(ours("is gone: Eof"), 2);
}
