//! From frames to messages, in either direction: for transcripts and for the client.

use crate::val::{digest, write_text};
use crate::{Frame, Val};
use std::collections::VecDeque;
use wslink_core::OpCode;
use wslink_core::wire::Dialect;

const HELLO: &str = "wslink.hello";
/// What is in front of the content of a 2.x chunk.
const CHUNK_HEADER: usize = 12;
/// How many chunk ids are remembered, so that a message keeps its number.
const IDS: usize = 1024;

/// Puts the messages of one direction of a connection together, and writes the line of a
/// [`Transcript`](crate::Transcript) for each frame.
///
/// ```
/// use wslink_core::wire::Dialect;
/// use wslink_testkit::{Decoder, Frame, Message, val};
///
/// let hello = r#"{"method": "wslink.hello", "args": [{"secret": "x"}]}"#;
/// let (line, message) = Decoder::new(Dialect::V1).hiding_secrets().frame(&Frame::text(hello));
/// assert_eq!(line, r#"text {"method": "wslink.hello", "args": [{"secret": "(hidden)"}]}"#);
/// let hidden = val!({"method": "wslink.hello", "args": [{"secret": "(hidden)"}]});
/// assert_eq!(message, Message::Envelope(hidden));
/// ```
#[derive(Debug)]
pub struct Decoder {
    dialect: Dialect,
    most: usize,
    hiding: bool,
    fragments: Option<Frame>,
    /// A fragmented message became too large; its rest is only counted.
    overlong: bool,
    chunks: VecDeque<Chunks>,
    /// Chunk ids in the order in which they came: their place is what is shown.
    ids: VecDeque<u32>,
    forgotten_ids: usize,
}

#[derive(Debug)]
struct Chunks {
    id: u32,
    total: u32,
    received: u64,
    /// `None`: the message is too large to be put together.
    parts: Option<Vec<(u32, Vec<u8>)>>,
}

/// What a frame brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A piece of a message.
    Part,
    /// An envelope of the connection's dialect.
    Envelope(Val),
    /// Binary data of 1.x.
    Attachment(Vec<u8>),
    /// Nothing of this dialect, or a message that is larger than was allowed for.
    Foreign,
    /// A ping, a pong or a Close.
    Control,
}

impl Decoder {
    /// For messages of any size.
    #[must_use]
    pub const fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            most: usize::MAX,
            hiding: false,
            fragments: None,
            overlong: false,
            chunks: VecDeque::new(),
            ids: VecDeque::new(),
            forgotten_ids: 0,
        }
    }

    /// Keeps at most so many bytes of unfinished messages. Of what is larger the line tells the
    /// length.
    #[must_use]
    pub const fn with_limit(mut self, bytes: usize) -> Self {
        self.most = bytes;
        self
    }

    /// Puts `"(hidden)"` in place of all that a hello says, in lines and in messages.
    #[must_use]
    pub const fn hiding_secrets(mut self) -> Self {
        self.hiding = true;
        self
    }

    /// Whether a message is fragmented and not whole yet.
    pub(crate) const fn is_inside(&self) -> bool {
        self.fragments.is_some()
    }

    /// Takes a frame in; gives its line of the transcript and what it completes.
    pub fn frame(&mut self, frame: &Frame) -> (String, Message) {
        let Frame { opcode, fin, payload } = frame;
        let more = if *fin { "" } else { ".." };
        let name = match opcode {
            OpCode::Continuation => "continuation",
            OpCode::Text => "text",
            OpCode::Binary => "binary",
            OpCode::Close => return (close(frame), Message::Control),
            OpCode::Ping | OpCode::Pong => {
                let name = if *opcode == OpCode::Ping { "ping" } else { "pong" };
                let payload = match payload.as_slice() {
                    [] => String::new(),
                    payload => format!(" {}", in_a_line(payload)),
                };
                return (format!("{name}{payload}"), Message::Control);
            }
            _ => "unknown",
        };
        let part = format!("{name}{more} ({})", payload.len());
        if *opcode != OpCode::Continuation {
            self.overlong = false;
        }
        let whole = match (opcode, self.fragments.take()) {
            (OpCode::Continuation, Some(mut whole)) => {
                whole.payload.extend(payload);
                whole
            }
            (OpCode::Continuation, None) => {
                let message = if self.overlong && !*fin { Message::Part } else { Message::Foreign };
                return (part, message);
            }
            // A message inside of another is the sender's fault.
            _ => frame.clone(),
        };
        let header = if self.dialect == Dialect::V2 { CHUNK_HEADER } else { 0 };
        if whole.payload.len().saturating_sub(header) > self.most {
            self.overlong = true;
            return (part, if *fin { Message::Foreign } else { Message::Part });
        }
        if !*fin {
            self.fragments = Some(whole);
            return (part, Message::Part);
        }
        let (text, message) = match whole.opcode {
            OpCode::Text => self.text(&whole.payload),
            _ if self.dialect == Dialect::V1 => self.attachment(whole.payload),
            _ => self.chunk(&whole.payload),
        };
        (format!("{name} {text}"), message)
    }

    fn text(&self, payload: &[u8]) -> (String, Message) {
        let foreign = |why: &str| {
            (format!("{why} ({}, {})", payload.len(), digest(payload)), Message::Foreign)
        };
        let Ok(text) = core::str::from_utf8(payload) else { return foreign("not UTF-8") };
        match Val::from_json(text) {
            Ok(value) => {
                let value = self.hidden(value);
                let shown = value.to_string();
                let own = self.dialect == Dialect::V1;
                (shown, if own { Message::Envelope(value) } else { Message::Foreign })
            }
            // Where the secret stands in it, nobody knows.
            Err(_) if self.hiding => foreign("malformed"),
            Err(_) => {
                let mut shown = String::from("malformed ");
                // A string takes all that is written.
                _ = write_text(&mut shown, text);
                (shown, Message::Foreign)
            }
        }
    }

    fn attachment(&self, payload: Vec<u8>) -> (String, Message) {
        let shown = format!("bin({}, {})", payload.len(), digest(&payload));
        // Upstream's servers take a hello in a binary frame.
        let hello = payload.windows(HELLO.len()).any(|part| part == HELLO.as_bytes());
        let secret = self.hiding && hello;
        (shown, if secret { Message::Foreign } else { Message::Attachment(payload) })
    }

    fn chunk(&mut self, frame: &[u8]) -> (String, Message) {
        let Some((header, content)) = frame.split_first_chunk::<CHUNK_HEADER>() else {
            return (format!("short ({})", frame.len()), Message::Foreign);
        };
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *header;
        let id = u32::from_le_bytes([a, b, c, d]);
        let offset = u32::from_le_bytes([e, f, g, h]);
        let total = u32::from_le_bytes([i, j, k, l]);
        let shown = format!("#{} {offset}/{total}", self.number(id));
        let Some(bytes) = self.collect(id, offset, total, content) else {
            return (format!("{shown} ({})", content.len()), Message::Part);
        };
        let Some(bytes) = bytes else {
            return (format!("{shown} ({})", content.len()), Message::Foreign);
        };
        match Val::from_msgpack(&bytes) {
            Ok(value) => {
                let value = self.hidden(value);
                (format!("{shown} {value}"), Message::Envelope(value))
            }
            Err(_) => {
                let shown = format!("{shown} malformed ({}, {})", bytes.len(), digest(&bytes));
                (shown, Message::Foreign)
            }
        }
    }

    /// The bytes of a message, once all have come; `Some(None)` if they were too many.
    fn collect(
        &mut self,
        id: u32,
        offset: u32,
        total: u32,
        content: &[u8],
    ) -> Option<Option<Vec<u8>>> {
        let at = self.chunks.iter().position(|it| it.id == id).unwrap_or_else(|| {
            let parts = (total as usize <= self.most).then(Vec::new);
            self.chunks.push_back(Chunks { id, total, received: 0, parts });
            self.chunks.len() - 1
        });
        let chunks = &mut self.chunks[at];
        chunks.received += content.len() as u64;
        if let Some(parts) = &mut chunks.parts {
            parts.push((offset, content.to_vec()));
        }
        let whole = chunks.received >= u64::from(chunks.total);
        let parts = if whole { self.chunks.remove(at)?.parts } else { None };
        if !whole {
            self.shed();
            return None;
        }
        Some(parts.map(|mut parts| {
            parts.sort_by_key(|(offset, _)| *offset);
            parts.into_iter().flat_map(|(_, part)| part).collect()
        }))
    }

    /// Gives up the oldest messages that never became whole.
    fn shed(&mut self) {
        let kept = |it: &Chunks| if it.parts.is_some() { it.received } else { 0 };
        let mut held: u64 = self.chunks.iter().map(kept).sum();
        while held > self.most as u64 || self.chunks.len() > IDS {
            let Some(oldest) = self.chunks.pop_front() else { return };
            held -= kept(&oldest);
        }
    }

    /// By the order in which messages began; an id that is used again keeps its number.
    fn number(&mut self, id: u32) -> usize {
        let at = self.ids.iter().rposition(|known| *known == id).unwrap_or_else(|| {
            if self.ids.len() == IDS {
                self.ids.pop_front();
                self.forgotten_ids += 1;
            }
            self.ids.push_back(id);
            self.ids.len() - 1
        });
        self.forgotten_ids + at + 1
    }

    fn hidden(&self, value: Val) -> Val {
        let is_hello = |(key, value): &(Val, Val)| {
            key.as_str() == Some("method") && value.as_str() == Some(HELLO)
        };
        match value {
            Val::Map(entries) if self.hiding && entries.iter().any(is_hello) => {
                let hide = |(key, value): (Val, Val)| {
                    let said = matches!(key.as_str(), Some("args" | "kwargs"));
                    (key, if said { hide(value) } else { value })
                };
                Val::Map(entries.into_iter().map(hide).collect())
            }
            value => value,
        }
    }
}

/// The same lists and maps, with nothing in them.
fn hide(value: Val) -> Val {
    match value {
        Val::Seq(items) => Val::Seq(items.into_iter().map(hide).collect()),
        Val::Map(entries) => {
            Val::Map(entries.into_iter().map(|(key, value)| (key, hide(value))).collect())
        }
        _ => Val::from("(hidden)"),
    }
}

/// What a peer says in its own words, without what would end the line or steer a terminal.
fn in_a_line(words: &[u8]) -> String {
    String::from_utf8_lossy(words).replace(char::is_control, "\u{fffd}")
}

fn close(frame: &Frame) -> String {
    let reason = frame.payload.get(2..).map(in_a_line).unwrap_or_default();
    match (frame.close_code(), &*reason) {
        (None, _) => "close".to_owned(),
        (Some(code), "") => format!("close {code}"),
        (Some(code), reason) => format!("close {code} {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::val;

    #[test]
    fn what_is_larger_than_the_limit_is_told_by_its_length() {
        // A list of 9 numbers is 10 bytes of MessagePack, and 20 of JSON.
        let value = val!([1, 2, 3, 4, 5, 6, 7, 8, 99]);
        let content = value.to_msgpack();
        for (limit, is_read) in [(9, false), (10, true), (11, true)] {
            let mut decoder = Decoder::new(Dialect::V2).with_limit(limit);
            let (first, rest) = content.split_at(4);
            let (line, message) = decoder.frame(&Frame::chunk(7, 0, 10, first));
            assert_eq!((line.as_str(), message), ("binary #1 0/10 (4)", Message::Part));
            let (line, message) = decoder.frame(&Frame::chunk(7, 4, 10, rest));
            assert_eq!(line.ends_with("/10 (6)"), !is_read, "{line}");
            assert_eq!(message == Message::Envelope(value.clone()), is_read, "{line}");
            // It reads on.
            let (line, _) = decoder.frame(&Frame::message(8, &val!([1])));
            assert_eq!(line, "binary #2 0/2 [1]");
        }
        let text = value.to_json();
        let (first, rest) = text.split_at(10);
        for (limit, is_read) in [(19, false), (20, true), (21, true)] {
            let mut decoder = Decoder::new(Dialect::V1).with_limit(limit);
            let whole = decoder.frame(&Frame::text(text.as_str()));
            assert_eq!(whole.0 == "text (20)", !is_read, "{}", whole.0);
            assert_eq!(decoder.frame(&Frame::text(first).more()).1, Message::Part);
            let (line, message) = decoder.frame(&Frame::continuation(rest));
            assert_eq!(line == "continuation (10)", !is_read, "{line}");
            assert_eq!(message == Message::Envelope(value.clone()), is_read, "{line}");
        }
    }

    #[test]
    fn messages_that_never_become_whole_are_given_up() {
        let mut decoder = Decoder::new(Dialect::V2).with_limit(100);
        for id in 0..50 {
            decoder.frame(&Frame::chunk(id, 0, 60, &[0; 40]));
        }
        let held: u64 = decoder.chunks.iter().map(|it| it.received).sum();
        assert_eq!(held, 80, "the newest two");
        for id in 0..3000 {
            decoder.frame(&Frame::chunk(id, 0, 60, &[]));
        }
        assert!(decoder.chunks.len() <= IDS && decoder.ids.len() <= IDS);
        let (line, _) = decoder.frame(&Frame::chunk(9999, 0, 1, &[0xc0]));
        assert_eq!(line, "binary #3001 0/1 null");
    }

    #[test]
    fn a_hello_is_hidden_however_it_comes() {
        let hello =
            val!({"id": "x", "method": "wslink.hello", "args": [{"secret": "top", "n": 1}]});
        let told = |dialect, frame: &Frame| {
            let mut decoder = Decoder::new(dialect).hiding_secrets();
            let (line, message) = decoder.frame(frame);
            assert!(!line.contains("top") && !format!("{message:?}").contains("top"), "{line}");
            line
        };
        let text = hello.to_json();
        told(Dialect::V1, &Frame::text(text.as_str()));
        told(Dialect::V2, &Frame::text(text.as_str()));
        told(Dialect::V1, &Frame::text(text.get(..text.len() - 1).unwrap()));
        told(Dialect::V1, &Frame::text(text.replace("wslink", "\\u0077slink")));
        told(Dialect::V1, &Frame::binary(text.as_str()));
        told(Dialect::V2, &Frame::message(1, &hello));
        let shown = told(Dialect::V2, &Frame::message(1, &hello));
        assert!(shown.ends_with(r#"[{"secret": "(hidden)", "n": "(hidden)"}]}"#), "{shown}");
    }
}
