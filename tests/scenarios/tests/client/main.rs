//! The engine's client against the engine's server.

mod own;
mod properties;
mod traces;

use own::{End, Own, engine, engine_with};
use std::sync::Arc;
use wslink_core::Table as _;
use wslink_core::client::{CallError, Config};
use wslink_core::wire::Dialect;
use wslink_core::{Attachment, CloseCode};
use wslink_scenarios::{Bench, DIALECTS, bench, bench_of, bench_with, fill};
use wslink_testkit::{HeapTable, Options, Pair, Val, val};

/// Both transcripts of a scenario, in which the client has said hello.
fn in_both(scenario: impl Fn(&mut Pair<Bench>, &mut Own)) -> String {
    let mut text = String::new();
    for (dialect, name) in DIALECTS {
        let mut pair = bench();
        let mut own = Own::greeted(&mut pair, dialect);
        _ = pair.take_transcript();
        scenario(&mut pair, &mut own);
        text.push_str(&format!("==== {name}\n{}", pair.transcript()));
    }
    text
}

#[test]
fn hello_refused_and_accepted() {
    let mut text = String::new();
    for (dialect, name) in DIALECTS {
        let mut pair = bench();
        let client = engine(dialect, &pair);
        let mut own = Own::connect(&mut pair, client);
        assert_eq!(own.call(&pair, "bench.echo", val!([])), Err(CallError::NotOpen));
        own.hello(&mut pair, "wrong");
        assert!(own.client.is_answered() && !own.client.is_open());
        own.hello(&mut pair, "wslink-secret");
        assert_eq!(own.client.client_id(), "c00000000000000000000000000000001");
        // A later wrong one is refused, but logs nobody out.
        own.hello(&mut pair, "wrong");
        assert!(own.client.is_open());
        text.push_str(&format!("==== {name}\n{}", pair.transcript()));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn answers_and_errors() {
    insta::assert_snapshot!(in_both(|pair, own| {
        let echo = own.ask(pair, "bench.echo", val!([1, "two", [3.5, (Val::Null)]]));
        assert_eq!(echo, End::Answer(val!([1, "two", [3.5, (Val::Null)]])));
        let now = pair.clock().now();
        let kwargs = std::collections::BTreeMap::from([("b", 4), ("scale", 10)]);
        let none = &mut HeapTable::default();
        let call = own.client.call(now, "bench.sum", &(3,), &kwargs, None, none).unwrap();
        own.run(pair);
        assert_eq!(own.end_of(call), End::Answer(Val::Int(70)));
        own.ask(pair, "bench.none", val!([]));
        own.ask(pair, "bench.fail", val!(["no luck"]));
        own.ask(pair, "bench.sum", val!(["x", 1]));
    }));
}

#[test]
fn none_is_an_empty_list_and_an_empty_map() {
    for (dialect, _) in DIALECTS {
        let mut pair = bench();
        let mut own = Own::greeted(&mut pair, dialect);
        let now = pair.clock().now();
        let none = &mut HeapTable::default();
        let call = own.client.call(now, "bench.echo", &(), &(), None, none).unwrap();
        own.run(&mut pair);
        assert_eq!(own.end_of(call), End::Answer(val!([])));
        for wrong in [val!(7), val!("x"), val!({"a": 1}), val!(true)] {
            let result = own.call(&pair, "bench.echo", wrong);
            assert!(matches!(result, Err(CallError::Unserializable(_))), "{result:?}");
        }
        let result = own.client.call(now, "bench.echo", &(), &[1], None, none);
        assert!(matches!(result, Err(CallError::Unserializable(_))), "{result:?}");
        // Nothing of those was sent, and the next call is answered.
        assert_eq!(own.ask(&mut pair, "bench.echo", val!([1])), End::Answer(val!([1])));
    }
}

#[test]
fn attachments_both_ways() {
    insta::assert_snapshot!(in_both(|pair, own| {
        let now = pair.clock().now();
        let mut blobs = HeapTable::default();
        blobs.push(fill(100)).unwrap();
        blobs.push(fill(0)).unwrap();
        let args = (Attachment::nth(0), [Attachment::nth(1), Attachment::nth(0)]);
        let call = own.client.call(now, "bench.upload", &args, &(), None, &mut blobs).unwrap();
        own.run(pair);
        assert!(matches!(own.end_of(call), End::Answer(Val::Seq(seen)) if seen.len() == 3));
        let bin = |len| Val::Bin(fill(len).to_vec());
        assert_eq!(own.ask(pair, "bench.attach", val!([50])), End::Answer(bin(50)));
        assert_eq!(own.ask(pair, "bench.inline", val!([5])), End::Answer(bin(5)));
        let places = val!({"times": 2, "places": [(bin(7)), (bin(7))]});
        assert_eq!(own.ask(pair, "bench.attach", val!([7, 2])), End::Answer(places));
        own.ask(pair, "bench.image", val!([9]));
    }));
}

#[test]
fn five_megabytes_both_ways() {
    for (dialect, _) in DIALECTS {
        let mut pair = bench();
        let mut own = Own::greeted(&mut pair, dialect);
        let bytes: Arc<[u8]> = fill(5 << 20);
        let now = pair.clock().now();
        let mut blobs = HeapTable::default();
        blobs.push(bytes.clone()).unwrap();
        let args = (Attachment::nth(0),);
        let call = own.client.call(now, "bench.echo", &args, &(), None, &mut blobs).unwrap();
        own.run(&mut pair);
        assert!(own.end_of(call) == End::Answer(Val::Seq(vec![Val::Bin(bytes.to_vec())])));
    }
}

#[test]
fn calls_that_are_too_late_or_cancelled() {
    insta::assert_snapshot!(in_both(|pair, own| {
        let now = pair.clock().now();
        let none = &mut HeapTable::default();
        let within = Some(core::time::Duration::from_millis(50));
        let late = own.client.call(now, "bench.late", &(100, 3), &(), within, none).unwrap();
        let other = own.client.call(now, "bench.late", &(200, 2), &(), None, none).unwrap();
        own.run(pair);
        own.advance(pair, 60);
        assert_eq!(own.end_of(late), End::Other("Expired".into()));
        assert!(own.client.is_waiting(other) && !own.client.is_waiting(late));
        assert!(own.client.cancel(other) && !own.client.cancel(other));
        own.run(pair);
        // Both answers come, to nobody.
        own.advance(pair, 200);
        assert_eq!(own.ends.len(), 2);
        // Nothing is sent of a call that is cancelled at once.
        let call = own.call(pair, "bench.echo", val!(["never sent"])).unwrap();
        own.client.cancel(call);
        own.run(pair);
        assert_eq!(own.end_of(call), End::Other("Cancelled".into()));
        own.ask(pair, "bench.echo", val!(["sent"]));
    }));
}

#[test]
fn an_answer_that_comes_before_the_end_was_told_ends_nothing_again() {
    for (dialect, _) in DIALECTS {
        let mut pair = bench();
        let mut own = Own::greeted(&mut pair, dialect);
        let call = own.call(&pair, "bench.late", val!([10, 3])).unwrap();
        own.run(&mut pair);
        assert!(own.client.cancel(call));
        // The answer is there before anybody has polled.
        pair.advance(core::time::Duration::from_millis(20));
        own.run(&mut pair);
        assert_eq!(own.end_of(call), End::Other("Cancelled".into()));
    }
}

#[test]
fn both_ends_may_close() {
    insta::assert_snapshot!(in_both(|pair, own| {
        let call = own.call(pair, "bench.hang_on", val!([])).unwrap();
        own.run(pair);
        let unsent = own.call(pair, "bench.hang_on", val!([])).unwrap();
        own.credit = 0;
        pair.close(own.peer, CloseCode::GoingAway, "Server shutdown");
        own.run(pair);
        own.client.handle_eof();
        own.poll_events(pair);
        assert_eq!(own.end_of(call), End::Other("Lost { may_have_run: true }".into()));
        assert_eq!(own.end_of(unsent), End::Other("Lost { may_have_run: false }".into()));
        pair.note("another connection");
        let mut own = Own::greeted(pair, own.client.dialect());
        let call = own.call(pair, "bench.echo", val!([1])).unwrap();
        own.client.close(pair.clock().now(), CloseCode::Normal, "");
        assert_eq!(own.call(pair, "bench.echo", val!([1])), Err(CallError::NotOpen));
        own.run(pair);
        assert_eq!(own.end_of(call), End::Other("Lost { may_have_run: true }".into()));
    }));
}

#[test]
fn silence_is_noticed_and_pings_are_answered() {
    for (dialect, _) in DIALECTS {
        let mut pair = bench_with(|config| {
            config.deadlines.ping = Some(core::time::Duration::from_millis(500));
        });
        let mut own = Own::greeted(&mut pair, dialect);
        own.advance(&mut pair, 1_200);
        let text = pair.transcript().to_string();
        assert_eq!(text.matches("> pong").count(), 2, "{text}");
        assert!(own.closed.is_none());
        // Now the cable is pulled: a ping after 20 s, the end 10 s later.
        pair.link(own.peer).lose();
        own.advance(&mut pair, 30_001);
        let closed = format!("{:?}", own.closed.unwrap());
        assert_eq!(closed, "Timeout(Pong)");
    }
}

#[test]
fn a_hello_that_is_not_answered() {
    let mut pair = bench();
    let client = engine(Dialect::V2, &pair);
    let mut own = Own::connect(&mut pair, client);
    pair.link(own.peer).lose();
    own.hello(&mut pair, "wslink-secret");
    own.advance(&mut pair, 15_001);
    assert_eq!(format!("{:?}", own.closed.unwrap()), "Timeout(Hello)");
    assert!(!own.client.is_answered());
}

#[test]
fn a_device_speaks_to_a_device() {
    for (dialect, _) in DIALECTS {
        let mut pair = bench_of(Options::device());
        let client = engine_with(dialect, &pair, Config::device(), true);
        let mut own = Own::connect(&mut pair, client);
        own.hello(&mut pair, "wslink-secret");
        for size in [0, 1, 100, 800] {
            let end = own.ask(&mut pair, "bench.attach", val!([size]));
            assert_eq!(end, End::Answer(Val::Bin(fill(size as u32).to_vec())));
        }
        // More than this client can take: the call ends, and the next is answered.
        let end = own.ask(&mut pair, "bench.attach", val!([3000]));
        assert!(matches!(&end, End::Other(why) if why.contains("Limit")), "{end:?}");
        let end = own.ask(&mut pair, "bench.text", val!([1800]));
        assert!(matches!(&end, End::Other(why) if why.contains("Limit")), "{end:?}");
        assert_eq!(own.ask(&mut pair, "bench.echo", val!([1])), End::Answer(val!([1])));
        // More than it can send.
        let long = "x".repeat(3000);
        let result = own.call(&pair, "bench.echo", val!([long]));
        assert!(matches!(result, Err(CallError::TooLarge(_))), "{result:?}");
        // As many as there may be at once.
        for _ in 0..4 {
            own.call(&pair, "bench.hang", val!([])).unwrap();
        }
        let result = own.call(&pair, "bench.hang", val!([]));
        assert!(matches!(result, Err(CallError::Full(_))), "{result:?}");
    }
}

/// A short conversation, of which the transport of the client takes only so many bytes.
fn conversation(pair: &mut Pair<Bench>, dialect: Dialect, credit: usize) -> (Own, usize) {
    let client = engine(dialect, pair);
    let mut own = Own::connect(pair, client);
    own.credit = credit;
    own.hello(pair, "wslink-secret");
    let mut blobs = HeapTable::default();
    blobs.push(fill(10)).expect("it fits");
    let now = pair.clock().now();
    let mut calls = 0;
    for args in [(1, 2), (3, 4)] {
        calls += usize::from(own.call(pair, "bench.sum", val!([(args.0), (args.1)])).is_ok());
    }
    let args = (Attachment::nth(0),);
    let upload = own.client.call(now, "bench.upload", &args, &(), None, &mut blobs);
    calls += usize::from(upload.is_ok());
    calls += usize::from(own.call(pair, "bench.attach", val!([20])).is_ok());
    own.run(pair);
    (own, calls)
}

#[test]
fn cut_at_every_byte_each_call_ends_once() {
    for (dialect, _) in DIALECTS {
        let mut credit = 0;
        loop {
            let mut pair = bench();
            let (mut own, calls) = conversation(&mut pair, dialect, credit);
            pair.eof(own.peer);
            own.client.handle_eof();
            own.run(&mut pair);
            let mut ids: Vec<_> = own.ends.iter().map(|(id, _)| *id).collect();
            assert_eq!(ids.len(), calls, "cut after {credit} bytes");
            ids.dedup();
            assert_eq!(ids.len(), calls, "cut after {credit} bytes");
            assert!(own.closed.is_some());
            // What was not sent whole was not run, and what ended as lost tells so.
            let ran = pair.transcript().to_string().matches("* call").count();
            let sure = |(_, end): &&(_, End)| !format!("{end:?}").contains("may_have_run: false");
            assert_eq!(own.ends.iter().filter(sure).count(), ran, "cut after {credit} bytes");
            if own.credit > 0 {
                break;
            }
            credit += 1;
        }
        assert!(credit > 300, "{credit}");
    }
}
