//! Reading checked bytes of either dialect as the same tokens.

use core::fmt;

use serde::Deserialize;

use super::de::{DecodeError, Decoder};
use super::{Dialect, Malformed, MalformedKind, json, msgpack};

/// One value of a message, borrowed from the bytes it came in.
///
/// It is as cheap to copy as a slice. Its `Debug` tells the size and not the content, which may be
/// a secret.
///
/// ```
/// use wslink_core::wire::Value;
///
/// let mut text = *br#"{"name": "caf\u00e9", "size": [640, 480]}"#;
/// let value = Value::clean_json(&mut text, 8)?;
/// let mut entries = value.entries();
///
/// let (key, name) = entries.next().unwrap();
/// assert_eq!((key, name.as_str()), ("name", Some("café")));
/// let (_, size) = entries.next().unwrap();
/// assert_eq!(size.deserialize(), Ok((640_u16, 480_u16)));
/// # Ok::<(), wslink_core::wire::Malformed>(())
/// ```
#[derive(Clone, Copy)]
pub struct Value<'a> {
    dialect: Dialect,
    bytes: &'a [u8],
    attachments: &'a [u8],
}

impl<'a> Value<'a> {
    /// A value whose bytes are checked already. `attachments` is what attachments in the clean
    /// form of JSON point into.
    pub(crate) const fn new(dialect: Dialect, bytes: &'a [u8], attachments: &'a [u8]) -> Self {
        Self { dialect, bytes, attachments }
    }

    /// Checks one MessagePack value, as [`msgpack::check`] does.
    ///
    /// # Errors
    /// Those of [`msgpack::check`].
    pub fn check_msgpack(bytes: &'a [u8], max_depth: usize) -> Result<Self, Malformed> {
        msgpack::check(bytes, max_depth)?;
        Ok(Self::new(Dialect::V2, bytes, &[]))
    }

    /// Checks and unescapes one JSON value in place, as [`json::clean`] does.
    ///
    /// # Errors
    /// Those of [`json::clean`].
    pub fn clean_json(bytes: &'a mut [u8], max_depth: usize) -> Result<Self, Malformed> {
        json::clean(bytes, max_depth)?;
        Ok(Self::new(Dialect::V1, bytes, &[]))
    }

    /// The value's bytes: MessagePack, or the clean form of JSON.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Which of the two formats the bytes are.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Reads the value token by token.
    #[must_use]
    pub const fn reader(&self) -> Reader<'a> {
        Reader { dialect: self.dialect, bytes: self.bytes, attachments: self.attachments, at: 0 }
    }

    /// Reads the value as a `T`, which may borrow from the message.
    ///
    /// Both dialects read alike: as `serde_json` does, but that bytes come from binary data (or a
    /// list of numbers) and never from a string, and text never from bytes.
    ///
    /// # Errors
    /// What does not fit `T`.
    pub fn deserialize<T: Deserialize<'a>>(&self) -> Result<T, DecodeError> {
        self.reader().deserialize()
    }

    /// The text, if the value is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        match self.first()? {
            Token::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, if the value is binary data.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match self.first()? {
            Token::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The number, if the value is an integer that an `i64` holds.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self.first()? {
            Token::Int(number) => Some(number),
            _ => None,
        }
    }

    /// Whether the value is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.first(), Some(Token::Null))
    }

    /// Whether the value is a list.
    #[must_use]
    pub fn is_seq(&self) -> bool {
        matches!(self.first(), Some(Token::Seq(_)))
    }

    /// Whether the value is a map.
    #[must_use]
    pub fn is_map(&self) -> bool {
        matches!(self.first(), Some(Token::Map(_)))
    }

    /// The items of a list; nothing if the value is no list.
    #[must_use]
    pub fn items(&self) -> Items<'a> {
        let mut reader = self.reader();
        let left = match reader.next() {
            Ok(Token::Seq(count)) => Left(count),
            _ => Left::NOTHING,
        };
        Items { reader, left }
    }

    /// The entries of a map, in the order of the message; nothing if the value is no map.
    #[must_use]
    pub fn entries(&self) -> Entries<'a> {
        let mut reader = self.reader();
        let left = match reader.next() {
            Ok(Token::Map(count)) => Left(count),
            _ => Left::NOTHING,
        };
        Entries { reader, left }
    }

    fn first(&self) -> Option<Token<'a>> {
        self.reader().next().ok()
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({:?}, {} bytes)", self.dialect, self.bytes.len())
    }
}

/// The least part of a value that is read at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Token<'a> {
    /// Null (`nil` in MessagePack).
    Null,
    /// True or false.
    Bool(bool),
    /// An integer that an `i64` holds. JSON's `-0` is 0.
    Int(i64),
    /// An integer above [`i64::MAX`].
    Uint(u64),
    /// A number with a fraction or an exponent; in JSON also an integer beyond 64 bits, as the
    /// nearest float. What is beyond the floats is infinite.
    Float(f64),
    /// Text, or the key of a map.
    Str(&'a str),
    /// Binary data: `bin` in MessagePack, an attachment in JSON.
    Bytes(&'a [u8]),
    /// An extension of MessagePack: its type and its data.
    Ext(i8, &'a [u8]),
    /// A list begins. With a number, that many items follow; without, items follow up to
    /// [`End`](Self::End).
    Seq(Option<u32>),
    /// A map begins. With a number, that many pairs of key and value follow; without, pairs follow
    /// up to [`End`](Self::End).
    Map(Option<u32>),
    /// A list or map ends whose size was not told when it began.
    End,
}

/// Reads a [`Value`] token by token.
///
/// It never looks at a byte twice and never descends by itself, so it may be used on bytes that
/// turned out malformed: it stops with an error where they do.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    dialect: Dialect,
    bytes: &'a [u8],
    attachments: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Takes the next token.
    ///
    /// # Errors
    /// [`MalformedKind::Truncated`] after the last token. Others only in bytes that were not
    /// checked. The reader stays where it is.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot fail at its end")]
    pub fn next(&mut self) -> Result<Token<'a>, Malformed> {
        match self.dialect {
            Dialect::V1 => json::token(self.bytes, &mut self.at, self.attachments),
            Dialect::V2 => msgpack::token(self.bytes, &mut self.at),
        }
    }

    /// Takes the next value with all that is in it.
    ///
    /// # Errors
    /// Those of [`next`](Self::next), and [`MalformedKind::Unexpected`] if a list or map ends here.
    pub fn skip(&mut self) -> Result<(), Malformed> {
        // Values still to come where their number is known, and lists and maps that have an end.
        let mut values = 1_u64;
        let mut open = 0_u64;
        while values > 0 || open > 0 {
            let start = self.at;
            let token = self.next()?;
            // Inside of something that has an end, nobody counts.
            if open == 0 {
                values = values.saturating_sub(1);
            }
            match token {
                Token::Seq(Some(count)) => values = values.saturating_add(u64::from(count)),
                Token::Map(Some(count)) => values = values.saturating_add(2 * u64::from(count)),
                Token::Seq(None) | Token::Map(None) => open += 1,
                Token::End if open == 0 => {
                    self.at = start;
                    return Err(Malformed { at: start, kind: MalformedKind::Unexpected });
                }
                Token::End => open -= 1,
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes the next value with all that is in it, to be read later. It ends at
    /// [`offset`](Self::offset) and begins as many bytes before that as it has.
    ///
    /// # Errors
    /// Those of [`skip`](Self::skip).
    pub fn value(&mut self) -> Result<Value<'a>, Malformed> {
        if self.dialect == Dialect::V1 {
            json::skip_separators(self.bytes, &mut self.at);
        }
        let start = self.at;
        self.skip()?;
        let bytes = self.bytes.get(start..self.at).unwrap_or_default();
        Ok(Value::new(self.dialect, bytes, self.attachments))
    }

    /// Reads the next value as a `T`, as [`Value::deserialize`] does.
    pub(crate) fn deserialize<T: Deserialize<'a>>(self) -> Result<T, DecodeError> {
        T::deserialize(&mut Decoder::new(self))
    }

    /// How many bytes have been read.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// How many bytes have not been read yet.
    pub(crate) const fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// Whether the list or map with `left` items has another one, which then has to be taken.
    pub(crate) fn has_next(&mut self, left: &mut Left) -> Result<bool, Malformed> {
        match &mut left.0 {
            Some(0) => Ok(false),
            Some(count) => {
                *count -= 1;
                Ok(true)
            }
            None => {
                let end = json::take_end(self.bytes, &mut self.at)?;
                if end {
                    *left = Left::NOTHING;
                }
                Ok(!end)
            }
        }
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({:?}, {} of {} bytes)", self.dialect, self.at, self.bytes.len())
    }
}

/// How many items are still to come, as [`Token::Seq`] and [`Token::Map`] tell it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Left(pub(crate) Option<u32>);

impl Left {
    pub(crate) const NOTHING: Self = Self(Some(0));
}

/// The items of a list, see [`Value::items`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Items<'a> {
    reader: Reader<'a>,
    left: Left,
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if !self.reader.has_next(&mut self.left).ok()? {
            return None;
        }
        self.reader.value().ok()
    }
}

/// The entries of a map, see [`Value::entries`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Entries<'a> {
    reader: Reader<'a>,
    left: Left,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<(&'a str, Value<'a>)> {
        while self.reader.has_next(&mut self.left).ok()? {
            let key = self.reader.value().ok()?;
            let value = self.reader.value().ok()?;
            if let Some(key) = key.as_str() {
                return Some((key, value));
            }
        }
        None
    }
}

/// The `id` of an envelope that is malformed or cut off, if it stands before the fault.
///
/// `prefix` is what precedes the fault: MessagePack, or JSON as far as [`json::clean`] came.
pub(crate) fn find_id(dialect: Dialect, prefix: &[u8]) -> Option<&str> {
    let mut reader = Value::new(dialect, prefix, &[]).reader();
    let Ok(Token::Map(count)) = reader.next() else { return None };
    let mut left = Left(count);
    while reader.has_next(&mut left).ok()? {
        let key = reader.value().ok()?;
        let value = reader.value().ok()?;
        if key.as_str() == Some("id")
            && let Some(id) = value.as_str()
        {
            return Some(id);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn id_in_text(text: &str) -> Option<std::string::String> {
        let mut bytes = Vec::from(text);
        let end = json::clean(&mut bytes, 8).map_or_else(|fault| fault.at, |()| text.len());
        find_id(Dialect::V1, &bytes[..end]).map(Into::into)
    }

    #[test]
    fn the_id_before_a_fault() {
        let cases = [
            (r#"{"id":"a"}"#, Some("a")),
            (r#"{"id":"a""#, Some("a")),
            (r#"{"id":"a"#, None),
            (r#"{"id":"#, None),
            (r#"{"id"#, None),
            (r#"{"x":[{"id":"no"}],"id":"\u0061b" x"#, Some("ab")),
            (r#"{"x":{"y":"id"},"\u0069d":"a\n","#, Some("a\n")),
            (r#"{"x":"id","y":"\ud800","id":"late"}"#, None),
            (r#"{"id":1,"id":"a",]"#, Some("a")),
            (r#"{"id":["a"],"#, None),
            (r#"{"id":"a\u00"#, None),
            (r#"[{"id":"a"}]"#, None),
            (r#""id""#, None),
            ("", None),
        ];
        for (text, id) in cases {
            assert_eq!(id_in_text(text).as_deref(), id, "{text}");
        }
        let packed = b"\x84\xa1x\x91\x81\xa2id\xa1n\xa2id\xa3abc\xa1y\xc1";
        for end in 0..packed.len() {
            let id = find_id(Dialect::V2, &packed[..end]);
            assert_eq!(id, (end >= 17).then_some("abc"), "{end}");
        }
    }

    #[test]
    fn unchecked_depth_is_an_error() {
        for (dialect, byte) in [(Dialect::V1, b'['), (Dialect::V2, 0x91)] {
            let bytes = std::vec![byte; 100_000];
            let value = Value::new(dialect, &bytes, &[]);
            let error = value.deserialize::<serde_json::Value>().unwrap_err();
            assert!(std::format!("{error:?}").contains("TooDeep"), "{error:?}");
            assert!(value.deserialize::<IgnoredAny>().is_err());
            assert_eq!(find_id(dialect, &bytes), None);
        }
    }

    fn read_in_all_ways(dialect: Dialect, bytes: &[u8]) {
        let value = Value::new(dialect, bytes, b"attachments");
        let mut reader = value.reader();
        let mut before = 0;
        while reader.next().is_ok() {
            assert!(before < reader.offset() && reader.offset() <= bytes.len());
            before = reader.offset();
        }
        while reader.value().is_ok() {}
        for item in value.items() {
            let _ = item.entries().count();
        }
        for (_, entry) in value.entries() {
            let _ = entry.items().count();
        }
        let _ = find_id(dialect, bytes);
        let _ = value.deserialize::<serde_json::Value>();
        let _ = value.deserialize::<IgnoredAny>();
        let _ = value.deserialize::<std::collections::HashMap<u8, Option<&str>>>();
        let _ = value.deserialize::<Vec<Result<&[u8], ()>>>();
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let telling = b"\"\xff\xfe[]{},:-0.etn\x81\xa2\x91id\xdd\xdf\xc4".to_vec();
        let byte = prop_oneof![any::<u8>(), prop::sample::select(telling)];
        prop::collection::vec(byte, 0..48)
    }

    proptest! {
        #[test]
        fn unchecked_bytes_never_panic(bytes in bytes(), map in any::<bool>()) {
            for dialect in [Dialect::V1, Dialect::V2] {
                read_in_all_ways(dialect, &bytes);
                let head: &[u8] = match (dialect, map) {
                    (Dialect::V1, true) => b"{\"id\xff:",
                    (Dialect::V1, false) => b"[",
                    (Dialect::V2, true) => b"\xdf\xff\xff\xff\xff\xa2id",
                    (Dialect::V2, false) => b"\xdd\xff\xff\xff\xff",
                };
                read_in_all_ways(dialect, &[head, &bytes].concat());
            }
        }

        #[test]
        fn what_a_failed_check_leaves_never_panics(bytes in bytes()) {
            let mut cleaned = bytes.clone();
            let _ = json::clean(&mut cleaned, 4);
            read_in_all_ways(Dialect::V1, &cleaned);
            json::resolve(&mut cleaned, &mut |key| Some((0, u32::try_from(key).ok()?)));
            read_in_all_ways(Dialect::V1, &cleaned);
        }
    }
}
