//! The methods that the recorded servers had, with the same results.

use crate::value::{Value, fill, sha256};
use core::time::Duration;
use std::sync::Arc;
use wslink_core::{
    Attachment, Audience, Call, Cx, MethodInfo, ParamInfo, PublishError, RpcError, Service, Topic,
    TopicInfo,
};

pub(crate) struct TraceService;

/// Arguments by the parameters that the method declares, or as they came if it takes any.
pub(crate) struct Request {
    method: &'static str,
    args: Vec<Value>,
    kwargs: Vec<(Value, Value)>,
}

const TOPIC: ParamInfo = ParamInfo::required("topic");
const N: ParamInfo = ParamInfo::required("n");
/// These take whatever comes.
const ANY: [&str; 3] = ["trace.echo", "trace.types", "trace.describe"];

const fn method(name: &'static str, params: &'static [ParamInfo]) -> MethodInfo {
    MethodInfo::new(name).with_params(params)
}

impl Service for TraceService {
    type Request = Request;
    type Reply = Value;
    type Blob = Arc<[u8]>;
    const METHODS: &'static [MethodInfo] = &[
        method("trace.echo", &[]),
        method("trace.identity", &[ParamInfo::required("value")]),
        method("trace.types", &[]),
        method("trace.null", &[]),
        method(
            "trace.add",
            &[ParamInfo::required("a"), ParamInfo::required("b"), ParamInfo::optional("c")],
        ),
        method("trace.raise", &[ParamInfo::optional("text")]),
        method("trace.raise_empty", &[]),
        method("trace.strings", &[]),
        method("trace.numbers", &[]),
        method("trace.bigint", &[]),
        method("trace.special", &[]),
        method("trace.unserializable", &[]),
        method("trace.int_keys", &[]),
        method("trace.blob", &[N]),
        method("trace.nested", &[]),
        method("trace.twice", &[]),
        method("trace.kept", &[]),
        method("trace.raw_bytes", &[]),
        method("trace.add_unused", &[N]),
        method("trace.describe", &[]),
        method("trace.publish", &[TOPIC, ParamInfo::required("payload")]),
        method("trace.publish_many", &[TOPIC, N]),
        method("trace.publish_blob", &[TOPIC, N]),
        method("trace.publish_skip", &[TOPIC, ParamInfo::required("payload")]),
        method("trace.publish_unserializable", &[TOPIC]),
        method("trace.sleep", &[ParamInfo::required("seconds"), ParamInfo::optional("tag")]),
        method("trace.publish_then_sleep", &[TOPIC, ParamInfo::required("seconds")]),
    ];
    const TOPICS: &'static [TopicInfo] = &[];

    fn decode(&self, call: &Call<'_>) -> Result<Request, RpcError> {
        let method = call.method.name;
        let read = |value: wslink_core::wire::Value<'_>| {
            value.deserialize().map_err(RpcError::invalid_params)
        };
        if ANY.contains(&method) {
            let args = call.args().map(read).collect::<Result<_, _>>()?;
            let kwargs = call
                .kwargs()
                .map(|(key, value)| Ok((Value::str(key), read(value)?)))
                .collect::<Result<_, RpcError>>()?;
            return Ok(Request { method, args, kwargs });
        }
        let params = call.params()?;
        let mut args = Vec::new();
        for (index, info) in call.method.params.iter().enumerate() {
            if !info.optional || params.value(index).is_some() {
                args.push(params.required(index)?);
            }
        }
        Ok(Request { method, args, kwargs: Vec::new() })
    }

    async fn call(&self, cx: Cx<'_, Arc<[u8]>>, request: Request) -> Result<Value, RpcError> {
        let Request { method, mut args, kwargs } = request;
        let attach = |bytes: &[u8]| cx.attach(bytes).map(Value::Attached);
        let text = |index: usize| {
            let text = args.get(index).and_then(Value::as_str);
            text.ok_or_else(|| RpcError::failed("an argument is no text"))
        };
        let count = |index: usize| {
            let count = args.get(index).and_then(Value::as_usize);
            count.ok_or_else(|| RpcError::failed("an argument is no count"))
        };
        Ok(match method {
            "trace.echo" => {
                Value::map([("args", Value::List(args)), ("kwargs", Value::Map(kwargs))])
            }
            "trace.identity" => args.remove(0),
            "trace.types" => Value::List(args.iter().map(|arg| Value::Str(python(arg))).collect()),
            "trace.null" => Value::Null,
            "trace.add" => args
                .into_iter()
                .map(Ok)
                .reduce(|a, b| add(a?, b?))
                .ok_or_else(|| RpcError::failed("nothing to add"))??,
            "trace.raise" => {
                return Err(RpcError::failed(
                    args.first().and_then(Value::as_str).unwrap_or("boom"),
                ));
            }
            "trace.raise_empty" => return Err(RpcError::failed("")),
            "trace.strings" => Value::List(STRINGS.map(Value::str).into()),
            "trace.numbers" => {
                let floats = FLOATS.map(Value::Float);
                Value::List(INTEGERS.map(Value::Int).into_iter().chain(floats).collect())
            }
            "trace.bigint" => Value::List(vec![
                Value::Int(1 << 64),
                Value::Int(i128::from(i64::MIN) - 1),
                Value::Int(10_i128.pow(30)),
            ]),
            "trace.special" => Value::map([
                ("nan", Value::Float(f64::NAN)),
                ("inf", Value::Float(f64::INFINITY)),
                ("ninf", Value::Float(f64::NEG_INFINITY)),
                ("list", Value::List([1.5, f64::NAN, f64::NEG_INFINITY].map(Value::Float).into())),
            ]),
            "trace.unserializable" => Value::map([("set", Value::Set)]),
            // A dict of Python knows no difference between the keys 1 and True.
            "trace.int_keys" => Value::Map(vec![
                (Value::Int(1), Value::str("true")),
                (Value::Float(2.5), Value::str("float")),
                (Value::Null, Value::str("none")),
            ]),
            "trace.blob" => attach(&fill(count(0)?))?,
            "trace.nested" => Value::map([
                (
                    "image",
                    Value::map([
                        ("blob", attach(b"\x00\xff\x10")?),
                        ("mime", Value::str("image/png")),
                    ]),
                ),
                (
                    "list",
                    Value::List(vec![
                        attach(b"\x01\x02\x03\x04")?,
                        Value::str("text"),
                        Value::List(vec![attach(b"")?]),
                    ]),
                ),
                ("n", Value::Int(3)),
            ]),
            "trace.twice" => {
                let key = attach(b"twice")?;
                Value::List(vec![key.clone(), Value::map([("again", key)])])
            }
            "trace.kept" => attach(b"kept")?,
            "trace.raw_bytes" => Value::map([("raw", Value::Bytes(b"no addAttachment".to_vec()))]),
            "trace.add_unused" => {
                let n = count(0)?;
                for i in 0..n {
                    attach(&[i as u8])?;
                }
                Value::Int(n as i128)
            }
            "trace.describe" => Value::map([
                ("args", describe(&Value::List(args))),
                ("kwargs", describe(&Value::Map(kwargs))),
            ]),
            "trace.publish" => {
                publish(cx, Audience::All, text(0)?, &args[1], &[])?;
                Value::str("published")
            }
            "trace.publish_many" => {
                let n = count(1)?;
                for i in 0..n {
                    publish(cx, Audience::All, text(0)?, &Value::Int(i as i128), &[])?;
                }
                Value::Int(n as i128)
            }
            "trace.publish_blob" => {
                let n = count(1)?;
                let value = Value::map([
                    ("blob", Value::Attached(Attachment::nth(0))),
                    ("n", Value::Int(n as i128)),
                ]);
                publish(cx, Audience::All, text(0)?, &value, &[fill(n).into()])?;
                Value::str("published")
            }
            "trace.publish_skip" => {
                publish(cx, Audience::Except(cx.peer()), text(0)?, &args[1], &[])?;
                Value::str("published")
            }
            "trace.publish_unserializable" => {
                publish(cx, Audience::All, text(0)?, &Value::Set, &[])?;
                Value::str("published")
            }
            "trace.sleep" => {
                sleep(&args[0]).await?;
                args.into_iter().nth(1).unwrap_or(Value::Null)
            }
            "trace.publish_then_sleep" => {
                publish(cx, Audience::All, text(0)?, &Value::str("before"), &[])?;
                sleep(&args[1]).await?;
                publish(cx, Audience::All, text(0)?, &Value::str("after"), &[])?;
                Value::str("done")
            }
            _ => return Err(RpcError::failed("a method without a handler")),
        })
    }
}

const STRINGS: [&str; 9] = [
    "é",
    "日本語",
    "😀𝄞",
    "\x00\x01\x1f\x7f",
    "\"\\/\x08\x0c\n\r\t",
    "\u{2028}\u{2029}",
    "",
    "</script>",
    "\u{feff}",
];

const INTEGERS: [i128; 27] = [
    0,
    1,
    -1,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    -32,
    -33,
    -128,
    -129,
    -32_768,
    -32_769,
    2_147_483_647,
    2_147_483_648,
    -2_147_483_648,
    -2_147_483_649,
    4_294_967_295,
    4_294_967_296,
    9_007_199_254_740_991,
    9_007_199_254_740_993,
    -9_007_199_254_740_993,
    i64::MAX as i128,
    i64::MIN as i128,
    u64::MAX as i128,
];

const FLOATS: [f64; 13] = [
    0.0,
    -0.0,
    1.0,
    1.5,
    -2.25,
    0.1,
    1e16,
    1e21,
    1e22,
    1e300,
    5e-324,
    1e-7,
    123_456_789_012_345_680.0,
];

/// Topics of the recordings are arguments, those of the engine are constants: a few are leaked.
fn publish(
    cx: Cx<'_, Arc<[u8]>>,
    audience: Audience,
    topic: &str,
    value: &Value,
    blobs: &[Arc<[u8]>],
) -> Result<(), RpcError> {
    let words = topic.split('.').all(|word| {
        !word.is_empty() && word.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
    });
    if !words {
        return Err(RpcError::failed(format_args!("{topic:?} is no topic")));
    }
    let topic = Topic::<Value>::new(String::from(topic).leak());
    cx.publish_to(audience, &topic, value, blobs)
        .map_err(|error: PublishError| RpcError::failed(error))
}

async fn sleep(seconds: &Value) -> Result<(), RpcError> {
    let seconds = match seconds {
        Value::Float(seconds) => *seconds,
        Value::Int(seconds) => *seconds as f64,
        _ => return Err(RpcError::failed("no number of seconds")),
    };
    smol::Timer::after(Duration::from_secs_f64(seconds)).await;
    Ok(())
}

fn add(a: Value, b: Value) -> Result<Value, RpcError> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(Value::Int(a + b)),
        (Value::Float(a), Value::Float(b)) => Ok(Value::Float(a + b)),
        (Value::Str(a), Value::Str(b)) => Ok(Value::Str(a + &b)),
        _ => Err(RpcError::failed("values of different types cannot be added")),
    }
}

/// What the handler was given, bytes by their digest.
fn describe(value: &Value) -> Value {
    match value {
        Value::Bytes(bytes) => Value::map([
            ("type", Value::str("bytes")),
            ("length", Value::Int(bytes.len() as i128)),
            ("sha256", Value::Str(sha256(bytes))),
        ]),
        Value::List(items) => Value::List(items.iter().map(describe).collect()),
        Value::Map(entries) => {
            Value::Map(entries.iter().map(|(key, value)| (key.clone(), describe(value))).collect())
        }
        other => other.clone(),
    }
}

/// Python's name of the type and its `repr`.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "NoneType None".into(),
        Value::Bool(true) => "bool True".into(),
        Value::Bool(false) => "bool False".into(),
        Value::Int(value) => format!("int {value}"),
        Value::Float(value) if value.is_nan() => "float nan".into(),
        Value::Float(value) => {
            // Python changes to an exponent of two digits at 1e16 and below 1e-4; Rust writes one
            // digit, and has no plus.
            let size = value.abs();
            let text = if size != 0.0 && size.is_finite() && !(1e-4..1e16).contains(&size) {
                format!("{value:e}")
            } else {
                format!("{value:?}")
            };
            let text = match text.split_once('e') {
                None => text,
                Some((digits, exponent)) => match exponent.strip_prefix('-') {
                    Some(exponent) => format!("{digits}e-{exponent:0>2}"),
                    None => format!("{digits}e+{exponent:0>2}"),
                },
            };
            format!("float {text}")
        }
        Value::Str(value) => format!("str {value:?}"),
        other => format!("{other}"),
    }
}
