//! From queued requests to frames: control frames between any two others, requests in the order in
//! which they were made.

use super::requests::Requests;
use crate::connection::CallId;
use crate::connection::chunks::CHUNK_HEADER;
use crate::connection::outbound::{
    Farewell, Source, Taken, UnderWay, body, close_frame, cut, piece, text_of_close,
};
use crate::connection::pongs::Pongs;
use crate::wire::Dialect;
use crate::{Body, CloseCode, Memory, OpCode, Transmit};

pub(super) struct Outbound {
    /// Most bytes of a frame: a chunk with its header, or a piece of a 1.x message.
    sent: u32,
    frame: Option<UnderWay>,
    /// What was made for the frame under way: a chunk header, or the code of a Close.
    head: [u8; CHUNK_HEADER],
    ping: bool,
    pongs: Pongs,
    close: Option<Farewell>,
    /// The Close goes ahead of everything that is queued.
    hurried: bool,
    next_chunk: u32,
}

impl Outbound {
    pub(super) const fn new(sent: u32, first_chunk: u32) -> Self {
        Self {
            sent,
            frame: None,
            head: [0; CHUNK_HEADER],
            ping: false,
            pongs: Pongs::new(),
            close: None,
            hurried: false,
            next_chunk: first_chunk,
        }
    }

    pub(super) const fn set_sent(&mut self, bytes: u32) {
        self.sent = bytes;
    }

    pub(super) const fn ping(&mut self) {
        self.ping = true;
    }

    pub(super) fn pong(&mut self, payload: &[u8]) {
        self.pongs.ping(payload);
    }

    /// The first Close that is asked for is the one that is sent; a later one may hurry it.
    pub(super) fn close(&mut self, code: CloseCode, reason: &'static str, at_once: bool) {
        self.close.get_or_insert((code, reason));
        self.hurried |= at_once;
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
        self.frame = if let Some(len) = self.pongs.begin() {
            Some(UnderWay::control(Source::Pong, OpCode::Pong, len.into()))
        } else if core::mem::take(&mut self.ping) {
            Some(UnderWay::control(Source::Ping, OpCode::Ping, 0))
        } else {
            let next = requests.next();
            match self.close {
                Some(farewell) if self.hurried || next.is_none() => {
                    Some(close_frame(farewell, &mut self.head))
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
            if progress.part.is_none() {
                self.next_chunk = self.next_chunk.wrapping_add(1);
                progress.part = Some(self.next_chunk);
            }
        }
        let (message, blobs, progress) = requests.message(call, dialect)?;
        let most = u64::from(piece(dialect, self.sent));
        cut(Source::Answer(call), dialect, &message, blobs, progress, most, &mut self.head)
    }

    /// Lends what is left of the frame under way.
    pub(super) fn lend<'a, M: Memory>(
        &'a mut self,
        dialect: Dialect,
        requests: &'a Requests<M>,
    ) -> Option<Transmit<'a, M::Blob>> {
        let frame = self.frame.as_mut()?;
        let head = u32::from(frame.head);
        let taken = u64::from(frame.taken.saturating_sub(head));
        let head = self.head.get(frame.taken.min(head) as usize..head as usize)?;
        let left = (frame.len - frame.taken) as usize - head.len();
        let body = match frame.source {
            Source::Answer(call) if left > 0 => {
                let (message, blobs, progress) = requests.message(call, dialect)?;
                body(dialect, &message, blobs, progress, taken, left)?
            }
            Source::Pong => Body::Bytes(self.pongs.rest(taken as usize)),
            Source::Close => {
                let (_, reason) = self.close?;
                Body::Bytes(text_of_close(reason).get(taken as usize..)?)
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
        let content = u64::from(frame.len - u32::from(frame.head));
        if let Source::Answer(call) = frame.source {
            requests.count(call, content);
        }
        Some(match frame.source {
            Source::Ping => Taken::Ping,
            Source::Close => Taken::Close,
            Source::Pong => {
                self.pongs.finish();
                Taken::Other
            }
            Source::Answer(call) if frame.last => {
                requests.sent(call);
                Taken::Other
            }
            Source::Answer(call) => {
                if let Some(progress) = requests.progress(call) {
                    progress.advance(content, frame.last_of_step);
                }
                Taken::Other
            }
            _ => Taken::Other,
        })
    }
}
