//! Recordings, and what comes in, as the same list of things that happened to a client.

use crate::client::{Incoming, op};
use crate::differences;
use crate::formats::{json, msgpack};
use crate::value::{Value, fill, hex, sha256, unhex};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One line of a recording.
pub(crate) struct Record {
    pub(crate) ms: u64,
    pub(crate) from_client: bool,
    pub(crate) conn: usize,
    pub(crate) op: String,
    pub(crate) fields: Value,
}

pub(crate) fn read(path: &Path) -> Vec<Record> {
    let text = fs::read_to_string(path).expect("a recording");
    let record = |line: &str| {
        let fields = json(line).expect("JSON");
        let text = |key: &str| fields.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
        let number = |key: &str| fields.get(key).and_then(Value::as_usize).expect("a number");
        Record {
            ms: number("ms") as u64,
            from_client: text("dir").as_deref() == Some("c2s"),
            conn: number("conn"),
            op: text("op").expect("an opcode"),
            fields,
        }
    };
    text.lines().map(record).collect()
}

impl Record {
    pub(crate) fn is_end(&self) -> bool {
        self.op == "eof" || self.op == "reset"
    }

    pub(crate) fn fin(&self) -> bool {
        self.fields.get("fin") != Some(&Value::Bool(false))
    }

    pub(crate) fn opcode(&self) -> u8 {
        match self.op.as_str() {
            "text" => op::TEXT,
            "binary" => op::BINARY,
            "continuation" => op::CONTINUATION,
            "ping" => op::PING,
            "pong" => op::PONG,
            _ => op::CLOSE,
        }
    }

    /// The payload of a client's frame; what is too long for the file is made anew.
    pub(crate) fn payload(&self) -> Vec<u8> {
        let text = |key: &str| self.fields.get(key).and_then(Value::as_str);
        if let Some(text) = text("text") {
            return text.into();
        }
        if let Some(hex) = text("hex") {
            return unhex(hex);
        }
        if self.op == "close" {
            let Some(code) = self.fields.get("code").and_then(Value::as_usize) else {
                return Vec::new();
            };
            let reason = text("reason").unwrap_or_default();
            return [&(code as u16).to_be_bytes(), reason.as_bytes()].concat();
        }
        let number = |key: &str| self.fields.get(key).and_then(Value::as_usize);
        let (len, digest) = (number("len").unwrap_or_default(), text("sha256"));
        let head = unhex(text("head_hex").unwrap_or_default());
        // An attachment of 1.x is nothing but the filling; one client sent zeros; in 2.x the
        // filling stands in a message.
        let zeros = [&head[..], &vec![0; len - head.len()]].concat();
        let message = self.fields.get("message");
        let message = message.map(|message| enveloped(&head, message)).unwrap_or_default();
        [fill(len), zeros, message]
            .into_iter()
            .find(|bytes| Some(sha256(bytes).as_str()) == digest)
            .unwrap_or_else(|| panic!("a frame of {len} bytes could not be made again"))
    }
}

/// A call with the one argument that is an attachment, as the JavaScript client encodes it.
fn enveloped(head: &[u8], message: &Value) -> Vec<u8> {
    let str = |text: &str| match text.len() {
        len @ 0..=31 => [&[0xa0 | len as u8], text.as_bytes()].concat(),
        len => [&[0xd9, len as u8], text.as_bytes()].concat(),
    };
    let text = |key: &str| str(message.get(key).and_then(Value::as_str).unwrap_or_default());
    let count = match message.get("args") {
        Some(Value::List(args)) => args[0].get("$bin_len").and_then(Value::as_usize),
        _ => None,
    };
    let bytes = fill(count.unwrap_or_default());
    [
        head[..12].to_vec(),
        vec![0x85],
        str("wslink"),
        text("wslink"),
        str("id"),
        text("id"),
        str("method"),
        text("method"),
        str("args"),
        vec![0x91, 0xc6],
        (bytes.len() as u32).to_be_bytes().to_vec(),
        bytes,
        str("kwargs"),
        vec![0x80],
    ]
    .concat()
}

/// Something that happened to a client.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// By which it is known that it has come, whatever it says: the id of a message.
    pub(crate) key: String,
    pub(crate) text: String,
    /// Milliseconds since the beginning.
    pub(crate) ms: u64,
}

/// The side of one client: what came in, put together as its library would.
#[derive(Default)]
pub(crate) struct Side {
    pub(crate) items: Vec<Item>,
    /// 1.x attachments that are announced, and received.
    announced: Vec<String>,
    received: Vec<(String, Value)>,
    /// 2.x messages under way.
    pending: BTreeMap<usize, Pending>,
    /// What the answer to the hello said.
    pub(crate) client_id: Option<String>,
    pub(crate) max_msg_size: usize,
    /// The Close frame that the client sent, if it did.
    pub(crate) closed_with: Option<Vec<u8>>,
    pub(crate) got_close: bool,
    pub(crate) over: bool,
}

#[derive(Default)]
struct Pending {
    chunks: usize,
    largest: usize,
    total: usize,
    bytes: Vec<u8>,
}

impl Side {
    fn push(&mut self, ms: u64, key: impl Into<String>, text: impl Into<String>) {
        self.items.push(Item { key: key.into(), text: text.into(), ms });
    }

    /// A recorded frame of the server.
    pub(crate) fn recorded(&mut self, record: &Record) {
        let bytes = || unhex(record.fields.get("hex").and_then(Value::as_str).unwrap_or_default());
        let ms = record.ms;
        match record.op.as_str() {
            "ping" => self.push(ms, "ping", format!("ping {}", hex(&bytes()))),
            "pong" => self.push(ms, "pong", format!("pong {}", hex(&bytes()))),
            "close" => {
                let code = record.fields.get("code").and_then(Value::as_usize);
                let reason = record.fields.get("reason").and_then(Value::as_str);
                let code = code.map(|code| code as u16);
                self.close(ms, code, reason.unwrap_or_default(), differences::UPSTREAMS_CLOSE);
            }
            "eof" | "reset" => self.end(ms),
            "text" => {
                let text = record.fields.get("text").and_then(Value::as_str).unwrap_or_default();
                self.text(ms, text);
            }
            _ => match record.fields.get("chunk") {
                None => self.attachment(recorded_bytes(&record.fields)),
                Some(chunk) => {
                    let number = |key: &str| chunk.get(key).and_then(Value::as_usize).unwrap_or(0);
                    let len = record.fields.get("len").and_then(Value::as_usize);
                    let frame = len.unwrap_or_else(|| bytes().len());
                    let pending = self.pending.entry(number("id")).or_default();
                    pending.chunks += 1;
                    pending.largest = pending.largest.max(frame);
                    if let Some(message) = record.fields.get("message") {
                        let chunks = chunks(pending);
                        self.pending.remove(&number("id"));
                        self.message(ms, &plain(message), &chunks);
                    }
                }
            },
        }
    }

    /// Something that our server sent.
    pub(crate) fn incoming(&mut self, ms: u64, incoming: Incoming) {
        match incoming {
            Incoming::Ping(payload) => self.push(ms, "ping", format!("ping {}", hex(&payload))),
            Incoming::Pong(payload) => self.push(ms, "pong", format!("pong {}", hex(&payload))),
            Incoming::Close(payload) => {
                let (code, reason) = split_close(&payload);
                let said = self.closed_with.clone().unwrap_or_default();
                self.close(ms, code, reason, differences::our_close(split_close(&said)));
            }
            Incoming::Eof => self.end(ms),
            Incoming::Broken(what) => self.push(ms, "broken", format!("broken: {what}")),
            Incoming::Text(bytes) => match String::from_utf8(bytes) {
                Ok(text) => self.text(ms, &text),
                Err(error) => self.push(ms, "broken", format!("broken: {error}")),
            },
            Incoming::Binary(bytes) if self.announced.is_empty() => self.chunk(ms, &bytes),
            Incoming::Binary(bytes) => self.attachment(Value::Bytes(bytes)),
        }
    }

    /// `usual` is how this server answers the client's own Close.
    fn close(&mut self, ms: u64, code: Option<u16>, reason: &str, usual: (Option<u16>, &str)) {
        self.got_close = true;
        let text = match &self.closed_with {
            Some(_) if (code, reason) == usual => "close, answered as usual".into(),
            said => {
                let answered = if said.is_some() { ", answered" } else { "" };
                let code = code.map_or_else(|| "without a code".into(), |code| code.to_string());
                format!("close{answered} {code} {reason}")
            }
        };
        self.push(ms, "end", text.trim_end());
    }

    fn end(&mut self, ms: u64) {
        if !self.got_close && self.closed_with.is_none() && !self.over {
            self.push(ms, "end", "dropped");
        }
        self.over = true;
    }

    fn text(&mut self, ms: u64, text: &str) {
        match json(text) {
            Ok(message) => match (message.get("id"), message.get("args")) {
                (None, Some(Value::List(keys))) => self
                    .announced
                    .extend(keys.iter().map(|key| key.as_str().unwrap_or_default().to_owned())),
                _ => self.message(ms, &message, ""),
            },
            Err(error) => self.push(ms, "broken", format!("broken JSON, {error}: {text}")),
        }
    }

    fn attachment(&mut self, bytes: Value) {
        let key = if self.announced.is_empty() { String::new() } else { self.announced.remove(0) };
        self.received.push((key, bytes));
    }

    fn chunk(&mut self, ms: u64, frame: &[u8]) {
        let word = |at: usize| {
            let word = frame.get(at..at + 4).and_then(|word| word.first_chunk());
            word.map_or(0, |word| u32::from_le_bytes(*word) as usize)
        };
        let (id, offset, total) = (word(0), word(4), word(8));
        let content = frame.get(12..).unwrap_or_default();
        if self.max_msg_size > 0 && frame.len() > self.max_msg_size.max(13) {
            self.push(ms, "broken", format!("broken: a chunk of {} bytes", frame.len()));
        }
        let pending = self.pending.entry(id).or_default();
        if offset != pending.bytes.len() || (pending.chunks > 0 && total != pending.total) {
            self.push(ms, "broken", "broken: a chunk does not follow its message's last");
            return;
        }
        pending.total = total;
        pending.chunks += 1;
        pending.largest = pending.largest.max(frame.len());
        pending.bytes.extend(content);
        if pending.bytes.len() >= total {
            let chunks = chunks(pending);
            let message = msgpack(&pending.bytes);
            self.pending.remove(&id);
            match message {
                Ok(message) => self.message(ms, &message, &chunks),
                Err(error) => self.push(ms, "broken", format!("broken MessagePack: {error}")),
            }
        }
    }

    /// A message of the server. The stock clients put an attachment at the first place that names
    /// it, and then forget it.
    fn message(&mut self, ms: u64, message: &Value, chunks: &str) {
        let mut message = message.clone();
        if let Value::Map(entries) = &mut message {
            for (key, value) in entries {
                if key.as_str() == Some("result") {
                    resolve(value, &mut self.received);
                    let said = |key| value.get(key);
                    if let Some(id) = said("clientID").and_then(Value::as_str) {
                        self.client_id.get_or_insert_with(|| id.to_owned());
                    }
                    if let Some(size) = said("maxMsgSize").and_then(Value::as_usize) {
                        self.max_msg_size = size;
                    }
                }
            }
        }
        for (key, bytes) in core::mem::take(&mut self.received) {
            self.push(ms, "unused", format!("an attachment {key:?} {bytes} that nothing names"));
        }
        let id = message.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.push(ms, format!("message {id}"), envelope(&message) + chunks);
    }
}

fn split_close(payload: &[u8]) -> (Option<u16>, &str) {
    match payload.split_first_chunk() {
        None => (None, ""),
        Some((code, reason)) => {
            let reason = core::str::from_utf8(reason).unwrap_or("not UTF-8");
            (Some(u16::from_be_bytes(*code)), reason)
        }
    }
}

fn chunks(pending: &Pending) -> String {
    match pending.chunks {
        0 | 1 => String::new(),
        count => format!(" in {count} chunks of up to {} bytes", pending.largest),
    }
}

fn resolve(value: &mut Value, received: &mut Vec<(String, Value)>) {
    match value {
        Value::Str(text) => {
            if let Some(found) = received.iter().position(|(key, _)| key == text) {
                *value = received.remove(found).1;
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| resolve(item, received)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, item)| resolve(item, received)),
        _ => {}
    }
}

/// A message in a line. What a handler says of its failure is its own affair, so that of
/// `Exception raised` only the method counts, and that nothing but the two known keys is there.
fn envelope(message: &Value) -> String {
    let Value::Map(entries) = message else { return message.to_string() };
    let [(wslink, version), (id, Value::Str(name)), (what, value)] = entries.as_slice() else {
        return message.to_string();
    };
    if wslink.as_str() != Some("wslink")
        || version.as_str() != Some("1.0")
        || id.as_str() != Some("id")
    {
        return message.to_string();
    }
    match (what.as_str(), value) {
        (Some("result"), _) => format!("{name:?} = {value}"),
        (Some("error"), Value::Map(entries)) => {
            let mut text = format!("{name:?} failed:");
            for (key, value) in entries {
                match (key.as_str(), value) {
                    (Some("code" | "message"), _) => text += &format!(" {value}"),
                    (Some("data"), Value::Map(data))
                        if matches!(data.as_slice(), [(a, Value::Str(_)), (b, Value::Str(_))]
                            if a.as_str() == Some("method") && b.as_str() == Some("exception")) =>
                    {
                        text += &format!(" in {}", data[0].1);
                    }
                    (Some("data"), _) => text += &format!(", data {value}"),
                    _ => text += &format!(" {key}: {value}"),
                }
            }
            text
        }
        _ => message.to_string(),
    }
}

/// Bytes of a recorded binary frame.
fn recorded_bytes(fields: &Value) -> Value {
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    match text("hex") {
        Some(hex) => Value::Bytes(unhex(hex)),
        None => Value::Digest(
            fields.get("len").and_then(Value::as_usize).unwrap_or_default(),
            text("sha256").unwrap_or_default().to_owned(),
        ),
    }
}

/// A decoded message of a recording, with what JSON has no words for.
fn plain(value: &Value) -> Value {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    match value {
        Value::List(items) => Value::List(items.iter().map(plain).collect()),
        Value::Map(entries) => {
            if let Some(hex) = text("$bin_hex") {
                return Value::Bytes(unhex(hex));
            }
            if let (Some(len), Some(digest)) = (value.get("$bin_len"), text("$sha256")) {
                return Value::Digest(len.as_usize().unwrap_or_default(), digest.to_owned());
            }
            if let Some(float) = text("$float") {
                return json(float).expect("a float");
            }
            if let Some(Value::List(pairs)) = value.get("$map") {
                let pair = |pair: &Value| match pair {
                    Value::List(pair) => (plain(&pair[0]), plain(&pair[1])),
                    other => panic!("{other} is no pair"),
                };
                return Value::Map(pairs.iter().map(pair).collect());
            }
            Value::Map(entries.iter().map(|(key, value)| (key.clone(), plain(value))).collect())
        }
        other => other.clone(),
    }
}
