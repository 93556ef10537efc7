//! What the writer leaves, told by serde_json and rmp_serde, and read back in segments.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic, its helpers too")]

mod properties;

use core::fmt;
use std::collections::BTreeMap;

use serde::de::IntoDeserializer;
use serde::de::value::{BorrowedBytesDeserializer, Error as ValueError, StrDeserializer};
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer};
use wslink_core::wire::{Dialect, EncodeError, Encoded, Overflow, Segment, Segments, Writer};
use wslink_core::{Attachment, Binary, Blob, NoBlob};

const BOTH: [Dialect; 2] = [Dialect::V1, Dialect::V2];

/// The blobs of every message here.
const BLOBS: [&[u8]; 4] = [b"first", b"", &[7; 300], &[9; 70_000]];

fn len_of(index: u32) -> Option<u64> {
    BLOBS.get(index as usize).map(|blob| blob.len())
}

fn known_len(index: u32) -> u64 {
    len_of(index).unwrap_or(0)
}

fn attempt<T: Serialize + ?Sized>(
    dialect: Dialect,
    value: &T,
    buffer: &mut [u8],
) -> Result<Result<Encoded, Overflow>, EncodeError> {
    let mut writer = Writer::new(dialect, buffer, 40, &len_of);
    writer.value(value)?;
    Ok(writer.finish())
}

fn encode<T: Serialize + ?Sized>(dialect: Dialect, value: &T) -> (Encoded, Vec<u8>) {
    let needed = attempt(dialect, value, &mut []).unwrap().unwrap_err().needed;
    // What is behind the message is to be of no account.
    let mut buffer = vec![0xee; needed + 3];
    let encoded = attempt(dialect, value, &mut buffer).unwrap().unwrap();
    assert_eq!(encoded.len as usize, needed);
    buffer.truncate(needed);
    (encoded, buffer)
}

fn text<T: Serialize + ?Sized>(dialect: Dialect, value: &T) -> Vec<u8> {
    let (encoded, mut bytes) = encode(dialect, value);
    bytes.truncate(encoded.text_len as usize);
    bytes
}

fn v1<T: Serialize + ?Sized>(value: &T) -> String {
    String::from_utf8(text(Dialect::V1, value)).unwrap()
}

fn v2<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    text(Dialect::V2, value)
}

fn failure<T: Serialize + ?Sized>(dialect: Dialect, value: &T) -> EncodeError {
    let error = attempt(dialect, value, &mut []).unwrap_err();
    assert_eq!(attempt(dialect, value, &mut [0; 4096]).unwrap_err(), error);
    error
}

fn like_the_oracles<T: Serialize + ?Sized>(value: &T) {
    assert_eq!(v1(value), serde_json::to_string(value).unwrap());
    assert_eq!(v2(value), rmp_serde::to_vec_named(value).unwrap());
}

fn segments(dialect: Dialect, encoded: Encoded, bytes: &[u8]) -> Segments<'_> {
    Segments::new(dialect, encoded.text_len, &bytes[..encoded.len as usize])
}

/// The content as a peer receives it: in 2.x with the blobs spliced in.
fn content(dialect: Dialect, encoded: Encoded, bytes: &[u8]) -> Vec<u8> {
    let segments = segments(dialect, encoded, bytes);
    let mut all = Vec::new();
    while let Some((segment, len)) = segments.at(all.len() as u64, known_len) {
        let piece = resolve(segment);
        assert_eq!(piece.len() as u64, len);
        all.extend_from_slice(piece);
    }
    assert_eq!(all.len() as u64, segments.total(known_len));
    all
}

fn resolve(segment: Segment<'_>) -> &[u8] {
    match segment {
        Segment::Bytes(bytes) => bytes,
        Segment::Blob { index, offset, len } => {
            let rest = &BLOBS[index as usize][offset as usize..];
            assert_eq!(rest.len() as u64, len);
            rest
        }
    }
}

#[derive(Serialize)]
struct Unit;
#[derive(Serialize)]
struct Newtype(u16);
#[derive(Serialize)]
struct Pair(i8, &'static str);
#[derive(Serialize)]
struct Empty {}
#[derive(Serialize)]
struct Fields {
    id: u64,
    text: &'static str,
    maybe: Option<i32>,
    none: Option<bool>,
    list: Vec<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<u8>,
    nested: BTreeMap<String, Vec<(char, f64)>>,
}
#[derive(Serialize)]
enum Kind {
    Unit,
    Newtype(i64),
    Tuple(u8, Option<f32>),
    Struct { a: bool, b: () },
}

fn fields() -> Fields {
    Fields {
        id: u64::MAX,
        text: "wörk \"it\" \\ / \u{2028}\n",
        maybe: Some(-5),
        none: None,
        list: vec![
            Kind::Unit,
            Kind::Newtype(-1),
            Kind::Tuple(200, Some(0.5)),
            Kind::Struct { a: true, b: () },
        ],
        skipped: None,
        nested: BTreeMap::from([
            (String::new(), vec![]),
            ("k\t".into(), vec![('ß', 1.5), ('"', -0.0)]),
        ]),
    }
}

#[test]
fn shapes_of_serde() {
    like_the_oracles(&fields());
    like_the_oracles(&Newtype(300));
    like_the_oracles(&Pair(-7, "x"));
    like_the_oracles(&Empty {});
    like_the_oracles(&((), true, false, 'x', "", [0u8; 0], (1, (2, [3]))));
    like_the_oracles(&Some(Some(Kind::Unit)));
    // rmp_serde writes an empty list here.
    assert_eq!(v1(&[Unit, Unit]), "[null,null]");
    assert_eq!(v2(&[Unit, Unit]), [0x92, 0xc0, 0xc0]);
}

#[test]
fn integers_take_the_shortest_form() {
    let cases: &[(i64, &[u8])] = &[
        (0, &[0]),
        (127, &[0x7f]),
        (128, &[0xcc, 0x80]),
        (255, &[0xcc, 0xff]),
        (256, &[0xcd, 1, 0]),
        (65_535, &[0xcd, 0xff, 0xff]),
        (65_536, &[0xce, 0, 1, 0, 0]),
        (0xffff_ffff, &[0xce, 0xff, 0xff, 0xff, 0xff]),
        (0x1_0000_0000, &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]),
        (i64::MAX, &[0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (-1, &[0xff]),
        (-32, &[0xe0]),
        (-33, &[0xd0, 0xdf]),
        (-128, &[0xd0, 0x80]),
        (-129, &[0xd1, 0xff, 0x7f]),
        (-32_768, &[0xd1, 0x80, 0]),
        (-32_769, &[0xd2, 0xff, 0xff, 0x7f, 0xff]),
        (-0x8000_0000, &[0xd2, 0x80, 0, 0, 0]),
        (-0x8000_0001, &[0xd3, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]),
        (i64::MIN, &[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (value, bytes) in cases {
        assert_eq!(v2(value), *bytes, "{value}");
        assert_eq!(v1(value), value.to_string());
        assert_eq!(v2(&i128::from(*value)), *bytes, "{value}");
    }
    assert_eq!(v2(&u64::MAX), [0xcf, 255, 255, 255, 255, 255, 255, 255, 255]);
    assert_eq!(v2(&u128::from(u64::MAX)), v2(&u64::MAX));
    assert_eq!(v2(&i128::from(u64::MAX)), v2(&u64::MAX));
}

#[test]
fn integers_beyond_64_bits_are_digits_in_1x_only() {
    assert_eq!(v1(&[u128::MAX, 3]), format!("[{},3]", u128::MAX));
    assert_eq!(v1(&i128::MIN), i128::MIN.to_string());
    for error in [
        failure(Dialect::V2, &u128::MAX),
        failure(Dialect::V2, &i128::MIN),
        failure(Dialect::V2, &(i128::from(u64::MAX) + 1)),
    ] {
        assert!(matches!(error, EncodeError::Unsupported(_)), "{error}");
    }
}

#[test]
fn lengths_take_the_shortest_header() {
    for len in [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
        let bytes = vec![b'x'; len];
        let string = String::from_utf8(bytes.clone()).unwrap();
        like_the_oracles(&string);
        like_the_oracles(&vec![true; len]);
        like_the_oracles(&(0..len).map(|n| (format!("{n:05}"), n)).collect::<BTreeMap<_, _>>());
        let mut bin = Vec::new();
        rmpv::encode::write_value(&mut bin, &rmpv::Value::Binary(bytes.clone())).unwrap();
        assert_eq!(v2(&Binary(&bytes)), bin);
        assert_eq!(v2(&Displayed(&string)), v2(&string));
        assert_eq!(v1(&Displayed(&string)), v1(&string));
    }
}

/// Goes through `collect_str`, in pieces.
struct Displayed<'a>(&'a str);

impl fmt::Display for Displayed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| write!(f, "{c}"))
    }
}

impl Serialize for Displayed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[test]
fn strings_are_escaped_as_little_as_json_allows() {
    let mut all: String = (0..0x300u32).filter_map(char::from_u32).collect();
    all.push_str("\u{2028}\u{2029}\u{feff}\u{1f600}/");
    like_the_oracles(&all);
    like_the_oracles(&BTreeMap::from([(&all, &all)]));
    assert_eq!(v1(&Displayed(&all)), v1(&all));
    assert_eq!(v1("\u{1f}\u{8}\u{c}\u{7f}é/"), "\"\\u001f\\b\\f\u{7f}é/\"");
}

#[test]
fn a_display_that_fails_is_an_error() {
    struct Broken;
    impl fmt::Display for Broken {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }
    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }
    for dialect in BOTH {
        assert!(matches!(failure(dialect, &Broken), EncodeError::Unsupported(_)));
    }
}

#[test]
fn floats() {
    assert_eq!(v1(&[f64::NAN, f64::INFINITY, -f64::INFINITY]), "[NaN,Infinity,-Infinity]");
    assert_eq!(v1(&[f32::NAN, f32::INFINITY, -f32::INFINITY]), "[NaN,Infinity,-Infinity]");
    assert_eq!(v1(&[1.0, -0.0, 0.1, 1e16, 1e300, 5e-324]), "[1.0,-0.0,0.1,1e16,1e300,5e-324]");
    assert_eq!(v1(&[0.1f32, 16_777_216.0]), "[0.10000000149011612,16777216.0]");
    assert_eq!(v2(&1.5f64), [0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]);
    assert_eq!(v2(&1.5f32), [0xca, 0x3f, 0xc0, 0, 0]);
    let odd_nan = f64::from_bits(0x7ff8_0000_0000_1234);
    assert_eq!(v2(&odd_nan)[1..], odd_nan.to_be_bytes());
}

/// A list or map that does not say its length, or says another.
struct Claim<'a, T>(Option<usize>, &'a [T]);
struct ClaimMap<'a, T>(Option<usize>, &'a [T]);

impl<T: Serialize> Serialize for Claim<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(self.0)?;
        self.1.iter().try_for_each(|item| seq.serialize_element(item))?;
        seq.end()
    }
}

impl<T: Serialize> Serialize for ClaimMap<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(self.0)?;
        for (n, item) in self.1.iter().enumerate() {
            map.serialize_entry(&n, item)?;
        }
        map.end()
    }
}

#[test]
fn unknown_lengths() {
    let inner = [ClaimMap(None, &["a", "b"]), ClaimMap(None, &[]), ClaimMap(Some(1), &["c"])];
    let value = (1, Claim(None, &inner), Claim::<u8>(None, &[]), 2);
    assert_eq!(v1(&value), r#"[1,[{"0":"a","1":"b"},{},{"0":"c"}],[],2]"#);
    let bytes = v2(&value);
    assert_eq!(bytes[..7], [0x94, 1, 0xdd, 0, 0, 0, 3]);
    let read: serde_json::Value = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(read.to_string(), v1(&value));
}

#[test]
fn wrong_lengths_are_errors_in_both_dialects() {
    for dialect in BOTH {
        for claimed in [0, 1, 3, 4, 100] {
            let list = failure(dialect, &Claim(Some(claimed), &[1, 2]));
            let map = failure(dialect, &[ClaimMap(Some(claimed), &[1, 2])]);
            assert_eq!([list, map], [EncodeError::LengthMismatch, EncodeError::LengthMismatch]);
        }
    }
    let too_many = failure(Dialect::V2, &Claim::<u8>(Some(1 << 32), &[]));
    assert_eq!(too_many, EncodeError::TooManyElements);

    let mut writer = Writer::new(Dialect::V1, &mut [], 0, &len_of);
    let map = writer.begin_map(None).unwrap();
    writer.key("without a value");
    assert_eq!(writer.end(map), Err(EncodeError::LengthMismatch));
}

#[derive(Serialize)]
enum KeyKind {
    Name,
    Held(u8),
}

/// A map from this key to 1.
struct Keyed<K>(K);

impl<K: Serialize> Serialize for Keyed<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(&self.0, 1)])
    }
}

#[test]
fn keys_become_strings() {
    fn check<K: Serialize>(key: K, expected: &str) {
        let strings = BTreeMap::from([(expected, 1)]);
        assert_eq!(v1(&Keyed(&key)), serde_json::to_string(&strings).unwrap());
        assert_eq!(v2(&Keyed(&key)), rmp_serde::to_vec_named(&strings).unwrap());
    }
    check("text\n", "text\n");
    check('ß', "ß");
    check(true, "true");
    check(false, "false");
    check(-3i8, "-3");
    check(255u8, "255");
    check(i16::MIN, "-32768");
    check(u16::MAX, "65535");
    check(i32::MIN, "-2147483648");
    check(u32::MAX, "4294967295");
    check(i64::MIN, "-9223372036854775808");
    check(u64::MAX, "18446744073709551615");
    check(i128::MIN, &i128::MIN.to_string());
    check(u128::MAX, &u128::MAX.to_string());
    check(Newtype(7), "7");
    check(Some("some"), "some");
    check(KeyKind::Name, "Name");
    check(Displayed("a\"b"), "a\"b");
}

#[test]
fn keys_that_have_no_string_form() {
    for dialect in BOTH {
        let found = [
            failure(dialect, &Keyed(1.5f32)),
            failure(dialect, &Keyed(1.5f64)),
            failure(dialect, &Keyed(())),
            failure(dialect, &Keyed(Unit)),
            failure(dialect, &Keyed(None::<u8>)),
            failure(dialect, &Keyed(Binary(b"b"))),
            failure(dialect, &Keyed(Attachment::nth(0))),
            failure(dialect, &Keyed([1])),
            failure(dialect, &Keyed(vec![1])),
            failure(dialect, &Keyed(Pair(1, ""))),
            failure(dialect, &Keyed(Keyed(1))),
            failure(dialect, &Keyed(Empty {})),
            failure(dialect, &Keyed(KeyKind::Held(1))),
            failure(dialect, &Keyed(Kind::Tuple(1, None))),
            failure(dialect, &Keyed(Kind::Struct { a: true, b: () })),
        ];
        assert_eq!(found, [const { EncodeError::KeyNotString }; 15]);
    }
}

#[test]
fn attachments_of_1x_have_a_key_each() {
    let value = (Attachment::nth(2), Binary(b"inline"), Attachment::nth(2), Binary(b""));
    let (encoded, bytes) = encode(Dialect::V1, &value);
    let segments = segments(Dialect::V1, encoded, &bytes);
    let text = br#"["wslink_bin40","wslink_bin41","wslink_bin42","wslink_bin43"]"#;
    assert_eq!(segments.text(), text);
    assert_eq!(content(Dialect::V1, encoded, &bytes), text);
    assert_eq!((encoded.places, encoded.blob_bytes, segments.places()), (4, 600, 4));
    let whole = Segment::Blob { index: 2, offset: 0, len: 300 };
    let expected = [
        ("wslink_bin40", whole),
        ("wslink_bin41", Segment::Bytes(b"inline")),
        ("wslink_bin42", whole),
        ("wslink_bin43", Segment::Bytes(b"")),
    ];
    for (k, expected) in (0..).zip(expected) {
        let place = segments.place(k, known_len).unwrap();
        assert_eq!((place.key, place.content), expected);
    }
    assert_eq!(segments.place(4, known_len), None);
    assert_eq!(segments.place(u32::MAX, known_len), None);
}

#[test]
fn attachments_of_2x_stand_in_place() {
    let order = [3, 0, 1, 2, 2];
    let (encoded, bytes) = encode(Dialect::V2, &order.map(Attachment::nth));
    assert_eq!(encoded.blob_bytes, 70_605);
    let expected = order.map(|n| rmpv::Value::Binary(BLOBS[n as usize].to_vec())).to_vec();
    let all = content(Dialect::V2, encoded, &bytes);
    assert_eq!(rmpv::decode::read_value(&mut &all[..]).unwrap(), rmpv::Value::Array(expected));

    // A bare attachment is a message, too; no text stands behind it.
    let (encoded, bytes) = encode(Dialect::V2, &Attachment::nth(0));
    assert_eq!(content(Dialect::V2, encoded, &bytes), b"\xc4\x05first");
}

#[test]
fn every_offset_is_found() {
    let value = (
        Attachment::nth(1),
        "some text",
        Attachment::nth(0),
        Attachment::nth(1),
        Attachment::nth(2),
        Binary(b"inline"),
        Attachment::nth(1),
        Attachment::nth(0),
    );
    for dialect in BOTH {
        let (encoded, bytes) = encode(dialect, &value);
        let segments = segments(dialect, encoded, &bytes);
        let all = content(dialect, encoded, &bytes);
        for offset in 0..all.len() {
            let (segment, len) = segments.at(offset as u64, known_len).unwrap();
            let piece = resolve(segment);
            assert_eq!(piece.len() as u64, len);
            assert!(len > 0);
            assert_eq!(piece, &all[offset..offset + piece.len()], "{dialect:?} at {offset}");
        }
        for offset in [all.len() as u64, all.len() as u64 + 1, u64::MAX] {
            assert_eq!(segments.at(offset, known_len), None);
        }
    }
}

#[test]
fn attachments_that_cannot_be() {
    for dialect in BOTH {
        for index in [4, 0x8000_0000, u32::MAX] {
            let error = failure(dialect, &Attachment::nth(index));
            assert_eq!(error, EncodeError::UnknownAttachment(index));
        }
        let mut writer = Writer::new(dialect, &mut [], 0, &|_| Some(1 << 32));
        let expected = match dialect {
            Dialect::V2 => Err(EncodeError::AttachmentTooLong(0)),
            _ => Ok(()),
        };
        assert_eq!(writer.attachment(0), expected);
        assert_eq!(writer.attachment(1 << 31), Err(EncodeError::UnknownAttachment(1 << 31)));
    }
    assert_eq!(serde_json::to_string(&Attachment::nth(3)).unwrap(), r#""wslink_attachment""#);
}

#[test]
fn blobs_of_4_gib_are_spliced() {
    const LONG: u64 = u32::MAX as u64;
    let mut buffer = [0; 64];
    let mut writer = Writer::new(Dialect::V2, &mut buffer, 0, &|_| Some(LONG));
    writer.value(&[Attachment::nth(0), Attachment::nth(1)]).unwrap();
    let encoded = writer.finish().unwrap();
    let segments = segments(Dialect::V2, encoded, &buffer);
    assert_eq!(segments.total(|_| LONG), 11 + 2 * LONG);
    let last = segments.at(10 + 2 * LONG, |_| LONG);
    assert_eq!(last, Some((Segment::Blob { index: 1, offset: LONG - 1, len: 1 }, 1)));
}

fn needs_the_same_for_every_size<T: Serialize + ?Sized>(value: &T) {
    for dialect in BOTH {
        let (encoded, bytes) = encode(dialect, value);
        let needed = bytes.len();
        for available in 0..needed {
            let mut buffer = vec![0; available];
            let overflow = attempt(dialect, value, &mut buffer).unwrap().unwrap_err();
            assert_eq!(overflow, Overflow { needed, available });
        }
        let mut exact = vec![0; needed];
        assert_eq!(attempt(dialect, value, &mut exact).unwrap().unwrap(), encoded);
        assert_eq!(exact, bytes);
    }
}

#[test]
fn too_small_a_buffer_names_the_size_that_does() {
    needs_the_same_for_every_size(&fields());
    needs_the_same_for_every_size(&(
        Attachment::nth(0),
        Binary(b"inline"),
        Displayed("a string that is longer than thirty-one bytes"),
        Claim(None, &[ClaimMap(None, &[Attachment::nth(1)]), ClaimMap(None, &[])]),
        Binary(&[1; 300]),
        [f64::MIN, f64::NAN],
        (u64::MAX, i64::MIN, "\u{1}\"\n"),
        Attachment::nth(3),
    ));
    let overflow = Overflow { needed: 20, available: 12 };
    assert_eq!(overflow.to_string(), "the message needs 20 bytes, there are 12");
}

#[test]
fn the_primitives_without_serde() {
    for (dialect, expected) in [
        (Dialect::V1, &br#"{"a":[],"b":[null,{}],"c":-1}"#[..]),
        (Dialect::V2, b"\xdf\0\0\0\x03\xa1a\x90\xa1b\x92\xc0\x80\xa1c\xff"),
    ] {
        let mut buffer = [0; 64];
        let mut writer = Writer::new(dialect, &mut buffer, 0, &len_of);
        assert_eq!(writer.dialect(), dialect);
        let map = writer.begin_map(None).unwrap();
        writer.key("a");
        let a = writer.begin_seq(Some(0)).unwrap();
        writer.end(a).unwrap();
        writer.key("b");
        let b = writer.begin_seq(Some(2)).unwrap();
        writer.null();
        let empty = writer.begin_map(Some(0)).unwrap();
        writer.end(empty).unwrap();
        writer.end(b).unwrap();
        writer.key("c");
        writer.int(-1);
        writer.end(map).unwrap();
        let encoded = writer.finish().unwrap();
        assert_eq!(&buffer[..encoded.len as usize], expected);
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let long = "ä".repeat(40);
    let EncodeError::Custom(kept) = EncodeError::custom(&long) else { panic!() };
    assert_eq!(kept.as_str(), "ä".repeat(32));
    assert_eq!(EncodeError::custom("why").to_string(), "why");
    let unknown = EncodeError::UnknownAttachment(3);
    assert_eq!(unknown.to_string(), "nothing is attached under index 3");
}

#[test]
fn blobs() {
    /// A blob of another crate, that is no slice.
    #[derive(Clone)]
    struct Nothing;
    impl Blob for Nothing {
        fn len(&self) -> u64 {
            0
        }

        fn read(&self, _: u64, _: &mut [u8]) -> usize {
            0
        }
    }
    assert!(Nothing.is_empty());
    assert_eq!(Nothing.as_slice(), None);

    fn check<B: Blob>(blob: B) {
        let mut into = [0; 3];
        assert_eq!((blob.len(), blob.is_empty()), (5, false));
        assert_eq!(blob.as_slice(), Some(&b"01234"[..]));
        assert_eq!((blob.read(1, &mut into), &into), (3, b"123"));
        assert_eq!((blob.read(4, &mut into), &into), (1, b"423"));
        assert_eq!(blob.read(5, &mut into), 0);
        assert_eq!(blob.read(u64::MAX, &mut into), 0);
        assert_eq!(blob.read(0, &mut []), 0);
    }
    check(b"01234");
    check(*b"01234");
    check(&b"01234"[..]);
    check(b"01234".to_vec());
    check(std::sync::Arc::<[u8]>::from(&b"01234"[..]));

    fn is_blob<B: Blob>() {}
    is_blob::<NoBlob>();
    assert_eq!(Attachment::nth(3).index(), 3);
}

#[test]
fn binary_borrows() {
    let bytes = vec![1, 2, 3];
    let read = Binary::deserialize(BorrowedBytesDeserializer::<ValueError>::new(&bytes)).unwrap();
    assert_eq!(read.0.as_ptr(), bytes.as_ptr());
    assert_eq!(rmp_serde::from_slice::<Binary<'_>>(&v2(&read)).unwrap(), read);
    let text: StrDeserializer<'_, ValueError> = "text".into_deserializer();
    assert!(Binary::deserialize(text).is_err());
}
