//! From what the engine lends to frames of the socket.

use crate::socket::Socket;
use bytes::Bytes;
use smol::io::{AsyncRead, AsyncWrite};
use wslink_core::{Blob, Body, OpCode, Transmit};

/// What a frame costs beside its payload, so that empty ones count as well.
pub(crate) const OVERHEAD: usize = 16;

/// Blobs from this size on are shared with the socket; smaller ones cost less as copies.
const SHARED: usize = 4 << 10;

/// How many shared bytes count as one that is copied: they take no memory of their own, and are only
/// in the way of what comes behind.
const SHARED_WEIGHT: usize = 4;

/// What was lent, as a part of a [`BATCH`](crate::socket::BATCH).
pub(crate) fn weight<B: Blob>(transmit: &Transmit<'_, B>) -> usize {
    let body = match transmit.body {
        Body::Blob { blob, len, .. } if len >= SHARED && blob.as_slice().is_some() => {
            len / SHARED_WEIGHT
        }
        ref body => body.len(),
    };
    OVERHEAD + transmit.head.len() + body
}

/// Puts the frames of the engine together.
///
/// The engine lends a frame in pieces, and what it has lent it may still give up; so a frame is
/// queued when it is complete. Small pieces are gathered; a large piece of a blob is not copied.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    parts: Vec<Bytes>,
    gathered: Vec<u8>,
    /// A fragment of the frame under way was queued already.
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
    /// Whether more of a frame has to come before it can be queued.
    pub(crate) fn is_unfinished(&self) -> bool {
        !self.parts.is_empty() || !self.gathered.is_empty()
    }

    /// The engine has given up what it has lent of a frame.
    pub(crate) fn abandon(&mut self) {
        self.parts.clear();
        self.gathered.clear();
    }

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
        let bytes = match *body {
            Body::Bytes(bytes) => bytes,
            Body::Blob { blob, offset, len } => match slice(blob, offset, len) {
                Some(bytes) if len < SHARED => bytes,
                Some(_) => {
                    self.gathered.extend_from_slice(head);
                    self.close_part();
                    self.parts.push(Bytes::from_owner(Piece { blob: blob.clone(), offset, len }));
                    self.end(end, to);
                    return None;
                }
                None => {
                    self.gathered.extend_from_slice(head);
                    return Some(Later { blob: blob.clone(), offset, len, end });
                }
            },
            _ => &[],
        };
        if taken == 0 && complete {
            to.queue(opcode, fin, &[head, bytes]);
            return None;
        }
        self.gathered.extend_from_slice(head);
        self.gathered.extend_from_slice(bytes);
        self.end(end, to);
        None
    }

    /// As [`send`](Self::send), of a blob that is read as it is sent: these are its next bytes, and
    /// a fragment for themselves. Gives back how many of the frame were sent with them.
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
        } else {
            self.close_part();
            self.parts.push(bytes);
        }
        self.queue(opcode, fin && complete, to);
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

    /// Queues a frame that is complete.
    fn end<T>(&mut self, end: Option<End>, to: &mut Socket<T>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(End { opcode, fin }) = end else { return };
        self.queue(opcode, fin, to);
        self.started = false;
    }

    fn queue<T>(&mut self, opcode: OpCode, fin: bool, to: &mut Socket<T>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        self.close_part();
        // The first fragment names the opcode.
        let opcode = if self.started { OpCode::Continuation } else { opcode };
        to.queue_shared(opcode, fin, &mut self.parts);
    }

    /// What was gathered is complete in itself.
    fn close_part(&mut self) {
        if !self.gathered.is_empty() {
            self.parts.push(core::mem::take(&mut self.gathered).into());
        }
    }
}

/// A piece of a blob that lies in memory.
fn slice<B: Blob>(blob: &B, offset: u64, len: usize) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    blob.as_slice()?.get(start..start.checked_add(len)?)
}

/// Keeps a blob alive for as long as the socket needs a piece of it.
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
