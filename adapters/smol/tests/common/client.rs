//! A client of both dialects, on tungstenite, serde_json and rmpv.

use async_tungstenite::tungstenite::client::IntoClientRequest as _;
use async_tungstenite::tungstenite::http::HeaderName;
use async_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use async_tungstenite::tungstenite::{Bytes, Message};
use async_tungstenite::{WebSocketStream, client_async_with_config};
use core::net::SocketAddr;
use futures_util::{SinkExt as _, StreamExt as _};
use rmpv::Value;
use smol::net::TcpStream;
use std::collections::{HashMap, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    V1,
    V2,
}

pub const BOTH: [Dialect; 2] = [Dialect::V1, Dialect::V2];

pub struct Client {
    pub ws: WebSocketStream<TcpStream>,
    pub dialect: Dialect,
    next: u64,
    /// 2.x: messages of which some chunks have come.
    partial: HashMap<u32, Vec<u8>>,
    /// 1.x: keys announced, and attachments.
    announced: VecDeque<String>,
    attachments: HashMap<String, Vec<u8>>,
    /// Messages that nobody has asked for yet.
    pub inbox: VecDeque<Value>,
    pub max_msg_size: usize,
    /// The frame with which the server closed.
    pub closed: Option<Option<CloseFrame>>,
}

impl Client {
    /// A connection that has not said hello.
    pub async fn connect(address: SocketAddr, dialect: Dialect) -> Self {
        Self::connect_at(address, "/ws?sessionURL=x", dialect).await
    }

    /// The same at another path.
    pub async fn connect_at(address: SocketAddr, path: &str, dialect: Dialect) -> Self {
        Self::connect_with(address, path, &[], dialect).await
    }

    /// The same with more headers.
    pub async fn connect_with(
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
        dialect: Dialect,
    ) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let config = WebSocketConfig::default().read_buffer_size(16 << 10);
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (ws, _) = client_async_with_config(request, stream, Some(config)).await.unwrap();
        Self {
            ws,
            dialect,
            next: 0,
            partial: HashMap::new(),
            announced: VecDeque::new(),
            attachments: HashMap::new(),
            inbox: VecDeque::new(),
            max_msg_size: 4096,
            closed: None,
        }
    }

    /// A connection whose hello was accepted.
    pub async fn login(address: SocketAddr, dialect: Dialect) -> Self {
        let mut client = Self::connect(address, dialect).await;
        let welcome = client.hello(super::SECRET).await.unwrap();
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

    /// The same for a call that the client names, to follow and to cancel it.
    pub async fn start_named(&mut self, token: u32, method: &str, args: Vec<Value>) -> String {
        self.next += 1;
        let id = format!("rpc:test:{}", self.next);
        let kwargs = vec![("wslink_token".into(), token.into())];
        self.send_with(&id, method, args, kwargs).await;
        id
    }

    pub async fn send(&mut self, id: &str, method: &str, args: Vec<Value>) {
        self.send_with(id, method, args, vec![]).await;
    }

    async fn send_with(
        &mut self,
        id: &str,
        method: &str,
        mut args: Vec<Value>,
        kwargs: Vec<(Value, Value)>,
    ) {
        if self.dialect == Dialect::V1 {
            for (nth, arg) in args.iter_mut().enumerate() {
                if let Value::Binary(bytes) = arg {
                    let key = format!("wslink_bin{}", nth + 1);
                    let header = serde_json::json!({
                        "wslink": "1.0", "method": "wslink.binary.attachment", "args": [key],
                    });
                    let bytes = Bytes::from(core::mem::take(bytes));
                    self.ws.feed(Message::text(header.to_string())).await.unwrap();
                    self.ws.feed(Message::Binary(bytes)).await.unwrap();
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
            Dialect::V1 => {
                self.ws.send(Message::text(to_json(&envelope).to_string())).await.unwrap();
            }
            Dialect::V2 => {
                let mut bytes = Vec::new();
                rmpv::encode::write_value(&mut bytes, &envelope).unwrap();
                let id = self.next as u32 + 1;
                let most = self.max_msg_size - 12;
                for (nth, piece) in bytes.chunks(most).enumerate() {
                    let chunk = chunk(id, (nth * most) as u32, bytes.len() as u32, piece);
                    self.ws.feed(Message::Binary(chunk.into())).await.unwrap();
                }
                self.ws.flush().await.unwrap();
            }
        }
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

    pub async fn take(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(index) = self.inbox.iter().position(&wanted) {
                return self.inbox.remove(index).unwrap();
            }
            assert!(self.receive().await, "closed: {:?}", self.closed);
        }
    }

    /// Reads one WebSocket message; false at the end.
    pub async fn receive(&mut self) -> bool {
        let message = match self.ws.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => panic!("{error}"),
            None => return false,
        };
        match message {
            Message::Text(text) => {
                let message = serde_json::from_str(&text).unwrap();
                let mut message = from_json(&message);
                if get(&message, "method").as_str() == Some("wslink.binary.attachment") {
                    let keys = get(&message, "args").as_array().unwrap();
                    self.announced.extend(keys.iter().map(|key| key.as_str().unwrap().to_owned()));
                } else {
                    self.attach(&mut message);
                    self.inbox.push_back(message);
                }
            }
            Message::Binary(bytes) if self.dialect == Dialect::V1 => {
                let key = self.announced.pop_front().unwrap();
                self.attachments.insert(key, bytes.to_vec());
            }
            Message::Binary(bytes) => {
                let (header, content) = bytes.split_at(12);
                let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
                let (id, offset, total) = (number(0), number(4), number(8));
                let message = self.partial.entry(id).or_default();
                assert_eq!(message.len(), offset as usize, "chunks come in order");
                assert!(bytes.len() <= self.max_msg_size);
                message.extend_from_slice(content);
                if message.len() == total as usize {
                    let message = self.partial.remove(&id).unwrap();
                    let mut rest = message.as_slice();
                    self.inbox.push_back(rmpv::decode::read_value(&mut rest).unwrap());
                    assert!(rest.is_empty());
                }
            }
            Message::Close(frame) => self.closed = Some(frame),
            _ => {}
        }
        true
    }

    /// Reads to the end and tells how the server closed.
    pub async fn end(&mut self) -> Option<(u16, String)> {
        loop {
            match self.ws.next().await {
                Some(Ok(Message::Close(frame))) => self.closed = Some(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
        let frame = self.closed.clone()??;
        Some((frame.code.into(), frame.reason.to_string()))
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
