//! The engine's client at one end of a [`Pair`], the engine's server at the other.

use std::sync::Arc;
use wslink_core::client::{CallError, Client, Config, Event, Outcome};
use wslink_core::wire::Dialect;
use wslink_core::{Buffers, CallId, CloseReason, Entropy, Frame, OpCode, Secret};
use wslink_scenarios::{Bench, Plain, copy};
use wslink_testkit::{self as testkit, Heap, HeapBuffer, HeapTable, Pair, Val};

pub(crate) type Engine = Client<Heap<Arc<[u8]>>>;

/// How a call ended, kept for the test.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    Answer(Val),
    Error(i64, String, Option<Val>),
    Other(String),
}

pub(crate) struct Own {
    pub(crate) client: Engine,
    pub(crate) peer: testkit::Client,
    pub(crate) ends: Vec<(CallId, End)>,
    pub(crate) closed: Option<CloseReason>,
    /// Frames are sent only up to this many bytes, then the transport takes nothing.
    pub(crate) credit: usize,
    partial: Vec<u8>,
    /// What comes is cut into fragments of these lengths in turn; not, if there are none.
    pub(crate) cuts: Vec<usize>,
}

pub(crate) fn engine(dialect: Dialect, pair: &Pair<Bench>) -> Engine {
    engine_with(dialect, pair, Config::desktop(), false)
}

pub(crate) fn engine_with(
    dialect: Dialect,
    pair: &Pair<Bench>,
    config: Config,
    fixed: bool,
) -> Engine {
    let buffer = |bytes: u32| match fixed {
        true => HeapBuffer::fixed(bytes as usize),
        false => HeapBuffer::growing(bytes as usize),
    };
    let limits = config.limits;
    let buffers =
        Buffers { receive: buffer(limits.receive_bytes), transmit: buffer(limits.transmit_bytes) };
    Client::new(config, dialect, buffers, Entropy([9; 16]), pair.clock().now()).expect("it fits")
}

impl Own {
    pub(crate) fn connect(pair: &mut Pair<Bench>, client: Engine) -> Self {
        let peer = pair.connect(client.dialect());
        pair.play_dead(peer);
        Self {
            client,
            peer,
            ends: vec![],
            closed: None,
            credit: usize::MAX,
            partial: vec![],
            cuts: vec![],
        }
    }

    pub(crate) fn greeted(pair: &mut Pair<Bench>, dialect: Dialect) -> Self {
        let client = engine(dialect, pair);
        let mut own = Self::connect(pair, client);
        own.hello(pair, "wslink-secret");
        assert!(own.client.is_open());
        own
    }

    pub(crate) fn hello(&mut self, pair: &mut Pair<Bench>, secret: &str) {
        self.client.hello_with(pair.clock().now(), &Secret::new(secret)).expect("it fits");
        self.run(pair);
    }

    pub(crate) fn call(
        &mut self,
        pair: &Pair<Bench>,
        method: &str,
        args: Val,
    ) -> Result<CallId, CallError> {
        let now = pair.clock().now();
        self.client.call(now, method, &Plain(&args), &(), None, &mut HeapTable::default())
    }

    /// Calls, runs, and gives the end of the call.
    pub(crate) fn ask(&mut self, pair: &mut Pair<Bench>, method: &str, args: Val) -> End {
        let call = self.call(pair, method, args).expect("it fits");
        self.run(pair);
        assert!(self.ends.iter().any(|(id, _)| *id == call), "no end:\n{}", pair.transcript());
        self.end_of(call)
    }

    pub(crate) fn end_of(&self, call: CallId) -> End {
        let mut ends = self.ends.iter().filter(|(id, _)| *id == call);
        let (_, end) = ends.next().unwrap_or_else(|| panic!("{call:?} did not end"));
        assert_eq!(ends.next(), None, "it ended twice");
        end.clone()
    }

    /// Until nothing moves.
    pub(crate) fn run(&mut self, pair: &mut Pair<Bench>) {
        loop {
            let sent = self.send(pair);
            pair.run();
            let frames = pair.take_frames(self.peer);
            if !sent && frames.is_empty() {
                break;
            }
            for frame in frames {
                for piece in self.cut(frame) {
                    self.receive(pair, piece);
                }
            }
        }
        if pair.is_ended(self.peer) {
            self.client.handle_eof();
        }
        self.poll_events(pair);
    }

    fn send(&mut self, pair: &mut Pair<Bench>) -> bool {
        let now = pair.clock().now();
        let mut sent = false;
        while self.credit > 0
            && let Some(transmit) = self.client.poll_transmit(now)
        {
            let mut bytes = testkit::lent(&transmit);
            let (opcode, fin, len) = (transmit.opcode, transmit.fin, transmit.len);
            bytes.truncate(self.credit);
            self.credit -= bytes.len();
            self.partial.extend(&bytes);
            self.client.advance(now, bytes.len()).expect("it fits");
            if self.partial.len() == len {
                let payload = core::mem::take(&mut self.partial);
                pair.send(self.peer, testkit::Frame { opcode, fin, payload });
                sent = true;
            }
        }
        sent
    }

    fn cut(&mut self, frame: testkit::Frame) -> Vec<testkit::Frame> {
        if frame.is_control() || self.cuts.is_empty() {
            return vec![frame];
        }
        let testkit::Frame { mut opcode, fin, payload } = frame;
        let mut rest = payload.as_slice();
        let mut pieces = Vec::new();
        loop {
            self.cuts.rotate_left(1);
            let (piece, after) = rest.split_at(self.cuts[0].min(rest.len()));
            rest = after;
            let fin = fin && rest.is_empty();
            pieces.push(testkit::Frame { opcode, fin, payload: piece.to_vec() });
            opcode = OpCode::Continuation;
            if rest.is_empty() {
                return pieces;
            }
        }
    }

    fn receive(&mut self, pair: &mut Pair<Bench>, frame: testkit::Frame) {
        let now = pair.clock().now();
        let testkit::Frame { opcode, fin, mut payload } = frame;
        let frame = match opcode {
            OpCode::Text => Frame::Text { fin, payload: &mut payload },
            OpCode::Binary => Frame::Binary { fin, payload: &payload },
            OpCode::Continuation => Frame::Continuation { fin, payload: &payload },
            OpCode::Ping => Frame::Ping(&payload),
            OpCode::Pong => Frame::Pong(&payload),
            _ => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                Frame::Close(code)
            }
        };
        if let Some(event) = self.client.handle_frame(now, frame) {
            let note = tell(&mut self.ends, &mut self.closed, event);
            pair.note(note);
        }
        self.poll_events(pair);
    }

    pub(crate) fn poll_events(&mut self, pair: &mut Pair<Bench>) {
        while let Some(event) = self.client.poll_event() {
            let note = tell(&mut self.ends, &mut self.closed, event);
            pair.note(note);
        }
    }

    /// Lets time pass at both ends.
    pub(crate) fn advance(&mut self, pair: &mut Pair<Bench>, millis: u64) {
        for _ in 0..millis {
            pair.advance(core::time::Duration::from_millis(1));
            let now = pair.clock().now();
            if self.client.poll_timeout().is_some_and(|at| at <= now) {
                self.client.handle_timeout(now);
            }
            self.run(pair);
        }
    }
}

fn tell(
    ends: &mut Vec<(CallId, End)>,
    closed: &mut Option<CloseReason>,
    event: Event<'_>,
) -> String {
    match event {
        Event::Welcome { answer } => format!("client: welcome {}", copy(&answer)),
        Event::Refused(failure) => format!("client: refused {failure}"),
        Event::Publication { topic, retained, value } => {
            let retained = if retained { " retained" } else { "" };
            format!("client: {topic}{retained} {}", copy(&value))
        }
        Event::Ended { call, outcome } => {
            let end = match outcome {
                Outcome::Answer(value) => End::Answer(copy(&value)),
                Outcome::Error(failure) => End::Error(
                    failure.code,
                    failure.message.to_owned(),
                    failure.data.map(|data| copy(&data)),
                ),
                other => End::Other(format!("{other:?}")),
            };
            let note = format!("client: {call:?} {end:?}");
            ends.push((call, end));
            note
        }
        Event::Closed(reason) => {
            assert!(closed.replace(reason).is_none(), "closed twice");
            format!("client: closed {reason:?}")
        }
        other => format!("client: {other:?}"),
    }
}
