//! What is published, to whom, and what becomes of it where somebody reads slowly.

#![expect(clippy::unwrap_used, reason = "test code")]

use core::sync::atomic::{AtomicU32, Ordering};
use serde::{Serialize, Serializer};
use wslink_core::wire::Dialect;
use wslink_core::{Attachment, Audience, HubLimits, Topic};
use wslink_scenarios::{
    Bench, DIALECTS, IMAGE, LEVEL, alive, bench, bench_of, bench_with, fill, in_both,
};
use wslink_testkit::{Client, Options, Pair, val};

/// Two clients of each dialect, and one that has not said hello.
fn five(mut pair: Pair<Bench>) -> (Pair<Bench>, [Client; 5]) {
    let clients = [
        pair.connected(Dialect::V1),
        pair.connected(Dialect::V2),
        pair.connected(Dialect::V1),
        pair.connected(Dialect::V2),
        pair.connect(Dialect::V1),
    ];
    _ = pair.take_transcript();
    (pair, clients)
}

fn hub(change: impl Fn(&mut HubLimits)) -> Pair<Bench> {
    let mut options = Options::desktop();
    change(&mut options.hub);
    bench_of(options)
}

#[test]
fn to_all_to_one_and_to_all_but_one() {
    let (mut pair, [a, b, ..]) = five(bench());
    for args in [val!([1]), val!([2, true]), val!([3, false])] {
        pair.call(a, "bench.level", args);
        pair.run();
    }
    pair.note("from outside of a call");
    let peer = pair.peer(b);
    for audience in [Audience::All, Audience::Only(peer), Audience::Except(peer)] {
        pair.publications().publish(audience, &LEVEL, &9, &[]).unwrap();
        pair.run();
    }
    snapshot!(pair.transcript());
}

/// Counts how often it is written.
struct Counted<'a>(&'a AtomicU32);

impl Serialize for Counted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        serializer.serialize_u32(7)
    }
}

#[test]
fn written_once_for_each_dialect_in_use() {
    static WRITTEN: AtomicU32 = AtomicU32::new(0);
    const COUNTED: Topic<Counted<'static>> = Topic::new("bench.counted");
    let mut pair = bench();
    for (dialects, written) in [(&[][..], 0), (&[Dialect::V1; 3], 1), (&[Dialect::V2; 3], 2)] {
        for dialect in dialects {
            pair.connected(*dialect);
        }
        WRITTEN.store(0, Ordering::Relaxed);
        pair.publications().publish(Audience::All, &COUNTED, &Counted(&WRITTEN), &[]).unwrap();
        pair.run();
        assert_eq!(WRITTEN.load(Ordering::Relaxed), written);
    }
}

#[test]
fn with_an_attachment() {
    let (mut pair, [a, ..]) = five(bench());
    pair.call(a, "bench.image", val!([1000]));
    pair.run();
    pair.note("keys count up over the server's life");
    pair.call(a, "bench.attach", val!([10]));
    pair.run();
    pair.call(a, "bench.image", val!([0]));
    pair.run();
    snapshot!(pair.transcript());
}

#[test]
fn before_and_after_the_answer() {
    snapshot!(in_both(bench, |pair, client| {
        pair.call(client, "bench.level", val!([1]));
        pair.call(client, "bench.level", val!([2]));
        pair.run();
    }));
}

#[test]
fn joining_late_and_leaving() {
    let mut pair = bench();
    let publish = |pair: &mut Pair<Bench>, level: u32| {
        pair.publications().publish(Audience::All, &LEVEL, &level, &[]).unwrap();
        pair.run();
    };
    publish(&mut pair, 1);
    let one = pair.connected(Dialect::V1);
    publish(&mut pair, 2);
    let two = pair.connected(Dialect::V2);
    publish(&mut pair, 3);
    pair.eof(one);
    pair.run();
    publish(&mut pair, 4);
    pair.note("a second hello does not join twice");
    pair.hello(two);
    publish(&mut pair, 5);
    snapshot!(pair.transcript());
}

#[test]
fn lagging() {
    for (dialect, name) in DIALECTS {
        let mut pair = hub(|hub| hub.publications = 4);
        let slow = pair.connected(dialect);
        let quick = pair.connected(dialect);
        _ = pair.take_transcript();
        pair.link(slow).stall();
        // The first one is under way when the transport stalls.
        for level in 0..10 {
            pair.publications().publish(Audience::All, &LEVEL, &level, &[]).unwrap();
            pair.run();
        }
        pair.note("it reads again");
        pair.link(slow).flow();
        pair.run();
        alive(&mut pair, slow);
        _ = quick;
        assert!(pair.service().told.lock().unwrap().iter().any(|told| told.starts_with("lagged")));
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!(format!("lagging_{name}"), pair.transcript());
        });
    }
}

#[test]
fn lagging_by_bytes() {
    snapshot!(in_both(
        || hub(|hub| hub.bytes = 300),
        |pair, client| {
            pair.link(client).stall();
            for level in 0..10 {
                pair.publications().publish(Audience::All, &LEVEL, &level, &[]).unwrap();
            }
            pair.run();
            pair.link(client).flow();
            pair.run();
        }
    ));
}

#[test]
fn lagging_by_attached_bytes() {
    snapshot!(in_both(
        || hub(|hub| hub.blob_bytes = 250),
        |pair, client| {
            pair.link(client).stall();
            for level in 0..5 {
                let value = (level, Attachment::nth(0));
                pair.publications().publish(Audience::All, &IMAGE, &value, &[fill(100)]).unwrap();
            }
            pair.run();
            pair.link(client).flow();
            pair.run();
        }
    ));
}

fn image(pair: &mut Pair<Bench>, number: u32, bytes: u32) {
    let value = (number, Attachment::nth(0));
    pair.publications().publish(Audience::All, &IMAGE, &value, &[fill(bytes)]).unwrap();
    pair.run();
}

#[test]
fn passed_over_inside_of_a_message() {
    let small = || {
        let mut options = Options::desktop();
        options.hub.publications = 2;
        options.config.limits.max_msg_size = 112;
        bench_of(options)
    };
    let mut text = String::new();
    // Between frames, and inside of one.
    for taken in [0, 40, 75, 112, 187, 200, 224, 325, 350] {
        text += &format!("======== {taken} bytes taken\n");
        text += &in_both(small, |pair, client| {
            pair.link(client).take(taken);
            for number in 0..5 {
                image(pair, number, 250);
            }
            pair.link(client).flow();
            pair.run();
            if pair.connection(client).closed().is_none() {
                alive(pair, client);
            }
            let unnamed = pair.unnamed_attachments(client);
            pair.note(format!("{unnamed} attachments that nothing named"));
        });
    }
    snapshot!(text);
}

#[test]
fn larger_than_the_hub() {
    let mut pair = hub(|hub| {
        hub.bytes = 200;
        hub.blob_bytes = 1000;
    });
    let client = pair.connected(Dialect::V1);
    let other = pair.connected(Dialect::V2);
    _ = pair.take_transcript();
    for bytes in [1000, 1001] {
        pair.call(client, "bench.image", val!([bytes]));
        pair.run();
    }
    for len in [40, 47, 48, 49, 50, 100, 200] {
        let text: &str = "x".repeat(len).leak();
        let result = pair.publications().publish(Audience::All, &TEXT, &text, &[]);
        pair.note(format!("{len}: {result:?}"));
        pair.run();
    }
    alive(&mut pair, client);
    alive(&mut pair, other);
    snapshot!(pair.transcript());
}

const TEXT: Topic<&str> = Topic::new("bench.text");

#[test]
fn answers_pass_publications() {
    let small = || bench_with(|config| config.limits.max_msg_size = 112);
    snapshot!(in_both(small, |pair, client| {
        pair.link(client).take(150);
        image(pair, 1, 300);
        image(pair, 2, 10);
        pair.call(client, "bench.attach", val!([300]));
        pair.call(client, "bench.echo", val!(["small"]));
        pair.run();
        pair.link(client).flow();
        pair.run();
    }));
}

#[test]
fn while_closing() {
    snapshot!(in_both(bench, |pair, client| {
        pair.link(client).stall();
        pair.publications().publish(Audience::All, &LEVEL, &1, &[]).unwrap();
        pair.publications().publish(Audience::All, &LEVEL, &2, &[]).unwrap();
        pair.run();
        pair.close(client, wslink_core::CloseCode::GoingAway, "Server shutdown");
        pair.run();
        pair.publications().publish(Audience::All, &LEVEL, &3, &[]).unwrap();
        pair.link(client).flow();
        pair.run();
    }));
}
