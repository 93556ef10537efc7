//! The client's end: it builds requests of either dialect and follows what comes back.

use crate::decode::{Decoder, Message};
use crate::{Encoder, Frame, Val, val};
use core::fmt;
use std::collections::{BTreeMap, VecDeque};
use wslink_core::wire::Dialect;
use wslink_core::{OpCode, Phase, Step};

/// An error object that a client was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Its code.
    pub code: i128,
    /// Its message.
    pub message: String,
    /// What else it said.
    pub data: Option<Val>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)?;
        self.data.iter().try_for_each(|data| write!(f, " {data}"))
    }
}

/// A whole message that a client received.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// The answer to the request with this id.
    Answer(String, Result<Val, Failure>),
    /// A publication of this topic.
    Publication(String, Val),
}

/// A client without a server: for tests over a transport of one's own, as a [`Pair`](crate::Pair)
/// has it within.
///
/// It makes frames and reads frames; to send them is up to the caller.
///
/// ```
/// use wslink_core::wire::Dialect;
/// use wslink_testkit::{ClientEnd, Frame, Received, val};
///
/// let mut client = ClientEnd::new(Dialect::V1, true);
/// let id = client.next_id();
/// let call = ClientEnd::request(&id, "math.double", val!([21]), val!({}));
/// for frame in client.encode(call) {
///     let line = client.sent(&frame);
///     assert!(line.starts_with("text {\"wslink\": \"1.0\", \"id\": \"rpc:c0:0\""));
///     // Here the frame is sent, and this comes back.
/// }
/// let answer = Frame::text(r#"{"wslink": "1.0", "id": "rpc:c0:0", "result": 42}"#);
/// let (_, reaction) = client.receive(&answer);
/// assert_eq!(reaction, None);
/// assert_eq!(client.received(), [Received::Answer(id, Ok(val!(42)))]);
/// ```
#[derive(Debug)]
pub struct ClientEnd {
    pub(crate) dialect: Dialect,
    pub(crate) phase: Phase,
    /// Content of a chunk that this client sends; `None`: what the server announced.
    pub(crate) chunk: Option<usize>,
    /// Whether it panics at what it cannot read.
    strict: bool,
    /// Whether it answers Ping and Close.
    pub(crate) answering: bool,
    pub(crate) received: Vec<Received>,
    up: Decoder,
    down: Decoder,
    client_id: Option<String>,
    max_msg_size: Option<usize>,
    next_call: u32,
    encoder: Encoder,
    /// Ids of hellos that wait for an answer; the first is the one that the phase is about.
    hellos: VecDeque<String>,
    /// 1.x: keys announced, and attachments that came.
    announced: VecDeque<String>,
    pub(crate) attachments: BTreeMap<String, Vec<u8>>,
}

impl ClientEnd {
    /// A client that has not said anything. If `strict`, it panics at what no client can read.
    pub const fn new(dialect: Dialect, strict: bool) -> Self {
        Self {
            dialect,
            phase: Phase::Greeting,
            chunk: None,
            strict,
            answering: true,
            received: Vec::new(),
            up: Decoder::new(dialect),
            down: Decoder::new(dialect),
            client_id: None,
            max_msg_size: None,
            next_call: 0,
            encoder: Encoder::new(dialect, 1),
            hellos: VecDeque::new(),
            announced: VecDeque::new(),
            attachments: BTreeMap::new(),
        }
    }

    /// The id of the next call, as the stock clients count.
    pub fn next_id(&mut self) -> String {
        let id = format!("rpc:{}:{}", self.client_id.as_deref().unwrap_or("c0"), self.next_call);
        self.next_call += 1;
        id
    }

    /// The envelope of a request.
    #[must_use]
    pub fn request(id: &str, method: &str, args: Val, kwargs: Val) -> Val {
        val!({"wslink": "1.0", "id": id, "method": method, "args": args, "kwargs": kwargs})
    }

    /// The frames of an envelope with all its attachments.
    pub fn encode(&mut self, envelope: Val) -> Vec<Frame> {
        if let Some(bytes) = self.chunk {
            self.encoder.chunk = bytes;
        }
        self.encoder.frames(envelope)
    }

    /// Follows what this client sends; gives its line of the transcript.
    pub fn sent(&mut self, frame: &Frame) -> String {
        let (line, message) = self.up.frame(frame);
        if frame.opcode == OpCode::Close {
            self.step(Step::CloseSent);
        }
        let Message::Envelope(envelope) = message else { return line };
        let text = |key| envelope.field(key).and_then(Val::as_str);
        if let (Some(id), Some("wslink.hello")) = (text("id"), text("method"))
            && id.starts_with("system:")
        {
            self.hellos.push_back(id.to_owned());
            if self.hellos.len() == 1 {
                self.step(Step::Hello);
            }
        }
        line
    }

    /// Takes a frame of the server; gives its line of the transcript, and what has to be answered.
    ///
    /// # Panics
    /// If it is strict, and at answers that are neither result nor error.
    pub fn receive(&mut self, frame: &Frame) -> (String, Option<Frame>) {
        if self.strict {
            self.check(frame);
        }
        let (line, message) = self.down.frame(frame);
        let answer = match message {
            Message::Part => None,
            Message::Control => self.control(frame),
            Message::Foreign => {
                assert!(!self.strict, "the server sent what no client can read: {line}");
                None
            }
            Message::Attachment(bytes) => {
                // Without a key there was no header, which was checked.
                let key = self.announced.pop_front();
                key.map(|key| self.attachments.insert(key, bytes));
                None
            }
            Message::Envelope(envelope) => {
                self.envelope(envelope, &line);
                None
            }
        };
        (line, answer)
    }

    /// All answers and publications that have come.
    pub fn received(&self) -> &[Received] {
        &self.received
    }

    /// What every client relies on.
    fn check(&self, frame: &Frame) {
        let Frame { opcode, fin, payload } = frame;
        if frame.is_control() {
            assert!(*fin && payload.len() <= 125, "a control frame that RFC 6455 forbids");
            return;
        }
        let inside = self.down.is_inside();
        assert_eq!(*opcode == OpCode::Continuation, inside, "fragments out of order: {frame:?}");
        if self.dialect == Dialect::V2 {
            assert_eq!((*opcode, *fin), (OpCode::Binary, true), "2.x knows whole binary frames");
            if let Some(most) = self.max_msg_size {
                assert!(payload.len() <= (most + 12).max(13), "a chunk above maxMsgSize");
            }
        } else if !inside {
            let expected = !self.announced.is_empty();
            assert_eq!(*opcode == OpCode::Binary, expected, "binary frames follow their header");
        }
    }

    fn control(&mut self, frame: &Frame) -> Option<Frame> {
        match frame.opcode {
            OpCode::Ping if self.answering => {
                Some(Frame::new(OpCode::Pong, frame.payload.as_slice()))
            }
            OpCode::Close => {
                self.step(Step::CloseReceived);
                (self.phase == Phase::Answering && self.answering)
                    .then(|| Frame::close(frame.close_code()))
            }
            _ => None,
        }
    }

    fn envelope(&mut self, envelope: Val, line: &str) {
        if let Some(Val::Seq(keys)) = envelope.field("args") {
            let key = |key: &Val| key.as_str().unwrap_or_default().to_owned();
            self.announced.extend(keys.iter().map(key));
            return;
        }
        let id = envelope.field("id").and_then(Val::as_str).unwrap_or_default().to_owned();
        assert!(!id.is_empty() || line.contains("\"id\": \"\""), "an answer without id: {line}");
        let result = match (envelope.field("result"), envelope.field("error")) {
            (Some(result), None) => {
                let attachments = &mut self.attachments;
                let mut find = |text: &str| attachments.remove(text);
                Ok(result.clone().put_binary(&mut find))
            }
            (None, Some(error)) => {
                self.attachments.clear();
                let Some(Val::Int(code)) = error.field("code") else {
                    panic!("an error without a code: {line}")
                };
                let message = error.field("message").and_then(Val::as_str).unwrap_or_default();
                let data = error.field("data").cloned();
                Err(Failure { code: *code, message: message.to_owned(), data })
            }
            _ => panic!("neither result nor error: {line}"),
        };
        if self.hellos.front() == Some(&id) {
            self.greeted(&result);
        } else {
            self.step(Step::Data);
        }
        // Whatever the number: 1 marks a retained value.
        let topic = id.strip_prefix("publish:").and_then(|rest| rest.rsplit_once(':'));
        let topic = topic.map(|(topic, _)| topic);
        self.received.push(match (topic, result) {
            (Some(topic), Ok(value)) => Received::Publication(topic.to_owned(), value),
            (_, result) => Received::Answer(id, result),
        });
    }

    fn greeted(&mut self, result: &Result<Val, Failure>) {
        self.hellos.pop_front();
        if let Ok(result) = result {
            self.client_id = result.field("clientID").and_then(Val::as_str).map(str::to_owned);
            if let Some(Val::Int(size)) = result.field("maxMsgSize") {
                self.encoder.set_max_msg_size(*size as usize);
                self.max_msg_size = Some((*size as usize).saturating_sub(12).max(1));
            }
        }
        self.step(if result.is_ok() { Step::Accepted } else { Step::Refused });
        if !self.hellos.is_empty() {
            self.step(Step::Hello);
        }
    }

    /// The transport ended.
    pub(crate) fn ended(&mut self) {
        self.step(Step::Ended);
    }

    fn step(&mut self, step: Step) {
        if let Some(next) = self.phase.next(step) {
            self.phase = next;
        }
    }
}
