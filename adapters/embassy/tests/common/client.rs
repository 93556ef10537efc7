//! A client of both dialects on pipes; nothing of it is ours.

use super::{Net, Receiver, SECRET, Sender};
use embedded_io_async::{Read, Write};
use rmpv::Value;
pub use wslink_adapters::codec::{BOTH, Dialect, code, get};
use wslink_adapters::codec::{Codec, Message, answers, outcome, publishes};
pub use wslink_adapters::mask as frame;
use wslink_core::Service;

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

pub struct Client {
    pub raw: Raw,
    pub codec: Codec,
    /// Fragments of a message.
    fragments: Option<(u8, Vec<u8>)>,
    pub pongs: usize,
}

impl Client {
    pub fn new(raw: Raw, dialect: Dialect) -> Self {
        Self { raw, codec: Codec::new(dialect, 1024), fragments: None, pongs: 0 }
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
            self.codec.max_msg_size = size as usize;
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
        let id = self.codec.next_id();
        self.send(&id, method, args).await;
        id
    }

    pub async fn send(&mut self, id: &str, method: &str, args: Vec<Value>) {
        for (first, payload) in self.frames(id, method, args) {
            self.raw.send(first, &payload).await;
        }
    }

    /// The frames of a call.
    pub fn frames(&mut self, id: &str, method: &str, args: Vec<Value>) -> Vec<(u8, Vec<u8>)> {
        let messages = self.codec.encode(id, method, args, vec![]).into_iter();
        let frame = |message| match message {
            Message::Text(text) => (0x81, text.into_bytes()),
            Message::Binary(bytes) => (0x82, bytes),
        };
        messages.map(frame).collect()
    }

    /// Waits for the answer to `id`.
    pub async fn answer(&mut self, id: &str) -> Result<Value, Value> {
        outcome(&self.take(answers(id)).await)
    }

    /// Waits for a publication.
    pub async fn published(&mut self, topic: &str) -> Value {
        get(&self.take(publishes(topic)).await, "result").clone()
    }

    async fn take(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(message) = self.codec.take(&wanted) {
                return message;
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
        match first {
            0x81 => self.codec.decode_text(core::str::from_utf8(&bytes).unwrap()),
            _ => self.codec.decode_binary(&bytes),
        }
    }
}
