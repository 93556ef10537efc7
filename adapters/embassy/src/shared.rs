//! What all connections of a server share: the hub, and who waits for news of it.

use crate::Lent;
use core::cell::{Cell, RefCell};
use core::task::{Context, Poll};
use core::time::Duration;
use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::waitqueue::MultiWakerRegistration;
use wslink_core::{
    Attachment, Audience, Blob, CallId, Encode, Host, Hub, Instant, Limit, LimitExceeded, Memory,
    Pipe, Publish, PublishError, Table, UploadSource,
};

/// The clock of all connections.
pub(crate) fn now() -> Instant {
    Instant::from_millis(embassy_time::Instant::now().as_millis())
}

/// The hub behind a lock that is held for as long as it takes to encode a publication or to copy a
/// frame, and never across an await.
pub(crate) struct Shared<'m, M: Memory<Buffer = Lent<'m>>, R: RawMutex, const PEERS: usize>(
    Mutex<R, RefCell<Inner<'m, M, PEERS>>>,
);

struct Inner<'m, M: Memory<Buffer = Lent<'m>>, const PEERS: usize> {
    hub: Hub<M>,
    waiting: MultiWakerRegistration<PEERS>,
}

impl<'m, M: Memory<Buffer = Lent<'m>>, R: RawMutex, const PEERS: usize> Shared<'m, M, R, PEERS> {
    pub(crate) const fn new(hub: Hub<M>) -> Self {
        let waiting = MultiWakerRegistration::new();
        Self(Mutex::new(RefCell::new(Inner { hub, waiting })))
    }

    /// Runs `with` on the hub, under the lock.
    pub(crate) fn hub<T>(&self, with: impl FnOnce(&mut Hub<M>) -> T) -> T {
        self.0.lock(|inner| with(&mut inner.borrow_mut().hub))
    }

    /// Wakes the task at the next publication.
    pub(crate) fn listen(&self, cx: &Context<'_>) {
        self.0.lock(|inner| inner.borrow_mut().waiting.register(cx.waker()));
    }
}

impl<'m, M, R, const PEERS: usize> Publish<M::Blob> for Shared<'m, M, R, PEERS>
where
    M: Memory<Buffer = Lent<'m>>,
    R: RawMutex + Sync,
    Hub<M>: Send,
{
    fn publish(
        &self,
        topic: &'static str,
        audience: Audience,
        blobs: &[M::Blob],
        encode: &Encode<'_>,
    ) -> Result<(), PublishError> {
        self.0.lock(|inner| {
            let inner = &mut *inner.borrow_mut();
            inner.hub.publish(topic, audience, blobs, encode)?;
            inner.waiting.wake();
            Ok(())
        })
    }
}

/// What a running call reaches through its `Cx`.
pub(crate) struct CallHost<'s, 'm, M: Memory<Buffer = Lent<'m>>, R: RawMutex, const PEERS: usize> {
    shared: &'s Shared<'m, M, R, PEERS>,
    blobs: Mutex<R, RefCell<M::Blobs>>,
    /// When progress may be told next.
    progress_at: Mutex<R, Cell<Instant>>,
    upload: Option<Reads<'s, R>>,
}

/// Least time between two tellings of a call's progress.
const PROGRESS: Duration = Duration::from_millis(50);

impl<'s, 'm, M, R, const PEERS: usize> CallHost<'s, 'm, M, R, PEERS>
where
    M: Memory<Buffer = Lent<'m>>,
    R: RawMutex,
{
    pub(crate) fn new(shared: &'s Shared<'m, M, R, PEERS>, upload: Option<Reads<'s, R>>) -> Self {
        let progress_at = Mutex::new(Cell::new(Instant::default()));
        Self { shared, blobs: Mutex::new(RefCell::default()), progress_at, upload }
    }

    /// What the call has attached; not to be used while it is polled.
    pub(crate) fn blobs<T>(&self, with: impl FnOnce(&mut M::Blobs) -> T) -> T {
        self.blobs.lock(|blobs| with(&mut blobs.borrow_mut()))
    }
}

impl<'m, M, R, const PEERS: usize> Publish<M::Blob> for CallHost<'_, 'm, M, R, PEERS>
where
    M: Memory<Buffer = Lent<'m>, Blobs: Send>,
    R: RawMutex + Sync,
    Hub<M>: Send,
{
    fn publish(
        &self,
        topic: &'static str,
        audience: Audience,
        blobs: &[M::Blob],
        encode: &Encode<'_>,
    ) -> Result<(), PublishError> {
        self.shared.publish(topic, audience, blobs, encode)
    }
}

impl<'m, M, R, const PEERS: usize> Host<M::Blob> for CallHost<'_, 'm, M, R, PEERS>
where
    M: Memory<Buffer = Lent<'m>, Blobs: Send>,
    M::Blob: Blob,
    R: RawMutex + Sync,
    Hub<M>: Send,
{
    fn attach(&self, blob: M::Blob) -> Result<Attachment, LimitExceeded> {
        self.blobs.lock(|blobs| {
            let mut blobs = blobs.borrow_mut();
            let (index, available) = (blobs.as_ref().len(), blobs.capacity() as u64);
            blobs.push(blob).map_err(|_| LimitExceeded {
                limit: Limit::Attachments,
                needed: index as u64 + 1,
                available,
            })?;
            Ok(Attachment::nth(index as u32))
        })
    }

    fn upload(&self) -> Option<&dyn UploadSource> {
        self.upload.as_ref().map(|reads| reads as _)
    }

    fn is_progress_due(&self, last: bool) -> bool {
        let now = now();
        self.progress_at.lock(|at| {
            let due = now >= at.get();
            if due {
                at.set(now + PROGRESS);
            }
            due || last
        })
    }
}

/// What lies between a connection and the call that reads an upload. Small, since it is there for
/// each connection: while it is read the connection fills it again.
pub(crate) type SharedPipe<R> = Mutex<R, RefCell<Pipe<[u8; 64]>>>;

pub(crate) const fn pipe<R: RawMutex>() -> SharedPipe<R> {
    Mutex::new(RefCell::new(Pipe::new([0; 64])))
}

/// Where a call reads its upload.
pub(crate) struct Reads<'s, R: RawMutex> {
    pub(crate) call: CallId,
    pub(crate) pipe: &'s SharedPipe<R>,
}

impl<R: RawMutex + Sync> UploadSource for Reads<'_, R> {
    fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<usize> {
        self.pipe.lock(|pipe| pipe.borrow_mut().poll_read(self.call, cx, into))
    }

    fn upload_len(&self) -> Option<u32> {
        self.pipe.lock(|pipe| pipe.borrow().len(self.call))
    }
}
