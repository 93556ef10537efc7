//! From what the engine lends to what tungstenite takes.

use crate::socket::{self, Socket};
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::frame::coding::Data;
use bytes::Bytes;
use smol::io::{AsyncRead, AsyncWrite};
use wslink_core::{Blob, Body, OpCode, Transmit};

/// What a frame costs beside its payload, so that empty ones count as well.
pub(crate) const OVERHEAD: usize = 16;

/// Blobs from this size on are shared with tungstenite; smaller ones cost less as copies.
const SHARED: usize = 4 << 10;

/// Puts the frames of the engine together, or sends them in fragments.
///
/// The engine lends a frame in pieces, but the header of a WebSocket frame tells the length of all
/// of it. Small pieces are gathered; a large piece of a blob goes as a fragment of its own, so that
/// it is not copied here.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    gathered: Vec<u8>,
    /// A fragment of the frame under way was sent.
    started: bool,
}

/// A piece of a blob that has to be made, and with it the rest of a frame.
pub(crate) struct Later<B> {
    blob: B,
    offset: u64,
    len: usize,
    /// `None` if more of the frame follows.
    end: Option<End>,
}

/// The end of a frame.
#[derive(Clone, Copy)]
struct End {
    opcode: OpCode,
    fin: bool,
}

impl Pieces {
    /// Queues what was lent, or keeps it for the rest of its frame. What it gives back has to be
    /// [`read`](Self::read) before the next piece is sent.
    pub(crate) fn send<B, T>(
        &mut self,
        transmit: &Transmit<'_, B>,
        to: &mut Socket<T>,
    ) -> Option<Later<B>>
    where
        B: Blob + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let Transmit { opcode, fin, len, taken, head, ref body } = *transmit;
        let complete = taken + head.len() + body.len() >= len;
        let end = complete.then_some(End { opcode, fin });
        // Sized for the whole frame, unless most of it is a blob that passes by.
        let own = match body {
            Body::Blob { len, .. } if *len >= SHARED => head.len(),
            _ => head.len() + body.len(),
        };
        self.gathered.reserve_exact(own);
        self.gathered.extend_from_slice(head);
        match *body {
            Body::Bytes(bytes) => self.gathered.extend_from_slice(bytes),
            Body::Blob { blob, offset, len } => match slice(blob, offset, len) {
                Some(bytes) if len < SHARED => self.gathered.extend_from_slice(bytes),
                Some(_) => {
                    if !self.gathered.is_empty() {
                        let payload = core::mem::take(&mut self.gathered);
                        self.queue(opcode, false, payload.into(), to);
                    }
                    let shared = Bytes::from_owner(Piece { blob: blob.clone(), offset, len });
                    self.queue(opcode, fin && complete, shared, to);
                    self.started = !complete;
                    return None;
                }
                None => return Some(Later { blob: blob.clone(), offset, len, end }),
            },
            _ => {}
        }
        self.end(end, to);
        None
    }

    /// As [`send`](Self::send), of a blob that is read as it is sent: these are its next bytes. Gives
    /// back how many of the frame were sent with them.
    #[cfg(feature = "client")]
    pub(crate) fn send_read<B, T>(
        &mut self,
        transmit: &Transmit<'_, B>,
        bytes: Bytes,
        to: &mut Socket<T>,
    ) -> usize
    where
        B: Blob,
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let Transmit { opcode, fin, len, taken, head, .. } = *transmit;
        let count = head.len() + bytes.len();
        let complete = taken + count >= len;
        self.gathered.extend_from_slice(head);
        if bytes.len() < SHARED {
            self.gathered.extend_from_slice(&bytes);
            self.end(complete.then_some(End { opcode, fin }), to);
            return count;
        }
        if !self.gathered.is_empty() {
            let payload = core::mem::take(&mut self.gathered);
            self.queue(opcode, false, payload.into(), to);
        }
        self.queue(opcode, fin && complete, bytes, to);
        self.started = !complete;
        count
    }

    /// Has a piece of a blob made, and queues its frame if it is complete.
    pub(crate) fn read<B, T>(&mut self, later: Later<B>, to: &mut Socket<T>)
    where
        B: Blob,
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let Later { blob, mut offset, len, end } = later;
        let mut at = self.gathered.len();
        self.gathered.reserve_exact(len);
        self.gathered.resize(at + len, 0);
        while let Some(into) = self.gathered.get_mut(at..)
            && !into.is_empty()
        {
            let count = blob.read(offset, into);
            if count == 0 {
                // Its length was announced, so zeros follow.
                log::error!("a blob is shorter than it said");
                break;
            }
            at += count;
            offset += count as u64;
        }
        self.end(end, to);
    }

    /// Queues the rest of a frame that is complete.
    fn end<T>(&mut self, end: Option<End>, to: &mut Socket<T>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(End { opcode, fin }) = end else { return };
        let payload = core::mem::take(&mut self.gathered);
        self.queue(opcode, fin, payload.into(), to);
        self.started = false;
    }

    fn queue<T>(&mut self, opcode: OpCode, fin: bool, payload: Bytes, to: &mut Socket<T>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let opcode = match opcode {
            OpCode::Ping => return to.queue(Message::Ping(payload)),
            OpCode::Pong => return to.queue(Message::Pong(payload)),
            OpCode::Close => return to.queue(socket::close(&payload)),
            // The first fragment names the opcode.
            _ if core::mem::replace(&mut self.started, true) => Data::Continue,
            OpCode::Text => Data::Text,
            OpCode::Binary => Data::Binary,
            _ => Data::Continue,
        };
        to.queue(socket::data(opcode, fin, payload));
    }
}

/// A piece of a blob that lies in memory.
fn slice<B: Blob>(blob: &B, offset: u64, len: usize) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    blob.as_slice()?.get(start..start.checked_add(len)?)
}

/// Keeps a blob alive for as long as tungstenite needs a piece of it.
struct Piece<B> {
    blob: B,
    offset: u64,
    len: usize,
}

impl<B: Blob> AsRef<[u8]> for Piece<B> {
    fn as_ref(&self) -> &[u8] {
        slice(&self.blob, self.offset, self.len).unwrap_or_default()
    }
}
