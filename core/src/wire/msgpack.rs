//! MessagePack (dialect 2.x), checked where it lies.

use super::value::Token;
use super::{MAX_DEPTH, Malformed, MalformedKind};

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
    let limit = max_depth.min(MAX_DEPTH);
    // How many items or pairs are still to come in each array and map around `at`.
    let mut left = [0_u32; MAX_DEPTH];
    let mut maps = 0_u64;
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        if depth > 0 && maps & 1 == 1 {
            let start = at;
            if !matches!(token(bytes, &mut at)?, Token::Str(_)) {
                return Err(Malformed { at: start, kind: MalformedKind::KeyNotString });
            }
        }
        let start = at;
        let opened = match token(bytes, &mut at)? {
            Token::Seq(count) => Some((false, count.unwrap_or(0))),
            Token::Map(count) => Some((true, count.unwrap_or(0))),
            _ => None,
        };
        if let Some((map, count)) = opened {
            let Some(slot) = left.get_mut(..limit).and_then(|left| left.get_mut(depth)) else {
                return Err(Malformed { at: start, kind: MalformedKind::TooDeep });
            };
            if count > 0 {
                *slot = count;
                maps = maps << 1 | u64::from(map);
                depth += 1;
                continue;
            }
        }
        while let Some(count) = depth.checked_sub(1).and_then(|top| left.get_mut(top)) {
            *count = count.saturating_sub(1);
            if *count > 0 {
                break;
            }
            maps >>= 1;
            depth -= 1;
        }
        if depth == 0 {
            return if at == bytes.len() {
                Ok(())
            } else {
                Err(Malformed { at, kind: MalformedKind::Trailing })
            };
        }
    }
}

const _: () = assert!(MAX_DEPTH <= u64::BITS as usize, "one bit a level");

/// Takes the token at `*at`. [`check`] and all who read use this one function, so they agree.
pub(crate) fn token<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Token<'a>, Malformed> {
    let mut input = Input { rest: bytes.get(*at..).unwrap_or_default() };
    let before = input.rest.len();
    let token = input.token().map_err(|kind| Malformed { at: *at, kind })?;
    *at += before - input.rest.len();
    Ok(token)
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn token(&mut self) -> Result<Token<'a>, MalformedKind> {
        let [marker] = self.array()?;
        Ok(match marker {
            0x00..=0x7F => Token::Int(i64::from(marker)),
            0x80..=0x8F => Token::Map(Some(u32::from(marker & 0x0F))),
            0x90..=0x9F => Token::Seq(Some(u32::from(marker & 0x0F))),
            0xA0..=0xBF => self.text(u32::from(marker & 0x1F))?,
            0xC0 => Token::Null,
            0xC1 => return Err(MalformedKind::Unexpected),
            0xC2 => Token::Bool(false),
            0xC3 => Token::Bool(true),
            0xC4 => self.len8().and_then(|len| self.bytes(len)).map(Token::Bytes)?,
            0xC5 => self.len16().and_then(|len| self.bytes(len)).map(Token::Bytes)?,
            0xC6 => self.len32().and_then(|len| self.bytes(len)).map(Token::Bytes)?,
            0xC7 => self.len8().and_then(|len| self.ext(len))?,
            0xC8 => self.len16().and_then(|len| self.ext(len))?,
            0xC9 => self.len32().and_then(|len| self.ext(len))?,
            0xCA => Token::Float(f64::from(f32::from_be_bytes(self.array()?))),
            0xCB => Token::Float(f64::from_be_bytes(self.array()?)),
            0xCC => Token::Int(i64::from(u8::from_be_bytes(self.array()?))),
            0xCD => Token::Int(i64::from(u16::from_be_bytes(self.array()?))),
            0xCE => Token::Int(i64::from(u32::from_be_bytes(self.array()?))),
            0xCF => {
                let value = u64::from_be_bytes(self.array()?);
                i64::try_from(value).map_or(Token::Uint(value), Token::Int)
            }
            0xD0 => Token::Int(i64::from(i8::from_be_bytes(self.array()?))),
            0xD1 => Token::Int(i64::from(i16::from_be_bytes(self.array()?))),
            0xD2 => Token::Int(i64::from(i32::from_be_bytes(self.array()?))),
            0xD3 => Token::Int(i64::from_be_bytes(self.array()?)),
            0xD4..=0xD8 => self.ext(1 << (marker - 0xD4))?,
            0xD9 => self.len8().and_then(|len| self.text(len))?,
            0xDA => self.len16().and_then(|len| self.text(len))?,
            0xDB => self.len32().and_then(|len| self.text(len))?,
            0xDC => Token::Seq(Some(self.len16()?)),
            0xDD => Token::Seq(Some(self.len32()?)),
            0xDE => Token::Map(Some(self.len16()?)),
            0xDF => Token::Map(Some(self.len32()?)),
            0xE0..=0xFF => Token::Int(i64::from(i8::from_be_bytes([marker]))),
        })
    }

    fn text(&mut self, len: u32) -> Result<Token<'a>, MalformedKind> {
        let bytes = self.bytes(len)?;
        core::str::from_utf8(bytes).map(Token::Str).map_err(|_| MalformedKind::NotUtf8)
    }

    fn ext(&mut self, len: u32) -> Result<Token<'a>, MalformedKind> {
        let kind = i8::from_be_bytes(self.array()?);
        Ok(Token::Ext(kind, self.bytes(len)?))
    }

    fn len8(&mut self) -> Result<u32, MalformedKind> {
        self.array().map(|bytes| u32::from(u8::from_be_bytes(bytes)))
    }

    fn len16(&mut self) -> Result<u32, MalformedKind> {
        self.array().map(|bytes| u32::from(u16::from_be_bytes(bytes)))
    }

    fn len32(&mut self) -> Result<u32, MalformedKind> {
        self.array().map(u32::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MalformedKind> {
        let (&array, rest) = self.rest.split_first_chunk().ok_or(MalformedKind::Truncated)?;
        self.rest = rest;
        Ok(array)
    }

    fn bytes(&mut self, len: u32) -> Result<&'a [u8], MalformedKind> {
        let (bytes, rest) = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest.split_at_checked(len))
            .ok_or(MalformedKind::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }
}
