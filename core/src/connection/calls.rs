//! The call table: what runs, what is answered and waits to be sent.

use super::event::CallId;
use super::outbound::piece;
use crate::arena::{Arena, Span, Spans};
use crate::envelope::{Data, write_error};
use crate::wire::{Dialect, EncodeError, Encoded, Segments, Writer};
use crate::{
    Blob, Instant, Limit, LimitExceeded, Limits, Memory, MethodInfo, RpcError, SendError, Table,
    code,
};
use core::mem;

/// Transmit bytes that any answer can do with, its id not counted: the error that says that the
/// answer did not fit.
const LAST_RESORT: usize = 96;

/// The message of that error.
const TOO_LARGE: &str = "Answer too large";

/// Room that is kept for one more answer.
fn reserve(limits: &Limits) -> usize {
    // The id and the answer to it lie side by side while it is written.
    LAST_RESORT + 2 * usize::from(limits.id)
}

/// An error, and shorter ones that say less.
fn forms<'a>(message: &'a str, data: Data<'a>) -> [(&'a str, Data<'a>); 3] {
    [(message, data), (message, Data::None), (TOO_LARGE, Data::None)]
}

enum State<M: Memory> {
    Running {
        method: Option<&'static MethodInfo>,
        deadline: Option<Instant>,
        /// The client's own name for the call.
        token: Option<u32>,
    },
    /// Ended from here; the peer has to be told as soon as there is room.
    Ended(Option<&'static MethodInfo>, Ended),
    Answered(Answer<M>),
    /// All is sent, but the caller has not been told that it was ended.
    Sent,
}

/// An answer that is queued.
struct Answer<M: Memory> {
    text_len: u32,
    /// Whether it fits one frame, its attachments counted.
    small: bool,
    blobs: M::Blobs,
}

/// What ended a call before its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Expired,
    Cancelled,
    /// There was no room for its answer, and the caller has done with it.
    Unanswered,
}

struct Slot<M: Memory> {
    id: CallId,
    /// The request's id, then the answer.
    span: Span,
    /// It was ended from here, and the caller has not been told.
    untold: Option<Ended>,
    /// It was started ahead of its request, which tells the id.
    unnamed: bool,
    state: State<M>,
}

impl<M: Memory> Slot<M> {
    const fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Whether the peer waits for an answer.
    const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Running { .. } | State::Ended(..))
    }

    const fn method(&self) -> Option<&'static MethodInfo> {
        match self.state {
            State::Running { method, .. } | State::Ended(method, _) => method,
            _ => None,
        }
    }

    const fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Running { deadline, .. } => deadline,
            _ => None,
        }
    }

    const fn answer(&self) -> Option<&Answer<M>> {
        match &self.state {
            State::Answered(answer) => Some(answer),
            _ => None,
        }
    }

    /// Ends it from here.
    fn end(&mut self, ended: Ended) {
        self.untold = Some(ended);
        self.state = State::Ended(self.method(), ended);
    }
}

/// Calls of one connection with their ids and answers.
pub(crate) struct Calls<M: Memory> {
    /// Those that are answered stand in the order in which they were: so the answers leave.
    slots: Slots<M>,
    arena: Arena<M::Buffer>,
    last_id: CallId,
    /// Most bytes of a frame that leaves.
    sent: u32,
}

struct Slots<M: Memory>(M::Calls<Slot<M>>);

impl<M: Memory> Spans for Slots<M> {
    fn each(&mut self, look: &mut dyn FnMut(&mut Span)) {
        self.0.as_mut().iter_mut().for_each(|slot| look(&mut slot.span));
    }
}

/// What `answer` writes: given the request's id.
pub(crate) type Write<'a> = &'a dyn Fn(&mut Writer<'_>, &[u8]) -> Result<(), EncodeError>;

impl<M: Memory> Calls<M> {
    /// # Errors
    /// The buffer cannot hold a single answer.
    pub(crate) fn new(buffer: M::Buffer, limits: &Limits) -> Result<Self, LimitExceeded> {
        let arena = Arena::new(buffer, limits.transmit_bytes);
        let calls = Self {
            slots: Slots(M::Calls::default()),
            arena,
            last_id: CallId(0),
            sent: limits.largest_sent(),
        };
        let (needed, available) = (reserve(limits), calls.arena.capacity());
        if available < needed {
            let (needed, available) = (needed as u64, available as u64);
            return Err(LimitExceeded::new(Limit::TransmitBytes, needed, available));
        }
        Ok(calls)
    }

    /// Most content of a frame.
    pub(crate) fn piece(&self, dialect: Dialect) -> u32 {
        piece(dialect, self.sent)
    }

    /// Whether nothing runs and no answer waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.0.as_ref().is_empty()
    }

    /// Whether one more request can be taken and be answered at least with an error.
    pub(crate) fn has_room(&self, limits: &Limits) -> bool {
        let slots = self.slots.0.as_ref();
        if slots.is_empty() {
            // That it holds one was seen when it was made.
            return true;
        }
        let used: usize = slots.iter().map(|slot| slot.span.len as usize).sum();
        slots.len() < self.most(limits)
            && self.arena.capacity().saturating_sub(used) >= reserve(limits)
    }

    /// How many there may be at once.
    pub(crate) fn most(&self, limits: &Limits) -> usize {
        usize::from(limits.calls.max(1)).min(self.slots.0.capacity())
    }

    /// Takes in a call whose request is still to come.
    pub(crate) fn open_ahead(
        &mut self,
        method: &'static MethodInfo,
        deadline: Option<Instant>,
    ) -> Option<CallId> {
        let call = self.open(&[], Some(method), deadline, None)?;
        self.slot_mut(call)?.unnamed = true;
        Some(call)
    }

    /// The request of a call that was started ahead has come.
    pub(crate) fn name(&mut self, call: CallId, id: &[u8], token: Option<u32>) {
        // There is room: the request would not have been taken otherwise.
        let Some(span) = self.arena.alloc(id.len(), &mut self.slots) else { return };
        span.of_mut(self.arena.bytes_mut()).copy_from_slice(id);
        if let Some(slot) = self.slot_mut(call) {
            (slot.span, slot.unnamed) = (span, false);
        }
        self.set_token(call, token);
    }

    /// The client's own name for a call came later than the call.
    pub(crate) fn set_token(&mut self, call: CallId, name: Option<u32>) {
        let state = self.slot_mut(call).map(|slot| &mut slot.state);
        if let Some(State::Running { token, .. }) = state {
            *token = name;
        }
    }

    /// Ends a call that was started ahead and that nobody asks for.
    pub(crate) fn drop_ahead(&mut self, call: CallId) {
        let Some(slot) = self.slot_mut(call) else { return };
        // It may have expired before.
        if slot.is_running() {
            slot.untold = Some(Ended::Cancelled);
        }
        (slot.state, slot.unnamed) = (State::Sent, false);
        if slot.untold.is_none() {
            drop(self.remove(call));
        }
    }

    /// Answers a call with an error while it runs; whoever runs it is told to stop.
    pub(crate) fn break_off(&mut self, call: CallId, dialect: Dialect, error: &RpcError) {
        self.fail_at_once(call, dialect, error);
        if let Some(slot) = self.slot_mut(call) {
            slot.untold = Some(Ended::Cancelled);
        }
    }

    /// Takes in a request; `None` if there is no room.
    pub(crate) fn open(
        &mut self,
        id: &[u8],
        method: Option<&'static MethodInfo>,
        deadline: Option<Instant>,
        token: Option<u32>,
    ) -> Option<CallId> {
        let span = self.arena.alloc(id.len(), &mut self.slots)?;
        span.of_mut(self.arena.bytes_mut()).copy_from_slice(id);
        let call = CallId(self.last_id.0.wrapping_add(1));
        self.last_id = call;
        let state = State::Running { method, deadline, token };
        let slot = Slot { id: call, span, untold: None, unnamed: false, state };
        self.slots.0.push(slot).ok().map(|()| call)
    }

    pub(crate) fn is_running(&self, call: CallId) -> bool {
        self.slot(call).is_some_and(Slot::is_running)
    }

    /// Answers a call with what `write` writes, and takes `blobs` if that went well. An answer
    /// that cannot be given is answered with an error.
    pub(crate) fn answer(
        &mut self,
        call: CallId,
        dialect: Dialect,
        first_key: u64,
        blobs: &mut M::Blobs,
        write: Write<'_>,
    ) -> Result<Encoded, SendError> {
        if !self.is_running(call) {
            return Err(SendError::Gone);
        }
        match self.encode(call, dialect, first_key, blobs.as_ref(), write) {
            Ok(encoded) => {
                if let Some(answer) = self.answer_mut(call) {
                    answer.blobs = mem::take(blobs);
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
        let method = self.slot(call).and_then(Slot::method).map_or("", |method| method.name);
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
        let mut last = SendError::Gone;
        for (message, data) in forms(message, data) {
            let write =
                |writer: &mut Writer<'_>, id: &[u8]| write_error(writer, id, code, message, data);
            match self.encode(call, dialect, 0, &[], &write) {
                Ok(_) => return Ok(()),
                Err(SendError::TooLarge(exceeded)) => last = SendError::Full(exceeded),
                Err(other) => return Err(other),
            }
        }
        Err(last)
    }

    /// Answers a request that never runs. It fits: in the worst case the error is shortened to what
    /// [`has_room`](Self::has_room) kept free.
    pub(crate) fn refuse(
        &mut self,
        dialect: Dialect,
        id: &[u8],
        code: i32,
        message: &str,
        data: Data<'_>,
    ) {
        if let Some(call) = self.open(id, None, None, None) {
            self.fail_at_once_with(call, dialect, code, message, data);
        }
    }

    /// As [`answer`](Self::answer), for an answer that nobody gives again: what does not fit now is
    /// answered with an error.
    pub(crate) fn answer_at_once(
        &mut self,
        call: CallId,
        dialect: Dialect,
        write: Write<'_>,
    ) -> Result<(), SendError> {
        let result = self.answer(call, dialect, 0, &mut M::Blobs::default(), write);
        if let Err(SendError::Full(exceeded)) = result {
            self.fail_at_once(call, dialect, &exceeded.into());
        }
        result.map(drop)
    }

    /// As [`fail`](Self::fail), for an error that nobody gives again: it is shortened to what fits
    /// now. Where not even that does, the call is answered as soon as there is room.
    pub(crate) fn fail_at_once(&mut self, call: CallId, dialect: Dialect, error: &RpcError) {
        let method = self.slot(call).and_then(Slot::method).map_or("", |method| method.name);
        let data = Data::of(error, method);
        self.fail_at_once_with(call, dialect, error.code(), error.message(), data);
    }

    fn fail_at_once_with(
        &mut self,
        call: CallId,
        dialect: Dialect,
        code: i32,
        message: &str,
        data: Data<'_>,
    ) {
        for (message, data) in forms(message, data) {
            if self.fail_with(call, dialect, code, message, data).is_ok() {
                return;
            }
        }
        if let Some(slot) = self.slot_mut(call).filter(|slot| slot.is_waiting()) {
            slot.state = State::Ended(None, Ended::Unanswered);
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
        let slots = self.slots.0.as_ref();
        let index = slots.iter().position(|slot| slot.id == call).ok_or(SendError::Gone)?;
        loop {
            let slot = self.slots.0.as_ref().get(index).ok_or(SendError::Gone)?;
            if slot.unnamed {
                return Err(SendError::Early);
            }
            let id = slot.span;
            let (before, tail) = self.arena.split(&mut self.slots);
            let start = before.len() as u32;
            let mut writer = Writer::new(dialect, tail, first_key, &lens);
            write(&mut writer, id.of(before)).map_err(SendError::Unserializable)?;
            match writer.finish() {
                Ok(encoded) => {
                    let total = u64::from(encoded.text_len) + encoded.blob_bytes;
                    if dialect == Dialect::V2 && u32::try_from(total).is_err() {
                        let exceeded = LimitExceeded::new(Limit::Total, total, u32::MAX.into());
                        return Err(SendError::TooLarge(exceeded));
                    }
                    let answer = Answer {
                        text_len: encoded.text_len,
                        small: total <= self.piece(dialect).into(),
                        blobs: M::Blobs::default(),
                    };
                    // Behind those that were answered before.
                    let slots = self.slots.0.as_mut();
                    for next in index + 1..slots.len() {
                        slots.swap(next - 1, next);
                    }
                    if let Some(slot) = slots.last_mut() {
                        slot.span = Span { start, len: encoded.len };
                        slot.state = State::Answered(answer);
                    }
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

    /// The answer to send next: the oldest, or the oldest of those that fit one frame.
    pub(crate) fn next_answer(&self, small: bool) -> Option<CallId> {
        let wanted = |answer: &Answer<M>| answer.small || !small;
        let mut slots = self.slots.0.as_ref().iter();
        slots.find(|slot| slot.answer().is_some_and(wanted)).map(|slot| slot.id)
    }

    pub(crate) fn has_answers(&self) -> bool {
        self.slots.0.as_ref().iter().any(|slot| slot.answer().is_some())
    }

    /// An answer under way.
    pub(crate) fn message(
        &self,
        call: CallId,
        dialect: Dialect,
    ) -> Option<(Segments<'_>, &[M::Blob])> {
        let slot = self.slot(call)?;
        let answer = slot.answer()?;
        let bytes = slot.span.of(self.arena.bytes());
        Some((Segments::new(dialect, answer.text_len, bytes), answer.blobs.as_ref()))
    }

    /// An answer has been sent whole.
    pub(crate) fn finish(&mut self, call: CallId) {
        let Some(slot) = self.slot_mut(call) else { return };
        slot.state = State::Sent;
        slot.span = Span::default();
        if slot.untold.is_none() {
            drop(self.remove(call));
        }
        self.arena.settle(&mut self.slots);
    }

    fn remove(&mut self, call: CallId) -> Option<Slot<M>> {
        let index = self.slots.0.as_ref().iter().position(|slot| slot.id == call)?;
        self.slots.0.remove(index)
    }

    /// The first deadline of a running call.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.slots.0.as_ref().iter().filter_map(Slot::deadline).min()
    }

    /// Ends the calls whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant) {
        for slot in self.slots.0.as_mut() {
            if slot.deadline().is_some_and(|deadline| deadline <= now) {
                slot.end(Ended::Expired);
            }
        }
    }

    /// Answers calls that were ended from here, as far as there is room.
    pub(crate) fn answer_ended(&mut self, dialect: Dialect) {
        loop {
            let mut slots = self.slots.0.as_ref().iter();
            let Some((call, ended)) = slots.find_map(|slot| match slot.state {
                State::Ended(_, ended) if !slot.unnamed => Some((slot.id, ended)),
                _ => None,
            }) else {
                return;
            };
            let error = match ended {
                Ended::Expired => RpcError::with_method(code::DEADLINE, "Deadline passed"),
                Ended::Cancelled => RpcError::with_method(code::CANCELLED, "Cancelled"),
                Ended::Unanswered => RpcError::new(code::LIMIT, TOO_LARGE),
            };
            if self.fail(call, dialect, &error).is_err() {
                return;
            }
        }
    }

    /// A call that was ended from here, and that the caller has not been told of.
    pub(crate) fn poll_ended(&mut self) -> Option<(CallId, Ended)> {
        let slot = self.slots.0.as_mut().iter_mut().find(|slot| slot.untold.is_some())?;
        let ended = slot.untold.take()?;
        let (call, sent) = (slot.id, matches!(slot.state, State::Sent));
        if sent {
            drop(self.remove(call));
        }
        Some((call, ended))
    }

    /// The running call of that token.
    pub(crate) fn named(&self, token: u32) -> Option<CallId> {
        let named = |slot: &&Slot<M>| matches!(slot.state, State::Running { token: Some(it), .. } if it == token);
        self.slots.0.as_ref().iter().find(named).map(|slot| slot.id)
    }

    /// Ends a running call. Its answer, if it can be given now, leaves before that to the call
    /// `by` which ended it.
    pub(crate) fn cancel(&mut self, call: CallId, by: CallId, dialect: Dialect) {
        if let Some(slot) = self.slot_mut(call) {
            slot.end(Ended::Cancelled);
        }
        self.answer_ended(dialect);
        if let Some(slot) = self.remove(by) {
            // There is room for what was taken out.
            _ = self.slots.0.push(slot);
        }
    }

    /// Queues a message that answers nothing, where [`has_room`](Self::has_room).
    pub(crate) fn notify(&mut self, dialect: Dialect, write: Write<'_>) -> bool {
        let Some(call) = self.open(&[], None, None, None) else { return false };
        let sent = self.encode(call, dialect, 0, &[], write).is_ok();
        if !sent {
            drop(self.remove(call));
        }
        sent
    }

    /// The id of a request that is not answered yet.
    pub(crate) fn id(&self, call: CallId) -> &[u8] {
        let span = self.slot(call).map(|slot| slot.span).unwrap_or_default();
        span.of(self.arena.bytes())
    }

    /// Room for an answer, beside everything that is queued.
    pub(crate) fn room_beside(&self, call: CallId, limits: &Limits) -> usize {
        let used: usize = self.slots.0.as_ref().iter().map(|slot| slot.span.len as usize).sum();
        // One more answer shall fit afterwards.
        let kept = reserve(limits).saturating_sub(self.id(call).len());
        self.arena.capacity().saturating_sub(used + kept)
    }

    fn is_waiting(&self, call: CallId) -> bool {
        self.slot(call).is_some_and(Slot::is_waiting)
    }

    fn answer_mut(&mut self, call: CallId) -> Option<&mut Answer<M>> {
        match &mut self.slot_mut(call)?.state {
            State::Answered(answer) => Some(answer),
            _ => None,
        }
    }

    fn slot(&self, call: CallId) -> Option<&Slot<M>> {
        self.slots.0.as_ref().iter().find(|slot| slot.id == call)
    }

    fn slot_mut(&mut self, call: CallId) -> Option<&mut Slot<M>> {
        self.slots.0.as_mut().iter_mut().find(|slot| slot.id == call)
    }
}
