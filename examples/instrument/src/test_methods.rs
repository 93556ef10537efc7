//! Methods that only tests want (`--test-methods`), around the scope's own.
//!
//! It is also an example of a service that adds to another one.

use core::borrow::Borrow;
use core::fmt;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};
use wslink_core::{Call, Cx, MethodInfo, ParamInfo, Policy, RpcError, Service, Topic, TopicInfo};
use wslink_scope::{Scope, Signal, Timer};

/// The scope with `scope.echo`, `scope.fail`, `scope.unserializable` and `scope.publish`.
#[derive(Debug)]
pub(crate) struct WithTestMethods<T>(pub(crate) Scope<T>);

impl<T> Borrow<Scope<T>> for WithTestMethods<T> {
    fn borrow(&self) -> &Scope<T> {
        &self.0
    }
}

/// How many methods the scope has.
const SCOPE: usize = <Scope<NoTimer> as Service>::METHODS.len();

/// The scope's methods first, so that an index of the scope is also one of ours.
const METHODS: [MethodInfo; SCOPE + 4] = {
    let mut methods = [MethodInfo::new("scope.echo").with_doc("What it was given."); SCOPE + 4];
    let mut i = 0;
    while i < SCOPE {
        methods[i] = <Scope<NoTimer> as Service>::METHODS[i];
        i += 1;
    }
    methods[SCOPE + 1] =
        MethodInfo::new("scope.fail").with_params(TEXT_PARAMS).with_doc("Fails with a text.");
    methods[SCOPE + 2] =
        MethodInfo::new("scope.unserializable").with_doc("Has a result that no dialect can write.");
    methods[SCOPE + 3] = MethodInfo::new("scope.publish")
        .with_params(TEXT_PARAMS)
        .with_doc("Publishes a text as scope.text.");
    methods
};

const TEXT_PARAMS: &[ParamInfo] = &[ParamInfo::required("text")];

/// What `scope.publish` publishes: of a memory's size, unlike a signal.
const TEXT: Topic<String> =
    Topic::new("scope.text").with_doc("A text.").with_policy(Policy::KeepLatest);

const TOPICS: [TopicInfo; <Scope<NoTimer> as Service>::TOPICS.len() + 1] = {
    let scope = <Scope<NoTimer> as Service>::TOPICS;
    let mut topics = [TEXT.info(); <Scope<NoTimer> as Service>::TOPICS.len() + 1];
    let mut i = 0;
    while i < scope.len() {
        topics[i] = scope[i];
        i += 1;
    }
    topics
};

/// Lets a constant name the scope's methods, which are the same with any timer.
enum NoTimer {}

impl Timer for NoTimer {
    async fn after(&self, _: core::time::Duration) {
        match *self {}
    }
}

impl<T: Timer> Service for WithTestMethods<T> {
    type Request = Request;
    type Reply = Reply;
    type Blob = Signal;
    const METHODS: &'static [MethodInfo] = &METHODS;
    const TOPICS: &'static [TopicInfo] = &TOPICS;

    fn decode(&self, call: &Call<'_>) -> Result<Request, RpcError> {
        match call.method.name {
            "scope.echo" => {
                let args = call.args().map(|value| value.deserialize()).collect::<Result<_, _>>();
                let kwargs = call
                    .kwargs()
                    .map(|(key, value)| Ok((key.to_owned(), value.deserialize()?)))
                    .collect::<Result<_, wslink_core::wire::DecodeError>>();
                Ok(Request::Echo {
                    args: Any::List(args.map_err(RpcError::invalid_params)?),
                    kwargs: Any::Map(kwargs.map_err(RpcError::invalid_params)?),
                })
            }
            "scope.fail" => Ok(Request::Fail(call.params()?.required(0)?)),
            "scope.publish" => Ok(Request::Publish(call.params()?.required(0)?)),
            "scope.unserializable" => call.params().map(|_| Request::Unserializable),
            _ => self.0.decode(call).map(Request::Scope),
        }
    }

    async fn call(&self, cx: Cx<'_, Signal>, request: Request) -> Result<Reply, RpcError> {
        match request {
            Request::Scope(request) => self.0.call(cx, request).await.map(Reply::Scope),
            Request::Echo { args, kwargs } => Ok(Reply::Echo { args, kwargs }),
            Request::Fail(text) => Err(RpcError::failed(text)),
            Request::Unserializable => Ok(Reply::Unserializable),
            Request::Publish(text) => {
                cx.publish(&TEXT, &text).map_err(RpcError::failed)?;
                Ok(Reply::Published)
            }
        }
    }
}

/// A call, decoded.
#[derive(Debug)]
pub(crate) enum Request {
    /// One of the scope's.
    Scope(wslink_scope::Request),
    /// `scope.echo`
    Echo {
        /// Positional arguments.
        args: Any,
        /// Keyword arguments.
        kwargs: Any,
    },
    /// `scope.fail`
    Fail(String),
    /// `scope.unserializable`
    Unserializable,
    /// `scope.publish`
    Publish(String),
}

/// What a call gives back.
#[derive(Debug)]
pub(crate) enum Reply {
    /// One of the scope's.
    Scope(wslink_scope::Reply),
    /// What came.
    Echo {
        /// Positional arguments.
        args: Any,
        /// Keyword arguments.
        kwargs: Any,
    },
    /// Its serialization fails.
    Unserializable,
    /// Null.
    Published,
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Scope(reply) => reply.serialize(serializer),
            Self::Echo { args, kwargs } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("args", args)?;
                map.serialize_entry("kwargs", kwargs)?;
                map.end()
            }
            Self::Unserializable => Err(S::Error::custom("made to fail")),
            Self::Published => serializer.serialize_unit(),
        }
    }
}

/// Any value that a client can send.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Any {
    /// Null.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer above [`i64::MAX`].
    Uint(u64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// Binary data.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Self>),
    /// A map, in the order of the message.
    Map(Vec<(String, Self)>),
}

impl Serialize for Any {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Uint(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(entries) => {
                serializer.collect_map(entries.iter().map(|(key, value)| (key, value)))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Any, E> {
        Ok(Any::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Any, E> {
        Ok(Any::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Any, E> {
        Ok(Any::Uint(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Any, E> {
        Ok(Any::Float(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Any, E> {
        Ok(Any::Text(text.to_owned()))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Any, E> {
        Ok(Any::Bytes(bytes.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Any, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Any::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Any, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Any::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wslink_core::wire::{Dialect, Value, Writer};

    #[test]
    fn any_value_goes_there_and_back() {
        let json = r#"[null,true,-1,18446744073709551615,0.5,"é\"",[[],{}],{"b":1,"a":{"b":2}}]"#;
        let mut text = json.as_bytes().to_vec();
        let value: Any = Value::clean_json(&mut text, 8).unwrap().deserialize().unwrap();

        let mut buffer = [0; 256];
        let mut writer = Writer::new(Dialect::V1, &mut buffer, 0, &|_| None);
        writer.value(&value).unwrap();
        let encoded = writer.finish().unwrap();
        assert_eq!(&buffer[..encoded.text_len as usize], json.as_bytes());

        let value = Any::List(vec![value, Any::Bytes(vec![0, 1, 255]), Any::Bytes(vec![])]);
        let mut writer = Writer::new(Dialect::V2, &mut buffer, 0, &|_| None);
        writer.value(&value).unwrap();
        let encoded = writer.finish().unwrap();
        let packed = Value::check_msgpack(&buffer[..encoded.len as usize], 8).unwrap();
        assert_eq!(packed.deserialize(), Ok(value));
    }

    #[test]
    fn the_scope_keeps_its_indices() {
        let scope = Scope::<NoTimer>::METHODS;
        assert_eq!(&METHODS[..SCOPE], scope);
        assert_eq!(
            METHODS[SCOPE..].iter().map(|method| method.name).collect::<Vec<_>>(),
            ["scope.echo", "scope.fail", "scope.unserializable", "scope.publish"]
        );
    }
}
