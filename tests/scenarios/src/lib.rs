//! The service that all scenarios talk to: a bench with one method for each kind of exchange.

use core::time::Duration;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use std::sync::{Arc, Mutex, PoisonError};
use wslink_core::wire::{Dialect, Token, Value};
use wslink_core::{
    Attachment, Audience, Call, CloseReason, Config, Cx, Hello, MethodInfo, ParamInfo, PeerId,
    RpcError, Service, Topic, TopicInfo, Verdict,
};
use wslink_testkit::{Client, Clock, Frame, Options, Pair, Val, val};

/// What the bench publishes.
pub const LEVEL: Topic<u32> = Topic::new("bench.level");
/// A publication with something attached.
pub const IMAGE: Topic<(u32, Attachment)> = Topic::new("bench.image");

/// Both dialects, with the names that snapshots have for them.
pub const DIALECTS: [(Dialect, &str); 2] = [(Dialect::V1, "v1"), (Dialect::V2, "v2")];

/// A service with one method for each kind of exchange.
#[derive(Debug, Default)]
pub struct Bench {
    clock: Clock,
    /// What the service was told of its peers.
    pub told: Mutex<Vec<String>>,
}

/// A decoded call.
#[derive(Debug)]
pub enum Request {
    /// Gives the arguments back.
    Echo(Val),
    /// `scale` times the sum of `a` and `b`.
    Sum(i64, i64, i64),
    /// Fails.
    Fail(String),
    /// What no dialect can write.
    Unserializable,
    /// So many bytes, attached under a name, so many times.
    Attach(u32, u32),
    /// So many bytes, written into the answer.
    Inline(u32),
    /// A text of so many characters.
    Text(u32),
    /// Waits so many milliseconds and gives the number back.
    Sleep(u64),
    /// Waits so many milliseconds and gives a text of so many characters.
    Late(u64, u32),
    /// Never ends.
    Hang,
    /// Publishes a level to an audience.
    Level(u32, Option<bool>),
    /// Publishes an attachment of so many bytes.
    Image(u32),
    /// Digests of all binary data in the arguments.
    Upload(Val),
}

/// What a method gives back.
#[derive(Debug)]
pub enum Reply {
    /// Any value.
    Value(Val),
    /// Attachments: the same one in all places.
    Attached(Attachment, u32),
    /// A map whose keys cannot be written.
    Unserializable,
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => Plain(value).serialize(serializer),
            Self::Attached(key, 1) => key.serialize(serializer),
            Self::Attached(key, times) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("times", times)?;
                map.serialize_entry("places", vec![*key; *times as usize].as_slice())?;
                map.end()
            }
            Self::Unserializable => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(&[1, 2], &3)?;
                map.end()
            }
        }
    }
}

/// Serializes a value as it is.
#[derive(Debug)]
pub struct Plain<'a>(pub &'a Val);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Val::Null => serializer.serialize_unit(),
            Val::Bool(value) => serializer.serialize_bool(*value),
            Val::Int(value) => match u64::try_from(*value) {
                Ok(value) => serializer.serialize_u64(value),
                Err(_) => serializer.serialize_i64(*value as i64),
            },
            Val::Float(value) => serializer.serialize_f64(*value),
            Val::Str(text) => serializer.serialize_str(text),
            Val::Bin(bytes) | Val::Ext(_, bytes) => serializer.serialize_bytes(bytes),
            Val::Seq(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| seq.serialize_element(&Plain(item)))?;
                seq.end()
            }
            Val::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(&Plain(key), &Plain(value))?;
                }
                map.end()
            }
        }
    }
}

impl Bench {
    fn tell(&self, text: String) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

const A: ParamInfo = ParamInfo::required("a");

impl Service for Bench {
    type Request = Request;
    type Reply = Reply;
    type Blob = Arc<[u8]>;
    const METHODS: &'static [MethodInfo] = &[
        MethodInfo::new("bench.echo"),
        MethodInfo::new("bench.sum").with_params(&[
            A,
            ParamInfo::required("b"),
            ParamInfo::optional("scale"),
        ]),
        MethodInfo::new("bench.fail").with_params(&[A]),
        MethodInfo::new("bench.unserializable"),
        MethodInfo::new("bench.attach").with_params(&[A, ParamInfo::optional("times")]),
        MethodInfo::new("bench.inline").with_params(&[A]),
        MethodInfo::new("bench.text").with_params(&[A]),
        MethodInfo::new("bench.sleep").with_params(&[A]),
        MethodInfo::new("bench.late").with_params(&[A, ParamInfo::required("chars")]),
        MethodInfo::new("bench.hang").with_deadline(Duration::from_secs(2)),
        MethodInfo::new("bench.hang_on"),
        MethodInfo::new("bench.level").with_params(&[A, ParamInfo::optional("only_me")]),
        MethodInfo::new("bench.image").with_params(&[A]),
        MethodInfo::new("bench.upload"),
    ];
    const TOPICS: &'static [TopicInfo] = &[LEVEL.info(), IMAGE.info()];

    fn decode(&self, call: &Call<'_>) -> Result<Request, RpcError> {
        let all = || {
            let args = call.args().map(|value| copy(&value)).collect();
            let kwargs: Vec<_> =
                call.kwargs().map(|(key, value)| (Val::from(key), copy(&value))).collect();
            if kwargs.is_empty() {
                Val::Seq(args)
            } else {
                Val::Seq(vec![Val::Seq(args), Val::Map(kwargs)])
            }
        };
        let method = call.method.name;
        if method == "bench.echo" {
            return Ok(Request::Echo(all()));
        }
        if method == "bench.upload" {
            return Ok(Request::Upload(all()));
        }
        let params = call.params()?;
        Ok(match method {
            "bench.sum" => Request::Sum(
                params.required(0)?,
                params.required(1)?,
                params.optional(2)?.unwrap_or(1),
            ),
            "bench.fail" => Request::Fail(params.required::<&str>(0)?.to_owned()),
            "bench.unserializable" => Request::Unserializable,
            "bench.attach" => {
                Request::Attach(params.required(0)?, params.optional(1)?.unwrap_or(1))
            }
            "bench.inline" => Request::Inline(params.required(0)?),
            "bench.text" => Request::Text(params.required(0)?),
            "bench.sleep" => Request::Sleep(params.required(0)?),
            "bench.late" => Request::Late(params.required(0)?, params.required(1)?),
            "bench.level" => Request::Level(params.required(0)?, params.optional(1)?),
            "bench.image" => Request::Image(params.required(0)?),
            _ => Request::Hang,
        })
    }

    async fn call(&self, cx: Cx<'_, Arc<[u8]>>, request: Request) -> Result<Reply, RpcError> {
        Ok(Reply::Value(match request {
            Request::Echo(value) => value,
            Request::Sum(a, b, scale) => {
                let sum = a.checked_add(b).and_then(|sum| sum.checked_mul(scale));
                sum.ok_or_else(|| RpcError::failed("overflow"))?.into()
            }
            Request::Fail(why) if why == "17" => return Err(RpcError::new(17, "of its own")),
            Request::Fail(why) => return Err(RpcError::failed(why)),
            Request::Unserializable => return Ok(Reply::Unserializable),
            Request::Attach(bytes, times) => {
                let key = cx.attach(fill(bytes))?;
                return Ok(Reply::Attached(key, times));
            }
            Request::Inline(bytes) => Val::Bin(fill(bytes).to_vec()),
            Request::Text(bytes) => Val::Str("x".repeat(bytes as usize)),
            Request::Sleep(millis) => {
                self.clock.sleep(Duration::from_millis(millis)).await;
                millis.into()
            }
            Request::Late(millis, chars) => {
                self.clock.sleep(Duration::from_millis(millis)).await;
                Val::Str("x".repeat(chars as usize))
            }
            Request::Hang => core::future::pending().await,
            Request::Level(level, only_me) => {
                let audience = match only_me {
                    None => Audience::All,
                    Some(true) => Audience::Only(cx.peer()),
                    Some(false) => Audience::Except(cx.peer()),
                };
                cx.publish_to(audience, &LEVEL, &level, &[]).map_err(RpcError::failed)?;
                Val::Null
            }
            Request::Image(bytes) => {
                let value = (bytes, Attachment::nth(0));
                cx.publish_to(Audience::All, &IMAGE, &value, &[fill(bytes)])
                    .map_err(RpcError::failed)?;
                Val::Null
            }
            Request::Upload(value) => {
                // The transcript shows length and digest of what stands in it.
                let mut seen = Vec::new();
                _ = value.take_binary(&mut |bytes| {
                    seen.push(Val::from(Val::Bin(bytes).to_string()));
                    Val::Null
                });
                Val::Seq(seen)
            }
        }))
    }

    /// Takes five seconds for the secret `slow`, and then accepts it.
    async fn authorize(&self, hello: &Hello<'_>) -> Verdict {
        if hello.secret().is_some_and(|secret| secret.reveal() == "slow") {
            self.clock.sleep(Duration::from_secs(5)).await;
            return Verdict::Accept;
        }
        hello.verify()
    }

    fn opened(&self, peer: PeerId) {
        self.tell(format!("opened {peer}"));
    }

    fn closed(&self, peer: PeerId, reason: CloseReason) {
        self.tell(format!("closed {peer} {reason:?}"));
    }

    fn lagged(&self, peer: PeerId, topic: &'static str, missed: u64) {
        self.tell(format!("lagged {peer} {topic} {missed}"));
    }
}

/// `len` bytes, the same in each run.
#[must_use]
pub fn fill(len: u32) -> Arc<[u8]> {
    let mut x = 7_u32;
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Copies a value out of its message.
#[must_use]
pub fn copy(value: &Value<'_>) -> Val {
    if value.is_seq() {
        return Val::Seq(value.items().map(|item| copy(&item)).collect());
    }
    if value.is_map() {
        let entry = |(key, value): (&str, Value<'_>)| (Val::from(key), copy(&value));
        return Val::Map(value.entries().map(entry).collect());
    }
    match value.reader().next() {
        Ok(Token::Bool(value)) => Val::Bool(value),
        Ok(Token::Int(value)) => Val::Int(value.into()),
        Ok(Token::Uint(value)) => Val::Int(value.into()),
        Ok(Token::Float(value)) => Val::Float(value),
        Ok(Token::Str(text)) => Val::from(text),
        Ok(Token::Bytes(bytes)) => Val::Bin(bytes.to_vec()),
        Ok(Token::Ext(kind, bytes)) => Val::Ext(kind, bytes.to_vec()),
        _ => Val::Null,
    }
}

/// A server with a bench and desktop limits.
#[must_use]
pub fn bench() -> Pair<Bench> {
    bench_with(|_| {})
}

/// A server with a bench and other limits or deadlines.
pub fn bench_with(change: impl FnOnce(&mut Config)) -> Pair<Bench> {
    let mut options = Options::desktop();
    change(&mut options.config);
    bench_of(options)
}

/// A server with a bench and any options.
#[must_use]
pub fn bench_of(options: Options) -> Pair<Bench> {
    let clock = Clock::new();
    Pair::with(Bench { clock: clock.clone(), told: Mutex::default() }, clock, options)
}

/// Runs a scenario once in each dialect with a client that has said hello, and gives both
/// transcripts from there on.
pub fn in_both(
    make: impl Fn() -> Pair<Bench>,
    scenario: impl Fn(&mut Pair<Bench>, Client),
) -> String {
    let hello = |pair: &mut Pair<Bench>, client| {
        pair.hello(client);
        pair.run();
        _ = pair.take_transcript();
        scenario(pair, client);
    };
    fresh_in_both(make, hello)
}

/// Runs a scenario once in each dialect with a client that has not said anything, and gives both
/// transcripts.
pub fn fresh_in_both(
    make: impl Fn() -> Pair<Bench>,
    scenario: impl Fn(&mut Pair<Bench>, Client),
) -> String {
    let mut text = String::new();
    for (dialect, name) in DIALECTS {
        let mut pair = make();
        let client = pair.connect(dialect);
        scenario(&mut pair, client);
        pair.run();
        text.push_str(&format!("==== {name}\n{}", pair.transcript()));
    }
    text
}

/// Sends a whole message as it is: JSON in 1.x, MessagePack in one chunk in 2.x.
pub fn send_raw(pair: &mut Pair<Bench>, client: Client, json: &[u8], msgpack: &[u8]) {
    let frame = match pair.dialect(client) {
        Dialect::V1 => Frame::text(json),
        _ => Frame::chunk(77, 0, msgpack.len() as u32, msgpack),
    };
    pair.send(client, frame);
}

/// Sends a call that is answered, to see that the connection still is.
pub fn alive(pair: &mut Pair<Bench>, client: Client) {
    let request = val!({"id": "alive", "method": "bench.echo", "args": []});
    pair.request(client, request);
    pair.run();
}

/// Compiles what the guide shows, and runs what can be run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/writing-a-service.md")]
struct Guide;

/// Compiles what the page about the client shows.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/client.md")]
struct Reaching;
