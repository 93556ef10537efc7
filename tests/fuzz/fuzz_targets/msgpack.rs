//! The MessagePack reader against rmpv, and what it read through the writer and back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rmpv::Value as Pack;
use wslink_core::wire::{Dialect, MAX_DEPTH, MalformedKind, Value, Writer};

/// Deeper than we follow, shallow enough for the stack.
const THEIR_DEPTH: usize = 200;

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    let theirs = rmpv::decode::read_value_with_max_depth(&mut rest, THEIR_DEPTH)
        .ok()
        .filter(|_| rest.is_empty());
    for depth in [3, MAX_DEPTH] {
        match (Value::check_msgpack(data, depth), &theirs) {
            (Ok(value), Some(theirs)) => {
                read_to_its_end(value);
                if has_ext(theirs) {
                    value.deserialize::<Pack>().expect_err("no service takes an extension");
                } else {
                    let ours: Pack = value.deserialize().expect("checked, so it can be read");
                    assert!(same(&ours, theirs), "{ours} is not {theirs}");
                    writes_and_reads(&ours);
                }
            }
            (Ok(_), None) => panic!("we take what rmpv does not"),
            (Err(fault), Some(theirs)) => match fault.kind {
                MalformedKind::TooDeep => {}
                MalformedKind::KeyNotString | MalformedKind::NotUtf8 => {
                    assert!(!all_text(theirs), "{fault:?} in {theirs}");
                }
                // The byte that is never used; rmpv reads it as nil.
                MalformedKind::Unexpected => assert_eq!(data[fault.at], 0xc1, "{fault:?}"),
                _ => panic!("{fault:?} in {theirs}"),
            },
            (Err(fault), None) => assert!(fault.at <= data.len(), "{fault:?}"),
        }
    }
});

fn read_to_its_end(value: Value<'_>) {
    let mut reader = value.reader();
    reader.skip().expect("a checked value has an end");
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

fn has_ext(value: &Pack) -> bool {
    match value {
        Pack::Ext(..) => true,
        Pack::Array(items) => items.iter().any(has_ext),
        Pack::Map(entries) => entries.iter().any(|(key, value)| has_ext(key) || has_ext(value)),
        _ => false,
    }
}

/// Whether all strings are UTF-8 and all keys are strings.
fn all_text(value: &Pack) -> bool {
    match value {
        Pack::String(text) => text.is_str(),
        Pack::Array(items) => items.iter().all(all_text),
        Pack::Map(entries) => {
            entries.iter().all(|(key, value)| key.is_str() && all_text(key) && all_text(value))
        }
        _ => true,
    }
}

fn same(ours: &Pack, theirs: &Pack) -> bool {
    match (ours, theirs) {
        (Pack::F64(ours), Pack::F32(theirs)) => same_float(*ours, f64::from(*theirs)),
        (Pack::F64(ours), Pack::F64(theirs)) => same_float(*ours, *theirs),
        (Pack::Array(ours), Pack::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same(a, b))
        }
        (Pack::Map(ours), Pack::Map(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|((ka, a), (kb, b))| ka == kb && same(a, b))
        }
        (ours, theirs) => ours == theirs,
    }
}

fn same_float(ours: f64, theirs: f64) -> bool {
    ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan())
}

fn writes_and_reads(value: &Pack) {
    let mut nothing = Writer::new(Dialect::V2, &mut [], 0, &|_| None);
    nothing.value(value).expect("it came in this form");
    let needed = nothing.finish().expect_err("no value is empty").needed;

    let mut bytes = vec![0; needed];
    let mut writer = Writer::new(Dialect::V2, &mut bytes, 0, &|_| None);
    writer.value(value).expect("it came in this form");
    let encoded = writer.finish().expect("the room that it asked for");
    assert_eq!(encoded.len as usize, needed);

    let written = Value::check_msgpack(&bytes, MAX_DEPTH).expect("what we wrote");
    let back: Pack = written.deserialize().expect("what we wrote");
    assert!(same(&back, value), "{back} is not {value}");
}
