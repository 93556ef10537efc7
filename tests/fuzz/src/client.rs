//! The peer: puts together what it is sent, and panics at what no client can read.

use crate::pattern;
use std::collections::{HashMap, VecDeque};
use wslink_core::OpCode;
use wslink_core::wire::{Dialect, MAX_DEPTH, Value};

/// A whole message that was sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To the request of this id: the code if it is an error.
    Answer(String, Option<i64>),
    /// Of this topic: its number, and whether it is a retained one.
    Publication(String, u64, bool),
    /// Of `wslink.lagged`.
    Lagged(String, u64),
}

/// Follows what one connection sends.
pub struct Client {
    dialect: Dialect,
    /// Before hello each frame may choose the dialect anew.
    pub mixed: bool,
    max_msg_size: usize,
    message: Option<(OpCode, Vec<u8>)>,
    chunks: HashMap<u32, (u32, Vec<u8>)>,
    announced: VecDeque<String>,
    attachments: HashMap<String, Vec<u8>>,
    /// The code of the Close that was sent.
    pub closed: Option<u16>,
    pub received: Vec<Answer>,
    /// The limit that the last error told of.
    pub limit: Option<String>,
}

impl Client {
    pub fn new(dialect: Dialect, max_msg_size: u32) -> Self {
        Self {
            dialect,
            mixed: false,
            max_msg_size: max_msg_size as usize,
            message: None,
            chunks: HashMap::new(),
            announced: VecDeque::new(),
            attachments: HashMap::new(),
            closed: None,
            received: Vec::new(),
            limit: None,
        }
    }

    /// Takes a whole frame.
    pub fn frame(&mut self, opcode: OpCode, fin: bool, payload: Vec<u8>) {
        assert_eq!(self.closed, None, "{opcode:?} after Close");
        match opcode {
            OpCode::Ping | OpCode::Pong | OpCode::Close => {
                assert!(fin && payload.len() <= 125, "a control frame that RFC 6455 forbids");
                if opcode == OpCode::Close {
                    let (code, reason) = payload.split_first_chunk().expect("Closes have codes");
                    core::str::from_utf8(reason).expect("the reason is UTF-8");
                    self.closed = Some(u16::from_be_bytes(*code));
                }
                return;
            }
            OpCode::Continuation => {
                let (_, message) = self.message.as_mut().expect("a continuation of nothing");
                assert!(payload.len() <= self.max_msg_size.max(1), "a piece is too long");
                message.extend(payload);
            }
            _ => {
                assert!(self.message.is_none(), "a message inside of another");
                self.message = Some((opcode, payload));
            }
        }
        if !fin {
            return;
        }
        let Some((opcode, message)) = self.message.take() else { return };
        if opcode == OpCode::Text {
            assert!(self.dialect == Dialect::V1 || self.mixed, "text in 2.x");
            self.text(message);
        } else if let Some(key) = self.announced.pop_front() {
            self.attachments.insert(key, message);
        } else {
            assert!(self.dialect == Dialect::V2 || self.mixed, "binary without its header");
            self.chunk(&message);
        }
    }

    fn text(&mut self, mut message: Vec<u8>) {
        assert!(self.announced.is_empty(), "text where an attachment was announced");
        let text = core::str::from_utf8(&message).expect("text is UTF-8");
        serde_json::from_str::<serde::de::IgnoredAny>(text).expect("text is JSON");
        let value = Value::clean_json(&mut message, MAX_DEPTH).expect("text is clean JSON");
        let method = field(value, "method").and_then(|method| method.as_str());
        if method == Some("wslink.binary.attachment") {
            let keys = field(value, "args").expect("a header has keys");
            self.announced.extend(keys.items().filter_map(|key| Some(key.as_str()?.to_owned())));
            assert_eq!(self.announced.len(), keys.items().count(), "keys are strings");
            return;
        }
        let received = self.envelope(value);
        self.received.push(received);
    }

    fn chunk(&mut self, frame: &[u8]) {
        let (header, content) = frame.split_first_chunk::<12>().expect("a chunk has its header");
        let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four"));
        let (id, offset, total) = (number(0), number(4), number(8));
        assert!(content.len() <= self.max_msg_size.saturating_sub(12).max(1), "a chunk too long");
        assert!(!content.is_empty(), "a chunk of nothing");
        let (of, message) = self.chunks.entry(id).or_insert((total, Vec::new()));
        assert_eq!((*of, message.len()), (total, offset as usize), "chunks follow each other");
        message.extend(content);
        assert!(message.len() <= total as usize, "more than the total");
        if message.len() == total as usize {
            let (_, message) = self.chunks.remove(&id).expect("it was just there");
            let value = Value::check_msgpack(&message, MAX_DEPTH).expect("MessagePack");
            let received = self.envelope(value);
            self.received.push(received);
        }
    }

    fn envelope(&mut self, value: Value<'_>) -> Answer {
        let id = field(value, "id").and_then(|id| id.as_str()).expect("an envelope has an id");
        let (result, error) = (field(value, "result"), field(value, "error"));
        assert!(result.is_some() != error.is_some(), "either result or error");
        if let Some(error) = error {
            let code = field(error, "code").and_then(|code| code.as_i64());
            let message = field(error, "message").and_then(|message| message.as_str());
            assert!(message.is_some(), "an error has a message");
            let limit = field(error, "data").and_then(|data| field(data, "limit"));
            self.limit = limit.and_then(|limit| limit.as_str()).map(str::to_owned);
            return Answer::Answer(id.to_owned(), Some(code.expect("an error has a code")));
        }
        let result = result.expect("it is no error");
        self.check(value.dialect(), result);
        let int = |name| field(result, name)?.as_i64().map(|number| number as u64);
        if let Some(topic) = id.strip_prefix("publish:") {
            if let (Some(missed), "wslink.lagged:0") = (int("missed"), topic) {
                let topic = field(result, "topic").and_then(|topic| topic.as_str());
                return Answer::Lagged(topic.expect("of a topic").to_owned(), missed);
            }
            if let (Some(n), Some((topic, mark))) = (int("n"), topic.rsplit_once(':')) {
                return Answer::Publication(topic.to_owned(), n, mark == "1");
            }
        }
        Answer::Answer(id.to_owned(), None)
    }

    /// Holds the data of a result against what it has to be.
    fn check(&self, dialect: Dialect, result: Value<'_>) {
        let int = |name| field(result, name)?.as_i64();
        let (Some(seed), Some(len), Some(data)) = (int("seed"), int("len"), field(result, "data"))
        else {
            return;
        };
        let expected: Vec<u8> = (0..len as u64).map(|at| pattern(seed as u32, at)).collect();
        for item in data.items() {
            let bytes = match dialect {
                Dialect::V1 => {
                    let key = item.as_str().expect("a key");
                    self.attachments.get(key).expect("attachments come first").as_slice()
                }
                _ => item.as_bytes().expect("bytes in their place"),
            };
            assert!(bytes == expected, "an attachment with other bytes");
        }
        let pad = field(result, "pad").and_then(|pad| pad.as_str()).expect("a text");
        assert!(pad.trim_start_matches('é').trim_start_matches('x').is_empty(), "another text");
    }
}

fn field<'a>(value: Value<'a>, name: &str) -> Option<Value<'a>> {
    value.entries().find(|(key, _)| *key == name).map(|(_, value)| value)
}
