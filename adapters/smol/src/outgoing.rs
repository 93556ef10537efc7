//! Bytes that wait for the transport to take them.

use bytes::{Buf as _, Bytes};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use smol::io::AsyncWrite;
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// How many places in memory are written with one system call.
const SLICES: usize = 32;

/// Small things lie one behind the other, large ones stay where they are.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// What goes before the tail.
    parts: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// How much of the tail was written.
    written: usize,
}

impl Outgoing {
    /// Where small things are added.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Adds something that is not copied.
    pub(crate) fn share(&mut self, bytes: Bytes) {
        if !self.tail.is_empty() {
            let mut tail = Bytes::from(core::mem::take(&mut self.tail));
            tail.advance(core::mem::take(&mut self.written));
            self.parts.push_back(tail);
        }
        self.parts.push_back(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.tail.is_empty()
    }

    /// Gives its memory back, if nothing is in it.
    pub(crate) fn slim(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Writes once, and says how much was taken; nothing must be empty.
    pub(crate) fn poll_write<T: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        to: Pin<&mut T>,
    ) -> Poll<io::Result<usize>> {
        let tail = self.tail.get(self.written..).unwrap_or_default();
        let count = if self.parts.is_empty() {
            ready!(to.poll_write(cx, tail))?
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let all = self.parts.iter().map(|part| &**part).chain([tail]);
            let used =
                slices.iter_mut().zip(all).map(|(slice, bytes)| *slice = IoSlice::new(bytes));
            let used = used.count();
            ready!(to.poll_write_vectored(cx, slices.get(..used).unwrap_or_default()))?
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(count);
        Poll::Ready(Ok(count))
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(part) = self.parts.front_mut() {
            if count < part.len() {
                return part.advance(count);
            }
            count -= part.len();
            self.parts.pop_front();
        }
        self.written += count;
        if self.written >= self.tail.len() {
            self.tail.clear();
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::task::Waker;

    /// Takes so many bytes at a time.
    struct Narrow(usize, Vec<u8>);

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.0);
            self.1.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let Self(most, written) = self.get_mut();
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let count = all.len().min(*most);
            written.extend_from_slice(&all[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn everything_leaves_in_its_order_however_little_is_taken_at_a_time() {
        for most in [1, 2, 3, 5, 1000] {
            let mut outgoing = Outgoing::default();
            let mut expected = Vec::new();
            for turn in 0..50_u8 {
                // Some behind what is there, some shared, some of both empty.
                let small = vec![turn; usize::from(turn % 4)];
                let large = Bytes::from(vec![100 + turn; usize::from(turn % 7)]);
                outgoing.tail().extend_from_slice(&small);
                expected.extend_from_slice(&small);
                if turn % 3 > 0 {
                    expected.extend_from_slice(&large);
                    outgoing.share(large);
                }
            }
            let mut narrow = Narrow(most, Vec::new());
            let cx = &mut Context::from_waker(Waker::noop());
            while !outgoing.is_empty() {
                assert!(matches!(
                    outgoing.poll_write(cx, Pin::new(&mut narrow)),
                    Poll::Ready(Ok(count)) if count <= most
                ));
            }
            assert_eq!(narrow.1, expected);
        }
    }

    #[test]
    fn a_transport_that_takes_nothing_is_at_its_end() {
        let mut outgoing = Outgoing::default();
        outgoing.tail().extend_from_slice(b"bytes");
        let cx = &mut Context::from_waker(Waker::noop());
        let result = outgoing.poll_write(cx, Pin::new(&mut Narrow(0, Vec::new())));
        assert!(matches!(
            result,
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::WriteZero
        ));
    }
}
