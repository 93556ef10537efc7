//! Publications, from the connection to whoever asked for them.

use super::error::Error;
use super::shared::Handle;
use super::value::sharing;
use crate::shared::lock;
use bytes::Bytes;
use core::fmt::{self, Display};
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_util::Stream;
use futures_util::task::AtomicWaker;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use wslink_core::Policy;
use wslink_core::wire;

/// What a server published.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Publication<T> {
    /// The topic.
    pub topic: Arc<str>,
    /// Whether it was published before and kept for those who come later.
    pub retained: bool,
    /// The value.
    pub value: T,
}

/// What a subscriber gets in place of a publication.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TopicError {
    /// So many publications were passed over, here because this end is slow. What the server
    /// passed over is told on the topic `wslink.lagged`.
    Lagged(u64),
    /// A publication cannot be read as what was asked for.
    Unreadable(String),
    /// The connection was lost and is there again; what was published between is lost. With a
    /// server of this project it is known whether it is the `same_session`, or a new start.
    Reconnected {
        /// Whether the server is the same process as before; `None` if it does not tell.
        same_session: Option<bool>,
    },
}

impl Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(count) => write!(f, "{count} publications were passed over"),
            Self::Unreadable(why) => write!(f, "a publication cannot be read: {why}"),
            Self::Reconnected { same_session: Some(false) } => {
                f.write_str("connected again, to a server that was started anew")
            }
            Self::Reconnected { .. } => f.write_str("connected again"),
        }
    }
}

impl core::error::Error for TopicError {}

/// The publications of one topic or of many, as a stream. It ends with the client.
///
/// What nobody takes is kept up to a bound, and then passed over as its [`Policy`] says.
pub struct Subscription<T> {
    queue: Arc<Queue<T>>,
    handle: Arc<Handle>,
}

impl<T: DeserializeOwned + Send + 'static> Subscription<T> {
    /// With a `max_rate` in hertz, infinite if there is none.
    pub(super) fn new(
        handle: Arc<Handle>,
        patterns: Vec<String>,
        policy: Policy,
        max_rate: f64,
    ) -> Self {
        let queue = Arc::new(Queue::<T> {
            patterns,
            policy,
            max_rate,
            items: Mutex::new(Items { list: VecDeque::new(), lagged: 0, over: false }),
            waker: AtomicWaker::new(),
            read: PhantomData,
        });
        handle.shared.listen(Arc::clone(&queue) as Arc<dyn Listener>);
        Self { queue, handle }
    }
}

impl<T> Stream for Subscription<T> {
    type Item = Result<Publication<T>, TopicError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.queue.waker.register(cx.waker());
        let mut items = self.queue.items();
        if items.lagged > 0 {
            let lagged = core::mem::take(&mut items.lagged);
            return Poll::Ready(Some(Err(TopicError::Lagged(lagged))));
        }
        match items.list.pop_front() {
            Some(item) => Poll::Ready(Some(item)),
            None if items.over => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        let at = Arc::as_ptr(&self.queue).cast::<()>();
        self.handle.shared.unlisten(&self.queue.patterns, self.queue.max_rate, at);
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").field(&self.queue.patterns).finish()
    }
}

struct Queue<T> {
    patterns: Vec<String>,
    policy: Policy,
    max_rate: f64,
    items: Mutex<Items<T>>,
    waker: AtomicWaker,
    read: PhantomData<fn() -> T>,
}

struct Items<T> {
    list: VecDeque<Result<Publication<T>, TopicError>>,
    lagged: u64,
    over: bool,
}

impl<T> Queue<T> {
    fn items(&self) -> MutexGuard<'_, Items<T>> {
        lock(&self.items)
    }

    fn push(&self, item: Result<Publication<T>, TopicError>) {
        let mut items = self.items();
        if items.over {
            return;
        }
        let same_topic = |it: &Result<Publication<T>, TopicError>| match (it, &item) {
            (Ok(old), Ok(new)) => old.topic == new.topic,
            _ => false,
        };
        match self.policy {
            Policy::KeepLatest => {
                if let Some(old) = items.list.iter().position(same_topic) {
                    items.list.remove(old);
                    items.lagged += 1;
                }
                // Topics without number do not make it longer than anything else may be.
                if items.list.len() >= usize::from(u16::MAX) {
                    items.list.pop_front();
                    items.lagged += 1;
                }
            }
            Policy::DropOldest(most) => {
                while items.list.len() >= usize::from(most.max(1)) {
                    items.list.pop_front();
                    items.lagged += 1;
                }
            }
            _ => {
                if items.list.len() >= STRICT {
                    items.lagged += items.list.len() as u64 + 1;
                    items.over = true;
                    items.list.clear();
                    drop(items);
                    self.waker.wake();
                    return;
                }
            }
        }
        items.list.push_back(item);
        drop(items);
        self.waker.wake();
    }
}

/// How many publications wait for somebody who wants all of them, before the stream ends.
const STRICT: usize = 1024;

/// Somebody who wants publications.
pub(super) trait Listener: Send + Sync {
    fn patterns(&self) -> &[String];

    /// In hertz; infinite if there is none.
    fn max_rate(&self) -> f64;

    /// Takes a publication of a topic that fits. `frame` is where it lies.
    fn publish(
        &self,
        topic: &Arc<str>,
        retained: bool,
        value: wire::Value<'_>,
        frame: Option<Bytes>,
    );

    fn tell(&self, error: TopicError);

    /// Nothing follows.
    fn end(&self);
}

impl dyn Listener {
    pub(super) fn wants(&self, topic: &str) -> bool {
        self.patterns().iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => topic.starts_with(prefix),
            None => pattern == topic,
        })
    }
}

impl<T: DeserializeOwned + Send + 'static> Listener for Queue<T> {
    fn patterns(&self) -> &[String] {
        &self.patterns
    }

    fn max_rate(&self) -> f64 {
        self.max_rate
    }

    fn publish(
        &self,
        topic: &Arc<str>,
        retained: bool,
        value: wire::Value<'_>,
        frame: Option<Bytes>,
    ) {
        let item = match sharing(frame, || value.deserialize()) {
            Ok(value) => Ok(Publication { topic: Arc::clone(topic), retained, value }),
            Err(error) => Err(TopicError::Unreadable(Error::from(error).to_string())),
        };
        self.push(item);
    }

    fn tell(&self, error: TopicError) {
        self.push(Err(error));
    }

    fn end(&self) {
        self.items().over = true;
        self.waker.wake();
    }
}
