//! From queued requests to frames: control frames between any two others, requests in the order in
//! which they were made.

use super::requests::Requests;
use crate::connection::CallId;
use crate::connection::outbound::{
    Close, SCRATCH, Source, Taken, UnderWay, body, close_frame, cut, piece,
};
use crate::wire::Dialect;
use crate::{Body, CloseCode, Memory, OpCode, Transmit};

pub(super) struct Outbound {
    /// The largest chunk with its header, and the size of a piece of a 1.x message.
    max_msg_size: u32,
    frame: Option<UnderWay>,
    scratch: [u8; SCRATCH],
    ping: bool,
    /// Length of the payload in `pong_payload`; a newer ping replaces an unanswered one
    /// (RFC 6455 §5.5.3).
    pong: Option<u8>,
    pong_payload: [u8; SCRATCH],
    close: Option<Close>,
    next_chunk: u32,
}

impl Outbound {
    pub(super) const fn new(max_msg_size: u32, first_chunk: u32) -> Self {
        Self {
            max_msg_size,
            frame: None,
            scratch: [0; SCRATCH],
            ping: false,
            pong: None,
            pong_payload: [0; SCRATCH],
            close: None,
            next_chunk: first_chunk,
        }
    }

    pub(super) const fn set_max_msg_size(&mut self, bytes: u32) {
        self.max_msg_size = bytes;
    }

    pub(super) const fn ping(&mut self) {
        self.ping = true;
    }

    pub(super) fn pong(&mut self, payload: &[u8]) {
        let len = payload.len().min(SCRATCH);
        self.pong_payload[..len].copy_from_slice(&payload[..len]);
        self.pong = Some(len as u8);
    }

    /// The first Close that is asked for is the one that is sent; a later one may hurry it.
    pub(super) fn close(&mut self, code: CloseCode, reason: &'static str, at_once: bool) {
        let close = self.close.get_or_insert(Close { code, reason, at_once });
        close.at_once |= at_once;
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.frame.is_some()
    }

    pub(super) fn is_sending(&self, call: CallId) -> bool {
        self.frame.is_some_and(|frame| frame.source == Source::Answer(call))
    }

    /// Chooses the next frame, unless one is under way.
    pub(super) fn prepare<M: Memory>(&mut self, dialect: Dialect, requests: &mut Requests<M>) {
        if self.frame.is_some() {
            return;
        }
        self.frame = if let Some(len) = self.pong.take() {
            self.scratch = self.pong_payload;
            Some(UnderWay::control(Source::Pong, OpCode::Pong, len.into()))
        } else if core::mem::take(&mut self.ping) {
            Some(UnderWay::control(Source::Ping, OpCode::Ping, 0))
        } else {
            let next = requests.next();
            match self.close {
                Some(close) if close.at_once || next.is_none() => {
                    Some(close_frame(close, &mut self.scratch))
                }
                _ => next.and_then(|call| self.cut_from(call, dialect, requests)),
            }
        };
    }

    fn cut_from<M: Memory>(
        &mut self,
        call: CallId,
        dialect: Dialect,
        requests: &mut Requests<M>,
    ) -> Option<UnderWay> {
        if dialect == Dialect::V2 {
            let progress = requests.progress(call)?;
            if progress.chunk_id.is_none() {
                self.next_chunk = self.next_chunk.wrapping_add(1);
                progress.chunk_id = Some(self.next_chunk);
            }
        }
        let (message, blobs, progress) = requests.message(call, dialect)?;
        let most = u64::from(piece(dialect, self.max_msg_size));
        cut(Source::Answer(call), dialect, &message, blobs, progress, most, &mut self.scratch)
    }

    /// Lends what is left of the frame under way.
    pub(super) fn lend<'a, M: Memory>(
        &'a mut self,
        dialect: Dialect,
        requests: &'a Requests<M>,
    ) -> Option<Transmit<'a, M::Blob>> {
        let frame = self.frame.as_mut()?;
        let head = self.scratch.get(frame.taken.min(frame.head) as usize..frame.head as usize)?;
        let taken = u64::from(frame.taken.saturating_sub(frame.head));
        let left = (frame.len - frame.taken) as usize - head.len();
        let body = match frame.source {
            Source::Answer(call) if left > 0 => {
                let (message, blobs, progress) = requests.message(call, dialect)?;
                body(dialect, &message, blobs, progress, taken, left)?
            }
            _ => Body::Bytes(&[]),
        };
        frame.lent = (head.len() + body.len()) as u32;
        Some(Transmit {
            opcode: frame.opcode,
            fin: frame.fin,
            len: frame.len as usize,
            taken: frame.taken as usize,
            head,
            body,
        })
    }

    /// The transport took `n` of the bytes that were lent; `None` if it says more than that.
    pub(super) fn advance<M: Memory>(
        &mut self,
        n: usize,
        requests: &mut Requests<M>,
    ) -> Option<Taken> {
        let Some(frame) = self.frame.as_mut() else { return (n == 0).then_some(Taken::Part) };
        if n > frame.lent as usize {
            return None;
        }
        frame.taken += n as u32;
        frame.lent -= n as u32;
        if frame.taken < frame.len {
            return Some(Taken::Part);
        }
        let frame = *frame;
        self.frame = None;
        Some(match frame.source {
            Source::Ping => Taken::Ping,
            Source::Close => Taken::Close,
            Source::Answer(call) if frame.last => {
                requests.sent(call);
                Taken::Other
            }
            Source::Answer(call) => {
                if let Some(progress) = requests.progress(call) {
                    progress.advance(u64::from(frame.len - frame.head), frame.last_of_step);
                }
                Taken::Other
            }
            _ => Taken::Other,
        })
    }
}
