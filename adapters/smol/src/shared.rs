//! What all connections of a server share: the hub, the clock, the wish to stop.

use crate::attempts::Attempts;
use crate::{Heap, HeapBuffer, HeapTable, Options};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use event_listener::{Event, EventListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant as StdInstant;
use wslink_core::{
    Attachment, Audience, Blob, CallId, Encode, Entropy, Host, Hub, HubBuffers, Instant, Limit,
    LimitExceeded, Pipe, Publications, Publish, PublishError, Table, TopicInfo, UploadSource,
};

/// Stops a [`Server`](crate::Server); a clone can be kept by a signal handler or by the service.
#[derive(Clone, Debug)]
pub struct Stop(pub(crate) Arc<Control>);

impl Stop {
    /// Asks for the end: nothing is accepted any more, each client gets Close 1001, running calls
    /// get the time of [`Options::with_grace`].
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// Publishes from outside of calls; cheap to clone, and it may outlive the server.
///
/// [`publications`](Self::publications) is what a service takes, on every runtime.
pub struct Publisher<B: Blob + Send + 'static>(pub(crate) Arc<Shared<B>>);

impl<B: Blob + Send + 'static> Publisher<B> {
    /// The way into the hub.
    pub fn publications(&self) -> Publications<'_, B> {
        Publications::new(self)
    }
}

impl<B: Blob + Send + 'static> Publish<B> for Publisher<B> {
    fn publish(
        &self,
        topic: &'static str,
        audience: Audience,
        blobs: &[B],
        encode: &Encode<'_>,
    ) -> Result<(), PublishError> {
        self.0.publish(topic, audience, blobs, encode)
    }
}

impl<B: Blob + Send + 'static> Clone for Publisher<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Blob + Send + 'static> fmt::Debug for Publisher<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Publisher")
    }
}

/// The hub behind its lock, which is never held across an await.
pub(crate) struct Shared<B: Blob + Send + 'static> {
    hub: Mutex<Hub<Heap<B>>>,
    published: AtomicU64,
    pub(crate) attempts: Mutex<Attempts>,
    pub(crate) control: Arc<Control>,
}

impl<B: Blob + Send + 'static> Shared<B> {
    pub(crate) fn new(
        options: &Options,
        topics: &'static [TopicInfo],
        control: Arc<Control>,
    ) -> Self {
        let buffers =
            HubBuffers { publications: HeapBuffer::default(), retained: HeapBuffer::default() };
        let hub = Hub::new(options.hub, topics, session(), buffers);
        // A table that grows holds any number of topics.
        let hub = hub.unwrap_or_else(|error| unreachable!("{error}"));
        Self {
            hub: Mutex::new(hub),
            published: AtomicU64::new(0),
            attempts: Mutex::default(),
            control,
        }
    }

    /// A panic in somebody's `Serialize` poisons the lock; the hub is whole all the same, for it
    /// takes a publication only after it was written.
    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub<Heap<B>>> {
        lock(&self.hub)
    }

    /// How much was published, whether or not somebody listened.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }
}

impl<B: Blob + Send + 'static> Publish<B> for Shared<B> {
    fn publish(
        &self,
        topic: &'static str,
        audience: Audience,
        blobs: &[B],
        encode: &Encode<'_>,
    ) -> Result<(), PublishError> {
        self.hub().publish(topic, audience, blobs, encode)?;
        self.published.fetch_add(1, Ordering::Relaxed);
        self.control.changed.notify(usize::MAX);
        Ok(())
    }
}

/// Tells this start of the server from others; it need not be secret.
fn session() -> Entropy {
    let mut random = [0; 16];
    if let Err(error) = getrandom::fill(&mut random) {
        log::error!("no entropy for the session: {error}");
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        random = since.unwrap_or_default().as_nanos().to_be_bytes();
    }
    Entropy(random)
}

/// The part of [`Shared`] that does not depend on the service.
pub(crate) struct Control {
    epoch: StdInstant,
    /// Something was published, or a stop was asked for: news for connections.
    changed: Event,
    /// A place became free, or a stop was asked for: news for whoever accepts.
    freed: Event,
    stopping: AtomicBool,
    /// TCP connections, whatever is spoken on them.
    streams: AtomicUsize,
    /// WebSockets.
    clients: AtomicUsize,
    /// When the last WebSocket ended, in milliseconds.
    alone_since: AtomicU64,
    /// When the server shall stop, in milliseconds.
    stop_at: AtomicU64,
    /// When accepting failed last, in milliseconds.
    failed_at: AtomicU64,
}

/// How long nothing has to fail for the next failure to be told.
const WELL: Duration = Duration::from_secs(10);

impl Control {
    pub(crate) fn new() -> Self {
        Self {
            epoch: StdInstant::now(),
            changed: Event::new(),
            freed: Event::new(),
            stopping: AtomicBool::new(false),
            streams: AtomicUsize::new(0),
            clients: AtomicUsize::new(0),
            alone_since: AtomicU64::new(0),
            stop_at: AtomicU64::new(u64::MAX),
            failed_at: AtomicU64::new(u64::MAX),
        }
    }

    /// The clock of all connections and of the hub.
    pub(crate) fn now(&self) -> Instant {
        let millis = self.epoch.elapsed().as_millis();
        Instant::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// The same point in time on the runtime's clock.
    pub(crate) fn std_instant(&self, at: Instant) -> StdInstant {
        let far = Duration::from_secs(365 * 24 * 3600);
        self.epoch + Duration::from_millis(at.as_millis()).min(self.epoch.elapsed() + far)
    }

    pub(crate) fn listen(&self) -> EventListener {
        self.changed.listen()
    }

    pub(crate) fn listen_freed(&self) -> EventListener {
        self.freed.listen()
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.changed.notify(usize::MAX);
        self.freed.notify(usize::MAX);
    }

    /// Stops the server then, unless it was to stop earlier; whoever accepts sees to it.
    pub(crate) fn stop_at(&self, at: Instant) {
        self.stop_at.fetch_min(at.as_millis(), Ordering::SeqCst);
        self.freed.notify(usize::MAX);
    }

    /// When the server shall stop.
    pub(crate) fn stops_at(&self) -> Option<Instant> {
        let at = self.stop_at.load(Ordering::SeqCst);
        (at != u64::MAX).then_some(Instant::from_millis(at))
    }

    /// Notes that accepting failed, and tells whether that is news: while clients take each file that
    /// becomes free, it fails behind each of them.
    pub(crate) fn note_failure(&self, now: Instant) -> bool {
        let last = self.failed_at.swap(now.as_millis(), Ordering::Relaxed);
        last == u64::MAX || now >= Instant::from_millis(last) + WELL
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::SeqCst)
    }

    pub(crate) fn clients(&self) -> usize {
        self.clients.load(Ordering::SeqCst)
    }

    /// Since when there has been no client; `None` while there is one.
    pub(crate) fn alone_since(&self) -> Option<Instant> {
        let since = Instant::from_millis(self.alone_since.load(Ordering::SeqCst));
        (self.clients() == 0).then_some(since)
    }

    /// Lets the time without a client begin now.
    pub(crate) fn restart_idle(&self) {
        self.alone_since.store(self.now().as_millis(), Ordering::SeqCst);
    }

    /// Counts a TCP connection as long as the result lives.
    pub(crate) fn enter_stream(self: &Arc<Self>) -> Entered {
        self.streams.fetch_add(1, Ordering::SeqCst);
        Entered { control: Arc::clone(self), client: false }
    }

    /// Counts a WebSocket as long as the result lives, unless there are `most` already.
    pub(crate) fn enter_client(self: &Arc<Self>, most: usize) -> Option<Entered> {
        let more = |clients| (clients < most).then_some(clients + 1);
        self.clients.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        Some(Entered { control: Arc::clone(self), client: true })
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("stopping", &self.is_stopping()).finish_non_exhaustive()
    }
}

/// A place that is taken in one of the two counts.
pub(crate) struct Entered {
    control: Arc<Control>,
    client: bool,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let control = &self.control;
        if self.client {
            control.restart_idle();
            control.clients.fetch_sub(1, Ordering::SeqCst);
        } else {
            control.streams.fetch_sub(1, Ordering::SeqCst);
        }
        control.freed.notify(usize::MAX);
    }
}

/// What a running call reaches through its `Cx`.
pub(crate) struct CallHost<'s, B: Blob + Send + 'static> {
    shared: &'s Shared<B>,
    most: u16,
    upload: Option<Reads>,
    blobs: Mutex<HeapTable<B>>,
    /// When progress may be told next, in milliseconds.
    progress_at: AtomicU64,
}

/// Least time between two tellings of a call's progress.
const PROGRESS: Duration = Duration::from_millis(50);

impl<'s, B: Blob + Send + 'static> CallHost<'s, B> {
    pub(crate) fn new(shared: &'s Shared<B>, most: u16, upload: Option<Reads>) -> Self {
        Self { shared, most, upload, blobs: Mutex::default(), progress_at: AtomicU64::new(0) }
    }

    pub(crate) fn into_blobs(self) -> HeapTable<B> {
        self.blobs.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Blob + Send + 'static> Publish<B> for CallHost<'_, B> {
    fn publish(
        &self,
        topic: &'static str,
        audience: Audience,
        blobs: &[B],
        encode: &Encode<'_>,
    ) -> Result<(), PublishError> {
        self.shared.publish(topic, audience, blobs, encode)
    }
}

impl<B: Blob + Send + 'static> Host<B> for CallHost<'_, B> {
    fn attach(&self, blob: B) -> Result<Attachment, LimitExceeded> {
        let mut blobs = lock(&self.blobs);
        let index = blobs.as_ref().len();
        let full = LimitExceeded {
            limit: Limit::Attachments,
            needed: index as u64 + 1,
            available: u64::from(self.most),
        };
        if index >= usize::from(self.most) {
            return Err(full);
        }
        blobs.push(blob).map_err(|_| full)?;
        Ok(Attachment::nth(u32::try_from(index).map_err(|_| full)?))
    }

    fn upload(&self) -> Option<&dyn UploadSource> {
        self.upload.as_ref().map(|reads| reads as _)
    }

    fn is_progress_due(&self, last: bool) -> bool {
        let now = self.shared.control.now();
        let due = now.as_millis() >= self.progress_at.load(Ordering::Relaxed);
        if due {
            self.progress_at.store((now + PROGRESS).as_millis(), Ordering::Relaxed);
        }
        due || last
    }
}

/// What lies between a connection and the call that reads an upload.
pub(crate) type SharedPipe = Arc<Mutex<Pipe<Box<[u8]>>>>;

pub(crate) fn pipe() -> SharedPipe {
    Arc::new(Mutex::new(Pipe::new(vec![0; PIPE].into())))
}

/// How much of an upload is handed on at a time.
const PIPE: usize = 16 << 10;

/// Where a call reads its upload.
pub(crate) struct Reads {
    call: CallId,
    pipe: SharedPipe,
}

impl Reads {
    pub(crate) const fn new(call: CallId, pipe: SharedPipe) -> Self {
        Self { call, pipe }
    }
}

impl UploadSource for Reads {
    fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<usize> {
        lock(&self.pipe).poll_read(self.call, cx, into)
    }

    fn upload_len(&self) -> Option<u32> {
        lock(&self.pipe).len(self.call)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_behind_another_is_no_news() {
        let control = Control::new();
        let told = |secs: u64| control.note_failure(Instant::from_millis(secs * 1000));
        let seconds = [0, 1, 10, 19, 29, 30, 41];
        assert_eq!(seconds.map(told), [true, false, false, false, true, false, true]);
    }
}
