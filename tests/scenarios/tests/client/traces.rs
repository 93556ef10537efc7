//! What upstream's servers were recorded to send, given to the engine's client.
//!
//! For each call that the recorded client made, this one makes one of the same number, and so it
//! has to find whom each answer is for. Clients that wrote ids of their own kind get no answers
//! here, but what they were sent has to be borne.

use core::fmt::Write as _;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use wslink_core::client::{Client, Config, Event, Outcome};
use wslink_core::wire::Dialect;
use wslink_core::{Buffers, CallId, Entropy, Frame, Instant, Secret};
use wslink_scenarios::{Plain, fill};
use wslink_testkit::{self as testkit, Heap, HeapBuffer, HeapTable, Val};

type Engine = Client<Heap<Vec<u8>>>;

/// One connection of a recording.
struct Side {
    engine: Engine,
    calls: Vec<CallId>,
    seen: BTreeMap<String, usize>,
    ends: usize,
}

impl Side {
    fn new(dialect: Dialect) -> Self {
        let buffer = || HeapBuffer::growing(16 << 20);
        let buffers = Buffers { receive: buffer(), transmit: buffer() };
        let start = Instant::from_millis(0);
        let engine = Engine::new(Config::desktop(), dialect, buffers, Entropy([1; 16]), start)
            .expect("fits");
        Self { engine, calls: Vec::new(), seen: BTreeMap::new(), ends: 0 }
    }

    fn count(&mut self, what: impl Into<String>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    fn send(&mut self, now: Instant) {
        while let Some(transmit) = self.engine.poll_transmit(now) {
            let lent = transmit.head.len() + transmit.body.len();
            self.engine.advance(now, lent).expect("as much as was lent");
        }
    }

    /// The recorded client sent this request.
    fn asked(&mut self, now: Instant, id: &str) {
        if id.starts_with("system:") {
            // One that still waits is the same to this client.
            _ = self.engine.hello_with(now, &Secret::new("wslink-secret"));
        } else if self.engine.is_open() {
            let none = &mut HeapTable::default();
            let call =
                self.engine.call(now, "any.method", &Plain(&Val::Seq(vec![])), &(), None, none);
            self.calls.extend(call.ok());
        }
        self.send(now);
    }

    fn received(&mut self, now: Instant, op: &str, fin: bool, mut payload: Vec<u8>) {
        let frame = match op {
            "text" => Frame::Text { fin, payload: &mut payload },
            "binary" => Frame::Binary { fin, payload: &payload },
            "continuation" => Frame::Continuation { fin, payload: &payload },
            "ping" => Frame::Ping(&payload),
            "pong" => Frame::Pong(&payload),
            _ => Frame::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
        };
        let told = self.engine.handle_frame(now, frame).map(|event| tell(&event));
        told.into_iter().for_each(|what| self.note(what));
        self.drain(now);
    }

    fn note(&mut self, what: String) {
        self.ends += usize::from(what.starts_with("call"));
        self.count(what);
    }

    fn drain(&mut self, now: Instant) {
        self.send(now);
        while let Some(event) = self.engine.poll_event() {
            let what = tell(&event);
            self.note(what);
        }
    }
}

fn tell(event: &Event<'_>) -> String {
    match event {
        Event::Welcome { .. } => "welcome".into(),
        Event::Refused(failure) => format!("refused {}", failure.code),
        Event::Ended { outcome, .. } => match outcome {
            Outcome::Answer(_) => "call answered".into(),
            Outcome::Error(failure) => format!("call failed {}", failure.code),
            other => format!("call {other:?}"),
        },
        Event::Publication { topic, .. } => format!("published {topic:?}"),
        Event::Unpublished { topic, failure } => format!("unpublished {topic:?} {}", failure.code),
        Event::Closed(reason) => format!("closed {reason:?}"),
        other => format!("{other:?}"),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|it| it.to_digit(16).expect("hex") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The bytes of a frame; of one that is too long for the file the filling is made anew.
fn payload(record: &Val) -> Vec<u8> {
    let text = |key| record.field(key).and_then(Val::as_str);
    let number = |key| match record.field(key) {
        Some(Val::Int(number)) => Some(*number as usize),
        _ => None,
    };
    if let Some(text) = text("text") {
        return text.into();
    }
    if let Some(hex) = text("hex") {
        return unhex(hex);
    }
    if let Some(len) = number("len") {
        let head = unhex(text("head_hex").unwrap_or_default());
        let bytes = match record.field("message") {
            // Of 2.x: the header of a chunk that holds a whole message.
            Some(message) => [&head[..12], &whole(message).to_msgpack()].concat(),
            None => fill(len as u32).to_vec(),
        };
        assert!(bytes.len() == len && bytes.starts_with(&head), "cannot be made again: {record}");
        return bytes;
    }
    if let (Some(chunk), Some(message)) = (record.field("chunk"), record.field("message")) {
        // Its bytes are left out with what it says of upstream's source.
        let Some(Val::Int(id)) = chunk.field("id") else { panic!("no id: {record}") };
        return testkit::Frame::message(*id as u32, &whole(message)).payload;
    }
    number("code").map(|code| (code as u16).to_be_bytes().to_vec()).unwrap_or_default()
}

/// A message with its binary data in place of what stands for it.
fn whole(message: &Val) -> Val {
    match message {
        Val::Seq(items) => Val::Seq(items.iter().map(whole).collect()),
        Val::Map(entries) => match (message.field("$bin_len"), message.field("$bin_hex")) {
            (Some(Val::Int(len)), _) => Val::Bin(fill(*len as u32).to_vec()),
            (_, Some(Val::Str(hex))) => Val::Bin(unhex(hex)),
            _ => Val::Map(entries.iter().map(|(key, it)| (key.clone(), whole(it))).collect()),
        },
        other => other.clone(),
    }
}

#[test]
fn everything_that_upstreams_servers_were_recorded_to_send_is_understood() {
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces");
    let mut text = String::new();
    let mut count = 0;
    for (folder, dialect) in [("v1", Dialect::V1), ("v2", Dialect::V2)] {
        let mut paths: Vec<_> = fs::read_dir(traces.join(folder))
            .expect("recordings")
            .map(|entry| entry.expect("a recording").path())
            .filter(|path| path.extension().is_some_and(|it| it == "jsonl"))
            .collect();
        paths.sort();
        for path in paths {
            count += 1;
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            writeln!(text, "{folder} {name}").expect("text");
            for (conn, side) in conversation(&path, dialect) {
                let mut line = format!("  {conn}:");
                for (what, count) in &side.seen {
                    write!(line, " {what}").expect("text");
                    if *count > 1 {
                        write!(line, " x{count}").expect("text");
                    }
                    line.push(';');
                }
                writeln!(text, "{line}").expect("text");
                assert_eq!(side.ends, side.calls.len(), "{name} {conn}: each call ends once");
            }
        }
    }
    assert_eq!(count, 125);
    insta::assert_snapshot!(text);
}

fn conversation(path: &Path, dialect: Dialect) -> BTreeMap<usize, Side> {
    let mut sides = BTreeMap::new();
    let recording = fs::read_to_string(path).expect("a recording");
    for line in recording.lines() {
        let record = Val::from_json(line).expect("JSON");
        let text = |key| record.field(key).and_then(Val::as_str).unwrap_or_default();
        let number = |key| match record.field(key) {
            Some(Val::Int(number)) => *number as u64,
            _ => 0,
        };
        let now = Instant::from_millis(number("ms"));
        let side = sides.entry(number("conn") as usize).or_insert_with(|| Side::new(dialect));
        match (text("dir"), text("op")) {
            ("s2c", "eof" | "reset") => {
                side.engine.handle_eof();
                side.drain(now);
            }
            ("s2c", op) => {
                let fin = record.field("fin") != Some(&Val::Bool(false));
                side.received(now, op, fin, payload(&record));
            }
            ("c2s", "text") => {
                let message = Val::from_json(text("text")).ok();
                let id = message.as_ref().and_then(|it| it.field("id")?.as_str());
                id.into_iter().for_each(|id| side.asked(now, id));
            }
            ("c2s", "binary") => {
                let id = record.field("message").and_then(|it| it.field("id")?.as_str());
                id.into_iter().for_each(|id| side.asked(now, id));
            }
            _ => {}
        }
    }
    for side in sides.values_mut() {
        side.engine.handle_eof();
        side.drain(Instant::from_millis(1 << 40));
    }
    sides
}
