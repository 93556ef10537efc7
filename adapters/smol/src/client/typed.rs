//! What typed clients need of a client.

use super::call::answer;
use super::shared::Asked;
use super::{Binary, Client, Error, Progress, Subscription};
use core::pin::Pin;
use wslink_core::Policy;
use wslink_core::client::{self, Argument, Caller, Reply, Subscriber};

impl Caller for Client {
    type Error = Error;
    type Bytes = Binary;
    type Progress = Progress;
    type Answer<'a, A, K, T>
        = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>
    where
        A: Argument + 'a,
        K: Argument + 'a,
        T: Reply;

    fn ask<'a, A, K, T>(&'a self, asked: client::Asked<A, K, Progress>) -> Self::Answer<'a, A, K, T>
    where
        A: Argument + 'a,
        K: Argument + 'a,
        T: Reply,
    {
        let handle = &*self.handle;
        Box::pin(answer(handle, move || {
            let client::Asked { method, args, kwargs, within, progress, .. } = &asked;
            let progress = progress.as_ref();
            let asked = Asked { method, args, kwargs, within: *within, progress };
            handle.shared.ask(&asked, &mut Vec::new())
        }))
    }
}

impl Subscriber for Client {
    type Subscription<T: Reply> = Subscription<T>;

    fn subscribe<T: Reply>(&self, topic: &'static str, policy: Policy) -> Subscription<T> {
        self.subscribe_with(&[topic], policy)
    }
}
