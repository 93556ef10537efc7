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

pub use de::{DecodeError, Reason};
pub use value::{Entries, Items, Reader, Token, Value};
pub(crate) use value::{Left, find_id};
pub use writer::{
    EncodeError, Encoded, Open, Overflow, Place, Segment, Segments, Writer, attachment_header,
};

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
