//! The JSON reader against serde_json, and what it read through both writers and back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Number, Value as Json};
use wslink_core::wire::{Dialect, MAX_DEPTH, MalformedKind, Value, Writer};

fuzz_target!(|data: &[u8]| {
    let theirs = serde_json::from_slice::<Json>(data);
    for depth in [3, MAX_DEPTH] {
        let mut bytes = data.to_vec();
        match (Value::clean_json(&mut bytes, depth), &theirs) {
            (Ok(value), theirs) => {
                read_to_its_end(value);
                let ours: Json = value.deserialize().expect("clean, so it can be read");
                match theirs {
                    Ok(theirs) => assert!(same(&ours, theirs), "{ours} is not {theirs}"),
                    Err(reason) => assert!(we_take_more(data, reason), "{reason}"),
                }
                writes_and_reads(&ours);
            }
            (Err(fault), Ok(_)) => assert_eq!(fault.kind, MalformedKind::TooDeep, "{fault:?}"),
            (Err(fault), Err(_)) => assert!(fault.at <= data.len(), "{fault:?}"),
        }
    }
});

fn read_to_its_end(value: Value<'_>) {
    let mut reader = value.reader();
    reader.skip().expect("a clean value has an end");
    let end = reader.next().expect_err("nothing follows a value");
    assert_eq!(end.kind, MalformedKind::Truncated);
    visit(value);
}

fn visit(value: Value<'_>) {
    for item in value.items() {
        visit(item);
    }
    for (_, item) in value.entries() {
        visit(item);
    }
}

/// The bare words of upstream, and numbers that are too big for a float.
fn we_take_more(data: &[u8], reason: &serde_json::Error) -> bool {
    let text = String::from_utf8_lossy(data);
    ["NaN", "Infinity"].iter().any(|word| text.contains(word))
        || reason.to_string().starts_with("number out of range")
}

fn same(ours: &Json, theirs: &Json) -> bool {
    match (ours, theirs) {
        (Json::Number(ours), Json::Number(theirs)) => same_number(ours, theirs),
        (Json::Array(ours), Json::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same(a, b))
        }
        (Json::Object(ours), Json::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|((ka, a), (kb, b))| ka == kb && same(a, b))
        }
        (ours, theirs) => ours == theirs,
    }
}

/// `-0` is an integer to us and a float to serde_json.
fn same_number(ours: &Number, theirs: &Number) -> bool {
    ours == theirs || (ours.as_f64() == Some(0.0) && theirs.as_f64() == Some(0.0))
}

fn writes_and_reads(value: &Json) {
    for dialect in [Dialect::V1, Dialect::V2] {
        let mut nothing = Writer::new(dialect, &mut [], 0, &|_| None);
        nothing.value(value).expect("every JSON value has a form");
        let needed = nothing.finish().expect_err("no value is empty").needed;

        let mut bytes = vec![0; needed];
        let mut writer = Writer::new(dialect, &mut bytes, 0, &|_| None);
        writer.value(value).expect("every JSON value has a form");
        let encoded = writer.finish().expect("the room that it asked for");
        assert_eq!(encoded.len as usize, needed);

        let written = match dialect {
            Dialect::V1 => Value::clean_json(&mut bytes, MAX_DEPTH),
            _ => Value::check_msgpack(&bytes, MAX_DEPTH),
        };
        let back: Json = written.expect("what we wrote").deserialize().expect("what we wrote");
        assert!(same(&back, value), "{dialect:?}: {back} is not {value}");
    }
}
