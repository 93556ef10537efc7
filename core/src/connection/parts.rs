//! The two ends of a 2.x message of which the middle is an upload: it is never there as a whole, so
//! each is read by itself.

use super::builtin;
use crate::arena::Span;
use crate::wire::{Dialect, Malformed, MalformedKind, Reader, Token, Value, msgpack};
use crate::{MethodInfo, RpcError};

/// Within so many bytes the beginning of a message has to tell that it is an upload.
pub(super) const HEAD: usize = 512;

/// What follows the bytes in their message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    /// Entries of the envelope.
    fields: u8,
    /// Entries of `kwargs`, if the bytes are one of them.
    kwargs: Option<u8>,
}

/// The beginning of a 2.x message that is an upload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Its place in [`Inbound`]'s pending messages.
    pub(super) index: usize,
    pub(super) id: Span,
    pub(super) method: usize,
    /// Keyword arguments that came before the bytes.
    pub(super) token: Option<u32>,
    /// Arguments in the list with the bytes.
    pub(super) positional: u32,
    /// The bytes in the message.
    pub(super) bytes: Span,
    pub(super) tail: Tail,
}

/// What is known of the beginning of a message.
pub(super) enum Known {
    Upload(Head),
    Other,
    More,
}

impl Head {
    pub(super) fn read(bytes: &[u8], methods: &[MethodInfo]) -> Known {
        Self::try_read(bytes, methods).unwrap_or_else(|malformed| match malformed.kind {
            MalformedKind::Truncated => Known::More,
            _ => Known::Other,
        })
    }

    fn try_read(bytes: &[u8], methods: &[MethodInfo]) -> Result<Known, Malformed> {
        let mut reader = Value::new(Dialect::V2, bytes, &[]).reader();
        let Token::Map(Some(mut fields)) = reader.next()? else { return Ok(Known::Other) };
        let (mut id, mut method, mut token) = (None, None, None);
        while let Some(left) = fields.checked_sub(1) {
            fields = left;
            let Token::Str(key) = reader.next()? else { return Ok(Known::Other) };
            let start = reader.offset();
            let (kwargs, positional) = match key {
                "args" => match reader.next()? {
                    Token::Seq(Some(0)) => continue,
                    Token::Seq(Some(count)) => (None, count),
                    _ => return Ok(Known::Other),
                },
                "kwargs" => {
                    let Token::Map(Some(mut count)) = reader.next()? else {
                        return Ok(Known::Other);
                    };
                    loop {
                        let Some(left) = count.checked_sub(1) else { break (None, 0) };
                        count = left;
                        match reader.next()? {
                            Token::Str(builtin::TOKEN) => match reader.next()? {
                                Token::Int(it) if u32::try_from(it).is_ok() => {
                                    token = u32::try_from(it).ok();
                                }
                                _ => return Ok(Known::Other),
                            },
                            Token::Str(name)
                                if method.is_some_and(|it: usize| {
                                    methods[it].params.iter().any(|param| param.name == name)
                                }) =>
                            {
                                break (Some(count), 1);
                            }
                            _ => return Ok(Known::Other),
                        }
                    }
                }
                _ => {
                    let value = reader.value()?;
                    let span = Span { start: start as u32, len: value.bytes().len() as u32 };
                    match (key, value.as_str()) {
                        ("id", Some(_)) => id = Some(span),
                        ("method", Some(name)) => {
                            let takes = |it: &MethodInfo| it.upload && it.name == name;
                            let Some(index) = methods.iter().position(takes) else {
                                return Ok(Known::Other);
                            };
                            method = Some(index);
                        }
                        ("id" | "method", None) => return Ok(Known::Other),
                        _ => {}
                    }
                    continue;
                }
            };
            if positional == 0 {
                continue;
            }
            let (Some(id), Some(method)) = (id, method) else { return Ok(Known::Other) };
            let at = reader.offset();
            let Some((header, len)) = bin_header(bytes.get(at..).unwrap_or_default())? else {
                return Ok(Known::Other);
            };
            let bytes = Span { start: (at + header) as u32, len };
            // More than these no call has.
            let Ok(fields) = u8::try_from(fields) else { return Ok(Known::Other) };
            let Ok(kwargs) = kwargs.map(u8::try_from).transpose() else { return Ok(Known::Other) };
            let tail = Tail { fields, kwargs };
            return Ok(Known::Upload(Self {
                index: 0,
                id,
                method,
                token,
                positional,
                bytes,
                tail,
            }));
        }
        Ok(Known::Other)
    }
}

/// The length of a `bin`'s header and of what follows it.
fn bin_header(bytes: &[u8]) -> Result<Option<(usize, u32)>, Malformed> {
    let more = Malformed { at: 0, kind: MalformedKind::Truncated };
    let (&marker, rest) = bytes.split_first().ok_or(more)?;
    let size = match marker {
        0xC4 => 1,
        0xC5 => 2,
        0xC6 => 4,
        _ => return Ok(None),
    };
    let len = rest.get(..size).ok_or(more)?;
    let len = len.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    Ok(Some((1 + size, len)))
}

/// Why what follows the bytes makes no call of them.
pub(super) enum Wrong {
    Malformed(Malformed),
    /// A second argument.
    Argument,
    /// The id or the method a second time.
    Twice,
    Token(RpcError),
}

impl From<Malformed> for Wrong {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Tail {
    /// Reads what follows the bytes; gives the token, if it stands there.
    pub(super) fn read(self, bytes: &[u8], depth: usize) -> Result<Option<u32>, Wrong> {
        let mut reader = Value::new(Dialect::V2, bytes, &[]).reader();
        let key = |at: usize, token| match token {
            Token::Str(key) => Ok(key),
            _ => Err(Malformed { at, kind: MalformedKind::KeyNotString }),
        };
        let mut token = None;
        for _ in 0..self.kwargs.unwrap_or(0) {
            let at = reader.offset();
            let name = key(at, reader.next()?)?;
            let value = checked(&mut reader, bytes, depth.saturating_sub(2))?;
            if name != builtin::TOKEN {
                return Err(Wrong::Argument);
            }
            token = builtin::token_of(value).map_err(Wrong::Token)?;
        }
        for _ in 0..self.fields {
            let at = reader.offset();
            let name = key(at, reader.next()?)?;
            let value = checked(&mut reader, bytes, depth.saturating_sub(1))?;
            match name {
                "id" | "method" => return Err(Wrong::Twice),
                "args" if self.kwargs.is_none() || value.items().next().is_some() => {
                    return Err(Wrong::Argument);
                }
                "kwargs" => {
                    let mut names = value.entries().map(|(name, _)| name);
                    if self.kwargs.is_some() || names.any(|name| name != builtin::TOKEN) {
                        return Err(Wrong::Argument);
                    }
                    token = builtin::token(Some(value)).map_err(Wrong::Token)?;
                }
                _ => {}
            }
        }
        if reader.offset() < bytes.len() {
            let (at, kind) = (reader.offset(), MalformedKind::Trailing);
            return Err(Wrong::Malformed(Malformed { at, kind }));
        }
        Ok(token)
    }
}

/// The next value, well-formed to its depth.
fn checked<'a>(
    reader: &mut Reader<'a>,
    bytes: &'a [u8],
    depth: usize,
) -> Result<Value<'a>, Malformed> {
    let start = reader.offset();
    let value = reader.value()?;
    let bytes = bytes.get(start..reader.offset()).unwrap_or_default();
    msgpack::check(bytes, depth).map_err(|it| Malformed { at: start + it.at, ..it })?;
    Ok(value)
}
