//! The hello and the calls of a client: what waits to be sent, and what waits for its answer.

use super::event::CallError;
use crate::arena::{Arena, Span, Spans};
use crate::connection::CallId;
use crate::connection::outbound::Progress;
use crate::wire::{Dialect, EncodeError, Encoded, Segments, Writer};
use crate::{Blob, Instant, Limit, LimitExceeded, Limits, Memory, Table};
use core::mem;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hello,
    Call,
}

/// The number of a hello; calls have those below it.
const HELLO: u32 = u32::MAX;

/// How it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) dialect: Dialect,
    /// 1.x: of the attachments.
    pub(super) first_key: u64,
    pub(super) deadline: Option<Instant>,
}

/// What ended a call before its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Expired,
    Cancelled,
}

/// A message that is not sent whole.
struct Unsent<M: Memory> {
    text_len: u32,
    blobs: M::Blobs,
    progress: Progress,
}

struct Slot<M: Memory> {
    id: CallId,
    kind: Kind,
    /// The message, while it is not sent.
    span: Span,
    unsent: Option<Unsent<M>>,
    /// Bytes of it that the transport took, and all of them, attachments counted.
    taken: u64,
    total: u64,
    deadline: Option<Instant>,
    /// It was ended from here, and the caller has not been told.
    untold: Option<Ended>,
    /// Nobody waits for its answer; it is here only to be sent to its end.
    over: bool,
}

pub(super) struct Requests<M: Memory> {
    slots: Slots<M>,
    arena: Arena<M::Buffer>,
    limit: u16,
    next_id: u32,
}

/// In the order in which they were made, which is the order in which they are sent.
struct Slots<M: Memory>(M::Calls<Slot<M>>);

impl<M: Memory> Spans for Slots<M> {
    fn each(&mut self, look: &mut dyn FnMut(&mut Span)) {
        self.0.as_mut().iter_mut().for_each(|slot| look(&mut slot.span));
    }
}

/// Writes a request, given the number of its call.
pub(super) type Write<'a> = &'a dyn Fn(&mut Writer<'_>, u32) -> Result<(), EncodeError>;

impl<M: Memory> Requests<M> {
    pub(super) fn new(buffer: M::Buffer, limits: &Limits) -> Self {
        Self {
            slots: Slots(M::Calls::default()),
            arena: Arena::new(buffer, limits.transmit_bytes),
            limit: limits.calls.max(1),
            next_id: 0,
        }
    }

    /// Queues a request, and takes its blobs. `check` sees the text before it is final.
    pub(super) fn open(
        &mut self,
        request: Request,
        blobs: &mut M::Blobs,
        write: Write<'_>,
        check: impl FnOnce(&mut [u8]) -> Result<(), EncodeError>,
    ) -> Result<(CallId, Encoded), CallError> {
        let most = usize::from(self.limit).min(self.slots.0.capacity());
        let used = self.slots.0.as_ref().len();
        let busy = LimitExceeded::new(Limit::Calls, used as u64 + 1, most as u64);
        if used >= most {
            return Err(CallError::Full(busy));
        }
        let Request { kind, dialect, first_key, deadline } = request;
        let number = match kind {
            Kind::Hello => HELLO,
            Kind::Call => self.next_id,
        };
        let (span, encoded) = self.encode(dialect, first_key, blobs.as_ref(), number, write)?;
        let text = Span { start: span.start, len: encoded.text_len };
        check(text.of_mut(self.arena.bytes_mut())).map_err(CallError::Unserializable)?;
        let id = CallId(number);
        let unsent = Unsent {
            text_len: encoded.text_len,
            blobs: M::Blobs::default(),
            progress: Progress::default(),
        };
        // In the trailer each place has a position and an index beside what it carries along.
        let inline = encoded.len.saturating_sub(encoded.text_len + 8 * encoded.places);
        let slot = Slot {
            id,
            kind,
            span,
            unsent: Some(unsent),
            taken: 0,
            total: u64::from(encoded.text_len) + u64::from(inline) + encoded.blob_bytes,
            deadline,
            untold: None,
            over: false,
        };
        self.slots.0.push(slot).map_err(|_| CallError::Full(busy))?;
        if let Some(unsent) = self.slot_mut(id).and_then(|slot| slot.unsent.as_mut()) {
            unsent.blobs = mem::take(blobs);
        }
        if kind == Kind::Call {
            self.next_id = (number + 1) % HELLO;
        }
        Ok((id, encoded))
    }

    fn encode(
        &mut self,
        dialect: Dialect,
        first_key: u64,
        blobs: &[M::Blob],
        number: u32,
        write: Write<'_>,
    ) -> Result<(Span, Encoded), CallError> {
        let lens = |index: u32| Some(blobs.get(index as usize)?.len());
        let mut tried = 0;
        loop {
            let (before, tail) = self.arena.split(&mut self.slots);
            let start = before.len() as u32;
            let mut writer = Writer::new(dialect, tail, first_key, &lens);
            write(&mut writer, number).map_err(CallError::Unserializable)?;
            let overflow = match writer.finish() {
                Ok(encoded) => {
                    let total = u64::from(encoded.text_len) + encoded.blob_bytes;
                    if dialect == Dialect::V2 && u32::try_from(total).is_err() {
                        let exceeded = LimitExceeded::new(Limit::Total, total, u32::MAX.into());
                        return Err(CallError::TooLarge(exceeded));
                    }
                    return Ok((Span { start, len: encoded.len }, encoded));
                }
                Err(overflow) => overflow,
            };
            // Making room brings it all the room there is; a second miss is final.
            let room = self.arena.alloc(overflow.needed, &mut self.slots);
            if room.is_some() && overflow.needed > tried {
                tried = overflow.needed;
                continue;
            }
            let most = self.arena.capacity();
            let exceeded =
                LimitExceeded::new(Limit::TransmitBytes, overflow.needed as u64, most as u64);
            return Err(if overflow.needed > most {
                CallError::TooLarge(exceeded)
            } else {
                CallError::Full(exceeded)
            });
        }
    }

    /// The first that is not sent whole.
    pub(super) fn next(&self) -> Option<CallId> {
        self.slots.0.as_ref().iter().find(|slot| slot.unsent.is_some()).map(|slot| slot.id)
    }

    pub(super) fn message(
        &self,
        id: CallId,
        dialect: Dialect,
    ) -> Option<(Segments<'_>, &[M::Blob], Progress)> {
        let slot = self.slot(id)?;
        let unsent = slot.unsent.as_ref()?;
        let bytes = slot.span.of(self.arena.bytes());
        let message = Segments::new(dialect, unsent.text_len, bytes);
        Some((message, unsent.blobs.as_ref(), unsent.progress))
    }

    pub(super) fn progress(&mut self, id: CallId) -> Option<&mut Progress> {
        Some(&mut self.slot_mut(id)?.unsent.as_mut()?.progress)
    }

    /// The transport took so many bytes of it.
    pub(super) fn count(&mut self, id: CallId, bytes: u64) {
        if let Some(slot) = self.slot_mut(id) {
            // The headers of 1.x attachments come on top.
            slot.taken = slot.taken.saturating_add(bytes).min(slot.total);
        }
    }

    /// How much of it the transport took, and how much there is.
    pub(super) fn sending(&self, id: CallId) -> Option<(u64, u64)> {
        self.slot(id).map(|slot| (slot.taken, slot.total))
    }

    /// All of it was handed to the transport.
    pub(super) fn sent(&mut self, id: CallId) {
        let Some(slot) = self.slot_mut(id) else { return };
        slot.unsent = None;
        slot.span = Span::default();
        if slot.over && slot.untold.is_none() {
            self.remove(id);
        }
        self.arena.settle(&mut self.slots);
    }

    /// The answer to a request has come. Tells whether somebody waits for it.
    pub(super) fn answered(&mut self, kind: Kind, id: CallId) -> bool {
        let Some(slot) = self.slot_mut(id) else { return false };
        if slot.over || slot.kind != kind {
            return false;
        }
        // A server may refuse what it has not read to its end, but then the end has to be sent.
        slot.over = true;
        if slot.unsent.is_none() {
            self.remove(id);
        }
        true
    }

    /// Whether a hello waits for its answer, or to be sent to its end.
    pub(super) fn has_hello(&self) -> bool {
        self.slots.0.as_ref().iter().any(|slot| slot.kind == Kind::Hello)
    }

    /// The answer to the hello has come. Tells whether one waits for it.
    pub(super) fn greeted(&mut self) -> bool {
        self.answered(Kind::Hello, CallId(HELLO))
    }

    pub(super) fn is_waiting(&self, id: CallId) -> bool {
        self.slot(id).is_some_and(|slot| slot.kind == Kind::Call && !slot.over)
    }

    pub(super) fn cancel(&mut self, id: CallId) -> bool {
        let waits = self.is_waiting(id);
        if let Some(slot) = self.slot_mut(id).filter(|_| waits) {
            slot.end(Ended::Cancelled);
        }
        waits
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.slots.0.as_ref().iter().filter_map(Slot::deadline).min()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        for slot in self.slots.0.as_mut() {
            if slot.deadline().is_some_and(|deadline| deadline <= now) {
                slot.end(Ended::Expired);
            }
        }
    }

    /// A call that was ended from here, and that the caller has not been told of. What nothing was
    /// sent of is not sent any more.
    pub(super) fn poll_ended(&mut self) -> Option<(CallId, Ended)> {
        let slot = self.slots.0.as_mut().iter_mut().find(|slot| slot.untold.is_some())?;
        let (id, ended) = (slot.id, slot.untold.take()?);
        if slot.unsent.is_none() {
            self.remove(id);
        }
        Some((id, ended))
    }

    /// The connection is over: gives the next call that still waited, and whether all of it was
    /// sent.
    pub(super) fn poll_lost(&mut self) -> Option<(CallId, bool)> {
        while let Some(slot) = self.slots.0.remove(0) {
            if slot.kind == Kind::Call && !slot.over {
                return Some((slot.id, slot.unsent.is_none()));
            }
        }
        None
    }

    /// Takes back a request that is over and of which nothing was sent.
    pub(super) fn withdraw(&mut self, id: CallId) {
        let untouched = self.slot(id).is_some_and(|slot| {
            slot.over && slot.unsent.as_ref().is_some_and(|unsent| unsent.is_untouched())
        });
        if let Some(slot) = self.slot_mut(id).filter(|_| untouched) {
            slot.unsent = None;
            slot.span = Span::default();
        }
    }

    fn remove(&mut self, id: CallId) {
        let index = self.slots.0.as_ref().iter().position(|slot| slot.id == id);
        drop(index.and_then(|index| self.slots.0.remove(index)));
    }

    fn slot(&self, id: CallId) -> Option<&Slot<M>> {
        self.slots.0.as_ref().iter().find(|slot| slot.id == id)
    }

    fn slot_mut(&mut self, id: CallId) -> Option<&mut Slot<M>> {
        self.slots.0.as_mut().iter_mut().find(|slot| slot.id == id)
    }
}

impl<M: Memory> Slot<M> {
    fn deadline(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.over)
    }

    /// Ends it from here.
    fn end(&mut self, ended: Ended) {
        self.over = true;
        self.untold = Some(ended);
    }
}

impl<M: Memory> Unsent<M> {
    fn is_untouched(&self) -> bool {
        self.progress == Progress::default()
    }
}
