//! 2.x chunks of any id, offset, total and content, whole or in fragments, against a model of
//! what a message is: it completes when its last byte has come, with exactly its bytes, and
//! nothing is asked of memory because of a claim.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::rc::Rc;
use wslink_core::wire::Dialect;
use wslink_core::{
    Api, Body, Buffers, CallId, CloseReason, Config, Connection, Entropy, Event, Fixed, Frame, Hub,
    HubBuffers, HubLimits, Instant, Limit, Limits, Memory, MethodInfo, Verdict,
};
use wslink_fuzz::{Answer, Buf, Client, Envelope, Input, Meter, Piece, Vecs, chunk, pattern};

const MOST_STEPS: usize = 300;
const NOW: Instant = Instant::from_millis(0);

static API: Api = Api { methods: &[MethodInfo::new("t")], topics: &[] };

/// A call of `t` with one argument, binary data up to its end.
const HEAD: usize = 27;
/// Before the content of a chunk.
const CHUNK_HEADER: usize = 12;
/// So many of its bytes tell its id.
const ID_END: u32 = 7;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let flags = input.u8();
    let sizes = input.u8();
    if flags & 2 == 0 {
        run::<Vecs<Piece>>(limits(sizes, usize::MAX), flags & 1 == 0, input);
    } else {
        run::<Fixed<Buf, Piece, 4, 3, 1, 4, 8>>(limits(sizes, 3), flags & 1 == 0, input);
    }
});

/// Small limits of several kinds; the tables hold so much.
fn limits(sizes: u8, tables: usize) -> Limits {
    let mut limits = Config::desktop().limits;
    let (frame, message, pending, ranges, ahead, receive) = match sizes % 6 {
        0 => (128, 100, 2, 3, 20, 300),
        1 => (350, 300, 4, 64, 1000, 300),
        2 => (1024, 1012, 2, 4, 1024, 1024),
        3 => (200, 4000, 8, 6, 100, 2048),
        4 => (4096, 700, 3, 5, 0, 1500),
        // Claims of any size, on memory that grows only.
        _ => (1 << 20, u32::MAX, 8, 100, 50, u32::MAX),
    };
    limits.frame = frame;
    limits.max_msg_size = frame;
    limits.overhead = 0;
    limits.message = message;
    limits.pending = pending.min(tables as u16);
    limits.ranges = ranges.min(tables as u16);
    limits.ahead = ahead;
    limits.receive_bytes = receive;
    limits.message_before_hello = 200;
    limits
}

/// A message of which some chunks have come.
struct Message {
    total: u32,
    /// Tells its bytes from those of others with the same id.
    seed: u32,
    /// Disjoint, in order, and none touches the next.
    ranges: Vec<(u32, u32)>,
    received: u32,
    /// Memory that may be held for it at most.
    extent: u64,
    refused: bool,
}

/// What a chunk should lead to.
#[derive(Debug, PartialEq)]
enum Outcome {
    Nothing,
    Call {
        id: u32,
        seed: u32,
        total: u32,
    },
    /// A notification, or what is no request.
    Small(u32),
    /// Answered if the beginning is there, closed if it is not.
    Refused(Limit, Option<u32>),
    Violation,
}

struct Model {
    limits: Limits,
    growing: bool,
    messages: BTreeMap<u32, Message>,
    next_seed: u32,
    /// The most that may have been in use since the buffer was given back.
    peak: u64,
}

impl Message {
    /// The first bytes that have not come.
    fn first_gap(&self) -> (u32, u32) {
        match self.ranges.as_slice() {
            [(0, start), rest @ ..] => (*start, rest.first().map_or(self.total, |next| next.0)),
            [next, ..] => (0, next.0),
            [] => (0, self.total),
        }
    }
}

impl Model {
    fn seed(&self, id: u32) -> u32 {
        self.messages.get(&id).map_or(self.next_seed, |message| message.seed)
    }

    /// Memory that all messages may hold.
    fn held(&self) -> u64 {
        self.messages.values().map(|message| message.extent).sum()
    }

    /// What comes of a chunk; `short` if it was refused for want of memory.
    fn chunk(&mut self, id: u32, offset: u32, total: u32, len: u32, short: bool) -> Outcome {
        let limits = self.limits;
        let whole = offset == 0 && total == len && len > 0 && !self.messages.contains_key(&id);
        let begins = offset == 0 && len >= ID_END && total as usize >= HEAD;
        if whole {
            if total > limits.message {
                return Outcome::Refused(Limit::Message, begins.then_some(id));
            }
            let seed = self.next_seed;
            self.next_seed += 1;
            return complete(id, seed, total);
        }
        if total == 0 || offset.checked_add(len).is_none_or(|end| end > total) {
            return Outcome::Violation;
        }
        if !self.messages.contains_key(&id) {
            if self.messages.len() >= usize::from(limits.pending) {
                return Outcome::Refused(Limit::Pending, None);
            }
            let (seed, ranges) = (self.next_seed, Vec::new());
            self.next_seed += 1;
            let message = Message { total, seed, ranges, received: 0, extent: 0, refused: false };
            self.messages.insert(id, message);
        }
        let used: usize = self.messages.values().map(|it| it.ranges.len()).sum();
        let growing = self.growing;
        let message = self.messages.get_mut(&id).expect("it was put there");
        if message.total != total {
            return Outcome::Violation;
        }
        let end = offset + len;
        let before = message.received;
        message.received = before.saturating_add(len);
        if message.refused {
            if message.received >= total {
                self.messages.remove(&id);
            }
            return Outcome::Nothing;
        }
        let begun = match message.ranges.first() {
            Some((0, end)) => *end >= ID_END && total as usize >= HEAD,
            _ => begins,
        };
        let mut joined = message.ranges.clone();
        joined.push((offset, end));
        joined.sort_unstable();
        let refused = if total > limits.message {
            Some(Limit::Message)
        } else if message.ranges.iter().any(|(start, stop)| *start < end && offset < *stop) {
            return Outcome::Violation;
        } else if offset.saturating_sub(before) > limits.ahead {
            Some(Limit::Ahead)
        } else if short {
            Some(Limit::ReceiveBytes)
        } else {
            joined.retain(|(start, end)| start < end);
            joined.dedup_by(|next, last| {
                let touches = last.1 == next.0;
                if touches {
                    last.1 = next.1;
                }
                touches
            });
            let needed = used - message.ranges.len() + joined.len();
            (needed > usize::from(limits.ranges) && joined.len() > message.ranges.len())
                .then_some(Limit::Ranges)
        };
        if let Some(limit) = refused {
            message.refused = true;
            message.ranges.clear();
            message.extent = 0;
            if message.received >= total {
                self.messages.remove(&id);
            }
            return Outcome::Refused(limit, begun.then_some(id));
        }
        let reach = u64::from(end).max(message.extent);
        message.extent =
            if growing { reach.max(u64::from(end) * 2).min(total.into()) } else { total.into() };
        message.ranges = joined;
        if message.received == total {
            assert_eq!(message.ranges, [(0, total)], "without a gap");
            let seed = message.seed;
            self.messages.remove(&id);
            return complete(id, seed, total);
        }
        Outcome::Nothing
    }
}

fn complete(id: u32, seed: u32, total: u32) -> Outcome {
    if total as usize >= HEAD { Outcome::Call { id, seed, total } } else { Outcome::Small(total) }
}

/// The bytes of a message from `offset` on.
fn content(id: u32, seed: u32, total: u32, offset: u32, len: u32) -> Vec<u8> {
    let byte = |at: u64| {
        if (total as usize) < HEAD {
            // An empty map, and what is no message at all.
            return if total == 1 { 0x80 } else { 0xc1 };
        }
        let data = (total - HEAD as u32).to_be_bytes();
        let mut head = *b"\x83\xa2id\xa2m?\xa6method\xa1t\xa4args\x91\xc6....";
        head[6] = letter(id);
        head[HEAD - 4..].copy_from_slice(&data);
        head.get(at as usize).copied().unwrap_or_else(|| pattern(seed, at))
    };
    (u64::from(offset)..u64::from(offset) + u64::from(len)).map(byte).collect()
}

fn letter(id: u32) -> u8 {
    b'a' + (id % 16) as u8
}

struct Peer<M: Memory<Buffer = Buf, Blob = Piece>> {
    connection: Connection<M>,
    hub: Hub<M>,
    client: Client,
    receive: Rc<Meter>,
}

/// What the connection did with a frame.
#[derive(Debug)]
enum Did {
    Nothing,
    Call(CallId, Vec<u8>),
    NoRoom,
}

impl<M: Memory<Buffer = Buf, Blob = Piece>> Peer<M> {
    fn new(limits: Limits, growing: bool) -> Self {
        let mut config = Config::desktop();
        config.limits = limits;
        let buf = |len: u32| Buf::new(growing, len as usize, len as usize);
        let buffers = HubBuffers { publications: buf(64), retained: buf(64) };
        let session = Entropy([0; 16]);
        let mut hub = Hub::new(HubLimits::device(), &[], session, buffers).expect("a hub");
        let receive = buf(limits.receive_bytes);
        let meter = receive.meter();
        let buffers = Buffers { receive, transmit: Buf::new(growing, 4096, 4096) };
        let peer = hub.next_peer();
        let mut connection = Connection::accept(config, &API, buffers, peer, session, NOW)
            .expect("limits that can be kept");
        let hello = Envelope::hello("system:0").encode(Dialect::V2);
        let hello = chunk(u32::MAX, 0, hello.len() as u32, &hello);
        let event = connection.handle_frame(NOW, Frame::Binary { fin: true, payload: &hello });
        assert!(matches!(event, Ok(Some(Event::Hello(_)))));
        connection.authorize(&mut hub, Verdict::Accept).expect("a hello waits");
        let client = Client::new(Dialect::V2, limits.max_msg_size);
        let mut peer = Self { connection, hub, client, receive: meter };
        assert_eq!(peer.drain(), [Answer::Answer("system:0".to_owned(), None)]);
        peer
    }

    fn frame(&mut self, frame: Frame<'_>) -> Did {
        match self.connection.handle_frame(NOW, frame) {
            Ok(None) => Did::Nothing,
            Ok(Some(Event::Call(call))) => {
                let data = call.args().next().and_then(|data| data.as_bytes());
                Did::Call(call.id, data.expect("binary data").to_vec())
            }
            Ok(Some(event)) => panic!("{event:?}"),
            Err(_) => Did::NoRoom,
        }
    }

    /// Answers the Close that was sent; the answer is why it was.
    fn end(&mut self) -> CloseReason {
        assert!(matches!(self.frame(Frame::Close(Some(1000))), Did::Nothing));
        match self.connection.poll_event() {
            Some(Event::Closed(reason)) => reason,
            event => panic!("{event:?} after both Closes"),
        }
    }

    /// Takes all that is to be sent.
    fn drain(&mut self) -> Vec<Answer> {
        while let Some(transmit) = self.connection.poll_transmit(NOW, &self.hub) {
            let Body::Bytes(body) = transmit.body else { panic!("nothing is attached") };
            let bytes = [transmit.head, body].concat();
            let (opcode, fin, n) = (transmit.opcode, transmit.fin, bytes.len());
            assert_eq!(n, transmit.len, "a frame as a whole");
            self.connection.advance(NOW, n).expect("it was lent");
            self.client.frame(opcode, fin, bytes);
        }
        core::mem::take(&mut self.client.received)
    }
}

fn run<M: Memory<Buffer = Buf, Blob = Piece>>(limits: Limits, growing: bool, mut input: Input<'_>) {
    let growing = growing || limits.receive_bytes == u32::MAX;
    let mut peer = Peer::<M>::new(limits, growing);
    let mut model = Model { limits, growing, messages: BTreeMap::new(), next_seed: 1, peak: 0 };
    for _ in 0..MOST_STEPS {
        if input.is_empty() || !step(&mut peer, &mut model, &mut input) {
            break;
        }
    }
}

/// Sends one chunk; whether the connection goes on.
fn step<M: Memory<Buffer = Buf, Blob = Piece>>(
    peer: &mut Peer<M>,
    model: &mut Model,
    input: &mut Input<'_>,
) -> bool {
    let how = input.u8();
    let (id, offset, total, len) = choose(how, model, input);
    let seed = model.seed(id);
    let frame = chunk(id, offset, total, &content(id, seed, total, offset, len));
    let piece = match how >> 3 & 7 {
        0..=4 => frame.len(),
        5 => frame.len().div_ceil(2),
        _ => usize::from(input.u8() % 32).max(frame.len() / 16).max(1),
    };

    if std::env::var_os("FUZZ_TRACE").is_some() {
        eprintln!("{id} {offset} {total} {len} in {piece}, beside {}", model.held());
    }
    let (mut come, mut offset) = (0, offset);
    let mut parts = frame.chunks(piece).enumerate().peekable();
    while let Some((nth, payload)) = parts.next() {
        let fin = parts.peek().is_none();
        if nth > 0 && how >> 6 == 3 {
            assert!(matches!(peer.frame(Frame::Ping(b"between")), Did::Nothing));
        }
        // A message may have twice what has come of it with what may lie ahead of that, and as
        // much again where it has to move.
        let received = model.messages.get(&id).map_or(0, |message| message.received);
        let reach = u64::from(received) + payload.len() as u64 + u64::from(model.limits.ahead);
        let due = 2 * reach;
        model.peak = model.peak.max(model.held() + due);
        peer.receive.grown.set(0);
        let did = peer.frame(match nth {
            0 => Frame::Binary { fin, payload },
            _ => Frame::Continuation { fin, payload },
        });
        if model.growing {
            let (grown, len) = (peer.receive.grown.get() as u64, peer.receive.len.get() as u64);
            assert!(grown <= due, "{grown} bytes more for a chunk that may take {due}");
            assert!(len <= 2 * model.peak, "{len} bytes, {} may have come", model.peak);
        }
        come += payload.len();
        // What a piece has of the content is a chunk of its own.
        let len = payload.len().min(come.saturating_sub(CHUNK_HEADER)) as u32;
        let says = len > 0 || fin && come == CHUNK_HEADER;
        let sent = says.then_some((id, offset, total, len));
        if !check(peer, model, sent, come, did) {
            return false;
        }
        offset = offset.wrapping_add(len);
    }
    true
}

/// Holds what came of a piece against the model, if it has any content, and tells whether the
/// connection goes on.
fn check<M: Memory<Buffer = Buf, Blob = Piece>>(
    peer: &mut Peer<M>,
    model: &mut Model,
    sent: Option<(u32, u32, u32, u32)>,
    come: usize,
    did: Did,
) -> bool {
    if let Did::Call(call, _) = did {
        let mut none = M::Blobs::default();
        peer.connection.reply(&mut peer.hub, call, &(), &mut none).expect("there is room");
    }
    let answers = peer.drain();
    if peer.receive.len.get() == 0 {
        model.peak = 0;
    }
    let closed = peer.client.closed.map(|code| (code, peer.end()));
    let limit = peer.client.limit.take();
    let short = limit.as_deref() == Some("receive_bytes")
        || matches!(closed, Some((_, CloseReason::Limit(it))) if it.limit == Limit::ReceiveBytes);
    if come > model.limits.frame as usize {
        assert!(answers.is_empty() && matches!(closed, Some((1009, CloseReason::Limit(_)))));
        return false;
    }
    let Some((id, offset, total, len)) = sent else {
        assert!(matches!(did, Did::Nothing) && answers.is_empty() && closed.is_none());
        return true;
    };
    let (held, end) = (model.held(), u64::from(offset) + u64::from(len));
    let may_be_short = held + end > u64::from(model.limits.receive_bytes);
    assert!(!short || may_be_short, "no room for {end} bytes beside {held}");
    let outcome = model.chunk(id, offset, total, len, short);
    let name = format!("m{}", letter(id) as char);
    match outcome {
        Outcome::Nothing | Outcome::Small(1) => {
            assert!(matches!(did, Did::Nothing) && answers.is_empty() && closed.is_none());
        }
        Outcome::Call { id, seed, total } => {
            let head = HEAD as u32;
            let expected = content(id, seed, total, head, total - head);
            let Did::Call(_, given) = did else { panic!("complete, and {did:?} {closed:?}") };
            assert!(given == expected, "an argument with other bytes");
            assert_eq!(answers, [Answer::Answer(name, None)]);
            assert_eq!(closed, None);
        }
        Outcome::Small(_) => {
            assert_eq!((answers, closed.map(|it| it.0)), (Vec::new(), Some(1007)));
        }
        Outcome::Refused(expected, Some(_)) => {
            assert_eq!(answers, [Answer::Answer(name, Some(-32003))], "{expected:?} {closed:?}");
            assert_eq!((limit.as_deref(), closed), (Some(expected.name()), None));
        }
        Outcome::Refused(expected, None) => {
            let code = match expected {
                Limit::Pending | Limit::Ranges | Limit::Ahead => 1008,
                _ => 1009,
            };
            let Some((said, CloseReason::Limit(exceeded))) = closed else {
                panic!("{expected:?} without a Close: {answers:?} {closed:?}")
            };
            assert_eq!((said, exceeded.limit, answers), (code, expected, Vec::new()));
        }
        Outcome::Violation => {
            assert_eq!((answers, closed.map(|it| it.0)), (Vec::new(), Some(1002)));
        }
    }
    closed.is_none()
}

/// Id, offset, total, and length of the content.
fn choose(how: u8, model: &Model, input: &mut Input<'_>) -> (u32, u32, u32, u32) {
    let which = usize::from(input.u8());
    let known = model.messages.iter().nth(which % model.messages.len().max(1));
    match (how & 7, known) {
        (0..=2, Some((id, message))) => {
            let len = (u32::from(input.u8()) + 1).min(message.total - message.first_gap().0);
            (*id, message.first_gap().0, message.total, len)
        }
        (4, Some((id, message))) => {
            let (start, end) = message.first_gap();
            let offset = start.saturating_add(input.u8().into()).min(end);
            (*id, offset, message.total, u32::from(input.u8()).min(end - offset))
        }
        (0..=4, _) => {
            let total = u32::from(input.u16() % 1200);
            let len = u32::from(input.u8()).min(total);
            let offset = if how & 7 == 3 { 0 } else { u32::from(input.u8()).min(total - len) };
            (which as u32 % 24, offset, total, len)
        }
        (5, _) => {
            let total = u32::from(input.u16() % 1200);
            (which as u32 % 24, 0, total, total)
        }
        (6, _) => (which as u32 % 4, input.u8().into(), input.u8().into(), input.u8().into()),
        _ => (input.u32(), input.u32(), input.u32(), u32::from(input.u16() % 2048)),
    }
}
