//! One WebSocket: tungstenite's messages on the one side, the engine's frames on the other.
//!
//! tungstenite reads, masks, and keeps the rules of pings and Close. What a server sends goes past it:
//! it would make memory of its own for each frame, and copy what may be shared.

use crate::meter::Meter;
use crate::outgoing::Outgoing;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::frame::coding::{
    CloseCode as WsCode, Control, Data, OpCode as WsOpCode,
};
use async_tungstenite::tungstenite::protocol::frame::{Frame as WsFrame, FrameHeader};
use async_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use async_tungstenite::tungstenite::{Bytes, Error, Message, error::ProtocolError};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use futures_util::{FutureExt as _, Sink as _, Stream as _};
use smol::io::{AsyncRead, AsyncWrite};
use std::io;
use wslink_core::{CloseCode, OpCode};

/// How many bytes are queued before they are written: a batch of small frames, or some pieces of
/// something big. A peer that reads nothing keeps so much waiting, and the frame that goes beyond it.
pub(crate) const BATCH: usize = 256 << 10;

/// What tungstenite reads at a time, and all that an idle connection keeps.
const READ_BUFFER: usize = 4 << 10;

/// What it reads at a time once a message was at least this large, until the buffers are given
/// back: whoever uploads goes on uploading.
const WIDE_BUFFER: usize = 64 << 10;

/// How many pings are answered before the answers have left. tungstenite puts pongs into a buffer
/// without a bound, so of a peer that sends pings and reads nothing, nothing is read either.
const PONGS: usize = 64;

/// What came in.
#[derive(Debug)]
pub(crate) enum Incoming {
    Text(Bytes),
    Binary(Bytes),
    /// tungstenite has answered it already.
    Ping,
    Pong(Bytes),
    Close(Option<u16>),
    /// A message of at least so many bytes. The bytes that follow can't be read any more.
    TooBig(u64),
    /// A violation of RFC 6455, with the code to close with. Neither here.
    Violation(CloseCode, &'static str),
    /// The end of the stream.
    End,
}

impl Incoming {
    /// Whether it concerns the connection, and can be dealt with at any time.
    pub(crate) fn is_control(&self) -> bool {
        !matches!(self, Self::Text(_) | Self::Binary(_))
    }
}

/// A WebSocket on a stream whose handshake is over.
pub(crate) struct Socket<T> {
    /// `None` only if taking it apart went wrong.
    ws: Option<WebSocketStream<Meter<T>>>,
    role: Role,
    config: WebSocketConfig,
    /// Something was queued, by us or by tungstenite.
    unflushed: bool,
    /// A Close went out, or the peer's came in: tungstenite takes nothing more.
    sealed: bool,
    /// The buffers may have grown since they were last given back.
    grown: bool,
    /// A message came for which a larger buffer pays.
    wide: bool,
    /// All whole messages that were read have been taken out.
    dry: bool,
    /// Pongs that were queued and may not have left.
    pongs: usize,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Socket<T> {
    /// The end of `role`. `limit` is the largest message until [`set_limit`](Self::set_limit),
    /// `most` the largest ever; `read_ahead` was read from the stream behind the handshake.
    pub(crate) fn new(role: Role, stream: T, read_ahead: &[u8], limit: u64, most: u64) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            // Never reached by a batch, so that queueing is memory only, and no system call is
            // made under a lock.
            .write_buffer_size(4 * BATCH)
            .max_write_buffer_size(usize::MAX)
            .max_message_size(Some(most))
            .max_frame_size(Some(most));
        let mut meter = Meter::new(stream, limit);
        let good = meter.note(read_ahead);
        let part = read_ahead.get(..good).unwrap_or_default().to_vec();
        let ws = WebSocketStream::from_partially_read(meter, part, role, Some(config))
            // It waits for nothing: there is no handshake.
            .now_or_never();
        Self {
            ws,
            role,
            config,
            unflushed: false,
            sealed: false,
            grown: !read_ahead.is_empty(),
            wide: false,
            dry: false,
            pongs: 0,
        }
    }

    /// Raises or lowers the largest message that may come in.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        if let Some(ws) = &mut self.ws {
            ws.get_mut().set_limit(limit);
        }
    }

    /// How many bytes have come and gone.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let Some(ws) = &self.ws else { return (0, 0) };
        (ws.get_ref().read(), ws.get_ref().written())
    }

    pub(crate) fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// The next message. After [`Incoming::TooBig`], [`Violation`](Incoming::Violation) or
    /// [`End`](Incoming::End) nothing follows.
    ///
    /// While too many pongs wait there is none; [`poll_flush`](Self::poll_flush) says when to ask
    /// again.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if self.pongs >= PONGS {
            return Poll::Pending;
        }
        let Some(ws) = &mut self.ws else { return Poll::Ready(Incoming::End) };
        let next = Pin::new(&mut *ws).poll_next(cx);
        self.dry = next.is_pending();
        let next = ready!(next);
        Poll::Ready(match next {
            Some(Ok(message)) => {
                self.grown |= message.len() > READ_BUFFER;
                self.wide |= message.len() >= WIDE_BUFFER;
                match message {
                    Message::Text(text) => Incoming::Text(text.into()),
                    Message::Binary(bytes) => Incoming::Binary(bytes),
                    Message::Ping(_) => {
                        self.unflushed = true;
                        self.pongs += 1;
                        Incoming::Ping
                    }
                    Message::Pong(bytes) => Incoming::Pong(bytes),
                    Message::Close(frame) => {
                        self.unflushed = true;
                        self.sealed = true;
                        Incoming::Close(frame.map(|frame| frame.code.into()))
                    }
                    Message::Frame(_) => Incoming::Violation(CloseCode::Protocol, "frame"),
                }
            }
            Some(Err(error)) => match (ws.get_ref().refused(), error) {
                (Some(needed), _) => Incoming::TooBig(needed),
                (None, Error::Utf8(_)) => {
                    Incoming::Violation(CloseCode::Invalid, "text is not UTF-8")
                }
                (None, Error::Capacity(_)) => Incoming::TooBig(u64::MAX),
                (None, Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                    Incoming::End
                }
                (None, Error::Protocol(fault)) => {
                    log::debug!("violation of RFC 6455: {fault}");
                    Incoming::Violation(CloseCode::Protocol, "violation of RFC 6455")
                }
                _ => Incoming::End,
            },
            None => Incoming::End,
        })
    }

    /// Queues one frame with a copy of its payload. Once a Close has passed in either direction it
    /// is dropped, for nobody would read it.
    pub(crate) fn queue(&mut self, opcode: OpCode, fin: bool, payload: &[&[u8]]) {
        if opcode == OpCode::Close || self.role == Role::Client {
            return self.queue_by_library(message(opcode, fin, payload.concat().into()));
        }
        let len = payload.iter().map(|part| part.len()).sum();
        let Some(outgoing) = self.begin(opcode, fin, len) else { return };
        for part in payload {
            outgoing.tail().extend_from_slice(part);
        }
    }

    /// As [`queue`](Self::queue), of a payload that is not copied: what `parts` holds is taken out.
    pub(crate) fn queue_shared(&mut self, opcode: OpCode, fin: bool, parts: &mut Vec<Bytes>) {
        if opcode == OpCode::Close || self.role == Role::Client {
            // tungstenite takes one place in memory; so each is a fragment.
            if parts.is_empty() {
                parts.push(Bytes::new());
            }
            let (mut opcode, mut left) = (opcode, parts.len());
            for part in parts.drain(..) {
                left -= 1;
                self.queue_by_library(message(opcode, fin && left == 0, part));
                opcode = OpCode::Continuation;
            }
            return;
        }
        let len = parts.iter().map(Bytes::len).sum();
        let Some(outgoing) = self.begin(opcode, fin, len) else { return parts.clear() };
        for part in parts.drain(..) {
            outgoing.share(part);
        }
    }

    /// Begins a frame of the server, which is not masked (RFC 6455 §5.1): its payload has to follow.
    fn begin(&mut self, opcode: OpCode, fin: bool, len: usize) -> Option<&mut Outgoing> {
        let ws = self.ws.as_mut().filter(|_| !self.sealed)?;
        self.unflushed = true;
        let outgoing = ws.get_mut().outgoing();
        // Small frames that wait for each other need as much as a large one.
        self.grown |= outgoing.tail().len() + len > READ_BUFFER;
        let header =
            FrameHeader { is_final: fin, opcode: coding(opcode), ..FrameHeader::default() };
        let begun = header.format(len as u64, outgoing.tail());
        debug_assert!(begun.is_ok(), "memory takes what is written");
        Some(outgoing)
    }

    /// Has tungstenite mask a frame, or note that it is the last.
    fn queue_by_library(&mut self, message: Message) {
        let Some(ws) = &mut self.ws else { return };
        if self.sealed {
            return;
        }
        self.sealed = matches!(message, Message::Close(_));
        self.grown |= message.len() > READ_BUFFER;
        self.unflushed = true;
        // Below `write_buffer_size` nothing is written, so nothing fails that a flush would not
        // report.
        if let Err(error) = Pin::new(ws).start_send(message) {
            log::debug!("not queued: {error}");
        }
    }

    /// Writes all that is queued.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(ws) = &mut self.ws else { return Poll::Ready(Ok(())) };
        let result = ready!(Pin::new(ws).poll_flush(cx));
        self.unflushed = false;
        if core::mem::take(&mut self.pongs) >= PONGS {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(match result {
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => Ok(()),
            Err(Error::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        })
    }

    /// Whether there may be something to give back.
    pub(crate) fn is_grown(&self) -> bool {
        self.grown && !self.sealed
    }

    /// Gives grown buffers back, if nothing is in them.
    pub(crate) fn slim(&mut self) {
        if self.grown && self.renew(READ_BUFFER) {
            (self.grown, self.wide) = (false, false);
            if let Some(ws) = &mut self.ws {
                ws.get_mut().outgoing().slim();
            }
        }
    }

    /// Reads more at a time from now on, if something large has come and nothing is under way;
    /// then it has to be asked for the next message.
    pub(crate) fn widen(&mut self) -> bool {
        let narrow = self.config.read_buffer_size < WIDE_BUFFER;
        self.wide && narrow && self.renew(WIDE_BUFFER)
    }

    /// Begins with new buffers, if nothing is in the old ones.
    fn renew(&mut self, read_buffer: usize) -> bool {
        if !self.dry || self.unflushed || self.sealed {
            return false;
        }
        let Some(ws) = self.ws.take_if(|ws| ws.get_ref().is_between_messages()) else {
            return false;
        };
        self.config.read_buffer_size = read_buffer;
        let meter = ws.into_inner();
        self.ws =
            WebSocketStream::from_raw_socket(meter, self.role, Some(self.config)).now_or_never();
        true
    }

    /// Tells the peer that nothing more follows.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(ws) = &mut self.ws else { return Poll::Ready(()) };
        // An error means that the peer is gone, and then it knows.
        Pin::new(ws.get_mut().get_mut()).poll_close(cx).map(|_| ())
    }

    /// Reads and drops what a peer sends that has been told to stop, and is ready at its end.
    /// Closing a socket with unread bytes would take our Close frame away from it.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(ws) = &mut self.ws else { return Poll::Ready(()) };
        let stream = ws.get_mut().get_mut();
        let mut scrap = [0; READ_BUFFER];
        for _ in 0..64 {
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut scrap)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        // Others want to run, too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The same opcode in tungstenite's terms.
fn coding(opcode: OpCode) -> WsOpCode {
    match opcode {
        OpCode::Text => WsOpCode::Data(Data::Text),
        OpCode::Binary => WsOpCode::Data(Data::Binary),
        OpCode::Close => WsOpCode::Control(Control::Close),
        OpCode::Ping => WsOpCode::Control(Control::Ping),
        OpCode::Pong => WsOpCode::Control(Control::Pong),
        _ => WsOpCode::Data(Data::Continue),
    }
}

fn message(opcode: OpCode, fin: bool, payload: Bytes) -> Message {
    match opcode {
        OpCode::Ping => Message::Ping(payload),
        OpCode::Pong => Message::Pong(payload),
        OpCode::Close => close(&payload),
        _ => Message::Frame(WsFrame::message(payload, coding(opcode), fin)),
    }
}

/// A Close frame with the payload that the engine wrote.
fn close(payload: &[u8]) -> Message {
    let Some((code, reason)) = payload.split_first_chunk() else { return Message::Close(None) };
    let code = WsCode::from(u16::from_be_bytes(*code));
    Message::Close(Some(CloseFrame {
        code,
        reason: String::from_utf8_lossy(reason).as_ref().into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol::io::Cursor;

    #[test]
    fn what_small_frames_need_together_is_given_back() {
        let stream = Cursor::new(Vec::new());
        let mut socket = Socket::new(Role::Server, stream, &[], 1024, 1024);
        socket.queue(OpCode::Text, true, &[b"small"]);
        assert!(!socket.is_grown());
        for _ in 0..READ_BUFFER / 5 {
            socket.queue(OpCode::Text, true, &[b"small"]);
        }
        assert!(socket.is_grown());
    }
}
