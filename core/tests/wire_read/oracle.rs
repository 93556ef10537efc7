//! What others read in the same bytes: serde_json and rmpv.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use wslink_core::wire::MalformedKind::{TooDeep, Unexpected};
use wslink_core::wire::{Dialect, MAX_DEPTH, Malformed, Value, Writer};

use super::{clean, from_text};

/// Whether serde_json takes the text, bare words for numbers granted. It does not say if there is
/// a number in it that is too large for it.
pub(crate) fn serde_json_takes(text: &str) -> Option<bool> {
    let plain = text.replace("-Infinity", " 0 ").replace("Infinity", " 0 ").replace("NaN", " 0 ");
    match serde_json::from_str::<Json>(&plain) {
        Ok(_) => Some(true),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(_) => Some(false),
    }
}

/// Equality, but that serde_json is not exact to the last bit of a float, and knows -0.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(x), Json::Number(y)) if x.is_f64() || y.is_f64() => {
            let (x, y) = (x.as_f64().unwrap(), y.as_f64().unwrap());
            x == y || (x - y).abs() < x.abs().max(f64::MIN_POSITIVE) * 1e-14
        }
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, a)| b.get(k).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        ".{0,20}".prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Json::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Writes JSON in one of the many ways in which it can be written.
struct Scribe<'c> {
    choices: core::iter::Cycle<core::slice::Iter<'c, u8>>,
    text: String,
}

impl<'c> Scribe<'c> {
    fn write(value: &Json, choices: &'c [u8]) -> String {
        let mut scribe = Self { choices: choices.iter().cycle(), text: String::new() };
        scribe.value(value);
        scribe.text
    }

    fn choice(&mut self) -> u8 {
        *self.choices.next().unwrap_or(&0)
    }

    fn space(&mut self) {
        let space = ["", "", "", "", " ", "\n\t", "\r\n  "];
        let choice = usize::from(self.choice()) % space.len();
        self.text += space[choice];
    }

    fn value(&mut self, value: &Json) {
        self.space();
        match value {
            Json::String(text) => self.string(text),
            Json::Array(items) => {
                self.text.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.text += if index > 0 { "," } else { "" };
                    self.value(item);
                }
                self.text.push(']');
            }
            Json::Object(entries) => {
                self.text.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    self.text += if index > 0 { "," } else { "" };
                    self.space();
                    self.string(key);
                    self.space();
                    self.text.push(':');
                    self.value(value);
                }
                self.text.push('}');
            }
            other => self.text += &other.to_string(),
        }
        self.space();
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            if self.choice().is_multiple_of(4) {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    self.text += &format!("\\u{unit:04x}");
                }
            } else {
                let quoted = Json::from(character.to_string()).to_string();
                self.text += &quoted[1..quoted.len() - 1];
            }
        }
        self.text.push('"');
    }
}

/// Replaces, removes or doubles a few bytes.
fn mutate(bytes: &mut Vec<u8>, changes: &[(u8, prop::sample::Index, u8)]) {
    for &(what, place, byte) in changes {
        if bytes.is_empty() {
            return;
        }
        let place = place.index(bytes.len());
        match what % 4 {
            0 => bytes[place] = byte,
            1 => drop(bytes.remove(place)),
            2 => bytes.insert(place, b"[]{}\",:\\0-eN "[usize::from(byte) % 13]),
            _ => bytes.truncate(place),
        }
    }
}

fn agree_with_serde_json(input: &[u8]) {
    let shown = String::from_utf8_lossy(input);
    match clean(input) {
        Ok(_) => {
            assert_ne!(serde_json_takes(&shown), Some(false), "{shown}");
            let value = Value::clean_json(&mut input.to_vec(), 64).unwrap().deserialize::<Json>();
            if let Ok(expected) = serde_json::from_slice(input) {
                assert!(same(&value.unwrap(), &expected), "{shown}");
            }
        }
        Err(Malformed { kind: TooDeep, .. }) => {}
        Err(fault) => {
            assert!(fault.at <= input.len());
            let taken = core::str::from_utf8(input).ok().and_then(serde_json_takes);
            assert_ne!(taken, Some(true), "{fault:?} {shown}");
        }
    }
}

/// What of the reading by rmpv has no place in ours, and f32 as f64.
fn narrowed(value: rmpv::Value) -> Option<rmpv::Value> {
    Some(match value {
        rmpv::Value::F32(value) => rmpv::Value::F64(value.into()),
        rmpv::Value::String(ref text) => text.as_str().map(rmpv::Value::from)?,
        rmpv::Value::Array(items) => {
            rmpv::Value::Array(items.into_iter().map(narrowed).collect::<Option<_>>()?)
        }
        rmpv::Value::Map(entries) => rmpv::Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    key.is_str().then_some(())?;
                    Some((narrowed(key)?, narrowed(value)?))
                })
                .collect::<Option<_>>()?,
        ),
        other => other,
    })
}

fn agree_with_rmpv(input: &[u8]) {
    let mut rest = input;
    let theirs = rmpv::decode::read_value(&mut rest).ok().filter(|_| rest.is_empty());
    let theirs = theirs.and_then(narrowed);
    match Value::check_msgpack(input, MAX_DEPTH) {
        Ok(value) => {
            let theirs = format!("{:?}", theirs.unwrap());
            match value.deserialize::<rmpv::Value>() {
                Ok(ours) => assert_eq!(format!("{ours:?}"), theirs),
                Err(_) => assert!(theirs.contains("Ext("), "{theirs}"),
            }
        }
        Err(Malformed { kind: TooDeep, .. }) => {}
        // rmpv takes the one byte that is reserved for null.
        Err(Malformed { kind: Unexpected, at }) => assert_eq!(input[at], 0xC1),
        Err(fault) => assert!(theirs.is_none(), "{fault:?} {theirs:?}"),
    }
}

proptest! {
    #[test]
    fn json_reads_like_serde_json(value in any_json(), choices in any::<[u8; 31]>()) {
        let input = Scribe::write(&value, &choices);
        prop_assert!(clean(input.as_bytes()).is_ok());
        agree_with_serde_json(input.as_bytes());
    }

    #[test]
    fn mutated_json_agrees(
        value in any_json(),
        choices in any::<[u8; 31]>(),
        changes in prop::collection::vec(any::<(u8, prop::sample::Index, u8)>(), 1..4),
    ) {
        let mut input = Scribe::write(&value, &choices).into_bytes();
        mutate(&mut input, &changes);
        agree_with_serde_json(&input);
    }

    #[test]
    fn json_soup_agrees(input in r#"([\[\]{}",:\\ue0-9.+-]|true|NaN|Infinity|"a"|\\ud83d| ){0,12}"#) {
        agree_with_serde_json(input.as_bytes());
    }

    #[test]
    fn floats_are_exact(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
        let read = from_text::<f64>(&mut format!("{value:e}").into_bytes()).unwrap();
        prop_assert_eq!(read.to_bits(), value.to_bits());
        let mut whole = format!("{value}").into_bytes();
        prop_assert_eq!(from_text::<f64>(&mut whole).unwrap(), value);
    }

    #[test]
    fn messagepack_reads_like_rmpv(
        value in any_json(),
        changes in prop::collection::vec(any::<(u8, prop::sample::Index, u8)>(), 0..4),
    ) {
        let mut input = rmp_serde::to_vec_named(&value).unwrap();
        agree_with_rmpv(&input);
        mutate(&mut input, &changes);
        agree_with_rmpv(&input);
    }

    #[test]
    fn arbitrary_bytes_agree(input in prop::collection::vec(any::<u8>(), 0..64)) {
        agree_with_serde_json(&input);
        agree_with_rmpv(&input);
    }
}

/// What serde-json-core can read and write: no escapes, no floats out of the ordinary.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Plain<'a> {
    name: &'a str,
    count: i64,
    list: [u16; 3],
    level: f64,
    flag: Option<bool>,
}

proptest! {
    /// Devices that use serde-json-core and this engine side by side agree on what it covers.
    #[test]
    fn serde_json_core_agrees(
        name in "[a-z0-9 äß😀]{0,12}",
        count: i64,
        list: [u16; 3],
        level in -1e9..1e9,
        flag: Option<bool>,
    ) {
        let value = Plain { name: &name, count, list, level, flag };
        let theirs = serde_json_core::to_string::<_, 512>(&value).unwrap();
        let mut bytes = theirs.as_bytes().to_vec();
        let read: Plain<'_> =
            Value::clean_json(&mut bytes, MAX_DEPTH).unwrap().deserialize().unwrap();
        prop_assert_eq!(&read, &value);

        let mut buffer = [0; 512];
        let mut writer = Writer::new(Dialect::V1, &mut buffer, 0, &|_| None);
        writer.value(&value).unwrap();
        let len = writer.finish().unwrap().len as usize;
        let (read, end) = serde_json_core::from_slice::<Plain<'_>>(&buffer[..len]).unwrap();
        prop_assert_eq!((&read, end), (&value, len));
    }
}
