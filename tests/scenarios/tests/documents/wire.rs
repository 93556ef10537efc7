//! A connection whose frames are written down byte for byte, as the documents show them.

use crate::turn::{Rest, turn};
use core::fmt::Write as _;
use core::time::Duration;
use serde::Serialize;
use wslink_core::wire::Dialect;
use wslink_core::{
    Api, Attachment, Audience, Binary, Buffers, Call, CallId, CloseReason, Config, Connection,
    Entropy, Frame, Hub, HubBuffers, HubLimits, Instant, MethodInfo, OpCode, ParamInfo, Policy,
    RpcError, Table as _, Topic, Transmit,
};
use wslink_testkit::{Heap, HeapBuffer, HeapTable, Val, lent};

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

/// A server and its client, both driven by a test.
pub(crate) struct Wire {
    connection: Connection<Memory>,
    hub: Hub<Memory>,
    now: Instant,
    next_chunk: u32,
    end: End,
}

type Memory = Heap<&'static [u8]>;

/// What the adapter's loop has beside it: a transport that takes everything, and the service.
struct End {
    dialect: Dialect,
    /// Calls that have finished.
    finished: Vec<(CallId, Result<Reply, RpcError>)>,
    /// Of the frame under way.
    payload: Vec<u8>,
    /// Of the 2.x message under way.
    content: Vec<u8>,
    /// What passed.
    text: String,
}

impl Wire {
    pub(crate) fn new(dialect: Dialect, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::desktop();
        change(&mut config);
        let buffer = || HeapBuffer::growing(1 << 30);
        let buffers = HubBuffers { publications: buffer(), retained: buffer() };
        let session = Entropy(*b"this is a start.");
        let mut hub = Hub::new(HubLimits::desktop(), TANK.topics, session, buffers).unwrap();
        let buffers = Buffers { receive: buffer(), transmit: buffer() };
        let entropy = Entropy([0x5e, 0xc2, 0x71, 0x04, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0x1d, 0x0c]);
        let (peer, now) = (hub.next_peer(), Instant::default());
        let connection = Connection::accept(config, &TANK, buffers, peer, entropy, now).unwrap();
        let end = End {
            dialect,
            finished: Vec::new(),
            payload: Vec::new(),
            content: Vec::new(),
            text: String::new(),
        };
        Self { connection, hub, now, next_chunk: 1, end }
    }

    /// What passed, in the notation of the documents.
    pub(crate) fn text(self) -> String {
        self.end.text
    }

    /// The handshake, which is not written down.
    pub(crate) fn greeted(mut self) -> Self {
        self.says(
            r#"{"id":"system:c0:0","method":"wslink.hello","args":[{"secret":"wslink-secret"}]}"#,
        );
        self.end.text.clear();
        self
    }

    /// The client sends an envelope.
    pub(crate) fn says(&mut self, json: &str) {
        if self.end.dialect == Dialect::V2 {
            let envelope = Val::from_json(json).unwrap();
            return self.chunks(&envelope.to_msgpack(), usize::MAX);
        }
        self.end.note(&format!("> {json}"));
        self.turn(Some(Frame::Text { fin: true, payload: &mut json.as_bytes().to_vec() }));
    }

    /// A 2.x client sends a message in chunks of at most so much content.
    pub(crate) fn chunks(&mut self, message: &[u8], most: usize) {
        let (id, total) = (self.next_chunk, message.len() as u32);
        self.next_chunk += 1;
        let mut offset = 0;
        for content in message.chunks(most) {
            let frame = wslink_testkit::Frame::chunk(id, offset, total, content);
            offset += content.len() as u32;
            self.end.show(OpCode::Binary, &frame.payload, '>');
            self.turn(Some(Frame::Binary { fin: true, payload: &frame.payload }));
        }
    }

    /// A 1.x client sends a binary message.
    pub(crate) fn attaches(&mut self, bytes: &[u8]) {
        self.end.show(OpCode::Binary, bytes, '>');
        self.turn(Some(Frame::Binary { fin: true, payload: bytes }));
    }

    /// The client sends a Close.
    pub(crate) fn closes(&mut self, code: u16) {
        self.end.note(&format!("> close {code}"));
        self.turn(Some(Frame::Close(Some(code))));
    }

    /// The service publishes levels, one right after the other.
    pub(crate) fn publishes(&mut self, levels: &[f64]) {
        for level in levels {
            self.hub
                .publish(LEVEL.name(), Audience::All, &[], &|writer| writer.value(level))
                .unwrap();
        }
        self.turn(None);
    }

    /// Time passes.
    pub(crate) fn waits(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.connection.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.turn(None);
        }
        self.now = end;
    }

    fn turn(&mut self, frame: Option<Frame<'_>>) {
        turn(&mut self.connection, &mut self.hub, self.now, frame, &mut self.end).unwrap();
    }
}

impl Rest<Memory> for End {
    fn write(&mut self, transmit: &Transmit<'_, &'static [u8]>) -> usize {
        let lent = lent(transmit);
        let taken = lent.len();
        self.payload.extend(lent);
        if self.payload.len() == transmit.len {
            let payload = core::mem::take(&mut self.payload);
            self.show(transmit.opcode, &payload, '<');
        }
        taken
    }

    fn start(&mut self, call: &Call<'_>) {
        if let Some(result) = answer(call).transpose() {
            self.finished.push((call.id, result));
        }
    }

    fn cancel(&mut self, _: CallId) {}

    fn finish(&mut self, connection: &mut Connection<Memory>, hub: &mut Hub<Memory>) {
        for (call, result) in self.finished.drain(..) {
            let mut blobs = HeapTable::default();
            match result {
                Err(error) => connection.fail(call, &error),
                Ok(reply) => {
                    if let Reply::Photo { .. } = reply {
                        blobs.push(JPEG).unwrap();
                    }
                    connection.reply(hub, call, &reply, &mut blobs)
                }
            }
            .unwrap();
        }
    }

    fn lagged(&mut self, _: &'static str, _: u64) {}

    fn listened(&mut self, _: &'static str, _: bool) {}

    fn closed(&mut self, _: CloseReason) {}
}

impl End {
    fn note(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn show(&mut self, opcode: OpCode, payload: &[u8], way: char) {
        let line = match opcode {
            OpCode::Text => format!("{way} {}", String::from_utf8_lossy(payload)),
            OpCode::Close => {
                let (code, reason) = payload.split_first_chunk().unwrap();
                let code = u16::from_be_bytes(*code);
                format!("{way} close {code} {}", String::from_utf8_lossy(reason))
            }
            OpCode::Binary if self.dialect == Dialect::V2 => return self.chunk(payload, way),
            OpCode::Binary => format!("{way} binary {}", hex(payload)),
            other => panic!("{other:?}"),
        };
        self.note(&line);
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
        self.content.extend(content);
        if header[8..12] == (self.content.len() as u32).to_le_bytes() {
            let message = Val::from_msgpack(&core::mem::take(&mut self.content)).unwrap();
            self.note(&format!("  = {message}"));
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
