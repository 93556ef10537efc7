//! What fuzzing has found, each as small as it became.

use core::cell::Cell;
use core::str::Utf8Error;
use core::time::Duration;
use std::rc::Rc;
use wslink_core::wire::Dialect;
use wslink_core::{
    Api, Audience, Body, Buffer, Buffers, Call, CloseCode, CloseReason, Config, Connection, Cx,
    Entropy, Event, Hub, HubBuffers, HubLimits, Instant, Memory, MethodInfo, NoBlob, OpCode,
    RpcError, Service, Topic, TopicInfo, Transmit, Verdict,
};
use wslink_scenarios::{Bench, DIALECTS, bench_of, bench_with};
use wslink_testkit::{Client, Clock, Frame, HeapTable, Options, Pair, Received, Val, val};

#[test]
fn a_description_for_which_there_is_no_room_now() {
    for (dialect, name) in DIALECTS {
        let mut pair = bench_with(|config| {
            config.limits.transmit_bytes = 500;
            config.limits.id = 40;
        });
        let client = pair.connected(dialect);
        pair.link(client).stall();
        let calls: Vec<_> =
            (0..3).map(|_| pair.call(client, "wslink.describe", val!([0]))).collect();
        pair.run();
        pair.link(client).flow();
        pair.run();
        for id in calls {
            assert!(pair.answer(client, &id).is_some(), "{name} {id}:\n{}", pair.transcript());
        }
    }
}

#[test]
fn an_error_for_which_there_is_no_room_now() {
    for (dialect, name) in DIALECTS {
        for bytes in 250..400 {
            let mut pair = bench_with(|config| {
                config.limits.transmit_bytes = bytes;
                config.limits.id = 40;
            });
            let client = pair.connected(dialect);
            pair.link(client).stall();
            let kwargs = val!({"wslink_token": "which is no number"});
            let mut call = || pair.call_with(client, "bench.echo", val!([]), kwargs.clone());
            let calls = [call(), call(), call()];
            pair.run();
            pair.link(client).flow();
            pair.run();
            for id in calls {
                let answered = pair.answer(client, &id).is_some();
                assert!(answered, "{name} {bytes} {id}:\n{}", pair.transcript());
            }
        }
    }
}

#[test]
fn a_fragmented_chunk_that_is_refused_after_it_was_moved() {
    let mut options = Options::desktop();
    options.fixed_buffers = true;
    options.config.limits.receive_bytes = 2048;
    options.config.limits.ranges = 3;
    let mut pair = bench_of(options);
    let client = pair.connected(Dialect::V2);
    let request = val!({"id": "moved", "method": "bench.echo", "args": [("x".repeat(1100))]});
    let request = request.to_msgpack();
    let chunk = |id, offset, total, len| Frame::chunk(id, offset, total, &[0; 100][..len]);
    // In fragments, so that there is a gap before its message later.
    let first = chunk(20, 44, 508, 44).payload;
    pair.send(client, Frame::binary(&first[..12]).more());
    pair.send(client, Frame::continuation(&first[12..]));
    pair.send(client, chunk(21, 0, 707, 3));
    pair.send(client, chunk(20, 0, 508, 4));
    let whole = Frame::chunk(12, 0, request.len() as u32, &request[..60]).payload;
    pair.send(client, Frame::binary(&whole[..36]).more());
    pair.send(client, Frame::continuation(&whole[36..]));
    pair.run();
    let answer = pair.answer(client, "moved").unwrap_or_else(|| panic!("{}", pair.transcript()));
    assert_eq!(answer.as_ref().unwrap_err().code, -32003);
    assert_eq!(pair.connection(client).closed(), None);
}

#[test]
fn the_header_of_a_fragmented_chunk_is_no_request() {
    let mut pair = bench_with(|config| {
        (config.limits.max_msg_size, config.limits.overhead) = (100, 0);
    });
    let client = pair.connected(Dialect::V2);
    // As MessagePack it would begin a map with an id.
    let id = u32::from_le_bytes(*b"\x81\xa2id");
    let offset = u32::from_le_bytes(*b"\xa1x\0\0");
    let chunk = Frame::chunk(id, offset, u32::MAX, &[0; 80]);
    pair.send(client, chunk.more());
    pair.send(client, Frame::continuation([0; 80]));
    pair.run();
    let (answer, closed) = (pair.answer(client, "x"), pair.connection(client).closed());
    assert!(answer.is_none(), "{}", pair.transcript());
    assert!(matches!(closed, Some(CloseReason::Limit(_))), "{closed:?}");
}

#[test]
fn nothing_follows_the_end() {
    let now = Instant::default();
    let (mut connection, mut hub, _) = watched(HubLimits::device());
    send(&mut connection, &mut hub, &hello());
    let publish = |hub: &mut Hub<Watched>| {
        hub.publish("topic", Audience::All, &[], &|writer| writer.value(&[7; 200].as_slice()))
            .expect("it fits");
    };
    publish(&mut hub);
    // It is under way when the connection ends, and is passed over then.
    while let Some(transmit) = connection.poll_transmit(now, &hub) {
        let n = transmit.head.len() + transmit.body.len();
        if n > 200 {
            break;
        }
        connection.advance(now, n).expect("it was lent");
    }
    connection.handle_eof();
    assert!(matches!(connection.poll_event(), Some(Event::Closed(CloseReason::Eof))));
    for _ in 0..40 {
        publish(&mut hub);
    }
    assert!(connection.poll_transmit(now, &hub).is_none());
    let event = connection.poll_event();
    assert!(event.is_none(), "{event:?}");
}

const LEVEL: Topic<u32> = Topic::new("kept.level").retained();
const RARE: Topic<u32> = Topic::new("rare");

/// Publishes only.
struct Topics;

impl Service for Topics {
    type Request = ();
    type Reply = ();
    type Blob = NoBlob;
    const METHODS: &'static [MethodInfo] = &[];
    const TOPICS: &'static [TopicInfo] = &[LEVEL.info(), RARE.info()];

    fn decode(&self, _: &Call<'_>) -> Result<(), RpcError> {
        Ok(())
    }

    async fn call(&self, _: Cx<'_, NoBlob>, (): ()) -> Result<(), RpcError> {
        Ok(())
    }
}

fn publish(pair: &Pair<Topics>, topic: &Topic<u32>, values: core::ops::Range<u32>) {
    for value in values {
        pair.publications().publish(Audience::All, topic, &value, &[]).expect("it fits");
    }
}

fn values(pair: &Pair<Topics>, client: Client, of: &str) -> Vec<Val> {
    let value = |received: &Received| match received {
        Received::Publication(topic, value) if topic.starts_with(of) => Some(value.clone()),
        _ => None,
    };
    pair.received(client).iter().filter_map(value).collect()
}

#[test]
fn a_retained_value_hides_none_that_are_newer() {
    for (dialect, name) in DIALECTS {
        let mut pair = Pair::new(Topics);
        publish(&pair, &LEVEL, 0..1);
        let client = pair.connect(dialect);
        pair.link(client).stall();
        pair.hello(client);
        pair.run();
        publish(&pair, &LEVEL, 1..4);
        pair.link(client).flow();
        pair.run();
        let expected: Vec<Val> = (1_u32..4).map(Val::from).collect();
        assert_eq!(values(&pair, client, "kept"), expected, "{name}:\n{}", pair.transcript());
    }
}

#[test]
fn what_waits_for_its_time_is_not_lost_without_a_word() {
    for (dialect, name) in DIALECTS {
        let mut options = Options::desktop();
        options.hub.publications = 4;
        let mut pair = Pair::with(Topics, Clock::new(), options);
        let client = pair.connected(dialect);
        pair.ask(client, "wslink.subscribe", val!([["*", "wslink.lagged"], 1]))
            .expect("it subscribes");
        // The second of each comes too soon; of what pushes both out none is missed.
        publish(&pair, &LEVEL, 0..1);
        publish(&pair, &RARE, 0..1);
        pair.run();
        publish(&pair, &LEVEL, 1..2);
        publish(&pair, &RARE, 1..2);
        for _ in 0..8 {
            pair.run();
            pair.publications()
                .publish(Audience::All, &Topic::new("undeclared"), &1, &[])
                .expect("it fits");
        }
        pair.advance(Duration::from_secs(5));
        let transcript = pair.transcript().to_string();
        assert_eq!(values(&pair, client, "kept"), [val!(0), val!(1)], "{name}:\n{transcript}");
        assert!(transcript.contains("* lagged rare 1"), "{name}:\n{transcript}");
    }
}

#[test]
fn a_publication_that_is_passed_over_lets_nothing_into_another_message() {
    for bytes in (0..700).step_by(5) {
        let mut options = Options::desktop();
        options.config.limits.max_msg_size = 64;
        options.hub.publications = 2;
        let mut pair = bench_of(options);
        let client = pair.connected(Dialect::V1);
        pair.link(client).stall();
        let id = pair.call(client, "bench.attach", val!([200]));
        let publish = |pair: &Pair<Bench>, level| {
            let audience = Audience::All;
            pair.publications().publish(audience, &wslink_scenarios::LEVEL, &level, &[])
        };
        publish(&pair, 1).expect("it fits");
        publish(&pair, 2).expect("it fits");
        pair.run();
        pair.send(client, Frame::ping("between"));
        pair.link(client).take(bytes);
        pair.run();
        (3..9).for_each(|level| publish(&pair, level).expect("it fits"));
        pair.run();
        pair.link(client).flow();
        pair.run();
        // The client has looked at the order of the frames.
        let ended = pair.connection(client).closed().is_some();
        assert!(ended || pair.answer(client, &id).is_some(), "{bytes}:\n{}", pair.transcript());
    }
}

#[test]
fn the_reason_of_a_close_is_cut_between_characters() {
    let now = Instant::default();
    let (mut connection, hub, _) = watched(HubLimits::device());
    let reason = concat!(
        "x",
        "éééééééééééééééé",
        "éééééééééééééééé",
        "éééééééééééééééé",
        "éééééééééééééééé"
    );
    connection.close(now, CloseCode::GoingAway, reason);
    let transmit = connection.poll_transmit(now, &hub).expect("a Close");
    assert_eq!(transmit.len, 125);
    assert_eq!(reason_of(&transmit), Ok(&reason[..123]));
    connection = watched(HubLimits::device()).0;
    connection.close(now, CloseCode::GoingAway, &reason[1..]);
    let transmit = connection.poll_transmit(now, &hub).expect("a Close");
    assert_eq!(transmit.len, 124);
    assert_eq!(reason_of(&transmit), Ok(&reason[1..123]));
}

#[test]
fn who_has_left_listens_to_nothing() {
    const TOPIC: Topic<u32> = Topic::new("topic");
    static API: Api = Api { methods: &[], topics: &[TOPIC.info()] };
    let now = Instant::default();
    let (mut connection, mut hub, _) = watched_of(&API, HubLimits::device());
    send(&mut connection, &mut hub, &hello());
    assert_eq!(hub.poll_listened(), Some(("topic", true)));
    let subscribe = val!({"id": "a", "method": "wslink.subscribe", "args": ["topic"]});
    let frame = Frame::message(2, &subscribe);
    let frame = wslink_core::Frame::Binary { fin: true, payload: &frame.payload };
    assert!(matches!(connection.handle_frame(now, frame), Ok(Some(Event::Builtin))));
    connection.leave(&mut hub);
    assert_eq!(hub.poll_listened(), Some(("topic", false)));
    connection.handle_builtin(&mut hub);
    assert_eq!(hub.poll_listened(), None);
}

/// What stands behind the code of a Close.
fn reason_of<'a, B>(close: &Transmit<'a, B>) -> Result<&'a str, Utf8Error> {
    let Body::Bytes(reason) = close.body else { panic!("a Close holds no blob") };
    assert_eq!((close.opcode, close.head), (OpCode::Close, &[0x03, 0xe9][..]));
    core::str::from_utf8(reason)
}

/// Memory whose receive buffer tells how long it is.
struct Watched;

struct Growing(Vec<u8>, Rc<Cell<usize>>);

impl AsRef<[u8]> for Growing {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for Growing {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Buffer for Growing {
    fn capacity(&self) -> usize {
        usize::MAX
    }

    fn grow(&mut self, len: usize) {
        self.0.resize(len, 0);
        self.1.set(self.1.get().max(len));
    }
}

impl Memory for Watched {
    type Buffer = Growing;
    type Blob = &'static [u8];
    type Calls<T> = HeapTable<T>;
    type Messages<T> = HeapTable<T>;
    type Blobs = HeapTable<&'static [u8]>;
    type Topics<T> = HeapTable<T>;
    type Publications<T> = HeapTable<T>;
    type Peers<T> = HeapTable<T>;
}

fn watched(limits: HubLimits) -> (Connection<Watched>, Hub<Watched>, Rc<Cell<usize>>) {
    static API: Api = Api { methods: &[], topics: &[] };
    watched_of(&API, limits)
}

fn watched_of(
    api: &'static Api,
    limits: HubLimits,
) -> (Connection<Watched>, Hub<Watched>, Rc<Cell<usize>>) {
    let most = Rc::new(Cell::new(0));
    let buffer = || Growing(Vec::new(), Rc::default());
    let (now, entropy) = (Instant::default(), Entropy([1; 16]));
    let hub_buffers = HubBuffers { publications: buffer(), retained: buffer() };
    let mut hub = Hub::new(limits, api.topics, entropy, hub_buffers).expect("tables without end");
    let peer = hub.next_peer();
    let buffers = Buffers { receive: Growing(Vec::new(), most.clone()), transmit: buffer() };
    let mut config = Config::desktop();
    config.limits.max_msg_size = 1 << 20;
    let connection =
        Connection::accept(config, api, buffers, peer, entropy, now).expect("enough memory");
    (connection, hub, most)
}

fn hello() -> Frame {
    Frame::message(1, &val!({"id": "system:0", "method": "wslink.hello"}))
}

fn send(connection: &mut Connection<Watched>, hub: &mut Hub<Watched>, frame: &Frame) {
    let now = Instant::default();
    let frame = wslink_core::Frame::Binary { fin: true, payload: &frame.payload };
    let is_hello = matches!(connection.handle_frame(now, frame), Ok(Some(Event::Hello(_))));
    if is_hello {
        connection.authorize(hub, Verdict::Accept).expect("a hello");
    }
    assert!(connection.has_room());
}

#[test]
fn a_buffer_that_has_grown_does_not_grow_by_claims() {
    let (mut connection, mut hub, most) = watched(HubLimits::desktop());
    let mut send = |frame| send(&mut connection, &mut hub, &frame);
    send(hello());
    // 100 kB of a message have come, and then single bytes of others, each of which says to be as
    // long as the buffer by then could be.
    send(Frame::chunk(2, 0, 100_001, &[0; 100_000]));
    for id in 3..9 {
        send(Frame::chunk(id, 0, 100_000, &[0]));
    }
    assert!(most.get() < 220_000, "{} bytes", most.get());
}
