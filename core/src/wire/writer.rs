//! Writes one message in either dialect, and tells where its attachments go.
//!
//! What a [`Writer`] leaves in the caller's buffer is one block: the *text* (JSON or
//! MessagePack), and directly behind it the *trailer*, which says for each attachment where in
//! the text it stands. The trailer is read from its end: the first place lies last.
//!
//! ```text
//! | text ... | [inline bytes of place 1] place 1 | [inline bytes of place 0] place 0 |
//! place: position in the text, u32 | blob index, or INLINE + number of inline bytes, u32
//! ```

use core::fmt::{self, Write as _};

use serde::ser::Serialize;

use super::{Dialect, plain_run};

mod error;
mod segments;

pub use error::{EncodeError, Overflow};
pub use segments::{Place, Segment, Segments, attachment_header};

/// In a place: its bytes lie in the trailer below it, the other bits are their number.
const INLINE: u32 = 0x8000_0000;
/// Size of a place in the trailer.
const PLACE: usize = 8;
/// Longest text and trailer together; so each position and inline length fits beside [`INLINE`].
const MAX_LEN: usize = 0x7fff_ffff;

/// Writes one message into a caller's buffer.
///
/// Nothing is allocated. When the message does not fit, the writer goes on counting, so that
/// [`finish`](Self::finish) can say how much room it needs; to only measure, give it no buffer.
/// It keeps account of commas and counts, not of sense: whoever writes a map calls
/// [`key`](Self::key) before each value. [`value`](Self::value) writes anything that serializes.
///
/// ```
/// use wslink_core::wire::{Dialect, Writer};
///
/// let mut buffer = [0; 64];
/// let mut writer = Writer::new(Dialect::V1, &mut buffer, 0, &|_| None);
/// let envelope = writer.begin_map(Some(2)).unwrap();
/// writer.key("wslink");
/// writer.str("1.0");
/// writer.key("result");
/// writer.value(&[1.5, f64::NAN]).unwrap();
/// writer.end(envelope).unwrap();
/// let encoded = writer.finish().unwrap();
/// assert_eq!(&buffer[..encoded.len as usize], br#"{"wslink":"1.0","result":[1.5,NaN]}"#);
///
/// let mut writer = Writer::new(Dialect::V2, &mut [], 0, &|_| None);
/// writer.str("how long?");
/// assert_eq!(writer.finish().unwrap_err().needed, 10);
/// ```
pub struct Writer<'b> {
    dialect: Dialect,
    buffer: &'b mut [u8],
    lens: &'b dyn Fn(u32) -> Option<u64>,
    first_key: u64,
    /// Bytes of text, those that did not fit too.
    text: usize,
    /// Bytes of trailer, those that did not fit too. It grows down from the buffer's end.
    trailer: usize,
    places: u32,
    blob_bytes: u64,
    /// JSON: the next value or key at this level stands behind another one.
    comma: bool,
    /// Values and keys so far in the innermost open list or map.
    items: u64,
}

/// The same in both dialects: JSON, and MessagePack.
pub(crate) type Literal = [&'static [u8]; 2];

/// A list or map that is being written: to be handed to [`Writer::end`], innermost first.
#[must_use = "a list or map that is not ended is not well-formed"]
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Open {
    /// Where its MessagePack header lies.
    header: usize,
    /// How many items it shall have.
    declared: Option<u64>,
    /// [`Writer::items`] of the level around it.
    outer: u64,
    map: bool,
}

/// What [`Writer::finish`] left at the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Encoded {
    /// Length of the text.
    pub text_len: u32,
    /// Length of the text and of the trailer behind it.
    pub len: u32,
    /// How many places have an attachment.
    pub places: u32,
    /// How long the blobs at all places are together. What is named twice counts twice; inline
    /// bytes do not count.
    pub blob_bytes: u64,
}

impl<'b> Writer<'b> {
    /// A writer at the start of `buffer`.
    ///
    /// `lens` gives the length of the blob that was attached under an index, `None` if there is
    /// none. The attachment keys of 1.x count up from `first_key`, one for each place: a client
    /// replaces only the first place of a key.
    pub fn new(
        dialect: Dialect,
        buffer: &'b mut [u8],
        first_key: u64,
        lens: &'b dyn Fn(u32) -> Option<u64>,
    ) -> Self {
        let room = buffer.len().min(MAX_LEN);
        Self {
            dialect,
            buffer: buffer.get_mut(..room).unwrap_or_default(),
            lens,
            first_key,
            text: 0,
            trailer: 0,
            places: 0,
            blob_bytes: 0,
            comma: false,
            items: 0,
        }
    }

    /// How long the text is so far.
    pub(crate) const fn position(&self) -> usize {
        self.text
    }

    /// The dialect that is written.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Writes anything that serializes. What a failure leaves is of no use.
    ///
    /// # Errors
    /// What the value has that no message can: see [`EncodeError`].
    pub fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    /// Writes null.
    pub fn null(&mut self) {
        self.item();
        match self.dialect {
            Dialect::V1 => self.put(b"null"),
            Dialect::V2 => self.put_byte(0xc0),
        }
    }

    /// Writes true or false.
    pub fn bool(&mut self, value: bool) {
        self.item();
        match (self.dialect, value) {
            (Dialect::V1, false) => self.put(b"false"),
            (Dialect::V1, true) => self.put(b"true"),
            (Dialect::V2, _) => self.put_byte(0xc2 | u8::from(value)),
        }
    }

    /// Writes an integer.
    pub fn int(&mut self, value: i64) {
        if let Ok(value) = u64::try_from(value) {
            return self.uint(value);
        }
        self.item();
        match self.dialect {
            Dialect::V1 => {
                self.put_byte(b'-');
                self.put_digits(value.unsigned_abs());
            }
            Dialect::V2 => {
                if let Ok(value) = i8::try_from(value) {
                    if value < -32 {
                        self.put_byte(0xd0);
                    }
                    self.put(&value.to_be_bytes());
                } else if let Ok(value) = i16::try_from(value) {
                    self.put_headed(0xd1, &value.to_be_bytes());
                } else if let Ok(value) = i32::try_from(value) {
                    self.put_headed(0xd2, &value.to_be_bytes());
                } else {
                    self.put_headed(0xd3, &value.to_be_bytes());
                }
            }
        }
    }

    /// Writes an integer that is not negative.
    pub fn uint(&mut self, value: u64) {
        self.item();
        match self.dialect {
            Dialect::V1 => self.put_digits(value),
            Dialect::V2 => {
                if let Ok(value) = u8::try_from(value) {
                    if value > 0x7f {
                        self.put_byte(0xcc);
                    }
                    self.put_byte(value);
                } else if let Ok(value) = u16::try_from(value) {
                    self.put_headed(0xcd, &value.to_be_bytes());
                } else if let Ok(value) = u32::try_from(value) {
                    self.put_headed(0xce, &value.to_be_bytes());
                } else {
                    self.put_headed(0xcf, &value.to_be_bytes());
                }
            }
        }
    }

    /// Writes a number. In 1.x `NaN` and the infinities are bare words, as upstream's are.
    pub fn float(&mut self, value: f64) {
        self.item();
        match self.dialect {
            Dialect::V1 => self.put_float(value.is_finite(), value.is_nan(), value < 0.0, &value),
            Dialect::V2 => self.put_headed(0xcb, &value.to_be_bytes()),
        }
    }

    /// Writes a number of single precision, exactly: clients of both dialects read the same value,
    /// at the price of digits that nobody wrote (0.1 is 0.10000000149011612 in 1.x).
    pub fn float32(&mut self, value: f32) {
        match self.dialect {
            Dialect::V1 => self.float(value.into()),
            Dialect::V2 => {
                self.item();
                self.put_headed(0xca, &value.to_be_bytes());
            }
        }
    }

    /// Writes a string.
    pub fn str(&mut self, value: &str) {
        self.text(value.as_bytes());
    }

    /// Writes a string whose bytes are known to be UTF-8.
    pub(crate) fn text(&mut self, value: &[u8]) {
        self.item();
        self.put_str(value);
    }

    /// Writes what is not built up of values; a value or nothing follows it.
    pub(crate) fn literal(&mut self, [json, packed]: Literal) {
        self.put(if self.dialect == Dialect::V1 { json } else { packed });
        self.comma = false;
    }

    /// Writes the key of the value that follows, in a map.
    pub fn key(&mut self, key: &str) {
        self.str(key);
        self.end_key();
    }

    /// Writes what `value` displays as one string.
    pub(crate) fn display(&mut self, value: &dyn fmt::Display) -> Result<(), EncodeError> {
        self.item();
        let start = self.text;
        if self.dialect == Dialect::V1 {
            self.put_byte(b'"');
        }
        let written = write!(Quoted(self), "{value}");
        match self.dialect {
            Dialect::V1 => self.put(b"\""),
            Dialect::V2 => {
                // The length is known only now: make room for the header in front.
                let len = self.text.saturating_sub(start);
                let (header, size) = Header::STR.bytes(len);
                self.put([0; 5].get(..size).unwrap_or_default());
                if self.fits() {
                    self.shift(start, len, start.saturating_add(size));
                    self.patch(start, header.get(..size).unwrap_or_default());
                }
            }
        }
        written.map_err(|_| EncodeError::Unsupported("a value that fails to display itself"))
    }

    /// Writes what `key` displays as the key of the value that follows, in a map.
    pub(crate) fn display_key(&mut self, key: &dyn fmt::Display) -> Result<(), EncodeError> {
        self.display(key)?;
        self.end_key();
        Ok(())
    }

    /// Writes digits as they are: a number of 1.x that has more than 64 bits.
    pub(crate) fn digits(&mut self, value: &dyn fmt::Display) -> Result<(), EncodeError> {
        self.item();
        write!(Raw(self), "{value}")
            .map_err(|_| EncodeError::Unsupported("a value that fails to display itself"))
    }

    /// Writes bytes by value: in 2.x as a `bin`, in 1.x as an attachment of their own.
    pub fn bytes(&mut self, value: &[u8]) {
        match self.dialect {
            Dialect::V1 => {
                self.attachment_key();
                // Longer than MAX_LEN does not fit anyway.
                let len = u32::try_from(value.len()).unwrap_or(INLINE) & !INLINE;
                self.place(INLINE | len, value);
            }
            Dialect::V2 => {
                self.item();
                self.put_header(Header::BIN, value.len());
                self.put(value);
            }
        }
    }

    /// Writes the place of the blob that was attached under `index`.
    ///
    /// # Errors
    /// Nothing is attached under it, or more than 2.x can say the length of.
    pub fn attachment(&mut self, index: u32) -> Result<(), EncodeError> {
        let len = (self.lens)(index)
            .filter(|_| index < INLINE)
            .ok_or(EncodeError::UnknownAttachment(index))?;
        match self.dialect {
            Dialect::V1 => self.attachment_key(),
            Dialect::V2 => {
                let len = u32::try_from(len).map_err(|_| EncodeError::AttachmentTooLong(index))?;
                self.item();
                self.put_header(Header::BIN, usize::try_from(len).unwrap_or(usize::MAX));
            }
        }
        self.place(index, &[]);
        self.blob_bytes = self.blob_bytes.saturating_add(len);
        Ok(())
    }

    /// Begins a list of `len` elements, or of as many as come.
    ///
    /// # Errors
    /// More than 2.x can say the number of.
    pub fn begin_seq(&mut self, len: Option<usize>) -> Result<Open, EncodeError> {
        self.begin(len, false)
    }

    /// Begins a map of `len` entries, or of as many as come.
    ///
    /// # Errors
    /// More than 2.x can say the number of.
    pub fn begin_map(&mut self, len: Option<usize>) -> Result<Open, EncodeError> {
        self.begin(len, true)
    }

    /// Ends the list or map that was begun last.
    ///
    /// # Errors
    /// Not as many elements came as were announced.
    pub fn end(&mut self, open: Open) -> Result<(), EncodeError> {
        let items = core::mem::replace(&mut self.items, open.outer);
        self.comma = true;
        if self.dialect == Dialect::V1 {
            self.put_byte(if open.map { b'}' } else { b']' });
        }
        let elements = if open.map { items / 2 } else { items };
        if open.map && !items.is_multiple_of(2) {
            return Err(EncodeError::LengthMismatch);
        }
        match open.declared {
            Some(declared) if declared != elements => Err(EncodeError::LengthMismatch),
            None if self.dialect == Dialect::V2 => {
                let count = u32::try_from(elements).map_err(|_| EncodeError::TooManyElements)?;
                self.patch(open.header.saturating_add(1), &count.to_be_bytes());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Ends the message: all of it now lies at the start of the buffer.
    ///
    /// # Errors
    /// The buffer is too small; the size that would do is in the error.
    pub fn finish(mut self) -> Result<Encoded, Overflow> {
        let needed = self.text.saturating_add(self.trailer);
        let available = self.buffer.len();
        let overflow = Overflow { needed, available };
        if needed > available {
            return Err(overflow);
        }
        self.shift(available.saturating_sub(self.trailer), self.trailer, self.text);
        Ok(Encoded {
            text_len: u32::try_from(self.text).map_err(|_| overflow)?,
            len: u32::try_from(needed).map_err(|_| overflow)?,
            places: self.places,
            blob_bytes: self.blob_bytes,
        })
    }

    fn begin(&mut self, len: Option<usize>, map: bool) -> Result<Open, EncodeError> {
        self.item();
        let header = self.text;
        match (self.dialect, len) {
            (Dialect::V1, _) => self.put_byte(if map { b'{' } else { b'[' }),
            (Dialect::V2, Some(len)) => {
                if u32::try_from(len).is_err() {
                    return Err(EncodeError::TooManyElements);
                }
                self.put_header(if map { Header::MAP } else { Header::ARRAY }, len);
            }
            (Dialect::V2, None) => self.put(&[if map { 0xdf } else { 0xdd }, 0, 0, 0, 0]),
        }
        self.comma = false;
        Ok(Open {
            header,
            declared: len.map(|len| len as u64),
            outer: core::mem::take(&mut self.items),
            map,
        })
    }

    /// A value or key begins here.
    fn item(&mut self) {
        if self.comma && self.dialect == Dialect::V1 {
            self.put_byte(b',');
        }
        self.comma = true;
        self.items = self.items.saturating_add(1);
    }

    fn end_key(&mut self) {
        if self.dialect == Dialect::V1 {
            self.put_byte(b':');
        }
        self.comma = false;
    }

    /// 1.x: the key string of the next place.
    fn attachment_key(&mut self) {
        self.item();
        self.put(b"\"wslink_bin");
        self.put_digits(self.first_key.wrapping_add(self.places.into()));
        self.put_byte(b'"');
    }

    /// Records that an attachment goes here, with the bytes that it carries along.
    fn place(&mut self, content: u32, inline: &[u8]) {
        let top = self.buffer.len().saturating_sub(self.trailer);
        self.trailer = self.trailer.saturating_add(PLACE).saturating_add(inline.len());
        self.places = self.places.saturating_add(1);
        if self.fits() {
            let at = u32::try_from(self.text).unwrap_or(u32::MAX);
            self.patch(top.saturating_sub(4), &content.to_le_bytes());
            self.patch(top.saturating_sub(PLACE), &at.to_le_bytes());
            self.patch(top.saturating_sub(PLACE).saturating_sub(inline.len()), inline);
        }
    }

    fn fits(&self) -> bool {
        self.text.saturating_add(self.trailer) <= self.buffer.len()
    }

    /// Appends to the text.
    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.room(bytes.len())
            && room.len() == bytes.len()
        {
            room.copy_from_slice(bytes);
        }
    }

    fn put_byte(&mut self, byte: u8) {
        if let Some([place]) = self.room(1) {
            *place = byte;
        }
    }

    /// Where so many bytes more of text belong, if they fit.
    fn room(&mut self, len: usize) -> Option<&mut [u8]> {
        let at = self.text;
        self.text = at.saturating_add(len);
        if self.fits() { self.buffer.get_mut(at..self.text) } else { None }
    }

    /// Writes over what is there, if it is in the buffer.
    fn patch(&mut self, at: usize, bytes: &[u8]) {
        if let Some(room) = self.buffer.get_mut(at..at.saturating_add(bytes.len()))
            && room.len() == bytes.len()
        {
            room.copy_from_slice(bytes);
        }
    }

    /// Moves bytes within the buffer.
    fn shift(&mut self, from: usize, len: usize, to: usize) {
        let Some(end) = from.checked_add(len) else { return };
        let size = self.buffer.len();
        if end <= size && to <= size - (end - from) {
            self.buffer.copy_within(from..end, to);
        }
    }

    fn put_headed(&mut self, tag: u8, bytes: &[u8]) {
        self.put_byte(tag);
        self.put(bytes);
    }

    fn put_header(&mut self, kind: Header, len: usize) {
        if len < kind.fix_end {
            return self.put_byte(kind.fix | len as u8);
        }
        let (bytes, size) = kind.bytes(len);
        self.put(bytes.get(..size).unwrap_or_default());
    }

    fn put_str(&mut self, value: &[u8]) {
        match self.dialect {
            Dialect::V1 if plain_run(value) == value.len() => {
                let room = self.room(value.len().saturating_add(2));
                if let Some([first, content @ .., last]) = room {
                    content.copy_from_slice(value);
                    (*first, *last) = (b'"', b'"');
                }
            }
            Dialect::V1 => {
                self.put_byte(b'"');
                self.put_escaped(value);
                self.put_byte(b'"');
            }
            Dialect::V2 => {
                self.put_header(Header::STR, value.len());
                self.put(value);
            }
        }
    }

    fn put_escaped(&mut self, value: &[u8]) {
        let mut rest = value;
        loop {
            let (plain, after) = rest.split_at_checked(plain_run(rest)).unwrap_or((rest, &[]));
            self.put(plain);
            let Some((&byte, after)) = after.split_first() else { return };
            match byte {
                0x08 => self.put(b"\\b"),
                0x09 => self.put(b"\\t"),
                0x0a => self.put(b"\\n"),
                0x0c => self.put(b"\\f"),
                0x0d => self.put(b"\\r"),
                0x00..0x20 => {
                    let hex = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
                    self.put(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 0xf)]);
                }
                _ => self.put(&[b'\\', byte]),
            }
            rest = after;
        }
    }

    fn put_digits(&mut self, value: u64) {
        let mut digits = [0; DIGITS];
        self.put(decimal(value, &mut digits));
    }

    fn put_float(&mut self, finite: bool, nan: bool, negative: bool, value: &dyn fmt::Debug) {
        match (finite, nan, negative) {
            // The shortest digits that read back the same; it cannot fail.
            (true, ..) => _ = write!(Raw(self), "{}", Shortest(value)),
            (_, true, _) => self.put(b"NaN"),
            (.., true) => self.put(b"-Infinity"),
            (.., false) => self.put(b"Infinity"),
        }
    }
}

/// What `{:?}` writes, also where firmware is built without that (`-Zfmt-debug=none`).
struct Shortest<'a>(&'a dyn fmt::Debug);

impl fmt::Display for Shortest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Appends to the text what is formatted.
struct Raw<'w, 'b>(&'w mut Writer<'b>);

impl fmt::Write for Raw<'_, '_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0.put(s.as_bytes());
        Ok(())
    }
}

/// Appends to the text what is formatted, as the inside of a string.
struct Quoted<'w, 'b>(&'w mut Writer<'b>);

impl fmt::Write for Quoted<'_, '_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        match self.0.dialect {
            Dialect::V1 => self.0.put_escaped(s.as_bytes()),
            Dialect::V2 => self.0.put(s.as_bytes()),
        }
        Ok(())
    }
}

/// How MessagePack announces a kind of value that has a length.
#[derive(Clone, Copy)]
struct Header {
    /// Tag that holds lengths below `fix_end` itself.
    fix: u8,
    fix_end: usize,
    /// Tags with a length of 1, 2 and 4 bytes behind them.
    one: Option<u8>,
    two: u8,
    four: u8,
}

impl Header {
    const STR: Self = Self { fix: 0xa0, fix_end: 32, one: Some(0xd9), two: 0xda, four: 0xdb };
    const BIN: Self = Self { fix: 0, fix_end: 0, one: Some(0xc4), two: 0xc5, four: 0xc6 };
    const ARRAY: Self = Self { fix: 0x90, fix_end: 16, one: None, two: 0xdc, four: 0xdd };
    const MAP: Self = Self { fix: 0x80, fix_end: 16, one: None, two: 0xde, four: 0xdf };

    /// The shortest header for `len`, and how many of the bytes it has.
    fn bytes(self, len: usize) -> ([u8; 5], usize) {
        // What is longer than 4 bytes can say does not fit any buffer of ours.
        let [a, b, c, d] = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
        match (len, self.one) {
            (0..32, _) if len < self.fix_end => ([self.fix | d, 0, 0, 0, 0], 1),
            (0..=0xff, Some(one)) => ([one, d, 0, 0, 0], 2),
            (0..=0xffff, _) => ([self.two, c, d, 0, 0], 3),
            _ => ([self.four, a, b, c, d], 5),
        }
    }
}

/// Most digits that a `u64` has.
const DIGITS: usize = 20;

fn decimal(mut value: u64, into: &mut [u8; DIGITS]) -> &[u8] {
    let mut start = DIGITS;
    for (at, digit) in into.iter_mut().enumerate().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        start = at;
        if value == 0 {
            break;
        }
    }
    into.get(start..).unwrap_or_default()
}
