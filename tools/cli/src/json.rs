//! Values of messages as JSON that every program can read.

use serde_json::{Map, Number, Value, json};
use wslink_testkit::{Kept, Val};

/// Binary data is `{"$bin": length, "sha256": first 8 digits}`, what JSON has no number for
/// `{"$float": "NaN"}`, and an extension of MessagePack `{"$ext": type, ..}`.
pub(crate) fn of(value: &Val) -> Value {
    match value {
        Val::Null => Value::Null,
        Val::Bool(value) => Value::Bool(*value),
        Val::Int(value) => match Number::from_i128(*value) {
            Some(number) => Value::Number(number),
            None => float(*value as f64),
        },
        Val::Float(value) => float(*value),
        Val::Str(text) => Value::String(text.clone()),
        Val::Bin(bytes) => binary(bytes),
        Val::Ext(kind, bytes) => {
            json!({ "$ext": kind, "length": bytes.len(), "sha256": Kept::of(bytes).digest })
        }
        Val::Seq(items) => Value::Array(items.iter().map(of).collect()),
        Val::Map(entries) => {
            let name = |key: &Val| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            let entries = entries.iter().map(|(key, value)| (name(key), of(value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

pub(crate) fn binary(bytes: &[u8]) -> Value {
    json!({ "$bin": bytes.len(), "sha256": Kept::of(bytes).digest })
}

fn float(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None => json!({ "$float": value.to_string() }),
    }
}
