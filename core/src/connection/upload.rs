//! Uploads, which are handed on as they come: where one begins, what of it waits to be read, and
//! whether it ends well.
//!
//! A connection has one at a time. In 2.x it is recognized by the beginning of its message, and
//! its bytes never lie in the receive buffer together. In 1.x the bytes come first, and the call
//! that names them last: an attachment that does not fit is taken for the upload of the only
//! method that takes one, whose call is started ahead, without an id, until its request comes.

use super::chunks::{CHUNK_HEADER, ChunkHeader, Kind};
use super::inbound::{
    Attachment, AttachmentState, Beginning, Bounds, Inbound, Refusal, Whole, exceeds, position,
};
use super::parts::{HEAD, Head, Known, Tail, Wrong};
use super::request::{Message, UNKNOWN_SYSTEM};
use super::{Connection, builtin};
use crate::arena::Span;
use crate::envelope::{Data, Envelope, id_len, is_system};
use crate::state::Step;
use crate::wire::{Dialect, Malformed, MalformedKind, Value, json};
use crate::{
    Call, CallId, CloseCode, Instant, Limit, LimitExceeded, Memory, MethodInfo, RpcError,
    SendError, code,
};

/// The upload under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upload {
    pub(super) call: CallId,
    source: Source,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    /// All has come, and is as it should be.
    Complete,
    /// The 2.x message that is marked so: where the bytes end in it, and what has to follow.
    Chunks { end: u32, tail: Tail },
    /// A 1.x attachment, of which so much has come; whether its call has no use for it.
    Attachment { received: u32, unwanted: bool },
}

impl<M: Memory> Inbound<M> {
    /// Whether bytes wait to be read.
    pub(super) fn is_holding(&self) -> bool {
        self.store.partial.len > 0 && !self.is_in_message()
    }

    /// Forgets the bytes that wait to be read.
    fn drop_stage(&mut self) {
        if self.is_holding() {
            self.store.partial = Span::default();
        }
    }

    /// Looks whether a message that is not complete is an upload. If it cannot be one, the limit of
    /// messages holds for it.
    pub(super) fn claim(
        &mut self,
        index: usize,
        len: u32,
        bounds: &Bounds,
    ) -> Result<Option<Whole<'static>>, Refusal> {
        let Some(message) = self.store.pending().get(index) else { return Ok(None) };
        let (total, received) = (message.total, message.received);
        let beginning = self.beginning(index);
        if received.saturating_sub(len) < HEAD as u32
            && !bounds.methods.is_empty()
            && let Beginning::Stored(span) = beginning
            && span.len == received
        {
            let bytes = span.of(self.arena.bytes());
            match Head::read(bytes.get(..HEAD).unwrap_or(bytes), bounds.methods) {
                Known::Upload(head) => return Ok(Some(Whole::Upload(Head { index, ..head }))),
                Known::More if bytes.len() < HEAD => return Ok(None),
                _ => {}
            }
        }
        match exceeds(bounds.message, total as usize) {
            Some(exceeded) => {
                self.refuse(index, 0);
                Err(Refusal::Limit(exceeded, beginning))
            }
            None => Ok(None),
        }
    }

    /// Whether a message of which this chunk comes next could still turn out to be an upload.
    pub(super) fn may_be_upload(&self, index: usize, offset: u32, methods: &[MethodInfo]) -> bool {
        let message = self.store.pending().get(index);
        !methods.is_empty()
            && message.is_some_and(|it| it.received == offset && offset < HEAD as u32)
    }

    /// The id of a message that was claimed.
    fn id_of(&self, head: &Head) -> &[u8] {
        let start = self.store.pending().get(head.index).map_or(0, |it| it.span.start);
        let span = Span { start: start + head.id.start, ..head.id };
        let id = Value::new(Dialect::V2, span.of(self.arena.bytes()), &[]).as_str();
        id.unwrap_or_default().as_bytes()
    }

    /// From now on the bytes of this message are the upload of `call`.
    fn begin_chunks(&mut self, call: CallId, head: &Head) {
        let Some(message) = self.store.pending_mut().get_mut(head.index) else { return };
        let (id, received) = (message.id, message.received);
        message.become_kind(Kind::Upload);
        // What has come of it: its head, which is not needed any more, bytes, and what follows them.
        let end = head.bytes.end();
        let bytes = end.min(received) - head.bytes.start.min(received);
        let start = message.span.start + head.bytes.start.min(received);
        message.span = Span { start: start + bytes, len: received.saturating_sub(end) };
        self.store.partial = Span { start, len: bytes };
        self.forget(id);
        let source = Source::Chunks { end, tail: head.tail };
        self.upload = Some(Upload { call, source });
    }

    /// Takes in a chunk of the upload.
    pub(super) fn stream(
        &mut self,
        index: usize,
        header: ChunkHeader,
        content: &[u8],
    ) -> Result<Option<Whole<'static>>, Refusal> {
        let Some(Upload { source: Source::Chunks { end, .. }, .. }) = self.upload else {
            return Ok(None);
        };
        let Some(message) = self.store.pending().get(index).copied() else {
            return Ok(None);
        };
        let len = content.len() as u32;
        let ChunkHeader { offset, total, .. } = header;
        let ahead = offset.saturating_sub(message.received);
        if offset < message.received {
            let reason = "a chunk overlaps another of its message";
            return Err(Refusal::Violation(CloseCode::Protocol, reason));
        }
        let stored = if ahead > 0 {
            // What lies behind a gap could not be handed on.
            Err(LimitExceeded::new(Limit::Ahead, ahead.into(), 0))
        } else {
            self.stage(Ok(content))
        };
        let bytes = end.saturating_sub(offset).min(len);
        let stored = stored.and_then(|()| self.split_tail(index, len - bytes));
        if let Err(exceeded) = stored {
            self.drop_stage();
            self.refuse(index, len);
            return Err(Refusal::Upload(exceeded));
        }
        let Some(message) = self.store.pending_mut().get_mut(index) else { return Ok(None) };
        message.received += len;
        if message.received < total {
            return Ok(None);
        }
        let span = message.span;
        _ = self.store.remove_pending(index);
        self.store.lent = span;
        Ok(Some(Whole::Tail(span)))
    }

    /// Keeps bytes until they are read; there are none yet.
    fn stage(&mut self, content: Result<&[u8], Span>) -> Result<(), LimitExceeded> {
        match content {
            Ok(bytes) => {
                self.store.partial = self.extend(bytes, |store| &mut store.partial)?;
            }
            Err(span) => {
                self.store.lent = Span::default();
                self.store.partial = span;
            }
        }
        Ok(())
    }

    /// Takes the last `len` bytes of those that wait for what follows them in their message.
    fn split_tail(&mut self, index: usize, len: u32) -> Result<(), LimitExceeded> {
        let Some(tail) = self.store.pending().get(index).map(|it| it.span) else {
            return Ok(());
        };
        if len == 0 {
            return Ok(());
        }
        let grown = tail.len + len;
        if tail.len > 0 {
            self.reserve(grown as usize, |store| &mut store.pending_mut()[index].span)?;
            let to = self.store.pending()[index].span.end() as usize;
            let end = self.store.partial.end() as usize;
            self.arena.bytes_mut().copy_within(end - len as usize..end, to);
        }
        self.store.partial.len -= len;
        let end = self.store.partial.end();
        if let Some(message) = self.store.pending_mut().get_mut(index) {
            let start = if tail.len > 0 { message.span.start } else { end };
            message.span = Span { start, len: grown };
        }
        Ok(())
    }

    /// Keeps the bytes of an upload that has come whole, from the caller's frame or as they lie in
    /// the buffer.
    fn keep(&mut self, call: CallId, bytes: Result<&[u8], Span>) -> Result<(), LimitExceeded> {
        self.stage(bytes)?;
        // What was an attachment is the upload now.
        if let Some(used) = self.attachment_in(AttachmentState::Used) {
            used.span = Span::default();
        }
        self.upload = Some(Upload { call, source: Source::Complete });
        Ok(())
    }

    /// Copies bytes that wait to be read, and tells how many.
    fn take(&mut self, into: &mut [u8]) -> usize {
        if !self.is_holding() {
            return 0;
        }
        let stage = &mut self.store.partial;
        let count = (stage.len as usize).min(into.len());
        let part = Span { len: count as u32, ..*stage };
        if let Some(into) = into.get_mut(..count) {
            into.copy_from_slice(part.of(self.arena.bytes()));
        }
        stage.start += part.len;
        stage.len -= part.len;
        count
    }

    /// The call that was started ahead of its request (1.x).
    pub(super) fn ahead(&self) -> Option<CallId> {
        let upload = self.upload?;
        matches!(upload.source, Source::Attachment { .. }).then_some(upload.call)
    }

    /// From now on the attachment that is coming is the upload of `call`.
    fn begin_attachment(&mut self, call: CallId) {
        let Some(attachment) = self.attachment_in(AttachmentState::Expected) else { return };
        let stage = core::mem::take(&mut attachment.span);
        attachment.state = AttachmentState::Streaming;
        let source = Source::Attachment { received: stage.len, unwanted: false };
        self.store.partial = stage;
        self.upload = Some(Upload { call, source });
    }

    /// Takes in a piece of the attachment that is handed on.
    pub(super) fn stream_attachment(&mut self, fin: bool, piece: &[u8], most: u32) {
        let Some(Upload { source: Source::Attachment { received, unwanted }, .. }) =
            &mut self.upload
        else {
            return;
        };
        *received = received.saturating_add(u32::try_from(piece.len()).unwrap_or(u32::MAX));
        let most = LimitExceeded::new(Limit::Upload, 0, most.into());
        let result = match exceeds(most, *received as usize) {
            Some(exceeded) => Err(exceeded),
            None if *unwanted => Ok(()),
            None => self.stage(Ok(piece)),
        };
        let Some(attachment) = self.attachment_in(AttachmentState::Streaming) else { return };
        match result {
            Ok(()) if fin => attachment.state = AttachmentState::Streamed,
            Ok(()) => {}
            Err(exceeded) => {
                attachment.refuse(exceeded);
                self.drop_stage();
                self.ignore(fin);
            }
        }
    }

    /// The request of the attachment that was handed on has come.
    fn end_attachment(&mut self) {
        let is_streamed = |it: &Attachment| it.state == AttachmentState::Streamed;
        if let Some(index) = position(self.store.attachments(), is_streamed) {
            _ = self.store.remove_attachment(index);
        }
        if let Some(upload) = &mut self.upload {
            upload.source = Source::Complete;
        }
    }

    /// A call was answered; if that is the one that was started ahead, it needs no more bytes.
    pub(super) fn answer_early(&mut self, error: &SendError) {
        if *error == SendError::Early {
            self.abandon();
        }
    }

    /// The call of this upload is over: what still comes of it is passed over.
    fn abandon(&mut self) {
        self.drop_stage();
        match &mut self.upload {
            // In 1.x its request is still to come.
            Some(Upload { source: Source::Attachment { unwanted, .. }, .. }) => *unwanted = true,
            Some(Upload { source: Source::Chunks { .. }, .. }) => {
                if let Some(index) = position(self.store.pending(), |it| it.kind() == Kind::Upload)
                {
                    self.refuse(index, 0);
                }
                self.upload = None;
            }
            _ => self.upload = None,
        }
    }
}

impl<M: Memory> Connection<M> {
    /// Hands on the next bytes of the upload under way, at most as many as `into` has room for,
    /// which is not to be empty; 0 at its end, which is told once. To be asked whenever something
    /// happened; [`Pipe`](crate::Pipe) does.
    pub fn poll_upload(&mut self, into: &mut [u8]) -> Option<(CallId, usize)> {
        self.settle_upload();
        let Upload { call, source } = self.inbound.upload?;
        let count = self.inbound.take(into);
        if count == 0 {
            let Source::Complete = source else { return None };
            self.inbound.upload = None;
        }
        Some((call, count))
    }

    /// How long a piece of a data frame may be now that is not handed over whole. Uploads are read
    /// piece by piece if none is longer than this. The frame has `len` bytes; more than any,
    /// where the transport could not hand it over whole.
    pub fn piece_limit(&self, len: u64) -> usize {
        // What is no longer than this may be a message that needs no other memory.
        let most = self.message_limit().available + CHUNK_HEADER as u64;
        let room = match self.inbound.upload.map(|upload| upload.source) {
            _ if self.dialect != Some(Dialect::V1) && len > most => self.inbound.room_for_piece(),
            Some(Source::Attachment { unwanted: false, .. }) => self.inbound.room(),
            None if self.dialect == Some(Dialect::V1) && self.only().is_some() => {
                self.inbound.room_for_attachment(self.message_limit()).unwrap_or(0)
            }
            _ => 0,
        };
        // Where there is none, a piece of any length has the same effect.
        if room > 0 { room } else { usize::MAX }
    }

    /// Whether a call has to read before more can be read: the bytes that are there, or all of an
    /// upload that has come, so that the next one can begin.
    pub(super) fn is_held_by_upload(&self) -> bool {
        let Some(Upload { call, source }) = self.inbound.upload else { return false };
        let is_complete = matches!(source, Source::Complete);
        (self.inbound.is_holding() || is_complete) && self.is_running(call)
    }

    /// The methods whose uploads are recognized now.
    pub(super) fn uploading(&self) -> &'static [MethodInfo] {
        let methods = self.api.methods;
        let any = self.phase.is_authenticated() && methods.iter().any(|it| it.upload);
        if any { methods } else { &[] }
    }

    /// The method that takes an upload, if it is the only one.
    pub(super) fn only(&self) -> Option<usize> {
        let methods = self.uploading();
        let index = methods.iter().position(|it| it.upload)?;
        let others = methods.get(index + 1..).unwrap_or_default();
        (!others.iter().any(|it| it.upload)).then_some(index)
    }

    /// Sees to an upload whose call is over, or that is over before its call.
    pub(super) fn settle_upload(&mut self) {
        let Some(Upload { call, source }) = self.inbound.upload else { return };
        if let Source::Attachment { .. } = source {
            let states = [AttachmentState::Streaming, AttachmentState::Streamed];
            if states.iter().all(|state| self.inbound.attachment_in(*state).is_none()) {
                // It was refused, as the call that names it will be told.
                self.inbound.upload = None;
                return self.calls.drop_ahead(call);
            }
        }
        if !self.is_running(call) {
            self.inbound.abandon();
        }
    }

    /// The first part of a 2.x upload has come.
    pub(super) fn begin_upload(&mut self, now: Instant, head: Head) -> Option<Call<'static>> {
        let Head { index: pending, method: index, token, .. } = head;
        let method = self.api.methods.get(index)?;
        let total = self.inbound.store.pending().get(pending)?.total;
        let id = self.inbound.id_of(&head);
        let needed = id_len(Dialect::V2, id);
        if needed > usize::from(self.limits.id) {
            self.end_by_id(needed);
            return None;
        }
        if is_system(id) {
            let (code, text) = UNKNOWN_SYSTEM;
            self.calls.refuse(Dialect::V2, id, code, text, Data::None);
            self.inbound.refuse(pending, 0);
            return None;
        }
        let deadline = self.deadline_of(now, method);
        let call = self.calls.open(id, Some(method), deadline, token)?;
        self.step(Step::Call);
        let len = head.bytes.len;
        let error = if u64::from(head.bytes.start) + u64::from(len) > total.into() {
            let at = head.bytes.start as usize;
            Some(self.parse_error(Malformed { at, kind: MalformedKind::Truncated }))
        } else if head.positional > 1 {
            Some(only_one())
        } else {
            self.may_upload(len, true).err().map(RpcError::from)
        };
        if let Some(error) = error {
            self.calls.fail_at_once(call, Dialect::V2, &error);
            self.inbound.refuse(pending, 0);
            return None;
        }
        self.inbound.begin_chunks(call, &head);
        Some(Call::new(call, index, method, token).with_upload(len))
    }

    /// All of a 2.x upload has come, and its bytes are followed by these.
    pub(super) fn end_upload(&mut self, tail: Span) {
        let Some(Upload { call, source }) = self.inbound.upload else { return };
        let Source::Chunks { end, tail: expected, .. } = source else { return };
        let bytes = tail.of(self.inbound.bytes());
        let error = match expected.read(bytes, usize::from(self.limits.depth)) {
            Ok(token) => {
                if token.is_some() {
                    self.calls.set_token(call, token);
                }
                self.inbound.upload = Some(Upload { call, source: Source::Complete });
                return;
            }
            Err(Wrong::Token(error)) => error,
            Err(Wrong::Argument) => only_one(),
            Err(Wrong::Twice) => {
                RpcError::new(code::INVALID_REQUEST, "Invalid request: id or method is given twice")
            }
            Err(Wrong::Malformed(it)) => {
                self.parse_error(Malformed { at: end as usize + it.at, ..it })
            }
        };
        self.break_upload(&error);
    }

    /// The upload under way cannot be ended well.
    pub(super) fn break_upload(&mut self, error: &RpcError) {
        let Some(Upload { call, .. }) = self.inbound.upload.take() else { return };
        self.inbound.drop_stage();
        self.calls.break_off(call, Dialect::V2, error);
    }

    /// A call of a method that takes an upload has come whole: its bytes are kept to be read.
    pub(super) fn keep_upload(
        &mut self,
        dialect: Dialect,
        id: CallId,
        method: &'static MethodInfo,
        message: &Message<'_>,
        envelope: &Envelope,
    ) -> Result<u32, RpcError> {
        let content = if let Message::Chunk(frame) = message {
            Ok(only_argument(dialect, method, envelope, frame, &[])?)
        } else {
            let stored = self.inbound.bytes();
            let bytes = only_argument(dialect, method, envelope, message.bytes(stored), stored)?;
            let start = bytes.as_ptr().addr().saturating_sub(stored.as_ptr().addr());
            let span = Span { start: start as u32, len: bytes.len() as u32 };
            Err(if bytes.is_empty() { Span::default() } else { span })
        };
        let len = content.map_or_else(|span| span.len, |bytes| bytes.len() as u32);
        self.may_upload(len, false)?;
        self.inbound.keep(id, content)?;
        Ok(len)
    }

    /// # Errors
    /// The limit that keeps an upload of that length from being taken now.
    fn may_upload(&self, len: u32, in_parts: bool) -> Result<(), LimitExceeded> {
        let most = self.limits.upload;
        if len > most {
            return Err(LimitExceeded::new(Limit::Upload, len.into(), most.into()));
        }
        if self.inbound.upload.is_some() {
            return Err(LimitExceeded::new(Limit::Uploads, 2, 1));
        }
        // With all calls busy nothing is read, so that the rest of it would never come.
        let most = self.calls.most(&self.limits) as u64;
        if in_parts && most < 2 {
            return Err(LimitExceeded::new(Limit::Calls, 2, most));
        }
        Ok(())
    }

    /// Starts the only call that may take an attachment for which there is no more room (1.x).
    pub(super) fn start_ahead(&mut self, now: Instant) -> Option<Call<'static>> {
        let full = self.inbound.room_for_attachment(self.message_limit()) == Some(0);
        if !full || !self.inbound.is_in_attachment() || self.may_upload(0, true).is_err() {
            return None;
        }
        let index = self.only()?;
        let method = self.api.methods.get(index)?;
        let deadline = self.deadline_of(now, method);
        let call = self.calls.open_ahead(method, deadline)?;
        self.step(Step::Call);
        self.inbound.begin_attachment(call);
        Some(Call::new(call, index, method, None))
    }

    /// Whether this request calls for the upload that was started ahead (1.x); then it is given its
    /// id. Anything else ends the call that was started, and whoever names the attachment is told
    /// that it did not fit.
    pub(super) fn is_started_ahead(&mut self, message: &Message<'_>, envelope: &Envelope) -> bool {
        let Some(ahead) = self.inbound.ahead() else { return false };
        let Some(method) = self.only().and_then(|index| self.api.methods.get(index)) else {
            return false;
        };
        let key = self.inbound.attachment_in(AttachmentState::Streamed).map(|it| it.key());
        let most = usize::from(self.limits.id);
        let bytes = message.bytes(self.inbound.bytes());
        let named = named(bytes, envelope, method, key).filter(|(id, _)| {
            let len = id_len(Dialect::V1, id);
            !is_system(id) && len <= most
        });
        let Some((id, token)) = named else {
            self.end_ahead();
            return false;
        };
        self.calls.name(ahead, id, token);
        self.inbound.end_attachment();
        if !self.calls.is_running(ahead) {
            self.inbound.abandon();
        }
        true
    }

    /// Ends the call that was started ahead: what it was started for is called for otherwise.
    pub(super) fn end_ahead(&mut self) {
        let Some(Upload { call, source: Source::Attachment { received, .. } }) =
            self.inbound.upload
        else {
            return;
        };
        let buffer = self.inbound.arena.capacity() as u64;
        let most = self.message_limit();
        let exceeded = match most.available < buffer {
            true => LimitExceeded { needed: received.into(), ..most },
            false => LimitExceeded::new(Limit::ReceiveBytes, received.into(), buffer),
        };
        if let Some(attachment) = self.inbound.attachment_in(AttachmentState::Streamed) {
            attachment.refuse(exceeded);
        }
        self.inbound.drop_stage();
        self.inbound.upload = None;
        self.calls.drop_ahead(call);
    }
}

fn only_one() -> RpcError {
    RpcError::invalid_params("an upload is the only argument")
}

/// The bytes that are the only argument of a call.
fn only_argument<'a>(
    dialect: Dialect,
    method: &'static MethodInfo,
    envelope: &Envelope,
    message: &'a [u8],
    stored: &'a [u8],
) -> Result<&'a [u8], RpcError> {
    let call = Call::new(CallId(0), 0, method, None).with_args(dialect, message, stored, envelope);
    let given = call.params()?.value(0);
    given.and_then(|given| given.as_bytes()).ok_or_else(|| {
        let name = method.params.first().map_or("", |param| param.name);
        let why = if given.is_some() { "expected binary data" } else { "missing" };
        RpcError::invalid_param(name, why)
    })
}

/// The id and the token of a request of 1.x that calls `method` with the attachment `key` as its
/// only argument.
fn named<'a>(
    bytes: &'a [u8],
    envelope: &Envelope,
    method: &'static MethodInfo,
    key: Option<u64>,
) -> Option<(&'a [u8], Option<u32>)> {
    let id = envelope.id.bytes(bytes)?;
    if envelope.method.bytes(bytes)? != method.name.as_bytes() {
        return None;
    }
    let kwargs = envelope.kwargs.map(|span| Value::new(Dialect::V1, span.of(bytes), &[]));
    let token = builtin::token(kwargs).ok()?;
    let call = Call::new(CallId(0), 0, method, None).with_args(Dialect::V1, bytes, &[], envelope);
    let given = call.params().ok()?.value(0)?.as_str().and_then(json::attachment_key);
    (given.is_some() && given == key).then_some((id, token))
}
