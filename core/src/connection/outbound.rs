//! From queued messages to frames: what goes next, and in which pieces.

use super::calls::Calls;
use super::chunks::{CHUNK_HEADER, ChunkHeader};
use super::event::{Body, CallId, OpCode, Transmit};
use super::feed::{Behind, Current, Feed};
use super::pongs::Pongs;
use crate::hub::View;
use crate::wire::{Dialect, Segment, Segments, attachment_header};
use crate::{Blob, CloseCode, Hub, Instant, Memory, PeerId, Phase};

/// Longest payload of a control frame (RFC 6455 §5.5).
pub(crate) const MOST_CONTROL: usize = 125;

/// Where the bytes of a frame come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Ping,
    Pong,
    Close,
    Answer(CallId),
    Publication,
    /// Ends an attachment that is given up.
    Abandoned,
}

/// The frame that is lent until it is taken whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnderWay {
    pub(crate) source: Source,
    pub(crate) opcode: OpCode,
    pub(crate) fin: bool,
    /// Bytes of the payload that are in [`Outbound::head`].
    pub(crate) head: u8,
    /// Length of the payload.
    pub(crate) len: u32,
    pub(crate) taken: u32,
    /// Bytes that the last poll lent.
    pub(crate) lent: u32,
    /// Whether the message ends with this frame, and (1.x) whether the step does.
    pub(crate) last: bool,
    pub(crate) last_of_step: bool,
}

/// The code and the reason of a Close.
pub(crate) type Farewell = (CloseCode, &'static str);

/// How far a message has been sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// 2.x: the message's chunk id, from its first chunk on. 1.x: the [`Step`], of which there are
    /// two for each place, its header and its content, and the text at the end; `None` is the
    /// first.
    pub(crate) part: Option<u32>,
    /// 2.x: bytes sent of the message. 1.x: of the step.
    pub(crate) offset: u64,
}

/// What became of a frame that was taken whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Part,
    Ping,
    Close,
    Other,
}

/// Why a connection cannot go on sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// A frame was begun that cannot be finished.
    MidFrame,
    /// The peer fell too far behind.
    Behind,
}

pub(crate) struct Outbound<M: Memory> {
    frame: Option<UnderWay>,
    /// What was made for the frame under way: a chunk header, or the code of a Close.
    head: [u8; CHUNK_HEADER],
    ping: bool,
    pongs: Pongs,
    /// The Close goes ahead of everything that is queued.
    hurried: bool,
    pub(crate) feed: Feed<M>,
    /// The answer of which a part has been sent. In 2.x small ones pass it, in one frame each.
    begun: Option<(CallId, Progress)>,
    /// Whose turn it is when both wait.
    bulk_next: bool,
    next_chunk: u32,
    /// The largest frame of a publication, if that is less than of an answer.
    published: u32,
}

impl<M: Memory> Outbound<M> {
    pub(crate) fn new(peer: PeerId, first_chunk: u32, published: u32) -> Self {
        Self {
            frame: None,
            head: [0; CHUNK_HEADER],
            ping: false,
            pongs: Pongs::new(),
            hurried: false,
            feed: Feed::new(peer),
            begun: None,
            bulk_next: false,
            next_chunk: first_chunk,
            published,
        }
    }

    pub(crate) const fn ping(&mut self) {
        self.ping = true;
    }

    pub(crate) fn pong(&mut self, payload: &[u8]) {
        self.pongs.ping(payload);
    }

    /// The Close does not wait for what is queued.
    pub(crate) const fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Whether something is under way that the transport has not taken.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.frame.is_some()
    }

    /// Whether there is nothing to be sent but answers, or a Close.
    pub(crate) fn is_quiet(&self, now: Instant, hub: &Hub<M>) -> bool {
        let control = self.ping || self.pongs.is_waiting();
        !control && self.frame.is_none() && !self.bulk_next && self.feed.is_quiet(now, hub)
    }

    /// Chooses the next frame, unless one is under way; `farewell` is for the Close, if one is due.
    ///
    /// # Errors
    /// The connection cannot go on.
    pub(crate) fn prepare(
        &mut self,
        now: Instant,
        dialect: Dialect,
        phase: Phase,
        farewell: Option<Farewell>,
        calls: &Calls<M>,
        hub: &Hub<M>,
    ) -> Result<(), Lost> {
        self.check_publication(dialect, hub)?;
        if self.frame.is_some() || matches!(phase, Phase::Closing | Phase::Closed) {
            return Ok(());
        }
        self.frame = match self.control_frame(farewell, calls) {
            Some(frame) => Some(frame),
            None => self.next_frame(now, dialect, phase, calls, hub)?,
        };
        Ok(())
    }

    /// Gives up a publication that the hub has passed over.
    fn check_publication(&mut self, dialect: Dialect, hub: &Hub<M>) -> Result<(), Lost> {
        let Some(current) = self.feed.current else { return Ok(()) };
        if self.feed.view(dialect, hub).is_some() {
            return Ok(());
        }
        if let Some(frame) = self.frame {
            if frame.source != Source::Publication {
                // What is under way is finished first.
                return Ok(());
            }
            if frame.taken > 0 {
                return Err(Lost::MidFrame);
            }
            self.frame = None;
        }
        self.feed.abandon(hub).map_err(|Behind| Lost::Behind)?;
        if dialect == Dialect::V1 {
            // Half a text cannot be taken back. An attachment that was announced has to come, or
            // the next one would be taken for it: it ends here, and nobody names it.
            let opcode = match (current.progress.step() % 2, current.progress.offset) {
                (0, 0) => return Ok(()),
                (0, _) => return Err(Lost::Behind),
                (_, 0) => OpCode::Binary,
                _ => OpCode::Continuation,
            };
            self.frame = Some(UnderWay::control(Source::Abandoned, opcode, 0));
        }
        Ok(())
    }

    fn control_frame(&mut self, farewell: Option<Farewell>, calls: &Calls<M>) -> Option<UnderWay> {
        if let Some(len) = self.pongs.begin() {
            return Some(UnderWay::control(Source::Pong, OpCode::Pong, len.into()));
        }
        if core::mem::take(&mut self.ping) {
            return Some(UnderWay::control(Source::Ping, OpCode::Ping, 0));
        }
        let farewell = farewell?;
        let drained = || !calls.has_answers() && self.feed.current.is_none();
        (self.hurried || drained()).then(|| close_frame(farewell, &mut self.head))
    }

    fn next_frame(
        &mut self,
        now: Instant,
        dialect: Dialect,
        phase: Phase,
        calls: &Calls<M>,
        hub: &Hub<M>,
    ) -> Result<Option<UnderWay>, Lost> {
        let unfinished = if dialect == Dialect::V1 { self.unfinished() } else { None };
        let source = match unfinished {
            Some(source) => Some(source),
            None => self.next_source(now, phase, calls, hub)?,
        };
        Ok(source.and_then(|source| self.cut_from(source, dialect, calls, hub)))
    }

    /// A message of which a part has been sent: in 1.x nothing but control frames may pass it.
    fn unfinished(&self) -> Option<Source> {
        let answer = self.begun.map(|(call, _)| Source::Answer(call));
        let is_begun = |current: &Current| current.progress != Progress::default();
        let publication = self.feed.current.filter(is_begun).map(|_| Source::Publication);
        answer.or(publication)
    }

    /// How far an answer has been sent.
    fn progress_of(&self, call: CallId) -> Progress {
        self.begun
            .filter(|(begun, _)| *begun == call)
            .map(|(_, progress)| progress)
            .unwrap_or_default()
    }

    /// The next frame of a message.
    fn cut_from(
        &mut self,
        source: Source,
        dialect: Dialect,
        calls: &Calls<M>,
        hub: &Hub<M>,
    ) -> Option<UnderWay> {
        let (message, blobs, mut progress) = match source {
            Source::Answer(call) => {
                let (message, blobs) = calls.message(call, dialect)?;
                (message, blobs, self.progress_of(call))
            }
            _ => {
                let View { message, blobs, .. } = self.feed.view(dialect, hub)?;
                (message, blobs, self.feed.current?.progress)
            }
        };
        if dialect == Dialect::V2 && progress.part.is_none() {
            self.next_chunk = self.next_chunk.wrapping_add(1);
            progress.part = Some(self.next_chunk);
        }
        let most = match source {
            Source::Answer(_) => calls.piece(dialect),
            _ => calls.piece(dialect).min(piece(dialect, self.published)),
        };
        let most = most.into();
        let frame = cut(source, dialect, &message, blobs, progress, most, &mut self.head)?;
        match source {
            // What goes in one frame makes no progress.
            Source::Answer(_) if frame.last => {}
            Source::Answer(call) => self.begun = Some((call, progress)),
            _ => self.feed.current.as_mut()?.progress = progress,
        }
        Some(frame)
    }

    /// Answers that fit one frame, then publications and large answers in turn.
    fn next_source(
        &mut self,
        now: Instant,
        phase: Phase,
        calls: &Calls<M>,
        hub: &Hub<M>,
    ) -> Result<Option<Source>, Lost> {
        if let Some(call) = calls.next_answer(true) {
            return Ok(Some(Source::Answer(call)));
        }
        let bulk = calls.next_answer(false).map(Source::Answer);
        // What is under way is finished even when nothing new is begun.
        let publication = self.feed.current.is_some()
            || phase.is_authenticated()
                && self.feed.pull(now, hub).map_err(|Behind| Lost::Behind)?;
        let publication = publication.then_some(Source::Publication);
        let first = if self.bulk_next { bulk.or(publication) } else { publication.or(bulk) };
        self.bulk_next = first == Some(Source::Publication);
        Ok(first)
    }

    /// Lends what is left of the frame under way.
    pub(crate) fn lend<'a>(
        &'a mut self,
        dialect: Dialect,
        farewell: Option<Farewell>,
        calls: &'a Calls<M>,
        hub: &'a Hub<M>,
    ) -> Option<Transmit<'a, M::Blob>> {
        let frame = self.frame.as_ref()?;
        let (head, taken) = (u32::from(frame.head), frame.taken);
        let head = self.head.get(taken.min(head) as usize..head as usize)?;
        let taken = u64::from(taken.saturating_sub(frame.head.into()));
        let left = (frame.len - frame.taken) as usize - head.len();
        let body = if left == 0 {
            Body::Bytes(&[])
        } else {
            match frame.source {
                Source::Answer(call) => {
                    let (message, blobs) = calls.message(call, dialect)?;
                    body(dialect, &message, blobs, self.progress_of(call), taken, left)?
                }
                Source::Publication => {
                    let View { message, blobs, mark } = self.feed.view(dialect, hub)?;
                    let Current { progress, retained, .. } = self.feed.current?;
                    let body = body(dialect, &message, blobs, progress, taken, left)?;
                    let in_text = dialect == Dialect::V2 || progress.step() / 2 >= message.places();
                    let at = progress.offset + taken;
                    if retained && in_text { marked(body, at, mark.into()) } else { body }
                }
                Source::Pong => Body::Bytes(self.pongs.rest(taken as usize)),
                Source::Close => {
                    let (_, reason) = farewell?;
                    Body::Bytes(text_of_close(reason).get(taken as usize..)?)
                }
                Source::Ping | Source::Abandoned => return None,
            }
        };
        let frame = self.frame.as_mut()?;
        frame.lent = (head.len() + body.len()) as u32;
        Some(Transmit {
            opcode: frame.opcode,
            fin: frame.fin,
            len: frame.len as usize,
            taken: frame.taken as usize,
            head,
            body,
        })
    }

    /// The transport took `n` of the bytes that were lent; `None` if it says more than that.
    pub(crate) fn advance(&mut self, n: usize, calls: &mut Calls<M>) -> Option<Taken> {
        let Some(frame) = self.frame.as_mut() else { return (n == 0).then_some(Taken::Part) };
        if n > frame.lent as usize {
            return None;
        }
        frame.taken += n as u32;
        frame.lent -= n as u32;
        if frame.taken < frame.len {
            return Some(Taken::Part);
        }
        let frame = *frame;
        self.frame = None;
        let content = u64::from(frame.len - u32::from(frame.head));
        match frame.source {
            Source::Ping => return Some(Taken::Ping),
            Source::Close => return Some(Taken::Close),
            Source::Pong => self.pongs.finish(),
            Source::Abandoned => {}
            Source::Answer(call) if frame.last => {
                self.begun.take_if(|(begun, _)| *begun == call);
                calls.finish(call);
            }
            Source::Publication if frame.last => self.feed.current = None,
            Source::Answer(_) => {
                if let Some((_, progress)) = &mut self.begun {
                    progress.advance(content, frame.last_of_step);
                }
            }
            Source::Publication => {
                if let Some(current) = &mut self.feed.current {
                    current.progress.advance(content, frame.last_of_step);
                }
            }
        }
        Some(Taken::Other)
    }
}

impl UnderWay {
    pub(crate) const fn control(source: Source, opcode: OpCode, len: u32) -> Self {
        Self {
            source,
            opcode,
            fin: true,
            head: 0,
            len,
            taken: 0,
            lent: 0,
            last: true,
            last_of_step: true,
        }
    }
}

impl Progress {
    /// 1.x: the number of the step.
    fn step(self) -> u32 {
        self.part.unwrap_or_default()
    }

    pub(crate) fn advance(&mut self, content: u64, last_of_step: bool) {
        if last_of_step {
            self.part = Some(self.step() + 1);
            self.offset = 0;
        } else {
            self.offset += content;
        }
    }
}

/// Writes the head of a Close.
pub(crate) fn close_frame((code, reason): Farewell, into: &mut [u8; CHUNK_HEADER]) -> UnderWay {
    let code: &[u8] = &code.number().to_be_bytes();
    into[..code.len()].copy_from_slice(code);
    let (head, len) = (code.len() as u8, code.len() + text_of_close(reason).len());
    UnderWay { head, ..UnderWay::control(Source::Close, OpCode::Close, len as u32) }
}

/// Most content of a frame of at most `len` bytes.
pub(crate) fn piece(dialect: Dialect, len: u32) -> u32 {
    match dialect {
        Dialect::V1 => len.max(1),
        Dialect::V2 => len.saturating_sub(CHUNK_HEADER as u32).max(1),
    }
}

/// As much of the reason as a Close has room for; it has to stay text (RFC 6455 §5.5.1).
pub(crate) fn text_of_close(reason: &str) -> &[u8] {
    let mut most = reason.len().min(MOST_CONTROL - 2);
    while !reason.is_char_boundary(most) {
        most -= 1;
    }
    reason.as_bytes().get(..most).unwrap_or_default()
}

/// The step of a 1.x message: the header of an attachment, its content, or the text.
enum Step<'a> {
    Header([&'a str; 3]),
    Content(Segment<'a>, u64),
    Text(&'a [u8]),
}

fn step<'a, B: Blob>(message: &Segments<'a>, blobs: &[B], progress: Progress) -> Option<Step<'a>> {
    let (nth, is_content) = (progress.step() / 2, progress.step() % 2 == 1);
    let blob_len = |index| blob_len(blobs, index);
    let Some(content) = message.content(nth, blob_len) else {
        return Some(Step::Text(message.text()));
    };
    if !is_content {
        return Some(Step::Header(attachment_header(message.place(nth, blob_len)?.key)));
    }
    let len = match content {
        Segment::Bytes(bytes) => bytes.len() as u64,
        Segment::Blob { len, .. } => len,
    };
    Some(Step::Content(content, len))
}

fn blob_len<B: Blob>(blobs: &[B], index: u32) -> u64 {
    blobs.get(index as usize).map_or(0, Blob::len)
}

/// Cuts the next frame off a message, and writes its head.
pub(crate) fn cut<B: Blob>(
    source: Source,
    dialect: Dialect,
    message: &Segments<'_>,
    blobs: &[B],
    progress: Progress,
    most: u64,
    into: &mut [u8; CHUNK_HEADER],
) -> Option<UnderWay> {
    let frame = |opcode, fin, head: usize, content: u64, last, last_of_step| UnderWay {
        source,
        opcode,
        fin,
        head: head as u8,
        len: head as u32 + content as u32,
        taken: 0,
        lent: 0,
        last,
        last_of_step,
    };
    match dialect {
        Dialect::V2 => {
            let total = message.total(|index| blob_len(blobs, index));
            let content = total.saturating_sub(progress.offset).min(most);
            let id = progress.part.unwrap_or_default();
            // Both fit: the total was checked when the message was encoded.
            let header = ChunkHeader { id, offset: progress.offset as u32, total: total as u32 };
            *into = header.bytes();
            let last = progress.offset + content >= total;
            Some(frame(OpCode::Binary, true, CHUNK_HEADER, content, last, false))
        }
        Dialect::V1 => {
            let (opcode, len, is_text) = match step(message, blobs, progress)? {
                Step::Header(parts) => {
                    let len = parts.map(str::len).iter().sum::<usize>() as u64;
                    return Some(frame(OpCode::Text, true, 0, len, false, true));
                }
                Step::Content(_, len) => (OpCode::Binary, len, false),
                Step::Text(text) => (OpCode::Text, text.len() as u64, true),
            };
            let content = len.saturating_sub(progress.offset).min(most);
            let fin = progress.offset + content >= len;
            let opcode = if progress.offset > 0 { OpCode::Continuation } else { opcode };
            Some(frame(opcode, fin, 0, content, fin && is_text, fin))
        }
    }
}

/// The rest of the part that holds `at` of all of them.
fn part_at(parts: [&str; 3], mut at: usize) -> Option<&[u8]> {
    for part in parts {
        if let Some(rest) = part.as_bytes().get(at..).filter(|rest| !rest.is_empty()) {
            return Some(rest);
        }
        at = at.checked_sub(part.len())?;
    }
    None
}

/// The same bytes, which lie at `at` in the text, with a 1 at `mark`.
fn marked<B>(body: Body<'_, B>, at: u64, mark: u64) -> Body<'_, B> {
    match body {
        Body::Bytes(bytes) if at == mark && !bytes.is_empty() => Body::Bytes(b"1"),
        Body::Bytes(bytes) if at < mark => {
            let before = usize::try_from(mark - at).unwrap_or(usize::MAX);
            Body::Bytes(bytes.get(..before).unwrap_or(bytes))
        }
        body => body,
    }
}

/// The bytes of a message `taken` bytes behind its progress, at most `left`.
pub(crate) fn body<'a, B: Blob>(
    dialect: Dialect,
    message: &Segments<'a>,
    blobs: &'a [B],
    progress: Progress,
    taken: u64,
    left: usize,
) -> Option<Body<'a, B>> {
    let at = progress.offset + taken;
    let segment = match dialect {
        Dialect::V2 => message.at(at, |index| blob_len(blobs, index))?.0,
        Dialect::V1 => match step(message, blobs, progress)? {
            Step::Header(parts) => Segment::Bytes(part_at(parts, usize::try_from(at).ok()?)?),
            Step::Text(text) => Segment::Bytes(text.get(usize::try_from(at).ok()?..)?),
            Step::Content(Segment::Bytes(bytes), _) => {
                Segment::Bytes(bytes.get(usize::try_from(at).ok()?..)?)
            }
            Step::Content(Segment::Blob { index, offset, len }, _) => {
                Segment::Blob { index, offset: offset + at, len: len.saturating_sub(at) }
            }
        },
    };
    Some(match segment {
        Segment::Bytes(bytes) => Body::Bytes(bytes.get(..left).unwrap_or(bytes)),
        Segment::Blob { index, offset, len } => Body::Blob {
            blob: blobs.get(index as usize)?,
            offset,
            len: usize::try_from(len).unwrap_or(usize::MAX).min(left),
        },
    })
}
