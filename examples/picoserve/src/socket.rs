//! Sockets and time of the system, as the two servers want them.

use core::time::Duration;
use embedded_io_async::{ErrorType, Read, Write};
use picoserve::mem::{BorrowedBuffer, BorrowedCursor};
use picoserve::{Error, Timeouts};
use smol::net::TcpStream;
use std::io;
use std::net::Shutdown;

/// One direction of a socket; where it is read from, first what was read ahead.
pub(crate) struct Stream {
    ahead: Vec<u8>,
    stream: TcpStream,
}

impl Stream {
    pub(crate) const fn new(stream: TcpStream) -> Self {
        Self { ahead: Vec::new(), stream }
    }
}

impl ErrorType for Stream {
    type Error = io::Error;
}

impl Read for Stream {
    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.ahead.is_empty() {
            return smol::io::AsyncReadExt::read(&mut self.stream, into).await;
        }
        let count = into.len().min(self.ahead.len());
        into.iter_mut().zip(self.ahead.drain(..count)).for_each(|(to, from)| *to = from);
        Ok(count)
    }
}

impl Write for Stream {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        smol::io::AsyncWriteExt::write(&mut self.stream, bytes).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        smol::io::AsyncWriteExt::flush(&mut self.stream).await
    }
}

/// picoserve formats into the buffer of what it writes to; this one is no longer than a call.
impl picoserve::io::Write for Stream {
    async fn write_with<F: FnOnce(BorrowedCursor<'_>) -> R, R>(
        &mut self,
        with: F,
    ) -> io::Result<R> {
        let mut bytes = [0; 256];
        let mut buffer = BorrowedBuffer::new(&mut bytes);
        let result = with(buffer.unfilled());
        self.write_all(buffer.filled()).await?;
        Ok(result)
    }
}

/// A socket for picoserve, of which the first bytes have been read.
pub(crate) struct Socket {
    rx: Stream,
    tx: Stream,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, ahead: Vec<u8>) -> Self {
        Self { rx: Stream { ahead, stream: stream.clone() }, tx: Stream::new(stream) }
    }
}

/// The runtime, as picoserve tells them apart.
pub(crate) struct Smol;

impl picoserve::io::Socket<Smol> for Socket {
    type Error = io::Error;
    type ReadHalf<'a> = &'a mut Stream;
    type WriteHalf<'a> = &'a mut Stream;

    fn split(&mut self) -> (&mut Stream, &mut Stream) {
        (&mut self.rx, &mut self.tx)
    }

    async fn abort<T: picoserve::Timer<Smol>>(
        self,
        _: &Timeouts,
        _: &T,
    ) -> Result<(), Error<io::Error>> {
        self.tx.stream.shutdown(Shutdown::Both).map_err(Error::Write)
    }

    async fn shutdown<T: picoserve::Timer<Smol>>(
        mut self,
        _: &Timeouts,
        _: &T,
    ) -> Result<(), Error<io::Error>> {
        self.tx.stream.shutdown(Shutdown::Write).map_err(Error::Write)?;
        // A reset would take the answer from a client that still sends.
        let end = async { while let Ok(1..) = self.rx.read(&mut [0; 64]).await {} };
        let late = async { _ = smol::Timer::after(Duration::from_secs(2)).await };
        smol::future::or(end, late).await;
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer;

impl picoserve::Timer<Smol> for Timer {
    async fn delay(&self, duration: picoserve::time::Duration) {
        smol::Timer::after(Duration::from_millis(duration.as_millis())).await;
    }
}
