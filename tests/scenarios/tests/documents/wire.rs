//! A connection whose frames are written down byte for byte, as the documents show them.

use core::fmt::Write as _;
use core::time::Duration;
use serde::Serialize;
use wslink_core::wire::Dialect;
use wslink_core::{
    Api, Attachment, Binary, Blob, Body, Buffers, Call, CallId, Config, Connection, Entropy, Event,
    Frame, Hub, HubBuffers, HubLimits, Instant, MethodInfo, OpCode, ParamInfo, Policy, RpcError,
    Secret, Table as _, Topic,
};
use wslink_testkit::{Heap, HeapBuffer, HeapTable, Val};

const LEVEL: Topic<f64> = Topic::new("tank.level")
    .with_doc("Litres in the tank.")
    .with_type("f64")
    .with_policy(Policy::KeepLatest)
    .retained();

/// The service of the documents.
static TANK: Api = Api {
    methods: &[
        MethodInfo::new("tank.fill")
            .with_doc("Fills in so many litres.")
            .with_params(&[
                ParamInfo::required("litres").with_type("f64"),
                ParamInfo::optional("valve").with_type("u8"),
            ])
            .with_returns("Level"),
        MethodInfo::new("tank.photo"),
        MethodInfo::new("tank.label").with_params(&[ParamInfo::required("image")]),
        MethodInfo::new("tank.drain").with_deadline(Duration::from_secs(60)),
    ],
    topics: &[LEVEL.info()],
};

const JPEG: &[u8] = &[0xff, 0xd8, 0xff, 0xd9];

#[derive(Serialize)]
#[serde(untagged)]
enum Reply {
    Level { level: f64 },
    Photo { width: u32, jpeg: Attachment },
    Label { bytes: usize },
}

/// The program that the wire is about: both ends of it are driven by a test.
pub(crate) struct Wire {
    connection: Connection<Heap<&'static [u8]>>,
    hub: Hub<Heap<&'static [u8]>>,
    dialect: Dialect,
    now: Instant,
    /// Calls of `tank.drain`.
    draining: Vec<CallId>,
    next_chunk: u32,
    partial: Vec<u8>,
    text: String,
}

impl Wire {
    pub(crate) fn new(dialect: Dialect, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::desktop();
        change(&mut config);
        let buffer = || HeapBuffer::growing(1 << 30);
        let buffers = HubBuffers { publications: buffer(), retained: buffer() };
        let session = Entropy(*b"this is a start.");
        let Ok(mut hub) = Hub::new(HubLimits::desktop(), TANK.topics, session, buffers) else {
            panic!("no hub")
        };
        let buffers = Buffers { receive: buffer(), transmit: buffer() };
        let entropy = Entropy([0x5e, 0xc2, 0x71, 0x04, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0x1d, 0x0c]);
        let (peer, now) = (hub.next_peer(), Instant::default());
        let connection = match Connection::accept(config, &TANK, buffers, peer, entropy, now) {
            Ok(connection) => connection,
            Err(error) => panic!("{error}"),
        };
        let (draining, partial, text) = (Vec::new(), Vec::new(), String::new());
        Self { connection, hub, dialect, now, draining, next_chunk: 1, partial, text }
    }

    /// What passed, in the notation of the documents.
    pub(crate) fn text(self) -> String {
        self.text
    }

    /// The handshake, which is not written down.
    pub(crate) fn greeted(mut self) -> Self {
        self.says(
            r#"{"id":"system:c0:0","method":"wslink.hello","args":[{"secret":"wslink-secret"}]}"#,
        );
        self.text.clear();
        self
    }

    /// The client sends an envelope.
    pub(crate) fn says(&mut self, json: &str) {
        match self.dialect {
            Dialect::V1 => {
                self.note(&format!("> {json}"));
                self.take(Frame::Text { fin: true, payload: &mut json.as_bytes().to_vec() });
            }
            _ => {
                let Ok(envelope) = Val::from_json(json) else { panic!("not JSON: {json}") };
                self.message(&envelope.to_msgpack(), usize::MAX);
            }
        }
        self.flush();
    }

    /// A 2.x client sends an envelope in chunks of so much content.
    pub(crate) fn message(&mut self, message: &[u8], most: usize) {
        let (id, total) = (self.next_chunk, message.len() as u32);
        self.next_chunk += 1;
        for (nth, content) in message.chunks(most.min(message.len())).enumerate() {
            let mut chunk = Vec::new();
            for number in [id, (nth * most.min(message.len())) as u32, total] {
                chunk.extend(number.to_le_bytes());
            }
            chunk.extend(content);
            self.show(OpCode::Binary, &chunk, '>');
            self.take(Frame::Binary { fin: true, payload: &chunk });
        }
        self.flush();
    }

    /// A 1.x client sends a binary message.
    pub(crate) fn attaches(&mut self, bytes: &[u8]) {
        self.show(OpCode::Binary, bytes, '>');
        self.take(Frame::Binary { fin: true, payload: bytes });
        self.flush();
    }

    /// The client sends a Close.
    pub(crate) fn closes(&mut self, code: u16) {
        self.note(&format!("> close {code}"));
        self.take(Frame::Close(Some(code)));
        self.flush();
    }

    /// The server publishes a level, which may wait to be sent.
    pub(crate) fn publishes(&mut self, level: f64) {
        let audience = wslink_core::Audience::All;
        let published =
            self.hub.publish(LEVEL.name(), audience, &[], &|writer| writer.value(&level));
        assert_eq!(published, Ok(()));
    }

    /// Time passes.
    pub(crate) fn waits(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.connection.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.connection.handle_timeout(self.now);
            self.flush();
        }
        self.now = end;
    }

    /// A remark.
    pub(crate) fn note(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn take(&mut self, frame: Frame<'_>) {
        let event = match self.connection.handle_frame(self.now, frame) {
            Ok(event) => event,
            Err(error) => panic!("{error}"),
        };
        match event {
            None | Some(Event::Exit(_)) => {}
            Some(Event::Hello(hello)) => {
                let verdict = hello.expecting(&Secret::new("wslink-secret")).verify();
                let authorized = self.connection.authorize(self.now, &mut self.hub, verdict);
                assert_eq!(authorized, Ok(()));
            }
            Some(Event::Builtin) => self.connection.handle_builtin(self.now, &mut self.hub),
            Some(Event::Call(call)) => {
                let id = call.id;
                let mut blobs = HeapTable::default();
                let sent = match answer(&call) {
                    Ok(None) => return self.draining.push(id),
                    Ok(Some(reply)) => {
                        if let Reply::Photo { .. } = reply {
                            assert!(blobs.push(JPEG).is_ok());
                        }
                        self.connection.reply(&mut self.hub, id, &reply, &mut blobs)
                    }
                    Err(error) => self.connection.fail(id, &error),
                };
                assert_eq!(sent, Ok(()));
            }
            Some(other) => panic!("{other:?}"),
        }
    }

    pub(crate) fn flush(&mut self) {
        let mut payload = Vec::new();
        loop {
            while self.connection.poll_event().is_some() {}
            let Some(transmit) = self.connection.poll_transmit(self.now, &self.hub) else { return };
            payload.extend(transmit.head);
            match transmit.body {
                Body::Bytes(bytes) => payload.extend(bytes),
                Body::Blob { blob, offset, len } => {
                    let start = payload.len();
                    payload.resize(start + len, 0);
                    assert_eq!(blob.read(offset, &mut payload[start..]), len);
                }
                _ => panic!("a body of an unknown kind"),
            }
            let count = transmit.head.len() + transmit.body.len();
            let (opcode, complete) = (transmit.opcode, payload.len() == transmit.len);
            assert_eq!(self.connection.advance(self.now, count), Ok(()));
            if complete {
                self.show(opcode, &core::mem::take(&mut payload), '<');
            }
        }
    }

    fn show(&mut self, opcode: OpCode, payload: &[u8], way: char) {
        let line = match opcode {
            OpCode::Text => format!("{way} {}", String::from_utf8_lossy(payload)),
            OpCode::Close => {
                let (code, reason) = payload.split_at(2);
                let code = u16::from_be_bytes([code[0], code[1]]);
                format!("{way} close {code} {}", String::from_utf8_lossy(reason))
            }
            OpCode::Binary if self.dialect == Dialect::V2 => return self.chunk(payload, way),
            OpCode::Binary => format!("{way} binary {}", hex(payload)),
            other => format!("{way} {other:?}").to_lowercase(),
        };
        self.note(line.trim_end());
    }

    /// Header and content of a chunk in hexadecimal, and what is in the message that it completes.
    fn chunk(&mut self, payload: &[u8], way: char) {
        let (header, content) = payload.split_at(12);
        let fields: Vec<_> = header.chunks(4).map(hex).collect();
        self.note(&format!("{way} {}", fields.join("  ")));
        for bytes in content.chunks(16) {
            let shown = |byte: &u8| if (32..127).contains(byte) { char::from(*byte) } else { '.' };
            let ascii: String = bytes.iter().map(shown).collect();
            self.note(&format!("  {:<47}  {ascii}", hex(bytes)));
        }
        self.partial.extend(content);
        if header[8..12] == (self.partial.len() as u32).to_le_bytes() {
            let message = Val::from_msgpack(&core::mem::take(&mut self.partial));
            match message {
                Ok(message) => self.note(&format!("  = {message}")),
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

/// `None` if it has to be waited for.
fn answer(call: &Call<'_>) -> Result<Option<Reply>, RpcError> {
    let params = call.params()?;
    Ok(Some(match call.method.name {
        "tank.fill" => {
            let (level, _): (f64, Option<u8>) = (params.required(0)?, params.optional(1)?);
            if level > 100.0 {
                return Err(RpcError::failed("the tank would run over"));
            }
            Reply::Level { level }
        }
        "tank.photo" => Reply::Photo { width: 2, jpeg: Attachment::nth(0) },
        "tank.label" => {
            let Binary(image) = params.required(0)?;
            Reply::Label { bytes: image.len() }
        }
        _ => return Ok(None),
    }))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (nth, byte) in bytes.iter().enumerate() {
        _ = write!(text, "{}{byte:02x}", if nth > 0 { " " } else { "" });
    }
    text
}
