//! The call table: what runs, what is answered and waits to be sent.

use super::event::CallId;
use crate::arena::{Arena, Span, Spans};
use crate::envelope::{Data, write_error};
use crate::wire::{Dialect, EncodeError, Encoded, Segments, Writer};
use crate::{
    Blob, Instant, Limit, LimitExceeded, Memory, MethodInfo, RpcError, SendError, Table, code,
};
use core::mem;

/// Transmit bytes that any answer can do with, its id not counted: the error that says that the
/// answer did not fit.
const LAST_RESORT: usize = 96;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// Its deadline passed; the peer has to be told as soon as there is room.
    Expired,
    Answered(Encoded),
    /// All is sent, but the caller has not been told that it expired.
    Sent,
}

/// How far a message has been sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// 2.x: the message's chunk id, from its first chunk on.
    pub(crate) chunk_id: Option<u32>,
    /// 1.x: twice the place for its header, one more for its content, and the text at the end.
    pub(crate) step: u32,
    /// Bytes sent of the step.
    pub(crate) offset: u64,
}

struct Slot<M: Memory> {
    id: CallId,
    state: State,
    /// The request's id, then the answer.
    span: Span,
    method: Option<&'static MethodInfo>,
    deadline: Option<Instant>,
    /// Its deadline passed, and the caller has not been told.
    untold: bool,
    /// Answers leave in the order in which they were given.
    order: u32,
    blobs: M::Table<M::Blob>,
    progress: Progress,
}

/// Calls of one connection with their ids and answers.
pub(crate) struct Calls<M: Memory> {
    slots: Slots<M>,
    arena: Arena<M::Buffer>,
    limit: u16,
    next_id: u32,
    next_order: u32,
    /// Room that is kept for one more answer.
    reserve: usize,
}

struct Slots<M: Memory>(M::Table<Slot<M>>);

impl<M: Memory> Spans for Slots<M> {
    fn each(&mut self, look: &mut dyn FnMut(&mut Span)) {
        self.0.as_mut().iter_mut().for_each(|slot| look(&mut slot.span));
    }
}

/// What `answer` writes: given the request's id.
type Write<'a> = &'a dyn Fn(&mut Writer<'_>, &str) -> Result<(), EncodeError>;

impl<M: Memory> Calls<M> {
    /// # Errors
    /// The buffer cannot hold a single answer.
    pub(crate) fn new(buffer: M::Buffer, limits: &crate::Limits) -> Result<Self, LimitExceeded> {
        let arena = Arena::new(buffer, limits.transmit_bytes);
        // The id and the answer to it lie side by side while it is written.
        let reserve = LAST_RESORT + 2 * usize::from(limits.id);
        if arena.capacity() < reserve {
            let (needed, available) = (reserve as u64, arena.capacity() as u64);
            return Err(LimitExceeded::new(Limit::TransmitBytes, needed, available));
        }
        Ok(Self {
            slots: Slots(M::Table::default()),
            arena,
            limit: limits.calls.max(1),
            next_id: 0,
            next_order: 0,
            reserve,
        })
    }

    /// Whether one more request can be taken and be answered at least with an error.
    pub(crate) fn has_room(&self) -> bool {
        let most = usize::from(self.limit).min(self.slots.0.capacity());
        let used: usize = self.slots.0.as_ref().iter().map(|slot| slot.span.len as usize).sum();
        self.slots.0.as_ref().len() < most
            && self.arena.capacity().saturating_sub(used) >= self.reserve
    }

    /// Takes in a request; `None` if there is no room.
    pub(crate) fn open(
        &mut self,
        id: &str,
        method: Option<&'static MethodInfo>,
        deadline: Option<Instant>,
    ) -> Option<CallId> {
        let span = self.arena.alloc(id.len(), &mut self.slots)?;
        span.of_mut(self.arena.bytes_mut()).copy_from_slice(id.as_bytes());
        self.next_id = self.next_id.wrapping_add(1);
        let call = CallId(self.next_id);
        let slot = Slot {
            id: call,
            state: State::Running,
            span,
            method,
            deadline,
            untold: false,
            order: 0,
            blobs: M::Table::default(),
            progress: Progress::default(),
        };
        self.slots.0.push(slot).ok().map(|()| call)
    }

    pub(crate) fn is_running(&self, call: CallId) -> bool {
        self.slot(call).is_some_and(|slot| slot.state == State::Running)
    }

    /// Answers a call with what `write` writes, and takes `blobs` if that went well. An answer
    /// that cannot be given is answered with an error.
    pub(crate) fn answer(
        &mut self,
        call: CallId,
        dialect: Dialect,
        first_key: u64,
        blobs: &mut M::Table<M::Blob>,
        write: Write<'_>,
    ) -> Result<Encoded, SendError> {
        if !self.is_running(call) {
            return Err(SendError::Gone);
        }
        match self.encode(call, dialect, first_key, blobs.as_ref(), write) {
            Ok(encoded) => {
                if let Some(slot) = self.slot_mut(call) {
                    slot.blobs = mem::take(blobs);
                }
                Ok(encoded)
            }
            Err(SendError::TooLarge(exceeded)) => {
                self.fail(call, dialect, &exceeded.into())?;
                drop(mem::take(blobs));
                Err(SendError::TooLarge(exceeded))
            }
            Err(SendError::Unserializable(error)) => {
                let message = "Method result cannot be serialized";
                self.fail(call, dialect, &RpcError::with_method(code::UNSERIALIZABLE, message))?;
                drop(mem::take(blobs));
                Err(SendError::Unserializable(error))
            }
            Err(other) => Err(other),
        }
    }

    /// Answers a call with an error; leaves out `data`, then the message, if that is what it takes
    /// to make it fit.
    pub(crate) fn fail(
        &mut self,
        call: CallId,
        dialect: Dialect,
        error: &RpcError,
    ) -> Result<(), SendError> {
        let method = self.slot(call).and_then(|slot| slot.method).map_or("", |method| method.name);
        self.fail_with(call, dialect, error.code(), error.message(), Data::of(error, method))
    }

    /// As [`fail`](Self::fail), with `data` borrowed from the request.
    pub(crate) fn fail_with(
        &mut self,
        call: CallId,
        dialect: Dialect,
        code: i32,
        message: &str,
        data: Data<'_>,
    ) -> Result<(), SendError> {
        if !self.is_waiting(call) {
            return Err(SendError::Gone);
        }
        let forms = [(message, data), (message, Data::None), ("Answer too large", Data::None)];
        let mut last = SendError::Gone;
        for (message, data) in forms {
            let write =
                |writer: &mut Writer<'_>, id: &str| write_error(writer, id, code, message, data);
            match self.encode(call, dialect, 0, &[], &write) {
                Ok(_) => return Ok(()),
                Err(SendError::TooLarge(exceeded)) => last = SendError::Full(exceeded),
                Err(other) => return Err(other),
            }
        }
        Err(last)
    }

    /// Answers a request that never runs. It has to fit: in the worst case the error is shortened
    /// to what [`has_room`](Self::has_room) kept free.
    pub(crate) fn refuse(
        &mut self,
        dialect: Dialect,
        id: &str,
        code: i32,
        message: &str,
        data: Data<'_>,
    ) {
        let Some(call) = self.open(id, None, None) else { return };
        let forms = [(message, data), (message, Data::None), ("Answer too large", Data::None)];
        for (message, data) in forms {
            if self.fail_with(call, dialect, code, message, data).is_ok() {
                return;
            }
        }
    }

    fn encode(
        &mut self,
        call: CallId,
        dialect: Dialect,
        first_key: u64,
        blobs: &[M::Blob],
        write: Write<'_>,
    ) -> Result<Encoded, SendError> {
        let lens = |index: u32| Some(blobs.get(index as usize)?.len());
        let mut tried = 0;
        loop {
            let id = self.slot(call).ok_or(SendError::Gone)?.span;
            let (before, tail) = self.arena.split(&mut self.slots);
            let start = before.len() as u32;
            let id = core::str::from_utf8(id.of(before)).map_err(|_| SendError::Gone)?;
            let mut writer = Writer::new(dialect, tail, first_key, &lens);
            write(&mut writer, id).map_err(SendError::Unserializable)?;
            match writer.finish() {
                Ok(encoded) => {
                    let total = u64::from(encoded.text_len) + encoded.blob_bytes;
                    if dialect == Dialect::V2 && u32::try_from(total).is_err() {
                        let exceeded = LimitExceeded::new(Limit::Total, total, u32::MAX.into());
                        return Err(SendError::TooLarge(exceeded));
                    }
                    self.next_order = self.next_order.wrapping_add(1);
                    let order = self.next_order;
                    let slot = self.slot_mut(call).ok_or(SendError::Gone)?;
                    slot.state = State::Answered(encoded);
                    slot.span = Span { start, len: encoded.len };
                    slot.order = order;
                    slot.deadline = None;
                    return Ok(encoded);
                }
                Err(overflow) => {
                    // Making room brings it all the room there is; a second miss is final.
                    let room = self.arena.alloc(overflow.needed, &mut self.slots);
                    if room.is_some() && overflow.needed > tried {
                        tried = overflow.needed;
                        continue;
                    }
                    let id = self.slot(call).map_or(0, |slot| slot.span.len as usize);
                    let most = self.arena.capacity().saturating_sub(id);
                    let (needed, available) = (overflow.needed as u64, most as u64);
                    let exceeded = LimitExceeded::new(Limit::TransmitBytes, needed, available);
                    return Err(if overflow.needed > most {
                        SendError::TooLarge(exceeded)
                    } else {
                        SendError::Full(exceeded)
                    });
                }
            }
        }
    }

    /// The answer to send next: the oldest of those that `wanted` picks by how much is left of it.
    pub(crate) fn next_answer(
        &self,
        wanted: impl Fn(&Progress, &Encoded) -> bool,
    ) -> Option<CallId> {
        let mut next: Option<&Slot<M>> = None;
        for slot in self.slots.0.as_ref() {
            let State::Answered(encoded) = &slot.state else { continue };
            // Orders wrap: what matters is which of two was given first.
            let older = next.is_none_or(|next| slot.order.wrapping_sub(next.order) > u32::MAX / 2);
            if older && wanted(&slot.progress, encoded) {
                next = Some(slot);
            }
        }
        next.map(|slot| slot.id)
    }

    pub(crate) fn has_answers(&self) -> bool {
        self.slots.0.as_ref().iter().any(|slot| matches!(slot.state, State::Answered(_)))
    }

    /// An answer under way.
    pub(crate) fn message(
        &self,
        call: CallId,
        dialect: Dialect,
    ) -> Option<(Segments<'_>, &[M::Blob])> {
        let slot = self.slot(call)?;
        let State::Answered(encoded) = slot.state else { return None };
        let bytes = slot.span.of(self.arena.bytes());
        Some((Segments::new(dialect, encoded, bytes), slot.blobs.as_ref()))
    }

    pub(crate) fn progress(&mut self, call: CallId) -> Option<&mut Progress> {
        self.slot_mut(call).map(|slot| &mut slot.progress)
    }

    pub(crate) fn progress_of(&self, call: CallId) -> Option<Progress> {
        self.slot(call).map(|slot| slot.progress)
    }

    /// An answer has been sent whole.
    pub(crate) fn finish(&mut self, call: CallId) {
        let Some(slot) = self.slot_mut(call) else { return };
        slot.state = State::Sent;
        slot.span = Span::default();
        slot.blobs = M::Table::default();
        if !slot.untold {
            self.remove(call);
        }
        self.arena.settle(&mut self.slots);
    }

    fn remove(&mut self, call: CallId) {
        if let Some(index) = self.slots.0.as_ref().iter().position(|slot| slot.id == call) {
            drop(self.slots.0.swap_remove(index));
        }
    }

    /// The first deadline of a running call.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let running = self.slots.0.as_ref().iter().filter(|slot| slot.state == State::Running);
        running.filter_map(|slot| slot.deadline).min()
    }

    /// Marks the calls whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant) {
        for slot in self.slots.0.as_mut() {
            let due = slot.deadline.is_some_and(|deadline| deadline <= now);
            if slot.state == State::Running && due {
                slot.state = State::Expired;
                slot.untold = true;
            }
        }
    }

    /// Answers expired calls, as far as there is room.
    pub(crate) fn answer_expired(&mut self, dialect: Dialect) {
        let error = RpcError::with_method(code::DEADLINE, "Deadline passed");
        while let Some(slot) =
            self.slots.0.as_ref().iter().find(|slot| slot.state == State::Expired)
        {
            if self.fail(slot.id, dialect, &error).is_err() {
                break;
            }
        }
    }

    /// An expired call that the caller has not been told of.
    pub(crate) fn poll_expired(&mut self) -> Option<CallId> {
        let slot = self.slots.0.as_mut().iter_mut().find(|slot| slot.untold)?;
        slot.untold = false;
        let (call, sent) = (slot.id, slot.state == State::Sent);
        if sent {
            self.remove(call);
        }
        Some(call)
    }

    fn is_waiting(&self, call: CallId) -> bool {
        let state = self.slot(call).map(|slot| slot.state);
        matches!(state, Some(State::Running | State::Expired))
    }

    fn slot(&self, call: CallId) -> Option<&Slot<M>> {
        self.slots.0.as_ref().iter().find(|slot| slot.id == call)
    }

    fn slot_mut(&mut self, call: CallId) -> Option<&mut Slot<M>> {
        self.slots.0.as_mut().iter_mut().find(|slot| slot.id == call)
    }
}
