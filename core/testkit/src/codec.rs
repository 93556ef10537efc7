//! JSON and MessagePack for the client end, written apart from the engine's so that each holds the
//! other against the formats.

use crate::Val;
use core::fmt::Write as _;

/// Deeper nesting is not followed.
const MAX_DEPTH: usize = 600;

/// Why bytes are no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAValue;

impl Val {
    /// JSON as upstream writes it: bare `NaN` and infinities, nothing beyond ASCII escaped. Binary
    /// data has no place in it and becomes null; [`take_binary`](Self::take_binary) it before.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = String::new();
        self.write_json(&mut text);
        text
    }

    /// MessagePack in the shortest form, floats as f64.
    #[must_use]
    pub fn to_msgpack(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write_msgpack(&mut bytes);
        bytes
    }

    /// Reads JSON, with bare `NaN` and infinities.
    ///
    /// # Errors
    /// The text is not one JSON value.
    pub fn from_json(text: &str) -> Result<Self, NotAValue> {
        let mut reader = Json { rest: text };
        let value = reader.value(MAX_DEPTH)?;
        reader.space();
        if reader.rest.is_empty() { Ok(value) } else { Err(NotAValue) }
    }

    /// Reads MessagePack.
    ///
    /// # Errors
    /// The bytes are not one MessagePack value.
    pub fn from_msgpack(bytes: &[u8]) -> Result<Self, NotAValue> {
        let mut reader = Msgpack { rest: bytes };
        let value = reader.value(MAX_DEPTH)?;
        if reader.rest.is_empty() { Ok(value) } else { Err(NotAValue) }
    }

    /// Replaces all binary data by what `name` gives for it (1.x: a key).
    #[must_use]
    pub fn take_binary(self, name: &mut dyn FnMut(Vec<u8>) -> Self) -> Self {
        match self {
            Self::Bin(bytes) => name(bytes),
            Self::Seq(items) => {
                Self::Seq(items.into_iter().map(|item| item.take_binary(name)).collect())
            }
            Self::Map(entries) => Self::Map(
                entries.into_iter().map(|(key, value)| (key, value.take_binary(name))).collect(),
            ),
            other => other,
        }
    }

    /// Replaces strings that `find` knows, but not the keys of maps.
    #[must_use]
    pub fn put_binary(self, find: &mut dyn FnMut(&str) -> Option<Vec<u8>>) -> Self {
        match self {
            Self::Str(text) => match find(&text) {
                Some(bytes) => Self::Bin(bytes),
                None => Self::Str(text),
            },
            Self::Seq(items) => {
                Self::Seq(items.into_iter().map(|item| item.put_binary(find)).collect())
            }
            Self::Map(entries) => Self::Map(
                entries.into_iter().map(|(key, value)| (key, value.put_binary(find))).collect(),
            ),
            other => other,
        }
    }

    fn write_json(&self, text: &mut String) {
        match self {
            Self::Null | Self::Bin(_) | Self::Ext(..) => text.push_str("null"),
            Self::Bool(value) => _ = write!(text, "{value}"),
            Self::Int(value) => _ = write!(text, "{value}"),
            Self::Float(value) if value.is_nan() => text.push_str("NaN"),
            Self::Float(value) if value.is_infinite() => {
                text.push_str(if *value > 0.0 { "Infinity" } else { "-Infinity" });
            }
            Self::Float(value) => _ = write!(text, "{value:?}"),
            Self::Str(string) => write_json_text(text, string),
            Self::Seq(items) => {
                text.push('[');
                for (nth, item) in items.iter().enumerate() {
                    if nth > 0 {
                        text.push(',');
                    }
                    item.write_json(text);
                }
                text.push(']');
            }
            Self::Map(entries) => {
                text.push('{');
                for (nth, (key, value)) in entries.iter().enumerate() {
                    if nth > 0 {
                        text.push(',');
                    }
                    key.write_json(text);
                    text.push(':');
                    value.write_json(text);
                }
                text.push('}');
            }
        }
    }

    fn write_msgpack(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Null => bytes.push(0xc0),
            Self::Bool(value) => bytes.push(0xc2 + u8::from(*value)),
            Self::Int(value) => write_integer(bytes, *value),
            Self::Float(value) => {
                bytes.push(0xcb);
                bytes.extend(value.to_be_bytes());
            }
            Self::Str(text) => {
                write_head(
                    bytes,
                    text.len(),
                    Some((0xa0, 32)),
                    [Some(0xd9), Some(0xda), Some(0xdb)],
                );
                bytes.extend(text.as_bytes());
            }
            Self::Bin(data) => {
                write_head(bytes, data.len(), None, [Some(0xc4), Some(0xc5), Some(0xc6)]);
                bytes.extend(data);
            }
            Self::Ext(kind, data) => {
                write_head(bytes, data.len(), None, [Some(0xc7), Some(0xc8), Some(0xc9)]);
                bytes.extend(kind.to_be_bytes());
                bytes.extend(data);
            }
            Self::Seq(items) => {
                write_head(bytes, items.len(), Some((0x90, 16)), [None, Some(0xdc), Some(0xdd)]);
                items.iter().for_each(|item| item.write_msgpack(bytes));
            }
            Self::Map(entries) => {
                write_head(bytes, entries.len(), Some((0x80, 16)), [None, Some(0xde), Some(0xdf)]);
                for (key, value) in entries {
                    key.write_msgpack(bytes);
                    value.write_msgpack(bytes);
                }
            }
        }
    }
}

fn write_json_text(text: &mut String, string: &str) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c < ' ' => _ = write!(text, "\\u{:04x}", u32::from(c)),
            c => text.push(c),
        }
    }
    text.push('"');
}

/// A marker with a length of 0 (in the marker), 8, 16 or 32 bits.
fn write_head(
    bytes: &mut Vec<u8>,
    len: usize,
    fixed: Option<(u8, usize)>,
    [m8, m16, m32]: [Option<u8>; 3],
) {
    match (fixed, m8, m16, m32) {
        (Some((marker, below)), ..) if len < below => bytes.push(marker | len as u8),
        (_, Some(marker), ..) if len < 1 << 8 => bytes.extend([marker, len as u8]),
        (_, _, Some(marker), _) if len < 1 << 16 => {
            bytes.push(marker);
            bytes.extend((len as u16).to_be_bytes());
        }
        (_, _, _, marker) => {
            bytes.extend(marker);
            bytes.extend((len as u32).to_be_bytes());
        }
    }
}

fn write_integer(bytes: &mut Vec<u8>, value: i128) {
    match value {
        0..0x80 => bytes.push(value as u8),
        -0x20..0 => bytes.push(value as i8 as u8),
        0x80..0x100 => bytes.extend([0xcc, value as u8]),
        0x100..0x1_0000 => {
            bytes.push(0xcd);
            bytes.extend((value as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            bytes.push(0xce);
            bytes.extend((value as u32).to_be_bytes());
        }
        -0x80..-0x20 => bytes.extend([0xd0, value as i8 as u8]),
        -0x8000..-0x80 => {
            bytes.push(0xd1);
            bytes.extend((value as i16).to_be_bytes());
        }
        -0x8000_0000..-0x8000 => {
            bytes.push(0xd2);
            bytes.extend((value as i32).to_be_bytes());
        }
        ..0 => {
            bytes.push(0xd3);
            bytes.extend((value as i64).to_be_bytes());
        }
        _ => {
            bytes.push(0xcf);
            bytes.extend((value as u64).to_be_bytes());
        }
    }
}

struct Json<'a> {
    rest: &'a str,
}

impl Json<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, text: &str) -> bool {
        self.space();
        let Some(rest) = self.rest.strip_prefix(text) else { return false };
        self.rest = rest;
        true
    }

    fn value(&mut self, depth: usize) -> Result<Val, NotAValue> {
        let depth = depth.checked_sub(1).ok_or(NotAValue)?;
        let words = [
            ("null", Val::Null),
            ("true", Val::Bool(true)),
            ("false", Val::Bool(false)),
            ("NaN", Val::Float(f64::NAN)),
            ("Infinity", Val::Float(f64::INFINITY)),
            ("-Infinity", Val::Float(f64::NEG_INFINITY)),
        ];
        for (word, value) in words {
            if self.eat(word) {
                return Ok(value);
            }
        }
        if self.eat("[") {
            let mut items = Vec::new();
            while !self.eat("]") {
                if !items.is_empty() && !self.eat(",") {
                    return Err(NotAValue);
                }
                items.push(self.value(depth)?);
            }
            return Ok(Val::Seq(items));
        }
        if self.eat("{") {
            let mut entries = Vec::new();
            while !self.eat("}") {
                if !entries.is_empty() && !self.eat(",") {
                    return Err(NotAValue);
                }
                let key @ Val::Str(_) = self.value(depth)? else { return Err(NotAValue) };
                if !self.eat(":") {
                    return Err(NotAValue);
                }
                entries.push((key, self.value(depth)?));
            }
            return Ok(Val::Map(entries));
        }
        if self.eat("\"") { self.text() } else { self.number() }
    }

    fn number(&mut self) -> Result<Val, NotAValue> {
        let is_part = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        let float = || number.parse().map(Val::Float).map_err(|_| NotAValue);
        if number.contains(['.', 'e', 'E']) {
            return float();
        }
        number.parse().map(Val::Int).or_else(|_| float())
    }

    fn text(&mut self) -> Result<Val, NotAValue> {
        let mut text = String::new();
        let mut high = None;
        let mut chars = self.rest.chars();
        loop {
            let c = chars.next().ok_or(NotAValue)?;
            let mut unit = None;
            match c {
                '"' => break,
                '\\' => match chars.next().ok_or(NotAValue)? {
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    'b' => text.push('\u{8}'),
                    'f' => text.push('\u{c}'),
                    'u' => {
                        let digits = chars.as_str().get(..4).ok_or(NotAValue)?;
                        unit = Some(u16::from_str_radix(digits, 16).map_err(|_| NotAValue)?);
                        chars = chars.as_str().get(4..).unwrap_or_default().chars();
                    }
                    c => text.push(c),
                },
                c if c < ' ' => return Err(NotAValue),
                c => text.push(c),
            }
            let Some(unit) = unit else { continue };
            match (high.take(), unit) {
                (None, 0xd800..0xdc00) => high = Some(unit),
                (None, _) => {
                    text.push(char::from_u32(unit.into()).ok_or(NotAValue)?);
                }
                (Some(high), low) => {
                    let pair = char::decode_utf16([high, low]).next().ok_or(NotAValue)?;
                    text.push(pair.map_err(|_| NotAValue)?);
                }
            }
        }
        self.rest = chars.as_str();
        Ok(Val::Str(text))
    }
}

struct Msgpack<'a> {
    rest: &'a [u8],
}

impl Msgpack<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], NotAValue> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(NotAValue)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, len: usize) -> Result<Vec<u8>, NotAValue> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(NotAValue)?;
        self.rest = rest;
        Ok(bytes.to_vec())
    }

    /// A length of 1, 2 or 4 bytes.
    fn len(&mut self, size: u8) -> Result<usize, NotAValue> {
        Ok(match size {
            0 => usize::from(self.array::<1>()?[0]),
            1 => usize::from(u16::from_be_bytes(self.array()?)),
            _ => u32::from_be_bytes(self.array()?) as usize,
        })
    }

    fn value(&mut self, depth: usize) -> Result<Val, NotAValue> {
        let depth = depth.checked_sub(1).ok_or(NotAValue)?;
        let [marker] = self.array()?;
        Ok(match marker {
            0x00..0x80 => Val::Int(marker.into()),
            0x80..0x90 => self.map((marker & 15).into(), depth)?,
            0x90..0xa0 => self.seq((marker & 15).into(), depth)?,
            0xa0..0xc0 => self.text((marker & 31).into())?,
            0xc0 => Val::Null,
            0xc1 => return Err(NotAValue),
            0xc2 | 0xc3 => Val::Bool(marker == 0xc3),
            0xc4..=0xc6 => {
                let len = self.len(marker - 0xc4)?;
                Val::Bin(self.take(len)?)
            }
            0xc7..=0xc9 => {
                let len = self.len(marker - 0xc7)?;
                self.ext(len)?
            }
            0xca => Val::Float(f32::from_be_bytes(self.array()?).into()),
            0xcb => Val::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Val::Int(self.array::<1>()?[0].into()),
            0xcd => Val::Int(u16::from_be_bytes(self.array()?).into()),
            0xce => Val::Int(u32::from_be_bytes(self.array()?).into()),
            0xcf => Val::Int(u64::from_be_bytes(self.array()?).into()),
            0xd0 => Val::Int(i8::from_be_bytes(self.array()?).into()),
            0xd1 => Val::Int(i16::from_be_bytes(self.array()?).into()),
            0xd2 => Val::Int(i32::from_be_bytes(self.array()?).into()),
            0xd3 => Val::Int(i64::from_be_bytes(self.array()?).into()),
            0xd4..=0xd8 => self.ext(1 << (marker - 0xd4))?,
            0xd9..=0xdb => {
                let len = self.len(marker - 0xd9)?;
                self.text(len)?
            }
            0xdc | 0xdd => {
                let len = self.len(marker - 0xdb)?;
                self.seq(len, depth)?
            }
            0xde | 0xdf => {
                let len = self.len(marker - 0xdd)?;
                self.map(len, depth)?
            }
            0xe0.. => Val::Int((marker as i8).into()),
        })
    }

    fn text(&mut self, len: usize) -> Result<Val, NotAValue> {
        String::from_utf8(self.take(len)?).map(Val::Str).map_err(|_| NotAValue)
    }

    fn ext(&mut self, len: usize) -> Result<Val, NotAValue> {
        let kind = i8::from_be_bytes(self.array()?);
        Ok(Val::Ext(kind, self.take(len)?))
    }

    fn seq(&mut self, len: usize, depth: usize) -> Result<Val, NotAValue> {
        (0..len).map(|_| self.value(depth)).collect::<Result<_, _>>().map(Val::Seq)
    }

    fn map(&mut self, len: usize, depth: usize) -> Result<Val, NotAValue> {
        let entry = |_| Ok((self.value(depth)?, self.value(depth)?));
        (0..len).map(entry).collect::<Result<_, _>>().map(Val::Map)
    }
}
