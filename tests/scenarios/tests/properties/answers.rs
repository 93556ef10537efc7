//! Each accepted call is answered exactly once, whatever becomes of it.

use core::time::Duration;
use proptest::prelude::*;
use std::collections::BTreeMap;
use wslink_scenarios::{DIALECTS, bench_of};
use wslink_testkit::{Options, Received, Val, val};

#[derive(Clone, Debug)]
enum Step {
    Call(&'static str, Vec<u32>),
    Take(usize),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let call = |name: &'static str, most: u32| {
        (0..most).prop_map(move |number| Step::Call(name, vec![number]))
    };
    prop_oneof![
        2 => call("bench.echo", 100),
        2 => call("bench.text", 600),
        2 => call("bench.inline", 600),
        2 => call("bench.sleep", 3000),
        3 => (0_u32..3000, 0_u32..400).prop_map(|(ms, n)| Step::Call("bench.late", vec![ms, n])),
        1 => (0_u32..900, 1_u32..5).prop_map(|(n, times)| Step::Call("bench.attach", vec![n, times])),
        1 => Just(Step::Call("bench.hang", vec![])),
        1 => Just(Step::Call("bench.hang_on", vec![])),
        1 => Just(Step::Call("bench.unserializable", vec![])),
        1 => Just(Step::Call("bench.fail", vec![])),
        1 => Just(Step::Call("unknown", vec![])),
        1 => call("bench.image", 500),
        3 => (0_usize..500).prop_map(Step::Take),
        3 => (0_u64..900).prop_map(Step::Advance),
    ]
}

proptest! {
    #![proptest_config(crate::cases(192))]

    #[test]
    fn exactly_once(
        steps in prop::collection::vec(step(), 1..24),
        calls in 1_u16..5,
        transmit_bytes in 260_u32..700,
        max_msg_size in 13_u32..300,
        fixed in any::<bool>(),
    ) {
        for (dialect, _) in DIALECTS {
            let mut options = Options::desktop();
            options.config.limits.calls = calls;
            options.config.limits.transmit_bytes = transmit_bytes;
            options.config.limits.max_msg_size = max_msg_size;
            options.config.limits.attachments = 3;
            options.config.deadlines.call = Some(Duration::from_secs(2));
            options.fixed_buffers = fixed;
            let mut pair = bench_of(options);
            let client = pair.connected(dialect);
            let before = pair.received(client).len();
            let mut asked = BTreeMap::new();
            for step in &steps {
                match step {
                    Step::Call(method, args) => {
                        let args = args.iter().map(|arg| Val::from(*arg)).collect();
                        asked.insert(pair.call(client, method, Val::Seq(args)), 0);
                    }
                    Step::Take(bytes) => _ = pair.link(client).take(*bytes),
                    Step::Advance(millis) => pair.advance(Duration::from_millis(*millis)),
                }
                pair.run();
            }
            pair.link(client).flow();
            pair.advance(Duration::from_secs(60));
            for received in &pair.received(client)[before..] {
                if let Received::Answer(id, _) = received {
                    *asked.get_mut(id).expect("an answer to no call") += 1;
                }
            }
            prop_assert_eq!(pair.connection(client).closed(), None);
            prop_assert_eq!(pair.running(client), 0);
            let once = asked.values().all(|count| *count == 1);
            prop_assert!(once, "{:?}\n{}", asked, pair.transcript());
            prop_assert!(pair.ask(client, "bench.echo", val!([])).is_ok());
        }
    }
}
