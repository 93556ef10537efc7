//! Both dialects as a client reads and writes them, with `serde_json` and `rmpv`: nothing of it is
//! core's, so that it judges core.

use rmpv::Value;
use std::collections::{HashMap, VecDeque};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// JSON, attachments as header and binary message.
    V1,
    /// MessagePack in chunks.
    V2,
}

/// For tests of both.
pub const BOTH: [Dialect; 2] = [Dialect::V1, Dialect::V2];

/// A WebSocket message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// JSON.
    Text(String),
    /// An attachment of 1.x, or a chunk of 2.x.
    Binary(Vec<u8>),
}

/// A client's state beside its socket.
#[derive(Debug)]
pub struct Codec {
    /// What it speaks.
    pub dialect: Dialect,
    /// Bytes of a chunk with its header, the most in both directions.
    pub max_msg_size: usize,
    /// Messages that nobody has asked for yet.
    pub inbox: VecDeque<Value>,
    /// Calls that were named, and messages that were written.
    calls: u64,
    messages: u32,
    /// 2.x: messages of which some chunks have come.
    partial: HashMap<u32, Vec<u8>>,
    /// 1.x: keys announced, and attachments.
    announced: VecDeque<String>,
    attachments: HashMap<String, Vec<u8>>,
}

impl Codec {
    /// Before the hello; `max_msg_size` holds until the answer to it names another.
    pub fn new(dialect: Dialect, max_msg_size: usize) -> Self {
        Self {
            dialect,
            max_msg_size,
            inbox: VecDeque::new(),
            calls: 0,
            messages: 0,
            partial: HashMap::new(),
            announced: VecDeque::new(),
            attachments: HashMap::new(),
        }
    }

    /// An id for a call.
    pub fn next_id(&mut self) -> String {
        self.calls += 1;
        format!("rpc:test:{}", self.calls)
    }

    /// The messages of a call; [`Value::Binary`] among `args` becomes an attachment.
    pub fn encode(
        &mut self,
        id: &str,
        method: &str,
        mut args: Vec<Value>,
        kwargs: Vec<(Value, Value)>,
    ) -> Vec<Message> {
        let mut messages = Vec::new();
        if self.dialect == Dialect::V1 {
            for (nth, arg) in args.iter_mut().enumerate() {
                if let Value::Binary(bytes) = arg {
                    let key = format!("wslink_bin{}", nth + 1);
                    let header = serde_json::json!({
                        "wslink": "1.0", "method": "wslink.binary.attachment", "args": [key],
                    });
                    messages.push(Message::Text(header.to_string()));
                    messages.push(Message::Binary(core::mem::take(bytes)));
                    *arg = key.into();
                }
            }
        }
        let envelope = Value::Map(vec![
            ("wslink".into(), "1.0".into()),
            ("id".into(), id.into()),
            ("method".into(), method.into()),
            ("args".into(), Value::Array(args)),
            ("kwargs".into(), Value::Map(kwargs)),
        ]);
        match self.dialect {
            Dialect::V1 => messages.push(Message::Text(to_json(&envelope).to_string())),
            Dialect::V2 => {
                let mut bytes = Vec::new();
                rmpv::encode::write_value(&mut bytes, &envelope).unwrap();
                self.messages += 1;
                let (id, most) = (self.messages, self.max_msg_size - 12);
                messages.extend(bytes.chunks(most).enumerate().map(|(nth, piece)| {
                    Message::Binary(chunk(id, (nth * most) as u32, bytes.len() as u32, piece))
                }));
            }
        }
        messages
    }

    /// Takes a text.
    ///
    /// # Panics
    /// At what no server of this dialect sends.
    pub fn decode_text(&mut self, text: &str) {
        assert_eq!(self.dialect, Dialect::V1, "{text}");
        let mut message = from_json(&serde_json::from_str(text).unwrap());
        if get(&message, "method").as_str() == Some("wslink.binary.attachment") {
            let keys = get(&message, "args").as_array().unwrap();
            self.announced.extend(keys.iter().map(|key| key.as_str().unwrap().to_owned()));
        } else {
            self.attach(&mut message);
            self.inbox.push_back(message);
        }
    }

    /// Takes a binary message.
    ///
    /// # Panics
    /// At what no server of this dialect sends.
    pub fn decode_binary(&mut self, bytes: &[u8]) {
        if self.dialect == Dialect::V1 {
            let key = self.announced.pop_front().unwrap();
            self.attachments.insert(key, bytes.to_vec());
            return;
        }
        assert!(bytes.len() <= self.max_msg_size);
        let (header, content) = bytes.split_at(12);
        let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let (id, offset, total) = (number(0), number(4), number(8));
        let message = self.partial.entry(id).or_default();
        assert_eq!(message.len(), offset as usize, "chunks come in order");
        message.extend_from_slice(content);
        if message.len() == total as usize {
            let message = self.partial.remove(&id).unwrap();
            let mut rest = message.as_slice();
            self.inbox.push_back(rmpv::decode::read_value(&mut rest).unwrap());
            assert!(rest.is_empty());
        }
    }

    /// The first message in the inbox that is wanted.
    pub fn take(&mut self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let index = self.inbox.iter().position(wanted)?;
        self.inbox.remove(index)
    }

    /// Puts attachments where their keys stand.
    fn attach(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(bytes) = text.as_str().and_then(|key| self.attachments.remove(key)) {
                    *value = Value::Binary(bytes);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.attach(item)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, item)| self.attach(item)),
            _ => {}
        }
    }
}

/// Whether a message answers the call of this id.
pub fn answers(id: &str) -> impl Fn(&Value) -> bool {
    move |message| get(message, "id").as_str() == Some(id)
}

/// Whether a message is a publication of this topic.
pub fn publishes(topic: &str) -> impl Fn(&Value) -> bool {
    let prefix = format!("publish:{topic}:");
    move |message| get(message, "id").as_str().is_some_and(|id| id.starts_with(&prefix))
}

/// The result of an answer, or its error.
///
/// # Errors
/// The error.
pub fn outcome(answer: &Value) -> Result<Value, Value> {
    match get(answer, "error") {
        Value::Nil => Ok(get(answer, "result").clone()),
        error => Err(error.clone()),
    }
}

/// A chunk of 2.x with its header.
pub fn chunk(id: u32, offset: u32, total: u32, content: &[u8]) -> Vec<u8> {
    let header = [id, offset, total].map(u32::to_le_bytes).concat();
    [&header, content].concat()
}

/// An entry of a map, or nil.
pub fn get<'a>(map: &'a Value, key: &str) -> &'a Value {
    let entries = map.as_map().map_or(&[][..], |entries| entries);
    entries.iter().find(|(name, _)| name.as_str() == Some(key)).map_or(&Value::Nil, |(_, it)| it)
}

/// The code of an error.
///
/// # Panics
/// If it has none.
pub fn code(error: &Value) -> i64 {
    get(error, "code").as_i64().unwrap()
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil => serde_json::Value::Null,
        Value::Boolean(it) => (*it).into(),
        Value::Integer(it) => it.as_i64().map_or_else(|| it.as_u64().into(), Into::into),
        Value::F64(it) => (*it).into(),
        Value::String(it) => it.as_str().into(),
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, it)| (key.as_str().unwrap().to_owned(), to_json(it)))
            .collect(),
        other => panic!("no JSON: {other}"),
    }
}

fn from_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(it) => (*it).into(),
        serde_json::Value::Number(it) => match (it.as_i64(), it.as_u64()) {
            (Some(it), _) => it.into(),
            (None, Some(it)) => it.into(),
            _ => it.as_f64().unwrap().into(),
        },
        serde_json::Value::String(it) => it.as_str().into(),
        serde_json::Value::Array(items) => Value::Array(items.iter().map(from_json).collect()),
        serde_json::Value::Object(entries) => Value::Map(
            entries.iter().map(|(key, it)| (key.as_str().into(), from_json(it))).collect(),
        ),
    }
}
