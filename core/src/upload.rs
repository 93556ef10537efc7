//! Uploads: bytes that a call reads as they come, however many they are.

use crate::{Call, CallId, Connection, Memory};
use core::fmt;
use core::future::poll_fn;
use core::ops::Range;
use core::task::{Context, Poll, Waker};

/// The argument of a method that takes an upload ([`MethodInfo::with_upload`]), which is read as
/// it comes and need not fit any memory. While it is not read, its client is held back.
///
/// ```
/// # use wslink_core::{Cx, RpcError, Upload};
/// async fn count<B>(cx: Cx<'_, B>) -> Result<u64, RpcError> {
///     let mut upload = cx.upload()?;
///     let (mut count, mut buffer) = (0, [0; 64]);
///     loop {
///         match upload.read(&mut buffer).await {
///             0 => return Ok(count),
///             n => count += n as u64,
///         }
///     }
/// }
/// ```
///
/// It ends when all of it has come and the message around it was well-formed. If it breaks off
/// (the connection ends, the rest is no valid call, the client sends nothing more for too long)
/// the call is over: its future is dropped, as when it is cancelled. Whatever has been done with
/// the bytes up to there is to be undone by a `Drop`, and nothing of it should count before the
/// end. A call that is over before the end needs no more: what still comes is passed over.
///
/// [`MethodInfo::with_upload`]: crate::MethodInfo::with_upload
pub struct Upload<'a> {
    source: &'a dyn UploadSource,
}

impl<'a> Upload<'a> {
    pub(crate) const fn new(source: &'a dyn UploadSource) -> Self {
        Self { source }
    }

    /// Puts the next bytes at the front of `into`, and tells how many: as many as are there, at
    /// least one unless `into` is empty, and 0 at the end.
    // Half as large as an `async fn`, which would keep its arguments twice.
    pub fn read(&mut self, into: &mut [u8]) -> impl Future<Output = usize> {
        poll_fn(|cx| if into.is_empty() { Poll::Ready(0) } else { self.source.poll_read(cx, into) })
    }

    /// How many bytes there are in all. In 1.x that is not known of a large upload.
    #[expect(clippy::len_without_is_empty, reason = "nobody may know whether it is empty")]
    pub fn len(&self) -> Option<u64> {
        self.source.upload_len().map(u64::from)
    }
}

impl fmt::Debug for Upload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Where the bytes of an [`Upload`] come from: an adapter's way to its [`Pipe`].
pub trait UploadSource: Sync {
    /// As [`Pipe::poll_read`].
    fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<usize>;

    /// As [`Pipe::len`].
    fn upload_len(&self) -> Option<u32>;
}

/// What lies between a [`Connection`] and the call that reads an upload: a few bytes, which the
/// adapter keeps where both reach them.
///
/// One for each connection suffices, since a connection has one upload at a time. An adapter
/// [begins](Self::begin) it with each call of a method that takes an upload, [fills](Self::fill)
/// it whenever something has happened, and lets the call [read](Self::poll_read).
#[derive(Debug)]
pub struct Pipe<B> {
    buffer: B,
    filled: Range<usize>,
    call: Option<CallId>,
    len: Option<u32>,
    ended: bool,
    /// The call, which waits for bytes.
    reader: Option<Waker>,
    /// The connection, which waits for them to be read.
    filler: Option<Waker>,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Pipe<B> {
    /// A pipe with a buffer that is not empty.
    pub const fn new(buffer: B) -> Self {
        let filled = 0..0;
        Self { buffer, filled, call: None, len: None, ended: false, reader: None, filler: None }
    }

    /// A call has come that takes an upload.
    pub fn begin(&mut self, call: &Call<'_>) {
        self.filled = 0..0;
        (self.call, self.len, self.ended) = (Some(call.id), call.upload_len, false);
        self.wake_reader();
    }

    /// Takes what the connection has, and tells whether that was anything. Wakes the call, and
    /// later, when there is something to do, whoever `cx` is.
    pub fn fill<M: Memory>(&mut self, conn: &mut Connection<M>, cx: &Context<'_>) -> bool {
        if self.ended || self.call.is_none() {
            return false;
        }
        if self.filled.is_empty() {
            match conn.poll_upload(self.buffer.as_mut()) {
                Some((call, count)) if self.call == Some(call) => {
                    self.filled = 0..count;
                    self.ended = count == 0;
                    self.wake_reader();
                    return true;
                }
                _ => {}
            }
        }
        if !self.filler.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.filler = Some(cx.waker().clone());
        }
        false
    }

    /// Gives the next bytes to the call that reads them: as many as are there, 0 at the end.
    pub fn poll_read(&mut self, call: CallId, cx: &Context<'_>, into: &mut [u8]) -> Poll<usize> {
        // That of another call is begun when the end of this one was seen.
        if self.call != Some(call) || self.filled.is_empty() && self.ended {
            return Poll::Ready(0);
        }
        let filled = self.buffer.as_ref().get(self.filled.clone()).unwrap_or_default();
        let count = filled.len().min(into.len());
        if count == 0 {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let (Some(into), Some(from)) = (into.get_mut(..count), filled.get(..count)) {
            into.copy_from_slice(from);
        }
        self.filled.start += count;
        if self.filled.is_empty()
            && let Some(filler) = self.filler.take()
        {
            filler.wake();
        }
        Poll::Ready(count)
    }

    /// How long the upload of this call is, if that is known.
    pub fn len(&self, call: CallId) -> Option<u32> {
        self.len.filter(|_| self.call == Some(call))
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
