//! A client of both dialects on pipes, with `serde_json` and `rmpv`; nothing of it is ours.

use super::{Net, Receiver, SECRET, Sender};
use embedded_io_async::{Read, Write};
use rmpv::Value;
use std::collections::{HashMap, VecDeque};
use wslink_core::Service;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    V1,
    V2,
}

pub const BOTH: [Dialect; 2] = [Dialect::V1, Dialect::V2];

pub const UPGRADE: &str = "GET /ws?sessionURL=x HTTP/1.1\r\nHost: device\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A WebSocket without wslink.
pub struct Raw {
    pub rx: Receiver,
    pub tx: Sender,
}

impl Raw {
    pub async fn connect<S: Service<Blob: Send> + 'static>(net: &Net<S>) -> Self {
        let (rx, tx) = net.connect();
        Self::upgrade(rx, tx).await
    }

    pub async fn upgrade(rx: Receiver, tx: Sender) -> Self {
        let mut raw = Self { rx, tx };
        raw.tx.write_all(UPGRADE.as_bytes()).await.unwrap();
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        raw
    }

    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.rx.read_exact(&mut byte).await.unwrap();
            head.extend(byte);
        }
        String::from_utf8(head).unwrap()
    }

    pub async fn send(&mut self, first: u8, payload: &[u8]) {
        self.tx.write_all(&frame(first, payload)).await.unwrap();
    }

    pub async fn send_raw(&mut self, bytes: &[u8]) {
        self.tx.write_all(bytes).await.unwrap();
    }

    /// The first byte of a frame and its payload; `None` at the end.
    pub async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 2];
        self.rx.read_exact(&mut header).await.ok()?;
        assert_eq!(header[1] & 0x80, 0, "a server does not mask");
        let len = match header[1] {
            126 => {
                let mut len = [0; 2];
                self.rx.read_exact(&mut len).await.unwrap();
                let len = u16::from_be_bytes(len);
                assert!(len > 125);
                len.into()
            }
            127 => {
                let mut len = [0; 8];
                self.rx.read_exact(&mut len).await.unwrap();
                let len = u64::from_be_bytes(len) as usize;
                assert!(len > 0xffff);
                len
            }
            len => len.into(),
        };
        let mut payload = vec![0; len];
        self.rx.read_exact(&mut payload).await.ok()?;
        Some((header[0], payload))
    }

    /// The code and the reason of the Close, and that nothing follows it.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            let (first, payload) = self.receive().await.expect("a Close");
            if first == 0x88 {
                let reason = String::from_utf8(payload[2..].to_vec()).unwrap();
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                return (code, reason);
            }
        }
    }
}

/// A frame as a client sends it.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

pub struct Client {
    pub raw: Raw,
    pub dialect: Dialect,
    next: u64,
    /// Fragments of a message.
    fragments: Option<(u8, Vec<u8>)>,
    /// 2.x: messages of which some chunks have come.
    partial: HashMap<u32, Vec<u8>>,
    /// 1.x: keys announced, and attachments.
    announced: VecDeque<String>,
    attachments: HashMap<String, Vec<u8>>,
    /// Messages that nobody has asked for yet.
    pub inbox: VecDeque<Value>,
    pub max_msg_size: usize,
    pub pongs: usize,
}

impl Client {
    pub fn new(raw: Raw, dialect: Dialect) -> Self {
        Self {
            raw,
            dialect,
            next: 0,
            fragments: None,
            partial: HashMap::new(),
            announced: VecDeque::new(),
            attachments: HashMap::new(),
            inbox: VecDeque::new(),
            max_msg_size: 1024,
            pongs: 0,
        }
    }

    /// A connection whose hello was accepted.
    pub async fn login<S: Service<Blob: Send> + 'static>(net: &Net<S>, dialect: Dialect) -> Self {
        let mut client = Self::new(Raw::connect(net).await, dialect);
        let welcome = client.hello(SECRET).await.unwrap();
        assert!(get(&welcome, "clientID").as_str().unwrap().starts_with('c'));
        client
    }

    pub async fn hello(&mut self, secret: &str) -> Result<Value, Value> {
        let secret = Value::Map(vec![("secret".into(), secret.into())]);
        self.send("system:c0:0", "wslink.hello", vec![secret]).await;
        let result = self.answer("system:c0:0").await;
        if let Ok(welcome) = &result
            && let Some(size) = get(welcome, "maxMsgSize").as_u64()
        {
            self.max_msg_size = size as usize;
        }
        result
    }

    /// Calls and waits for the answer; publications are kept in the inbox.
    pub async fn call(&mut self, method: &str, args: Vec<Value>) -> Result<Value, Value> {
        let id = self.start(method, args).await;
        self.answer(&id).await
    }

    /// Calls, and tells the id.
    pub async fn start(&mut self, method: &str, args: Vec<Value>) -> String {
        self.next += 1;
        let id = format!("rpc:test:{}", self.next);
        self.send(&id, method, args).await;
        id
    }

    pub async fn send(&mut self, id: &str, method: &str, args: Vec<Value>) {
        for (first, payload) in self.frames(id, method, args) {
            self.raw.send(first, &payload).await;
        }
    }

    /// The frames of a call.
    pub fn frames(&mut self, id: &str, method: &str, mut args: Vec<Value>) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        if self.dialect == Dialect::V1 {
            for (nth, arg) in args.iter_mut().enumerate() {
                if let Value::Binary(bytes) = arg {
                    let key = format!("wslink_bin{}", nth + 1);
                    let header = serde_json::json!({
                        "wslink": "1.0", "method": "wslink.binary.attachment", "args": [key],
                    });
                    frames.push((0x81, header.to_string().into_bytes()));
                    frames.push((0x82, core::mem::take(bytes)));
                    *arg = key.into();
                }
            }
        }
        let envelope = Value::Map(vec![
            ("wslink".into(), "1.0".into()),
            ("id".into(), id.into()),
            ("method".into(), method.into()),
            ("args".into(), Value::Array(args)),
            ("kwargs".into(), Value::Map(vec![])),
        ]);
        match self.dialect {
            Dialect::V1 => frames.push((0x81, to_json(&envelope).to_string().into_bytes())),
            Dialect::V2 => {
                let mut bytes = Vec::new();
                rmpv::encode::write_value(&mut bytes, &envelope).unwrap();
                let id = self.next as u32 + 1;
                let most = self.max_msg_size - 12;
                for (nth, piece) in bytes.chunks(most).enumerate() {
                    frames.push((0x82, chunk(id, (nth * most) as u32, bytes.len() as u32, piece)));
                }
            }
        }
        frames
    }

    /// Waits for the answer to `id`.
    pub async fn answer(&mut self, id: &str) -> Result<Value, Value> {
        let message = self.take(|message| get(message, "id").as_str() == Some(id)).await;
        match get(&message, "error") {
            Value::Nil => Ok(get(&message, "result").clone()),
            error => Err(error.clone()),
        }
    }

    /// Waits for a publication.
    pub async fn published(&mut self, topic: &str) -> Value {
        let prefix = format!("publish:{topic}:");
        let wanted =
            |message: &Value| get(message, "id").as_str().is_some_and(|id| id.starts_with(&prefix));
        get(&self.take(wanted).await, "result").clone()
    }

    async fn take(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(index) = self.inbox.iter().position(&wanted) {
                return self.inbox.remove(index).unwrap();
            }
            self.receive().await;
        }
    }

    /// Reads one frame.
    pub async fn receive(&mut self) {
        let (first, payload) = self.raw.receive().await.expect("a frame");
        match first {
            0x8a => self.pongs += 1,
            0x89 => self.raw.send(0x8a, &payload).await,
            0x88 => panic!("closed: {:?}", String::from_utf8_lossy(&payload)),
            0x81 | 0x82 => {
                assert!(self.fragments.is_none());
                self.message(first, payload);
            }
            1 | 2 => assert!(self.fragments.replace((first | 0x80, payload)).is_none()),
            0 | 0x80 => {
                self.fragments.as_mut().unwrap().1.extend(payload);
                if first == 0x80 {
                    let (first, message) = self.fragments.take().unwrap();
                    self.message(first, message);
                }
            }
            _ => panic!("{first:#x}"),
        }
    }

    fn message(&mut self, first: u8, bytes: Vec<u8>) {
        match (first, self.dialect) {
            (0x81, Dialect::V1) => {
                let mut message = from_json(&serde_json::from_slice(&bytes).unwrap());
                if get(&message, "method").as_str() == Some("wslink.binary.attachment") {
                    let keys = get(&message, "args").as_array().unwrap();
                    self.announced.extend(keys.iter().map(|key| key.as_str().unwrap().to_owned()));
                } else {
                    self.attach(&mut message);
                    self.inbox.push_back(message);
                }
            }
            (0x82, Dialect::V1) => {
                let key = self.announced.pop_front().unwrap();
                self.attachments.insert(key, bytes);
            }
            (0x82, Dialect::V2) => {
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
            _ => panic!("{first:#x} in {:?}", self.dialect),
        }
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

pub fn chunk(id: u32, offset: u32, total: u32, content: &[u8]) -> Vec<u8> {
    let header = [id, offset, total].map(u32::to_le_bytes).concat();
    [&header, content].concat()
}

/// An entry of a map, or nil.
pub fn get<'a>(map: &'a Value, key: &str) -> &'a Value {
    let entries = map.as_map().map_or(&[][..], |entries| entries);
    entries.iter().find(|(name, _)| name.as_str() == Some(key)).map_or(&Value::Nil, |(_, it)| it)
}

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
