//! MessagePack (dialect 2.x), checked where it lies.

use super::value::Token;
use super::{Entry, MAX_DEPTH, Malformed, MalformedKind, OnEntry, Shape, begins_with};
use crate::arena::Span;

/// Checks that `bytes` are one MessagePack value and nothing else.
///
/// Strings have to be UTF-8 and keys have to be strings (`protocol.md` §6). Extension types are
/// well-formed; that no service takes one is decided when it is read. `max_depth` is how many
/// arrays and maps may stand inside each other: 0 allows scalars only, and more than
/// [`MAX_DEPTH`] means [`MAX_DEPTH`].
///
/// # Errors
/// The first fault, with the offset in bytes where the item begins that has it; all that stands
/// before is well-formed, so a request's `id` can still be read from there. A claimed length or
/// count that the bytes cannot hold is [`MalformedKind::Truncated`], and costs nothing.
pub fn check(bytes: &[u8], max_depth: usize) -> Result<(), Malformed> {
    entries(bytes, max_depth, &mut |_, _| {}).map(drop)
}

/// What follows the marker of a message mostly; it need not be looked at byte by byte.
const BEGINNING: &[u8] = b"\xA6wslink\xA31.0\xA2id";

/// The same, and shows each entry of the map that the value is; gives whether it is one.
///
/// What follows an entry may turn out to be malformed.
pub(crate) fn entries(
    bytes: &[u8],
    max_depth: usize,
    each: OnEntry<'_>,
) -> Result<bool, Malformed> {
    let limit = max_depth.min(MAX_DEPTH);
    // Of the innermost array or map, and of those around it: twice the number of values that are
    // still to come, and one more if it is a map.
    let mut level = 0_u32;
    let mut around = heapless::Vec::<u32, MAX_DEPTH>::new();
    let mut at = 0;
    let mut key = Span::default();
    let mut entry = Entry::default();
    let mut is_map = false;
    let mut is_key = false;
    if limit > 0
        && let Some((&marker @ 0x82..=0x8F, rest)) = bytes.split_first()
        && begins_with(rest, BEGINNING)
    {
        _ = around.push(0);
        // One pair less than there are: at the value of the second.
        level = u32::from(marker - 0x81) << 1 | 1;
        is_map = true;
        key = Span { start: 13, len: 2 };
        at = 1 + BEGINNING.len();
    }
    loop {
        let start = at;
        let head = Head::read(bytes, start)?;
        at = head.check(bytes, start)?;
        let depth = around.len();
        if is_key {
            if head.kind != Kind::Text {
                return Err(Malformed { at: start, kind: MalformedKind::KeyNotString });
            }
            if depth == 1 {
                key = head.content();
            }
            is_key = false;
            continue;
        }
        if depth == 1 {
            entry = Entry { value: Span { start: start as u32, len: 0 }, shape: head.shape() };
        }
        if let Kind::Array | Kind::Map = head.kind {
            if depth >= limit {
                return Err(Malformed { at: start, kind: MalformedKind::TooDeep });
            }
            is_key = head.kind == Kind::Map;
            is_map |= is_key && depth == 0;
            if head.len > 0 {
                // There is a place for each level, as was checked just now, and no message holds
                // more values than this counts.
                _ = around.push(level);
                level = head.len.min(u32::MAX >> 1) << 1 | u32::from(is_key);
                continue;
            }
        }
        // A value ends here, and all those of which it is the last one.
        loop {
            if around.len() <= 1 {
                if around.is_empty() {
                    return if at == bytes.len() {
                        Ok(is_map)
                    } else {
                        Err(Malformed { at, kind: MalformedKind::Trailing })
                    };
                }
                if is_map {
                    entry.value.len = at as u32 - entry.value.start;
                    each(key.of(bytes), &entry);
                }
            }
            level -= 2;
            if level > 1 {
                is_key = level & 1 == 1;
                break;
            }
            level = around.pop().unwrap_or(0);
        }
    }
}

/// Takes the token at `*at`. [`check`] and all who read use the same [`Head`], so they agree.
pub(crate) fn token<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Token<'a>, Malformed> {
    let head = Head::read(bytes, *at)?;
    let truncated = Malformed { at: *at, kind: MalformedKind::Truncated };
    let content = match head.kind {
        Kind::Array | Kind::Map => &[],
        _ => {
            let rest = bytes.get(head.start..).unwrap_or_default();
            rest.get(..head.len as usize).ok_or(truncated)?
        }
    };
    let token = match head.kind {
        Kind::Null => Token::Null,
        Kind::False => Token::Bool(false),
        Kind::True => Token::Bool(true),
        Kind::Int => {
            let negative = content.first().is_some_and(|first| *first > 0x7F);
            Token::Int(number(if negative { u64::MAX } else { 0 }, content).cast_signed())
        }
        Kind::Uint => {
            let value = number(0, content);
            i64::try_from(value).map_or(Token::Uint(value), Token::Int)
        }
        Kind::Float => match <[u8; 4]>::try_from(content) {
            Ok(single) => Token::Float(f32::from_be_bytes(single).into()),
            Err(_) => Token::Float(f64::from_bits(number(0, content))),
        },
        Kind::Ext => {
            let (kind, data) = content.split_first().ok_or(truncated)?;
            Token::Ext(kind.cast_signed(), data)
        }
        Kind::Text => {
            let kind = MalformedKind::NotUtf8;
            let text = core::str::from_utf8(content);
            Token::Str(text.map_err(|_| Malformed { at: *at, kind })?)
        }
        Kind::Bytes => Token::Bytes(content),
        Kind::Array => Token::Seq(Some(head.len)),
        Kind::Map => Token::Map(Some(head.len)),
    };
    *at = head.start + content.len();
    Ok(token)
}

/// The big-endian number behind `before`.
fn number(before: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(before, |number, byte| number << 8 | u64::from(*byte))
}

/// What an item says of itself before its content.
#[derive(Clone, Copy)]
struct Head {
    kind: Kind,
    /// Where the content begins.
    start: usize,
    /// Bytes of the content; items of an array, pairs of a map.
    len: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    False,
    True,
    Int,
    Uint,
    Float,
    Ext,
    Text,
    Bytes,
    Array,
    Map,
}

impl Head {
    /// Reads it at `at`; whether the content is there is not looked at.
    fn read(bytes: &[u8], at: usize) -> Result<Self, Malformed> {
        let fault = |kind| Malformed { at, kind };
        let truncated = fault(MalformedKind::Truncated);
        let &marker = bytes.get(at).ok_or(truncated)?;
        let start = at + 1;
        let small = |kind, bits: u8| Self { kind, start, len: u32::from(marker & bits) };
        let content = |kind, len| Self { kind, start, len };
        // How many bytes say the length, as a power of two.
        let (kind, size) = match marker {
            // The number is the marker itself.
            0x00..=0x7F | 0xE0..=0xFF => return Ok(Self { kind: Kind::Int, start: at, len: 1 }),
            0x80..=0x8F => return Ok(small(Kind::Map, 0x0F)),
            0x90..=0x9F => return Ok(small(Kind::Array, 0x0F)),
            0xA0..=0xBF => return Ok(small(Kind::Text, 0x1F)),
            0xC0 => return Ok(content(Kind::Null, 0)),
            0xC1 => return Err(fault(MalformedKind::Unexpected)),
            0xC2 => return Ok(content(Kind::False, 0)),
            0xC3 => return Ok(content(Kind::True, 0)),
            0xC4..=0xC6 => (Kind::Bytes, marker - 0xC4),
            0xC7..=0xC9 => (Kind::Ext, marker - 0xC7),
            0xCA..=0xCB => return Ok(content(Kind::Float, 4 << (marker - 0xCA))),
            0xCC..=0xCF => return Ok(content(Kind::Uint, 1 << (marker - 0xCC))),
            0xD0..=0xD3 => return Ok(content(Kind::Int, 1 << (marker - 0xD0))),
            // Behind the type.
            0xD4..=0xD8 => return Ok(content(Kind::Ext, 1 + (1 << (marker - 0xD4)))),
            0xD9..=0xDB => (Kind::Text, marker - 0xD9),
            0xDC..=0xDD => (Kind::Array, marker - 0xDC + 1),
            0xDE..=0xDF => (Kind::Map, marker - 0xDE + 1),
        };
        let rest = bytes.get(start..).unwrap_or_default();
        let len = rest.get(..1 << size).ok_or(truncated)?;
        let start = start + len.len();
        let len = number(0, len) as u32;
        let len = if kind == Kind::Ext { len.checked_add(1).ok_or(truncated)? } else { len };
        Ok(Self { kind, start, len })
    }

    /// Where the item ends; one with items in it ends before them.
    fn check(self, bytes: &[u8], at: usize) -> Result<usize, Malformed> {
        if let Kind::Array | Kind::Map = self.kind {
            return Ok(self.start);
        }
        let content = bytes.get(self.start..).and_then(|rest| rest.get(..self.len as usize));
        match content {
            None => Err(Malformed { at, kind: MalformedKind::Truncated }),
            Some(text) if self.kind == Kind::Text && !is_text(text) => {
                Err(Malformed { at, kind: MalformedKind::NotUtf8 })
            }
            Some(content) => Ok(self.start + content.len()),
        }
    }

    fn content(self) -> Span {
        Span { start: self.start as u32, len: self.len }
    }

    fn shape(self) -> Shape {
        match self.kind {
            Kind::Text => Shape::Text(self.content()),
            Kind::Bytes => Shape::Bytes,
            Kind::Array => Shape::List(self.len),
            Kind::Map => Shape::Map(self.len),
            _ => Shape::Other,
        }
    }
}

/// Whether it is UTF-8; most of it is ASCII, which is seen in fewer steps.
fn is_text(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<{ size_of::<usize>() }>();
    let words = words.iter().fold(0, |all, word| all | usize::from_ne_bytes(*word));
    let rest = rest.iter().fold(0, |all, byte| all | byte);
    let high = usize::from_ne_bytes([0x80; size_of::<usize>()]);
    words & high == 0 && rest < 0x80 || core::str::from_utf8(bytes).is_ok()
}
