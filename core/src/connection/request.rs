//! From whole messages to events: what is asked, and whether it may be.

use super::Connection;
use super::builtin::{self, Builtin, Waiting};
use super::cause::Cause;
use super::chunks::SMALLEST_CHUNK;
use super::event::{CallId, Event, Frame};
use super::inbound::{Beginning, Bounds, Refusal, Whole};
use crate::arena::Span;
use crate::envelope::{Args, Data, Envelope, Field, HELLO, id_len, is_system, write_result};
use crate::state::Step;
use crate::wire::{
    Dialect, Malformed, MalformedKind, OnEntry, Value, Writer, find_id, json, msgpack,
};
use crate::{
    Call, CloseCode, ErrorText, Hello, Instant, Limit, LimitExceeded, Memory, MethodInfo, Phase,
    RpcError, UsageError, code,
};
use core::time::Duration;

/// Where the bytes of a checked message are.
pub(crate) enum Message<'a> {
    Text(&'a mut [u8]),
    Chunk(&'a [u8]),
    Stored(Span),
}

impl<'a> Message<'a> {
    pub(crate) fn bytes<'b>(&'b self, stored: &'b [u8]) -> &'b [u8] {
        match self {
            Self::Text(bytes) => bytes,
            Self::Chunk(bytes) => bytes,
            Self::Stored(span) => span.of(stored),
        }
    }

    /// Checks it and shows its entries.
    pub(crate) fn entries(
        &mut self,
        dialect: Dialect,
        stored: &mut [u8],
        depth: u8,
        each: OnEntry<'_>,
    ) -> Result<(), Malformed> {
        let depth = usize::from(depth);
        let is_map = match (self, dialect) {
            (Self::Text(bytes), _) => json::entries(bytes, depth, each),
            (Self::Chunk(bytes), _) => msgpack::entries(bytes, depth, each),
            (Self::Stored(span), Dialect::V1) => json::entries(span.of_mut(stored), depth, each),
            (Self::Stored(span), Dialect::V2) => msgpack::entries(span.of(stored), depth, each),
        };
        match is_map? {
            true => Ok(()),
            false => Err(Malformed { at: 0, kind: MalformedKind::Unexpected }),
        }
    }

    pub(crate) fn lend(self, stored: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Text(bytes) => bytes,
            Self::Chunk(bytes) => bytes,
            Self::Stored(span) => span.of(stored),
        }
    }
}

/// The error of a request under a `system:` id that is no hello.
pub(super) const UNKNOWN_SYSTEM: (i32, &str) =
    (code::METHOD_NOT_FOUND, "Unknown system method called");

/// What a request comes to.
enum Request {
    /// An attachment header, a notification, or answered already.
    Done,
    Hello,
    Call(CallId, usize, Option<u32>),
    /// Of a method that takes an upload, which has come whole.
    Upload(CallId, usize, Option<u32>, u32),
    Builtin,
    Exit(Duration),
}

impl<M: Memory> Connection<M> {
    /// A frame came. What it asks is lent, borrowed from the frame or from the receive buffer;
    /// what can be answered here is.
    ///
    /// # Errors
    /// [`UsageError::NoRoom`] if [`has_room`](Self::has_room) is false and this is not a control
    /// frame; the frame was not looked at.
    pub fn handle_frame<'a>(
        &'a mut self,
        now: Instant,
        frame: Frame<'a>,
    ) -> Result<Option<Event<'a>>, UsageError> {
        self.inbound.reclaim();
        self.settle_upload();
        self.timers.heard(now);
        let whole = match frame {
            Frame::Ping(payload) => {
                self.outbound.pong(payload);
                return Ok(None);
            }
            Frame::Pong(_) => return Ok(None),
            Frame::Close(code) => {
                self.peer_closes(now, code);
                return Ok(None);
            }
            // What comes between our Close and the peer's is passed over (RFC 6455 §1.4).
            _ if self.phase == Phase::Closing => return Ok(None),
            _ if !self.has_room() => return Err(UsageError::NoRoom),
            Frame::Text { fin, .. } if self.dialect == Some(Dialect::V2) && self.is_settled() => {
                // Upstream logs and ignores text here.
                self.inbound.pass_over(fin).map(|()| None)
            }
            Frame::Text { fin, payload } => {
                self.dialect = Some(Dialect::V1);
                let most = self.message_limit();
                // A refused frame may still hold its id: it is lent to `refuse` then.
                if fin && payload.len() as u64 > most.available {
                    let exceeded = LimitExceeded { needed: payload.len() as u64, ..most };
                    self.inbound.pass_over(fin).map(|()| {
                        self.refuse(exceeded, Dialect::V1, Message::Text(payload));
                        None
                    })
                } else {
                    self.inbound.text(now, fin, payload, most)
                }
            }
            Frame::Binary { fin, payload } => {
                let expecting = self.inbound.is_expecting_attachment();
                if self.dialect == Some(Dialect::V1) && (self.is_settled() || expecting) {
                    if expecting {
                        // What was started ahead is not the only attachment of its call.
                        self.end_ahead();
                    }
                    let bounds = self.bounds();
                    let result = self.inbound.attachment(now, fin, payload, &bounds);
                    if let Some(call) = self.start_ahead(now) {
                        return Ok(Some(Event::Call(call)));
                    }
                    result.map(|()| None)
                } else if payload.len() as u64 > self.most_of_frame().available {
                    self.handle_too_big(now, payload.len() as u64);
                    return Ok(None);
                } else {
                    self.dialect = Some(Dialect::V2);
                    let bounds = self.bounds();
                    let result = self.inbound.chunk(now, fin, payload, &bounds);
                    if self.is_refused(&result, payload) {
                        return Ok(None);
                    }
                    result
                }
            }
            Frame::Continuation { fin, payload } => {
                let bounds = self.bounds();
                let whole = self.inbound.continuation(now, fin, payload, &bounds);
                if self.is_refused(&whole, payload) {
                    return Ok(None);
                }
                if let Some(call) = self.start_ahead(now) {
                    return Ok(Some(Event::Call(call)));
                }
                whole
            }
        };
        let (dialect, message) = match whole {
            Ok(None) => return Ok(None),
            Ok(Some(Whole::Text(bytes))) => (Dialect::V1, Message::Text(bytes)),
            Ok(Some(Whole::Chunk(bytes))) => (Dialect::V2, Message::Chunk(bytes)),
            Ok(Some(Whole::Stored(dialect, span))) => (dialect, Message::Stored(span)),
            Ok(Some(Whole::Upload(head))) => {
                return Ok(self.begin_upload(now, head).map(Event::Call));
            }
            Ok(Some(Whole::Tail(span))) => {
                self.end_upload(span);
                return Ok(None);
            }
            Err(refusal) => {
                self.handle_refusal(refusal);
                return Ok(None);
            }
        };
        Ok(self.handle_message(now, dialect, message))
    }

    /// Whether this frame was too much, and holds the beginning of the message; its request is
    /// answered then.
    fn is_refused(&mut self, result: &Result<Option<Whole<'_>>, Refusal>, payload: &[u8]) -> bool {
        let Err(Refusal::Limit(exceeded, Beginning::Frame(start))) = *result else { return false };
        let beginning = payload.get(start..).unwrap_or_default();
        self.refuse(exceeded, Dialect::V2, Message::Chunk(beginning));
        true
    }

    fn handle_refusal(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::Upload(exceeded) => self.break_upload(&RpcError::from(exceeded)),
            Refusal::Violation(code, reason) => self.end(Cause::Violation(code, reason)),
            Refusal::Limit(exceeded, beginning) => {
                let span = match beginning {
                    Beginning::Stored(span) => span,
                    _ => Span::default(),
                };
                let dialect = self.dialect.unwrap_or(Dialect::V2);
                self.refuse(exceeded, dialect, Message::Stored(span));
            }
        }
    }

    /// Whether the dialect is told for good: from the hello on, and while an answer waits that was
    /// written in it.
    fn is_settled(&self) -> bool {
        self.greeted || !self.calls.is_empty()
    }

    fn peer_closes(&mut self, now: Instant, code: Option<u16>) {
        self.cause.get_or_insert(Cause::Peer(code));
        self.step(Step::CloseReceived);
        if self.phase == Phase::Answering {
            self.timers.closing(now);
            self.outbound.hurry();
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            limits: self.limits,
            frame: self.most_of_frame(),
            message: self.message_limit(),
            methods: self.uploading(),
        }
    }

    /// What a WebSocket message may have now.
    pub(super) fn most_of_frame(&self) -> LimitExceeded {
        let limits = &self.limits;
        let chunk = limits.max_msg_size.max(SMALLEST_CHUNK).saturating_add(limits.overhead);
        // Until hello the peer may still be of the other dialect.
        let is_chunk = match self.dialect.filter(|_| self.greeted) {
            Some(dialect) => dialect == Dialect::V2,
            None => chunk > limits.frame,
        };
        match is_chunk {
            true => LimitExceeded::new(Limit::MaxMsgSize, 0, chunk.into()),
            false => LimitExceeded::new(Limit::Frame, 0, limits.frame.into()),
        }
    }

    /// What a message may have now.
    pub(super) fn message_limit(&self) -> LimitExceeded {
        let limits = &self.limits;
        let (limit, most) = match self.greeted {
            true => (Limit::Message, limits.message),
            false => (Limit::MessageBeforeHello, limits.message_before_hello),
        };
        // In 1.x a message is one WebSocket message as well.
        if self.dialect == Some(Dialect::V1) && limits.frame < most {
            return LimitExceeded::new(Limit::Frame, 0, limits.frame.into());
        }
        LimitExceeded::new(limit, 0, most.into())
    }

    fn handle_message<'a>(
        &'a mut self,
        now: Instant,
        dialect: Dialect,
        mut message: Message<'a>,
    ) -> Option<Event<'a>> {
        let mut envelope = Envelope::empty();
        let checked = message.entries(
            dialect,
            self.inbound.bytes_mut(),
            self.limits.depth,
            &mut |key, entry| envelope.take(key, entry),
        );
        if let Err(malformed) = checked {
            self.refuse_malformed(dialect, &message, malformed);
            return None;
        }
        match self.handle_request(now, dialect, &mut message, &envelope) {
            Request::Done => None,
            Request::Hello => {
                let stored = self.inbound.bytes();
                let bytes = message.lend(stored);
                let args = envelope.list().map(|span| Value::new(dialect, span.of(bytes), stored));
                Some(Event::Hello(Hello::new(args, None)))
            }
            Request::Builtin => Some(Event::Builtin),
            Request::Exit(after) => Some(Event::Exit(after)),
            Request::Call(id, index, token) => {
                let stored = self.inbound.bytes();
                let bytes = message.lend(stored);
                let method = self.api.methods.get(index)?;
                let call = Call::new(id, index, method, token);
                Some(Event::Call(call.with_args(dialect, bytes, stored, &envelope)))
            }
            Request::Upload(id, index, token, len) => {
                let method = self.api.methods.get(index)?;
                Some(Event::Call(Call::new(id, index, method, token).with_upload(len)))
            }
        }
    }

    fn handle_request(
        &mut self,
        now: Instant,
        dialect: Dialect,
        message: &mut Message<'_>,
        envelope: &Envelope,
    ) -> Request {
        if self.is_started_ahead(message, envelope) {
            return Request::Done;
        }
        let bytes = message.bytes(self.inbound.bytes());
        if envelope.is_attachment_header(dialect, bytes) {
            self.expect_attachments(message, envelope);
            return Request::Done;
        }
        let id = match envelope.id {
            // A notification: upstream never executes it.
            Field::Missing => return Request::Done,
            Field::Other => {
                self.invalid("the id is not a string");
                return Request::Done;
            }
            Field::Text(id) => id.of(bytes),
        };
        // No byte takes more than six as it is written.
        if id.len() > usize::from(self.limits.id) / 6 {
            let needed = id_len(dialect, id);
            if needed > usize::from(self.limits.id) {
                self.end_by_id(needed);
                return Request::Done;
            }
        }
        let method = envelope.method.bytes(bytes);
        let refusal = match (method, envelope.args) {
            (None, _) => Some((code::INVALID_REQUEST, "Invalid request: method is not a string")),
            (_, Args::Invalid) => {
                Some((code::INVALID_REQUEST, "Invalid request: args is neither list nor map"))
            }
            (Some(method), _) if is_system(id) && method == HELLO.as_bytes() => None,
            _ if is_system(id) => Some(UNKNOWN_SYSTEM),
            _ if !self.phase.is_authenticated() => {
                Some((code::UNAUTHORIZED, "Unauthorized: Skip message processing"))
            }
            _ => None,
        };
        if let Some((code, text)) = refusal {
            self.calls.refuse(dialect, id, code, text, Data::None);
            return Request::Done;
        }
        let method = method.unwrap_or_default();
        if is_system(id) {
            self.waiting = self.calls.open(id, None, None, None).map(|it| (it, Waiting::Hello));
            if self.greeted {
                // A further hello has the time of a first one.
                self.timers.restart(now);
            }
            self.step(Step::Hello);
            return Request::Hello;
        }
        let mut methods = self.api.methods.iter();
        let Some(index) = methods.position(|info| info.name.as_bytes() == method) else {
            return self.handle_other_method(dialect, message, envelope);
        };
        let Some(info) = self.api.methods.get(index) else { return Request::Done };
        let deadline = self.deadline_of(now, info);
        let kwargs = envelope.kwargs.map(|span| Value::new(dialect, span.of(bytes), &[]));
        let token = builtin::token(kwargs);
        // There is room: the frame would not have been taken otherwise.
        let named = token.as_ref().ok().copied().flatten();
        let Some(call) = self.calls.open(id, Some(info), deadline, named) else {
            return Request::Done;
        };
        self.step(Step::Call);
        if let Err(error) = token {
            self.calls.fail_at_once(call, dialect, &error);
            return Request::Done;
        }
        if dialect == Dialect::V1 {
            let bytes = match message {
                Message::Text(bytes) => Ok(&mut **bytes),
                Message::Stored(span) => Err(*span),
                Message::Chunk(_) => return Request::Call(call, index, named),
            };
            if let Err(exceeded) = self.inbound.resolve(bytes, [envelope.list(), envelope.kwargs]) {
                self.calls.fail_at_once(call, dialect, &RpcError::from(exceeded));
                return Request::Done;
            }
        }
        if info.upload {
            return match self.keep_upload(dialect, call, info, message, envelope) {
                Ok(len) => Request::Upload(call, index, named, len),
                Err(error) => {
                    self.calls.fail_at_once(call, dialect, &error);
                    Request::Done
                }
            };
        }
        Request::Call(call, index, named)
    }

    /// A request for a method that the service does not have.
    fn handle_other_method(
        &mut self,
        dialect: Dialect,
        message: &Message<'_>,
        envelope: &Envelope,
    ) -> Request {
        let bytes = message.bytes(self.inbound.bytes());
        let id = envelope.id.bytes(bytes).unwrap_or_default();
        let method = envelope.method.text(bytes).unwrap_or_default();
        let Some(info) = builtin::find(method, self.exit) else {
            let text = "Unregistered method called";
            self.calls.refuse(dialect, id, code::METHOD_NOT_FOUND, text, Data::Text(method));
            return Request::Done;
        };
        let Some(call) = self.calls.open(id, Some(info), None, None) else {
            return Request::Done;
        };
        let request = Call::new(call, 0, info, None).with_args(dialect, bytes, &[], envelope);
        let (feed, topics) = (&mut self.outbound.feed, self.api.topics);
        let decoded = builtin::decode(&request, |pattern| feed.pick(pattern, topics));
        self.handle_builtin_call(dialect, call, decoded)
    }

    /// When a call of this method has to be answered.
    pub(super) fn deadline_of(&self, now: Instant, method: &MethodInfo) -> Option<Instant> {
        method.deadline.map_or_else(|| self.timers.call(now), |own| Some(now + own))
    }

    pub(super) fn end_by_id(&mut self, needed: usize) {
        let exceeded = LimitExceeded::new(Limit::Id, needed as u64, self.limits.id.into());
        self.end(exceeded.into());
    }

    fn handle_builtin_call(
        &mut self,
        dialect: Dialect,
        call: CallId,
        decoded: Result<Builtin, RpcError>,
    ) -> Request {
        match decoded {
            Err(error) => {
                self.calls.fail_at_once(call, dialect, &error);
                Request::Done
            }
            Ok(Builtin::Cancel(token)) => {
                self.cancel(call, token);
                Request::Done
            }
            Ok(Builtin::Exit(after)) => {
                let write = |writer: &mut Writer<'_>, id: &[u8]| write_result(writer, id, &());
                // It fits: room was kept for an error, which is longer.
                _ = self.calls.answer_at_once(call, dialect, &write);
                Request::Exit(after)
            }
            Ok(Builtin::Later(waiting)) => {
                self.waiting = Some((call, waiting));
                Request::Builtin
            }
        }
    }

    /// The keys of a 1.x attachment header: so many binary messages follow, in that order. A key of
    /// another form stands for a message that nobody can name.
    fn expect_attachments(&mut self, message: &Message<'_>, envelope: &Envelope) {
        let Some(span) = envelope.list() else { return };
        let mut at = 0;
        loop {
            let bytes = message.bytes(self.inbound.bytes());
            let keys = Value::new(Dialect::V1, span.of(bytes), &[]);
            let Some(key) = keys.items().nth(at) else { return };
            let key = key.as_str().and_then(json::attachment_key);
            if let Err(exceeded) = self.inbound.expect(key, &self.limits) {
                return self.end(exceeded.into());
            }
            at += 1;
        }
    }

    /// A message that is not well-formed, or no envelope.
    fn refuse_malformed(&mut self, dialect: Dialect, message: &Message<'_>, malformed: Malformed) {
        let bytes = message.bytes(self.inbound.bytes());
        let beginning = bytes.get(..malformed.at).unwrap_or(bytes);
        let id = find_id(dialect, beginning);
        let id = id.filter(|id| id_len(dialect, id.as_bytes()) <= usize::from(self.limits.id));
        let Some(id) = id else {
            return self.invalid("the message is not well-formed");
        };
        let error = self.parse_error(malformed);
        let data = Data::of(&error, "");
        self.calls.refuse(dialect, id.as_bytes(), error.code(), error.message(), data);
    }

    pub(super) fn parse_error(&self, malformed: Malformed) -> RpcError {
        let Malformed { at, kind } = malformed;
        let what = match kind {
            MalformedKind::TooDeep => {
                let most = u64::from(self.limits.depth);
                return LimitExceeded::new(Limit::Depth, most + 1, most).into();
            }
            MalformedKind::Truncated => "it ends too early",
            MalformedKind::NotUtf8 => "a string is not Unicode",
            MalformedKind::KeyNotString => "a key is not a string",
            MalformedKind::Trailing => "something follows it",
            _ => "unexpected byte",
        };
        RpcError::new(code::PARSE_ERROR, format_args!("Parse error: {what} (at byte {at})"))
    }

    /// A message that is too much: answered where its id can be read from its beginning.
    fn refuse(&mut self, exceeded: LimitExceeded, dialect: Dialect, mut message: Message<'_>) {
        let depth = usize::from(self.limits.depth);
        // Cut off as it is, it is not well-formed; up to the cut it is cleaned.
        _ = match (&mut message, dialect) {
            (Message::Text(bytes), _) => json::clean(bytes, depth),
            (Message::Stored(span), Dialect::V1) => {
                json::clean(span.of_mut(self.inbound.bytes_mut()), depth)
            }
            _ => Ok(()),
        };
        let id = find_id(dialect, message.bytes(self.inbound.bytes()));
        let id = id.filter(|id| id_len(dialect, id.as_bytes()) <= usize::from(self.limits.id));
        if let Some(id) = id {
            let text = ErrorText::new(exceeded);
            self.calls.refuse(
                dialect,
                id.as_bytes(),
                code::LIMIT,
                text.as_str(),
                Data::Limit(exceeded),
            );
            return;
        }
        self.end(exceeded.into());
    }

    /// A message without an id to answer under.
    fn invalid(&mut self, reason: &'static str) {
        self.end(Cause::Violation(CloseCode::Invalid, reason));
    }
}
