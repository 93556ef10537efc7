//! A connection with all that an adapter does for it, and what has to hold after each step.

mod uploads;
mod write;

pub(crate) use uploads::content;

use crate::memory::{Buf, Meter};
use crate::request::{Arg, Envelope, chunk, pattern};
use crate::service::{API, CALL, NAMES, Piece, Reply, TAKE, UPLOAD, is_retained};
use crate::topics::{Topics, index};
use crate::{Answer, Client};
use core::time::Duration;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use uploads::Uploads;
use write::write;
use wslink_core::wire::Dialect;
use wslink_core::{
    Audience, Buffers, CallId, CloseReason, Config, Connection, Entropy, Event, Frame, Hub,
    HubBuffers, HubLimits, Instant, Memory, OpCode, PeerId, Phase, RpcError, Secret, SendError,
    Table, UsageError, Verdict,
};

/// Memory of any kind, with our buffers and blobs.
pub(crate) trait Kind: Memory<Buffer = Buf, Blob = Piece> {}
impl<M: Memory<Buffer = Buf, Blob = Piece>> Kind for M {}

/// How a connection is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) hub: HubLimits,
    pub(crate) growing: bool,
    /// Buffers are so much larger than the limits.
    pub(crate) spare: u32,
    pub(crate) start: Instant,
    /// A second peer of the other dialect.
    pub(crate) other: bool,
    /// Hellos and built-in methods are served at once.
    pub(crate) prompt: bool,
    /// All that is lent is taken at once.
    pub(crate) flowing: bool,
    /// Whether a peer that is silent is given up.
    pub(crate) finite: bool,
}

/// What a frame ends, as far as the script knows.
#[derive(Clone, Debug, Default)]
pub(crate) enum Tag {
    #[default]
    Unknown,
    Part,
    Request(String, Asks),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Asks {
    Hello,
    Call,
    Take { seed: u32, len: u32 },
    Builtin,
    Rated,
}

/// A frame that the peer has sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) opcode: OpCode,
    pub(crate) fin: bool,
    pub(crate) payload: Vec<u8>,
    pub(crate) tag: Tag,
}

/// What a frame brought, without its borrow.
enum Brought {
    Nothing,
    Hello(Verdict),
    Builtin,
    /// Whether it is answered at once, and what is known of the length of an upload.
    Call(CallId, Reply, bool, Option<Option<u32>>),
}

struct Held {
    id: CallId,
    reply: Reply,
    /// Whether the answer may be given.
    ready: bool,
    /// It was given before the request came, which may never come.
    early: bool,
}

/// The frame under way: opcode, fin, length, what was taken, and what was lent beyond that.
struct UnderWay {
    opcode: OpCode,
    fin: bool,
    len: usize,
    taken: Vec<u8>,
    lent: Vec<u8>,
}

struct Wire {
    client: Client,
    under_way: Option<UnderWay>,
}

pub(crate) struct Server<M: Kind> {
    setup: Setup,
    dialect: Dialect,
    pub(crate) now: Instant,
    pub(crate) connection: Connection<M>,
    hub: Hub<M>,
    pub(crate) peer: PeerId,
    wire: Wire,
    other: Option<(Connection<M>, Wire)>,
    queue: VecDeque<Sent>,
    held: Vec<Held>,
    over: Vec<CallId>,
    uploads: Uploads,
    hello: Option<Verdict>,
    builtin: Option<Tag>,
    /// Requests that were read as they were meant.
    asked: HashSet<String>,
    /// Those that were answered, some of them before their last piece was read.
    answered: HashSet<String>,
    topics: Topics,
    joined: bool,
    closed: Option<CloseReason>,
    /// Whether no frame was sent but those of well-behaved clients.
    pub(crate) tame: bool,
    /// Something else may have taken the place of a frame of which nothing was taken.
    replaced: bool,
    meters: [(Rc<Meter>, u32); 2],
}

impl<M: Kind> Server<M> {
    pub(crate) fn new(dialect: Dialect, setup: Setup) -> Self {
        let Setup { config, hub: limits, growing, spare, start, .. } = setup;
        let buf = |limit: u32| Buf::new(growing, (limit + spare) as usize, limit as usize);
        let buffers =
            HubBuffers { publications: buf(limits.bytes), retained: buf(limits.retained_bytes) };
        let mut hub = Hub::<M>::new(limits, API.topics, Entropy([0x5e; 16]), buffers)
            .expect("the tables hold the topics");
        let peer = hub.next_peer();
        let receive = buf(config.limits.receive_bytes);
        let transmit = buf(config.limits.transmit_bytes);
        let meters = [
            (receive.meter(), config.limits.receive_bytes),
            (transmit.meter(), config.limits.transmit_bytes),
        ];
        let accept = |buffers, peer, entropy| {
            Connection::accept(config, &API, buffers, peer, Entropy([entropy; 16]), start)
                .expect("limits that can be kept")
        };
        let connection = accept(Buffers { receive, transmit }, peer, 1);
        let size = config.limits.max_msg_size;
        let other = setup.other.then(|| {
            let buffers = Buffers { receive: buf(1000), transmit: buf(1000) };
            let connection = accept(buffers, hub.next_peer(), 0xff);
            (connection, Wire { client: Client::new(other(dialect), size), under_way: None })
        });
        let mut server = Self {
            setup,
            dialect,
            now: start,
            connection,
            hub,
            peer,
            wire: Wire { client: Client::new(dialect, size), under_way: None },
            other,
            queue: VecDeque::new(),
            held: Vec::new(),
            over: Vec::new(),
            uploads: Uploads::default(),
            hello: None,
            builtin: None,
            asked: HashSet::new(),
            answered: HashSet::new(),
            topics: Topics::default(),
            joined: false,
            closed: None,
            tame: true,
            replaced: false,
            meters,
        };
        server.greet_other();
        server
    }

    /// The other peer says hello and subscribes to nothing.
    fn greet_other(&mut self) {
        let Some((connection, _)) = &mut self.other else { return };
        let requests = [
            Envelope::hello("system:o:0"),
            Envelope::new("o1", "wslink.subscribe", vec![Arg::List(Vec::new())]),
        ];
        for request in requests {
            let dialect = other(self.dialect);
            let mut bytes = request.encode(dialect);
            if dialect == Dialect::V2 {
                bytes = chunk(7, 0, bytes.len() as u32, &bytes);
            }
            let payload = bytes.as_mut_slice();
            let frame = match dialect {
                Dialect::V1 => Frame::Text { fin: true, payload },
                _ => Frame::Binary { fin: true, payload },
            };
            match connection.handle_frame(self.now, frame).expect("it has room") {
                Some(Event::Hello(_)) => {
                    connection.authorize(&mut self.hub, Verdict::Accept).expect("hello");
                    while self.hub.poll_listened().is_some() {}
                }
                Some(Event::Builtin) => connection.handle_builtin(&mut self.hub),
                event => panic!("the other peer is told {event:?}"),
            }
        }
        while self.hub.poll_listened().is_some() {}
        self.write_other();
    }

    pub(crate) fn write_other(&mut self) {
        let Some((connection, wire)) = &mut self.other else { return };
        write(connection, &self.hub, self.now, wire, usize::MAX, true);
        while let Some(event) = connection.poll_event() {
            assert!(matches!(event, Event::Lagged { .. }), "{event:?}");
        }
    }

    /// The other peer goes.
    pub(crate) fn drop_other(&mut self) {
        if let Some((mut connection, _)) = self.other.take() {
            connection.handle_eof();
            connection.leave(&mut self.hub);
        }
    }

    pub(crate) fn other_peer(&self) -> PeerId {
        self.other.as_ref().map_or(self.peer, |(connection, _)| connection.peer())
    }

    pub(crate) fn send(&mut self, sent: Sent) {
        self.queue.push_back(sent);
    }

    /// Reads what there is room for, and looks whether all is as it should be.
    pub(crate) fn step(&mut self) {
        while self.connection.has_room()
            && let Some(sent) = self.queue.pop_front()
        {
            let sent = self.cut(sent);
            self.read(sent);
            self.serve();
        }
        self.serve();
        let budget = if self.setup.flowing { usize::MAX } else { 0 };
        self.write(budget);
        self.check();
    }

    fn serve(&mut self) {
        if self.setup.prompt {
            self.judge();
            self.build();
            self.take_upload(None);
        }
        self.events();
        self.reply();
        self.events();
    }

    /// Gives a frame to the connection.
    fn read(&mut self, sent: Sent) {
        let Sent { opcode, fin, mut payload, tag } = sent;
        let data = matches!(opcode, OpCode::Text | OpCode::Binary | OpCode::Continuation);
        let room = self.connection.has_room();
        let frame = match opcode {
            OpCode::Text => Frame::Text { fin, payload: &mut payload },
            OpCode::Binary => Frame::Binary { fin, payload: &payload },
            OpCode::Continuation => Frame::Continuation { fin, payload: &payload },
            OpCode::Ping => Frame::Ping(&payload),
            OpCode::Pong => Frame::Pong(&payload),
            _ => Frame::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
        };
        let phase = self.connection.phase();
        trace!("{} > {opcode:?} {fin} {:?} {tag:?}", self.now.as_millis(), payload_of(&frame));
        let brought = match self.connection.handle_frame(self.now, frame) {
            Ok(None) => Brought::Nothing,
            Ok(Some(Event::Hello(hello))) => {
                let secret = Secret::new("wslink-secret");
                Brought::Hello(hello.expecting(&secret).verify())
            }
            Ok(Some(Event::Builtin)) => Brought::Builtin,
            Ok(Some(Event::Exit(_))) => Brought::Nothing,
            Ok(Some(Event::Call(call))) => {
                let number = |at| call.args().nth(at).and_then(|arg| arg.as_i64()).unwrap_or(0);
                let reply = Reply::new(number(0) as u8, number(1) as u32, number(2) as u16);
                let at_once = number(3) != 0 || call.method.name == TAKE;
                if let (true, Tag::Request(_, Asks::Take { seed, len })) = (self.tame, &tag) {
                    let expected: Vec<_> = (0..*len).map(|at| pattern(*seed, at.into())).collect();
                    let given = call.args().next().and_then(|arg| arg.as_bytes());
                    assert_eq!(given, Some(expected.as_slice()), "an argument with other bytes");
                }
                assert!(API.methods[call.index] == *call.method, "the index is another method's");
                let len = (call.method.name == UPLOAD).then_some(call.upload_len);
                let ready = at_once || call.method.name != CALL && number(0) > 3;
                Brought::Call(call.id, reply, ready, len)
            }
            Ok(Some(event)) => panic!("a frame brought {event:?}"),
            Err(error) => {
                assert!(data && !room && error == UsageError::NoRoom, "{error}");
                return;
            }
        };
        assert!(!data || room, "a frame was taken without room");
        if self.connection.dialect().is_some_and(|dialect| dialect != self.dialect) {
            self.wire.client.mixed = true;
        }
        if let (Tag::Request(id, _), Phase::Greeting | Phase::Open) = (&tag, phase) {
            self.asked.insert(id.clone());
        }
        match brought {
            Brought::Nothing => {}
            Brought::Hello(verdict) => {
                if let Tag::Request(_, Asks::Hello) = tag {
                    assert_eq!(verdict, Verdict::Accept, "the secret was right");
                }
                self.hello = Some(verdict);
            }
            Brought::Builtin => self.builtin = Some(tag),
            Brought::Call(id, reply, ready, upload) => {
                assert!(self.connection.is_running(id));
                if let Some(len) = upload {
                    self.begin_upload(id, len);
                }
                self.held.push(Held { id, reply, ready, early: false });
            }
        }
    }

    /// Gives the verdict that a hello waits for.
    pub(crate) fn judge(&mut self) {
        let waiting = self.hello.take();
        let verdict = waiting.unwrap_or(Verdict::Accept);
        self.events();
        let result = self.connection.authorize(&mut self.hub, verdict);
        // It may have gone with its connection.
        if self.closed.is_none() {
            assert_eq!(result == Ok(()), waiting.is_some(), "{result:?}");
        }
        if !self.joined && self.connection.phase().is_authenticated() {
            assert_eq!((result, waiting), (Ok(()), Some(Verdict::Accept)));
            self.joined = true;
            self.topics.listen(NAMES.len() - 1, true);
        }
        self.listened();
    }

    /// Serves the built-in method that waits.
    pub(crate) fn build(&mut self) {
        if let Some(tag) = self.builtin.take() {
            self.events();
            self.topics.narrowed = true;
            self.topics.rated |= !matches!(tag, Tag::Request(_, Asks::Builtin));
        }
        self.connection.handle_builtin(&mut self.hub);
        self.listened();
    }

    fn listened(&mut self) {
        while let Some((name, listened)) = self.hub.poll_listened() {
            self.topics.listen(index(name), listened);
        }
    }

    /// Allows the answer of a call, with another content if one is given.
    pub(crate) fn ready(&mut self, which: u8, reply: Option<Reply>) {
        if self.held.is_empty() {
            return;
        }
        let which = usize::from(which) % self.held.len();
        self.held[which].ready = true;
        if let Some(reply) = reply {
            self.held[which].reply = reply;
        }
    }

    /// Gives the answers that may be given.
    fn reply(&mut self) {
        let mut at = 0;
        while let Some(Held { id, reply, ready, .. }) = self.held.get(at) {
            if !ready {
                at += 1;
                continue;
            }
            let id = *id;
            let wanted = self.connection.is_running(id)
                && !matches!(
                    self.connection.phase(),
                    Phase::Closing | Phase::Answering | Phase::Closed
                );
            let result = match reply {
                Reply::Fail(why) => self.connection.fail(id, &RpcError::failed(why)),
                reply => {
                    let mut blobs = M::Blobs::default();
                    if let Reply::Value(_, Some(piece)) = reply {
                        blobs.push(piece.clone()).expect("one fits");
                    }
                    let before = blobs.as_ref().len();
                    let result = self.connection.reply(&mut self.hub, id, reply, &mut blobs);
                    let kept = matches!(
                        result,
                        Err(SendError::Full(_) | SendError::Early | SendError::Gone)
                    );
                    let after = if kept { before } else { 0 };
                    assert_eq!(blobs.as_ref().len(), after, "{result:?}");
                    result
                }
            };
            assert_eq!(result == Err(SendError::Gone), !wanted, "{result:?}");
            self.held[at].early = result == Err(SendError::Early);
            if self.held[at].early {
                self.answered_early(id);
            }
            if let Err(SendError::Full(_) | SendError::Early) = result {
                at += 1;
                continue;
            }
            assert!(!wanted || !self.connection.is_running(id), "answered and still running");
            self.held.remove(at);
            self.over.push(id);
        }
    }

    /// Answers calls that are over.
    pub(crate) fn reply_late(&mut self) {
        for id in self.over.iter().rev().take(4) {
            let (error, mut none) = (RpcError::failed("late"), M::Blobs::default());
            assert!(!self.connection.is_running(*id));
            assert_eq!(self.connection.fail(*id, &error), Err(SendError::Gone));
            let reply = self.connection.reply(&mut self.hub, *id, &1, &mut none);
            assert_eq!(reply, Err(SendError::Gone));
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            assert_eq!(self.closed, None, "{event:?} after the end");
            trace!("{} * {event:?}", self.now.as_millis());
            match event {
                Event::Expired(id) | Event::Cancelled(id) => {
                    assert!(!self.connection.is_running(id));
                    let at = self.held.iter().position(|held| held.id == id);
                    self.held.remove(at.expect("only what runs is ended, and once"));
                    self.over.push(id);
                }
                Event::Lagged { topic, missed } => self.topics.miss(topic, missed),
                Event::Closed(reason) => {
                    assert_eq!(self.connection.closed(), Some(reason));
                    self.closed = Some(reason);
                    self.over.extend(self.held.drain(..).map(|held| held.id));
                    self.hello = None;
                    self.builtin = None;
                    self.connection.leave(&mut self.hub);
                    self.joined = false;
                    self.listened();
                }
                event => panic!("{event:?} out of turn"),
            }
        }
        assert!(self.connection.closed().is_none() || self.closed.is_some(), "nobody is told");
    }

    pub(crate) fn publish(&mut self, topic: u8, audience: Audience, seed: u32, size: u16) {
        let topic = usize::from(topic) % NAMES.len();
        let Reply::Value(mut value, piece) = Reply::new(seed as u8 % 6, seed, size) else {
            return;
        };
        value.n = self.topics.next(topic);
        let blobs: Vec<Piece> = piece.into_iter().collect();
        let appended = self.hub.peers() > 0 || is_retained(topic);
        let published =
            self.hub.publish(NAMES[topic], audience, &blobs, &|writer| writer.value(&value));
        self.replaced = true;
        trace!("  publish {} {} {audience:?}: {published:?}", NAMES[topic], value.n);
        if published.is_ok() && appended {
            let mine = match audience {
                Audience::Only(peer) => peer == self.peer,
                Audience::Except(peer) => peer != self.peer,
                _ => true,
            };
            let kept = !matches!(audience, Audience::Only(_));
            self.topics.publish(topic, mine, kept);
        }
    }

    pub(crate) fn advance(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.timeout();
    }

    fn timeout(&mut self) {
        self.connection.handle_timeout(self.now);
        let next = self.connection.poll_timeout();
        assert!(next.is_none_or(|at| at > self.now), "a deadline that does not pass: {next:?}");
        self.events();
        if let Some((other, _)) = &mut self.other {
            // It is always heard, and sends what it has.
            other.handle_alive(self.now);
            other.handle_written();
        }
    }

    /// Takes so many bytes of what is lent.
    pub(crate) fn write(&mut self, budget: usize) {
        let pinned = !core::mem::take(&mut self.replaced);
        write(&mut self.connection, &self.hub, self.now, &mut self.wire, budget, pinned);
        for received in core::mem::take(&mut self.wire.client.received) {
            match received {
                Answer::Answer(id, _) => {
                    // What others ask may have the same id each time.
                    if self.answered.contains(&id) {
                        assert!(!is_own(&id), "{id} is answered again");
                    }
                    self.answered.insert(id);
                }
                Answer::Publication(topic, n, retained) => self.topics.deliver(&topic, n, retained),
                Answer::Lagged(topic, missed) => {
                    self.events();
                    self.topics.tell(&topic, missed);
                }
            }
        }
        self.events();
    }

    /// Takes more than was lent.
    pub(crate) fn take_too_much(&mut self) {
        let now = self.now;
        let lent = match self.connection.poll_transmit(now, &self.hub) {
            Some(transmit) => transmit.head.len() + transmit.body.len(),
            // What was lent before may still be said to be taken.
            None => return self.events(),
        };
        assert_eq!(self.connection.advance(now, lent + 1), Err(UsageError::AdvancedTooFar));
        self.events();
    }

    fn check(&mut self) {
        for (meter, limit) in &self.meters {
            let most = if self.setup.growing { *limit } else { *limit + self.setup.spare };
            assert!(meter.len.get() <= most as usize, "a buffer above its limit");
        }
        let peers = usize::from(self.joined) + usize::from(self.other.is_some());
        assert_eq!(self.hub.peers(), peers, "the hub counts its peers");
        let deadline = self.connection.poll_timeout();
        if let Some(reason) = self.closed {
            assert_eq!(self.connection.closed(), Some(reason));
            assert!(self.connection.poll_transmit(self.now, &self.hub).is_none());
            assert!(!self.connection.has_room());
            assert_eq!(deadline, None);
            assert!(self.connection.poll_event().is_none());
            return;
        }
        let waits = self.hello.is_some() || self.builtin.is_some() || !self.held.is_empty();
        let way_out = self.connection.has_room() || waits || !self.setup.finite;
        assert!(deadline.is_some() || way_out, "neither deadline nor way out");
    }

    /// A peer that takes all and an application that answers all: nothing stays behind.
    pub(crate) fn settle(&mut self) {
        let (mut idle, mut rounds) = (0, 0);
        while idle < 3 {
            rounds += 1;
            assert!(rounds < 10_000, "it never settles");
            let before = self.queue.len();
            self.judge();
            self.build();
            self.take_upload(None);
            self.held.iter_mut().for_each(|held| held.ready = true);
            self.step();
            self.write(usize::MAX);
            let unanswered = self.held.iter().any(|held| !held.early);
            let busy = self.hello.is_some() || self.builtin.is_some() || unanswered;
            idle = if busy || self.queue.len() < before { 0 } else { idle + 1 };
        }
        self.reply_late();
        if !matches!(self.connection.phase(), Phase::Greeting | Phase::Open) {
            return;
        }
        assert!(self.connection.has_room(), "all is answered and there is no room");
        let ends = self.queue.is_empty() && self.held.iter().all(|held| held.early);
        assert!(ends, "something never ends");
        // Text in 2.x, and binary data in 1.x that nobody announced, is passed over.
        if !self.wire.client.mixed {
            let unanswered: Vec<_> = self.asked.difference(&self.answered).collect();
            assert!(unanswered.is_empty(), "no answer: {unanswered:?}");
        }
        // What comes at most so often comes in its time.
        for _ in 0..4 {
            self.connection.handle_alive(self.now);
            self.advance(2500);
            self.write(usize::MAX);
        }
        if self.connection.phase() == Phase::Open {
            self.topics.check_least();
        }
    }

    /// A peer of which nothing is heard any more, and which takes nothing, is given up.
    pub(crate) fn lose(&mut self) {
        if !self.setup.finite {
            return;
        }
        for _ in 0..64 {
            if self.closed.is_some() {
                return;
            }
            self.write(0);
            let Some(at) = self.connection.poll_timeout() else { break };
            self.now = self.now.max(at);
            self.timeout();
        }
        assert!(self.closed.is_some(), "it waits for ever: {:?}", self.connection);
    }
}

/// Whether a well-behaved client made this id, which has a number that nobody guesses.
fn is_own(id: &str) -> bool {
    let number = id.strip_prefix("rpc:").or_else(|| id.strip_prefix("system:"));
    number.is_some_and(|it| it.len() == 8 && it.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

pub(crate) fn other(dialect: Dialect) -> Dialect {
    if dialect == Dialect::V1 { Dialect::V2 } else { Dialect::V1 }
}

fn payload_of<'a>(frame: &'a Frame<'_>) -> std::borrow::Cow<'a, str> {
    match frame {
        Frame::Text { payload, .. } => String::from_utf8_lossy(payload),
        Frame::Binary { payload, .. } | Frame::Continuation { payload, .. } => {
            String::from_utf8_lossy(payload)
        }
        _ => "".into(),
    }
}
