//! From frames to whole messages: fragments and 1.x attachments; 2.x chunks are in `chunks`.

use super::chunks::{Pending, Pieces, Range};
use super::parts::Head;
use super::upload::Upload;
use crate::arena::{Arena, Span, Spans};
use crate::wire::{Dialect, json};
use crate::{CloseCode, Instant, Limit, LimitExceeded, Limits, Memory, MethodInfo, Table};

/// A message of which the last piece has come.
pub(crate) enum Whole<'a> {
    /// In the caller's frame.
    Text(&'a mut [u8]),
    /// In the caller's frame, behind its chunk header.
    Chunk(&'a [u8]),
    /// In the receive buffer.
    Stored(Dialect, Span),
    /// The first part of an upload.
    Upload(Head),
    /// All of the upload has come; what follows it is in the receive buffer.
    Tail(Span),
}

/// What holds for a frame.
pub(crate) struct Bounds {
    pub(crate) limits: Limits,
    /// For a WebSocket message that carries a chunk.
    pub(crate) frame: LimitExceeded,
    /// For a message, or an attachment of 1.x.
    pub(crate) message: LimitExceeded,
    /// Those whose uploads are recognized by the beginning of a message, or none.
    pub(crate) methods: &'static [MethodInfo],
}

/// What a frame that does not fit leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    /// The message is too much. Its beginning, in which an id may be found, is in the frame from
    /// the given offset, or in the receive buffer.
    Limit(LimitExceeded, Beginning),
    /// The upload under way cannot go on.
    Upload(LimitExceeded),
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

/// The key of an attachment whose header gave none of the form that can be named; no client counts
/// so far.
const NAMELESS: u64 = u64::MAX;

/// A 1.x attachment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attachment {
    /// Both halves.
    key: [u32; 2],
    pub(super) state: AttachmentState,
    pub(super) span: Span,
}

impl Attachment {
    const fn new(key: u64) -> Self {
        let (key, state) = ([key as u32, (key >> 32) as u32], AttachmentState::Expected);
        Self { key, state, span: Span { start: 0, len: 0 } }
    }

    /// [`NAMELESS`] if nobody can name it.
    pub(super) fn key(&self) -> u64 {
        let [low, high] = self.key;
        u64::from(high) << 32 | u64::from(low)
    }

    /// Frees its bytes; the call that names it is told.
    pub(super) fn refuse(&mut self, exceeded: LimitExceeded) {
        self.span = Span::default();
        let number = |it: u64| u32::try_from(it).unwrap_or(u32::MAX);
        let (needed, available) = (number(exceeded.needed), number(exceeded.available));
        self.state = AttachmentState::Refused(exceeded.limit, needed, available);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttachmentState {
    Expected,
    /// It is handed on as it comes.
    Streaming,
    /// It has been, and its call is still to come.
    Streamed,
    Complete,
    /// It did not fit; the call that names it is told how many bytes were needed, and available.
    Refused(Limit, u32, u32),
    /// A call has been given it, and is done with it when the connection is used again.
    Used,
}

pub(crate) struct Inbound<M: Memory> {
    pub(super) arena: Arena<M::Buffer>,
    pub(super) store: Store<M>,
    pub(super) ranges: M::Messages<Range>,
    pub(super) upload: Option<Upload>,
    /// The chunk under way, if it is fragmented.
    pub(super) chunk: Pieces,
    fragments: Fragments,
    /// Last piece of the fragmented message.
    touched: Instant,
}

/// All that has bytes in the receive buffer.
pub(super) struct Store<M: Memory> {
    /// The fragmented message under way; or else bytes of the upload that wait to be read, and keep
    /// further messages from being taken.
    pub(super) partial: Span,
    /// Lent to the caller until the connection is used again.
    pub(super) lent: Span,
    unfinished: Unfinished<M>,
}

/// What waits for the rest of its message; a peer that changes its dialect before hello gives up
/// what it sent in the other one.
enum Unfinished<M: Memory> {
    /// 1.x.
    Attachments(M::Messages<Attachment>),
    /// 2.x: messages of which some chunks have come.
    Pending(M::Messages<Pending>),
}

impl<M: Memory> Store<M> {
    pub(super) fn attachments(&self) -> &[Attachment] {
        match &self.unfinished {
            Unfinished::Attachments(table) => table.as_ref(),
            Unfinished::Pending(_) => &[],
        }
    }

    pub(super) fn attachments_mut(&mut self) -> &mut [Attachment] {
        match &mut self.unfinished {
            Unfinished::Attachments(table) => table.as_mut(),
            Unfinished::Pending(_) => &mut [],
        }
    }

    fn push_attachment(&mut self, attachment: Attachment, most: u16) -> Result<(), LimitExceeded> {
        if let Unfinished::Attachments(table) = &mut self.unfinished {
            return push(table, attachment, Limit::Attachments, most);
        }
        let mut table = M::Messages::default();
        let pushed = push(&mut table, attachment, Limit::Attachments, most);
        self.unfinished = Unfinished::Attachments(table);
        pushed
    }

    pub(super) fn remove_attachment(&mut self, index: usize) -> Option<Attachment> {
        match &mut self.unfinished {
            Unfinished::Attachments(table) => table.remove(index),
            Unfinished::Pending(_) => None,
        }
    }

    pub(super) fn pending(&self) -> &[Pending] {
        match &self.unfinished {
            Unfinished::Pending(table) => table.as_ref(),
            Unfinished::Attachments(_) => &[],
        }
    }

    pub(super) fn pending_mut(&mut self) -> &mut [Pending] {
        match &mut self.unfinished {
            Unfinished::Pending(table) => table.as_mut(),
            Unfinished::Attachments(_) => &mut [],
        }
    }

    pub(super) fn push_pending(
        &mut self,
        message: Pending,
        most: u16,
    ) -> Result<(), LimitExceeded> {
        if let Unfinished::Pending(table) = &mut self.unfinished {
            return push(table, message, Limit::Pending, most);
        }
        let mut table = M::Messages::default();
        let pushed = push(&mut table, message, Limit::Pending, most);
        self.unfinished = Unfinished::Pending(table);
        pushed
    }

    /// Takes it out; the last one comes into its place.
    pub(super) fn remove_pending(&mut self, index: usize) -> Option<Pending> {
        match &mut self.unfinished {
            Unfinished::Pending(table) => table.swap_remove(index),
            Unfinished::Attachments(_) => None,
        }
    }

    /// Whether no further message finds a place beside the pending ones.
    pub(super) fn is_full_of_pending(&self, most: u16) -> bool {
        match &self.unfinished {
            Unfinished::Pending(table) => {
                table.as_ref().len() >= usize::from(most).min(table.capacity())
            }
            Unfinished::Attachments(_) => false,
        }
    }
}

fn push<T>(
    table: &mut impl Table<T>,
    item: T,
    limit: Limit,
    most: u16,
) -> Result<(), LimitExceeded> {
    let (used, most) = (table.as_ref().len(), usize::from(most).min(table.capacity()));
    let exceeded = LimitExceeded::new(limit, used as u64 + 1, most as u64);
    if used >= most {
        return Err(exceeded);
    }
    table.push(item).map_err(|_| exceeded)
}

impl<M: Memory> Spans for Store<M> {
    fn each(&mut self, look: &mut dyn FnMut(&mut Span)) {
        look(&mut self.partial);
        look(&mut self.lent);
        self.attachments_mut().iter_mut().for_each(|it| look(&mut it.span));
        self.pending_mut().iter_mut().for_each(|it| look(&mut it.span));
    }
}

impl<M: Memory> Inbound<M> {
    pub(crate) fn new(buffer: M::Buffer, limits: &Limits, now: Instant) -> Self {
        Self {
            arena: Arena::new(buffer, limits.receive_bytes),
            store: Store {
                partial: Span::default(),
                lent: Span::default(),
                unfinished: Unfinished::Pending(M::Messages::default()),
            },
            ranges: M::Messages::default(),
            upload: None,
            chunk: Pieces::default(),
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
            position(self.store.attachments(), |it| it.state == AttachmentState::Used)
        {
            _ = self.store.remove_attachment(used);
        }
        self.arena.settle(&mut self.store);
    }

    /// The unfinished message that has waited longest for its next piece.
    pub(crate) fn partial(&self) -> Option<Instant> {
        let pending = self.store.pending().iter().map(Pending::touched);
        let unfinished = self.fragments != Fragments::None || self.ahead().is_some();
        let fragments = unfinished.then_some(self.touched);
        pending.chain(fragments).min()
    }

    /// As if the last piece of each unfinished message had come now.
    pub(crate) fn touch(&mut self, now: Instant) {
        self.touched = now;
        self.store.pending_mut().iter_mut().for_each(|it| it.touch(now));
    }

    /// Whether no fragmented WebSocket message is under way.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.fragments == Fragments::None
    }

    /// A message that nobody asked for.
    pub(crate) fn pass_over(&mut self, fin: bool) -> Result<(), Refusal> {
        self.begin(Fragments::Ignored)?;
        self.ignore(fin);
        Ok(())
    }

    pub(crate) fn is_expecting_attachment(&self) -> bool {
        self.expected().is_some()
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
        bounds: &Bounds,
    ) -> Result<(), Refusal> {
        self.begin(Fragments::Attachment)?;
        if self.expected().is_none() {
            self.ignore(fin);
            return Ok(());
        }
        self.extend_attachment(now, fin, payload, bounds);
        Ok(())
    }

    /// A binary frame of 2.x: a chunk.
    pub(crate) fn chunk<'a>(
        &mut self,
        now: Instant,
        fin: bool,
        payload: &'a [u8],
        bounds: &Bounds,
    ) -> Result<Option<Whole<'a>>, Refusal> {
        self.begin(if fin { Fragments::None } else { Fragments::Chunk })?;
        if fin {
            return self.assemble(now, payload, bounds);
        }
        self.touched = now;
        self.chunk = Pieces::default();
        self.assemble_piece(now, fin, payload, bounds)
    }

    /// A further fragment.
    pub(crate) fn continuation<'a>(
        &mut self,
        now: Instant,
        fin: bool,
        payload: &'a [u8],
        bounds: &Bounds,
    ) -> Result<Option<Whole<'a>>, Refusal> {
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
                self.extend_attachment(now, fin, payload, bounds);
                Ok(None)
            }
            Fragments::Text => {
                if let Err(refusal) = self.append(now, payload, bounds.message) {
                    self.ignore(fin);
                    return Err(refusal);
                }
                Ok(fin.then(|| Whole::Stored(Dialect::V1, self.take_fragment())))
            }
            Fragments::Chunk => {
                self.fragments = if fin { Fragments::None } else { Fragments::Chunk };
                self.assemble_piece(now, fin, payload, bounds)
            }
        }
    }

    /// Remembers the keys of a 1.x attachment header.
    pub(crate) fn expect(
        &mut self,
        key: Option<u64>,
        limits: &Limits,
    ) -> Result<(), LimitExceeded> {
        let attachment = Attachment::new(key.unwrap_or(NAMELESS));
        self.store.push_attachment(attachment, limits.attachments)
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
        let attachments = self.store.attachments_mut();
        if attachments.is_empty() {
            return Ok(());
        }
        let mut refused = Ok(());
        let mut lookup = |key: u64| {
            let found = attachments.iter_mut().find(|it| it.key() == key && key != NAMELESS)?;
            match found.state {
                AttachmentState::Complete => {
                    found.state = AttachmentState::Used;
                    Some((found.span.start, found.span.len))
                }
                AttachmentState::Refused(limit, needed, available) => {
                    found.state = AttachmentState::Used;
                    refused = Err(LimitExceeded::new(limit, needed.into(), available.into()));
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

    /// The attachment that comes next.
    fn expected(&self) -> Option<usize> {
        position(self.store.attachments(), |it| it.state == AttachmentState::Expected)
    }

    pub(super) fn attachment_in(&mut self, state: AttachmentState) -> Option<&mut Attachment> {
        self.store.attachments_mut().iter_mut().find(|it| it.state == state)
    }

    /// How many bytes the attachment under way can still have, if there is one.
    pub(super) fn room_for_attachment(&self, most: LimitExceeded) -> Option<usize> {
        let attachment = self.store.attachments().get(self.expected()?)?;
        let most = usize::try_from(most.available).unwrap_or(usize::MAX);
        Some(self.room().min(most.saturating_sub(attachment.span.len as usize)))
    }

    /// How many bytes the next piece of a chunk can have.
    pub(super) fn room_for_piece(&self) -> usize {
        let own = if self.fragments == Fragments::Chunk { self.room_in_chunk() } else { 0 };
        self.room() + own
    }

    /// How many bytes the receive buffer has room for.
    pub(super) fn room(&self) -> usize {
        let store = &self.store;
        let spans = [&store.partial, &store.lent].into_iter();
        let spans = spans.chain(store.attachments().iter().map(|it| &it.span));
        let spans = spans.chain(store.pending().iter().map(|it| &it.span));
        self.arena.capacity().saturating_sub(spans.map(|it| it.len as usize).sum())
    }

    /// Whether a message is under way whose fragments are put together.
    pub(super) fn is_in_message(&self) -> bool {
        self.fragments == Fragments::Text
    }

    /// Whether an attachment is under way in pieces.
    pub(super) fn is_in_attachment(&self) -> bool {
        self.fragments == Fragments::Attachment
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
    pub(super) fn ignore(&mut self, fin: bool) {
        self.fragments = if fin { Fragments::None } else { Fragments::Ignored };
        self.store.partial = Span::default();
    }

    fn take_fragment(&mut self) -> Span {
        self.fragments = Fragments::None;
        self.store.lent = core::mem::take(&mut self.store.partial);
        self.store.lent
    }

    /// Appends to the fragmented message.
    fn append(&mut self, now: Instant, bytes: &[u8], most: LimitExceeded) -> Result<(), Refusal> {
        self.touched = now;
        let span = self.store.partial;
        let len = span.len as usize + bytes.len();
        let refusal = |exceeded| Refusal::Limit(exceeded, Beginning::Stored(span));
        if let Some(exceeded) = exceeds(most, len) {
            return Err(refusal(exceeded));
        }
        let span = self.extend(bytes, |store| &mut store.partial).map_err(refusal)?;
        self.store.partial = span;
        Ok(())
    }

    fn extend_attachment(&mut self, now: Instant, fin: bool, payload: &[u8], bounds: &Bounds) {
        self.touched = now;
        self.fragments = if fin { Fragments::None } else { Fragments::Attachment };
        if self.attachment_in(AttachmentState::Streaming).is_some() {
            return self.stream_attachment(fin, payload, bounds.limits.upload);
        }
        let Some(index) = self.expected() else { return };
        let len = |store: &Store<M>| store.attachments()[index].span.len as usize;
        let result = match exceeds(bounds.message, len(&self.store) + payload.len()) {
            Some(exceeded) => Err(exceeded),
            None => self.extend(payload, |store| &mut store.attachments_mut()[index].span),
        };
        let Some(attachment) = self.store.attachments_mut().get_mut(index) else { return };
        match result {
            Ok(span) => {
                attachment.span = span;
                if fin {
                    let named = attachment.key() != NAMELESS;
                    attachment.state =
                        if named { AttachmentState::Complete } else { AttachmentState::Used };
                }
            }
            Err(exceeded) => {
                attachment.refuse(exceeded);
                self.ignore(fin);
            }
        }
    }

    /// Copies `bytes` behind a span that grows, and gives its new place. It moves when something
    /// lies behind it.
    pub(super) fn extend(
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
    pub(super) fn reserve(
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
}

pub(super) fn exceeds(most: LimitExceeded, len: usize) -> Option<LimitExceeded> {
    (len as u64 > most.available).then_some(LimitExceeded { needed: len as u64, ..most })
}

pub(super) fn position<T>(list: &[T], is: impl Fn(&T) -> bool) -> Option<usize> {
    list.iter().position(is)
}
