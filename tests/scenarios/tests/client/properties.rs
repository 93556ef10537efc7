//! The same events, however what comes is cut into fragments; and each call ends once, wherever the
//! connection ends.

use crate::own::{Own, engine};
use proptest::prelude::*;
use wslink_core::wire::Dialect;
use wslink_core::{Attachment, Table as _};
use wslink_scenarios::{bench, fill};
use wslink_testkit::{Cut, HeapTable, val};

#[derive(Clone, Debug)]
enum Action {
    Echo(u32),
    Attach(u32, u32),
    Upload(u32),
    Fail,
    Late(u64),
    Image(u32),
    Cancel(usize),
    Advance(u64),
    Hello(bool),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (0_u32..300).prop_map(Action::Echo),
        2 => (0_u32..2000, 1_u32..3).prop_map(|(bytes, times)| Action::Attach(bytes, times)),
        2 => (0_u32..2000).prop_map(Action::Upload),
        1 => Just(Action::Fail),
        2 => (1_u64..40).prop_map(Action::Late),
        2 => (0_u32..2000).prop_map(Action::Image),
        1 => any::<usize>().prop_map(Action::Cancel),
        2 => (1_u64..40).prop_map(Action::Advance),
        1 => any::<bool>().prop_map(Action::Hello),
    ]
}

/// What the client was told, and how many calls it made.
fn run(
    dialect: Dialect,
    actions: &[Action],
    cuts: &[usize],
    credit: usize,
) -> (Vec<String>, usize) {
    let mut pair = bench();
    let client = engine(dialect, &pair);
    let mut own = Own::connect(&mut pair, client);
    own.credit = credit;
    own.cuts = cuts.to_vec();
    if !cuts.is_empty() && dialect == Dialect::V1 {
        pair.link(own.peer).cut(Cut::Lengths(cuts.to_vec()));
    }
    own.hello(&mut pair, "wslink-secret");
    let mut calls = Vec::new();
    for action in actions {
        let made = match action {
            Action::Echo(len) => own.call(&pair, "bench.echo", val!([(*len), "text"])).ok(),
            Action::Attach(bytes, times) => {
                own.call(&pair, "bench.attach", val!([(*bytes), (*times)])).ok()
            }
            Action::Upload(len) => {
                let mut blobs = HeapTable::default();
                blobs.push(fill(*len)).expect("it grows");
                let args = (Attachment::nth(0),);
                let now = pair.clock().now();
                own.client.call(now, "bench.upload", &args, &(), None, &mut blobs).ok()
            }
            Action::Fail => own.call(&pair, "bench.fail", val!(["no"])).ok(),
            Action::Late(millis) => own.call(&pair, "bench.late", val!([(*millis), 3])).ok(),
            Action::Image(len) => own.call(&pair, "bench.image", val!([(*len)])).ok(),
            Action::Cancel(nth) => {
                if let Some(call) = calls.get(nth % calls.len().max(1)) {
                    own.client.cancel(*call);
                }
                None
            }
            Action::Advance(millis) => {
                own.advance(&mut pair, *millis);
                None
            }
            Action::Hello(right) => {
                let secret = if *right { "wslink-secret" } else { "wrong" };
                let now = pair.clock().now();
                _ = own.client.hello_with(now, &wslink_core::Secret::new(secret));
                None
            }
        };
        calls.extend(made);
        own.run(&mut pair);
    }
    pair.eof(own.peer);
    own.client.handle_eof();
    own.run(&mut pair);
    assert!(own.closed.is_some());
    for call in &calls {
        let count = own.ends.iter().filter(|(id, _)| id == call).count();
        assert_eq!(count, 1, "{call:?} ended {count} times:\n{}", pair.transcript());
    }
    let told = pair.transcript().to_string();
    let told = told.lines().filter(|line| line.starts_with("-- client")).map(str::to_owned);
    (told.collect(), calls.len())
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![Just(Dialect::V1), Just(Dialect::V2)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cuts_change_nothing(
        dialect in dialect(),
        actions in prop::collection::vec(action(), 1..12),
        cuts in prop::collection::vec(1_usize..60, 1..5),
    ) {
        let whole = run(dialect, &actions, &[], usize::MAX);
        prop_assert_eq!(run(dialect, &actions, &cuts, usize::MAX), whole);
    }

    #[test]
    fn wherever_it_ends_each_call_ends_once(
        dialect in dialect(),
        actions in prop::collection::vec(action(), 1..12),
        credit in 0_usize..6000,
    ) {
        run(dialect, &actions, &[], credit);
    }
}

#[test]
fn there_is_something_to_compare() {
    let actions = [Action::Echo(1), Action::Attach(100, 2), Action::Image(9), Action::Fail];
    for dialect in [Dialect::V1, Dialect::V2] {
        let (told, calls) = run(dialect, &actions, &[7, 3], usize::MAX);
        assert_eq!((told.len(), calls), (7, 4), "{told:#?}");
    }
}
