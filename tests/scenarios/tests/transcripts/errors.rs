//! Each row of the error table, and what is malformed.

use core::time::Duration;
use wslink_scenarios::{alive, bench, bench_with, fresh_in_both, in_both, send_raw};
use wslink_testkit::{Frame, Pair, Val, val};

#[test]
fn unknown_method() {
    snapshot!(in_both(bench, |pair, client| {
        for method in
            ["nothing.of.this", "", "bench", "bench.echo.more", "Bench.Echo", "é\n\"\u{0}"]
        {
            pair.call(client, method, val!([]));
            pair.run();
        }
        pair.request(client, val!({"id": "rpc:x:0", "method": "wslink.hello"}));
    }));
}

#[test]
fn unknown_system_method() {
    snapshot!(fresh_in_both(bench, |pair, client| {
        let request = |method: &str| val!({"id": "system:c0:7", "method": method, "args": [1, 2]});
        pair.request(client, request("wslink.other"));
        pair.run();
        pair.hello(client);
        pair.run();
        pair.request(client, request("wslink.other"));
        pair.run();
        pair.request(client, request("bench.sum"));
    }));
}

#[test]
fn handler_failed() {
    snapshot!(in_both(bench, |pair, client| {
        pair.call(client, "bench.fail", val!(["the trigger \"never\" came\n"]));
        pair.run();
        pair.call(client, "bench.fail", val!(["17"]));
        pair.run();
        pair.call(client, "bench.fail", val!([("é".repeat(100))]));
        pair.run();
        pair.call(client, "bench.sum", val!([(i64::MAX), 1]));
    }));
}

#[test]
fn result_cannot_be_serialized() {
    snapshot!(in_both(bench, |pair, client| {
        pair.call(client, "bench.unserializable", val!([]));
        alive(pair, client);
    }));
}

#[test]
fn arguments_do_not_fit() {
    snapshot!(in_both(bench, |pair, client| {
        for (args, kwargs) in [
            (val!([]), val!({})),
            (val!([1]), val!({})),
            (val!([1, 2, 3, 4]), val!({})),
            (val!([1, 2]), val!({"b": 2})),
            (val!([1, 2]), val!({"other": 2})),
            (val!([1, "two"]), val!({})),
            (val!([1, 2.5]), val!({})),
            (val!([1, null]), val!({})),
            (val!([1, (u64::MAX)]), val!({})),
            (val!([1]), val!({"b": 1, "scale": null})),
            (val!([]), val!({"b": 1, "a": 2, "scale": 3})),
        ] {
            pair.call_with(client, "bench.sum", args, kwargs);
            pair.run();
        }
    }));
}

#[test]
fn envelope_broken() {
    snapshot!(in_both(bench, |pair, client| {
        let id = "rpc:x:1";
        for envelope in [
            val!({"id": id}),
            val!({"id": id, "method": null}),
            val!({"id": id, "method": 5}),
            val!({"id": id, "method": ["bench.echo"]}),
            val!({"id": "system:c0:0"}),
            val!({"id": id, "method": "bench.echo", "args": null}),
            val!({"id": id, "method": "bench.echo", "args": 5}),
            val!({"id": id, "method": "bench.echo", "args": true}),
        ] {
            pair.request(client, envelope);
            pair.run();
        }
        alive(pair, client);
    }));
}

#[test]
fn envelope_unusual() {
    snapshot!(in_both(bench, |pair, client| {
        let id = "rpc:x:1";
        for envelope in [
            val!({"method": "bench.echo", "id": id}),
            val!({"wslink": "9.9", "id": id, "method": "bench.echo", "more": [{"id": "y"}]}),
            val!({"id": id, "method": "bench.echo", "args": {"a": 1}}),
            val!({"id": id, "method": "bench.echo", "args": "text"}),
            val!({"id": id, "method": "bench.echo", "kwargs": ["a", 1]}),
            val!({"id": id, "method": "bench.echo", "kwargs": null}),
            val!({"id": "first", "method": "bench.fail", "id": id, "method": "bench.echo"}),
            val!({"id": "", "method": "bench.echo"}),
            val!({"id": "publish:x:0", "method": "bench.echo"}),
            val!({"id": "é\u{1F600}\n\"\\\u{0}", "method": "bench.echo"}),
        ] {
            pair.request(client, envelope);
            pair.run();
        }
    }));
}

#[test]
fn notifications() {
    snapshot!(fresh_in_both(bench, |pair, client| {
        let hello = val!({"method": "wslink.hello", "args": [{"secret": "wslink-secret"}]});
        pair.request(client, hello);
        pair.request(client, val!({}));
        pair.hello(client);
        pair.run();
        pair.request(client, val!({"method": "bench.level", "args": [1]}));
        pair.request(client, val!({"method": "wslink.binary.attachment", "args": 5}));
        pair.request(client, val!({}));
        alive(pair, client);
    }));
}

/// One connection for each: what ends it, and with what.
fn each(json: &[&[u8]], msgpack: &[&[u8]]) -> String {
    let mut text = String::new();
    for (json, msgpack) in json.iter().zip(msgpack) {
        text += &in_both(bench, |pair, client| {
            send_raw(pair, client, json, msgpack);
            alive(pair, client);
        });
    }
    text
}

#[test]
fn envelope_without_an_id_to_answer() {
    let values = [
        val!({"id": 5, "method": "bench.echo"}),
        val!({"id": null, "method": "bench.echo"}),
        val!(42),
        val!(["id"]),
        val!("id"),
        val!(null),
    ];
    let json: Vec<_> = values.iter().map(Val::to_json).collect();
    let msgpack: Vec<_> = values.iter().map(Val::to_msgpack).collect();
    let json: Vec<_> = json.iter().map(String::as_bytes).collect();
    let msgpack: Vec<_> = msgpack.iter().map(Vec::as_slice).collect();
    snapshot!(each(&json, &msgpack));
}

#[test]
fn malformed_without_an_id() {
    snapshot!(each(
        &[b"", b"{", b"not JSON", b"\xef\xbb\xbf{}", b"{'id': 'x'}", b"{}{}", b"\xff"],
        &[b"\xc1", b"\x81", b"\x82\xa2id", b"\x80\x00", b"\x81\x01\x02", b"\xd9", b"\xa1\xff"],
    ));
}

fn after_id(json: &[u8], msgpack: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let id = val!("rpc:x:1").to_msgpack();
    (
        [br#"{"id": "rpc:x:1", "#, json].concat(),
        [b"\x83\xa2id".as_slice(), &id, b"\xa6method\xaabench.echo", msgpack].concat(),
    )
}

#[test]
fn malformed_behind_the_id() {
    // The id can be read: the error goes under it, and the connection stays.
    snapshot!(in_both(bench, |pair, client| {
        for (json, msgpack) in [
            (r#""method": "bench.echo", "args": [1,]}"#.as_bytes(), b"\xa4args\x91\xc1".as_slice()),
            (br#""method": "bench.echo""#, b""),
            (br#""method": "bench.echo", "args": [1"#, b"\xa4args\x92\x01"),
            (br#""method": "bench.echo", "args": [01]}"#, b"\xa4args\x91\x01\x00"),
            (b"\"args\": [\"\xff\"]}", b"\xa4args\x91\xa1\xff"),
            (br#""args": ["\ud800"]}"#, b"\xa4args\x91\xa3\xed\xa0\x80"),
            (br#""args": [{5: 5}]}"#, b"\xa4args\x91\x81\x05\x05"),
            (b"\"args\": [\"\n\"]}", b"\xa4args\x91\x81\xc4\x01a\x05"),
            (br#""args": [+1]}"#, b"\xa4args\xdd\xff\xff\xff\xff"),
            (br#""args": [.5]} x"#, b"\xa4args\xc6\xff\xff\xff\xff"),
        ] {
            let (json, msgpack) = after_id(json, msgpack);
            send_raw(pair, client, &json, &msgpack);
            pair.run();
        }
        alive(pair, client);
    }));
}

#[test]
fn malformed_before_hello() {
    snapshot!(fresh_in_both(bench, |pair, client| {
        let (json, msgpack) = after_id(b"[", b"\xc1");
        send_raw(pair, client, &json, &msgpack);
        pair.hello(client);
        alive(pair, client);
    }));
}

#[test]
fn nested_too_deep() {
    let deep = |depth| (0..depth).fold(val!([]), |inner, _| Val::Seq(vec![inner]));
    snapshot!(
        in_both(
            || bench_with(|config| config.limits.depth = 8),
            |pair, client| {
                // The envelope and its args are two of the eight.
                for depth in [5, 6, 7, 64, 510] {
                    let id = format!("deep:{depth}");
                    let args = Val::Seq(vec![deep(depth - 1)]);
                    let mut shown = val!({"id": id, "method": "bench.upload", "args": args});
                    pair.request(client, core::mem::replace(&mut shown, Val::Null));
                }
                alive(pair, client);
            }
        )
        .lines()
        .map(shorten)
        .collect::<String>()
    );
}

/// Long nests are not for reading.
fn shorten(line: &str) -> String {
    let nest = "[".repeat(70);
    if line.contains(&nest) { format!("{}..\n", &line[..60]) } else { format!("{line}\n") }
}

#[test]
fn deadline_of_a_call() {
    snapshot!(in_both(bench, |pair, client| {
        pair.call(client, "bench.hang", val!([]));
        pair.call(client, "bench.sleep", val!([1500]));
        pair.advance(Duration::from_secs(3));
        alive(pair, client);
    }));
}

#[test]
fn frames_out_of_order() {
    let mut text = String::new();
    let frames: [&[Frame]; 4] = [
        &[Frame::continuation("x")],
        &[Frame::continuation("x").more()],
        &[Frame::text("{").more(), Frame::text("{}")],
        &[Frame::binary("{").more(), Frame::text("{}").more()],
    ];
    for frames in frames {
        text += &in_both(bench, |pair, client| {
            frames.iter().for_each(|frame| pair.send(client, frame.clone()));
            pair.run();
        });
    }
    snapshot!(text);
}

#[test]
fn chunks_out_of_order() {
    let mut text = String::new();
    let content = [0x80_u8; 8];
    let frames: [&[Frame]; 9] = [
        &[Frame::binary([])],
        &[Frame::binary([1, 0, 0, 0])],
        &[Frame::binary([0; 11])],
        &[Frame::chunk(1, 0, 0, &[])],
        &[Frame::chunk(1, 0, 4, &content)],
        &[Frame::chunk(1, u32::MAX, 16, &content)],
        &[Frame::chunk(1, 9, 16, &content)],
        &[Frame::chunk(1, 0, 32, &content), Frame::chunk(1, 8, 33, &content)],
        &[Frame::chunk(1, 0, 16, &content), Frame::chunk(1, 4, 16, &content)],
    ];
    for frames in frames {
        let mut pair: Pair<_> = bench();
        let client = pair.connected(wslink_core::wire::Dialect::V2);
        _ = pair.take_transcript();
        frames.iter().for_each(|frame| pair.send(client, frame.clone()));
        pair.run();
        text += &format!("====\n{}", pair.transcript());
    }
    snapshot!(text);
}
