//! What is logged, and what never is.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use common::client::{BOTH, Client};
use common::{SECRET, logged, until, with_bench};

#[test]
fn neither_secrets_nor_arguments_are_logged() {
    logged::start();
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
    let lines = logged::stop();
    for line in &lines {
        assert!(!line.contains(SECRET) && !line.contains("a wrong secret"), "{line}");
        assert!(!line.contains("an argument") && !line.contains("the trigger"), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
    let ours = |text: &str| logged::ours(&lines, text);
    assert_eq!(ours(" connected"), 2);
    assert_eq!(ours("said a wrong hello"), 2);
    assert_eq!(ours("said hello"), 2);
    assert_eq!(ours("\"bench.panic\" panicked"), 2);
    assert_eq!(ours("\"bench.fail\" failed with -32001"), 2);
    assert_eq!(ours("is gone: Eof"), 2);
}
