//! A client on a stream, that writes down what passes.

use crate::Stream;
use core::cell::RefCell;
use std::rc::Rc;
use wslink_core::OpCode;
use wslink_core::wire::Dialect;
use wslink_testkit::{ClientEnd, Failure, Frame, Received, Val, val};

/// What passed at all clients of a scenario, in the order in which they saw it.
pub type Log = Rc<RefCell<String>>;

/// How much of a Close is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Its code and its reason.
    All,
    /// Its code.
    Code,
    /// That there is one.
    Nothing,
}

/// A client whose WebSocket is open.
#[derive(Debug)]
pub struct Visitor {
    name: char,
    stream: Stream,
    end: ClientEnd,
    log: Log,
    /// A message that came in fragments: how it is cut is up to the server.
    fragments: Option<Frame>,
    /// Which of what was received has been asked for.
    seen: Vec<bool>,
    answering: bool,
    /// How much of a Close is written down.
    shown: Shown,
}

impl Visitor {
    /// Opens the WebSocket. In the log its lines begin with `name`.
    pub async fn open(name: char, mut stream: Stream, dialect: Dialect, log: Log) -> Self {
        stream.upgrade().await;
        let end = ClientEnd::new(dialect, true);
        Self {
            name,
            stream,
            end,
            log,
            fragments: None,
            seen: Vec::new(),
            answering: true,
            shown: Shown::All,
        }
    }

    /// Says hello and waits for the answer.
    pub async fn hello(&mut self, secret: &str) -> Result<Val, Failure> {
        let args = val!([{"secret": secret}]);
        let hello = ClientEnd::request("system:c0:0", "wslink.hello", args, val!({}));
        self.request(hello).await;
        self.answer("system:c0:0").await
    }

    /// Calls and gives the id.
    pub async fn start(&mut self, method: &str, args: Val) -> String {
        self.start_with(method, args, val!({})).await
    }

    /// Calls with keyword arguments and gives the id.
    pub async fn start_with(&mut self, method: &str, args: Val, kwargs: Val) -> String {
        let id = self.end.next_id();
        self.request(ClientEnd::request(&id, method, args, kwargs)).await;
        id
    }

    /// Calls and waits for the answer.
    pub async fn call(&mut self, method: &str, args: Val) -> Result<Val, Failure> {
        let id = self.start(method, args).await;
        self.answer(&id).await
    }

    /// Sends an envelope, with its binary data as the dialect does it.
    pub async fn request(&mut self, envelope: Val) {
        for frame in self.end.encode(envelope) {
            self.send(frame).await;
        }
    }

    /// Sends a whole message as it is: JSON in 1.x, MessagePack in one chunk in 2.x.
    pub async fn message(&mut self, dialect: Dialect, json: &[u8], msgpack: &[u8]) {
        let frame = match dialect {
            Dialect::V1 => Frame::text(json),
            _ => Frame::chunk(77, 0, msgpack.len() as u32, msgpack),
        };
        self.send(frame).await;
    }

    /// Sends any frame.
    pub async fn send(&mut self, frame: Frame) {
        let line = self.end.sent(&frame);
        self.note('>', &line);
        // A server that has closed may read no more.
        _ = self.stream.send(&frame).await;
    }

    /// Sends bytes that are no frame, and says what they are.
    pub async fn send_raw(&mut self, what: &str, bytes: &[u8]) {
        self.note('>', what);
        _ = self.stream.write_all(bytes).await;
    }

    /// Waits for the answer to a request.
    pub async fn answer(&mut self, id: &str) -> Result<Val, Failure> {
        loop {
            if let Some(Received::Answer(_, answer)) =
                self.take(|it| matches!(it, Received::Answer(it, _) if it == id))
            {
                return answer;
            }
            assert!(self.receive().await, "no answer to {id}:\n{}", self.log.borrow());
        }
    }

    /// Sends a call and waits for its answer, or for the end of the stream.
    pub async fn alive_or_ended(&mut self) {
        self.request(val!({"id": "alive", "method": "bench.echo", "args": []})).await;
        while self.take(|it| matches!(it, Received::Answer(id, _) if id == "alive")).is_none() {
            if !self.receive().await {
                return self.note('<', "end");
            }
        }
    }

    /// Waits for a publication.
    pub async fn publication(&mut self, topic: &str) -> Val {
        loop {
            if let Some(Received::Publication(_, value)) =
                self.take(|it| matches!(it, Received::Publication(it, _) if it == topic))
            {
                return value;
            }
            assert!(self.receive().await, "no {topic}:\n{}", self.log.borrow());
        }
    }

    /// Waits for a pong.
    pub async fn pong(&mut self) {
        loop {
            let before = self.log.borrow().len();
            assert!(self.receive().await, "no pong:\n{}", self.log.borrow());
            if self.log.borrow()[before..].contains(" < pong") {
                return;
            }
        }
    }

    /// From now on it answers neither pings nor a Close.
    pub const fn play_dead(&mut self) {
        self.answering = false;
    }

    /// From now on so much of a server's Close is written down.
    pub const fn show_of_closes(&mut self, shown: Shown) {
        self.shown = shown;
    }

    /// Reads until the stream ends, answering what has to be.
    pub async fn ended(&mut self) {
        while self.receive().await {}
        self.note('<', "end");
    }

    /// Ends the stream without a Close.
    pub fn vanish(self) {
        self.note('>', "end");
    }

    /// Reads a frame; false at the end.
    async fn receive(&mut self) -> bool {
        let Some(frame) = self.stream.receive().await else { return false };
        let frame = match self.fragments.take() {
            Some(mut whole) if !frame.is_control() => {
                assert_eq!(frame.opcode, OpCode::Continuation);
                whole.payload.extend(frame.payload);
                whole.fin = frame.fin;
                whole
            }
            fragments => {
                self.fragments = fragments;
                frame
            }
        };
        if !frame.fin {
            self.fragments = Some(frame);
            return true;
        }
        let (line, reaction) = self.end.receive(&frame);
        match (self.shown, frame.close_code()) {
            (Shown::Code, Some(code)) if frame.opcode == OpCode::Close => {
                self.note('<', &format!("close {code}"));
            }
            (Shown::Nothing, _) if frame.opcode == OpCode::Close => self.note('<', "close"),
            _ => self.note('<', &line),
        }
        if let (Some(reaction), true) = (reaction, self.answering) {
            self.send(reaction).await;
        }
        true
    }

    fn take(&mut self, wanted: impl Fn(&Received) -> bool) -> Option<Received> {
        let received = self.end.received();
        self.seen.resize(received.len(), false);
        let index =
            (0..received.len()).find(|&index| !self.seen[index] && wanted(&received[index]))?;
        self.seen[index] = true;
        Some(received[index].clone())
    }

    fn note(&self, way: char, line: &str) {
        let mut log = self.log.borrow_mut();
        log.push_str(&format!("{} {way} {}\n", self.name, without_ids(line)));
    }
}

/// The ids of clients and of sessions are random: 32 hexadecimal digits.
fn without_ids(line: &str) -> String {
    let mut text = String::new();
    let mut digits = String::new();
    for char in line.chars().chain(['\n']) {
        if matches!(char, '0'..='9' | 'a'..='f') {
            digits.push(char);
            continue;
        }
        match digits.strip_prefix('c') {
            Some(rest) if rest.len() == 32 => text.push_str("c<id>"),
            _ if digits.len() == 32 => text.push_str("<id>"),
            _ => text.push_str(&digits),
        }
        digits.clear();
        text.push(char);
    }
    text.pop();
    text
}
