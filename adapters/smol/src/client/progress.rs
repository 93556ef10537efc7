//! How far a call has come.

use core::sync::atomic::{AtomicU64, Ordering};
use event_listener::Event as Bell;
use std::sync::Arc;

/// How many bytes of a call have been sent, and of its answer received, and how far the method says
/// that it is. Its clones tell the same.
///
/// ```no_run
/// # use wslink_smol::client::{Client, Error, Progress};
/// # async fn upload(client: &Client, picture: Vec<u8>) -> Result<(), Error> {
/// let progress = Progress::default();
/// let call = client.call("scope.upload").binary(picture).progress(&progress);
/// let tell = async {
///     loop {
///         progress.changed().await;
///         println!("{} of {}", progress.sent(), progress.to_send());
///     }
/// };
/// smol::future::or(call.send::<()>(), tell).await
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    sent: AtomicU64,
    to_send: AtomicU64,
    received: AtomicU64,
    to_receive: AtomicU64,
    done: AtomicU64,
    to_do: AtomicU64,
    changed: Bell,
}

impl Progress {
    /// Bytes that were handed to the system, attachments counted.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// All bytes of the call; 0 before it is sent.
    pub fn to_send(&self) -> u64 {
        self.0.to_send.load(Ordering::Relaxed)
    }

    /// Bytes of the answer that have come. Only an answer in several chunks (2.x) tells this before
    /// it is complete.
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// All bytes of the answer, as the server announced them; 0 before.
    pub fn to_receive(&self) -> u64 {
        self.0.to_receive.load(Ordering::Relaxed)
    }

    /// How far the method is, in a unit of its own, if it tells; servers of this project alone do.
    pub fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// How far the method will be at its end; 0 if it does not tell.
    pub fn to_do(&self) -> u64 {
        self.0.to_do.load(Ordering::Relaxed)
    }

    /// Is ready as soon as one of the numbers becomes another, from this call on.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + Unpin + 'static {
        self.0.changed.listen()
    }

    pub(super) fn tell_sent(&self, (sent, total): (u64, u64)) {
        self.tell([(&self.0.sent, sent), (&self.0.to_send, total)]);
    }

    pub(super) fn tell_received(&self, received: u64, total: u64) {
        self.tell([(&self.0.received, received), (&self.0.to_receive, total)]);
    }

    pub(super) fn tell_done(&self, done: u64, total: Option<u64>) {
        self.tell([(&self.0.done, done), (&self.0.to_do, total.unwrap_or_default())]);
    }

    fn tell(&self, numbers: [(&AtomicU64, u64); 2]) {
        let mut changed = false;
        for (at, number) in numbers {
            changed |= at.swap(number, Ordering::Relaxed) != number;
        }
        if changed {
            self.0.changed.notify(usize::MAX);
        }
    }
}
