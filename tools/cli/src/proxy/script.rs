//! One recorded connection: what was asked, and what came when.

use std::collections::{HashMap, VecDeque};
use wslink_core::wire::Dialect;
use wslink_testkit::{Kept, Line, Message, NotRead, Val, Way};

pub(crate) const HELLO: &str = "wslink.hello";
const ATTACHMENT: &str = "wslink.binary.attachment";

/// What a server said in a connection, and after which requests.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) dialect: Dialect,
    requests: Vec<Request>,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Request {
    id: Val,
    method: Val,
    args: Val,
    kwargs: Val,
}

#[derive(Debug)]
struct Step {
    what: What,
    /// How many requests had been seen before.
    after: usize,
}

#[derive(Debug)]
enum What {
    Answer { request: usize, envelope: Val },
    Publication(Val),
    Close(Option<u16>, String),
    Eof,
}

/// What to send.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    Send(Val),
    Close(Option<u16>, String),
    /// End without a Close.
    End,
}

impl Script {
    /// From the lines of one client; `None` if there was no message of a dialect.
    pub(crate) fn read(
        lines: &[&Line],
        find: &mut dyn FnMut(&Kept) -> Option<Vec<u8>>,
    ) -> Result<Option<Self>, (Line, NotRead)> {
        let Some(dialect) = lines.iter().find_map(|line| dialect_of(line)) else { return Ok(None) };
        let mut script = Self { dialect, requests: Vec::new(), steps: Vec::new() };
        let (mut up, mut down) = (Attachments::default(), Attachments::default());
        let mut closed_by_client = false;
        for line in lines {
            let message = line.message(find).map_err(|why| ((*line).clone(), why))?;
            let attachments = if line.way == Way::Up { &mut up } else { &mut down };
            match (line.way, message) {
                (Way::Up, Message::Envelope(envelope)) => {
                    let Some(envelope) = attachments.place(envelope) else { continue };
                    script.requests.push(Request::of(&envelope));
                }
                (Way::Down, Message::Envelope(envelope)) => {
                    let Some(envelope) = attachments.place(envelope) else { continue };
                    script.said(envelope);
                }
                (_, Message::Attachment(bytes)) => attachments.came(bytes),
                (Way::Up, _) if line.text.starts_with("close") => closed_by_client = true,
                (Way::Down, _) if !closed_by_client => {
                    if let Some(end) = end_of(&line.text) {
                        script.step(end);
                        break;
                    }
                }
                _ => {}
            }
        }
        Ok(Some(script))
    }

    fn said(&mut self, envelope: Val) {
        let id = envelope.field("id").unwrap_or(&Val::Null);
        let is_answered = |nth: usize| {
            let answers =
                |step: &Step| matches!(step.what, What::Answer { request, .. } if request == nth);
            self.steps.iter().any(answers)
        };
        let mut asked = self.requests.iter().enumerate();
        let request = asked.find(|(nth, request)| request.id == *id && !is_answered(*nth));
        self.step(match request {
            Some((request, _)) => What::Answer { request, envelope },
            None => What::Publication(envelope),
        });
    }

    fn step(&mut self, what: What) {
        self.steps.push(Step { what, after: self.requests.len() });
    }
}

impl Request {
    fn of(envelope: &Val) -> Self {
        let field = |key| envelope.field(key).cloned().unwrap_or(Val::Null);
        Self {
            id: field("id"),
            method: field("method"),
            args: field("args"),
            kwargs: field("kwargs"),
        }
    }

    /// Whether both ask for the same. Nobody knows what was in a hello.
    fn is_same(&self, other: &Self) -> bool {
        is_same(&self.method, &other.method)
            && (self.method.as_str() == Some(HELLO)
                || is_same(&self.args, &other.args) && is_same(&self.kwargs, &other.kwargs))
    }
}

/// A client that is answered from a script. A request is taken for the first recorded one that has
/// the same method and arguments and was not taken yet. Its answer follows at once; publications
/// follow where all that had been asked before them was asked again.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    script: &'a Script,
    /// The ids of this client.
    asked: Vec<Option<Val>>,
    done: Vec<bool>,
    attachments: Attachments,
}

impl<'a> Session<'a> {
    pub(crate) fn new(script: &'a Script) -> Self {
        Self {
            script,
            asked: vec![None; script.requests.len()],
            done: vec![false; script.steps.len()],
            attachments: Attachments::default(),
        }
    }

    /// Takes a message of the client; says what is not in the script.
    pub(crate) fn message(&mut self, message: Message) -> Result<(), Unknown> {
        let envelope = match message {
            Message::Attachment(bytes) => {
                self.attachments.came(bytes);
                return Ok(());
            }
            Message::Envelope(envelope) => envelope,
            _ => return Ok(()),
        };
        let Some(envelope) = self.attachments.place(envelope) else { return Ok(()) };
        let request = Request::of(&envelope);
        let mut recorded = self.script.requests.iter().zip(&mut self.asked);
        match recorded.find(|(known, asked)| asked.is_none() && known.is_same(&request)) {
            Some((_, asked)) => {
                *asked = Some(request.id);
                Ok(())
            }
            None => Err(Unknown { id: request.id, method: request.method }),
        }
    }

    /// What is to be done now, in the order of the recording.
    pub(crate) fn due(&mut self) -> Vec<Action> {
        let script = self.script;
        let mut due = Vec::new();
        let mut waiting = false;
        for (step, done) in script.steps.iter().zip(&mut self.done) {
            let action = match &step.what {
                _ if *done => continue,
                What::Answer { request, envelope } => match self.asked.get(*request) {
                    Some(Some(id)) => Action::Send(with_id(envelope, id)),
                    _ => continue,
                },
                _ if waiting || !all_asked(&self.asked, step.after) => {
                    waiting = true;
                    continue;
                }
                What::Publication(envelope) => Action::Send(envelope.clone()),
                What::Close(code, reason) => Action::Close(*code, reason.clone()),
                What::Eof => Action::End,
            };
            *done = true;
            due.push(action);
        }
        due
    }
}

fn all_asked(asked: &[Option<Val>], before: usize) -> bool {
    asked.iter().take(before).all(Option::is_some)
}

/// A request that nobody recorded.
#[derive(Debug, PartialEq)]
pub(crate) struct Unknown {
    pub(crate) id: Val,
    pub(crate) method: Val,
}

/// 1.x: attachments and the keys that announced them.
#[derive(Debug, Default)]
struct Attachments {
    announced: VecDeque<String>,
    here: HashMap<String, Vec<u8>>,
}

impl Attachments {
    fn came(&mut self, bytes: Vec<u8>) {
        if let Some(key) = self.announced.pop_front() {
            self.here.insert(key, bytes);
        }
    }

    /// The envelope with its binary data; `None` if it only announces some.
    fn place(&mut self, envelope: Val) -> Option<Val> {
        if envelope.field("method").and_then(Val::as_str) == Some(ATTACHMENT) {
            if let Some(Val::Seq(keys)) = envelope.field("args") {
                let keys = keys.iter().filter_map(Val::as_str).map(str::to_owned);
                self.announced.extend(keys);
            }
            return None;
        }
        Some(envelope.put_binary(&mut |key| self.here.remove(key)))
    }
}

fn dialect_of(line: &Line) -> Option<Dialect> {
    match line.text.split_once(' ') {
        Some(("text" | "text..", _)) => Some(Dialect::V1),
        Some(("binary" | "binary..", rest)) if rest.starts_with('#') => Some(Dialect::V2),
        _ => None,
    }
}

fn end_of(text: &str) -> Option<What> {
    if matches!(text, "eof" | "reset") {
        return Some(What::Eof);
    }
    let said = text.strip_prefix("close")?.trim_start();
    let (code, reason) = said.split_once(' ').unwrap_or((said, ""));
    Some(What::Close(code.parse().ok(), reason.to_owned()))
}

fn with_id(envelope: &Val, id: &Val) -> Val {
    let Val::Map(entries) = envelope else { return envelope.clone() };
    let entry = |(key, value): &(Val, Val)| {
        let value = if key.as_str() == Some("id") { id } else { value };
        (key.clone(), value.clone())
    };
    Val::Map(entries.iter().map(entry).collect())
}

/// Whether the values are the same, where JavaScript tells no integer from a float.
fn is_same(a: &Val, b: &Val) -> bool {
    match (a, b) {
        (Val::Int(int), Val::Float(float)) | (Val::Float(float), Val::Int(int)) => {
            *int as f64 == *float
        }
        (Val::Float(a), Val::Float(b)) => a == b || a.is_nan() && b.is_nan(),
        (Val::Seq(a), Val::Seq(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Val::Map(a), Val::Map(b)) => {
            let has = |(key, value): &(Val, Val)| {
                b.iter().any(|(other, it)| is_same(key, other) && is_same(value, it))
            };
            a.len() == b.len() && a.iter().all(has)
        }
        // What is left out is empty.
        (Val::Null, Val::Map(b)) | (Val::Map(b), Val::Null) => b.is_empty(),
        (Val::Null, Val::Seq(b)) | (Val::Seq(b), Val::Null) => b.is_empty(),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wslink_testkit::{Transcript, val};

    const RECORDED: &str = r#"
     0 * GET /ws: 101 Switching Protocols
     1 > text {"id": "system:c0:0", "method": "wslink.hello", "args": [{"secret": "(hidden)"}]}
     2 < text {"id": "system:c0:0", "result": {"clientID": "c1"}}
     3 < text {"id": "publish:early:0", "result": 0}
     4 > text {"id": "rpc:c1:0", "method": "add", "args": [1, 2.0], "kwargs": {}}
     4 > text {"id": "rpc:c1:1", "method": "slow", "args": []}
     5 < text {"id": "rpc:c1:0", "result": 3}
     6 < text {"id": "publish:late:0", "result": 1}
     7 > text {"method": "wslink.binary.attachment", "args": ["wslink_bin1"]}
     7 > binary bin(3, 00000000)
     7 > text {"id": "rpc:c1:2", "method": "blob", "args": ["wslink_bin1"]}
     8 < text {"method": "wslink.binary.attachment", "args": ["wslink_bin0"]}
     8 < binary bin(3, 00000000)
     8 < text {"id": "rpc:c1:2", "result": ["wslink_bin0"]}
     9 < text {"id": "rpc:c1:1", "result": "slow"}
     9 < close 1001 Server shutdown
     9 < eof"#;

    fn script() -> Script {
        let transcript: Transcript = RECORDED.trim_start_matches('\n').parse().unwrap();
        let lines: Vec<&Line> = transcript.lines().iter().collect();
        Script::read(&lines, &mut |_| Some(vec![7; 3])).unwrap().unwrap()
    }

    #[test]
    fn answers_follow_their_requests_and_publications_their_place() {
        let script = script();
        assert_eq!(script.dialect, Dialect::V1);
        let mut session = Session::new(&script);
        let mut ask = |id: &str, method: &str, args: Val| {
            let envelope = val!({"id": id, "method": method, "args": args});
            let known = session.message(Message::Envelope(envelope));
            known.map(|()| session.due())
        };
        let answer = |id: &str, result: Val| Action::Send(val!({"id": id, "result": result}));

        let welcome = answer("system:c0:0", val!({"clientID": "c1"}));
        let hello = ask("system:c0:0", "wslink.hello", val!([{"secret": "whatever"}]));
        assert_eq!(hello, Ok(vec![welcome, answer("publish:early:0", val!(0))]));
        // In another order, and with other ids. The second answer waits for nobody.
        assert_eq!(ask("x", "slow", val!([])), Ok(vec![answer("x", val!("slow"))]));
        let unknown = Unknown { id: val!("y"), method: val!("add") };
        assert_eq!(ask("y", "add", val!([2, 2])), Err(unknown));
        let late = answer("publish:late:0", val!(1));
        assert_eq!(ask("z", "add", val!([1.0, 2])), Ok(vec![answer("z", val!(3)), late]));
        let unknown = Unknown { id: val!("z"), method: val!("add") };
        assert_eq!(ask("z", "add", val!([1, 2])), Err(unknown), "each is answered once");

        let bytes = Val::Bin(vec![7; 3]);
        let end = Action::Close(Some(1001), "Server shutdown".to_owned());
        let blob = answer("b", Val::Seq(vec![bytes.clone()]));
        assert_eq!(ask("b", "blob", Val::Seq(vec![bytes])), Ok(vec![blob, end]));
    }

    #[test]
    fn a_client_that_left_first_is_not_closed() {
        let recorded = "     0 > text {\"id\": \"a\", \"method\": \"b\"}\n     1 > close\n     1 < close 1000\n";
        let transcript: Transcript = recorded.parse().unwrap();
        let lines: Vec<&Line> = transcript.lines().iter().collect();
        let script = Script::read(&lines, &mut |_| None).unwrap().unwrap();
        assert!(Session::new(&script).due().is_empty());
        assert!(script.steps.is_empty());
        assert!(Script::read(&[], &mut |_| None).unwrap().is_none());
    }
}
