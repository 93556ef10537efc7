//! Values of messages, whatever the dialect.

use core::fmt::{self, Write as _};
use sha2::{Digest, Sha256};
use wslink_core::wire::{Malformed, Reader, Token, Value};

/// A value of a message, as both dialects know it. [`val!`](crate::val) writes one like JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Val {
    /// Null.
    Null,
    /// True or false.
    Bool(bool),
    /// Any integer that a 64-bit type of either kind holds.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Str(String),
    /// Binary data: `bin` in 2.x, an attachment in 1.x.
    Bin(Vec<u8>),
    /// A MessagePack extension; there is none in JSON.
    Ext(i8, Vec<u8>),
    /// A list.
    Seq(Vec<Self>),
    /// A map in the order of the wire; keys are strings, but MessagePack knows others.
    Map(Vec<(Self, Self)>),
}

/// Writes a [`Val`] like JSON. What is not a literal, a list or a map stands in parentheses.
///
/// ```
/// use wslink_testkit::{Val, val};
///
/// let samples = vec![1_u8, 2];
/// let value = val!([1, (-2.5), {"name": null, "samples": (Val::Bin(samples))}]);
/// assert_eq!(value.to_string(), r#"[1, -2.5, {"name": null, "samples": bin(2, a12871fe)}]"#);
/// ```
#[macro_export]
macro_rules! val {
    (null) => { $crate::Val::Null };
    ([ $($item:tt),* $(,)? ]) => { $crate::Val::Seq(vec![$($crate::val!($item)),*]) };
    ({ $($key:tt : $value:tt),* $(,)? }) => {
        $crate::Val::Map(vec![$(($crate::Val::from($key), $crate::val!($value))),*])
    };
    ($value:expr) => { $crate::Val::from($value) };
}

impl Val {
    /// What stands under `key`, if this is a map that has it.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Goes through all that is written by length and digest only: binary data, extensions, and
    /// long texts.
    pub fn visit_kept(&self, visit: &mut dyn FnMut(Kept, &[u8])) {
        match self {
            Self::Bin(bytes) | Self::Ext(_, bytes) => visit(Kept::of(bytes), bytes),
            Self::Str(text) if text.len() > SHOWN => {
                visit(Kept::of(text.as_bytes()), text.as_bytes());
            }
            Self::Seq(items) => items.iter().for_each(|item| item.visit_kept(visit)),
            Self::Map(entries) => entries.iter().for_each(|(key, value)| {
                key.visit_kept(visit);
                value.visit_kept(visit);
            }),
            _ => {}
        }
    }

    /// A copy of what a service is given.
    pub(crate) fn of(value: &Value<'_>) -> Self {
        Self::read(&mut value.reader()).unwrap_or(Self::Null)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let token = reader.next()?;
        Self::from_token(token, reader)
    }

    fn from_token(token: Token<'_>, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match token {
            Token::Bool(value) => Self::Bool(value),
            Token::Int(value) => Self::Int(value.into()),
            Token::Uint(value) => Self::Int(value.into()),
            Token::Float(value) => Self::Float(value),
            Token::Str(text) => Self::Str(text.to_owned()),
            Token::Bytes(bytes) => Self::Bin(bytes.to_vec()),
            Token::Ext(kind, bytes) => Self::Ext(kind, bytes.to_vec()),
            Token::Seq(count) => {
                let mut items = Vec::new();
                while let Some(item) = Self::next(reader, count, items.len())? {
                    items.push(item);
                }
                Self::Seq(items)
            }
            Token::Map(count) => {
                let mut entries = Vec::new();
                while let Some(key) = Self::next(reader, count, entries.len())? {
                    entries.push((key, Self::read(reader)?));
                }
                Self::Map(entries)
            }
            _ => Self::Null,
        })
    }

    fn next(
        reader: &mut Reader<'_>,
        count: Option<u32>,
        taken: usize,
    ) -> Result<Option<Self>, Malformed> {
        if count.is_some_and(|count| taken >= count as usize) {
            return Ok(None);
        }
        match reader.next()? {
            Token::End => Ok(None),
            token => Self::from_token(token, reader).map(Some),
        }
    }
}

impl From<()> for Val {
    fn from((): ()) -> Self {
        Self::Null
    }
}

impl From<bool> for Val {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

macro_rules! from_integers {
    ($($int:ty),*) => { $(
        impl From<$int> for Val {
            fn from(value: $int) -> Self {
                Self::Int(value.into())
            }
        }
    )* };
}
from_integers!(u8, u16, u32, u64, i8, i16, i32, i64, i128);

impl From<usize> for Val {
    fn from(value: usize) -> Self {
        Self::Int(value as i128)
    }
}

impl From<f64> for Val {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Val {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<String> for Val {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

impl From<Vec<Self>> for Val {
    fn from(items: Vec<Self>) -> Self {
        Self::Seq(items)
    }
}

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Str(text) => write_text(f, text),
            Self::Bin(bytes) => write!(f, "bin({}, {})", bytes.len(), digest(bytes)),
            Self::Ext(kind, bytes) => {
                write!(f, "ext({kind}, {}, {})", bytes.len(), digest(bytes))
            }
            Self::Seq(items) => {
                f.write_char('[')?;
                for (nth, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", separator(nth))?;
                }
                f.write_char(']')
            }
            Self::Map(entries) => {
                f.write_char('{')?;
                for (nth, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}: {value}", separator(nth))?;
                }
                f.write_char('}')
            }
        }
    }
}

const fn separator(nth: usize) -> &'static str {
    if nth == 0 { "" } else { ", " }
}

/// Longer text is shown by its beginning, its length and its digest.
const SHOWN: usize = 200;

pub(crate) fn write_text(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    if text.len() <= SHOWN {
        return write!(f, "{text:?}");
    }
    let start: String = text.chars().take(16).collect();
    write!(f, "str({start:?}.., {}, {})", text.len(), digest(text.as_bytes()))
}

/// What a transcript tells of a byte string that it does not hold. Two different ones of the same
/// length have the same digest by chance, once in 2³².
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kept {
    /// How many bytes.
    pub len: u64,
    /// The first 8 hex digits of their SHA-256.
    pub digest: String,
}

impl Kept {
    /// What is told of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { len: bytes.len() as u64, digest: digest(bytes) }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-byte string {}", self.len, self.digest)
    }
}

/// The first 8 hex digits of SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(bytes).iter().take(4) {
        // A string takes all that is written.
        _ = write!(text, "{byte:02x}");
    }
    text
}
