//! Why a message cannot be written.

use core::fmt::{self, Write as _};

/// The message does not fit the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Overflow {
    /// Size of buffer that it needs.
    pub needed: usize,
    /// Size of buffer that there is, at most 2 GiB.
    pub available: usize,
}

/// Why a value has no form on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EncodeError {
    /// The key of a map is neither a string nor a char, an integer or a bool.
    KeyNotString,
    /// A kind of value that the dialect does not have.
    Unsupported(&'static str),
    /// An [`Attachment`](crate::Attachment) that is not attached to this message.
    UnknownAttachment(u32),
    /// A blob of more bytes than a 2.x message can have: that of this index.
    AttachmentTooLong(u32),
    /// More elements than a 2.x list or map can have.
    TooManyElements,
    /// A list or map announced another number of elements than came.
    LengthMismatch,
    /// What the value itself says (its beginning).
    Custom(heapless::String<64>),
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message needs {} bytes, there are {}", self.needed, self.available)
    }
}

impl core::error::Error for Overflow {}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyNotString => f.write_str("the key of a map cannot be written as a string"),
            Self::Unsupported(what) => write!(f, "cannot write {what}"),
            Self::UnknownAttachment(index) => write!(f, "nothing is attached under index {index}"),
            Self::AttachmentTooLong(index) => {
                write!(f, "the attachment of index {index} is longer than 4 GiB")
            }
            Self::TooManyElements => f.write_str("a list or map of more than 2^32 - 1 elements"),
            Self::LengthMismatch => {
                f.write_str("a list or map has not as many elements as it announced")
            }
            Self::Custom(message) => f.write_str(message),
        }
    }
}

impl core::error::Error for EncodeError {}

impl serde::ser::Error for EncodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let mut text = Beginning(heapless::String::new());
        // It fails when the text is full: then the rest is left out.
        let _ = write!(text, "{message}");
        Self::Custom(text.0)
    }
}

/// Keeps as many characters as it has room for.
struct Beginning(heapless::String<64>);

impl fmt::Write for Beginning {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        s.chars().try_for_each(|c| self.0.push(c).map_err(|_| fmt::Error))
    }
}
