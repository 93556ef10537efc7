//! From frames to whole messages: fragments, 1.x attachments, 2.x chunks.

use crate::arena::{Arena, Span, Spans};
use crate::wire::{Dialect, json};
use crate::{CloseCode, Instant, Limit, LimitExceeded, Limits, Memory, Table};

/// Length of a chunk's header.
pub(crate) const CHUNK_HEADER: usize = 12;

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
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *header;
        let header = Self {
            id: u32::from_le_bytes([a, b, c, d]),
            offset: u32::from_le_bytes([e, f, g, h]),
            total: u32::from_le_bytes([i, j, k, l]),
        };
        Some((header, content))
    }

    pub(crate) fn bytes(self) -> [u8; CHUNK_HEADER] {
        let mut bytes = [0; CHUNK_HEADER];
        for (field, value) in bytes.chunks_exact_mut(4).zip([self.id, self.offset, self.total]) {
            field.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }
}

/// A message of which the last piece has come.
pub(crate) enum Whole<'a> {
    /// In the caller's frame.
    Text(&'a mut [u8]),
    /// In the caller's frame, behind its chunk header.
    Chunk(&'a [u8]),
    /// In the receive buffer.
    Stored(Dialect, Span),
}

/// What a frame that does not fit leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    /// The message is too much. Its beginning, in which an id may be found, is in the frame from
    /// the given offset, or in the receive buffer.
    Limit(LimitExceeded, Beginning),
    /// The peer broke the rules.
    Violation(CloseCode, &'static str),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Beginning {
    None,
    Frame(usize),
    Stored(Span),
}

/// The WebSocket message under way, if it is fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fragments {
    None,
    Text,
    Chunk,
    /// Straight into the first attachment that is expected.
    Attachment,
    /// Refused or not asked for: its rest is passed over.
    Ignored,
}

/// A 1.x attachment.
#[derive(Clone, Copy, Debug)]
struct Attachment {
    /// `None` if nobody can name it.
    key: Option<u64>,
    state: AttachmentState,
    span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AttachmentState {
    Expected,
    Complete,
    /// It did not fit; the call that names it is told.
    Refused(LimitExceeded),
    /// A call has been given it, and is done with it when the connection is used again.
    Used,
}

/// A 2.x message of which some chunks have come.
#[derive(Clone, Copy, Debug)]
struct Pending {
    id: u32,
    total: u32,
    received: u32,
    /// Room for its beginning at least.
    span: Span,
    touched: Instant,
    /// Refused: its chunks are counted and passed over.
    refused: bool,
}

/// Bytes of a pending message that have come.
#[derive(Clone, Copy, Debug)]
struct Range {
    id: u32,
    start: u32,
    end: u32,
}

pub(crate) struct Inbound<M: Memory> {
    arena: Arena<M::Buffer>,
    store: Store<M>,
    ranges: M::Table<Range>,
    fragments: Fragments,
    /// Last piece of the fragmented message.
    touched: Instant,
}

/// All that has bytes in the receive buffer.
struct Store<M: Memory> {
    fragment: Span,
    /// Lent to the caller until the connection is used again.
    lent: Span,
    attachments: M::Table<Attachment>,
    pending: M::Table<Pending>,
}

impl<M: Memory> Spans for Store<M> {
    fn each(&mut self, look: &mut dyn FnMut(&mut Span)) {
        look(&mut self.fragment);
        look(&mut self.lent);
        self.attachments.as_mut().iter_mut().for_each(|it| look(&mut it.span));
        self.pending.as_mut().iter_mut().for_each(|it| look(&mut it.span));
    }
}

impl<M: Memory> Inbound<M> {
    pub(crate) fn new(buffer: M::Buffer, limits: &Limits, now: Instant) -> Self {
        Self {
            arena: Arena::new(buffer, limits.receive_bytes),
            store: Store {
                fragment: Span::default(),
                lent: Span::default(),
                attachments: M::Table::default(),
                pending: M::Table::default(),
            },
            ranges: M::Table::default(),
            fragments: Fragments::None,
            touched: now,
        }
    }

    /// What 1.x attachment tokens and stored messages point into.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.arena.bytes()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.arena.bytes_mut()
    }

    /// Frees what was lent to the caller with the last event.
    pub(crate) fn reclaim(&mut self) {
        self.store.lent = Span::default();
        while let Some(used) =
            position(self.store.attachments.as_ref(), |it| it.state == AttachmentState::Used)
        {
            _ = self.store.attachments.remove(used);
        }
        self.arena.settle(&mut self.store);
    }

    /// The unfinished message that has waited longest for its next piece.
    pub(crate) fn partial(&self) -> Option<Instant> {
        let pending = self.store.pending.as_ref().iter().map(|it| it.touched);
        let fragments = (self.fragments != Fragments::None).then_some(self.touched);
        pending.chain(fragments).min()
    }

    pub(crate) fn is_expecting_attachment(&self) -> bool {
        expected(&self.store).is_some()
    }

    /// A text frame.
    pub(crate) fn text<'a>(
        &mut self,
        now: Instant,
        fin: bool,
        payload: &'a mut [u8],
        most: LimitExceeded,
    ) -> Result<Option<Whole<'a>>, Refusal> {
        self.begin(if fin { Fragments::None } else { Fragments::Text })?;
        if let Some(exceeded) = exceeds(most, payload.len()) {
            self.ignore(fin);
            return Err(Refusal::Limit(exceeded, Beginning::Frame(0)));
        }
        if fin {
            return Ok(Some(Whole::Text(payload)));
        }
        self.append(now, payload, most)?;
        Ok(None)
    }

    /// A binary frame of 1.x: an attachment, or nobody's.
    pub(crate) fn attachment(
        &mut self,
        now: Instant,
        fin: bool,
        payload: &[u8],
        most: LimitExceeded,
    ) -> Result<(), Refusal> {
        self.begin(Fragments::Attachment)?;
        if expected(&self.store).is_none() {
            self.ignore(fin);
            return Ok(());
        }
        self.extend_attachment(now, fin, payload, most);
        Ok(())
    }

    /// A binary frame of 2.x: a chunk.
    pub(crate) fn chunk<'a>(
        &mut self,
        now: Instant,
        fin: bool,
        payload: &'a [u8],
        limits: &Limits,
        most: LimitExceeded,
    ) -> Result<Option<Whole<'a>>, Refusal> {
        self.begin(if fin { Fragments::None } else { Fragments::Chunk })?;
        if fin {
            return self.assemble(now, payload, limits, most);
        }
        self.append(now, payload, frame_limit(limits))?;
        Ok(None)
    }

    /// A further fragment.
    pub(crate) fn continuation(
        &mut self,
        now: Instant,
        fin: bool,
        payload: &[u8],
        limits: &Limits,
        most: LimitExceeded,
    ) -> Result<Option<Whole<'static>>, Refusal> {
        self.touched = now;
        match self.fragments {
            Fragments::None => {
                Err(Refusal::Violation(CloseCode::Protocol, "continuation of nothing"))
            }
            Fragments::Ignored => {
                self.ignore(fin);
                Ok(None)
            }
            Fragments::Attachment => {
                self.extend_attachment(now, fin, payload, most);
                Ok(None)
            }
            Fragments::Text => {
                if let Err(refusal) = self.append(now, payload, most) {
                    self.ignore(fin);
                    return Err(refusal);
                }
                Ok(fin.then(|| Whole::Stored(Dialect::V1, self.take_fragment())))
            }
            Fragments::Chunk => {
                self.append(now, payload, frame_limit(limits)).inspect_err(|_| self.ignore(fin))?;
                if !fin {
                    return Ok(None);
                }
                let span = self.take_fragment();
                self.assemble_stored(now, span, limits, most)
            }
        }
    }

    /// Remembers the keys of a 1.x attachment header.
    pub(crate) fn expect(
        &mut self,
        key: Option<u64>,
        limits: &Limits,
    ) -> Result<(), LimitExceeded> {
        let attachments = &mut self.store.attachments;
        let most = usize::from(limits.attachments).min(attachments.capacity());
        let exceeded = LimitExceeded::new(
            Limit::Attachments,
            attachments.as_ref().len() as u64 + 1,
            most as u64,
        );
        if attachments.as_ref().len() >= most {
            return Err(exceeded);
        }
        let state = AttachmentState::Expected;
        attachments.push(Attachment { key, state, span: Span::default() }).map_err(|_| exceeded)
    }

    /// Puts the attachments that `message[values]` names in their places (1.x); each is used up at
    /// the first. The message is the caller's, or lent from the receive buffer.
    ///
    /// # Errors
    /// One of them had been refused.
    pub(crate) fn resolve(
        &mut self,
        message: Result<&mut [u8], Span>,
        values: [Option<Span>; 2],
    ) -> Result<(), LimitExceeded> {
        let attachments = &mut self.store.attachments;
        let mut refused = Ok(());
        let mut lookup = |key: u64| {
            let found = attachments.as_mut().iter_mut().find(|it| it.key == Some(key))?;
            match found.state {
                AttachmentState::Complete => {
                    found.state = AttachmentState::Used;
                    Some((found.span.start, found.span.len))
                }
                AttachmentState::Refused(exceeded) => {
                    found.state = AttachmentState::Used;
                    refused = Err(exceeded);
                    None
                }
                _ => None,
            }
        };
        let bytes = match message {
            Ok(bytes) => bytes,
            Err(span) => span.of_mut(self.arena.bytes_mut()),
        };
        for span in values.into_iter().flatten() {
            json::resolve(span.of_mut(bytes), &mut lookup);
        }
        refused
    }

    /// Starts a WebSocket message.
    fn begin(&mut self, fragments: Fragments) -> Result<(), Refusal> {
        if self.fragments != Fragments::None {
            let reason = "a message begins inside of another";
            return Err(Refusal::Violation(CloseCode::Protocol, reason));
        }
        self.fragments = fragments;
        Ok(())
    }

    /// Passes over the rest of the WebSocket message under way.
    fn ignore(&mut self, fin: bool) {
        self.fragments = if fin { Fragments::None } else { Fragments::Ignored };
        self.store.fragment = Span::default();
    }

    fn take_fragment(&mut self) -> Span {
        self.fragments = Fragments::None;
        self.store.lent = core::mem::take(&mut self.store.fragment);
        self.store.lent
    }

    /// Appends to the fragmented message.
    fn append(&mut self, now: Instant, bytes: &[u8], most: LimitExceeded) -> Result<(), Refusal> {
        self.touched = now;
        let span = self.store.fragment;
        let len = span.len as usize + bytes.len();
        let refusal = |exceeded| Refusal::Limit(exceeded, Beginning::Stored(span));
        if let Some(exceeded) = exceeds(most, len) {
            return Err(refusal(exceeded));
        }
        let span = self.extend(bytes, |store| &mut store.fragment).map_err(refusal)?;
        self.store.fragment = span;
        Ok(())
    }

    fn extend_attachment(&mut self, now: Instant, fin: bool, payload: &[u8], most: LimitExceeded) {
        self.touched = now;
        self.fragments = if fin { Fragments::None } else { Fragments::Attachment };
        let Some(index) = expected(&self.store) else { return };
        let len = |store: &Store<M>| store.attachments.as_ref()[index].span.len as usize;
        let result = match exceeds(most, len(&self.store) + payload.len()) {
            Some(exceeded) => Err(exceeded),
            None => self.extend(payload, |store| &mut store.attachments.as_mut()[index].span),
        };
        let Some(attachment) = self.store.attachments.as_mut().get_mut(index) else { return };
        match result {
            Ok(span) => {
                attachment.span = span;
                if fin {
                    let named = attachment.key.is_some();
                    attachment.state =
                        if named { AttachmentState::Complete } else { AttachmentState::Used };
                }
            }
            Err(exceeded) => {
                attachment.span = Span::default();
                attachment.state = AttachmentState::Refused(exceeded);
                self.ignore(fin);
            }
        }
    }

    /// Copies `bytes` behind a span that grows, and gives its new place. It moves when something
    /// lies behind it.
    fn extend(
        &mut self,
        bytes: &[u8],
        span: impl Fn(&mut Store<M>) -> &mut Span,
    ) -> Result<Span, LimitExceeded> {
        let len = span(&mut self.store).len as usize + bytes.len();
        self.reserve(len, &span)?;
        let mut grown = *span(&mut self.store);
        let start = grown.end() as usize;
        if let Some(room) = self.arena.bytes_mut().get_mut(start..start + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        grown.len += bytes.len() as u32;
        Ok(grown)
    }

    /// Sees to it that `span` could be `len` bytes long where it lies.
    fn reserve(
        &mut self,
        len: usize,
        span: impl Fn(&mut Store<M>) -> &mut Span,
    ) -> Result<(), LimitExceeded> {
        let exceeded = |this: &Self| {
            let available = this.arena.capacity() as u64;
            LimitExceeded::new(Limit::ReceiveBytes, len as u64, available)
        };
        let more = len.saturating_sub(span(&mut self.store).len as usize);
        let behind = self.arena.alloc(more, &mut self.store).ok_or_else(|| exceeded(self))?;
        let own = *span(&mut self.store);
        if own.len == 0 {
            span(&mut self.store).start = behind.start;
        } else if own.end() != behind.start {
            let moved = self.arena.alloc(len, &mut self.store).ok_or_else(|| exceeded(self))?;
            let own = *span(&mut self.store);
            let from = own.start as usize..own.end() as usize;
            self.arena.bytes_mut().copy_within(from, moved.start as usize);
            span(&mut self.store).start = moved.start;
        }
        Ok(())
    }

    fn assemble_stored(
        &mut self,
        now: Instant,
        span: Span,
        limits: &Limits,
        most: LimitExceeded,
    ) -> Result<Option<Whole<'static>>, Refusal> {
        let Some((header, content)) = ChunkHeader::read(span.of(self.arena.bytes())) else {
            return Err(SHORT_HEADER);
        };
        let len = content.len() as u32;
        let content = Span { start: span.start + CHUNK_HEADER as u32, len };
        if header.offset == 0 && header.total == len && len > 0 && self.find(header.id).is_none() {
            return match exceeds(most, len as usize) {
                Some(exceeded) => Err(Refusal::Limit(exceeded, Beginning::Stored(content))),
                None => Ok(Some(Whole::Stored(Dialect::V2, content))),
            };
        }
        let beginning = Beginning::Stored(content);
        let index = self.check_chunk(now, header, len, limits, most, beginning)?;
        let Some(index) = index else { return Ok(None) };
        self.make_room(index, header.offset, len, limits, beginning)?;
        // Room was made behind all spans, or they were moved: look again where the chunk lies.
        let from = self.store.lent.start as usize + CHUNK_HEADER;
        let to = (self.store.pending.as_ref()[index].span.start + header.offset) as usize;
        self.arena.bytes_mut().copy_within(from..from + len as usize, to);
        self.received(index, len)
    }

    /// Takes in a chunk that is whole in the caller's frame.
    fn assemble<'a>(
        &mut self,
        now: Instant,
        frame: &'a [u8],
        limits: &Limits,
        most: LimitExceeded,
    ) -> Result<Option<Whole<'a>>, Refusal> {
        let Some((header, content)) = ChunkHeader::read(frame) else { return Err(SHORT_HEADER) };
        let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let beginning = Beginning::Frame(CHUNK_HEADER);
        if header.offset == 0 && header.total == len && len > 0 && self.find(header.id).is_none() {
            return match exceeds(most, content.len()) {
                Some(exceeded) => Err(Refusal::Limit(exceeded, beginning)),
                None => Ok(Some(Whole::Chunk(content))),
            };
        }
        let index = self.check_chunk(now, header, len, limits, most, beginning)?;
        let Some(index) = index else { return Ok(None) };
        self.make_room(index, header.offset, len, limits, beginning)?;
        let to = (self.store.pending.as_ref()[index].span.start + header.offset) as usize;
        if let Some(room) = self.arena.bytes_mut().get_mut(to..to + content.len()) {
            room.copy_from_slice(content);
        }
        self.received(index, len)
    }

    fn find(&self, id: u32) -> Option<usize> {
        position(self.store.pending.as_ref(), |it| it.id == id)
    }

    /// Holds a chunk against its message, of which it may be the first; gives the message's index
    /// if there is something to store.
    fn check_chunk(
        &mut self,
        now: Instant,
        header: ChunkHeader,
        len: u32,
        limits: &Limits,
        most: LimitExceeded,
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
                let pending = &mut self.store.pending;
                let cap = usize::from(limits.pending).min(pending.capacity());
                let exceeded = LimitExceeded::new(
                    Limit::Pending,
                    pending.as_ref().len() as u64 + 1,
                    cap as u64,
                );
                let entry = Pending {
                    id,
                    total,
                    received: 0,
                    span: Span::default(),
                    touched: now,
                    refused: false,
                };
                // Without an entry the further chunks could not be told from those of a new
                // message: only a Close helps.
                if pending.as_ref().len() >= cap || pending.push(entry).is_err() {
                    return Err(Refusal::Limit(exceeded, Beginning::None));
                }
                pending.as_ref().len() - 1
            }
        };
        let Some(message) = self.store.pending.as_mut().get_mut(index) else { return Ok(None) };
        if message.total != total {
            return violation("a chunk of another total than its message's first");
        }
        message.touched = now;
        if message.refused {
            message.received = message.received.saturating_add(len);
            if message.received >= total {
                _ = self.store.pending.swap_remove(index);
            }
            return Ok(None);
        }
        let start = if offset == 0 { beginning } else { Beginning::None };
        if let Some(exceeded) = exceeds(most, total as usize) {
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
    fn beginning(&self, index: usize) -> Beginning {
        let Some(message) = self.store.pending.as_ref().get(index) else { return Beginning::None };
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
        let Some(message) = self.store.pending.as_ref().get(index).copied() else { return Ok(()) };
        let end = offset + len;
        let mut refused = None;
        // What was never received is not made room for, but for what is a little ahead.
        let ahead = offset.saturating_sub(message.received);
        if ahead > limits.ahead {
            refused = Some(LimitExceeded::new(Limit::Ahead, ahead.into(), limits.ahead.into()));
        } else if end > message.span.len {
            // A buffer that is there can as well hold the whole message; one that grows grows with
            // what has come.
            let whole = message.total as usize <= self.arena.present();
            let len = if whole {
                message.total
            } else {
                end.max(message.total.min(end.saturating_mul(2)))
            };
            fn span<M: Memory>(store: &mut Store<M>, index: usize) -> &mut Span {
                &mut store.pending.as_mut()[index].span
            }
            let room = self.reserve(len as usize, |store| span(store, index)).map(|()| len);
            let least = |this: &mut Self| this.reserve(end as usize, |store| span(store, index));
            match room.or_else(|_| least(self).map(|()| end)) {
                Ok(len) => self.store.pending.as_mut()[index].span.len = len,
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

    /// Counts a chunk; gives the message when it was the last.
    fn received(&mut self, index: usize, len: u32) -> Result<Option<Whole<'static>>, Refusal> {
        let Some(message) = self.store.pending.as_mut().get_mut(index) else { return Ok(None) };
        message.received += len;
        if message.received < message.total {
            return Ok(None);
        }
        let span = Span { start: message.span.start, len: message.total };
        let id = message.id;
        self.forget(id);
        _ = self.store.pending.swap_remove(index);
        self.store.lent = span;
        Ok(Some(Whole::Stored(Dialect::V2, span)))
    }

    /// Frees the bytes of a message; what still comes of it is passed over.
    fn refuse(&mut self, index: usize, len: u32) {
        let Some(message) = self.store.pending.as_mut().get_mut(index) else { return };
        message.refused = true;
        message.received = message.received.saturating_add(len);
        message.span = Span::default();
        let (id, complete) = (message.id, message.received >= message.total);
        self.forget(id);
        if complete {
            _ = self.store.pending.swap_remove(index);
        }
    }

    fn forget(&mut self, id: u32) {
        while let Some(range) = position(self.ranges.as_ref(), |it| it.id == id) {
            _ = self.ranges.swap_remove(range);
        }
    }
}

const SHORT_HEADER: Refusal =
    Refusal::Violation(CloseCode::Protocol, "a chunk of less than its header's 12 bytes");

fn frame_limit(limits: &Limits) -> LimitExceeded {
    LimitExceeded::new(Limit::Frame, 0, limits.frame.into())
}

fn exceeds(most: LimitExceeded, len: usize) -> Option<LimitExceeded> {
    (len as u64 > most.available).then_some(LimitExceeded { needed: len as u64, ..most })
}

fn expected<M: Memory>(store: &Store<M>) -> Option<usize> {
    position(store.attachments.as_ref(), |it| it.state == AttachmentState::Expected)
}

fn position<T>(list: &[T], is: impl Fn(&T) -> bool) -> Option<usize> {
    list.iter().position(is)
}
