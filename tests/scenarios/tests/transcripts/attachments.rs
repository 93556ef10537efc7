//! Binary data, both ways.

use wslink_core::wire::Dialect;
use wslink_scenarios::{alive, bench, bench_with, fill, in_both};
use wslink_testkit::{Frame, Val, val};

fn bin(len: u32) -> Val {
    Val::Bin(fill(len).to_vec())
}

#[test]
fn down() {
    snapshot!(in_both(bench, |pair, client| {
        pair.call(client, "bench.attach", val!([10]));
        pair.run();
        pair.call(client, "bench.attach", val!([0]));
        // The same one in three places: each has a key of its own in 1.x.
        pair.call(client, "bench.attach", val!([300_000, 3]));
        pair.run();
        pair.call(client, "bench.inline", val!([20]));
        pair.run();
        pair.call(client, "bench.inline", val!([0]));
    }));
}

#[test]
fn up() {
    // Several chunks of the largest.
    let with = || bench_with(|config| config.limits.max_msg_size = 64 << 10);
    snapshot!(in_both(with, |pair, client| {
        pair.call(client, "bench.echo", val!([(bin(10))]));
        pair.run();
        pair.call(client, "bench.upload", val!([(bin(0))]));
        pair.call(client, "bench.upload", val!([(bin(300_000))]));
        pair.run();
        let kwargs = val!({"x": {"y": [(bin(4)), "text", (bin(5))]}});
        pair.call_with(client, "bench.echo", val!([[1, {"k": (bin(6))}]]), kwargs);
        pair.run();
    }));
}

fn v1(
    scenario: impl Fn(&mut wslink_testkit::Pair<wslink_scenarios::Bench>, wslink_testkit::Client),
) -> String {
    let mut pair = bench();
    let client = pair.connected(Dialect::V1);
    _ = pair.take_transcript();
    scenario(&mut pair, client);
    pair.run();
    alive(&mut pair, client);
    pair.transcript().to_string()
}

#[test]
fn keys_that_are_not_replaced() {
    snapshot!(v1(|pair, client| {
        pair.note("nobody knows the key");
        pair.call(client, "bench.echo", val!(["wslink_bin7"]));
        pair.run();
        pair.note("a key is used up at its first place");
        pair.announce(client, &["wslink_bin1"]);
        pair.send(client, Frame::binary("one"));
        pair.call(client, "bench.echo", val!(["wslink_bin1", "wslink_bin1"]));
        pair.run();
        pair.call(client, "bench.echo", val!(["wslink_bin1"]));
        pair.note("whole strings only, and no keys of maps");
        pair.announce(client, &["wslink_bin2"]);
        pair.send(client, Frame::binary("two"));
        let args = val!(["wslink_bin2 ", "wslink_bin", "wslink_bin22", {"wslink_bin2": 1}]);
        pair.call(client, "bench.echo", args);
        pair.run();
        pair.call(client, "bench.echo", val!(["wslink_bin2"]));
        pair.note("the id and the method are no places either");
        pair.announce(client, &["wslink_bin3"]);
        pair.send(client, Frame::binary("three"));
        pair.request(client, val!({"id": "wslink_bin3", "method": "wslink_bin3"}));
        pair.call_with(client, "bench.echo", val!([]), val!({"x": "wslink_bin3"}));
        pair.run();
    }));
}

#[test]
fn headers_and_their_binary_frames() {
    snapshot!(v1(|pair, client| {
        pair.note("two keys in one header");
        pair.announce(client, &["wslink_bin1", "wslink_bin2"]);
        pair.send(client, Frame::binary("one"));
        pair.send(client, Frame::binary("two"));
        pair.call(client, "bench.echo", val!(["wslink_bin2", "wslink_bin1"]));
        pair.run();
        pair.note("binary that no header announced");
        pair.send(client, Frame::binary("nobody's"));
        pair.note("a key of another form");
        pair.announce(client, &["other"]);
        pair.send(client, Frame::binary("other"));
        pair.call(client, "bench.echo", val!(["other"]));
        pair.run();
        pair.note("the bytes come after the call: the next call gets them");
        pair.announce(client, &["wslink_bin3"]);
        pair.call(client, "bench.echo", val!(["wslink_bin3"]));
        pair.run();
        pair.send(client, Frame::binary("three"));
        pair.call(client, "bench.echo", val!(["wslink_bin3"]));
        pair.run();
        pair.note("in fragments");
        pair.announce(client, &["wslink_bin4"]);
        pair.send(client, Frame::binary("fo").more());
        pair.send(client, Frame::ping(""));
        pair.send(client, Frame::continuation("u").more());
        pair.send(client, Frame::continuation("r"));
        pair.call(client, "bench.echo", val!(["wslink_bin4"]));
        pair.run();
        pair.note("a header with args of another kind");
        let header = val!({"method": "wslink.binary.attachment", "args": "wslink_bin5"});
        pair.request(client, header);
        pair.note("the same key twice: the later bytes stay for the next call");
        pair.announce(client, &["wslink_bin6"]);
        pair.send(client, Frame::binary("six"));
        pair.announce(client, &["wslink_bin6"]);
        pair.send(client, Frame::binary("again"));
        pair.call(client, "bench.echo", val!(["wslink_bin6"]));
        pair.run();
        pair.call(client, "bench.echo", val!(["wslink_bin6"]));
    }));
}

#[test]
fn two_clients_with_the_same_key() {
    let mut pair = bench();
    let one = pair.connected(Dialect::V1);
    let two = pair.connected(Dialect::V1);
    _ = pair.take_transcript();
    for (client, content) in [(one, "of A"), (two, "of B")] {
        pair.announce(client, &["wslink_bin1"]);
        pair.send(client, Frame::binary(content));
    }
    for client in [one, two] {
        pair.call(client, "bench.echo", val!(["wslink_bin1"]));
    }
    pair.run();
    snapshot!(pair.transcript());
}

#[test]
fn before_hello() {
    let mut pair = bench();
    let client = pair.connect(Dialect::V1);
    pair.announce(client, &["wslink_bin1"]);
    pair.send(client, Frame::binary("early"));
    pair.hello(client);
    pair.run();
    pair.call(client, "bench.echo", val!(["wslink_bin1"]));
    pair.run();
    snapshot!(pair.transcript());
}

#[test]
fn larger_than_all_buffers() {
    let small = || {
        bench_with(|config| {
            config.limits.max_msg_size = 1024;
            config.limits.transmit_bytes = 512;
            config.limits.receive_bytes = 512;
        })
    };
    snapshot!(in_both(small, |pair, client| {
        pair.call(client, "bench.attach", val!([5000, 2]));
        pair.run();
        pair.note("what is written into the answer has to fit");
        pair.call(client, "bench.inline", val!([200]));
        pair.run();
        pair.call(client, "bench.inline", val!([5000]));
        pair.run();
        alive(pair, client);
    }));
}

#[test]
fn small_answers_between_chunks() {
    let small = || bench_with(|config| config.limits.max_msg_size = 1024);
    snapshot!(in_both(small, |pair, client| {
        pair.link(client).take(1500);
        pair.call(client, "bench.attach", val!([5000]));
        pair.run();
        pair.call(client, "bench.echo", val!(["small"]));
        pair.send(client, Frame::ping("control"));
        pair.run();
        pair.link(client).take(1100);
        pair.run();
        pair.call(client, "bench.attach", val!([2000]));
        pair.call(client, "bench.echo", val!(["smaller"]));
        pair.run();
        pair.link(client).flow();
        pair.run();
    }));
}
