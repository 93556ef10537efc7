//! From queued messages to frames: what goes next, and in which pieces.

use super::calls::{Calls, Progress};
use super::chunks::{CHUNK_HEADER, ChunkHeader};
use super::event::{Body, CallId, OpCode, Transmit};
use super::feed::{Behind, Current, Feed};
use crate::hub::View;
use crate::wire::{Dialect, Encoded, Segment, Segments, attachment_header};
use crate::{Blob, CloseCode, Hub, Instant, Memory, PeerId, Phase};

/// Longest payload of a control frame (RFC 6455 §5.5); the other heads are shorter.
pub(crate) const SCRATCH: usize = 125;

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
    /// Bytes of the payload that are in the scratch.
    pub(crate) head: u32,
    /// Length of the payload.
    pub(crate) len: u32,
    pub(crate) taken: u32,
    /// Bytes that the last poll lent.
    pub(crate) lent: u32,
    /// Whether the message ends with this frame, and (1.x) whether the step does.
    pub(crate) last: bool,
    pub(crate) last_of_step: bool,
}

/// A Close to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Close {
    pub(crate) code: CloseCode,
    pub(crate) reason: &'static str,
    /// Ahead of everything that is queued.
    pub(crate) at_once: bool,
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
    max_msg_size: u32,
    frame: Option<UnderWay>,
    scratch: [u8; SCRATCH],
    ping: bool,
    /// Length of the payload in `pong_payload`; a newer ping replaces an unanswered one
    /// (RFC 6455 §5.5.3).
    pong: Option<u8>,
    pong_payload: [u8; SCRATCH],
    close: Option<Close>,
    pub(crate) feed: Feed<M>,
    /// 1.x: nothing but control frames may pass this message.
    exclusive: Option<Source>,
    /// Whose turn it is when both wait.
    bulk_next: bool,
    next_chunk: u32,
}

impl<M: Memory> Outbound<M> {
    pub(crate) fn new(peer: PeerId, max_msg_size: u32, first_chunk: u32) -> Self {
        Self {
            max_msg_size,
            frame: None,
            scratch: [0; SCRATCH],
            ping: false,
            pong: None,
            pong_payload: [0; SCRATCH],
            close: None,
            feed: Feed::new(peer),
            exclusive: None,
            bulk_next: false,
            next_chunk: first_chunk,
        }
    }

    pub(crate) const fn ping(&mut self) {
        self.ping = true;
    }

    pub(crate) fn pong(&mut self, payload: &[u8]) {
        let len = payload.len().min(SCRATCH);
        self.pong_payload[..len].copy_from_slice(&payload[..len]);
        self.pong = Some(len as u8);
    }

    /// The first Close that is asked for is the one that is sent; a later one may hurry it.
    pub(crate) fn close(&mut self, code: CloseCode, reason: &'static str, at_once: bool) {
        let close = self.close.get_or_insert(Close { code, reason, at_once });
        close.at_once |= at_once;
    }

    /// Whether something is under way that the transport has not taken.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.frame.is_some()
    }

    /// Chooses the next frame, unless one is under way.
    ///
    /// # Errors
    /// The connection cannot go on.
    pub(crate) fn prepare(
        &mut self,
        now: Instant,
        dialect: Dialect,
        phase: Phase,
        calls: &mut Calls<M>,
        hub: &Hub<M>,
    ) -> Result<(), Lost> {
        self.check_publication(dialect, hub)?;
        if self.frame.is_none() && !matches!(phase, Phase::Closing | Phase::Closed) {
            self.frame = self.next_frame(now, dialect, phase, calls, hub)?;
        }
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
        // It may have had to wait for an answer that nothing may pass.
        self.exclusive.take_if(|source| *source == Source::Publication);
        self.feed.abandon(hub).map_err(|Behind| Lost::Behind)?;
        if dialect == Dialect::V1 {
            // Half a text cannot be taken back. An attachment that was announced has to come, or
            // the next one would be taken for it: it ends here, and nobody names it.
            let opcode = match (current.progress.step % 2, current.progress.offset) {
                (0, 0) => return Ok(()),
                (0, _) => return Err(Lost::Behind),
                (_, 0) => OpCode::Binary,
                _ => OpCode::Continuation,
            };
            self.frame = Some(UnderWay::control(Source::Abandoned, opcode, 0));
        }
        Ok(())
    }

    fn next_frame(
        &mut self,
        now: Instant,
        dialect: Dialect,
        phase: Phase,
        calls: &mut Calls<M>,
        hub: &Hub<M>,
    ) -> Result<Option<UnderWay>, Lost> {
        if let Some(len) = self.pong.take() {
            self.scratch = self.pong_payload;
            return Ok(Some(UnderWay::control(Source::Pong, OpCode::Pong, len.into())));
        }
        if core::mem::take(&mut self.ping) {
            return Ok(Some(UnderWay::control(Source::Ping, OpCode::Ping, 0)));
        }
        if let Some(close) = self.close {
            let drained = !calls.has_answers() && self.feed.current.is_none();
            if close.at_once || drained {
                return Ok(Some(close_frame(close, &mut self.scratch)));
            }
        }
        let source = match self.exclusive {
            Some(source) => Some(source),
            None => self.next_source(now, dialect, phase, calls, hub)?,
        };
        let frame = source.and_then(|source| self.cut_from(source, dialect, calls, hub));
        self.exclusive = source.filter(|_| dialect == Dialect::V1 && frame.is_some());
        Ok(frame)
    }

    /// The next frame of a message.
    fn cut_from(
        &mut self,
        source: Source,
        dialect: Dialect,
        calls: &mut Calls<M>,
        hub: &Hub<M>,
    ) -> Option<UnderWay> {
        let (message, blobs, mut progress) = match source {
            Source::Answer(call) => {
                let (message, blobs) = calls.message(call, dialect)?;
                (message, blobs, calls.progress_of(call)?)
            }
            _ => {
                let View { message, blobs, .. } = self.feed.view(dialect, hub)?;
                (message, blobs, self.feed.current?.progress)
            }
        };
        if dialect == Dialect::V2 && progress.chunk_id.is_none() {
            self.next_chunk = self.next_chunk.wrapping_add(1);
            progress.chunk_id = Some(self.next_chunk);
        }
        let most = u64::from(piece(dialect, self.max_msg_size));
        let frame = cut(source, dialect, &message, blobs, progress, most, &mut self.scratch);
        match source {
            Source::Answer(call) => *calls.progress(call)? = progress,
            _ => self.feed.current.as_mut()?.progress = progress,
        }
        frame
    }

    /// Answers that fit one frame, then publications and large answers in turn.
    fn next_source(
        &mut self,
        now: Instant,
        dialect: Dialect,
        phase: Phase,
        calls: &Calls<M>,
        hub: &Hub<M>,
    ) -> Result<Option<Source>, Lost> {
        let most = piece(dialect, self.max_msg_size) as u64;
        let small = |_: &Progress, encoded: &Encoded| {
            u64::from(encoded.text_len) + encoded.blob_bytes <= most
        };
        if let Some(call) = calls.next_answer(small) {
            return Ok(Some(Source::Answer(call)));
        }
        let bulk = calls.next_answer(|_, _| true).map(Source::Answer);
        // What is under way is finished even when nothing new is begun.
        let publication = self.feed.current.is_some()
            || phase.is_authenticated()
                && self.feed.pull(now, dialect, hub).map_err(|Behind| Lost::Behind)?;
        let publication = publication.then_some(Source::Publication);
        let first = if self.bulk_next { bulk.or(publication) } else { publication.or(bulk) };
        self.bulk_next = first == Some(Source::Publication);
        Ok(first)
    }

    /// Lends what is left of the frame under way.
    pub(crate) fn lend<'a>(
        &'a mut self,
        dialect: Dialect,
        calls: &'a Calls<M>,
        hub: &'a Hub<M>,
    ) -> Option<Transmit<'a, M::Blob>> {
        let frame = self.frame.as_mut()?;
        let head = self.scratch.get(frame.taken.min(frame.head) as usize..frame.head as usize)?;
        let taken = u64::from(frame.taken.saturating_sub(frame.head));
        let left = (frame.len - frame.taken) as usize - head.len();
        let body = if left == 0 {
            Body::Bytes(&[])
        } else {
            match frame.source {
                Source::Answer(call) => {
                    let (message, blobs) = calls.message(call, dialect)?;
                    body(dialect, &message, blobs, calls.progress_of(call)?, taken, left)?
                }
                Source::Publication => {
                    let View { message, blobs, mark } = self.feed.view(dialect, hub)?;
                    let Current { progress, retained, .. } = self.feed.current?;
                    let body = body(dialect, &message, blobs, progress, taken, left)?;
                    let in_text = dialect == Dialect::V2 || progress.step / 2 >= message.places();
                    let at = progress.offset + taken;
                    if retained && in_text { marked(body, at, mark.into()) } else { body }
                }
                _ => return None,
            }
        };
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
        let content = u64::from(frame.len - frame.head);
        match frame.source {
            Source::Ping => return Some(Taken::Ping),
            Source::Close => return Some(Taken::Close),
            Source::Pong | Source::Abandoned => {}
            Source::Answer(call) if frame.last => {
                self.exclusive = None;
                calls.finish(call);
            }
            Source::Publication if frame.last => {
                self.exclusive = None;
                self.feed.current = None;
            }
            Source::Answer(call) => {
                if let Some(progress) = calls.progress(call) {
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
            head: len,
            len,
            taken: 0,
            lent: 0,
            last: true,
            last_of_step: true,
        }
    }
}

impl Progress {
    pub(crate) const fn advance(&mut self, content: u64, last_of_step: bool) {
        if last_of_step {
            self.step += 1;
            self.offset = 0;
        } else {
            self.offset += content;
        }
    }
}

/// Writes a Close frame.
pub(crate) fn close_frame(close: Close, scratch: &mut [u8; SCRATCH]) -> UnderWay {
    let Close { code, reason, .. } = close;
    let mut most = reason.len().min(SCRATCH - 2);
    // It has to stay text (RFC 6455 §5.5.1).
    while !reason.is_char_boundary(most) {
        most -= 1;
    }
    let reason = &reason.as_bytes()[..most];
    scratch[..2].copy_from_slice(&code.number().to_be_bytes());
    scratch[2..2 + reason.len()].copy_from_slice(reason);
    UnderWay::control(Source::Close, OpCode::Close, 2 + reason.len() as u32)
}

/// Most content of a frame.
pub(crate) fn piece(dialect: Dialect, max_msg_size: u32) -> u32 {
    match dialect {
        Dialect::V1 => max_msg_size.max(1),
        Dialect::V2 => max_msg_size.saturating_sub(CHUNK_HEADER as u32).max(1),
    }
}

/// The step of a 1.x message: the header of an attachment, its content, or the text.
enum Step<'a> {
    Header(u64),
    Content(Segment<'a>, u64),
    Text(&'a [u8]),
}

fn step<'a, B: Blob>(message: &Segments<'a>, blobs: &[B], progress: Progress) -> Option<Step<'a>> {
    let nth = progress.step / 2;
    if nth >= message.places() {
        return Some(Step::Text(message.text()));
    }
    let place = message.place(nth, |index| blob_len(blobs, index))?;
    Some(match (progress.step % 2, place.content) {
        (0, _) => Step::Header(place.key),
        (_, Segment::Bytes(bytes)) => Step::Content(place.content, bytes.len() as u64),
        (_, Segment::Blob { len, .. }) => Step::Content(place.content, len),
    })
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
    scratch: &mut [u8; SCRATCH],
) -> Option<UnderWay> {
    let frame = |opcode, fin, head: usize, content: u64, last, last_of_step| UnderWay {
        source,
        opcode,
        fin,
        head: head as u32,
        len: head as u32 + content as u32,
        taken: 0,
        lent: 0,
        last,
        last_of_step,
    };
    match dialect {
        Dialect::V2 => {
            let total = message.total();
            let content = total.saturating_sub(progress.offset).min(most);
            let id = progress.chunk_id.unwrap_or_default();
            // Both fit: the total was checked when the message was encoded.
            let header = ChunkHeader { id, offset: progress.offset as u32, total: total as u32 };
            scratch[..CHUNK_HEADER].copy_from_slice(&header.bytes());
            let last = progress.offset + content >= total;
            Some(frame(OpCode::Binary, true, CHUNK_HEADER, content, last, false))
        }
        Dialect::V1 => {
            let (opcode, len, is_text) = match step(message, blobs, progress)? {
                Step::Header(key) => {
                    let header = attachment_header(key);
                    let header = header.as_bytes();
                    scratch.get_mut(..header.len())?.copy_from_slice(header);
                    return Some(frame(OpCode::Text, true, header.len(), 0, false, true));
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
            Step::Header(_) => return None,
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
