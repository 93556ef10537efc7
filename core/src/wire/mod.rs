//! Both wire formats behind one data model.
//!
//! A 1.x message is JSON text, a 2.x message is MessagePack. Either is first *checked*, once and
//! without recursion ([`json::clean`], [`msgpack::check`]); what is left is read as the same
//! [`Token`]s, through the same serde deserializer, and written by the same serde serializer. A
//! service therefore never learns which of the two it speaks.

pub(crate) mod de;
pub mod json;
pub mod msgpack;
pub(crate) mod ser;
mod value;
mod writer;

use crate::arena::Span;

pub use de::{DecodeError, Reason};
pub(crate) use json::plain_run;
pub(crate) use value::find_id;
pub use value::{Entries, Items, Reader, Token, Value};
pub(crate) use writer::Literal;
pub use writer::{
    EncodeError, Encoded, Open, Overflow, Place, Segment, Segments, Writer, attachment_header,
};

/// Is shown each entry of the map that a message is: its key, and what its value is.
pub(crate) type OnEntry<'a> = &'a mut dyn FnMut(&[u8], &Entry);

/// The value of an entry, as it is found when its message is checked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    /// Where it lies in the message.
    pub(crate) value: Span,
    pub(crate) shape: Shape,
}

/// What a value is, as far as an envelope is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A string with this content, which is UTF-8.
    Text(Span),
    Bytes,
    /// A list of so many items.
    List(u32),
    /// A map of so many pairs.
    Map(u32),
    #[default]
    Other,
}

/// As [`slice::starts_with`], but by words.
fn begins_with(bytes: &[u8], beginning: &[u8]) -> bool {
    let Some(bytes) = bytes.get(..beginning.len()) else { return false };
    let (words, rest) = bytes.as_chunks::<4>();
    let (wanted, last) = beginning.as_chunks::<4>();
    words.iter().zip(wanted).all(|(word, wanted)| word == wanted)
        && rest.iter().zip(last).all(|(byte, wanted)| byte == wanted)
}

/// Which of the two wire dialects a connection speaks, told from its first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Dialect {
    /// wslink 1.x: JSON in text messages, attachments in binary messages of their own.
    V1,
    /// wslink 2.x: MessagePack in chunks, attachments in place.
    V2,
}

/// Nesting that [`json::clean`] and [`msgpack::check`] can follow at most; the limit of a
/// connection ([`Limits::depth`](crate::Limits::depth)) is at or below it.
pub const MAX_DEPTH: usize = 64;

/// Why bytes are not one well-formed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Malformed {
    /// Offset of the first byte that does not fit.
    pub at: usize,
    /// What is wrong there.
    pub kind: MalformedKind,
}

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MalformedKind {
    /// The bytes end inside the value.
    Truncated,
    /// A byte that no value of this format has here.
    Unexpected,
    /// A string is not UTF-8, or (JSON) holds half of a surrogate pair.
    NotUtf8,
    /// A map has a key that is not a string.
    KeyNotString,
    /// Bytes follow the value.
    Trailing,
    /// Nested deeper than the limit.
    TooDeep,
}
