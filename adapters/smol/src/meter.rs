//! A stream that knows where the WebSocket frames lie that are read through it.

use crate::outgoing::Outgoing;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use smol::io::{AsyncRead, AsyncWrite};
use std::io;

/// Counts what passes, and refuses a frame before anything is allocated for it.
///
/// tungstenite tells of whole messages only, sets memory aside for the length that a frame
/// claims, and keeps its largest buffers for good. What it does not tell is learnt here, from the
/// frame headers in passing: that bytes came, that a message is too big, and that nothing is left
/// inside, so that the buffers can be given back.
///
/// Frames may also be written past tungstenite, which copies what it sends: they are in
/// [`outgoing`](Self::outgoing), and leave before what it writes next.
#[derive(Debug)]
pub(crate) struct Meter<T> {
    inner: T,
    outgoing: Outgoing,
    read: u64,
    written: u64,
    limit: u64,
    refused: Option<u64>,
    frames: Frames,
}

impl<T> Meter<T> {
    /// A stream of which `read_ahead` was already read.
    pub(crate) fn new(inner: T, limit: u64) -> Self {
        let frames = Frames::default();
        let outgoing = Outgoing::default();
        Self { inner, outgoing, read: 0, written: 0, limit, refused: None, frames }
    }

    /// Notes bytes that did not pass through the stream, and says how many of them are good.
    pub(crate) fn note(&mut self, bytes: &[u8]) -> usize {
        match self.frames.follow(bytes, self.limit) {
            Ok(()) => bytes.len(),
            Err(TooBig { good, claimed }) => {
                self.refused = Some(claimed);
                good
            }
        }
    }

    /// How many bytes were read.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// How many bytes were written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// The largest message that may come in.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// The size of the message that was too big. Nothing more is read then.
    pub(crate) fn refused(&self) -> Option<u64> {
        self.refused
    }

    /// Whether all that was read are whole messages.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.frames == Frames::default()
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// Whole frames, for [`poll_flush`](AsyncWrite::poll_flush) to write.
    pub(crate) fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }
}

impl<T: AsyncWrite + Unpin> Meter<T> {
    fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let count = ready!(self.outgoing.poll_write(cx, Pin::new(&mut self.inner)))?;
            self.written += count as u64;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Meter<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.refused.is_some() {
            return Poll::Ready(Err(io::Error::other("message too big")));
        }
        let count = ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.read += count as u64;
        let good = self.note(buf.get(..count).unwrap_or_default());
        if good == 0 && count > 0 {
            return Poll::Ready(Err(io::Error::other("message too big")));
        }
        Poll::Ready(Ok(good))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Meter<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_outgoing(cx))?;
        let count = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.written += count as u64;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_outgoing(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// Follows frames by their headers (RFC 6455 §5.2).
#[derive(Debug, Default, PartialEq, Eq)]
struct Frames {
    /// The header under way: opcode, length and mask, at most 14 bytes.
    header: [u8; 14],
    have: usize,
    /// Payload of the current frame that is still to come.
    payload: u64,
    /// Payload so far of a message in fragments.
    message: u64,
    fragmented: bool,
}

/// A message is longer than the limit.
#[derive(Debug, PartialEq, Eq)]
struct TooBig {
    /// How many of the bytes precede it.
    good: usize,
    /// How long it is at least.
    claimed: u64,
}

impl Frames {
    fn follow(&mut self, mut bytes: &[u8], limit: u64) -> Result<(), TooBig> {
        let whole = bytes.len();
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skip = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
                self.payload -= skip as u64;
                bytes = bytes.get(skip..).unwrap_or_default();
                continue;
            }
            let had = self.have;
            for (slot, byte) in self.header.iter_mut().skip(had).zip(bytes) {
                *slot = *byte;
                self.have += 1;
            }
            if self.have < 2 || self.have < self.header_len() {
                // All of it was too little for a header.
                return Ok(());
            }
            let rest = bytes.get(self.header_len() - had..).unwrap_or_default();
            // With the last byte of the header it is known how long the message is.
            let start = whole - rest.len() - 1;
            bytes = rest;
            let claimed = self.begin();
            if claimed > limit {
                return Err(TooBig { good: start, claimed });
            }
        }
        Ok(())
    }

    /// Length of the header, of which the first two bytes are there.
    fn header_len(&self) -> usize {
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + mask
            + match self.header[1] & 0x7f {
                126 => 2,
                127 => 8,
                _ => 0,
            }
    }

    /// The header is complete: how long is its message so far?
    fn begin(&mut self) -> u64 {
        let [first, second, ..] = self.header;
        let extended = self.header.get(2..).unwrap_or_default();
        let number = |len: usize| {
            extended.iter().take(len).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        self.payload = match second & 0x7f {
            126 => number(2),
            127 => number(8),
            short => u64::from(short),
        };
        self.have = 0;
        self.header = [0; 14];
        // Control frames may stand between the fragments of a message.
        if first & 0x08 != 0 {
            return self.payload;
        }
        let claimed = self.message.saturating_add(self.payload);
        self.fragmented = first & 0x80 == 0;
        self.message = if self.fragmented { claimed } else { 0 };
        claimed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame as clients send it.
    fn frame(first: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match len {
            0..126 => bytes.push(0x80 | len as u8),
            126..65536 => {
                bytes.push(0x80 | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        bytes.extend([0; 4]);
        bytes.extend(vec![0xff; len]);
        bytes
    }

    #[test]
    fn finds_the_boundaries_however_the_bytes_are_cut() {
        let stream =
            [frame(0x82, 5), frame(0x81, 300), frame(0x02, 70_000), frame(0x89, 0), frame(0x80, 9)];
        // The third message goes on after its first frame, and a ping does not end it.
        let whole = [true, true, false, false, true];
        for step in [1, 2, 3, 7, 4096, 100_000] {
            let mut frames = Frames::default();
            for (bytes, whole) in stream.iter().zip(whole) {
                for piece in bytes.chunks(step) {
                    frames.follow(piece, 1 << 20).unwrap();
                }
                assert_eq!(frames == Frames::default(), whole);
                frames.follow(&bytes[..1], 1 << 20).unwrap();
                assert_ne!(frames, Frames::default());
                frames.have = 0;
                frames.header = [0; 14];
            }
        }
    }

    #[test]
    fn refuses_what_is_above_the_limit_and_nothing_before_it() {
        let mut bytes = frame(0x82, 300);
        let good = bytes.len();
        bytes.extend(&frame(0x82, 301)[..8]);
        let mut frames = Frames::default();
        // The header is complete with its last byte, where the refusal begins.
        assert_eq!(frames.follow(&bytes, 300), Err(TooBig { good: good + 7, claimed: 301 }));

        let mut frames = Frames::default();
        frames.follow(&frame(0x02, 200), 300).unwrap();
        frames.follow(&frame(0x89, 100), 300).unwrap();
        let TooBig { claimed, .. } = frames.follow(&frame(0x80, 101), 300).unwrap_err();
        assert_eq!(claimed, 301);

        let mut frames = Frames::default();
        let huge = [0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(frames.follow(&huge, 300).unwrap_err().claimed, u64::MAX);
    }
}
