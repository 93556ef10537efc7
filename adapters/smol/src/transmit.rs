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

impl Pieces {
    pub(crate) fn send<B, T>(&mut self, transmit: &Transmit<'_, B>, to: &mut Socket<T>)
    where
        B: Blob + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let head = transmit.head;
        let complete = transmit.taken + head.len() + transmit.body.len() >= transmit.len;
        let opcode = match transmit.opcode {
            OpCode::Continuation => Data::Continue,
            OpCode::Text => Data::Text,
            OpCode::Binary => Data::Binary,
            control => {
                self.gather(head, &transmit.body);
                if complete {
                    let payload = core::mem::take(&mut self.gathered);
                    to.queue(match control {
                        OpCode::Ping => Message::Ping(payload.into()),
                        OpCode::Pong => Message::Pong(payload.into()),
                        _ => socket::close(&payload),
                    });
                }
                return;
            }
        };
        let fin = transmit.fin && complete;
        if let Body::Blob { blob, offset, len } = transmit.body
            && len >= SHARED
            && let Some(shared) = share(blob, offset, len)
        {
            self.gathered.extend_from_slice(head);
            if !self.gathered.is_empty() {
                let payload = core::mem::take(&mut self.gathered);
                to.queue(socket::data(self.fragment(opcode), false, payload.into()));
            }
            to.queue(socket::data(self.fragment(opcode), fin, shared));
        } else {
            self.gather(head, &transmit.body);
            if complete {
                let payload = core::mem::take(&mut self.gathered);
                to.queue(socket::data(self.fragment(opcode), fin, payload.into()));
            }
        }
        if complete {
            self.started = false;
        }
    }

    /// The opcode of the next fragment.
    fn fragment(&mut self, opcode: Data) -> Data {
        if core::mem::replace(&mut self.started, true) { Data::Continue } else { opcode }
    }

    fn gather<B: Blob>(&mut self, head: &[u8], body: &Body<'_, B>) {
        self.gathered.reserve_exact(head.len() + body.len());
        self.gathered.extend_from_slice(head);
        match *body {
            Body::Bytes(bytes) => self.gathered.extend_from_slice(bytes),
            Body::Blob { blob, offset, len } => {
                let mut at = self.gathered.len();
                let end = at + len;
                self.gathered.resize(end, 0);
                let mut offset = offset;
                // A blob that ends early broke its word; its length was announced, so zeros
                // follow.
                while let Some(into) = self.gathered.get_mut(at..end)
                    && !into.is_empty()
                {
                    let count = blob.read(offset, into);
                    if count == 0 {
                        log::error!("a blob is shorter than it said");
                        break;
                    }
                    at += count;
                    offset += count as u64;
                }
            }
            _ => {}
        }
    }
}

/// A piece of a blob that lies in memory, without a copy.
fn share<B: Blob + Send + 'static>(blob: &B, offset: u64, len: usize) -> Option<Bytes> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(len)?;
    blob.as_slice()?.get(start..end)?;
    Some(Bytes::from_owner(Piece { blob: blob.clone(), start, end }))
}

/// Keeps a blob alive for as long as tungstenite needs a piece of it.
struct Piece<B> {
    blob: B,
    start: usize,
    end: usize,
}

impl<B: Blob> AsRef<[u8]> for Piece<B> {
    fn as_ref(&self) -> &[u8] {
        self.blob.as_slice().and_then(|bytes| bytes.get(self.start..self.end)).unwrap_or_default()
    }
}
