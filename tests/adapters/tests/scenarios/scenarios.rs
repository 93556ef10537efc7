//! What clients do.

use crate::{SECRET, Stage};
use core::time::Duration;
use smol::Timer;
use wslink_adapters::Shown;
use wslink_core::OpCode;
use wslink_core::wire::Dialect;
use wslink_testkit::{Frame, Val, val};

pub(crate) async fn hello(stage: &Stage) {
    let mut client = stage.stranger().await;
    client.call("bench.echo", val!(["too early"])).await.unwrap_err();
    client.hello("wrong").await.unwrap_err();
    client.request(val!({"id": "system:c0:0", "method": "wslink.hello", "args": [1]})).await;
    client.answer("system:c0:0").await.unwrap_err();
    let first = client.hello(SECRET).await.unwrap();
    client.call("bench.echo", val!(["in time"])).await.unwrap();
    assert_eq!(client.hello(SECRET).await.unwrap(), first);
}

pub(crate) async fn calls(stage: &Stage) {
    let mut client = stage.client().await;
    let numbers = val!([0, (-1), 127, 128, (-33), 65536, (u64::MAX), (i64::MIN), 1.5, 0.1, 1e300]);
    let texts = val!(["", "é\u{1F600}\u{7f}\u{2028}", "\u{0}\u{1f}\n\t\"\\/"]);
    let nested = val!([[], {}, [[[null]]], {"": {"a": [true, false]}}]);
    client.call("bench.echo", val!([numbers, texts, nested])).await.unwrap();
    assert_eq!(client.call("bench.sum", val!([40, 2])).await, Ok(val!(42)));
    let id = client.start_with("bench.sum", val!([1]), val!({"b": 2, "scale": 3})).await;
    assert_eq!(client.answer(&id).await, Ok(val!(9)));
    // Whatever id there is comes back.
    client.request(val!({"id": "é\u{0}", "method": "bench.echo", "args": []})).await;
    client.answer("é\u{0}").await.unwrap();
    client.call("wslink.describe", val!([])).await.unwrap();
}

pub(crate) async fn errors(stage: &Stage) {
    let mut client = stage.client().await;
    for (method, args) in [
        ("bench.nothing", val!([])),
        ("", val!([])),
        ("wslink.other", val!([])),
        ("bench.sum", val!([1])),
        ("bench.sum", val!(["x", 1])),
        ("bench.sum", val!([1, 2, 3, 4])),
        ("bench.fail", val!(["the trigger never came"])),
        ("bench.fail", val!(["17"])),
        ("bench.unserializable", val!([])),
        ("bench.text", val!([5000])),
        ("bench.inline", val!([5000])),
        ("bench.upload", val!([(Val::Bin(vec![1; 1020]))])),
    ] {
        client.call(method, args).await.unwrap_err();
    }
    client.call("bench.echo", val!(["and on"])).await.unwrap();
}

pub(crate) async fn requests_that_make_no_sense(stage: &Stage) {
    for (json, msgpack) in [
        // Not the dialect's encoding at all.
        (&b"{"[..], &b"\xc1"[..]),
        (b"\xff", b"\xdc\xff"),
        // No request.
        (b"[1]", b"\x91\x01"),
        (br#"{"id": "x"}"#, b"\x81\xa2id\xa1x"),
        (br#"{"id": "x", "method": 1}"#, b"\x82\xa2id\xa1x\xa6method\x01"),
        (
            br#"{"id": "x", "method": "a", "args": 1}"#,
            b"\x83\xa2id\xa1x\xa6method\xa1a\xa4args\x01",
        ),
    ] {
        let mut client = stage.client().await;
        client.show_of_closes(Shown::Code);
        client.message(stage.dialect, json, msgpack).await;
        client.alive_or_ended().await;
    }
}

pub(crate) async fn attachments(stage: &Stage) {
    let mut client = stage.client().await;
    for args in [val!([0]), val!([500]), val!([5000]), val!([100_000]), val!([300, 2])] {
        client.call("bench.attach", args).await.unwrap();
    }
    for len in [0, 1, 500, 700] {
        client.call("bench.upload", val!([(Val::Bin(vec![3; len]))])).await.unwrap();
    }
    let two = val!([(Val::Bin(vec![1; 10])), {"deep": [(Val::Bin(vec![2; 20]))]}]);
    client.call("bench.upload", two).await.unwrap();
}

pub(crate) async fn publications(stage: &Stage) {
    let mut one = stage.client().await;
    let mut two = stage.client().await;
    let stranger = stage.stranger().await;
    for (level, args) in [(1, val!([1])), (2, val!([2, true])), (3, val!([3, false]))] {
        one.call("bench.level", args).await.unwrap();
        if level != 3 {
            one.publication("bench.level").await;
        }
        if level != 2 {
            two.publication("bench.level").await;
        }
    }
    two.call("bench.image", val!([2000])).await.unwrap();
    two.publication("bench.image").await;
    one.publication("bench.image").await;
    stranger.vanish();
}

pub(crate) async fn subscriptions(stage: &Stage) {
    let mut client = stage.client().await;
    client.call("wslink.subscribe", val!(["bench.level"])).await.unwrap();
    client.call("bench.image", val!([10])).await.unwrap();
    client.call("bench.level", val!([1])).await.unwrap();
    client.publication("bench.level").await;
    client.call("wslink.unsubscribe", val!(["bench.level"])).await.unwrap();
    client.call("bench.level", val!([2])).await.unwrap();
    client.call("wslink.subscribe", val!([1])).await.unwrap_err();
    client.call("bench.echo", val!([])).await.unwrap();
}

pub(crate) async fn calls_side_by_side(stage: &Stage) {
    let mut client = stage.client().await;
    let named = val!({"wslink_token": 7});
    let hanging = client.start_with("bench.hang_on", val!([]), named).await;
    // The fast one overtakes the slow one.
    client.call("bench.sum", val!([1, 2])).await.unwrap();
    client.call("wslink.cancel", val!([7])).await.unwrap();
    client.answer(&hanging).await.unwrap_err();
    // A client that leaves takes its calls along, and its place is free.
    client.start("bench.hang_on", val!([])).await;
    client.vanish();
    for _ in 0..5 {
        let mut client = stage.client().await;
        client.start("bench.hang_on", val!([])).await;
        client.send(Frame::close(Some(1000))).await;
        client.ended().await;
    }
}

/// One byte less than the largest message, as many, and one more.
pub(crate) async fn messages_at_the_limit(stage: &Stage) {
    const LIMIT: usize = 1012;
    let mut client = stage.client().await;
    for len in [LIMIT - 1, LIMIT, LIMIT + 1] {
        let request = |text: String| val!({"id": "x", "method": "bench.upload", "args": [], "kwargs": {"text": text}});
        let size = |text: &str| match stage.dialect {
            Dialect::V1 => request(text.to_owned()).to_json().len(),
            _ => request(text.to_owned()).to_msgpack().len(),
        };
        // Long enough for the length of the text to take its three bytes.
        let text = "x".repeat(len - size(&"x".repeat(600)) + 600);
        assert_eq!(size(&text), len);
        client.request(request(text)).await;
        assert_eq!(client.answer("x").await.is_ok(), len <= LIMIT);
    }
}

/// One byte less than the largest frame, as many, and one more.
pub(crate) async fn frames_at_the_limit(stage: &Stage) {
    const LIMIT: usize = 1024;
    for len in [LIMIT - 1, LIMIT, LIMIT + 1] {
        let mut client = stage.client().await;
        let frame = match stage.dialect {
            Dialect::V1 => Frame::text(format!("{:len$}", r#"{"id": "x", "method": "a"}"#)),
            _ => Frame::chunk(9, 0, len as u32 - 12, &vec![0xc0; len - 12]),
        };
        client.send(frame).await;
        client.alive_or_ended().await;
    }
}

pub(crate) async fn chunks_and_fragments(stage: &Stage) {
    let mut client = stage.client().await;
    let request = val!({"id": "x", "method": "bench.echo", "args": ["in fragments"]});
    let frame = match stage.dialect {
        Dialect::V1 => Frame::text(request.to_json()),
        _ => Frame::message(5, &request),
    };
    let (first, second) = frame.payload.split_at(9);
    client.send(Frame::new(frame.opcode, first).more()).await;
    client.send(Frame::ping("between")).await;
    client.pong().await;
    client.send(Frame::continuation("").more()).await;
    client.send(Frame::continuation(second)).await;
    client.answer("x").await.unwrap();
    if stage.dialect == Dialect::V2 {
        let message = val!({"id": "y", "method": "bench.echo", "args": ["in chunks"]}).to_msgpack();
        let total = message.len() as u32;
        let (first, second) = message.split_at(20);
        client.send(Frame::chunk(6, 20, total, second)).await;
        client.call("bench.echo", val!(["between"])).await.unwrap();
        client.send(Frame::chunk(6, 0, total, first)).await;
        client.answer("y").await.unwrap();
        client.send(Frame::chunk(7, 20, 10, b"x")).await;
        client.ended().await;
    }
}

pub(crate) async fn pings(stage: &Stage) {
    let mut client = stage.stranger().await;
    for payload in ["", "before hello", &"x".repeat(125)] {
        client.send(Frame::ping(payload)).await;
        client.pong().await;
    }
    client.hello(SECRET).await.unwrap();
    client.start("bench.hang_on", val!([])).await;
    client.send(Frame::new(OpCode::Pong, "that nobody asked for")).await;
    client.send(Frame::ping("while a call runs")).await;
    client.pong().await;
}

/// With which code a Close is answered is up to the adapter.
pub(crate) async fn closed_by_the_client(stage: &Stage) {
    for code in [None, Some(1000), Some(1001), Some(3000), Some(4999)] {
        let mut client = stage.client().await;
        client.show_of_closes(Shown::Nothing);
        client.send(Frame::close(code)).await;
        client.ended().await;
    }
    let mut stranger = stage.stranger().await;
    stranger.show_of_closes(Shown::Nothing);
    stranger.send(Frame::close(Some(1000))).await;
    stranger.ended().await;
}

/// What no client may send. Which words are said about it is up to the adapter.
pub(crate) async fn violations(stage: &Stage) {
    let ping = [&b"\x89\xfe\0\x7e\0\0\0\0"[..], &[0; 126]].concat();
    for (what, bytes) in [
        ("a frame without a mask", &b"\x82\x02hi"[..]),
        ("reserved bits", b"\xc2\x80\0\0\0\0"),
        ("opcode 3", b"\x83\x80\0\0\0\0"),
        ("opcode 11", b"\x8b\x80\0\0\0\0"),
        ("a ping in fragments", b"\x09\x80\0\0\0\0"),
        ("a ping of 126 bytes", &ping),
        ("a continuation of nothing", b"\x80\x80\0\0\0\0"),
        ("text that is not UTF-8", b"\x81\x82\0\0\0\0\xff\xff"),
    ] {
        for known in [false, true] {
            // The engine takes no notice of texts in 2.x, whatever is in them.
            if known && what.starts_with("text") && stage.dialect == Dialect::V2 {
                continue;
            }
            let mut client = if known { stage.client().await } else { stage.stranger().await };
            client.show_of_closes(Shown::Code);
            client.send_raw(what, bytes).await;
            client.ended().await;
        }
    }
}

pub(crate) async fn who_vanishes(stage: &Stage) {
    for _ in 0..10 {
        stage.stranger().await.vanish();
        let mut client = stage.client().await;
        client.start("bench.attach", val!([1_000_000])).await;
        client.vanish();
        // There are three places.
        Timer::after(Duration::from_millis(20)).await;
    }
    stage.client().await.call("bench.echo", val!([])).await.unwrap();
}

pub(crate) async fn a_deadline_of_a_call(stage: &Stage) {
    let mut client = stage.client().await;
    client.call("bench.hang", val!([])).await.unwrap_err();
    client.call("bench.echo", val!(["and on"])).await.unwrap();
}

pub(crate) async fn no_hello_in_time(stage: &Stage) {
    stage.stranger().await.ended().await;
    let mut client = stage.client().await;
    Timer::after(Duration::from_millis(400)).await;
    client.call("bench.echo", val!(["who said hello stays"])).await.unwrap();
}

/// Half a message in chunks; one in fragments is not seen by every adapter.
pub(crate) async fn half_a_message(stage: &Stage) {
    let mut client = stage.client().await;
    if stage.dialect == Dialect::V2 {
        client.send(Frame::chunk(5, 0, 100, b"half")).await;
        client.ended().await;
    }
}

pub(crate) async fn a_client_that_is_dead(stage: &Stage) {
    let mut client = stage.client().await;
    client.play_dead();
    client.ended().await;
}

/// Sizes that are claimed and never sent, and messages that are begun and not ended.
pub(crate) async fn claims(stage: &Stage) {
    const BEGINNING: &[u8] = b"\x82\xa2id\xa1x";
    for known in [false, true] {
        let mut client = if known { stage.client().await } else { stage.stranger().await };
        if stage.dialect == Dialect::V2 {
            client.send(Frame::chunk(901, 0, u32::MAX, BEGINNING)).await;
            client.answer("x").await.unwrap_err();
            client.send(Frame::chunk(901, u32::MAX - 4, u32::MAX, &[7; 4])).await;
        }
        // It is as if nothing had happened.
        client.hello(SECRET).await.unwrap();
        // A frame of 2^63 - 1 bytes.
        let header = b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0";
        client.show_of_closes(Shown::Code);
        client.send_raw("a frame that is too long", header).await;
        client.ended().await;
    }
    if stage.dialect == Dialect::V2 {
        let mut client = stage.client().await;
        for id in 1..4 {
            client.send(Frame::chunk(900 + id, 0, 100, BEGINNING)).await;
        }
        client.ended().await;
        // With gaps, and further ahead than there is room for.
        let mut client = stage.client().await;
        client.send(Frame::chunk(901, 0, 900, BEGINNING)).await;
        for nth in 0..4 {
            client.send(Frame::chunk(901, 100 + 2 * nth, 900, b"g")).await;
        }
        client.answer("x").await.unwrap_err();
        // What has come already.
        client.send(Frame::chunk(902, 0, 100, &[0x81; 50])).await;
        client.send(Frame::chunk(902, 25, 100, &[0x81; 50])).await;
        client.ended().await;
    }
}

/// Nesting that is too deep, with its end and without, and ids that are too long.
pub(crate) async fn bombs(stage: &Stage) {
    for (depth, end) in [(17, true), (17, false), (450, true), (900, false)] {
        let mut client = stage.client().await;
        let json = format!(
            r#"{{"id":"x","method":"bench.echo","args":{}{}"#,
            "[".repeat(depth),
            if end { "]".repeat(depth) + "}" } else { String::new() }
        );
        let mut msgpack = b"\x83\xa2id\xa1x\xa6method\xaabench.echo\xa4args".to_vec();
        msgpack.extend(vec![0x91; depth]);
        msgpack.push(if end { 0xc0 } else { 0x91 });
        client.message(stage.dialect, json.as_bytes(), &msgpack).await;
        client.alive_or_ended().await;
    }
    for len in [64, 65, 900] {
        let mut client = stage.client().await;
        client.request(val!({"id": ("i".repeat(len)), "method": "bench.echo", "args": []})).await;
        client.alive_or_ended().await;
    }
}

/// What is not for a client: methods before hello, the end of the server, the attachments of others.
pub(crate) async fn what_is_not_theirs(stage: &Stage) {
    let mut stranger = stage.stranger().await;
    for method in ["bench.echo", "wslink.describe", "wslink.subscribe", "application.exit"] {
        stranger.call(method, val!([])).await.unwrap_err();
    }
    let mut victim = stage.client().await;
    for method in ["application.exit", "application.exit.later"] {
        victim.call(method, val!([])).await.unwrap_err();
    }
    if stage.dialect == Dialect::V1 {
        let announce =
            br#"{"wslink": "1.0", "method": "wslink.binary.attachment", "args": ["wslink_bin1"]}"#;
        victim.message(stage.dialect, announce, b"").await;
        victim.send(Frame::binary("mine")).await;
        victim.call("bench.echo", val!(["and on"])).await.unwrap();
        let mut thief = stage.client().await;
        // A text, for it has none of this name.
        thief.call("bench.echo", val!(["wslink_bin1"])).await.unwrap();
        thief.message(stage.dialect, announce, b"").await;
        thief.send(Frame::binary("its own")).await;
        for client in [&mut victim, &mut thief] {
            client.call("bench.upload", val!(["wslink_bin1"])).await.unwrap();
        }
    }
}
