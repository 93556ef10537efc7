//! One connection as it passes by.

use super::frames::{FrameReader, Seen};
use super::http::{self, Head};
use super::record::{Detail, Recorder};
use core::cell::RefCell;
use core::mem;
use std::rc::Rc;
use wslink_core::OpCode;
use wslink_core::wire::Dialect;
use wslink_testkit::{Decoder, Frame, Message, Val, Way};

/// How messages are decoded.
#[derive(Clone, Copy)]
pub(crate) struct Decoding {
    /// Larger messages are not.
    pub(crate) most: usize,
    pub(crate) show_secrets: bool,
}

/// Reads along in both directions and tells the recorder.
pub(crate) struct Tap {
    client: usize,
    decoding: Decoding,
    recorder: Rc<RefCell<Recorder>>,
    asked: Option<String>,
    up: Stage,
    down: Stage,
    ended_early: Option<&'static str>,
    dialect: Option<Dialect>,
    decoders: Option<[Decoder; 2]>,
}

/// How far one direction has come.
enum Stage {
    Head(Vec<u8>),
    /// The request for a WebSocket is not answered yet; with what came behind it.
    Waiting(Vec<u8>),
    Frames(FrameReader),
    /// Nothing that can be read.
    Opaque,
}

impl Tap {
    pub(crate) const fn new(
        client: usize,
        decoding: Decoding,
        recorder: Rc<RefCell<Recorder>>,
    ) -> Self {
        Self {
            client,
            decoding,
            recorder,
            asked: None,
            up: Stage::Head(Vec::new()),
            down: Stage::Head(Vec::new()),
            ended_early: None,
            dialect: None,
            decoders: None,
        }
    }

    /// What the ends speak, once one of them has.
    pub(crate) const fn dialect(&self) -> Option<Dialect> {
        self.dialect
    }

    /// From the client.
    pub(crate) fn up(&mut self, bytes: &[u8]) {
        self.up = match mem::replace(&mut self.up, Stage::Opaque) {
            Stage::Head(mut head) => {
                head.extend(bytes);
                match http::request(&head) {
                    Head::Part => Stage::Head(head),
                    Head::Foreign => {
                        self.event("no HTTP: not decoded");
                        Stage::Opaque
                    }
                    Head::Whole(asked, len) => {
                        let rest = head.split_off(len);
                        self.asked = Some(asked.line);
                        if asked.upgrade { Stage::Waiting(rest) } else { Stage::Opaque }
                    }
                }
            }
            Stage::Waiting(mut rest) => {
                rest.extend(bytes);
                if rest.len() > http::MOST { Stage::Opaque } else { Stage::Waiting(rest) }
            }
            Stage::Frames(reader) => self.frames(reader, Way::Up, bytes),
            Stage::Opaque => Stage::Opaque,
        };
    }

    /// From the server.
    pub(crate) fn down(&mut self, bytes: &[u8]) {
        self.down = match mem::replace(&mut self.down, Stage::Opaque) {
            Stage::Head(mut head) => {
                head.extend(bytes);
                match http::response(&head) {
                    Head::Part => Stage::Head(head),
                    Head::Foreign => Stage::Opaque,
                    Head::Whole(answered, len) => self.answered(&answered, &head[len..]),
                }
            }
            Stage::Frames(reader) => self.frames(reader, Way::Down, bytes),
            other => other,
        };
    }

    fn answered(&mut self, answered: &http::Answered, rest: &[u8]) -> Stage {
        let asked = self.asked.take().unwrap_or_default();
        let Stage::Waiting(waiting) = mem::replace(&mut self.up, Stage::Opaque) else {
            self.event(&format!("{asked}: {}", answered.line));
            return Stage::Opaque;
        };
        if !answered.switched {
            self.event(&format!("{asked}: {}", answered.line));
            return Stage::Opaque;
        }
        let deflate = if answered.deflate { ", permessage-deflate" } else { "" };
        self.event(&format!("{asked}: {}{deflate}", answered.line));
        // A chunk of 2.x has 12 bytes in front of its content.
        let reader = || FrameReader::new(self.decoding.most.saturating_add(12), answered.deflate);
        let (up, down) = (reader(), reader());
        self.up = self.frames(up, Way::Up, &waiting);
        self.tell_early_end();
        self.frames(down, Way::Down, rest)
    }

    /// One direction ended.
    pub(crate) fn ended(&mut self, way: Way, how: &'static str) {
        if way == Way::Up && matches!(self.up, Stage::Waiting(_)) {
            // It is told behind what waits.
            self.ended_early = Some(how);
            return;
        }
        self.tell_early_end();
        self.recorder.borrow_mut().line(self.client, way, how, &Detail::None);
    }

    fn tell_early_end(&mut self) {
        if let Some(how) = self.ended_early.take() {
            self.recorder.borrow_mut().line(self.client, Way::Up, how, &Detail::None);
        }
    }

    /// Something that no frame tells.
    pub(crate) fn event(&mut self, text: &str) {
        self.recorder.borrow_mut().line(self.client, Way::Event, text, &Detail::None);
    }

    fn frames(&mut self, mut reader: FrameReader, way: Way, bytes: &[u8]) -> Stage {
        let outcome = reader.read(bytes, &mut |seen| _ = self.frame(way, seen));
        match outcome {
            Ok(()) => Stage::Frames(reader),
            Err(fault) => {
                self.event(&format!("not decoded any more: {fault}"));
                Stage::Opaque
            }
        }
    }

    /// A frame as a whole; gives the message that it completes, if it could be read.
    pub(crate) fn frame(&mut self, way: Way, seen: Seen) -> Option<Message> {
        let frame = match seen {
            Seen::Frame(frame) => frame,
            Seen::Large { opcode, fin, len } => {
                let name = match opcode {
                    OpCode::Text => "text",
                    OpCode::Binary => "binary",
                    _ => "continuation",
                };
                let more = if fin { "" } else { ".." };
                let text = format!("{name}{more} ({len})");
                self.recorder.borrow_mut().line(self.client, way, &text, &Detail::None);
                return None;
            }
        };
        let (line, message) = if frame.is_control() {
            Decoder::new(Dialect::V1).frame(&frame)
        } else {
            self.decoder(way, &frame).frame(&frame)
        };
        let detail = Detail::Frame(&frame, &message);
        self.recorder.borrow_mut().line(self.client, way, &line, &detail);
        Some(message)
    }

    /// The first message tells the dialect, of both directions.
    fn decoder(&mut self, way: Way, frame: &Frame) -> &mut Decoder {
        let Decoding { most, show_secrets } = self.decoding;
        let new = |dialect| {
            let decoder = Decoder::new(dialect).with_limit(most);
            if show_secrets { decoder } else { decoder.hiding_secrets() }
        };
        let dialect = *self.dialect.get_or_insert_with(|| dialect_of(frame));
        let [up, down] = self.decoders.get_or_insert_with(|| [new(dialect), new(dialect)]);
        if way == Way::Up { up } else { down }
    }
}

fn dialect_of(frame: &Frame) -> Dialect {
    // Upstream's 1.x servers also take a hello in a binary frame.
    let json = || {
        let text = core::str::from_utf8(&frame.payload).ok();
        text.is_some_and(|text| text.starts_with('{') && Val::from_json(text).is_ok())
    };
    if frame.opcode == OpCode::Text || json() { Dialect::V1 } else { Dialect::V2 }
}
