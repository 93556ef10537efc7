//! A service with blobs of its own, as a part of one with many kinds of them.

use core::fmt;
use wslink_core::{
    Attachment, Audience, Encode, Host, Limit, LimitExceeded, Publications, Publish, PublishError,
    UploadSource,
};

/// The most attachments of a publication by a part, as they are turned on the stack.
const MOST: usize = 8;

/// Publications of a service that is a part of another: it attaches its own blobs (`P`), which
/// become those of the whole (`B`) on their way into the hub.
///
/// ```
/// # #[derive(Clone)]
/// # enum InstrumentBlob { Scope(Vec<u8>) }
/// # async fn sample(publications: wslink::Publications<'_, Vec<u8>>) {}
/// # async fn run(publications: wslink::Publications<'_, InstrumentBlob>) {
/// let part = wslink::Part::new(publications.hub(), InstrumentBlob::Scope);
/// sample(part.publications()).await;
/// # }
/// ```
pub struct Part<'a, B, P, H: ?Sized = dyn Publish<B> + 'a> {
    whole: &'a H,
    wrap: fn(P) -> B,
}

impl<'a, B, P, H: ?Sized> Part<'a, B, P, H> {
    /// A part that makes the whole's blobs of its own with `wrap`.
    pub const fn new(whole: &'a H, wrap: fn(P) -> B) -> Self {
        Self { whole, wrap }
    }
}

impl<B, P: Clone, H: Publish<B> + ?Sized> Part<'_, B, P, H> {
    /// Publications of the part.
    pub const fn publications(&self) -> Publications<'_, P> {
        Publications::new(self)
    }
}

impl<B, P: Clone, H: Publish<B> + ?Sized> Publish<P> for Part<'_, B, P, H> {
    fn publish(
        &self,
        topic: &'static str,
        audience: Audience,
        blobs: &[P],
        encode: &Encode<'_>,
    ) -> Result<(), PublishError> {
        let mut wrapped = heapless::Vec::<B, MOST>::new();
        for blob in blobs {
            if wrapped.push((self.wrap)(blob.clone())).is_err() {
                let (needed, available) = (blobs.len() as u64, MOST as u64);
                let limit = LimitExceeded { limit: Limit::Attachments, needed, available };
                return Err(PublishError::TooLarge(limit));
            }
        }
        self.whole.publish(topic, audience, &wrapped, encode)
    }
}

impl<B, P: Clone, H: Host<B> + ?Sized> Host<P> for Part<'_, B, P, H> {
    fn attach(&self, blob: P) -> Result<Attachment, LimitExceeded> {
        self.whole.attach((self.wrap)(blob))
    }

    fn upload(&self) -> Option<&dyn UploadSource> {
        self.whole.upload()
    }

    fn is_progress_due(&self, last: bool) -> bool {
        self.whole.is_progress_due(last)
    }
}

impl<B, P, H: ?Sized> fmt::Debug for Part<'_, B, P, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Part")
    }
}
