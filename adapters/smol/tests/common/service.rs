//! What the tests call.

use super::{pattern, pattern_at};
use core::sync::atomic::{AtomicUsize, Ordering};
use serde::{Serialize, Serializer};
use smol::channel::{Receiver, Sender, unbounded};
use std::sync::{Arc, Mutex};
use wslink_core::{
    Attachment, Audience, Binary, Blob, Call, CloseReason, Cx, Hello, MethodInfo, ParamInfo,
    PeerId, RpcError, Service, Topic, TopicInfo, Verdict,
};

pub const SAID: Topic<String> = Topic::new("bench.said");
pub const PICTURE: Topic<Attachment> = Topic::new("bench.picture");

const ONE: &[ParamInfo] = &[ParamInfo::required("value")];
const METHODS: &[MethodInfo] = &[
    MethodInfo::new("bench.add").with_params(&[ParamInfo::required("a"), ParamInfo::required("b")]),
    MethodInfo::new("bench.wait"),
    MethodInfo::new("bench.panic"),
    MethodInfo::new("bench.panic_decoding"),
    MethodInfo::new("bench.panic_serializing"),
    MethodInfo::new("bench.blob").with_params(ONE),
    MethodInfo::new("bench.saw").with_params(ONE),
    MethodInfo::new("bench.digest").with_params(ONE),
    MethodInfo::new("bench.text").with_params(ONE),
    MethodInfo::new("bench.say").with_params(ONE),
    MethodInfo::new("bench.whisper").with_params(ONE),
    MethodInfo::new("bench.brief").with_deadline(core::time::Duration::from_millis(100)),
    MethodInfo::new("bench.flood"),
    MethodInfo::new("bench.nonsense"),
    MethodInfo::new("bench.fail"),
];

/// What happened to the service, and what its slow calls wait for.
pub struct Bench {
    pub opened: AtomicUsize,
    pub closed: Mutex<Vec<CloseReason>>,
    pub lagged: AtomicUsize,
    /// Calls of `bench.wait` that run now.
    pub waiting: Arc<AtomicUsize>,
    pub release: Sender<i64>,
    pub released: Receiver<i64>,
    /// `authorize` takes its time.
    pub slow_hello: bool,
}

impl Default for Bench {
    fn default() -> Self {
        let (release, released) = unbounded();
        Self {
            opened: AtomicUsize::new(0),
            closed: Mutex::default(),
            lagged: AtomicUsize::new(0),
            waiting: Arc::default(),
            release,
            released,
            slow_hello: false,
        }
    }
}

pub enum Request {
    Add(i64, i64),
    Wait,
    Panic,
    PanicSerializing,
    Blob(usize),
    Saw(u64),
    Digest(usize, u64),
    Text(usize),
    Say(String, bool),
    Forever,
    Flood,
    Nonsense,
    Fail,
}

pub enum Reply {
    Number(i64),
    Attachment(Attachment),
    Digest(usize, u64),
    Text(String),
    Panic,
    Nonsense,
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => number.serialize(serializer),
            Self::Attachment(key) => key.serialize(serializer),
            Self::Digest(len, sum) => (len, sum).serialize(serializer),
            Self::Text(text) => text.serialize(serializer),
            Self::Panic => panic!("on purpose, while serializing"),
            Self::Nonsense => Err(serde::ser::Error::custom("no dialect knows it")),
        }
    }
}

/// Shared bytes, or bytes made on the fly.
#[derive(Clone)]
pub enum Bytes {
    Shared(Arc<[u8]>),
    Saw(u64),
}

impl Blob for Bytes {
    fn len(&self) -> u64 {
        match self {
            Self::Shared(bytes) => bytes.len(),
            Self::Saw(len) => *len,
        }
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        match self {
            Self::Shared(bytes) => bytes.read(offset, into),
            Self::Saw(len) => {
                // Never more than a few at once, which is allowed only at the end, and which the
                // adapter has to bear all the same.
                let count = into.len().min(len.saturating_sub(offset) as usize).min(1000);
                for (i, byte) in into.iter_mut().take(count).enumerate() {
                    *byte = pattern_at(offset as usize + i);
                }
                count
            }
        }
    }

    fn as_slice(&self) -> Option<&[u8]> {
        match self {
            Self::Shared(bytes) => Some(bytes),
            Self::Saw(_) => None,
        }
    }
}

/// A call counts as long as its future lives.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

impl Service for Bench {
    type Request = Request;
    type Reply = Reply;
    type Blob = Bytes;
    const METHODS: &'static [MethodInfo] = METHODS;
    const TOPICS: &'static [TopicInfo] = &[SAID.info(), PICTURE.info()];

    fn decode(&self, call: &Call<'_>) -> Result<Request, RpcError> {
        let params = call.params()?;
        Ok(match call.method.name {
            "bench.add" => Request::Add(params.required(0)?, params.required(1)?),
            "bench.wait" => Request::Wait,
            "bench.panic" => Request::Panic,
            "bench.panic_decoding" => panic!("on purpose, while decoding"),
            "bench.panic_serializing" => Request::PanicSerializing,
            "bench.blob" => Request::Blob(params.required(0)?),
            "bench.saw" => Request::Saw(params.required(0)?),
            "bench.digest" => {
                let Binary(bytes) = params.required(0)?;
                Request::Digest(bytes.len(), digest(bytes))
            }
            "bench.text" => Request::Text(params.required(0)?),
            "bench.say" => Request::Say(params.required::<&str>(0)?.to_owned(), true),
            "bench.whisper" => Request::Say(params.required::<&str>(0)?.to_owned(), false),
            "bench.brief" => Request::Forever,
            "bench.flood" => Request::Flood,
            "bench.nonsense" => Request::Nonsense,
            _ => Request::Fail,
        })
    }

    async fn call(&self, cx: Cx<'_, Bytes>, request: Request) -> Result<Reply, RpcError> {
        match request {
            Request::Add(a, b) => Ok(Reply::Number(a + b)),
            Request::Wait => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                let _waiting = Waiting(Arc::clone(&self.waiting));
                self.released.recv().await.map(Reply::Number).map_err(RpcError::failed)
            }
            Request::Panic => panic!("on purpose, while running"),
            Request::PanicSerializing => Ok(Reply::Panic),
            Request::Blob(len) => {
                let bytes = Bytes::Shared(pattern(len).into());
                Ok(Reply::Attachment(cx.attach(bytes)?))
            }
            Request::Saw(len) => Ok(Reply::Attachment(cx.attach(Bytes::Saw(len))?)),
            Request::Digest(len, sum) => Ok(Reply::Digest(len, sum)),
            Request::Text(len) => Ok(Reply::Text("x".repeat(len))),
            Request::Say(text, to_all) => {
                let audience = if to_all { Audience::All } else { Audience::Except(cx.peer()) };
                cx.publish_to(audience, &SAID, &text, &[]).map_err(RpcError::failed)?;
                Ok(Reply::Number(0))
            }
            Request::Forever => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                let _waiting = Waiting(Arc::clone(&self.waiting));
                core::future::pending().await
            }
            Request::Flood => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                let _waiting = Waiting(Arc::clone(&self.waiting));
                let text = "x".repeat(32 << 10);
                loop {
                    cx.publish(&SAID, &text).map_err(RpcError::failed)?;
                    smol::future::yield_now().await;
                }
            }
            Request::Nonsense => Ok(Reply::Nonsense),
            Request::Fail => Err(RpcError::failed("the trigger never came")),
        }
    }

    async fn authorize(&self, hello: &Hello<'_>) -> Verdict {
        if self.slow_hello {
            smol::Timer::after(core::time::Duration::from_millis(20)).await;
        }
        hello.verify()
    }

    fn opened(&self, _: PeerId) {
        self.opened.fetch_add(1, Ordering::SeqCst);
    }

    fn closed(&self, _: PeerId, reason: CloseReason) {
        self.closed.lock().unwrap().push(reason);
    }

    fn lagged(&self, _: PeerId, _: &'static str, missed: u64) {
        self.lagged.fetch_add(missed as usize, Ordering::SeqCst);
    }
}
