//! Topics with policies, retained values, subscriptions, and the methods that every server has.

mod audiences;

use core::time::Duration;
use wslink_core::wire::Dialect;
use wslink_core::{
    Audience, Call, Cx, MethodInfo, NoBlob, ParamInfo, PeerId, Policy, RpcError, Service, Topic,
    TopicInfo,
};
use wslink_testkit::{Client, Clock, Options, Pair, Received, Val, val};

const LATEST: Topic<u32> = Topic::new("desk.latest")
    .with_doc("Newest only.")
    .with_type("u32")
    .with_policy(Policy::KeepLatest);
const LAST: Topic<u32> = Topic::new("desk.last").with_policy(Policy::DropOldest(3));
const EVERY: Topic<u32> = Topic::new("desk.every").with_policy(Policy::Disconnect);
const STATE: Topic<&'static str> =
    Topic::new("state.mode").with_policy(Policy::KeepLatest).retained();

/// Tells in the transcript's own way what a service is told.
struct Desk {
    clock: Clock,
    told: std::sync::Mutex<Vec<String>>,
}

impl Service for Desk {
    type Request = u32;
    type Reply = u32;
    type Blob = NoBlob;
    const METHODS: &'static [MethodInfo] = &[
        MethodInfo::new("desk.count")
            .with_params(&[ParamInfo::required("steps").with_type("u32")])
            .with_doc("Counts, a step a second.")
            .with_returns("u32"),
        MethodInfo::new("desk.wait").with_deadline(Duration::from_secs(90)),
    ];
    const TOPICS: &'static [TopicInfo] = &[LATEST.info(), LAST.info(), EVERY.info(), STATE.info()];

    fn decode(&self, call: &Call<'_>) -> Result<u32, RpcError> {
        let params = call.params()?;
        if call.method.name == "desk.wait" { Ok(u32::MAX) } else { params.required(0) }
    }

    async fn call(&self, cx: Cx<'_, NoBlob>, steps: u32) -> Result<u32, RpcError> {
        for step in 0..steps {
            self.clock.sleep(Duration::from_secs(1)).await;
            cx.progress(u64::from(step) + 1, (steps < u32::MAX).then_some(steps.into()));
        }
        Ok(steps)
    }

    fn lagged(&self, peer: PeerId, topic: &'static str, missed: u64) {
        self.told().push(format!("{peer} lagged {topic} {missed}"));
    }

    fn listened(&self, topic: &'static str, listened: bool) {
        self.told().push(format!("{topic} listened {listened}"));
    }
}

impl Desk {
    fn told(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn desk(change: impl Fn(&mut Options)) -> Pair<Desk> {
    let clock = Clock::new();
    let mut options = Options::desktop();
    change(&mut options);
    let told = std::sync::Mutex::default();
    Pair::with(Desk { clock: clock.clone(), told }, clock, options)
}

/// The same scenario in both dialects, one transcript after the other; with what the service was
/// told at the end.
fn in_both(change: impl Fn(&mut Options), scenario: impl Fn(&mut Pair<Desk>, Client)) -> String {
    let mut text = String::new();
    for (dialect, name) in [(Dialect::V1, "1.x"), (Dialect::V2, "2.x")] {
        let mut pair = desk(&change);
        let client = pair.connected(dialect);
        _ = pair.take_transcript();
        scenario(&mut pair, client);
        text += &format!("==== {name}\n{}", pair.take_transcript());
        for told in pair.service().told().drain(..) {
            text += &format!("-- told: {told}\n");
        }
    }
    text
}

fn publish<T: serde::Serialize>(pair: &mut Pair<Desk>, topic: &Topic<T>, value: T) {
    let result = pair.publications().publish(Audience::All, topic, &value, &[]);
    assert_eq!(result, Ok(()));
    pair.run();
}

fn say(pair: &mut Pair<Desk>, client: Client, method: &str, args: Val) {
    pair.call(client, method, args);
    pair.run();
}

macro_rules! snapshot {
    ($text:expr) => {
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!($text) });
    };
}

#[test]
fn a_slow_peer_gets_what_the_policy_says() {
    snapshot!(in_both(
        |_| {},
        |pair, client| {
            pair.link(client).stall();
            for n in 0..6 {
                publish(pair, &LATEST, n);
                publish(pair, &LAST, 10 + n);
            }
            pair.note("it reads again");
            pair.link(client).flow();
            pair.run();
            publish(pair, &LATEST, 6);
        }
    ));
}

#[test]
fn what_must_be_complete_ends_the_connection() {
    snapshot!(in_both(
        |options| options.hub.publications = 4,
        |pair, client| {
            pair.link(client).stall();
            for n in 0..6 {
                publish(pair, &EVERY, n);
            }
            pair.link(client).flow();
            pair.run();
        }
    ));
}

#[test]
fn a_flood_of_one_topic_is_counted_for_another() {
    snapshot!(in_both(
        |options| options.hub.publications = 4,
        |pair, client| {
            pair.link(client).stall();
            publish(pair, &LAST, 1);
            publish(pair, &LAST, 2);
            for n in 0..5 {
                publish(pair, &LATEST, n);
            }
            pair.link(client).flow();
            pair.run();
        }
    ));
}

#[test]
fn the_last_value_goes_to_whoever_joins() {
    snapshot!(in_both(
        |_| {},
        |pair, client| {
            pair.note("nobody of the other dialect is there");
            publish(pair, &STATE, "warm");
            publish(pair, &STATE, "cold");
            publish(pair, &LATEST, 1);
            for dialect in [Dialect::V1, Dialect::V2] {
                let late = pair.connected(dialect);
                pair.run();
                pair.note(format!("joined: {late:?}"));
            }
            publish(pair, &STATE, "hot");
            _ = client;
        }
    ));
}

#[test]
fn a_retained_value_comes_again_on_request() {
    snapshot!(in_both(
        |_| {},
        |pair, client| {
            publish(pair, &STATE, "warm");
            say(pair, client, "wslink.subscribe", val!(["*"]));
            pair.note("it was under way, and comes again");
            pair.link(client).stall();
            publish(pair, &STATE, "hot");
            pair.call(client, "wslink.subscribe", val!(["state.mode"]));
            pair.run();
            pair.link(client).flow();
            pair.run();
        }
    ));
}

#[test]
fn a_retained_value_waits_for_the_first_peer() {
    for dialect in [Dialect::V1, Dialect::V2] {
        let mut pair = desk(|_| {});
        publish(&mut pair, &STATE, "alone");
        publish(&mut pair, &LATEST, 1);
        let client = pair.connected(dialect);
        pair.run();
        assert_eq!(topics(&pair, client), ["state.mode"]);
    }
}

/// The topics of all publications that a client received.
fn topics(pair: &Pair<Desk>, client: Client) -> Vec<&str> {
    let received = pair.received(client).iter();
    received
        .filter_map(|received| match received {
            Received::Publication(topic, _) => Some(topic.as_str()),
            Received::Answer(..) => None,
        })
        .collect()
}

#[test]
fn subscriptions_narrow_what_is_sent() {
    snapshot!(in_both(
        |_| {},
        |pair, client| {
            let all = |pair: &mut Pair<Desk>, n: u32| {
                pair.note(format!("all {n}"));
                publish(pair, &LATEST, n);
                publish(pair, &LAST, n);
                publish(pair, &STATE, "x");
            };
            all(pair, 0);
            say(pair, client, "wslink.subscribe", val!(["desk.last"]));
            all(pair, 1);
            say(pair, client, "wslink.subscribe", val!([["desk.l*", "nobody.knows"]]));
            all(pair, 2);
            say(pair, client, "wslink.unsubscribe", val!(["desk.last"]));
            all(pair, 3);
            pair.note("interest in a retained topic brings its value");
            say(pair, client, "wslink.subscribe", val!(["state.*"]));
            say(pair, client, "wslink.unsubscribe", val!(["*"]));
            all(pair, 4);
            say(pair, client, "wslink.subscribe", val!(["*"]));
            all(pair, 5);
        }
    ));
}

#[test]
fn subscriptions_that_make_no_sense() {
    snapshot!(in_both(
        |_| {},
        |pair, client| {
            say(pair, client, "wslink.subscribe", val!([]));
            say(pair, client, "wslink.subscribe", val!([7]));
            say(pair, client, "wslink.subscribe", val!([["desk.last", 7]]));
            say(pair, client, "wslink.subscribe", val!(["desk.last", 0]));
            say(pair, client, "wslink.subscribe", val!(["desk.last", (-1)]));
            say(pair, client, "wslink.subscribe", val!(["desk.last", "often"]));
            say(pair, client, "wslink.unsubscribe", val!(["desk.last", 1]));
            say(pair, client, "wslink.cancel", val!(["x"]));
            pair.note("it is still sent everything");
            publish(pair, &LATEST, 1);
        }
    ));
}

#[test]
fn a_rate_brings_the_newest_in_its_time() {
    snapshot!(in_both(
        |_| {},
        |pair, client| {
            say(pair, client, "wslink.subscribe", val!(["desk.l*", 2.0]));
            for n in 0..5 {
                publish(pair, &LATEST, n);
                publish(pair, &LAST, n);
                pair.advance(Duration::from_millis(200));
            }
            pair.advance(Duration::from_secs(3));
            publish(pair, &LATEST, 9);
        }
    ));
}

#[test]
fn a_client_can_ask_to_be_told_of_losses() {
    snapshot!(in_both(
        |_| {},
        |pair, client| {
            pair.note("that alone narrows nothing");
            say(pair, client, "wslink.subscribe", val!(["wslink.lagged"]));
            publish(pair, &STATE, "x");
            say(pair, client, "wslink.subscribe", val!([["desk.*"]]));
            for round in 0..2 {
                pair.link(client).stall();
                for n in 0..4 {
                    publish(pair, &LATEST, 10 * round + n);
                }
                pair.link(client).flow();
                pair.run();
            }
            pair.note("at most one a second");
            pair.advance(Duration::from_secs(2));
        }
    ));
}

#[test]
fn first_and_last_listeners() {
    let mut pair = desk(|_| {});
    let told = |pair: &Pair<Desk>| core::mem::take(&mut *pair.service().told());
    let one = pair.connected(Dialect::V2);
    assert_eq!(told(&pair).len(), 4);
    let two = pair.connected(Dialect::V1);
    say(&mut pair, one, "wslink.subscribe", val!(["desk.last"]));
    assert_eq!(told(&pair), Vec::<String>::new());
    say(&mut pair, two, "wslink.subscribe", val!(["desk.latest"]));
    assert_eq!(told(&pair), ["desk.every listened false", "state.mode listened false"]);
    say(&mut pair, two, "wslink.unsubscribe", val!(["desk.latest"]));
    assert_eq!(told(&pair), ["desk.latest listened false"]);
    pair.eof(one);
    pair.run();
    assert_eq!(told(&pair), ["desk.last listened false"]);
}

#[test]
fn description() {
    snapshot!(in_both(|_| {}, |pair, client| say(pair, client, "wslink.describe", val!([]))));
}

#[test]
fn description_in_pages() {
    snapshot!(in_both(
        |options| options.config.limits.transmit_bytes = 800,
        |pair, client| {
            let mut page = Val::from(0);
            while page != Val::Null {
                let answer = pair.ask(client, "wslink.describe", Val::Seq(vec![page])).unwrap();
                page = answer.field("next").unwrap().clone();
            }
        }
    ));
}

#[test]
fn description_of_what_does_not_fit_alone() {
    snapshot!(in_both(
        |options| options.config.limits.transmit_bytes = 460,
        |pair, client| {
            // Without limits, and by its names only.
            for page in [1, 0] {
                let answer = pair.ask(client, "wslink.describe", val!([page])).unwrap();
                assert_eq!(answer.field("next"), Some(&Val::from(page + 1)));
            }
        }
    ));
}

#[test]
fn progress_and_cancelling() {
    snapshot!(in_both(
        |_| {},
        |pair, client| {
            let token = |n: u32| Val::Map(vec![(Val::from("wslink_token"), Val::from(n))]);
            pair.call_with(client, "desk.count", val!([2]), token(7));
            pair.call(client, "desk.count", val!([2]));
            pair.advance(Duration::from_secs(3));
            pair.note("a call without an end");
            pair.call_with(client, "desk.wait", val!([]), token(8));
            pair.advance(Duration::from_millis(1500));
            say(pair, client, "wslink.cancel", val!([9]));
            say(pair, client, "wslink.cancel", val!([8]));
            say(pair, client, "wslink.cancel", val!([8]));
            assert_eq!(pair.running(client), 0);
            pair.note("a token of another kind");
            let kwargs = Val::Map(vec![(Val::from("wslink_token"), Val::from("x"))]);
            pair.call_with(client, "desk.count", val!([1]), kwargs);
            pair.run();
            pair.note("a deadline of the method's own");
            say(pair, client, "desk.wait", val!([]));
            for _ in 0..10 {
                pair.advance(Duration::from_secs(10));
            }
        }
    ));
}

#[test]
fn progress_reaches_a_client_that_narrowed() {
    let mut pair = desk(|_| {});
    let client = pair.connected(Dialect::V2);
    say(&mut pair, client, "wslink.subscribe", val!(["desk.last"]));
    let kwargs = Val::Map(vec![(Val::from("wslink_token"), Val::from(1))]);
    pair.call_with(client, "desk.count", val!([1]), kwargs);
    pair.advance(Duration::from_secs(2));
    assert_eq!(topics(&pair, client), ["wslink.progress"]);
}

#[test]
fn the_end_on_request() {
    snapshot!(in_both(
        |options| options.config.exit = true,
        |pair, client| {
            say(pair, client, "application.exit.later", val!([]));
            say(pair, client, "application.exit.later", val!([2.5]));
            say(pair, client, "application.exit.later", val!([(-1)]));
            say(pair, client, "application.exit", val!([]));
        }
    ));
}

#[test]
fn no_end_on_request_unless_allowed() {
    snapshot!(in_both(
        |_| {},
        |pair, client| {
            say(pair, client, "application.exit.later", val!([]));
            say(pair, client, "application.exit", val!([]));
        }
    ));
}
