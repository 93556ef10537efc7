//! Binary data of calls: bytes that lie in memory, and readers that are read as they are sent.

use crate::shared::lock;
use bytes::Bytes;
use core::pin::Pin;
use core::task::{Context, Poll};
use smol::io::AsyncRead;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// How much of a reader is in memory at once.
const PIECE: usize = 64 << 10;

/// What is attached to a call.
#[derive(Clone)]
pub(super) enum Blob {
    Bytes(Bytes),
    Reader(Source),
}

/// A reader, of which all calls it is attached to are sent the same bytes once.
#[derive(Clone)]
pub(super) struct Source {
    len: u64,
    reading: Arc<Mutex<Reading>>,
}

struct Reading {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    /// What was read, and is not sent.
    ready: Bytes,
    /// Where `ready` ends.
    at: u64,
    failed: Option<String>,
}

impl Source {
    pub(super) fn new(reader: impl AsyncRead + Send + 'static, len: u64) -> Self {
        let reader = Box::pin(reader);
        let reading = Reading { reader, ready: Bytes::new(), at: 0, failed: None };
        Self { len, reading: Arc::new(Mutex::new(reading)) }
    }

    /// Reads what stands at `offset`, unless it is ready. Nothing of the client may be locked
    /// meanwhile: whoever wrote the reader may use it.
    pub(super) fn poll_fill(&self, cx: &mut Context<'_>, offset: u64) -> Poll<Result<(), String>> {
        let mut reading = self.reading();
        let reading = &mut *reading;
        if let Some(why) = &reading.failed {
            return Poll::Ready(Err(why.clone()));
        }
        if reading.at - reading.ready.len() as u64 != offset {
            return Poll::Ready(Err("it was read further already".to_owned()));
        }
        let left = usize::try_from(self.len - reading.at).unwrap_or(usize::MAX).min(PIECE);
        if left == 0 || !reading.ready.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut piece = vec![0; left];
        let why = loop {
            match reading.reader.as_mut().poll_read(cx, &mut piece) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    break format!("it has {} bytes instead of {}", reading.at, self.len);
                }
                Poll::Ready(Ok(count)) => {
                    piece.truncate(count);
                    reading.at += piece.len() as u64;
                    reading.ready = piece.into();
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => break error.to_string(),
            }
        };
        reading.failed = Some(why.clone());
        Poll::Ready(Err(why))
    }

    /// As much as `most` of what is ready at `offset`; `None` if that is not read yet.
    pub(super) fn take(&self, offset: u64, most: usize) -> Option<Bytes> {
        let mut reading = self.reading();
        let count = reading.ready.len().min(most);
        let is_next = reading.at - reading.ready.len() as u64 == offset;
        (is_next && count > 0).then(|| reading.ready.split_to(count))
    }

    /// Why nothing more comes of it.
    pub(super) fn failure(&self) -> Option<String> {
        self.reading().failed.clone()
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        lock(&self.reading)
    }
}

impl wslink_core::Blob for Blob {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Reader(source) => source.len,
        }
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        match self {
            Self::Bytes(bytes) => wslink_core::Blob::read(bytes, offset, into),
            // The driver takes what was read.
            Self::Reader(_) => 0,
        }
    }

    fn as_slice(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Reader(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker;
    use smol::io::Cursor;

    #[test]
    fn a_reader_is_read_in_pieces_and_its_end_is_noticed() {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let bytes: Vec<u8> = (0..PIECE + 10).map(|at| at as u8).collect();
        let source = Source::new(Cursor::new(bytes.clone()), bytes.len() as u64 + 1);
        assert_eq!(source.take(0, 5), None);
        assert_eq!(source.poll_fill(&mut cx, 0), Poll::Ready(Ok(())));
        assert_eq!(source.take(0, 5).unwrap(), bytes[..5]);
        assert_eq!(source.take(0, 5), None, "it was taken");
        assert_eq!(source.poll_fill(&mut cx, 5), Poll::Ready(Ok(())));
        assert_eq!(source.take(5, usize::MAX).unwrap(), bytes[5..PIECE]);
        assert_eq!(source.poll_fill(&mut cx, PIECE as u64), Poll::Ready(Ok(())));
        assert_eq!(source.take(PIECE as u64, usize::MAX).unwrap(), bytes[PIECE..]);
        let why = format!("it has {} bytes instead of {}", bytes.len(), bytes.len() + 1);
        assert!(matches!(source.poll_fill(&mut cx, 5), Poll::Ready(Err(_))));
        let end = bytes.len() as u64;
        assert_eq!(source.poll_fill(&mut cx, end), Poll::Ready(Err(why.clone())));
        assert_eq!(source.failure(), Some(why));
    }
}
