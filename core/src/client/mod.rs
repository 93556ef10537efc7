//! The client's end of a connection: lend and take, as [`Connection`](crate::Connection) does on
//! the server's.

mod answer;
mod caller;
mod event;
mod outbound;
mod receive;
mod requests;

pub use caller::{Argument, Asked, Caller, Reply, Subscriber, TypedCall};
pub use event::{CallError, Event, Failure, Outcome, Unreadable};

use crate::connection::inbound::Inbound;
use crate::connection::outbound::Taken;
use crate::connection::timers::{Pending, Timers};
use crate::envelope::HELLO;
use crate::state::Step;
use crate::wire::{Dialect, EncodeError, Encoded, MAX_DEPTH, Writer, find_id};
use crate::{
    Buffers, CallId, CloseCode, CloseReason, Deadlines, Entropy, Instant, Limit, LimitExceeded,
    Limits, Memory, Phase, Secret, TimeoutReason, Transmit, UsageError,
};
use answer::Address;
use core::cell::Cell;
use core::fmt;
use core::time::Duration;
use outbound::Outbound;
use requests::{Ended, Kind, Request, Requests};
use serde::Serialize;

/// The id of every hello; upstream's clients use it, and look for it.
const HELLO_ID: &str = "system:c0:0";

/// The largest chunk that may be sent before the server has said what it takes.
const UNTOLD: u32 = 512 << 10;

/// The largest frame for a server that announces 0: upstream's then takes less than 4096 bytes.
const ZERO: u32 = 4095;

/// Limits and deadlines of a client.
///
/// Of [`Limits`] those of a server's answers, `id` and `message_before_hello`, mean nothing here;
/// the smaller of `max_msg_size` and `sent` is the largest chunk that is sent, unless the server
/// takes only smaller ones.
/// [`Deadlines::call`] is for calls that are given none of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Config {
    /// What it may cost.
    pub limits: Limits,
    /// How long it may take.
    pub deadlines: Deadlines,
}

impl Config {
    /// For hosts with a heap, as [`crate::Config::desktop`]; 256 calls at once.
    pub const fn desktop() -> Self {
        let crate::Config { mut limits, deadlines, .. } = crate::Config::desktop();
        limits.calls = 256;
        Self { limits, deadlines }
    }

    /// For devices, as [`crate::Config::device`].
    pub const fn device() -> Self {
        let crate::Config { limits, deadlines, .. } = crate::Config::device();
        Self { limits, deadlines }
    }
}

/// A client's side of one connection.
///
/// It does no I/O and allocates nothing: it is given what happened and asked what to do, by methods
/// of the same four classes as those of [`Connection`](crate::Connection), to be polled in the same
/// order. It speaks one dialect. Whether a server speaks another, nobody can tell but by trying: if
/// the connection ends and [`is_answered`](Self::is_answered) is false, a new connection with the
/// other dialect may do better. (1.x servers of upstream drop a connection that says a 2.x hello;
/// its 2.x servers ignore a 1.x hello.)
///
/// ```
/// use wslink_core::client::{Client, Config, Event, Outcome};
/// use wslink_core::wire::Dialect;
/// use wslink_core::{Buffers, Entropy, Fixed, Frame, Instant, Secret};
///
/// type Device = Fixed<[u8; 256], &'static [u8]>;
///
/// let buffers = Buffers { receive: [0; 256], transmit: [0; 256] };
/// let (start, entropy) = (Instant::from_millis(0), Entropy([7; 16]));
/// let mut client: Client<Device> =
///     Client::new(Config::device(), Dialect::V1, buffers, entropy, start).unwrap();
///
/// // What the transport does.
/// fn sent(client: &mut Client<Device>, now: Instant) -> usize {
///     let mut count = 0;
///     while let Some(transmit) = client.poll_transmit(now) {
///         let lent = transmit.head.len() + transmit.body.len();
///         client.advance(now, lent).unwrap();
///         count += 1;
///     }
///     count
/// }
/// let frame = |text: &str| text.as_bytes().to_vec();
///
/// client.hello_with(start, &Secret::new("wslink-secret")).unwrap();
/// assert_eq!(sent(&mut client, start), 1);
/// let mut answer = frame(r#"{"wslink":"1.0","id":"system:c0:0","result":{"clientID":"c1"}}"#);
/// let event = client.handle_frame(start, Frame::Text { fin: true, payload: &mut answer });
/// assert!(matches!(event, Some(Event::Welcome { .. })));
///
/// let call = client.call(start, "math.add", &(1, 2), &(), None, &mut Default::default()).unwrap();
/// assert_eq!(sent(&mut client, start), 1);
/// let mut answer = frame(r#"{"wslink":"1.0","id":"rpc:c1:0","result":3}"#);
/// let event = client.handle_frame(start, Frame::Text { fin: true, payload: &mut answer });
/// let Some(Event::Ended { call: ended, outcome: Outcome::Answer(value) }) = event else { panic!() };
/// assert_eq!((ended, value.as_i64()), (call, Some(3)));
/// ```
pub struct Client<M: Memory> {
    limits: Limits,
    dialect: Dialect,
    phase: Phase,
    /// What stands in the ids of calls.
    client_id: heapless::String<64, u8>,
    /// Whether any hello was answered.
    answered: bool,
    /// Whether one was accepted.
    greeted: bool,
    next_key: u64,
    requests: Requests<M>,
    inbound: Inbound<M>,
    outbound: Outbound,
    timers: Timers,
    /// Messages that were forgotten before they were complete.
    unfinished: usize,
    /// Why it ends, once it is known; told when it has ended.
    reason: Option<CloseReason>,
    told: bool,
}

impl<M: Memory> Client<M> {
    /// A client whose transport is ready for frames.
    ///
    /// # Errors
    /// [`UsageError::TooSmall`] if the limits ask for a deeper nesting than can be followed.
    pub fn new(
        config: Config,
        dialect: Dialect,
        buffers: Buffers<M::Buffer>,
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
        let first_chunk = u32::from_le_bytes([a, b, c, d]);
        Ok(Self {
            limits: config.limits,
            dialect,
            phase: Phase::Greeting,
            client_id: heapless::String::new(),
            answered: false,
            greeted: false,
            // As upstream's clients count.
            next_key: 1,
            requests: Requests::new(buffers.transmit, limits),
            inbound: Inbound::new(buffers.receive, limits, now),
            outbound: Outbound::new(limits.largest_sent().min(UNTOLD), first_chunk),
            timers: Timers::new(&config.deadlines, now),
            unfinished: 0,
            reason: None,
            told: false,
        })
    }

    /// The dialect that it speaks.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Where it stands.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether calls may be made.
    pub const fn is_open(&self) -> bool {
        self.phase.is_authenticated()
    }

    /// Whether a hello was ever accepted.
    pub const fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Whether the server has answered a hello, by whatever answer: it speaks this dialect.
    pub const fn is_answered(&self) -> bool {
        self.answered
    }

    /// The name that the server gave this client; empty before, and if it is longer than 64 bytes.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Why it is over, once it is.
    pub const fn closed(&self) -> Option<CloseReason> {
        match self.phase {
            Phase::Closed => self.reason,
            _ => None,
        }
    }

    /// Whether `call` has not ended.
    pub fn is_waiting(&self, call: CallId) -> bool {
        self.requests.is_waiting(call)
    }

    /// How many bytes of a call the transport took, and how many there are, attachments counted;
    /// `None` if it is over.
    pub fn sending(&self, call: CallId) -> Option<(u64, u64)> {
        self.requests.sending(call).filter(|_| self.is_waiting(call))
    }

    /// The calls whose answers have begun to come in several chunks (2.x): how many bytes have, and
    /// how many there are. In 1.x nobody can tell before an answer is there.
    pub fn receiving(&self) -> impl Iterator<Item = (CallId, u64, u64)> {
        self.inbound.unfinished().filter_map(|(beginning, received, total)| {
            let id = find_id(self.dialect, beginning)?;
            match Address::read(id, name(&self.client_id)) {
                Address::Call(number) => Some((CallId(number), received.into(), total.into())),
                _ => None,
            }
        })
    }

    /// Anything came, perhaps not a whole frame yet, or a control frame that the transport dealt
    /// with.
    pub const fn handle_alive(&mut self, now: Instant) {
        self.timers.heard(now);
    }

    /// The transport met a message above [`Limits::frame`], of `needed` bytes, and did not read it:
    /// the server is sent a Close 1009.
    pub fn handle_too_big(&mut self, now: Instant, needed: u64) {
        self.timers.heard(now);
        let exceeded = LimitExceeded::new(Limit::Frame, needed, self.limits.frame.into());
        self.end(now, CloseCode::TooBig, "message too big", CloseReason::Limit(exceeded));
    }

    /// The transport met bytes that RFC 6455 does not allow: the server is sent a Close.
    pub fn handle_violation(&mut self, now: Instant, code: CloseCode, reason: &'static str) {
        self.timers.heard(now);
        self.end(now, code, reason, CloseReason::Violation(code, reason));
    }

    /// The transport ended.
    pub fn handle_eof(&mut self) {
        self.over(CloseReason::Eof);
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
            let closed = CloseReason::Timeout(reason);
            match reason {
                TimeoutReason::Ping => {
                    self.outbound.ping();
                    self.timers.want_ping();
                }
                TimeoutReason::Call => self.requests.expire(now),
                TimeoutReason::Partial if self.inbound.is_between_frames() => {
                    // Servers give up stale publications half-way, without a word.
                    let until = self.inbound.partial().unwrap_or(now);
                    self.unfinished += self.inbound.forget_pending(until);
                }
                TimeoutReason::Hello => {
                    self.end(now, CloseCode::Policy, "no answer to the hello in time", closed);
                }
                // Whoever does not listen is not told.
                _ => self.over(closed),
            }
        }
    }

    /// Says hello with a map of `credentials`, by convention with the key `secret`. After a refusal
    /// and after a welcome it may be said again.
    ///
    /// # Errors
    /// Those of [`CallError`].
    pub fn hello<T: Serialize + ?Sized>(
        &mut self,
        now: Instant,
        credentials: &T,
    ) -> Result<(), CallError> {
        if self.phase.next(Step::Hello).is_none() || self.requests.has_hello() {
            return Err(CallError::NotOpen);
        }
        let dialect = self.dialect;
        let request = Request { kind: Kind::Hello, dialect, first_key: 0, deadline: None };
        let write = |writer: &mut Writer<'_>, _: u32| {
            let args = [credentials];
            write_request(writer, &HELLO_ID, HELLO, &args, &Map(&[])).map(drop)
        };
        self.requests.open(request, &mut M::Blobs::default(), &write, |_| Ok(()))?;
        self.timers.restart(now);
        self.step(Step::Hello);
        Ok(())
    }

    /// Says hello with a secret.
    ///
    /// # Errors
    /// Those of [`CallError`].
    pub fn hello_with(&mut self, now: Instant, secret: &Secret<'_>) -> Result<(), CallError> {
        self.hello(now, &Map(&[("secret", secret.reveal())]))
    }

    /// Calls a method. `args` have to be a list (a tuple, a slice), `kwargs` a map (a struct); `()`
    /// stands for none. [`Attachment`](crate::Attachment)s in them stand for the `blobs` of the
    /// same place. Those are taken (the table is left empty), if the call was taken.
    ///
    /// The call ends after `within`, or else after [`Deadlines::call`], if it was not answered.
    ///
    /// # Errors
    /// Those of [`CallError`]; then nothing was queued.
    pub fn call<A: Serialize + ?Sized, K: Serialize + ?Sized>(
        &mut self,
        now: Instant,
        method: &str,
        args: &A,
        kwargs: &K,
        within: Option<Duration>,
        blobs: &mut M::Blobs,
    ) -> Result<CallId, CallError> {
        if !self.is_open() {
            return Err(CallError::NotOpen);
        }
        let (dialect, first_key) = (self.dialect, self.next_key);
        let deadline = within.map_or_else(|| self.timers.call(now), |it| Some(now + it));
        let request = Request { kind: Kind::Call, dialect, first_key, deadline };
        let client_id = name(&self.client_id);
        let at = Cell::new((0, 0));
        let write = |writer: &mut Writer<'_>, number: u32| {
            let id = format_args!("rpc:{client_id}:{number}");
            at.set(write_request(writer, &id, method, args, kwargs)?);
            Ok(())
        };
        let check = |text: &mut [u8]| {
            let (args, kwargs) = at.get();
            check(dialect, text.get_mut(args..), LIST)?;
            check(dialect, text.get_mut(kwargs..), MAP)
        };
        let (call, encoded) = self.requests.open(request, blobs, &write, check)?;
        let Encoded { places, .. } = encoded;
        if dialect == Dialect::V1 {
            self.next_key = self.next_key.wrapping_add(places.into());
        }
        self.step(Step::Call);
        Ok(call)
    }

    /// Ends a call from here, and tells whether it was waiting: then an event says so. The server
    /// is not told, unless nothing of the call has been sent yet: servers of this project end a
    /// call by their method `wslink.cancel`.
    pub fn cancel(&mut self, call: CallId) -> bool {
        let cancelled = self.requests.cancel(call);
        if !self.outbound.is_sending(call) {
            self.requests.withdraw(call);
        }
        cancelled
    }

    /// Ends the connection: what is queued is sent, then a Close. Calls that still wait then get no
    /// answer; wait for them before.
    pub fn close(&mut self, now: Instant, code: CloseCode, reason: &'static str) {
        self.end(now, code, reason, CloseReason::Local(code));
    }

    /// What has happened that no frame brought.
    pub fn poll_event(&mut self) -> Option<Event<'static>> {
        if self.told {
            return None;
        }
        if let Some((call, ended)) = self.requests.poll_ended() {
            let outcome = match ended {
                Ended::Expired => Outcome::Expired,
                Ended::Cancelled => Outcome::Cancelled,
            };
            if !self.outbound.is_sending(call) {
                self.requests.withdraw(call);
            }
            return Some(Event::Ended { call, outcome });
        }
        if self.unfinished > 0 {
            let count = core::mem::take(&mut self.unfinished);
            return Some(Event::Unreadable(Unreadable::Unfinished(count)));
        }
        let reason = self.closed()?;
        if let Some((call, may_have_run)) = self.requests.poll_lost() {
            return Some(Event::Ended { call, outcome: Outcome::Lost { may_have_run } });
        }
        self.told = true;
        Some(Event::Closed(reason))
    }

    /// Lends the next bytes to send. A frame is lent until it is taken whole; control frames pass
    /// between two others, and requests leave in the order in which they were made.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit<'_, M::Blob>> {
        if matches!(self.phase, Phase::Closed) {
            return None;
        }
        self.inbound.reclaim();
        if self.phase != Phase::Closing {
            self.outbound.prepare(self.dialect, &mut self.requests);
        }
        if self.outbound.is_waiting() {
            self.timers.blocked(now);
        }
        self.outbound.lend(self.dialect, &self.requests)
    }

    /// The transport took `n` bytes of what was lent last.
    ///
    /// # Errors
    /// [`UsageError::AdvancedTooFar`] if that is more than was lent.
    pub fn advance(&mut self, now: Instant, n: usize) -> Result<(), UsageError> {
        match self.outbound.advance(n, &mut self.requests).ok_or(UsageError::AdvancedTooFar)? {
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
        let pending = Pending {
            greeted: self.greeted && self.phase != Phase::Rejudging,
            listening: true,
            partial: self.inbound.partial(),
            call: self.requests.deadline(),
            rate: None,
        };
        let next = self.timers.next(pending);
        // Calls expire also while a Close waits for its answer.
        let call = self.requests.deadline().map(|at| (at, TimeoutReason::Call));
        next.into_iter().chain(call).min_by_key(|(at, _)| *at)
    }

    fn step(&mut self, step: Step) {
        if let Some(next) = self.phase.next(step) {
            self.phase = next;
        }
    }

    /// Sends a Close behind what is queued.
    fn end(&mut self, now: Instant, code: CloseCode, reason: &'static str, closed: CloseReason) {
        if self.phase.next(Step::Drain) != Some(Phase::Draining) || self.phase == Phase::Draining {
            return;
        }
        self.reason.get_or_insert(closed);
        self.step(Step::Drain);
        self.outbound.close(code, reason, false);
        self.timers.closing(now);
    }

    /// It is over without further frames.
    fn over(&mut self, closed: CloseReason) {
        self.reason.get_or_insert(closed);
        self.step(Step::Ended);
    }
}

impl<M: Memory> fmt::Debug for Client<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("dialect", &self.dialect)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// What stands in ids where the server gave no name, or one that is too long.
fn name(client_id: &str) -> &str {
    if client_id.is_empty() { "c0" } else { client_id }
}

/// Writes a request, and gives the positions of `args` and `kwargs`.
fn write_request<A: Serialize + ?Sized, K: Serialize + ?Sized>(
    writer: &mut Writer<'_>,
    id: &dyn fmt::Display,
    method: &str,
    args: &A,
    kwargs: &K,
) -> Result<(usize, usize), EncodeError> {
    let envelope = writer.begin_map(Some(5))?;
    writer.key("wslink");
    writer.str("1.0");
    writer.key("id");
    writer.display(id)?;
    writer.key("method");
    writer.str(method);
    writer.key("args");
    let args_at = writer.position();
    writer.value(args)?;
    writer.key("kwargs");
    let kwargs_at = writer.position();
    writer.value(kwargs)?;
    writer.end(envelope)?;
    Ok((args_at, kwargs_at))
}

/// What a list or a map begins with.
struct Shape {
    json: u8,
    empty_json: &'static [u8; 4],
    /// MessagePack: up to 15 items, and the two longer forms.
    fix: u8,
    long: [u8; 2],
    error: &'static str,
}

const LIST: Shape = Shape {
    json: b'[',
    empty_json: b"[]  ",
    fix: 0x90,
    long: [0xdc, 0xdd],
    error: "arguments that are no list",
};

const MAP: Shape = Shape {
    json: b'{',
    empty_json: b"{}  ",
    fix: 0x80,
    long: [0xde, 0xdf],
    error: "keyword arguments that are no map",
};

/// Whether a value has this shape; null, which would make upstream's servers drop the connection,
/// becomes the empty one.
fn check(dialect: Dialect, text: Option<&mut [u8]>, shape: Shape) -> Result<(), EncodeError> {
    let fits = match (dialect, text) {
        (Dialect::V1, Some(text)) if text.starts_with(b"null") => {
            text.get_mut(..4).unwrap_or_default().copy_from_slice(shape.empty_json);
            true
        }
        (Dialect::V1, Some([first, ..])) => *first == shape.json,
        (Dialect::V2, Some([first, ..])) if *first == 0xc0 => {
            *first = shape.fix;
            true
        }
        (Dialect::V2, Some([first, ..])) => {
            *first & 0xf0 == shape.fix || shape.long.contains(first)
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(EncodeError::Unsupported(shape.error)) }
}

/// A map of a few entries.
struct Map<'a>(&'a [(&'a str, &'a str)]);

impl Serialize for Map<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}
