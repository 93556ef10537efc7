//! One peer's connection: lend, take, pull.

mod builtin;
mod calls;
mod cause;
pub(crate) mod chunks;
mod event;
mod feed;
mod forget;
pub(crate) mod inbound;
pub(crate) mod outbound;
pub(crate) mod parts;
pub(crate) mod pongs;
pub(crate) mod request;
pub(crate) mod timers;
pub(crate) mod upload;

pub(crate) use builtin::TOKEN;
pub use event::{Body, Buffers, CallId, Entropy, Event, Frame, OpCode, PeerId, Transmit};

use crate::envelope::{write_publication, write_result, write_welcome};
use crate::state::Step;
use crate::wire::{Dialect, MAX_DEPTH};
use crate::{
    Api, CloseCode, CloseReason, Config, Hub, Identity, Instant, Limit, LimitExceeded, Limits,
    Memory, Phase, RpcError, SendError, TimeoutReason, UsageError, Verdict, code,
};
use builtin::{LAGGED, Lagged, Waiting};
use calls::{Calls, Ended};
use cause::Cause;
use core::fmt;
use inbound::Inbound;
use outbound::{Lost, Outbound, Taken};
use serde::Serialize;
use timers::{Pending, Timers};

/// A server's side of one connection.
///
/// It does no I/O and allocates nothing: it is given what happened and asked what to do.
///
/// - **A, getters** take `&self` and can be called at any time.
/// - **B, `handle_*`** tell what happened outside. [`handle_frame`](Self::handle_frame) lends at
///   most one [`Event`], borrowed from the frame.
/// - **C, commands** say what the application wants: [`authorize`](Self::authorize),
///   [`reply`](Self::reply), [`fail`](Self::fail), [`close`](Self::close).
/// - **D, `poll_*`** tell what to do. After any B or C, poll in this order:
///   [`poll_event`](Self::poll_event) until `None`, then [`poll_transmit`](Self::poll_transmit)
///   with [`advance`](Self::advance) until `None` or until the transport takes no more, then
///   [`poll_event`](Self::poll_event) again, since sending can find losses and the end, then
///   [`poll_timeout`](Self::poll_timeout).
///
/// The transport is read while [`has_room`](Self::has_room); where it is not, the peer is held
/// back. The same inputs give the same frames, byte for byte.
pub struct Connection<M: Memory> {
    limits: Limits,
    exit: bool,
    api: &'static Api,
    entropy: Entropy,
    dialect: Option<Dialect>,
    phase: Phase,
    /// Whether a hello was ever accepted, and the hub counts this peer.
    greeted: bool,
    identity: Identity,
    joined: Option<Dialect>,
    /// The request that waits for the application.
    waiting: Option<(CallId, Waiting)>,
    calls: Calls<M>,
    inbound: Inbound<M>,
    outbound: Outbound<M>,
    timers: Timers,
    /// Why it ends, once it is known; told when it has ended.
    cause: Option<Cause>,
    told: bool,
    /// The transport is not read for want of room, so silence says nothing about the peer.
    held: bool,
}

impl<M: Memory> Connection<M> {
    /// A connection whose transport is ready for frames. Calls of methods that `api` does not have
    /// are answered here.
    ///
    /// # Errors
    /// [`UsageError::TooSmall`] if the transmit buffer cannot hold one error with an id of the
    /// longest kind, or the limits allow no message or a deeper nesting than can be followed.
    pub fn accept(
        config: Config,
        api: &'static Api,
        buffers: Buffers<M::Buffer>,
        peer: PeerId,
        entropy: Entropy,
        now: Instant,
    ) -> Result<Self, UsageError> {
        let limits = &config.limits;
        if usize::from(limits.depth) > MAX_DEPTH {
            let (needed, available) = (u64::from(limits.depth), MAX_DEPTH as u64);
            let exceeded = LimitExceeded::new(Limit::Depth, needed, available);
            return Err(UsageError::TooSmall(exceeded));
        }
        let [a, b, c, d, ..] = entropy.0;
        Ok(Self {
            limits: config.limits,
            exit: config.exit,
            api,
            entropy,
            dialect: None,
            phase: Phase::Greeting,
            greeted: false,
            identity: Identity::NOBODY,
            joined: None,
            waiting: None,
            calls: Calls::new(buffers.transmit, limits).map_err(UsageError::TooSmall)?,
            inbound: Inbound::new(buffers.receive, limits, now),
            outbound: Outbound::new(peer, u32::from_le_bytes([a, b, c, d]), limits.published),
            timers: Timers::new(&config.deadlines, now),
            cause: None,
            told: false,
            held: false,
        })
    }

    /// Its name within the server.
    pub const fn peer(&self) -> PeerId {
        self.outbound.feed.peer
    }

    /// The dialect, once a data frame has come.
    pub const fn dialect(&self) -> Option<Dialect> {
        self.dialect
    }

    /// Where it stands.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Who it is, by the last hello that was accepted.
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// Why it is over, once it is.
    pub fn closed(&self) -> Option<CloseReason> {
        self.cause.filter(|_| self.phase == Phase::Closed).map(Cause::reason)
    }

    /// Whether the transport may be read. It may not while all calls are busy, no error would fit
    /// the transmit buffer, a hello waits for its verdict, an upload waits to be read, or the
    /// connection is about to end.
    pub fn has_room(&self) -> bool {
        let reading =
            self.phase.is_reading() && self.waiting.is_none() && !self.is_held_by_upload();
        self.phase == Phase::Closing || reading && self.calls.has_room(&self.limits)
    }

    /// Whether an answer to `call` is still wanted.
    pub fn is_running(&self, call: CallId) -> bool {
        self.is_answering() && self.calls.is_running(call)
    }

    /// The largest WebSocket message of this kind that may come in now, by the opcode of its first
    /// frame: in 1.x [`Limits::frame`](crate::Limits::frame), in 2.x
    /// [`max_msg_size`](crate::Limits::max_msg_size) with its overhead, before hello the larger.
    ///
    /// There is none for attachments where a method takes uploads in 1.x. A transport that cannot
    /// hand over pieces goes by that of texts.
    pub fn frame_limit(&self, kind: OpCode) -> u64 {
        let is_attachment = kind == OpCode::Binary && self.dialect == Some(Dialect::V1);
        if is_attachment && self.only().is_some() {
            return u64::MAX;
        }
        self.most_of_frame().available
    }

    /// Anything came, perhaps not a whole frame yet, or a control frame that the transport dealt
    /// with.
    pub const fn handle_alive(&mut self, now: Instant) {
        self.timers.heard(now);
    }

    /// The transport met a WebSocket message of `needed` bytes, more than
    /// [`frame_limit`](Self::frame_limit) or what it has room for, and did not read it: the peer is
    /// sent a Close 1009.
    pub fn handle_too_big(&mut self, now: Instant, needed: u64) {
        self.timers.heard(now);
        let mut most = self.most_of_frame();
        if !self.greeted && needed <= most.available {
            most = self.message_limit();
        }
        let exceeded = LimitExceeded { needed, ..most };
        self.end(exceeded.into());
    }

    /// The transport met bytes that RFC 6455 does not allow: the peer is sent a Close.
    pub fn handle_violation(&mut self, now: Instant, code: CloseCode, reason: &'static str) {
        self.timers.heard(now);
        self.end(Cause::Violation(code, reason));
    }

    /// The transport ended.
    pub fn handle_eof(&mut self) {
        self.over(Cause::Eof);
    }

    /// The transport holds bytes that it could not send.
    pub fn handle_blocked(&mut self, now: Instant) {
        self.timers.blocked(now);
    }

    /// The transport sent some of the bytes that it held.
    pub const fn handle_written(&mut self) {
        self.timers.written();
    }

    /// Time has passed; acts if a deadline has.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, reason)) = self.next_deadline() {
            if at > now {
                break;
            }
            match reason {
                TimeoutReason::Rate => self.outbound.feed.ripen(now),
                TimeoutReason::Ping => {
                    self.outbound.ping();
                    self.timers.want_ping();
                }
                TimeoutReason::Call => self.calls.expire(now),
                // Whoever does not listen is not told: upstream ends without a Close too.
                TimeoutReason::Pong | TimeoutReason::Write | TimeoutReason::Close => {
                    self.over(Cause::Timeout(reason));
                }
                TimeoutReason::Hello | TimeoutReason::Partial => {
                    self.timers.closing(now);
                    self.end(Cause::Timeout(reason));
                }
            }
        }
    }

    /// Answers the hello that [`Event::Hello`] brought.
    ///
    /// # Errors
    /// [`UsageError::NoHello`] if none waits.
    pub fn authorize(&mut self, hub: &mut Hub<M>, verdict: Verdict) -> Result<(), UsageError> {
        let hello = self.waiting.take_if(|(_, waiting)| *waiting == Waiting::Hello);
        let (Some((hello, _)), Some(dialect)) = (hello, self.dialect) else {
            return Err(UsageError::NoHello);
        };
        let full = hub.has_place().err().filter(|_| !self.greeted);
        let (step, result) = match (verdict.identity(), full) {
            (Some(_), Some(exceeded)) => {
                self.calls.fail_at_once(hello, dialect, &exceeded.into());
                (Step::Refused, Err(SendError::TooLarge(exceeded)))
            }
            (Some(_), None) => {
                let client_id = client_id(self.entropy);
                let max_msg_size = self.limits.max_msg_size;
                let write = |writer: &mut crate::wire::Writer<'_>, id: &[u8]| {
                    write_welcome(writer, id, &client_id, max_msg_size)
                };
                (Step::Accepted, self.calls.answer_at_once(hello, dialect, &write))
            }
            (None, _) => {
                let error = RpcError::new(code::UNAUTHORIZED, "Authentication failed");
                self.calls.fail_at_once(hello, dialect, &error);
                (Step::Refused, Ok(()))
            }
        };
        // The hub has no place, or answers of calls have taken the room for this one; the peer is
        // told so as an error.
        if result.is_err() {
            self.step(Step::Refused);
            return Ok(());
        }
        self.step(step);
        self.identity = verdict.identity().unwrap_or(self.identity);
        if self.phase.is_authenticated() && !self.greeted {
            self.greeted = true;
            self.joined = Some(dialect);
            hub.join(self.peer(), dialect);
            self.outbound.feed.join(hub);
        }
        Ok(())
    }

    /// Answers a call with `value`, in which [`Attachment`](crate::Attachment)s stand for the
    /// `blobs` of the same place. They are taken (the table is left empty), unless there is no room
    /// now.
    ///
    /// # Errors
    /// [`SendError::Full`]: nothing was queued, try again after more has been sent. The others
    /// tell what became of the call; its peer has been answered.
    pub fn reply<T: Serialize + ?Sized>(
        &mut self,
        hub: &mut Hub<M>,
        call: CallId,
        value: &T,
        blobs: &mut M::Blobs,
    ) -> Result<(), SendError> {
        let dialect = self.dialect.filter(|_| self.is_answering()).ok_or(SendError::Gone)?;
        self.inbound.reclaim();
        let write =
            |writer: &mut crate::wire::Writer<'_>, id: &[u8]| write_result(writer, id, value);
        let encoded = self
            .calls
            .answer(call, dialect, hub.next_key(), blobs, &write)
            .inspect_err(|error| self.inbound.answer_early(error))?;
        if dialect == Dialect::V1 {
            hub.use_keys(encoded.places);
        }
        Ok(())
    }

    /// Answers a call with an error.
    ///
    /// # Errors
    /// [`SendError::Full`]: try again after more has been sent. [`SendError::Gone`] if no answer is
    /// wanted any more.
    pub fn fail(&mut self, call: CallId, error: &RpcError) -> Result<(), SendError> {
        let dialect = self.dialect.filter(|_| self.is_answering()).ok_or(SendError::Gone)?;
        self.inbound.reclaim();
        if !self.calls.is_running(call) {
            return Err(SendError::Gone);
        }
        self.calls.fail(call, dialect, error).inspect_err(|error| self.inbound.answer_early(error))
    }

    /// Ends the connection: nothing more is read, the answers that are queued are sent, then a
    /// Close. Calls that still run get no answer; wait for them before.
    pub fn close(&mut self, now: Instant, code: CloseCode, reason: &'static str) {
        if self.phase.next(Step::Drain) != Some(Phase::Draining) || self.phase == Phase::Draining {
            return;
        }
        self.end(Cause::Local(code, reason));
        self.timers.closing(now);
    }

    /// Tells the hub that this peer is gone; to be called once before it is dropped.
    pub fn leave(&mut self, hub: &mut Hub<M>) {
        if let Some(dialect) = self.joined.take() {
            hub.leave(self.peer(), dialect);
            self.outbound.feed.leave(hub);
        }
    }

    /// What has happened that no frame brought.
    pub fn poll_event(&mut self) -> Option<Event<'static>> {
        if self.told {
            return None;
        }
        match self.calls.poll_ended() {
            Some((call, Ended::Expired)) => return Some(Event::Expired(call)),
            Some((call, Ended::Cancelled)) => return Some(Event::Cancelled(call)),
            Some((_, Ended::Unanswered)) | None => {}
        }
        if let Some((topic, missed)) = self.outbound.feed.poll_missed() {
            return Some(Event::Lagged { topic: self.topic_name(topic), missed: missed.into() });
        }
        let reason = self.closed()?;
        self.told = true;
        Some(Event::Closed(reason))
    }

    /// Lends the next bytes to send. A frame is lent until it is taken whole; between frames the
    /// order is: control frames, answers that fit one frame, then publications and larger answers
    /// in turn. In 2.x each chunk is a frame, in 1.x a message stays together with its attachments.
    pub fn poll_transmit<'a>(
        &'a mut self,
        now: Instant,
        hub: &'a Hub<M>,
    ) -> Option<Transmit<'a, M::Blob>> {
        if self.phase == Phase::Closed {
            return None;
        }
        self.inbound.reclaim();
        // As it is after most answers.
        if self.calls.is_empty() && self.cause.is_none() && self.outbound.is_quiet(now, hub) {
            self.hold(now);
            return None;
        }
        let dialect = self.dialect.unwrap_or(Dialect::V2);
        self.calls.answer_ended(dialect);
        self.tell_lag(now, dialect);
        self.hold(now);
        let mut prepared = self.prepare(now, dialect, hub);
        // What was passed over just now may be all that there is to tell.
        if prepared.is_ok() && !self.outbound.is_waiting() && self.tell_lag(now, dialect) {
            prepared = self.prepare(now, dialect, hub);
        }
        match prepared {
            Ok(()) => {}
            Err(Lost::MidFrame) => self.over(Cause::Lagged),
            Err(Lost::Behind) => {
                self.end(Cause::Lagged);
                // Half of a 1.x message may have been sent: nothing but a Close can follow it.
                self.outbound.hurry();
                _ = self.prepare(now, dialect, hub);
            }
        }
        if self.phase == Phase::Closed {
            return None;
        }
        if self.outbound.is_waiting() {
            self.timers.blocked(now);
        }
        self.outbound.lend(dialect, self.cause.map(Cause::farewell), &self.calls, hub)
    }

    fn prepare(&mut self, now: Instant, dialect: Dialect, hub: &Hub<M>) -> Result<(), Lost> {
        let farewell = self.cause.map(Cause::farewell);
        self.outbound.prepare(now, dialect, self.phase, farewell, &self.calls, hub)
    }

    /// The transport took `n` bytes of what was lent last.
    ///
    /// # Errors
    /// [`UsageError::AdvancedTooFar`] if that is more than was lent.
    pub fn advance(&mut self, now: Instant, n: usize) -> Result<(), UsageError> {
        match self.outbound.advance(n, &mut self.calls).ok_or(UsageError::AdvancedTooFar)? {
            Taken::Close => {
                self.timers.closing(now);
                self.step(Step::CloseSent);
            }
            Taken::Ping => self.timers.pinged(now),
            Taken::Part if n == 0 => return Ok(()),
            _ => {}
        }
        self.timers.written();
        Ok(())
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline().map(|(at, _)| at)
    }

    /// Which deadline that is, for logs.
    pub fn timeout_reason(&self) -> Option<TimeoutReason> {
        self.next_deadline().map(|(_, reason)| reason)
    }

    fn next_deadline(&self) -> Option<(Instant, TimeoutReason)> {
        if self.phase == Phase::Closed {
            return None;
        }
        let listening = self.has_room() && !self.held;
        self.timers.next(Pending {
            greeted: self.greeted && self.phase != Phase::Rejudging,
            listening,
            partial: self.inbound.partial().filter(|_| listening),
            call: self.calls.deadline(),
            rate: self.outbound.feed.next_at(),
        })
    }

    /// Tells a client that asked for it what it has missed; whether there was anything.
    fn tell_lag(&mut self, now: Instant, dialect: Dialect) -> bool {
        let Some((topic, missed)) = self.outbound.feed.untold(now) else { return false };
        if !self.phase.is_authenticated() || !self.calls.has_room(&self.limits) {
            return false;
        }
        let lagged = Lagged { topic: self.topic_name(topic), missed };
        let write = |writer: &mut crate::wire::Writer<'_>, _: &[u8]| {
            write_publication(writer, LAGGED, &|writer| writer.value(&lagged)).map(drop)
        };
        let told = self.calls.notify(dialect, &write);
        if told {
            self.outbound.feed.told(now, topic);
        }
        told
    }

    /// `*` for those that were not declared.
    fn topic_name(&self, topic: usize) -> &'static str {
        self.api.topics.get(topic).map_or("*", |info| info.name)
    }

    /// Keeps deadlines of the peer from passing while it is us who do not read.
    fn hold(&mut self, now: Instant) {
        let held = !self.has_room();
        if self.held && !held {
            self.timers.heard(now);
            self.inbound.touch(now);
        }
        self.held = held;
    }

    /// Whether answers still reach the peer.
    const fn is_answering(&self) -> bool {
        !matches!(self.phase, Phase::Closing | Phase::Answering | Phase::Closed)
    }

    fn step(&mut self, step: Step) {
        if let Some(next) = self.phase.next(step) {
            self.phase = next;
        }
    }

    /// Sends a Close behind the answers that are queued. The first cause counts.
    fn end(&mut self, cause: Cause) {
        self.cause.get_or_insert(cause);
        self.step(Step::Drain);
    }

    /// It is over without further frames.
    fn over(&mut self, cause: Cause) {
        self.cause.get_or_insert(cause);
        self.step(Step::Ended);
    }
}

impl<M: Memory> fmt::Debug for Connection<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer())
            .field("dialect", &self.dialect)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// `c` and 32 hex digits, as upstream: it must match `\w+`.
fn client_id(entropy: Entropy) -> heapless::String<33> {
    let mut id = heapless::String::new();
    // 33 characters fit.
    _ = id.push('c');
    for byte in entropy.0 {
        for digit in [byte >> 4, byte & 15] {
            _ = id.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    id
}
