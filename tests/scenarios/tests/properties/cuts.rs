//! The same events and the same messages, however what comes is cut into fragments and however
//! little the transport takes at a time.

use core::time::Duration;
use proptest::prelude::*;
use wslink_core::wire::Dialect;
use wslink_core::{Attachment, Audience, CloseCode};
use wslink_scenarios::{Bench, DIALECTS, IMAGE, LEVEL, bench_of, fill, send_raw};
use wslink_testkit::{Client, Cut, Failure, Frame, Options, Pair, Received, Val, val};

/// What a client or the test does.
#[derive(Clone, Debug)]
enum Action {
    Hello(bool),
    Echo(Vec<u8>),
    Text(u32),
    Attach(u32, u32),
    Upload(Vec<u32>),
    Fail,
    Late(u64, u32),
    Unknown,
    Malformed,
    Ping,
    Publish(u32),
    Image(u32),
    Advance(u64),
    Close,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => any::<bool>().prop_map(Action::Hello),
        3 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Action::Echo),
        1 => (0_u32..2000).prop_map(Action::Text),
        2 => (0_u32..3000, 1_u32..4).prop_map(|(bytes, times)| Action::Attach(bytes, times)),
        2 => prop::collection::vec(0_u32..1500, 1..4).prop_map(Action::Upload),
        1 => Just(Action::Fail),
        2 => (1_u64..500, 0_u32..300).prop_map(|(millis, chars)| Action::Late(millis, chars)),
        1 => Just(Action::Unknown),
        1 => Just(Action::Malformed),
        1 => Just(Action::Ping),
        2 => any::<u32>().prop_map(Action::Publish),
        1 => (0_u32..2000).prop_map(Action::Image),
        2 => (0_u64..400).prop_map(Action::Advance),
        1 => Just(Action::Close),
    ]
}

/// How the bytes travel.
#[derive(Clone, Debug)]
struct Way {
    lengths: Vec<usize>,
    merge: bool,
    piece: usize,
    fixed: bool,
}

fn way() -> impl Strategy<Value = Way> {
    let lengths = prop::collection::vec(0_usize..40, 1..6);
    (lengths, prop::bool::weighted(0.2), 1_usize..60, any::<bool>())
        .prop_map(|(lengths, merge, piece, fixed)| Way { lengths, merge, piece, fixed })
}

fn act(pair: &mut Pair<Bench>, client: Client, action: &Action) {
    let bin = |len: &u32| Val::Bin(fill(*len).to_vec());
    match action {
        Action::Hello(true) => pair.hello(client),
        Action::Hello(false) => pair.hello_with(client, val!([{"secret": "wrong"}])),
        Action::Echo(bytes) => {
            let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            let args = val!([text, (bytes.len()), {"bytes": (Val::Bin(bytes.clone()))}]);
            pair.call(client, "bench.echo", args);
        }
        Action::Text(chars) => _ = pair.call(client, "bench.text", val!([(*chars)])),
        Action::Attach(bytes, times) => {
            pair.call(client, "bench.attach", val!([(*bytes), (*times)]));
        }
        Action::Upload(lens) => {
            pair.call(client, "bench.upload", Val::Seq(lens.iter().map(bin).collect()));
        }
        Action::Fail => _ = pair.call(client, "bench.fail", val!(["why"])),
        Action::Late(millis, chars) => {
            pair.call(client, "bench.late", val!([(*millis), (*chars)]));
        }
        Action::Unknown => _ = pair.call(client, "unknown", val!([1])),
        Action::Malformed => {
            send_raw(
                pair,
                client,
                br#"{"id":"bad","args":[1,]}"#,
                b"\x82\xa2id\xa3bad\xa4args\xc1",
            );
        }
        Action::Ping => pair.send(client, Frame::ping("ping")),
        Action::Publish(level) => {
            pair.publications().publish(Audience::All, &LEVEL, level, &[]).expect("it fits");
        }
        Action::Image(bytes) => {
            let value = (*bytes, Attachment::nth(0));
            let result =
                pair.publications().publish(Audience::All, &IMAGE, &value, &[fill(*bytes)]);
            result.expect("it fits");
        }
        Action::Advance(millis) => pair.advance(Duration::from_millis(*millis)),
        Action::Close => pair.close(client, CloseCode::GoingAway, "Server shutdown"),
    }
}

/// What happened: the events, the answers by id, the publications in their order.
#[derive(Debug, PartialEq)]
struct Outcome {
    events: Vec<String>,
    answers: Vec<(String, Result<Val, Failure>)>,
    publications: Vec<(String, Val)>,
    control: Vec<String>,
}

fn play(dialect: Dialect, actions: &[Action], way: Option<&Way>) -> Outcome {
    let mut options = Options::desktop();
    options.config.limits.max_msg_size = 600;
    options.config.limits.receive_bytes = 100_000;
    options.config.limits.transmit_bytes = 100_000;
    options.fixed_buffers = way.is_some_and(|way| way.fixed);
    let mut pair = bench_of(options);
    let client = pair.connect(dialect);
    if let Some(way) = way {
        let cut = Cut::Lengths(way.lengths.clone());
        pair.link(client).cut(cut).merge(way.merge).pieces(way.piece);
    }
    for action in actions {
        act(&mut pair, client, action);
        pair.run();
    }
    pair.advance(Duration::from_secs(2));
    let mut answers = Vec::new();
    let mut publications = Vec::new();
    for received in pair.received(client) {
        match received.clone() {
            Received::Answer(id, result) => answers.push((id, result)),
            Received::Publication(topic, value) => publications.push((topic, value)),
        }
    }
    answers.sort_by_key(|(id, result)| (id.clone(), format!("{result:?}")));
    let transcript = pair.transcript();
    let is_control =
        |text: &&str| ["pong", "ping", "close", "eof"].iter().any(|is| text.starts_with(is));
    let down = transcript.lines().iter().filter(|line| line.way == wslink_testkit::Way::Down);
    let control = down.map(|line| line.text.as_str()).filter(is_control).map(str::to_owned);
    let control = control.collect();
    assert_eq!(pair.unnamed_attachments(client), 0);
    let events = transcript.events(0).map(str::to_owned).collect();
    Outcome { events, answers, publications, control }
}

proptest! {
    #![proptest_config(crate::cases(192))]

    #[test]
    fn the_same_however_it_is_cut(
        actions in prop::collection::vec(action(), 1..16),
        way in way(),
    ) {
        let mut actions = actions;
        actions.insert(0, Action::Hello(true));
        for (dialect, _) in DIALECTS {
            let whole = play(dialect, &actions, None);
            let cut = play(dialect, &actions, Some(&way));
            prop_assert_eq!(&whole, &cut);
        }
    }
}
