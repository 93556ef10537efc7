//! Frames of any kind: no panic, no more memory than agreed, and always a way out.

use core::time::Duration;
use proptest::prelude::*;
use wslink_core::wire::Dialect;
use wslink_core::{Audience, OpCode};
use wslink_scenarios::{DIALECTS, LEVEL, bench_of};
use wslink_testkit::{Frame, Options, Val, val};

#[derive(Clone, Debug)]
enum Step {
    Frame(Frame),
    /// A well-formed request with a byte changed, in the client's dialect.
    Mutated(usize, usize, u8),
    /// A well-formed request cut into fragments, the last of which may be missing.
    Fragments(usize, Vec<usize>, bool),
    Hello,
    Take(usize),
    Flow,
    Advance(u64),
    Publish,
}

fn requests() -> Vec<Val> {
    vec![
        val!({"id": "system:c0:0", "method": "wslink.hello", "args": [{"secret": "wslink-secret"}]}),
        val!({"id": "rpc:x:1", "method": "bench.echo", "args": [1, [2.5, {"k": "é"}], "wslink_bin1"]}),
        val!({"wslink": "1.0", "id": "rpc:x:2", "method": "bench.sum", "args": [1], "kwargs": {"b": 2}}),
        val!({"method": "wslink.binary.attachment", "args": ["wslink_bin1", "other"]}),
        val!({"id": "rpc:x:3", "method": "bench.attach", "args": [700, 2]}),
        val!({"id": "rpc:x:4", "method": "bench.hang_on"}),
        val!({"id": "rpc:x:5", "method": "bench.late", "args": [500, 300]}),
    ]
}

fn opcode() -> impl Strategy<Value = OpCode> {
    prop_oneof![
        4 => Just(OpCode::Text),
        4 => Just(OpCode::Binary),
        3 => Just(OpCode::Continuation),
        1 => Just(OpCode::Ping),
        1 => Just(OpCode::Pong),
        1 => Just(OpCode::Close),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let frame = (opcode(), any::<bool>(), bytes()).prop_map(|(opcode, fin, payload)| {
        let frame = Frame::new(opcode, payload);
        Step::Frame(if fin || frame.is_control() { frame } else { frame.more() })
    });
    let chunk =
        (0_u32..4, 0_u32..60, 0_u32..80, bytes()).prop_map(|(id, offset, total, content)| {
            Step::Frame(Frame::chunk(id, offset, total, &content))
        });
    let claim = (any::<u32>(), any::<u32>(), any::<u32>(), bytes()).prop_map(
        |(id, offset, total, content)| Step::Frame(Frame::chunk(id, offset, total, &content)),
    );
    let header = prop::collection::vec(0_u32..4, 0..4).prop_map(|keys| {
        let keys: Vec<Val> = keys.iter().map(|key| Val::from(format!("wslink_bin{key}"))).collect();
        let header = val!({"method": "wslink.binary.attachment", "args": keys});
        Step::Frame(Frame::text(header.to_json()))
    });
    let count = requests().len();
    prop_oneof![
        4 => frame,
        3 => chunk,
        1 => claim,
        2 => header,
        6 => (0..count, any::<usize>(), any::<u8>())
            .prop_map(|(which, at, byte)| Step::Mutated(which, at, byte)),
        4 => (0..count, prop::collection::vec(0_usize..30, 1..6), any::<bool>())
            .prop_map(|(which, lengths, whole)| Step::Fragments(which, lengths, whole)),
        4 => Just(Step::Hello),
        1 => (0_usize..300).prop_map(Step::Take),
        1 => Just(Step::Flow),
        2 => (0_u64..4000).prop_map(Step::Advance),
        2 => Just(Step::Publish),
    ]
}

fn encoded(dialect: Dialect, which: usize) -> Frame {
    let request = &requests()[which];
    match dialect {
        Dialect::V1 => Frame::text(request.to_json()),
        _ => Frame::message(which as u32 + 100, request),
    }
}

fn play(dialect: Dialect, steps: &[Step], device: bool, own_frames_only: bool) {
    let mut options = if device { Options::device() } else { Options::desktop() };
    options.config.limits.message_before_hello = 300;
    options.config.limits.receive_bytes = 400;
    options.config.limits.transmit_bytes = 500;
    options.config.limits.max_msg_size = 100;
    options.config.limits.overhead = 250;
    options.config.limits.frame = 350;
    options.config.deadlines.call = Some(Duration::from_secs(5));
    options.hub.bytes = 300;
    // Whoever sends garbage may well see both ends differ.
    options.check_phases = false;
    options.check_frames = own_frames_only;
    let mut pair = bench_of(options);
    let client = pair.connect(dialect);
    for step in steps {
        match step {
            Step::Frame(frame) => {
                let foreign = match dialect {
                    Dialect::V1 => OpCode::Binary,
                    _ => OpCode::Text,
                };
                // Before hello each frame may choose the dialect anew.
                if own_frames_only && frame.opcode == foreign {
                    continue;
                }
                pair.send(client, frame.clone());
            }
            Step::Mutated(which, at, byte) => {
                let mut frame = encoded(dialect, *which);
                let at = at % frame.payload.len();
                frame.payload[at] = *byte;
                pair.send(client, frame);
            }
            Step::Fragments(which, lengths, whole) => {
                let frame = encoded(dialect, *which);
                let mut rest = frame.payload.as_slice();
                let mut opcode = frame.opcode;
                for length in lengths {
                    let (piece, after) = rest.split_at((*length).min(rest.len()));
                    pair.send(client, Frame::new(opcode, piece).more());
                    opcode = OpCode::Continuation;
                    rest = after;
                }
                if *whole {
                    pair.send(client, Frame::continuation(rest));
                }
            }
            Step::Hello => pair.hello(client),
            Step::Take(bytes) => _ = pair.link(client).take(*bytes),
            Step::Flow => _ = pair.link(client).flow(),
            Step::Advance(millis) => pair.advance(Duration::from_millis(*millis)),
            Step::Publish => {
                pair.publications().publish(Audience::All, &LEVEL, &7, &[]).expect("it fits");
            }
        }
        pair.run();
        let limits = (pair.connection(client).poll_timeout(), pair.connection(client).closed());
        assert!(limits.0.is_some() || limits.1.is_some() || pair.running(client) > 0);
    }
    // A peer that is gone is given up, wherever it left off.
    pair.link(client).lose();
    pair.advance(Duration::from_secs(600));
    assert!(pair.connection(client).closed().is_some(), "{}", pair.transcript());
    assert_eq!(pair.running(client), 0);
}

proptest! {
    #![proptest_config(crate::cases(256))]

    #[test]
    fn no_frames_do_harm(
        steps in prop::collection::vec(step(), 1..30),
        device in any::<bool>(),
        greeted in any::<bool>(),
    ) {
        let mut steps = steps;
        if greeted {
            steps.insert(0, Step::Hello);
        }
        for (dialect, _) in DIALECTS {
            play(dialect, &steps, device, false);
        }
    }

    #[test]
    fn the_answers_to_garbage_can_be_read(
        steps in prop::collection::vec(step(), 1..30),
        device in any::<bool>(),
    ) {
        for (dialect, _) in DIALECTS {
            play(dialect, &steps, device, true);
        }
    }
}
