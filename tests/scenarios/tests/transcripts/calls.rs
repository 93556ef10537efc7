//! Calls: values, several at once, order, close.

use core::time::Duration;
use wslink_core::CloseCode;
use wslink_scenarios::{alive, bench, bench_with, fresh_in_both, in_both};
use wslink_testkit::{Cut, Frame, val};

#[test]
fn values() {
    snapshot!(in_both(bench, |pair, client| {
        let numbers = val!([0, (-1), 127, 128, (-32), (-33), 65536, (u64::MAX), (i64::MIN)]);
        let floats = val!([0.0, (-0.0), 1.5, 1e300, 5e-324, 0.1, (f64::INFINITY)]);
        let texts = val!(["", "é\u{1F600}\u{7f}\u{2028}", "\u{0}\u{1f}\n\t\"\\/", "wslink_bin1"]);
        let nested = val!([[], {}, [[[null]]], {"": {"a": [true, false]}}]);
        pair.call(client, "bench.echo", val!([numbers, floats, texts, nested]));
    }));
}

#[test]
fn args_and_kwargs() {
    snapshot!(in_both(bench, |pair, client| {
        pair.call_with(client, "bench.sum", val!([1, 2]), val!({}));
        pair.run();
        pair.call_with(client, "bench.sum", val!([1]), val!({"b": 2}));
        pair.run();
        pair.call_with(client, "bench.sum", val!([]), val!({"scale": 3, "b": 2, "a": 1}));
        pair.run();
        pair.call_with(client, "bench.echo", val!([1]), val!({"x": [1], "x": 2, "": null}));
    }));
}

#[test]
fn side_by_side_and_overtaking() {
    snapshot!(in_both(bench, |pair, client| {
        for millis in [300, 100, 200] {
            pair.call(client, "bench.sleep", val!([millis]));
        }
        pair.call(client, "bench.echo", val!(["at once"]));
        pair.advance(Duration::from_millis(250));
        alive(pair, client);
        pair.advance(Duration::from_millis(250));
    }));
}

#[test]
fn a_full_table_is_not_read() {
    let with = || bench_with(|config| config.limits.calls = 2);
    snapshot!(in_both(with, |pair, client| {
        for millis in [100, 200, 300] {
            pair.call(client, "bench.sleep", val!([millis]));
        }
        pair.send(client, Frame::ping("hi"));
        pair.run();
        assert!(!pair.connection(client).has_room());
        pair.advance(Duration::from_millis(500));
        assert!(pair.connection(client).has_room());
    }));
}

#[test]
fn ping_with_a_payload() {
    snapshot!(fresh_in_both(bench, |pair, client| {
        pair.send(client, Frame::ping(""));
        pair.send(client, Frame::ping("before hello"));
        pair.hello(client);
        pair.run();
        pair.call(client, "bench.sleep", val!([100]));
        pair.send(client, Frame::ping("a call runs"));
        pair.advance(Duration::from_millis(200));
        pair.send(client, Frame::ping("x".repeat(125)));
        pair.send(client, Frame::new(wslink_core::OpCode::Pong, "unasked"));
    }));
}

#[test]
fn ping_between_fragments() {
    snapshot!(in_both(bench, |pair, client| {
        pair.link(client).cut(Cut::Every(60));
        pair.call(client, "bench.echo", val!(["in pieces"]));
        pair.run();
        // A ping may stand between two fragments of a message.
        let text = val!({"id": "x", "method": "bench.echo"});
        pair.link(client).cut(Cut::Whole);
        let frame = match pair.dialect(client) {
            wslink_core::wire::Dialect::V1 => Frame::text(text.to_json()),
            _ => Frame::message(5, &text),
        };
        let (first, second) = frame.payload.split_at(9);
        pair.send(client, Frame::new(frame.opcode, first).more());
        pair.send(client, Frame::ping("between"));
        pair.send(client, Frame::continuation("").more());
        pair.send(client, Frame::continuation(second));
    }));
}

#[test]
fn closed_by_the_client() {
    let mut text = String::new();
    for code in [None, Some(1000), Some(1001), Some(3000), Some(4999)] {
        text += &in_both(bench, |pair, client| {
            pair.call(client, "bench.hang", val!([]));
            pair.run();
            pair.send(client, Frame::close(code));
            pair.run();
            pair.advance(Duration::from_secs(60));
        });
    }
    snapshot!(text);
}

#[test]
fn closed_by_the_server() {
    snapshot!(in_both(bench, |pair, client| {
        pair.call(client, "bench.hang", val!([]));
        pair.call(client, "bench.text", val!([20]));
        // The answer is queued, then the server ends.
        pair.link(client).stall();
        pair.run();
        pair.close(client, CloseCode::GoingAway, "Server shutdown");
        pair.run();
        pair.call(client, "bench.echo", val!(["too late"]));
        pair.run();
        pair.link(client).flow();
    }));
}

#[test]
fn closed_by_both() {
    snapshot!(in_both(bench, |pair, client| {
        pair.link(client).delay(Duration::from_millis(10), Duration::from_millis(10));
        pair.send(client, Frame::close(Some(1000)));
        pair.close(client, CloseCode::GoingAway, "Server shutdown");
        pair.advance(Duration::from_millis(100));
    }));
}

#[test]
fn cut_off() {
    snapshot!(in_both(bench, |pair, client| {
        pair.call(client, "bench.hang", val!([]));
        pair.run();
        pair.eof(client);
        pair.run();
        let peer = pair.peer(client);
        assert_eq!(
            *pair.service().told.lock().unwrap(),
            [format!("opened {peer}"), format!("closed {peer} Eof")]
        );
    }));
}

#[test]
fn answers_over_a_slow_line() {
    snapshot!(in_both(bench, |pair, client| {
        pair.link(client).delay(Duration::from_millis(30), Duration::from_millis(70)).pieces(7);
        pair.call(client, "bench.echo", val!(["slow"]));
        pair.advance(Duration::from_secs(1));
    }));
}
