//! What the proxy shows and keeps of each frame.

use crate::fault::Fault;
use crate::{json, style};
use core::hash::{Hash as _, Hasher as _};
use serde_json::json;
use smol::channel::Sender;
use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::DefaultHasher;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;
use wslink_core::OpCode;
use wslink_testkit::{Frame, Kept, Line, Message, Way, client_name};

/// Longer lines are cut where they are shown.
const SHOWN: usize = 500;

/// What a line is about, beside its text.
pub(crate) enum Detail<'a> {
    None,
    Frame(&'a Frame, &'a Message),
}

/// How lines are shown on standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Show {
    Nothing,
    /// For people.
    Lines {
        full: bool,
    },
    /// An object each.
    Json,
}

/// Takes lines, in the order in which things happened.
pub(crate) struct Recorder {
    start: Instant,
    show: Show,
    book: Option<Book>,
    /// Told when nothing more can be shown or kept.
    faults: Sender<Fault>,
}

impl Recorder {
    pub(crate) fn new(show: Show, book: Option<Book>, faults: Sender<Fault>) -> Self {
        Self { start: Instant::now(), show, book, faults }
    }

    pub(crate) fn line(&mut self, client: usize, way: Way, text: &str, detail: &Detail<'_>) {
        let at = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let at = wslink_core::Instant::from_millis(at);
        let line = Line { at, client, way, text: text.to_owned() };
        let kept = match &mut self.book {
            Some(book) => book.line(&line, detail),
            None => Ok(()),
        };
        let shown = kept.and_then(|()| match self.show {
            Show::Nothing => Ok(()),
            Show::Lines { full } => show(&line, full),
            Show::Json => {
                let mut out = std::io::stdout().lock();
                writeln!(out, "{}", object(&line, detail)).and_then(|()| out.flush())
            }
            .map_err(Fault::stdout),
        });
        if let Err(fault) = shown {
            // One is enough to end everything.
            _ = self.faults.try_send(fault);
        }
    }
}

fn show(line: &Line, full: bool) -> Result<(), Fault> {
    let mut text = line.text.as_str();
    let mut rest = String::new();
    if !full && let Some((cut, _)) = text.char_indices().nth(SHOWN) {
        let more = text.len() - cut;
        text = text.get(..cut).unwrap_or(text);
        rest = format!("{0} .. {more} bytes more, see --full{0:#}", style::DIM);
    }
    let (sign, style) = match line.way {
        Way::Up => ('>', style::UP),
        Way::Down => ('<', style::DOWN),
        _ => ('*', style::EVENT),
    };
    let text = if line.way == Way::Event { text.to_owned() } else { style::message(text) };
    let (dim, at, client) = (style::DIM, line.at.as_millis(), client_name(line.client));
    let mut out = anstream::stdout().lock();
    writeln!(out, "{dim}{at:>6}{dim:#} {client} {style}{sign}{style:#} {text}{rest}")
        .and_then(|()| out.flush())
        .map_err(Fault::stdout)
}

fn object(line: &Line, detail: &Detail<'_>) -> serde_json::Value {
    let mut object = json!({ "ms": line.at.as_millis(), "client": client_name(line.client) });
    let from = match line.way {
        Way::Up => "client",
        Way::Down => "server",
        _ => "proxy",
    };
    object["from"] = from.into();
    let Detail::Frame(frame, message) = detail else {
        object["event"] = line.text.as_str().into();
        return object;
    };
    let opcode = match frame.opcode {
        OpCode::Continuation => "continuation",
        OpCode::Text => "text",
        OpCode::Binary => "binary",
        OpCode::Close => "close",
        OpCode::Ping => "ping",
        _ => "pong",
    };
    object["frame"] = opcode.into();
    object["fin"] = frame.fin.into();
    object["bytes"] = frame.payload.len().into();
    match message {
        Message::Envelope(value) => object["message"] = json::of(value),
        Message::Attachment(bytes) => object["message"] = json::binary(bytes),
        _ => object["text"] = line.text.as_str().into(),
    }
    object
}

/// A transcript in a file, with a directory of what its lines only tell length and digest of.
pub(crate) struct Book {
    path: PathBuf,
    file: File,
    directory: PathBuf,
    /// What is in the directory, with another hash of it.
    kept: HashMap<Kept, u64>,
}

impl Book {
    pub(crate) fn create(path: &Path) -> Result<Self, Fault> {
        let file = File::create(path).map_err(|error| Fault::file(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            directory: directory_of(path),
            kept: HashMap::new(),
        })
    }

    fn line(&mut self, line: &Line, detail: &Detail<'_>) -> Result<(), Fault> {
        let mut outcome = Ok(());
        let mut keep = |kept: Kept, bytes: &[u8]| {
            if outcome.is_ok() {
                outcome = self.keep(kept, bytes);
            }
        };
        match detail {
            Detail::Frame(_, Message::Envelope(value)) => value.visit_kept(&mut keep),
            Detail::Frame(_, Message::Attachment(bytes)) => keep(Kept::of(bytes), bytes),
            _ => {}
        }
        outcome?;
        writeln!(self.file, "{}", line.shown(true)).map_err(|error| Fault::file(&self.path, error))
    }

    fn keep(&mut self, kept: Kept, bytes: &[u8]) -> Result<(), Fault> {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let hash = hasher.finish();
        let path = self.directory.join(file_name(&kept));
        match self.kept.get(&kept) {
            Some(known) if *known == hash => return Ok(()),
            Some(_) => {
                return writeln!(self.file, "-- another {kept} follows, which is not kept")
                    .map_err(|error| Fault::file(&self.path, error));
            }
            None => {}
        }
        if self.kept.is_empty() {
            let made = fs::create_dir_all(&self.directory);
            made.map_err(|error| Fault::file(&self.directory, error))?;
        }
        fs::write(&path, bytes).map_err(|error| Fault::file(&path, error))?;
        self.kept.insert(kept, hash);
        Ok(())
    }
}

/// Where the bytes are that the transcript in `path` does not hold.
pub(crate) fn directory_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".bin");
    name.into()
}

pub(crate) fn file_name(kept: &Kept) -> String {
    format!("{}-{}", kept.len, kept.digest)
}
