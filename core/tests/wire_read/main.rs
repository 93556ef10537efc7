//! Reading both dialects: what is accepted, what is not and where it fails, and that others
//! (serde_json, rmpv, rmp_serde) read the same in the same bytes.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod oracle;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use wslink_core::wire::{
    DecodeError, Dialect, MAX_DEPTH, Malformed, MalformedKind, Token, Value, json as text, msgpack,
};

use oracle::serde_json_takes;

use MalformedKind::{KeyNotString, NotUtf8, TooDeep, Trailing, Truncated, Unexpected};

const GOOD: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1",
    "10",
    "1.5",
    "-0.0",
    "0e0",
    "1E5",
    "1e+5",
    "1.25e-5",
    "123456789012345678901234567890",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "-9223372036854775809",
    "1e400",
    "-1e400",
    "1e-400",
    "4.9e-324",
    "NaN",
    "Infinity",
    "-Infinity",
    "[NaN, -Infinity,Infinity]",
    " \t\r\n1 \t\r\n",
    "\"\"",
    "\"a\"",
    "\"'\"",
    "\"/\\/\"",
    r#""\"\\\/\b\f\n\r\t""#,
    r#""\u0000""#,
    r#""\u0041\u00e9\u20AC""#,
    r#""\ud83d\ude00""#,
    r#""\uDBFF\uDFFF""#,
    "\"\u{7f}\u{80}\u{10ffff}\"",
    "\"€ uro\"",
    "\"\u{feff}\"",
    "[]",
    "[ ]",
    "{}",
    "{\n}",
    "[1,2]",
    "[[],[[]],{}]",
    "[ 1 , 2 ]",
    "{\"a\":1}",
    "{ \"a\" : 1 , \"b\" : { } }",
    "{\"\":0}",
    "{\"a\":1,\"a\":2}",
    "{\"\\u0061\":[{}]}",
    "\"wslink_bin0\"",
    "\"a long text that is longer than several machine words\"",
    "\"a long text with an escape in \\u0074he middle, and more after it \\n\"",
];

const BAD: &[(&[u8], MalformedKind, usize)] = &[
    (b"", Truncated, 0),
    (b" ", Truncated, 1),
    (b"[", Truncated, 1),
    (b"[1", Truncated, 2),
    (b"[1,", Truncated, 3),
    (b"{", Truncated, 1),
    (b"{\"a\"", Truncated, 4),
    (b"{\"a\":", Truncated, 5),
    (b"\"", Truncated, 1),
    (b"\"a", Truncated, 2),
    (b"\"\\", Truncated, 2),
    (b"\"\\u", Truncated, 3),
    (b"\"\\u00", Truncated, 5),
    (b"\"\\ud83d", Truncated, 7),
    (b"\"\\ud83d\\", Truncated, 8),
    (b"\"\\ud83d\\ude", Truncated, 11),
    (b"-", Truncated, 1),
    (b"1.", Truncated, 2),
    (b"1e", Truncated, 2),
    (b"1e+", Truncated, 3),
    (b"tru", Truncated, 3),
    (b"-Inf", Truncated, 4),
    (b"]", Unexpected, 0),
    (b"}", Unexpected, 0),
    (b",", Unexpected, 0),
    (b":", Unexpected, 0),
    (b"[1,]", Unexpected, 3),
    (b"[,1]", Unexpected, 1),
    (b"[1 2]", Unexpected, 3),
    (b"[1}", Unexpected, 2),
    (b"{]", Unexpected, 1),
    (b"{\"a\":1]", Unexpected, 6),
    (b"{\"a\":1,}", Unexpected, 7),
    (b"{\"a\" 1}", Unexpected, 5),
    (b"{\"a\",1}", Unexpected, 4),
    (b"{\"a\":}", Unexpected, 5),
    (b"{,}", Unexpected, 1),
    (b"{a:1}", Unexpected, 1),
    (b"{'a':1}", Unexpected, 1),
    (b"{\"a\":1 \"b\":2}", Unexpected, 7),
    (b"[\"a\":1]", Unexpected, 4),
    (b"'a'", Unexpected, 0),
    (b"+1", Unexpected, 0),
    (b".5", Unexpected, 0),
    (b"1.x", Unexpected, 2),
    (b"1.e5", Unexpected, 2),
    (b"--1", Unexpected, 1),
    (b"-a", Unexpected, 1),
    (b"-NaN", Unexpected, 1),
    (b"1ee5", Unexpected, 2),
    (b"[01]", Unexpected, 2),
    (b"[-012]", Unexpected, 3),
    (b"[0x1]", Unexpected, 2),
    (b"[1_000]", Unexpected, 2),
    (b"True", Unexpected, 0),
    (b"trve", Unexpected, 2),
    (b"nan", Unexpected, 1),
    (b"infinity", Unexpected, 0),
    (b"undefined", Unexpected, 0),
    (b"// no\n1", Unexpected, 0),
    (b"[1/**/]", Unexpected, 2),
    (b"\"\t\"", Unexpected, 1),
    (b"\"a\nb\"", Unexpected, 2),
    (b"\"\0\"", Unexpected, 1),
    (b"\"123456789\x1f\"", Unexpected, 10),
    (b"\"\\x41\"", Unexpected, 2),
    (b"\"\\'\"", Unexpected, 2),
    (b"\"\\u12G4\"", Unexpected, 5),
    (b"\"\\u+123\"", Unexpected, 3),
    (b"\"\\ud83d\\uZZZZ\"", Unexpected, 9),
    (b"\0", Unexpected, 0),
    (b"1\0", Trailing, 1),
    (b"\x0c1", Unexpected, 0),
    (b"\xef\xbb\xbf1", Unexpected, 0),
    (b"[\xc2\xa01]", Unexpected, 1),
    (b"1 2", Trailing, 2),
    (b"01", Trailing, 1),
    (b"{}{}", Trailing, 2),
    (b"[]]", Trailing, 2),
    (b"nullx", Trailing, 4),
    (b"\"a\"\"b\"", Trailing, 3),
    (b"{1:2}", KeyNotString, 1),
    (b"{null:2}", KeyNotString, 1),
    (b"{\"a\":1,[]:2}", KeyNotString, 7),
    (b"\"\\ud800\"", NotUtf8, 1),
    (b"\"\\ud800\\n\"", NotUtf8, 1),
    (b"\"\\ud800x\"", NotUtf8, 1),
    (b"\"\\udc00\"", NotUtf8, 1),
    (b"\"\\ud800\\ud800\"", NotUtf8, 1),
    (b"\"\xff\"", NotUtf8, 1),
    (b"\"\xfe\"", NotUtf8, 1),
    (b"\"\xc0\x80\"", NotUtf8, 1),
    (b"\"\xed\xa0\x80\"", NotUtf8, 1),
    (b"\"\xe2\x82", NotUtf8, 1),
    (b"1\xff", NotUtf8, 1),
    (b"x\xff", Unexpected, 0),
];

fn clean(input: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut bytes = input.to_vec();
    text::clean(&mut bytes, MAX_DEPTH)?;
    Ok(bytes)
}

#[test]
fn good_json_is_accepted() {
    for input in GOOD {
        assert!(clean(input.as_bytes()).is_ok(), "{input}");
        // Upstream's bare words aside, it is what serde_json takes.
        assert_ne!(serde_json_takes(input), Some(false), "{input}");
    }
}

#[test]
fn bad_json_is_refused_at_its_fault() {
    for &(input, kind, at) in BAD {
        let shown = String::from_utf8_lossy(input);
        assert_eq!(clean(input), Err(Malformed { at, kind }), "{shown}");
        let taken = core::str::from_utf8(input).ok().and_then(serde_json_takes);
        assert_ne!(taken, Some(true), "{shown}");
    }
}

#[test]
fn clean_form() {
    // ¶ is the byte 0xFF, · a space that was not sent.
    let cases = [
        (r#"{"a": "b"}"#, r#"{"a¶: "b¶}"#),
        (r#"["\n","","x\ty\\"]"#, "[\"\n¶·,\"¶,\"x\ty\\¶··]"),
        (r#""\u0041b\u00e9""#, "\"Abé¶·········"),
        (r#" "\ud83d\ude00!" "#, " \"😀!¶········ "),
        (r#"{"\u0069d":1}"#, "{\"id¶·····:1}"),
        ("[NaN, -1.50e+3 ]", "[NaN, -1.50e+3 ]"),
    ];
    for (input, expected) in cases {
        let mut shown = String::new();
        for chunk in clean(input.as_bytes()).unwrap().utf8_chunks() {
            shown += chunk.valid();
            shown += if chunk.invalid().is_empty() { "" } else { "¶" };
        }
        assert_eq!(shown, expected.replace('·', " "), "{input}");
    }
}

#[test]
fn what_precedes_a_fault_is_clean() {
    let mut bytes = *br#"{"id": "a\u0062", "x": "\ud800"}"#;
    let fault = text::clean(&mut bytes, 8).unwrap_err();
    assert_eq!(fault, Malformed { at: 24, kind: NotUtf8 });
    assert_eq!(&bytes[..fault.at], b"{\"id\xff: \"ab\xff     , \"x\xff: \"");
}

#[test]
fn depth() {
    for limit in [0, 1, 2, 17, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, usize::MAX] {
        let bound = limit.min(MAX_DEPTH);
        for depth in [bound.saturating_sub(1), bound, bound + 1] {
            let too_deep =
                |at| if depth > bound { Err(Malformed { at, kind: TooDeep }) } else { Ok(()) };
            let lists = "[".repeat(depth) + &"]".repeat(depth);
            let lists = if depth == 0 { "0".into() } else { lists };
            assert_eq!(text::clean(&mut lists.into_bytes(), limit), too_deep(bound));
            let maps = r#"{"":"#.repeat(depth) + "0" + &"}".repeat(depth);
            assert_eq!(text::clean(&mut maps.into_bytes(), limit), too_deep(4 * bound));

            let mut lists = vec![0x91; depth];
            lists.push(0);
            assert_eq!(msgpack::check(&lists, limit), too_deep(bound));
            let mut maps = [0x81, 0xA0].repeat(depth);
            maps.push(0);
            assert_eq!(msgpack::check(&maps, limit), too_deep(2 * bound));
            if depth == bound + 1 {
                *lists.get_mut(bound).unwrap() = 0x90;
                lists.pop();
                assert_eq!(msgpack::check(&lists, limit), too_deep(bound), "empty counts too");
            }
        }
    }
    assert!(text::clean(&mut vec![b'['; 1 << 20], usize::MAX).is_err());
    assert!(msgpack::check(&vec![0x91; 1 << 20], usize::MAX).is_err());
}

fn sample() -> Json {
    json!({
        "wslink": "1.0", "id": "rpc:c1:7", "method": "scope.capture",
        "args": [null, true, -1, 1.5, 18_446_744_073_709_551_615_u64, "a\"\u{1}é😀", []],
        "kwargs": {"nested": {"deep": [[1, [2]], {}]}, "long": "x".repeat(300)},
    })
}

#[test]
fn every_truncation_is_told() {
    let whole = sample().to_string();
    for len in (0..whole.len()).filter(|&len| whole.is_char_boundary(len)) {
        let fault = Malformed { at: len, kind: Truncated };
        assert_eq!(clean(&whole.as_bytes()[..len]), Err(fault));
    }
    let whole = rmp_serde::to_vec_named(&sample()).unwrap();
    for len in 0..whole.len() {
        let fault = msgpack::check(&whole[..len], MAX_DEPTH).unwrap_err();
        assert_eq!(fault.kind, Truncated);
        assert!(fault.at <= len);
    }
}

#[test]
fn bad_messagepack_is_refused_at_its_fault() {
    let cases: &[(&[u8], MalformedKind, usize)] = &[
        (b"", Truncated, 0),
        (b"\xc1", Unexpected, 0),
        (b"\x92\x01\xc1", Unexpected, 2),
        (b"\x01\x02", Trailing, 1),
        (b"\x81\x01\x02", KeyNotString, 1),
        (b"\x81\xc4\x01a\x02", KeyNotString, 1),
        (b"\x82\xa1a\x01\xc0\x02", KeyNotString, 4),
        (b"\x81\xa1a", Truncated, 3),
        (b"\xa2a", Truncated, 0),
        (b"\xa1\xff", NotUtf8, 0),
        (b"\x91\xd9\x02\xc3\x28", NotUtf8, 1),
        (b"\xc6\xff\xff\xff\xff", Truncated, 0),
        (b"\xdd\xff\xff\xff\xff", Truncated, 5),
        (b"\xdf\xff\xff\xff\xff\xa0\x00", Truncated, 7),
        (b"\xc9\xff\xff\xff\xff\x00", Truncated, 0),
        (b"\xd8\x01", Truncated, 0),
        (b"\xcb\x00", Truncated, 0),
    ];
    for &(input, kind, at) in cases {
        assert_eq!(msgpack::check(input, MAX_DEPTH), Err(Malformed { at, kind }), "{input:x?}");
    }
    for good in [&b"\xd4\x05x"[..], b"\xc7\x00\xff", b"\xca\x7f\xc0\x00\x00", b"\x92\x90\x80"] {
        assert_eq!(msgpack::check(good, MAX_DEPTH), Ok(()));
    }
}

#[test]
fn tokens() {
    fn all<'a>(value: &Value<'a>) -> Vec<Token<'a>> {
        let mut reader = value.reader();
        core::iter::from_fn(|| reader.next().ok()).collect()
    }
    let mut bytes =
        br#"[-0, 9223372036854775808, 18446744073709551616, 1e400, {"a": "\n"}]"#.to_vec();
    let value = Value::clean_json(&mut bytes, 8).unwrap();
    let expected = [
        Token::Seq(None),
        Token::Int(0),
        Token::Uint(1 << 63),
        Token::Float(18_446_744_073_709_551_616.0),
        Token::Float(f64::INFINITY),
        Token::Map(None),
        Token::Str("a"),
        Token::Str("\n"),
        Token::End,
        Token::End,
    ];
    assert_eq!(all(&value), expected);

    let bytes = b"\x94\xca\x3f\x80\0\0\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xd5\xfe\x01\x02\x81\xa1a\xc4\x01b";
    let value = Value::check_msgpack(bytes, 8).unwrap();
    let expected = [
        Token::Seq(Some(4)),
        Token::Float(1.0),
        Token::Uint(u64::MAX),
        Token::Ext(-2, &[1, 2]),
        Token::Map(Some(1)),
        Token::Str("a"),
        Token::Bytes(b"b"),
    ];
    assert_eq!(all(&value), expected);
}

#[test]
fn walking() {
    let mut bytes = br#" { "a" : [1, {"x": [2]}, "s" ] , "b" : null } "#.to_vec();
    let packed = rmp_serde::to_vec_named(&json!({"a": [1, {"x": [2]}, "s"], "b": null})).unwrap();
    let text = Value::clean_json(&mut bytes, 8).unwrap();
    let packed = Value::check_msgpack(&packed, 8).unwrap();
    for value in [text, packed] {
        assert!(value.is_map() && !value.is_seq());
        assert_eq!(value.items().count(), 0);
        let entries: Vec<_> = value.entries().collect();
        assert_eq!(entries.iter().map(|entry| entry.0).collect::<Vec<_>>(), ["a", "b"]);
        assert!(entries[1].1.is_null());
        let items: Vec<_> = entries[0].1.items().collect();
        assert_eq!(items.len(), 3);
        assert_eq!(items[0].as_i64(), Some(1));
        assert_eq!(items[1].deserialize(), Ok(json!({"x": [2]})));
        assert_eq!(items[2].as_str(), Some("s"));
        assert_eq!(items[2].as_bytes(), None);

        let mut reader = value.reader();
        let all = reader.value().unwrap();
        let start = reader.offset() - all.bytes().len();
        assert_eq!(&value.bytes()[start..reader.offset()], all.bytes());
        assert_eq!(reader.next().unwrap_err().kind, Truncated);
    }
    assert_eq!(format!("{text:?}"), "Value(V1, 46 bytes)");
    assert_eq!(packed.dialect(), Dialect::V2);
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Unit;
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Newtype(f32);
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
enum Choice {
    Plain,
    One(i16),
    Two(u8, String),
    Named { x: f64, y: Option<bool> },
}
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(tag = "kind")]
enum Tagged {
    A { list: Vec<u8> },
    B,
}
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
struct Zoo {
    ints: (i8, u8, i16, u16, i32, u32, i64, u64),
    floats: (f32, f64),
    letter: char,
    text: String,
    unit: (),
    newtype: Newtype,
    some: Option<Box<u32>>,
    none: Option<u32>,
    choices: Vec<Choice>,
    map: BTreeMap<String, Choice>,
    tagged: Vec<Tagged>,
    #[serde(default)]
    absent: u32,
}

fn zoo() -> Zoo {
    let choices = vec![
        Choice::Plain,
        Choice::One(-5),
        Choice::Two(2, "zwei\n".into()),
        Choice::Named { x: 0.1, y: Some(true) },
    ];
    Zoo {
        ints: (i8::MIN, u8::MAX, i16::MIN, u16::MAX, i32::MIN, u32::MAX, i64::MIN, u64::MAX),
        floats: (1.5, f64::MIN_POSITIVE),
        letter: 'é',
        text: "\u{0}\"\\\u{1F600}".into(),
        unit: (),
        newtype: Newtype(0.25),
        some: Some(Box::new(7)),
        none: None,
        map: choices
            .iter()
            .cloned()
            .zip(["a", "b", "c", "d"])
            .map(|(c, k)| (k.into(), c))
            .collect(),
        choices,
        tagged: vec![Tagged::A { list: vec![1, 2] }, Tagged::B],
        absent: 0,
    }
}

#[test]
fn types_come_back_as_others_wrote_them() {
    let mut bytes = serde_json::to_vec(&zoo()).unwrap();
    let value = Value::clean_json(&mut bytes, 8).unwrap();
    assert_eq!(value.deserialize(), Ok(zoo()));
    let bytes = rmp_serde::to_vec_named(&zoo()).unwrap();
    assert_eq!(Value::check_msgpack(&bytes, 8).unwrap().deserialize(), Ok(zoo()));
    // Here rmp_serde and serde_json part.
    assert_eq!(from_text(&mut b"null".to_vec()), Ok(Unit));
}

fn from_text<'a, T: Deserialize<'a>>(bytes: &'a mut [u8]) -> Result<T, DecodeError> {
    Value::clean_json(bytes, MAX_DEPTH).unwrap().deserialize()
}

#[test]
fn keys_are_read_as_what_is_wanted() {
    let map = from_text(&mut br#"{"1": 1, "-2": 2}"#.to_vec());
    assert_eq!(map, Ok(HashMap::from([(1_i8, 1), (-2, 2)])));
    let map = from_text(&mut br#"{"true": 1, "false": 2}"#.to_vec());
    assert_eq!(map, Ok(BTreeMap::from([(true, 1), (false, 2)])));
    let map = from_text(&mut br#"{"Plain": 1}"#.to_vec()).map(|map: Vec1<Choice>| map.0);
    assert_eq!(map, Ok(Choice::Plain));
    for bad in ["01", "+1", "1 ", "", "x", "256", "1.0"] {
        let mut bytes = json!({bad: 1}).to_string().into_bytes();
        assert!(from_text::<HashMap<u8, u8>>(&mut bytes).is_err(), "{bad}");
    }
}

/// The first key of a map.
struct Vec1<K>(K);

impl<'de, K: Deserialize<'de>> Deserialize<'de> for Vec1<K> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First<K>(core::marker::PhantomData<K>);
        impl<'de, K: Deserialize<'de>> serde::de::Visitor<'de> for First<K> {
            type Value = K;
            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<K, A::Error> {
                map.next_entry::<K, serde::de::IgnoredAny>().map(|entry| entry.unwrap().0)
            }
        }
        deserializer.deserialize_map(First(core::marker::PhantomData)).map(Self)
    }
}

#[test]
fn bytes_are_no_text_and_text_is_no_bytes() {
    let packed = b"\x92\xc4\x02hi\xa2hi";
    let value = Value::check_msgpack(packed, 8).unwrap();
    let [bytes, text] = *value.items().collect::<Vec<_>>() else { panic!() };
    assert_eq!(bytes.deserialize(), Ok(&b"hi"[..]));
    assert_eq!(text.deserialize(), Ok("hi"));
    assert!(text.deserialize::<&[u8]>().is_err());
    assert!(bytes.deserialize::<String>().is_err());
    let value = Value::check_msgpack(b"\xd4\x01x", 8).unwrap();
    assert!(value.deserialize::<Json>().is_err());
    assert!(value.deserialize::<serde::de::IgnoredAny>().is_ok());
}

#[test]
fn errors_say_what_was_expected() {
    let told = |input: &str| {
        from_text::<(u8, Option<Choice>)>(&mut Vec::from(input)).unwrap_err().to_string()
    };
    insta::assert_snapshot!(told("[256, null]"), @"invalid value: integer `256`, expected u8");
    insta::assert_snapshot!(told("[1]"), @"invalid length 1, expected a tuple of size 2");
    insta::assert_snapshot!(told("[1, null, 2]"), @"more items than expected");
    insta::assert_snapshot!(told("[1, {}]"), @"invalid value: map, expected map with a single key");
    insta::assert_snapshot!(told(r#"[1, {"One": 1, "Two": 2}]"#), @"more items than expected");
    insta::assert_snapshot!(told(r#"[1, "One"]"#), @"invalid type: unit variant, expected newtype variant");
    insta::assert_snapshot!(told(r#"["short", null]"#), @r#"invalid type: string "short", expected u8"#);
    let long = format!(r#"["{}", null]"#, "long".repeat(99));
    insta::assert_snapshot!(told(&long), @"invalid type: string of 396 bytes, expected u8");
    let long = told(&format!(r#"[1, "{}"]"#, "é".repeat(99)));
    assert_eq!(long, format!("unknown variant `{}", "é".repeat(39)));
}
