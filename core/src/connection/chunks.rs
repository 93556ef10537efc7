//! 2.x chunks: held against their message, put where they belong.

use super::inbound::{Beginning, Bounds, Inbound, Refusal, Store, Whole, exceeds, position};
use crate::arena::Span;
use crate::wire::Dialect;
use crate::{CloseCode, Instant, Limit, LimitExceeded, Limits, Memory, Table};

/// Length of a chunk's header.
pub(crate) const CHUNK_HEADER: usize = 12;

/// A header and one byte.
pub(super) const SMALLEST_CHUNK: u32 = CHUNK_HEADER as u32 + 1;

/// Three little-endian u32 before the content of a 2.x chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkHeader {
    /// Of the message, the same in all its chunks.
    pub(crate) id: u32,
    /// Of this content in the message.
    pub(crate) offset: u32,
    /// Size of the message.
    pub(crate) total: u32,
}

impl ChunkHeader {
    pub(crate) fn read(frame: &[u8]) -> Option<(Self, &[u8])> {
        let (header, content) = frame.split_first_chunk::<CHUNK_HEADER>()?;
        Some((Self::of(*header), content))
    }

    fn of(bytes: [u8; CHUNK_HEADER]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Self {
            id: u32::from_le_bytes([a, b, c, d]),
            offset: u32::from_le_bytes([e, f, g, h]),
            total: u32::from_le_bytes([i, j, k, l]),
        }
    }

    pub(crate) fn bytes(self) -> [u8; CHUNK_HEADER] {
        let [a, b, c, d] = self.id.to_le_bytes();
        let [e, f, g, h] = self.offset.to_le_bytes();
        let [i, j, k, l] = self.total.to_le_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

/// What has come of a chunk that comes in several pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pieces {
    /// Of the content that is still to come.
    header: [u8; CHUNK_HEADER],
    /// Bytes of the header that have come.
    read: u8,
    /// Bytes of the chunk that have come.
    len: u32,
}

/// A 2.x message of which some chunks have come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) id: u32,
    pub(super) total: u32,
    pub(super) received: u32,
    /// Room for its beginning at least.
    pub(super) span: Span,
    state: [u32; 2],
}

/// What stands in a [`Pending`] beside the time of its last chunk, which leaves two bits free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Whole,
    /// Refused: its chunks are counted and passed over.
    Refused,
    /// It is the upload under way.
    Upload,
}

impl Pending {
    const KINDS: [Kind; 4] = [Kind::Whole, Kind::Refused, Kind::Upload, Kind::Upload];

    /// When its last chunk came.
    pub(super) fn touched(&self) -> Instant {
        let [low, high] = self.state;
        Instant::from_millis(u64::from(high >> 2) << 32 | u64::from(low))
    }

    pub(super) fn touch(&mut self, now: Instant) {
        let (millis, kind) = (now.as_millis(), self.kind());
        self.state = [millis as u32, ((millis >> 32) as u32) << 2 | kind as u32];
    }

    pub(super) fn kind(&self) -> Kind {
        Self::KINDS[self.state[1] as usize & 3]
    }

    pub(super) fn become_kind(&mut self, kind: Kind) {
        self.state[1] = self.state[1] & !3 | kind as u32;
    }
}

/// Bytes of a pending message that have come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    id: u32,
    start: u32,
    end: u32,
}

impl Range {
    /// Whether it is the beginning of that message.
    pub(super) const fn begins(&self, id: u32) -> bool {
        self.id == id && self.start == 0
    }

    pub(super) const fn len(&self) -> u32 {
        self.end - self.start
    }
}

const SHORT_HEADER: Refusal =
    Refusal::Violation(CloseCode::Protocol, "a chunk of less than its header's 12 bytes");

impl<M: Memory> Inbound<M> {
    /// Takes in a chunk that is whole in the caller's frame.
    pub(super) fn assemble<'a>(
        &mut self,
        now: Instant,
        frame: &'a [u8],
        bounds: &Bounds,
    ) -> Result<Option<Whole<'a>>, Refusal> {
        let Some((header, content)) = ChunkHeader::read(frame) else { return Err(SHORT_HEADER) };
        let beginning = Beginning::Frame(CHUNK_HEADER);
        self.take_content(now, header, content, bounds, beginning)
    }

    /// Takes in the next piece of a chunk that comes in several: what it has of the content is a
    /// chunk of its own.
    pub(super) fn assemble_piece<'a>(
        &mut self,
        now: Instant,
        fin: bool,
        piece: &'a [u8],
        bounds: &Bounds,
    ) -> Result<Option<Whole<'a>>, Refusal> {
        let chunk = &mut self.chunk;
        chunk.len = chunk.len.saturating_add(u32::try_from(piece.len()).unwrap_or(u32::MAX));
        if let Some(exceeded) = exceeds(bounds.frame, chunk.len as usize) {
            self.ignore(fin);
            return Err(Refusal::Limit(exceeded, Beginning::None));
        }
        // The header may come in pieces as well.
        let missing = chunk.header.get_mut(chunk.read.into()..).unwrap_or_default();
        let (rest, content) = piece.split_at(missing.len().min(piece.len()));
        for (place, byte) in missing.iter_mut().zip(rest) {
            *place = *byte;
        }
        chunk.read += rest.len() as u8;
        if usize::from(chunk.read) < CHUNK_HEADER {
            return if fin { Err(SHORT_HEADER) } else { Ok(None) };
        }
        let header = ChunkHeader::of(chunk.header);
        let is_empty = fin && chunk.len as usize == CHUNK_HEADER;
        if content.is_empty() && !is_empty {
            return Ok(None);
        }
        // Goes beyond its message at most, and ends the connection then.
        let offset = header.offset.wrapping_add(content.len() as u32);
        chunk.header = ChunkHeader { offset, ..header }.bytes();
        self.take_content(now, header, content, bounds, Beginning::Frame(rest.len()))
    }

    /// What is kept free for the message of the chunk under way.
    pub(super) fn room_in_chunk(&self) -> usize {
        let ChunkHeader { id, offset, .. } = ChunkHeader::of(self.chunk.header);
        let message = self.find(id).and_then(|index| self.store.pending().get(index));
        message.map_or(0, |message| message.span.len.saturating_sub(offset) as usize)
    }

    /// Takes in content that is in the caller's frame from `beginning` on.
    fn take_content<'a>(
        &mut self,
        now: Instant,
        header: ChunkHeader,
        content: &'a [u8],
        bounds: &Bounds,
        beginning: Beginning,
    ) -> Result<Option<Whole<'a>>, Refusal> {
        let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
        if header.offset == 0 && header.total == len && len > 0 && self.find(header.id).is_none() {
            return match exceeds(bounds.message, content.len()) {
                Some(exceeded) => Err(Refusal::Limit(exceeded, beginning)),
                None => Ok(Some(Whole::Chunk(content))),
            };
        }
        let index = self.check_chunk(now, header, len, bounds, beginning)?;
        let Some(index) = index else { return Ok(None) };
        if self.store.pending()[index].kind() == Kind::Upload {
            return self.stream(index, header, content);
        }
        self.make_room(index, header.offset, len, &bounds.limits, beginning)?;
        let to = (self.store.pending()[index].span.start + header.offset) as usize;
        if let Some(room) = self.arena.bytes_mut().get_mut(to..to + content.len()) {
            room.copy_from_slice(content);
        }
        self.received(index, len, bounds)
    }

    fn find(&self, id: u32) -> Option<usize> {
        position(self.store.pending(), |it| it.id == id)
    }

    /// Holds a chunk against its message, of which it may be the first; gives the message's index
    /// if there is something to store.
    fn check_chunk(
        &mut self,
        now: Instant,
        header: ChunkHeader,
        len: u32,
        bounds: &Bounds,
        beginning: Beginning,
    ) -> Result<Option<usize>, Refusal> {
        let ChunkHeader { id, offset, total } = header;
        let violation = |reason| Err(Refusal::Violation(CloseCode::Protocol, reason));
        if total == 0 {
            return violation("a chunk of an empty message");
        }
        let Some(end) = offset.checked_add(len).filter(|end| *end <= total) else {
            return violation("a chunk goes beyond its message");
        };
        let index = match self.find(id) {
            Some(index) => index,
            None => {
                let entry =
                    Pending { id, total, received: 0, span: Span::default(), state: [0; 2] };
                // Without an entry the further chunks could not be told from those of a new
                // message: only a Close helps.
                let pushed = self.store.push_pending(entry, bounds.limits.pending);
                pushed.map_err(|exceeded| Refusal::Limit(exceeded, Beginning::None))?;
                self.store.pending().len() - 1
            }
        };
        let Some(message) = self.store.pending_mut().get_mut(index) else { return Ok(None) };
        if message.total != total {
            return violation("a chunk of another total than its message's first");
        }
        message.touch(now);
        if message.kind() == Kind::Refused {
            message.received = message.received.saturating_add(len);
            if message.received >= total {
                _ = self.store.remove_pending(index);
            }
            return Ok(None);
        }
        let start = if offset == 0 { beginning } else { Beginning::None };
        let is_upload = message.kind() == Kind::Upload;
        let undecided = is_upload || self.may_be_upload(index, offset, bounds.methods);
        if let Some(exceeded) = exceeds(bounds.message, total as usize).filter(|_| !undecided) {
            let stored = self.beginning(index);
            self.refuse(index, len);
            let beginning = if let Beginning::None = stored { start } else { stored };
            return Err(Refusal::Limit(exceeded, beginning));
        }
        if self.ranges.as_ref().iter().any(|it| it.id == id && it.start < end && offset < it.end) {
            return violation("a chunk overlaps another of its message");
        }
        Ok(Some(index))
    }

    /// What of a pending message has come without a gap.
    pub(super) fn beginning(&self, index: usize) -> Beginning {
        let Some(message) = self.store.pending().get(index) else { return Beginning::None };
        let first = self.ranges.as_ref().iter().find(|it| it.id == message.id && it.start == 0);
        first.map_or(Beginning::None, |range| {
            Beginning::Stored(Span { start: message.span.start, len: range.end })
        })
    }

    /// Makes room for a chunk and notes that it has come.
    fn make_room(
        &mut self,
        index: usize,
        offset: u32,
        len: u32,
        limits: &Limits,
        beginning: Beginning,
    ) -> Result<(), Refusal> {
        let Some(message) = self.store.pending().get(index).copied() else { return Ok(()) };
        let end = offset + len;
        let mut refused = None;
        // What was never received is not made room for, but for what is a little ahead.
        let ahead = offset.saturating_sub(message.received);
        if ahead > limits.ahead {
            refused = Some(LimitExceeded::new(Limit::Ahead, ahead.into(), limits.ahead.into()));
        } else if end > message.span.len {
            // A buffer that is there can as well hold the whole message; one that grows grows with
            // what has come.
            let whole = self.arena.present() == self.arena.capacity();
            let len = if whole {
                message.total
            } else {
                end.max(message.total.min(end.saturating_mul(2)))
            };
            fn span<M: Memory>(store: &mut Store<M>, index: usize) -> &mut Span {
                &mut store.pending_mut()[index].span
            }
            let room = self.reserve(len as usize, |store| span(store, index)).map(|()| len);
            let least = |this: &mut Self| this.reserve(end as usize, |store| span(store, index));
            match room.or_else(|_| least(self).map(|()| end)) {
                Ok(len) => self.store.pending_mut()[index].span.len = len,
                Err(exceeded) => refused = Some(exceeded),
            }
        }
        if refused.is_none() && len > 0 {
            refused = self.note(message.id, offset, end, limits).err();
        }
        let Some(exceeded) = refused else { return Ok(()) };
        let stored = self.beginning(index);
        self.refuse(index, len);
        let beginning = match stored {
            Beginning::None if offset == 0 => beginning,
            stored => stored,
        };
        Err(Refusal::Limit(exceeded, beginning))
    }

    /// Adds a range, joining it with those beside it.
    fn note(
        &mut self,
        id: u32,
        start: u32,
        end: u32,
        limits: &Limits,
    ) -> Result<(), LimitExceeded> {
        let before = position(self.ranges.as_ref(), |it| it.id == id && it.end == start);
        let after = position(self.ranges.as_ref(), |it| it.id == id && it.start == end);
        let ranges = self.ranges.as_mut();
        match (before, after) {
            (Some(before), Some(after)) => {
                ranges[before].end = ranges[after].end;
                _ = self.ranges.swap_remove(after);
            }
            (Some(before), None) => ranges[before].end = end,
            (None, Some(after)) => ranges[after].start = start,
            (None, None) => {
                let most = usize::from(limits.ranges).min(self.ranges.capacity());
                let needed = self.ranges.as_ref().len() + 1;
                let exceeded = LimitExceeded::new(Limit::Ranges, needed as u64, most as u64);
                if needed > most {
                    return Err(exceeded);
                }
                self.ranges.push(Range { id, start, end }).map_err(|_| exceeded)?;
            }
        }
        Ok(())
    }

    /// Counts a chunk; gives the message when it was the last, or an upload that begins.
    fn received(
        &mut self,
        index: usize,
        len: u32,
        bounds: &Bounds,
    ) -> Result<Option<Whole<'static>>, Refusal> {
        let Some(message) = self.store.pending_mut().get_mut(index) else { return Ok(None) };
        message.received += len;
        if message.received < message.total {
            return self.claim(index, len, bounds);
        }
        // What could have been an upload was not held to it before.
        if let Some(exceeded) = exceeds(bounds.message, message.total as usize) {
            let beginning = self.beginning(index);
            self.refuse(index, 0);
            return Err(Refusal::Limit(exceeded, beginning));
        }
        let Some(message) = self.store.pending().get(index) else { return Ok(None) };
        let span = Span { start: message.span.start, len: message.total };
        let id = message.id;
        self.forget(id);
        _ = self.store.remove_pending(index);
        self.store.lent = span;
        Ok(Some(Whole::Stored(Dialect::V2, span)))
    }

    /// Frees the bytes of a message; what still comes of it is passed over.
    pub(super) fn refuse(&mut self, index: usize, len: u32) {
        let Some(message) = self.store.pending_mut().get_mut(index) else { return };
        message.become_kind(Kind::Refused);
        message.received = message.received.saturating_add(len);
        message.span = Span::default();
        let (id, complete) = (message.id, message.received >= message.total);
        self.forget(id);
        if complete {
            _ = self.store.remove_pending(index);
        }
    }

    pub(super) fn forget(&mut self, id: u32) {
        while let Some(range) = position(self.ranges.as_ref(), |it| it.id == id) {
            _ = self.ranges.swap_remove(range);
        }
    }
}
