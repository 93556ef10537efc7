//! What is sent of a message that a [`Writer`](super::Writer) left: text, and blobs at places.

use super::INLINE;
use crate::wire::Dialect;

/// What is sent of a message that a [`Writer`](super::Writer) left, piece by piece.
///
/// In 2.x that is the text with the bytes of the blobs spliced in, under one count of offsets:
/// see [`at`](Self::at). In 1.x it is each [`place`](Self::place) in order and then the
/// [`text`](Self::text). Bytes that no writer left give `None` or nothing.
///
/// ```
/// use wslink_core::wire::{Dialect, Segment, Segments, Writer};
///
/// let mut buffer = [0; 64];
/// let mut writer = Writer::new(Dialect::V2, &mut buffer, 0, &|_| Some(3));
/// let list = writer.begin_seq(Some(2)).unwrap();
/// writer.attachment(0).unwrap();
/// writer.uint(7);
/// writer.end(list).unwrap();
/// let encoded = writer.finish().unwrap();
///
/// let left = &buffer[..encoded.len as usize];
/// let message = Segments::new(Dialect::V2, encoded.text_len, left);
/// assert_eq!(message.total(|_| 3), 7);
/// assert_eq!(message.at(0, |_| 3), Some((Segment::Bytes(&[0x92, 0xc4, 3]), 3)));
/// assert_eq!(message.at(4, |_| 3), Some((Segment::Blob { index: 0, offset: 1, len: 2 }, 2)));
/// assert_eq!(message.at(6, |_| 3), Some((Segment::Bytes(&[7]), 1)));
/// assert_eq!(message.at(7, |_| 3), None);
/// ```
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Segments<'a> {
    dialect: Dialect,
    text: &'a [u8],
    trailer: &'a [u8],
}

/// Bytes of a message that lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Segment<'a> {
    /// These.
    Bytes(&'a [u8]),
    /// Those of a blob.
    Blob {
        /// Under which index the blob was attached.
        index: u32,
        /// Where in the blob they begin.
        offset: u64,
        /// How many they are, from `offset` to the end of the blob.
        len: u64,
    },
}

/// Where an attachment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Place<'a> {
    /// 1.x: its attachment key, as it stands in the text.
    pub key: &'a str,
    /// All of its bytes.
    pub content: Segment<'a>,
}

impl<'a> Segments<'a> {
    /// The segments of the message that a [`Writer`](super::Writer) of `dialect` left in `bytes`,
    /// of which `text_len` are text.
    pub fn new(dialect: Dialect, text_len: u32, bytes: &'a [u8]) -> Self {
        let at = usize::try_from(text_len).unwrap_or(usize::MAX);
        let (text, trailer) = bytes.split_at_checked(at).unwrap_or_default();
        Self { dialect, text, trailer }
    }

    /// The text: in 1.x what the last message of this one's holds.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Length of the content: in 2.x with the blobs, in 1.x only the text. `blob_len` gives the
    /// lengths that were known when the message was written.
    pub fn total(&self, blob_len: impl Fn(u32) -> u64) -> u64 {
        let mut total = self.text.len() as u64;
        if self.dialect == Dialect::V2 {
            let mut trailer = self.trailer;
            while let Some((_, Content::Blob(index))) = split_place(&mut trailer) {
                total = total.saturating_add(blob_len(index));
            }
        }
        total
    }

    /// The segment that holds `offset` of the content, from there on, and how long it is.
    /// `blob_len` as for [`total`](Self::total).
    pub fn at(&self, offset: u64, blob_len: impl Fn(u32) -> u64) -> Option<(Segment<'a>, u64)> {
        let mut rest = offset;
        let mut start = 0;
        if self.dialect == Dialect::V2 {
            let mut trailer = self.trailer;
            while !trailer.is_empty() {
                let (at, content) = split_place(&mut trailer)?;
                let Content::Blob(index) = content else { return None };
                let gap = self.text.get(start..at)?;
                if let Some(found) = tail(gap, rest) {
                    return Some(found);
                }
                rest = rest.checked_sub(gap.len() as u64)?;
                let len = blob_len(index);
                if let Some(len) = len.checked_sub(rest).filter(|len| *len > 0) {
                    return Some((Segment::Blob { index, offset: rest, len }, len));
                }
                rest = rest.checked_sub(len)?;
                start = at;
            }
        }
        tail(self.text.get(start..)?, rest)
    }

    /// How many places have an attachment.
    pub fn places(&self) -> u32 {
        let (mut places, mut trailer) = (0, self.trailer);
        while split_place(&mut trailer).is_some() {
            places += 1;
        }
        places
    }

    /// The `k`-th place, from 0; `None` behind the last. `blob_len` as for [`total`](Self::total).
    pub fn place(&self, k: u32, blob_len: impl Fn(u32) -> u64) -> Option<Place<'a>> {
        let (at, content) = self.nth_place(k)?;
        Some(Place { key: self.key_before(at)?, content: content.segment(blob_len) })
    }

    /// The content of the `k`-th place, without a look at its key.
    pub(crate) fn content(&self, k: u32, blob_len: impl Fn(u32) -> u64) -> Option<Segment<'a>> {
        Some(self.nth_place(k)?.1.segment(blob_len))
    }

    fn nth_place(&self, k: u32) -> Option<(usize, Content<'a>)> {
        let mut trailer = self.trailer;
        for _ in 0..k {
            split_place(&mut trailer)?;
        }
        split_place(&mut trailer)
    }

    /// The string of 1.x that ends at `at` in the text.
    fn key_before(&self, at: usize) -> Option<&'a str> {
        if self.dialect == Dialect::V2 {
            return Some("");
        }
        let quoted = self.text.get(..at)?.strip_suffix(b"\"")?;
        let start = quoted.iter().rposition(|byte| *byte == b'"')?;
        core::str::from_utf8(quoted.get(start + 1..)?).ok()
    }
}

enum Content<'a> {
    Blob(u32),
    Inline(&'a [u8]),
}

impl<'a> Content<'a> {
    fn segment(self, blob_len: impl Fn(u32) -> u64) -> Segment<'a> {
        match self {
            Self::Blob(index) => Segment::Blob { index, offset: 0, len: blob_len(index) },
            Self::Inline(bytes) => Segment::Bytes(bytes),
        }
    }
}

/// Takes the next place off the end of the trailer: its position and content.
fn split_place<'a>(trailer: &mut &'a [u8]) -> Option<(usize, Content<'a>)> {
    let (rest, content) = trailer.split_last_chunk()?;
    let (rest, at) = rest.split_last_chunk()?;
    let at = usize::try_from(u32::from_le_bytes(*at)).ok()?;
    let content = u32::from_le_bytes(*content);
    if content & INLINE == 0 {
        *trailer = rest;
        return Some((at, Content::Blob(content)));
    }
    let len = usize::try_from(content & !INLINE).ok()?;
    let (rest, inline) = rest.split_at_checked(rest.len().checked_sub(len)?)?;
    *trailer = rest;
    Some((at, Content::Inline(inline)))
}

/// What `bytes` have from `offset` on, if anything.
fn tail(bytes: &[u8], offset: u64) -> Option<(Segment<'_>, u64)> {
    let bytes = bytes.get(usize::try_from(offset).ok()?..)?;
    (!bytes.is_empty()).then_some((Segment::Bytes(bytes), bytes.len() as u64))
}

/// The 1.x message that announces the attachment with this key, in parts.
///
/// ```
/// assert_eq!(
///     wslink_core::wire::attachment_header("wslink_bin12").concat(),
///     r#"{"wslink":"1.0","method":"wslink.binary.attachment","args":["wslink_bin12"]}"#,
/// );
/// ```
pub const fn attachment_header(key: &str) -> [&str; 3] {
    [r#"{"wslink":"1.0","method":"wslink.binary.attachment","args":[""#, key, r#""]}"#]
}
