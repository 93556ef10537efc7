//! Publications for one peer, or for all but one, beside those for all.

use super::{Desk, EVERY, LAST, LATEST, STATE, desk, say};
use core::cell::Cell;
use core::time::Duration;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use wslink_core::wire::Dialect;
use wslink_core::{Audience, CloseReason, Topic};
use wslink_testkit::{Client, Failure, Options, Pair, Received, Val, val};

/// A server with two clients, and what it published for one of them.
fn two(change: impl Fn(&mut Options)) -> (Pair<Desk>, Client, Client) {
    let mut pair = desk(change);
    let (one, two) = (pair.connected(Dialect::V1), pair.connected(Dialect::V2));
    pair.service().told().clear();
    (pair, one, two)
}

fn publish<T: Serialize>(pair: &mut Pair<Desk>, audience: Audience, topic: &Topic<T>, value: T) {
    assert_eq!(pair.publications().publish(audience, topic, &value, &[]), Ok(()));
    pair.run();
}

fn only(pair: &Pair<Desk>, client: Client) -> Audience {
    Audience::Only(pair.peer(client))
}

fn values(pair: &Pair<Desk>, client: Client, topic: &str) -> Vec<Val> {
    let received = pair.received(client).iter();
    let of_topic = received.filter_map(|received| match received {
        Received::Publication(name, value) if name == topic => Some(value.clone()),
        _ => None,
    });
    of_topic.collect()
}

/// The losses of which the service was told since the last time, summed up.
fn lagged(pair: &Pair<Desk>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for told in pair.service().told().drain(..) {
        let (what, missed) = told.rsplit_once(' ').expect("words");
        if let Ok(missed) = missed.parse::<u64>() {
            *sums.entry(what.to_owned()).or_default() += missed;
        }
    }
    sums
}

fn losses<const N: usize>(
    pair: &Pair<Desk>,
    client: Client,
    of: [(&str, u64); N],
) -> BTreeMap<String, u64> {
    let peer = pair.peer(client);
    of.map(|(topic, missed)| (format!("{peer} lagged {topic}"), missed)).into()
}

#[test]
fn a_value_that_waits_is_not_lost_to_one_for_another_peer() {
    let (mut pair, one, two) = two(|_| {});
    say(&mut pair, one, "wslink.subscribe", val!(["desk.*", 1]));
    lagged(&pair);
    let (mine, other) = (only(&pair, one), only(&pair, two));
    for topic in [LATEST, LAST, EVERY] {
        publish(&mut pair, Audience::All, &topic, 0);
        publish(&mut pair, mine, &topic, 1);
        publish(&mut pair, mine, &topic, 2);
        publish(&mut pair, other, &topic, 3);
    }
    pair.advance(Duration::from_secs(2));
    for topic in [LATEST, LAST, EVERY] {
        assert_eq!(values(&pair, one, topic.name()), [Val::from(0), Val::from(2)]);
    }
    assert!(lagged(&pair).is_empty());
}

/// Topics that were never declared are kept as one, so that a rate would drop values of some in favour
/// of others.
#[test]
fn a_rate_is_for_topics_that_were_declared() {
    const ONE: Topic<u32> = Topic::new("other.one");
    const TWO: Topic<u32> = Topic::new("other.two");
    let (mut pair, one, _) = two(|_| {});
    assert!(pair.ask(one, "wslink.subscribe", val!([["*"], 1])).is_ok());
    publish(&mut pair, Audience::All, &ONE, 0);
    publish(&mut pair, Audience::All, &ONE, 1);
    publish(&mut pair, Audience::All, &TWO, 2);
    let alone = only(&pair, one);
    publish(&mut pair, alone, &ONE, 3);
    assert_eq!(values(&pair, one, "other.one"), [val!(0), val!(1), val!(3)]);
    assert_eq!(values(&pair, one, "other.two"), [val!(2)]);
    publish(&mut pair, Audience::All, &LATEST, 4);
    publish(&mut pair, Audience::All, &LATEST, 5);
    assert_eq!(values(&pair, one, LATEST.name()), [val!(4)]);
}

#[test]
fn only_what_is_for_a_peer_overtakes() {
    let (mut pair, one, two) = two(|_| {});
    pair.link(one).stall();
    let (mine, other) = (only(&pair, one), only(&pair, two));
    // A frame that is under way stays.
    publish(&mut pair, mine, &STATE, "under way");
    for topic in [LATEST, LAST] {
        publish(&mut pair, mine, &topic, 1);
        for n in 2..8 {
            publish(&mut pair, other, &topic, n);
        }
    }
    pair.link(one).flow();
    pair.run();
    assert_eq!(values(&pair, one, LATEST.name()), [Val::from(1)]);
    assert_eq!(values(&pair, one, LAST.name()), [Val::from(1)]);
    assert_eq!(values(&pair, two, LATEST.name()).len(), 6);
    assert!(lagged(&pair).is_empty());
}

#[test]
fn what_the_ring_passed_over_is_counted_for_those_who_were_meant() {
    let (mut pair, one, two) = two(|options| options.hub.publications = 2);
    pair.link(one).stall();
    let (mine, other) = (only(&pair, one), only(&pair, two));
    let but_mine = Audience::Except(pair.peer(one));
    publish(&mut pair, Audience::All, &LAST, 0);
    // All at once: no connection gets to look at it in between.
    let publications = pair.publications();
    for n in 1..5 {
        publications.publish(other, &EVERY, &n, &[]).expect("published");
        publications.publish(but_mine, &EVERY, &n, &[]).expect("published");
        publications.publish(mine, &LATEST, &n, &[]).expect("published");
        publications.publish(other, &LATEST, &n, &[]).expect("published");
        publications.publish(Audience::All, &LAST, &n, &[]).expect("published");
    }
    pair.run();
    pair.link(one).flow();
    pair.run();
    assert_eq!(values(&pair, one, LAST.name()), [Val::from(4)]);
    assert_eq!(pair.connection(two).closed(), Some(CloseReason::Lagged));
    assert_eq!(pair.connection(one).closed(), None);
    let mut lagged = lagged(&pair);
    lagged.retain(|what, _| what.starts_with(&pair.peer(one).to_string()));
    let expected = losses(&pair, one, [("desk.latest", 4), ("desk.last", 4)]);
    assert_eq!(lagged, expected);
}

#[test]
fn a_retained_value_is_one_that_the_peer_is_meant_to_see() {
    let (mut pair, one, _) = two(|_| {});
    let mine = only(&pair, one);
    publish(&mut pair, Audience::All, &STATE, "for all");
    publish(&mut pair, mine, &STATE, "for one");
    let late = pair.connected(Dialect::V2);
    assert_eq!(values(&pair, late, "state.mode"), [Val::from("for all")]);
    assert_eq!(values(&pair, one, "state.mode"), [Val::from("for all"), Val::from("for one")]);
    let but_mine = Audience::Except(pair.peer(one));
    publish(&mut pair, but_mine, &STATE, "for others");
    say(&mut pair, one, "wslink.subscribe", val!(["*"]));
    assert_eq!(values(&pair, one, "state.mode").len(), 2);
    let late = pair.connected(Dialect::V1);
    assert_eq!(values(&pair, late, "state.mode"), [Val::from("for others")]);
}

#[test]
fn the_newest_value_comes_though_the_ring_has_passed_over_it() {
    let (mut pair, one, _) = two(|options| options.hub.publications = 2);
    pair.link(one).stall();
    publish(&mut pair, Audience::All, &LAST, 0);
    publish(&mut pair, Audience::All, &STATE, "old");
    publish(&mut pair, Audience::All, &STATE, "new");
    for n in 1..4 {
        publish(&mut pair, Audience::All, &LAST, n);
    }
    pair.link(one).flow();
    pair.run();
    assert_eq!(values(&pair, one, "state.mode"), [Val::from("new")]);
    let expected = losses(&pair, one, [("desk.last", 2), ("state.mode", 1)]);
    assert_eq!(lagged(&pair), expected);
}

#[test]
fn nobody_is_sent_what_is_for_a_peer_that_is_gone() {
    let (mut pair, one, two) = two(|options| options.hub.publications = 2);
    let gone = only(&pair, two);
    pair.eof(two);
    pair.run();
    lagged(&pair);
    pair.link(one).stall();
    publish(&mut pair, Audience::All, &LAST, 0);
    publish(&mut pair, Audience::All, &LAST, 1);
    for n in 0..9 {
        publish(&mut pair, gone, &LAST, n);
    }
    pair.link(one).flow();
    pair.run();
    assert_eq!(values(&pair, one, LAST.name()), [Val::from(0), Val::from(1)]);
    assert!(lagged(&pair).is_empty());
}

#[test]
fn names_that_no_topic_has_narrow_as_well() {
    for names in [val!(["nobody.knows"]), val!(["nobody.knows", "wslink.lagged"]), val!([])] {
        let (mut pair, one, _) = two(|_| {});
        say(&mut pair, one, "wslink.subscribe", val!(["wslink.lagged"]));
        publish(&mut pair, Audience::All, &LATEST, 1);
        assert_eq!(values(&pair, one, LATEST.name()), [Val::from(1)]);
        let topics = pair.ask(one, "wslink.subscribe", Val::Seq(vec![names])).expect("subscribed");
        assert_eq!(topics, val!({"topics": ["wslink.lagged"]}));
        publish(&mut pair, Audience::All, &LATEST, 2);
        assert_eq!(values(&pair, one, LATEST.name()), [Val::from(1)]);
    }
}

/// What became of a call whose answer may not find room behind others.
fn crowded(
    bytes: u32,
    before: impl Fn(&mut Pair<Desk>, Client),
    method: &str,
    args: Val,
) -> (Pair<Desk>, Client, Result<Val, Failure>) {
    let mut pair = desk(|options| {
        options.config.exit = true;
        options.config.limits.transmit_bytes = bytes;
        options.config.limits.id = 40;
    });
    let client = pair.connected(Dialect::V1);
    before(&mut pair, client);
    pair.run();
    _ = pair.take_transcript();
    pair.link(client).stall();
    pair.call(client, "no.such.method", val!([]));
    let id = "as.long.as.an.id.can.be.on.this.server";
    pair.request(client, val!({"id": id, "method": method, "args": (args)}));
    pair.run();
    pair.link(client).flow();
    pair.run();
    let Some(answer) = pair.answer(client, id).cloned() else {
        panic!("no answer with {bytes} bytes:\n{}", pair.transcript());
    };
    (pair, client, answer)
}

/// Sizes of a transmit buffer with too little room, and with enough.
const SIZES: core::ops::Range<u32> = 240..440;

#[test]
fn a_subscription_that_is_answered_with_an_error_changes_nothing() {
    let mut seen = [0, 0];
    let narrow = |pair: &mut Pair<Desk>, client| {
        pair.call(client, "wslink.subscribe", val!(["desk.every"]));
    };
    for bytes in SIZES.step_by(4) {
        let names = val!([["*", "wslink.lagged"]]);
        let (mut pair, client, answer) = crowded(bytes, narrow, "wslink.subscribe", names);
        seen[usize::from(answer.is_ok())] += 1;
        publish(&mut pair, Audience::All, &LATEST, 1);
        assert_eq!(values(&pair, client, LATEST.name()).is_empty(), answer.is_err(), "{bytes}");
        // Nothing is left of it.
        let now = pair.ask(client, "wslink.unsubscribe", val!(["desk.latest"])).expect("room");
        let expected = match answer {
            Ok(_) => val!(["desk.last", "desk.every", "state.mode", "wslink.lagged"]),
            Err(_) => val!(["desk.every"]),
        };
        assert_eq!(now.field("topics"), Some(&expected), "{bytes}");
    }
    assert!(seen.iter().all(|count| *count > 1), "{seen:?}");
}

#[test]
fn what_was_cancelled_does_not_take_the_room_for_the_answer() {
    for bytes in SIZES.step_by(4) {
        let running = |pair: &mut Pair<Desk>, client| {
            let token = Val::Map(vec![(Val::from("wslink_token"), Val::from(7))]);
            pair.call_with(client, "desk.wait", val!([]), token);
        };
        let (pair, client, answer) = crowded(bytes, running, "wslink.cancel", val!([7]));
        assert_eq!(answer, Ok(Val::Bool(true)), "{bytes}");
        assert_eq!(pair.running(client), 0);
        let failed = |received: &&Received| matches!(received, Received::Answer(_, Err(_)));
        let failures = pair.received(client).iter().filter(failed).count();
        assert_eq!(failures, 2, "{bytes}:\n{}", pair.transcript());
    }
}

/// Counts how often it is encoded.
struct Counted<'a>(&'a Cell<u32>);

impl Serialize for Counted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.set(self.0.get() + 1);
        serializer.serialize_u32(7)
    }
}

#[test]
fn two_hundred_clients_cost_one_encoding_for_each_dialect() {
    let mut pair = desk(|_| ());
    let clients: Vec<_> = (0..200)
        .map(|nth| pair.connected(if nth % 2 == 0 { Dialect::V1 } else { Dialect::V2 }))
        .collect();
    // The first publication makes the hub's memory.
    publish(&mut pair, Audience::All, &LATEST, 1);
    let encodings = Cell::new(0);
    let topic = Topic::<Counted<'_>>::new("desk.counted");
    publish(&mut pair, Audience::All, &topic, Counted(&encodings));
    assert_eq!(encodings.get(), 2);
    for client in clients {
        assert_eq!(values(&pair, client, "desk.counted"), [val!(7)]);
    }
}
