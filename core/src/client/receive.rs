//! From frames to events.

use super::answer::{Address, Answer, failure};
use super::event::{Event, Outcome, Unreadable};
use super::requests::Kind;
use super::{Client, HELLO_ID, UNTOLD, ZERO, name};
use crate::arena::Span;
use crate::connection::CallId;
use crate::connection::inbound::{Beginning, Bounds, Refusal, Whole};
use crate::connection::request::Message;
use crate::envelope::{ATTACHMENT_HEADER, Field};
use crate::state::Step;
use crate::wire::{Dialect, Entry, Malformed, Value, find_id, json};
use crate::{CloseCode, CloseReason, Frame, Instant, Limit, LimitExceeded, Memory, Phase};

/// What an accepted hello is answered.
struct Welcome {
    client_id: heapless::String<64, u8>,
    max_msg_size: Option<i64>,
}

impl Welcome {
    fn read(result: Value<'_>) -> Self {
        let mut welcome = Self { client_id: heapless::String::new(), max_msg_size: None };
        for (key, value) in result.entries() {
            match key {
                "clientID" => {
                    let id = value.as_str().unwrap_or_default();
                    welcome.client_id = heapless::String::try_from(id).unwrap_or_default();
                }
                "maxMsgSize" => welcome.max_msg_size = value.as_i64(),
                _ => {}
            }
        }
        welcome
    }
}

/// Whom a message is for.
enum To<'a> {
    Hello,
    Call(CallId),
    Topic(&'a str, bool),
}

impl<M: Memory> Client<M> {
    /// A frame came. What it tells is lent, borrowed from the frame or from the receive buffer.
    pub fn handle_frame<'a>(&'a mut self, now: Instant, frame: Frame<'a>) -> Option<Event<'a>> {
        self.inbound.reclaim();
        self.timers.heard(now);
        let (whole, lent): (_, &[u8]) = match frame {
            Frame::Ping(payload) => {
                self.outbound.pong(payload);
                return None;
            }
            Frame::Pong(_) => return None,
            Frame::Close(code) => {
                self.server_closes(now, code);
                return None;
            }
            // What comes between our Close and the server's is passed over (RFC 6455 §1.4).
            _ if self.is_deaf() => return None,
            // A server of the other dialect; ours to ignore, as upstream's does.
            Frame::Text { fin, .. } if self.dialect == Dialect::V2 => {
                (self.inbound.pass_over(fin).map(|()| None), &[])
            }
            Frame::Text { fin, payload } => {
                let most = self.message_limit();
                if payload.len() as u64 > most.available {
                    // Its beginning may tell which call it answers.
                    match self.inbound.pass_over(fin) {
                        Ok(()) => {
                            let needed = payload.len() as u64;
                            let exceeded = LimitExceeded { needed, ..most };
                            return self.too_big(exceeded, Message::Text(payload));
                        }
                        Err(refusal) => (Err(refusal), &[]),
                    }
                } else {
                    (self.inbound.text(now, fin, payload, most), &[])
                }
            }
            Frame::Binary { fin, payload } if self.dialect == Dialect::V1 => {
                let bounds = self.bounds();
                // Attachments that no message named must not keep out those that will be.
                while !self.inbound.has_room_for(payload.len()) && self.inbound.forget_attachment()
                {
                }
                (self.inbound.attachment(now, fin, payload, &bounds).map(|()| None), &[])
            }
            Frame::Binary { payload, .. } if payload.len() as u64 > self.limits.frame.into() => {
                self.handle_too_big(now, payload.len() as u64);
                return None;
            }
            Frame::Binary { fin, payload } => {
                if self.inbound.make_way(payload, &self.limits) {
                    self.unfinished += 1;
                }
                let bounds = self.bounds();
                (self.inbound.chunk(now, fin, payload, &bounds), payload)
            }
            Frame::Continuation { fin, payload } => {
                let bounds = self.bounds();
                (self.inbound.continuation(now, fin, payload, &bounds), payload)
            }
        };
        match whole {
            Err(Refusal::Limit(exceeded, Beginning::Frame(start))) => {
                let beginning = lent.get(start..).unwrap_or_default();
                self.too_big(exceeded, Message::Chunk(beginning))
            }
            // Uploads are a server's.
            Ok(None | Some(Whole::Upload(_) | Whole::Tail(_))) | Err(Refusal::Upload(_)) => None,
            Ok(Some(Whole::Text(bytes))) => self.handle_message(now, Message::Text(bytes)),
            Ok(Some(Whole::Chunk(bytes))) => self.handle_message(now, Message::Chunk(bytes)),
            Ok(Some(Whole::Stored(_, span))) => self.handle_message(now, Message::Stored(span)),
            Err(Refusal::Violation(code, reason)) => {
                self.end(now, code, reason, CloseReason::Violation(code, reason));
                None
            }
            Err(Refusal::Limit(exceeded, Beginning::Stored(span))) => {
                self.too_big(exceeded, Message::Stored(span))
            }
            Err(Refusal::Limit(exceeded, _)) => {
                Some(Event::Unreadable(Unreadable::Limit(exceeded)))
            }
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            limits: self.limits,
            frame: self.frame_limit(),
            message: self.message_limit(),
            methods: &[],
        }
    }

    const fn is_deaf(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Answering | Phase::Closed)
    }

    fn server_closes(&mut self, now: Instant, code: Option<u16>) {
        self.reason.get_or_insert(CloseReason::Peer(code));
        self.step(Step::CloseReceived);
        if self.phase == Phase::Answering {
            self.timers.closing(now);
            self.outbound.close(CloseCode::Normal, "", true);
        }
    }

    const fn frame_limit(&self) -> LimitExceeded {
        LimitExceeded::new(Limit::Frame, 0, self.limits.frame as u64)
    }

    fn message_limit(&self) -> LimitExceeded {
        let limits = &self.limits;
        // In 1.x a message is one WebSocket message as well.
        if self.dialect == Dialect::V1 && limits.frame < limits.message {
            return LimitExceeded::new(Limit::Frame, 0, limits.frame.into());
        }
        LimitExceeded::new(Limit::Message, 0, limits.message.into())
    }

    fn handle_message<'a>(
        &'a mut self,
        now: Instant,
        mut message: Message<'a>,
    ) -> Option<Event<'a>> {
        let dialect = self.dialect;
        let mut answer = Answer::EMPTY;
        let each = &mut |key: &[u8], entry: &Entry| answer.take(key, entry);
        let stored = self.inbound.bytes_mut();
        if let Err(malformed) = message.entries(dialect, stored, self.limits.depth, each) {
            return self.malformed(&message, malformed);
        }
        let bytes = message.bytes(self.inbound.bytes());
        let header = dialect == Dialect::V1
            && answer.id == Field::Missing
            && answer.method.bytes(bytes) == Some(ATTACHMENT_HEADER);
        if header {
            self.expect_attachments(now, &message, answer.args);
            return None;
        }
        let resolved = match answer.result {
            Some(span) if dialect == Dialect::V1 => {
                let bytes = match &mut message {
                    Message::Text(bytes) => Ok(&mut **bytes),
                    Message::Stored(span) => Err(*span),
                    Message::Chunk(_) => return None,
                };
                self.inbound.resolve(bytes, [Some(span), None])
            }
            _ => Ok(()),
        };
        let id = answer.id.text(message.bytes(self.inbound.bytes()));
        let to = match (id?, Address::read(id?, name(&self.client_id))) {
            (HELLO_ID, _) if self.requests.greeted() => To::Hello,
            (_, Address::Call(number)) => {
                let call = CallId(number);
                // A call that is over, or never was.
                if !self.requests.answered(Kind::Call, call) {
                    return None;
                }
                To::Call(call)
            }
            (_, Address::Publication { .. }) => To::Topic("", false),
            _ => return None,
        };
        if let To::Hello = to {
            let result = answer.result.filter(|_| answer.error.is_none());
            let bytes = message.bytes(self.inbound.bytes());
            let welcome =
                result.map(|span| Welcome::read(Value::new(dialect, span.of(bytes), &[])));
            self.greet(welcome);
        } else {
            self.step(Step::Data);
        }
        let stored = self.inbound.bytes();
        let bytes = message.lend(stored);
        let value = |span: Span| Value::new(dialect, span.of(bytes), stored);
        let to = match to {
            To::Topic(..) => {
                let id = answer.id.text(bytes)?;
                match Address::read(id, "") {
                    Address::Publication { topic, retained } => To::Topic(topic, retained),
                    _ => return None,
                }
            }
            to => to,
        };
        let content = match (answer.result, answer.error, resolved) {
            (_, Some(error), _) => Err(Ok(failure(value(error)))),
            (Some(_), _, Err(exceeded)) => Err(Err(Unreadable::Limit(exceeded))),
            (Some(result), ..) => Ok(value(result)),
            (None, None, _) => Err(Err(Unreadable::NoAnswer)),
        };
        Some(match (to, content) {
            (To::Hello, Ok(answer)) => Event::Welcome { answer },
            (To::Hello, Err(Ok(failure))) => Event::Refused(failure),
            (To::Call(call), Ok(value)) => Event::Ended { call, outcome: Outcome::Answer(value) },
            (To::Call(call), Err(Ok(failure))) => {
                Event::Ended { call, outcome: Outcome::Error(failure) }
            }
            (To::Call(call), Err(Err(why))) => {
                Event::Ended { call, outcome: Outcome::Unreadable(why) }
            }
            (To::Topic(topic, retained), Ok(value)) => {
                Event::Publication { topic, retained, value }
            }
            (To::Topic(topic, _), Err(Ok(failure))) => Event::Unpublished { topic, failure },
            (To::Hello | To::Topic(..), Err(Err(why))) => Event::Unreadable(why),
        })
    }

    /// The hello was answered: by a welcome, or not.
    fn greet(&mut self, welcome: Option<Welcome>) {
        self.answered = true;
        let Some(welcome) = welcome else {
            self.step(Step::Refused);
            return;
        };
        // Calls are not named anew while they wait.
        if !self.greeted {
            self.client_id = welcome.client_id;
        }
        if self.dialect == Dialect::V2 {
            let told = welcome.max_msg_size.map_or(UNTOLD, |told| match told {
                ..=0 => ZERO,
                told => u32::try_from(told).unwrap_or(u32::MAX),
            });
            self.outbound.set_sent(self.limits.largest_sent().min(told));
        }
        self.greeted = true;
        self.step(Step::Accepted);
    }

    /// The keys of a 1.x attachment header: so many binary messages follow, in that order.
    fn expect_attachments(&mut self, now: Instant, message: &Message<'_>, args: Option<Span>) {
        let Some(span) = args else { return };
        let mut at = 0;
        loop {
            let bytes = message.bytes(self.inbound.bytes());
            let keys = Value::new(Dialect::V1, span.of(bytes), &[]);
            let Some(key) = keys.items().nth(at) else { return };
            let key = key.as_str().and_then(json::attachment_key);
            while let Err(exceeded) = self.inbound.expect(key, &self.limits) {
                if !self.inbound.forget_attachment() {
                    let closed = CloseReason::Limit(exceeded);
                    return self.end(now, CloseCode::Policy, "too many attachments", closed);
                }
            }
            at += 1;
        }
    }

    /// Ends the call that a message answers which cannot be read, if its beginning tells which.
    fn malformed(&mut self, message: &Message<'_>, malformed: Malformed) -> Option<Event<'static>> {
        let bytes = message.bytes(self.inbound.bytes());
        let beginning = bytes.get(..malformed.at).unwrap_or(bytes);
        let id = find_id(self.dialect, beginning).unwrap_or_default();
        let address = Address::read(id, name(&self.client_id));
        Some(self.unreadable(address_of(address), Unreadable::Malformed(malformed)))
    }

    fn too_big(
        &mut self,
        exceeded: LimitExceeded,
        mut message: Message<'_>,
    ) -> Option<Event<'static>> {
        if self.dialect == Dialect::V1 {
            // Cut off as it is, it is not well-formed; up to the cut it is cleaned.
            let depth = self.limits.depth;
            let stored = self.inbound.bytes_mut();
            _ = message.entries(self.dialect, stored, depth, &mut |_, _| {});
        }
        let id = find_id(self.dialect, message.bytes(self.inbound.bytes())).unwrap_or_default();
        let address = Address::read(id, name(&self.client_id));
        Some(self.unreadable(address_of(address), Unreadable::Limit(exceeded)))
    }

    fn unreadable(&mut self, call: Option<CallId>, why: Unreadable) -> Event<'static> {
        match call.filter(|call| self.requests.answered(Kind::Call, *call)) {
            Some(call) => Event::Ended { call, outcome: Outcome::Unreadable(why) },
            None => Event::Unreadable(why),
        }
    }
}

fn address_of(address: Address<'_>) -> Option<CallId> {
    match address {
        Address::Call(number) => Some(CallId(number)),
        _ => None,
    }
}
