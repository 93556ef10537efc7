//! 2.x messages in chunks of any size and order, and those of several messages in between.

use proptest::prelude::*;
use std::collections::BTreeMap;
use wslink_core::wire::Dialect;
use wslink_scenarios::{bench_of, fill};
use wslink_testkit::{Frame, Options, Received, Val, val};

/// Lengths of the binary data of each message, sizes of its pieces, and keys to shuffle by.
fn messages() -> impl Strategy<Value = Vec<(u32, Vec<usize>)>> {
    prop::collection::vec((0_u32..400, prop::collection::vec(1_usize..90, 1..5)), 1..5)
}

fn request(number: usize, len: u32) -> (Val, Val) {
    let args = val!([number, (Val::Bin(fill(len).to_vec()))]);
    let id = format!("rpc:x:{number}");
    let request = val!({"id": id, "method": "bench.echo", "args": (args.clone())});
    (request, args)
}

fn chunks(messages: &[(u32, Vec<usize>)], order: &[u32]) -> (Vec<Frame>, BTreeMap<String, Val>) {
    let mut frames = Vec::new();
    let mut expected = BTreeMap::new();
    for (number, (len, sizes)) in messages.iter().enumerate() {
        let (request, args) = request(number, *len);
        expected.insert(format!("rpc:x:{number}"), args);
        let bytes = request.to_msgpack();
        let mut sizes = sizes.iter().cycle();
        let mut at = 0;
        while at < bytes.len() {
            let end = (at + sizes.next().expect("there is one")).min(bytes.len());
            let (id, total) = (number as u32 + 7, bytes.len() as u32);
            frames.push(Frame::chunk(id, at as u32, total, &bytes[at..end]));
            at = end;
        }
    }
    let mut keyed: Vec<_> = order.iter().copied().cycle().zip(frames).collect();
    keyed.sort_by_key(|(key, _)| *key);
    (keyed.into_iter().map(|(_, frame)| frame).collect(), expected)
}

proptest! {
    #![proptest_config(crate::cases(256))]

    #[test]
    fn any_order_gives_the_same_calls(
        messages in messages(),
        order in prop::collection::vec(any::<u32>(), 40..41),
        fixed in any::<bool>(),
    ) {
        let mut options = Options::desktop();
        options.config.limits.receive_bytes = 64 << 10;
        options.config.limits.ranges = 1000;
        options.fixed_buffers = fixed;
        let mut pair = bench_of(options);
        let client = pair.connected(Dialect::V2);
        let before = pair.received(client).len();
        let (frames, expected) = chunks(&messages, &order);
        frames.into_iter().for_each(|frame| pair.send(client, frame));
        pair.run();
        let answers = pair.received(client)[before..].iter().map(|received| match received {
            Received::Answer(id, Ok(value)) => (id.clone(), value.clone()),
            other => panic!("{other:?}"),
        });
        let answers: Vec<_> = answers.collect();
        prop_assert_eq!(answers.len(), expected.len(), "each once");
        prop_assert_eq!(answers.into_iter().collect::<BTreeMap<_, _>>(), expected);
    }

    #[test]
    fn a_chunk_that_comes_twice_is_refused(
        messages in messages(),
        order in prop::collection::vec(any::<u32>(), 40..41),
        which in any::<prop::sample::Index>(),
        when in any::<prop::sample::Index>(),
    ) {
        let (frames, _) = chunks(&messages, &order);
        let which = which.index(frames.len());
        let when = which + when.index(frames.len() - which);
        let id = |frame: &Frame| frame.payload[..4].to_vec();
        let again = &frames[which];
        let is_whole = frames[when + 1..].iter().all(|frame| id(frame) != id(again));
        let mut options = Options::desktop();
        options.config.limits.ranges = 1000;
        let mut pair = bench_of(options);
        let client = pair.connected(Dialect::V2);
        frames[..=when].iter().for_each(|frame| pair.send(client, frame.clone()));
        pair.run();
        prop_assert_eq!(pair.connection(client).closed(), None);
        pair.send(client, again.clone());
        pair.run();
        // After the last chunk the id is free again.
        prop_assert_eq!(pair.connection(client).closed().is_none(), is_whole);
    }

    #[test]
    fn too_little_memory_never_gives_another_call(
        messages in messages(),
        order in prop::collection::vec(any::<u32>(), 40..41),
        bytes in 100_u32..1500,
        ranges in 1_u16..20,
        pending in 1_u16..5,
        ahead in 0_u32..400,
        fixed in any::<bool>(),
    ) {
        let mut options = Options::desktop();
        options.config.limits.receive_bytes = bytes;
        options.config.limits.ranges = ranges;
        options.config.limits.pending = pending;
        options.config.limits.ahead = ahead;
        options.fixed_buffers = fixed;
        let mut pair = bench_of(options);
        let client = pair.connected(Dialect::V2);
        let before = pair.received(client).len();
        let (frames, mut expected) = chunks(&messages, &order);
        frames.into_iter().for_each(|frame| pair.send(client, frame));
        pair.run();
        for received in &pair.received(client)[before..] {
            match received {
                Received::Answer(id, Ok(value)) => {
                    let wanted = expected.remove(id);
                    prop_assert_eq!(wanted.as_ref(), Some(value));
                }
                Received::Answer(id, Err(failure)) => {
                    prop_assert_eq!(failure.code, -32003);
                    prop_assert!(expected.remove(id).is_some(), "answered twice");
                }
                other => panic!("{other:?}"),
            }
        }
        // What is missing went with the connection.
        prop_assert!(expected.is_empty() || pair.connection(client).closed().is_some());
    }
}
