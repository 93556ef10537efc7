//! An input as a script: what a peer sends, when, and what the application does.

use crate::request::{Arg, Bin, Envelope, chunk, pattern};
use crate::server::{Asks, Kind, Sent, Server, Setup, Tag, content};
use crate::service::{CALL, NAMES, Piece, Reply, TAKE, TIMED, UPLOAD};
use crate::{Buf, Input, Vecs};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use wslink_core::wire::Dialect;
use wslink_core::{Audience, CloseCode, Config, Deadlines, Fixed, HubLimits, Instant, OpCode};

const MOST_STEPS: usize = 400;
/// Longer than a Close can be, with a character of two bytes where it is cut.
const LONG_REASON: &str = "a reason that is so long that a Close frame cannot hold it, which may \
    have 125 bytes with its code, and is cut here.\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}";

/// Plays an input against a server whose well-formed requests are of one dialect.
pub fn play(dialect: Dialect, data: &[u8]) {
    let mut input = Input::new(data);
    let (flags, sizes) = (input.u8(), input.u8());
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let (config, finite) = config(sizes, flag(6));
    let setup = Setup {
        config,
        hub: hub(sizes >> 5),
        growing: flag(1),
        spare: u32::from(sizes & 1) * 100,
        start: Instant::from_millis(if sizes == 0xff { u64::MAX - 20_000 } else { 0 }),
        other: flag(3),
        prompt: flag(5),
        flowing: flag(2),
        finite,
    };
    if flag(4) {
        run::<Fixed<Buf, Piece, 3, 3, 2, 8, 6>>(dialect, setup, flag(7), input);
    } else {
        run::<Vecs<Piece>>(dialect, setup, flag(7), input);
    }
}

/// Limits, deadlines, and whether silence ends.
fn config(sizes: u8, exit: bool) -> (Config, bool) {
    let mut config = Config::desktop();
    config.exit = exit;
    let limits = &mut config.limits;
    match sizes & 3 {
        0 => *limits = Config::device().limits,
        1 => {
            limits.frame = 350;
            limits.max_msg_size = 64;
            limits.published = 50;
            limits.overhead = 286;
            limits.message_before_hello = 300;
            limits.message = 600;
            limits.upload = 2000;
            limits.depth = 8;
            limits.id = 40;
            limits.calls = 3;
            limits.pending = 2;
            limits.ranges = 4;
            limits.ahead = 64;
            limits.attachments = 3;
            limits.receive_bytes = 400;
            limits.transmit_bytes = 500;
        }
        more => {
            limits.max_msg_size = if more == 2 { 20 } else { 700 };
            limits.receive_bytes = 1 << 13;
            limits.transmit_bytes = 1 << 13;
        }
    }
    let all = |period: Duration, ping, call| {
        let mut deadlines = Deadlines::standard();
        deadlines.hello = period;
        deadlines.ping = ping;
        deadlines.pong = period;
        deadlines.partial = period;
        deadlines.write = period;
        deadlines.call = call;
        deadlines.close = period;
        deadlines
    };
    let (deadlines, finite) = match sizes >> 2 & 3 {
        0 | 1 => (Deadlines::standard(), true),
        2 => {
            let short = Duration::from_millis(600);
            (all(short, Some(short / 2), Some(short * 2)), true)
        }
        _ => (all(Duration::MAX, None, None), false),
    };
    config.deadlines = deadlines;
    (config, finite)
}

fn hub(sizes: u8) -> HubLimits {
    let mut limits = HubLimits::device();
    (limits.bytes, limits.blob_bytes, limits.publications, limits.retained_bytes) = match sizes & 3
    {
        0 => (400, 3000, 16, 700),
        1 => (4096, u64::MAX, 3, 4096),
        2 => (1500, 2000, 8, 500),
        _ => (1 << 14, u64::MAX, 64, 1 << 14),
    };
    limits
}

fn run<M: Kind>(dialect: Dialect, setup: Setup, hello: bool, mut input: Input<'_>) {
    let mut script = Script {
        dialect,
        server: Server::<M>::new(dialect, setup),
        number: 0,
        chunk: 1000,
        piece: 1000,
        reversed: false,
        held_back: VecDeque::new(),
        holding: false,
    };
    if hello {
        script.hello();
        script.server.step();
        script.server.judge();
        script.server.step();
    }
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        script.step(&mut input);
        script.go_on();
        script.server.step();
    }
    while script.go_on() {}
    script.server.settle();
    script.server.lose();
    script.server.step();
}

struct Script<M: Kind> {
    dialect: Dialect,
    server: Server<M>,
    number: u32,
    /// Content of a chunk, length of a fragment, and whether the last chunk comes first.
    chunk: usize,
    piece: usize,
    reversed: bool,
    /// WebSocket messages that are sent one after the other, with others in between.
    held_back: VecDeque<Vec<Sent>>,
    /// Whether what is sent now is to be among them.
    holding: bool,
}

impl<M: Kind> Script<M> {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(32) {
            0 => self.hello(),
            1 | 2 => {
                let args = self.call_args(input);
                self.request(CALL, args, BTreeMap::new(), Asks::Call);
            }
            3 => {
                let args = self.call_args(input);
                self.request(TIMED, args, BTreeMap::new(), Asks::Call);
            }
            4 => {
                let token = Arg::Int(input.below(4).into());
                let args = self.call_args(input);
                self.request(CALL, args, [("wslink_token", token)].into(), Asks::Call);
            }
            5 => self.take(input),
            6 | 7 => {
                let (mask, rate) = (input.u8(), input.u8());
                let mut args = vec![Arg::List(patterns(mask))];
                let mut asks = Asks::Builtin;
                if rate & 3 == 3 {
                    args.push(Arg::Float(f64::from(rate >> 2) / 4.0));
                    asks = Asks::Rated;
                }
                self.request("wslink.subscribe", args, BTreeMap::new(), asks);
            }
            8 => {
                let topics = Arg::List(patterns(input.u8()));
                self.request("wslink.unsubscribe", vec![topics], BTreeMap::new(), Asks::Builtin);
            }
            9 => {
                let page = Arg::Int(input.below(12).into());
                self.request("wslink.describe", vec![page], BTreeMap::new(), Asks::Builtin);
            }
            10 => {
                let token = [("token", Arg::Int(input.below(4).into()))];
                self.request("wslink.cancel", Vec::new(), token.into(), Asks::Call);
            }
            11 => {
                let method = ["application.exit", "application.exit.later", "fuzz.none"];
                let method = method[usize::from(input.below(3))];
                self.request(method, Vec::new(), BTreeMap::new(), Asks::Call);
            }
            12 => self.raw(OpCode::Text, input),
            13 => self.raw(OpCode::Binary, input),
            14 => self.raw(OpCode::Continuation, input),
            15 => self.control(OpCode::Ping, input),
            16 => self.control(OpCode::Pong, input),
            17 => {
                let code = input.u16().to_be_bytes();
                let payload = if code == [0, 0] { Vec::new() } else { code.to_vec() };
                self.frame(OpCode::Close, true, payload, Tag::Unknown);
            }
            18 => {
                self.server.tame = false;
                let [id, offset, total] = match input.bit() {
                    true => [0; 3].map(|_: u32| input.u32()),
                    false => [0; 3].map(|_: u32| input.u8().into()),
                };
                let payload = chunk(id, offset, total, input.bytes());
                self.frame(OpCode::Binary, true, payload, Tag::Unknown);
            }
            19 => self.mutated(input),
            20 => {
                self.chunk = usize::from(input.u8()) + 1;
                self.piece = usize::from(input.u8());
                self.reversed = input.bit();
            }
            21 => self.server.advance(u64::from(input.u8()) * 4),
            22 => self.server.advance(u64::from(input.u16())),
            23 => self.server.write(input.u8().into()),
            24 => self.server.write(input.u16().into()),
            25 => {
                let which = input.u8();
                let reply =
                    input.bit().then(|| Reply::new(input.u8(), input.u8().into(), input.u16()));
                self.server.ready(which, reply);
            }
            26 | 27 => {
                let (how, seed, size) = (input.u8(), input.u8(), input.u16());
                let (own, other) = (self.server.peer, self.server.other_peer());
                let audience = match how >> 4 {
                    0..=11 => Audience::All,
                    12 => Audience::Only(own),
                    13 => Audience::Only(other),
                    14 => Audience::Except(own),
                    _ => Audience::Except(other),
                };
                self.server.publish(how & 7, audience, seed.into(), size);
            }
            28 => match input.below(4) {
                0 => self.server.judge(),
                1 => self.server.build(),
                2 => self.server.reply_late(),
                _ => self.server.take_too_much(),
            },
            29 => self.transport(input),
            30 => self.upload(input),
            _ => {
                let most = input.u8();
                self.server.take_upload((most > 0).then_some(most));
            }
        }
    }

    /// Sends one of the messages that are held back, if there are any.
    fn go_on(&mut self) -> bool {
        let next = self.held_back.pop_front();
        let any = next.is_some();
        next.into_iter().flatten().for_each(|sent| self.server.send(sent));
        any
    }

    fn id(&mut self, before: &str) -> String {
        self.number += 1;
        format!("{before}{:08x}", self.number.wrapping_mul(0x9e37_79b1))
    }

    fn hello(&mut self) {
        let id = self.id("system:");
        self.message(Envelope::hello(&id), Tag::Request(id, Asks::Hello));
    }

    fn call_args(&self, input: &mut Input<'_>) -> Vec<Arg> {
        let how = input.u8();
        let (kind, at_once) = (how & 7, how >> 3 & 1);
        let args = [kind.into(), u64::from(input.u8()), input.u16().into(), at_once.into()];
        args.into_iter().map(Arg::Int).collect()
    }

    fn request(
        &mut self,
        method: &'static str,
        args: Vec<Arg>,
        kwargs: BTreeMap<&'static str, Arg>,
        asks: Asks,
    ) {
        let id = self.id("rpc:");
        let envelope = Envelope { kwargs, ..Envelope::new(&id, method, args) };
        self.message(envelope, Tag::Request(id, asks));
    }

    /// A call with binary data, attached in 1.x and in its place in 2.x.
    fn take(&mut self, input: &mut Input<'_>) {
        let (seed, len) = (u32::from(input.u8()), u32::from(input.u16() % 700));
        let bytes = (0..len).map(|at| pattern(seed, at.into())).collect();
        let args = vec![self.binary(bytes), Arg::Int(seed.into()), Arg::Int(len.into())];
        self.request(TAKE, args, BTreeMap::new(), Asks::Take { seed, len });
    }

    /// A call that takes an upload; in 2.x its chunks may come with others between them.
    fn upload(&mut self, input: &mut Input<'_>) {
        let (how, len) = (input.u8(), u32::from(input.u16() % 3000));
        let data = self.binary(content(len));
        let token = ("wslink_token", Arg::Int((how >> 5).into()));
        let (args, kwargs) = match how & 7 {
            0..=2 => (vec![data], BTreeMap::new()),
            3 => (Vec::new(), [("data", data)].into()),
            4 => (Vec::new(), [("data", data), token].into()),
            5 | 6 => (vec![data], [token].into()),
            _ => (vec![data, Arg::Int(1)], BTreeMap::new()),
        };
        if how & 7 < 7 {
            self.server.will_upload(len);
        }
        self.holding = self.dialect == Dialect::V2 && how >> 3 & 1 == 1;
        self.request(UPLOAD, args, kwargs, Asks::Call);
        self.holding = false;
    }

    /// Binary data as an argument, in 1.x sent before it.
    fn binary(&mut self, bytes: Vec<u8>) -> Arg {
        match self.dialect {
            Dialect::V1 => {
                let key = format!("wslink_bin{}", self.number + 1);
                let method = "wslink.binary.attachment";
                let args = vec![Arg::Text(key.clone())];
                let header = Envelope { id: None, ..Envelope::new("", method, args) };
                self.pieces(OpCode::Text, header.encode(Dialect::V1), Tag::Part);
                self.pieces(OpCode::Binary, bytes, Tag::Part);
                Arg::Text(key)
            }
            _ => Arg::Bin(Bin(bytes)),
        }
    }

    /// A whole message of the client's dialect.
    fn message(&mut self, envelope: Envelope, tag: Tag) {
        let bytes = envelope.encode(self.dialect);
        if self.dialect == Dialect::V1 {
            self.pieces(OpCode::Text, bytes, tag);
            return;
        }
        let (id, total) = (0x5eed_0000 + self.number, bytes.len() as u32);
        let mut frames: Vec<Vec<u8>> = Vec::new();
        for (nth, content) in bytes.chunks(self.chunk).enumerate() {
            frames.push(chunk(id, (nth * self.chunk) as u32, total, content));
        }
        if self.reversed {
            frames.reverse();
        }
        let last = frames.pop();
        for frame in frames {
            self.pieces(OpCode::Binary, frame, Tag::Part);
        }
        last.into_iter().for_each(|frame| self.pieces(OpCode::Binary, frame, tag.clone()));
    }

    /// One WebSocket message, in fragments if it is longer than those.
    fn pieces(&mut self, opcode: OpCode, bytes: Vec<u8>, tag: Tag) {
        // So that it is not cut into hundreds.
        let piece = self.piece.max(bytes.len() / 20).max(1);
        if self.holding {
            self.held_back.push_back(Vec::new());
        }
        if bytes.len() <= piece {
            return self.frame(opcode, true, bytes, tag);
        }
        let count = bytes.len().div_ceil(piece);
        for (nth, part) in bytes.chunks(piece).enumerate() {
            let last = nth + 1 == count;
            let opcode = if nth == 0 { opcode } else { OpCode::Continuation };
            let tag = if last { tag.clone() } else { Tag::Part };
            self.frame(opcode, last, part.to_vec(), tag);
        }
    }

    fn frame(&mut self, opcode: OpCode, fin: bool, payload: Vec<u8>, tag: Tag) {
        let sent = Sent { opcode, fin, payload, tag };
        match self.held_back.back_mut().filter(|_| self.holding) {
            Some(message) => message.push(sent),
            None => self.server.send(sent),
        }
    }

    fn raw(&mut self, opcode: OpCode, input: &mut Input<'_>) {
        self.server.tame = false;
        let fin = input.bit();
        let payload = match input.bytes() {
            // Longer than an input has bytes for.
            [0xff, bytes @ ..] => bytes.repeat(9),
            bytes => bytes.to_vec(),
        };
        self.frame(opcode, fin, payload, Tag::Unknown);
    }

    fn control(&mut self, opcode: OpCode, input: &mut Input<'_>) {
        let bytes = input.bytes();
        self.frame(opcode, true, bytes[..bytes.len().min(125)].to_vec(), Tag::Unknown);
    }

    /// A well-formed request of which some bytes are others, or that ends too early.
    fn mutated(&mut self, input: &mut Input<'_>) {
        self.server.tame = false;
        let text = |text: &str| Arg::Text(text.to_owned());
        let id = "mutated:1";
        let envelope = match input.below(10) {
            0 => Envelope::hello("system:m"),
            1 => Envelope::new(id, CALL, vec![Arg::Int(0), Arg::Float(2.5), text("wslink_bin1")]),
            2 => {
                let method = "wslink.binary.attachment";
                let keys = vec![text("wslink_bin1"), text("x")];
                Envelope { id: None, ..Envelope::new("", method, keys) }
            }
            3 => Envelope::new(id, "wslink.subscribe", vec![text("kept.*"), Arg::Int(3)]),
            4 => Envelope::new(id, "wslink.unsubscribe", vec![text("fuzz.last")]),
            5 => Envelope::new(id, "wslink.cancel", vec![Arg::Int(1)]),
            6 => Envelope::new(id, "wslink.subscribe", vec![text("wslink.lagged")]),
            7 => Envelope::new(id, UPLOAD, vec![text("wslink_bin1")]),
            8 if self.dialect == Dialect::V2 => {
                Envelope::new(id, UPLOAD, vec![Arg::Bin(Bin(content(input.u8().into())))])
            }
            _ => {
                let kwargs = [("wslink_token", Arg::Int(2)), ("k", Arg::List(vec![text("\n")]))];
                Envelope { kwargs: kwargs.into(), ..Envelope::new(id, TIMED, Vec::new()) }
            }
        };
        let mut bytes = envelope.encode(self.dialect);
        let opcode = if self.dialect == Dialect::V1 { OpCode::Text } else { OpCode::Binary };
        if self.dialect == Dialect::V2 {
            bytes = chunk(0x0bad_0000 + self.number, 0, bytes.len() as u32, &bytes);
        }
        for _ in 0..input.below(4) {
            let (at, byte) = (usize::from(input.u8()) % bytes.len(), input.u8());
            bytes[at] = byte;
        }
        if input.below(8) == 7 {
            bytes.truncate(usize::from(input.u8()));
        }
        self.pieces(opcode, bytes, Tag::Unknown);
    }

    /// What the transport tells.
    fn transport(&mut self, input: &mut Input<'_>) {
        let now = self.server.now;
        let connection = &mut self.server.connection;
        match input.below(16) {
            0 => connection.handle_eof(),
            1 => connection.handle_too_big(now, u64::from(input.u32()) << 8),
            2 => connection.handle_violation(now, CloseCode::Protocol, "a violation"),
            3 => connection.close(now, CloseCode::GoingAway, LONG_REASON),
            4 => self.server.drop_other(),
            5..=8 => self.server.write_other(),
            9 => connection.handle_blocked(now),
            10 => connection.handle_written(),
            _ => connection.handle_alive(now),
        }
    }
}

/// Names of topics, and patterns of names.
fn patterns(mask: u8) -> Vec<Arg> {
    let named = NAMES[..7].iter().enumerate().filter(|(nth, _)| mask >> nth & 1 == 1);
    let mut names: Vec<&str> = named.map(|(_, name)| *name).collect();
    if mask >> 7 == 1 {
        names = match mask & 7 {
            0 => vec!["*"],
            1 => vec!["kept.*"],
            2 => vec!["fuzz.*", "wslink.lagged"],
            3 => vec!["*", "wslink.lagged"],
            4 => vec!["nothing"],
            5 => vec!["wslink.lagged"],
            6 => vec!["kept.all", "fuzz.l*"],
            _ => Vec::new(),
        };
    }
    names.into_iter().map(|name| Arg::Text(name.to_owned())).collect()
}
