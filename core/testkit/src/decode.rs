//! From frames to messages, in either direction: for the transcript and for the client.

use crate::val::{digest, write_text};
use crate::{Frame, Val};
use wslink_core::OpCode;
use wslink_core::wire::Dialect;

/// Puts the messages of one direction together.
#[derive(Debug)]
pub(crate) struct Decoder {
    dialect: Dialect,
    fragments: Option<Frame>,
    chunks: Vec<Chunks>,
    /// Chunk ids in the order in which they came: their place is what is shown.
    ids: Vec<u32>,
}

#[derive(Debug)]
struct Chunks {
    id: u32,
    total: u32,
    parts: Vec<(u32, Vec<u8>)>,
}

/// What a frame brought.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    /// A piece.
    Part,
    /// An envelope of the client's dialect.
    Envelope(Val),
    /// Binary data of 1.x.
    Attachment(Vec<u8>),
    /// Nothing of this dialect.
    Foreign,
    Control,
}

impl Decoder {
    pub(crate) const fn new(dialect: Dialect) -> Self {
        Self { dialect, fragments: None, chunks: Vec::new(), ids: Vec::new() }
    }

    /// Whether a message is fragmented and not whole yet.
    pub(crate) const fn is_inside(&self) -> bool {
        self.fragments.is_some()
    }

    /// Takes a frame in; gives its line of the transcript and what it completes.
    pub(crate) fn frame(&mut self, frame: &Frame) -> (String, Message) {
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
                    payload => format!(" {}", String::from_utf8_lossy(payload)),
                };
                return (format!("{name}{payload}"), Message::Control);
            }
            _ => "unknown",
        };
        let whole = match (opcode, self.fragments.take()) {
            (OpCode::Continuation, Some(mut whole)) => {
                whole.payload.extend(payload);
                whole
            }
            (OpCode::Continuation, None) => {
                return (format!("{name}{more} ({})", payload.len()), Message::Foreign);
            }
            // A message inside of another is the sender's fault.
            _ => frame.clone(),
        };
        if !*fin {
            self.fragments = Some(whole);
            return (format!("{name}{more} ({})", payload.len()), Message::Part);
        }
        let (text, message) = match whole.opcode {
            OpCode::Text => self.text(&whole.payload),
            _ if self.dialect == Dialect::V1 => {
                let shown = Val::Bin(whole.payload.clone()).to_string();
                (shown, Message::Attachment(whole.payload))
            }
            _ => self.chunk(&whole.payload),
        };
        (format!("{name} {text}"), message)
    }

    fn text(&self, payload: &[u8]) -> (String, Message) {
        let Ok(text) = core::str::from_utf8(payload) else {
            return (
                format!("not UTF-8 ({}, {})", payload.len(), digest(payload)),
                Message::Foreign,
            );
        };
        match Val::from_json(text) {
            Ok(value) => {
                let shown = value.to_string();
                let own = self.dialect == Dialect::V1;
                (shown, if own { Message::Envelope(value) } else { Message::Foreign })
            }
            Err(_) => {
                let mut shown = String::from("malformed ");
                // A string takes all that is written.
                _ = write_text(&mut shown, text);
                (shown, Message::Foreign)
            }
        }
    }

    fn chunk(&mut self, frame: &[u8]) -> (String, Message) {
        let Some((header, content)) = frame.split_first_chunk::<12>() else {
            return (format!("short ({})", frame.len()), Message::Foreign);
        };
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *header;
        let id = u32::from_le_bytes([a, b, c, d]);
        let offset = u32::from_le_bytes([e, f, g, h]);
        let total = u32::from_le_bytes([i, j, k, l]);
        let number = match self.ids.iter().rposition(|known| *known == id) {
            Some(number) => number,
            None => {
                self.ids.push(id);
                self.ids.len() - 1
            }
        };
        let at = self.chunks.iter().position(|it| it.id == id).unwrap_or_else(|| {
            self.chunks.push(Chunks { id, total, parts: Vec::new() });
            self.chunks.len() - 1
        });
        let shown = format!("#{} {offset}/{total}", number + 1);
        self.chunks[at].parts.push((offset, content.to_vec()));
        let received: u64 = self.chunks[at].parts.iter().map(|(_, part)| part.len() as u64).sum();
        if received < u64::from(self.chunks[at].total) {
            return (format!("{shown} ({})", content.len()), Message::Part);
        }
        let Chunks { mut parts, .. } = self.chunks.swap_remove(at);
        parts.sort_by_key(|(offset, _)| *offset);
        let bytes: Vec<u8> = parts.into_iter().flat_map(|(_, part)| part).collect();
        match Val::from_msgpack(&bytes) {
            Ok(value) => (format!("{shown} {value}"), Message::Envelope(value)),
            Err(_) => {
                let shown = format!("{shown} malformed ({}, {})", bytes.len(), digest(&bytes));
                (shown, Message::Foreign)
            }
        }
    }
}

fn close(frame: &Frame) -> String {
    let reason = frame.payload.get(2..).map(String::from_utf8_lossy).unwrap_or_default();
    match (frame.close_code(), &*reason) {
        (None, _) => "close".to_owned(),
        (Some(code), "") => format!("close {code}"),
        (Some(code), reason) => format!("close {code} {reason}"),
    }
}
