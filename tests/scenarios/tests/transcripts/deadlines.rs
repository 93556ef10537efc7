//! Each deadline with its reason.

use core::time::Duration;
use wslink_core::wire::Dialect;
use wslink_core::{CloseCode, Deadlines};
use wslink_scenarios::{Bench, alive, bench, bench_with, fresh_in_both, in_both};
use wslink_testkit::{Frame, Pair, Val, val};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn with(change: impl Fn(&mut Deadlines) + Copy) -> impl Fn() -> Pair<Bench> {
    move || bench_with(|config| change(&mut config.deadlines))
}

#[test]
fn hello() {
    let mut text = fresh_in_both(bench, |pair, client| {
        pair.note("nothing comes");
        pair.advance(seconds(20));
        assert!(pair.connection(client).closed().is_some());
    });
    text += &fresh_in_both(bench, |pair, client| {
        pair.note("a wrong one does not count");
        pair.advance(seconds(9));
        pair.hello_with(client, val!([{"secret": "wrong"}]));
        pair.advance(seconds(9));
    });
    text += &fresh_in_both(bench, |pair, client| {
        pair.note("at the last moment");
        pair.advance(Duration::from_millis(9999));
        pair.hello(client);
        pair.advance(seconds(5));
        alive(pair, client);
    });
    snapshot!(text);
}

#[test]
fn ping_and_pong() {
    let mut text = in_both(bench, |pair, _| {
        pair.note("the client answers");
        pair.advance(seconds(50));
    });
    text += &in_both(bench, |pair, client| {
        pair.note("the client is gone, and nobody says so");
        pair.link(client).lose();
        pair.advance(seconds(50));
    });
    text += &in_both(bench, |pair, client| {
        pair.note("anything counts as life: no ping while calls come");
        for _ in 0..3 {
            pair.advance(seconds(15));
            alive(pair, client);
        }
    });
    text += &in_both(bench, |pair, client| {
        pair.note("no pong, but a call after each ping");
        pair.play_dead(client);
        for _ in 0..2 {
            pair.advance(seconds(25));
            alive(pair, client);
        }
        pair.advance(seconds(60));
    });
    snapshot!(text);
}

#[test]
fn never_a_ping() {
    snapshot!(in_both(with(|deadlines| deadlines.ping = None), |pair, client| {
        pair.play_dead(client);
        pair.advance(seconds(3600));
        alive(pair, client);
    }));
}

#[test]
fn partial() {
    let mut text = in_both(bench, |pair, client| {
        pair.note("a fragment");
        let frame = match pair.dialect(client) {
            Dialect::V1 => Frame::text("{\"id\"").more(),
            _ => Frame::chunk(1, 0, 20, &[0x80; 10]).more(),
        };
        pair.send(client, frame);
        pair.advance(seconds(59));
        pair.send(client, Frame::continuation(":").more());
        pair.advance(seconds(59));
        pair.advance(seconds(20));
    });
    let mut pair = bench();
    let client = pair.connected(Dialect::V2);
    pair.note("chunks: the later one does not keep the earlier message alive");
    let half = |id| Frame::chunk(id, 0, 20, &[0x80; 10]);
    pair.send(client, half(1));
    pair.advance(seconds(10));
    pair.send(client, half(2));
    pair.advance(seconds(60));
    text += &format!("====\n{}", pair.transcript());
    let mut pair = bench();
    let client = pair.connected(Dialect::V1);
    pair.note("an attachment header without its bytes");
    pair.announce(client, &["wslink_bin1"]);
    pair.advance(seconds(60));
    text += &format!("====\n{}", pair.transcript());
    snapshot!(text);
}

#[test]
fn stalled_write() {
    let mut text = in_both(bench, |pair, client| {
        pair.note("nothing is taken");
        pair.link(client).stall();
        pair.call(client, "bench.text", val!([100]));
        pair.advance(seconds(60));
    });
    text += &in_both(bench, |pair, client| {
        pair.note("a byte now and then is enough");
        pair.call(client, "bench.text", val!([20]));
        pair.link(client).stall();
        pair.run();
        for _ in 0..3 {
            pair.advance(seconds(19));
            pair.link(client).take(1);
            pair.run();
        }
        pair.advance(seconds(60));
    });
    snapshot!(text);
}

#[test]
fn a_slow_line_is_not_given_up() {
    // The ping waits behind a frame that goes out slowly: silence counts from when it has left.
    for (dialect, _) in wslink_scenarios::DIALECTS {
        let mut pair = bench();
        let client = pair.connected(dialect);
        pair.call(client, "bench.text", val!([2000]));
        pair.link(client).stall();
        pair.run();
        for _ in 0..12 {
            pair.advance(seconds(5));
            pair.link(client).take(100);
            pair.run();
        }
        assert_eq!(pair.connection(client).closed(), None, "{}", pair.transcript());
        pair.link(client).flow();
        pair.advance(seconds(60));
        assert_eq!(pair.connection(client).closed(), None, "{}", pair.transcript());
    }
}

#[test]
fn close() {
    let mut text = in_both(bench, |pair, client| {
        pair.note("the client does not answer our Close");
        pair.play_dead(client);
        pair.close(client, CloseCode::GoingAway, "Server shutdown");
        pair.advance(seconds(60));
    });
    text += &in_both(bench, |pair, client| {
        pair.note("our Close is never taken");
        pair.link(client).stall();
        pair.close(client, CloseCode::GoingAway, "Server shutdown");
        pair.advance(seconds(60));
    });
    text += &in_both(bench, |pair, client| {
        pair.note("the answer to the client's Close is never taken");
        pair.link(client).stall();
        pair.send(client, Frame::close(Some(1000)));
        pair.advance(seconds(60));
    });
    text += &in_both(bench, |pair, client| {
        pair.note("after a violation");
        pair.play_dead(client);
        pair.send(client, Frame::continuation("x"));
        pair.advance(seconds(60));
    });
    snapshot!(text);
}

#[test]
fn calls() {
    let deadline = with(|deadlines| deadlines.call = Some(seconds(5)));
    let mut text = in_both(&deadline, |pair, client| {
        pair.note("one with a deadline of its own, one with the server's, one that makes it");
        pair.call(client, "bench.hang", val!([]));
        pair.call(client, "bench.hang_on", val!([]));
        pair.call(client, "bench.sleep", val!([4999]));
        pair.advance(seconds(10));
        alive(pair, client);
    });
    text += &in_both(&deadline, |pair, client| {
        pair.note("while nothing is taken");
        pair.link(client).stall();
        pair.call(client, "bench.hang", val!([]));
        pair.advance(seconds(3));
        pair.link(client).flow();
        alive(pair, client);
    });
    text += &in_both(
        || {
            bench_with(|config| {
                config.limits.calls = 2;
                config.deadlines.call = Some(seconds(5));
            })
        },
        |pair, client| {
            pair.note("a full table opens again");
            for _ in 0..3 {
                pair.call(client, "bench.hang_on", val!([]));
            }
            pair.advance(seconds(20));
        },
    );
    snapshot!(text);
}

#[test]
fn at_the_same_moment() {
    // The ping, the call and the half message are due at once; all are told.
    let same = with(|deadlines| {
        deadlines.ping = Some(seconds(5));
        deadlines.partial = seconds(5);
        deadlines.call = Some(seconds(5));
    });
    snapshot!(in_both(same, |pair, client| {
        pair.call(client, "bench.hang_on", val!([]));
        let half = match pair.dialect(client) {
            Dialect::V1 => Frame::text("{").more(),
            _ => Frame::chunk(5, 0, 20, &Val::Null.to_msgpack()),
        };
        pair.send(client, half);
        pair.advance(seconds(30));
    }));
}
