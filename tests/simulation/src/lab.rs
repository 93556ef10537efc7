//! The service under test: it keeps a log of what it did, against which clients are held.

use core::time::Duration;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wslink_core::{
    Attachment, Audience, Call, CloseReason, Cx, Encode, MethodInfo, ParamInfo, PeerId, Policy,
    RpcError, Service, Topic, TopicInfo,
};
use wslink_testkit::Clock;

/// Topics of every policy, retained and not. What is published under the last one is not declared.
pub(crate) const TOPICS: &[TopicInfo] = &[
    Topic::<Value>::new("lab.plain").info(),
    Topic::<Value>::new("lab.latest").with_policy(Policy::KeepLatest).info(),
    Topic::<Value>::new("lab.some").with_policy(Policy::DropOldest(2)).info(),
    Topic::<Value>::new("lab.whole").with_policy(Policy::Disconnect).info(),
    Topic::<Value>::new("lab.state").with_policy(Policy::KeepLatest).retained().info(),
];
/// Names of all topics, the undeclared one last.
pub(crate) const NAMES: &[&str] =
    &["lab.plain", "lab.latest", "lab.some", "lab.whole", "lab.state", "other.topic"];

/// A publication as it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    /// Index into [`NAMES`].
    pub(crate) topic: usize,
    /// For whom.
    pub(crate) audience: Audience,
}

impl Published {
    /// Whether it is for this peer.
    pub(crate) fn is_for(&self, peer: PeerId) -> bool {
        match self.audience {
            Audience::Only(one) => one == peer,
            Audience::Except(one) => one != peer,
            _ => true,
        }
    }
}

/// What the service knows of a peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visit {
    /// How many publications there were when it came.
    pub(crate) from: usize,
    /// What was reported as missed, by topic.
    pub(crate) missed: BTreeMap<String, u64>,
    /// Why it went.
    pub(crate) closed: Option<CloseReason>,
}

/// What happened, in the service's order.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// All publications that succeeded; their places are their numbers.
    pub(crate) published: Vec<Published>,
    /// Everybody who was accepted.
    pub(crate) visits: BTreeMap<u64, Visit>,
}

/// The service.
#[derive(Debug)]
pub(crate) struct Lab {
    clock: Clock,
    log: Arc<Mutex<Log>>,
}

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a value.
    Value,
    /// With a value that has an attachment.
    Blob,
    /// With an error.
    Fails,
    /// With a value that cannot be serialized.
    Unserializable,
    /// By its deadline, or when it is cancelled.
    Never,
    /// With a value, after it published.
    Publishes,
}

/// All ends, as they are numbered in arguments.
pub(crate) const ENDS: [End; 6] =
    [End::Value, End::Blob, End::Fails, End::Unserializable, End::Never, End::Publishes];

/// A decoded call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    /// Works for `delay` ms.
    Work { tag: u32, size: u32, delay: u32, end: End },
    /// Has taken bytes, which were those of the tag.
    Take { tag: u32, len: u32, whole: bool },
    /// Takes bytes as they come.
    Put,
}

/// What a call gives back, and what is published.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// The caller's tag or the publication's number, and bytes that follow from it.
    Text(u32, u32),
    /// The same with the bytes in an attachment.
    Blob(u32, Attachment),
    /// What arrived.
    Taken { tag: u32, len: u32, whole: bool },
    /// What arrived in pieces: how much, and its sum.
    Stored(u32, u32),
    /// Nothing that any dialect knows.
    Nonsense,
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(tag, size) => (tag, text(*tag, *size).as_str()).serialize(serializer),
            Self::Blob(tag, blob) => (tag, blob).serialize(serializer),
            Self::Taken { tag, len, whole } => (tag, len, whole).serialize(serializer),
            Self::Stored(len, sum) => (len, sum).serialize(serializer),
            Self::Nonsense => Err(serde::ser::Error::custom("on purpose")),
        }
    }
}

/// The text that belongs to a tag.
pub(crate) fn text(tag: u32, size: u32) -> String {
    let letter =
        |at: u32| char::from(b'a' + (tag.wrapping_mul(31).wrapping_add(at * 7) % 26) as u8);
    (0..size).map(letter).collect()
}

/// The bytes that belong to a tag.
pub(crate) fn bytes(tag: u32, size: u32) -> Vec<u8> {
    text(tag, size).into_bytes()
}

/// By which bytes are known again, and their order.
pub(crate) fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()))
}

impl Lab {
    /// A service whose calls take their time by `clock`.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, log: Arc::default() }
    }

    /// The log so far.
    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the next number under a topic, by `publish`; a failure leaves no trace.
    pub(crate) fn publish(
        &self,
        topic: usize,
        audience: Audience,
        size: u32,
        blob: bool,
        publish: impl FnOnce(&'static str, &[Arc<[u8]>], &Encode<'_>) -> bool,
    ) {
        let number = self.log().published.len() as u32;
        let blobs: &[Arc<[u8]>] = if blob { &[bytes(number, size).into()] } else { &[] };
        let value = match blobs {
            [] => Value::Text(number, size),
            _ => Value::Blob(number, Attachment::nth(0)),
        };
        if publish(NAMES[topic], blobs, &|writer| writer.value(&value)) {
            self.log().published.push(Published { topic, audience });
        }
    }

    /// Takes an upload, fast or slowly, as its first byte says.
    async fn put(&self, cx: &Cx<'_, Arc<[u8]>>) -> Result<Value, RpcError> {
        let mut upload = cx.upload()?;
        let (mut bytes, mut buffer) = (Vec::new(), [0; 100]);
        loop {
            let count = upload.read(&mut buffer).await;
            bytes.extend_from_slice(&buffer[..count]);
            if count == 0 {
                let told = upload.len().unwrap_or(bytes.len() as u64);
                assert_eq!(told, bytes.len() as u64, "an upload ended early");
                return Ok(Value::Stored(bytes.len() as u32, sum(&bytes)));
            }
            match bytes[0] % 4 {
                0 => self.clock.sleep(Duration::from_millis(60)).await,
                // Leaves before all has come.
                1 if bytes.len() > 500 => return Err(RpcError::failed("enough")),
                _ => {}
            }
        }
    }

    fn visit(&self, peer: PeerId, change: impl FnOnce(&mut Visit)) {
        if let Some(visit) = self.log().visits.get_mut(&peer.number()) {
            change(visit);
        }
    }
}

impl Service for Lab {
    type Request = Request;
    type Reply = Value;
    type Blob = Arc<[u8]>;
    const METHODS: &'static [MethodInfo] = &[
        MethodInfo::new("lab.work").with_params(&[
            ParamInfo::required("tag"),
            ParamInfo::required("size"),
            ParamInfo::required("delay"),
            ParamInfo::required("end"),
        ]),
        MethodInfo::new("lab.brief")
            .with_params(&[
                ParamInfo::required("tag"),
                ParamInfo::required("size"),
                ParamInfo::required("delay"),
                ParamInfo::required("end"),
            ])
            .with_deadline(Duration::from_millis(700)),
        MethodInfo::new("lab.take")
            .with_params(&[ParamInfo::required("tag"), ParamInfo::required("bytes")]),
        MethodInfo::new("lab.put").with_upload(&[ParamInfo::required("bytes")]),
    ];
    const TOPICS: &'static [TopicInfo] = TOPICS;

    fn decode(&self, call: &Call<'_>) -> Result<Request, RpcError> {
        if call.method.upload {
            return Ok(Request::Put);
        }
        let params = call.params()?;
        let tag = params.required(0)?;
        if call.index == 2 {
            let taken: wslink_core::Binary<'_> = params.required(1)?;
            let len = taken.0.len() as u32;
            return Ok(Request::Take { tag, len, whole: taken.0 == bytes(tag, len) });
        }
        let end = ENDS[params.required::<usize>(3)? % ENDS.len()];
        Ok(Request::Work { tag, size: params.required(1)?, delay: params.required(2)?, end })
    }

    async fn call(&self, cx: Cx<'_, Self::Blob>, request: Request) -> Result<Value, RpcError> {
        let (tag, size, delay, end) = match request {
            Request::Take { tag, len, whole } => return Ok(Value::Taken { tag, len, whole }),
            Request::Put => return self.put(&cx).await,
            Request::Work { tag, size, delay, end } => (tag, size, delay, end),
        };
        self.clock.sleep(Duration::from_millis(delay.into())).await;
        match end {
            End::Value => Ok(Value::Text(tag, size)),
            End::Blob => match cx.attach(bytes(tag, size)) {
                Ok(blob) => Ok(Value::Blob(tag, blob)),
                Err(exceeded) => Err(RpcError::failed(exceeded)),
            },
            End::Fails => Err(RpcError::failed("on purpose")),
            End::Unserializable => Ok(Value::Nonsense),
            End::Never => core::future::pending().await,
            End::Publishes => {
                let (topic, audience) = (tag as usize % NAMES.len(), Audience::Except(cx.peer()));
                self.publish(topic, audience, size, false, |name, blobs, encode| {
                    cx.host().publish(name, audience, blobs, encode).is_ok()
                });
                Ok(Value::Text(tag, 0))
            }
        }
    }

    fn opened(&self, peer: PeerId) {
        let mut log = self.log();
        let from = log.published.len();
        let before = log.visits.insert(peer.number(), Visit { from, ..Visit::default() });
        assert!(before.is_none(), "opened twice");
    }

    fn closed(&self, peer: PeerId, reason: CloseReason) {
        self.visit(peer, |visit| {
            assert!(visit.closed.is_none(), "closed twice");
            visit.closed = Some(reason);
        });
    }

    fn lagged(&self, peer: PeerId, topic: &'static str, missed: u64) {
        assert!(missed > 0, "a loss of nothing");
        self.visit(peer, |visit| *visit.missed.entry(topic.to_owned()).or_default() += missed);
    }
}
