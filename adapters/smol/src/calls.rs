//! The service's part of a connection: decode, run, decide, and never let a panic through.

use crate::http::Visitor;
use crate::shared::{CallHost, Reads, Shared, lock};
use crate::{HeapTable, Options};
use core::panic::AssertUnwindSafe;
use futures_util::FutureExt as _;
use std::panic::catch_unwind;
use std::sync::Arc;
use wslink_core::wire::{MAX_DEPTH, Value};
use wslink_core::{
    Call, CallId, Cx, Hello, HttpRequest as _, Identity, PeerId, RpcError, Service, Verdict,
};

/// What the client of a service is told of a panic.
const PANICKED: &str = "panicked";

/// What a connection borrows from its server.
pub(crate) struct Borrowed<'s, S: Service<Blob: Send + 'static>> {
    pub(crate) service: &'s S,
    pub(crate) shared: &'s Shared<S::Blob>,
    pub(crate) options: &'s Options,
}

impl<S: Service<Blob: Send + 'static>> Clone for Borrowed<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Service<Blob: Send + 'static>> Copy for Borrowed<'_, S> {}

/// What came of a call.
pub(crate) enum Answer<S: Service> {
    Reply(S::Reply, HeapTable<S::Blob>),
    Error(RpcError),
}

/// A call by name, for the log.
#[derive(Clone, Copy)]
pub(crate) struct Started {
    pub(crate) peer: PeerId,
    pub(crate) identity: Identity,
    pub(crate) id: CallId,
    pub(crate) method: &'static str,
    /// The client's own name for it.
    pub(crate) token: Option<u32>,
}

/// [`Service::decode`], where a panic is an error of the call.
pub(crate) fn decode<S: Service>(
    service: &S,
    peer: PeerId,
    call: &Call<'_>,
) -> Result<S::Request, RpcError> {
    catch_unwind(AssertUnwindSafe(|| service.decode(call))).unwrap_or_else(|_| {
        log::error!("{peer}: decoding the arguments of {:?} panicked", call.method.name);
        Err(RpcError::failed(PANICKED))
    })
}

/// [`Service::call`], where a panic is an error of the call.
pub(crate) async fn run<'s, S: Service<Blob: Send + 'static>>(
    server: Borrowed<'s, S>,
    started: Started,
    upload: Option<Reads>,
    request: S::Request,
) -> (Started, Answer<S>) {
    let most = server.options.config.limits.attachments;
    let host = CallHost::new(server.shared, most, upload);
    let call = async {
        let cx = Cx::new(started.peer, started.token, &host).with_identity(started.identity);
        server.service.call(cx, request).await
    };
    let result = AssertUnwindSafe(call).catch_unwind().await;
    let Started { peer, method, .. } = started;
    let answer = match result {
        Ok(Ok(reply)) => Answer::Reply(reply, host.into_blobs()),
        Ok(Err(error)) => {
            log::debug!("{peer}: {method:?} failed with {}", error.code());
            Answer::Error(error)
        }
        Err(_) => {
            log::error!("{peer}: {method:?} panicked");
            Answer::Error(RpcError::failed(PANICKED))
        }
    };
    (started, answer)
}

/// [`Service::authorize`], where a panic is a refusal, and a refusal takes its time.
pub(crate) async fn judge<S: Service<Blob: Send + 'static>>(
    server: Borrowed<'_, S>,
    peer: PeerId,
    visitor: Arc<Visitor>,
    args: Option<Vec<u8>>,
) -> Verdict {
    let expected = server.options.secret.as_secret();
    let args = args.as_deref().and_then(|args| Value::check_msgpack(args, MAX_DEPTH).ok());
    let hello = Hello::new(args, None).expecting(&expected).asked_by(&*visitor);
    let verdict = async { server.service.authorize(&hello).await };
    let verdict = AssertUnwindSafe(verdict).catch_unwind().await.unwrap_or_else(|_| {
        log::error!("{peer}: deciding about its hello panicked");
        Verdict::Refuse
    });
    if verdict == Verdict::Refuse {
        let mut failures = visitor.fail();
        let allowed = &server.options.failed_hellos;
        if let Some(remote) = visitor.remote() {
            let mut attempts = lock(&server.shared.attempts);
            let now = server.shared.control.now();
            failures = failures.max(attempts.fail(remote.ip(), now, allowed));
        }
        smol::Timer::after(allowed.wait(failures)).await;
    }
    verdict
}

/// Tells the service something, and goes on if it panics at that.
pub(crate) fn tell(peer: PeerId, what: &str, tell: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(tell)).is_err() {
        log::error!("{peer}: the service panicked when told that it {what}");
    }
}

/// Tells the service which topics have got their first listener, or lost their last one.
pub(crate) fn tell_listened<S: Service<Blob: Send + 'static>>(server: Borrowed<'_, S>) {
    loop {
        let changed = server.shared.hub().poll_listened();
        let Some((topic, listened)) = changed else { return };
        let told = catch_unwind(AssertUnwindSafe(|| server.service.listened(topic, listened)));
        if told.is_err() {
            log::error!("the service panicked when told who listens to {topic:?}");
        }
    }
}

/// A copy of a hello's arguments that outlives its frame, as MessagePack in either dialect; `None`
/// where there are none.
pub(crate) fn copy_args(hello: &Hello<'_>) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    if let Err(needed) = hello.copy_args(&mut buffer) {
        buffer.resize(needed, 0);
        let len = hello.copy_args(&mut buffer).unwrap_or(0);
        buffer.truncate(len);
    }
    (!buffer.is_empty()).then_some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wslink_core::Secret;

    #[test]
    fn a_hello_is_the_same_after_it_was_copied() {
        let text =
            r#"[{"who": ["caf\u00e9", 1, -2, 1.5, true, null, {"a": {}}], "secret": "ab\"c"}, []]"#;
        let mut bytes = text.as_bytes().to_vec();
        let hello = Hello::new(Value::clean_json(&mut bytes, 8).ok(), None);
        let copied = copy_args(&hello).unwrap();
        let copy = Hello::new(Value::check_msgpack(&copied, 8).ok(), None);

        let expected = Secret::new("ab\"c");
        assert_eq!(copy.expecting(&expected).verify(), Verdict::Accept);
        assert_eq!(copy.expecting(&Secret::new("ab")).verify(), Verdict::Refuse);
        assert_eq!(copy.args().unwrap().items().count(), 2);
        let (key, who) = copy.credentials().unwrap().entries().next().unwrap();
        assert_eq!(key, "who");
        let (name, one, two, half, yes, (), _): (
            &str,
            u8,
            i8,
            f64,
            bool,
            (),
            serde::de::IgnoredAny,
        ) = who.deserialize().unwrap();
        assert_eq!((name, one, two, half, yes), ("café", 1, -2, 1.5, true));
        assert_eq!(copy_args(&Hello::new(None, None)), None);
    }
}
