//! The handshake.

use core::time::Duration;
use wslink_core::wire::Dialect;
use wslink_core::{Audience, CloseCode};
use wslink_scenarios::{DIALECTS, LEVEL, alive, bench, bench_of, fresh_in_both, in_both};
use wslink_testkit::{Frame, Options, val};

#[test]
fn hello_and_a_call() {
    snapshot!(fresh_in_both(bench, |pair, client| {
        pair.hello(client);
        pair.run();
        pair.call_with(client, "bench.sum", val!([1, 2]), val!({"scale": 10}));
    }));
}

#[test]
fn without_a_secret() {
    snapshot!(fresh_in_both(bench, |pair, client| {
        for args in [
            val!([]),
            val!([null]),
            val!([{}]),
            val!(["wslink-secret"]),
            val!("wslink-secret"),
            val!({"secret": "wslink-secret"}),
            val!([{"secret": null}]),
            val!([{"secret": ["wslink-secret"]}]),
            val!([{"secret": ""}]),
            val!([["secret", "wslink-secret"]]),
        ] {
            pair.hello_with(client, args);
            pair.run();
        }
        pair.request(client, val!({"id": "system:c0:0", "method": "wslink.hello"}));
    }));
}

#[test]
fn with_the_least_there_is() {
    snapshot!(fresh_in_both(bench, |pair, client| {
        let args = val!([{"secret": "wslink-secret"}]);
        let hello = val!({"args": args, "method": "wslink.hello", "id": "system:c0:0"});
        pair.request(client, hello);
        alive(pair, client);
    }));
}

#[test]
fn wrong_then_right() {
    snapshot!(fresh_in_both(bench, |pair, client| {
        for secret in ["", "wslink", "wslink-secret ", "Wslink-secret", "wslink-secret"] {
            pair.hello_with(client, val!([{"secret": secret}]));
            pair.run();
        }
        alive(pair, client);
    }));
}

#[test]
fn twice_then_wrong() {
    snapshot!(in_both(bench, |pair, client| {
        pair.hello(client);
        pair.run();
        alive(pair, client);
        pair.hello_with(client, val!([{"secret": "wrong"}]));
        pair.run();
        alive(pair, client);
    }));
}

#[test]
fn under_other_ids() {
    snapshot!(fresh_in_both(bench, |pair, client| {
        for id in ["rpc:c0:0", "", "system", "publish:a:0", "system:", "system:any \"thing\" é"] {
            let args = val!([{"secret": "wslink-secret"}]);
            pair.request(client, val!({"id": id, "method": "wslink.hello", "args": args}));
            pair.run();
        }
        alive(pair, client);
    }));
}

#[test]
fn several_at_once() {
    snapshot!(fresh_in_both(bench, |pair, client| {
        pair.hello_with(client, val!([{"secret": "wrong"}]));
        pair.hello(client);
        pair.hello(client);
        pair.call(client, "bench.echo", val!([1]));
    }));
}

#[test]
fn call_before_hello() {
    snapshot!(fresh_in_both(bench, |pair, client| {
        for method in ["bench.echo", "unknown"] {
            pair.call(client, method, val!([1]));
            pair.run();
        }
        let request = val!({"id": "system:c0:0", "method": "bench.echo", "args": [1]});
        pair.request(client, request);
        pair.run();
        pair.request(client, val!({"method": "bench.echo"}));
        pair.run();
        pair.hello(client);
        pair.run();
        alive(pair, client);
    }));
}

#[test]
fn a_frame_of_the_other_dialect() {
    let mut pair = bench();
    let client = pair.connected(Dialect::V2);
    pair.send(client, Frame::text(r#"{"id":"x","method":"bench.echo"}"#));
    pair.send(client, Frame::text("not even JSON"));
    alive(&mut pair, client);
    let other = pair.connected(Dialect::V1);
    pair.send(other, Frame::message(1, &val!({"id": "x", "method": "bench.echo"})));
    pair.send(other, Frame::binary([1, 2, 3]));
    alive(&mut pair, other);
    snapshot!(pair.transcript());
}

#[test]
fn a_hello_of_1_x_in_a_binary_frame() {
    // Upstream's 1.x reads it; no client sends it. Here a binary frame is of 2.x.
    let mut pair = bench();
    let client = pair.connect(Dialect::V1);
    let hello =
        r#"{"id":"system:c0:0","method":"wslink.hello","args":[{"secret":"wslink-secret"}]}"#;
    pair.send(client, Frame::binary(hello));
    pair.run();
    snapshot!(pair.transcript());
}

#[test]
fn a_verdict_that_takes_its_time() {
    let slow = val!([{"secret": "slow"}]);
    let mut text = fresh_in_both(bench, |pair, client| {
        pair.note("what comes behind the hello waits for it");
        pair.hello_with(client, slow.clone());
        pair.call(client, "bench.echo", val!(["waits"]));
        pair.send(client, Frame::ping("waits, too"));
        pair.advance(Duration::from_secs(6));
    });
    text += &fresh_in_both(bench, |pair, client| {
        pair.note("too late");
        pair.advance(Duration::from_secs(7));
        pair.hello_with(client, slow.clone());
        pair.advance(Duration::from_secs(10));
    });
    text += &fresh_in_both(bench, |pair, client| {
        pair.note("the server ends meanwhile");
        pair.hello_with(client, slow.clone());
        pair.run();
        pair.close(client, CloseCode::GoingAway, "Server shutdown");
        pair.advance(Duration::from_secs(10));
    });
    text += &in_both(bench, |pair, client| {
        pair.note("publications and answers go on while a further hello waits");
        pair.call(client, "bench.sleep", val!([1000]));
        pair.hello_with(client, slow.clone());
        pair.advance(Duration::from_secs(2));
        pair.publications().publish(Audience::All, &LEVEL, &1, &[]).unwrap();
        pair.advance(Duration::from_secs(4));
    });
    snapshot!(text);
}

#[test]
fn the_dialect_stays_while_answers_wait() {
    // Before hello, a frame of the other dialect comes while an answer in the first waits.
    let mut text = String::new();
    for (dialect, name) in DIALECTS {
        let mut options = Options::desktop();
        options.check_phases = false;
        let mut pair = bench_of(options);
        let client = pair.connect(dialect);
        pair.link(client).stall();
        pair.call(client, "bench.echo", val!([]));
        pair.run();
        let hello = val!({"id": "system:c0:0", "method": "wslink.hello"});
        pair.send(
            client,
            match dialect {
                Dialect::V1 => Frame::message(1, &hello),
                _ => Frame::text(hello.to_json()),
            },
        );
        pair.run();
        pair.link(client).flow();
        pair.run();
        text += &format!("==== {name}\n{}", pair.transcript());
    }
    snapshot!(text);
}
