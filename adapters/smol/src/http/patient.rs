//! A stream that does not wait for ever.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use smol::Timer;
use smol::io::{AsyncRead, AsyncWrite};
use std::io;

/// A stream on which a peer that reads nothing of an answer is given up after a while.
pub(crate) struct Patient<T> {
    stream: T,
    patience: Duration,
    /// Runs while the peer takes nothing.
    timer: Option<Timer>,
}

impl<T> Patient<T> {
    pub(crate) fn new(stream: T, patience: Duration) -> Self {
        Self { stream, patience, timer: None }
    }

    pub(crate) fn into_inner(self) -> T {
        self.stream
    }

    fn wait<V>(&mut self, cx: &mut Context<'_>, taken: Poll<io::Result<V>>) -> Poll<io::Result<V>> {
        if taken.is_ready() {
            self.timer = None;
            return taken;
        }
        let timer = self.timer.get_or_insert_with(|| Timer::after(self.patience));
        match Pin::new(timer).poll(cx) {
            Poll::Ready(_) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wait(cx, taken)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.wait(cx, taken)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let taken = Pin::new(&mut self.stream).poll_flush(cx);
        self.wait(cx, taken)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let taken = Pin::new(&mut self.stream).poll_close(cx);
        self.wait(cx, taken)
    }
}
