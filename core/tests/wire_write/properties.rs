//! Random values, written and read back by others.

use crate::*;
use proptest::prelude::*;

/// Any value, in many of serde's shapes.
#[derive(Clone, Debug)]
enum Tree {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Float32(f32),
    Char(char),
    Str(String),
    Displayed(String),
    Bytes(Vec<u8>),
    Attached(u32),
    List(Vec<Self>),
    Stream(Vec<Self>),
    Map(Vec<(String, Self)>),
    StreamMap(Vec<(String, Self)>),
    Variant(Box<Self>),
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Bool(value) => value.serialize(serializer),
            Self::Int(value) => value.serialize(serializer),
            Self::Uint(value) => value.serialize(serializer),
            Self::Float(value) => value.serialize(serializer),
            Self::Float32(value) => value.serialize(serializer),
            Self::Char(value) => value.serialize(serializer),
            Self::Str(value) => value.serialize(serializer),
            Self::Displayed(value) => Displayed(value).serialize(serializer),
            Self::Bytes(value) => Binary(value).serialize(serializer),
            Self::Attached(value) => Attachment::nth(*value).serialize(serializer),
            Self::List(value) => value.serialize(serializer),
            Self::Stream(value) => Claim(None, value).serialize(serializer),
            Self::Map(value) => serializer.collect_map(value.iter().map(|(k, v)| (k, v))),
            Self::StreamMap(value) => {
                let mut map = serializer.serialize_map(None)?;
                value.iter().try_for_each(|(k, v)| map.serialize_entry(k, v))?;
                map.end()
            }
            Self::Variant(value) => {
                serializer.serialize_newtype_variant("Tree", 15, "Variant", value)
            }
        }
    }
}

impl Tree {
    /// What a 2.x peer is to read, attachments included.
    fn expected(&self) -> rmpv::Value {
        use rmpv::Value;
        match self {
            Self::Null => Value::Nil,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Uint(value) => (*value).into(),
            Self::Float(value) => (*value).into(),
            Self::Float32(value) => (*value).into(),
            Self::Char(value) => value.to_string().into(),
            Self::Str(value) | Self::Displayed(value) => value.as_str().into(),
            Self::Bytes(value) => Value::Binary(value.clone()),
            Self::Attached(index) => Value::Binary(BLOBS[*index as usize].to_vec()),
            Self::List(items) | Self::Stream(items) => {
                Value::Array(items.iter().map(Self::expected).collect())
            }
            Self::Map(entries) | Self::StreamMap(entries) => {
                let entry = |(k, v): &(String, Self)| (k.as_str().into(), v.expected());
                Value::Map(entries.iter().map(entry).collect())
            }
            Self::Variant(value) => Value::Map(vec![("Variant".into(), value.expected())]),
        }
    }

    /// The same with the keys of 1.x for all binary data, which is moved to `found`, and with
    /// lengths that are known.
    fn plain(&self, found: &mut Vec<Vec<u8>>) -> Self {
        match self {
            Self::Bytes(value) => {
                found.push(value.clone());
                Self::Str(format!("wslink_bin{}", 39 + found.len()))
            }
            Self::Attached(index) => Self::Bytes(BLOBS[*index as usize].to_vec()).plain(found),
            Self::List(items) | Self::Stream(items) => {
                Self::List(items.iter().map(|item| item.plain(found)).collect())
            }
            Self::Map(entries) | Self::StreamMap(entries) => {
                Self::Map(entries.iter().map(|(k, v)| (k.clone(), v.plain(found))).collect())
            }
            Self::Variant(value) => Self::Variant(Box::new(value.plain(found))),
            other => other.clone(),
        }
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    // Of eighths the oracle's notation is ours.
    let eighths = -1_000_000..1_000_000i32;
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        (0..64u32, any::<i64>()).prop_map(|(shift, n)| Tree::Int(n >> shift)),
        (0..64u32, any::<u64>()).prop_map(|(shift, n)| Tree::Uint(n >> shift)),
        eighths.clone().prop_map(|n| Tree::Float(f64::from(n) / 8.0)),
        eighths.prop_map(|n| Tree::Float32(n as f32 / 8.0)),
        any::<char>().prop_map(Tree::Char),
        any::<String>().prop_map(Tree::Str),
        any::<String>().prop_map(Tree::Displayed),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Tree::Bytes),
        (0..3u32).prop_map(Tree::Attached),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        let list = proptest::collection::vec(inner.clone(), 0..20);
        let map = proptest::collection::vec((any::<String>(), inner.clone()), 0..8);
        prop_oneof![
            list.clone().prop_map(Tree::List),
            list.prop_map(Tree::Stream),
            map.clone().prop_map(Tree::Map),
            map.prop_map(Tree::StreamMap),
            inner.prop_map(|tree| Tree::Variant(Box::new(tree))),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_in_2x(tree in trees()) {
        let (encoded, bytes) = encode(Dialect::V2, &tree);
        let all = content(Dialect::V2, encoded, &bytes);
        let mut rest = &all[..];
        prop_assert_eq!(rmpv::decode::read_value(&mut rest).unwrap(), tree.expected());
        prop_assert!(rest.is_empty());
        let plain = tree.plain(&mut Vec::new());
        prop_assert_eq!(v2(&plain), rmp_serde::to_vec_named(&plain).unwrap());
    }

    #[test]
    fn any_value_in_1x(tree in trees()) {
        let mut attached = Vec::new();
        let plain = tree.plain(&mut attached);
        let (encoded, bytes) = encode(Dialect::V1, &tree);
        let segments = segments(Dialect::V1, encoded, &bytes);
        let json = serde_json::to_string(&plain).unwrap();
        prop_assert_eq!(core::str::from_utf8(segments.text()).unwrap(), json);
        prop_assert_eq!(segments.places() as usize, attached.len());
        for (k, expected) in (0..).zip(&attached) {
            let place = segments.place(k, known_len).unwrap();
            prop_assert_eq!(place.key, format!("wslink_bin{}", 40 + k));
            prop_assert_eq!(resolve(place.content), expected);
        }
    }

    #[test]
    fn any_value_needs_the_same_for_every_size(tree in trees(), part in 0.0..1.0) {
        for dialect in BOTH {
            let needed = encode(dialect, &tree).1.len();
            let mut buffer = vec![0; (needed as f64 * part) as usize];
            let available = buffer.len();
            let found = attempt(dialect, &tree, &mut buffer).unwrap();
            prop_assert_eq!(found, Err(Overflow { needed, available }));
        }
    }

    #[test]
    fn any_float_reads_back(bits in any::<u64>(), single in any::<u32>()) {
        let value = f64::from_bits(bits);
        let single = f32::from_bits(single);
        prop_assume!(value.is_finite() && single.is_finite());
        prop_assert_eq!(v1(&value).parse::<f64>().unwrap().to_bits(), value.to_bits());
        prop_assert_eq!(v1(&single).parse::<f32>().unwrap().to_bits(), single.to_bits());
        prop_assert!(v1(&value).contains(['.', 'e']));
        prop_assert!(serde_json::from_str::<f64>(&v1(&value)).is_ok());
    }

    #[test]
    fn bytes_that_no_writer_left_do_not_panic(
        bytes in proptest::collection::vec(prop_oneof![0..4u8, 0x80..0x81u8, any::<u8>()], 0..80),
        text_len in prop_oneof![0..90u32, any::<u32>()],
        offset in prop_oneof![0..200u64, any::<u64>()],
        blob_len in prop_oneof![0..20u64, any::<u64>()],
    ) {
        for dialect in BOTH {
            let segments = Segments::new(dialect, text_len, &bytes);
            let _ = (segments.total(|_| blob_len), segments.text(), segments.at(offset, |_| blob_len));
            for k in 0..=segments.places() {
                let _ = segments.place(k, |_| blob_len);
            }
        }
    }
}
